//! What must hold of healing: who may, from where, where to, and that it was seen to help.

use std::collections::{BTreeMap, BTreeSet};

use lambda_os::domain::change::PathContent;
use lambda_os::domain::event::Event;
use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::heal::certificate::{self, HealCertificate, Way};
use lambda_os::domain::heal::{BREAKER, HealEnd, HealLimits};
use lambda_os::domain::id::{Cid, ModuleName, ObjectId, ProposalId, RepoPath};
use lambda_os::domain::state::State;

use super::fault::locked;
use super::git::Tree;
use super::health::{Really, really};
use super::journal::{Disk, Read};
use super::machine::Machine;

/// What is remembered of verdicts and heals, beside what the product remembers.
#[derive(Default)]
pub(crate) struct Heals {
    /// Revisions that were verified strongly in the workspace itself, by module.
    strong: BTreeMap<ModuleName, BTreeSet<ObjectId>>,
    /// Verdicts by key, for those that are adopted.
    keys: BTreeMap<(ModuleName, Cid), (ObjectId, bool)>,
    /// The heal under way.
    open: Option<Open>,
    /// When each module was taken back, by boot and milliseconds, since a person let go of it.
    taken: BTreeMap<ModuleName, Vec<(String, u64)>>,
}

/// A heal under way, and what was seen since it began.
#[expect(clippy::struct_excessive_bools, reason = "four things that are seen or not, one after the other")]
struct Open {
    module: ModuleName,
    from: ObjectId,
    to: ObjectId,
    /// What was known to be strong when it began.
    strong: BTreeSet<ObjectId>,
    /// It was bad in the workspace again.
    bad_again: bool,
    /// It passed strongly as a candidate at the target.
    passed: bool,
    /// It was applied.
    applied: bool,
    /// It passed in the workspace after that.
    helped: bool,
}

impl Heals {
    /// What an entry means for healing.
    pub(crate) fn entry(&mut self, read: &Read, state: &State) -> Result<(), String> {
        match &read.event {
            Event::VerifyFinished { module, revision, key, verdict, flaky, base, .. } => {
                let strong = verdict.is_strong() && !flaky;
                self.keys.insert((module.clone(), *key), (*revision, strong));
                if strong && *base {
                    self.strong.entry(module.clone()).or_default().insert(*revision);
                }
                if let Some(open) = self.open.as_mut().filter(|open| open.module == *module) {
                    open.bad_again |= *base && *revision == open.from && verdict.is_bad();
                    open.passed |= *revision == open.to && strong;
                    open.helped |= open.applied && *base && *revision == open.to && verdict.is_healthy();
                }
            }
            Event::VerifyAdopted { module, key } => {
                if let Some((revision, true)) = self.keys.get(&(module.clone(), *key)) {
                    self.strong.entry(module.clone()).or_default().insert(*revision);
                }
            }
            Event::HealStarted { module, from, to, .. } => {
                if self.open.is_some() {
                    return Err("a heal began while another one is open".to_owned());
                }
                let strong = self.strong.get(module).cloned().unwrap_or_default();
                self.open = Some(Open {
                    module: module.clone(),
                    from: *from,
                    to: *to,
                    strong,
                    bad_again: false,
                    passed: false,
                    applied: false,
                    helped: false,
                });
            }
            Event::HealFinished { outcome, .. } => {
                let open = self.open.take().ok_or("a heal ended that had not begun")?;
                if *outcome == HealEnd::Healed && !(open.applied && open.helped) {
                    return Err(format!("{} is called healed, and was not seen to be", open.module));
                }
            }
            Event::ApplyFinished { proposal, outcome, .. } if outcome == "applied" => {
                let pins = state.proposals.get(proposal).map(|record| &record.pins);
                if let (Some(open), Some([pin])) = (self.open.as_mut(), pins.map(Vec::as_slice))
                    && (&pin.module, pin.to) == (&open.module, open.to)
                {
                    open.applied = true;
                    let taken = self.taken.entry(open.module.clone()).or_default();
                    taken.push((read.boot.clone(), read.mono_ms));
                    return breaker(taken, &open.module);
                }
            }
            Event::ModuleUnheld { module, .. } => {
                self.taken.remove(module);
            }
            _ => {}
        }
        Ok(())
    }

    /// A heal certificate was made: everything that it claims was seen, and it goes where it may.
    pub(crate) fn certified(
        &self,
        machine: &Machine,
        state: &State,
        held: &HealCertificate,
    ) -> Result<(), String> {
        let open = self.open.as_ref().ok_or("a heal was certified, and none is under way")?;
        if !held.members.heal {
            return Err("nobody granted that anything is healed".to_owned());
        }
        if held.kind == Way::Restore {
            let back = (&held.module, held.from, held.to) == (&open.module, open.to, open.from);
            return if back && open.applied {
                Ok(())
            } else {
                Err("there is nothing to put back".to_owned())
            };
        }
        if (&held.module, held.from, held.to) != (&open.module, open.from, open.to) {
            return Err("another heal was certified than had begun".to_owned());
        }
        if state.holds.contains_key(&held.module) {
            return Err(format!("{} is held, and was healed", held.module));
        }
        if !open.strong.contains(&held.to) {
            return Err(format!("{} goes back to a pin that was never verified strongly here", held.module));
        }
        if !open.bad_again {
            return Err(format!("that {} is bad was not shown again", held.module));
        }
        if !open.passed {
            return Err(format!("that {} passes at the target was not shown", held.module));
        }
        let git = locked(&machine.git);
        let tree = git.tree(held.base).ok_or("its base is missing")?;
        let is = really_in(machine, tree, &held.module)?;
        if matches!(is, Really::Good | Really::Silent) {
            return Err(format!("{} is {is:?} where it is, and was taken back", held.module));
        }
        Ok(())
    }
}

/// No more heals of one module within the window than the breaker lets through.
fn breaker(taken: &[(String, u64)], module: &ModuleName) -> Result<(), String> {
    let Some((boot, now)) = taken.last() else { return Ok(()) };
    let window = HealLimits::default().window_ms.unsigned_abs();
    let within = taken.iter().filter(|(at_boot, at)| at_boot == boot && now - at < window).count();
    if within <= BREAKER {
        Ok(())
    } else {
        Err(format!("{module} was taken back {within} times in a window"))
    }
}

/// What is really the matter with a module in a tree.
fn really_in(machine: &Machine, tree: &Tree, module: &ModuleName) -> Result<Really, String> {
    let Some(PathContent::File { content, .. }) = tree.get(&RepoPath::from("flake.lock")) else {
        return Err("there is no lock".to_owned());
    };
    let lock = Lock::parse(content).map_err(|error| error.to_string())?;
    let is = really(&locked(&machine.upstreams), &lock, module.as_str());
    is.map(|(is, _)| is).ok_or_else(|| format!("{module} is not locked"))
}

/// A stored certificate that rests on no ballots.
pub(crate) fn held(disk: &Disk, certificate: &Cid) -> Option<HealCertificate> {
    HealCertificate::from_canonical(disk.objects.get(certificate)?).ok()
}

/// It proves the proposal under the members that are trusted.
pub(crate) fn proves(state: &State, proposal: ProposalId, held: &HealCertificate) -> Result<(), String> {
    let trusted = state.members.ok_or("nobody is trusted")?.document;
    let granted = certificate::verify(held, &trusted).map_err(|error| error.to_string())?;
    let record = state.proposals.get(&proposal).ok_or("there is no such proposal")?;
    if (granted.proposal, granted.change) == (proposal, record.change) {
        Ok(())
    } else {
        Err("its certificate is for something else".to_owned())
    }
}
