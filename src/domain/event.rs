//! What the journal records: the types of entries and their bodies.
//!
//! A body is small; large values are stored by content and named here by [`Cid`]. On disk an event is two
//! fields of its entry, `type` and `body`. A type once written keeps its name and its meaning;
//! new types and new optional fields may come.

use serde::{Deserialize, Serialize};

use super::governance::program::Decision;
use super::heal::{HealEnd, Uptime};
use super::health::Verdict;
use super::health::evidence::Lasting;
use super::id::{ChangeId, Cid, ModuleName, ObjectId, ProposalId};
use super::ladder::Right;
use super::plan::PinMove;
use super::proposal::{Closure, Purpose, Track};

/// An entry's `type` and `body`. The names are part of the on-disk format: they are only added to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "body")]
pub enum Event {
    /// The first entry of a journal.
    #[serde(rename = "journal.opened")]
    JournalOpened {
        /// The version of the program that made it.
        program: String,
    },
    /// A torn last line was found and put aside.
    #[serde(rename = "journal.recovered")]
    JournalRecovered {
        /// How many bytes stood after the last newline.
        length: u64,
        /// The identity of those bytes, kept in `objects/`.
        bytes: Cid,
    },
    /// A cycle began.
    #[serde(rename = "cycle.started")]
    CycleStarted {
        /// Why: `once`, `interval`, `resume`.
        cause: String,
    },
    /// The workspace was seen in another state than before.
    #[serde(rename = "snapshot.taken")]
    SnapshotTaken {
        /// The snapshot, in `objects/`.
        snapshot: Cid,
        /// The superproject's HEAD.
        head: Option<ObjectId>,
        /// Number of modules.
        modules: u32,
    },
    /// What differs from the snapshot before.
    #[serde(rename = "drift.found")]
    DriftFound {
        /// The drift report, in `objects/`.
        drift: Cid,
        /// Number of differences over a limit.
        over_limit: u32,
    },
    /// An upstream was seen at a new tip.
    #[serde(rename = "upstream.moved")]
    UpstreamMoved {
        /// The module.
        module: ModuleName,
        /// The branch.
        branch: String,
        /// The tip before, if any was seen.
        from: Option<ObjectId>,
        /// The tip now.
        to: ObjectId,
        /// True when the tip before is no longer part of the branch.
        rewritten: bool,
    },
    /// The statuses of all modules changed; the table is in `objects/`.
    #[serde(rename = "detect.finished")]
    DetectFinished {
        /// The table of [`crate::domain::upgrade::Upgrade`].
        upgrades: Cid,
    },
    /// A cycle ended.
    #[serde(rename = "cycle.finished")]
    CycleFinished {
        /// Sequence of its `cycle.started`.
        started: u64,
        /// `ok`, `failed` or `interrupted`.
        outcome: String,
        /// The report, in `objects/`; absent when it failed before there was one.
        report: Option<Cid>,
        /// Why it failed.
        reason: Option<String>,
        /// How long each phase took, microseconds, in order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        phases_us: Vec<(String, u64)>,
    },
    /// A person froze a module.
    #[serde(rename = "module.held")]
    ModuleHeld {
        /// The module.
        module: ModuleName,
        /// Why.
        reason: String,
    },
    /// A person lifted a hold, and accepts upstream's history as it is now.
    #[serde(rename = "module.unheld")]
    ModuleUnheld {
        /// The module.
        module: ModuleName,
        /// The tip that is accepted although history was rewritten.
        accepted: Option<ObjectId>,
    },
    /// From here on these people decide: the first document at `init`, later ones by proposal.
    #[serde(rename = "members.trusted")]
    MembersTrusted {
        /// The members document, in `objects/`.
        members: Cid,
        /// Its epoch.
        epoch: u64,
        /// The proposal that is enacted by it; absent for the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        enacts: Option<ProposalId>,
        /// The certificate that it rests on, in `objects/`; absent for the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<Cid>,
    },
    /// From here on proposals are judged by this policy.
    #[serde(rename = "policy.adopted")]
    PolicyAdopted {
        /// The policy, in `objects/`.
        policy: Cid,
        /// The proposal that is enacted by it; absent for the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        enacts: Option<ProposalId>,
        /// The certificate that it rests on, in `objects/`; absent for the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<Cid>,
    },
    /// A proposal was made.
    #[serde(rename = "proposal.made")]
    ProposalMade {
        /// Its identity; the manifest is in `objects/`.
        proposal: ProposalId,
        /// What it does; the delta is in `objects/`.
        change: ChangeId,
        /// What it is for.
        purpose: Purpose,
        /// Which rules of decision apply.
        track: Track,
        /// The pins that move, by module.
        pins: Vec<PinMove>,
        /// The superproject's commit that it was derived on.
        base: ObjectId,
        /// The tree that it gives there.
        tree: ObjectId,
        /// The proposal that it takes the place of, which ends here.
        supersedes: Option<ProposalId>,
        /// When it ends undecided, Unix milliseconds.
        expires_ms: i64,
        /// What to know about it, each a sentence.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// The base moved, and the same change was derived on the new one: ballots stay.
    #[serde(rename = "proposal.derived")]
    ProposalDerived {
        /// Which.
        proposal: ProposalId,
        /// The superproject's commit.
        base: ObjectId,
        /// The tree that it gives there.
        tree: ObjectId,
    },
    /// What a proposal makes of the workspace was verified, and holds.
    #[serde(rename = "proposal.verified")]
    ProposalVerified {
        /// Which.
        proposal: ProposalId,
        /// The tree that was verified.
        tree: ObjectId,
        /// The verdict on each module that it changes something for, in `objects/`.
        claims: Cid,
    },
    /// A proposal ended without being applied.
    #[serde(rename = "proposal.closed")]
    ProposalClosed {
        /// Which.
        proposal: ProposalId,
        /// How.
        outcome: Closure,
        /// What took its place.
        by: Option<ProposalId>,
        /// Why, as a sentence.
        reason: String,
    },
    /// A ballot was taken in: its signature holds and it is about this proposal.
    #[serde(rename = "ballot.cast")]
    BallotCast {
        /// On which proposal.
        proposal: ProposalId,
        /// The signed message, in `objects/`.
        ballot: Cid,
        /// Whose.
        voter: String,
        /// What it says: approve, reject, abstain or veto.
        choice: String,
    },
    /// A message that came in was no ballot that can count.
    #[serde(rename = "ballot.refused")]
    BallotRefused {
        /// The message, in `objects/`.
        message: Cid,
        /// Why, as a sentence.
        reason: String,
    },
    /// The ballots reached what the track asks for: the proof of it.
    #[serde(rename = "proposal.certified")]
    ProposalCertified {
        /// Which proposal.
        proposal: ProposalId,
        /// The certificate, in `objects/`.
        certificate: Cid,
    },
    /// Applying begins: everything that finishing or undoing it needs is here and in `objects/`.
    #[serde(rename = "apply.started")]
    ApplyStarted {
        /// Which proposal.
        proposal: ProposalId,
        /// The certificate it rests on, in `objects/`.
        certificate: Cid,
        /// The full name of the branch that moves.
        reference: String,
        /// Where it is.
        expected: ObjectId,
        /// Where it shall be: a commit that exists.
        target: ObjectId,
    },
    /// How applying ended.
    #[serde(rename = "apply.finished")]
    ApplyFinished {
        /// Which proposal.
        proposal: ProposalId,
        /// Sequence of its `apply.started`.
        started: u64,
        /// `applied`, `undone` (everything is as before) or `stuck`.
        outcome: String,
        /// The commit, when applied.
        commit: Option<ObjectId>,
        /// What a person should know: why it is stuck or undone, what was left for them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// A module was verified, in the workspace as it is or in a candidate.
    #[serde(rename = "verify.finished")]
    VerifyFinished {
        /// The module.
        module: ModuleName,
        /// The revision.
        revision: ObjectId,
        /// What the verdict depends on.
        key: Cid,
        /// What the module sees, whatever runs its steps.
        sees: Cid,
        /// The verdict.
        #[serde(flatten)]
        verdict: Verdict,
        /// Whether the same key can give another one.
        lasting: Lasting,
        /// Whether it failed once and passed once.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        flaky: bool,
        /// The evidence, in `objects/`.
        evidence: Cid,
        /// The identity of the derivations that were evaluated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        derivations: Option<Cid>,
        /// True for the workspace as it is, false for a candidate.
        base: bool,
    },
    /// A verdict on a candidate is one on the workspace now: what was verified was applied.
    #[serde(rename = "verify.adopted")]
    VerifyAdopted {
        /// The module.
        module: ModuleName,
        /// The key of the verdict.
        key: Cid,
    },
    /// A combination of changes was verified: the green ones, and who is to blame for the rest.
    #[serde(rename = "candidates.verified")]
    CandidatesVerified {
        /// The superproject's commit.
        base: ObjectId,
        /// Which changes were tried: the identity of the candidates, in order.
        asked: Cid,
        /// What came out, in `objects/`.
        outcome: Cid,
    },
    /// Healing a module begins: it is shown again that it is bad, before its pin goes back.
    #[serde(rename = "heal.started")]
    HealStarted {
        /// The module.
        module: ModuleName,
        /// The bad revision.
        from: ObjectId,
        /// The revision that it goes back to: verified strongly in this workspace.
        to: ObjectId,
        /// The evidence that it is bad, in `objects/`.
        bad: Cid,
        /// The evidence that it was verified at the target, in `objects/`.
        good: Cid,
        /// The proposal to go back, when one was open already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<ProposalId>,
    },
    /// How healing a module ended.
    #[serde(rename = "heal.finished")]
    HealFinished {
        /// The module.
        module: ModuleName,
        /// Sequence of its `heal.started`.
        started: u64,
        /// How. Only what passed in the workspace as it is afterwards is `healed`.
        outcome: HealEnd,
        /// The commit that moved the pin, when healed.
        commit: Option<ObjectId>,
        /// The evidence on which it ended, in `objects/`.
        evidence: Option<Cid>,
        /// Why, as a sentence without a final stop.
        reason: Option<String>,
        /// True when the breaker opens: the module is held until a person lets go of it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        freezes: bool,
        /// When, by a clock that nobody sets.
        at: Uptime,
    },
    /// Too many modules are bad at once, and nothing is rolled back; or no longer, with none.
    #[serde(rename = "heal.stopped")]
    HealStopped {
        /// How many modules that were healthy are bad; 0 when that is over.
        bad: u32,
        /// How many may be.
        limit: u32,
    },
    /// A program of the operator's ran on a copy of the workspace.
    #[serde(rename = "task.finished")]
    TaskFinished {
        /// The proposal that came of it, if one did.
        proposal: Option<ProposalId>,
        /// What it did, in `objects/`.
        evidence: Cid,
        /// The bounded log of its output, in `objects/`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<Cid>,
    },
    /// The new contents of the files that a proposal changes are kept here.
    #[serde(rename = "proposal.contents")]
    ProposalContents {
        /// Which proposal.
        proposal: ProposalId,
        /// The contents, in `objects/`.
        contents: Vec<Cid>,
    },
    /// The policy's rules looked at what a proposal makes of the workspace.
    #[serde(rename = "proposal.judged")]
    ProposalJudged {
        /// Which proposal.
        proposal: ProposalId,
        /// The tree that was judged.
        tree: ObjectId,
        /// What they found, in `objects/`: a list of [`super::policy::Finding`].
        findings: Cid,
        /// Why it is denied, each a sentence.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        denied: Vec<String>,
        /// Whether a finding asks for a person's look.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        review: bool,
    },
    /// A program decided over a proposal: executed again on the same input it gives the same.
    #[serde(rename = "proposal.decided")]
    ProposalDecided {
        /// Which proposal.
        proposal: ProposalId,
        /// What it decided, by which program, on which input.
        #[serde(flatten)]
        decision: Decision,
    },
    /// A key counts for nothing any more: from this entry on, in this journal.
    #[serde(rename = "key.revoked")]
    KeyRevoked {
        /// Its fingerprint, `SHA256:…`.
        key: String,
        /// Why.
        reason: String,
    },
    /// A person stopped everything: nothing is enacted, healed or applied.
    #[serde(rename = "all.held")]
    AllHeld {
        /// Why.
        reason: String,
    },
    /// A person let go of everything that was stopped.
    #[serde(rename = "all.unheld")]
    AllUnheld {},
    /// A ballot of one who decides came before its proposal, and waits for it.
    #[serde(rename = "ballot.waits")]
    BallotWaits {
        /// The signed message, in `objects/`.
        ballot: Cid,
        /// The proposal that it names, which is not known here.
        proposal: ProposalId,
        /// Whose it is.
        voter: String,
        /// Until when it counts, Unix milliseconds.
        not_after_ms: i64,
    },
    /// A proposal came from another operator, because one who decides had voted on it.
    #[serde(rename = "proposal.received")]
    ProposalReceived {
        /// Which proposal.
        proposal: ProposalId,
        /// Who had voted on it.
        sponsor: String,
        /// Whether it counts against how many one sponsor may bring: not where the same change was
        /// proposed here too.
        charged: bool,
    },
    /// The daemon begins to enact a proposal by itself, on the rung that policy and configuration allow.
    #[serde(rename = "enact.started")]
    EnactStarted {
        /// Which proposal.
        proposal: ProposalId,
        /// By what right.
        right: Right,
    },
}

impl Event {
    /// The types that this program knows, in the order of the variants.
    pub const TYPES: [&'static str; 37] = [
        "journal.opened",
        "journal.recovered",
        "cycle.started",
        "snapshot.taken",
        "drift.found",
        "upstream.moved",
        "detect.finished",
        "cycle.finished",
        "module.held",
        "module.unheld",
        "members.trusted",
        "policy.adopted",
        "proposal.made",
        "proposal.derived",
        "proposal.verified",
        "proposal.closed",
        "ballot.cast",
        "ballot.refused",
        "proposal.certified",
        "apply.started",
        "apply.finished",
        "verify.finished",
        "verify.adopted",
        "candidates.verified",
        "heal.started",
        "heal.finished",
        "heal.stopped",
        "task.finished",
        "proposal.contents",
        "proposal.judged",
        "proposal.decided",
        "key.revoked",
        "all.held",
        "all.unheld",
        "ballot.waits",
        "proposal.received",
        "enact.started",
    ];

    /// The entry's `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::JournalOpened { .. } => "journal.opened",
            Self::JournalRecovered { .. } => "journal.recovered",
            Self::CycleStarted { .. } => "cycle.started",
            Self::SnapshotTaken { .. } => "snapshot.taken",
            Self::DriftFound { .. } => "drift.found",
            Self::UpstreamMoved { .. } => "upstream.moved",
            Self::DetectFinished { .. } => "detect.finished",
            Self::CycleFinished { .. } => "cycle.finished",
            Self::ModuleHeld { .. } => "module.held",
            Self::ModuleUnheld { .. } => "module.unheld",
            Self::MembersTrusted { .. } => "members.trusted",
            Self::PolicyAdopted { .. } => "policy.adopted",
            Self::ProposalMade { .. } => "proposal.made",
            Self::ProposalDerived { .. } => "proposal.derived",
            Self::ProposalVerified { .. } => "proposal.verified",
            Self::ProposalClosed { .. } => "proposal.closed",
            Self::BallotCast { .. } => "ballot.cast",
            Self::BallotRefused { .. } => "ballot.refused",
            Self::ProposalCertified { .. } => "proposal.certified",
            Self::ApplyStarted { .. } => "apply.started",
            Self::ApplyFinished { .. } => "apply.finished",
            Self::VerifyFinished { .. } => "verify.finished",
            Self::VerifyAdopted { .. } => "verify.adopted",
            Self::CandidatesVerified { .. } => "candidates.verified",
            Self::HealStarted { .. } => "heal.started",
            Self::HealFinished { .. } => "heal.finished",
            Self::HealStopped { .. } => "heal.stopped",
            Self::TaskFinished { .. } => "task.finished",
            Self::ProposalContents { .. } => "proposal.contents",
            Self::ProposalJudged { .. } => "proposal.judged",
            Self::ProposalDecided { .. } => "proposal.decided",
            Self::KeyRevoked { .. } => "key.revoked",
            Self::AllHeld { .. } => "all.held",
            Self::AllUnheld {} => "all.unheld",
            Self::BallotWaits { .. } => "ballot.waits",
            Self::ProposalReceived { .. } => "proposal.received",
            Self::EnactStarted { .. } => "enact.started",
        }
    }

    /// The large values that the entry names, with what each is.
    #[must_use]
    pub fn objects(&self) -> Vec<(&'static str, Cid)> {
        match self {
            Self::JournalRecovered { bytes, .. } => vec![("bytes", *bytes)],
            Self::SnapshotTaken { snapshot, .. } => vec![("snapshot", *snapshot)],
            Self::DriftFound { drift, .. } => vec![("drift", *drift)],
            Self::DetectFinished { upgrades } => vec![("upgrades", *upgrades)],
            Self::CycleFinished { report, .. } => report.iter().map(|report| ("report", *report)).collect(),
            Self::MembersTrusted { members, enacts, certificate, .. } => {
                in_force("members", *members, *enacts, *certificate)
            }
            Self::PolicyAdopted { policy, enacts, certificate } => {
                in_force("policy", *policy, *enacts, *certificate)
            }
            Self::ProposalJudged { proposal, findings, .. } => {
                vec![("proposal", proposal.0), ("findings", *findings)]
            }
            Self::ProposalDecided { proposal, decision } => {
                let Decision { program, input, output, .. } = decision;
                vec![("proposal", proposal.0), ("program", *program), ("input", *input), ("output", *output)]
            }
            Self::ProposalMade { proposal, change, supersedes, .. } => {
                let mut named = vec![("proposal", proposal.0), ("change", change.0)];
                named.extend(supersedes.map(|before| ("proposal", before.0)));
                named
            }
            Self::ProposalDerived { proposal, .. }
            | Self::ApplyFinished { proposal, .. }
            | Self::ProposalReceived { proposal, .. }
            | Self::EnactStarted { proposal, .. } => {
                vec![("proposal", proposal.0)]
            }
            Self::ProposalVerified { proposal, claims, .. } => {
                vec![("proposal", proposal.0), ("claims", *claims)]
            }
            Self::ProposalClosed { proposal, by, .. } => {
                let mut named = vec![("proposal", proposal.0)];
                named.extend(by.map(|after| ("proposal", after.0)));
                named
            }
            Self::BallotCast { proposal, ballot, .. } => {
                vec![("proposal", proposal.0), ("ballot", *ballot)]
            }
            Self::BallotRefused { message, .. } => vec![("message", *message)],
            Self::BallotWaits { ballot, .. } => vec![("ballot", *ballot)],
            Self::ProposalCertified { proposal, certificate }
            | Self::ApplyStarted { proposal, certificate, .. } => {
                vec![("proposal", proposal.0), ("certificate", *certificate)]
            }
            Self::VerifyFinished { evidence, .. } => vec![("evidence", *evidence)],
            Self::CandidatesVerified { outcome, .. } => vec![("outcome", *outcome)],
            Self::HealStarted { bad, good, proposal, .. } => {
                let mut named = vec![("evidence", *bad), ("evidence", *good)];
                named.extend(proposal.map(|proposal| ("proposal", proposal.0)));
                named
            }
            Self::HealFinished { evidence, .. } => {
                evidence.iter().map(|evidence| ("evidence", *evidence)).collect()
            }
            Self::TaskFinished { proposal, evidence, log } => {
                let mut named: Vec<_> = proposal.iter().map(|proposal| ("proposal", proposal.0)).collect();
                named.push(("evidence", *evidence));
                named.extend(log.iter().map(|log| ("log", *log)));
                named
            }
            Self::ProposalContents { proposal, contents } => {
                let contents = contents.iter().map(|content| ("content", *content));
                [("proposal", proposal.0)].into_iter().chain(contents).collect()
            }
            Self::JournalOpened { .. }
            | Self::HealStopped { .. }
            | Self::CycleStarted { .. }
            | Self::UpstreamMoved { .. }
            | Self::ModuleHeld { .. }
            | Self::ModuleUnheld { .. }
            | Self::VerifyAdopted { .. }
            | Self::KeyRevoked { .. }
            | Self::AllHeld { .. }
            | Self::AllUnheld {} => Vec::new(),
        }
    }
}

/// A document with what put it in force.
fn in_force(
    kind: &'static str,
    document: Cid,
    enacts: Option<ProposalId>,
    certificate: Option<Cid>,
) -> Vec<(&'static str, Cid)> {
    let mut named = vec![(kind, document)];
    named.extend(enacts.map(|proposal| ("proposal", proposal.0)));
    named.extend(certificate.map(|certificate| ("certificate", certificate)));
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "one of each")]
    fn every_type_is_written_under_its_listed_name() {
        let cid = Cid::of(b"x");
        let to = ObjectId::from_bytes(&[1; 20]).unwrap();
        let module = ModuleName::new("m");
        let all = [
            Event::JournalOpened { program: "p".to_owned() },
            Event::JournalRecovered { length: 1, bytes: cid },
            Event::CycleStarted { cause: "once".to_owned() },
            Event::SnapshotTaken { snapshot: cid, head: None, modules: 0 },
            Event::DriftFound { drift: cid, over_limit: 0 },
            Event::UpstreamMoved {
                module: module.clone(),
                branch: "b".to_owned(),
                from: None,
                to,
                rewritten: false,
            },
            Event::DetectFinished { upgrades: cid },
            Event::CycleFinished {
                started: 0,
                outcome: "ok".to_owned(),
                report: Some(cid),
                reason: None,
                phases_us: Vec::new(),
            },
            Event::ModuleHeld { module: module.clone(), reason: "r".to_owned() },
            Event::ModuleUnheld { module: module.clone(), accepted: None },
            Event::MembersTrusted {
                members: cid,
                epoch: 2,
                enacts: Some(ProposalId(cid)),
                certificate: Some(cid),
            },
            Event::PolicyAdopted { policy: cid, enacts: Some(ProposalId(cid)), certificate: Some(cid) },
            Event::ProposalMade {
                proposal: ProposalId(cid),
                change: ChangeId(cid),
                purpose: Purpose::Upgrade,
                track: Track::Leaf,
                pins: vec![PinMove { module, path: "m".into(), from: to, to }],
                base: to,
                tree: to,
                supersedes: Some(ProposalId(cid)),
                expires_ms: 0,
                notes: Vec::new(),
            },
            Event::ProposalDerived { proposal: ProposalId(cid), base: to, tree: to },
            Event::ProposalVerified { proposal: ProposalId(cid), tree: to, claims: cid },
            Event::ProposalClosed {
                proposal: ProposalId(cid),
                outcome: Closure::Superseded,
                by: Some(ProposalId(cid)),
                reason: "r".to_owned(),
            },
            Event::BallotCast {
                proposal: ProposalId(cid),
                ballot: cid,
                voter: "v".to_owned(),
                choice: "approve".to_owned(),
            },
            Event::BallotRefused { message: cid, reason: "r".to_owned() },
            Event::ProposalCertified { proposal: ProposalId(cid), certificate: cid },
            Event::ApplyStarted {
                proposal: ProposalId(cid),
                certificate: cid,
                reference: "refs/heads/main".to_owned(),
                expected: to,
                target: to,
            },
            Event::ApplyFinished {
                proposal: ProposalId(cid),
                started: 0,
                outcome: "applied".to_owned(),
                commit: Some(to),
                notes: Vec::new(),
            },
            Event::VerifyFinished {
                module: ModuleName::new("m"),
                revision: to,
                key: cid,
                sees: cid,
                verdict: Verdict::STRONG,
                lasting: Lasting::Permanent,
                flaky: true,
                evidence: cid,
                derivations: Some(cid),
                base: true,
            },
            Event::VerifyAdopted { module: ModuleName::new("m"), key: cid },
            Event::CandidatesVerified { base: to, asked: cid, outcome: cid },
            Event::HealStarted {
                module: ModuleName::new("m"),
                from: to,
                to,
                bad: cid,
                good: cid,
                proposal: Some(ProposalId(cid)),
            },
            Event::HealFinished {
                module: ModuleName::new("m"),
                started: 0,
                outcome: HealEnd::Healed,
                commit: Some(to),
                evidence: Some(cid),
                reason: None,
                freezes: true,
                at: Uptime { boot: "b".to_owned(), mono_ms: 0 },
            },
            Event::HealStopped { bad: 4, limit: 3 },
            Event::TaskFinished { proposal: Some(ProposalId(cid)), evidence: cid, log: Some(cid) },
            Event::ProposalContents { proposal: ProposalId(cid), contents: vec![cid, cid] },
            Event::ProposalJudged {
                proposal: ProposalId(cid),
                tree: to,
                findings: cid,
                denied: vec!["d".to_owned()],
                review: true,
            },
            Event::ProposalDecided {
                proposal: ProposalId(cid),
                decision: Decision {
                    program: cid,
                    engine: "e".to_owned(),
                    input: cid,
                    output: cid,
                    fuel: 1,
                    verdict: crate::domain::governance::program::Verdict::Approve,
                    reason: "r".to_owned(),
                },
            },
            Event::KeyRevoked { key: "SHA256:x".to_owned(), reason: "r".to_owned() },
            Event::AllHeld { reason: "r".to_owned() },
            Event::AllUnheld {},
            Event::BallotWaits {
                ballot: cid,
                proposal: ProposalId(cid),
                voter: "v".to_owned(),
                not_after_ms: 0,
            },
            Event::ProposalReceived { proposal: ProposalId(cid), sponsor: "v".to_owned(), charged: true },
            Event::EnactStarted { proposal: ProposalId(cid), right: Right::Bounds },
        ];
        for (event, listed) in all.iter().zip(Event::TYPES) {
            let value = serde_json::to_value(event).unwrap();
            assert_eq!(value["type"], listed);
            assert_eq!(event.kind(), listed);
            assert!(value["body"].is_object());
            // Every identity in a body is one that `objects` gives to `audit export` and `audit show`,
            // but for those that name no stored value.
            let only_names = match event {
                Event::VerifyFinished { .. } => 3,
                Event::VerifyAdopted { .. }
                | Event::CandidatesVerified { .. }
                | Event::BallotWaits { .. } => 1,
                _ => 0,
            };
            let named = event.objects().len() + only_names;
            assert_eq!(value["body"].to_string().matches("bafkrei").count(), named, "{listed}");
        }
        assert_eq!(all.len(), Event::TYPES.len());
    }
}
