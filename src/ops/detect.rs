//! Detect: what every upstream says now, against what the superproject's HEAD records.

use crate::domain::event::Event;
use crate::domain::module::Discovery;
use crate::domain::snapshot::Snapshot;
use crate::domain::state::State;
use crate::domain::upgrade::Upgrade;
use crate::ports::{DetectOptions, Sources};

/// What detection found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detection {
    /// One row per module, sorted by name; refused ones are among them as `not-allowed`.
    pub upgrades: Vec<Upgrade>,
    /// `upstream.moved` for every tip that was not seen before, sorted by module.
    pub events: Vec<Event>,
}

/// Ask the upstreams and classify every module.
#[must_use]
pub fn detect(
    sources: &dyn Sources,
    discovery: &Discovery,
    snapshot: &Snapshot,
    state: &State,
    options: &DetectOptions,
) -> Detection {
    let _ = (sources, discovery, snapshot, state, options);
    Detection::default()
}
