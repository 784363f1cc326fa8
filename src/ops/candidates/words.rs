//! From what a search found to claims, and to sentences for people.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::candidates::{GreenSet, NeedFound, Reason, SetAside};
use crate::domain::combine::{Aside, Outcome, Set, Why};
use crate::domain::health::claim::CLAIMS_VERSION;
use crate::domain::health::{Claim, Claims, Verdict};
use crate::domain::id::{Cid, ModuleName};
use crate::domain::plan::PinMove;
use crate::domain::report::ModuleHealth;
use crate::domain::state::State;
use crate::domain::text;
use crate::ops::verify::Verified;

use super::trial::Tried;

/// Most claims that stand in the notes of a proposal; all of them are in `objects/`.
const NOTED: usize = 8;

/// Most characters of a reason in a sentence.
const REASON: usize = 200;

/// Most names in a sentence.
const NAMES: usize = 6;

/// What a search found, with everything that it rests on.
pub(super) struct Found<'a> {
    /// The changes, by number.
    pub(super) pins: &'a [Vec<PinMove>],
    pub(super) outcome: &'a Outcome,
    pub(super) tried: &'a BTreeMap<Set, Tried>,
    pub(super) most_runs: usize,
}

impl Found<'_> {
    /// What holds together, with the claims that it is named by.
    pub(super) fn green(&self, state: &State, health: &[ModuleHealth]) -> Option<(Claims, GreenSet)> {
        let tried = self.tried.get(&self.outcome.green).filter(|_| !self.outcome.green.is_empty())?;
        let tree = tried.tree?;
        let mut claims: Vec<Claim> = tried.verdicts.values().filter_map(claim).collect();
        // What fails in a green set fails without it, too.
        for claim in &mut claims {
            claim.as_before = claim.verdict.is_bad();
        }
        let claims = Claims { v: CLAIMS_VERSION, tree, claims, unverified: tried.unverified.clone() };
        let identity = Cid::of(&claims.to_canonical().ok()?);
        let mut pins: Vec<PinMove> =
            self.outcome.green.iter().filter_map(|number| self.pins.get(number)).flatten().cloned().collect();
        pins.sort();
        let mut notes = noted(&claims, identity, self.outcome.green.len());
        if changes_no_derivation(&claims, state, health) {
            notes.push("it changes no derivation: what Nix builds with it is what it builds now".to_owned());
        }
        notes.extend(self.needs().map(|need| {
            format!("{} holds only together with {}", named(&need.modules), named(&need.one_of))
        }));
        Some((claims, GreenSet { pins, tree, claims: identity, notes }))
    }

    /// What does not hold, and why.
    pub(super) fn aside(&self) -> impl Iterator<Item = SetAside> {
        self.outcome.aside.iter().map(|aside| self.set_aside(aside))
    }

    /// What holds only with what.
    pub(super) fn needs(&self) -> impl Iterator<Item = NeedFound> {
        self.outcome.needs.iter().map(|need| NeedFound {
            modules: self.modules(&Set::one(need.part)),
            one_of: self.modules(&need.of),
        })
    }

    fn modules(&self, parts: &Set) -> Vec<ModuleName> {
        let pins = parts.iter().filter_map(|number| self.pins.get(number)).flatten();
        let modules: BTreeSet<ModuleName> = pins.map(|pin| pin.module.clone()).collect();
        modules.into_iter().collect()
    }

    fn set_aside(&self, aside: &Aside) -> SetAside {
        let tried = aside.run.and_then(|run| self.tried.get(self.outcome.runs.get(run)?));
        let verdicts = || {
            let all = tried.into_iter().flat_map(|tried| tried.verdicts.values());
            all.filter(|verified| aside.modules.contains(&verified.module))
        };
        let shown_by: Vec<Claim> = verdicts().filter_map(claim).collect();
        let fault = fault(&verdicts().collect::<Vec<_>>());
        let fault = fault.or_else(|| {
            let why = tried?.not_derived.as_ref()?;
            Some(format!("the change cannot be derived: {}", text::clipped(why, REASON)))
        });
        let said = |fault: &Option<String>| fault.clone().unwrap_or_else(|| "something fails".to_owned());
        let own = self.modules(&Set::one(aside.part));
        let (why, with, reason) = match &aside.why {
            Why::Culprit { perhaps_needs } => {
                let with = self.modules(perhaps_needs);
                let perhaps = match named(&with) {
                    none if none.is_empty() => none,
                    with => format!("; it may be that it only needs {with}, set aside too"),
                };
                let reason = format!("culprit: with {}, {}{perhaps}", named(&own), said(&fault));
                (Reason::Culprit, with, reason)
            }
            Why::Conflict { with } if with.is_empty() => {
                let reason = format!(
                    "conflict: with what is proposed, {}; whether it fails by itself could not be found out",
                    said(&fault)
                );
                (Reason::Conflict, Vec::new(), reason)
            }
            Why::Conflict { with } => {
                let with = self.modules(with);
                let reason =
                    format!("conflict: together with {}, {}; by itself it holds", named(&with), said(&fault));
                (Reason::Conflict, with, reason)
            }
            Why::Needs { parts } => {
                let with = self.modules(parts);
                let reason = format!("waits for {}, set aside: without it, {}", named(&with), said(&fault));
                (Reason::Needs, with, reason)
            }
            Why::NotFoundOut => {
                let reason = match fault {
                    Some(fault) => fault,
                    None if self.outcome.over_bound => {
                        format!("it was not found out within {} runs", self.most_runs)
                    }
                    None => "nothing could be run".to_owned(),
                };
                (Reason::Unverified, Vec::new(), format!("could not be verified: {reason}"))
            }
        };
        let pins = self.pins.get(aside.part).cloned().unwrap_or_default();
        SetAside { pins, why, reason, with, shown_by }
    }
}

fn claim(verified: &Verified) -> Option<Claim> {
    Some(Claim {
        module: verified.module.clone(),
        key: verified.key?,
        verdict: verified.verdict.clone(),
        as_before: false,
        evidence: verified.evidence?,
    })
}

/// What went wrong, as a clause: the first module that fails, else the first that is unknown.
fn fault(verdicts: &[&Verified]) -> Option<String> {
    let bad = verdicts.iter().find(|verified| verified.verdict.is_bad());
    let one = bad.or_else(|| verdicts.iter().find(|verified| !verified.verdict.is_healthy()))?;
    let reason = text::clipped(&text::inert(one.verdict.reason().unwrap_or("no reason")), REASON);
    let step = one.verdict.step().map_or("a step", |step| step.as_str());
    let name = &one.module;
    let said = match &one.verdict {
        Verdict::Failed { .. } => format!("{name} fails at {step}: {reason}"),
        Verdict::TimedOut { .. } => format!("{name} does not end at {step}: {reason}"),
        _ => format!("of {name} nothing is known: {reason}"),
    };
    let evidence = one.evidence.map(|evidence| format!(" (evidence {evidence})")).unwrap_or_default();
    let same = |other: &&&Verified| other.verdict.is_bad() == one.verdict.is_bad();
    let more = match verdicts.iter().filter(same).count() {
        0 | 1 => String::new(),
        2 => ", and 1 more module".to_owned(),
        many => format!(", and {} more modules", many - 1),
    };
    Some(format!("{said}{evidence}{more}"))
}

/// The notes of what holds together.
fn noted(claims: &Claims, identity: Cid, changes: usize) -> Vec<String> {
    let count = |is: &dyn Fn(&Claim) -> bool| claims.claims.iter().filter(|claim| is(claim)).count();
    let strong = count(&|claim| claim.verdict.is_strong());
    let weak = count(&|claim| claim.verdict.is_healthy()) - strong;
    let bad = count(&|claim| claim.as_before);
    let what = match changes {
        1 => "verified".to_owned(),
        many => format!("{many} changes, verified together"),
    };
    let found = match claims.claims.len() {
        0 => "no module that is verified sees anything else with it".to_owned(),
        _ => format!("{strong} modules healthy, {weak} weakly, {bad} failing as they do without it"),
    };
    let mut notes = vec![format!("{what}: {found} (claims {identity})")];
    // What says least first.
    let mut shown: Vec<&Claim> = claims.claims.iter().collect();
    shown.sort_by_key(|claim| (claim.verdict.is_strong(), claim.verdict.is_healthy()));
    notes.extend(shown.iter().take(NOTED).map(ToString::to_string));
    if shown.len() > NOTED {
        notes.push(format!("and {} more modules, as the claims say", shown.len() - NOTED));
    }
    if !claims.unverified.is_empty() {
        let names = named(&claims.unverified);
        notes.push(format!("no steps are configured for {names}: what it does there was not looked at"));
    }
    notes
}

/// True when Nix builds of every module what it builds now, as evaluation says of both.
fn changes_no_derivation(claims: &Claims, state: &State, health: &[ModuleHealth]) -> bool {
    let before: BTreeMap<&ModuleName, Cid> =
        health.iter().filter_map(|row| Some((&row.name, row.key?))).collect();
    let derivations = |module: &ModuleName, key: &Cid| state.verdicts.on(module, key)?.derivations;
    let same = |claim: &Claim| {
        let then = derivations(&claim.module, &claim.key);
        let now = before.get(&claim.module).and_then(|key| derivations(&claim.module, key));
        then.is_some() && then == now
    };
    !claims.claims.is_empty() && claims.unverified.is_empty() && claims.claims.iter().all(same)
}

fn named(modules: &[ModuleName]) -> String {
    let shown: Vec<&str> = modules.iter().take(NAMES).map(ModuleName::as_str).collect();
    match modules.len().saturating_sub(NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
