//! HEAD's tree against the index: the first letter of `git status`, renames not looked for.
//!
//! The index's cache-tree names the tree of each directory that has not changed since it was
//! written; where it names the tree that HEAD has, nothing below is read. With nothing staged
//! that is the root, and no tree is read at all.

use std::collections::BTreeMap;
use std::ops::Range;

use gix_index::entry::Flags;
use gix_index::extension::Tree as CacheTree;
use gix_index::{Entry, State};

use super::files::{Read, Trouble};
use super::objects::{MODE_GITLINK, MODE_TREE, Objects, TreeEntry, canonical};
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::snapshot::ChangeKind;

/// The deepest tree that is followed, and the most entries read in all (a tree of a few hundred
/// bytes can name 10¹⁰ files).
const MAX_DEPTH: usize = 256;
const MAX_ENTRIES: usize = 4_000_000;

/// One staged difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Staged {
    pub(super) kind: ChangeKind,
    /// True when one of the two sides is a gitlink.
    pub(super) gitlink: bool,
}

/// Every staged difference by path, unmerged paths excepted.
pub(super) fn staged(
    state: &State,
    head: Option<ObjectId>,
    objects: &Objects,
) -> Read<BTreeMap<RepoPath, Staged>> {
    let mut diff = Diff { state, objects, left: MAX_ENTRIES, found: BTreeMap::new() };
    let all = 0..state.entries().len();
    match head {
        None => diff.added(all),
        Some(tree) => diff.tree(tree, &mut Vec::new(), all, state.tree(), 0)?,
    }
    Ok(diff.found)
}

struct Diff<'a> {
    state: &'a State,
    objects: &'a Objects,
    left: usize,
    found: BTreeMap<RepoPath, Staged>,
}

impl Diff<'_> {
    fn entry(&self, at: usize) -> (&Entry, &[u8]) {
        let entry = &self.state.entries()[at];
        (entry, entry.path(self.state))
    }

    /// Whether the cache-tree says that this range is exactly that tree.
    fn is_cached(cached: Option<&CacheTree>, tree: ObjectId, range: &Range<usize>) -> bool {
        cached.is_some_and(|cached| {
            cached.num_entries.and_then(|count| usize::try_from(count).ok()) == Some(range.len())
                && cached.id.as_slice() == tree.as_bytes()
        })
    }

    fn tree(
        &mut self,
        tree: ObjectId,
        prefix: &mut Vec<u8>,
        range: Range<usize>,
        cached: Option<&CacheTree>,
        depth: usize,
    ) -> Read<()> {
        if Self::is_cached(cached, tree, &range) {
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return Err(Trouble(format!("HEAD's tree is nested deeper than {MAX_DEPTH} directories")));
        }
        let Some(entries) = self.objects.tree(tree)? else {
            return Err(Trouble(format!("the tree {tree} of HEAD is missing")));
        };
        self.left = self
            .left
            .checked_sub(entries.len())
            .ok_or_else(|| Trouble(format!("HEAD's tree has more than {MAX_ENTRIES} entries")))?;
        let base = prefix.len();
        let mut at = range.start;
        for entry in &entries {
            prefix.truncate(base);
            prefix.extend_from_slice(&entry.name);
            if entry.mode == MODE_TREE {
                prefix.push(b'/');
            }
            // Index entries that sort before this tree entry have no counterpart.
            let begin = at;
            while at < range.end && self.sorts_before(at, prefix, entry.mode == MODE_TREE) {
                at += 1;
            }
            self.added(begin..at);
            let begin = at;
            if entry.mode == MODE_TREE {
                at += self.state.entries()[at..range.end]
                    .partition_point(|index| index.path(self.state).starts_with(prefix));
                let child = cached.and_then(|cached| {
                    cached.children.iter().find(|child| child.name.as_slice() == entry.name.as_slice())
                });
                self.tree(entry.id, prefix, begin..at, child, depth + 1)?;
            } else {
                while at < range.end && self.entry(at).1 == prefix.as_slice() {
                    at += 1;
                }
                self.leaf(entry, prefix, begin..at);
            }
        }
        self.added(at..range.end);
        prefix.truncate(base);
        Ok(())
    }

    /// Whether the index entry comes before a tree entry in the order of full paths.
    fn sorts_before(&self, at: usize, key: &[u8], is_dir: bool) -> bool {
        let path = self.entry(at).1;
        path < key && !(is_dir && path.starts_with(key))
    }

    /// Entries that HEAD does not have.
    fn added(&mut self, range: Range<usize>) {
        for at in range {
            let (entry, path) = self.entry(at);
            if entry.stage_raw() == 0 && !entry.flags.contains(Flags::INTENT_TO_ADD) {
                let staged = Staged { kind: ChangeKind::Added, gitlink: entry.mode.bits() == MODE_GITLINK };
                let path = RepoPath::new(path);
                self.found.insert(path, staged);
            }
        }
    }

    /// One path of HEAD against its index entries: none, one, or the stages of a conflict.
    fn leaf(&mut self, tree: &TreeEntry, path: &[u8], range: Range<usize>) {
        let in_conflict = range.clone().any(|at| self.entry(at).0.stage_raw() != 0);
        if in_conflict {
            return;
        }
        let indexed =
            range.map(|at| self.entry(at).0).find(|entry| !entry.flags.contains(Flags::INTENT_TO_ADD));
        let from_link = tree.mode == MODE_GITLINK;
        let (kind, gitlink) = match indexed {
            None => (ChangeKind::Deleted, from_link),
            Some(entry) => {
                let mode = canonical(entry.mode.bits());
                let same = entry.id.as_slice() == tree.id.as_bytes();
                if same && mode == tree.mode {
                    return;
                }
                let retyped = (mode ^ tree.mode) & 0o170_000 != 0;
                let kind = if retyped { ChangeKind::TypeChanged } else { ChangeKind::Modified };
                (kind, from_link || mode == MODE_GITLINK)
            }
        };
        self.found.insert(RepoPath::new(path), Staged { kind, gitlink });
    }
}
