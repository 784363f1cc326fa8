//! What rules judge, as plain values: the workspace as it would be, and the change that makes it so.
//!
//! Made by [`crate::ops::policy`] from git objects, mirrors and the journal's state. What could not be
//! found out is said as such ([`Known`]), never left out: a rule that needs it says so in a finding.
//!
//! The values for a module that the change does not touch are the cheap ones; whatever costs
//! (its history, its files) is there only for the modules that are judged ([`ModuleFacts::judged`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::contents::ContentFacts;
use crate::domain::change::{DocumentDelta, FileDelta};
use crate::domain::contents::touched::Links;
use crate::domain::flake::lock::Lock;
use crate::domain::governance::time::Times;
use crate::domain::graph::Wiring;
use crate::domain::id::{ModuleName, ObjectId, RepoPath};
use crate::domain::pin::Coherence;
use crate::domain::proposal::{Purpose, Track};
use crate::domain::upgrade::Relation;
use crate::domain::url::RepoIdentity;

/// A value, or why it is not known, as a sentence without a final stop, inert.
pub type Known<T> = Result<T, String>;

/// Everything that one judgement is made of.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The change; `None` when the workspace is judged as it is.
    pub change: Option<ChangeFacts>,
    /// The modules of the result, by name.
    pub modules: Vec<ModuleFacts>,
    /// How the result is wired: its `flake.nix`, its `flake.lock`, its dependency map.
    pub wiring: Wiring,
    /// The lock before the change; `None` when there was none, or when the workspace is judged as it is.
    pub lock_before: Option<Arc<Lock>>,
    /// The files of the result that rules asked for, by path; `None` when nothing stands there.
    pub files: BTreeMap<RepoPath, Known<Option<Vec<u8>>>>,
    /// Those files before the change; none when the workspace is judged as it is.
    pub files_before: BTreeMap<RepoPath, Known<Option<Vec<u8>>>>,
    /// The superproject's own symlinks, where a rule asks for them.
    pub own_links: Known<Links>,
    /// What this machine's configuration runs on the workspace.
    pub commands: Vec<Command>,
    /// Now: what lasts is counted on checked time, what begins waits for the slower clock.
    pub now: Times,
    /// What was done lately.
    pub lately: Lately,
}

/// A command that this machine's configuration runs on the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What names it, such as `verify.command.program`.
    pub what: String,
    /// The program and its arguments.
    pub words: Vec<String>,
}

/// What a proposal does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeFacts {
    /// What it is for.
    pub purpose: Purpose,
    /// Its track.
    pub track: Track,
    /// The files that it changes beside what pins change.
    pub files: Vec<FileDelta>,
    /// The paths of the superproject's tree that it changes, all of them.
    pub paths: BTreeSet<RepoPath>,
    /// The rules that it changes.
    pub document: Option<DocumentDelta>,
}

impl ChangeFacts {
    /// Whether it takes pins back to where they were: nothing new comes in.
    #[must_use]
    pub fn goes_back(&self) -> bool {
        matches!(self.purpose, Purpose::Heal | Purpose::Rollback)
    }
}

/// One module of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFacts {
    /// Its name.
    pub name: ModuleName,
    /// Where its gitlink is.
    pub path: RepoPath,
    /// Who it is: what `.gitmodules` declares.
    pub identity: RepoIdentity,
    /// Where it is fetched from.
    pub fetched: RepoIdentity,
    /// What its gitlink records in the result.
    pub revision: Option<ObjectId>,
    /// Whether it is to be judged: the change moves it, or the workspace is judged as it is.
    pub judged: bool,
    /// Where its pin comes from, when the change moves it.
    pub moved: Option<Moved>,
    /// Whether its places agree in the result, and how, as a sentence.
    pub coherence: Option<(Coherence, String)>,
    /// How it stands to its upstream; only for a module that is judged.
    pub upstream: Option<UpstreamFacts>,
    /// When this revision, or one that holds it, was first seen at its upstream here: the journal's
    /// checked time. Only for a pin that moves; `Ok(None)` when it never was.
    pub first_seen_ms: Known<Option<i64>>,
    /// How the revision stands to the floor of the policy; `None` without a floor.
    pub floor: Option<(ObjectId, Known<Relation>)>,
    /// What its commits hold, as far as rules ask.
    pub contents: ContentFacts,
}

/// A pin that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where it was.
    pub from: ObjectId,
    /// Where it goes. Equal to `from` when only the pin's other places move.
    pub to: ObjectId,
    /// How the two stand to each other: commits that `to` brings, and commits that it loses.
    pub relation: Known<Relation>,
}

/// How a module stands to its upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamFacts {
    /// Commits of the followed branch that the result has not.
    pub behind: Option<u32>,
    /// The tip that history was rewritten to, while nobody accepted it.
    pub rewritten_to: Option<ObjectId>,
    /// Whether the checkout is at what the result records, where that is known.
    pub checkout: Option<ObjectId>,
}

/// What was done within the last day of checked time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lately {
    /// Proposals that were applied, heals left out.
    pub applied: u32,
    /// How often each module's pin was moved by them.
    pub moves: BTreeMap<ModuleName, u32>,
}

impl Facts {
    /// The modules that are judged.
    pub fn judged(&self) -> impl Iterator<Item = &ModuleFacts> {
        self.modules.iter().filter(|module| module.judged)
    }

    /// The modules whose pins move to another revision.
    pub fn moved(&self) -> impl Iterator<Item = (&ModuleFacts, &Moved)> {
        let moved = |module| -> Option<(&ModuleFacts, &Moved)> {
            let module: &ModuleFacts = module;
            module.moved.as_ref().filter(|moved| moved.from != moved.to).map(|moved| (module, moved))
        };
        self.modules.iter().filter_map(moved)
    }
}
