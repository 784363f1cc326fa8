//! How Nix is used for verification: typed settings, with defaults that are safe.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::environment::NixEnvironment;

/// How Nix is used for verification.
#[derive(Debug, Clone)]
pub struct NixSettings {
    /// The program: a path, or a name that is looked for on the environment's `PATH`.
    pub program: PathBuf,
    /// What Nix gets as its environment.
    pub environment: NixEnvironment,
    /// Whether evaluation may fetch what is not at hand.
    pub fetching: Fetching,
    /// Whether builds may use the network: substituters, remote builders, fixed-output derivations.
    pub build_fetching: Fetching,
    /// The system that is evaluated and built for; Nix's own without one.
    pub system: Option<String>,
    /// How long evaluating one module may take.
    pub eval_deadline: Duration,
    /// The address space of evaluation, bytes.
    pub eval_memory_bytes: u64,
    /// How long building one module may take, with everything it needs.
    pub build_deadline: Duration,
    /// What of a module is built.
    pub outputs: Outputs,
    /// What a build outside Nix's sandbox is worth.
    pub unsandboxed: Unsandboxed,
    /// The state directory's `cache/`.
    pub cache: PathBuf,
    /// The state directory's `roots/`: what keeps verified outputs from being collected.
    pub roots: PathBuf,
}

/// Whether the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetching {
    /// Never: what is not on this machine is unknown.
    Never,
    /// As Nix is configured.
    ByNix,
}

/// What of a module is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outputs {
    /// Which packages.
    pub packages: Packages,
    /// Whether its checks are built too.
    pub checks: bool,
}

/// Which packages of a module are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packages {
    /// `default`; where there is none, the one that has the module's name; where there is none either, all.
    Default,
    /// All.
    All,
}

/// What a build outside Nix's sandbox is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsandboxed {
    /// It is built, and passing is weak.
    Weak,
    /// It is not built.
    Refused,
}

impl NixSettings {
    /// The operator's Nix, with evaluation that fetches nothing; `cache` and `roots` are directories of
    /// the state directory.
    #[must_use]
    pub fn new(cache: &Path, roots: &Path) -> Self {
        Self {
            program: "nix".into(),
            environment: NixEnvironment::of_process(),
            fetching: Fetching::Never,
            build_fetching: Fetching::ByNix,
            system: None,
            eval_deadline: Duration::from_mins(10),
            eval_memory_bytes: 8 << 30,
            build_deadline: Duration::from_mins(10),
            outputs: Outputs { packages: Packages::Default, checks: true },
            unsandboxed: Unsandboxed::Weak,
            cache: cache.to_owned(),
            roots: roots.to_owned(),
        }
    }
}
