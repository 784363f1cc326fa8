//! Candidates: verify what could be proposed in combination, find what holds together, and who is
//! to blame for the rest.
//!
//! In: the plan, one commit of the superproject with the verdicts on it, and what runs the steps.
//! Out: [`Candidates`]. A set of changes is derived as one change on the commit, as applying it
//! would; the modules that see something else there are verified, and all others keep their
//! verdicts. Which sets, [`crate::domain::combine`] says.
//!
//! ```text
//! reach   which modules each change has an influence on
//! trial   one set: derived, verified, answered
//! words   from what was found to sentences and claims
//! ```
//!
//! What was found is stored by content and journalled. While the commit, the changes, the verdicts
//! on the commit and what runs the steps are the same, and nothing that can pass by itself ran out,
//! nothing is derived or run again.

mod reach;
mod trial;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::domain::candidates::{CANDIDATES_VERSION, Candidates};
use crate::domain::canonical;
use crate::domain::combine::{self, Next, Question, Set};
use crate::domain::event::Event;
use crate::domain::graph::Graph;
use crate::domain::health::record::TRANSIENT_STANDS_MS;
use crate::domain::id::{Cid, ModuleName, ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::domain::pin::PinCheck;
use crate::domain::plan::{PinMove, Plan};
use crate::domain::proposal::MAX_PINS;
use crate::domain::report::ModuleHealth;
use crate::domain::state::State;
use crate::domain::upgrade::Upgrade;
use crate::ops::order::DEP_GRAPH;
use crate::ops::propose::{Base, Candidate, candidates, in_the_way};
use crate::ops::verify::{Bench, Committed, Verified, how};
use crate::ports::{PortError, PortResult, Sources, Superproject};

use trial::{Trial, Tried};

/// Most sets that are verified for one proposal, unless the caller says otherwise: enough for eight
/// culprits in a thousand when runs name who fails, and for as many in fifty-five when they do not.
pub const MOST_RUNS: usize = 100;

/// What the stage works with.
pub struct Stage<'a, 'b> {
    /// The operator's superproject, which is only read here.
    pub superproject: &'a dyn Superproject,
    /// The upstreams.
    pub sources: &'a dyn Sources,
    /// What verifies modules, and the journal.
    pub bench: &'a mut Bench<'b>,
    /// What the journal adds up to; it is brought up to what is found here.
    pub state: &'a mut State,
}

/// What the stages before found.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The superproject's HEAD.
    pub base: Option<ObjectId>,
    /// The workspace's modules.
    pub modules: &'a [Module],
    /// How they depend on each other.
    pub graph: &'a Graph,
    /// Whether their places agree.
    pub checks: &'a [PinCheck],
    /// Where they stand to their upstreams.
    pub upgrades: &'a [Upgrade],
    /// What would be proposed.
    pub plan: &'a Plan,
    /// The verdicts on the workspace as its HEAD has it.
    pub health: &'a [ModuleHealth],
    /// Most sets to verify for one proposal.
    pub most_runs: usize,
}

/// What the stage gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Combined {
    /// What was found.
    pub candidates: Candidates,
    /// False when it was known, and nothing was derived or run.
    pub fresh: bool,
    /// What was run again in the workspace as it is meanwhile, in order: newer than the verdicts that the
    /// stage was given.
    pub run_again: Vec<Verified>,
}

/// Verify what could be proposed in combination. `None` when nothing of it is to be verified: then
/// proposals are as without verification.
///
/// # Errors
/// When the superproject or the journal cannot be read or written, or it was asked to stop: the verdicts
/// found until then stay.
pub fn combine(stage: &mut Stage<'_, '_>, look: Look<'_>) -> PortResult<Option<Combined>> {
    let runners = stage.bench.runners;
    let Some(base) = look.base.filter(|_| runners.verify_anything()) else { return Ok(None) };
    let eligible: Vec<Candidate> = candidates(look.plan, look.graph, look.checks, look.upgrades)
        .into_iter()
        .filter(|candidate| in_the_way(stage.state, candidate).is_none())
        // What nothing verifies cannot be said to hold.
        .filter(|candidate| candidate.pins.iter().all(|pin| !runners.steps_of(&pin.module).is_empty()))
        .collect();
    if eligible.is_empty() {
        return Ok(None);
    }
    let bad = look.health.iter().filter(|row| row.verdict.is_bad());
    let already_failing: BTreeSet<ModuleName> = bad.map(|row| row.name.clone()).collect();
    let asked = asked(stage, look, &eligible, &already_failing)?;
    if let Some(candidates) = known(stage, base, asked)? {
        return Ok(Some(Combined { candidates, fresh: false, run_again: Vec::new() }));
    }
    let map = RepoPath::from(DEP_GRAPH);
    let Ok(read) = Base::read(stage.superproject, look.modules, base, &map)? else { return Ok(None) };
    let committed = Committed::read(stage.superproject, look.modules, base)?;
    let flakes = stage.sources.flakes(look.modules);
    let mut found = Candidates {
        v: CANDIDATES_VERSION,
        green: Vec::new(),
        aside: Vec::new(),
        needs: Vec::new(),
        runs: 0,
        over_bound: false,
        rests_on: Vec::new(),
        try_again: false,
    };
    let mut run_again = Vec::new();
    for window in windows(eligible) {
        let mut trial = Trial::new(stage.superproject, &read, flakes.as_ref(), &committed, look.health);
        search(stage, look, &mut trial, window, &already_failing, &mut found)?;
        run_again.extend(trial.run_again);
    }
    found.rests_on.sort();
    found.rests_on.dedup();
    let outcome = store(stage, &found)?;
    let event = Event::CandidatesVerified { base, asked, outcome };
    let entry = stage.bench.journal.append("candidates", &event)?;
    stage.state.take(&entry);
    Ok(Some(Combined { candidates: found, fresh: true, run_again }))
}

/// Search one window, and add what was found.
fn search(
    stage: &mut Stage<'_, '_>,
    look: Look<'_>,
    trial: &mut Trial<'_>,
    window: Vec<Candidate>,
    already_failing: &BTreeSet<ModuleName>,
    found: &mut Candidates,
) -> PortResult<()> {
    let pins: Vec<Vec<PinMove>> = window.into_iter().map(|candidate| candidate.pins).collect();
    // What cannot be derived by itself is proposed by itself, and gets its reason there.
    let (pins, try_again) = trial.derivable(pins)?;
    found.try_again |= try_again;
    if pins.is_empty() {
        return Ok(());
    }
    let question = Question {
        parts: reach::parts(&pins, look.graph, trial)?,
        already_failing: already_failing.clone(),
        most_runs: look.most_runs,
    };
    let mut answers = Vec::new();
    let mut tried: BTreeMap<Set, Tried> = BTreeMap::new();
    let outcome = loop {
        match combine::next(&question, &answers) {
            Next::Done(outcome) => break outcome,
            Next::Run(ask) => {
                let one = trial.run(stage.bench, stage.state, &pins, &ask)?;
                answers.push((ask.set.clone(), one.answer.clone()));
                tried.insert(ask.set, one);
            }
        }
    };
    let found_here =
        words::Found { pins: &pins, outcome: &outcome, tried: &tried, most_runs: look.most_runs };
    if let Some((claims, set)) = found_here.green(stage.state, look.health) {
        let bytes = claims.to_canonical().map_err(unwritable)?;
        stage.bench.journal.store(&bytes)?;
        found.green.push(set);
    }
    found.aside.extend(found_here.aside());
    found.needs.extend(found_here.needs());
    found.runs += u32::try_from(outcome.runs.len()).unwrap_or(u32::MAX);
    found.over_bound |= outcome.over_bound;
    found.try_again |= tried.values().any(|one| one.may_pass);
    found.rests_on.extend(tried.values().flat_map(Tried::may_change));
    Ok(())
}

/// As many changes together as one proposal holds, in their order.
fn windows(all: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    let (mut windows, mut window, mut pins) = (Vec::new(), Vec::new(), 0);
    for candidate in all {
        if pins + candidate.pins.len() > MAX_PINS {
            windows.push(std::mem::take(&mut window));
            pins = 0;
        }
        pins += candidate.pins.len();
        window.push(candidate);
    }
    windows.push(window);
    windows
}

/// The identity of what is asked: with the base, everything that the outcome depends on.
fn asked(
    stage: &Stage<'_, '_>,
    look: Look<'_>,
    eligible: &[Candidate],
    already_failing: &BTreeSet<ModuleName>,
) -> PortResult<Cid> {
    #[derive(Serialize)]
    struct Asked<'a> {
        v: u32,
        pins: Vec<&'a [PinMove]>,
        already_failing: &'a BTreeSet<ModuleName>,
        how: Option<Cid>,
        most_runs: usize,
    }
    let modules: Vec<ModuleName> = look.modules.iter().map(|module| module.name.clone()).collect();
    let asked = Asked {
        v: CANDIDATES_VERSION,
        pins: eligible.iter().map(|candidate| candidate.pins.as_slice()).collect(),
        already_failing,
        how: how(stage.bench.runners, &modules),
        most_runs: look.most_runs,
    };
    canonical::to_canonical(&asked).map(|bytes| Cid::of(&bytes)).map_err(unwritable)
}

/// What was found when the same was asked before, and still stands.
fn known(stage: &Stage<'_, '_>, base: ObjectId, asked: Cid) -> PortResult<Option<Candidates>> {
    let Some(tried) = stage.state.candidates.filter(|tried| (tried.base, tried.asked) == (base, asked))
    else {
        return Ok(None);
    };
    // The store may be cleaned by hand.
    let Some(bytes) = stage.bench.journal.load(&tried.outcome)? else { return Ok(None) };
    let Ok(found) = serde_json::from_slice::<Candidates>(&bytes) else { return Ok(None) };
    let now_ms = stage.bench.clock.wall_ms();
    let recent = (0..TRANSIENT_STANDS_MS).contains(&now_ms.saturating_sub(tried.wall_ms));
    let stand = found.rests_on.iter().all(|(module, key)| {
        let record = stage.state.verdicts.on(module, key);
        record.is_some_and(|record| record.stands(now_ms))
    });
    Ok((found.v == CANDIDATES_VERSION && stand && (recent || !found.try_again)).then_some(found))
}

fn store(stage: &mut Stage<'_, '_>, found: &Candidates) -> PortResult<Cid> {
    let bytes = found.to_canonical().map_err(unwritable)?;
    stage.bench.journal.store(&bytes)
}

fn unwritable(error: canonical::CanonicalError) -> PortError {
    PortError::failed("cannot write what verification found as canonical JSON").because(error)
}
