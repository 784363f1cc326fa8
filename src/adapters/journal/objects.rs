//! Large values by content: `objects/<two characters>/<cid>`.
//!
//! A value is complete and on stable storage before its name exists, and is checked against its
//! name whenever it is read.

use std::io;
use std::path::PathBuf;

use super::super::durable::{self, Disk, Durability};
use super::super::state_dir::StateDir;
use super::{integrity, shown};
use crate::domain::id::Cid;
use crate::ports::PortResult;

/// Where a value is kept. All identities begin alike; the two characters after that spread them.
pub(super) fn place(state: &StateDir, cid: &Cid) -> PathBuf {
    let name = cid.to_string();
    state.objects().join(&name[8..10]).join(name)
}

/// Store a value; storing it again is cheap. `is_named` says that an entry of the journal names an
/// identity: then its directories were synced before that entry was written.
pub(super) fn store(
    disk: &dyn Disk,
    state: &StateDir,
    bytes: &[u8],
    is_named: impl Fn(&Cid) -> bool,
) -> Result<Cid, StoreError> {
    let cid = Cid::of(bytes);
    let path = place(state, &cid);
    let directory = path.parent().expect("because a place has a directory").to_owned();
    let refused = |error| StoreError { path: path.clone(), error: durable::WriteError::Refused(error) };
    let unknown = |error| StoreError { path: path.clone(), error: durable::WriteError::Unknown(error) };
    // Damaged content is replaced. What is there and right may come from a process that died
    // before it synced the directories: they are synced below.
    let there = std::fs::read(&path).is_ok_and(|old| old == bytes);
    if there && is_named(&cid) {
        return Ok(cid);
    }
    if there {
        disk.sync_dir(&directory).map_err(unknown)?;
    } else {
        if !directory.is_dir() {
            disk.create_dir(&directory).map_err(refused)?;
        }
        durable::write_file_via(disk, &state.cache(), &path, bytes, Durability::Synced)
            .map_err(|error| StoreError { path: path.clone(), error })?;
    }
    disk.sync_dir(&state.objects()).map_err(unknown)?;
    Ok(cid)
}

/// A value that was not stored, and whether the disk's state is known.
pub(super) struct StoreError {
    pub(super) path: PathBuf,
    pub(super) error: durable::WriteError,
}

/// A stored value, checked.
pub(super) fn load(state: &StateDir, cid: &Cid) -> PortResult<Option<Vec<u8>>> {
    let path = place(state, cid);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(durable::port_error(format!("cannot read {}", shown(&path)), error)),
    };
    if Cid::of(&bytes) != *cid {
        return Err(integrity(format!(
            "cannot trust {}: its content is not what its name says",
            shown(&path)
        )));
    }
    Ok(Some(bytes))
}
