//! What one process does, from opening the journal to its end: a cycle as the daemon runs it, or
//! one of the verbs of people.

use std::collections::BTreeMap;
use std::time::Duration;

use lambda_os::domain::drift::DriftLimits;
use lambda_os::domain::event::Event;
use lambda_os::domain::governance::ballot::Choice;
use lambda_os::domain::heal::{HealLimits, Rung};
use lambda_os::domain::id::{ModuleName, ObjectId, ProposalId};
use lambda_os::domain::ladder::Ladder;
use lambda_os::domain::plan::PlanLimits;
use lambda_os::domain::report::Findings;
use lambda_os::ops::apply::{self, Mode};
use lambda_os::ops::authority::Authority;
use lambda_os::ops::cycle::{self, CycleOptions};
use lambda_os::ops::exchange::Place;
use lambda_os::ops::govern::Word;
use lambda_os::ops::heal::HealOptions;
use lambda_os::ops::recover::{self, RecoveredApply, Workspace};
use lambda_os::ops::rollback::{self, Wanted};
use lambda_os::ops::{govern, order, trust};
use lambda_os::ports::{
    Clock as _, DetectOptions, FailureKind, Journal as _, PortError, PortResult, Repository as _,
    SnapshotOptions,
};

use super::fault::locked;
use super::journal::Writer;
use super::machine::Machine;
use super::people::People;

/// What a process is for.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// `init`.
    Init,
    /// `run --once`, or one round of the daemon.
    Cycle,
    /// `proposal approve`, `reject`.
    Vote(ProposalId, usize, Choice),
    /// `proposal apply`.
    Apply(ProposalId),
    /// `proposal withdraw`.
    Withdraw(ProposalId),
    /// `hold`.
    Hold(ModuleName),
    /// `unhold`.
    Unhold(ModuleName),
    /// The proposal of `rollback`.
    Rollback(ModuleName, ObjectId),
}

/// What a process came to.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// What a cycle found.
    pub(crate) findings: Option<Findings>,
    /// What recovery had to leave open.
    pub(crate) waits: bool,
    /// Why bad modules were left as they are.
    pub(crate) left: Vec<&'static str>,
}

/// The bounds of a cycle.
fn options(rung: Rung) -> CycleOptions {
    CycleOptions {
        snapshot: snapshot_options(),
        detect: DetectOptions {
            offline: false,
            probe_timeout: Duration::from_secs(1),
            fetch_timeout: Duration::from_secs(1),
            parallel: 1,
            parallel_per_host: 1,
            max_mirror_bytes: 1 << 20,
            max_refs: 100,
            allow_local_urls: false,
        },
        drift: DriftLimits::default(),
        plan: PlanLimits::default(),
        heal: HealOptions { rung, limits: HealLimits::default() },
        ladder: Ladder { rung, tracks: BTreeMap::new() },
        commands: Vec::new(),
    }
}

fn snapshot_options() -> SnapshotOptions {
    SnapshotOptions { hash_untracked_bytes: None, max_untracked: 100, threads: 1 }
}

/// Run one.
pub(crate) fn run(machine: &Machine, people: &People, act: &Act) -> PortResult<Done> {
    {
        let mut bench = locked(&machine.bench);
        bench.process += 1;
        bench.runs.clear();
    }
    let mut journal = Writer::open(&machine.disk, &machine.faults, machine)?;
    let mut done = Done::default();
    let result = match act {
        Act::Init => {
            let state = journal.state().clone();
            trust::trust(&mut journal, &state, &people.members, &people.policy)
        }
        Act::Cycle => one_cycle(machine, people, &mut journal, &mut done),
        Act::Vote(id, voter, choice) => vote(machine, people, &mut journal, *id, *voter, *choice),
        Act::Apply(id) => applied(machine, people, &mut journal, *id, &mut done),
        Act::Withdraw(id) => {
            let state = journal.state().clone();
            govern::withdraw(&mut journal, &state, *id, "not wanted")
        }
        Act::Hold(module) => {
            let event = Event::ModuleHeld { module: module.clone(), reason: "by hand".to_owned() };
            journal.append(module.as_str(), &event).map(|_| ())
        }
        Act::Unhold(module) => {
            let accepted = journal.state().tips.get(module).and_then(|seen| seen.rewritten_to);
            let event = Event::ModuleUnheld { module: module.clone(), accepted };
            journal.append(module.as_str(), &event).map(|_| ())
        }
        Act::Rollback(module, to) => roll_back(machine, &mut journal, module, *to, &mut done),
    };
    let same = journal.is_as_on_disk().map_err(PortError::failed)?;
    assert!(same, "the state of the process is not what the journal adds up to");
    result.map(|()| done)
}

/// Close what an earlier process left open. False when that has to wait.
fn recovered(machine: &Machine, journal: &mut Writer<'_>, done: &mut Done) -> PortResult<bool> {
    let before = journal.state().clone();
    let workspace = Workspace { repository: machine, superproject: machine };
    let recovered = recover::recover(journal, &before, workspace)?;
    done.waits = matches!(recovered.apply, Some(RecoveredApply::Waits { .. }));
    Ok(!done.waits)
}

fn one_cycle(
    machine: &Machine,
    people: &People,
    journal: &mut Writer<'_>,
    done: &mut Done,
) -> PortResult<()> {
    recovered(machine, journal, done)?;
    let state = journal.state().clone();
    govern::settle(journal, &state, &people.governor, machine)?;
    let state = journal.state().clone();
    let own_steps = BTreeMap::new();
    let mut world = cycle::World {
        repository: machine,
        superproject: machine,
        sources: machine,
        runners: Some(machine.runners(&own_steps)),
        governor: &people.governor,
        journal,
        clock: machine,
        stop: &|| false,
    };
    let report = cycle::run(&mut world, &state, &options(people.rung), "once")?;
    done.left = report.findings.heal.not_healed.iter().map(|row| row.reason.as_str()).collect();
    done.findings = Some(report.findings);
    Ok(())
}

fn vote(
    machine: &Machine,
    people: &People,
    journal: &mut Writer<'_>,
    id: ProposalId,
    voter: usize,
    choice: Choice,
) -> PortResult<()> {
    let state = journal.state().clone();
    let rules = govern::rules(journal, &state)?;
    let case = govern::case(journal, &state, id)?;
    let name = people.name(voter);
    let seq = govern::next_seq(journal, &state, name)?;
    let seen = locked(&machine.git).head();
    let word = Word { voter: name, choice, seq, reason: None, now_ms: machine.wall_ms() };
    let ballot = govern::draft(&rules, &case, seen, &word);
    let message = people.sign(voter, &ballot);
    if choice == Choice::Approve {
        locked(&machine.approved).entry(id).or_default().insert(name.to_owned());
    }
    govern::take_in(journal, &state, &message, machine.wall_ms())?;
    let state = journal.state().clone();
    govern::settle(journal, &state, &people.governor, machine).map(|_| ())
}

fn applied(
    machine: &Machine,
    people: &People,
    journal: &mut Writer<'_>,
    id: ProposalId,
    done: &mut Done,
) -> PortResult<()> {
    if !recovered(machine, journal, done)? {
        return Ok(());
    }
    let state = journal.state().clone();
    let mut world = apply::World {
        repository: machine,
        superproject: machine,
        sources: machine,
        journal,
        authority: Authority::Ballots(&people.governor),
        clock: machine,
        commands: &[],
    };
    apply::apply(&mut world, &state, id, Mode::Act).map(|_| ())
}

fn roll_back(
    machine: &Machine,
    journal: &mut Writer<'_>,
    module: &ModuleName,
    to: ObjectId,
    done: &mut Done,
) -> PortResult<()> {
    if !recovered(machine, journal, done)? {
        return Ok(());
    }
    let state = journal.state().clone();
    let seen = order::see(machine, machine, &snapshot_options())?;
    let pinned = seen.snapshot.modules.iter().find(|state| state.name == *module);
    let from = pinned.and_then(|state| state.committed);
    let from =
        from.ok_or_else(|| PortError::failed("HEAD has no gitlink for it").kind(FailureKind::Usage))?;
    let graph = order::order(&seen.discovery, &seen.wiring);
    let head = machine.head()?;
    let place = Place {
        superproject: machine,
        sources: machine,
        modules: &seen.discovery.modules,
        graph: &graph,
        head: head.expect("because there is a commit"),
        now_ms: machine.wall_ms(),
    };
    let wanted = Wanted { module, from, to, reason: "it was better before" };
    rollback::propose(journal, &state, place, wanted).map(|_| ())
}
