//! Programs that the rules name: asked, journalled, and held to what they said.
//!
//! In: a proposal, what its ballots add up to by themselves, the moment. Out: an entry
//! (`proposal.decided`) where a program says something new; what that narrows; and, on a track whose
//! authority is a program, its decision.
//!
//! A decision counts only for the input that it was made on: where anything but the time is another
//! now, nothing was decided yet. A program that is missing, or said nothing, makes it wait.

use std::collections::BTreeSet;

use super::{Case, Rules, read, received, stored};
use crate::domain::event::Event;
use crate::domain::governance::members::Members;
use crate::domain::governance::program::input::{INPUT_VERSION, Input, Time};
use crate::domain::governance::program::{Decision, Executor, Verdict, decide, decide_again};
use crate::domain::governance::tally::{NarrowedBy, Narrower, Narrowing, Tally};
use crate::domain::governance::time::Times;
use crate::domain::id::{Cid, ProposalId};
use crate::domain::proposal::Decided;
use crate::domain::state::State;
use crate::ports::{Journal, PortResult, Stored};

/// The program that alone decides on the track of a proposal.
fn authority(rules: &Rules, case: &Case) -> Option<Cid> {
    rules.members.tracks.get(&case.proposal.track).and_then(|rule| rule.program)
}

/// Every program that has a say on the track: the authority, and the policy's.
fn named(rules: &Rules, case: &Case) -> BTreeSet<Cid> {
    let policy = rules.policy.programs.get(&case.proposal.track).copied();
    authority(rules, case).into_iter().chain(policy).collect()
}

/// Whether a program has a say.
pub(super) fn has_a_say(rules: &Rules, case: &Case) -> bool {
    !named(rules, case).is_empty()
}

/// Ask the programs, and journal what is new. `plain` is what the ballots add up to by themselves.
///
/// # Errors
/// When what the journal names cannot be read, or it cannot be written. How a program ends is no error.
pub(super) fn ask(
    journal: &mut dyn Journal,
    state: &mut State,
    executor: &dyn Executor,
    rules: &Rules,
    case: &Case,
    plain: &Tally,
    now: Times,
) -> PortResult<()> {
    let input = input(journal, rules, case, plain, now)?;
    for program in named(rules, case) {
        // What is not here cannot be asked, and narrows as such.
        let Some(module) = journal.load(&program)? else { continue };
        let bytes = written(&input)?;
        let (decision, output) = decide(executor, &module, &bytes);
        if let Some(before) = case.record.decided.get(&program)
            && said_the_same(&before.decision, &decision)
            && is_on(journal, &before.decision, &input)?
        {
            continue;
        }
        journal.store_all(&[&bytes, &output])?;
        let event = Event::ProposalDecided { proposal: case.id, decision };
        let entry = journal.append(&case.id.short(), &event)?;
        state.take(&entry);
    }
    Ok(())
}

fn said_the_same(before: &Decision, now: &Decision) -> bool {
    (before.verdict, &before.reason, &before.engine) == (now.verdict, &now.reason, &now.engine)
}

/// Whether a decision was made on this input, whatever the time was.
fn is_on(journal: &(impl Stored + ?Sized), decision: &Decision, input: &Input) -> PortResult<bool> {
    let Some(bytes) = journal.stored(&decision.input)? else { return Ok(false) };
    let then = Input::from_canonical(&bytes);
    Ok(then.is_ok_and(|then| Input { time: input.time, ..then } == *input))
}

/// What the programs say of a proposal as it is now, as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Said {
    /// What narrows.
    pub(super) narrowed: Vec<Narrowing>,
    /// What the track's authority decided, where it is a program.
    pub(super) decided: Option<Decision>,
}

/// What the programs said, where it is about the proposal as it is now.
///
/// # Errors
/// When what the journal names cannot be read.
pub(super) fn said(
    journal: &(impl Stored + ?Sized),
    rules: &Rules,
    case: &Case,
    plain: &Tally,
    now: Times,
) -> PortResult<Said> {
    let mut said = Said::default();
    let authority = authority(rules, case);
    let input = input(journal, rules, case, plain, now)?;
    let narrower = rules.policy.programs.get(&case.proposal.track).copied();
    for program in named(rules, case) {
        let short = ProposalId(program).short();
        let decided = case.record.decided.get(&program);
        let (verdict, reason) = if journal.stored(&program)?.is_none() {
            (Narrower::Wait, format!("the program {short} is not in objects/"))
        } else {
            match decided {
                Some(decided) if is_on(journal, &decided.decision, &input)? => {
                    if Some(program) == authority {
                        said.decided = Some(decided.decision.clone());
                    }
                    match decided.decision.verdict {
                        Verdict::Approve => continue,
                        Verdict::Reject => (Narrower::Reject, decided.decision.reason.clone()),
                        Verdict::Wait => (Narrower::Wait, decided.decision.reason.clone()),
                    }
                }
                _ => (Narrower::Wait, format!("the program {short} has not decided over it as it is now")),
            }
        };
        // What the authority says the tally says.
        if Some(program) == narrower {
            said.narrowed.push(Narrowing { by: NarrowedBy::Program, verdict, reason });
        }
    }
    Ok(said)
}

/// What the programs are given.
fn input(
    journal: &(impl Stored + ?Sized),
    rules: &Rules,
    case: &Case,
    plain: &Tally,
    now: Times,
) -> PortResult<Input> {
    let record = &case.record;
    let claims = match &record.verification {
        None => None,
        Some(verification) => Some(read(journal, &verification.claims, "what was verified")?),
    };
    let findings = match record.judged.as_ref().filter(|judged| judged.tree == record.tree) {
        None => None,
        Some(judged) => Some(read(journal, &judged.findings, "the policy's findings")?),
    };
    Ok(Input {
        v: INPUT_VERSION,
        proposal_id: case.id,
        proposal: case.proposal.clone(),
        purpose: record.purpose,
        delta: case.delta.clone(),
        base: record.base,
        tree: record.tree,
        verified: record.verified().is_some(),
        claims,
        findings,
        policy: rules.policy_cid,
        members: rules.members.clone(),
        ballots: Input::ballots(plain),
        time: Time {
            now_ms: now.wall_ms,
            open_ms: now.checked_ms.saturating_sub(record.made_checked_ms).max(0),
        },
    })
}

/// What the programs are given, as bytes.
///
/// # Errors
/// When what the journal names cannot be read.
pub(super) fn given(
    journal: &(impl Stored + ?Sized),
    rules: &Rules,
    case: &Case,
    plain: &Tally,
    now: Times,
) -> PortResult<Vec<u8>> {
    written(&input(journal, rules, case, plain, now)?)
}

fn written(input: &Input) -> PortResult<Vec<u8>> {
    input.to_canonical().map_err(|error| {
        crate::ports::PortError::failed("cannot write what a program is given as canonical JSON")
            .because(error)
    })
}

/// What deciding again gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redecided {
    /// Its entry and what that says.
    pub decided: Decided,
    /// What is wrong with it, as a sentence without a final stop; nothing when everything is as it says.
    pub wrong: Option<String>,
}

/// Decide again what programs decided over a proposal: each with the bytes that the journal names, and
/// each on an input that is about this proposal, these rules and ballots that are signed. `stamp` gives
/// the members document and the policy that were in force at an entry.
///
/// # Errors
/// When something that the journal names is missing or cannot be read.
pub fn redecide(
    journal: &(impl Stored + ?Sized),
    executor: &dyn Executor,
    case: &Case,
    mut stamp: impl FnMut(u64) -> PortResult<(Option<Cid>, Option<Cid>)>,
) -> PortResult<Vec<Redecided>> {
    let mut all: Vec<&Decided> = case.record.decided.values().collect();
    all.sort_by_key(|decided| decided.seq);
    let one = |decided: &Decided| {
        let decision = &decided.decision;
        let module = stored(journal, &decision.program, "the program")?;
        let bytes = stored(journal, &decision.input, "the program's input")?;
        stored(journal, &decision.output, "the program's output")?;
        let mut wrong =
            decide_again(decision, executor, &module, &bytes).err().map(|error| error.to_string());
        if wrong.is_none() {
            wrong = match Input::from_canonical(&bytes) {
                Err(why) => Some(format!("its input is none: {why}")),
                Ok(input) => about(journal, case, &input, stamp(decided.seq)?)?,
            };
        }
        Ok(Redecided { decided: decided.clone(), wrong })
    };
    all.into_iter().map(one).collect()
}

/// Why an input is not about this proposal as it was at an entry with this stamp.
fn about(
    journal: &(impl Stored + ?Sized),
    case: &Case,
    input: &Input,
    (members, policy): (Option<Cid>, Option<Cid>),
) -> PortResult<Option<String>> {
    let of = |document: &Members| document.cid().ok();
    for (same, what) in [
        (input.proposal_id == case.id && input.proposal == case.proposal, "its input is another proposal"),
        (input.delta == case.delta, "its input is another change"),
        (of(&input.members) == members, "its input has other members than were in force"),
        (Some(input.policy) == policy, "its input has another policy than was in force"),
    ] {
        if !same {
            return Ok(Some(what.to_owned()));
        }
    }
    let signed = received(journal, &case.record.ballots)?;
    let is_signed = |said: &crate::domain::governance::program::input::Said| {
        signed.iter().filter_map(|one| one.verified.as_ref().ok()).any(|one| {
            (one.ballot.choice, one.ballot.seq) == (said.choice, said.seq)
                && one.key.fingerprint() == said.key
        })
    };
    let unsigned = input.ballots.iter().find(|said| !is_signed(said));
    Ok(unsigned.map(|said| format!("its input has a ballot of {} that nobody signed", said.voter)))
}
