//! What each module is called: the flake input that it is, else its directory, else its path.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::id::{ModuleName, RepoPath};
use crate::domain::text;
use crate::domain::url::RepoIdentity;

/// A module that needs a name.
pub(super) struct Unnamed<'a> {
    pub(super) path: &'a RepoPath,
    pub(super) identity: &'a RepoIdentity,
}

/// A name, and the flake input that the module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: ModuleName,
    pub(super) input: Option<String>,
}

/// Names for modules that are sorted by path, in their order; all different.
///
/// An input belongs to at most one module: first by identity (of several inputs the one that
/// is called like the directory, else the first by name; of several modules the one whose
/// directory is called like the input, else the first by path), then by directory name.
pub(super) fn assign(modules: &[Unnamed<'_>], inputs: &BTreeMap<String, Option<RepoIdentity>>) -> Vec<Named> {
    let chosen = match_inputs(modules, inputs);
    let mut taken: BTreeMap<ModuleName, usize> = BTreeMap::new();
    let wanted: Vec<ModuleName> = modules
        .iter()
        .zip(&chosen)
        .map(|(module, input)| match input {
            Some(input) => ModuleName::new(input),
            None => ModuleName::new(&text::inert_bytes(module.path.file_name())),
        })
        .collect();
    for name in &wanted {
        *taken.entry(name.clone()).or_default() += 1;
    }
    let input_names: BTreeSet<&ModuleName> =
        wanted.iter().zip(&chosen).filter(|(_, input)| input.is_some()).map(|(name, _)| name).collect();
    wanted
        .iter()
        .zip(chosen.clone())
        .zip(modules)
        .map(|((name, input), module)| {
            let alone = taken.get(name).is_none_or(|count| *count == 1);
            let keeps = alone || (input.is_some() && input_names.contains(name));
            let name = if keeps { name.clone() } else { ModuleName::new(&module.path.to_string()) };
            Named { name, input }
        })
        .collect()
}

/// The input of each module, if any.
fn match_inputs(
    modules: &[Unnamed<'_>],
    inputs: &BTreeMap<String, Option<RepoIdentity>>,
) -> Vec<Option<String>> {
    let mut chosen: Vec<Option<String>> = vec![None; modules.len()];
    let mut free: BTreeSet<&str> = inputs.keys().map(String::as_str).collect();
    let mut by_identity: BTreeMap<&RepoIdentity, Vec<&str>> = BTreeMap::new();
    for (input, identity) in inputs {
        if let Some(identity) = identity {
            by_identity.entry(identity).or_default().push(input);
        }
    }
    let directory = |at: usize| modules[at].path.file_name();
    // Agreement of identity and directory first, so that it does not depend on the order.
    for exact in [true, false] {
        for (at, module) in modules.iter().enumerate() {
            if chosen[at].is_some() {
                continue;
            }
            let candidates = by_identity.get(module.identity).map(Vec::as_slice).unwrap_or_default();
            let found = candidates
                .iter()
                .find(|input| free.contains(**input) && (!exact || input.as_bytes() == directory(at)));
            if let Some(input) = found {
                free.remove(*input);
                chosen[at] = Some((*input).to_owned());
            }
        }
    }
    for (at, slot) in chosen.iter_mut().enumerate().filter(|(_, slot)| slot.is_none()) {
        let found = free.iter().copied().find(|input| input.as_bytes() == directory(at));
        if let Some(input) = found {
            free.remove(input);
            *slot = Some(input.to_owned());
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(modules: &[(&str, &str)], inputs: &[(&str, Option<&str>)], expect: &[(&str, Option<&str>)]) {
        let identity = |repo: &str| RepoIdentity::github("o", repo);
        let owned: Vec<(RepoPath, RepoIdentity)> =
            modules.iter().map(|(path, repo)| (RepoPath::from(*path), identity(repo))).collect();
        let unnamed: Vec<Unnamed<'_>> =
            owned.iter().map(|(path, identity)| Unnamed { path, identity }).collect();
        let inputs = inputs.iter().map(|(name, repo)| ((*name).to_owned(), repo.map(identity))).collect();
        let named = assign(&unnamed, &inputs);
        let shown: Vec<(&str, Option<&str>)> =
            named.iter().map(|named| (named.name.as_str(), named.input.as_deref())).collect();
        assert_eq!(shown, expect);
    }

    #[test]
    fn an_input_with_the_same_repository_names_the_module() {
        check(
            &[("repos/logos-package-manager-module", "logos-package-manager-module")],
            &[("package_manager", Some("Logos-Package-Manager-Module")), ("nixpkgs", None)],
            &[("package_manager", Some("package_manager"))],
        );
    }

    #[test]
    fn of_several_inputs_the_one_called_like_the_directory_wins_else_the_first() {
        check(&[("r/b", "x")], &[("a", Some("x")), ("b", Some("x"))], &[("b", Some("b"))]);
        check(&[("r/q", "x")], &[("b", Some("x")), ("a", Some("x"))], &[("a", Some("a"))]);
    }

    #[test]
    fn of_several_modules_the_one_whose_directory_agrees_wins() {
        check(&[("r/a", "x"), ("r/in", "x")], &[("in", Some("x"))], &[("a", None), ("in", Some("in"))]);
    }

    #[test]
    fn else_the_directory_names_it() {
        check(&[("r/lib", "x")], &[("lib", None)], &[("lib", Some("lib"))]);
        check(&[("r/lib", "x")], &[], &[("lib", None)]);
    }

    #[test]
    fn names_that_clash_become_paths_and_stay_apart() {
        check(&[("a/lib", "x"), ("b/lib", "y")], &[], &[("a/lib", None), ("b/lib", None)]);
        check(
            &[("a/lib", "x"), ("b/q", "y")],
            &[("lib", Some("y"))],
            &[("a/lib", None), ("lib", Some("lib"))],
        );
        check(&[("a b", "x"), ("c/a b", "y")], &[], &[("a\\u{20}b", None), ("c/a\\u{20}b", None)]);
    }
}
