//! What judging does to proposals: findings are stored with each, and while one denies it waits.

use std::collections::BTreeMap;

use super::gather::Grounds;
use super::{Change, Site, Subject, judge};
use crate::domain::canonical;
use crate::domain::event::Event;
use crate::domain::governance::tally::{NarrowedBy, Narrower, Narrowing};
use crate::domain::governance::time::Times;
use crate::domain::id::ProposalId;
use crate::domain::policy::facts::ChangeFacts;
use crate::domain::policy::rules::{ALL, Asks, FREEZE};
use crate::domain::policy::{Finding, Severity};
use crate::domain::proposal::{ProposalRecord, Stage as Life};
use crate::domain::state::State;
use crate::domain::text;
use crate::ops::govern::{self, Case, Rules};
use crate::ops::propose::{Derived, NotDerived, derive_delta};
use crate::ports::{FailureKind, Journal, PortError, PortResult, Stored};

/// Why a proposal waits that no rule has looked at.
const NOT_JUDGED: &str =
    "the policy's rules have not looked at it as it is now: the next cycle does (lambda-os run --once)";

/// Most reasons in an entry, and the most characters of one: an entry is one bounded line.
const REASONS: (usize, usize) = (20, 500);

/// What the stage works with.
pub struct Stage<'a> {
    /// Where facts are gathered.
    pub site: Site<'a>,
    /// The journal, whose one writer we are.
    pub journal: &'a mut dyn Journal,
    /// What it adds up to; brought up to what is journalled here.
    pub state: &'a mut State,
    /// Now.
    pub now: Times,
    /// True once somebody asks to stop.
    pub stop: &'a dyn Fn() -> bool,
}

/// How the open proposals stand to the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stood {
    /// How many rules are set.
    pub rules: usize,
    /// Proposals whose tree was judged now.
    pub judged: usize,
    /// Proposals that are denied.
    pub denied: usize,
    /// Proposals that a person must look at.
    pub review: usize,
    /// Proposals that cannot be derived now, and were not judged.
    pub waiting: usize,
}

impl Stood {
    /// One short line.
    #[must_use]
    pub fn line(&self) -> String {
        if self.rules == 0 {
            return "no rules".to_owned();
        }
        let Self { rules, judged, denied, review, waiting } = self;
        let waiting = if *waiting == 0 { String::new() } else { format!(", {waiting} not judged") };
        format!("{rules} rules, {judged} trees judged, {denied} denied, {review} for review{waiting}")
    }
}

/// Judge every open proposal: its tree when that is another than was judged, and what the world changes
/// in any case. Only what changed is journalled.
///
/// # Errors
/// When the superproject or the journal cannot be read or written, or when it was asked to stop.
pub fn stage(stage: Stage<'_>) -> PortResult<Stood> {
    let Stage { site, journal, state, now, stop } = stage;
    let mut stood = Stood::default();
    if state.members.is_none() || state.policy.is_none() {
        return Ok(stood);
    }
    let rules = govern::rules(&*journal, state)?;
    stood.rules = rules.policy.rules.set().len();
    if stood.rules == 0 {
        return Ok(stood);
    }
    let open: Vec<ProposalId> = state
        .open_proposals()
        .filter(|(_, record)| record.stage == Life::Open && record.policy == Some(rules.policy_cid))
        .map(|(id, _)| *id)
        .collect();
    let mut grounds = BTreeMap::new();
    for id in open {
        if stop() {
            return Err(
                PortError::failed("judging the proposals was asked to stop").kind(FailureKind::Interrupted)
            );
        }
        let case = govern::case(&*journal, state, id)?;
        let base = case.record.base;
        let grounds = match grounds.entry(base) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => new.insert(Grounds::read(site, base)?),
        };
        let known = standing(&*journal, &case)?;
        let fresh = known.is_none();
        let findings = if let Some(mut known) = known {
            known.extend(judge_world(site, grounds, state, &rules, &case, now));
            known
        } else {
            let Ok(derived) = derived(site, &*journal, &case)? else {
                stood.waiting += 1;
                continue;
            };
            judge_all(site, grounds, state, &rules, &case, &derived, now)
        };
        stood.judged += usize::from(fresh);
        let tree = case.record.tree;
        let (denied, review) = keep(journal, state, id, tree, findings)?;
        stood.denied += usize::from(denied);
        stood.review += usize::from(review);
    }
    Ok(stood)
}

/// The findings of the rules that ask for the tree alone, when this tree was judged.
fn standing(journal: &(impl Stored + ?Sized), case: &Case) -> PortResult<Option<Vec<Finding>>> {
    if case.record.judged.as_ref().is_none_or(|judged| judged.tree != case.record.tree) {
        return Ok(None);
    }
    let Some(mut findings) = findings(journal, &case.record)? else { return Ok(None) };
    let of_tree = |rule: &str| ALL.iter().any(|known| known.id == rule && known.asks == Asks::Tree);
    findings.retain(|finding| of_tree(&finding.rule));
    Ok(Some(findings))
}

/// What was found in a proposal when it was judged last; `None` when it never was, or the store does
/// not have it any more.
///
/// # Errors
/// When the store cannot be read.
pub fn findings(
    journal: &(impl Stored + ?Sized),
    record: &ProposalRecord,
) -> PortResult<Option<Vec<Finding>>> {
    let Some(judged) = &record.judged else { return Ok(None) };
    let Some(bytes) = journal.stored(&judged.findings)? else { return Ok(None) };
    Ok(serde_json::from_slice(&bytes).ok())
}

/// The change on the commit that it was derived on last, or why it cannot be derived now.
fn derived(
    site: Site<'_>,
    journal: &(impl Stored + ?Sized),
    case: &Case,
) -> PortResult<Result<Derived, NotDerived>> {
    if case.delta.document.is_some() {
        // The rules change, and nothing of the workspace.
        return Ok(Ok(Derived {
            delta: case.delta.clone(),
            change: case.record.change,
            edits: Vec::new(),
            tree: case.record.tree,
            pins: Vec::new(),
            notes: Vec::new(),
        }));
    }
    let Site { superproject, sources, modules, .. } = site;
    derive_delta(superproject, sources, modules, journal, &case.delta, case.record.base)
}

fn change_facts(case: &Case, derived: Option<&Derived>) -> ChangeFacts {
    let pins = case.record.pins.iter().map(|pin| pin.path.clone());
    let files = case.delta.files.iter().map(|file| file.path.clone());
    ChangeFacts {
        purpose: case.record.purpose,
        track: case.record.track,
        files: case.delta.files.clone(),
        paths: match derived {
            Some(derived) => derived.edits.iter().map(|edit| edit.path.clone()).collect(),
            None => pins.chain(files).collect(),
        },
        document: case.delta.document,
    }
}

/// Everything that the rules find in a change on a commit.
fn judge_all(
    site: Site<'_>,
    grounds: &Grounds,
    state: &State,
    rules: &Rules,
    case: &Case,
    derived: &Derived,
    now: Times,
) -> Vec<Finding> {
    let facts = change_facts(case, Some(derived));
    let change = Some(Change { facts: &facts, pins: &derived.pins });
    let subject = Subject { edits: &derived.edits, change };
    let mut findings = judge(site, grounds, state, &rules.policy, subject, now, Asks::Tree);
    findings.extend(judge(site, grounds, state, &rules.policy, subject, now, Asks::World));
    findings
}

/// What the rules find that the world changes. The tree need not be derived for it.
fn judge_world(
    site: Site<'_>,
    grounds: &Grounds,
    state: &State,
    rules: &Rules,
    case: &Case,
    now: Times,
) -> Vec<Finding> {
    let facts = change_facts(case, None);
    let subject = Subject { edits: &[], change: Some(Change { facts: &facts, pins: &case.pins }) };
    judge(site, grounds, state, &rules.policy, subject, now, Asks::World)
}

/// Store and journal what was found, where it is not what was found before. Whether it denies, and
/// whether a person must look.
fn keep(
    journal: &mut dyn Journal,
    state: &mut State,
    id: ProposalId,
    tree: crate::domain::id::ObjectId,
    mut findings: Vec<Finding>,
) -> PortResult<(bool, bool)> {
    findings.sort();
    findings.dedup();
    let denied = denials(&findings);
    let review = findings.iter().any(|finding| finding.severity == Severity::Review);
    let bytes = canonical::to_canonical(&findings)
        .map_err(|error| PortError::failed("cannot write findings as canonical JSON").because(error))?;
    let cid = crate::domain::id::Cid::of(&bytes);
    let known = state.proposals.get(&id).and_then(|record| record.judged.as_ref());
    let outcome = (!denied.is_empty(), review);
    if known.is_some_and(|known| known.tree == tree && known.findings == cid) {
        return Ok(outcome);
    }
    let findings = journal.store(&bytes)?;
    let event = Event::ProposalJudged { proposal: id, tree, findings, denied, review };
    let entry = journal.append(&id.short(), &event)?;
    state.take(&entry);
    Ok(outcome)
}

/// Why findings deny, each a sentence that begins with its rule; empty when none does.
#[must_use]
pub fn denials(findings: &[Finding]) -> Vec<String> {
    let denying = || findings.iter().filter(|finding| finding.severity == Severity::Deny);
    let (most, longest) = REASONS;
    let mut said: Vec<String> = denying()
        .take(most)
        .map(|finding| {
            let Finding { rule, module, path, message, .. } = finding;
            let about = match (module, path) {
                (Some(module), Some(path)) => format!("{module}: {path}: "),
                (Some(module), None) => format!("{module}: "),
                (None, Some(path)) => format!("{path}: "),
                (None, None) => String::new(),
            };
            text::clipped(&text::inert(&format!("{rule}: {about}{message}")), longest)
        })
        .collect();
    let over = denying().count().saturating_sub(most);
    if over > 0 {
        said.push(format!("policy: {over} more findings deny it"));
    }
    said
}

/// What of the policy holds a proposal up, whatever the ballots say: what denies it, and that nobody
/// judged it yet on this base. Whether it is frozen is asked now, not remembered.
#[must_use]
pub fn narrowed(rules: &Rules, record: &ProposalRecord, now: Times) -> Vec<Narrowing> {
    let set = &rules.policy.rules;
    if set.is_empty() {
        return Vec::new();
    }
    let waits = |by, reason: String| Narrowing { by, verdict: Narrower::Wait, reason };
    let freeze = set.freeze.iter().filter(|rule| rule.severity == Severity::Deny);
    let frozen = freeze.flat_map(|rule| rule.holding(record.purpose, record.track, now));
    let mut narrowed: Vec<Narrowing> =
        frozen.map(|why| waits(NarrowedBy::Freeze, format!("{FREEZE}: {}", text::inert(&why)))).collect();
    let is_freeze = |reason: &&String| reason.strip_prefix(FREEZE).is_some_and(|rest| rest.starts_with(':'));
    match record.judged.as_ref().filter(|judged| judged.tree == record.tree) {
        Some(judged) => {
            let others = judged.denied.iter().filter(|reason| !is_freeze(reason));
            narrowed.extend(others.map(|reason| waits(NarrowedBy::Policy, reason.clone())));
        }
        None => narrowed.push(waits(NarrowedBy::Policy, NOT_JUDGED.to_owned())),
    }
    narrowed
}

/// Judge a change anew just before it is applied, and journal what is found where that is another
/// thing than before. `case` is of the state as it is now.
///
/// # Errors
/// Refused when a finding denies it; as [`stage`].
pub fn gate(
    site: Site<'_>,
    journal: &mut dyn Journal,
    state: &mut State,
    case: &Case,
    derived: &Derived,
    now: Times,
) -> PortResult<()> {
    let rules = govern::rules(&*journal, state)?;
    if rules.policy.rules.is_empty() {
        return Ok(());
    }
    let findings = look(site, state, &rules, case, derived, now)?;
    keep(journal, state, case.id, derived.tree, findings.clone())?;
    let denied = denials(&findings);
    if denied.is_empty() {
        return Ok(());
    }
    let id = case.id.short();
    Err(PortError::failed(format!("the policy denies the proposal {id}"))
        .kind(FailureKind::Refused)
        .because(std::io::Error::other(denied.join("\n")))
        .hint(format!("lambda-os proposal show {id}; lambda-os policy explain RULE says what a rule is for")))
}

/// The same for a change of the rules themselves, by the rules in force.
///
/// # Errors
/// As [`gate`].
pub fn gate_document(
    site: Site<'_>,
    journal: &mut dyn Journal,
    state: &mut State,
    case: &Case,
    now: Times,
) -> PortResult<()> {
    // It has no tree of its own: there is nothing that could not be derived.
    match derived(site, &*journal, case)? {
        Ok(derived) => gate(site, journal, state, case, &derived, now),
        Err(_) => Ok(()),
    }
}

/// What the rules find in a proposal on the commit that it was derived on last; or why it cannot be derived
/// there now. Nothing is journalled.
///
/// # Errors
/// When the superproject's objects or the store cannot be read.
pub fn look_at(
    site: Site<'_>,
    journal: &(impl Stored + ?Sized),
    state: &State,
    rules: &Rules,
    case: &Case,
    now: Times,
) -> PortResult<Result<Vec<Finding>, NotDerived>> {
    match derived(site, journal, case)? {
        Ok(derived) => look(site, state, rules, case, &derived, now).map(Ok),
        Err(why) => Ok(Err(why)),
    }
}

/// What the rules find in a proposal as it is derived on the commit that its record names now. Nothing
/// is journalled.
///
/// # Errors
/// When the superproject's objects or the store cannot be read.
pub fn look(
    site: Site<'_>,
    state: &State,
    rules: &Rules,
    case: &Case,
    derived: &Derived,
    now: Times,
) -> PortResult<Vec<Finding>> {
    let base = state.proposals.get(&case.id).map_or(case.record.base, |record| record.base);
    let grounds = Grounds::read(site, base)?;
    let mut findings = judge_all(site, &grounds, state, rules, case, derived, now);
    findings.sort();
    findings.dedup();
    Ok(findings)
}
