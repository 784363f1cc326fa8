//! Flakes, read statically: `flake.nix`, `flake.lock`, the generated dependency map, and the NAR
//! hash of a source. Nothing is evaluated and nothing is fetched.

use std::collections::BTreeMap;

use super::url::RepoIdentity;

pub mod nar;

pub mod shared;

pub mod named;

pub mod reference;

pub mod syntax;

mod scope;

pub mod nix_reader;

pub mod lock;

pub mod dep_graph;

pub mod edit;

pub mod relock;

/// The root inputs of a flake and the repository each one is, where that is known: the lock's
/// answer where it has one, else the reference in `flake.nix`.
///
/// A file that cannot be read adds nothing here; it is reported where pins and order are.
#[must_use]
pub fn root_inputs(
    flake_nix: Option<&[u8]>,
    flake_lock: Option<&[u8]>,
) -> BTreeMap<String, Option<RepoIdentity>> {
    let flake = flake_nix.and_then(|bytes| nix_reader::read(bytes).ok());
    let lock = flake_lock.and_then(|bytes| lock::Lock::parse(bytes).ok());
    let mut inputs: BTreeMap<String, Option<RepoIdentity>> = BTreeMap::new();
    for (name, spec) in flake.iter().flat_map(|flake| &flake.inputs) {
        inputs.insert(name.clone(), spec.reference.as_ref().and_then(reference::FlakeRef::identity));
    }
    for (lock, (name, node)) in
        lock.iter().flat_map(|lock| lock.root_inputs().map(move |input| (lock, input)))
    {
        // An input that flake.nix no longer has is not one, whatever the lock remembers.
        if flake.as_ref().is_some_and(|flake| !flake.inputs.contains_key(name)) {
            continue;
        }
        let identity = node.and_then(|node| lock.node(node).identity());
        let known = inputs.entry(name.to_owned()).or_default();
        *known = identity.or_else(|| known.take());
    }
    inputs
}
