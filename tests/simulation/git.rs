//! The operator's superproject in memory: commits, trees, index, work tree, checkouts, one lock.
//! It moves as the adapter of the real one does, one small effect after the other, so that a process
//! may die between any two of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use lambda_os::domain::change::{PathContent, PathEdit};
use lambda_os::domain::id::{ObjectId, RepoPath};
use lambda_os::ports::{Landing, LandingState};

use super::random::digest;

/// What stands at each path.
pub(crate) type Tree = BTreeMap<RepoPath, PathContent>;

/// A commit.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) tree: ObjectId,
    pub(crate) parent: Option<ObjectId>,
    pub(crate) message: Vec<u8>,
}

/// A submodule's checkout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkout {
    pub(crate) head: ObjectId,
    pub(crate) dirty: bool,
}

/// Who holds `index.lock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// Another git.
    Foreign,
    /// The landing of this commit.
    Ours(ObjectId),
}

/// The repository.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    pub(crate) commits: BTreeMap<ObjectId, Commit>,
    pub(crate) trees: BTreeMap<ObjectId, Arc<Tree>>,
    /// The commit of a detached HEAD.
    pub(crate) detached: Option<ObjectId>,
    /// The branch that HEAD names otherwise.
    pub(crate) main: ObjectId,
    /// The ref that remembers the newest landed commit.
    pub(crate) landed: Option<ObjectId>,
    pub(crate) index: Tree,
    /// Files in the work tree, tracked or not.
    pub(crate) work: BTreeMap<RepoPath, Vec<u8>>,
    pub(crate) checkouts: BTreeMap<RepoPath, Checkout>,
    pub(crate) lock: Option<Lock>,
    pub(crate) merging: bool,
    /// How often people moved the branch.
    pub(crate) by_hand: u64,
}

/// What is the operator's: entries, files, checkouts, what HEAD is.
pub(crate) struct Place {
    pub(crate) index: Tree,
    pub(crate) work: BTreeMap<RepoPath, Vec<u8>>,
    pub(crate) checkouts: BTreeMap<RepoPath, Checkout>,
    pub(crate) head: (Option<ObjectId>, bool),
}

/// The branch.
pub(crate) const BRANCH: &str = "refs/heads/main";

/// Where one side of a path stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Old,
    New,
    Elsewhere,
}

impl Git {
    /// A repository with one commit of this tree, clean.
    pub(crate) fn new(tree: Tree) -> Self {
        let mut git = Self {
            commits: BTreeMap::new(),
            trees: BTreeMap::new(),
            detached: None,
            main: ObjectId::from_bytes(&[0; 20]).expect("because twenty bytes are an id"),
            landed: None,
            index: Tree::new(),
            work: BTreeMap::new(),
            checkouts: BTreeMap::new(),
            lock: None,
            merging: false,
            by_hand: 0,
        };
        let id = git.commit(None, tree, b"the first\n");
        git.main = id;
        git.reset(id);
        git
    }

    pub(crate) fn head(&self) -> ObjectId {
        self.detached.unwrap_or(self.main)
    }

    pub(crate) fn tree(&self, commit: ObjectId) -> Option<&Arc<Tree>> {
        self.trees.get(&self.commits.get(&commit)?.tree)
    }

    /// Write a tree.
    pub(crate) fn write_tree(&mut self, tree: Tree) -> ObjectId {
        let id = tree_id(&tree);
        self.trees.entry(id).or_insert_with(|| Arc::new(tree));
        id
    }

    /// Write a commit.
    pub(crate) fn commit(&mut self, parent: Option<ObjectId>, tree: Tree, message: &[u8]) -> ObjectId {
        let tree = self.write_tree(tree);
        let before = parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default();
        let id = id_of(&digest(&[b"commit", tree.as_bytes(), &before, message]));
        self.commits.insert(id, Commit { tree, parent, message: message.to_vec() });
        id
    }

    /// The tree of a commit with edits; `None` when an edit says that something else stands there.
    pub(crate) fn edited(&self, base: ObjectId, edits: &[PathEdit]) -> Option<Tree> {
        let mut tree = Tree::clone(self.tree(base)?);
        for edit in edits {
            if tree.get(&edit.path) != edit.old.as_ref() {
                return None;
            }
            tree.insert(edit.path.clone(), edit.new.clone());
        }
        Some(tree)
    }

    /// Index, tracked files and clean checkouts as a commit has them; what is not tracked stays.
    pub(crate) fn reset(&mut self, to: ObjectId) {
        let tree = self.tree(to).expect("because a person resets to a commit").clone();
        for path in self.index.keys().filter(|path| !tree.contains_key(path)) {
            self.work.remove(path);
        }
        self.index = Tree::clone(&tree);
        for (path, content) in tree.iter() {
            match content {
                PathContent::File { content, .. } => {
                    self.work.insert(path.clone(), content.clone());
                }
                PathContent::Gitlink(pin) => {
                    self.checkouts.entry(path.clone()).or_insert(Checkout { head: *pin, dirty: false });
                }
            }
        }
    }

    /// What is the operator's, without the objects.
    pub(crate) fn place(&self) -> Place {
        Place {
            index: self.index.clone(),
            work: self.work.clone(),
            checkouts: self.checkouts.clone(),
            head: (self.detached, self.merging),
        }
    }

    /// Whether one of these files is not as HEAD has it.
    pub(crate) fn differs(&self, one: &str, other: &str) -> bool {
        let head = self.tree(self.head());
        [one, other].into_iter().map(RepoPath::from).any(|path| {
            let content = head.and_then(|tree| tree.get(&path));
            let work = self.work.get(&path);
            let same = match content {
                Some(PathContent::File { content, .. }) => work == Some(content),
                _ => work.is_none(),
            };
            !same || self.index.get(&path) != content
        })
    }

    /// Whether `ancestor` is `commit` or before it.
    pub(crate) fn contains(&self, commit: ObjectId, ancestor: ObjectId) -> bool {
        let mut at = Some(commit);
        while let Some(id) = at {
            if id == ancestor {
                return true;
            }
            at = self.commits.get(&id).and_then(|commit| commit.parent);
        }
        false
    }

    fn at_index(&self, edit: &PathEdit) -> At {
        side(edit, self.index.get(&edit.path))
    }

    fn at_work(&self, edit: &PathEdit) -> At {
        if matches!(edit.new, PathContent::Gitlink(_)) {
            return At::New;
        }
        let found = self.work.get(&edit.path).map(|content| {
            let executable = matches!(edit.new, PathContent::File { executable: true, .. });
            PathContent::File { executable, content: content.clone() }
        });
        side(edit, found.as_ref())
    }

    fn is_finished(&self, landing: &Landing) -> bool {
        landing.edits.iter().all(|edit| self.at_index(edit) == At::New && self.at_work(edit) == At::New)
    }

    /// Why a landing that began cannot go on.
    pub(crate) fn trouble(&self, landing: &Landing) -> Option<String> {
        let odd = landing
            .edits
            .iter()
            .find(|edit| self.at_index(edit) == At::Elsewhere || self.at_work(edit) == At::Elsewhere);
        odd.map(|edit| format!("{} is something else", edit.path))
    }

    /// What forbids edits on `base` now, but for the lock.
    pub(crate) fn obstacles(&self, base: ObjectId, edits: &[PathEdit]) -> Vec<String> {
        let mut found = Vec::new();
        if self.detached.is_some() {
            found.push("HEAD is detached".to_owned());
        } else if self.main != base {
            found.push("HEAD is elsewhere".to_owned());
        }
        if self.merging {
            found.push("a merge is under way".to_owned());
        }
        for edit in edits {
            let file = matches!(edit.new, PathContent::File { .. });
            if self.at_index(edit) != At::Old || (file && self.at_work(edit) != At::Old) {
                found.push(format!("{} is not as HEAD has it", edit.path));
            }
        }
        found
    }

    /// What is there of a landing.
    pub(crate) fn landing_state(&self, landing: &Landing) -> LandingState {
        if self.main == landing.expected {
            return LandingState::NotBegun;
        }
        if self.main != landing.target {
            return self.went_on(landing);
        }
        if self.detached.is_some() {
            return LandingState::Elsewhere("HEAD is detached".to_owned());
        }
        let locked = self.lock == Some(Lock::Ours(landing.target));
        if !self.is_finished(landing) || locked {
            return match self.trouble(landing) {
                Some(why) => LandingState::Elsewhere(why),
                None => LandingState::Begun,
            };
        }
        if self.waiting(landing).is_empty() { LandingState::Done } else { LandingState::Begun }
    }

    fn went_on(&self, landing: &Landing) -> LandingState {
        if !self.contains(self.main, landing.target) {
            return LandingState::Elsewhere("the branch does not contain the commit".to_owned());
        }
        let tree = self.tree(self.main);
        let odd =
            landing.edits.iter().find(|edit| tree.and_then(|tree| tree.get(&edit.path)) != Some(&edit.new));
        match odd {
            Some(edit) => LandingState::Elsewhere(format!("the branch went on, with another {}", edit.path)),
            None => LandingState::Done,
        }
    }

    /// The checkouts that can be brought along and are not yet.
    pub(crate) fn waiting(&self, landing: &Landing) -> Vec<(RepoPath, ObjectId)> {
        let moved = landing.edits.iter().filter_map(|edit| match (&edit.old, &edit.new) {
            (Some(PathContent::Gitlink(from)), PathContent::Gitlink(to)) => Some((&edit.path, *from, *to)),
            _ => None,
        });
        let may = |path: &RepoPath, from| {
            self.checkouts.get(path).is_some_and(|checkout| checkout.head == from && !checkout.dirty)
        };
        moved.filter(|(path, from, _)| may(path, *from)).map(|(path, _, to)| (path.clone(), to)).collect()
    }

    /// Bring the files that are at their old side along.
    pub(crate) fn bring_files(&mut self, landing: &Landing) {
        for edit in &landing.edits {
            if let PathContent::File { content, .. } = &edit.new
                && self.at_work(edit) == At::Old
            {
                self.work.insert(edit.path.clone(), content.clone());
            }
        }
    }

    /// Bring the entries of the index that are at their old side along.
    pub(crate) fn bring_entries(&mut self, landing: &Landing) {
        for edit in &landing.edits {
            if self.at_index(edit) == At::Old {
                self.index.insert(edit.path.clone(), edit.new.clone());
            }
        }
    }
}

fn side(edit: &PathEdit, found: Option<&PathContent>) -> At {
    if found == Some(&edit.new) {
        At::New
    } else if found == edit.old.as_ref() {
        At::Old
    } else {
        At::Elsewhere
    }
}

/// An id in git's form.
pub(crate) fn id_of(digest: &[u8; 32]) -> ObjectId {
    ObjectId::from_bytes(&digest[..20]).expect("because twenty bytes are an id")
}

/// The identity of a tree.
pub(crate) fn tree_id(tree: &Tree) -> ObjectId {
    let mut parts: Vec<&[u8]> = vec![b"tree"];
    for (path, content) in tree {
        parts.push(path.as_bytes());
        match content {
            PathContent::Gitlink(id) => parts.extend([b"link".as_slice(), id.as_bytes()]),
            PathContent::File { content, .. } => parts.extend([b"file".as_slice(), content]),
        }
    }
    id_of(&digest(&parts))
}
