//! A directory for one confined program where there is no mount namespace to hold one, and the way
//! to look at what untrusted programs made, and to remove it. Nothing is followed, and no number of
//! names, depth or lack of rights keeps anything from being removed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, openat, statat, unlinkat,
};

/// A temporary directory that is removed with whatever is in it.
#[derive(Debug)]
pub(super) struct Scratch {
    outer: PathBuf,
}

impl Scratch {
    /// A new one, with a directory `tmp` in it that belongs to `user`.
    pub(super) fn new(user: Option<u32>) -> io::Result<Self> {
        let outer = tempfile::Builder::new().prefix("lambda-os-sandbox-").tempdir()?.keep();
        let scratch = Self { outer };
        let tmp = scratch.tmp();
        fs::create_dir(&tmp)?;
        if let Some(id) = user {
            std::os::unix::fs::chown(&tmp, Some(id), Some(id))?;
            fs::set_permissions(&scratch.outer, fs::Permissions::from_mode(0o711))?;
        }
        fs::set_permissions(&tmp, fs::Permissions::from_mode(0o700))?;
        Ok(scratch)
    }

    /// The directory that the program has.
    pub(super) fn tmp(&self) -> PathBuf {
        self.outer.join("tmp")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left for the system's own cleaning of temporary files.
        let _ = remove(&self.outer);
    }
}

/// Remove a directory and all that is in it, however deep: one directory is open at a time, and no
/// path grows. Nobody may be changing it meanwhile.
pub(in crate::adapters) fn remove(root: &Path) -> io::Result<()> {
    let mut here = enter(CWD, root.as_os_str())?;
    // The directories on the way down: each one's name, and what is left to remove beside it.
    let mut above: Vec<(OsString, Vec<OsString>)> = Vec::new();
    let mut within = empty(&here)?;
    loop {
        if let Some(name) = within.pop() {
            here = enter(&here, &name)?;
            above.push((name, std::mem::take(&mut within)));
            within = empty(&here)?;
        } else if let Some((name, rest)) = above.pop() {
            here = openat(&here, "..", DIRECTORY, Mode::empty())?;
            unlinkat(&here, &name, AtFlags::REMOVEDIR)?;
            within = rest;
        } else {
            return fs::remove_dir(root);
        }
    }
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Open a directory, after taking every right to it.
fn enter(at: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let open = || openat(at.as_fd(), name, DIRECTORY, Mode::empty());
    if statat(at.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode & 0o700 != 0o700 {
        // It is a directory, so there is no link to be followed.
        chmodat(at.as_fd(), name, Mode::RWXU, AtFlags::empty())?;
    }
    Ok(open()?)
}

/// Remove all of a directory but its directories, which are given.
fn empty(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut inner = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                FileType::from_raw_mode(statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            kind => kind,
        };
        if kind == FileType::Directory {
            inner.push(name.to_owned());
        } else {
            unlinkat(directory, name, AtFlags::empty())?;
        }
    }
    Ok(inner)
}

/// What a directory holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Bytes on disk.
    pub(super) bytes: u64,
    /// Files, directories and all else.
    pub(super) files: u64,
}

/// What is in a directory, as far as it can be looked into; stops counting above `most` files.
pub(super) fn held(root: &Path, most: u64) -> Held {
    let mut held = Held::default();
    let mut queue = vec![root.to_owned()];
    while let Some(directory) = queue.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            held.files += 1;
            held.bytes += meta.blocks() * 512;
            if meta.is_dir() {
                queue.push(entry.path());
            }
            if held.files > most {
                return held;
            }
        }
    }
    held
}

/// Give a directory and all that is in it to a user. A file with another name elsewhere is refused:
/// it would be given away there too.
pub(super) fn give(root: &Path, user: u32) -> io::Result<()> {
    let owner = |path: &Path| {
        let id = (Some(Uid::from_raw(user)), Some(Gid::from_raw(user)));
        chownat(CWD, path, id.0, id.1, AtFlags::SYMLINK_NOFOLLOW)
    };
    owner(root)?;
    let mut queue = vec![root.to_owned()];
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() {
                queue.push(entry.path());
            } else if meta.nlink() > 1 {
                let said = format!("{} has another name", entry.path().display());
                return Err(io::Error::other(said));
            }
            owner(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_removed_and_nothing_is_followed() {
        let temp = tempfile::tempdir().expect("a directory");
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).expect("made");
        fs::write(outside.join("canary"), "alive").expect("written");
        let root = temp.path().join("root");
        fs::create_dir_all(root.join("a/b/c")).expect("made");
        std::os::unix::fs::symlink(&outside, root.join("a/link")).expect("made");
        std::os::unix::fs::symlink(&outside, root.join("a/b/link")).expect("made");
        fs::create_dir(root.join(".removed-1")).expect("made");
        fs::write(root.join(".removed-1/x"), "x").expect("written");
        fs::set_permissions(root.join("a/b/c"), fs::Permissions::from_mode(0o0)).expect("set");
        fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o0)).expect("set");
        remove(&root).expect("removed");
        assert!(!root.exists());
        assert_eq!(fs::read(outside.join("canary")).expect("there"), b"alive");
    }

    #[test]
    fn depth_is_no_obstacle() {
        use rustix::fs::mkdirat;
        let temp = tempfile::tempdir().expect("a directory");
        let root = temp.path().join("root");
        fs::create_dir(&root).expect("made");
        let mut at: OwnedFd = fs::File::open(&root).expect("opens").into();
        for _ in 0..3000 {
            mkdirat(&at, "deeper", Mode::RWXU).expect("made");
            at = openat(&at, "deeper", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("opens");
        }
        drop(at);
        remove(&root).expect("removed");
        assert!(!root.exists());
    }

    #[test]
    fn what_is_held_is_counted_up_to_a_bound() {
        let temp = tempfile::tempdir().expect("a directory");
        fs::create_dir(temp.path().join("d")).expect("made");
        fs::write(temp.path().join("d/f"), vec![1; 100_000]).expect("written");
        let all = held(temp.path(), 100);
        assert_eq!(all.files, 2);
        assert!(all.bytes >= 100_000);
        assert_eq!(held(temp.path(), 1).files, 2);
        assert_eq!(held(temp.path(), 0).files, 1);
    }

    #[test]
    fn a_file_with_another_name_is_not_given_away() {
        let temp = tempfile::tempdir().expect("a directory");
        fs::write(temp.path().join("a"), "a").expect("written");
        fs::hard_link(temp.path().join("a"), temp.path().join("b")).expect("linked");
        assert!(give(temp.path(), rustix::process::getuid().as_raw()).is_err());
    }
}
