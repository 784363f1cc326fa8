//! The inputs that shall move, found by the walk's path.

use std::collections::BTreeMap;

use super::{InputPath, Update};
use crate::domain::flake::shared::SharedStr;

/// What was asked for, by input path, and what of it was met.
pub(super) struct Updates<'a> {
    asked: Vec<Asked<'a>>,
}

struct Asked<'a> {
    path: Vec<SharedStr>,
    given: &'a InputPath,
    update: &'a Update,
    met: bool,
}

impl<'a> Updates<'a> {
    pub(super) fn new(asked: &'a BTreeMap<InputPath, Update>) -> Self {
        let of = |(given, update): (&'a InputPath, &'a Update)| {
            let path = given.iter().map(SharedStr::from).collect();
            Asked { path, given, update, met: false }
        };
        Self { asked: asked.iter().map(of).collect() }
    }

    /// What is asked of the input at this path.
    pub(super) fn at(&self, path: &[SharedStr]) -> Option<&'a Update> {
        let found = self.asked.binary_search_by(|asked| asked.path.as_slice().cmp(path)).ok()?;
        Some(self.asked[found].update)
    }

    /// The input at this path is one that can be locked.
    pub(super) fn meet(&mut self, path: &[SharedStr]) {
        if let Ok(found) = self.asked.binary_search_by(|asked| asked.path.as_slice().cmp(path)) {
            self.asked[found].met = true;
        }
    }

    /// Whether anything is asked of an input inside the one at this path.
    pub(super) fn inside(&self, path: &[SharedStr]) -> bool {
        let next = self.asked.partition_point(|asked| asked.path.as_slice() <= path);
        self.asked.get(next).is_some_and(|asked| asked.path.starts_with(path))
    }

    /// What was asked of inputs that were not met.
    pub(super) fn unmet(&self) -> impl Iterator<Item = InputPath> {
        self.asked.iter().filter(|asked| !asked.met).map(|asked| asked.given.clone())
    }
}
