//! Checking out: the files of a commit in a work tree, and the index that says so.
//!
//! In: [`Files`]. Out: files with one old modification time (so that no entry is racy), and
//! a version 2 index with true stat data and the cache tree that a real checkout leaves
//! (`gitformat-index(5)`).

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, futimens, utimensat};
use sha1::{Digest, Sha1};

use super::disk;
use super::files::{Entry, File, Files, Mode, Tree};
use crate::domain::text;
use crate::ports::{PortError, PortResult};

/// The modification time of every file that is checked out: 2026-01-01.
const MODIFIED: i64 = 1_767_225_600;

/// Write the files and the index.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn check_out(work_tree: &Path, git_dir: &Path, files: &Files, tree: &Tree<'_>) -> PortResult<()> {
    let mut rows = Vec::with_capacity(files.0.len());
    let mut made = None;
    for (path, file) in &files.0 {
        let at = work_tree.join(std::ffi::OsStr::from_bytes(path));
        let parent = at.parent();
        if parent != made.as_deref() {
            if let Some(parent) = parent {
                disk::create_dir(parent)?;
            }
            made = parent.map(Path::to_path_buf);
        }
        let stat = place(&at, file).map_err(|error| {
            PortError::failed(format!("cannot write {}", text::inert_bytes(at.as_os_str().as_bytes())))
                .because(error)
        })?;
        rows.push(Row { path, file, stat });
    }
    disk::write(&git_dir.join("index"), &index(&rows, Some(tree)))
}

/// Stat data of a path that was just written.
fn place(at: &Path, file: &File) -> std::io::Result<Stat> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: MODIFIED, tv_nsec: 0 },
        last_modification: Timespec { tv_sec: MODIFIED, tv_nsec: 0 },
    };
    match file.mode {
        Mode::Gitlink => {
            fs::create_dir_all(at)?;
            // Git records no stat data of a submodule's directory that it did not look at.
            Ok(Stat::default())
        }
        Mode::Symlink => {
            std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&file.content), at)?;
            utimensat(CWD, at, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(Stat::of(&fs::symlink_metadata(at)?))
        }
        Mode::Regular | Mode::Executable => {
            let mode = if file.mode == Mode::Executable { 0o755 } else { 0o644 };
            let mut open = OpenOptions::new().write(true).create_new(true).mode(mode).open(at)?;
            open.write_all(&file.content)?;
            futimens(&open, &times)?;
            Ok(Stat::of(&open.metadata()?))
        }
    }
}

/// What the index keeps of `lstat`, each truncated to 32 bits as git does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stat([u32; 9]);

impl Stat {
    /// ctime, mtime (seconds, nanoseconds each), dev, ino, uid, gid, size.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the format keeps 32 bits")]
    pub(super) fn of(meta: &fs::Metadata) -> Self {
        Self([
            meta.ctime() as u32,
            meta.ctime_nsec() as u32,
            meta.mtime() as u32,
            meta.mtime_nsec() as u32,
            meta.dev() as u32,
            meta.ino() as u32,
            meta.uid(),
            meta.gid(),
            meta.size() as u32,
        ])
    }
}

/// One index entry.
pub(super) struct Row<'a> {
    pub(super) path: &'a [u8],
    pub(super) file: &'a File,
    pub(super) stat: Stat,
}

/// The bytes of an index file; rows are sorted by path.
pub(super) fn index(rows: &[Row<'_>], tree: Option<&Tree<'_>>) -> Vec<u8> {
    let count = u32::try_from(rows.len()).expect("because a sample has fewer files");
    let mut out = b"DIRC".to_vec();
    out.extend_from_slice(&2u32.to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    for row in rows {
        let begin = out.len();
        let [ctime, ctime_ns, mtime, mtime_ns, dev, ino, uid, gid, size] = row.stat.0;
        let mode = row.file.mode as u32;
        for word in [ctime, ctime_ns, mtime, mtime_ns, dev, ino, mode, uid, gid, size] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(row.file.id.as_bytes());
        let len = u16::try_from(row.path.len()).unwrap_or(u16::MAX).min(0xfff);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(row.path);
        // One to eight NUL bytes, to a multiple of eight.
        out.resize(begin + (out.len() - begin) / 8 * 8 + 8, 0);
    }
    if let Some(tree) = tree {
        let mut cache = Vec::new();
        cache_tree(&mut cache, b"", tree);
        out.extend_from_slice(b"TREE");
        out.extend_from_slice(&u32::try_from(cache.len()).expect("because it is small").to_be_bytes());
        out.extend_from_slice(&cache);
    }
    let checksum = Sha1::digest(&out);
    out.extend_from_slice(&checksum);
    out
}

fn cache_tree(out: &mut Vec<u8>, name: &[u8], tree: &Tree<'_>) {
    let mut below: Vec<(&[u8], &Tree<'_>)> = tree
        .entries
        .iter()
        .filter_map(|(name, entry)| match entry {
            Entry::Dir(dir) => Some((*name, dir)),
            Entry::File(_) => None,
        })
        .collect();
    // Git sorts subtrees by length first (`subtree_name_cmp` in cache-tree.c).
    below.sort_by_key(|(name, _)| (name.len(), *name));
    out.extend_from_slice(name);
    out.extend_from_slice(format!("\0{} {}\n", tree.files, below.len()).as_bytes());
    out.extend_from_slice(tree.id.as_bytes());
    for (name, dir) in below {
        cache_tree(out, name, dir);
    }
}
