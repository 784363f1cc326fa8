//! Writing to disk, with errors that say what was attempted on what.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::domain::text;
use crate::ports::{PortError, PortResult};

fn failed(attempt: &str, path: &Path, error: io::Error) -> PortError {
    let path = text::inert_bytes(path.as_os_str().as_encoded_bytes());
    PortError::failed(format!("cannot {attempt} {path}")).because(error)
}

/// A file with this content; its directory is made where needed.
pub(super) fn write(path: &Path, content: &[u8]) -> PortResult<()> {
    let result = fs::write(path, content).or_else(|error| match path.parent() {
        Some(parent) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent)?;
            fs::write(path, content)
        }
        _ => Err(error),
    });
    result.map_err(|error| failed("write", path, error))
}

/// A directory and those above it.
pub(super) fn create_dir(path: &Path) -> PortResult<()> {
    fs::create_dir_all(path).map_err(|error| failed("make the directory", path, error))
}

/// Permissions.
pub(super) fn set_mode(path: &Path, mode: u32) -> PortResult<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| failed("set the permissions of", path, error))
}

/// A symbolic link.
pub(super) fn link_to(target: &Path, path: &Path) -> PortResult<()> {
    symlink(target, path).map_err(|error| failed("make the link", path, error))
}

/// The same file under another name, or a copy of it.
pub(super) fn link(from: &Path, to: &Path) -> PortResult<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(|_| ()))
        .map_err(|error| failed("write", to, error))
}

/// A file's content.
pub(super) fn read(path: &Path) -> PortResult<Vec<u8>> {
    fs::read(path).map_err(|error| failed("read", path, error))
}

/// A file that is there goes.
pub(super) fn remove_file(path: &Path) -> PortResult<()> {
    fs::remove_file(path).map_err(|error| failed("remove", path, error))
}

/// A directory goes with all that is in it; it may be absent.
pub(super) fn remove_dir(path: &Path) -> PortResult<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => Ok(()),
    }
}

/// True when the directory is absent or holds nothing.
pub(super) fn is_vacant(path: &Path) -> PortResult<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed("read", path, error)),
    }
}

/// The path without links, absolute.
pub(super) fn canonical(path: &Path) -> PortResult<std::path::PathBuf> {
    fs::canonicalize(path).map_err(|error| failed("find", path, error))
}
