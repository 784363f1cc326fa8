//! A real workspace made by code, for the demo, the tests and the benches.
//!
//! In: a [`SampleSpec`]. Out: a [`Sample`], a directory with bare upstreams and a superproject
//! whose modules are checked-out submodules, wired by a flake:
//!
//! ```text
//! DIR/upstreams/<owner>/<repo>.git   bare, with commits that are newer than the pins
//! DIR/workspace/                     the superproject, HEAD on `main`
//! DIR/workspace/repos/<directory>/   the modules, each with its git directory in
//!                                    DIR/workspace/.git/modules/repos/<directory>
//! ```
//!
//! Everything in it is true: `flake.lock` files hold the hashes of the trees they name, the
//! modules' own locks pin earlier commits of their dependencies (which is how two flakes can
//! need each other), `.gitmodules` names canonical `https` URLs and only the superproject's own
//! git configuration says that they are here. No process is started and no network is used.
//!
//! The same specification gives the same commit ids, byte for byte: people, dates and contents
//! are fixed, and the only randomness is [`SampleSpec::seed`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::domain::id::{ObjectId, RepoPath};
use crate::ports::PortResult;

mod build;
mod cast;
mod checkout;
mod content;
mod disk;
mod edit;
mod fate;
mod files;
mod flake;
mod history;
mod hostile;
mod mishap;
mod module;
mod objects;
mod random;
mod repository;
mod superproject;
mod trouble;

pub use trouble::Trouble;

/// What a sample workspace shall be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleSpec {
    /// How many modules; at least 1. The first twenty or so have parts to play, the others
    /// are ordinary.
    pub modules: usize,
    /// Tracked files of each module; a flake, its lock and a few more are there at least.
    pub files: usize,
    /// How the superproject's flake names its inputs.
    pub style: UrlStyle,
    /// The schema of the superproject's `nix/dep-graph.nix`.
    pub dep_graph: DepGraphSchema,
    /// What is wrong with the workspace; nothing by default.
    pub trouble: BTreeSet<Trouble>,
    /// Another seed, other contents, commit ids and edges.
    pub seed: u64,
}

/// How the superproject's `flake.nix` names its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlStyle {
    /// `github:owner/repo`: the revision is only in the lock.
    Unpinned,
    /// `github:owner/repo/<40 hex>` in a generated block between `# BEGIN AUTO-INPUTS` and
    /// `# END AUTO-INPUTS`.
    AutoInputs,
}

/// The schema of the generated dependency map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepGraphSchema {
    /// `name = { deps = [ … ]; hasTests = …; };`
    Old,
    /// The same with `follows = { "<downstream input>" = "<workspace input>"; };`
    New,
}

impl Default for SampleSpec {
    /// 55 modules of 50 files, unpinned, new schema, no trouble.
    fn default() -> Self {
        Self {
            modules: 55,
            files: 50,
            style: UrlStyle::Unpinned,
            dep_graph: DepGraphSchema::New,
            trouble: BTreeSet::new(),
            seed: 0,
        }
    }
}

impl SampleSpec {
    /// The default with another number of modules and files.
    #[must_use]
    pub fn sized(modules: usize, files: usize) -> Self {
        Self { modules, files, ..Self::default() }
    }

    /// The same with these troubles as well.
    #[must_use]
    pub fn with(mut self, trouble: impl IntoIterator<Item = Trouble>) -> Self {
        self.trouble.extend(trouble);
        self
    }

    /// Make it in `dir`, which is created, or is empty.
    ///
    /// # Errors
    /// When `dir` holds anything or cannot be written, or the specification cannot be met.
    pub fn build(&self, dir: &Path) -> PortResult<Sample> {
        build::build(self, dir)
    }
}

/// A sample workspace on disk.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The directory that holds all of it.
    pub root: PathBuf,
    /// The superproject's work tree.
    pub superproject: PathBuf,
    /// The bare upstreams, `<owner>/<repo>.git`.
    pub upstreams: PathBuf,
    /// The superproject's HEAD commit.
    pub head: ObjectId,
    /// Every regular module, in the order in which they were made (dependencies first, but
    /// for cycles).
    pub modules: Vec<SampleModule>,
    /// Where hostile commands would leave a trace; made when there are any.
    pub canaries: PathBuf,
    /// Which module each trouble hit, by [`SampleModule::name`].
    pub victims: BTreeMap<Trouble, String>,
}

/// One module of a sample, and what is true about it.
#[derive(Debug, Clone)]
pub struct SampleModule {
    /// What discovery calls it: its flake input's name, else its directory's.
    pub name: String,
    /// Its flake input, where it is one.
    pub input: Option<String>,
    /// The last component of its path.
    pub directory: String,
    /// Its path in the superproject, which is its submodule name too.
    pub path: RepoPath,
    /// Its plugin's name in `metadata.json`, where it has one.
    pub plugin: Option<String>,
    /// The owner in its URL.
    pub owner: String,
    /// The repository in its URL.
    pub repo: String,
    /// The URL in `.gitmodules`: `https://github.com/<owner>/<repo>.git`.
    pub url: String,
    /// Its upstream's default branch: `master` or `main`.
    pub branch: String,
    /// True when the repository holds a `flake.nix`.
    pub flake: bool,
    /// The names ([`SampleModule::name`]) of the modules whose flakes it uses, sorted.
    pub dependencies: Vec<String>,
    /// Its bare upstream repository.
    pub upstream: PathBuf,
    /// Its checkout.
    pub checkout: PathBuf,
    /// The checkout's git directory.
    pub git_dir: PathBuf,
    /// The commit that the superproject pins.
    pub pinned: ObjectId,
    /// The newest commit of the upstream's branch.
    pub tip: ObjectId,
    /// Commits of the tip that the pin has not.
    pub behind: u32,
    /// Commits of the pin that the tip has not.
    pub ahead: u32,
}

impl Sample {
    /// The module with this name.
    ///
    /// # Panics
    /// When there is none: a sample's names are known to whoever asks.
    #[must_use]
    pub fn module(&self, name: &str) -> &SampleModule {
        self.modules
            .iter()
            .find(|module| module.name == name)
            .unwrap_or_else(|| panic!("the sample has no module {name}"))
    }

    /// The module that a trouble of the specification hit.
    ///
    /// # Panics
    /// When the trouble was not asked for, or hits no single module.
    #[must_use]
    pub fn victim(&self, trouble: Trouble) -> &SampleModule {
        self.module(
            self.victims.get(&trouble).unwrap_or_else(|| panic!("no module has the trouble {trouble:?}")),
        )
    }
}
