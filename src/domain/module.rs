//! A module: a submodule of the superproject, and the flake input that it is.

use serde::{Deserialize, Serialize};

use super::id::{ModuleName, RepoPath};
use super::url::{RemoteUrl, RepoIdentity};

/// One accepted module. Made by [`crate::domain::discover`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Unique in the workspace; everything is sorted by it.
    pub name: ModuleName,
    /// The submodule's name, the key of its `.gitmodules` section.
    pub submodule: String,
    /// Where the gitlink is.
    pub path: RepoPath,
    /// Who it is: from the URL that `.gitmodules` declares, whatever it is fetched from.
    pub identity: RepoIdentity,
    /// The URL that `.gitmodules` declares, as parsed (relative ones resolved).
    pub declared: RemoteUrl,
    /// Where it is fetched from, and who said so.
    pub fetch: FetchFrom,
    /// The branch to follow; `None` means the remote's HEAD.
    pub branch: Option<String>,
    /// The root flake input that is this module, where there is one.
    pub input: Option<String>,
}

/// Where a module is fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchFrom {
    /// The location.
    pub url: RemoteUrl,
    /// Which setting named it.
    pub source: FetchSource,
}

/// Which setting named a fetch location, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FetchSource {
    /// `[modules.X] url` of our configuration.
    Config,
    /// `submodule.<name>.url` of the operator's git configuration.
    GitConfig,
    /// `.gitmodules`.
    Gitmodules,
}

/// A submodule that is not touched, and why. The others go on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RefusedModule {
    /// What it is called where it was found (a path or a section name), inert.
    pub subject: String,
    /// Why, as a sentence without a final stop.
    pub reason: String,
}

/// What [`crate::domain::discover`] found in a superproject.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Discovery {
    /// Accepted modules, sorted by name.
    pub modules: Vec<Module>,
    /// What was refused, sorted.
    pub refused: Vec<RefusedModule>,
}
