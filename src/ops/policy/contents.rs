//! Facts about what modules' commits hold: only what a rule that is set asks for, of that module.

use std::collections::BTreeSet;

use super::Site;
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::domain::plan::PinMove;
use crate::domain::policy::contents::{ContentFacts, FileFacts};
use crate::domain::policy::facts::Known;
use crate::domain::policy::rules::{Asks, MOST_COMMITS, Rules};
use crate::ops::recover::said;
use crate::ports::PortResult;

/// A module, as it is looked at.
#[derive(Clone, Copy)]
pub(super) struct Looked<'a> {
    pub(super) site: Site<'a>,
    pub(super) rules: &'a Rules,
    pub(super) asks: Asks,
    /// The paths of the superproject that the change touches.
    pub(super) paths: &'a BTreeSet<RepoPath>,
    pub(super) module: &'a Module,
    pub(super) judged: bool,
    pub(super) revision: Option<ObjectId>,
    pub(super) moved: Option<&'a PinMove>,
}

impl Looked<'_> {
    /// What its commits hold.
    pub(super) fn facts(self) -> ContentFacts {
        let Some(revision) = self.revision else { return ContentFacts::default() };
        match self.asks {
            Asks::Tree => self.of_tree(revision),
            Asks::World if self.judged => self.of_world(revision),
            Asks::World => ContentFacts::default(),
        }
    }

    fn of_tree(self, revision: ObjectId) -> ContentFacts {
        let Rules { signed_metadata, metadata, rln, forbidden_paths, program_pins, licence_and_size, .. } =
            self.rules;
        let name = &self.module.name;
        let moved = self.moved.filter(|pin| pin.from != pin.to);
        let jumps = moved.filter(|_| licence_and_size.as_ref().is_some_and(|rule| rule.is_about(name)));
        let said = self.judged
            && (signed_metadata.as_ref().is_some_and(|rule| rule.is_about(name))
                || metadata.as_ref().is_some_and(|rule| rule.is_about(name)));
        let messages = rln.as_ref().is_some_and(|rule| rule.asks_of(name, self.judged, self.paths));
        let held = |commit| known(self.site.sources.held(self.module, commit), commit);
        let mut facts = ContentFacts {
            held: (said || messages || jumps.is_some()).then(|| held(revision)),
            held_before: jumps.map(|pin| held(pin.from)),
            ..ContentFacts::default()
        };
        if let Some(pin) = moved.filter(|_| forbidden_paths.as_ref().is_some_and(|rule| rule.is_about(name)))
        {
            let difference = self.site.sources.difference(self.module, pin.from, pin.to);
            facts.difference = Some(known(difference, pin.from));
        }
        for path in program_pins.iter().filter(|_| self.judged).flat_map(|rule| rule.files_of(name)) {
            let file = |commit| {
                // An absent commit is no absent file.
                held(commit)?;
                self.site.sources.file(self.module, commit, path).map_err(|error| said_of(&error))
            };
            let files = FileFacts { before: moved.map(|pin| file(pin.from)), after: file(revision) };
            facts.files.insert(path.clone(), files);
        }
        facts
    }

    fn of_world(self, revision: ObjectId) -> ContentFacts {
        let Some(rule) = self.rules.signed_revisions.as_ref().filter(|rule| rule.is_about(&self.module.name))
        else {
            return ContentFacts::default();
        };
        let sources = self.site.sources;
        let brings = self.moved.filter(|pin| rule.every && pin.from != pin.to);
        ContentFacts {
            vouchers: Some(known(sources.vouchers(self.module, revision), revision)),
            newcomers: brings
                .map(|pin| known(sources.newcomers(self.module, pin.from, pin.to, MOST_COMMITS), pin.from)),
            ..ContentFacts::default()
        }
    }
}

fn known<T>(found: PortResult<Option<T>>, commit: ObjectId) -> Known<T> {
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(format!("{} is not at hand", commit.short())),
        Err(error) => Err(said_of(&error)),
    }
}

fn said_of(error: &crate::ports::PortError) -> String {
    crate::domain::text::inert(&said(error))
}
