//! The stage of a cycle that makes, keeps, derives again and ends proposals.
//!
//! In: what the stages before it found, and what the journal says of earlier proposals. Out: the
//! entries that say what changed, in one group behind the values that they name, and an account.
//! What is open, on this base and by these rules is found and not derived again, so that a cycle
//! in which nothing moved costs nothing here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::domain::candidates::Candidates;
use crate::domain::event::Event;
use crate::domain::graph::Graph;
use crate::domain::id::{ChangeId, ObjectId, ProposalId, RepoPath};
use crate::domain::module::Module;
use crate::domain::pin::PinCheck;
use crate::domain::plan::{PinMove, Plan};
use crate::domain::proposal::{
    Closure, PROPOSAL_VERSION, Proposal, ProposalRecord, Purpose, Stage, Track, Verification,
};
use crate::domain::report::{
    ClosedProposal, Findings, MadeProposal, NotProposed, OpenProposal, ProposalChanges,
};
use crate::domain::state::State;
use crate::domain::text;
use crate::domain::upgrade::Upgrade;
use crate::ops::govern;
use crate::ports::{Journal, PortError, PortResult, Sources, Superproject};

use super::candidates::{Candidate, Sorted, candidates, decided_over, in_the_way, overlap, sorted};
use super::derive::{Ask, Derived, NotDerived, derive};
use super::fate::{Fate, Known};
use super::files::derive_delta;
use super::rules::Rules;
use super::{Base, DEP_GRAPH};

/// Most notes of a proposal, and the most characters of one: an entry is one bounded line.
const NOTES: (usize, usize) = (24, 400);

/// What the stage works with.
pub struct Proposer<'a> {
    /// The operator's superproject, which is only read here.
    pub superproject: &'a dyn Superproject,
    /// The upstreams.
    pub sources: &'a dyn Sources,
    /// The journal, whose one writer we are.
    pub journal: &'a mut dyn Journal,
    /// What it adds up to.
    pub state: &'a State,
    /// Wall time, Unix milliseconds.
    pub now_ms: i64,
    /// Threads to derive on; 0 means as many as the machine has.
    pub threads: usize,
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
    /// What of it holds together, and why the rest waits; `None` when nothing is verified.
    pub candidates: Option<&'a Candidates>,
    /// True when the workspace and the upstreams are as in the cycle before: what could not be
    /// derived then cannot be now.
    pub unchanged: bool,
}

/// What there is after the stage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proposed {
    /// The open proposals.
    pub open: Vec<OpenProposal>,
    /// What is not proposed, and why.
    pub not_proposed: Vec<NotProposed>,
    /// What changed.
    pub changes: ProposalChanges,
}

/// Bring the proposals up to date with what was found.
///
/// # Errors
/// When the superproject or the journal cannot be read or written.
pub fn propose(proposer: &mut Proposer<'_>, look: Look<'_>) -> PortResult<Proposed> {
    let rules = Rules::in_force(proposer.journal, proposer.state)?;
    let mut desk = Desk::new(proposer.state, &rules, proposer.now_ms);
    desk.expire();
    let mut failed = None;
    let jobs = desk.jobs(look, |candidate| {
        if failed.is_none() {
            failed = Some(failed_before(proposer.journal, proposer.state, look)?);
        }
        Ok(failed.iter().flatten().find(|row: &&NotProposed| row.pins == candidate.pins).cloned())
    })?;
    if let Some(base) = look.base.filter(|_| !jobs.is_empty()) {
        let answers = derive_all(proposer, look.modules, &rules, base, &jobs)?;
        for (job, answer) in jobs.into_iter().zip(answers) {
            desk.settle(job, answer, base)?;
        }
    }
    if let Some(base) = look.base {
        for id in std::mem::take(&mut desk.of_files) {
            let delta = govern::case(&*proposer.journal, proposer.state, id)?.delta;
            let (superproject, sources) = (proposer.superproject, proposer.sources);
            let answer = derive_delta(superproject, sources, look.modules, &*proposer.journal, &delta, base)?;
            desk.settle(Job::Again(id, Vec::new()), answer, base)?;
        }
    }
    let values: Vec<&[u8]> = desk.values.iter().map(Vec::as_slice).collect();
    if !values.is_empty() {
        proposer.journal.store_all(&values)?;
    }
    if !desk.events.is_empty() {
        let events: Vec<(&str, Event)> =
            desk.events.iter().map(|(subject, event)| (subject.as_str(), event.clone())).collect();
        proposer.journal.append_all(&events)?;
    }
    Ok(desk.proposed())
}

/// What could not be derived in the cycle before, when nothing has changed since.
fn failed_before(journal: &dyn Journal, state: &State, look: Look<'_>) -> PortResult<Vec<NotProposed>> {
    let before = state.last_look.as_ref().and_then(|look| look.report);
    let Some(report) = before.filter(|_| look.unchanged) else { return Ok(Vec::new()) };
    let Some(bytes) = journal.load(&report)? else { return Ok(Vec::new()) };
    // A report of another version has another shape: then it is tried again.
    let Ok(findings) = serde_json::from_slice::<Findings>(&bytes) else { return Ok(Vec::new()) };
    let mut failed = findings.not_proposed;
    failed.retain(|row| row.tried_on.is_some() && row.tried_on == look.base);
    Ok(failed)
}

/// Something to derive.
enum Job {
    /// A candidate, and the open proposals that it is about.
    New(Candidate, Vec<ProposalId>),
    /// An open proposal whose base moved.
    Again(ProposalId, Vec<PinMove>),
}

impl Job {
    fn pins(&self) -> &[PinMove] {
        match self {
            Self::New(candidate, _) => &candidate.pins,
            Self::Again(_, pins) => pins,
        }
    }
}

type Answer = Result<Derived, NotDerived>;

/// Derive all, on several threads; in their order.
fn derive_all(
    proposer: &Proposer<'_>,
    modules: &[Module],
    rules: &Rules,
    base: ObjectId,
    jobs: &[Job],
) -> PortResult<Vec<Answer>> {
    let base = match Base::read(proposer.superproject, modules, base, &RepoPath::from(DEP_GRAPH))? {
        Ok(base) => base,
        Err(why) => return Ok(jobs.iter().map(|_| Err(why.clone())).collect()),
    };
    let machine = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if proposer.threads == 0 { machine() } else { proposer.threads };
    let (superproject, sources) = (proposer.superproject, proposer.sources);
    let next = AtomicUsize::new(0);
    let work = || {
        let flakes = sources.flakes(modules);
        let mut done: Vec<(usize, PortResult<Answer>)> = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(at) else { return done };
            let asks: Vec<Ask> = job.pins().iter().map(Ask::from).collect();
            done.push((at, derive(&base, superproject, flakes.as_ref(), &rules.workspace, &asks)));
        }
    };
    let mut all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(jobs.len()).min(32)).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, answer)| answer).collect()
}

/// Where proposals are made and ended, before anything is written.
struct Desk<'a> {
    rules: &'a Rules,
    now_ms: i64,
    state: &'a State,
    /// Those that are open now.
    open: BTreeMap<ProposalId, &'a ProposalRecord>,
    rows: BTreeMap<ProposalId, OpenProposal>,
    not_proposed: Vec<NotProposed>,
    changes: ProposalChanges,
    values: Vec<Vec<u8>>,
    events: Vec<(String, Event)>,
    /// Open proposals that are no pin's, and whose base moved.
    of_files: Vec<ProposalId>,
}

impl<'a> Desk<'a> {
    fn new(state: &'a State, rules: &'a Rules, now_ms: i64) -> Self {
        let open: BTreeMap<ProposalId, &ProposalRecord> =
            state.open_proposals().map(|(id, record)| (*id, record)).collect();
        let rows = open
            .iter()
            .map(|(id, record)| {
                let (pins, purpose, track) = (record.pins.clone(), record.purpose, record.track);
                (*id, OpenProposal { pins, id: *id, purpose, track })
            })
            .collect();
        let mut desk = Self {
            rules,
            now_ms,
            state,
            open,
            rows,
            not_proposed: Vec::new(),
            changes: ProposalChanges::default(),
            values: Vec::new(),
            events: Vec::new(),
            of_files: Vec::new(),
        };
        // What is being applied is neither ended nor made anew here.
        desk.open.retain(|_, record| record.stage == Stage::Open);
        desk
    }

    /// End what was not decided in time.
    fn expire(&mut self) {
        let late: Vec<ProposalId> = self
            .open
            .iter()
            .filter(|(_, record)| record.expires_ms <= self.now_ms)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.close(id, Closure::Expired, None, "its time ran out".to_owned());
        }
    }

    fn close(&mut self, id: ProposalId, outcome: Closure, by: Option<ProposalId>, reason: String) {
        self.open.remove(&id);
        self.rows.remove(&id);
        let reason = text::clipped(&text::inert(&reason), 1000);
        let event = Event::ProposalClosed { proposal: id, outcome, by, reason: reason.clone() };
        self.events.push((id.short(), event));
        self.changes.closed.push(ClosedProposal { id, outcome, by, reason });
    }

    fn wait(&mut self, pins: &[PinMove], reason: String, tried_on: Option<ObjectId>) {
        self.not_proposed.push(NotProposed { pins: pins.to_vec(), reason, tried_on });
    }

    /// What is to be derived. What is open as it should be, turned down, or known to fail is not.
    fn jobs(
        &mut self,
        look: Look<'_>,
        mut failed_before: impl FnMut(&Candidate) -> PortResult<Option<NotProposed>>,
    ) -> PortResult<Vec<Job>> {
        let mut jobs = Vec::new();
        let mut met: BTreeSet<ProposalId> = BTreeSet::new();
        let all = candidates(look.plan, look.graph, look.checks, look.upgrades);
        let all = match look.candidates {
            Some(found) => sorted(all, found, self.rules.allow_unverified()),
            None => all.into_iter().map(Sorted::Offer).collect(),
        };
        for candidate in all {
            let candidate = match candidate {
                Sorted::Offer(candidate) => candidate,
                Sorted::Aside(candidate, reason) => {
                    self.set_aside(&candidate, reason, &met);
                    continue;
                }
            };
            let Some(base) = look.base else {
                self.wait(&candidate.pins, "the superproject has no commit".to_owned(), None);
                continue;
            };
            if decided_over(self.state, &candidate.pins).is_some_and(|(_, one)| one.pins == candidate.pins) {
                continue;
            }
            let about: Vec<ProposalId> = self
                .open
                .iter()
                .filter(|(id, record)| !record.purpose.is_asked_for() && !met.contains(*id))
                .filter(|(id, record)| !self.state.is_decided(id, record))
                .filter(|(_, record)| overlap(&record.pins, &candidate.pins))
                .map(|(id, _)| *id)
                .collect();
            met.extend(&about);
            if let Some(reason) = in_the_way(self.state, &candidate) {
                self.wait(&candidate.pins, reason, None);
                continue;
            }
            if let [one] = about.as_slice()
                && self.is_current(self.open[one], &candidate, base)
            {
                self.attest(*one, &candidate, self.open[one].tree);
                continue;
            }
            if about.is_empty()
                && let Some(known) = failed_before(&candidate)?
            {
                self.not_proposed.push(known);
                continue;
            }
            jobs.push(Job::New(candidate, about));
        }
        let known = Known::new(look.modules, look.upgrades, look.plan);
        let left: Vec<ProposalId> = self.open.keys().filter(|id| !met.contains(id)).copied().collect();
        for id in left {
            let record = self.open[&id];
            match (known.fate(record, self.state.is_decided(&id, record)), look.base) {
                (Fate::Over(reason), _) => self.close(id, Closure::Obsolete, None, reason),
                (Fate::Stays, Some(base)) if matches!(record.purpose, Purpose::Command | Purpose::Amend) => {
                    self.of_files.extend((record.base != base).then_some(id));
                }
                (Fate::Stays, Some(base)) if record.base != base => {
                    jobs.push(Job::Again(id, record.pins.clone()));
                }
                (Fate::Stays, _) => {}
            }
        }
        Ok(jobs)
    }

    /// Say of a proposal that its tree was verified, where it was.
    fn attest(&mut self, proposal: ProposalId, candidate: &Candidate, tree: ObjectId) {
        let Some(Verification { tree: verified, claims }) = candidate.verified else { return };
        let known = self.state.proposals.get(&proposal).and_then(|record| record.verification);
        if verified == tree && known != candidate.verified {
            self.events.push((proposal.short(), Event::ProposalVerified { proposal, tree, claims }));
        }
    }

    /// A candidate that does not hold: proposals of the same pins are over.
    fn set_aside(&mut self, candidate: &Candidate, reason: String, met: &BTreeSet<ProposalId>) {
        let own = self.open.iter().filter(|(id, record)| {
            let same = record.pins.iter().any(|pin| candidate.pins.contains(pin));
            same && !record.purpose.is_asked_for() && !met.contains(*id)
        });
        for id in own.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close(id, Closure::Obsolete, None, reason.clone());
        }
        self.wait(&candidate.pins, reason, None);
    }

    /// Whether a proposal is what deriving the candidate would give.
    fn is_current(&self, record: &ProposalRecord, candidate: &Candidate, base: ObjectId) -> bool {
        record.base == base
            && record.pins == candidate.pins
            && record.track == candidate.track
            && (record.policy, record.members_epoch) == self.rules.recorded()
    }

    /// What follows from what was derived.
    fn settle(&mut self, job: Job, answer: Answer, base: ObjectId) -> PortResult<()> {
        match (job, answer) {
            (Job::New(candidate, about), Ok(derived)) => self.offer(&candidate, &about, derived, base),
            (Job::New(candidate, about), Err(why)) => {
                let reason = why.to_string();
                let own: Vec<ProposalId> = about
                    .into_iter()
                    .filter(|id| self.open.get(id).is_some_and(|record| record.pins == candidate.pins))
                    .collect();
                if !why.may_pass() {
                    for id in own {
                        self.close(
                            id,
                            Closure::Obsolete,
                            None,
                            format!("it cannot be derived any more: {reason}"),
                        );
                    }
                }
                self.wait(&candidate.pins, reason, Some(base));
                Ok(())
            }
            (Job::Again(id, pins), Ok(derived)) => {
                if self.open.get(&id).is_some_and(|record| record.change == derived.change) {
                    self.derived_again(id, &derived, base);
                } else {
                    let name = pins.first().map_or_else(String::new, |pin| pin.module.to_string());
                    let reason =
                        format!("on the superproject as it is now it would change something else at {name}");
                    self.close(id, Closure::Obsolete, None, reason);
                }
                Ok(())
            }
            (Job::Again(id, _), Err(why)) => {
                if !why.may_pass() {
                    self.close(id, Closure::Obsolete, None, format!("it cannot be derived any more: {why}"));
                }
                Ok(())
            }
        }
    }

    fn derived_again(&mut self, id: ProposalId, derived: &Derived, base: ObjectId) {
        let tree = derived.tree;
        if self.open.get(&id).is_some_and(|record| (record.base, record.tree) != (base, tree)) {
            self.events.push((id.short(), Event::ProposalDerived { proposal: id, base, tree }));
            self.changes.derived.push(id);
        }
    }

    /// Find the open proposal of this change, or make one.
    fn offer(
        &mut self,
        candidate: &Candidate,
        about: &[ProposalId],
        derived: Derived,
        base: ObjectId,
    ) -> PortResult<()> {
        let about: Vec<ProposalId> = about.iter().copied().filter(|id| self.open.contains_key(id)).collect();
        // Another operator's may be open beside ours: then the one that was voted on is the one.
        let same = |record: &ProposalRecord| self.is_same(record, derived.change, candidate.track);
        let found = self.open.iter().filter(|(_, record)| same(record));
        let found = found.min_by_key(|(_, record)| record.ballots.is_empty());
        if let Some(found) = found.map(|(id, _)| *id) {
            // Those of the same change that somebody voted on stay: no ballot is lost to a twin.
            let stays = |id: &ProposalId| {
                let record = self.open[id];
                *id == found
                    || (self.is_same(record, derived.change, candidate.track) && !record.ballots.is_empty())
            };
            let (stay, over): (Vec<_>, Vec<_>) = about.iter().copied().partition(stays);
            for id in stay.into_iter().chain((!about.contains(&found)).then_some(found)) {
                self.derived_again(id, &derived, base);
                self.attest(id, candidate, derived.tree);
            }
            self.supersede(over, found);
            return Ok(());
        }
        let most = self.rules.max_open();
        if self.rows.len() + 1 > most + about.len() {
            let reason = format!("{most} proposals are open, and the policy allows no more");
            self.wait(&candidate.pins, reason, None);
            return Ok(());
        }
        let id = self.make(candidate, about.first().copied(), &derived, base)?;
        self.attest(id, candidate, derived.tree);
        if let Some((first, others)) = about.split_first() {
            self.open.remove(first);
            self.rows.remove(first);
            self.supersede(others.to_vec(), id);
        }
        Ok(())
    }

    fn is_same(&self, record: &ProposalRecord, change: ChangeId, track: Track) -> bool {
        record.change == change
            && record.track == track
            && (record.policy, record.members_epoch) == self.rules.recorded()
    }

    fn supersede(&mut self, old: Vec<ProposalId>, by: ProposalId) {
        for id in old {
            self.close(id, Closure::Superseded, Some(by), "another proposal took its place".to_owned());
        }
    }

    fn make(
        &mut self,
        candidate: &Candidate,
        supersedes: Option<ProposalId>,
        derived: &Derived,
        base: ObjectId,
    ) -> PortResult<ProposalId> {
        let unwritable =
            |error| PortError::failed("cannot write a proposal as canonical JSON").because(error);
        let mut proposal = Proposal {
            v: PROPOSAL_VERSION,
            change: derived.change,
            track: candidate.track,
            policy: self.rules.policy_cid,
            members_epoch: self.rules.epoch,
            requires: Vec::new(),
            supersedes,
            expires_ms: self.rules.expires_ms(candidate.track, self.now_ms),
        };
        let mut id = proposal.id().map_err(unwritable)?;
        while self.state.proposals.contains_key(&id) {
            // The same once more, in the same millisecond: one that is over keeps its name.
            proposal.expires_ms += 1;
            id = proposal.id().map_err(unwritable)?;
        }
        self.values.push(proposal.to_canonical().map_err(unwritable)?);
        self.values.push(derived.delta.to_canonical().map_err(unwritable)?);
        let notes = candidate.notes.iter().chain(&derived.notes);
        let notes = notes.take(NOTES.0).map(|note| text::clipped(&text::inert(note), NOTES.1)).collect();
        let event = Event::ProposalMade {
            proposal: id,
            change: derived.change,
            purpose: candidate.purpose,
            track: candidate.track,
            pins: derived.pins.clone(),
            base,
            tree: derived.tree,
            supersedes,
            expires_ms: proposal.expires_ms,
            notes,
        };
        self.events.push((id.short(), event));
        self.changes.made.push(MadeProposal { id, supersedes });
        let (pins, purpose, track) = (derived.pins.clone(), candidate.purpose, candidate.track);
        self.rows.insert(id, OpenProposal { pins, id, purpose, track });
        Ok(id)
    }

    fn proposed(self) -> Proposed {
        let mut open: Vec<OpenProposal> = self.rows.into_values().collect();
        open.sort();
        let mut not_proposed = self.not_proposed;
        not_proposed.sort();
        Proposed { open, not_proposed, changes: self.changes }
    }
}
