//! What must hold, whatever went wrong: looked at after every process, entry by entry, and against
//! what really happened on the machine rather than against what the product says of it.

use std::collections::{BTreeMap, BTreeSet};

use lambda_os::domain::change::PathContent;
use lambda_os::domain::event::Event;
use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::governance::bounded::{self, BoundedCertificate};
use lambda_os::domain::governance::certificate::{self, Certificate};
use lambda_os::domain::heal::Rung;
use lambda_os::domain::id::{Cid, ObjectId, ProposalId, RepoPath};
use lambda_os::domain::ladder::Right;
use lambda_os::domain::plan::PinMove;
use lambda_os::domain::proposal::{ProposalRecord, Purpose, Stage};
use lambda_os::domain::state::State;

use super::fault::locked;
use super::git::{Git, Place, Tree};
use super::heals::{self, Heals};
use super::journal::{Disk, entry};
use super::machine::{Machine, Move};
use super::verdicts::{Runs, Said};

/// What was looked at so far.
#[derive(Default)]
pub(crate) struct Checks {
    entries: usize,
    moves: usize,
    state: State,
    applied: BTreeSet<ProposalId>,
    runs: Runs,
    heals: Heals,
    /// How often what was journalled, by the word of a verdict or the end of a heal.
    pub(crate) said: BTreeMap<&'static str, u64>,
    /// Commits that a landing brought the branch to, with how often people had moved it by hand.
    landed: BTreeMap<ObjectId, u64>,
}

impl Checks {
    /// What the journal adds up to, by the checks' own reading.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Look at what a process left.
    pub(crate) fn look(&mut self, machine: &Machine) -> Result<(), String> {
        self.runs = Runs::of(machine);
        let lines: Vec<Vec<u8>> = locked(&machine.disk).lines[self.entries..].to_vec();
        for line in lines {
            self.look_at_moves(machine)?;
            let read = entry(&line)?;
            let right = self.entry(machine, &read.event).and_then(|()| self.heals.entry(&read, &self.state));
            right.map_err(|why| format!("entry {}: {why}", read.seq))?;
            read.fold(&mut self.state);
            self.entries += 1;
        }
        self.look_at_moves(machine)?;
        if *locked(&machine.disk).fold()? == self.state {
            Ok(())
        } else {
            Err("two readings of the journal differ".to_owned())
        }
    }

    /// The moves of the branch that happened when the journal was as long as it is read now.
    fn look_at_moves(&mut self, machine: &Machine) -> Result<(), String> {
        loop {
            let next = locked(&machine.moves).get(self.moves).copied();
            let Some(next) = next.filter(|next| next.entries == self.entries) else { return Ok(()) };
            self.moved(machine, next).map_err(|why| format!("landing {}: {why}", next.target.short()))?;
            self.moves += 1;
        }
    }

    /// The branch may only have been moved by an application that was journalled before, with a
    /// certificate that proves this very change, once.
    fn moved(&mut self, machine: &Machine, moved: Move) -> Result<(), String> {
        let open = self.state.open_apply.as_ref().ok_or("nothing in the journal says that it began")?;
        if (open.expected, open.target) != (moved.expected, moved.target) {
            return Err("the journal says that another one began".to_owned());
        }
        let record = &self.state.proposals[&open.proposal];
        let certificate = record.certificate.ok_or("its proposal has no certificate")?;
        let disk = locked(&machine.disk);
        proves(&disk, &self.state, open.proposal, &certificate)?;
        let git = locked(&machine.git);
        pins_alone(&git, moved, &record.pins)?;
        let by_hand = git.by_hand;
        if self.landed.insert(moved.target, by_hand) == Some(by_hand) {
            return Err("the branch was brought there twice".to_owned());
        }
        Ok(())
    }

    fn entry(&mut self, machine: &Machine, event: &Event) -> Result<(), String> {
        let disk = locked(&machine.disk);
        if let Some((what, cid)) =
            event.objects().into_iter().find(|(_, cid)| !disk.objects.contains_key(cid))
        {
            return Err(format!("{} names the {what} {cid}, which is not stored", event.kind()));
        }
        match event {
            Event::CycleStarted { .. } if self.state.open_cycle.is_some() => {
                Err("a cycle began while another one is open".to_owned())
            }
            Event::ProposalMade { proposal, purpose, pins, .. } => {
                self.made(machine, *proposal, *purpose, pins)
            }
            Event::ProposalCertified { proposal, certificate } => {
                proves(&disk, &self.state, *proposal, certificate)?;
                match heals::held(&disk, certificate) {
                    Some(held) => {
                        self.record(*proposal)?;
                        self.heals.certified(machine, &self.state, &held)
                    }
                    None => match within(&disk, certificate) {
                        Some(held) => self.within_bounds(*proposal, &held),
                        None => self.approved(&disk, machine, *proposal),
                    },
                }
            }
            Event::EnactStarted { right, .. } => {
                let word = if *right == Right::Bounds { "enacted in bounds" } else { "enacted, approved" };
                *self.said.entry(word).or_default() += 1;
                Ok(())
            }
            Event::ApplyStarted { proposal, certificate, expected, target, .. } => {
                let record = self.record(*proposal)?;
                if self.state.open_apply.is_some() || record.stage != Stage::Open {
                    return Err("an application began that may not".to_owned());
                }
                if record.certificate != Some(*certificate) {
                    return Err("an application rests on another certificate than the newest".to_owned());
                }
                let git = locked(&machine.git);
                match git.commits.get(target) {
                    Some(commit) if commit.parent == Some(*expected) => Ok(()),
                    _ => Err("an application began whose commit is not there, or elsewhere".to_owned()),
                }
            }
            Event::ApplyFinished { proposal, started, outcome, commit, .. } => {
                self.finished(machine, *proposal, *started, outcome, *commit)
            }
            Event::VerifyFinished { module, key, sees, verdict, evidence, derivations, .. } => {
                let word = if verdict.is_strong() { "strong" } else { verdict.as_str() };
                *self.said.entry(word).or_default() += 1;
                let derivations = derivations.as_ref();
                let said = Said { module, key, sees, verdict, evidence, derivations };
                self.runs.verdict(&disk, &self.state, &said)
            }
            Event::HealFinished { outcome, .. } => {
                *self.said.entry(outcome.as_str()).or_default() += 1;
                Ok(())
            }
            Event::HealStopped { .. } => {
                *self.said.entry("heal stopped or going on").or_default() += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn record(&self, proposal: ProposalId) -> Result<&ProposalRecord, String> {
        self.state
            .proposals
            .get(&proposal)
            .ok_or_else(|| format!("there is no proposal {}", proposal.short()))
    }

    fn made(
        &self,
        machine: &Machine,
        id: ProposalId,
        purpose: Purpose,
        pins: &[PinMove],
    ) -> Result<(), String> {
        if self.state.proposals.contains_key(&id) {
            return Err("a proposal was made twice".to_owned());
        }
        if purpose != Purpose::Upgrade {
            return Ok(());
        }
        for pin in pins {
            if self.state.holds.contains_key(&pin.module) && pin.from != pin.to {
                return Err(format!("{} is held, and was proposed", pin.module));
            }
            let forward = machine.upstream(pin.module.as_str(), |upstream| {
                upstream.history(pin.to).contains(&pin.from) && upstream.mirror.contains(&pin.to)
            });
            if forward != Some(true) {
                return Err(format!("{} would lose commits by an upgrade", pin.module));
            }
        }
        let refused = |pin: &PinMove| {
            self.state.rejected.get(&pin.module).is_some_and(|refused| refused.contains(&pin.to))
        };
        if pins.iter().all(refused) { Err("what was turned down came back".to_owned()) } else { Ok(()) }
    }

    /// The daemon began to enact it without ballots, where the policy in force allows that: what it
    /// moves was really verified with it, strongly.
    fn within_bounds(&self, proposal: ProposalId, held: &BoundedCertificate) -> Result<(), String> {
        let record = self.record(proposal)?;
        let today = self.state.enacted.iter().filter(|one| one.proposal != proposal).count();
        let bounds = held.bounded_by.bounds.as_ref().ok_or("bounds that are none")?;
        if self.state.policy != held.bounded_by.cid().ok()
            || held.bounded_by.rung(record.track) < Rung::Bounded
        {
            return Err("the policy in force does not let it be enacted without ballots".to_owned());
        }
        if !self.state.enacted.iter().any(|one| one.proposal == proposal) {
            return Err("it was certified within bounds, and nobody began to enact it".to_owned());
        }
        if today >= bounds.max_per_day as usize {
            return Err(format!("{today} were enacted within a day, and {} may be", bounds.max_per_day));
        }
        for pin in &record.pins {
            let claim = held.claims.claims.iter().find(|claim| claim.module == pin.module);
            let strong = claim.is_some_and(|claim| {
                let known = self.state.verdicts.on(&claim.module, &claim.key);
                known.is_some_and(|known| known.verdict.is_strong() && known.revision == pin.to)
            });
            if !strong {
                return Err(format!("{} was enacted without ballots, and not verified strongly", pin.module));
            }
        }
        Ok(())
    }

    /// Enough of those who decide have really signed.
    fn approved(&self, disk: &Disk, machine: &Machine, proposal: ProposalId) -> Result<(), String> {
        let record = self.record(proposal)?;
        let approved = locked(&machine.approved);
        let signed = approved.get(&proposal).map_or(0, BTreeSet::len);
        let document = self.state.members.ok_or("nobody is trusted")?.document;
        let members = disk.objects.get(&document).ok_or("the members document is gone")?;
        let members = lambda_os::domain::governance::members::Members::from_canonical(members)
            .map_err(|error| error.to_string())?;
        let needed = members.tracks[&record.track].threshold as usize;
        if signed >= needed {
            Ok(())
        } else {
            Err(format!("{signed} of {needed} signed, and it was certified"))
        }
    }

    fn finished(
        &mut self,
        machine: &Machine,
        proposal: ProposalId,
        started: u64,
        outcome: &str,
        commit: Option<ObjectId>,
    ) -> Result<(), String> {
        let open = self.state.open_apply.as_ref().ok_or("an application ended that had not begun")?;
        if (open.proposal, open.started) != (proposal, started) {
            return Err("another application ended than had begun".to_owned());
        }
        let git = locked(&machine.git);
        let there = git.contains(git.main, open.target);
        match outcome {
            "applied" => {
                if commit != Some(open.target) || !there {
                    return Err("it is called applied, and the branch does not have it".to_owned());
                }
                if !self.applied.insert(proposal) {
                    return Err("a proposal was applied twice".to_owned());
                }
                Ok(())
            }
            "undone" if there => Err("it is called undone, and the branch has it".to_owned()),
            "undone" | "stuck" => Ok(()),
            other => Err(format!("an application ended as {other}")),
        }
    }
}

/// The certificate within bounds that is stored there, if it is one.
fn within(disk: &Disk, certificate: &Cid) -> Option<BoundedCertificate> {
    BoundedCertificate::from_canonical(disk.objects.get(certificate)?).ok()
}

/// A certificate proves the proposal under the members that are trusted.
fn proves(disk: &Disk, state: &State, proposal: ProposalId, certificate: &Cid) -> Result<(), String> {
    if let Some(held) = heals::held(disk, certificate) {
        return heals::proves(state, proposal, &held);
    }
    if let Some(held) = within(disk, certificate) {
        let members = state.members.ok_or("nobody is trusted")?.document;
        let policy = state.policy.ok_or("there is no policy")?;
        let proven = bounded::verify(&held, &members, &policy).map_err(|error| error.to_string())?;
        let same = proven.proposal == proposal;
        return if same { Ok(()) } else { Err("its certificate is for something else".to_owned()) };
    }
    let bytes = disk.objects.get(certificate).ok_or("its certificate is not stored")?;
    let held = Certificate::from_canonical(bytes).map_err(|error| format!("its certificate: {error}"))?;
    let trusted = state.members.ok_or("nobody is trusted")?.document;
    let proven = certificate::verify(&held, &trusted).map_err(|error| format!("its certificate: {error}"))?;
    let record = state.proposals.get(&proposal).ok_or("there is no such proposal")?;
    if (proven.proposal, proven.change) == (proposal, record.change) {
        Ok(())
    } else {
        Err("its certificate is for something else".to_owned())
    }
}

/// A landed commit moves exactly these pins, each in all its places, and nothing else.
fn pins_alone(git: &Git, moved: Move, pins: &[PinMove]) -> Result<(), String> {
    let (Some(old), Some(new)) = (git.tree(moved.expected), git.tree(moved.target)) else {
        return Err("a commit is missing".to_owned());
    };
    let names: BTreeSet<&RepoPath> = old.keys().chain(new.keys()).collect();
    for path in names.into_iter().filter(|path| old.get(*path) != new.get(*path)) {
        match (old.get(path), new.get(path)) {
            (Some(PathContent::Gitlink(from)), Some(PathContent::Gitlink(to))) => {
                let pin = pins.iter().find(|pin| pin.path == *path);
                if pin.map(|pin| (pin.from, pin.to)) != Some((*from, *to)) {
                    return Err(format!("{path} went somewhere that was not decided on"));
                }
            }
            _ if path.as_bytes() == b"flake.nix" || path.as_bytes() == b"flake.lock" => {}
            _ => return Err(format!("{path} was changed, which is no place of a pin")),
        }
    }
    let (before, after) = (locked_revisions(old)?, locked_revisions(new)?);
    for (input, revision) in &after {
        match pins.iter().find(|pin| pin.module.as_str() == input) {
            Some(pin) if *revision != pin.to.to_string() => {
                return Err(format!("the lock has {input} elsewhere than its gitlink"));
            }
            None if before.get(input) != Some(revision) => {
                return Err(format!("{input} moved in the lock, and no pin of it was decided on"));
            }
            _ => {}
        }
    }
    for pin in pins {
        if new.get(&pin.path) != Some(&PathContent::Gitlink(pin.to)) {
            return Err(format!("{} is not where it was decided to be", pin.module));
        }
    }
    Ok(())
}

/// The revision of each input of the root.
fn locked_revisions(tree: &Tree) -> Result<BTreeMap<String, String>, String> {
    let Some(PathContent::File { content, .. }) = tree.get(&RepoPath::from("flake.lock")) else {
        return Err("there is no lock".to_owned());
    };
    let lock = Lock::parse(content).map_err(|error| error.to_string())?;
    Ok(lock
        .root_inputs()
        .filter_map(|(name, node)| Some((name.to_owned(), lock.node(node?).rev()?.to_owned())))
        .collect())
}

/// What is the operator's: everything but the paths that landings change.
pub(crate) fn untouched(before: &Place, after: &Place, changed: &BTreeSet<RepoPath>) -> Result<(), String> {
    if others(&before.index, changed).ne(others(&after.index, changed)) {
        return Err("an entry of the index was changed that no landing is about".to_owned());
    }
    if others(&before.work, changed).ne(others(&after.work, changed)) {
        return Err("a file was changed that no landing is about".to_owned());
    }
    for (path, checkout) in &before.checkouts {
        let now = after.checkouts.get(path);
        let may_move = changed.contains(path) && !checkout.dirty;
        if now != Some(checkout) && !may_move {
            return Err(format!("the checkout {path} was touched"));
        }
    }
    if before.head == after.head { Ok(()) } else { Err("HEAD was touched".to_owned()) }
}

/// What stands at other paths than these.
fn others<'a, V>(
    all: &'a BTreeMap<RepoPath, V>,
    changed: &'a BTreeSet<RepoPath>,
) -> impl Iterator<Item = (&'a RepoPath, &'a V)> {
    all.iter().filter(|(path, _)| !changed.contains(*path))
}
