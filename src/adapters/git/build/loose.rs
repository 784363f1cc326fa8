//! Objects into a repository, one file each, durably.
//!
//! A file is written under a temporary name (`tmp_obj_…` in the object directory, where git's own
//! housekeeping would remove it too), synced, renamed to its identity, and its directory is synced:
//! an object that has its name is whole, and stays. What is there already is not written again. The form is git's own (zlib of `KIND SP SIZE NUL CONTENT`), the same for SHA-1 and SHA-256.

use std::path::{Path, PathBuf};

use miniz_oxide::deflate::compress_to_vec_zlib;

use super::Object;
use crate::adapters::durable::{self, Disk, Open, WriteError};
use crate::adapters::git::objects::Objects;
use crate::domain::id::ObjectId;

/// zlib's own default, which git uses too.
const LEVEL: u8 = 6;

/// An object that was not written.
#[derive(Debug)]
pub(in crate::adapters::git) struct NotWritten {
    pub(in crate::adapters::git) path: PathBuf,
    pub(in crate::adapters::git) error: WriteError,
}

/// The rights of new files and directories in a repository, less the umask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::adapters::git) struct Rights {
    /// Bits that `core.sharedRepository` adds to files.
    shared: u32,
}

impl Rights {
    /// As `core.sharedRepository` says (git-config(1)).
    pub(in crate::adapters::git) fn of(value: Option<&[u8]>) -> Self {
        let shared = match value {
            Some(b"group" | b"true" | b"1") => 0o660,
            Some(b"all" | b"world" | b"everybody" | b"2") => 0o664,
            Some(octal) if octal.starts_with(b"0") && octal.len() > 1 => std::str::from_utf8(octal)
                .ok()
                .and_then(|octal| u32::from_str_radix(octal, 8).ok())
                .map_or(0, |mode| mode & 0o666),
            _ => 0,
        };
        Self { shared }
    }

    /// What a file that the umask gave `mode` shall have (`path.c: calc_shared_perm`); `None` when
    /// nothing is shared.
    pub(in crate::adapters::git) fn adjusted(self, mode: u32) -> Option<u32> {
        if self.shared == 0 {
            return None;
        }
        let mut tweak = self.shared;
        // What its owner may not write, others may not either.
        if mode & 0o200 == 0 {
            tweak &= !0o222;
        }
        if mode & 0o100 != 0 {
            tweak |= (tweak & 0o444) >> 2;
        }
        Some(mode | tweak)
    }
}

/// Write what is not there. When this returns, everything is on stable storage.
pub(in crate::adapters::git) fn write(
    disk: &dyn Disk,
    directory: &Path,
    known: &Objects,
    rights: Rights,
    objects: &[Object],
) -> Result<(), NotWritten> {
    let mut fresh: Vec<PathBuf> = Vec::new();
    let mut touched: Vec<PathBuf> = Vec::new();
    for object in objects {
        let path = place(directory, object.id);
        let parent = path.parent().expect("because an object's file is in a directory").to_owned();
        let refused = |error| NotWritten { path: path.clone(), error: WriteError::Refused(error) };
        if path.is_file() {
            // Perhaps by a process that ended before it synced the directory.
        } else if known.has(object.id) {
            continue;
        } else {
            if !parent.is_dir() {
                disk.create_dir(&parent).map_err(refused)?;
                share_directory(&parent, rights).map_err(refused)?;
                if !fresh.contains(&parent) {
                    fresh.push(parent.clone());
                }
            }
            put(disk, directory, &path, object, rights)
                .map_err(|error| NotWritten { path: path.clone(), error })?;
        }
        if !touched.contains(&parent) {
            touched.push(parent);
        }
    }
    if !fresh.is_empty() {
        touched.push(directory.to_owned());
    }
    for path in touched {
        disk.sync_dir(&path)
            .map_err(|error| NotWritten { path: path.clone(), error: WriteError::Unknown(error) })?;
    }
    Ok(())
}

fn put(
    disk: &dyn Disk,
    directory: &Path,
    path: &Path,
    object: &Object,
    rights: Rights,
) -> Result<(), WriteError> {
    let temp = directory.join(durable::temp_name(Path::new(&format!("tmp_obj_{}", object.id))));
    let whole = [format!("{} {}\0", object.kind, object.content.len()).as_bytes(), &object.content].concat();
    let packed = compress_to_vec_zlib(&whole, LEVEL);
    durable::put_file(disk, &temp, path, &packed, Open::NewWith(0o444), |mode| rights.adjusted(mode))
}

/// A new directory of a shared repository is the group's, and so is what is made in it.
fn share_directory(path: &Path, rights: Rights) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    // Like git's, it is readable as far as the umask allows; `Disk` makes directories for us alone.
    let plain = 0o777 & !umask();
    let wanted = rights.adjusted(plain).map_or(plain, |mode| mode | 0o2000);
    if mode == wanted {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(wanted))
}

/// The process's umask, without changing it; 022 where it cannot be told.
fn umask() -> u32 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o022)
}

fn place(directory: &Path, id: ObjectId) -> PathBuf {
    let hex = id.to_string();
    let (fan, name) = hex.split_at(2);
    directory.join(fan).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_rights_are_what_git_makes_of_them() {
        let adjusted = |value: &str, mode| Rights::of(Some(value.as_bytes())).adjusted(mode);
        assert_eq!(Rights::of(None).adjusted(0o444), None);
        assert_eq!(adjusted("umask", 0o600), None);
        assert_eq!(adjusted("group", 0o444), Some(0o444));
        assert_eq!(adjusted("group", 0o600), Some(0o660));
        assert_eq!(adjusted("group", 0o700), Some(0o770));
        assert_eq!(adjusted("all", 0o600), Some(0o664));
        assert_eq!(adjusted("0640", 0o600), Some(0o640));
    }
}
