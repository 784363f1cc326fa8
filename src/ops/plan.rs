//! Plan: what would be proposed, and for everything else why not.

use crate::domain::graph::Graph;
use crate::domain::pin::PinCheck;
use crate::domain::plan::{self, Plan, PlanLimits};
use crate::domain::snapshot::Snapshot;
use crate::domain::upgrade::Upgrade;

/// The plan for these statuses.
#[must_use]
pub fn plan(
    snapshot: &Snapshot,
    graph: &Graph,
    upgrades: &[Upgrade],
    pins: &[PinCheck],
    limits: &PlanLimits,
) -> Plan {
    plan::plan(snapshot, graph, upgrades, pins, limits)
}
