//! How two commits stand to each other, over the object databases that are at hand.
//!
//! Reads commits straight from the objects: no repository configuration, no grafts, no
//! replace refs, so that nothing in a checkout can bend history.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::PathBuf;

use git2::{ErrorCode, ObjectType, Odb, Oid};

use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::upgrade::Relation;
use crate::ports::{PortError, PortResult};

/// The largest blob that [`Objects::file`] reads.
const MAX_FILE: usize = 64 << 20;

/// Several object directories as one.
pub(super) struct Objects(Odb<'static>);

/// How wrong two committers' clocks may be against each other before a common commit could
/// be counted. A week of common history is cheap to walk.
const CLOCK_SKEW_S: i64 = 7 * 86_400;

/// Which side a commit was reached from.
const FROM: u8 = 1;
const TO: u8 = 2;
const BOTH: u8 = FROM | TO;

struct Commit {
    parents: Vec<Oid>,
    time: i64,
}

impl Objects {
    /// The objects of these directories; those that do not exist are left out.
    pub(super) fn open(directories: &[PathBuf]) -> PortResult<Self> {
        let failed = |error: git2::Error| PortError::failed("cannot read an object database").because(error);
        let odb = Odb::new().map_err(failed)?;
        for directory in directories.iter().filter(|directory| directory.is_dir()) {
            let path = directory.to_str().ok_or_else(|| {
                PortError::failed(format!("cannot read {}: the path is not UTF-8", directory.display()))
            })?;
            odb.add_disk_alternate(path).map_err(failed)?;
        }
        Ok(Self(odb))
    }

    /// The database itself.
    pub(super) fn into_odb(self) -> Odb<'static> {
        self.0
    }

    /// Commits on each side that the other has not, as `git rev-list --count` both ways.
    ///
    /// Paints down from both ends, newest first. It goes on until nothing is left that is not
    /// common, and then as long as a common commit is not clearly older than the oldest one
    /// counted, so that clocks that were wrong do not make a common commit count.
    pub(super) fn relation(&self, from: ObjectId, to: ObjectId) -> PortResult<Relation> {
        let (Some(one), Some(two)) = (oid(from), oid(to)) else {
            return Err(PortError::failed("cannot compare commits of a SHA-256 repository"));
        };
        let mut colours: BTreeMap<Oid, u8> = BTreeMap::new();
        let mut commits: BTreeMap<Oid, Commit> = BTreeMap::new();
        let mut queue: BinaryHeap<(i64, Oid)> = BinaryHeap::new();
        // Reached from one side only: the queue may end when none of them waits.
        let mut open = 0_usize;
        let mut oldest = i64::MAX;
        let mut waiting: BTreeSet<Oid> = BTreeSet::new();
        for (start, colour) in [(one, FROM), (two, TO)] {
            let Some(commit) = self.commit(start)? else { return Ok(Relation::Missing(id(start))) };
            queue.push((commit.time, start));
            *colours.entry(start).or_default() |= colour;
            if waiting.insert(start) {
                open += 1;
            }
            commits.insert(start, commit);
        }
        if one == two {
            return Ok(Relation::Counted { behind: 0, ahead: 0 });
        }
        while let Some((time, commit)) = queue.pop() {
            if !waiting.remove(&commit) {
                continue;
            }
            let colour = colours[&commit];
            if colour == BOTH {
                if open == 0 && time < oldest.saturating_sub(CLOCK_SKEW_S) {
                    break;
                }
            } else {
                open -= 1;
                oldest = oldest.min(time);
            }
            let parents = commits[&commit].parents.clone();
            for parent in parents {
                let before = colours.get(&parent).copied().unwrap_or(0);
                if before | colour == before {
                    continue;
                }
                if let Entry::Vacant(place) = commits.entry(parent) {
                    match self.commit(parent)? {
                        Some(read) => {
                            place.insert(read);
                        }
                        // Below a common commit nothing is counted: a shallow checkout ends here.
                        None if colour == BOTH => continue,
                        None => return Ok(Relation::Missing(id(parent))),
                    }
                }
                let after = before | colour;
                colours.insert(parent, after);
                if waiting.insert(parent) {
                    queue.push((commits[&parent].time, parent));
                    open += usize::from(after != BOTH);
                } else if before != BOTH && after == BOTH {
                    open -= 1;
                }
            }
        }
        let count = |colour| {
            u32::try_from(colours.values().filter(|found| **found == colour).count()).unwrap_or(u32::MAX)
        };
        Ok(Relation::Counted { behind: count(TO), ahead: count(FROM) })
    }

    /// The content of a file at a commit; `None` when either is absent.
    pub(super) fn file(&self, commit: ObjectId, path: &RepoPath) -> PortResult<Option<Vec<u8>>> {
        let Some(commit) = oid(commit) else { return Ok(None) };
        let Some(bytes) = self.read(commit, ObjectType::Commit)? else { return Ok(None) };
        let Some(mut at) = header(&bytes, "tree").next() else { return Ok(None) };
        let parts: Vec<&[u8]> = path.as_bytes().split(|byte| *byte == b'/').collect();
        for (depth, part) in parts.iter().enumerate() {
            let Some(tree) = self.read(at, ObjectType::Tree)? else { return Ok(None) };
            let Some((mode, found)) = entry(&tree, part) else { return Ok(None) };
            let is_last = depth + 1 == parts.len();
            let wanted = if is_last { mode.starts_with(b"100") } else { mode == b"40000" };
            if !wanted {
                return Ok(None);
            }
            at = found;
        }
        if self.0.read_header(at).is_ok_and(|(size, _)| size > MAX_FILE) {
            return Err(PortError::failed(format!("cannot read {path}: it is larger than {MAX_FILE} bytes")));
        }
        self.read(at, ObjectType::Blob)
    }

    fn commit(&self, oid: Oid) -> PortResult<Option<Commit>> {
        let Some(bytes) = self.read(oid, ObjectType::Commit)? else { return Ok(None) };
        let parents = header(&bytes, "parent").collect();
        Ok(Some(Commit { parents, time: committed(&bytes) }))
    }

    fn read(&self, oid: Oid, kind: ObjectType) -> PortResult<Option<Vec<u8>>> {
        match self.0.read(oid) {
            Ok(object) if object.kind() == kind => Ok(Some(object.data().to_vec())),
            Ok(_) => Ok(None),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(PortError::failed(format!("cannot read object {oid}")).because(error)),
        }
    }
}

/// The ids in the header lines of a commit with this key.
fn header<'a>(commit: &'a [u8], key: &'a str) -> impl Iterator<Item = Oid> + 'a {
    commit
        .split(|byte| *byte == b'\n')
        .take_while(|line| !line.is_empty())
        .filter_map(move |line| line.strip_prefix(key.as_bytes())?.strip_prefix(b" "))
        .filter_map(|hex| Oid::from_str(std::str::from_utf8(hex).ok()?).ok())
}

/// Committer time, seconds; 0 where there is none.
fn committed(commit: &[u8]) -> i64 {
    commit
        .split(|byte| *byte == b'\n')
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(b"committer "))
        .and_then(|line| std::str::from_utf8(&line[line.iter().rposition(|byte| *byte == b'>')? + 1..]).ok())
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// The mode and id of a name in a tree.
fn entry<'a>(mut tree: &'a [u8], name: &[u8]) -> Option<(&'a [u8], Oid)> {
    while !tree.is_empty() {
        let space = tree.iter().position(|byte| *byte == b' ')?;
        let nul = tree.iter().position(|byte| *byte == 0)?;
        let id = tree.get(nul + 1..nul + 21)?;
        if tree.get(space + 1..nul)? == name {
            return Some((&tree[..space], Oid::from_bytes(id).ok()?));
        }
        tree = &tree[nul + 21..];
    }
    None
}

fn oid(id: ObjectId) -> Option<Oid> {
    (id.as_bytes().len() == 20).then(|| Oid::from_bytes(id.as_bytes()).ok()).flatten()
}

fn id(oid: Oid) -> ObjectId {
    ObjectId::from_bytes(oid.as_bytes()).expect("a libgit2 id has 20 bytes")
}
