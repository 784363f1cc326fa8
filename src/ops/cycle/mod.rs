//! One cycle, from looking to reporting. It looks, verifies, plans and proposes. It changes the workspace
//! only where it was granted: a module that broke goes back to a pin that was verified, by the members
//! document; and on the upper rungs of the ladder what was certified, or what the policy's bounds allow, is
//! enacted. (`recover`, before it, finishes or undoes what was begun.)
//!
//! ```text
//! recover → snapshot → drift → verify → heal → detect → order → plan → candidates → propose → policy → enact → record
//! ```
//!
//! Each stage is a function of the values before it; after a heal everything is looked at again. What
//! is not done (applying, telling, and verifying where no steps are configured) is named in
//! [`Findings::not_done`], never pretended. The journal
//! says that a cycle began before anything else happens, and how it ended after everything else;
//! what did not change since the cycle before is not written again.

mod record;
mod verification;

use crate::domain::candidates::Candidates;
use crate::domain::drift::{Drift, DriftLimits};
use crate::domain::event::Event;
use crate::domain::id::{Cid, ModuleName, RepoPath};
use crate::domain::ladder::Ladder;
use crate::domain::module::Discovery;
use crate::domain::pin::PinCheck;
use crate::domain::plan::PlanLimits;
use crate::domain::policy::facts::Command;
use crate::domain::report::{CycleReport, Enactment, Findings, ModuleHealth, Phase, ProposalChanges};
use crate::domain::snapshot::Snapshot;
use crate::domain::state::State;
use crate::domain::upgrade::Status;
use crate::ops::enact::{self, EnactWorld, enact};
use crate::ops::heal::{HealLook, HealOptions, HealOutcome, HealWorld, heal};
use crate::ops::policy::{self, Site, Stage};
use crate::ops::propose::{Look, Proposed, Proposer, propose};
use crate::ops::recorder::Recorder;
use crate::ops::verify::{Bench, Runners};
use crate::ops::{candidates, detect, order, pins, plan};
use crate::ports::{
    Clock, DetectOptions, FailureKind, Governor, Journal, PortError, PortResult, Repository, SnapshotOptions,
    Sources, Superproject,
};

use record::{load_snapshot, store};
use verification::{Verification, verify_base};

/// What a cycle works with.
pub struct World<'a> {
    /// The operator's workspace.
    pub repository: &'a dyn Repository,
    /// The same, as what changes are derived on.
    pub superproject: &'a dyn Superproject,
    /// The upstreams.
    pub sources: &'a dyn Sources,
    /// What verifies modules; `None` when nothing is to be verified.
    pub runners: Option<Runners<'a>>,
    /// Who decides.
    pub governor: &'a dyn Governor,
    /// The journal, whose one writer we are.
    pub journal: &'a mut dyn Journal,
    /// Time.
    pub clock: &'a dyn Clock,
    /// True once somebody asks to stop; looked at between stages.
    pub stop: &'a dyn Fn() -> bool,
}

/// The bounds of a cycle.
#[derive(Debug, Clone)]
pub struct CycleOptions {
    /// What to read.
    pub snapshot: SnapshotOptions,
    /// How to ask upstreams.
    pub detect: DetectOptions,
    /// What may differ between two cycles before it is said loudly.
    pub drift: DriftLimits,
    /// How much to plan at once.
    pub plan: PlanLimits,
    /// How much is taken back, and by whom.
    pub heal: HealOptions,
    /// How much may be done without a person.
    pub ladder: Ladder,
    /// What this machine's configuration runs on the workspace: rules of the policy look at it.
    pub commands: Vec<Command>,
}

/// Run one cycle. `state` is what the journal adds up to before it; `cause` says why it runs.
///
/// # Errors
/// When the superproject or the journal cannot be read or written, or when it was asked to stop:
/// then the journal holds `cycle.finished` with the reason, as far as it can still be written.
pub fn run(
    world: &mut World<'_>,
    state: &State,
    options: &CycleOptions,
    cause: &str,
) -> PortResult<CycleReport> {
    let started_wall_ms = world.clock.wall_ms();
    let started = world.journal.append("cycle", &Event::CycleStarted { cause: cause.to_owned() })?.seq;
    let mut phases = Phases { clock: world.clock, done: Vec::new(), since_us: world.clock.mono_us() };
    match look(world, state, options, &mut phases) {
        Ok(seen) => {
            let report = store(world.journal, &seen.findings)?;
            phases.end("record", "journalled".to_owned());
            let phases = phases.done;
            world.journal.append(
                "cycle",
                &Event::CycleFinished {
                    started,
                    outcome: "ok".to_owned(),
                    report: Some(report),
                    reason: None,
                    phases_us: phases.iter().map(|phase| (phase.name.clone(), phase.elapsed_us)).collect(),
                },
            )?;
            Ok(CycleReport {
                schema: "lambda-os/run/v1".to_owned(),
                cycle: started,
                started_wall_ms,
                unchanged: state.snapshot == Some(seen.findings.snapshot),
                findings: seen.findings,
                drift: seen.drift,
                proposal_changes: seen.changes,
                phases,
            })
        }
        Err(error) => {
            let outcome = if error.kind == FailureKind::Interrupted { "interrupted" } else { "failed" };
            let finished = Event::CycleFinished {
                started,
                outcome: outcome.to_owned(),
                report: None,
                reason: Some(error.to_string()),
                phases_us: phases.done.iter().map(|phase| (phase.name.clone(), phase.elapsed_us)).collect(),
            };
            // If this fails too, the next start finds the open cycle and closes it.
            let _ = world.journal.append("cycle", &finished);
            Err(error)
        }
    }
}

/// What the stages give, before it is recorded as a whole.
struct Seen {
    findings: Findings,
    drift: Drift,
    changes: ProposalChanges,
}

/// The workspace as it was seen.
struct Eyes {
    discovery: Discovery,
    snapshot: Snapshot,
    cid: Cid,
}

fn see(world: &mut World<'_>, options: &CycleOptions) -> PortResult<Eyes> {
    let discovery = world.repository.discover()?;
    let snapshot = world.repository.snapshot(&discovery, &options.snapshot)?;
    let cid = store(world.journal, &snapshot)?;
    Ok(Eyes { discovery, snapshot, cid })
}

/// Take back what broke, where something verifies modules.
fn healed(
    world: &mut World<'_>,
    state: &mut State,
    eyes: &Eyes,
    verification: &Verification,
    options: HealOptions,
) -> PortResult<HealOutcome> {
    let Some(runners) = world.runners.filter(Runners::verify_anything) else {
        return Ok(HealOutcome::default());
    };
    let mut ward = HealWorld {
        repository: world.repository,
        superproject: world.superproject,
        sources: world.sources,
        runners,
        journal: &mut *world.journal,
        clock: world.clock,
        stop: world.stop,
    };
    let look = HealLook { discovery: &eyes.discovery, snapshot: &eyes.snapshot, rows: &verification.rows };
    heal(&mut ward, state, look, options)
}

/// The workspace as it is after something moved in it, and what is known of it so.
fn again(
    world: &mut World<'_>,
    state: &mut State,
    options: &CycleOptions,
) -> PortResult<(Eyes, Verification)> {
    let eyes = see(world, options)?;
    let modules = u32::try_from(eyes.snapshot.modules.len()).unwrap_or(u32::MAX);
    let head = eyes.snapshot.superproject.head;
    let taken = Event::SnapshotTaken { snapshot: eyes.cid, head, modules };
    world.journal.append("workspace", &taken)?;
    let verification = verify_base(world, state, &eyes)?;
    Ok((eyes, verification))
}

/// The workspace as it was seen, verified, and healed where that was to be done.
struct Well {
    eyes: Eyes,
    drift: Drift,
    verification: Verification,
    healing: HealOutcome,
}

fn well(
    world: &mut World<'_>,
    state: &mut State,
    options: &CycleOptions,
    phases: &mut Phases<'_>,
) -> PortResult<Well> {
    let mut eyes = see(world, options)?;
    phases.end(
        "snapshot",
        format!("{} modules, {} refused", eyes.snapshot.modules.len(), eyes.snapshot.refused.len()),
    );
    goes_on(world)?;

    let drift = drift_since(world, state, &eyes.snapshot, eyes.cid, &options.drift)?;
    phases.end("drift", format!("{} differences", drift.items.len()));
    goes_on(world)?;

    let mut verification = verify_base(world, state, &eyes)?;
    phases.end("verify", std::mem::take(&mut verification.outcome));
    goes_on(world)?;

    let healing = healed(world, state, &eyes, &verification, options.heal)?;
    if healing.moved {
        // What follows is about the workspace as it is now.
        (eyes, verification) = again(world, state, options)?;
    }
    phases.end("heal", healing.line());
    goes_on(world)?;
    Ok(Well { eyes, drift, verification, healing })
}

fn look(
    world: &mut World<'_>,
    state: &State,
    options: &CycleOptions,
    phases: &mut Phases<'_>,
) -> PortResult<Seen> {
    let mut state = state.clone();
    let Well { eyes, drift, mut verification, healing } = well(world, &mut state, options, phases)?;
    let Eyes { discovery, snapshot, cid: snapshot_cid } = eyes;
    let detection = detect::detect(world.sources, &discovery, &snapshot, &state, &options.detect);
    for event in &detection.events {
        let entry = world.journal.append("upstream", event)?;
        state.take(&entry);
    }
    let upgrades_cid = store(world.journal, &detection.upgrades)?;
    if state.upgrades != Some(upgrades_cid) {
        world.journal.append("upstreams", &Event::DetectFinished { upgrades: upgrades_cid })?;
    }
    let behind = detection.upgrades.iter().filter(|upgrade| upgrade.status == Status::Behind).count();
    phases.end("detect", format!("{} asked, {behind} behind", discovery.modules.len()));
    goes_on(world)?;

    let dep_graph = RepoPath::from(order::DEP_GRAPH);
    let wiring = order::wiring(world.repository, world.sources, &discovery, &snapshot, &dep_graph)?;
    let graph = order::order(&discovery, &wiring);
    let checks = pins::pins(&discovery, &snapshot, &wiring);
    let cycles: Vec<Vec<ModuleName>> = graph
        .components
        .iter()
        .map(|component| component.members.clone())
        .filter(|modules| modules.len() > 1)
        .collect();
    phases.end("order", format!("{} levels, {} cyclic components", graph.levels().len(), cycles.len()));
    goes_on(world)?;

    let now = policy::now(&state, world.clock);
    let (sources, modules) = (world.sources, &discovery.modules);
    let aimed = policy::aim(&*world.journal, sources, modules, &state, &detection.upgrades, now)?;
    let plan = plan::plan(&snapshot, &graph, &aimed, &checks, &options.plan);
    phases.end(
        "plan",
        format!(
            "{} to propose, {} waiting",
            plan.steps.len(),
            plan.waiting.iter().filter(|waiting| !waiting.settled).count()
        ),
    );

    goes_on(world)?;

    let look = Look {
        base: snapshot.superproject.head,
        modules: &discovery.modules,
        graph: &graph,
        checks: &checks,
        upgrades: &detection.upgrades,
        plan: &plan,
        candidates: None,
        unchanged: state.snapshot == Some(snapshot_cid) && state.upgrades == Some(upgrades_cid),
    };
    let candidates = combined(world, &mut state, look, &mut verification.rows, phases)?;
    let look = Look { candidates: candidates.as_ref(), ..look };
    let proposed = proposed(world, &mut state, look, options, phases)?;
    goes_on(world)?;
    let site = Site {
        superproject: world.superproject,
        sources: world.sources,
        modules: &discovery.modules,
        commands: &options.commands,
        snapshot: Some(&snapshot),
        upgrades: &detection.upgrades,
    };
    judged(world, &mut state, site, phases)?;
    let enactments = enacted(world, &mut state, &discovery, options)?;
    let mut now = Eyes { discovery, snapshot, cid: snapshot_cid };
    let mut open = proposed.open;
    if enactments.iter().any(|row| row.commit.is_some()) {
        // How upstreams stand to it is of before; the next cycle looks.
        (now, verification) = again(world, &mut state, options)?;
        open.retain(|row| enactments.iter().all(|done| done.id != row.id || done.commit.is_none()));
    }
    phases.end("enact", enact::summary(&enactments));

    let findings = Findings {
        snapshot: now.cid,
        modules: u32::try_from(now.snapshot.modules.len()).unwrap_or(u32::MAX),
        refused: now.snapshot.refused.clone(),
        problems: problems(&now.snapshot),
        upgrades: detection.upgrades,
        cycles,
        incoherent: checks.into_iter().filter(PinCheck::is_incoherent).collect(),
        plan,
        proposals: open,
        not_proposed: proposed.not_proposed,
        health: verification.rows,
        heal: healing.report,
        enactments,
        verified_how: verification.how,
        not_done: not_done(world),
    };
    Ok(Seen { findings, drift, changes: proposed.changes })
}

/// Verify what would be proposed in combination; `None` when nothing of it is to be verified.
fn combined(
    world: &mut World<'_>,
    state: &mut State,
    look: Look<'_>,
    health: &mut [ModuleHealth],
    phases: &mut Phases<'_>,
) -> PortResult<Option<Candidates>> {
    let Some(runners) = world.runners else { return Ok(None) };
    let stop = world.stop;
    let mut bench = Bench { runners, journal: world.journal, clock: world.clock, stop };
    let (superproject, sources) = (world.superproject, world.sources);
    let mut desk = candidates::Stage { superproject, sources, bench: &mut bench, state };
    let look = candidates::Look {
        base: look.base,
        modules: look.modules,
        graph: look.graph,
        checks: look.checks,
        upgrades: look.upgrades,
        plan: look.plan,
        health,
        most_runs: candidates::MOST_RUNS,
    };
    let Some(combined) = candidates::combine(&mut desk, look)? else { return Ok(None) };
    let (found, fresh) = (combined.candidates, combined.fresh);
    for verified in combined.run_again {
        if let Some(row) = health.iter_mut().find(|row| row.name == verified.module) {
            let asked = row.asked;
            *row = verification::row(&|_| asked, verified);
        }
    }
    let how = if fresh { format!("{} sets verified", found.runs) } else { "as known".to_owned() };
    phases.end("candidates", format!("{}, {how}", found.summary()));
    goes_on(world)?;
    Ok(Some(found))
}

/// Enact what may be enacted without a person.
fn enacted(
    world: &mut World<'_>,
    state: &mut State,
    discovery: &Discovery,
    options: &CycleOptions,
) -> PortResult<Vec<Enactment>> {
    let mut desk = EnactWorld {
        repository: world.repository,
        superproject: world.superproject,
        sources: world.sources,
        runners: world.runners,
        governor: world.governor,
        journal: &mut *world.journal,
        clock: world.clock,
        commands: &options.commands,
        stop: world.stop,
    };
    enact(&mut desk, state, discovery, &options.ladder)
}

/// Bring the proposals up to date.
fn proposed(
    world: &mut World<'_>,
    state: &mut State,
    look: Look<'_>,
    options: &CycleOptions,
    phases: &mut Phases<'_>,
) -> PortResult<Proposed> {
    let mut recorder = Recorder::new(&mut *world.journal);
    let mut desk = Proposer {
        superproject: world.superproject,
        sources: world.sources,
        journal: &mut recorder,
        state,
        now_ms: world.clock.wall_ms(),
        threads: options.snapshot.threads,
    };
    let proposed = propose(&mut desk, look);
    recorder.tell(state);
    let proposed = proposed?;
    phases.end(
        "propose",
        format!(
            "{} open, {} new, {} over, {} not proposed",
            proposed.open.len(),
            proposed.changes.made.len(),
            proposed.changes.closed.len(),
            proposed.not_proposed.len()
        ),
    );
    Ok(proposed)
}

/// Judge the proposals by the policy's rules.
fn judged(
    world: &mut World<'_>,
    state: &mut State,
    site: Site<'_>,
    phases: &mut Phases<'_>,
) -> PortResult<()> {
    let now = policy::now(state, world.clock);
    let stood = policy::stage(Stage { site, journal: world.journal, state, now, stop: world.stop })?;
    phases.end("policy", stood.line());
    goes_on(world)
}

/// What this cycle did not do.
fn not_done(world: &World<'_>) -> Vec<String> {
    let mut said = Vec::new();
    if !world.runners.is_some_and(|runners| runners.verify_anything()) {
        said.push("nothing was verified: no steps are configured, so no module is called healthy".to_owned());
    }
    said.push(
        "nothing was applied but what healing took back and what the ladder's upper rungs enacted: any \
         other proposal is applied when a person says so"
            .to_owned(),
    );
    said.push("nobody was told: this version sends no notifications".to_owned());
    said
}

fn problems(snapshot: &Snapshot) -> std::collections::BTreeMap<ModuleName, String> {
    snapshot
        .modules
        .iter()
        .filter_map(|module| Some((module.name.clone(), module.problem.clone()?)))
        .collect()
}

/// Compare with the snapshot of the cycle before, and journal what changed.
fn drift_since(
    world: &mut World<'_>,
    state: &State,
    snapshot: &Snapshot,
    cid: Cid,
    limits: &DriftLimits,
) -> PortResult<Drift> {
    if state.snapshot == Some(cid) {
        return Ok(Drift::default());
    }
    let drift = match &state.snapshot {
        None => Drift::default(),
        Some(before) => match load_snapshot(world.journal, before)? {
            Some(before) => Drift::between(&before, snapshot, limits),
            // The store may be cleaned by hand: then there is nothing to compare with.
            None => Drift::default(),
        },
    };
    let modules = u32::try_from(snapshot.modules.len()).unwrap_or(u32::MAX);
    let taken = Event::SnapshotTaken { snapshot: cid, head: snapshot.superproject.head, modules };
    world.journal.append("workspace", &taken)?;
    if !drift.is_empty() {
        let over_limit = u32::try_from(drift.over_limit.len()).unwrap_or(u32::MAX);
        let drift = store(world.journal, &drift)?;
        world.journal.append("workspace", &Event::DriftFound { drift, over_limit })?;
    }
    Ok(drift)
}

/// An error of the kind [`FailureKind::Interrupted`] once somebody asked to stop.
fn goes_on(world: &World<'_>) -> PortResult<()> {
    if (world.stop)() {
        return Err(PortError::failed("the cycle was asked to stop").kind(FailureKind::Interrupted));
    }
    Ok(())
}

/// The phases so far, and since when the next one runs.
struct Phases<'a> {
    clock: &'a dyn Clock,
    done: Vec<Phase>,
    since_us: u64,
}

impl Phases<'_> {
    fn end(&mut self, name: &str, outcome: String) {
        let now_us = self.clock.mono_us();
        let elapsed_us = now_us.saturating_sub(self.since_us);
        self.since_us = now_us;
        self.done.push(Phase { name: name.to_owned(), elapsed_us, outcome });
    }
}
