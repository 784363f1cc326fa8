//! Changes built as objects: what stands at a path, the tree that edits give, and its commit.
//!
//! In: a base commit and path edits with all their bytes. Out: identities, and the objects that
//! are new. Trees are read through [`Objects`], entries are replaced or added in git's order, and
//! everything is hashed in memory: no index, no checkout, no temporary tree, and nothing is
//! written before [`loose`] is asked to.
//!
//! Refused: paths that git would not check out, a path below something that is no directory, a
//! symlink or directory where the change has a file or a submodule, a base on which something
//! else stands than the edit says.

pub(super) mod loose;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sha1::Digest as _;

use super::checkout::Opened;
use super::files::{Read, Trouble};
use super::objects::{MODE_GITLINK, MODE_LINK, MODE_TREE, Objects, TreeEntry, in_order};
use crate::domain::change::{PathContent, PathEdit};
use crate::domain::id::{ObjectId, RepoPath};

/// How deep a path may be.
const MAX_DEPTH: usize = 256;
/// Who made the commits: no person's name stands on what no person wrote.
const PERSON: &str = "lambda-os <lambda-os@localhost>";

/// An object by its content, which need not be in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) id: ObjectId,
    pub(super) kind: &'static str,
    pub(super) content: Vec<u8>,
}

impl Object {
    /// An object with its identity, `SHA(KIND SP SIZE NUL CONTENT)`.
    pub(super) fn new(kind: &'static str, content: Vec<u8>, hash: gix_hash::Kind) -> Self {
        Self { id: identity(kind, &content, hash), kind, content }
    }
}

/// The identity that git gives an object.
pub(super) fn identity(kind: &str, content: &[u8], hash: gix_hash::Kind) -> ObjectId {
    let header = format!("{kind} {}\0", content.len());
    let digest = if hash == gix_hash::Kind::Sha1 {
        sha1::Sha1::new().chain_update(&header).chain_update(content).finalize().to_vec()
    } else {
        sha2::Sha256::new().chain_update(&header).chain_update(content).finalize().to_vec()
    };
    ObjectId::from_bytes(&digest).expect("because both hashes have a length that an id has")
}

/// The mode and the identity that an entry for this content has.
pub(super) fn entry_of(content: &PathContent, hash: gix_hash::Kind) -> (u32, ObjectId) {
    match content {
        PathContent::Gitlink(id) => (MODE_GITLINK, *id),
        PathContent::File { executable, content } => {
            let mode = if *executable { 0o100_755 } else { 0o100_644 };
            (mode, identity("blob", content, hash))
        }
    }
}

/// A tree, and those of its objects that edits brought.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) tree: ObjectId,
    /// Blobs first, then trees from the leaves up: an object never comes before what it names.
    pub(super) objects: Vec<Object>,
}

/// What stands at a path of a commit.
pub(super) fn content(opened: &Opened, commit: ObjectId, path: &RepoPath) -> Read<Option<PathContent>> {
    check_path(path)?;
    let mut at = root_of(&opened.objects, commit)?;
    let components: Vec<&[u8]> = path.as_bytes().split(|byte| *byte == b'/').collect();
    let (name, parents) = components.split_last().expect("because a split gives at least one part");
    for parent in parents {
        match find(&opened.objects, at, parent)? {
            None => return Ok(None),
            Some(entry) if entry.mode == MODE_TREE => at = entry.id,
            Some(entry) => return Err(no_directory(path, &entry)),
        }
    }
    match find(&opened.objects, at, name)? {
        None => Ok(None),
        Some(entry) if entry.mode == MODE_GITLINK => Ok(Some(PathContent::Gitlink(entry.id))),
        Some(entry) if is_odd(entry.mode) => Err(stands_in_the_way(path, &entry)),
        Some(entry) => {
            let content = opened
                .objects
                .blob(entry.id)?
                .ok_or_else(|| Trouble(format!("the content {} of {path} is missing", entry.id)))?;
            Ok(Some(PathContent::File { executable: entry.mode == 0o100_755, content }))
        }
    }
}

/// The gitlinks at these paths of a commit; each tree on the way is read once. What stands there instead,
/// or above it, is none.
pub(super) fn gitlinks(
    opened: &Opened,
    commit: ObjectId,
    paths: &[&RepoPath],
) -> Read<Vec<Option<ObjectId>>> {
    let mut trees: BTreeMap<ObjectId, BTreeMap<Vec<u8>, (u32, ObjectId)>> = BTreeMap::new();
    let root = root_of(&opened.objects, commit)?;
    let mut one = |path: &RepoPath| {
        check_path(path)?;
        let mut at = (MODE_TREE, root);
        for component in path.as_bytes().split(|byte| *byte == b'/') {
            if at.0 != MODE_TREE {
                return Ok(None);
            }
            let entries = match trees.entry(at.1) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let read = read_tree(&opened.objects, at.1)?;
                    let entries = read.into_iter().map(|entry| (entry.name, (entry.mode, entry.id)));
                    new.insert(entries.collect())
                }
            };
            let Some(found) = entries.get(component) else { return Ok(None) };
            at = *found;
        }
        Ok((at.0 == MODE_GITLINK).then_some(at.1))
    };
    paths.iter().map(|path| one(path)).collect()
}

/// The tree that `base` gives with these edits.
pub(super) fn tree(opened: &Opened, base: ObjectId, edits: &[PathEdit]) -> Read<Built> {
    let mut sorted: Vec<Step<'_>> = Vec::with_capacity(edits.len());
    for edit in edits {
        check_path(&edit.path)?;
        sorted.push(Step { edit, rest: edit.path.as_bytes() });
    }
    sorted.sort_by_key(|step| step.rest);
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].rest == pair[1].rest) {
        return Err(Trouble(format!("the change names {} twice", pair[0].edit.path)));
    }
    let root = root_of(&opened.objects, base)?;
    let mut builder = Builder { objects: &opened.objects, hash: opened.hash, made: Vec::new() };
    let tree = builder.directory(Some(root), &sorted)?;
    Ok(Built { tree, objects: builder.made })
}

/// The commit object for a tree. `time_ms` is Unix milliseconds; git keeps seconds.
pub(super) fn commit(
    tree: ObjectId,
    parent: ObjectId,
    message: &str,
    time_ms: i64,
    hash: gix_hash::Kind,
) -> Object {
    let at = time_ms.div_euclid(1000).max(0);
    let message = message.trim_end_matches('\n');
    // A NUL would end the message for git.
    let message = message.replace('\0', "\u{fffd}");
    let content = format!(
        "tree {tree}\nparent {parent}\nauthor {PERSON} {at} +0000\ncommitter {PERSON} {at} +0000\n\n{message}\n"
    );
    Object::new("commit", content.into_bytes(), hash)
}

/// A commit without a parent, with the same identity wherever it is made.
pub(super) fn first_commit(tree: ObjectId) -> Object {
    let content = format!(
        "tree {tree}\nauthor {PERSON} 0 +0000\ncommitter {PERSON} 0 +0000\n\nThe workspace as it is committed\n"
    );
    Object::new("commit", content.into_bytes(), gix_hash::Kind::Sha1)
}

/// An edit on its way down: what is left of its path.
#[derive(Clone, Copy)]
struct Step<'a> {
    edit: &'a PathEdit,
    rest: &'a [u8],
}

struct Builder<'a> {
    objects: &'a Objects,
    hash: gix_hash::Kind,
    made: Vec<Object>,
}

impl Builder<'_> {
    /// A directory with these edits in it; `tree` is what it was, `None` where there was none.
    fn directory(&mut self, tree: Option<ObjectId>, steps: &[Step<'_>]) -> Read<ObjectId> {
        let mut entries = match tree {
            Some(tree) => read_tree(self.objects, tree)?,
            None => Vec::new(),
        };
        let mut rest = steps;
        while let Some(first) = rest.first() {
            let name = head_of(first.rest);
            let same = rest.iter().take_while(|step| head_of(step.rest) == name).count();
            let (here, others) = rest.split_at(same);
            rest = others;
            let at = entries.iter().position(|entry| entry.name == name);
            let old = at.map(|at| entries[at].clone());
            let new = self.entry(name, old.as_ref(), here)?;
            match at {
                Some(at) => entries[at] = new,
                None => entries.push(new),
            }
        }
        in_order(&mut entries);
        let object = Object::new("tree", written(&entries), self.hash);
        let id = object.id;
        self.keep(object);
        Ok(id)
    }

    /// One name of a directory: the edit of it, or the edits below it.
    fn entry(&mut self, name: &[u8], old: Option<&TreeEntry>, steps: &[Step<'_>]) -> Read<TreeEntry> {
        let (mode, id) = match steps {
            [step] if step.rest == name => self.leaf(step.edit, old)?,
            steps => {
                if let Some(step) = steps.iter().find(|step| step.rest == name) {
                    return Err(Trouble(format!(
                        "the change has {} as a file or submodule and as a directory",
                        step.edit.path
                    )));
                }
                if let Some(old) = old.filter(|old| old.mode != MODE_TREE) {
                    return Err(no_directory(&steps[0].edit.path, old));
                }
                let below: Vec<Step<'_>> = steps
                    .iter()
                    .map(|step| Step { edit: step.edit, rest: &step.rest[name.len() + 1..] })
                    .collect();
                (MODE_TREE, self.directory(old.map(|old| old.id), &below)?)
            }
        };
        Ok(TreeEntry { mode, name: name.to_vec(), id })
    }

    fn leaf(&mut self, edit: &PathEdit, old: Option<&TreeEntry>) -> Read<(u32, ObjectId)> {
        if let Some(old) = old.filter(|old| is_odd(old.mode)) {
            return Err(stands_in_the_way(&edit.path, old));
        }
        let expected = edit.old.as_ref().map(|content| entry_of(content, self.hash));
        if old.map(|old| (old.mode, old.id)) != expected {
            return Err(Trouble(format!(
                "{} is not what the change was made for: {} stands there, and the change starts at {}",
                edit.path,
                shown(old.map(|old| (old.mode, old.id))),
                shown(expected)
            )));
        }
        let (mode, id) = entry_of(&edit.new, self.hash);
        if id.as_bytes().len() != self.hash.len_in_bytes() {
            return Err(Trouble(format!("{id} at {} is no object id of this repository", edit.path)));
        }
        if let PathContent::File { content, .. } = &edit.new {
            self.keep(Object { id, kind: "blob", content: content.clone() });
        }
        Ok((mode, id))
    }

    fn keep(&mut self, object: Object) {
        if !self.made.iter().any(|made| made.id == object.id) {
            self.made.push(object);
        }
    }
}

fn shown(entry: Option<(u32, ObjectId)>) -> String {
    entry.map_or_else(|| "nothing".to_owned(), |(mode, id)| format!("{mode:06o} {}", id.short()))
}

fn root_of(objects: &Objects, commit: ObjectId) -> Read<ObjectId> {
    objects.commit_tree(commit)?.ok_or_else(|| Trouble(format!("the commit {commit} is not there")))
}

fn read_tree(objects: &Objects, tree: ObjectId) -> Read<Vec<TreeEntry>> {
    objects.tree(tree)?.ok_or_else(|| Trouble(format!("the tree {tree} is missing")))
}

fn find(objects: &Objects, tree: ObjectId, name: &[u8]) -> Read<Option<TreeEntry>> {
    Ok(read_tree(objects, tree)?.into_iter().find(|entry| entry.name == name))
}

/// Neither a regular file nor a gitlink.
fn is_odd(mode: u32) -> bool {
    matches!(mode, MODE_TREE | MODE_LINK)
}

fn stands_in_the_way(path: &RepoPath, entry: &TreeEntry) -> Trouble {
    let what = if entry.mode == MODE_TREE { "directory" } else { "symlink" };
    Trouble(format!("a {what} stands at {path}, where a change can only have a file or a submodule"))
}

fn no_directory(path: &RepoPath, entry: &TreeEntry) -> Trouble {
    let what = match entry.mode {
        MODE_GITLINK => "submodule",
        MODE_LINK => "symlink",
        _ => "file",
    };
    Trouble(format!("{} above {path} is a {what}, no directory", RepoPath::new(entry.name.clone())))
}

/// The first component of a path.
fn head_of(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == b'/').next().unwrap_or_default()
}

/// A tree's content: `MODE SP NAME NUL ID`, repeated.
fn written(entries: &[TreeEntry]) -> Vec<u8> {
    let mut content = Vec::with_capacity(entries.len() * 48);
    for entry in entries {
        content.extend_from_slice(format!("{:o} ", entry.mode).as_bytes());
        content.extend_from_slice(&entry.name);
        content.push(0);
        content.extend_from_slice(entry.id.as_bytes());
    }
    content
}

/// As `read-cache.c: verify_path`: what git would not put into an index is not built either.
pub(super) fn check_path(path: &RepoPath) -> Read<()> {
    let bytes = path.as_bytes();
    let refused = |why: &str| Err(Trouble(format!("{path} cannot be the path of a change: it {why}")));
    if bytes.contains(&0) {
        return refused("holds a NUL byte");
    }
    let components = bytes.split(|byte| *byte == b'/');
    if components.clone().count() > MAX_DEPTH {
        return refused("is too deep");
    }
    for component in components {
        if matches!(component, b"" | b"." | b"..") {
            return refused("has an empty component, . or ..");
        }
        if component.eq_ignore_ascii_case(b".git") || component.eq_ignore_ascii_case(b"git~1") {
            return refused("leads into a git directory");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_git_would_not_check_out_are_refused() {
        for bad in ["", "/a", "a/", "a//b", "../x", "a/./b", ".git/config", "a/.GIT", "x/git~1", "a\0b"] {
            assert!(check_path(&RepoPath::from(bad)).is_err(), "{bad:?}");
        }
        for good in ["a", "a/b", ".gitmodules", "a/..b", "...", "a b\n"] {
            assert!(check_path(&RepoPath::from(good)).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn identities_are_those_that_git_gives() {
        let empty = identity("blob", b"", gix_hash::Kind::Sha1);
        assert_eq!(empty.to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        let empty = identity("tree", b"", gix_hash::Kind::Sha256);
        assert_eq!(empty.to_string(), "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321");
    }
}
