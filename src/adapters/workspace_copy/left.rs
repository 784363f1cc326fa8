//! What is left in a copy, beside what was put there. The program is dead by now, whatever it
//! started too; still nothing is followed, and what is read is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use sha2::{Digest as _, Sha256};

use super::place::open_up;
use crate::adapters::git::copy::{Copied, Stands};
use crate::domain::id::{Cid, RepoPath};
use crate::domain::task::{Left, MAX_BYTES, What};
use crate::domain::text;

/// Most differences that are told: a change has fewer anyway.
const MOST: usize = 2_000;

/// What a file of a module was: size, time of change, place on disk, rights. Its owner may change.
pub(super) type Stamp = (u64, i64, i64, u64, u32);

/// The stamps of the modules' files in a fresh copy: they are many and large, and what changes in
/// them is refused whatever it is.
pub(super) fn stamped(copy: &Path, copied: &Copied) -> BTreeMap<RepoPath, Stamp> {
    let stamp = |path: &RepoPath| fs::symlink_metadata(at(copy, path)).ok().map(|meta| stamp(&meta));
    copied.theirs.keys().filter_map(|path| Some((path.clone(), stamp(path)?))).collect()
}

/// What differs.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) left: Vec<Left>,
    /// New files that the workspace's own `.gitignore` leaves out.
    pub(super) ignored: u64,
}

/// Everything of the copy that is not as it was put there, but for its own repository at the top.
pub(super) fn differences(copy: &Path, copied: &Copied, theirs: &BTreeMap<RepoPath, Stamp>) -> Found {
    let mut walk = Walk { copied, theirs, met: BTreeSet::new(), kept: 0, found: Found::default() };
    let mut open: Vec<(PathBuf, RepoPath)> = vec![(copy.to_owned(), RepoPath::new(""))];
    while let Some((directory, path)) = open.pop() {
        if walk.found.left.len() > MOST {
            break;
        }
        let entries = open_up(&directory).and_then(|()| fs::read_dir(&directory));
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                walk.tell(path, What::Unreadable(text::inert(&error.to_string())));
                continue;
            }
        };
        for entry in entries {
            let Ok(entry) = entry else {
                walk.tell(path.clone(), What::Unreadable("its directory cannot be read".to_owned()));
                break;
            };
            let name = entry.file_name();
            let mut inner = path.as_bytes().to_vec();
            if !inner.is_empty() {
                inner.push(b'/');
            }
            inner.extend_from_slice(name.as_bytes());
            if inner == b".git" {
                continue;
            }
            let inner = RepoPath::new(inner);
            match fs::symlink_metadata(entry.path()) {
                Ok(meta) if meta.is_dir() => {
                    walk.directory(&inner);
                    open.push((entry.path(), inner));
                }
                Ok(meta) => walk.leaf(&entry.path(), inner, &meta),
                Err(error) => walk.tell(inner, What::Unreadable(text::inert(&error.to_string()))),
            }
        }
    }
    walk.removed();
    walk.found
}

struct Walk<'a> {
    copied: &'a Copied,
    theirs: &'a BTreeMap<RepoPath, Stamp>,
    met: BTreeSet<RepoPath>,
    /// Bytes of new contents so far: beyond the bound they are not kept, and refused.
    kept: usize,
    found: Found,
}

impl Walk<'_> {
    fn tell(&mut self, path: RepoPath, what: What) {
        self.found.left.push(Left { path, what });
    }

    fn directory(&mut self, path: &RepoPath) {
        if self.copied.modules.contains_key(path) {
            self.met.insert(path.clone());
        }
    }

    fn leaf(&mut self, place: &Path, path: RepoPath, meta: &Metadata) {
        let was = self.copied.own.get(&path);
        if let Some(known) = self.theirs.get(&path) {
            self.met.insert(path.clone());
            if stamp(meta) == *known {
                return;
            }
        }
        let in_module = self.theirs.contains_key(&path) || self.in_module(&path);
        if was.is_some() {
            self.met.insert(path.clone());
        } else if !in_module && self.copied.ignores(&path) {
            self.found.ignored += 1;
            return;
        }
        let kind = meta.file_type();
        if kind.is_symlink() {
            let target = fs::read_link(place).ok().map(|target| target.into_os_string().as_bytes().to_vec());
            let same = matches!((was, &target), (Some(Stands::Link(was)), Some(is)) if was == is);
            if !same {
                self.tell(path, What::Symlink);
            }
        } else if !kind.is_file() {
            self.tell(path, What::Special);
        } else if in_module {
            self.tell(path, What::File { executable: false, content: Vec::new() });
        } else {
            self.file(place, path, meta.mode() & 0o100 != 0);
        }
    }

    fn in_module(&self, path: &RepoPath) -> bool {
        let bytes = path.as_bytes();
        let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        slashes
            .chain([bytes.len()])
            .any(|end| self.copied.modules.contains_key(&RepoPath::new(&bytes[..end])))
    }

    fn file(&mut self, place: &Path, path: RepoPath, executable: bool) {
        match read(place) {
            Err(why) => self.tell(path, What::Unreadable(why)),
            Ok((identity, content)) => {
                let is = Stands::File { executable, content: identity };
                if self.copied.own.get(&path) == Some(&is) {
                    return;
                }
                let content = match content {
                    Some(content) if self.kept <= MAX_BYTES => content,
                    _ => {
                        return self.tell(
                            path,
                            What::Unreadable(format!("with it more than {MAX_BYTES} bytes changed")),
                        );
                    }
                };
                self.kept += content.len();
                self.tell(path, What::File { executable, content });
            }
        }
    }

    /// What was put there and is no more.
    fn removed(&mut self) {
        let put = self.copied.own.keys().chain(self.theirs.keys()).chain(self.copied.modules.keys());
        let gone: Vec<RepoPath> = put.filter(|path| !self.met.contains(*path)).cloned().collect();
        for path in gone {
            if self.found.left.len() > MOST {
                return;
            }
            self.tell(path, What::Removed);
        }
    }
}

fn at(copy: &Path, path: &RepoPath) -> PathBuf {
    copy.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

fn stamp(meta: &Metadata) -> Stamp {
    (meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ino(), meta.mode())
}

/// A regular file's identity, and its bytes unless they are more than a proposal has.
fn read(place: &Path) -> Result<(Cid, Option<Vec<u8>>), String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let said = |error: std::io::Error| text::inert(&error.to_string());
    let opened = openat(CWD, place, flags, Mode::empty()).map_err(|error| said(error.into()))?;
    let mut file = File::from(opened);
    if !file.metadata().map_err(said)?.is_file() {
        return Err("it is no regular file any more".to_owned());
    }
    let (mut digest, mut kept, mut buffer) = (Sha256::new(), Some(Vec::new()), vec![0; 64 << 10]);
    loop {
        let count = file.read(&mut buffer).map_err(said)?;
        if count == 0 {
            return Ok((Cid::from_sha256(digest.finalize().into()), kept));
        }
        digest.update(&buffer[..count]);
        kept = kept.filter(|kept| kept.len() + count <= MAX_BYTES).map(|mut kept| {
            kept.extend_from_slice(&buffer[..count]);
            kept
        });
    }
}
