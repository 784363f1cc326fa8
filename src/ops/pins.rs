//! Pins: check for every module whether the places that record its revision agree.

use crate::domain::graph::Wiring;
use crate::domain::module::Discovery;
use crate::domain::pin::{self, PinCheck};
use crate::domain::snapshot::Snapshot;

/// One check for each module, sorted by name.
#[must_use]
pub fn pins(discovery: &Discovery, snapshot: &Snapshot, wiring: &Wiring) -> Vec<PinCheck> {
    pin::check(&discovery.modules, snapshot, wiring)
}
