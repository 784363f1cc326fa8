//! The ballots on a question as one members document counts them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::ballot::{Ballot, Choice, VerifiedBallot};
use super::super::members::{Members, Principal, TrackRule};
use super::super::program::Verdict;
use super::{Counted, Ignored, Outcome, Question, Received, Uncounted, by_program};
use crate::domain::change::FileDelta;
use crate::domain::id::{Cid, ProposalId};
use crate::domain::plan::PinMove;

/// What one members document makes of the ballots.
pub(super) struct Side<'a> {
    members: &'a Members,
    /// Its rule for the track.
    pub(super) rule: Option<&'a TrackRule>,
    /// By voter.
    pub(super) counted: Vec<Counted>,
    /// Each with its end, by voter.
    pub(super) vetoes: Vec<(i64, Counted)>,
    pub(super) ignored: Vec<Ignored>,
}

/// How a principal's last word counts.
enum Weighs {
    /// As it stands.
    Fully,
    /// As a veto, until its end.
    Suspends,
}

/// A ballot that is about the question, by one of those who decide.
#[derive(Clone, Copy)]
struct Cast<'b> {
    message: Cid,
    verified: &'b VerifiedBallot,
}

impl<'a> Side<'a> {
    /// Count the ballots as this document says.
    pub(super) fn count(
        question: &'a Question<'a>,
        members: &'a Members,
        ballots: &BTreeMap<Cid, &Received>,
        elsewhere: &[Received],
    ) -> Self {
        let rule = members.tracks.get(&question.proposal.track);
        let mut side = Self { members, rule, counted: Vec::new(), vetoes: Vec::new(), ignored: Vec::new() };
        let mut by_voter: BTreeMap<&str, Vec<Cast<'_>>> = BTreeMap::new();
        for received in ballots.values() {
            match &received.verified {
                Err(said) => side.ignore(None, received.message, Uncounted::Invalid { said: said.clone() }),
                Ok(verified) => {
                    if let Err(why) = about(question, members, verified) {
                        side.ignore(Some(verified), received.message, why);
                    } else {
                        let cast = Cast { message: received.message, verified };
                        by_voter.entry(&verified.ballot.voter).or_default().push(cast);
                    }
                }
            }
        }
        let standing = standing(question, members, elsewhere);
        let spoken: BTreeSet<&str> = by_voter.keys().copied().collect();
        for (voter, theirs) in by_voter {
            if let Some(principal) = members.principal(voter) {
                let standing = standing.get(voter).map_or(&[][..], Vec::as_slice);
                side.one_voter(question, principal, theirs, standing);
            }
        }
        side.delegated(question, &spoken, &standing);
        side.counted.sort();
        side.vetoes.sort_by(|a, b| a.1.cmp(&b.1));
        side
    }

    fn ignore(&mut self, verified: Option<&VerifiedBallot>, message: Cid, why: Uncounted) {
        let voter = verified.map(|verified| verified.ballot.voter.clone());
        let reason = why.to_string();
        self.ignored.push(Ignored { voter, message, why, reason });
    }

    /// One principal's ballots that are about the question, by message; at least one.
    fn one_voter(
        &mut self,
        question: &Question<'_>,
        principal: &Principal,
        theirs: Vec<Cast<'_>>,
        standing: &[Standing<'_>],
    ) {
        let is_final =
            |cast: &Cast<'_>| question.certified.is_some_and(|held| held.approvals.contains(&cast.message));
        let Some(newest) = theirs.iter().map(|cast| cast.verified.ballot.seq).max() else { return };
        let (held, rest): (Vec<_>, Vec<_>) = theirs.into_iter().partition(is_final);
        if let Some(cast) = held.first() {
            self.counted.push(counted(principal, *cast));
        }
        let settled = held.iter().any(|cast| cast.verified.ballot.seq == newest);
        let (last, older): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|cast| cast.verified.ballot.seq == newest);
        for cast in older {
            self.ignore(Some(cast.verified), cast.message, Uncounted::Superseded { newer: newest });
        }
        let Some((cast, others)) = last.split_first() else { return };
        let ballot = &cast.verified.ballot;
        let two_words = others.iter().any(|other| other.verified.ballot != *ballot);
        if settled || two_words {
            let why = if settled { Uncounted::Late } else { Uncounted::Conflict { seq: newest } };
            for cast in &last {
                self.ignore(Some(cast.verified), cast.message, why.clone());
            }
            return;
        }
        for other in others {
            self.ignore(Some(other.verified), other.message, Uncounted::Again);
        }
        match self.stands(question, principal, *cast, standing) {
            Ok(Weighs::Suspends) => {
                self.vetoes.push((ballot.not_after.as_ms(), counted(principal, *cast)));
            }
            Ok(Weighs::Fully) if question.certified.is_none() => {
                self.counted.push(counted(principal, *cast));
            }
            Ok(Weighs::Fully) => self.ignore(Some(cast.verified), cast.message, Uncounted::Late),
            Err(why) => self.ignore(Some(cast.verified), cast.message, why),
        }
    }

    /// Whether a principal's last word counts now, and how.
    fn stands(
        &self,
        question: &Question<'_>,
        principal: &Principal,
        cast: Cast<'_>,
        standing: &[Standing<'_>],
    ) -> Result<Weighs, Uncounted> {
        let (ballot, now) = (&cast.verified.ballot, question.now);
        holds(question, principal, cast.verified)?;
        let ends = ballot.not_after.as_ms();
        if let (Choice::Veto, Some(veto)) = (ballot.choice, self.rule.and_then(|rule| rule.veto.as_ref())) {
            if !principal.has_one_of(&veto.roles) {
                return Err(Uncounted::MayNotVeto);
            }
            if ends > now.wall_ms.saturating_add(veto.expiry_ms) {
                return Err(Uncounted::VetoTooLong { most_ms: veto.expiry_ms });
            }
            // Its end lets something happen: that waits for the slower clock.
            return if ends < now.slow_ms { Err(Uncounted::Expired) } else { Ok(Weighs::Suspends) };
        }
        if self.rule.is_some_and(|rule| !principal.has_one_of(&rule.roles)) {
            return Err(Uncounted::NotOnThisTrack);
        }
        if ends < now.wall_ms {
            return Err(Uncounted::Expired);
        }
        if ballot.choice != Choice::Approve {
            return Ok(Weighs::Fully);
        }
        if !ballot.verified && !question.allow_unverified && question.document.is_none() {
            return Err(Uncounted::Unverified);
        }
        if self.rule.is_some_and(|rule| rule.strict_base) && ballot.seen_base != question.base {
            return Err(Uncounted::OtherBase);
        }
        let mut newer = standing.iter().filter(|other| other.is_final || other.ballot.seq >= ballot.seq);
        match newer.find_map(|other| elsewhere(question, other.ballot)) {
            Some(why) => Err(why),
            None => Ok(Weighs::Fully),
        }
    }

    /// Count the ballots of delegates for those who did not speak.
    fn delegated(
        &mut self,
        question: &Question<'_>,
        spoken: &BTreeSet<&str>,
        standing: &BTreeMap<&str, Vec<Standing<'_>>>,
    ) {
        let Some(rule) = self.rule else { return };
        let track = question.proposal.track;
        let own: BTreeMap<String, Counted> =
            self.counted.iter().map(|ballot| (ballot.voter.clone(), ballot.clone())).collect();
        for principal in self.members.voters(rule).filter(|one| !spoken.contains(one.name.as_str())) {
            let delegation = principal.delegates.get(&track);
            let Some(delegation) = delegation.filter(|one| one.until_ms >= question.now.wall_ms) else {
                continue;
            };
            let Some(ballot) = own.get(&delegation.to) else { continue };
            // What the principal says elsewhere, or has others say there, is another target's.
            let others = principal.delegates.values().map(|one| &one.to).filter(|to| **to != delegation.to);
            let contradicted = [&principal.name]
                .into_iter()
                .chain(others)
                .filter_map(|name| standing.get(name.as_str()))
                .flatten()
                .any(|other| elsewhere(question, other.ballot).is_some());
            if ballot.choice == Choice::Approve && contradicted {
                continue;
            }
            self.counted.push(Counted {
                voter: principal.name.clone(),
                through: Some(delegation.to.clone()),
                weight: principal.weight,
                ..ballot.clone()
            });
        }
    }

    /// Those who decide on the track.
    pub(super) fn voters(&self) -> impl Iterator<Item = &Principal> {
        let roles = self.rule.map_or(&[][..], |rule| rule.roles.as_slice());
        self.members.principals.iter().filter(move |principal| principal.has_one_of(roles))
    }

    /// Those of them whose word is missing, by name.
    pub(super) fn missing(&self) -> Vec<String> {
        let heard: BTreeSet<&str> = self
            .counted
            .iter()
            .chain(self.vetoes.iter().map(|(_, veto)| veto))
            .map(|one| one.voter.as_str())
            .collect();
        let names = self.voters().map(|principal| principal.name.as_str());
        names.filter(|name| !heard.contains(name)).map(str::to_owned).collect()
    }

    /// How much approves.
    pub(super) fn approving(&self) -> u32 {
        self.weight_of(&[Choice::Approve])
    }

    fn weight_of(&self, choices: &[Choice]) -> u32 {
        let said = self.counted.iter().filter(|ballot| choices.contains(&ballot.choice));
        said.fold(0, |sum, ballot| sum.saturating_add(ballot.weight))
    }

    /// What it all says.
    pub(super) fn outcome(&self, question: &Question<'_>) -> Outcome {
        let Some(rule) = self.rule else { return Outcome::Open };
        if rule.program.is_some() {
            return match by_program(question, Some(rule)).and_then(|program| program.verdict) {
                Some(Verdict::Approve) => Outcome::Enough,
                Some(Verdict::Reject) => Outcome::Against,
                Some(Verdict::Wait) | None => Outcome::Open,
            };
        }
        let all = self.voters().fold(0_u32, |sum, one| sum.saturating_add(one.weight));
        let against = self.weight_of(&[Choice::Reject, Choice::Veto]);
        let of_role = |role: &String, is: &dyn Fn(&Counted) -> bool| {
            let has = |ballot: &&Counted| {
                self.members.principal(&ballot.voter).is_some_and(|one| one.roles.contains(role))
            };
            self.counted.iter().filter(has).filter(|ballot| is(ballot)).count()
        };
        let signed = |role| of_role(role, &|it| it.choice == Choice::Approve && it.through.is_none());
        let refuse = |role| of_role(role, &|it| matches!(it.choice, Choice::Reject | Choice::Veto));
        let there = |role| self.voters().filter(|one| one.roles.contains(role)).count();
        let asked = |count: &u32| usize::try_from(*count).unwrap_or(usize::MAX);
        let out_of_reach =
            rule.at_least.iter().any(|(role, n)| there(role).saturating_sub(refuse(role)) < asked(n));
        if self.approving() >= rule.threshold
            && rule.at_least.iter().all(|(role, n)| signed(role) >= asked(n))
        {
            Outcome::Enough
        } else if all.saturating_sub(against) < rule.threshold || out_of_reach {
            Outcome::Against
        } else {
            Outcome::Open
        }
    }

    /// Until when a quorum of vetoes stands.
    pub(super) fn suspended_until_ms(&self) -> Option<i64> {
        let quorum = usize::try_from(self.rule?.veto.as_ref()?.quorum).ok()?;
        let mut ends: Vec<i64> = self.vetoes.iter().map(|(end, _)| *end).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.get(quorum.checked_sub(1)?).copied()
    }
}

fn counted(principal: &Principal, cast: Cast<'_>) -> Counted {
    let ballot = &cast.verified.ballot;
    Counted {
        voter: principal.name.clone(),
        through: None,
        choice: ballot.choice,
        weight: principal.weight,
        seq: ballot.seq,
        message: cast.message,
        key: cast.verified.key.fingerprint(),
    }
}

/// Whether a ballot is about this question, and by one of those who decide over it.
fn about(question: &Question<'_>, members: &Members, verified: &VerifiedBallot) -> Result<(), Uncounted> {
    let ballot = &verified.ballot;
    if ballot.workspace != question.members.workspace {
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
    // Also where the successor counts, ballots name the epoch in force.
    let epoch = question.members.epoch;
    if ballot.members_epoch != epoch || question.proposal.members_epoch != epoch {
        return Err(Uncounted::OtherEpoch { epoch: ballot.members_epoch });
    }
    let principal = member(members, verified)?;
    let from = term(principal, verified).and_then(|term| term.from_ms);
    // That a key begins to hold lets something happen: that waits for the slower clock.
    if from.is_some_and(|from| from > question.now.slow_ms) { Err(Uncounted::KeyNotYet) } else { Ok(()) }
}

/// Whose the key is that signed, when it is the voter's.
fn member<'m>(members: &'m Members, verified: &VerifiedBallot) -> Result<&'m Principal, Uncounted> {
    let principal = members.principal(&verified.ballot.voter).ok_or(Uncounted::NotAMember)?;
    if principal.keys.contains(&verified.key) { Ok(principal) } else { Err(Uncounted::NotTheVotersKey) }
}

fn term(principal: &Principal, verified: &VerifiedBallot) -> Option<super::super::members::Term> {
    if principal.terms.is_empty() { None } else { principal.terms.get(&verified.key.fingerprint()).copied() }
}

/// Whether the key that signed still holds. A ballot whose key does not still takes the place of the
/// voter's older ones: what a voter took back does not come back with the end of a key.
fn holds(question: &Question<'_>, principal: &Principal, verified: &VerifiedBallot) -> Result<(), Uncounted> {
    if !question.revoked.is_empty()
        && let Some(entry) = question.revoked.get(&verified.key.fingerprint())
    {
        return Err(Uncounted::KeyRevoked { entry: *entry });
    }
    let until = term(principal, verified).and_then(|term| term.until_ms);
    if until.is_some_and(|until| until < question.now.wall_ms) { Err(Uncounted::KeyEnded) } else { Ok(()) }
}

/// What an approval elsewhere says against one here: another end for the same beginning.
fn elsewhere(question: &Question<'_>, other: &Ballot) -> Option<Uncounted> {
    let proposal = other.proposal;
    let pin = other.pins.iter().find(|pin| {
        let same = |ours: &&PinMove| ours.module == pin.module && ours.from == pin.from;
        question.pins.iter().find(same).is_some_and(|ours| ours.to != pin.to)
    });
    if let Some(pin) = pin {
        return Some(Uncounted::OtherTarget { proposal, module: pin.module.to_string() });
    }
    let file = other.files.iter().find(|file| {
        let same = |ours: &&FileDelta| ours.path == file.path && ours.old == file.old;
        question.files.iter().find(same).is_some_and(|ours| ours.new != file.new)
    });
    if let Some(file) = file {
        return Some(Uncounted::OtherContent { proposal, path: file.path.clone() });
    }
    let (ours, theirs) = (question.document?, other.document?);
    let forks = (ours.kind, ours.old) == (theirs.kind, theirs.old) && ours.new != theirs.new;
    forks.then_some(Uncounted::OtherSuccessor { proposal })
}

/// An approval of another proposal.
#[derive(Clone, Copy)]
struct Standing<'b> {
    ballot: &'b Ballot,
    /// It is part of that proposal's certificate: it stands whatever was said since.
    is_final: bool,
}

/// The approvals that each principal gives to other proposals, by voter.
fn standing<'b>(
    question: &Question<'b>,
    members: &Members,
    elsewhere: &'b [Received],
) -> BTreeMap<&'b str, Vec<Standing<'b>>> {
    let mut standing: BTreeMap<&str, Vec<Standing<'_>>> = BTreeMap::new();
    let mut newest: BTreeMap<(&str, ProposalId), Vec<&Ballot>> = BTreeMap::new();
    for (message, verified) in
        elsewhere.iter().filter_map(|it| Some((it.message, it.verified.as_ref().ok()?)))
    {
        let ballot = &verified.ballot;
        let counts = ballot.proposal != question.id
            && ballot.workspace == question.members.workspace
            && ballot.members_epoch == question.members.epoch
            && member(members, verified).is_ok();
        if !counts {
            continue;
        }
        // Whoever it counts for there, it stands for: also who was spoken for.
        for voter in question.final_elsewhere.get(&message).into_iter().flatten() {
            standing.entry(voter).or_default().push(Standing { ballot, is_final: true });
        }
        let newest = newest.entry((&ballot.voter, ballot.proposal)).or_default();
        match newest.first().map(|first| first.seq) {
            Some(seq) if seq > ballot.seq => {}
            Some(seq) if seq == ballot.seq => newest.push(ballot),
            _ => *newest = vec![ballot],
        }
    }
    for ((voter, _), ballots) in newest {
        // Where the voter said two things at one number there, any approval among them stands
        // against ours: who equivocates gets the narrower reading.
        let approvals = ballots.into_iter().filter(|ballot| {
            ballot.choice == Choice::Approve && ballot.not_after.as_ms() >= question.now.slow_ms
        });
        let approvals = approvals.map(|ballot| Standing { ballot, is_final: false });
        standing.entry(voter).or_default().extend(approvals);
    }
    // One of several reasons is named: the same one whatever order they came in.
    for approvals in standing.values_mut() {
        approvals.sort_by_cached_key(|other| (other.ballot.proposal, other.ballot.to_string()));
    }
    standing
}
