//! Judging by the policy's rules: what a change makes of the workspace, or the workspace as it is.
//!
//! In: a commit of the superproject with a change on it, the mirrors, the journal's state. Out:
//! findings, stored with the proposal (`proposal.judged`) and shown to whoever signs. While a finding
//! denies, the proposal is neither certified nor applied.
//!
//! ```text
//! rules that are set → what they need → gather → facts → judge → findings
//!                     (stage: each open proposal, in every cycle · gate: once more, before applying)
//! ```
//!
//! Judging is incremental: what depends on the tree alone is judged once for each tree, what the world
//! changes ([`Asks::World`]) in every cycle; nothing is gathered that no rule asks for. A new need of a
//! rule is a field of [`Facts`](crate::domain::policy::facts::Facts) and its place in `gather`.

mod aim;
mod contents;
mod floor;
mod gather;
mod judged;

pub use super::govern::now;
pub use aim::aim;
pub use floor::above_the_floors;
pub use gather::{Grounds, first_seen};
pub use judged::{Stage, Stood, denials, findings, gate, gate_document, look, look_at, narrowed, stage};

use crate::domain::change::PathEdit;
use crate::domain::governance::time::Times;
use crate::domain::id::ObjectId;
use crate::domain::module::Module;
use crate::domain::policy::facts::{ChangeFacts, Command};
use crate::domain::policy::rules::Asks;
use crate::domain::policy::{Finding, Policy};
use crate::domain::snapshot::Snapshot;
use crate::domain::state::State;
use crate::domain::upgrade::Upgrade;
use crate::ports::{PortResult, Sources, Superproject};

/// Where facts are gathered.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The superproject's objects.
    pub superproject: &'a dyn Superproject,
    /// The modules' mirrors and checkouts.
    pub sources: &'a dyn Sources,
    /// The modules, as discovery gives them.
    pub modules: &'a [Module],
    /// What this machine's configuration runs on the workspace.
    pub commands: &'a [Command],
    /// The workspace as it was seen last, where it was looked at.
    pub snapshot: Option<&'a Snapshot>,
    /// How its modules stood to their upstreams then; what is not in it is compared anew.
    pub upgrades: &'a [Upgrade],
}

/// What is judged.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// What changes on the commit, path by path.
    pub edits: &'a [PathEdit],
    /// What that change is; `None` for the commit as it is.
    pub change: Option<Change<'a>>,
}

/// A change that is judged.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// What it is for, and what it touches.
    pub facts: &'a ChangeFacts,
    /// The pins that move, with both ends.
    pub pins: &'a [crate::domain::plan::PinMove],
}

/// What the rules of a policy that ask in this way find. `grounds` are of the commit that is judged.
/// What cannot be found out is in the findings.
#[must_use]
pub fn judge(
    site: Site<'_>,
    grounds: &Grounds,
    state: &State,
    policy: &Policy,
    subject: Subject<'_>,
    now: Times,
    asks: Asks,
) -> Vec<Finding> {
    if !policy.rules.asks(asks) {
        return Vec::new();
    }
    let facts = gather::gather(site, grounds, state, policy, subject, now, asks);
    policy.rules.judge(&facts, asks)
}

/// Everything that the rules find in a commit as it is.
///
/// # Errors
/// When the superproject's objects cannot be read.
pub fn judge_tree(
    site: Site<'_>,
    state: &State,
    policy: &Policy,
    commit: ObjectId,
    now: Times,
) -> PortResult<Vec<Finding>> {
    let (subject, grounds) = (Subject { edits: &[], change: None }, Grounds::read(site, commit)?);
    let mut findings = judge(site, &grounds, state, policy, subject, now, Asks::Tree);
    findings.extend(judge(site, &grounds, state, policy, subject, now, Asks::World));
    findings.sort();
    Ok(findings)
}
