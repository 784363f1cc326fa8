//! Where a flake is, and paths of inputs that are inside it.

use std::rc::Rc;

use super::Tree;
use crate::domain::flake::reference::FlakeRef;

/// The tree, and the directory in it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// `None` for the root flake's own.
    tree: Option<Rc<FlakeRef>>,
    dir: Vec<String>,
}

impl Place {
    /// A directory of the root flake's own source.
    pub(super) fn root(dir: &str) -> Self {
        Self { tree: None, dir: segments(dir) }
    }

    /// Where the flake of a locked source is.
    pub(super) fn of(locked: &FlakeRef) -> Self {
        Self { tree: Some(Rc::new(locked.clone())), dir: segments(locked.dir()) }
    }

    /// Where a relative input is that a flake here names, with the `dir` in it; `None` when it
    /// leads out of the tree.
    pub(super) fn relative(&self, reference: &FlakeRef) -> Option<Self> {
        let mut dir = self.dir.clone();
        for part in segments(reference.relative_path()?) {
            if part == ".." {
                dir.pop()?;
            } else {
                dir.push(part);
            }
        }
        dir.extend(segments(reference.dir()));
        Some(Self { tree: self.tree.clone(), dir })
    }

    /// The top of the same tree.
    pub(super) fn top(&self) -> Self {
        Self { tree: self.tree.clone(), dir: Vec::new() }
    }

    pub(super) fn tree(&self) -> Tree<'_> {
        self.tree.as_deref().map_or(Tree::Root, Tree::Locked)
    }

    /// The path of a file here.
    pub(super) fn join(&self, name: &str) -> String {
        let mut path = self.dir.join("/");
        if !path.is_empty() {
            path.push('/');
        }
        path + name
    }
}

fn segments(path: &str) -> Vec<String> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
}
