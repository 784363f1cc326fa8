//! A sample workspace, its mirrors, and a change of one module's pin for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::domain::change::{PathContent, PathEdit};
use lambda_os::domain::id::{ObjectId, RepoPath};
use lambda_os::ports::{DetectOptions, Landing, Repository as _, Sources as _, Superproject as _};
use lambda_os::sample::{SampleModule, SampleSpec};

use crate::support::{Workspace, git, git_bytes};

pub(crate) struct World {
    pub(crate) workspace: Workspace,
    /// The module that moves.
    pub(crate) moved: SampleModule,
    /// Another one, which the operator has moved for themselves.
    pub(crate) other: SampleModule,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::sized(8, 6)
    }

    pub(crate) fn sized(modules: usize, files: usize) -> Self {
        let workspace = Workspace::new(&SampleSpec::sized(modules, files));
        let mut behind =
            workspace.sample.modules.iter().filter(|module| module.behind > 0 && module.ahead == 0).cloned();
        let moved = behind.next().expect("a module is behind");
        let other = behind.next().expect("another module is behind");
        let world = Self { workspace, moved, other };
        let repository = world.repository();
        let modules = repository.discover().expect("modules").modules;
        let mirrors = Mirrors::open(&world.mirrors(), repository.work_tree(), repository.common_dir());
        mirrors.refresh(&modules.iter().collect::<Vec<_>>(), &options());
        world
    }

    pub(crate) fn path(&self) -> &Path {
        self.workspace.path()
    }

    pub(crate) fn mirrors(&self) -> PathBuf {
        self.workspace.temp.path().join("mirrors")
    }

    pub(crate) fn repository(&self) -> GitRepository {
        repository_at(self.path(), self.workspace.temp.path()).with_mirrors(self.mirrors())
    }

    pub(crate) fn head(&self) -> ObjectId {
        head_of(self.path())
    }

    /// The pin of one module, and the files that record it.
    pub(crate) fn edits(&self) -> Vec<PathEdit> {
        let mut edits = vec![PathEdit {
            path: self.moved.path.clone(),
            old: Some(PathContent::Gitlink(self.moved.pinned)),
            new: PathContent::Gitlink(self.moved.tip),
        }];
        edits.extend(["flake.lock", "flake.nix"].map(|name| file_edit(self.path(), name)));
        edits.sort_by(|left, right| left.path.cmp(&right.path));
        edits
    }

    /// The landing of the change on HEAD, its commit made.
    pub(crate) fn landing(&self) -> Landing {
        let repository = self.repository();
        let (expected, edits) = (self.head(), self.edits());
        let target = repository.commit(expected, &edits, "One change", 1_790_000_000_000).expect("a commit");
        Landing {
            reference: "refs/heads/main".to_owned(),
            expected,
            target,
            edits,
            modules: repository.discover().expect("modules").modules,
        }
    }

    /// Without the checkouts of the other modules, for tests that copy the workspace.
    pub(crate) fn alone(&self) {
        for module in &self.workspace.sample.modules {
            if module.name != self.moved.name {
                let path = module.path.to_string();
                git(self.path(), ["submodule", "--quiet", "deinit", "-f", "--", &path]);
                std::fs::remove_dir_all(&module.git_dir).expect("its repository is removed");
            }
        }
    }

    pub(crate) fn modules(&self) -> Vec<lambda_os::domain::module::Module> {
        self.repository().discover().expect("modules").modules
    }

    /// What an operator at work leaves lying about: edited, staged, untracked, moved.
    pub(crate) fn at_work(&self) {
        let at = self.path();
        let tracked = git(at, ["ls-files", "--", "README.md", "nix"]);
        let tracked: Vec<&str> = tracked.lines().collect();
        std::fs::write(at.join(tracked[0]), "edited\n").expect("a file is written");
        std::fs::write(at.join("staged.txt"), "staged\n").expect("a file is written");
        git(at, ["add", "staged.txt"]);
        std::fs::write(at.join("staged.txt"), "staged, and edited\n").expect("a file is written");
        std::fs::write(at.join("meant.txt"), "meant\n").expect("a file is written");
        git(at, ["add", "-N", "meant.txt"]);
        std::fs::write(at.join(".env"), "SECRET=1\n").expect("a file is written");
        git(&self.other.checkout, ["fetch", "-q", &self.other.upstream.to_string_lossy()]);
        git(&self.other.checkout, ["checkout", "-q", &self.other.tip.to_string()]);
        std::fs::write(self.moved.checkout.join("untracked-in-module"), "x\n").expect("a file is written");
    }

    pub(crate) fn status(&self) -> Vec<u8> {
        status(self.path())
    }
}

pub(crate) fn repository_at(at: &Path, home: &Path) -> GitRepository {
    let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
    let environment = Environment { home: Some(home.to_owned()), ..Environment::default() };
    GitRepository::open_in(at, settings, environment).expect("it opens")
}

pub(crate) fn head_of(at: &Path) -> ObjectId {
    git(at, ["rev-parse", "HEAD"]).trim().parse().expect("an id")
}

/// A committed file with a line more.
pub(crate) fn file_edit(at: &Path, name: &str) -> PathEdit {
    let content = git_bytes(at, ["show", &format!("HEAD:{name}")]);
    let new = [&content[..], b"# changed\n"].concat();
    let file = |content| PathContent::File { executable: false, content };
    PathEdit { path: RepoPath::from(name), old: Some(file(content)), new: file(new) }
}

/// What git says, without writing the index.
pub(crate) fn status(at: &Path) -> Vec<u8> {
    git_bytes(at, ["--no-optional-locks", "status", "--porcelain=v2", "-z", "--untracked-files=all"])
}

fn options() -> DetectOptions {
    DetectOptions {
        offline: false,
        probe_timeout: Duration::from_mins(1),
        fetch_timeout: Duration::from_mins(1),
        parallel: 2,
        parallel_per_host: 2,
        max_mirror_bytes: 64 << 20,
        max_refs: 1000,
        allow_local_urls: true,
    }
}
