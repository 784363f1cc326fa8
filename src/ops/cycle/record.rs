//! Values of a cycle into the journal's store, and back.

use serde::Serialize;

use crate::domain::canonical;
use crate::domain::id::Cid;
use crate::domain::snapshot::Snapshot;
use crate::ports::{Journal, PortError, PortResult};

/// Store a value as canonical JSON; equal values have one identity and are stored once.
pub(super) fn store(journal: &mut dyn Journal, value: &impl Serialize) -> PortResult<Cid> {
    let bytes = canonical::to_canonical(value)
        .map_err(|error| PortError::failed("cannot write a value as canonical JSON").because(error))?;
    journal.store(&bytes)
}

/// A stored snapshot; `None` when it is not there any more or was written by a version whose
/// snapshots had another shape, so that there is nothing to compare with.
pub(super) fn load_snapshot(journal: &dyn Journal, cid: &Cid) -> PortResult<Option<Snapshot>> {
    Ok(journal.load(cid)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}
