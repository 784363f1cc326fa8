//! The operator's superproject and its checkouts, read; and changes built for it.
//!
//! In: a directory. Out: [`Discovery`], [`Snapshot`] and file contents. On the ordinary path no
//! process is started; what the repository configures is never run; reading writes nothing, the
//! index included; no symlink inside a work tree is followed. One repository is read in this
//! order, each step a file here:
//!
//! ```text
//! locate → config → refs → index → objects + head_diff (first letter)
//!                                → walk: names, ignore, compare (attributes, convert) (second letter)
//! checkout = all of that for one repository;  snapshot = all repositories, in parallel
//! ```
//!
//! An index form that `gix-index` cannot parse, reftable refs and SHA-256 objects are read
//! through `plumbing`, which looks at no work tree; [`Engine`](crate::domain::snapshot::Engine)
//! says so for the index.
//!
//! # Where the answer differs from `git status`, on purpose
//!
//! `tests/snapshot_git/differences.rs` holds one test for each row.
//!
//! | case | `git status` | here | because |
//! |---|---|---|---|
//! | `assume-unchanged` file that differs | nothing | the change | the flag hides work that a checkout would lose |
//! | `skip-worktree` file that is there and differs (no sparse checkout) | nothing | the change | the same |
//! | same size, other stat data, external filter driver | runs the filter | [`ModifiedOrFiltered`] | the repository's programs are not run |
//! | `submodule.<name>.ignore`, `diff.ignoreSubmodules` | hides the submodule's state | reported | a repository's file must not hide changes |
//! | `core.fsmonitor` | runs it, believes it | not run, not believed | the same |
//! | `status.*`, `core.untrackedCache` | obeyed | not looked at | the same |
//! | `.git` of a module broken, foreign or through a symlink | fails as a whole, or says nothing | that module has a problem, the others go on | one module must not hide the rest |
//! | module on an unborn branch | `git submodule status` shows the gitlink | no head | nothing is checked out |
//! | `core.worktree` of a module names another directory | looks there | a problem | it would lead out of the tree |
//! | `core.ignoreCase` on a case-sensitive file system | hides `README` when `readme` is tracked | untracked | both are there |
//! | directories nested deeper than 200, trees than 256 | looked at | a problem that says so | each level holds a descriptor |
//!
//! [`ModifiedOrFiltered`]: crate::domain::snapshot::ChangeKind::ModifiedOrFiltered

mod archive;
mod blobs;
mod build;

pub(in crate::adapters) mod contents;

pub mod copy;

pub mod nar;

pub mod nar_cache;

pub mod patch;

pub mod sources;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::durable::{Disk, RealDisk};
use crate::domain::discover::{DiscoverInput, discover};
use crate::domain::flake::root_inputs;
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::{Discovery, Module};
use crate::domain::snapshot::Snapshot;
use crate::ports::{PortError, PortResult, Repository, SnapshotOptions};

mod attributes;
mod checkout;
mod commits;
mod compare;
mod config;
mod convert;
mod edited;
mod files;
mod gitdir;
mod head_diff;
mod ignore;
mod index;
mod landing;
mod locate;
mod names;
mod objects;
mod plumbing;
mod pool;
mod refs;
mod root;
mod snapshot;
mod subst;
mod superproject;
mod unpack;
mod untracked;
mod walk;

use checkout::{Context, Opened};
pub use config::Environment;
use config::{Conditions, Config};
use files::{Blocked, Read, Trouble};
use gitdir::GitDirs;
use locate::Found;

/// What discovery takes from our own configuration.
#[derive(Debug, Clone, Default)]
pub struct DiscoverSettings {
    /// `[modules.X] url`, by module name.
    pub config_urls: BTreeMap<String, String>,
    /// Upstreams that are paths or `file:` locations are allowed.
    pub allow_local_urls: bool,
}

/// A superproject on this machine.
#[derive(Debug)]
pub struct GitRepository {
    work_tree: PathBuf,
    dirs: GitDirs,
    settings: DiscoverSettings,
    environment: Environment,
    operator: Config,
    /// What writes, for [`Superproject`](crate::ports::Superproject).
    disk: Arc<dyn Disk>,
    /// Where the mirrors are, from which checkouts get their objects.
    mirrors: Option<PathBuf>,
}

impl GitRepository {
    /// The superproject whose work tree is at `path` or above it.
    ///
    /// # Errors
    /// When there is none, it is bare, or it belongs to another user.
    pub fn open(path: &Path, settings: DiscoverSettings) -> PortResult<Self> {
        Self::open_in(path, settings, Environment::of_process())
    }

    /// As [`Self::open`], with the operator's files elsewhere.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in(path: &Path, settings: DiscoverSettings, environment: Environment) -> PortResult<Self> {
        let failed = |trouble: Trouble| {
            PortError::failed(format!("cannot open the workspace at {}", files::shown(path))).because(trouble)
        };
        let (work_tree, dirs) = locate::upwards(path)
            .map_err(|trouble| failed(trouble).hint("name the superproject with -C DIR"))?;
        let operator = Config::of_operator(&environment, Conditions::default()).map_err(failed)?;
        let repository = Self {
            work_tree,
            dirs,
            settings,
            environment,
            operator,
            disk: Arc::new(RealDisk),
            mirrors: None,
        };
        repository.opened(&SnapshotOptions::default()).map_err(|trouble| {
            let place = files::shown(&repository.work_tree);
            failed(trouble).hint(format!(
                "git -C {place} status says what git makes of it; another user's, if it is trusted: \
                 git config --global --add safe.directory {place}"
            ))
        })?;
        Ok(repository)
    }

    /// The same, writing through another disk: for tests that make writes fail.
    #[must_use]
    pub fn with_disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// The same, taking the objects of submodules from the mirrors in this directory.
    #[must_use]
    pub fn with_mirrors(mut self, root: PathBuf) -> Self {
        self.mirrors = Some(root);
        self
    }

    /// The top of the work tree.
    #[must_use]
    pub fn work_tree(&self) -> &Path {
        &self.work_tree
    }

    /// The git directory of this work tree.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        &self.dirs.git_dir
    }

    /// The git directory that all work trees of the repository share.
    #[must_use]
    pub fn common_dir(&self) -> &Path {
        &self.dirs.common_dir
    }

    fn context<'a>(&'a self, options: &'a SnapshotOptions) -> Context<'a> {
        Context { environment: &self.environment, operator: &self.operator, options }
    }

    fn opened(&self, options: &SnapshotOptions) -> Read<Opened> {
        let work = files::open_directory_at(&self.work_tree)
            .map_err(|error| Trouble::with("open", &self.work_tree, error))?;
        match locate::at(work.as_fd(), &self.work_tree) {
            Found::Repository(git, dot_git) => {
                Opened::new(work, self.work_tree.clone(), *git, dot_git, self.context(options))
            }
            Found::Broken(why) => Err(Trouble(why)),
            Found::Nothing => {
                Err(Trouble(format!("{} is no work tree any more", files::shown(&self.work_tree))))
            }
        }
    }

    fn discover_input(&self) -> Read<DiscoverInput> {
        let opened = self.opened(&SnapshotOptions::default())?;
        let index = index::Index::read(&opened.git, &self.work_tree, &opened.objects, opened.hash)?;
        let gitmodules = match index.entry(b".gitmodules") {
            Some(entry) if matches!(entry.mode.bits(), 0o100_644 | 0o100_755) => {
                let id = ObjectId::from_bytes(entry.id.as_slice());
                id.map_or(Ok(None), |id| opened.objects.blob(id))?
            }
            _ => None,
        };
        let gitlinks = index
            .state
            .entries()
            .iter()
            .filter(|entry| entry.mode.bits() == objects::MODE_GITLINK && entry.stage_raw() != 1)
            .filter_map(|entry| {
                let path: &[u8] = entry.path(&index.state);
                Some((RepoPath::new(path), ObjectId::from_bytes(entry.id.as_slice())?))
            })
            .collect();
        let symlinks = index
            .state
            .entries()
            .iter()
            .filter(|entry| entry.mode.bits() == objects::MODE_LINK)
            .map(|entry| RepoPath::new(entry.path(&index.state).to_vec()))
            .collect();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let committed = |name: &[u8]| match opened.head.id {
            Some(head) => opened.objects.file(head, name),
            None => Ok(None),
        };
        let (flake, lock) = (committed(b"flake.nix")?, committed(b"flake.lock")?);
        Ok(DiscoverInput {
            gitmodules,
            gitlinks,
            symlinks,
            git_config_urls: opened
                .config
                .subsections("submodule", "url")
                .into_iter()
                .map(|(name, url)| (text(name), text(url)))
                .collect(),
            superproject_url: opened.config.string("remote", Some(b"origin"), "url").map(text),
            superproject_branch: opened.head.branch.clone(),
            config_urls: self.settings.config_urls.clone(),
            flake_inputs: root_inputs(flake.as_deref(), lock.as_deref()),
            allow_local_urls: self.settings.allow_local_urls,
        })
    }

    /// A module's repository; `None` when nothing is checked out.
    fn module(&self, module: &Module) -> Read<Option<Opened>> {
        let root = files::open_directory_at(&self.work_tree)
            .map_err(|error| Trouble::with("open", &self.work_tree, error))?;
        let place = self.work_tree.join(OsStr::from_bytes(module.path.as_bytes()));
        let work = match files::directory_beneath(root.as_fd(), module.path.as_bytes()) {
            Ok(work) => work,
            Err(Blocked::Absent) => return Ok(None),
            Err(_) => return Err(Trouble(format!("{} is behind a symlink or no directory", module.path))),
        };
        let options = SnapshotOptions::default();
        match locate::at(work.as_fd(), &place) {
            Found::Nothing => Ok(None),
            Found::Broken(why) => Err(Trouble(why)),
            Found::Repository(git, dot_git) => {
                Opened::new(work, place, *git, dot_git, self.context(&options)).map(Some)
            }
        }
    }
}

impl Repository for GitRepository {
    fn head(&self) -> PortResult<Option<ObjectId>> {
        let opened = self.opened(&SnapshotOptions::default());
        opened.map(|opened| opened.head.id).map_err(|trouble| {
            PortError::failed(format!("cannot read HEAD of {}", files::shown(&self.work_tree)))
                .because(trouble)
        })
    }

    fn discover(&self) -> PortResult<Discovery> {
        let input = self.discover_input().map_err(|trouble| {
            PortError::failed(format!("cannot find the modules of {}", files::shown(&self.work_tree)))
                .because(trouble)
        })?;
        Ok(discover(&input))
    }

    fn snapshot(&self, discovery: &Discovery, options: &SnapshotOptions) -> PortResult<Snapshot> {
        self.opened(options)
            .and_then(|opened| snapshot::take(opened, discovery, self.context(options)))
            .map_err(|trouble| {
                PortError::failed(format!(
                    "cannot read the superproject at {}",
                    files::shown(&self.work_tree)
                ))
                .because(trouble)
            })
    }

    fn committed_file(&self, path: &RepoPath) -> PortResult<Option<Vec<u8>>> {
        let read = || {
            let opened = self.opened(&SnapshotOptions::default())?;
            opened.head.id.map_or(Ok(None), |head| opened.objects.file(head, path.as_bytes()))
        };
        read().map_err(|trouble: Trouble| {
            PortError::failed(format!("cannot read {path} of the superproject's HEAD")).because(trouble)
        })
    }

    fn module_file(&self, module: &Module, commit: ObjectId, path: &RepoPath) -> PortResult<Option<Vec<u8>>> {
        let read = || match self.module(module)? {
            Some(opened) => opened.objects.file(commit, path.as_bytes()),
            None => Ok(None),
        };
        read().map_err(|trouble: Trouble| {
            PortError::failed(format!("cannot read {path} of {} at {commit}", module.name)).because(trouble)
        })
    }
}
