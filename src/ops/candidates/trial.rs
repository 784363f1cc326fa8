//! One set of changes: derived as one change, and verified as applying it would make the workspace.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::combine::{Answer, Ask, Colour, Set};
use crate::domain::health::evidence::Lasting;
use crate::domain::health::{Scene, Verdict};
use crate::domain::id::{Cid, ModuleName, ObjectId};
use crate::domain::plan::PinMove;
use crate::domain::report::ModuleHealth;
use crate::domain::state::State;
use crate::ops::propose::{Ask as PinAsk, Base, Derived, NotDerived, derive};
use crate::ops::verify::{Bench, Committed, Known, Origin, Verified, Where, verify};
use crate::ports::{ModuleSources, PortResult, Superproject};

/// What the identity of a change names where it is only tried: no proposal has it.
const TRIED: &str = "tried";

/// What sets are tried with.
pub(super) struct Trial<'a> {
    superproject: &'a dyn Superproject,
    base: &'a Base<'a>,
    sources: &'a dyn ModuleSources,
    committed: &'a Committed<'a>,
    /// The workspace as it is.
    now: Scene,
    /// The modules that are healthy in it.
    healthy: BTreeSet<&'a ModuleName>,
    /// The modules that are bad in it.
    bad: BTreeSet<&'a ModuleName>,
    /// Modules that were run again in the workspace as it is, to know whether a failure says anything.
    pub(super) run_again: Vec<Verified>,
    /// Everything together, derived once.
    whole: Option<(Vec<Vec<PinMove>>, Derived)>,
}

/// What trying a set gave.
pub(super) struct Tried {
    pub(super) answer: Answer,
    /// The tree that was verified; `None` when it could not be derived.
    pub(super) tree: Option<ObjectId>,
    /// The modules that were verified, by name.
    pub(super) verdicts: BTreeMap<ModuleName, Verified>,
    /// Modules that see something else and that nothing verifies.
    pub(super) unverified: Vec<ModuleName>,
    /// Why it could not be derived.
    pub(super) not_derived: Option<String>,
    /// True when it may be derived later without anything being different here.
    pub(super) may_pass: bool,
}

impl Tried {
    fn not_derived(why: &NotDerived) -> Self {
        let colour = if why.may_pass() { Colour::Unknown } else { Colour::Red };
        Self {
            answer: Answer::plain(colour),
            tree: None,
            verdicts: BTreeMap::new(),
            unverified: Vec::new(),
            not_derived: Some(why.to_string()),
            may_pass: why.may_pass(),
        }
    }

    /// The verdicts that are not healthy and can pass by themselves.
    pub(super) fn may_change(&self) -> impl Iterator<Item = (ModuleName, Cid)> {
        let fleeting = self
            .verdicts
            .values()
            .filter(|verified| !verified.verdict.is_healthy() && verified.lasting == Lasting::Transient);
        fleeting.filter_map(|verified| Some((verified.module.clone(), verified.key?)))
    }
}

impl<'a> Trial<'a> {
    pub(super) fn new(
        superproject: &'a dyn Superproject,
        base: &'a Base<'a>,
        sources: &'a dyn ModuleSources,
        committed: &'a Committed<'a>,
        health: &'a [ModuleHealth],
    ) -> Self {
        let named = |is: fn(&Verdict) -> bool| {
            health.iter().filter(move |row| is(&row.verdict)).map(|row| &row.name).collect()
        };
        let (healthy, bad) = (named(Verdict::is_healthy), named(Verdict::is_bad));
        Self {
            superproject,
            base,
            sources,
            committed,
            now: committed.as_it_is(),
            healthy,
            bad,
            run_again: Vec::new(),
            whole: None,
        }
    }

    /// Derive a set of the changes.
    fn set(&self, changes: &[Vec<PinMove>], set: &Set) -> PortResult<Result<Derived, NotDerived>> {
        if let Some((known, whole)) = &self.whole
            && set.len() == changes.len()
            && known == changes
        {
            return Ok(Ok(whole.clone()));
        }
        self.derive(set.iter().filter_map(|number| changes.get(number)))
    }

    /// Derive several changes as one.
    fn derive<'p>(
        &self,
        changes: impl IntoIterator<Item = &'p Vec<PinMove>>,
    ) -> PortResult<Result<Derived, NotDerived>> {
        let asks: Vec<PinAsk> = changes.into_iter().flatten().map(PinAsk::from).collect();
        derive(self.base, self.superproject, self.sources, TRIED, &asks)
    }

    /// The changes without those that cannot be derived by themselves, and whether one of them may be later.
    pub(super) fn derivable(&mut self, changes: Vec<Vec<PinMove>>) -> PortResult<(Vec<Vec<PinMove>>, bool)> {
        if let Ok(whole) = self.derive(&changes)? {
            self.whole = Some((changes.clone(), whole));
            return Ok((changes, false));
        }
        let (mut left, mut may_pass) = (Vec::with_capacity(changes.len()), false);
        for change in changes {
            match self.derive([&change])? {
                Ok(_) => left.push(change),
                Err(why) => may_pass |= why.may_pass(),
            }
        }
        Ok((left, may_pass))
    }

    /// The workspace as it is, and with all of these changes.
    pub(super) fn ends(&self, changes: &[Vec<PinMove>]) -> PortResult<Vec<Scene>> {
        let whole = self.set(changes, &Set::below(changes.len()))?.ok();
        let whole = whole.map(|change| self.committed.with(&change));
        Ok([self.now.clone()].into_iter().chain(whole).collect())
    }

    /// Derive and verify a set of the changes.
    pub(super) fn run(
        &mut self,
        bench: &mut Bench<'_>,
        state: &mut State,
        changes: &[Vec<PinMove>],
        ask: &Ask,
    ) -> PortResult<Tried> {
        let change = match self.set(changes, &ask.set)? {
            Ok(change) => change,
            Err(why) => return Ok(Tried::not_derived(&why)),
        };
        let scene = self.committed.with(&change);
        let runners = bench.runners;
        let (affected, unverified): (Vec<ModuleName>, Vec<ModuleName>) =
            self.affected(&scene).into_iter().partition(|name| !runners.steps_of(name).is_empty());
        let mut tried = Tried {
            answer: Answer::plain(Colour::Green),
            tree: Some(scene.tree),
            verdicts: BTreeMap::new(),
            unverified,
            not_derived: None,
            may_pass: false,
        };
        // What failed in earlier runs comes first: when it fails again, there is nothing to learn from the rest.
        let (first, rest): (Vec<ModuleName>, Vec<ModuleName>) =
            affected.into_iter().partition(|name| ask.first.contains(name));
        for modules in [first, rest] {
            if modules.is_empty() {
                continue;
            }
            let done = verify(bench, state, &scene, &modules, Known::Stands, Where::Candidate)?;
            for (name, verified) in done {
                let verified = self.believed(bench, state, verified)?;
                tried.verdicts.insert(name, verified);
            }
            tried.answer = answer(&tried.verdicts);
            if tried.answer.failing.iter().any(|name| !self.bad.contains(name)) {
                break;
            }
        }
        Ok(tried)
    }

    /// The modules that see something else than in the workspace as it is.
    fn affected(&self, scene: &Scene) -> Vec<ModuleName> {
        let same =
            |name: &ModuleName, sees: Cid| self.now.modules.get(name).is_some_and(|now| now.sees == sees);
        let there = scene.modules.iter().filter(|(name, placed)| !same(name, placed.sees));
        there.map(|(name, _)| name.clone()).collect()
    }

    /// A failure in which the machine or chance may have had a part is only believed when the module still
    /// holds where it is known to: else it says nothing of the change.
    fn believed(
        &mut self,
        bench: &mut Bench<'_>,
        state: &mut State,
        verified: Verified,
    ) -> PortResult<Verified> {
        let new = verified.from == Origin::Run && verified.verdict.is_bad();
        let name = &verified.module;
        if !new || verified.lasting == Lasting::Permanent || !self.healthy.contains(name) {
            return Ok(verified);
        }
        let one = std::slice::from_ref(name);
        let mut again = verify(bench, state, &self.now, one, Known::RunAgain, Where::Base)?;
        let now = again.remove(name);
        self.run_again.extend(now.clone());
        match now.filter(|now| now.verdict.is_bad()) {
            None => Ok(verified),
            Some(now) => {
                let why = now.verdict.reason().unwrap_or("it does not pass").to_owned();
                let reason = format!("it fails now in the workspace as it is, too: {why}");
                Ok(Verified { verdict: Verdict::Unknown { reason }, ..verified })
            }
        }
    }
}

/// What the verdicts on the modules say of the set.
fn answer(verdicts: &BTreeMap<ModuleName, Verified>) -> Answer {
    let named = |is: fn(&Verdict) -> bool| {
        let these = verdicts.values().filter(|verified| is(&verified.verdict));
        these.map(|verified| verified.module.clone()).collect::<BTreeSet<ModuleName>>()
    };
    let unknown = |verdict: &Verdict| matches!(verdict, Verdict::Unknown { .. });
    Answer::of_modules(named(Verdict::is_bad), named(unknown), named(Verdict::is_healthy))
}
