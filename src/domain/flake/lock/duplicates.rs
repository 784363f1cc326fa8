//! Repositories that a lock holds at several revisions: who sees which, and the `follows` that
//! would make them one.

use std::collections::{BTreeMap, BTreeSet};

use super::Lock;
use crate::domain::url::RepoIdentity;

/// One repository at more than one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Which.
    pub repository: RepoIdentity,
    /// Its revisions, each with the input paths that lead to it; the one that others would
    /// follow first.
    pub revisions: Vec<(String, Vec<Vec<String>>)>,
    /// For every input that is not at the first revision, unless it is inside an input that would
    /// itself be merged: the path it would follow.
    pub merges: Vec<Merge>,
}

/// A `follows` for the root's `flake.nix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The input that would follow.
    pub input: Vec<String>,
    /// The input that it would be the same as.
    pub follows: Vec<String>,
}

impl Merge {
    /// The line for the root's `flake.nix`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("inputs.{}.follows = \"{}\";", self.input.join(".inputs."), self.follows.join("/"))
    }
}

impl Lock {
    /// Every repository that is locked at more than one revision, by identity. The revision that
    /// others would follow is the one nearest to the root, an input of the root itself if it is
    /// one; among equally near ones the first by input path.
    #[must_use]
    pub fn duplicates(&self) -> Vec<Duplicate> {
        let mut seen: BTreeMap<RepoIdentity, Vec<(&str, Vec<&str>)>> = BTreeMap::new();
        for (id, path) in self.closure() {
            let node = self.node(id);
            if let (Some(identity), Some(rev)) = (node.identity(), node.rev()) {
                seen.entry(identity).or_default().push((rev, path));
            }
        }
        let owned = |path: &[&str]| -> Vec<String> { path.iter().map(|&name| name.to_owned()).collect() };
        let mut duplicates: Vec<Duplicate> = seen
            .into_iter()
            .filter(|(_, places)| places.iter().any(|(rev, _)| *rev != places[0].0))
            .map(|(repository, mut places)| {
                places.sort_by(|a, b| (a.1.len(), &a.1).cmp(&(b.1.len(), &b.1)));
                let (first, target) = places[0].clone();
                let mut revisions: Vec<(String, Vec<Vec<String>>)> = Vec::new();
                let mut merges = Vec::new();
                for (rev, path) in &places {
                    match revisions.iter_mut().find(|(known, _)| known == rev) {
                        Some((_, paths)) => paths.push(owned(path)),
                        None => revisions.push(((*rev).to_owned(), vec![owned(path)])),
                    }
                    if *rev != first {
                        merges.push(Merge { input: owned(path), follows: owned(&target) });
                    }
                }
                Duplicate { repository, revisions, merges }
            })
            .collect();
        // What a merged input brought along goes with it.
        let merged: BTreeSet<Vec<String>> = duplicates
            .iter()
            .flat_map(|duplicate| duplicate.merges.iter().map(|merge| merge.input.clone()))
            .collect();
        for duplicate in &mut duplicates {
            duplicate.merges.retain(|merge| {
                (1..merge.input.len()).all(|length| !merged.contains(&merge.input[..length]))
            });
        }
        duplicates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repository_at_two_revisions_is_told_with_what_would_merge_it() {
        let node = |repo: &str, rev: &str, inputs: &str| {
            format!(
                r#"{{"inputs": {{{inputs}}}, "locked": {{"type": "github", "owner": "o", "repo": "{repo}", "rev": "{rev}", "narHash": "h"}}, "original": {{"type": "indirect", "id": "x"}}}}"#
            )
        };
        let file = format!(
            r#"{{"nodes": {{"root": {{"inputs": {{"sdk": "sdk", "a": "a", "b": ["a"]}}}}, "sdk": {}, "a": {}, "sdk_2": {}, "c_2": {}, "c": {}, "sdk_3": {}}}, "root": "root", "version": 7}}"#,
            node("sdk", "1", ""),
            node("a", "5", r#""sdk": "sdk_2", "c": "c", "again": ["sdk"]"#),
            node("SDK", "2", r#""deep": "c_2""#),
            node("c", "7", ""),
            node("c", "6", r#""s": "sdk_3""#),
            node("sdk", "1", ""),
        );
        let lock = Lock::parse(file.as_bytes()).expect("it is well formed");
        let duplicates = lock.duplicates();
        assert_eq!(duplicates.len(), 2);
        // c is there twice, but the second would go with the merged sdk.
        assert_eq!(duplicates[0].merges, []);
        let duplicate = &duplicates[1];
        assert_eq!(duplicate.repository, RepoIdentity::github("o", "sdk"));
        let shown: Vec<String> = duplicate
            .revisions
            .iter()
            .map(|(rev, paths)| {
                format!("{rev}: {}", paths.iter().map(|path| path.join("/")).collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(shown, ["1: sdk a/c/s", "2: a/sdk"]);
        let lines: Vec<String> = duplicate.merges.iter().map(Merge::line).collect();
        assert_eq!(lines, ["inputs.a.inputs.sdk.follows = \"sdk\";"]);
    }
}
