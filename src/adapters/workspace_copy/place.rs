//! Where one copy is, for as long as its process lives, and the removal of whatever is in it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::adapters::durable;
use crate::adapters::sandbox::remove_tree;
use crate::domain::text;
use crate::ports::{PortError, PortResult};

/// What the directories begin with; their locks end with `.lock`.
const PREFIX: &str = "task-";

/// A directory of our own, removed when dropped.
#[derive(Debug)]
pub(super) struct Place {
    directory: PathBuf,
    lock: PathBuf,
    _held: File,
    gone: bool,
}

impl Place {
    /// A new one, after those that nobody holds any more are removed.
    pub(super) fn make(candidates: &Path) -> PortResult<Self> {
        let failed = |error| cannot("make the directory", candidates, error);
        match DirBuilder::new().mode(0o700).create(candidates) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        sweep(candidates).map_err(|error| cannot("clean up", candidates, error))?;
        for number in 0..1000_u32 {
            let directory = candidates.join(format!("{PREFIX}{}-{number}", std::process::id()));
            let lock = lock_of(&directory);
            let held = match OpenOptions::new().write(true).create_new(true).open(&lock) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(cannot("make", &lock, error)),
            };
            // Whoever sweeps right now may hold it: then it is theirs to remove.
            if held.try_lock().is_err() {
                continue;
            }
            let place = Self { directory, lock, _held: held, gone: false };
            let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
            make(&place.directory).and_then(|()| make(&place.copy())).map_err(failed)?;
            return Ok(place);
        }
        Err(PortError::failed(format!("cannot find a free name in {}", shown(candidates))))
    }

    /// The copy itself.
    pub(super) fn copy(&self) -> PathBuf {
        self.directory.join("workspace")
    }

    /// Remove it, and say so when that fails.
    pub(super) fn remove(mut self) -> PortResult<()> {
        self.gone = true;
        remove(&self.directory)
            .and_then(|()| fs::remove_file(&self.lock))
            .map_err(|error| cannot("remove", &self.directory, error))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What stays is removed when the next copy is made.
        if !self.gone && remove(&self.directory).is_ok() {
            let _ = fs::remove_file(&self.lock);
        }
    }
}

/// Remove what dead processes left.
fn sweep(candidates: &Path) -> io::Result<()> {
    for entry in fs::read_dir(candidates)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let directory = candidates.join(name.strip_suffix(".lock").unwrap_or(name));
        let lock = lock_of(&directory);
        let Ok(held) = OpenOptions::new().write(true).create(true).truncate(false).open(&lock) else {
            continue;
        };
        if held.try_lock().is_err() {
            continue;
        }
        remove(&directory)?;
        let _ = fs::remove_file(&lock);
    }
    Ok(())
}

fn lock_of(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Remove a directory with all that is in it. An absent one is removed.
fn remove(root: &Path) -> io::Result<()> {
    match fs::symlink_metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => remove_tree(root),
    }
}

/// Give the owner all rights on a directory that is no symlink.
pub(super) fn open_up(directory: &Path) -> io::Result<()> {
    let rights = fs::symlink_metadata(directory)?.permissions();
    if rights.mode() & 0o700 != 0o700 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn cannot(attempted: &str, path: &Path, error: io::Error) -> PortError {
    durable::port_error(format!("cannot {attempted} {}", shown(path)), error)
}

fn shown(path: &Path) -> String {
    text::inert_bytes(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_goes_with_everything_in_it_and_nothing_is_followed() {
        let temp = tempfile::tempdir().expect("a directory");
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).expect("made");
        fs::write(outside.join("canary"), "alive").expect("written");
        let candidates = temp.path().join("candidates");
        let place = Place::make(&candidates).expect("made");
        let copy = place.copy();
        fs::create_dir_all(copy.join("a/b/c/d")).expect("made");
        fs::create_dir(copy.join(".up-1")).expect("made");
        fs::write(copy.join("a/b/c/file"), "x").expect("written");
        std::os::unix::fs::symlink(&outside, copy.join("a/b/link")).expect("made");
        fs::set_permissions(copy.join("a/b"), fs::Permissions::from_mode(0o000)).expect("set");
        place.remove().expect("removed");
        assert_eq!(fs::read_dir(&candidates).expect("read").count(), 0);
        assert_eq!(fs::read(outside.join("canary")).expect("there"), b"alive");
    }

    #[test]
    fn what_a_dead_process_left_goes_and_what_a_living_one_has_stays() {
        let temp = tempfile::tempdir().expect("a directory");
        let living = Place::make(temp.path()).expect("made");
        fs::create_dir_all(temp.path().join("task-1-7/workspace/a")).expect("made");
        fs::write(temp.path().join("task-1-7.lock"), "").expect("written");
        fs::create_dir(temp.path().join("task-1-8")).expect("made");
        fs::create_dir(temp.path().join("other")).expect("made");
        let next = Place::make(temp.path()).expect("made");
        assert!(living.copy().is_dir() && next.copy().is_dir() && living.copy() != next.copy());
        assert!(temp.path().join("other").is_dir());
        drop(next);
        drop(living);
        assert_eq!(fs::read_dir(temp.path()).expect("read").count(), 1);
    }
}
