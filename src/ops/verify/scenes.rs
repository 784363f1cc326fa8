//! Scenes: the workspace as a commit has it, and as a change would make it.

use std::collections::BTreeMap;

use crate::domain::change::PathContent;
use crate::domain::flake::lock::Lock;
use crate::domain::health::Scene;
use crate::domain::id::{ModuleName, ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::ops::propose::Derived;
use crate::ports::{PortResult, Superproject};

/// What a commit of the superproject has, read once for many scenes on it.
#[derive(Debug, Clone)]
pub struct Committed<'a> {
    commit: ObjectId,
    tree: ObjectId,
    pins: BTreeMap<ModuleName, ObjectId>,
    lock: Option<Lock>,
    modules: &'a [Module],
}

impl<'a> Committed<'a> {
    /// Read a commit. A lock that cannot be read is as none: what Nix says of it, evaluation will tell.
    ///
    /// # Errors
    /// When the superproject's objects cannot be read.
    pub fn read(
        superproject: &dyn Superproject,
        modules: &'a [Module],
        commit: ObjectId,
    ) -> PortResult<Self> {
        let mut pins = BTreeMap::new();
        for module in modules {
            if let Some(PathContent::Gitlink(pin)) = superproject.content(commit, &module.path)? {
                pins.insert(module.name.clone(), pin);
            }
        }
        let lock = match superproject.content(commit, &RepoPath::from("flake.lock"))? {
            Some(PathContent::File { content, .. }) => Lock::parse(&content).ok(),
            _ => None,
        };
        let tree = superproject.tree_with(commit, &[])?;
        Ok(Self { commit, tree, pins, lock, modules })
    }

    /// The workspace as the commit has it.
    #[must_use]
    pub fn as_it_is(&self) -> Scene {
        Scene::new(self.commit, self.tree, Vec::new(), &self.pins, self.lock.clone(), self.modules)
    }

    /// The workspace as a change on this commit would make it.
    #[must_use]
    pub fn with(&self, change: &Derived) -> Scene {
        let edits = change.edits.clone();
        Scene::new(self.commit, change.tree, edits, &self.pins, self.lock.clone(), self.modules)
    }
}
