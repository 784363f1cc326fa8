//! What differs between two snapshots, and which differences are over a limit.
//!
//! Pure: two [`Snapshot`]s and [`DriftLimits`] in, a [`Drift`] out. Invariants: it is empty
//! exactly when the snapshots are equal, and swapping the snapshots gives the same set of
//! differences with `from` and `to` exchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::{ModuleName, ObjectId, RepoPath};
use super::snapshot::{Ahead, Change, ModuleState, Operation, Snapshot, TreeState, UntrackedFile};
use super::text;

/// The differences.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drift {
    /// What differs, sorted by subject and kind.
    pub items: Vec<DriftItem>,
    /// One sentence for each limit that was exceeded.
    pub over_limit: Vec<String>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DriftItem {
    /// The module's name; `None` is the superproject.
    pub module: Option<ModuleName>,
    /// What differs.
    pub what: DriftKind,
    /// Before; empty when it was not there.
    pub from: String,
    /// After; empty when it is not there any more.
    pub to: String,
}

/// What can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftKind {
    /// The module is new, or is gone.
    Presence,
    /// A submodule is refused, or is no longer.
    Refused,
    /// HEAD resolves to another commit.
    Head,
    /// Another branch is checked out.
    Branch,
    /// The module's place in the superproject.
    Path,
    /// The commit that the index records.
    Gitlink,
    /// The commit that the superproject's HEAD records.
    Committed,
    /// Whether a repository is checked out.
    Initialised,
    /// Whether HEAD names a commit.
    Detached,
    /// Whether the repository is shallow.
    Shallow,
    /// How the checkout stands to the gitlink.
    Ahead,
    /// A merge, rebase, … under way.
    Operation,
    /// Whether `index.lock` is held.
    IndexLocked,
    /// Whether there is anything a checkout would lose.
    Dirty,
    /// Tracked paths that differ.
    Changes,
    /// Untracked files.
    Untracked,
    /// Entries that git does not look at.
    Hidden,
    /// Which code answered, and what was left out.
    Reading,
    /// Why a part is not known.
    Problem,
}

/// How much may differ before a person is told. Counted in modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftLimits {
    /// Modules whose checked-out commit or gitlink moved.
    pub max_modules_moved: usize,
    /// Modules that appeared or went away.
    pub max_modules_appeared_or_gone: usize,
    /// Modules that became dirty.
    pub max_modules_dirtied: usize,
    /// Modules that became unreadable or were refused.
    pub max_modules_lost: usize,
    /// Tracked paths of the superproject that became different.
    pub max_superproject_changes: usize,
}

impl Default for DriftLimits {
    /// A person working by hand moves a few modules between two cycles, loses none, and edits
    /// a handful of the superproject's own files.
    fn default() -> Self {
        Self {
            max_modules_moved: 10,
            max_modules_appeared_or_gone: 3,
            max_modules_dirtied: 10,
            max_modules_lost: 0,
            max_superproject_changes: 50,
        }
    }
}

impl Drift {
    /// True when nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What differs from `before` to `after`.
    #[must_use]
    pub fn between(before: &Snapshot, after: &Snapshot, limits: &DriftLimits) -> Self {
        let mut found = Items(Vec::new());
        found.superproject(before, after);
        let (old, new) = (before.by_name(), after.by_name());
        let names: BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
        for name in names {
            match (old.get(name), new.get(name)) {
                (Some(from), Some(to)) => found.module(from, to),
                (from, to) => found.differ(
                    Some(name),
                    DriftKind::Presence,
                    presence(from.copied()),
                    presence(to.copied()),
                ),
            }
        }
        let mut items = found.0;
        items.sort();
        let over_limit = over_limit(before, after, &items, limits);
        Self { items, over_limit }
    }
}

/// Everything about a module that appeared or went: two different ones must not look alike.
fn presence(module: Option<&ModuleState>) -> String {
    module.map_or_else(String::new, |module| format!("{} at {}", short(module.gitlink), module.path))
}

struct Items(Vec<DriftItem>);

impl Items {
    fn differ(&mut self, module: Option<&ModuleName>, what: DriftKind, from: String, to: String) {
        if from != to {
            self.0.push(DriftItem { module: module.cloned(), what, from, to });
        }
    }

    fn superproject(&mut self, before: &Snapshot, after: &Snapshot) {
        let (from, to) = (&before.superproject, &after.superproject);
        self.differ(None, DriftKind::Head, hex(from.head), hex(to.head));
        self.differ(None, DriftKind::Branch, branch(from.branch.as_ref()), branch(to.branch.as_ref()));
        self.differ(None, DriftKind::Operation, operation(from.operation), operation(to.operation));
        self.differ(None, DriftKind::IndexLocked, yes(from.index_locked), yes(to.index_locked));
        self.tree(None, &from.tree, &to.tree);
        let (old, new): (BTreeSet<_>, BTreeSet<_>) =
            (before.refused.iter().collect(), after.refused.iter().collect());
        for gone in old.difference(&new) {
            self.differ(
                None,
                DriftKind::Refused,
                format!("{}: {}", gone.subject, gone.reason),
                String::new(),
            );
        }
        for come in new.difference(&old) {
            self.differ(
                None,
                DriftKind::Refused,
                String::new(),
                format!("{}: {}", come.subject, come.reason),
            );
        }
    }

    fn module(&mut self, from: &ModuleState, to: &ModuleState) {
        let name = Some(&from.name);
        self.differ(name, DriftKind::Path, from.path.to_string(), to.path.to_string());
        self.differ(name, DriftKind::Gitlink, hex(from.gitlink), hex(to.gitlink));
        self.differ(name, DriftKind::Committed, hex(from.committed), hex(to.committed));
        self.differ(name, DriftKind::Head, hex(from.head), hex(to.head));
        self.differ(name, DriftKind::Branch, branch(from.branch.as_ref()), branch(to.branch.as_ref()));
        self.differ(name, DriftKind::Initialised, yes(from.initialised), yes(to.initialised));
        self.differ(name, DriftKind::Detached, yes(from.detached), yes(to.detached));
        self.differ(name, DriftKind::Shallow, yes(from.shallow), yes(to.shallow));
        self.differ(name, DriftKind::Ahead, ahead(from.ahead), ahead(to.ahead));
        self.differ(name, DriftKind::Operation, operation(from.operation), operation(to.operation));
        self.differ(name, DriftKind::Dirty, yes(from.dirty), yes(to.dirty));
        let problem = |module: &ModuleState| module.problem.clone().unwrap_or_default();
        self.differ(name, DriftKind::Problem, problem(from), problem(to));
        self.tree(name, &from.tree, &to.tree);
    }

    fn tree(&mut self, module: Option<&ModuleName>, from: &TreeState, to: &TreeState) {
        let changes =
            |tree: &TreeState| keyed(&tree.changes, |change| (change.path.clone(), letters(change)));
        self.paths(module, DriftKind::Changes, &changes(from), &changes(to));
        let untracked =
            |tree: &TreeState| keyed(&tree.untracked, |file| (file.path.clone(), untracked(file)));
        self.paths(module, DriftKind::Untracked, &untracked(from), &untracked(to));
        let hidden = |tree: &TreeState| {
            keyed(&tree.hidden, |entry| (entry.path.clone(), format!("{} {:?}", entry.path, entry.flag)))
        };
        self.paths(module, DriftKind::Hidden, &hidden(from), &hidden(to));
        let reading = |tree: &TreeState| {
            let bounded: Vec<_> = tree.bounded.iter().map(|said| text::inert(said)).collect();
            format!("{:?}; {}", tree.engine, bounded.join("; "))
        };
        self.differ(module, DriftKind::Reading, reading(from), reading(to));
    }

    /// One item for each path: a path may occur more than once (a file can be hidden twice).
    fn paths(
        &mut self,
        module: Option<&ModuleName>,
        what: DriftKind,
        from: &BTreeMap<RepoPath, String>,
        to: &BTreeMap<RepoPath, String>,
    ) {
        let paths: BTreeSet<_> = from.keys().chain(to.keys()).collect();
        for path in paths {
            let at = |side: &BTreeMap<RepoPath, String>| side.get(path).cloned().unwrap_or_default();
            self.differ(module, what, at(from), at(to));
        }
    }
}

/// Values by path; those of one path are joined.
fn keyed<T>(list: &[T], entry: impl Fn(&T) -> (RepoPath, String)) -> BTreeMap<RepoPath, String> {
    let mut map: BTreeMap<RepoPath, String> = BTreeMap::new();
    for (path, value) in list.iter().map(entry) {
        map.entry(path)
            .and_modify(|known| {
                known.push_str(" + ");
                known.push_str(&value);
            })
            .or_insert(value);
    }
    map
}

fn letters(change: &Change) -> String {
    let sub = change.submodule.map_or_else(String::new, |sub| {
        format!(
            " S{}{}{}",
            if sub.commit { 'C' } else { '.' },
            if sub.modified { 'M' } else { '.' },
            if sub.untracked { 'U' } else { '.' }
        )
    });
    format!("{}{}{sub} {}", change.staged.letter(), change.worktree.letter(), change.path)
}

fn untracked(file: &UntrackedFile) -> String {
    let content = file.content.map_or_else(|| "not hashed".to_owned(), |cid| cid.to_string());
    format!("{} ({} bytes, {content})", file.path, file.size)
}

fn hex(id: Option<ObjectId>) -> String {
    id.map_or_else(String::new, |id| id.to_string())
}

fn short(id: Option<ObjectId>) -> String {
    id.map_or_else(|| "no commit".to_owned(), |id| id.short())
}

fn branch(name: Option<&String>) -> String {
    name.map_or_else(String::new, |name| text::quoted(name))
}

fn yes(it_is: bool) -> String {
    if it_is { "yes" } else { "no" }.to_owned()
}

fn operation(under_way: Option<Operation>) -> String {
    under_way.map_or_else(String::new, |operation| operation.to_string())
}

fn ahead(relation: Ahead) -> String {
    match relation {
        Ahead::Same => "same".to_owned(),
        Ahead::Ahead(commits) => format!("{commits} ahead"),
        Ahead::Behind(commits) => format!("{commits} behind"),
        Ahead::Diverged => "diverged".to_owned(),
        Ahead::Unknown => "unknown".to_owned(),
    }
}

fn over_limit(before: &Snapshot, after: &Snapshot, items: &[DriftItem], limits: &DriftLimits) -> Vec<String> {
    let modules = |kinds: &[DriftKind]| {
        items
            .iter()
            .filter(|item| kinds.contains(&item.what))
            .filter_map(|item| item.module.as_ref())
            .collect::<BTreeSet<_>>()
            .len()
    };
    let old = before.by_name();
    let became = |is: fn(&ModuleState) -> bool| {
        after
            .modules
            .iter()
            .filter(|module| is(module) && !old.get(&module.name).is_some_and(|was| is(was)))
            .count()
    };
    let refused = after.refused.iter().filter(|module| !before.refused.contains(module)).count();
    let touched = items
        .iter()
        .filter(|item| item.module.is_none() && item.what == DriftKind::Changes && !item.to.is_empty())
        .count();
    let counted = [
        (
            modules(&[DriftKind::Head, DriftKind::Gitlink, DriftKind::Committed]),
            limits.max_modules_moved,
            "modules moved to other commits",
        ),
        (
            modules(&[DriftKind::Presence]),
            limits.max_modules_appeared_or_gone,
            "modules appeared or went away",
        ),
        (became(|module| module.dirty), limits.max_modules_dirtied, "modules became dirty"),
        (
            became(|module| module.problem.is_some()) + refused,
            limits.max_modules_lost,
            "modules became unreadable or were refused",
        ),
        (touched, limits.max_superproject_changes, "files of the superproject changed"),
    ];
    counted
        .into_iter()
        .filter(|(count, limit, _)| count > limit)
        .map(|(count, limit, what)| format!("{count} {what}, which is more than the limit of {limit}"))
        .collect()
}

impl fmt::Display for DriftItem {
    /// One inert line: who, what, from, to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.module.as_ref().map_or("superproject", ModuleName::as_str);
        let side = |shown: &str| if shown.is_empty() { "nothing".to_owned() } else { text::inert(shown) };
        write!(f, "{subject}: {} was {}, is {}", self.what.as_str(), side(&self.from), side(&self.to))
    }
}

impl DriftKind {
    /// The word that people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Refused => "refused",
            Self::Head => "head",
            Self::Branch => "branch",
            Self::Path => "path",
            Self::Gitlink => "gitlink",
            Self::Committed => "committed",
            Self::Initialised => "initialised",
            Self::Detached => "detached",
            Self::Shallow => "shallow",
            Self::Ahead => "ahead",
            Self::Operation => "operation",
            Self::IndexLocked => "index-locked",
            Self::Dirty => "dirty",
            Self::Changes => "change",
            Self::Untracked => "untracked",
            Self::Hidden => "hidden",
            Self::Reading => "reading",
            Self::Problem => "problem",
        }
    }
}
