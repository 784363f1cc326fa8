//! From `.gitmodules` and what surrounds it to the modules of a workspace.

use std::collections::{BTreeMap, BTreeSet};

use super::id::{ObjectId, RepoPath};
use super::module::Discovery;
use super::url::RepoIdentity;

/// Everything that discovery looks at, read by an adapter.
#[derive(Debug, Clone, Default)]
pub struct DiscoverInput {
    /// The `.gitmodules` file of the index: unstaged edits are a change in the snapshot, not obeyed.
    pub gitmodules: Option<Vec<u8>>,
    /// Every gitlink of the index with its commit.
    pub gitlinks: BTreeMap<RepoPath, ObjectId>,
    /// Every symbolic link of the index: one may not stand in a module's way under another
    /// spelling (CVE-2024-32002).
    pub symlinks: BTreeSet<RepoPath>,
    /// `submodule.<name>.url` of the operator's git configuration, by submodule name.
    pub git_config_urls: BTreeMap<String, String>,
    /// `remote.origin.url` of the superproject, which relative URLs are resolved against.
    pub superproject_url: Option<String>,
    /// The branch that the superproject's HEAD names, which `branch = .` means.
    pub superproject_branch: Option<String>,
    /// `[modules.X] url` of our configuration, by module name.
    pub config_urls: BTreeMap<String, String>,
    /// Root flake inputs and the repository each one is, where that is known.
    pub flake_inputs: BTreeMap<String, Option<RepoIdentity>>,
    /// Paths and `file:` locations are allowed.
    pub allow_local_urls: bool,
}

/// The modules, and what was refused.
#[must_use]
pub fn discover(_input: &DiscoverInput) -> Discovery {
    Discovery::default()
}
