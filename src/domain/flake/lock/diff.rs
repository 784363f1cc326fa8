//! What is different between two locks, in input paths: what people and rules talk about, and
//! what node names never say.
//!
//! Both are walked from their roots side by side; a pair of nodes is compared once, so that the
//! cost is bounded by the nodes and not by the paths.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::{Input, InputEdge, Lock, NodeId};
use crate::domain::flake::named::Named;
use crate::domain::flake::reference::FlakeRef;
use crate::domain::flake::shared;

/// What an input is in one lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Locked on its own.
    Locked(FlakeRef),
    /// The same as another input, named by its path.
    Follows(Vec<String>),
}

/// What became of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added(State),
    /// It is gone.
    Removed(State),
    /// It is locked to something else, or follows something else.
    Updated {
        /// What it was.
        from: State,
        /// What it is.
        to: State,
    },
    /// It is locked to the same, and what was asked for, or how it is used, is not the same.
    Reworded {
        /// What was asked for.
        from: FlakeRef,
        /// What is.
        to: FlakeRef,
    },
}

impl Lock {
    /// What is different in `later`: input paths in order, each with what became of it. The
    /// inputs of an added or removed input are listed with it.
    #[must_use]
    pub fn diff(&self, later: &Self) -> Vec<(Vec<String>, Change)> {
        let mut found = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![(Vec::new(), self.root, later.root)];
        while let Some((path, old, new)) = open.pop() {
            if !seen.insert((old, new)) {
                continue;
            }
            for (name, was, is) in both(&self.node(old).inputs, &later.node(new).inputs) {
                match (was, is) {
                    (Some(was), Some(is)) => {
                        if let Some(change) = self.changed(was, later, is) {
                            found.insert(below(&path, name), change);
                        }
                        match (&was.edge, &is.edge) {
                            (InputEdge::Node(was), InputEdge::Node(is)) => {
                                let mut at = path.clone();
                                at.push(name);
                                open.push((at, *was, *is));
                            }
                            (InputEdge::Node(was), _) => {
                                self.all_below(*was, &below(&path, name), &mut found, Change::Removed);
                            }
                            (_, InputEdge::Node(is)) => {
                                later.all_below(*is, &below(&path, name), &mut found, Change::Added);
                            }
                            _ => {}
                        }
                    }
                    (Some(was), None) => self.all(was, &below(&path, name), &mut found, Change::Removed),
                    (None, Some(is)) => later.all(is, &below(&path, name), &mut found, Change::Added),
                    (None, None) => {}
                }
            }
        }
        found.into_iter().collect()
    }

    /// What changed outside the declared inputs of the root: must be empty when only those were
    /// to move.
    #[must_use]
    pub fn moved_outside(&self, later: &Self, declared: &BTreeSet<String>) -> Vec<(Vec<String>, Change)> {
        let mut moved = self.diff(later);
        moved.retain(|(path, _)| path.first().is_none_or(|root| !declared.contains(root)));
        moved
    }

    fn state(&self, input: &Input) -> State {
        match &input.edge {
            InputEdge::Node(id) => State::Locked(self.node(*id).locked.clone().unwrap_or_default()),
            InputEdge::Follows(path) => State::Follows(shared::owned(path)),
        }
    }

    fn changed(&self, was: &Input, later: &Self, is: &Input) -> Option<Change> {
        let (InputEdge::Node(old), InputEdge::Node(new)) = (&was.edge, &is.edge) else {
            let (from, to) = (self.state(was), later.state(is));
            return (from != to).then_some(Change::Updated { from, to });
        };
        let (old, new) = (self.node(*old), later.node(*new));
        if old.locked != new.locked {
            Some(Change::Updated { from: self.state(was), to: later.state(is) })
        } else if (&old.original, old.flake, &old.parent) != (&new.original, new.flake, &new.parent) {
            Some(Change::Reworded {
                from: old.original.clone().unwrap_or_default(),
                to: new.original.clone().unwrap_or_default(),
            })
        } else {
            None
        }
    }

    fn all(
        &self,
        input: &Input,
        at: &[String],
        found: &mut BTreeMap<Vec<String>, Change>,
        what: fn(State) -> Change,
    ) {
        found.insert(at.to_vec(), what(self.state(input)));
        if let InputEdge::Node(id) = input.edge {
            self.all_below(id, at, found, what);
        }
    }

    fn all_below(
        &self,
        top: NodeId,
        at: &[String],
        found: &mut BTreeMap<Vec<String>, Change>,
        what: fn(State) -> Change,
    ) {
        let mut seen = BTreeSet::new();
        let mut open = vec![(top, at.to_vec())];
        while let Some((id, path)) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            for (name, input) in &self.node(id).inputs {
                let mut at = path.clone();
                at.push(name.to_string());
                found.insert(at.clone(), what(self.state(input)));
                if let InputEdge::Node(id) = input.edge {
                    open.push((id, at));
                }
            }
        }
    }
}

/// The inputs of two nodes side by side, by name.
fn both<'a>(
    before: &'a Named<Input>,
    after: &'a Named<Input>,
) -> impl Iterator<Item = (&'a str, Option<&'a Input>, Option<&'a Input>)> {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (before.peek(), after.peek()) {
            (Some((was, _)), Some((is, _))) => was.cmp(is),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let was = if order.is_le() { before.next() } else { None };
        let is = if order.is_ge() { after.next() } else { None };
        let (name, _) = was.or(is)?;
        Some((name.as_str(), was.map(|(_, input)| input), is.map(|(_, input)| input)))
    })
}

fn below(path: &[&str], name: &str) -> Vec<String> {
    path.iter().chain([&name]).map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(root_inputs: &str, nodes: &[(&str, &str, &str, &str)]) -> Lock {
        let nodes = nodes
            .iter()
            .map(|(key, rev, original, inputs)| {
                format!(
                    r#", "{key}": {{"inputs": {{{inputs}}}, "locked": {{"type": "git", "url": "https://x.org/{key}", "rev": "{rev}"}}, "original": {{"type": "git", "url": "{original}"}}}}"#
                )
            })
            .collect::<Vec<_>>()
            .concat();
        let file = format!(
            r#"{{"nodes": {{"root": {{"inputs": {{{root_inputs}}}}}{nodes}}}, "root": "root", "version": 7}}"#
        );
        Lock::parse(file.as_bytes()).expect("it is well formed")
    }

    fn shown(changes: &[(Vec<String>, Change)]) -> Vec<String> {
        let state = |state: &State| match state {
            State::Locked(reference) => reference.rev().unwrap_or("?").to_owned(),
            State::Follows(path) => format!("={}", path.join("/")),
        };
        changes
            .iter()
            .map(|(path, change)| {
                let what = match change {
                    Change::Added(is) => format!("+{}", state(is)),
                    Change::Removed(was) => format!("-{}", state(was)),
                    Change::Updated { from, to } => format!("{}>{}", state(from), state(to)),
                    Change::Reworded { .. } => "reworded".to_owned(),
                };
                format!("{} {what}", path.join("/"))
            })
            .collect()
    }

    #[test]
    fn changes_are_told_by_input_path_and_not_by_node_name() {
        let before = lock(
            r#""a": "a", "b": "b", "c": "c", "d": ["a"]"#,
            &[
                ("a", "1", "u", r#""x": "x""#),
                ("b", "2", "u", ""),
                ("c", "3", "u", r#""y": "y""#),
                ("x", "4", "u", ""),
                ("y", "5", "u", ""),
            ],
        );
        let renamed = lock(
            r#""a": "a", "b": "b", "c": "c", "d": ["a"]"#,
            &[
                ("a", "1", "u", r#""x": "x_9""#),
                ("b", "2", "u", ""),
                ("c", "3", "u", r#""y": "y""#),
                ("x_9", "4", "u", ""),
                ("y", "5", "u", ""),
            ],
        );
        // The node's url is made from its key here, so a renamed node is another source.
        assert_eq!(shown(&before.diff(&renamed)), ["a/x 4>4"]);
        assert_eq!(before.diff(&before.clone()), []);

        let after = lock(
            r#""a": "a", "b": "b", "d": ["b"], "e": "e""#,
            &[
                ("a", "9", "u", r#""x": ["b"]"#),
                ("b", "2", "v", ""),
                ("e", "7", "u", r#""z": "z""#),
                ("z", "8", "u", ""),
            ],
        );
        let changes = before.diff(&after);
        assert_eq!(
            shown(&changes),
            ["a 1>9", "a/x 4>=b", "b reworded", "c -3", "c/y -5", "d =a>=b", "e +7", "e/z +8"]
        );
        let declared: BTreeSet<String> = ["a", "c", "d", "e"].map(str::to_owned).into();
        assert_eq!(shown(&before.moved_outside(&after, &declared)), ["b reworded"]);
    }

    #[test]
    fn shared_nodes_and_cycles_cost_their_number_and_not_their_paths() {
        // 40 doublings: 2^40 paths.
        let nodes: Vec<(String, String)> = (0..40)
            .map(|n| {
                let inputs = if n == 39 {
                    r#""l": "n0""#.to_owned()
                } else {
                    format!(r#""l": "n{0}", "r": "n{0}""#, n + 1)
                };
                (format!("n{n}"), inputs)
            })
            .collect();
        let of = |rev: &'static str| {
            let nodes: Vec<(&str, &str, &str, &str)> = nodes
                .iter()
                .map(|(key, inputs)| {
                    (key.as_str(), if key == "n39" { rev } else { "1" }, "u", inputs.as_str())
                })
                .collect();
            lock(r#""a": "n0""#, &nodes)
        };
        let changes = of("1").diff(&of("2"));
        assert!(changes.iter().all(|(path, _)| path.len() == 40), "{}", changes.len());
        assert!(!changes.is_empty());
        assert_eq!(of("1").diff(&lock("", &[])).len(), 79 + 1);
    }
}
