//! Commits, trees and blobs of one repository, read by libgit2 from the object directory alone:
//! no configuration is read. SHA-256 objects, which libgit2 cannot read, come through plumbing.

use std::cell::OnceCell;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use git2::{ErrorCode, Odb, Oid, Repository};

use super::commits;
use super::files::{Read, Trouble, shown};
use super::gitdir::GitDirs;
use super::plumbing::Plumbing;
use crate::domain::id::ObjectId;

/// The largest object that is read into memory.
const MAX_OBJECT: usize = 512 << 20;

/// An object database, opened when first asked.
pub(super) struct Objects {
    dir: std::path::PathBuf,
    plumbing: Plumbing,
    sha256: bool,
    odb: OnceCell<Odb<'static>>,
}

/// One entry of a tree, in the tree's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TreeEntry {
    /// As git canonicalises it: 40000, 100644, 100755, 120000 or 160000 (octal).
    pub(super) mode: u32,
    pub(super) name: Vec<u8>,
    pub(super) id: ObjectId,
}

pub(super) const MODE_TREE: u32 = 0o040_000;
pub(super) const MODE_LINK: u32 = 0o120_000;
pub(super) const MODE_GITLINK: u32 = 0o160_000;

impl Objects {
    pub(super) fn new(dirs: &GitDirs, work_tree: &Path, sha256: bool) -> Self {
        let dir = dirs.common_dir.join("objects");
        Self { dir, plumbing: Plumbing::new(dirs, work_tree), sha256, odb: OnceCell::new() }
    }

    fn trouble(&self, what: &str, id: ObjectId, cause: impl std::fmt::Display) -> Trouble {
        Trouble::with(&format!("read {what} {id} in"), &self.dir, cause)
    }

    fn odb(&self) -> Read<&Odb<'static>> {
        if let Some(odb) = self.odb.get() {
            return Ok(odb);
        }
        let path = std::str::from_utf8(self.dir.as_os_str().as_bytes())
            .map_err(|_| Trouble::with("open", &self.dir, "libgit2 wants a path in UTF-8"))?;
        let odb = Odb::new()
            .and_then(|odb| odb.add_disk_alternate(path).map(|()| odb))
            .map_err(|error| Trouble::with("open", &self.dir, error.message()))?;
        Ok(self.odb.get_or_init(|| odb))
    }

    /// An object of the wanted kind; `None` when it is not there.
    fn object(&self, id: ObjectId, what: &str) -> Read<Option<Vec<u8>>> {
        if self.sha256 || std::str::from_utf8(self.dir.as_os_str().as_bytes()).is_err() {
            return match self.plumbing.object(id)? {
                Some((kind, content)) if kind == what.as_bytes() => Ok(Some(content)),
                Some(_) => Err(self.trouble(what, id, "it is of another type")),
                None => Ok(None),
            };
        }
        let oid = Oid::from_bytes(id.as_bytes()).map_err(|error| self.trouble(what, id, error.message()))?;
        let odb = self.odb()?;
        match odb.read_header(oid) {
            Ok((size, _)) if size > MAX_OBJECT => return Err(self.trouble(what, id, "it is too large")),
            Ok((_, kind)) if kind.str() != what => {
                return Err(self.trouble(what, id, "it is of another type"));
            }
            Ok(_) => {}
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(None),
            Err(error) => return Err(self.trouble(what, id, error.message())),
        }
        let object = odb.read(oid).map_err(|error| self.trouble(what, id, error.message()))?;
        Ok(Some(object.data().to_vec()))
    }

    /// The directory that the objects are in.
    pub(super) fn directory(&self) -> &Path {
        &self.dir
    }

    /// Whether an object is there, of whatever kind; not when that cannot be told.
    pub(super) fn has(&self, id: ObjectId) -> bool {
        if self.sha256 || std::str::from_utf8(self.dir.as_os_str().as_bytes()).is_err() {
            return self.plumbing.object(id).is_ok_and(|found| found.is_some());
        }
        let oid = Oid::from_bytes(id.as_bytes());
        oid.is_ok_and(|oid| self.odb().is_ok_and(|odb| odb.exists(oid)))
    }

    /// A blob's content.
    pub(super) fn blob(&self, id: ObjectId) -> Read<Option<Vec<u8>>> {
        self.object(id, "blob")
    }

    /// A tree's content as it is stored.
    pub(super) fn tree_bytes(&self, id: ObjectId) -> Read<Option<Vec<u8>>> {
        self.object(id, "tree")
    }

    /// A commit's content.
    pub(super) fn commit(&self, id: ObjectId) -> Read<Option<Vec<u8>>> {
        self.object(id, "commit")
    }

    /// The tree of a commit.
    pub(super) fn commit_tree(&self, commit: ObjectId) -> Read<Option<ObjectId>> {
        if !self.sha256
            && let Some(tree) = commits::tree_of(&self.dir, commit)
        {
            return Ok(Some(tree));
        }
        let Some(content) = self.object(commit, "commit")? else { return Ok(None) };
        content
            .strip_prefix(b"tree ")
            .and_then(|rest| rest.split(|byte| *byte == b'\n').next())
            .and_then(|hex| std::str::from_utf8(hex).ok()?.parse().ok())
            .map(Some)
            .ok_or_else(|| self.trouble("commit", commit, "it names no tree"))
    }

    /// The first parent of a commit; `None` when it has none.
    pub(super) fn first_parent(&self, commit: ObjectId) -> Read<Option<ObjectId>> {
        let content = self
            .object(commit, "commit")?
            .ok_or_else(|| self.trouble("commit", commit, "it is not there"))?;
        // Headers end at the first empty line; `tree` is the first, then the parents.
        let second = content.split(|byte| *byte == b'\n').nth(1).unwrap_or_default();
        let Some(hex) = second.strip_prefix(b"parent ") else { return Ok(None) };
        std::str::from_utf8(hex)
            .ok()
            .and_then(|hex| hex.parse().ok())
            .map(Some)
            .ok_or_else(|| self.trouble("commit", commit, "it names no parent"))
    }

    /// The entries of a tree, checked to be in git's order.
    pub(super) fn tree(&self, id: ObjectId) -> Read<Option<Vec<TreeEntry>>> {
        let Some(content) = self.object(id, "tree")? else { return Ok(None) };
        parse_tree(&content, id.as_bytes().len())
            .map(Some)
            .ok_or_else(|| self.trouble("tree", id, "it is malformed"))
    }

    /// What stands at a path of a tree.
    pub(super) fn lookup(&self, tree: ObjectId, path: &[u8]) -> Read<Option<TreeEntry>> {
        let mut at = tree;
        let mut components = path.split(|byte| *byte == b'/').peekable();
        while let Some(name) = components.next() {
            let Some(entries) = self.tree(at)? else {
                return Err(self.trouble("tree", at, "it is missing"));
            };
            let Some(entry) = entries.into_iter().find(|entry| entry.name == name) else { return Ok(None) };
            if components.peek().is_none() {
                return Ok(Some(entry));
            }
            if entry.mode != MODE_TREE {
                return Ok(None);
            }
            at = entry.id;
        }
        Ok(None)
    }

    /// The content of a regular file at a path of a commit.
    pub(super) fn file(&self, commit: ObjectId, path: &[u8]) -> Read<Option<Vec<u8>>> {
        let Some(tree) = self.commit_tree(commit)? else { return Ok(None) };
        match self.lookup(tree, path)? {
            Some(entry) if matches!(entry.mode, 0o100_644 | 0o100_755) => {
                let content = self.blob(entry.id)?;
                content.map(Some).ok_or_else(|| self.trouble("blob", entry.id, "it is missing"))
            }
            _ => Ok(None),
        }
    }

    /// Commits that each side has alone: (`head` without `base`, `base` without `head`);
    /// `None` when a commit between is not at hand.
    pub(super) fn ahead_behind(&self, head: ObjectId, base: ObjectId) -> Read<Option<(u32, u32)>> {
        if self.sha256 {
            return self.plumbing.ahead_behind(head, base);
        }
        self.odb()?;
        let path = self.dir.to_string_lossy();
        // Another handle on the same directory: a repository takes its database with it.
        let counted = Odb::new()
            .and_then(|odb| odb.add_disk_alternate(&path).map(|()| odb))
            .and_then(Repository::from_odb)
            .and_then(|repository| {
                let (head, base) = (Oid::from_bytes(head.as_bytes())?, Oid::from_bytes(base.as_bytes())?);
                repository.graph_ahead_behind(head, base)
            });
        let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(counted.ok().map(|(ahead, behind)| (narrow(ahead), narrow(behind))))
    }
}

/// `MODE SP NAME NUL ID`, repeated; `None` when malformed or not in order.
pub(super) fn parse_tree(content: &[u8], id_len: usize) -> Option<Vec<TreeEntry>> {
    let mut entries: Vec<TreeEntry> = Vec::with_capacity(content.len() / (id_len + 16) + 1);
    let mut rest = content;
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ')?;
        let mode = u32::from_str_radix(std::str::from_utf8(&rest[..space]).ok()?, 8).ok()?;
        rest = &rest[space + 1..];
        let nul = rest.iter().position(|byte| *byte == 0)?;
        let (name, tail) = (&rest[..nul], &rest[nul + 1..]);
        if name.is_empty() || name.contains(&b'/') || tail.len() < id_len {
            return None;
        }
        let entry = TreeEntry {
            mode: canonical(mode),
            name: name.to_vec(),
            id: ObjectId::from_bytes(&tail[..id_len])?,
        };
        if entries.last().is_some_and(|last| sort_key(last).cmp(sort_key(&entry)).is_ge()) {
            return None;
        }
        entries.push(entry);
        rest = &tail[id_len..];
    }
    Some(entries)
}

/// Put entries into git's order.
pub(super) fn in_order(entries: &mut [TreeEntry]) {
    entries.sort_by(|left, right| sort_key(left).cmp(sort_key(right)));
}

/// git's order of tree entries: as if a directory's name ended with `/`.
fn sort_key(entry: &TreeEntry) -> impl Iterator<Item = u8> + '_ {
    entry.name.iter().copied().chain((entry.mode == MODE_TREE).then_some(b'/'))
}

/// `cache.h: canon_mode`: only the owner's execute bit counts.
pub(super) fn canonical(mode: u32) -> u32 {
    match mode & 0o170_000 {
        0o100_000 if mode & 0o100 != 0 => 0o100_755,
        0o100_000 => 0o100_644,
        MODE_LINK => MODE_LINK,
        MODE_TREE => MODE_TREE,
        _ => MODE_GITLINK,
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Objects({})", shown(&self.dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (mode, name) in entries {
            bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            bytes.extend_from_slice(&[7; 20]);
        }
        bytes
    }

    #[test]
    fn a_tree_is_read_only_in_git_s_order() {
        let parsed =
            parse_tree(&raw(&[("100664", "a.b"), ("40000", "a"), ("160000", "c")]), 20).expect("in order");
        let modes: Vec<_> = parsed.iter().map(|entry| entry.mode).collect();
        assert_eq!(modes, [0o100_644, MODE_TREE, MODE_GITLINK]);
        assert_eq!(parse_tree(&raw(&[("40000", "a"), ("100644", "a.b")]), 20), None);
        assert_eq!(parse_tree(&raw(&[("100644", "a"), ("100644", "a")]), 20), None);
        assert_eq!(parse_tree(&raw(&[("100644", "a/b")]), 20), None);
        assert_eq!(parse_tree(b"100644 a\0short", 20), None);
    }
}
