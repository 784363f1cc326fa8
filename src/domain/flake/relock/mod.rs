//! A flake's lock, made anew as Nix makes it.
//!
//! In: a `flake.nix`, the lock that was there, which inputs shall move, and [`FlakeSources`] that
//! answer for what other flakes are. Out: the [`Relocked`] lock, or every source that would have
//! been needed and is not at hand. Pure: what a source is comes in through the port.
//!
//! The algorithm is Nix's (`libflake/flake.cc: lockFlake`, as of 2.34), in these files:
//! `compute` decides for every input whether its locked node is kept or a new one is made, with
//! the `overrides` of the flakes above it, and `ask`s sources; `follow` then checks that what is
//! followed exists; [`Lock::to_json`] gives the bytes.
//!
//! In one point less is asked than Nix asks: where it would fetch a kept source only to see
//! whether `follows` inside it still stand, and that source is not at hand, they are kept as they
//! are and the input is named in [`Relocked::assumed`]. The source's revision has not changed, so
//! neither has what it says; what could have changed is an override in a flake above it that said
//! the same and is gone. [`Request::strict`] asks for the source.
//!
//! A lock that knows a source by its content alone (no revision: Nix makes such locks with
//! `--allow-dirty-locks`) is read with a warning, as Nix does, and no other lock is made with that
//! source in it. Nix then leaves the file as it is, which `nix flake update` calls a success; here
//! it is [`RelockError::WouldBeUnlocked`].

mod ask;
mod compute;
mod error;
mod follow;
mod overrides;
mod place;
mod updates;

use std::collections::{BTreeMap, BTreeSet};

use super::lock::Lock;
use super::reference::FlakeRef;

pub use error::{Needed, RelockError, reference as shown_reference};

/// The names of inputs from the root flake down.
pub type InputPath = Vec<String>;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The bytes of the root's `flake.nix`.
    pub flake_nix: &'a [u8],
    /// Where that file is in the root's own source, for `path:` inputs inside it; empty for the top.
    pub dir: &'a str,
    /// The lock that is there.
    pub lock: Option<&'a Lock>,
    /// Inputs that shall be locked anew, by input path.
    pub updates: &'a BTreeMap<InputPath, Update>,
    /// Do not keep `follows` unseen: see the module's documentation.
    pub strict: bool,
}

/// What an input shall be locked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The newest that its reference names.
    Newest,
    /// This revision; what `flake.nix` asks for stays recorded as it is there.
    Revision(String),
}

/// Whose tree a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree<'a> {
    /// The root flake's.
    Root,
    /// That of a locked source.
    Locked(&'a FlakeRef),
}

/// Answers for what sources are.
pub trait FlakeSources {
    /// Everything that a lock records of the newest state that `reference` names, or of
    /// `revision` of it: its attributes with `rev`, `narHash`, `lastModified` and so on. `dir`
    /// is never in the question nor in the answer.
    ///
    /// # Errors
    /// When it is not at hand, or is no such thing.
    fn lock(&self, reference: &FlakeRef, revision: Option<&str>) -> Result<FlakeRef, SourceError>;

    /// A file of a tree; `None` when there is none at this path (with `/`, relative to its top).
    ///
    /// # Errors
    /// When the tree is not at hand, or is damaged.
    fn read(&self, tree: Tree<'_>, path: &str) -> Result<Option<Vec<u8>>, SourceError>;

    /// Whether a file of a tree can be read without going anywhere for it: asked where a source
    /// is only wanted to confirm what may be assumed.
    fn at_hand(&self, tree: Tree<'_>, path: &str) -> bool {
        self.read(tree, path).is_ok()
    }
}

/// Why a source does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It is not at hand: where one would put it, as a clause (`no repository …`).
    #[error("it is not at hand: {0}")]
    NotAtHand(String),
    /// It is at hand, and no answer: what is wrong, as a clause, inert.
    #[error("{0}")]
    Failed(String),
}

/// A lock made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocked {
    /// The lock.
    pub lock: Lock,
    /// What does not stop Nix, and is said.
    pub warnings: Vec<Warning>,
    /// Kept inputs whose `follows` were not compared with their sources, which are not at hand.
    pub assumed: BTreeSet<InputPath>,
}

/// What does not stop Nix, and is said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// A flake overrides an input that its input does not have.
    NoSuchInput {
        /// The input whose input it would be.
        of: InputPath,
        /// The input that is not there.
        name: String,
    },
    /// An input that should move is none, or follows another one.
    NotUpdated(InputPath),
    /// A lock knows a source by its content alone, without a revision to fetch it by: nobody who
    /// has not got it can.
    Unlocked {
        /// Whose lock.
        at: InputPath,
        /// The node.
        node: String,
        /// What it is, shown.
        reference: String,
    },
}

impl Relocked {
    /// The file as it shall be: the old bytes when nothing changed but names or formatting, as
    /// Nix leaves them then.
    #[must_use]
    pub fn file(&self, before: Option<(&Lock, &[u8])>) -> Vec<u8> {
        let json = self.lock.to_json();
        match before {
            // Most locks are as Nix wrote them: then the bytes decide without another printing.
            Some((_, bytes)) if bytes == json.as_bytes() => json.into_bytes(),
            Some((lock, bytes)) if lock.to_json() == json => bytes.to_vec(),
            _ => json.into_bytes(),
        }
    }

    /// Whether Nix would write another lock than `before`.
    #[must_use]
    pub fn differs_from(&self, before: Option<&Lock>) -> bool {
        // Nix compares a lock that is not there as an empty one.
        before.map_or_else(|| Lock::empty().to_json(), Lock::to_json) != self.lock.to_json()
    }
}

/// Make the lock anew.
///
/// # Errors
/// With what Nix would refuse, or every source that is needed and not at hand.
pub fn relock(request: Request<'_>, sources: &dyn FlakeSources) -> Result<Relocked, RelockError> {
    finished(compute::compute(request, None, sources)?, request.lock)
}

/// As [`relock`], of these inputs of the root alone: all others stay as they are locked, also where
/// the flake says something else now, and no source of theirs is asked.
///
/// # Errors
/// As [`relock`].
pub fn relock_only(
    request: Request<'_>,
    only: &BTreeSet<String>,
    sources: &dyn FlakeSources,
) -> Result<Relocked, RelockError> {
    finished(compute::compute(request, Some(only), sources)?, request.lock)
}

fn finished(computed: compute::Computed, before: Option<&Lock>) -> Result<Relocked, RelockError> {
    follow::check(&computed.nodes)?;
    let lock = Lock::from_nodes(computed.nodes).map_err(RelockError::Circle)?;
    let made = Relocked { lock, warnings: computed.warnings, assumed: computed.assumed };
    // Left as it is, such a lock is only warned of.
    if let Some((at, locked)) = computed.unlocked
        && made.differs_from(before)
    {
        return Err(RelockError::WouldBeUnlocked { at, reference: error::reference(&locked) });
    }
    Ok(made)
}

#[cfg(test)]
mod tests;
