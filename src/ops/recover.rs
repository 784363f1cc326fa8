//! What every cycle and every application begins with: closing what an earlier process left open.
//!
//! In: the journal's [`State`], and the superproject as it is. Out: entries that close what was
//! open, and an account of them. Whoever calls holds the cycle lock, so that what is open belongs
//! to a process that is gone.
//!
//! A cycle changes nothing but the journal: an unfinished one is closed as `interrupted`. An
//! application is journalled as `apply.started{expected, target}` and `apply.finished{outcome}`;
//! [`reconcile`] decides what an unfinished one needs, from what is there now. Every applied commit
//! names the journal's entry that it rests on, and the repository remembers the newest one: a journal
//! that does not know it was cut or put in another's place ([`check_landed`]).

use crate::domain::event::Event;
use crate::domain::id::{Cid, ObjectId, ProposalId};
use crate::domain::proposal::{Purpose, Stage};
use crate::domain::state::{OpenApply, State};
use crate::ops::amend::succession;
use crate::ops::authority;
use crate::ports::{
    FailureKind, FirstTrusted, Journal, Landing, LandingState, PortError, PortResult, Repository,
    Superproject,
};

/// The trailer of an applied commit that names its proposal.
pub const PROPOSAL_TRAILER: &str = "Lambda-OS-Proposal: ";
/// The trailer of an applied commit that names the entry it rests on: sequence and identity.
pub const JOURNAL_TRAILER: &str = "Lambda-OS-Journal: ";

/// What recovery found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Sequence of the `cycle.started` that was closed as interrupted.
    pub interrupted_cycle: Option<u64>,
    /// What became of an application that was left open.
    pub apply: Option<RecoveredApply>,
}

/// What became of an application that was left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveredApply {
    /// It is closed now.
    Closed {
        /// Which proposal.
        proposal: ProposalId,
        /// `applied`, `undone` or `stuck`.
        outcome: &'static str,
        /// The commit, when applied.
        commit: Option<ObjectId>,
        /// Why, or what was left for a person.
        notes: Vec<String>,
    },
    /// It cannot be finished now, because another git holds the index: it stays open.
    Waits {
        /// Which proposal.
        proposal: ProposalId,
        /// Why, as a sentence.
        why: String,
    },
}

/// The superproject, for what was left open in it.
#[derive(Clone, Copy)]
pub struct Workspace<'a> {
    /// Read.
    pub repository: &'a dyn Repository,
    /// Changed.
    pub superproject: &'a dyn Superproject,
}

/// Close what an earlier process left open. Repeating it does nothing more.
///
/// # Errors
/// When the journal cannot be written, or does not know the newest applied commit (integrity); when
/// the superproject cannot be read or written.
pub fn recover(journal: &mut dyn Journal, state: &State, workspace: Workspace<'_>) -> PortResult<Recovered> {
    check_landed(journal, workspace.superproject, state)?;
    succession::check(journal, state)?;
    let mut recovered = Recovered::default();
    if state.open_apply.is_some() {
        let proven = proven(journal, state)?;
        if let Some(open) = &proven.open_apply {
            recovered.apply = Some(close_apply(journal, &proven, workspace, open)?);
        }
    }
    if let Some(started) = state.open_cycle {
        journal.append(
            "cycle",
            &Event::CycleFinished {
                started,
                outcome: "interrupted".to_owned(),
                report: None,
                reason: Some("the process that ran it ended before it did".to_owned()),
                phases_us: Vec::new(),
            },
        )?;
        recovered.interrupted_cycle = Some(started);
    }
    Ok(recovered)
}

/// Which application an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenEffect {
    pub(super) started: u64,
    pub(super) proposal: ProposalId,
}

/// Journal how an application ended.
pub(super) fn finish(
    journal: &mut dyn Journal,
    effect: OpenEffect,
    outcome: &str,
    commit: Option<ObjectId>,
    notes: &[String],
) -> PortResult<()> {
    let notes = notes
        .iter()
        .map(|note| crate::domain::text::clipped(&crate::domain::text::inert(note), 500))
        .take(50)
        .collect();
    let OpenEffect { started, proposal } = effect;
    let event = Event::ApplyFinished { proposal, started, outcome: outcome.to_owned(), commit, notes };
    journal.append(&proposal.short(), &event).map(|_| ())
}

fn close_apply(
    journal: &mut dyn Journal,
    state: &State,
    workspace: Workspace<'_>,
    open: &OpenApply,
) -> PortResult<RecoveredApply> {
    let superproject = workspace.superproject;
    let proposal = open.proposal;
    let landing = Landing {
        reference: open.reference.clone(),
        expected: open.expected,
        target: open.target,
        edits: superproject.edits_between(open.expected, open.target)?,
        modules: workspace.repository.discover()?.modules,
    };
    let reality = match superproject.landing_state(&landing)? {
        LandingState::NotBegun => Some(Reality::Expected),
        LandingState::Begun => Some(Reality::Begun),
        LandingState::Done => Some(Reality::Target),
        LandingState::Elsewhere(why) => return stuck(journal, open, why),
    };
    let begun = reality == Some(Reality::Begun);
    // What began already is carried on as what did not begin: landing knows what is left of it.
    let seen = reality.map(|reality| if begun { Reality::Expected } else { reality });
    let remedy = reconcile(&Reality::Expected, &Reality::Target, seen.as_ref());
    if remedy == Remedy::Redo && !begun {
        let certificate = state.proposals.get(&proposal).and_then(|record| record.certificate);
        let stopped = state.stopped.as_ref().map(|reason| {
            PortError::failed(format!("everything is held: {reason}")).kind(FailureKind::Refused)
        });
        let held = match certificate {
            _ if stopped.is_some() => stopped,
            Some(certificate) => authority::recheck(journal, state, proposal, &certificate).err(),
            None => Some(PortError::failed("it has no certificate")),
        };
        if let Some(error) = held {
            superproject.abandon(&landing)?;
            let why = format!("nothing of it had been changed, and it may not be now: {}", said(&error));
            let closed = close(journal, open, "undone", vec![why])?;
            // Nobody signed a heal certificate: one that does not hold was made or changed by somebody.
            let heals = state.proposals.get(&proposal).is_some_and(|it| it.purpose == Purpose::Heal);
            return if heals && error.kind == FailureKind::Integrity { Err(error) } else { Ok(closed) };
        }
    }
    match superproject.land(&landing) {
        Ok(landed) => close(journal, open, "applied", landed.notes),
        Err(error) if error.fatal => Err(error),
        Err(error) if error.kind == FailureKind::Busy => {
            Ok(RecoveredApply::Waits { proposal, why: said(&error) })
        }
        Err(error) if matches!(error.kind, FailureKind::Temporary) => Err(error),
        Err(error) => match superproject.landing_state(&landing)? {
            LandingState::NotBegun => {
                superproject.abandon(&landing)?;
                close(journal, open, "undone", vec![said(&error)])
            }
            LandingState::Elsewhere(why) => stuck(journal, open, why),
            LandingState::Begun | LandingState::Done => Err(error),
        },
    }
}

/// Where the superproject stands between the two ends of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reality {
    Expected,
    Begun,
    Target,
}

fn stuck(journal: &mut dyn Journal, open: &OpenApply, why: String) -> PortResult<RecoveredApply> {
    close(journal, open, "stuck", vec![why])
}

fn close(
    journal: &mut dyn Journal,
    open: &OpenApply,
    outcome: &'static str,
    notes: Vec<String>,
) -> PortResult<RecoveredApply> {
    let commit = (outcome == "applied").then_some(open.target);
    let effect = OpenEffect { started: open.started, proposal: open.proposal };
    finish(journal, effect, outcome, commit, &notes)?;
    Ok(RecoveredApply::Closed { proposal: open.proposal, outcome, commit, notes })
}

/// An error with its causes, as one sentence.
pub(crate) fn said(error: &PortError) -> String {
    let mut said = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    said
}

/// The journal must know the newest commit that was applied here, and hold the entry that it names.
///
/// # Errors
/// Integrity when it does not: it was cut, emptied, rewritten, or is another one.
pub fn check_landed(journal: &dyn Journal, superproject: &dyn Superproject, state: &State) -> PortResult<()> {
    check_trusted(superproject, state)?;
    let Some((commit, message)) = superproject.newest_landed()? else { return Ok(()) };
    let wrong = |why: String| {
        PortError::failed(format!(
            "cannot trust the journal: it does not fit the applied commit {}, {why}",
            commit.short()
        ))
        .kind(FailureKind::Integrity)
        .hint(
            "nothing was changed; name the right state directory with --state-dir, or restore the journal \
             from a copy. To begin a new history on purpose: git update-ref -d refs/lambda-os/applied",
        )
    };
    let message = String::from_utf8_lossy(&message);
    let Some((seq, cid)) = named(&message) else {
        return Err(wrong("which names no entry".to_owned()));
    };
    if journal.line_id(seq)? != Some(cid) {
        return Err(wrong(format!("which rests on entry {seq}, and there it has none or another one")));
    }
    let known = state.open_apply.as_ref().is_some_and(|open| open.target == commit)
        || proposal(&message).and_then(|id| state.proposals.get(&id)).is_some_and(|record| {
            match &record.stage {
                Stage::Applied { commit: applied } => *applied == commit,
                // What was found stuck moved the branch before.
                Stage::Stuck { .. } => true,
                _ => false,
            }
        });
    if known { Ok(()) } else { Err(wrong("which it never applied".to_owned())) }
}

/// What the journal itself adds up to, entry by entry, for whoever acts: what is kept of it between two
/// runs is a cache, and lies where others may write. What the configuration holds is held in it, too.
///
/// # Errors
/// As [`Journal::proven`].
pub(super) fn proven(journal: &dyn Journal, believed: &State) -> PortResult<State> {
    let mut proven = journal.proven()?;
    for (module, reason) in &believed.holds {
        proven.holds.entry(module.clone()).or_insert_with(|| reason.clone());
    }
    Ok(proven)
}

/// Check that the members that decide here came of those that this repository's operator trusted first.
///
/// # Errors
/// Integrity when they did not: then this is another state directory, or another journal in its place.
pub fn check_trusted(superproject: &dyn Superproject, state: &State) -> PortResult<()> {
    let (Some(known), Some((members, policy))) = (superproject.trusted()?, state.first_trusted()) else {
        return Ok(());
    };
    let ours = FirstTrusted { members, policy };
    if known == ours {
        return Ok(());
    }
    let what = if known.members == ours.members { "policy" } else { "members document" };
    Err(PortError::failed(format!(
        "cannot trust the journal: it began with another {what} than the one that this repository's operator trusted"
    ))
    .kind(FailureKind::Integrity)
    .hint("nothing was changed; name the right state directory with --state-dir"))
}

/// The proposal that a commit's message names in its trailer.
fn proposal(message: &str) -> Option<ProposalId> {
    message.lines().rev().find_map(|line| line.strip_prefix(PROPOSAL_TRAILER))?.trim().parse().ok()
}

/// The entry that a commit's message names in its trailer.
fn named(message: &str) -> Option<(u64, Cid)> {
    let line = message.lines().rev().find_map(|line| line.strip_prefix(JOURNAL_TRAILER))?;
    let (seq, cid) = line.trim().split_once(' ')?;
    Some((seq.parse().ok()?, cid.parse().ok()?))
}

/// What an unfinished effect needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It happened: journal that it did.
    Finish,
    /// It did not happen, and nothing else did: do it now.
    Redo,
    /// Something else happened meanwhile: touch nothing, tell the operator.
    Stuck,
}

/// Decide over an unfinished effect that was to bring the world from `expected` to `target`.
/// `reality` is what is there now, `None` when it cannot be told.
#[must_use]
pub fn reconcile<T: PartialEq>(expected: &T, target: &T, reality: Option<&T>) -> Remedy {
    match reality {
        // The target first: an effect that changes nothing has happened.
        Some(reality) if reality == target => Remedy::Finish,
        Some(reality) if reality == expected => Remedy::Redo,
        _ => Remedy::Stuck,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::entry::Entry;
    use crate::domain::change::{PathContent, PathEdit};
    use crate::domain::id::RepoPath;

    #[test]
    fn an_effect_is_finished_at_its_target_redone_at_its_start_and_stuck_elsewhere() {
        assert_eq!(reconcile(&"a", &"b", Some(&"b")), Remedy::Finish);
        assert_eq!(reconcile(&"a", &"b", Some(&"a")), Remedy::Redo);
        assert_eq!(reconcile(&"a", &"b", Some(&"c")), Remedy::Stuck);
        assert_eq!(reconcile(&"a", &"b", None), Remedy::Stuck);
        assert_eq!(reconcile(&"a", &"a", Some(&"a")), Remedy::Finish);
    }

    #[derive(Default)]
    struct Remembering {
        events: Vec<Event>,
    }

    impl Journal for Remembering {
        fn append(&mut self, subject: &str, event: &Event) -> PortResult<Entry> {
            self.events.push(event.clone());
            Ok(Entry {
                v: 1,
                log: String::new(),
                seq: 9,
                prev: None,
                wall_ms: 0,
                boot: String::new(),
                mono_ms: 0,
                policy: None,
                members: None,
                subject: subject.to_owned(),
                event: event.clone(),
            })
        }
        fn append_all(&mut self, items: &[(&str, Event)]) -> PortResult<Vec<Entry>> {
            items.iter().map(|(subject, event)| self.append(subject, event)).collect()
        }
        fn store_all(&mut self, _: &[&[u8]]) -> PortResult<Vec<Cid>> {
            Err(PortError::failed("nothing is stored here"))
        }
        fn store(&mut self, _: &[u8]) -> PortResult<Cid> {
            Err(PortError::failed("nothing is stored here"))
        }
        fn load(&self, _: &Cid) -> PortResult<Option<Vec<u8>>> {
            Ok(None)
        }
        fn line_id(&self, _: u64) -> PortResult<Option<Cid>> {
            Ok(None)
        }
        fn proven(&self) -> PortResult<State> {
            Ok(State::default())
        }
        fn stopped(&self) -> Option<String> {
            None
        }
    }

    /// A superproject in which one commit was landed, or none.
    struct Landed(Option<&'static str>, Option<FirstTrusted>);

    fn unasked<T>() -> PortResult<T> {
        Err(PortError::failed("this is not asked here"))
    }

    impl Repository for Landed {
        fn head(&self) -> PortResult<Option<ObjectId>> {
            unasked()
        }
        fn discover(&self) -> PortResult<crate::domain::module::Discovery> {
            unasked()
        }
        fn snapshot(
            &self,
            _: &crate::domain::module::Discovery,
            _: &crate::ports::SnapshotOptions,
        ) -> PortResult<crate::domain::snapshot::Snapshot> {
            unasked()
        }
        fn committed_file(&self, _: &RepoPath) -> PortResult<Option<Vec<u8>>> {
            unasked()
        }
        fn module_file(
            &self,
            _: &crate::domain::module::Module,
            _: ObjectId,
            _: &RepoPath,
        ) -> PortResult<Option<Vec<u8>>> {
            unasked()
        }
    }

    impl Superproject for Landed {
        fn content(&self, _: ObjectId, _: &RepoPath) -> PortResult<Option<PathContent>> {
            unasked()
        }
        fn tree_with(&self, _: ObjectId, _: &[PathEdit]) -> PortResult<ObjectId> {
            unasked()
        }
        fn branch(&self) -> PortResult<(String, ObjectId)> {
            unasked()
        }
        fn edits_between(&self, _: ObjectId, _: ObjectId) -> PortResult<Vec<PathEdit>> {
            unasked()
        }
        fn newest_landed(&self) -> PortResult<Option<(ObjectId, Vec<u8>)>> {
            let id = ObjectId::from_bytes(&[1; 20]).unwrap();
            Ok(self.0.map(|message| (id, message.as_bytes().to_vec())))
        }
        fn trusted(&self) -> PortResult<Option<FirstTrusted>> {
            Ok(self.1)
        }
        fn remember_trusted(&self, _: FirstTrusted) -> PortResult<()> {
            unasked()
        }
        fn obstacles(&self, _: ObjectId, _: &[PathEdit]) -> PortResult<Vec<String>> {
            unasked()
        }
        fn commit(&self, _: ObjectId, _: &[PathEdit], _: &str, _: i64) -> PortResult<ObjectId> {
            unasked()
        }
        fn land(&self, _: &Landing) -> PortResult<crate::ports::Landed> {
            unasked()
        }
        fn landing_state(&self, _: &Landing) -> PortResult<LandingState> {
            unasked()
        }
        fn abandon(&self, _: &Landing) -> PortResult<()> {
            unasked()
        }
    }

    #[test]
    fn an_applied_commit_that_the_journal_does_not_know_is_an_integrity_failure() {
        let message =
            "m\n\nLambda-OS-Journal: 3 bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku\n";
        for message in [message, "no trailer\n", "Lambda-OS-Journal: x\n"] {
            let known = Landed(Some(message), None);
            let error = check_landed(&Remembering::default(), &known, &State::default()).unwrap_err();
            assert_eq!(error.kind, FailureKind::Integrity, "{message}");
        }
        check_landed(&Remembering::default(), &Landed(None, None), &State::default()).unwrap();
        let ours = FirstTrusted { members: Cid::of(b"members"), policy: Cid::of(b"policy") };
        let (first_members, first_policy) = (Some(ours.members), Some(ours.policy));
        let state = State { first_members, first_policy, ..State::default() };
        check_landed(&Remembering::default(), &Landed(None, Some(ours)), &state).unwrap();
        let other = Cid::of(b"other");
        for theirs in [FirstTrusted { members: other, ..ours }, FirstTrusted { policy: other, ..ours }] {
            let error =
                check_landed(&Remembering::default(), &Landed(None, Some(theirs)), &state).unwrap_err();
            assert_eq!(error.kind, FailureKind::Integrity);
        }
    }

    #[test]
    fn an_open_cycle_is_closed_as_interrupted_once() {
        let mut journal = Remembering::default();
        let mut state = State::default();
        state.apply(4, 0, &Event::CycleStarted { cause: "once".to_owned() });
        let nothing = Landed(None, None);
        let workspace = Workspace { repository: &nothing, superproject: &nothing };
        assert_eq!(recover(&mut journal, &state, workspace).unwrap().interrupted_cycle, Some(4));
        state.apply(9, 0, &journal.events[0]);
        assert_eq!(state.last_cycle.as_ref().unwrap().outcome, "interrupted");
        assert_eq!(recover(&mut journal, &state, workspace).unwrap(), Recovered::default());
        assert_eq!(journal.events.len(), 1);
    }
}
