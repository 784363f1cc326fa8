//! The stage of a cycle that verifies the workspace as its HEAD has it.
//!
//! In: the snapshot, and what the journal remembers. Out: a row for each module. When neither the
//! workspace nor how it is verified changed and every verdict still stands, the rows are those of
//! the cycle before, and nothing is read or started.

use crate::domain::health::Verdict;
use crate::domain::id::{Cid, ModuleName};
use crate::domain::report::{Findings, ModuleHealth};
use crate::domain::state::State;
use crate::ops::verify::{Bench, Committed, Known, Origin, Runners, Verified, Where, how, verify};
use crate::ports::PortResult;

use super::{Eyes, World};

/// What the stage found.
pub(super) struct Verification {
    /// Each module's verdict, by name.
    pub(super) rows: Vec<ModuleHealth>,
    /// The identity of how they were verified.
    pub(super) how: Option<Cid>,
    /// One short line.
    pub(super) outcome: String,
}

/// Verify every module of HEAD.
///
/// # Errors
/// When the superproject or the journal cannot be read or written, or it was asked to stop.
pub(super) fn verify_base(world: &mut World<'_>, state: &mut State, eyes: &Eyes) -> PortResult<Verification> {
    let Eyes { discovery, snapshot, cid } = eyes;
    let (head, cid) = (snapshot.superproject.head, *cid);
    let modules: Vec<ModuleName> = discovery.modules.iter().map(|module| module.name.clone()).collect();
    let nothing = |reason: &str| {
        let verdict = Verdict::Unknown { reason: reason.to_owned() };
        let rows = modules.iter().map(|name| unknown(name, verdict.clone())).collect();
        Ok(Verification { rows, how: None, outcome: "nothing is verified".to_owned() })
    };
    let Some(runners) = world.runners.filter(Runners::verify_anything) else {
        return nothing("not verified: no steps of verification are configured");
    };
    let Some(head) = head else { return nothing("not verified: the superproject has no commit") };
    let how = how(runners, &modules);
    if let Some(rows) = rows_before(world, state, how, cid)? {
        let outcome = format!("{} modules as they were, nothing run", rows.len());
        return Ok(Verification { rows, how, outcome });
    }
    let scene = Committed::read(world.superproject, &discovery.modules, head)?.as_it_is();
    let stop = world.stop;
    let mut bench = Bench { runners, journal: world.journal, clock: world.clock, stop };
    let done = verify(&mut bench, state, &scene, &modules, Known::Stands, Where::Base)?;
    let count = |from: Origin| done.values().filter(|verified| verified.from == from).count();
    let outcome = format!(
        "{} run, {} known, {} with equal derivations, {} not to be verified",
        count(Origin::Run),
        count(Origin::Stands),
        count(Origin::Inherited),
        count(Origin::Nowhere)
    );
    let asked = |name: &ModuleName| !runners.steps_of(name).is_empty();
    let rows = done.into_values().map(|verified| row(&asked, verified)).collect();
    Ok(Verification { rows, how, outcome })
}

/// The rows of the cycle before, when they still hold.
fn rows_before(
    world: &World<'_>,
    state: &State,
    how: Option<Cid>,
    snapshot: Cid,
) -> PortResult<Option<Vec<ModuleHealth>>> {
    let before = state.last_look.as_ref().and_then(|look| look.report);
    let (Some(report), Some(how), true) = (before, how, state.snapshot == Some(snapshot)) else {
        return Ok(None);
    };
    let Some(bytes) = world.journal.load(&report)? else { return Ok(None) };
    // A report of another version has another shape: then everything is looked at again.
    let Ok(findings) = serde_json::from_slice::<Findings>(&bytes) else { return Ok(None) };
    if findings.snapshot != snapshot || findings.verified_how != Some(how) {
        return Ok(None);
    }
    let now_ms = world.clock.wall_ms();
    let stand = findings.health.iter().all(|row| match &row.key {
        // What could not be run is looked at again only when something changed: `how` would differ.
        None => true,
        Some(key) => {
            let record = state.verdicts.on(&row.name, key);
            record.is_some_and(|record| record.stands(now_ms) && record.verdict == row.verdict && record.base)
        }
    });
    Ok(stand.then_some(findings.health))
}

pub(super) fn row(asked: &dyn Fn(&ModuleName) -> bool, verified: Verified) -> ModuleHealth {
    let Verified { module, revision, key, verdict, flaky, evidence, since_ms, .. } = verified;
    let asked = asked(&module);
    ModuleHealth { name: module, verdict, revision, key, evidence, since_ms, flaky, asked }
}

fn unknown(name: &ModuleName, verdict: Verdict) -> ModuleHealth {
    ModuleHealth {
        name: name.clone(),
        verdict,
        revision: None,
        key: None,
        evidence: None,
        since_ms: None,
        flaky: false,
        asked: false,
    }
}
