//! Pins: all the places that record a module's revision, and whether they agree.
//!
//! `nix build` takes what the lock says, `git submodule update` takes the gitlink; where they
//! disagree, what is reviewed is not what is built.

use serde::{Deserialize, Serialize};

use super::id::{ModuleName, RepoPath};

/// One module's places, in the order of [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinCheck {
    /// The module.
    pub module: ModuleName,
    /// Where its gitlink is.
    pub path: RepoPath,
    /// Every place that records something about its revision.
    pub places: Vec<PinPlace>,
    /// Whether they agree.
    pub verdict: Coherence,
    /// One sentence without a final stop: what agrees, or which places disagree.
    pub sentence: String,
}

/// Whether a pin's places agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coherence {
    /// Every place that records a revision records the same one, and the dependency map is current.
    Coherent,
    /// At least two places disagree.
    Incoherent,
    /// A place could not be read, so nothing can be said.
    Unknown,
}

/// A place that records a module's revision or its dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The gitlink in the superproject's tree.
    Gitlink,
    /// The revision in the input's URL in `flake.nix`.
    FlakeNixUrl,
    /// `original.rev` of the input's node in `flake.lock`.
    FlakeLockOriginal,
    /// `locked.rev` of the input's node in `flake.lock`.
    FlakeLock,
    /// The entry of the generated dependency map: names only.
    DepGraph,
}

/// What one place records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinPlace {
    /// Which place.
    pub place: Place,
    /// The revision there, as written (inert text), where it records one.
    pub revision: Option<String>,
    /// What else is to be said about it: an input or node name, a reason.
    pub detail: String,
}

impl PinCheck {
    /// True when at least two places disagree.
    #[must_use]
    pub fn is_incoherent(&self) -> bool {
        self.verdict == Coherence::Incoherent
    }
}
