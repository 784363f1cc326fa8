//! Changes: what a proposal does to the superproject, as a value.
//!
//! A [`Delta`] says what changes without saying on which base: pins, and what of the lock, of
//! `flake.nix` and of the dependency map. Its identity is the [`ChangeId`]: derived again on
//! another base, the same change has the same identity. A [`PathEdit`] is the same change on one
//! base, path by path, with every byte: what is built, shown and applied.
//!
//! A change that is no pin's names files instead: each with the content that stands there and the
//! one that shall, by identity.

use serde::{Deserialize, Serialize};

use super::canonical::{self, CanonicalError};
use super::id::{ChangeId, Cid, ModuleName, ObjectId, RepoPath};
use super::proposal::Track;

pub mod edits;
pub mod wired;

/// Most files in one change: a ballot names each of them.
pub const MAX_FILES: usize = 300;

/// What marks an executable file's content in a text.
const EXECUTABLE: &str = "+x";

/// The version of the canonical form of a [`Delta`].
pub const DELTA_VERSION: u32 = 1;

/// What a change does, independent of its base. Everything is sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// Format version, 1.
    pub v: u32,
    /// Which workspace it is for: the members document names it.
    pub workspace: String,
    /// The pins that move, by module.
    pub pins: Vec<PinDelta>,
    /// What changes in the lock, in `flake.nix` and in the dependency map, by place and name.
    pub edits: Vec<Edit>,
    /// For a change that is no pin's: the files that change, by path. Absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileDelta>,
    /// For a change of the rules themselves: the document that takes the place of another. Then
    /// nothing of the workspace changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentDelta>,
}

/// A document that this workspace is governed by, from one to another. Both are stored by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentDelta {
    /// Which.
    pub kind: DocumentKind,
    /// The one in force, and it must be for the change to be this one.
    pub old: Cid,
    /// The one that shall be.
    pub new: Cid,
}

/// The documents that a workspace is governed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentKind {
    /// Who decides.
    Members,
    /// By which rules.
    Policy,
}

impl DocumentKind {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Policy => "policy",
        }
    }

    /// What people call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Members => "members document",
            Self::Policy => "policy",
        }
    }

    /// By which rules a change of it is decided.
    #[must_use]
    pub fn track(self) -> Track {
        match self {
            Self::Members => Track::Membership,
            Self::Policy => Track::Policy,
        }
    }
}

/// One file of the superproject's own tree, from one content to another. The bytes are stored by
/// content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDelta {
    /// The path.
    pub path: RepoPath,
    /// What stands there, and must for the change to be this one; absent when nothing does.
    pub old: Option<FileContent>,
    /// What shall stand there.
    pub new: FileContent,
}

/// A regular file, by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileContent {
    /// Whether its owner may execute it.
    pub executable: bool,
    /// The identity of its bytes.
    pub content: Cid,
}

impl FileContent {
    /// What stands at a path of a tree; `None` for what is no file.
    #[must_use]
    pub fn of(content: &PathContent) -> Option<Self> {
        match content {
            PathContent::File { executable, content } => {
                Some(Self { executable: *executable, content: Cid::of(content) })
            }
            PathContent::Gitlink(_) => None,
        }
    }
}

impl FileContent {
    /// The part of it that differs, for people.
    #[must_use]
    pub fn short(&self) -> String {
        let shown = super::id::ProposalId(self.content).short();
        if self.executable { shown + EXECUTABLE } else { shown }
    }
}

impl std::fmt::Display for FileContent {
    /// The identity, with `+x` behind it where the file is executable.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.content, if self.executable { EXECUTABLE } else { "" })
    }
}

impl std::str::FromStr for FileContent {
    type Err = <Cid as std::str::FromStr>::Err;

    fn from_str(shown: &str) -> Result<Self, Self::Err> {
        let content = shown.strip_suffix(EXECUTABLE);
        Ok(Self { executable: content.is_some(), content: content.unwrap_or(shown).parse()? })
    }
}

/// One module's pin, from one revision to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinDelta {
    /// The module.
    pub module: ModuleName,
    /// Where its gitlink is.
    pub path: RepoPath,
    /// What the gitlink records now.
    pub from: Revision,
    /// What it shall record.
    pub to: Revision,
}

/// A revision by both its names: git's, and that of the files themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// The commit.
    pub commit: ObjectId,
    /// The NAR hash of its tree as SRI, `sha256-…`: git's own id of it is SHA-1 mostly. Absent
    /// only for a `from` whose objects are not at hand.
    pub nar: Option<String>,
}

/// One thing that changes in a file that records pins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// In which file.
    pub place: EditPlace,
    /// What of it: the input path from the root in the lock, the input's name in `flake.nix`, the
    /// entry's name in the dependency map.
    pub at: Vec<String>,
    /// What stood there, in full; absent when nothing did.
    pub old: Option<String>,
    /// What shall stand there, in full; absent when nothing shall.
    pub new: Option<String>,
}

/// A file that records pins beside the gitlinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EditPlace {
    /// `flake.lock`.
    FlakeLock,
    /// `flake.nix`.
    FlakeNix,
    /// The generated dependency map.
    DepGraph,
}

impl EditPlace {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FlakeLock => "flake.lock",
            Self::FlakeNix => "flake.nix",
            Self::DepGraph => "dependency map",
        }
    }
}

impl Delta {
    /// The bytes that the identity is of.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_canonical(self)
    }

    /// The contents that it brings, which are carried with it where it goes.
    pub fn contents(&self) -> impl Iterator<Item = Cid> {
        let document = self.document.map(|document| document.new);
        self.files.iter().map(|file| file.new.content).chain(document)
    }

    /// The identity of the change.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn id(&self) -> Result<ChangeId, CanonicalError> {
        Ok(ChangeId(Cid::of(&self.to_canonical()?)))
    }
}

/// One path of the superproject's tree, before and after. Sorted by path in a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathEdit {
    /// The path.
    pub path: RepoPath,
    /// What stands there on the base; `None` when nothing does.
    pub old: Option<PathContent>,
    /// What shall stand there.
    pub new: PathContent,
}

/// What stands at a path of a tree. Symlinks are never part of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathContent {
    /// A submodule's commit.
    Gitlink(ObjectId),
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Its bytes.
        content: Vec<u8>,
    },
}

#[cfg(test)]
mod tests;
