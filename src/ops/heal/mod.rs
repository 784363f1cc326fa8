//! Heal: take modules that broke back to a pin that was verified, and see that it helped.
//!
//! In: the verdicts on the workspace as its HEAD has it, and what the journal remembers. Out: what was
//! healed, and for every other bad module one reason. The order for one module:
//!
//! ```text
//! derive the move back → heal.started (durable) → bad again, in a fresh sandbox?
//!   → does the candidate pass, and everything that sees it? → proposal.made
//!   → heal certificate → applied as any approved change → passes in the workspace? → heal.finished
//! ```
//!
//! Only the last step makes it `healed`; without it the pin goes back to where it was by the same
//! path. On the rung manual, and where the members document grants nothing, it ends with an open
//! proposal. Cut anywhere, the next cycle goes on: `recover` closes the application, and the heal
//! that the journal says is open is looked at before anything else here.

mod course;
mod end;
pub mod standing;
mod tidy;

use std::collections::BTreeMap;

use crate::domain::event::Event;
use crate::domain::graph::Graph;
use crate::domain::heal::history::Now;
use crate::domain::heal::{
    Decision, Facts, HealLimits, HealReport, Healed, Mandate, NotHealed, Reason, Rung, Uptime, decide,
};
use crate::domain::id::{ModuleName, RepoPath};
use crate::domain::module::Discovery;
use crate::domain::report::ModuleHealth;
use crate::domain::snapshot::{ModuleState, Snapshot};
use crate::domain::state::State;
use crate::ops::govern::{self, Rules};
use crate::ops::order;
use crate::ops::policy::above_the_floors;
use crate::ops::verify::{Bench, Runners};
use crate::ports::{Clock, Journal, PortResult, Repository, Sources, Superproject};

/// What healing works with. Whoever calls holds the cycle lock, and has recovered.
pub struct HealWorld<'a> {
    /// The workspace, read.
    pub repository: &'a dyn Repository,
    /// The workspace, changed.
    pub superproject: &'a dyn Superproject,
    /// The modules' sources.
    pub sources: &'a dyn Sources,
    /// What verifies modules.
    pub runners: Runners<'a>,
    /// The journal, whose one writer we are.
    pub journal: &'a mut dyn Journal,
    /// Time.
    pub clock: &'a dyn Clock,
    /// True once somebody asks to stop; looked at between modules.
    pub stop: &'a dyn Fn() -> bool,
}

/// How much is healed, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct HealOptions {
    /// How much may be done without a person.
    pub rung: Rung,
    /// The bounds.
    pub limits: HealLimits,
}

/// What the stages before found.
#[derive(Clone, Copy)]
pub struct HealLook<'a> {
    /// The modules.
    pub discovery: &'a Discovery,
    /// Their state.
    pub snapshot: &'a Snapshot,
    /// Their verdicts in the workspace as HEAD has it.
    pub rows: &'a [ModuleHealth],
}

/// What healing did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealOutcome {
    /// For the report.
    pub report: HealReport,
    /// True when the workspace's HEAD is another than before: look at it again.
    pub moved: bool,
}

impl HealOutcome {
    /// One short line.
    #[must_use]
    pub fn line(&self) -> String {
        let (healed, not) = (self.report.healed.len(), self.report.not_healed.len());
        match &self.report.stopped {
            Some(stopped) => format!("stopped: {} bad at once, {} may be", stopped.bad, stopped.limit),
            None if healed + not == 0 => "nothing to heal".to_owned(),
            None => format!("{healed} healed, {not} bad and left"),
        }
    }
}

/// Heal what can be healed. `state` is what the journal adds up to, with the configuration's holds, and
/// is brought up to what is journalled here.
///
/// # Errors
/// When the superproject or the journal cannot be read or written, when something that must be intact
/// is not, or when it was asked to stop: what was begun is gone on with in the next cycle. A module
/// that cannot be healed is a value.
pub fn heal(
    world: &mut HealWorld<'_>,
    state: &mut State,
    look: HealLook<'_>,
    options: HealOptions,
) -> PortResult<HealOutcome> {
    let mut outcome = HealOutcome::default();
    let nothing_open = state.heals.open.is_none() && !tidy::has_proposals(state);
    let quiet = state.heals.stopped.is_none() && look.rows.iter().all(|row| !row.verdict.is_bad());
    if nothing_open && quiet {
        return Ok(outcome);
    }
    let rules = if state.members.is_some() { Some(govern::rules(&*world.journal, state)?) } else { None };
    let mut ward = Ward { world, state, look, options, rules, graph: None };
    if ward.state.open_apply.is_some() {
        let reason = "an application that was begun waits to be finished".to_owned();
        outcome.report.not_healed = ward.all_bad(&Reason::NotNow { reason });
        return Ok(outcome);
    }
    let mut seen: Option<ModuleName> = None;
    if let Some(open) = ward.state.heals.open.clone() {
        let before = ward.head()?;
        let settled = course::resume(&mut ward, &open)?;
        outcome.moved |= ward.head()? != before;
        if let Some(settled) = settled {
            seen = Some(open.module.clone());
            record(&mut outcome.report, &open.module, open.from, Some(open.bad), settled);
        }
    }
    let rows: Vec<ModuleHealth> =
        look.rows.iter().filter(|row| Some(&row.name) != seen.as_ref()).cloned().collect();
    let decided = ward.decide(&rows);
    ward.stop_or_go_on(decided.stopped.as_ref())?;
    outcome.report.stopped = decided.stopped;
    let mandate = ward.mandate();
    for (module, decision) in decided.modules {
        let evidence = rows.iter().find(|row| row.name == module).and_then(|row| row.evidence);
        let from = rows.iter().find(|row| row.name == module).and_then(|row| row.revision);
        let settled = match decision {
            Decision::Leave(reason) => Err(reason),
            Decision::Heal(course) => {
                let before = ward.head()?;
                let settled = course::take(&mut ward, &course, &mandate)?;
                outcome.moved |= ward.head()? != before;
                settled
            }
        };
        if let Some(from) = from {
            record(&mut outcome.report, &module, from, evidence, settled);
        }
    }
    tidy::close_settled(&mut ward, &rows)?;
    outcome.report.healed.sort_by(|one, other| one.module.cmp(&other.module));
    outcome.report.not_healed.sort_by(|one, other| one.module.cmp(&other.module));
    Ok(outcome)
}

/// How one module came out.
type Settled = Result<Healed, Reason>;

fn record(
    report: &mut HealReport,
    module: &ModuleName,
    from: crate::domain::id::ObjectId,
    evidence: Option<crate::domain::id::Cid>,
    settled: Settled,
) {
    match settled {
        Ok(healed) => report.healed.push(healed),
        Err(reason) => report.not_healed.push(NotHealed { module: module.clone(), from, evidence, reason }),
    }
}

/// Everything at hand while modules are healed.
struct Ward<'w, 'a> {
    world: &'w mut HealWorld<'a>,
    state: &'w mut State,
    look: HealLook<'w>,
    options: HealOptions,
    rules: Option<Rules>,
    /// Made when it is first needed.
    graph: Option<Graph>,
}

impl Ward<'_, '_> {
    /// Journal an entry, and know it.
    fn append(&mut self, subject: &ModuleName, event: &Event) -> PortResult<u64> {
        let entry = self.world.journal.append(subject.as_str(), event)?;
        self.state.take(&entry);
        Ok(entry.seq)
    }

    /// The superproject's HEAD.
    fn head(&self) -> PortResult<Option<crate::domain::id::ObjectId>> {
        self.world.repository.head()
    }

    fn bench(&mut self) -> (Bench<'_>, &mut State) {
        let world = &mut *self.world;
        let bench = Bench {
            runners: world.runners,
            journal: &mut *world.journal,
            clock: world.clock,
            stop: world.stop,
        };
        (bench, &mut *self.state)
    }

    fn now(&self) -> Now {
        let clock = self.world.clock;
        let uptime = Uptime { boot: clock.boot(), mono_ms: clock.mono_ms() };
        Now { wall_ms: clock.wall_ms(), uptime }
    }

    fn graph(&mut self) -> PortResult<Graph> {
        if let Some(graph) = &self.graph {
            return Ok(graph.clone());
        }
        let (world, look) = (&*self.world, self.look);
        let map = RepoPath::from(order::DEP_GRAPH);
        let wiring = order::wiring(world.repository, world.sources, look.discovery, look.snapshot, &map)?;
        let graph = order::order(look.discovery, &wiring);
        self.graph = Some(graph.clone());
        Ok(graph)
    }

    fn decide(&self, rows: &[ModuleHealth]) -> crate::domain::heal::Decided {
        let unclean: BTreeMap<ModuleName, String> = self
            .look
            .snapshot
            .modules
            .iter()
            .filter_map(|module| Some((module.name.clone(), unclean(module)?)))
            .collect();
        let (sources, modules) = (self.world.sources, &self.look.discovery.modules);
        let allowed = |module: &ModuleName, at| match &self.rules {
            Some(rules) => above_the_floors(rules, sources, modules, module, at),
            None => Ok(()),
        };
        decide(&Facts {
            rows,
            verdicts: &self.state.verdicts,
            heals: &self.state.heals,
            holds: &self.state.holds,
            unclean: &unclean,
            limits: self.options.limits,
            floor: &allowed,
            now: self.now(),
        })
    }

    /// By what right something is done.
    fn mandate(&self) -> Mandate {
        let Some(rules) = &self.rules else { return Mandate::Report };
        if let Some(reason) = &self.state.stopped {
            return Mandate::Propose(format!("everything is held: {reason}"));
        }
        if self.options.rung == Rung::Manual {
            return Mandate::Propose("on the rung manual a person applies".to_owned());
        }
        if !rules.members.heal {
            let why = "the members document does not let modules be healed without a decision";
            return Mandate::Propose(why.to_owned());
        }
        if rules.members.has_run_out(self.now().wall_ms) {
            return Mandate::Propose(
                "the members document has run out, and grants nothing any more".to_owned(),
            );
        }
        Mandate::Act
    }

    /// Journal that too many are bad at once, or that this is over; once each.
    fn stop_or_go_on(&mut self, stopped: Option<&crate::domain::heal::Stopped>) -> PortResult<()> {
        let now = stopped.map(|stopped| (stopped.bad, stopped.limit));
        if self.state.heals.stopped == now {
            return Ok(());
        }
        let (bad, limit) = now.unwrap_or((0, self.options.limits.max_rollbacks_per_cycle));
        let bound = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let event = Event::HealStopped { bad: bound(bad), limit: bound(limit) };
        self.append(&ModuleName::new("heal"), &event).map(|_| ())
    }

    /// Every bad module, each with this reason.
    fn all_bad(&self, reason: &Reason) -> Vec<NotHealed> {
        let bad = self.look.rows.iter().filter(|row| row.verdict.is_bad());
        bad.filter_map(|row| {
            let (module, evidence) = (row.name.clone(), row.evidence);
            Some(NotHealed { module, from: row.revision?, evidence, reason: reason.clone() })
        })
        .collect()
    }
}

/// Why a module's checkout must not be touched, as a sentence without a final stop.
fn unclean(module: &ModuleState) -> Option<String> {
    if let Some(problem) = &module.problem {
        return Some(problem.clone());
    }
    if module.gitlink != module.committed {
        return Some("another pin of it is staged in the superproject".to_owned());
    }
    if !module.initialised {
        return None;
    }
    if module.operation.is_some() {
        return Some("an operation of git is under way in it".to_owned());
    }
    if module.dirty {
        return Some("it holds changes that are not committed".to_owned());
    }
    (module.head != module.committed).then(|| "another commit is checked out than its pin".to_owned())
}
