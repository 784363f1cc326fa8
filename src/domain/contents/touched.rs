//! Which paths a change touches: under every name that they have, through renames and symlinks.
//!
//! In: what differs between two trees, the symlinks of both, and a test of paths. Out: each changed path
//! that the test finds, under the name by which it does, and how that is the same file:
//!
//! - a rename is a removal and an addition of one content, so both names count;
//! - a file is also changed under the name that a symlink gives it or a directory above it;
//! - a symlink that is added or changed is looked at under the path that it leads to.
//!
//! Links are resolved within the tree, as paths, and never followed out of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::domain::id::{ObjectId, RepoPath};

/// Most other names of one path that are looked at.
const MOST_NAMES: usize = 256;

/// Most links that one link may lead through.
const MOST_LINKS: usize = 40;

/// What kind of thing stands at a path of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A regular file that may be executed.
    Executable,
    /// A symlink.
    Link,
    /// A submodule.
    Gitlink,
}

/// What stands at a path of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// What kind of thing.
    pub kind: Kind,
    /// Its object.
    pub id: ObjectId,
}

/// A path that differs between two trees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathChange {
    /// The path.
    pub path: RepoPath,
    /// What stood there.
    pub old: Option<At>,
    /// What stands there now.
    pub new: Option<At>,
}

/// Symlinks of a tree, with what each holds: the path that it leads to, from its own directory.
pub type Links = BTreeMap<RepoPath, Vec<u8>>;

/// What differs between two trees, with the symlinks of both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// The paths that differ, sorted.
    pub changes: Vec<PathChange>,
    /// The symlinks before.
    pub links_before: Links,
    /// The symlinks after.
    pub links_after: Links,
}

/// A changed path that the test found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    /// The path that changes.
    pub path: RepoPath,
    /// What the test said of it, or of its other name.
    pub by: String,
    /// How.
    pub how: How,
}

/// How a changed path is a path that the test found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It is that path.
    Itself,
    /// It is that path, and its content was at, or went to, another one.
    Renamed(RepoPath),
    /// It is also called so, because of symlinks.
    Called(RepoPath),
    /// It is a symlink that leads there.
    LeadsTo(RepoPath),
    /// It has more names than are looked at.
    TooManyNames,
}

/// The changed paths that the test finds under any of their names, sorted; at most one for each.
pub fn touched(difference: &Difference, test: impl Fn(&[u8]) -> Option<String>) -> Vec<Touch> {
    let trees = [Tree::new(&difference.links_before), Tree::new(&difference.links_after)];
    let renames = Renames::of(&difference.changes);
    let mut found = Vec::new();
    for change in &difference.changes {
        let path = &change.path;
        let touch = |by, how| Touch { path: path.clone(), by, how };
        if let Some(by) = test(path.as_bytes()) {
            let how = renames.other(change).map_or(How::Itself, |other| How::Renamed(other.clone()));
            found.push(touch(by, how));
            continue;
        }
        let mut names = trees.iter().map(|tree| tree.names(path.as_bytes()));
        let called = names.try_fold(None, |seen: Option<Touch>, names| {
            let names = names.ok_or(())?;
            let next = || names.iter().find_map(|name| Some((test(name)?, name)));
            Ok::<_, ()>(
                seen.or_else(|| next().map(|(by, name)| touch(by, How::Called(RepoPath::new(name.clone()))))),
            )
        });
        match called {
            Ok(Some(touch)) => {
                found.push(touch);
                continue;
            }
            Ok(None) => {}
            Err(()) => {
                found.push(touch(String::new(), How::TooManyNames));
                continue;
            }
        }
        if change.new.is_some_and(|new| new.kind == Kind::Link)
            && let Some(target) = trees[1].target(path)
            && let Some(by) = test(target)
        {
            found.push(touch(by, How::LeadsTo(RepoPath::new(target))));
        }
    }
    found
}

/// Which removed path an added one has the content of, and the other way.
struct Renames<'a> {
    removed: BTreeMap<ObjectId, &'a RepoPath>,
    added: BTreeMap<ObjectId, &'a RepoPath>,
}

impl<'a> Renames<'a> {
    fn of(changes: &'a [PathChange]) -> Self {
        let mut renames = Self { removed: BTreeMap::new(), added: BTreeMap::new() };
        for change in changes {
            match (change.old, change.new) {
                (Some(old), None) => renames.removed.insert(old.id, &change.path),
                (None, Some(new)) => renames.added.insert(new.id, &change.path),
                _ => None,
            };
        }
        renames
    }

    fn other(&self, change: &PathChange) -> Option<&'a RepoPath> {
        match (change.old, change.new) {
            (Some(old), None) => self.added.get(&old.id).copied(),
            (None, Some(new)) => self.removed.get(&new.id).copied(),
            _ => None,
        }
    }
}

/// A tree's symlinks, by where they lead.
struct Tree {
    /// Where each leads, through others.
    targets: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Which lead to a path.
    leading: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl Tree {
    fn new(links: &Links) -> Self {
        let mut leading: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        let mut targets = BTreeMap::new();
        for link in links.keys() {
            if let Some(target) = resolved(links, link.as_bytes()) {
                leading.entry(target.clone()).or_default().push(link.as_bytes().to_vec());
                targets.insert(link.as_bytes().to_vec(), target);
            }
        }
        Self { targets, leading }
    }

    fn target(&self, link: &RepoPath) -> Option<&[u8]> {
        self.targets.get(link.as_bytes()).map(Vec::as_slice)
    }

    /// What else a path is called; `None` when there are too many.
    fn names(&self, path: &[u8]) -> Option<BTreeSet<Vec<u8>>> {
        let mut names: BTreeSet<Vec<u8>> = BTreeSet::new();
        if self.leading.is_empty() {
            return Some(names);
        }
        let mut open: VecDeque<(Vec<u8>, BTreeSet<&[u8]>)> = [(path.to_vec(), BTreeSet::new())].into();
        while let Some((name, through)) = open.pop_front() {
            for above in at_and_above(&name) {
                for link in self.leading.get(above).into_iter().flatten() {
                    // A link that leads above itself would give names without end.
                    if through.contains(link.as_slice()) {
                        continue;
                    }
                    let rest = name[above.len()..].strip_prefix(b"/").unwrap_or(&name[above.len()..]);
                    let other = if rest.is_empty() { link.clone() } else { [link, &b"/"[..], rest].concat() };
                    if other != path && names.insert(other.clone()) {
                        if names.len() > MOST_NAMES {
                            return None;
                        }
                        let mut through = through.clone();
                        through.insert(link);
                        open.push_back((other, through));
                    }
                }
            }
        }
        Some(names)
    }
}

/// A path, every directory above it, and the top (empty).
pub fn at_and_above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    std::iter::once(path)
        .chain(slashes.map(move |at| &path[..at]))
        .chain((!path.is_empty()).then_some(&b""[..]))
}

/// Where a link leads within its tree, links on the way followed; `None` when it leads out of it or
/// in a circle.
fn resolved(links: &Links, link: &[u8]) -> Option<Vec<u8>> {
    let mut done: Vec<&[u8]> = Vec::new();
    let mut todo: Vec<&[u8]> = link.split(|byte| *byte == b'/').rev().collect();
    let mut followed = 0;
    while let Some(part) = todo.pop() {
        match part {
            b"" | b"." => continue,
            b".." => {
                done.pop()?;
                continue;
            }
            _ => done.push(part),
        }
        if let Some(target) = links.get(&RepoPath::new(done.join(&b'/'))) {
            followed += 1;
            if followed > MOST_LINKS || target.starts_with(b"/") {
                return None;
            }
            done.pop();
            todo.extend(target.split(|byte| *byte == b'/').rev());
        }
    }
    Some(done.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(byte: u8, kind: Kind) -> At {
        At { kind, id: ObjectId::from_bytes(&[byte; 20]).unwrap() }
    }

    fn changed(path: &str) -> PathChange {
        PathChange { path: path.into(), old: Some(at(1, Kind::File)), new: Some(at(2, Kind::File)) }
    }

    fn links(all: &[(&str, &str)]) -> Links {
        all.iter().map(|(path, target)| (RepoPath::from(*path), target.as_bytes().to_vec())).collect()
    }

    /// Everything at or below these paths is found.
    fn find(difference: &Difference, forbidden: &[&str]) -> Vec<(String, How)> {
        let test = |path: &[u8]| {
            let hit =
                at_and_above(path).find(|above| forbidden.iter().any(|one| one.as_bytes() == *above))?;
            Some(String::from_utf8_lossy(hit).into_owned())
        };
        touched(difference, test).into_iter().map(|touch| (touch.path.to_string(), touch.how)).collect()
    }

    #[test]
    fn a_changed_added_or_removed_path_is_found_and_others_are_not() {
        let changes = vec![
            changed("a/b"),
            PathChange { path: "ci/new".into(), old: None, new: Some(at(3, Kind::File)) },
            PathChange { path: "ci/old".into(), old: Some(at(4, Kind::File)), new: None },
            changed("cix"),
        ];
        let found = find(&Difference { changes, ..Difference::default() }, &["ci"]);
        assert_eq!(found, [("ci/new".to_owned(), How::Itself), ("ci/old".to_owned(), How::Itself)]);
    }

    #[test]
    fn a_rename_counts_under_both_names() {
        let gone = PathChange { path: "ci/x".into(), old: Some(at(5, Kind::File)), new: None };
        let come = PathChange { path: "docs/x".into(), old: None, new: Some(at(5, Kind::File)) };
        let away = Difference { changes: vec![gone, come], ..Difference::default() };
        assert_eq!(find(&away, &["ci"]), [("ci/x".to_owned(), How::Renamed("docs/x".into()))]);
        assert_eq!(find(&away, &["docs"]), [("docs/x".to_owned(), How::Renamed("ci/x".into()))]);
    }

    #[test]
    fn a_file_is_found_under_the_names_that_links_give_it() {
        let difference = |changes: &[&str], all: &[(&str, &str)]| Difference {
            changes: changes.iter().map(|path| changed(path)).collect(),
            links_before: links(all),
            links_after: links(all),
        };
        let called = |path: &str, name: &str| (path.to_owned(), How::Called(name.into()));
        for (change, all, forbidden, expect) in [
            ("tools/run.yml", &[(".github", "tools")][..], ".github/run.yml", Some(".github/run.yml")),
            (
                "tools/w/a",
                &[(".github/workflows", "../tools/w")],
                ".github/workflows",
                Some(".github/workflows/a"),
            ),
            ("deep/b/c", &[("x", "y"), ("y", "deep/b")], "x", Some("x/c")),
            ("deep/b/c", &[("x/in", "../y"), ("y", "./deep//b/.")], "x/in/c", Some("x/in/c")),
            ("a", &[("x", "../../a")], "x", None),
            ("a", &[("x", "/a")], "x", None),
            ("a", &[("x", "y"), ("y", "x")], "x", None),
            ("a/b", &[("x", "a/bc")], "x", None),
        ] {
            let found = find(&difference(&[change], all), &[forbidden]);
            let expect: Vec<_> = expect.iter().map(|name| called(change, name)).collect();
            assert_eq!(found, expect, "{change} {all:?}");
        }
    }

    #[test]
    fn a_new_link_is_looked_at_under_the_path_that_it_leads_to() {
        let link = PathChange { path: "docs/readme".into(), old: None, new: Some(at(9, Kind::Link)) };
        let links_after = links(&[("docs/readme", "../secrets/key")]);
        let difference = Difference { changes: vec![link], links_after, ..Difference::default() };
        let expect = [("docs/readme".to_owned(), How::LeadsTo("secrets/key".into()))];
        assert_eq!(find(&difference, &["secrets"]), expect);
        assert!(find(&difference, &["secret"]).is_empty());
    }

    #[test]
    fn a_link_that_is_taken_away_still_names_what_changed_with_it() {
        let gone = PathChange { path: "pipelines".into(), old: Some(at(9, Kind::Link)), new: None };
        let difference = Difference {
            changes: vec![gone, changed("tools/a")],
            links_before: links(&[("pipelines", "tools")]),
            links_after: Links::new(),
        };
        let found = find(&difference, &["pipelines/a"]);
        assert_eq!(found, [("tools/a".to_owned(), How::Called("pipelines/a".into()))]);
    }

    #[test]
    fn links_without_end_do_not_hide_a_path_and_do_not_take_for_ever() {
        let all: Vec<(String, String)> = (0..40).map(|at| (format!("l{at}"), ".".to_owned())).collect();
        let all: Vec<(&str, &str)> = all.iter().map(|(link, to)| (link.as_str(), to.as_str())).collect();
        let difference =
            Difference { changes: vec![changed("a")], links_before: Links::new(), links_after: links(&all) };
        assert_eq!(find(&difference, &["nothing"]), [("a".to_owned(), How::TooManyNames)]);
        let one = Difference { links_after: links(&[("l", ".")]), ..difference };
        assert_eq!(find(&one, &["l/a"]), [("a".to_owned(), How::Called("l/a".into()))]);
        assert!(find(&one, &["nothing"]).is_empty());
    }
}
