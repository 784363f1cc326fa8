//! What a workspace looks like at one moment: the superproject and every module.
//!
//! Made by a [`crate::ports::Repository`]; everything is sorted by path or name, so that
//! equal workspaces give equal bytes. What could not be read is said, never guessed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::{Cid, ModuleName, ObjectId, RepoPath};
use super::module::RefusedModule;

/// The whole workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The superproject itself.
    pub superproject: SuperprojectState,
    /// Every accepted module, sorted by name.
    pub modules: Vec<ModuleState>,
    /// Submodules that were refused, sorted.
    pub refused: Vec<RefusedModule>,
}

/// The superproject's own state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuperprojectState {
    /// The commit that HEAD resolves to; `None` on an unborn branch.
    pub head: Option<ObjectId>,
    /// The branch that HEAD names, without `refs/heads/`; `None` when detached.
    pub branch: Option<String>,
    /// A merge, rebase, … that is under way.
    pub operation: Option<Operation>,
    /// True while somebody holds `index.lock`.
    pub index_locked: bool,
    /// The work tree.
    pub tree: TreeState,
}

/// One module's state.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each a field of the JSON that scripts read"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleState {
    /// The module's name.
    pub name: ModuleName,
    /// Where it is in the superproject.
    pub path: RepoPath,
    /// The commit that the superproject's index records; `None` when it records none
    /// (for example in a merge conflict).
    pub gitlink: Option<ObjectId>,
    /// The commit that the superproject's HEAD records.
    pub committed: Option<ObjectId>,
    /// The commit that is checked out; `None` when not initialised or unborn.
    pub head: Option<ObjectId>,
    /// The branch checked out, without `refs/heads/`.
    pub branch: Option<String>,
    /// True when a repository is checked out at the path.
    pub initialised: bool,
    /// True when HEAD names a commit rather than a branch (git's default for submodules).
    pub detached: bool,
    /// True when the repository is shallow.
    pub shallow: bool,
    /// How the checkout stands to the gitlink.
    pub ahead: Ahead,
    /// True when the work tree or index holds anything that a checkout would lose or carry:
    /// tracked changes, untracked files, hidden entries that differ.
    pub dirty: bool,
    /// A merge, rebase, … that is under way in the module.
    pub operation: Option<Operation>,
    /// The work tree; empty when not initialised.
    pub tree: TreeState,
    /// Why (a part of) the state is not known. A module with a problem is never clean.
    pub problem: Option<String>,
}

/// How the commit that is checked out stands to the gitlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "relation", content = "commits")]
pub enum Ahead {
    /// The same commit, or nothing to compare.
    Same,
    /// The checkout has this many commits on top of the gitlink.
    Ahead(u32),
    /// The checkout is this many commits behind the gitlink.
    Behind(u32),
    /// Both have commits that the other has not.
    Diverged,
    /// One of the two commits (or a commit between) is not in the repository.
    Unknown,
}

/// Index and work tree of one repository against its HEAD.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TreeState {
    /// Tracked paths that differ, sorted by path. Renames are a deletion and an addition.
    pub changes: Vec<Change>,
    /// Untracked files that are not ignored, sorted by path.
    pub untracked: Vec<UntrackedFile>,
    /// Entries that git is told not to look at, sorted by path: reported, not obeyed.
    pub hidden: Vec<HiddenEntry>,
    /// Who read the index.
    pub engine: Engine,
    /// What was left out because of a bound, as sentences; empty when everything was read.
    pub bounded: Vec<String>,
}

/// One tracked path that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// The path.
    pub path: RepoPath,
    /// HEAD against index: the first letter of `git status --porcelain=v2`.
    pub staged: ChangeKind,
    /// Index against work tree: the second letter.
    pub worktree: ChangeKind,
    /// For a gitlink: what differs inside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submodule: Option<SubmoduleChange>,
}

/// The kind of a difference, with git's letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// `.`: no difference.
    Unmodified,
    /// `M`: other content or other executable bit.
    Modified,
    /// `T`: another type (file, symlink, gitlink).
    TypeChanged,
    /// `A`: added.
    Added,
    /// `D`: deleted.
    Deleted,
    /// `U`: unmerged.
    Unmerged,
    /// The file is under an external filter driver and its stat data changed: only the
    /// filter could tell, and filters are not run.
    ModifiedOrFiltered,
}

/// git's `<sub>` field: what differs in a submodule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct SubmoduleChange {
    /// `C`: another commit is checked out than the index records.
    pub commit: bool,
    /// `M`: it has tracked changes.
    pub modified: bool,
    /// `U`: it has untracked files.
    pub untracked: bool,
}

/// An untracked file. Directories that hold only untracked files are listed file by file;
/// a nested repository is one entry whose path ends with `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UntrackedFile {
    /// The path.
    pub path: RepoPath,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the content as CID (of the target for a symlink); `None` when not asked
    /// for, over the size bound (see [`TreeState::bounded`]), or not readable.
    pub content: Option<Cid>,
}

/// An index entry with a flag that hides changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HiddenEntry {
    /// The path (a directory, ending with `/`, for a sparse-index entry).
    pub path: RepoPath,
    /// Which flag.
    pub flag: HidingFlag,
}

/// A flag that makes git not look at a work-tree file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HidingFlag {
    /// `update-index --skip-worktree`, or outside a sparse checkout.
    SkipWorktree,
    /// `update-index --assume-unchanged`.
    AssumeUnchanged,
}

/// Which code answered for an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Nothing was read.
    #[default]
    None,
    /// Our walk over the parsed index file; no process.
    Index,
    /// `git ls-files` and `rev-parse` for a form that we cannot parse, then our walk.
    Plumbing,
}

/// A merge, rebase, … that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// `MERGE_HEAD` exists.
    Merge,
    /// `rebase-merge/` or `rebase-apply/` exists.
    Rebase,
    /// `CHERRY_PICK_HEAD` exists.
    CherryPick,
    /// `REVERT_HEAD` exists.
    Revert,
    /// `BISECT_LOG` exists.
    Bisect,
    /// `rebase-apply/applying` exists: `git am`.
    Mailbox,
}

impl ChangeKind {
    /// git's letter; `?` where git would have to run a filter to tell `M` from `.`.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Unmodified => '.',
            Self::Modified => 'M',
            Self::TypeChanged => 'T',
            Self::Added => 'A',
            Self::Deleted => 'D',
            Self::Unmerged => 'U',
            Self::ModifiedOrFiltered => '?',
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Merge => "merge",
            Self::Rebase => "rebase",
            Self::CherryPick => "cherry-pick",
            Self::Revert => "revert",
            Self::Bisect => "bisect",
            Self::Mailbox => "am",
        })
    }
}

impl TreeState {
    /// True when nothing differs and nothing is untracked.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.changes.is_empty() && self.untracked.is_empty()
    }
}

impl Snapshot {
    /// The modules by name.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<&ModuleName, &ModuleState> {
        self.modules.iter().map(|module| (&module.name, module)).collect()
    }
}
