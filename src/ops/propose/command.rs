//! From what a program did to a copy of the workspace to a proposal, decided and applied as any other.
//!
//! In: what it left, and the workspace as it is now. Out: a proposal that is open, found or made; or why
//! there is none. Either way the run is journalled with its evidence. The operator's files were never
//! in the program's reach; what it left is all or nothing.

use crate::domain::canonical::CanonicalError;
use crate::domain::change::{FileContent, FileDelta, PathContent};
use crate::domain::event::Event;
use crate::domain::flake::dep_graph::DepGraph;
use crate::domain::flake::lock::Lock;
use crate::domain::flake::nix_reader;
use crate::domain::graph::Wiring;
use crate::domain::health::Exit;
use crate::domain::id::{Cid, ObjectId, ProposalId, RepoPath};
use crate::domain::pin;
use crate::domain::proposal::{PROPOSAL_VERSION, Proposal, Purpose, Stage};
use crate::domain::state::State;
use crate::domain::task::{Boundaries, Judged, TASK_VERSION, TaskEvidence, judge};
use crate::domain::text;
use crate::ops::govern;
use crate::ops::order::{DEP_GRAPH, Seen};
use crate::ports::{FailureKind, Journal, PortError, PortResult, Superproject, Worked};

use super::derive::Derived;
use super::files::{FILES_TRACK, derive_files};

/// Most refusals that are told.
const TOLD: usize = 40;

/// The workspace as it is after the program ran.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The superproject's objects.
    pub superproject: &'a dyn Superproject,
    /// Its modules, their state and how they are wired.
    pub seen: &'a Seen,
    /// Its HEAD.
    pub head: ObjectId,
    /// Wall time, Unix milliseconds.
    pub now_ms: i64,
}

/// What came of a program's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The evidence, in `objects/`.
    pub evidence: Cid,
    /// What follows from it.
    pub came: Came,
}

/// What follows from what a program did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It did not end well, so that nothing is made of what it left.
    Failed,
    /// It changed nothing.
    Nothing,
    /// What it left is no change: why, each a sentence without a final stop.
    Refused(Vec<String>),
    /// A proposal is open.
    Proposed {
        /// Which.
        id: ProposalId,
        /// It was not there before.
        is_new: bool,
        /// What it changes, by path.
        files: Vec<FileDelta>,
    },
}

/// Make a proposal of what a program left of the commit `base`, or find the one that is open.
///
/// # Errors
/// Usage when nobody is trusted to decide yet; refused when the policy allows no more proposals; when
/// the superproject cannot be read or the journal cannot be written.
pub fn propose_worked(
    journal: &mut dyn Journal,
    state: &State,
    site: Site<'_>,
    base: ObjectId,
    allowed: &[RepoPath],
    worked: Worked,
) -> PortResult<Outcome> {
    let rules = govern::rules(&*journal, state)?;
    let mut maker = Maker { journal, state, rules, site, base, worked, log: None };
    let evidence = maker.keep_evidence(allowed)?;
    if maker.worked.exit != Exit::Code(0) {
        return maker.nothing(evidence, Came::Failed);
    }
    let left = std::mem::take(&mut maker.worked.left);
    let within = Boundaries { base: &maker.worked.own, modules: &maker.worked.modules, allowed };
    let judged = match judge(left, within) {
        Ok(judged) => judged,
        Err(refused) => {
            let refused = refused.iter().map(ToString::to_string).collect();
            return maker.nothing(evidence, Came::Refused(bounded(refused)));
        }
    };
    if judged.is_empty() {
        return maker.nothing(evidence, Came::Nothing);
    }
    let (files, contents) = maker.files(judged)?;
    let of = |wanted: &Cid| {
        contents.iter().find(|(content, _)| content == wanted).map(|(_, bytes)| bytes.clone()).ok_or_else(
            || PortError::failed("cannot find a content that the change names").kind(FailureKind::Integrity),
        )
    };
    let workspace = &maker.rules.members.workspace;
    let derived = match derive_files(site.superproject, workspace, site.head, &files, of)? {
        Ok(derived) => derived,
        Err(why) => {
            let head = site.head.short();
            let why = format!("on HEAD, which is at {head} now, {}", text::inert(&why.to_string()));
            return maker.nothing(evidence, Came::Refused(vec![why]));
        }
    };
    let notes = match coherent(site.seen, &derived) {
        Ok(notes) => notes,
        Err(refused) => return maker.nothing(evidence, Came::Refused(bounded(refused))),
    };
    maker.propose(evidence, &derived, &contents, notes)
}

/// A proposal in the making.
struct Maker<'a> {
    journal: &'a mut dyn Journal,
    state: &'a State,
    rules: govern::Rules,
    site: Site<'a>,
    base: ObjectId,
    worked: Worked,
    log: Option<Cid>,
}

/// New contents with their identities, each once.
type Contents = Vec<(Cid, Vec<u8>)>;

impl Maker<'_> {
    /// Store what the program did.
    fn keep_evidence(&mut self, allowed: &[RepoPath]) -> PortResult<Cid> {
        if !self.worked.log.is_empty() {
            self.log = Some(self.journal.store(&self.worked.log)?);
        }
        let worked = &self.worked;
        let evidence = TaskEvidence {
            v: TASK_VERSION,
            command: worked.command.clone(),
            base: self.base,
            allowed: allowed.to_vec(),
            exit: worked.exit.clone(),
            stdout: worked.stdout.clone(),
            stderr: worked.stderr.clone(),
            log: self.log,
            duration_ms: u64::try_from(worked.duration.as_millis()).unwrap_or(u64::MAX),
            sandbox: worked.sandbox.clone(),
            workspace: worked.workspace.clone(),
            notes: worked.notes.clone(),
        };
        self.journal.store(&evidence.to_canonical().map_err(no_form)?)
    }

    fn finished(&self, proposal: Option<ProposalId>, evidence: Cid) -> Event {
        Event::TaskFinished { proposal, evidence, log: self.log }
    }

    fn nothing(&mut self, evidence: Cid, came: Came) -> PortResult<Outcome> {
        let event = self.finished(None, evidence);
        self.journal.append("command", &event)?;
        Ok(Outcome { evidence, came })
    }

    /// The files that really differ from the base, with their new contents.
    fn files(&self, judged: Vec<Judged>) -> PortResult<(Vec<FileDelta>, Contents)> {
        let mut files = Vec::with_capacity(judged.len());
        let mut contents: Contents = Vec::with_capacity(judged.len());
        for Judged { path, executable, content } in judged {
            let old = self.site.superproject.content(self.base, &path)?;
            let new = PathContent::File { executable, content };
            let (old, Some(is)) = (old.as_ref().and_then(FileContent::of), FileContent::of(&new)) else {
                continue;
            };
            if let PathContent::File { content, .. } = new
                && contents.iter().all(|(known, _)| *known != is.content)
            {
                contents.push((is.content, content));
            }
            files.push(FileDelta { path, old, new: is });
        }
        Ok((files, contents))
    }

    fn propose(
        &mut self,
        evidence: Cid,
        derived: &Derived,
        contents: &Contents,
        notes: Vec<String>,
    ) -> PortResult<Outcome> {
        let recorded = (Some(self.rules.policy_cid), self.rules.members.epoch);
        let open = self.state.open_proposals().find(|(_, record)| {
            record.change == derived.change
                && record.stage == Stage::Open
                && record.track == FILES_TRACK
                && (record.policy, record.members_epoch) == recorded
                && record.expires_ms > self.site.now_ms
        });
        let (id, is_new, mut events) = if let Some((id, record)) = open {
            let moved = (record.base, record.tree) != (self.site.head, derived.tree);
            let event = Event::ProposalDerived { proposal: *id, base: self.site.head, tree: derived.tree };
            (*id, false, moved.then_some(event).into_iter().collect())
        } else {
            let (id, events) = self.make(derived, contents, notes)?;
            (id, true, events)
        };
        events.push(self.finished(Some(id), evidence));
        let subject = id.short();
        let events: Vec<(&str, Event)> = events.into_iter().map(|event| (subject.as_str(), event)).collect();
        self.journal.append_all(&events)?;
        let files = derived.delta.files.clone();
        Ok(Outcome { evidence, came: Came::Proposed { id, is_new, files } })
    }

    /// Store a new proposal, and say what to journal of it.
    fn make(
        &mut self,
        derived: &Derived,
        contents: &Contents,
        notes: Vec<String>,
    ) -> PortResult<(ProposalId, Vec<Event>)> {
        let most = usize::try_from(self.rules.policy.max_open_proposals).unwrap_or(usize::MAX);
        if self.state.open_proposals().count() >= most {
            return Err(PortError::failed("cannot make a proposal of what the command changed")
                .kind(FailureKind::Refused)
                .because(std::io::Error::other(format!(
                    "{most} proposals are open, and the policy allows no more"
                )))
                .hint("decide over some: lambda-os proposal list"));
        }
        let mut proposal = Proposal {
            v: PROPOSAL_VERSION,
            change: derived.change,
            track: FILES_TRACK,
            policy: self.rules.policy_cid,
            members_epoch: self.rules.members.epoch,
            requires: Vec::new(),
            supersedes: None,
            expires_ms: self.rules.policy.expires_ms(&self.rules.members, FILES_TRACK, self.site.now_ms),
        };
        let mut id = proposal.id().map_err(no_form)?;
        while self.state.proposals.contains_key(&id) {
            // The same once more, in the same millisecond: one that is over keeps its name.
            proposal.expires_ms += 1;
            id = proposal.id().map_err(no_form)?;
        }
        let manifest = proposal.to_canonical().map_err(no_form)?;
        let delta = derived.delta.to_canonical().map_err(no_form)?;
        let mut values: Vec<&[u8]> = vec![&manifest, &delta];
        values.extend(contents.iter().map(|(_, bytes)| bytes.as_slice()));
        self.journal.store_all(&values)?;
        let made = Event::ProposalMade {
            proposal: id,
            change: derived.change,
            purpose: Purpose::Command,
            track: FILES_TRACK,
            pins: Vec::new(),
            base: self.site.head,
            tree: derived.tree,
            supersedes: None,
            expires_ms: proposal.expires_ms,
            notes: self.notes(notes).iter().map(|note| text::clipped(&text::inert(note), 400)).collect(),
        };
        let contents = contents.iter().map(|(content, _)| *content).collect();
        Ok((id, vec![made, Event::ProposalContents { proposal: id, contents }]))
    }

    fn notes(&self, more: Vec<String>) -> Vec<String> {
        let mut notes = vec![format!("made by a command: {}", self.worked.command.join(" "))];
        notes.push("unverified: no step of verification ran on what it makes of the workspace".to_owned());
        if !self.worked.workspace.holds() {
            notes.push(
                "the workspace was written to while the command ran, by whom is not known: see its evidence"
                    .to_owned(),
            );
        }
        notes.extend(more);
        notes.extend(self.worked.notes.iter().take(8).cloned());
        notes
    }
}

/// Whether the places of every pin still agree as far as they did, where files that record pins
/// change: what to know about it, or what disagrees.
fn coherent(seen: &Seen, derived: &Derived) -> Result<Vec<String>, Vec<String>> {
    let mut wiring = Wiring {
        flake: seen.wiring.flake.clone(),
        lock: seen.wiring.lock.clone(),
        dep_graph: seen.wiring.dep_graph.clone(),
        unreadable: seen.wiring.unreadable.clone(),
        ..Wiring::default()
    };
    let mut touched: Vec<&str> = Vec::new();
    let mut unreadable: Vec<String> = Vec::new();
    for edit in &derived.edits {
        let PathContent::File { content, .. } = &edit.new else { continue };
        let name = ["flake.nix", "flake.lock", DEP_GRAPH]
            .into_iter()
            .find(|name| name.as_bytes() == edit.path.as_bytes());
        let Some(name) = name else { continue };
        touched.push(name);
        wiring.unreadable.remove(name);
        let mut failed =
            |why: String| unreadable.push(format!("{name} would not be readable: {}", text::inert(&why)));
        match name {
            "flake.nix" => match nix_reader::read(content) {
                Ok(flake) => wiring.flake = Some(flake),
                Err(error) => failed(error.to_string()),
            },
            "flake.lock" => match Lock::parse(content) {
                Ok(lock) => wiring.lock = Some(lock),
                Err(error) => failed(error.to_string()),
            },
            _ => match DepGraph::parse(content) {
                Ok(map) => wiring.dep_graph = Some(map),
                Err(error) => failed(error.to_string()),
            },
        }
    }
    if touched.is_empty() {
        return Ok(Vec::new());
    }
    if !unreadable.is_empty() {
        return Err(unreadable);
    }
    let modules = &seen.discovery.modules;
    let before = pin::check(modules, &seen.snapshot, &seen.wiring);
    let after = pin::check(modules, &seen.snapshot, &wiring);
    let apart: Vec<String> = after
        .iter()
        .filter(|check| {
            check.is_incoherent()
                && !before.iter().any(|was| was.module == check.module && was.is_incoherent())
        })
        .map(|check| {
            format!("the places of {} would no longer agree: {}", check.module, text::inert(&check.sentence))
        })
        .collect();
    if !apart.is_empty() {
        return Err(apart);
    }
    let touched = touched.join(" and ");
    Ok(vec![format!("it changes {touched} by content; the places of every pin agree as they did before")])
}

fn bounded(mut said: Vec<String>) -> Vec<String> {
    let more = said.len().saturating_sub(TOLD);
    said.truncate(TOLD);
    if more > 0 {
        said.push(format!("and {more} more"));
    }
    said
}

fn no_form(error: CanonicalError) -> PortError {
    PortError::failed("cannot write the proposal as canonical JSON").because(error)
}
