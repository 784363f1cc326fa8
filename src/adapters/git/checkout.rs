//! One repository and its work tree: HEAD, operation, index, walk; and what a gitlink's place holds.
//!
//! The same code reads the superproject, every module, and the submodules inside modules.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix_index::entry::Flags;
use rustix::fs::{AtFlags, Stat, fstat, statat};

use super::attributes::{Place, Sources};
use super::compare::Trust;
use super::config::{Conditions, Config, Environment};
use super::files::{Blocked, Read, Trouble, directory_beneath, shown};
use super::gitdir::{GitDir, GitDirs};
use super::head_diff::{self, Staged};
use super::index::Index;
use super::locate::{self, Found, Uid};
use super::objects::Objects;
use super::plumbing::Plumbing;
use super::refs::{self, Head};
use super::walk::{self, Gitlink, InPlace, Seen};
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::snapshot::{
    Ahead, Change, ChangeKind, HiddenEntry, HidingFlag, Operation, SubmoduleChange, TreeState,
};
use crate::ports::SnapshotOptions;

/// How deep submodules inside submodules are followed.
const MAX_NESTED: usize = 8;

/// What is the same for every repository of a workspace.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) environment: &'a Environment,
    /// The system's and the user's configuration.
    pub(super) operator: &'a Config,
    pub(super) options: &'a SnapshotOptions,
}

/// A repository that was opened: everything but its work tree.
pub(super) struct Opened {
    pub(super) work: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) config: Config,
    pub(super) head: Head,
    pub(super) shallow: bool,
    pub(super) reftable: bool,
    pub(super) operation: Option<Operation>,
    pub(super) index_locked: bool,
    pub(super) objects: Objects,
    pub(super) hash: gix_hash::Kind,
    pub(super) git: GitDir,
}

impl Opened {
    /// Open what `.git` in `work` led to; `dot_git` is who owns it.
    pub(super) fn new(
        work: OwnedFd,
        path: PathBuf,
        git: GitDir,
        dot_git: Uid,
        context: Context<'_>,
    ) -> Read<Self> {
        let stat = fstat(&work).map_err(|error| Trouble::with("look at", &path, error))?;
        let foreign =
            locate::foreign_owner(&stat, &path, dot_git, &git, context.environment, context.operator);
        if let Some(why) = foreign {
            return Err(Trouble(why));
        }
        let config = configuration(&git, context)?;
        let format = Format::of(&config, &path)?;
        check_work_tree(&config, &git.dirs, &path, &stat, context.environment)?;
        let reftable = format.reftable || git.common_has("reftable");
        let head = if reftable { Plumbing::new(&git.dirs, &path).head()? } else { refs::head(&git)? };
        let shallow = git.common_has("shallow")
            && statat(git.common(), c"shallow", AtFlags::empty()).is_ok_and(|stat| stat.st_size > 0);
        Ok(Self {
            operation: operation(&git),
            index_locked: git.has("index.lock"),
            objects: Objects::new(&git.dirs, &path, format.hash != gix_hash::Kind::Sha1),
            hash: format.hash,
            work,
            path,
            config,
            head,
            shallow,
            reftable,
            git,
        })
    }

    /// The index as it is now.
    pub(super) fn index(&self) -> Read<Index> {
        Index::read(&self.git, &self.path, &self.objects, self.hash)
    }

    /// Read the index, compare it with HEAD, and get ready to walk.
    pub(super) fn read_index(&self) -> Read<Indexed> {
        let index = self.index()?;
        let tree = match self.head.id {
            None => None,
            Some(commit) => Some(self.objects.commit_tree(commit)?.ok_or_else(|| {
                Trouble(format!("the commit {commit} that HEAD of {} names is missing", shown(&self.path)))
            })?),
        };
        let staged = head_diff::staged(&index.state, tree, &self.objects)?;
        Ok(Indexed { index, tree, staged })
    }

    /// Look at the work tree.
    pub(super) fn walk(&self, indexed: &Indexed, context: Context<'_>) -> Seen {
        let fold = self.config.boolean("core", "ignorecase").unwrap_or(false);
        let sources = Sources::new(&self.config, context.environment, &self.path, &self.git.dirs.common_dir);
        let place = Place {
            root: self.work.as_fd(),
            index: &indexed.index,
            objects: &self.objects,
            config: &self.config,
            sources: &sources,
        };
        walk::walk(walk::Plan {
            place,
            work_tree: &self.path,
            trust: Trust::new(&self.config),
            excludes: self.excludes(context.environment),
            fold,
            max_untracked: context.options.max_untracked,
        })
    }

    /// The files whose patterns hold for the whole work tree, weakest first.
    fn excludes(&self, environment: &Environment) -> Vec<PathBuf> {
        let user = self
            .config
            .path("core", "excludesfile", &self.path, environment)
            .or_else(|| environment.xdg_config.as_ref().map(|dir| dir.join("git/ignore")));
        user.into_iter().chain([self.git.dirs.common_dir.join("info/exclude")]).collect()
    }

    /// How the checkout stands to a gitlink.
    fn ahead(&self, gitlink: Option<ObjectId>) -> Ahead {
        match (self.head.id, gitlink) {
            (Some(head), Some(link)) if head != link => match self.objects.ahead_behind(head, link) {
                Ok(Some((0, 0))) => Ahead::Same,
                Ok(Some((ahead, 0))) => Ahead::Ahead(ahead),
                Ok(Some((0, behind))) => Ahead::Behind(behind),
                Ok(Some(_)) => Ahead::Diverged,
                Ok(None) | Err(_) => Ahead::Unknown,
            },
            _ => Ahead::Same,
        }
    }
}

/// The index, and what is staged in it.
pub(super) struct Indexed {
    pub(super) index: Index,
    /// The tree of HEAD.
    pub(super) tree: Option<ObjectId>,
    pub(super) staged: BTreeMap<RepoPath, Staged>,
}

impl Indexed {
    /// The finished account of the work tree, given what is checked out at each gitlink.
    pub(super) fn finish(
        self,
        seen: Seen,
        submodules: &BTreeMap<RepoPath, SubmoduleState>,
    ) -> (TreeState, Option<String>) {
        let mut changes = Changes::default();
        for (path, staged) in &self.staged {
            let change = changes.at(path);
            change.staged = staged.kind;
            if staged.gitlink {
                change.submodule = Some(SubmoduleChange::default());
            }
        }
        for (path, kind) in seen.changes {
            changes.at(&path).worktree = kind;
        }
        for path in seen.became_repository {
            let change = changes.at(&path);
            change.worktree = ChangeKind::TypeChanged;
            change.submodule = Some(SubmoduleChange { commit: true, ..SubmoduleChange::default() });
        }
        for link in &seen.gitlinks {
            if let Some((kind, sub)) = gitlink_change(link, submodules.get(&link.path)) {
                let change = changes.at(&link.path);
                change.worktree = kind;
                change.submodule = Some(sub);
            }
        }
        for (path, (staged, worktree)) in unmerged(&self.index) {
            let change = changes.at(&path);
            (change.staged, change.worktree) = (staged, worktree);
        }
        let mut untracked = seen.untracked;
        untracked.sort();
        let mut bounded = Vec::new();
        if seen.left_out > 0 {
            bounded.push(format!("{} more untracked files were not listed", seen.left_out));
        }
        let problem = (!seen.troubles.is_empty()).then(|| seen.troubles.join("; "));
        let tree = TreeState {
            changes: changes.0.into_values().collect(),
            untracked,
            hidden: hidden(&self.index),
            engine: self.index.engine,
            bounded,
        };
        (tree, problem)
    }
}

#[derive(Default)]
struct Changes(BTreeMap<RepoPath, Change>);

impl Changes {
    fn at(&mut self, path: &RepoPath) -> &mut Change {
        self.0.entry(path.clone()).or_insert_with(|| Change {
            path: path.clone(),
            staged: ChangeKind::Unmodified,
            worktree: ChangeKind::Unmodified,
            submodule: None,
        })
    }
}

/// The second letter and the `<sub>` field of a gitlink; `None` when nothing differs.
fn gitlink_change(link: &Gitlink, state: Option<&SubmoduleState>) -> Option<(ChangeKind, SubmoduleChange)> {
    let none = SubmoduleChange::default();
    match link.place {
        InPlace::Nothing => (!link.skip_worktree).then_some((ChangeKind::Deleted, none)),
        InPlace::File => Some((ChangeKind::TypeChanged, none)),
        InPlace::Directory => {
            let state = state?;
            let sub = SubmoduleChange {
                commit: state.head.is_some() && state.head != link.id,
                modified: state.modified,
                untracked: state.untracked,
            };
            (sub != none).then_some((ChangeKind::Modified, sub))
        }
    }
}

/// Both letters of every path in conflict (git-status(1): `DD AU UD UA DU AA UU`), from the
/// stages that are there.
fn unmerged(index: &Index) -> BTreeMap<RepoPath, (ChangeKind, ChangeKind)> {
    let mut stages: BTreeMap<RepoPath, u8> = BTreeMap::new();
    for entry in index.state.entries() {
        let stage = entry.stage_raw();
        if stage != 0 {
            *stages.entry(RepoPath::new(entry.path(&index.state).to_vec())).or_default() |= 1 << (stage - 1);
        }
    }
    let letters = |mask: u8| match mask {
        0b001 => (ChangeKind::Deleted, ChangeKind::Deleted),
        0b010 => (ChangeKind::Added, ChangeKind::Unmerged),
        0b011 => (ChangeKind::Unmerged, ChangeKind::Deleted),
        0b100 => (ChangeKind::Unmerged, ChangeKind::Added),
        0b101 => (ChangeKind::Deleted, ChangeKind::Unmerged),
        0b110 => (ChangeKind::Added, ChangeKind::Added),
        _ => (ChangeKind::Unmerged, ChangeKind::Unmerged),
    };
    stages.into_iter().map(|(path, mask)| (path, letters(mask))).collect()
}

/// Entries with a flag that hides changes; a sparse directory is one entry.
fn hidden(index: &Index) -> Vec<HiddenEntry> {
    let mut list: Vec<HiddenEntry> = index
        .sparse
        .iter()
        .map(|path| HiddenEntry { path: path.clone(), flag: HidingFlag::SkipWorktree })
        .collect();
    for entry in index.state.entries() {
        let path = || RepoPath::new(entry.path(&index.state).to_vec());
        if entry.flags.contains(Flags::ASSUME_VALID) {
            list.push(HiddenEntry { path: path(), flag: HidingFlag::AssumeUnchanged });
        }
        if entry.flags.contains(Flags::SKIP_WORKTREE) {
            let path = path();
            let inside = |dir: &RepoPath| path.as_bytes().starts_with(dir.as_bytes());
            let at = index.sparse.partition_point(|dir| *dir <= path);
            if at == 0 || !inside(&index.sparse[at - 1]) {
                list.push(HiddenEntry { path, flag: HidingFlag::SkipWorktree });
            }
        }
    }
    list.sort();
    list
}

/// What a superproject must know of a submodule for its own status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SubmoduleState {
    pub(super) head: Option<ObjectId>,
    pub(super) modified: bool,
    pub(super) untracked: bool,
}

/// What stands in the place of a gitlink.
#[derive(Debug)]
pub(super) enum Checkout {
    /// Nothing is checked out.
    Uninitialised,
    /// It must not or cannot be read: why.
    Problem(String),
    /// A repository.
    Repository(Box<RepositoryState>),
}

/// A repository at a gitlink, read as far as it could be.
#[derive(Debug, Default)]
pub(super) struct RepositoryState {
    pub(super) head: Head,
    pub(super) shallow: bool,
    pub(super) operation: Option<Operation>,
    pub(super) ahead: Option<Ahead>,
    pub(super) tree: TreeState,
    pub(super) problem: Option<String>,
}

impl Checkout {
    /// What its superproject's status says about it; as git, nothing for what is not checked out.
    pub(super) fn submodule_state(&self) -> Option<SubmoduleState> {
        let Self::Repository(state) = self else { return None };
        let only_untracked_inside = SubmoduleChange { commit: false, modified: false, untracked: true };
        Some(SubmoduleState {
            head: state.head.id,
            modified: state.tree.changes.iter().any(|change| change.submodule != Some(only_untracked_inside)),
            untracked: !state.tree.untracked.is_empty()
                || state.tree.changes.iter().any(|change| change.submodule.is_some_and(|sub| sub.untracked)),
        })
    }
}

/// Read what is checked out at a path below a work tree.
pub(super) fn inspect(
    root: BorrowedFd<'_>,
    root_path: &Path,
    path: &RepoPath,
    gitlink: Option<ObjectId>,
    context: Context<'_>,
    depth: usize,
) -> Checkout {
    let place = root_path.join(OsStr::from_bytes(path.as_bytes()));
    let work = match directory_beneath(root, path.as_bytes()) {
        Ok(work) => work,
        Err(Blocked::Absent) => return Checkout::Uninitialised,
        Err(Blocked::NotDirectory) => {
            return Checkout::Problem(format!("{path} is a file or a symlink, which is not followed"));
        }
        Err(Blocked::Parent) => {
            return Checkout::Problem(format!(
                "a directory above {path} is a symlink or a file, which is not followed"
            ));
        }
        Err(Blocked::Errno(error)) => return Checkout::Problem(format!("cannot open {path}: {error}")),
    };
    match locate::at(work.as_fd(), &place) {
        Found::Nothing => Checkout::Uninitialised,
        Found::Broken(why) => Checkout::Problem(why),
        Found::Repository(..) if depth > MAX_NESTED => {
            Checkout::Problem(format!("submodules are nested deeper than {MAX_NESTED} at {path}"))
        }
        Found::Repository(git, dot_git) => match Opened::new(work, place, *git, dot_git, context) {
            Err(trouble) => Checkout::Problem(trouble.0),
            Ok(opened) => Checkout::Repository(Box::new(read(&opened, gitlink, context, depth))),
        },
    }
}

fn read(opened: &Opened, gitlink: Option<ObjectId>, context: Context<'_>, depth: usize) -> RepositoryState {
    let mut state = RepositoryState {
        head: opened.head.clone(),
        shallow: opened.shallow,
        operation: opened.operation,
        ahead: Some(opened.ahead(gitlink)),
        ..RepositoryState::default()
    };
    let read = opened.read_index().map(|indexed| {
        let seen = opened.walk(&indexed, context);
        let mut nested_problem = None;
        let mut submodules = BTreeMap::new();
        for link in seen.gitlinks.iter().filter(|link| link.place == InPlace::Directory) {
            let nested = inspect(opened.work.as_fd(), &opened.path, &link.path, link.id, context, depth + 1);
            if let Checkout::Problem(why) = &nested {
                nested_problem.get_or_insert_with(|| format!("in the submodule {}: {why}", link.path));
            }
            if let Checkout::Repository(inner) = &nested
                && let Some(why) = &inner.problem
            {
                nested_problem.get_or_insert_with(|| format!("in the submodule {}: {why}", link.path));
            }
            if let Some(inner) = nested.submodule_state() {
                submodules.insert(link.path.clone(), inner);
            }
        }
        let (tree, problem) = indexed.finish(seen, &submodules);
        (tree, problem.or(nested_problem))
    });
    match read {
        Ok((tree, problem)) => (state.tree, state.problem) = (tree, problem),
        Err(trouble) => state.problem = Some(trouble.0),
    }
    state
}

/// The configuration of one repository: the operator's, its own, and its work tree's.
fn configuration(git: &GitDir, context: Context<'_>) -> Read<Config> {
    let conditional = context.operator.is_conditional();
    let branch = || refs::head(git).ok().and_then(|head| head.branch);
    let known = conditional.then(branch).flatten();
    let dirs = &git.dirs;
    let conditions = Conditions { git_dir: Some(&dirs.git_dir), branch: known.as_deref() };
    let mut config = if conditional {
        Config::of_operator(context.environment, conditions)?
    } else {
        context.operator.inherited()
    };
    let own = dirs.common_dir.join("config");
    config.add_at(git.common(), c"config", &own, context.environment, conditions)?;
    if config.boolean("extensions", "worktreeconfig") == Some(true) {
        let own = dirs.git_dir.join("config.worktree");
        config.add_at(git.fd(), c"config.worktree", &own, context.environment, conditions)?;
    }
    Ok(config)
}

/// What `extensions.*` say about the repository's form.
struct Format {
    hash: gix_hash::Kind,
    reftable: bool,
}

impl Format {
    /// As `setup.c: verify_repository_format`: a form that git does not know is refused.
    fn of(config: &Config, path: &Path) -> Read<Self> {
        let refused =
            |why: String| Trouble(format!("{} has a form that is not known here: {why}", shown(path)));
        let version = config.string("core", None, "repositoryformatversion").unwrap_or(b"0");
        if version != b"0" && version != b"1" {
            return Err(refused(format!("format version {}", crate::domain::text::inert_bytes(version))));
        }
        let mut format = Self { hash: gix_hash::Kind::Sha1, reftable: false };
        for (key, value) in config.keys("extensions") {
            match (key, value) {
                (b"objectformat", b"sha256") => format.hash = gix_hash::Kind::Sha256,
                (b"refstorage", b"reftable") => format.reftable = true,
                (b"objectformat", b"sha1")
                | (b"refstorage", b"files")
                | (
                    b"noop"
                    | b"noop-v1"
                    | b"preciousobjects"
                    | b"partialclone"
                    | b"worktreeconfig"
                    | b"relativeworktrees"
                    | b"compatobjectformat",
                    _,
                ) => {}
                (key, value) if version == b"1" => {
                    let shown = crate::domain::text::inert_bytes;
                    return Err(refused(format!("extensions.{} = {}", shown(key), shown(value))));
                }
                _ => {}
            }
        }
        Ok(format)
    }
}

/// `core.worktree` and `core.bare` must agree with where the repository was found.
fn check_work_tree(
    config: &Config,
    dirs: &GitDirs,
    path: &Path,
    stat: &Stat,
    environment: &Environment,
) -> Read<()> {
    if let Some(named) = config.path("core", "worktree", &dirs.git_dir, environment) {
        let same = statat(rustix::fs::CWD, &named, AtFlags::empty())
            .is_ok_and(|named| (named.st_dev, named.st_ino) == (stat.st_dev, stat.st_ino));
        if !same {
            let named = shown(&named);
            return Err(Trouble(format!(
                "core.worktree of {} names another directory, {named}",
                shown(path)
            )));
        }
    } else if config.boolean("core", "bare") == Some(true) && dirs.git_dir == dirs.common_dir {
        return Err(Trouble(format!("the repository of {} says that it is bare (core.bare)", shown(path))));
    }
    Ok(())
}

/// `wt-status.c: wt_status_get_state`, in its order.
fn operation(git: &GitDir) -> Option<Operation> {
    let has = |name: &str| git.has(name);
    if has("MERGE_HEAD") {
        Some(Operation::Merge)
    } else if has("rebase-apply") {
        let applying = statat(git.fd(), c"rebase-apply/applying", AtFlags::SYMLINK_NOFOLLOW).is_ok();
        Some(if applying { Operation::Mailbox } else { Operation::Rebase })
    } else if has("rebase-merge") {
        Some(Operation::Rebase)
    } else if has("CHERRY_PICK_HEAD") {
        Some(Operation::CherryPick)
    } else if has("REVERT_HEAD") {
        Some(Operation::Revert)
    } else if has("BISECT_LOG") {
        Some(Operation::Bisect)
    } else {
        None
    }
}
