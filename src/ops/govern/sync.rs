//! Merging what other operators show: proposals, ballots and certificates, in any order, any of
//! them twice, old, forged or missing.
//!
//! ```text
//! gathered → sift (what is new, within bounds) → merge (derive, verify, journal) → shown
//! ```
//!
//! - A **proposal** is taken in when one who decides has a ballot on it: that is who brings it. Its
//!   change is derived again here. Each brings a bounded number that nobody here would have made. Where the same change is
//!   proposed here and nobody voted on ours, ours makes way; where somebody did, both stay.
//! - A **ballot** is verified and counted like one that was dropped into the inbox. One that is on a proposal
//!   which is not known here stays where it is, and is looked at again.
//! - A **certificate** brings its ballots. Where these do not decide here, because somebody said
//!   two things, a certificate that holds now is final all the same.
//!
//! What one operator shows costs the others a bounded amount of work a time: the rest is looked at
//! the next time. Nothing is removed here because another does not show it any more.

mod sift;

pub use sift::{Sifted, sift};

use std::collections::BTreeMap;

use sift::Fresh;

use super::early::again;
use super::finality::{self, Adopted};
use super::intake::{Taken, take_in};
use super::{decide, rules};
use crate::domain::event::Event;
use crate::domain::governance::ballot::SignedBallot;
use crate::domain::governance::certificate::{self, Approval, Certificate};
use crate::domain::governance::heard::MAX_SPONSORED;
use crate::domain::governance::signature;
use crate::domain::governance::tally::{Counted, Tally, TallyState, Uncounted};
use crate::domain::id::{Cid, ProposalId};
use crate::domain::proposal::{Closure, Stage};
use crate::domain::state::State;
use crate::domain::text;
use crate::ops::exchange::{Place, import_beside};
use crate::ops::recorder::Recorder;
use crate::ports::{Clock, FailureKind, Governor, Journal, PortError, PortResult};

pub use super::publish::shown;

/// Most proposals that are derived again for one sponsor at a time.
const TRIES: usize = 8;

/// Most messages of one operator that are refused with an entry at a time, and of all in a day.
const REFUSALS: usize = 16;
const REFUSALS_A_DAY: usize = 512;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What merging did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// Proposals that came, with who brought each.
    pub proposals: Vec<(ProposalId, String)>,
    /// Ballots that were taken in: on which proposal, by whom.
    pub ballots: Vec<(ProposalId, String)>,
    /// Messages that were refused: who showed it, and why.
    pub refused: Vec<(String, String)>,
    /// Proposals whose approval another operator proved.
    pub certified: Vec<ProposalId>,
    /// Ballots on proposals that are not known here, and stay where they are.
    pub waiting: usize,
    /// Proposals that do not fit here, or not yet, each a sentence: they are tried again.
    pub unfit: Vec<String>,
    /// What else is to be said, each a sentence.
    pub said: Vec<String>,
}

/// Whether each approval that a certificate counts also counts here, or would but for another word of
/// the same voter with the same number.
fn rests_on_what_stands(theirs: &Tally, ours: &Tally) -> bool {
    let all = |tally: &Tally| -> Vec<Counted> {
        let successors = tally.successor.iter().flat_map(|it| &it.counted);
        tally.counted.iter().chain(successors).filter(|one| one.is_approval()).cloned().collect()
    };
    let counts = all(ours);
    let ignored = ours.ignored.iter();
    let equivocal: Vec<Cid> =
        ignored.filter(|one| matches!(one.why, Uncounted::Conflict { .. })).map(|one| one.message).collect();
    all(theirs).iter().all(|one| {
        let same =
            |it: &Counted| (&it.voter, &it.through, it.message) == (&one.voter, &one.through, one.message);
        counts.iter().any(same) || (one.through.is_none() && equivocal.contains(&one.message))
    })
}

/// Take in what was sifted. `ground` is needed where [`Sifted::brings_proposals`] says so; without
/// it proposals wait. The state is brought up to what was journalled.
///
/// # Errors
/// When the journal or the workspace cannot be read or written; what is wrong with a message is a value.
pub fn merge(
    journal: &mut dyn Journal,
    state: &mut State,
    governor: &dyn Governor,
    sifted: Sifted,
    ground: Option<Place<'_>>,
    clock: &dyn Clock,
) -> PortResult<Merged> {
    let now_ms = clock.wall_ms();
    let mut merged = Merged { said: sifted.said, ..Merged::default() };
    if let Some(ground) = ground {
        receive(journal, state, sifted.packets, ground, &mut merged)?;
    }
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    let known = |certificate: &Certificate| {
        certificate.proposal.id().is_ok_and(|id| state.proposals.contains_key(&id))
    };
    let certificates = sifted.certificates.iter().filter(|(_, certificate)| known(certificate));
    let certified = certificates.flat_map(|(source, certificate)| {
        let ballots = certificate.ballots.iter().filter_map(message_of);
        ballots.map(move |bytes| Fresh::from_certificate(source, certificate.proposal.id().ok(), bytes))
    });
    let certified: Vec<Fresh> = certified.collect();
    for fresh in sifted.ballots.into_iter().chain(certified) {
        if let Some(proposal) = fresh.proposal {
            match state.proposals.get(&proposal) {
                None => {
                    merged.waiting += 1;
                    continue;
                }
                Some(record) if !takes_ballots(&record.stage) || record.ballots.contains(&fresh.message) => {
                    continue;
                }
                Some(_) => {}
            }
        }
        let count = refusals.entry(fresh.source.clone()).or_default();
        // Verifying costs more than it brings where nothing that comes is of use.
        if *count >= REFUSALS || state.heard.refused_since(now_ms - DAY_MS) >= REFUSALS_A_DAY {
            continue;
        }
        let mut recorder = Recorder::new(journal);
        let taken = take_in(&mut recorder, state, &fresh.bytes, now_ms)?;
        recorder.tell(state);
        match taken {
            Taken::Cast { ballot, .. } => merged.ballots.push((ballot.proposal, ballot.voter)),
            Taken::Refused { reason, .. } => {
                *count += 1;
                merged.refused.push((fresh.source, text::inert(&reason)));
            }
            Taken::Waits { .. } => merged.waiting += 1,
            Taken::Known { .. } => {}
        }
    }
    for (source, count) in refusals.into_iter().filter(|(_, count)| *count >= REFUSALS) {
        let said = format!("{source} shows more that cannot count than is looked at: {count} were refused");
        merged.said.push(said);
    }
    for taken in again(journal, state, now_ms)? {
        match taken {
            Taken::Cast { ballot, .. } => merged.ballots.push((ballot.proposal, ballot.voter)),
            Taken::Refused { reason, .. } => merged.refused.push(("the journal".to_owned(), reason)),
            Taken::Known { .. } | Taken::Waits { .. } => {}
        }
    }
    for (source, certificate) in sifted.certificates {
        adopt(journal, state, governor, (&source, &certificate), clock, &mut merged)?;
    }
    Ok(merged)
}

fn takes_ballots(stage: &Stage) -> bool {
    matches!(stage, Stage::Open | Stage::Applying { .. } | Stage::Stuck { .. })
}

/// The signed message that an approval in a certificate was made of.
fn message_of(approval: &Approval) -> Option<Vec<u8>> {
    let signature = signature::from_armor(&approval.signature).ok()?;
    Some(SignedBallot { text: approval.text.clone(), signature }.to_message())
}

/// Take in the proposals that somebody who decides brings.
fn receive(
    journal: &mut dyn Journal,
    state: &mut State,
    packets: Vec<sift::Offered>,
    ground: Place<'_>,
    merged: &mut Merged,
) -> PortResult<()> {
    let mut tried: BTreeMap<String, usize> = BTreeMap::new();
    for offered in packets {
        let (id, change) = (offered.id, offered.packet.proposal.change);
        let twins: Vec<ProposalId> = state
            .open_proposals()
            .filter(|(_, record)| record.change == change && record.stage == Stage::Open)
            .filter(|(_, record)| record.ballots.is_empty() && record.track == offered.packet.proposal.track)
            .map(|(twin, _)| *twin)
            .collect();
        let charged = twins.is_empty();
        let has_room = |sponsor: &&String| {
            let open =
                |id: &ProposalId| state.proposals.get(id).is_some_and(|record| takes_ballots(&record.stage));
            let brought = state.heard.sponsors().iter().filter(|(id, name)| name == sponsor && open(id));
            tried.get(*sponsor).is_none_or(|tries| *tries < TRIES)
                && (!charged || brought.count() < MAX_SPONSORED)
        };
        let Some(sponsor) = offered.sponsors.iter().find(has_room).cloned() else {
            let who = offered.sponsors.iter().cloned().collect::<Vec<_>>().join(", ");
            merged.said.push(format!("the proposal {} waits: {who} brought enough others", id.short()));
            continue;
        };
        *tried.entry(sponsor.clone()).or_default() += 1;
        let mut recorder = Recorder::new(journal);
        let imported = match import_beside(&mut recorder, state, offered.packet, ground) {
            Ok(imported) => imported,
            Err(error) if may_wait(&error) => {
                merged.unfit.push(text::clipped(&text::inert(&error.to_string()), 400));
                continue;
            }
            Err(error) => return Err(error),
        };
        if imported.is_new {
            let subject = id.short();
            let received = Event::ProposalReceived { proposal: id, sponsor: sponsor.clone(), charged };
            let mut events = vec![(subject.as_str(), received)];
            let names: Vec<(String, ProposalId)> = twins.iter().map(|twin| (twin.short(), *twin)).collect();
            for (name, twin) in &names {
                let closed = Event::ProposalClosed {
                    proposal: *twin,
                    outcome: Closure::Superseded,
                    by: Some(id),
                    reason: format!(
                        "the same change was voted on elsewhere, where {sponsor} brought it from"
                    ),
                };
                events.push((name, closed));
            }
            recorder.append_all(&events)?;
            merged.proposals.push((id, sponsor));
        }
        recorder.tell(state);
    }
    Ok(())
}

/// True for what is wrong with a proposal, or may be right later; false for what is wrong here.
fn may_wait(error: &PortError) -> bool {
    !error.fatal
        && !matches!(error.kind, FailureKind::Integrity | FailureKind::Busy | FailureKind::Interrupted)
}

/// Take another operator's certificate for ours, where the ballots that we have do not decide.
fn adopt(
    journal: &mut dyn Journal,
    state: &mut State,
    governor: &dyn Governor,
    (source, held): (&str, &Certificate),
    clock: &dyn Clock,
    merged: &mut Merged,
) -> PortResult<()> {
    let rules = rules(journal, state)?;
    let Ok(id) = held.proposal.id() else { return Ok(()) };
    let Some(record) = state.proposals.get(&id) else { return Ok(()) };
    if record.certificate.is_some() || held.policy != rules.policy_cid {
        return Ok(());
    }
    // Whoever made it says when: it must hold by our clock too, so that nobody brings back what ran out.
    let now = Certificate { at_ms: clock.wall_ms(), ..held.clone() };
    if certificate::verify(&now, &rules.members_cid).is_err() {
        return Ok(());
    }
    if let Stage::Closed { outcome, .. } = &record.stage {
        if matches!(outcome, Closure::Rejected | Closure::Withdrawn) {
            let (short, outcome) = (id.short(), outcome.as_str());
            merged.said.push(format!("{source} proves that {short} was approved, and here it is {outcome}"));
        }
        return Ok(());
    }
    if record.stage != Stage::Open {
        return Ok(());
    }
    // What our own ballots decide we certify ourselves; what narrows here narrows this too.
    let tally = decide(journal, state, governor, id, clock)?;
    if tally.state == TallyState::Approved || tally.unanswered.is_some() || !tally.narrowed.is_empty() {
        return Ok(());
    }
    // Its ballots were taken in like all others. One that somebody took back, that a revoked key made, that
    // stands against another target, or that a delegate gave for one who spoke brings nothing back here;
    // what is left is somebody who said two things at once, and whoever saw one of them decided.
    if let Ok(proven) = certificate::verify(&now, &rules.members_cid)
        && !rests_on_what_stands(&proven.tally, &tally)
    {
        let short = id.short();
        merged.said.push(format!(
            "{source} shows a certificate of {short} that rests on ballots which do not count here"
        ));
        return Ok(());
    }
    let bytes = held.to_canonical().map_err(|error| {
        PortError::failed(format!("cannot write the certificate of {}", id.short())).because(error)
    })?;
    let mut recorder = Recorder::new(journal);
    let adopted = finality::adopt(&mut recorder, state, &bytes, clock)?;
    recorder.tell(state);
    match adopted {
        Adopted::Certified(id) => merged.certified.push(id),
        Adopted::Known(_) => {}
        Adopted::Refused(why) => {
            let short = id.short();
            merged
                .said
                .push(format!("what {source} shows as a certificate of {short} proves nothing: {why}"));
        }
    }
    Ok(())
}
