//! What the ballots on one proposal add up to.
//!
//! Pure: the same ballots, in any order and however often each, give the same [`Tally`] on every
//! machine. Every ballot is counted or ignored with its reason.
//!
//! - A ballot counts for the principal whose key signed it, and for nobody else: three ballots of
//!   one key, or of three keys of one principal, are one vote.
//! - It must name this workspace, proposal, change, pins, policy and members epoch.
//! - Of a principal's ballots on a proposal the one with the highest `seq` holds, also when it has
//!   run out or stands on another base: an older word never comes back by the newer one's end.
//! - Two different ballots at that `seq` void each other; both are kept as evidence.
//! - A principal approves one target for a module at a revision at a time: of approvals of several
//!   open proposals that would move it to different places, the one with the highest `seq` holds.
//!   The same goes for a file with a content.
//! - More than `principals - threshold` rejections decide against it; a veto counts as a rejection.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ballot::{Ballot, Choice, VerifiedBallot};
use super::members::{Members, TrackRule};
use super::program::{Decision, Verdict};
use crate::domain::change::{DocumentDelta, FileDelta};
use crate::domain::id::{Cid, ObjectId, ProposalId, RepoPath};
use crate::domain::plan::PinMove;
use crate::domain::proposal::Proposal;

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
    /// The policy in force.
    pub policy: Cid,
    /// The superproject's commit that it is applied on.
    pub base: ObjectId,
    /// Whether the policy lets what was not verified be approved.
    pub allow_unverified: bool,
    /// When it was certified first, Unix milliseconds: its delay runs from there.
    pub certified_ms: Option<i64>,
    /// Now, Unix milliseconds.
    pub now_ms: i64,
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
    /// How many principals must approve; absent where the members document has no rule for the track.
    pub threshold: Option<u32>,
    /// How many principals there are.
    pub principals: u32,
    /// The ballots that count, by voter: one for each.
    pub counted: Vec<Counted>,
    /// The others, each with its reason, by voter and message.
    pub ignored: Vec<Ignored>,
    /// Principals of whom no ballot counts, by name.
    pub missing: Vec<String>,
    /// When it may be enacted at the earliest, Unix milliseconds; only when approved.
    pub earliest_enactment_ms: Option<i64>,
    /// What the program says that alone decides on the track; absent where people decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<ByProgram>,
    /// What holds it up or stops it beside the ballots, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub narrowed: Vec<Narrowing>,
    /// Why nobody can decide at present, as a sentence; then it is pending whatever the ballots say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<String>,
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
    /// The principal.
    pub voter: String,
    /// What it says.
    pub choice: Choice,
    /// Its number.
    pub seq: u64,
    /// The signed message.
    pub message: Cid,
    /// The fingerprint of the key that signed.
    pub key: String,
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

/// Why a ballot does not count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Uncounted {
    /// It is no ballot, or its signature does not hold.
    #[error("{said}")]
    Invalid {
        /// What is wrong with it.
        said: String,
    },
    /// It is for another workspace.
    #[error("it is for another workspace")]
    OtherWorkspace,
    /// It is on another proposal.
    #[error("it is on another proposal")]
    OtherProposal,
    /// It names another change.
    #[error("it names another change")]
    OtherChange,
    /// It names other pins than the change moves.
    #[error("it names other pins than the change moves")]
    OtherPins,
    /// It names other files than the change has, or other contents of them.
    #[error("it names other files than the change has, or other contents")]
    OtherFiles,
    /// It names another document than the change puts in force, or none.
    #[error("it names another document than the change puts in force")]
    OtherDocument,
    /// It was made under another policy.
    #[error("it was made under another policy")]
    OtherPolicy,
    /// It was made under another members document.
    #[error("it was made under members epoch {epoch}")]
    OtherEpoch {
        /// Which.
        epoch: u64,
    },
    /// Nobody of that name decides.
    #[error("nobody of that name decides")]
    NotAMember,
    /// Another key than the voter's signed it.
    #[error("the key that signed it is not one of the voter's")]
    NotTheVotersKey,
    /// The voter made a newer one.
    #[error("the voter's ballot {newer} took its place")]
    Superseded {
        /// The newer one's number.
        newer: u64,
    },
    /// It says the same as one that counts.
    #[error("it is the same ballot again")]
    Again,
    /// The voter said two things at one number.
    #[error("the voter signed two different ballots numbered {seq}; neither counts")]
    Conflict {
        /// The number.
        seq: u64,
    },
    /// It counted until its own end.
    #[error("it has run out")]
    Expired,
    /// The track asks for approvals of the base that it is applied on.
    #[error("it was made on another base, and the track is strict about it")]
    OtherBase,
    /// It approves what nothing verified, and policy forbids that.
    #[error("it approves what was not verified, which the policy does not allow")]
    Unverified,
    /// The voter approves another target for the same module.
    #[error("the voter also approves {proposal}, which moves {module} from the same revision to another")]
    OtherTarget {
        /// The other proposal.
        proposal: ProposalId,
        /// The module.
        module: String,
    },
    /// The voter approves another content for the same file.
    #[error("the voter also approves {proposal}, which makes something else of {path}")]
    OtherContent {
        /// The other proposal.
        proposal: ProposalId,
        /// The file.
        path: RepoPath,
    },
}

/// Count. `elsewhere` are the ballots on the other proposals that are open.
#[must_use]
pub fn tally(question: &Question<'_>, ballots: &[Received], elsewhere: &[Received]) -> Tally {
    let mut count = Count { question, counted: Vec::new(), ignored: Vec::new() };
    let mut by_voter: BTreeMap<&str, Vec<(&Received, &VerifiedBallot)>> = BTreeMap::new();
    let unique: BTreeMap<Cid, &Received> = ballots.iter().map(|one| (one.message, one)).collect();
    for received in unique.into_values() {
        match &received.verified {
            Err(said) => count.ignore(received, Uncounted::Invalid { said: said.clone() }),
            Ok(verified) => match about(question, verified) {
                Err(why) => count.ignore(received, why),
                Ok(()) => by_voter.entry(&verified.ballot.voter).or_default().push((received, verified)),
            },
        }
    }
    let standing = standing(question, elsewhere);
    for (voter, theirs) in by_voter {
        count.one_voter(theirs, standing.get(voter).map_or(&[], Vec::as_slice));
    }
    count.conclude()
}

/// The tally of a governor that cannot answer: pending (or out of time), whatever the ballots say.
#[must_use]
pub fn unanswered(question: &Question<'_>, why: &str) -> Tally {
    let mut tally = tally(question, &[], &[]);
    tally.unanswered = Some(why.to_owned());
    tally
}

/// Whether a ballot is about this question, and whose it is.
fn about(question: &Question<'_>, verified: &VerifiedBallot) -> Result<(), Uncounted> {
    let (ballot, members) = (&verified.ballot, question.members);
    if ballot.workspace != members.workspace {
        return Err(Uncounted::OtherWorkspace);
    }
    if ballot.proposal != question.id {
        return Err(Uncounted::OtherProposal);
    }
    if ballot.change != question.proposal.change {
        return Err(Uncounted::OtherChange);
    }
    if ballot.pins != question.pins {
        return Err(Uncounted::OtherPins);
    }
    if ballot.files != question.files {
        return Err(Uncounted::OtherFiles);
    }
    if ballot.document != question.document {
        return Err(Uncounted::OtherDocument);
    }
    if ballot.policy != question.policy || question.proposal.policy != question.policy {
        return Err(Uncounted::OtherPolicy);
    }
    if ballot.members_epoch != members.epoch || question.proposal.members_epoch != members.epoch {
        return Err(Uncounted::OtherEpoch { epoch: ballot.members_epoch });
    }
    member(members, verified)
}

/// Whether the key that signed is the voter's.
fn member(members: &Members, verified: &VerifiedBallot) -> Result<(), Uncounted> {
    match members.principal(&verified.ballot.voter) {
        None => Err(Uncounted::NotAMember),
        Some(principal) if principal.keys.contains(&verified.key) => Ok(()),
        Some(_) => Err(Uncounted::NotTheVotersKey),
    }
}

/// The approvals that each principal gives to other proposals, by voter.
fn standing<'b>(question: &Question<'_>, elsewhere: &'b [Received]) -> BTreeMap<&'b str, Vec<&'b Ballot>> {
    let members = question.members;
    let mut newest: BTreeMap<(&str, ProposalId), Vec<&Ballot>> = BTreeMap::new();
    for verified in elsewhere.iter().filter_map(|received| received.verified.as_ref().ok()) {
        let ballot = &verified.ballot;
        let counts = ballot.proposal != question.id
            && ballot.workspace == members.workspace
            && ballot.members_epoch == members.epoch
            && member(members, verified).is_ok();
        if !counts {
            continue;
        }
        let newest = newest.entry((&ballot.voter, ballot.proposal)).or_default();
        match newest.first().map(|first| first.seq) {
            Some(seq) if seq > ballot.seq => {}
            Some(seq) if seq == ballot.seq => newest.push(ballot),
            _ => *newest = vec![ballot],
        }
    }
    let mut standing: BTreeMap<&str, Vec<&Ballot>> = BTreeMap::new();
    for ((voter, _), ballots) in newest {
        // Where the voter said two things at one number there, any approval among them stands
        // against ours: who equivocates gets the narrower reading.
        let approvals = ballots
            .into_iter()
            .filter(|ballot| ballot.choice == Choice::Approve && ballot.not_after.as_ms() >= question.now_ms);
        standing.entry(voter).or_default().extend(approvals);
    }
    standing
}

struct Count<'a> {
    question: &'a Question<'a>,
    counted: Vec<Counted>,
    ignored: Vec<Ignored>,
}

impl Count<'_> {
    fn ignore(&mut self, received: &Received, why: Uncounted) {
        let voter = received.verified.as_ref().ok().map(|verified| verified.ballot.voter.clone());
        let reason = why.to_string();
        self.ignored.push(Ignored { voter, message: received.message, why, reason });
    }

    /// One principal's ballots that are about the question, by message; at least one.
    fn one_voter(&mut self, theirs: Vec<(&Received, &VerifiedBallot)>, standing: &[&Ballot]) {
        let Some(newest) = theirs.iter().map(|(_, verified)| verified.ballot.seq).max() else { return };
        let (last, older): (Vec<_>, Vec<_>) =
            theirs.into_iter().partition(|(_, verified)| verified.ballot.seq == newest);
        for (received, _) in older {
            self.ignore(received, Uncounted::Superseded { newer: newest });
        }
        let Some(((received, verified), others)) = last.split_first() else { return };
        let ballot = &verified.ballot;
        if others.iter().any(|(_, other)| other.ballot != *ballot) {
            for (received, _) in &last {
                self.ignore(received, Uncounted::Conflict { seq: newest });
            }
            return;
        }
        for (received, _) in others {
            self.ignore(received, Uncounted::Again);
        }
        match self.stands(ballot, standing) {
            Err(why) => self.ignore(received, why),
            Ok(()) => self.counted.push(Counted {
                voter: ballot.voter.clone(),
                choice: ballot.choice,
                seq: ballot.seq,
                message: received.message,
                key: verified.key.fingerprint(),
            }),
        }
    }

    /// Whether a principal's last word counts now.
    fn stands(&self, ballot: &Ballot, standing: &[&Ballot]) -> Result<(), Uncounted> {
        if ballot.not_after.as_ms() < self.question.now_ms {
            return Err(Uncounted::Expired);
        }
        if ballot.choice != Choice::Approve {
            return Ok(());
        }
        if !ballot.verified && !self.question.allow_unverified {
            return Err(Uncounted::Unverified);
        }
        let rule = self.question.members.tracks.get(&self.question.proposal.track);
        if rule.is_some_and(|rule| rule.strict_base) && ballot.seen_base != self.question.base {
            return Err(Uncounted::OtherBase);
        }
        for other in standing.iter().filter(|other| other.seq >= ballot.seq) {
            let elsewhere = other.pins.iter().find(|pin| {
                let same = |ours: &&PinMove| ours.module == pin.module && ours.from == pin.from;
                self.question.pins.iter().find(same).is_some_and(|ours| ours.to != pin.to)
            });
            if let Some(pin) = elsewhere {
                let module = pin.module.to_string();
                return Err(Uncounted::OtherTarget { proposal: other.proposal, module });
            }
            let elsewhere = other.files.iter().find(|file| {
                let same = |ours: &&FileDelta| ours.path == file.path && ours.old == file.old;
                self.question.files.iter().find(same).is_some_and(|ours| ours.new != file.new)
            });
            if let Some(file) = elsewhere {
                let path = file.path.clone();
                return Err(Uncounted::OtherContent { proposal: other.proposal, path });
            }
        }
        Ok(())
    }

    fn conclude(mut self) -> Tally {
        let question = self.question;
        self.counted.sort();
        self.ignored.sort();
        let of = |choices: &[Choice]| {
            self.counted.iter().filter(|ballot| choices.contains(&ballot.choice)).count()
        };
        let approvals = of(&[Choice::Approve]);
        let rejections = of(&[Choice::Reject, Choice::Veto]);
        let principals = question.members.principals.len();
        let rule = question.members.tracks.get(&question.proposal.track);
        let state = state(question, rule, approvals, rejections);
        let mut narrowed = question.narrowed.to_vec();
        narrowed.sort();
        let earliest_enactment_ms = match (state, rule) {
            (TallyState::Approved, Some(rule)) => {
                Some(question.certified_ms.unwrap_or(question.now_ms).saturating_add(rule.delay_ms))
            }
            _ => None,
        };
        let voted = |name: &str| self.counted.iter().any(|ballot| ballot.voter == name);
        let missing = question.members.principals.iter().map(|principal| &principal.name);
        Tally {
            state,
            threshold: rule.map(|rule| rule.threshold),
            principals: u32::try_from(principals).unwrap_or(u32::MAX),
            missing: missing.filter(|name| !voted(name)).cloned().collect(),
            counted: self.counted,
            ignored: self.ignored,
            earliest_enactment_ms,
            program: by_program(question, rule),
            narrowed,
            unanswered: None,
        }
    }
}

fn state(
    question: &Question<'_>,
    rule: Option<&TrackRule>,
    approvals: usize,
    rejections: usize,
) -> TallyState {
    if question.now_ms > question.proposal.expires_ms {
        return TallyState::Expired;
    }
    if question.narrowed.iter().any(|one| one.verdict == Narrower::Reject) {
        return TallyState::Rejected;
    }
    let Some(rule) = rule else { return TallyState::Pending };
    if let Some(program) = by_program(question, Some(rule)) {
        return match program.verdict {
            Some(Verdict::Approve) if question.narrowed.is_empty() => TallyState::Approved,
            Some(Verdict::Reject) => TallyState::Rejected,
            Some(Verdict::Approve | Verdict::Wait) | None => TallyState::Pending,
        };
    }
    let threshold = usize::try_from(rule.threshold).unwrap_or(usize::MAX);
    if approvals >= threshold && question.narrowed.is_empty() {
        TallyState::Approved
    } else if question.members.principals.len().saturating_sub(rejections) < threshold {
        TallyState::Rejected
    } else {
        TallyState::Pending
    }
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
        self.counted.iter().filter(|ballot| ballot.choice == Choice::Approve)
    }

    /// Whether it may be enacted at this time.
    #[must_use]
    pub fn is_enactable(&self, now_ms: i64) -> bool {
        self.state == TallyState::Approved
            && self.earliest_enactment_ms.is_some_and(|earliest| now_ms >= earliest)
    }
}

#[cfg(test)]
mod tests;
