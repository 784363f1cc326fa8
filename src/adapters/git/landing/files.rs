//! Files of exactly the changed paths in a work tree.
//!
//! Each is written beside its place, synced and renamed over it, with the rights that the old one
//! had. Directories on the way are opened one by one and never through a symlink; what is written
//! goes through the open directory, so that a directory which is swapped meanwhile leads nowhere
//! else.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, mkdirat, statat, symlinkat, unlinkat};
use rustix::io::Errno;

use super::step::{Leaf, Step};
use crate::adapters::durable::{self, Disk, Open, WriteError};
use crate::adapters::git::checkout::Opened;
use crate::adapters::git::files::open_directory;
use crate::adapters::git::objects::MODE_LINK;
use crate::adapters::git::superproject::{cannot, not_done, not_written};
use crate::ports::{PortError, PortResult};

/// What our temporary files begin with.
const PREFIX: &str = ".lambda-os-";

/// Bring these steps' files to their new side; all are at their old one.
pub(super) fn replace(disk: &dyn Disk, opened: &Opened, steps: &[&Step]) -> PortResult<()> {
    // Removals first: a file may become a directory, and a directory a file.
    for step in steps.iter().filter(|step| step.new.is_none()) {
        remove(disk, opened, step)?;
    }
    let mut synced: Vec<Vec<u8>> = Vec::new();
    for step in steps {
        let Some(new) = step.new else { continue };
        let (parent, _) = step.split();
        let dir = directory(opened, parent, Missing::Make)?;
        if let Some(dir) = dir {
            write(disk, opened, &dir, step, new)?;
        }
        if !synced.iter().any(|done| done == parent) {
            synced.push(parent.to_vec());
        }
    }
    for parent in synced {
        if let Some(dir) = directory(opened, &parent, Missing::Leave)? {
            let path = through(&dir, b"");
            disk.sync_dir(&path).map_err(|error| {
                not_written("a directory of the work tree", &opened.path, WriteError::Unknown(error))
            })?;
        }
    }
    Ok(())
}

fn write(disk: &dyn Disk, opened: &Opened, dir: &OwnedFd, step: &Step, new: Leaf) -> PortResult<()> {
    let (_, name) = step.split();
    let place = opened.path.join(std::ffi::OsStr::from_bytes(step.path.as_bytes()));
    let attempted = format!("cannot write {}", step.path);
    let content = opened
        .objects
        .blob(new.id)
        .map_err(cannot(attempted.clone()))?
        .ok_or_else(|| PortError::failed(format!("{attempted}: its content {} is missing", new.id)))?;
    let temp = through(dir, temp_name(name).as_os_str().as_bytes());
    let path = through(dir, name);
    if new.mode == MODE_LINK {
        let temp_name = temp_name(name);
        let _ = unlinkat(dir, temp_name.as_os_str(), AtFlags::empty());
        symlinkat(content.as_slice(), dir, temp_name.as_os_str())
            .map_err(|error| not_done("write", &place, error.into()))?;
        return disk.rename(&temp, &path).map_err(|error| {
            let _ = unlinkat(dir, temp_name.as_os_str(), AtFlags::empty());
            not_done("write", &place, error)
        });
    }
    let executable = new.mode == 0o100_755;
    // An old file's rights stay, but for the executable bits where those change.
    let kept = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .ok()
        .filter(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile)
        .map(|stat| stat.st_mode & 0o777)
        .filter(|mode| (mode & 0o100 != 0) == executable);
    let open = Open::NewWith(if executable { 0o777 } else { 0o666 });
    durable::put_file(disk, &temp, &path, &content, open, |_| kept)
        .map_err(|error| not_written("a file of the work tree", &place, error))
}

fn remove(disk: &dyn Disk, opened: &Opened, step: &Step) -> PortResult<()> {
    let (parent, name) = step.split();
    let Some(dir) = directory(opened, parent, Missing::Leave)? else { return Ok(()) };
    let place = opened.path.join(std::ffi::OsStr::from_bytes(step.path.as_bytes()));
    match disk.remove(&through(&dir, name)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(not_done("remove", &place, error));
        }
        _ => {}
    }
    // As git does, directories that this leaves empty go too.
    let mut at = parent;
    while !at.is_empty() {
        let (above, name) = match at.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&at[..slash], &at[slash + 1..]),
            None => (&at[..0], at),
        };
        let Some(dir) = directory(opened, above, Missing::Leave)? else { break };
        if unlinkat(&dir, name, AtFlags::REMOVEDIR).is_err() {
            break;
        }
        at = above;
    }
    Ok(())
}

/// What to do about a directory that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Leave,
}

/// A directory of the work tree, opened component by component without following a symlink.
fn directory(opened: &Opened, path: &[u8], missing: Missing) -> PortResult<Option<OwnedFd>> {
    let failed = |error: Errno| {
        let place = opened.path.join(std::ffi::OsStr::from_bytes(path));
        not_done("open the directory", &place, error.into())
    };
    let mut at = opened.work.try_clone().map_err(|error| not_done("open", &opened.path, error))?;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        at = match open_directory(at.as_fd(), name) {
            Err(Errno::NOENT) if missing == Missing::Leave => return Ok(None),
            Err(Errno::NOENT) => {
                mkdirat(&at, name, Mode::from_raw_mode(0o777)).map_err(failed)?;
                open_directory(at.as_fd(), name).map_err(failed)?
            }
            opened => opened.map_err(failed)?,
        };
    }
    Ok(Some(at))
}

/// A name in an open directory as a path, whatever became of the directory's own name.
fn through(dir: &OwnedFd, name: &[u8]) -> PathBuf {
    Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(std::ffi::OsStr::from_bytes(name))
}

fn temp_name(name: &[u8]) -> std::ffi::OsString {
    let mut temp = std::ffi::OsString::from(PREFIX);
    temp.push(durable::temp_name(Path::new(std::ffi::OsStr::from_bytes(name))));
    temp
}

/// Remove the temporary files that earlier landings left beside these steps.
pub(super) fn sweep(opened: &Opened, steps: &[Step]) {
    for step in steps.iter().filter(|step| !step.is_gitlink()) {
        let (parent, name) = step.split();
        let Ok(Some(dir)) = directory(opened, parent, Missing::Leave) else { continue };
        let begin = [PREFIX.as_bytes(), name, b"."].concat();
        for found in std::fs::read_dir(through(&dir, b"")).into_iter().flatten().flatten() {
            let name = found.file_name();
            let left =
                name.as_bytes().starts_with(&begin) && name.to_str().is_some_and(durable::is_temporary);
            if left {
                let _ = unlinkat(&dir, name.as_os_str(), AtFlags::empty());
            }
        }
    }
}
