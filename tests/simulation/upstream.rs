//! The upstreams, what the mirrors have of them, and their flakes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;

use lambda_os::domain::flake::nar::NarHash;
use lambda_os::domain::flake::reference::{Attr, FlakeRef};
use lambda_os::domain::flake::relock::{FlakeSources, SourceError, Tree};
use lambda_os::domain::id::ObjectId;
use lambda_os::domain::module::Module;
use lambda_os::domain::upgrade::Relation;
use lambda_os::ports::ModuleSources;

use super::fault::locked;
use super::git::id_of;
use super::random::digest;

/// What a revision is really like, whatever anyone says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// It works.
    Good,
    /// It works, and its host gives no sign of that.
    Silent,
    /// It does not build, ever.
    Broken,
    /// It builds, and fails when it is loaded.
    Fails,
    /// It never comes to an end.
    Hangs,
    /// It fails every now and then.
    Flaky,
    /// It cannot be found out: what would run it is not there.
    Obscure,
    /// It builds beside revisions of what it depends on from this level on.
    Needs(u32),
}

/// A revision.
#[derive(Debug, Clone)]
pub(crate) struct Revision {
    pub(crate) parent: Option<ObjectId>,
    /// How many came before it.
    pub(crate) generation: u32,
    /// The same, but for those that differ in words alone.
    pub(crate) level: u32,
    pub(crate) nature: Nature,
    /// What is built of it: equal for revisions that differ in words alone.
    pub(crate) content: u64,
    /// The modules it names as inputs, by number.
    pub(crate) inputs: Vec<usize>,
}

/// One upstream with its mirror.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) revisions: BTreeMap<ObjectId, Revision>,
    pub(crate) tip: ObjectId,
    pub(crate) reachable: bool,
    /// What was fetched.
    pub(crate) mirror: BTreeSet<ObjectId>,
    /// The branch as it was last fetched.
    pub(crate) mirror_tip: Option<ObjectId>,
}

impl Upstream {
    /// With its first revision, which works.
    pub(crate) fn new(number: usize, inputs: Vec<usize>) -> Self {
        let name = name(number);
        let tip = id_of(&digest(&[b"revision", name.as_bytes(), b"first"]));
        let first =
            Revision { parent: None, generation: 0, level: 0, nature: Nature::Good, content: 0, inputs };
        Self {
            name,
            revisions: BTreeMap::from([(tip, first)]),
            tip,
            reachable: true,
            mirror: BTreeSet::from([tip]),
            mirror_tip: Some(tip),
        }
    }

    /// A revision on the tip.
    pub(crate) fn push(&mut self, nature: Nature, words_alone: bool, inputs: Vec<usize>) -> ObjectId {
        let count = self.revisions.len() as u64;
        let id = id_of(&digest(&[b"revision", self.name.as_bytes(), &count.to_le_bytes()]));
        let before = &self.revisions[&self.tip];
        let generation = before.generation + 1;
        let revision = if words_alone {
            Revision { parent: Some(self.tip), generation, ..before.clone() }
        } else {
            Revision { parent: Some(self.tip), generation, level: generation, nature, content: count, inputs }
        };
        self.revisions.insert(id, revision);
        self.tip = id;
        id
    }

    /// The history of a revision, newest first.
    pub(crate) fn history(&self, of: ObjectId) -> Vec<ObjectId> {
        let mut all = Vec::new();
        let mut at = Some(of);
        while let Some(id) = at {
            all.push(id);
            at = self.revisions.get(&id).and_then(|revision| revision.parent);
        }
        all
    }

    /// Fetch what the branch has.
    pub(crate) fn fetch(&mut self) {
        self.mirror.extend(self.history(self.tip));
        self.mirror_tip = Some(self.tip);
    }

    /// How two revisions stand to each other, as far as they are at hand.
    pub(crate) fn relation(&self, from: ObjectId, to: ObjectId) -> Relation {
        if let Some(missing) = [from, to].into_iter().find(|id| !self.mirror.contains(id)) {
            return Relation::Missing(missing);
        }
        let (one, other): (BTreeSet<_>, BTreeSet<_>) =
            (self.history(from).into_iter().collect(), self.history(to).into_iter().collect());
        let count = |all: &BTreeSet<ObjectId>, without: &BTreeSet<ObjectId>| {
            u32::try_from(all.difference(without).count()).expect("because histories are short")
        };
        Relation::Counted { behind: count(&other, &one), ahead: count(&one, &other) }
    }

    /// The `flake.nix` of a revision.
    pub(crate) fn flake(&self, id: ObjectId) -> Option<Vec<u8>> {
        let revision = self.revisions.get(&id)?;
        let mut inputs = String::new();
        for input in &revision.inputs {
            let _ = write!(inputs, " {0}.url = \"github:acme/{0}\";", name(*input));
        }
        Some(format!("{{ inputs = {{{inputs} }}; outputs = _: {{ }}; }}\n").into_bytes())
    }
}

/// The name of a module.
pub(crate) fn name(number: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(number).expect("because there are few modules"));
    format!("mod-{letter}")
}

/// The hash of a revision's files.
pub(crate) fn nar_hash(id: ObjectId) -> NarHash {
    NarHash(digest(&[b"nar", id.as_bytes()]))
}

/// The modules as flakes, for one thread.
pub(crate) struct Flakes<'w>(pub(crate) &'w Mutex<Vec<Upstream>>);

impl Flakes<'_> {
    fn ask<T>(
        &self,
        name: &str,
        ask: impl FnOnce(&Upstream) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let upstreams = locked(self.0);
        let found = upstreams.iter().find(|upstream| upstream.name == name);
        ask(found.ok_or_else(|| SourceError::NotAtHand(format!("no repository {name}")))?)
    }

    fn revision(upstream: &Upstream, rev: Option<&str>) -> Result<ObjectId, SourceError> {
        let id = match rev {
            Some(rev) => rev.parse().map_err(|_| SourceError::Failed("no revision".to_owned()))?,
            None => upstream.mirror_tip.ok_or_else(|| SourceError::NotAtHand("no tip".to_owned()))?,
        };
        if upstream.mirror.contains(&id) {
            return Ok(id);
        }
        Err(SourceError::NotAtHand(format!("no commit {id}")))
    }
}

impl FlakeSources for Flakes<'_> {
    fn lock(&self, reference: &FlakeRef, revision: Option<&str>) -> Result<FlakeRef, SourceError> {
        self.ask(reference.text("repo").unwrap_or_default(), |upstream| {
            let id = Self::revision(upstream, revision.or(reference.rev()))?;
            let generation = upstream.revisions[&id].generation;
            Ok(reference
                .with("rev", Some(Attr::Str(id.to_string().into())))
                .with("narHash", Some(Attr::Str(nar_hash(id).to_string().into())))
                .with("lastModified", Some(Attr::Int(1_700_000_000 + u64::from(generation)))))
        })
    }

    fn read(&self, tree: Tree<'_>, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let Tree::Locked(locked) = tree else { return Ok(None) };
        self.ask(locked.text("repo").unwrap_or_default(), |upstream| {
            let id = Self::revision(upstream, locked.rev())?;
            Ok(if path == "flake.nix" { upstream.flake(id) } else { None })
        })
    }
}

impl ModuleSources for Flakes<'_> {
    fn hash(&self, module: &Module, commit: ObjectId) -> Result<NarHash, SourceError> {
        self.ask(module.name.as_str(), |upstream| {
            Self::revision(upstream, Some(&commit.to_string())).map(nar_hash)
        })
    }
}
