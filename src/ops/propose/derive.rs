//! One change, derived: from pins that shall move to every byte that changes with them.
//!
//! In: a [`Base`], sources, and for each module the revision that it shall be at. Out: the
//! [`Delta`] that names the change on any base, and the [`PathEdit`]s and the tree on this one.
//! A pin moves in all its places or not at all: the gitlink, the revision in `flake.nix` where the
//! input's reference names one, the lock with the nodes below it, the module's entry of the
//! dependency map. Nothing is written, nothing is fetched, nothing is checked out.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::canonical::CanonicalError;
use crate::domain::change::{
    DELTA_VERSION, Delta, Edit, MAX_FILES, PathContent, PathEdit, PinDelta, Revision, edits, wired,
};
use crate::domain::flake::dep_graph::DepGraph;
use crate::domain::flake::edit::{EditError, set_revision, update_dep_graph};
use crate::domain::flake::lock::{Lock, Node};
use crate::domain::flake::nix_reader::{self, FlakeNix};
use crate::domain::flake::reference::FlakeRef;
use crate::domain::flake::relock::{
    FlakeSources, InputPath, RelockError, Relocked, Request, SourceError, Tree, Update, Warning, relock_only,
};
use crate::domain::id::{ChangeId, ModuleName, ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::domain::plan::PinMove;
use crate::domain::text;
use crate::ports::{ModuleSources, PortResult, Superproject};

use super::base::{Base, File};

/// A module and the revision that its pin shall be at, in all its places.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// The module.
    pub module: ModuleName,
    /// The revision.
    pub to: ObjectId,
}

impl From<&PinMove> for Ask {
    fn from(pin: &PinMove) -> Self {
        Self { module: pin.module.clone(), to: pin.to }
    }
}

/// A change on one base, with all that it does there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// What it does, whatever the base.
    pub delta: Delta,
    /// The identity of that.
    pub change: ChangeId,
    /// What it does here, path by path, sorted.
    pub edits: Vec<PathEdit>,
    /// The tree that the base becomes.
    pub tree: ObjectId,
    /// The pins, by module. A pin whose gitlink stays (a realign) has equal ends.
    pub pins: Vec<PinMove>,
    /// What to know about it, each a sentence without a final stop.
    pub notes: Vec<String>,
}

/// Why a change cannot be derived. Says it as a sentence without a final stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDerived {
    /// Nothing was asked for.
    #[error("no module was named")]
    NoPins,
    /// No such module.
    #[error("there is no module {0}")]
    NoModule(ModuleName),
    /// Asked for at two revisions.
    #[error("{0} is asked for twice")]
    Twice(ModuleName),
    /// The base has no gitlink there.
    #[error("{module} has no gitlink at {path}")]
    NoGitlink {
        /// The module.
        module: ModuleName,
        /// Where it should be.
        path: RepoPath,
    },
    /// The revision is the superproject's own commit.
    #[error("{0} cannot move to the superproject's own commit")]
    OwnCommit(ModuleName),
    /// A file that records pins cannot be understood.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// Which.
        path: RepoPath,
        /// Why, inert.
        why: String,
    },
    /// The input moves with another one.
    #[error("the input of {module} follows {}, and moves with it only", text::quoted(&.follows.join("/")))]
    Follows {
        /// The module.
        module: ModuleName,
        /// What it follows.
        follows: InputPath,
    },
    /// `flake.nix` could not be edited.
    #[error("flake.nix cannot name another revision of {module}: {error}")]
    FlakeNix {
        /// The module.
        module: ModuleName,
        /// Why.
        error: EditError,
    },
    /// The lock could not be made.
    #[error("flake.lock cannot be made: {0}")]
    Relock(Box<RelockError>),
    /// The lock does not hold the revision that was asked for.
    #[error("flake.lock would have {module} at {found}, not at {wanted}")]
    ElsewhereInLock {
        /// The module.
        module: ModuleName,
        /// What it would be at.
        found: String,
        /// What it should be at.
        wanted: ObjectId,
    },
    /// Something moved that was not to move.
    #[error("other inputs would move too: {}", .0.join(", "))]
    MovesOthers(Vec<String>),
    /// The dependency map could not be edited.
    #[error("the dependency map cannot be changed: {0}")]
    DepGraph(EditError),
    /// The files of a revision are not at hand.
    #[error("the files of {module} at {} cannot be hashed: {why}", .commit.short())]
    NotAtHand {
        /// The module.
        module: ModuleName,
        /// The revision.
        commit: ObjectId,
        /// Why, inert.
        why: String,
    },
    /// Everything is where it was asked to be.
    #[error("nothing would change: every place is at the revision already")]
    Nothing,
    /// A file is not what the change starts from.
    #[error(
        "{path} is not what the change was made for: {found} stands there, and the change starts at {wanted}"
    )]
    OtherContent {
        /// Which.
        path: RepoPath,
        /// What stands there.
        found: String,
        /// What should.
        wanted: String,
    },
    /// A change of a file where none can be.
    #[error("{path} cannot be changed as a file: {why}")]
    NoFile {
        /// Which.
        path: RepoPath,
        /// Why, inert.
        why: String,
    },
    /// More files than one change may have.
    #[error("{0} files would change, and a change has at most {MAX_FILES}")]
    TooManyFiles(usize),
    /// The files are not in the one order that a change has.
    #[error("the files of the change are not in order, or one stands twice")]
    FilesNotInOrder,
    /// A document cannot take the place of the one that the change names.
    #[error("the document cannot take the place of the one before: {0}")]
    Document(String),
    /// A value in the lock cannot be written down.
    #[error("the change has no canonical form: {0}")]
    Canonical(#[from] CanonicalError),
}

impl NotDerived {
    /// True when it may be derived later without anything being different here: what it needs is
    /// not at hand now.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NotAtHand { .. } | Self::NoFile { .. } => true,
            Self::Relock(error) => matches!(**error, RelockError::Needs(_)),
            _ => false,
        }
    }
}

/// Derive a change.
///
/// # Errors
/// When the superproject's objects cannot be read; a change that cannot be derived is a value.
pub fn derive(
    base: &Base<'_>,
    superproject: &dyn Superproject,
    sources: &dyn ModuleSources,
    workspace: &str,
    asks: &[Ask],
) -> PortResult<Result<Derived, NotDerived>> {
    let pins = match pins(base, superproject, asks)? {
        Ok(pins) => pins,
        Err(why) => return Ok(Err(why)),
    };
    let made = Making { base, superproject, sources, pins: &pins, notes: Vec::new(), edits: Vec::new() };
    let (paths, delta, notes) = match made.make(workspace) {
        Ok(made) => made,
        Err(why) => return Ok(Err(why)),
    };
    let change = match delta.id() {
        Ok(change) => change,
        Err(error) => return Ok(Err(error.into())),
    };
    let tree = superproject.tree_with(base.commit, &paths)?;
    let pins = pins.iter().map(Pin::moved).collect();
    Ok(Ok(Derived { delta, change, edits: paths, tree, pins, notes }))
}

/// One pin on its way.
struct Pin<'a> {
    module: &'a Module,
    from: ObjectId,
    to: ObjectId,
}

impl Pin<'_> {
    fn moved(&self) -> PinMove {
        let (module, path) = (self.module.name.clone(), self.module.path.clone());
        PinMove { module, path, from: self.from, to: self.to }
    }
}

/// The pins as the base has them, by module.
fn pins<'a>(
    base: &Base<'a>,
    superproject: &dyn Superproject,
    asks: &[Ask],
) -> PortResult<Result<Vec<Pin<'a>>, NotDerived>> {
    let mut asks: Vec<&Ask> = asks.iter().collect();
    asks.sort();
    if asks.is_empty() {
        return Ok(Err(NotDerived::NoPins));
    }
    let mut pins: Vec<Pin<'a>> = Vec::with_capacity(asks.len());
    for Ask { module: name, to } in asks {
        let Some(module) = base.modules.iter().find(|module| module.name == *name) else {
            return Ok(Err(NotDerived::NoModule(name.clone())));
        };
        if pins.last().is_some_and(|last| last.module.name == *name) {
            return Ok(Err(NotDerived::Twice(name.clone())));
        }
        if *to == base.commit {
            return Ok(Err(NotDerived::OwnCommit(name.clone())));
        }
        let Some(PathContent::Gitlink(from)) = superproject.content(base.commit, &module.path)? else {
            return Ok(Err(NotDerived::NoGitlink { module: name.clone(), path: module.path.clone() }));
        };
        pins.push(Pin { module, from, to: *to });
    }
    Ok(Ok(pins))
}

/// A change in the making.
struct Making<'a> {
    base: &'a Base<'a>,
    superproject: &'a dyn Superproject,
    sources: &'a dyn ModuleSources,
    pins: &'a [Pin<'a>],
    notes: Vec<String>,
    edits: Vec<Edit>,
}

type Made = (Vec<PathEdit>, Delta, Vec<String>);

impl<'a> Making<'a> {
    fn make(mut self, workspace: &str) -> Result<Made, NotDerived> {
        let mut paths: BTreeMap<RepoPath, PathEdit> = BTreeMap::new();
        for pin in self.pins.iter().filter(|pin| pin.from != pin.to) {
            let path = pin.module.path.clone();
            let (old, new) = (Some(PathContent::Gitlink(pin.from)), PathContent::Gitlink(pin.to));
            paths.insert(path.clone(), PathEdit { path, old, new });
        }
        let mut put = |path: PathEdit| {
            if path.old.as_ref() != Some(&path.new) {
                paths.insert(path.path.clone(), path);
            }
        };
        let mut lock = None;
        if let Some(flake) = &self.base.flake {
            let inputs = self.inputs(flake)?;
            let nix = self.flake_nix(flake, &inputs)?;
            let made = self.lock(&nix, &inputs)?;
            put(edited(flake, nix));
            if let (Some(file), Some(made)) = (&self.base.lock, &made) {
                put(edited(file, made.file(Some((&file.says, &file.bytes)))));
            }
            lock = made.map(|made| made.lock);
        } else {
            self.notes.push("the workspace has no flake.nix: the gitlink alone moves".to_owned());
        }
        if let (Some(map), Some(lock)) = (&self.base.map, &lock) {
            put(edited(map, self.dep_graph(map, lock)?));
        }
        let pins = self.revisions(lock.as_ref())?;
        self.edits.sort();
        let delta = Delta {
            v: DELTA_VERSION,
            workspace: workspace.to_owned(),
            pins,
            edits: self.edits,
            files: Vec::new(),
            document: None,
        };
        let paths: Vec<PathEdit> = paths.into_values().collect();
        if paths.is_empty() {
            return Err(NotDerived::Nothing);
        }
        Ok((paths, delta, self.notes))
    }

    /// The pins that are inputs, by input name. What is none is noted.
    fn inputs(&mut self, flake: &File<FlakeNix>) -> Result<BTreeMap<String, &'a Pin<'a>>, NotDerived> {
        let mut inputs = BTreeMap::new();
        for pin in self.pins {
            let known = |input: &&String| flake.says.inputs.contains_key(*input);
            let Some(input) = pin.module.input.as_ref().filter(known) else {
                self.notes.push(format!(
                    "{} is no input of the workspace's flake: its gitlink moves alone",
                    pin.module.name
                ));
                continue;
            };
            if let Some(follows) = &flake.says.inputs[input].follows {
                return Err(NotDerived::Follows {
                    module: pin.module.name.clone(),
                    follows: follows.clone(),
                });
            }
            inputs.insert(input.clone(), pin);
        }
        Ok(inputs)
    }

    /// `flake.nix` with the revisions that it names.
    fn flake_nix(
        &mut self,
        flake: &File<FlakeNix>,
        inputs: &BTreeMap<String, &Pin<'_>>,
    ) -> Result<Vec<u8>, NotDerived> {
        let mut bytes = flake.bytes.clone();
        for (input, pin) in inputs {
            let Some(before) = &flake.says.inputs[input].reference else { continue };
            let to = pin.to.to_string();
            if before.rev().is_none() || before.rev() == Some(&to) {
                continue;
            }
            let error = |error| NotDerived::FlakeNix { module: pin.module.name.clone(), error };
            bytes = set_revision(&bytes, input, &to).map_err(error)?;
            let read = nix_reader::read(&bytes).map_err(|read| error(read.into()))?;
            let after = read.inputs.get(input).and_then(|spec| spec.reference.clone());
            self.edits.push(edits::of_flake_nix(input, before, &after.unwrap_or_default())?);
        }
        Ok(bytes)
    }

    /// The lock with these inputs at their revisions; `None` when there is none to begin with.
    fn lock(
        &mut self,
        flake_nix: &[u8],
        inputs: &BTreeMap<String, &Pin<'_>>,
    ) -> Result<Option<Relocked>, NotDerived> {
        let Some(before) = &self.base.lock else {
            if !inputs.is_empty() {
                self.notes.push("the workspace has no flake.lock: nothing is locked".to_owned());
            }
            return Ok(None);
        };
        if inputs.is_empty() {
            return Ok(None);
        }
        let updates: BTreeMap<InputPath, Update> = inputs
            .iter()
            .map(|(input, pin)| (vec![input.clone()], Update::Revision(pin.to.to_string())))
            .collect();
        let request =
            Request { flake_nix, dir: "", lock: Some(&before.says), updates: &updates, strict: false };
        let sources =
            OnBase { commit: self.base.commit, superproject: self.superproject, others: self.sources };
        let declared: BTreeSet<String> = inputs.keys().cloned().collect();
        // What flake.nix says of other inputs and the lock does not is another proposal's matter.
        let made =
            relock_only(request, &declared, &sources).map_err(|error| NotDerived::Relock(Box::new(error)))?;
        let others = before.says.moved_outside(&made.lock, &declared);
        if !others.is_empty() {
            let shown = others.iter().map(|(path, _)| text::inert(&path.join("/"))).collect();
            return Err(NotDerived::MovesOthers(shown));
        }
        for (input, pin) in inputs {
            let locked = root(&made.lock, input).and_then(Node::rev).unwrap_or("no revision");
            if locked != pin.to.to_string() {
                return Err(NotDerived::ElsewhereInLock {
                    module: pin.module.name.clone(),
                    found: text::inert(locked),
                    wanted: pin.to,
                });
            }
        }
        self.edits.extend(edits::of_lock(&before.says, &made.lock, &declared)?);
        self.notes.extend(remarks(&made));
        Ok(Some(made))
    }

    /// The dependency map with the entries of what moves.
    fn dep_graph(&mut self, map: &File<DepGraph>, lock: &Lock) -> Result<Vec<u8>, NotDerived> {
        let mut wanted = map.says.clone();
        for pin in self.pins {
            let Some(input) = &pin.module.input else { continue };
            let before = map.says.entries.get(input);
            let after = wired::entry(self.base.modules, pin.module, lock, &map.says);
            if let Some(after) = after.filter(|after| Some(after) != before) {
                if before.is_none() && after.has_tests.is_some() {
                    self.notes.push(format!(
                        "the dependency map gets an entry for {}: whether it has tests is not known, and said to be false",
                        pin.module.name
                    ));
                }
                self.edits.push(edits::of_dep_graph(input, before, Some(&after))?);
                wanted.entries.insert(input.clone(), after);
            }
        }
        if wanted == map.says {
            return Ok(map.bytes.clone());
        }
        update_dep_graph(&map.bytes, &wanted).map_err(NotDerived::DepGraph)
    }

    /// The pins with the hashes of their files.
    fn revisions(&self, after: Option<&Lock>) -> Result<Vec<PinDelta>, NotDerived> {
        let before = self.base.lock.as_ref().map(|file| &file.says);
        self.pins
            .iter()
            .map(|pin| {
                let Pin { module, from, to } = pin;
                let at = |commit, nar| Revision { commit, nar };
                let not_at_hand = |error: SourceError| NotDerived::NotAtHand {
                    module: module.name.clone(),
                    commit: *to,
                    why: text::inert(&error.to_string()),
                };
                let new = self.hash(module, after, *to).map_err(not_at_hand)?;
                let old = if from == to { Some(new.clone()) } else { self.hash(module, before, *from).ok() };
                let (name, path) = (module.name.clone(), module.path.clone());
                Ok(PinDelta { module: name, path, from: at(*from, old), to: at(*to, Some(new)) })
            })
            .collect()
    }

    /// The hash of a revision's files: what the lock records where it does, which is what Nix
    /// builds, else the same found anew; as git has them where the module is no input.
    fn hash(&self, module: &Module, lock: Option<&Lock>, commit: ObjectId) -> Result<String, SourceError> {
        let rev = commit.to_string();
        let node = module.input.as_ref().and_then(|input| root(lock?, input));
        let locked = node.and_then(|node| node.locked.as_ref());
        if let Some(hash) = locked.filter(|locked| locked.rev() == Some(&rev)).and_then(FlakeRef::nar_hash) {
            return Ok(hash.to_owned());
        }
        if let (Some(input), Some(flake)) = (&module.input, &self.base.flake)
            && let Some(reference) = flake.says.inputs.get(input).and_then(|spec| spec.reference.as_ref())
        {
            let reference = reference.with("rev", None).with("narHash", None).with("dir", None);
            let locked = self.sources.lock(&reference, Some(&rev))?;
            if let Some(hash) = locked.nar_hash() {
                return Ok(hash.to_owned());
            }
        }
        Ok(self.sources.hash(module, commit)?.to_string())
    }
}

/// What relocking has to say, a sentence for each input of the root.
fn remarks(made: &Relocked) -> Vec<String> {
    let mut missing: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for warning in &made.warnings {
        if let Warning::NoSuchInput { of, name } = warning {
            missing.entry(of.join("/")).or_default().push(name);
        }
    }
    let overrides = missing.into_iter().map(|(of, names)| {
        format!("flake.nix overrides inputs that {of} does not have: {}", names.join(", "))
    });
    let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
    for path in &made.assumed {
        *kept.entry(path.first().map_or("", String::as_str)).or_default() += 1;
    }
    let kept = kept.into_iter().map(|(of, count)| {
        let inputs = if count == 1 { "1 input".to_owned() } else { format!("{count} inputs") };
        format!("below {of}, {inputs} follow what they followed before: their sources are not at hand")
    });
    overrides.chain(kept).map(|said| text::inert(&said)).collect()
}

/// The node of a root input.
fn root<'a>(lock: &'a Lock, input: &str) -> Option<&'a Node> {
    lock.resolve(&[input]).ok().map(|id| lock.node(id))
}

fn edited<T>(file: &File<T>, bytes: Vec<u8>) -> PathEdit {
    PathEdit { path: file.path.clone(), old: Some(file.content()), new: file.with(bytes) }
}

/// Sources of a flake that is a commit of the superproject: its own files come from there.
struct OnBase<'a> {
    commit: ObjectId,
    superproject: &'a dyn Superproject,
    others: &'a dyn ModuleSources,
}

impl FlakeSources for OnBase<'_> {
    fn lock(&self, reference: &FlakeRef, revision: Option<&str>) -> Result<FlakeRef, SourceError> {
        self.others.lock(reference, revision)
    }

    fn read(&self, tree: Tree<'_>, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        if let Tree::Locked(_) = tree {
            return self.others.read(tree, path);
        }
        match self.superproject.content(self.commit, &RepoPath::from(path)) {
            Ok(Some(PathContent::File { content, .. })) => Ok(Some(content)),
            Ok(_) => Ok(None),
            Err(error) => Err(SourceError::Failed(text::inert(&error.to_string()))),
        }
    }
}
