//! What the operator's files are, name by name, without reading them: any write changes a stamp.
//!
//! A file's time of last change (`st_ctime`) is set by the kernel whenever its content, rights, owner
//! or names change, and no system call sets it to anything but now: equal stamps say more than equal
//! contents would. Nothing is opened but directories, and reading leaves no trace in a stamp.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::adapters::durable;
use crate::domain::id::{Cid, RepoPath};
use crate::ports::PortResult;

/// Most differences that are named.
const NAMED: usize = 20;

/// The stamps of everything below some directories.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamps(BTreeMap<Vec<u8>, [i64; 10]>);

impl Stamps {
    /// Look at everything below these directories but what is below `except`. Nothing is followed.
    pub(super) fn of(roots: &[&Path], except: &Path) -> PortResult<Self> {
        let except = except.canonicalize().unwrap_or_else(|_| except.to_owned());
        let mut stamps = BTreeMap::new();
        let mut open: Vec<PathBuf> = Vec::new();
        for root in roots {
            let failed = |error| durable::port_error("cannot look at the workspace", error);
            let root = root.canonicalize().map_err(failed)?;
            // Of the directory that holds the state directory, times are not the operator's alone.
            if !open.contains(&root) {
                open.push(root);
            }
        }
        while let Some(directory) = open.pop() {
            if stamps.contains_key(directory.as_os_str().as_bytes()) || directory == except {
                continue;
            }
            let failed = |error| {
                let shown = RepoPath::new(directory.as_os_str().as_bytes());
                durable::port_error(format!("cannot look at {shown}"), error)
            };
            match fs::symlink_metadata(&directory) {
                Ok(meta) => {
                    let mut stamp = stamp(&meta);
                    if except.parent() == Some(&directory) {
                        stamp[4..].fill(0);
                    }
                    stamps.insert(directory.as_os_str().as_bytes().to_vec(), stamp);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            }
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                // What the operator may not look into, a program of theirs may not either.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
                {
                    continue;
                }
                Err(error) => return Err(failed(error)),
            };
            for entry in entries {
                let path = entry.map_err(failed)?.path();
                match fs::symlink_metadata(&path) {
                    Ok(meta) if meta.is_dir() => open.push(path),
                    Ok(meta) => {
                        stamps.insert(path.into_os_string().as_encoded_bytes().to_vec(), stamp(&meta));
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        Ok(Self(stamps))
    }

    /// How many names there are.
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    /// The identity of all names and stamps.
    pub(super) fn identity(&self) -> Cid {
        let mut bytes = Vec::with_capacity(self.0.len() * 160);
        for (path, stamp) in &self.0 {
            bytes.extend_from_slice(path);
            bytes.push(0);
            for number in stamp {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        Cid::of(&bytes)
    }

    /// Some of the paths that differ.
    pub(super) fn differ(&self, later: &Self) -> Vec<RepoPath> {
        let gone = self.0.iter().filter(|(path, stamp)| later.0.get(*path) != Some(*stamp));
        let new = later.0.iter().filter(|(path, _)| !self.0.contains_key(*path));
        gone.chain(new).map(|(path, _)| RepoPath::new(path.clone())).take(NAMED).collect()
    }
}

fn stamp(meta: &fs::Metadata) -> [i64; 10] {
    let number = |number: u64| i64::from_ne_bytes(number.to_ne_bytes());
    [
        number(meta.ino()),
        number(meta.dev()),
        i64::from(meta.mode()),
        i64::from(meta.uid()) << 32 | i64::from(meta.gid()),
        number(meta.nlink()),
        number(meta.size()),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_is_seen_whatever_times_it_sets_back() {
        let temp = tempfile::tempdir().expect("a directory");
        let (root, state) = (temp.path().join("root"), temp.path().join("root/.git/lambda-os"));
        fs::create_dir_all(&state).expect("made");
        fs::write(root.join("file"), "one").expect("written");
        let look = || Stamps::of(&[&root], &state).expect("looked at");
        let before = look();
        fs::write(state.join("ours"), "x").expect("written");
        fs::read(root.join("file")).expect("read");
        assert_eq!(before, look());
        let time = fs::metadata(root.join("file")).and_then(|meta| meta.modified()).expect("a time");
        fs::write(root.join("file"), "two").expect("written");
        fs::File::options()
            .write(true)
            .open(root.join("file"))
            .and_then(|file| file.set_modified(time))
            .expect("set");
        let after = look();
        assert_ne!(before.identity(), after.identity());
        assert_eq!(before.differ(&after).len(), 1);
        fs::create_dir(root.join("new")).expect("made");
        assert!(after.differ(&look()).iter().any(|path| path.as_bytes().ends_with(b"/new")));
    }
}
