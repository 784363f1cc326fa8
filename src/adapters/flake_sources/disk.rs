//! Directories as sources: the hash of what is there now, and files in it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{chain, not_at_hand};
use crate::adapters::git::nar::MAX_BYTES;
use crate::domain::flake::nar::{self, NarHash, Node};
use crate::domain::flake::relock::SourceError;
use crate::domain::text;

/// The hash of what is at `path`, and the newest modification time in it, as Nix takes it.
pub(super) fn hash(path: &Path) -> Result<(NarHash, u64), SourceError> {
    if !path.is_absolute() || fs::symlink_metadata(path).is_err() {
        return Err(not_at_hand(&format!(
            "there is nothing at {}",
            text::inert_bytes(path.as_os_str().as_bytes())
        )));
    }
    let disk = Disk { newest: Cell::new(0) };
    let hash =
        nar::hash(&disk, path.to_owned(), MAX_BYTES).map_err(|error| SourceError::Failed(chain(&error)))?;
    Ok((hash, u64::try_from(disk.newest.get()).unwrap_or(0)))
}

struct Disk {
    newest: Cell<i64>,
}

impl nar::Source for Disk {
    type Reference = PathBuf;
    type Content = Vec<u8>;
    type Error = std::io::Error;

    fn open(&self, path: PathBuf) -> Result<Node<PathBuf, Vec<u8>>, std::io::Error> {
        let meta = fs::symlink_metadata(&path)?;
        self.newest.set(self.newest.get().max(meta.mtime()));
        if meta.is_dir() {
            let mut entries = BTreeMap::new();
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                entries.insert(entry.file_name().as_bytes().to_vec(), entry.path());
            }
            Ok(Node::Directory(entries))
        } else if meta.is_file() {
            let mut content = Vec::new();
            fs::File::open(&path)?.take(MAX_BYTES).read_to_end(&mut content)?;
            Ok(Node::File { executable: meta.mode() & 0o100 != 0, content })
        } else if meta.is_symlink() {
            Ok(Node::Symlink(fs::read_link(&path)?.as_os_str().as_bytes().to_vec()))
        } else {
            let what =
                format!("{} is no file, directory or link", text::inert_bytes(path.as_os_str().as_bytes()));
            Err(std::io::Error::new(ErrorKind::InvalidInput, what))
        }
    }
}

/// A file below `top`; links are followed as long as they stay below.
pub(super) fn read(top: &Path, path: &str, most: u64) -> Result<Option<Vec<u8>>, SourceError> {
    let wanted = top.join(path);
    let failed = |error: std::io::Error| {
        SourceError::Failed(format!(
            "cannot read {}: {error}",
            text::inert_bytes(wanted.as_os_str().as_bytes())
        ))
    };
    let real = match fs::canonicalize(&wanted) {
        Ok(real) => real,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    if !real.starts_with(fs::canonicalize(top).map_err(failed)?) {
        return Err(SourceError::Failed(format!("{} leads out of its source", text::inert(path))));
    }
    let meta = fs::metadata(&real).map_err(failed)?;
    if !meta.is_file() {
        return Ok(None);
    }
    if meta.len() > most {
        return Err(SourceError::Failed(format!("{} has more than {most} bytes", text::inert(path))));
    }
    let mut content = Vec::new();
    fs::File::open(&real).and_then(|file| file.take(most).read_to_end(&mut content)).map_err(failed)?;
    Ok(Some(content))
}

/// Put a file of a work tree in place, whole or not at all; an existing one keeps its mode.
pub(super) fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mode = fs::metadata(path).map_or(0o644, |meta| meta.mode() & 0o7777);
    let mut file = tempfile::Builder::new().prefix(".flake.lock-").tempfile_in(dir)?;
    file.write_all(content)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_data()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(dir)?.sync_all()
}
