//! One world: a machine, its people, and a sequence of processes that a number decides, each of which
//! may die or fail once; in between things happen, and at the end everything calms down.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lambda_os::domain::event::Event;
use lambda_os::domain::governance::ballot::Choice;
use lambda_os::domain::heal::HealEnd;
use lambda_os::domain::id::{ModuleName, ObjectId, ProposalId, RepoPath};
use lambda_os::domain::proposal::Stage;
use lambda_os::ops::status;
use lambda_os::ports::{Clock as _, FailureKind, PortError};

use super::checks::{Checks, untouched};
use super::fault::{Armed, Call, Counted, Dead, Fault, locked};
use super::journal::entry;
use super::machine::Machine;
use super::people::People;
use super::process::{Act, Done, run};
use super::random::Random;
use super::{verdicts, weather};

/// How many cycles a world has, but for those at its end.
const CYCLES: u64 = 36;

/// How many cycles everything has to come to rest in, once nothing disturbs any more.
const CALM: u64 = 6;

/// A world as it goes on.
pub(crate) struct World {
    machine: Machine,
    people: People,
    random: Random,
    checks: Checks,
    /// What happened, one line each.
    pub(crate) story: Vec<String>,
    /// How many calls the process before made.
    calls: Counted,
    /// What people set out to do, the next thing last.
    intended: Vec<Act>,
    /// How many cycles began.
    pub(crate) cycles: u64,
    /// How often something went wrong in a process, by what and where.
    pub(crate) faults: BTreeMap<String, u64>,
    /// How often what was done.
    pub(crate) deeds: BTreeMap<&'static str, u64>,
}

/// How a process ended.
enum End {
    Done(Box<Done>),
    Failed(PortError),
    Died,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let machine = Machine::new(seed);
        let first = locked(&machine.git).main;
        Self {
            people: People::new(seed, first),
            random: Random::new(seed, "world"),
            machine,
            checks: Checks::default(),
            story: Vec::new(),
            calls: Counted::default(),
            intended: Vec::new(),
            cycles: 0,
            faults: BTreeMap::new(),
            deeds: BTreeMap::new(),
        }
    }

    /// How often what was journalled.
    pub(crate) fn said(&self) -> &BTreeMap<&'static str, u64> {
        &self.checks.said
    }

    /// The lines of its journal.
    pub(crate) fn journal(&self) -> Vec<Vec<u8>> {
        locked(&self.machine.disk).lines.clone()
    }

    /// Let it run to its end.
    ///
    /// # Errors
    /// What did not hold.
    pub(crate) fn live(&mut self) -> Result<(), String> {
        self.quietly(&Act::Init)?;
        while self.cycles < CYCLES {
            for _ in 0..self.random.below(3) {
                let said = weather::change(&self.machine, &mut self.random);
                self.story.push(said);
            }
            let act = self.choose();
            let fault = self.random.chance(35).then(|| self.fault());
            self.process(&act, fault)?;
        }
        self.come_to_rest()
    }

    /// What goes wrong in a process; never, when it comes to its end before.
    fn fault(&mut self) -> Armed {
        let fault = Fault::ALL[self.random.below(Fault::ALL.len())];
        let among = self.random.chance(60).then_some(Call::Write);
        let (made, more) = if among.is_some() { (self.calls.writes, 6) } else { (self.calls.all, 4) };
        Armed { among, at: 1 + self.random.next() % (made + more), fault }
    }

    /// A process in which nothing goes wrong.
    fn quietly(&mut self, act: &Act) -> Result<End, String> {
        self.process(act, None)
    }

    /// What the next process is for.
    fn choose(&mut self) -> Act {
        if let Some(act) = self.intended.pop() {
            return act;
        }
        let state = self.checks.state();
        let mut open: Vec<ProposalId> = state.open_proposals().map(|(id, _)| *id).collect();
        if self.random.chance(6) {
            // People also ask for what is over.
            open = state.proposals.keys().copied().collect();
        }
        let modules: Vec<ModuleName> =
            locked(&self.machine.upstreams).iter().map(|upstream| ModuleName::new(&upstream.name)).collect();
        let random = &mut self.random;
        let proposal = random.pick(&open).copied();
        let module = random.pick(&modules).expect("because there are modules").clone();
        match (random.below(100), proposal) {
            (45..70, Some(id)) => {
                // Everybody says yes, and it is applied.
                self.intended.push(Act::Apply(id));
                if random.chance(20) {
                    self.intended.push(Act::Cycle);
                }
                let voters = 1..self.people.count();
                self.intended.extend(voters.map(|voter| Act::Vote(id, voter, Choice::Approve)));
                Act::Vote(id, 0, Choice::Approve)
            }
            (70..84, Some(id)) => {
                let choice = match random.below(10) {
                    0 => Choice::Reject,
                    1 => Choice::Abstain,
                    _ => Choice::Approve,
                };
                Act::Vote(id, random.below(self.people.count()), choice)
            }
            (84..92, Some(id)) => Act::Apply(id),
            (92, Some(id)) => Act::Withdraw(id),
            (93, _) => Act::Hold(module),
            (94..97, _) => Act::Unhold(module),
            (97..100, _) => {
                let history =
                    self.machine.upstream(module.as_str(), |upstream| upstream.history(upstream.tip));
                let to = random.pick(&history.unwrap_or_default()).copied();
                to.map_or(Act::Cycle, |to| Act::Rollback(module, to))
            }
            _ => Act::Cycle,
        }
    }

    /// Run a process, and look at what it left.
    fn process(&mut self, act: &Act, fault: Option<Armed>) -> Result<End, String> {
        let before = locked(&self.machine.git).place();
        let moves = locked(&self.machine.moves).len();
        let began = self.checks.state().open_apply.as_ref().map(|open| (open.expected, open.target));
        self.machine.faults.arm(fault);
        let (machine, people) = (&self.machine, &self.people);
        let ended = catch_unwind(AssertUnwindSafe(|| run(machine, people, act)));
        let (calls, fired) = self.machine.faults.account();
        self.calls = calls;
        if let Some((fault, call)) = fired {
            *self.faults.entry(format!("{call} {fault:?}")).or_default() += 1;
        }
        if matches!(act, Act::Cycle) {
            self.cycles += 1;
        }
        let end = match ended {
            Ok(Ok(done)) => End::Done(Box::new(done)),
            Ok(Err(error)) => End::Failed(error),
            Err(thrown) if thrown.is::<Dead>() => End::Died,
            Err(thrown) => return Err(format!("{act:?} panicked: {}", words(thrown.as_ref()))),
        };
        self.story.push(format!("{act:?}: {}", said(&end, fired)));
        if let End::Failed(error) = &end
            && error.kind == FailureKind::Integrity
        {
            return Err(format!("{act:?} calls intact things damaged: {}", chain(error)));
        }
        self.checks.look(&self.machine)?;
        if let End::Done(done) = &end {
            for why in &done.left {
                *self.deeds.entry(*why).or_default() += 1;
            }
        }
        if let End::Done(done) = &end
            && let Some(findings) = &done.findings
        {
            verdicts::report(&self.machine, self.checks.state(), findings)?;
        }
        let after = locked(&self.machine.git).place();
        let mut landings: Vec<(ObjectId, ObjectId)> =
            locked(&self.machine.moves)[moves..].iter().map(|one| (one.expected, one.target)).collect();
        landings.extend(began);
        let changed = landings.iter().flat_map(|(from, to)| self.differing(*from, *to)).collect();
        untouched(&before, &after, &changed)?;
        let applied = landings.len() - usize::from(began.is_some());
        *self.deeds.entry("landed").or_default() += applied as u64;
        Ok(end)
    }

    /// The paths in which two commits differ.
    fn differing(&self, from: ObjectId, to: ObjectId) -> BTreeSet<RepoPath> {
        let git = locked(&self.machine.git);
        let (Some(from), Some(to)) = (git.tree(from), git.tree(to)) else { return BTreeSet::new() };
        to.iter()
            .filter(|(path, content)| from.get(*path) != Some(content))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Nothing disturbs any more: everything ends, and then nothing is written that says nothing.
    fn come_to_rest(&mut self) -> Result<(), String> {
        weather::calm(&self.machine);
        self.story.push("everything calms down".to_owned());
        let mut left = CALM;
        loop {
            let before = locked(&self.machine.disk).lines.len();
            let done = match self.quietly(&Act::Cycle)? {
                End::Done(done) => done,
                End::Failed(error) => {
                    return Err(format!("a cycle fails though all is well: {}", chain(&error)));
                }
                End::Died => return Err("a process died by itself".to_owned()),
            };
            let state = self.checks.state();
            if state.open_cycle.is_some() {
                return Err("a cycle ended and is still open".to_owned());
            }
            let written = self.said_anew(before);
            if state.open_apply.is_none() && state.heals.open.is_none() && written == 2 {
                return self.is_said(&done);
            }
            left -= 1;
            if left == 0 {
                let (apply, heal) = (&state.open_apply, &state.heals.open);
                let lines = locked(&self.machine.disk).lines[before..].to_vec();
                let bodies: Vec<String> =
                    lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
                return Err(format!(
                    "it does not come to rest, open: {apply:?}, {heal:?}; the last cycle wrote\n  {}",
                    bodies.join("\n  ")
                ));
            }
        }
    }

    /// How many entries there are after these, but for heals that were tried and not confirmed: those
    /// are tried again in every cycle.
    fn said_anew(&self, before: usize) -> usize {
        let lines = locked(&self.machine.disk).lines[before..].to_vec();
        let (mut written, mut tried) = (lines.len(), 0);
        for read in lines.iter().filter_map(|line| entry(line).ok()) {
            match read.event {
                Event::HealStarted { .. } => tried = 1,
                Event::VerifyFinished { .. } if tried > 0 => tried += 1,
                Event::HealFinished { outcome: HealEnd::NotConfirmed, .. } => written -= tried + 1,
                _ => tried = 0,
            }
        }
        written
    }

    /// What is stuck is reported.
    fn is_said(&self, done: &Done) -> Result<(), String> {
        let state = self.checks.state();
        let known = status::Known {
            state,
            findings: done.findings.as_ref(),
            running: true,
            now_ms: self.machine.wall_ms(),
            stale_after_ms: i64::MAX,
        };
        let attention = status::attention(&known);
        for (id, record) in &state.proposals {
            let stuck = matches!(record.stage, Stage::Stuck { .. });
            if stuck && !attention.iter().any(|said| said.subject == id.short() && said.what == "stuck") {
                return Err(format!("the proposal {} is stuck, and nobody says so", id.short()));
            }
            if matches!(record.stage, Stage::Applying { .. }) {
                return Err(format!("the proposal {} is being applied for ever", id.short()));
            }
        }
        Ok(())
    }
}

fn said(end: &End, fired: Option<(Fault, &str)>) -> String {
    let how = match end {
        End::Done(done) if done.waits => "ends, something waits".to_owned(),
        End::Done(_) => "ends".to_owned(),
        End::Failed(error) => format!("fails: {}", chain(error)),
        End::Died => "dies".to_owned(),
    };
    match fired {
        Some((fault, call)) => format!("{how} ({fault:?} at {call})"),
        None => how,
    }
}

fn chain(error: &PortError) -> String {
    let mut said = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    said
}

fn words(thrown: &(dyn Any + Send)) -> &str {
    let text = thrown.downcast_ref::<&str>().copied();
    text.or_else(|| thrown.downcast_ref::<String>().map(String::as_str)).unwrap_or("something unsaid")
}
