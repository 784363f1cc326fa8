//! What the journal adds up to: a fold over its entries, a cache that can always be made again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::audit::entry::Entry;
use super::change::{DocumentDelta, DocumentKind};
use super::event::Event;
use super::governance::heard::Heard;
use super::governance::time::{CheckedTime, Reading};
use super::heal::Heals;
use super::health::{VerdictRecord, Verdicts};
use super::id::{Cid, ModuleName, ObjectId, ProposalId};
use super::ladder::{DAY_MS, EnactedWithinBounds, Right};
use super::plan::PinMove;
use super::proposal::{Closure, Decided, Judged, ProposalRecord, Proposals, Purpose, Stage, Verification};
use super::seen::Seen;

/// What one must remember from earlier cycles.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The newest snapshot.
    pub snapshot: Option<Cid>,
    /// The newest table of upgrades.
    pub upgrades: Option<Cid>,
    /// The newest finished cycle: its start's sequence, and its report.
    pub last_cycle: Option<LastCycle>,
    /// The newest cycle that ended with a report: what is known, however later cycles ended.
    pub last_look: Option<LastCycle>,
    /// A cycle that began and has not ended.
    pub open_cycle: Option<u64>,
    /// Frozen modules and why.
    pub holds: BTreeMap<ModuleName, String>,
    /// The tip that was last seen of each module, with its branch.
    pub tips: BTreeMap<ModuleName, SeenTip>,
    /// The members document in force.
    pub members: Option<InForce>,
    /// The first members document that was ever in force here.
    #[serde(default)]
    pub first_members: Option<Cid>,
    /// The first policy that was ever in force here.
    #[serde(default)]
    pub first_policy: Option<Cid>,
    /// The policy in force.
    pub policy: Option<Cid>,
    /// Every proposal.
    pub proposals: Proposals,
    /// Where each rejected or withdrawn proposal would have moved a module: not proposed again
    /// before a person lets go of the module with `unhold`.
    pub rejected: BTreeMap<ModuleName, Vec<ObjectId>>,
    /// An application that began and has not ended.
    pub open_apply: Option<OpenApply>,
    /// What verification found, by module.
    #[serde(default)]
    pub verdicts: Verdicts,
    /// The newest combination of changes that was verified.
    #[serde(default)]
    pub candidates: Option<TriedCandidates>,
    /// Keys that count for nothing any more, by fingerprint: since which entry.
    #[serde(default)]
    pub revoked: BTreeMap<String, u64>,
    /// What was enacted within bounds, oldest first; what no day counts any more is left out.
    #[serde(default)]
    pub enacted: Vec<EnactedWithinBounds>,
    /// How the documents in force came to be, after the first ones: in the journal's order.
    #[serde(default)]
    pub amended: Vec<Amendment>,
    /// Why everything is held: nothing is enacted, healed or applied before a person lets go.
    #[serde(default)]
    pub stopped: Option<String>,
    /// What was healed, what is under way, which revisions are bad and which modules frozen.
    #[serde(default)]
    pub heals: Heals,
    /// What other operators' messages left.
    #[serde(default)]
    pub heard: Heard,
    /// The time that delays run on.
    #[serde(default)]
    pub time: CheckedTime,
    /// Since when revisions are known, and what was applied lately.
    #[serde(default)]
    pub seen: Seen,
}

/// A combination of changes that was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedCandidates {
    /// The superproject's commit.
    pub base: ObjectId,
    /// Which changes were tried.
    pub asked: Cid,
    /// What came out, in `objects/`.
    pub outcome: Cid,
    /// Wall time of its entry, Unix milliseconds.
    #[serde(default)]
    pub wall_ms: i64,
}

/// The members document in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// The document, in `objects/`.
    pub document: Cid,
    /// Its epoch.
    pub epoch: u64,
}

/// A document that took the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amendment {
    /// Sequence of its entry.
    pub seq: u64,
    /// Which document was in force, and which is since.
    pub document: DocumentDelta,
    /// The certificate that it rests on, in `objects/`; one without any proves nothing.
    pub certificate: Option<Cid>,
}

/// An application of a proposal whose end is not journalled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenApply {
    /// Sequence of its `apply.started`.
    pub started: u64,
    /// Which proposal.
    pub proposal: ProposalId,
    /// The full name of the branch that moves.
    pub reference: String,
    /// Where it was.
    pub expected: ObjectId,
    /// Where it shall be.
    pub target: ObjectId,
}

/// The newest finished cycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCycle {
    /// Sequence of its `cycle.started`.
    pub started: u64,
    /// Wall time of its end, Unix milliseconds.
    pub finished_wall_ms: i64,
    /// `ok`, `failed` or `interrupted`.
    pub outcome: String,
    /// The report, in `objects/`.
    pub report: Option<Cid>,
}

/// An upstream's tip as it was last seen and accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenTip {
    /// The branch.
    pub branch: String,
    /// The newest tip whose history holds all tips before it, or that a person accepted.
    pub tip: ObjectId,
    /// A tip whose history does not hold `tip`: rewritten, waiting for a person.
    pub rewritten_to: Option<ObjectId>,
}

impl State {
    /// True when an entry that still counts names this stored value.
    #[must_use]
    pub fn names(&self, cid: &Cid) -> bool {
        let report = self.last_cycle.as_ref().and_then(|cycle| cycle.report);
        let candidates = self.candidates.map(|tried| tried.outcome);
        [self.snapshot, self.upgrades, report, candidates].contains(&Some(*cid))
    }

    /// The state after this entry.
    pub fn take(&mut self, entry: &Entry) {
        let Entry { wall_ms, boot, mono_ms, .. } = entry;
        self.time.take(Reading { wall_ms: *wall_ms, boot, mono_ms: *mono_ms });
        self.apply(entry.seq, entry.wall_ms, &entry.event);
    }

    /// The state after this event; its reading of the clocks was taken before.
    pub fn apply(&mut self, seq: u64, wall_ms: i64, event: &Event) {
        self.heals.apply(seq, wall_ms, event);
        self.heard.apply(seq, wall_ms, event);
        self.seen.apply(self.time.checked_ms(), event, &self.proposals);
        match event {
            Event::JournalOpened { .. }
            | Event::JournalRecovered { .. }
            | Event::DriftFound { .. }
            | Event::BallotRefused { .. }
            | Event::BallotWaits { .. }
            | Event::ProposalReceived { .. }
            | Event::ProposalContents { .. }
            | Event::HealStarted { .. }
            | Event::HealFinished { .. }
            | Event::HealStopped { .. } => {}
            Event::CycleStarted { .. } => self.open_cycle = Some(seq),
            Event::SnapshotTaken { snapshot, .. } => self.snapshot = Some(*snapshot),
            Event::UpstreamMoved { module, branch, to, rewritten, .. } => {
                self.saw(module, branch, *to, *rewritten);
            }
            Event::DetectFinished { upgrades } => self.upgrades = Some(*upgrades),
            Event::CycleFinished { started, outcome, report, .. } => self.finished(LastCycle {
                started: *started,
                finished_wall_ms: wall_ms,
                outcome: outcome.clone(),
                report: *report,
            }),
            Event::ModuleHeld { module, reason } => {
                self.holds.insert(module.clone(), reason.clone());
            }
            Event::ModuleUnheld { module, accepted } => {
                self.holds.remove(module);
                // A person looked at the module again: what was turned down may come back.
                self.rejected.remove(module);
                if let (Some(tip), Some(seen)) = (accepted, self.tips.get_mut(module)) {
                    seen.tip = *tip;
                    seen.rewritten_to = None;
                }
            }
            Event::MembersTrusted { .. }
            | Event::PolicyAdopted { .. }
            | Event::KeyRevoked { .. }
            | Event::AllHeld { .. }
            | Event::AllUnheld {}
            | Event::EnactStarted { .. } => self.apply_to_rules(seq, event),
            Event::VerifyFinished {
                module,
                revision,
                key,
                sees,
                verdict,
                lasting,
                flaky,
                evidence,
                derivations,
                base,
            } => {
                let record = VerdictRecord {
                    key: *key,
                    sees: *sees,
                    revision: *revision,
                    verdict: verdict.clone(),
                    lasting: *lasting,
                    flaky: *flaky,
                    evidence: *evidence,
                    derivations: *derivations,
                    base: *base,
                    healthy_once: verdict.is_healthy(),
                    transient_count: 1,
                    seq,
                    wall_ms,
                };
                self.verdicts.add(module, record);
            }
            Event::VerifyAdopted { module, key } => self.verdicts.adopt(module, key),
            Event::CandidatesVerified { base, asked, outcome } => {
                self.candidates =
                    Some(TriedCandidates { base: *base, asked: *asked, outcome: *outcome, wall_ms });
            }
            Event::ProposalMade { .. }
            | Event::TaskFinished { .. }
            | Event::ProposalDerived { .. }
            | Event::ProposalVerified { .. }
            | Event::ProposalJudged { .. }
            | Event::ProposalDecided { .. }
            | Event::ProposalClosed { .. }
            | Event::BallotCast { .. }
            | Event::ProposalCertified { .. }
            | Event::ApplyStarted { .. }
            | Event::ApplyFinished { .. } => self.apply_to_proposal(seq, wall_ms, event),
        }
    }

    /// A cycle ended.
    fn finished(&mut self, last: LastCycle) {
        self.open_cycle = None;
        if last.report.is_some() {
            self.last_look = Some(last.clone());
        }
        self.last_cycle = Some(last);
    }

    /// What an entry about who decides, and about how much is done without them, changes.
    fn apply_to_rules(&mut self, seq: u64, event: &Event) {
        match event {
            Event::MembersTrusted { members, epoch, enacts, certificate } => {
                self.first_members.get_or_insert(*members);
                let old = self.members.replace(InForce { document: *members, epoch: *epoch });
                let old = old.map(|old| old.document);
                self.in_force(seq, (DocumentKind::Members, old, *members), *enacts, *certificate);
            }
            Event::PolicyAdopted { policy, enacts, certificate } => {
                self.first_policy.get_or_insert(*policy);
                let old = self.policy.replace(*policy);
                self.in_force(seq, (DocumentKind::Policy, old, *policy), *enacts, *certificate);
            }
            Event::KeyRevoked { key, .. } => {
                self.revoked.entry(key.clone()).or_insert(seq);
            }
            Event::AllHeld { reason } => self.stopped = Some(reason.clone()),
            Event::AllUnheld {} => self.stopped = None,
            Event::EnactStarted { right: Right::Bounds, proposal } => {
                let checked_ms = self.time.checked_ms();
                self.enacted.retain(|one| checked_ms.saturating_sub(one.checked_ms) < DAY_MS);
                // However often it was begun, it is one.
                self.enacted.retain(|one| one.proposal != *proposal);
                self.enacted.push(EnactedWithinBounds { proposal: *proposal, checked_ms });
            }
            // The caller gives only these, and nothing counts what was decided by ballots.
            _ => {}
        }
    }

    /// A document is in force. Where it took the place of another, what was proposed by that one is
    /// void: in the same entry, so that no crash leaves anything that could be decided by old rules.
    fn in_force(
        &mut self,
        seq: u64,
        (kind, old, new): (DocumentKind, Option<Cid>, Cid),
        proposal: Option<ProposalId>,
        certificate: Option<Cid>,
    ) {
        if let Some(record) = proposal.and_then(|proposal| self.proposals.get_mut(&proposal)) {
            record.stage = Stage::Enacted { seq };
        }
        let Some(old) = old else { return };
        let document = DocumentDelta { kind, old, new };
        self.amended.push(Amendment { seq, document, certificate });
        let rules = (self.policy, self.members.map_or(0, |members| members.epoch));
        for record in self.proposals.values_mut() {
            if record.stage == Stage::Open && (record.policy, record.members_epoch) != rules {
                let reason =
                    format!("the {} changed: what was approved by the old one is void", kind.title());
                record.stage = Stage::Closed { outcome: Closure::Obsolete, by: proposal, reason };
            }
        }
    }

    /// An upstream is at this tip.
    fn saw(&mut self, module: &ModuleName, branch: &str, to: ObjectId, rewritten: bool) {
        let known = self.tips.get(module).filter(|seen| seen.branch == branch).map(|seen| seen.tip);
        let seen = match known {
            Some(tip) if rewritten => SeenTip { branch: branch.to_owned(), tip, rewritten_to: Some(to) },
            _ => SeenTip { branch: branch.to_owned(), tip: to, rewritten_to: None },
        };
        self.tips.insert(module.clone(), seen);
    }

    /// What an entry about one proposal changes.
    fn apply_to_proposal(&mut self, seq: u64, wall_ms: i64, event: &Event) {
        match event {
            Event::ProposalMade {
                proposal,
                change,
                purpose,
                track,
                pins,
                base,
                tree,
                supersedes,
                expires_ms,
                notes,
            } => {
                let record = ProposalRecord {
                    change: *change,
                    purpose: *purpose,
                    track: *track,
                    pins: pins.clone(),
                    policy: self.policy,
                    members_epoch: self.members.map_or(0, |members| members.epoch),
                    base: *base,
                    tree: *tree,
                    supersedes: *supersedes,
                    made: seq,
                    made_wall_ms: wall_ms,
                    made_checked_ms: self.time.checked_ms(),
                    expires_ms: *expires_ms,
                    notes: notes.clone(),
                    ballots: Vec::new(),
                    certificate: None,
                    certified_wall_ms: None,
                    certified_checked_ms: None,
                    verification: None,
                    judged: None,
                    decided: BTreeMap::new(),
                    evidence: None,
                    stage: Stage::Open,
                };
                if let Some(before) = supersedes.and_then(|before| self.proposals.get_mut(&before)) {
                    before.stage = Stage::Closed {
                        outcome: Closure::Superseded,
                        by: Some(*proposal),
                        reason: "a newer proposal took its place".to_owned(),
                    };
                }
                self.proposals.insert(*proposal, record);
            }
            Event::ProposalDerived { .. }
            | Event::ProposalVerified { .. }
            | Event::ProposalJudged { .. }
            | Event::ProposalDecided { .. }
            | Event::TaskFinished { .. } => self.apply_beside(seq, event),
            Event::ProposalClosed { proposal, outcome, by, reason } => {
                let Some(record) = self.proposals.get_mut(proposal) else { return };
                record.stage = Stage::Closed { outcome: *outcome, by: *by, reason: reason.clone() };
                if matches!(outcome, Closure::Rejected | Closure::Withdrawn) {
                    turned_down(&mut self.rejected, &record.pins);
                }
            }
            Event::BallotCast { proposal, ballot, .. } => {
                let record = self.proposals.get_mut(proposal);
                if let Some(record) = record.filter(|record| !record.ballots.contains(ballot)) {
                    record.ballots.push(*ballot);
                }
            }
            Event::ProposalCertified { proposal, certificate } => {
                let record = self.proposals.get_mut(proposal);
                // Named again, it is as old as it was.
                if let Some(record) = record.filter(|record| record.certificate != Some(*certificate)) {
                    record.certificate = Some(*certificate);
                    record.certified_wall_ms = Some(wall_ms);
                    record.certified_checked_ms = Some(self.time.checked_ms());
                }
            }
            Event::ApplyStarted { proposal, reference, expected, target, .. } => {
                if let Some(record) = self.proposals.get_mut(proposal) {
                    record.stage = Stage::Applying { started: seq };
                }
                let (proposal, reference) = (*proposal, reference.clone());
                let (expected, target) = (*expected, *target);
                self.open_apply = Some(OpenApply { started: seq, proposal, reference, expected, target });
            }
            Event::ApplyFinished { proposal, outcome, commit, notes, .. } => {
                self.open_apply = None;
                let Some(record) = self.proposals.get_mut(proposal) else { return };
                record.stage = match (outcome.as_str(), commit) {
                    ("applied", Some(commit)) => {
                        self.heals.applied(proposal, record);
                        Stage::Applied { commit: *commit }
                    }
                    ("undone", _) => Stage::Open,
                    _ => Stage::Stuck { reason: notes.join("; ") },
                };
            }
            // The caller gives only the above.
            _ => {}
        }
    }

    /// What an entry about a proposal's tree, or about what is known of it, changes.
    fn apply_beside(&mut self, seq: u64, event: &Event) {
        match event {
            Event::TaskFinished { proposal, evidence, .. } => {
                if let Some(record) = proposal.and_then(|proposal| self.proposals.get_mut(&proposal)) {
                    record.evidence = Some(*evidence);
                }
            }
            Event::ProposalJudged { proposal, tree, findings, denied, review } => {
                if let Some(record) = self.proposals.get_mut(proposal) {
                    let (tree, findings, review) = (*tree, *findings, *review);
                    record.judged = Some(Judged { tree, findings, denied: denied.clone(), review });
                }
            }
            Event::ProposalDecided { proposal, decision } => {
                if let Some(record) = self.proposals.get_mut(proposal) {
                    record.decided.insert(decision.program, Decided { seq, decision: decision.clone() });
                }
            }
            Event::ProposalDerived { proposal, base, tree } => {
                if let Some(record) = self.proposals.get_mut(proposal) {
                    (record.base, record.tree) = (*base, *tree);
                }
            }
            Event::ProposalVerified { proposal, tree, claims } => {
                if let Some(record) = self.proposals.get_mut(proposal) {
                    record.verification = Some(Verification { tree: *tree, claims: *claims });
                }
            }
            // The caller gives only the above.
            _ => {}
        }
    }

    /// The members document and the policy that were in force first.
    #[must_use]
    pub fn first_trusted(&self) -> Option<(Cid, Cid)> {
        Some((self.first_members?, self.first_policy?))
    }

    /// Whether people decided for a proposal by the rules in force, and it waits to be applied: nothing
    /// that upstreams do takes its place.
    #[must_use]
    pub fn is_decided(&self, id: &ProposalId, record: &ProposalRecord) -> bool {
        record.stage == Stage::Open
            && record.certificate.is_some()
            && record.policy == self.policy
            && Some(record.members_epoch) == self.members.map(|members| members.epoch)
            // Nobody voted on what the daemon began to enact by itself.
            && !self.enacted.iter().any(|one| one.proposal == *id)
            && record.purpose != Purpose::Heal
    }

    /// The proposals that wait for a decision or for being applied, with what is being applied.
    pub fn open_proposals(&self) -> impl Iterator<Item = (&ProposalId, &ProposalRecord)> {
        self.proposals
            .iter()
            .filter(|(_, record)| matches!(record.stage, Stage::Open | Stage::Applying { .. }))
    }
}

/// Where these pins would have gone is not proposed again.
fn turned_down(rejected: &mut BTreeMap<ModuleName, Vec<ObjectId>>, pins: &[PinMove]) {
    for moved in pins {
        let refused = rejected.entry(moved.module.clone()).or_default();
        if !refused.contains(&moved.to) {
            refused.push(moved.to);
        }
    }
}
