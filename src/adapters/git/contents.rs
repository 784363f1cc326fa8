//! What commits hold, for rules: trees, what differs between two, signatures; from object databases alone.
//!
//! In: an object database and commits. Out: values of [`crate::domain::contents`], `None` when an object
//! is not at hand. No repository configuration, attributes, grafts or replace refs are read. Everything
//! is bounded; what is over a bound is an error, never a part that looks like the whole.

use std::collections::{BTreeMap, BTreeSet};

use git2::{ErrorCode, ObjectType, Odb, Oid};

use super::objects::{MODE_GITLINK, MODE_LINK, MODE_TREE, TreeEntry, parse_tree};
use crate::domain::contents::held::{Bytes, Held, TOLD, Told, is_licence};
use crate::domain::contents::signed::MAX_BYTES;
use crate::domain::contents::touched::{At, Difference, Kind, Links, PathChange};
use crate::domain::contents::vouched::{self, Newcomer, Voucher};
use crate::domain::id::{ObjectId, RepoPath};
use crate::ports::{PortError, PortResult};

/// How deep a tree may be.
const MAX_DEPTH: usize = 200;
/// Most entries of a tree, all directories together.
const MAX_ENTRIES: usize = 1_000_000;
/// Most paths that may differ.
const MAX_CHANGES: usize = 200_000;
/// Most symlinks of a tree.
const MAX_LINKS: usize = 50_000;
/// Longest path that a symlink leads to (`PATH_MAX`).
const MAX_TARGET: usize = 4096;
/// Largest commit or tag that is looked at.
const MAX_SIGNED: usize = 1 << 20;

/// An object database to look into.
#[derive(Clone, Copy)]
pub(in crate::adapters) struct Looked<'a>(pub(in crate::adapters) &'a Odb<'static>);

/// Something is missing, or went wrong.
enum Stop {
    Missing,
    Failed(PortError),
}

type Look<T> = Result<T, Stop>;

fn settled<T>(look: Look<T>) -> PortResult<Option<T>> {
    match look {
        Ok(found) => Ok(Some(found)),
        Err(Stop::Missing) => Ok(None),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn over(what: &str, most: usize) -> Stop {
    Stop::Failed(PortError::failed(format!("cannot look at all of it: there are more than {most} {what}")))
}

fn oid(id: ObjectId) -> Look<Oid> {
    Oid::from_bytes(id.as_bytes()).ok().filter(|_| id.as_bytes().len() == 20).ok_or_else(|| {
        Stop::Failed(PortError::failed(format!("cannot read {id}: it is an object of SHA-256")))
    })
}

impl Looked<'_> {
    /// What a commit's tree holds.
    pub(in crate::adapters) fn held(self, commit: ObjectId) -> PortResult<Option<Held>> {
        settled(self.hold(commit))
    }

    fn hold(self, commit: ObjectId) -> Look<Held> {
        let tree = self.tree_of(commit)?;
        let mut held = Held { tree, files: 0, bytes: 0, licences: BTreeMap::new(), told: BTreeMap::new() };
        self.walk(tree, &mut |path, entry| {
            if TOLD.iter().any(|told| told.as_bytes() == path) {
                held.told.insert(RepoPath::new(path), self.told(entry)?);
            }
            if matches!(entry.mode, MODE_TREE | MODE_GITLINK) {
                return Ok(());
            }
            if is_licence(path) {
                held.licences.insert(RepoPath::new(path), entry.id);
            }
            held.files += 1;
            held.bytes = held.bytes.saturating_add(self.size(entry.id)?);
            Ok(())
        })?;
        Ok(held)
    }

    fn told(self, entry: &TreeEntry) -> Look<Told> {
        if matches!(entry.mode, MODE_TREE | MODE_GITLINK | MODE_LINK) {
            return Ok(Told::NoFile);
        }
        let size = self.size(entry.id)?;
        if size > MAX_BYTES as u64 {
            return Ok(Told::TooLarge(size));
        }
        Ok(Told::File(Bytes(self.read(entry.id, ObjectType::Blob, MAX_BYTES)?)))
    }

    /// What differs between the trees of two commits, with the symlinks of both.
    pub(in crate::adapters) fn difference(
        self,
        from: ObjectId,
        to: ObjectId,
    ) -> PortResult<Option<Difference>> {
        settled(self.differ(from, to))
    }

    fn differ(self, from: ObjectId, to: ObjectId) -> Look<Difference> {
        let (from, to) = (self.tree_of(from)?, self.tree_of(to)?);
        let mut changes = Vec::new();
        self.compare(Some(from), Some(to), &mut Vec::new(), 0, &mut changes)?;
        changes.sort();
        Ok(Difference { changes, links_before: self.links_of(from)?, links_after: self.links_of(to)? })
    }

    /// The symlinks of a commit's tree.
    pub(in crate::adapters) fn links(self, commit: ObjectId) -> PortResult<Option<Links>> {
        settled(self.tree_of(commit).and_then(|tree| self.links_of(tree)))
    }

    fn links_of(self, tree: ObjectId) -> Look<Links> {
        let mut links = Links::new();
        self.walk(tree, &mut |path, entry| {
            if entry.mode == MODE_LINK {
                if links.len() == MAX_LINKS {
                    return Err(over("symlinks", MAX_LINKS));
                }
                links.insert(RepoPath::new(path), self.read(entry.id, ObjectType::Blob, MAX_TARGET)?);
            }
            Ok(())
        })?;
        Ok(links)
    }

    /// The signatures over a commit: its own, and those of these tags.
    pub(in crate::adapters) fn vouchers(
        self,
        commit: ObjectId,
        tags: &BTreeSet<Oid>,
    ) -> PortResult<Option<Vec<Voucher>>> {
        settled(self.vouch(commit, tags))
    }

    fn vouch(self, commit: ObjectId, tags: &BTreeSet<Oid>) -> Look<Vec<Voucher>> {
        let mut found: Vec<Voucher> =
            self.commit(commit).map(|raw| vouched::of_commit(&raw))?.into_iter().collect();
        for tag in tags {
            // Most refs of tags name commits: those carry no signature of their own.
            if !self
                .0
                .read_header(*tag)
                .is_ok_and(|(size, kind)| kind == ObjectType::Tag && size <= MAX_SIGNED)
            {
                continue;
            }
            let raw = self.0.read(*tag).map_err(|error| failed(*tag, &error))?;
            if names(raw.data(), commit) {
                found.extend(vouched::of_tag(raw.data(), commit));
            }
        }
        found.sort_by(|one, other| one.carrier.cmp(&other.carrier));
        Ok(found)
    }

    /// Commits that `to` has and `from` has not, each with the signature that it carries.
    pub(in crate::adapters) fn newcomers(
        self,
        from: ObjectId,
        to: ObjectId,
        most: usize,
    ) -> PortResult<Option<Vec<Newcomer>>> {
        settled(self.come(from, to, most))
    }

    fn come(self, from: ObjectId, to: ObjectId, most: usize) -> Look<Vec<Newcomer>> {
        // What `from` holds is not new; it is walked only as far as `to` leads into it.
        let known = self.ancestors(from)?;
        let (mut met, mut open, mut found) = (BTreeSet::new(), vec![to], Vec::new());
        while let Some(commit) = open.pop() {
            if known.contains(&commit) || !met.insert(commit) {
                continue;
            }
            if found.len() == most {
                return Err(over("new commits", most));
            }
            let raw = self.commit(commit)?;
            open.extend(parents(&raw));
            found.push(Newcomer { commit, voucher: vouched::of_commit(&raw) });
        }
        found.sort_by_key(|newcomer: &Newcomer| newcomer.commit);
        Ok(found)
    }

    fn ancestors(self, of: ObjectId) -> Look<BTreeSet<ObjectId>> {
        let (mut met, mut open) = (BTreeSet::new(), vec![of]);
        while let Some(commit) = open.pop() {
            if !met.insert(commit) {
                continue;
            }
            if met.len() > MAX_ENTRIES {
                return Err(over("commits", MAX_ENTRIES));
            }
            match self.commit(commit) {
                Ok(raw) => open.extend(parents(&raw)),
                // A shallow history ends; what lies below it then counts as new.
                Err(Stop::Missing) if commit != of => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(met)
    }

    fn commit(self, commit: ObjectId) -> Look<Vec<u8>> {
        self.read(commit, ObjectType::Commit, MAX_SIGNED)
    }

    fn tree_of(self, commit: ObjectId) -> Look<ObjectId> {
        let raw = self.commit(commit)?;
        header(&raw, b"tree ").next().ok_or_else(|| {
            Stop::Failed(PortError::failed(format!("cannot read the commit {commit}: it names no tree")))
        })
    }

    fn entries(self, tree: ObjectId) -> Look<Vec<TreeEntry>> {
        let raw = self.read(tree, ObjectType::Tree, usize::MAX)?;
        parse_tree(&raw, tree.as_bytes().len()).ok_or_else(|| {
            Stop::Failed(PortError::failed(format!("cannot read the tree {tree}: it is malformed")))
        })
    }

    fn size(self, id: ObjectId) -> Look<u64> {
        let oid = oid(id)?;
        match self.0.read_header(oid) {
            Ok((size, ObjectType::Blob)) => Ok(size as u64),
            Ok(_) => Err(Stop::Failed(PortError::failed(format!("cannot read {id}: it is no blob")))),
            Err(error) => Err(failed(oid, &error)),
        }
    }

    fn read(self, id: ObjectId, wanted: ObjectType, most: usize) -> Look<Vec<u8>> {
        let oid = oid(id)?;
        let refused =
            |why: &str| Stop::Failed(PortError::failed(format!("cannot read the object {id}: {why}")));
        match self.0.read_header(oid) {
            Ok((size, _)) if size > most => return Err(refused(&format!("it has more than {most} bytes"))),
            Ok((_, kind)) if kind != wanted => return Err(refused("it is of another type")),
            Ok(_) => {}
            Err(error) => return Err(failed(oid, &error)),
        }
        self.0.read(oid).map(|object| object.data().to_vec()).map_err(|error| failed(oid, &error))
    }

    /// Every entry of a tree with its path, directories before what is in them.
    fn walk(self, tree: ObjectId, visit: &mut dyn FnMut(&[u8], &TreeEntry) -> Look<()>) -> Look<()> {
        let mut left = MAX_ENTRIES;
        self.walk_below(tree, &mut Vec::new(), 0, &mut left, visit)
    }

    fn walk_below(
        self,
        tree: ObjectId,
        path: &mut Vec<u8>,
        depth: usize,
        left: &mut usize,
        visit: &mut dyn FnMut(&[u8], &TreeEntry) -> Look<()>,
    ) -> Look<()> {
        if depth > MAX_DEPTH {
            return Err(over("directories within each other", MAX_DEPTH));
        }
        for entry in self.entries(tree)? {
            *left = left.checked_sub(1).ok_or_else(|| over("entries", MAX_ENTRIES))?;
            let length = push(path, &entry.name);
            visit(path, &entry)?;
            if entry.mode == MODE_TREE {
                self.walk_below(entry.id, path, depth + 1, left, visit)?;
            }
            path.truncate(length);
        }
        Ok(())
    }

    fn compare(
        self,
        old: Option<ObjectId>,
        new: Option<ObjectId>,
        path: &mut Vec<u8>,
        depth: usize,
        changes: &mut Vec<PathChange>,
    ) -> Look<()> {
        if depth > MAX_DEPTH {
            return Err(over("directories within each other", MAX_DEPTH));
        }
        let entries = |tree: Option<ObjectId>| tree.map_or(Ok(Vec::new()), |tree| self.entries(tree));
        let mut names: BTreeMap<Vec<u8>, [Option<(u32, ObjectId)>; 2]> = BTreeMap::new();
        for (side, tree) in [old, new].into_iter().enumerate() {
            for entry in entries(tree)? {
                names.entry(entry.name).or_default()[side] = Some((entry.mode, entry.id));
            }
        }
        for (name, [old, new]) in names {
            if old == new {
                continue;
            }
            let length = push(path, &name);
            let tree =
                |at: Option<(u32, ObjectId)>| at.filter(|(mode, _)| *mode == MODE_TREE).map(|(_, id)| id);
            if tree(old).is_some() || tree(new).is_some() {
                self.compare(tree(old), tree(new), path, depth + 1, changes)?;
            }
            let (old, new) = (leaf(old), leaf(new));
            if old.is_some() || new.is_some() {
                if changes.len() == MAX_CHANGES {
                    return Err(over("paths that differ", MAX_CHANGES));
                }
                changes.push(PathChange { path: RepoPath::new(path.clone()), old, new });
            }
            path.truncate(length);
        }
        Ok(())
    }
}

/// Put a name behind a path; the length before.
fn push(path: &mut Vec<u8>, name: &[u8]) -> usize {
    let length = path.len();
    if length > 0 {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    length
}

fn leaf(at: Option<(u32, ObjectId)>) -> Option<At> {
    let (mode, id) = at?;
    let kind = match mode {
        MODE_TREE => return None,
        MODE_LINK => Kind::Link,
        MODE_GITLINK => Kind::Gitlink,
        mode if mode & 0o100 != 0 => Kind::Executable,
        _ => Kind::File,
    };
    Some(At { kind, id })
}

fn failed(oid: Oid, error: &git2::Error) -> Stop {
    if error.code() == ErrorCode::NotFound {
        return Stop::Missing;
    }
    Stop::Failed(
        PortError::failed(format!("cannot read the object {oid}")).because(error.message().to_owned()),
    )
}

/// The ids in the headers of a commit or a tag that begin so.
fn header<'a>(raw: &'a [u8], key: &'a [u8]) -> impl Iterator<Item = ObjectId> + 'a {
    let lines = raw.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    lines.filter_map(move |line| std::str::from_utf8(line.strip_prefix(key)?).ok()?.parse().ok())
}

fn parents(commit: &[u8]) -> impl Iterator<Item = ObjectId> + '_ {
    header(commit, b"parent ")
}

fn names(tag: &[u8], commit: ObjectId) -> bool {
    header(tag, b"object ").next() == Some(commit)
}
