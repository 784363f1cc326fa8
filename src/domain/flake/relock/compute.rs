//! For every input: keep what is locked, or lock it anew (`flake.cc: computeLocks`).
//!
//! What flows: the inputs of a flake (from its `flake.nix`, or from its locked node when the node
//! is kept unseen), beside the node that an older lock has for that flake. Overrides are collected
//! on the way down; the outermost flake's word counts. `ask` is where sources are asked.
//!
//! Invariants: an input of the result is exactly one node, so nodes are never shared; every
//! node's inputs are complete unless a source was missing, and then there is no result. The walk's
//! path is that of the input at hand, and the paths of the flakes above it are its beginnings.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::error::{self, RelockError};
use super::overrides::{Overrides, Spot, Wanted};
use super::place::Place;
use super::updates::Updates;
use super::{FlakeSources, InputPath, Needed, Request, Warning};
use crate::domain::flake::lock::{Input, InputEdge, Lock, Node, NodeId};
use crate::domain::flake::nix_reader::{self, InputSpec};
use crate::domain::flake::reference::{Attr, Attrs, FlakeRef};
use crate::domain::flake::shared::{self, SharedStr};

/// Deeper than any real lock by far. A lock whose nodes name each other in a circle ends here.
const MAX_DEPTH: usize = 200;

/// More nodes than any real lock by far. A lock whose shared nodes multiply ends here.
const MAX_NODES: usize = 100_000;

/// What the walk leaves: the nodes, the root first.
pub(super) struct Computed {
    pub(super) nodes: Vec<Node>,
    pub(super) warnings: Vec<Warning>,
    pub(super) assumed: BTreeSet<InputPath>,
    /// The first input that names no revision: Nix does not write a lock with it.
    pub(super) unlocked: Option<(InputPath, FlakeRef)>,
}

/// A flake whose inputs are being locked. Its input path is the walk's, as far as `depth`.
struct Flake<'a> {
    /// By name, in order.
    inputs: Vec<(SharedStr, Wanted)>,
    /// The node that is being filled.
    node: usize,
    depth: usize,
    /// Where flakes above it say something about its inputs.
    spot: Option<Spot>,
    /// The node that an older lock has for it.
    old: Option<(&'a Lock, NodeId)>,
    /// How much of its path `follows` of that lock are relative to.
    follows_from: usize,
    place: Rc<Place>,
    /// Whether `follows` of the older lock stand without being seen in the sources.
    trusted: bool,
}

/// Why an input has no node.
pub(super) enum Stop {
    /// Not at hand; noted, the others go on.
    Missing,
    /// The end.
    Fatal(RelockError),
}

impl From<RelockError> for Stop {
    fn from(error: RelockError) -> Self {
        Self::Fatal(error)
    }
}

/// The walk over all inputs.
pub(super) struct Walk<'a> {
    pub(super) sources: &'a dyn FlakeSources,
    /// The path of the input at hand.
    pub(super) path: Vec<SharedStr>,
    pub(super) updates: Updates<'a>,
    pub(super) needed: Vec<Needed>,
    strict: bool,
    only: Option<&'a BTreeSet<String>>,
    nodes: Vec<Node>,
    overrides: Overrides,
    /// The references of the flakes that are being locked anew, outermost first.
    parents: Vec<FlakeRef>,
    warnings: Vec<Warning>,
    assumed: BTreeSet<InputPath>,
    unlocked: Option<(InputPath, FlakeRef)>,
}

/// All nodes of the new lock.
///
/// With `only`, the root's other inputs are copied from the lock that is there, whatever the
/// flake says of them now.
pub(super) fn compute<'a>(
    request: Request<'a>,
    only: Option<&'a BTreeSet<String>>,
    sources: &'a dyn FlakeSources,
) -> Result<Computed, RelockError> {
    let flake = nix_reader::read(request.flake_nix)
        .map_err(|error| RelockError::FlakeNix { at: InputPath::new(), error })?;
    let mut walk = Walk {
        sources,
        path: Vec::new(),
        updates: Updates::new(request.updates),
        needed: Vec::new(),
        strict: request.strict,
        only,
        nodes: Vec::with_capacity(request.lock.map_or(1, |lock| lock.nodes().count() + 1)),
        overrides: Overrides::default(),
        parents: Vec::new(),
        warnings: Vec::new(),
        assumed: BTreeSet::new(),
        unlocked: None,
    };
    if let Some(lock) = request.lock {
        walk.check_locked(lock)?;
    }
    walk.nodes.push(Node { flake: true, ..Node::default() });
    let root = Flake {
        inputs: wanted(&flake.inputs, &[]),
        node: 0,
        depth: 0,
        spot: None,
        old: request.lock.map(|lock| (lock, lock.root())),
        follows_from: 0,
        place: Rc::new(Place::root(request.dir)),
        trusted: false,
    };
    walk.flake(root, &flake.inputs)?;
    if let (Some(only), Some(lock)) = (only, request.lock) {
        for (name, input) in &lock.node(lock.root()).inputs {
            if !only.contains(name.as_str()) {
                walk.path.push(name.clone());
                walk.copy(0, name, lock, input)?;
                walk.path.pop();
            }
        }
    }
    if !walk.needed.is_empty() {
        return Err(RelockError::Needs(walk.needed));
    }
    walk.warnings.extend(walk.updates.unmet().map(Warning::NotUpdated));
    let Walk { nodes, warnings, assumed, unlocked, .. } = walk;
    Ok(Computed { nodes, warnings, assumed, unlocked })
}

/// The inputs as the `flake.nix` at `flake` has them.
fn wanted(specs: &BTreeMap<String, InputSpec>, flake: &[SharedStr]) -> Vec<(SharedStr, Wanted)> {
    specs.iter().map(|(name, spec)| (name.into(), Wanted::of(spec, flake))).collect()
}

impl Walk<'_> {
    /// The path of the input at hand, for people.
    pub(super) fn at(&self) -> InputPath {
        shared::owned(&self.path)
    }

    /// A lock names every source by what cannot change, or at least by its content, or Nix does
    /// not read it (`lockfile.cc: LockedNode`).
    fn check_locked(&mut self, lock: &Lock) -> Result<(), RelockError> {
        // Telling what the root reaches costs more than looking at every node, and is rarely needed.
        let mut reached = None;
        for (id, node) in lock.nodes() {
            let Some(locked) = node.locked.as_ref().filter(|locked| !is_fixed(locked)) else { continue };
            if !reached.get_or_insert_with(|| lock.owned_nodes()).contains(&id) {
                continue;
            }
            let (at, node) = (self.at(), node.key.as_str().to_owned());
            let reference = error::reference(locked);
            if locked.nar_hash().is_none() {
                return Err(RelockError::Unlocked { at, node, reference });
            }
            self.warnings.push(Warning::Unlocked { at, node, reference });
        }
        Ok(())
    }

    /// Lock the inputs of one flake.
    fn flake(
        &mut self,
        mut flake: Flake<'_>,
        specs: &BTreeMap<String, InputSpec>,
    ) -> Result<(), RelockError> {
        if flake.depth > MAX_DEPTH {
            return Err(RelockError::TooLarge { at: self.at(), what: "more levels than are read" });
        }
        for (name, spec) in specs.iter().filter(|(_, spec)| !spec.inputs.is_empty()) {
            let spot = *flake.spot.get_or_insert_with(|| self.overrides.spot());
            let spot = self.overrides.child(spot, name);
            self.overrides.collect(spot, spec, &self.path, &flake.place);
        }
        let inputs = std::mem::take(&mut flake.inputs);
        let is_input = |name: &str| inputs.binary_search_by(|(known, _)| known.as_str().cmp(name)).is_ok();
        for name in self.overrides.names(flake.spot).filter(|name| !is_input(name)) {
            let of = shared::owned(&self.path);
            self.warnings.push(Warning::NoSuchInput { of, name: name.to_owned() });
        }
        for (name, own) in inputs {
            if flake.depth == 0 && self.only.is_some_and(|only| !only.contains(name.as_str())) {
                continue;
            }
            self.path.push(name.clone());
            let done = self.input(&flake, &name, own);
            self.path.truncate(flake.depth);
            match done {
                Ok(()) | Err(Stop::Missing) => {}
                Err(Stop::Fatal(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Copy an input of the lock that is there, with everything below it.
    fn copy(&mut self, into: usize, name: &SharedStr, lock: &Lock, input: &Input) -> Result<(), RelockError> {
        if self.path.len() > MAX_DEPTH {
            return Err(RelockError::TooLarge { at: self.at(), what: "more levels than are read" });
        }
        let id = match &input.edge {
            InputEdge::Follows(follows) => {
                self.attach(into, name, InputEdge::Follows(follows.clone()));
                return Ok(());
            }
            InputEdge::Node(id) => *id,
        };
        let old = lock.node(id);
        let (locked, original) =
            (old.locked.clone().unwrap_or_default(), old.original.clone().unwrap_or_default());
        let asked = Asked { locked, original, flake: old.flake, parent: old.parent.clone() };
        let node = self.add(into, name, asked)?;
        for (name, input) in &old.inputs {
            self.path.push(name.clone());
            self.copy(node, name, lock, input)?;
            self.path.pop();
        }
        Ok(())
    }

    /// Lock the input at hand.
    fn input(&mut self, flake: &Flake<'_>, name: &SharedStr, own: Wanted) -> Result<(), Stop> {
        let spot = self.overrides.below(flake.spot, name);
        // Whether it is a flake is its own flake's word.
        let is_flake = own.flake;
        let (wanted, place, parent_depth) = match self.overrides.at(spot) {
            Some(over) => (over.wanted.clone(), Rc::clone(&over.place), over.depth),
            None => (own, Rc::clone(&flake.place), flake.depth),
        };
        if let Some(follows) = wanted.follows {
            self.attach(flake.node, name, InputEdge::Follows(follows));
            return Ok(());
        }
        let reference = wanted.reference.unwrap_or_else(|| indirect(name));
        let parent = reference.relative_path().map(|_| shared::owned(&self.path[..parent_depth]));
        self.updates.meet(&self.path);
        if self.updates.at(&self.path).is_none()
            && let Some((lock, old)) = locked_node(flake.old, name)
            && let kept = lock.node(old)
            && kept.original.as_ref().is_some_and(|original| original.same_request(&reference))
            && kept.parent == parent
        {
            return self.keep(flake, name, spot, (lock, old), &place);
        }
        if is_flake {
            self.renew(flake.node, name, spot, reference, parent, &place)
        } else {
            let locked =
                if reference.relative_path().is_some() { reference.clone() } else { self.lock(&reference)? };
            self.add(flake.node, name, Asked { locked, original: reference, flake: false, parent })?;
            Ok(())
        }
    }

    /// Keep a locked node. Its own inputs are kept too unless an update is deeper inside or an
    /// override on one of them disappeared.
    fn keep(
        &mut self,
        flake: &Flake<'_>,
        name: &SharedStr,
        spot: Option<Spot>,
        (lock, old): (&Lock, NodeId),
        place: &Rc<Place>,
    ) -> Result<(), Stop> {
        let kept = lock.node(old);
        let locked = kept.locked.clone().unwrap_or_default();
        let original = kept.original.clone().unwrap_or_default();
        let parent = kept.parent.clone();
        let asked = Asked { locked: locked.clone(), original, flake: kept.flake, parent };
        let node = self.add(flake.node, name, asked)?;
        let mut refetch = self.updates.inside(&self.path);
        if !refetch && !flake.trusted {
            let overridden = |name: &str| self.overrides.at(self.overrides.below(spot, name)).is_some();
            let unconfirmed = || {
                kept.inputs.iter().filter_map(|(name, input)| match &input.edge {
                    InputEdge::Follows(follows) if !overridden(name) => Some(follows),
                    _ => None,
                })
            };
            // What follows something inside the kept source is most likely that source's own
            // word. What leads out of it was an override of a flake above, and is gone.
            let own = &self.path[flake.follows_from.min(self.path.len())..];
            refetch = unconfirmed().next().is_some();
            if refetch
                && !self.strict
                && unconfirmed().all(|follows| follows.starts_with(own))
                && !self.at_hand(&locked, place)
            {
                refetch = false;
                self.assumed.insert(self.at());
            }
        }
        let depth = self.path.len();
        let inner = Flake {
            inputs: Vec::new(),
            node,
            depth,
            spot,
            old: Some((lock, old)),
            follows_from: flake.follows_from,
            // Nix looks from here for relative paths too when it did not read the source.
            place: Rc::clone(&flake.place),
            trusted: true,
        };
        if refetch {
            let read = self.read_locked(&locked, place)?;
            let inputs = wanted(&read.flake.inputs, &self.path);
            let inner = Flake { inputs, place: read.place, trusted: false, ..inner };
            return Ok(self.flake(inner, &read.flake.inputs)?);
        }
        if kept.inputs.is_empty() && depth <= MAX_DEPTH && self.overrides.names(spot).next().is_none() {
            return Ok(());
        }
        let prefix = &self.path[..flake.follows_from];
        let inputs =
            kept.inputs.iter().map(|(name, input)| (name.clone(), as_locked(lock, input, prefix))).collect();
        Ok(self.flake(Flake { inputs, ..inner }, &BTreeMap::new())?)
    }

    /// Lock an input anew; its inputs come from its own `flake.nix` and its own lock.
    fn renew(
        &mut self,
        parent_node: usize,
        name: &SharedStr,
        spot: Option<Spot>,
        reference: FlakeRef,
        parent: Option<InputPath>,
        place: &Rc<Place>,
    ) -> Result<(), Stop> {
        let read = match reference.relative_path() {
            Some(_) => self.read_relative(&reference, place)?,
            None => self.read_new(&reference)?,
        };
        let asked = Asked { locked: read.locked, original: reference.clone(), flake: true, parent };
        let node = self.add(parent_node, name, asked)?;
        if self.parents.contains(&reference) {
            let reference = error::reference(&reference);
            return Err(RelockError::CircularImport { at: self.at(), reference }.into());
        }
        let lock = self
            .file(&read.place, "flake.lock", &reference)?
            .map(|bytes| Lock::parse_for_relock(bytes).map(|(lock, _)| lock))
            .transpose()
            .map_err(|error| RelockError::FlakeLock { at: self.at(), error })?;
        if let Some(lock) = &lock {
            self.check_locked(lock)?;
        }
        self.parents.push(reference);
        let depth = self.path.len();
        let inner = Flake {
            inputs: wanted(&read.flake.inputs, &self.path),
            node,
            depth,
            spot,
            old: lock.as_ref().map(|lock| (lock, lock.root())),
            follows_from: depth,
            place: read.place,
            trusted: false,
        };
        let done = self.flake(inner, &read.flake.inputs);
        self.parents.pop();
        Ok(done?)
    }

    fn attach(&mut self, node: usize, name: &SharedStr, edge: InputEdge) {
        self.nodes[node].inputs.insert(name.clone(), Input { edge, target: None });
    }

    /// A node for the input at hand.
    fn add(&mut self, parent_node: usize, name: &SharedStr, asked: Asked) -> Result<usize, RelockError> {
        let Asked { locked, original, flake, parent } = asked;
        if !is_fixed(&locked) && self.unlocked.is_none() {
            self.unlocked = Some((self.at(), locked.clone()));
        }
        if self.nodes.len() >= MAX_NODES {
            return Err(RelockError::TooLarge { at: self.at(), what: "more nodes than are read" });
        }
        let node = self.nodes.len();
        let (locked, original) = (Some(locked), Some(original));
        self.nodes.push(Node { locked, original, flake, parent, ..Node::default() });
        self.attach(parent_node, name, InputEdge::Node(NodeId::at(node)));
        Ok(node)
    }
}

/// Whether a node says what its source is for ever; of a relative one, the flake around it does.
fn is_fixed(locked: &FlakeRef) -> bool {
    locked.is_locked() || locked.relative_path().is_some()
}

/// What a node says about its source.
struct Asked {
    locked: FlakeRef,
    original: FlakeRef,
    flake: bool,
    parent: Option<InputPath>,
}

/// The node that an older lock has for an input of a flake; `None` when it follows another one.
fn locked_node<'a>(old: Option<(&'a Lock, NodeId)>, name: &str) -> Option<(&'a Lock, NodeId)> {
    let (lock, node) = old?;
    match lock.node(node).inputs.get(name)?.edge {
        InputEdge::Node(id) => Some((lock, id)),
        InputEdge::Follows(_) => None,
    }
}

/// An input of a kept node as if its flake had said it.
fn as_locked(lock: &Lock, input: &Input, prefix: &[SharedStr]) -> Wanted {
    match &input.edge {
        InputEdge::Node(id) => {
            let node = lock.node(*id);
            Wanted { reference: node.original.clone(), follows: None, flake: node.flake }
        }
        InputEdge::Follows(follows) => {
            Wanted { reference: None, follows: Some([prefix, follows.as_slice()].concat()), flake: true }
        }
    }
}

/// What Nix asks the registry for when an input says nothing about itself.
fn indirect(name: &SharedStr) -> FlakeRef {
    FlakeRef::from_attrs(Attrs::from([
        (SharedStr::fixed("type"), Attr::Str(SharedStr::fixed("indirect"))),
        (SharedStr::fixed("id"), Attr::Str(name.clone())),
    ]))
}
