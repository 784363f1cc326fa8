//! For every input: keep what is locked, or lock it anew (`flake.cc: computeLocks`).
//!
//! What flows: the inputs of a flake (from its `flake.nix`, or from its locked node when the node
//! is kept unseen), beside the node that an older lock has for that flake. Overrides are collected
//! on the way down under their full input paths; the outermost flake's word counts.
//!
//! Invariants: an input of the result is exactly one node, so nodes are never shared; every
//! node's inputs are complete unless a source was missing, and then there is no result.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::error::{self, RelockError};
use super::{FlakeSources, InputPath, Needed, Request, SourceError, Tree, Update, Warning};
use crate::domain::flake::lock::{Input, InputEdge, Lock, Node, NodeId};
use crate::domain::flake::nix_reader::{self, FlakeNix, InputSpec};
use crate::domain::flake::reference::{Attr, Attrs, FlakeRef};

/// Deeper than any real lock by far. A lock whose nodes name each other in a circle ends here.
const MAX_DEPTH: usize = 200;

/// More nodes than any real lock by far. A lock whose shared nodes multiply ends here.
const MAX_NODES: usize = 100_000;

/// What the walk leaves: the nodes, the root first.
pub(super) struct Computed {
    pub(super) nodes: Vec<Node>,
    pub(super) warnings: Vec<Warning>,
    pub(super) assumed: BTreeSet<InputPath>,
}

/// One input as its flake wants it.
#[derive(Debug, Clone)]
struct Wanted {
    reference: Option<FlakeRef>,
    /// From the root of the new lock.
    follows: Option<InputPath>,
    flake: bool,
}

/// Where a flake is: the tree, and the directory in it.
#[derive(Debug, Clone)]
struct Place {
    /// `None` for the root flake's own.
    tree: Option<Rc<FlakeRef>>,
    dir: Vec<String>,
}

/// An input's reference as a flake above it wants it.
struct Override {
    wanted: Wanted,
    /// Where that flake is, for relative paths.
    place: Place,
    /// Its input path.
    parent: InputPath,
}

/// A flake whose inputs are being locked.
struct Flake<'a> {
    inputs: BTreeMap<String, Wanted>,
    /// The node that is being filled.
    node: usize,
    /// Its input path.
    path: InputPath,
    /// The node that an older lock has for it.
    old: Option<(&'a Lock, NodeId)>,
    /// What `follows` of that lock are relative to.
    follows_prefix: &'a [String],
    place: Place,
    /// Whether `follows` of the older lock stand without being seen in the sources.
    trusted: bool,
}

/// A flake that was read.
struct Read {
    flake: FlakeNix,
    locked: FlakeRef,
    place: Place,
}

enum Stop {
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

struct Walk<'a> {
    request: Request<'a>,
    sources: &'a dyn FlakeSources,
    nodes: Vec<Node>,
    overrides: BTreeMap<InputPath, Override>,
    /// The names of the overrides by the input path that they are for.
    overridden: BTreeMap<InputPath, BTreeSet<String>>,
    updated: BTreeSet<InputPath>,
    /// The references of the flakes that are being locked anew, outermost first.
    parents: Vec<FlakeRef>,
    warnings: Vec<Warning>,
    assumed: BTreeSet<InputPath>,
    needed: Vec<Needed>,
}

/// All nodes of the new lock.
pub(super) fn compute<'a>(
    request: Request<'a>,
    sources: &'a dyn FlakeSources,
) -> Result<Computed, RelockError> {
    let flake = nix_reader::read(request.flake_nix)
        .map_err(|error| RelockError::FlakeNix { at: InputPath::new(), error })?;
    if let Some(lock) = request.lock {
        check_locked(lock, &[])?;
    }
    let mut walk = Walk {
        request,
        sources,
        nodes: vec![Node { flake: true, ..Node::default() }],
        overrides: BTreeMap::new(),
        overridden: BTreeMap::new(),
        updated: BTreeSet::new(),
        parents: Vec::new(),
        warnings: Vec::new(),
        assumed: BTreeSet::new(),
        needed: Vec::new(),
    };
    let place = Place { tree: None, dir: segments(request.dir) };
    let root = Flake {
        inputs: wanted(&flake.inputs, &[]),
        node: 0,
        path: InputPath::new(),
        old: request.lock.map(|lock| (lock, lock.root())),
        follows_prefix: &[],
        place,
        trusted: false,
    };
    walk.flake(&root, &flake.inputs)?;
    if !walk.needed.is_empty() {
        return Err(RelockError::Needs(walk.needed));
    }
    let unused = request.updates.keys().filter(|path| !walk.updated.contains(*path));
    walk.warnings.extend(unused.cloned().map(Warning::NotUpdated));
    Ok(Computed { nodes: walk.nodes, warnings: walk.warnings, assumed: walk.assumed })
}

/// The inputs as a `flake.nix` has them; what they follow is relative to that flake.
fn wanted(specs: &BTreeMap<String, InputSpec>, prefix: &[String]) -> BTreeMap<String, Wanted> {
    specs.iter().map(|(name, spec)| (name.clone(), Wanted::of(spec, prefix))).collect()
}

impl Wanted {
    fn of(spec: &InputSpec, prefix: &[String]) -> Self {
        Self {
            reference: spec.reference.clone(),
            follows: spec.follows.as_ref().map(|path| [prefix, path.as_slice()].concat()),
            flake: spec.flake,
        }
    }
}

fn below(path: &[String], name: &str) -> InputPath {
    let mut longer = Vec::with_capacity(path.len() + 1);
    longer.extend_from_slice(path);
    longer.push(name.to_owned());
    longer
}

fn segments(path: &str) -> Vec<String> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
}

/// A lock names every source by what cannot change, or Nix does not read it.
fn check_locked(lock: &Lock, at: &[String]) -> Result<(), RelockError> {
    // Every node, also those that nothing reaches: cheaper than telling them apart, and Nix
    // writes none.
    for (_, node) in lock.nodes() {
        if let Some(locked) = &node.locked
            && !locked.is_locked()
            && locked.relative_path().is_none()
        {
            return Err(RelockError::Unlocked {
                at: at.to_vec(),
                node: node.key.clone(),
                reference: error::reference(locked),
            });
        }
    }
    Ok(())
}

impl Walk<'_> {
    /// Lock the inputs of one flake.
    fn flake(&mut self, flake: &Flake<'_>, specs: &BTreeMap<String, InputSpec>) -> Result<(), RelockError> {
        if flake.path.len() > MAX_DEPTH {
            return Err(RelockError::TooLarge { at: flake.path.clone(), what: "more levels than are read" });
        }
        for (name, spec) in specs {
            self.collect(flake, spec, &below(&flake.path, name));
        }
        let unknown = self.overridden.get(&flake.path).into_iter().flatten();
        let unknown = unknown.filter(|name| !flake.inputs.contains_key(*name));
        self.warnings
            .extend(unknown.map(|name| Warning::NoSuchInput { of: flake.path.clone(), name: name.clone() }));
        for (name, wanted) in &flake.inputs {
            match self.input(flake, name, wanted) {
                Ok(()) | Err(Stop::Missing) => {}
                Err(Stop::Fatal(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Note what a flake says about the inputs of its inputs. A flake above said it first.
    fn collect(&mut self, flake: &Flake<'_>, spec: &InputSpec, prefix: &[String]) {
        for (name, spec) in &spec.inputs {
            let path = below(prefix, name);
            if spec.reference.is_some() || spec.follows.is_some() {
                self.overridden.entry(prefix.to_vec()).or_default().insert(name.clone());
                self.overrides.entry(path.clone()).or_insert_with(|| Override {
                    wanted: Wanted::of(spec, &flake.path),
                    place: flake.place.clone(),
                    parent: flake.path.clone(),
                });
            }
            self.collect(flake, spec, &path);
        }
    }

    fn input(&mut self, flake: &Flake<'_>, name: &str, own: &Wanted) -> Result<(), Stop> {
        let path = below(&flake.path, name);
        let over = self.overrides.get(&path);
        let (mut wanted, place, parent) = match over {
            Some(over) => (over.wanted.clone(), over.place.clone(), &over.parent),
            None => (own.clone(), flake.place.clone(), &flake.path),
        };
        // Whether it is a flake is its own flake's word.
        wanted.flake = own.flake;
        if let Some(follows) = wanted.follows {
            self.attach(flake.node, name, InputEdge::Follows(follows));
            return Ok(());
        }
        let reference = wanted.reference.unwrap_or_else(|| indirect(name));
        let parent = reference.relative_path().map(|_| parent.clone());
        self.updated.insert(path.clone());
        if !self.request.updates.contains_key(&path)
            && let Some((lock, old)) = locked_node(flake.old, name)
            && let kept = lock.node(old)
            && kept.original.as_ref().is_some_and(|original| original.same_request(&reference))
            && kept.parent == parent
        {
            return self.keep(flake, name, path, (lock, old), &place);
        }
        if wanted.flake {
            self.renew(flake.node, name, path, reference, parent, &place)
        } else {
            let locked = if reference.relative_path().is_some() {
                reference.clone()
            } else {
                self.lock(&reference, &path)?
            };
            self.add(flake.node, name, &path, locked, reference, false, parent)?;
            Ok(())
        }
    }

    /// Keep a locked node. Its own inputs are kept too unless an update is deeper inside or an
    /// override on one of them disappeared.
    fn keep(
        &mut self,
        flake: &Flake<'_>,
        name: &str,
        path: InputPath,
        (lock, old): (&Lock, NodeId),
        place: &Place,
    ) -> Result<(), Stop> {
        let kept = lock.node(old);
        let locked = kept.locked.clone().unwrap_or_default();
        let original = kept.original.clone().unwrap_or_default();
        let node =
            self.add(flake.node, name, &path, locked.clone(), original, kept.flake, kept.parent.clone())?;
        let inside = self.request.updates.range(path.clone()..).next();
        let update_inside =
            inside.is_some_and(|(update, _)| update.len() > path.len() && update.starts_with(&path));
        let unconfirmed: Vec<&InputPath> = kept
            .inputs
            .iter()
            .filter_map(|(name, input)| match &input.edge {
                InputEdge::Follows(follows) if !self.overrides.contains_key(&below(&path, name)) => {
                    Some(follows)
                }
                _ => None,
            })
            .collect();
        let mut refetch = update_inside;
        if !update_inside && !flake.trusted && !unconfirmed.is_empty() {
            // What follows something inside the kept source is most likely that source's own
            // word. What leads out of it was an override of a flake above, and is gone.
            let own = &path[flake.follows_prefix.len().min(path.len())..];
            let inner = unconfirmed.iter().all(|follows| follows.starts_with(own));
            refetch = true;
            if inner && !self.request.strict && !self.at_hand(&locked, place) {
                refetch = false;
                self.assumed.insert(path.clone());
            }
        }
        if refetch {
            let read = self.read_locked(&locked, place, &path)?;
            let inner = Flake {
                inputs: wanted(&read.flake.inputs, &path),
                node,
                path,
                old: Some((lock, old)),
                follows_prefix: flake.follows_prefix,
                place: read.place,
                trusted: false,
            };
            return Ok(self.flake(&inner, &read.flake.inputs)?);
        }
        let inner = Flake {
            inputs: kept
                .inputs
                .iter()
                .map(|(name, input)| (name.clone(), as_locked(lock, input, flake.follows_prefix)))
                .collect(),
            node,
            path,
            old: Some((lock, old)),
            follows_prefix: flake.follows_prefix,
            // Nix looks from here for relative paths too when it did not read the source.
            place: flake.place.clone(),
            trusted: true,
        };
        Ok(self.flake(&inner, &BTreeMap::new())?)
    }

    /// Lock an input anew; its inputs come from its own `flake.nix` and its own lock.
    fn renew(
        &mut self,
        parent_node: usize,
        name: &str,
        path: InputPath,
        reference: FlakeRef,
        parent: Option<InputPath>,
        place: &Place,
    ) -> Result<(), Stop> {
        let read = match reference.relative_path() {
            Some(_) => self.read_relative(&reference, place, &path)?,
            None => self.read_new(&reference, &path)?,
        };
        let node = self.add(parent_node, name, &path, read.locked, reference.clone(), true, parent)?;
        if self.parents.contains(&reference) {
            return Err(
                RelockError::CircularImport { at: path, reference: error::reference(&reference) }.into()
            );
        }
        let lock = self
            .file(&read.place, "flake.lock", &path, &reference)?
            .map(|bytes| Lock::parse(&bytes))
            .transpose()
            .map_err(|error| RelockError::FlakeLock { at: path.clone(), error })?;
        if let Some(lock) = &lock {
            check_locked(lock, &path)?;
        }
        self.parents.push(reference);
        let inner = Flake {
            inputs: wanted(&read.flake.inputs, &path),
            node,
            path: path.clone(),
            old: lock.as_ref().map(|lock| (lock, lock.root())),
            follows_prefix: &path,
            place: read.place,
            trusted: false,
        };
        let done = self.flake(&inner, &read.flake.inputs);
        self.parents.pop();
        Ok(done?)
    }

    fn attach(&mut self, node: usize, name: &str, edge: InputEdge) {
        self.nodes[node].inputs.insert(name.to_owned(), Input { edge, target: None });
    }

    #[expect(clippy::too_many_arguments, reason = "a node has this many parts")]
    fn add(
        &mut self,
        parent_node: usize,
        name: &str,
        path: &[String],
        locked: FlakeRef,
        original: FlakeRef,
        flake: bool,
        parent: Option<InputPath>,
    ) -> Result<usize, RelockError> {
        if !locked.is_locked() && locked.relative_path().is_none() {
            let reference = error::reference(&locked);
            return Err(RelockError::WouldBeUnlocked { at: path.to_vec(), reference });
        }
        if self.nodes.len() >= MAX_NODES {
            return Err(RelockError::TooLarge { at: path.to_vec(), what: "more nodes than are read" });
        }
        let node = self.nodes.len();
        let (locked, original) = (Some(locked), Some(original));
        self.nodes.push(Node { locked, original, flake, parent, ..Node::default() });
        self.attach(parent_node, name, InputEdge::Node(NodeId::at(node)));
        Ok(node)
    }

    /// What a reference is now, or at the revision that was asked for.
    fn lock(&mut self, reference: &FlakeRef, path: &[String]) -> Result<FlakeRef, Stop> {
        let revision = match self.request.updates.get(path) {
            Some(Update::Revision(revision)) => Some(revision.as_str()),
            _ => None,
        };
        if let (Some(pinned), Some(wanted)) = (reference.rev(), revision)
            && pinned != wanted
        {
            let error = RelockError::Pinned {
                at: path.to_vec(),
                reference: error::reference(reference),
                pinned: pinned.to_owned(),
                wanted: wanted.to_owned(),
            };
            return Err(error.into());
        }
        let locked = match self.sources.lock(&reference.with("dir", None), revision) {
            Ok(locked) => locked,
            Err(error) => return Err(self.unanswered(reference, revision, path, error)),
        };
        let dir = Some(reference.dir()).filter(|dir| !dir.is_empty());
        Ok(locked.with("dir", dir.map(|dir| Attr::Str(dir.to_owned()))))
    }

    fn unanswered(
        &mut self,
        reference: &FlakeRef,
        revision: Option<&str>,
        path: &[String],
        error: SourceError,
    ) -> Stop {
        match error {
            SourceError::NotAtHand(why) => {
                self.needed.push(Needed {
                    at: path.to_vec(),
                    reference: reference.clone(),
                    revision: revision.or(reference.rev()).map(str::to_owned),
                    why,
                });
                Stop::Missing
            }
            SourceError::Failed(what) => Stop::Fatal(RelockError::Source {
                at: path.to_vec(),
                reference: error::reference(reference),
                what,
            }),
        }
    }

    fn read_new(&mut self, reference: &FlakeRef, path: &[String]) -> Result<Read, Stop> {
        let locked = self.lock(reference, path)?;
        let read = self.read_locked(&locked, &Place { tree: None, dir: Vec::new() }, path)?;
        if read.flake.own.iter().all(|(name, value)| locked.attrs().get(name) == Some(value)) {
            return Ok(read);
        }
        // `inputs.self` asks for another tree of the same commit (`flake.cc: applySelfAttrs`).
        let mut asked = locked.with("narHash", None);
        for (name, value) in &read.flake.own {
            asked = asked.with(name, Some(value.clone()));
        }
        let again = match self.sources.lock(&asked.with("dir", None), None) {
            Ok(again) => again.with("dir", locked.attrs().get("dir").cloned()),
            Err(error) => return Err(self.unanswered(&asked, None, path, error)),
        };
        self.read_locked(&again, &Place { tree: None, dir: Vec::new() }, path)
    }

    /// The flake of a locked node; a relative one is looked up from `place`.
    fn read_locked(&mut self, locked: &FlakeRef, place: &Place, path: &[String]) -> Result<Read, Stop> {
        if locked.relative_path().is_some() {
            return self.read_relative(locked, place, path);
        }
        let tree = Rc::new(locked.clone());
        self.read_at(locked, Place { tree: Some(tree), dir: segments(locked.dir()) }, path)
    }

    fn read_relative(&mut self, reference: &FlakeRef, place: &Place, path: &[String]) -> Result<Read, Stop> {
        let Some(dir) = relative_dir(reference, place) else {
            let outside = reference.relative_path().unwrap_or("").to_owned();
            return Err(RelockError::Outside { at: path.to_vec(), path: outside }.into());
        };
        self.read_at(reference, Place { tree: place.tree.clone(), dir }, path)
    }

    fn read_at(&mut self, reference: &FlakeRef, place: Place, path: &[String]) -> Result<Read, Stop> {
        let Some(bytes) = self.file(&place, "flake.nix", path, reference)? else {
            let file = place.join("flake.nix");
            let error =
                RelockError::NoFlake { at: path.to_vec(), reference: error::reference(reference), file };
            return Err(error.into());
        };
        let flake =
            nix_reader::read(&bytes).map_err(|error| RelockError::FlakeNix { at: path.to_vec(), error })?;
        Ok(Read { flake, locked: reference.clone(), place })
    }

    fn file(
        &mut self,
        place: &Place,
        name: &str,
        path: &[String],
        reference: &FlakeRef,
    ) -> Result<Option<Vec<u8>>, Stop> {
        match self.sources.read(place.tree(), &place.join(name)) {
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(self.unanswered(reference, reference.rev(), path, error)),
        }
    }

    /// Whether a kept flake's source is at hand.
    fn at_hand(&self, locked: &FlakeRef, place: &Place) -> bool {
        let (place, dir) = match locked.relative_path() {
            Some(_) => (place.clone(), relative_dir(locked, place).unwrap_or_default()),
            None => (Place { tree: Some(Rc::new(locked.clone())), dir: Vec::new() }, segments(locked.dir())),
        };
        self.sources.at_hand(place.tree(), &Place { tree: None, dir }.join("flake.nix"))
    }
}

impl Place {
    fn tree(&self) -> Tree<'_> {
        self.tree.as_deref().map_or(Tree::Root, Tree::Locked)
    }

    fn join(&self, name: &str) -> String {
        let mut path = self.dir.join("/");
        if !path.is_empty() {
            path.push('/');
        }
        path + name
    }
}

/// The directory of a relative input, with the `dir` in it; `None` when it leads out of the tree.
fn relative_dir(reference: &FlakeRef, place: &Place) -> Option<Vec<String>> {
    let mut dir = place.dir.clone();
    for part in segments(reference.relative_path()?) {
        if part == ".." {
            dir.pop()?;
        } else {
            dir.push(part);
        }
    }
    dir.extend(segments(reference.dir()));
    Some(dir)
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
fn as_locked(lock: &Lock, input: &Input, follows_prefix: &[String]) -> Wanted {
    match &input.edge {
        InputEdge::Node(id) => {
            let node = lock.node(*id);
            Wanted { reference: node.original.clone(), follows: None, flake: node.flake }
        }
        InputEdge::Follows(follows) => Wanted {
            reference: None,
            follows: Some([follows_prefix, follows.as_slice()].concat()),
            flake: true,
        },
    }
}

/// What Nix asks the registry for when an input says nothing about itself.
fn indirect(name: &str) -> FlakeRef {
    let text = |text: &str| Attr::Str(text.to_owned());
    FlakeRef::from_attrs(Attrs::from([("type".to_owned(), text("indirect")), ("id".to_owned(), text(name))]))
}
