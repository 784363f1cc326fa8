//! Large values by content: `objects/<two characters>/<cid>`.
//!
//! A value is complete and on stable storage before its name exists, and is checked against its
//! name whenever it is read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::super::durable::{self, Disk, Durability, Open};
use super::super::state_dir::StateDir;
use super::{integrity, shown};
use crate::domain::id::Cid;
use crate::ports::PortResult;

/// Store a value; storing it again is cheap. `is_named` says that an entry of the journal names an
/// identity: then its directories were synced before that entry was written.
pub(super) fn store(
    disk: &dyn Disk,
    state: &StateDir,
    bytes: &[u8],
    is_named: impl Fn(&Cid) -> bool,
) -> Result<Cid, StoreError> {
    let cid = Cid::of(bytes);
    let path = state.object(&cid);
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

/// Fewer than this are stored one by one: a sync of the whole file system may wait for others.
const BATCH: usize = 4;

/// Store many values, all or an error, with two syncs for all of them: every content is on stable
/// storage before any name exists.
pub(super) fn store_all(
    disk: &dyn Disk,
    state: &StateDir,
    values: &[&[u8]],
    is_named: impl Fn(&Cid) -> bool,
) -> Result<Vec<Cid>, StoreError> {
    if values.len() < BATCH {
        return values.iter().map(|bytes| store(disk, state, bytes, &is_named)).collect();
    }
    let cids: Vec<Cid> = values.iter().map(|bytes| Cid::of(bytes)).collect();
    let mut new: BTreeMap<Cid, &[u8]> = cids.iter().copied().zip(values.iter().copied()).collect();
    new.retain(|cid, bytes| {
        !(is_named(cid) && std::fs::read(state.object(cid)).is_ok_and(|old| old == *bytes))
    });
    if new.is_empty() {
        return Ok(cids);
    }
    let mut waiting = Vec::with_capacity(new.len());
    let done = put_all(disk, state, &new, &mut waiting);
    if done.is_err() {
        // A full disk needs the space back.
        for (temp, _) in waiting {
            let _ = disk.remove(&temp);
        }
    }
    done.map(|()| cids)
}

/// `waiting` holds the temporary files that are not under their names yet.
fn put_all(
    disk: &dyn Disk,
    state: &StateDir,
    new: &BTreeMap<Cid, &[u8]>,
    waiting: &mut Vec<(PathBuf, PathBuf)>,
) -> Result<(), StoreError> {
    let refused = |path: &Path| {
        let path = path.to_owned();
        move |error| StoreError { path, error: durable::WriteError::Refused(error) }
    };
    let unknown =
        |path: PathBuf| move |error| StoreError { path, error: durable::WriteError::Unknown(error) };
    for (cid, bytes) in new {
        let path = state.object(cid);
        let directory = path.parent().expect("because a place has a directory");
        if !directory.is_dir() {
            disk.create_dir(directory).map_err(refused(directory))?;
        }
        let temp = state.cache().join(durable::temp_name(&path));
        waiting.push((temp.clone(), path));
        let file = durable::open_new(disk, &temp, Open::New).map_err(refused(&temp))?;
        durable::write_all_at(disk, &file, bytes, 0).map_err(refused(&temp))?;
    }
    disk.sync_all(&state.cache()).map_err(unknown(state.cache()))?;
    while let Some((temp, path)) = waiting.last() {
        disk.rename(temp, path).map_err(refused(path))?;
        waiting.pop();
    }
    disk.sync_all(&state.objects()).map_err(unknown(state.objects()))
}

/// A value that was not stored, and whether the disk's state is known.
pub(super) struct StoreError {
    pub(super) path: PathBuf,
    pub(super) error: durable::WriteError,
}

/// A stored value, checked.
pub(super) fn load(state: &StateDir, cid: &Cid) -> PortResult<Option<Vec<u8>>> {
    let path = state.object(cid);
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
