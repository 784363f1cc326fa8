//! What the ballots on one proposal add up to.
//!
//! Pure: the same ballots, in any order and however often each, give the same [`Tally`] on every
//! machine. Every ballot is counted or ignored with its reason.
//!
//! - A ballot counts for the principal whose key signed it, and for nobody else: three ballots of
//!   one key, or of three keys of one principal, are one vote, of the principal's weight.
//! - It must name this workspace, proposal, change, pins, files, document, policy and members epoch,
//!   by a key that holds now and was not revoked, of a principal who decides on the track.
//! - Of a principal's ballots on a proposal the one with the highest `seq` holds, also when it has
//!   run out or stands on another base: an older word never comes back by the newer one's end.
//! - Two different ballots at that `seq` void each other; both are kept as evidence.
//! - A principal approves one target for a module at a revision at a time: of approvals of several
//!   open proposals that would move it to different places, the one with the highest `seq` holds.
//!   The same goes for a file with a content, and for a document that takes another's place.
//! - Who has not spoken is spoken for by the delegate that the members document names for the track,
//!   by the delegate's own ballot alone. Who has spoken, in whatever way, is not.
//! - Approvals of the track's threshold in weight, with as many signatures of each role as it asks
//!   for, approve. Where so much rejects that this cannot be reached any more, it is rejected.
//! - A change of the members document needs that of the document in force and of its successor.
//! - What narrows ([`Narrowing`]) is never outvoted.
//! - Once certified it stays approved: what is said later is evidence. Vetoes, where the track has a
//!   rule for them, suspend it as long as a quorum of them stands, and end; where it has none, a veto
//!   is a rejection.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::ballot::{Choice, VerifiedBallot};
use super::members::{Members, TrackRule};
use super::program::{Decision, Verdict};
use super::time::Times;
use crate::domain::change::{DocumentDelta, FileDelta};
use crate::domain::id::{Cid, ObjectId, ProposalId};
use crate::domain::plan::PinMove;
use crate::domain::proposal::{Proposal, Track};

mod side;
mod uncounted;

pub use uncounted::Uncounted;

use side::Side;

/// What is put to those who decide, and by which rules.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The proposal's identity.
    pub id: ProposalId,
    /// The proposal.
    pub proposal: &'a Proposal,
    /// The pins it moves, by module.
    pub pins: &'a [PinMove],
    /// The files it changes beside what pins change, by path.
    pub files: &'a [FileDelta],
    /// The document that takes the place of another.
    pub document: Option<DocumentDelta>,
    /// What holds it up or stops it beside the ballots.
    pub narrowed: &'a [Narrowing],
    /// What the program decided that the members document makes the authority of the track.
    pub decided: Option<&'a Decision>,
    /// Who decides.
    pub members: &'a Members,
    /// The members document that shall take its place: then those in it decide too.
    pub successor: Option<&'a Members>,
    /// The policy in force.
    pub policy: Cid,
    /// The superproject's commit that it is applied on.
    pub base: ObjectId,
    /// Whether the policy lets what was not verified be approved.
    pub allow_unverified: bool,
    /// Keys that count for nothing any more, by fingerprint: since which entry of the journal.
    pub revoked: &'a BTreeMap<String, u64>,
    /// Its certificate, where it has a valid one.
    pub certified: Option<Final<'a>>,
    /// Approvals that are part of the certificates of other open proposals, by message: for which
    /// principals each counts there.
    pub final_elsewhere: &'a BTreeMap<Cid, BTreeSet<String>>,
    /// Now.
    pub now: Times,
}

/// A valid certificate of the proposal: what it rests on is decided.
#[derive(Debug, Clone, Copy)]
pub struct Final<'a> {
    /// The approvals in it, by message.
    pub approvals: &'a BTreeSet<Cid>,
    /// Checked time when it was journalled: delays run from there.
    pub checked_ms: i64,
}

/// What holds a proposal up or stops it, whatever the ballots say: it only ever narrows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Narrowing {
    /// What does.
    pub by: NarrowedBy,
    /// How much.
    pub verdict: Narrower,
    /// Why, a sentence without a final stop.
    pub reason: String,
}

/// What the program says that alone decides on a track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ByProgram {
    /// Which.
    pub program: Cid,
    /// What it decides; absent where it did not answer.
    pub verdict: Option<Verdict>,
    /// Why, as it says.
    pub reason: Option<String>,
}

/// What narrows beside ballots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NarrowedBy {
    /// A rule of the policy.
    Policy,
    /// The program that the policy or the track names.
    Program,
    /// A freeze window.
    Freeze,
    /// The members document.
    Members,
}

impl NarrowedBy {
    /// The words that people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "the policy",
            Self::Program => "a program",
            Self::Freeze => "a freeze",
            Self::Members => "the members document",
        }
    }
}

/// How much it narrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Narrower {
    /// It may pass by itself: until then the proposal is pending.
    Wait,
    /// The proposal is rejected.
    Reject,
}

/// A ballot as it is put to the tally: what verifying its signature gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The signed message.
    pub message: Cid,
    /// The ballot and the key that signed it, or why it is none.
    pub verified: Result<VerifiedBallot, String>,
}

/// What the ballots add up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// The decision so far.
    pub state: TallyState,
    /// What those who decide say, whatever narrows it.
    pub outcome: Outcome,
    /// How much weight must approve; absent where the members document has no rule for the track.
    pub threshold: Option<u32>,
    /// How much weight approves.
    pub approving: u32,
    /// How many principals decide on the track.
    pub principals: u32,
    /// The ballots that count, by voter: one for each.
    pub counted: Vec<Counted>,
    /// The vetoes that stand, by voter, where the track has a rule for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vetoes: Vec<Counted>,
    /// The others, each with its reason, by voter and message.
    pub ignored: Vec<Ignored>,
    /// Principals of whom no ballot counts, by name.
    pub missing: Vec<String>,
    /// What those in the members document that shall take the other's place say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successor: Option<SuccessorTally>,
    /// Whether it has a certificate: then nothing that is said later takes it back.
    pub certified: bool,
    /// How much checked time must pass before it may be enacted, milliseconds; only when approved.
    pub waits_ms: Option<i64>,
    /// When it may be enacted at the earliest, if no clock is set and nothing else narrows, Unix
    /// milliseconds; only when approved.
    pub earliest_enactment_ms: Option<i64>,
    /// What the program says that alone decides on the track; absent where people decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<ByProgram>,
    /// Until when a quorum of vetoes suspends it, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended_until_ms: Option<i64>,
    /// What holds it up or stops it beside the ballots, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub narrowed: Vec<Narrowing>,
    /// Why nobody can decide at present, as a sentence; then it is pending whatever the ballots say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<String>,
}

/// What those in the next members document say of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuccessorTally {
    /// How much weight of theirs must approve; absent where that document has no rule for the track.
    pub threshold: Option<u32>,
    /// How much approves.
    pub approving: u32,
    /// Their ballots that count, by voter: one for each.
    pub counted: Vec<Counted>,
    /// Those of whom no ballot counts, by name.
    pub missing: Vec<String>,
}

/// What those who decide say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// So much rejects that enough can never approve.
    Against,
    /// More ballots are needed.
    Open,
    /// Enough approves.
    Enough,
}

/// The decision so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TallyState {
    /// More ballots are needed.
    Pending,
    /// Enough principals approve.
    Approved,
    /// So many reject that approval cannot be reached.
    Rejected,
    /// Its time ran out.
    Expired,
}

impl TallyState {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }
}

/// A ballot that counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Counted {
    /// The principal that it counts for.
    pub voter: String,
    /// The delegate whose ballot it is, where the principal did not speak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// What it says.
    pub choice: Choice,
    /// How much the principal weighs.
    pub weight: u32,
    /// Its number.
    pub seq: u64,
    /// The signed message.
    pub message: Cid,
    /// The fingerprint of the key that signed.
    pub key: String,
}

impl Counted {
    /// Whether it approves.
    #[must_use]
    pub fn is_approval(&self) -> bool {
        self.choice == Choice::Approve
    }
}

/// A ballot that does not count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ignored {
    /// Whose it says it is; absent where the text cannot be read.
    pub voter: Option<String>,
    /// The signed message.
    pub message: Cid,
    /// Why, for programs.
    #[serde(flatten)]
    pub why: Uncounted,
    /// Why, as a sentence.
    pub reason: String,
}

/// Count. `elsewhere` are the ballots on the other proposals that are open.
#[must_use]
pub fn tally(question: &Question<'_>, ballots: &[Received], elsewhere: &[Received]) -> Tally {
    let unique: BTreeMap<Cid, &Received> = ballots.iter().map(|one| (one.message, one)).collect();
    let ours = Side::count(question, question.members, &unique, elsewhere);
    let theirs = question.successor.map(|next| Side::count(question, next, &unique, elsewhere));
    let narrowed = narrowed(question);
    // Both must say enough, and one that is against is against.
    let sides = [Some(&ours), theirs.as_ref()].into_iter().flatten();
    let outcome = sides.map(|side| side.outcome(question)).min().unwrap_or(Outcome::Open);
    let state = state(question, &narrowed, outcome);
    let suspended_until_ms = ours.suspended_until_ms();
    let waits_ms = match (state, ours.rule) {
        (TallyState::Approved, Some(rule)) => {
            let passed = question.certified.map_or(0, |held| question.now.checked_ms - held.checked_ms);
            Some(rule.delay_ms.saturating_sub(passed.max(0)).max(0))
        }
        _ => None,
    };
    let after_delay = waits_ms.map(|waits| question.now.wall_ms.saturating_add(waits));
    let successor = theirs.as_ref().map(|side| SuccessorTally {
        threshold: side.rule.map(|rule| rule.threshold),
        approving: side.approving(),
        counted: side.counted.clone(),
        missing: side.missing(),
    });
    let ignored = ignored(&ours, theirs.as_ref());
    Tally {
        state,
        outcome,
        threshold: ours.rule.map(|rule| rule.threshold),
        approving: ours.approving(),
        principals: u32::try_from(ours.voters().count()).unwrap_or(u32::MAX),
        missing: ours.missing(),
        counted: ours.counted,
        vetoes: ours.vetoes.into_iter().map(|(_, veto)| veto).collect(),
        ignored,
        successor,
        certified: question.certified.is_some(),
        waits_ms,
        earliest_enactment_ms: after_delay.map(|at| suspended_until_ms.map_or(at, |until| at.max(until))),
        program: by_program(question, ours.rule),
        suspended_until_ms,
        narrowed,
        unanswered: None,
    }
}

/// The tally of a governor that cannot answer: pending (or out of time), whatever the ballots say.
#[must_use]
pub fn unanswered(question: &Question<'_>, why: &str) -> Tally {
    let nothing = Question { certified: None, decided: None, narrowed: &[], ..*question };
    let mut tally = tally(&nothing, &[], &[]);
    tally.unanswered = Some(why.to_owned());
    tally
}

/// What narrows, with what follows from the members document and the time.
fn narrowed(question: &Question<'_>) -> Vec<Narrowing> {
    let mut narrowed = question.narrowed.to_vec();
    let ended = question.members.expires_ms.is_some_and(|end| end < question.now.wall_ms);
    if ended && question.proposal.track != Track::Membership {
        narrowed.push(Narrowing {
            by: NarrowedBy::Members,
            verdict: Narrower::Wait,
            reason: "the members document has run out: only its successor is decided on".to_owned(),
        });
    }
    let rule = question.members.tracks.get(&question.proposal.track);
    if let Some(program) = by_program(question, rule).filter(|_| question.certified.is_none()) {
        let reason = match program.verdict {
            Some(Verdict::Approve | Verdict::Reject) => None,
            Some(Verdict::Wait) => program.reason,
            None => Some("the program that alone decides on this track has not decided".to_owned()),
        };
        let by = NarrowedBy::Program;
        narrowed.extend(reason.map(|reason| Narrowing { by, verdict: Narrower::Wait, reason }));
    }
    narrowed.sort();
    narrowed.dedup();
    narrowed
}

fn state(question: &Question<'_>, narrowed: &[Narrowing], outcome: Outcome) -> TallyState {
    if question.now.wall_ms > question.proposal.expires_ms {
        return TallyState::Expired;
    }
    if question.certified.is_some() {
        return TallyState::Approved;
    }
    let refused = narrowed.iter().any(|one| one.verdict == Narrower::Reject);
    match outcome {
        _ if refused => TallyState::Rejected,
        Outcome::Against => TallyState::Rejected,
        Outcome::Enough if narrowed.is_empty() => TallyState::Approved,
        Outcome::Enough | Outcome::Open => TallyState::Pending,
    }
}

/// The ballots that count on neither side, each with the reason of the side that its voter is on.
fn ignored(ours: &Side<'_>, theirs: Option<&Side<'_>>) -> Vec<Ignored> {
    let counts = |side: &Side<'_>, message: &Cid| side.ignored.iter().all(|one| one.message != *message);
    let mut ignored: Vec<Ignored> = match theirs {
        None => ours.ignored.clone(),
        Some(theirs) => {
            let of_theirs: BTreeMap<Cid, &Ignored> =
                theirs.ignored.iter().map(|it| (it.message, it)).collect();
            let both = ours.ignored.iter().filter(|one| !counts(theirs, &one.message));
            let reason = |one: &Ignored| match of_theirs.get(&one.message) {
                Some(other) if one.why.is_of_a_stranger() => (*other).clone(),
                _ => one.clone(),
            };
            both.map(reason).collect()
        }
    };
    ignored.sort();
    ignored
}

/// What the track's own program says; nothing where people decide. Another program's word is none.
fn by_program(question: &Question<'_>, rule: Option<&TrackRule>) -> Option<ByProgram> {
    let program = rule?.program?;
    let decided = question.decided.filter(|decision| decision.program == program);
    Some(ByProgram {
        program,
        verdict: decided.map(|decision| decision.verdict),
        reason: decided.map(|decision| decision.reason.clone()),
    })
}

impl Tally {
    /// The principals whose approval counts, by name.
    pub fn approvals(&self) -> impl Iterator<Item = &Counted> {
        self.counted.iter().filter(|ballot| ballot.is_approval())
    }

    /// Whether it may be enacted now.
    #[must_use]
    pub fn is_enactable(&self) -> bool {
        self.state == TallyState::Approved
            && self.waits_ms == Some(0)
            && self.suspended_until_ms.is_none()
            && self.narrowed.is_empty()
            && self.unanswered.is_none()
    }
}

#[cfg(test)]
mod faults;

#[cfg(test)]
mod laws;

#[cfg(test)]
mod tests;
