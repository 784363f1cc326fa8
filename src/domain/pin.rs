//! Pins: all the places that record a module's revision, and whether they agree.
//!
//! `nix build` takes what the lock says, `git submodule update` takes the gitlink; where they
//! disagree, what is reviewed is not what is built.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::change::wired::wired;
use super::flake::dep_graph::DepGraph;
use super::flake::lock::{Lock, Node, NodeId};
use super::flake::nix_reader::InputSpec;
use super::flake::reference::FlakeRef;
use super::graph::{Names, Wiring, root_node};
use super::id::{ModuleName, ObjectId, RepoPath};
use super::module::Module;
use super::snapshot::{ModuleState, Snapshot};
use super::text;

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

/// One check for each module, sorted by name.
///
/// Revisions are compared as written, without case. The gitlink is HEAD's. `flake.lock` is also
/// stale when its `original` asks for another repository, branch or revision than `flake.nix`
/// does; the dependency map is stale when it lists other modules than the lock's inputs are.
#[must_use]
pub fn check(modules: &[Module], snapshot: &Snapshot, wiring: &Wiring) -> Vec<PinCheck> {
    let states = snapshot.by_name();
    all(modules, |_| true, wiring, |module| gitlink(states.get(&module.name).copied()))
}

/// The same for a tree that nobody has checked out: with these gitlinks, of the modules that are asked for.
#[must_use]
pub fn check_tree(
    modules: &[Module],
    asked: impl Fn(&Module) -> bool,
    gitlinks: &BTreeMap<ModuleName, ObjectId>,
    wiring: &Wiring,
) -> Vec<PinCheck> {
    all(modules, asked, wiring, |module| {
        let revision = gitlinks.get(&module.name).map(ToString::to_string);
        let detail = if revision.is_some() { "in the tree" } else { "not recorded" };
        PinPlace { place: Place::Gitlink, revision, detail: detail.to_owned() }
    })
}

fn all(
    modules: &[Module],
    asked: impl Fn(&Module) -> bool,
    wiring: &Wiring,
    gitlink: impl Fn(&Module) -> PinPlace,
) -> Vec<PinCheck> {
    let names = Names::new(modules);
    let modules = modules.iter().filter(|module| asked(module));
    let mut checks: Vec<PinCheck> =
        modules.map(|module| check_one(module, gitlink(module), wiring, &names)).collect();
    checks.sort_by(|a, b| a.module.cmp(&b.module));
    checks
}

fn check_one(module: &Module, gitlink: PinPlace, wiring: &Wiring, names: &Names<'_>) -> PinCheck {
    let mut places = vec![gitlink];
    let mut disagreements = Vec::new();
    let spec = module.input.as_ref().and_then(|input| wiring.flake.as_ref()?.inputs.get(input));
    if let (Some(input), Some(spec)) = (&module.input, spec) {
        places.push(flake_nix(input, spec));
    }
    let node = wiring.lock.as_ref().and_then(|lock| Some(lock.node(root_node(lock, module)?)));
    if let Some(node) = node {
        let label = |what: &str| format!("{what} of node {}", text::word(&node.key));
        if let Some(rev) = node.original.as_ref().and_then(FlakeRef::rev) {
            places.push(place(Place::FlakeLockOriginal, Some(rev), label("original.rev")));
        }
        places.push(place(Place::FlakeLock, node.rev(), label("locked.rev")));
        if let Some(why) = spec.and_then(|spec| stale_node(node, spec)) {
            disagreements.push(why);
        }
    } else if let (Some(input), Some(_), Some(_)) = (&module.input, spec, &wiring.lock) {
        disagreements.push(format!("flake.lock has no node for the input {}", text::word(input)));
    }
    if let (Some(input), Some(map)) = (&module.input, &wiring.dep_graph)
        && let Some(lock) = &wiring.lock
        && let Some(id) = root_node(lock, module)
    {
        let (detail, is_stale) = dep_graph(input, map, lock, id, names, module);
        places.push(place(Place::DepGraph, None, detail.clone()));
        if is_stale {
            disagreements.push(detail);
        }
    }
    let mut revisions: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for one in &places {
        if let Some(revision) = &one.revision {
            revisions.entry(revision.to_ascii_lowercase()).or_default().push(one.place);
        }
    }
    if revisions.len() > 1 {
        // In the order of the places, so that the gitlink is named first.
        let mut groups: Vec<(&String, &Vec<Place>)> = revisions.iter().collect();
        groups.sort_by(|a, b| a.1.cmp(b.1));
        let said = groups.into_iter().map(|(revision, places)| {
            let places: Vec<&str> = places.iter().map(|place| place.as_str()).collect();
            let verb = if places.len() == 1 { "is" } else { "are" };
            format!(
                "{} {verb} at {}",
                places.join(" and "),
                text::clipped(revision, 13).trim_end_matches('…')
            )
        });
        disagreements.insert(0, said.collect::<Vec<_>>().join(", "));
    }
    let (verdict, sentence) = verdict(module, &places, &revisions, disagreements, wiring);
    PinCheck { module: module.name.clone(), path: module.path.clone(), places, verdict, sentence }
}

fn verdict(
    module: &Module,
    places: &[PinPlace],
    revisions: &BTreeMap<String, Vec<Place>>,
    disagreements: Vec<String>,
    wiring: &Wiring,
) -> (Coherence, String) {
    if !disagreements.is_empty() {
        return (Coherence::Incoherent, disagreements.join("; "));
    }
    if let Some((file, why)) = wiring.unreadable.iter().next() {
        return (Coherence::Unknown, format!("cannot read {file}: {why}"));
    }
    let Some((revision, recorded)) = revisions.iter().next() else {
        return (Coherence::Unknown, "no place records a revision".to_owned());
    };
    let short = text::clipped(revision, 13);
    let short = short.trim_end_matches('…');
    if places.iter().all(|one| one.place != Place::Gitlink || one.revision.is_none()) {
        return (Coherence::Unknown, "no gitlink is committed".to_owned());
    }
    let sentence = match (&module.input, recorded.len()) {
        (None, _) => format!("only the gitlink records it, at {short}"),
        (Some(_), 1) => format!("only {} records a revision, {short}", recorded[0].as_str()),
        (Some(_), count) => format!("{count} places record {short}"),
    };
    (Coherence::Coherent, sentence)
}

fn place(place: Place, revision: Option<&str>, detail: String) -> PinPlace {
    PinPlace { place, revision: revision.map(text::word), detail }
}

fn gitlink(state: Option<&ModuleState>) -> PinPlace {
    let committed = state.and_then(|state| state.committed);
    let staged = state.and_then(|state| state.gitlink);
    let detail = match (committed, staged) {
        (Some(committed), Some(staged)) if committed != staged => {
            format!("in HEAD; the index has {}", staged.short())
        }
        (Some(_), _) => "in HEAD".to_owned(),
        (None, Some(staged)) => format!("not in HEAD; the index has {}", staged.short()),
        (None, None) => "not recorded".to_owned(),
    };
    PinPlace { place: Place::Gitlink, revision: committed.map(|id| id.to_string()), detail }
}

fn flake_nix(input: &str, spec: &InputSpec) -> PinPlace {
    let reference = spec.reference.as_ref();
    let rev = reference.and_then(FlakeRef::rev);
    let what = match (&spec.follows, rev, reference.and_then(FlakeRef::git_ref)) {
        (Some(path), _, _) => format!("follows {}", text::quoted(&path.join("/"))),
        (None, Some(_), _) => "with a revision".to_owned(),
        (None, None, Some(branch)) => format!("follows the branch {}", text::word(branch)),
        (None, None, None) => "without a revision".to_owned(),
    };
    place(Place::FlakeNixUrl, rev, format!("input {}, line {}, {what}", text::word(input), spec.line))
}

/// Whether the lock's node was made for another reference than `flake.nix` has now.
fn stale_node(node: &Node, spec: &InputSpec) -> Option<String> {
    let (wanted, locked) = (spec.reference.as_ref()?, node.original.as_ref()?);
    let (ours, theirs) = (wanted.identity(), locked.identity());
    if ours.is_some() && theirs.is_some() && ours != theirs {
        return Some("flake.lock was made for another repository than flake.nix names".to_owned());
    }
    if wanted.git_ref() != locked.git_ref() {
        return Some("flake.lock was made for another branch than flake.nix names".to_owned());
    }
    match (wanted.rev(), locked.rev()) {
        // Two different revisions are two places that disagree, and said as such.
        (Some(_), None) => Some("flake.lock was made before flake.nix named a revision".to_owned()),
        (None, Some(_)) => Some("flake.lock was made when flake.nix named a revision".to_owned()),
        _ => None,
    }
}

/// What the map lists against what the lock says, names only; and whether it is stale.
fn dep_graph(
    input: &str,
    map: &DepGraph,
    lock: &Lock,
    node: NodeId,
    names: &Names<'_>,
    module: &Module,
) -> (String, bool) {
    let Some(entry) = map.entries.get(input) else {
        return ("the dependency map has no entry for it".to_owned(), true);
    };
    let mut wanted: BTreeSet<&ModuleName> =
        wired(lock, node, names).into_values().map(|(_, module)| module).collect();
    let listed: BTreeSet<&ModuleName> = entry.deps.iter().filter_map(|dep| names.of_input(dep)).collect();
    wanted.remove(&module.name);
    let said = |what: &str, names: Vec<&&ModuleName>| {
        let names: Vec<&str> = names.into_iter().map(|name| name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
    };
    let differences: Vec<String> = [
        said("lacks", wanted.difference(&listed).collect()),
        said("has too many:", listed.difference(&wanted).collect()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if differences.is_empty() {
        (format!("lists {} modules", listed.len()), false)
    } else {
        (format!("the dependency map {}", differences.join(" and ")), true)
    }
}

impl Place {
    /// The words that people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gitlink => "the gitlink",
            Self::FlakeNixUrl => "flake.nix",
            Self::FlakeLockOriginal => "flake.lock's original",
            Self::FlakeLock => "flake.lock",
            Self::DepGraph => "the dependency map",
        }
    }
}

#[cfg(test)]
mod tests;
