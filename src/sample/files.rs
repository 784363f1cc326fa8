//! A tree of files in memory, and its three forms: git tree objects, a NAR, an index.
//!
//! [`Files`] is what a commit holds, by path. [`Tree`] is the same seen as directories with
//! their git ids, borrowed from it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use super::objects::{Kind, Objects, object_id};
use crate::domain::flake::nar::{self, NarHash, Node};
use crate::domain::id::ObjectId;

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Regular = 0o100_644,
    Executable = 0o100_755,
    Symlink = 0o120_000,
    Gitlink = 0o160_000,
}

/// One path: for a gitlink, `id` is a commit and `content` is empty.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) mode: Mode,
    pub(super) id: ObjectId,
    pub(super) content: Arc<[u8]>,
}

/// All files of a commit, by path, in the order of an index.
#[derive(Debug, Clone, Default)]
pub(super) struct Files(pub(super) BTreeMap<Vec<u8>, File>);

impl Files {
    pub(super) fn put(&mut self, path: impl Into<Vec<u8>>, content: impl Into<Vec<u8>>) {
        self.put_as(path, Mode::Regular, content);
    }

    pub(super) fn put_as(&mut self, path: impl Into<Vec<u8>>, mode: Mode, content: impl Into<Vec<u8>>) {
        let content: Arc<[u8]> = content.into().into();
        self.0.insert(path.into(), File { mode, id: object_id(Kind::Blob, &content), content });
    }

    pub(super) fn put_gitlink(&mut self, path: impl Into<Vec<u8>>, commit: ObjectId) {
        self.0.insert(path.into(), File { mode: Mode::Gitlink, id: commit, content: Arc::default() });
    }

    /// The files as directories; every blob and tree is given to `objects`.
    pub(super) fn tree(&self, objects: &mut Objects) -> Tree<'_> {
        let mut root = Draft::default();
        for (path, file) in &self.0 {
            root.insert(path, file);
        }
        root.finish(objects)
    }
}

#[derive(Default)]
struct Draft<'a>(BTreeMap<&'a [u8], DraftEntry<'a>>);

enum DraftEntry<'a> {
    Dir(Draft<'a>),
    File(&'a File),
}

impl<'a> Draft<'a> {
    fn insert(&mut self, path: &'a [u8], file: &'a File) {
        match path.iter().position(|byte| *byte == b'/') {
            None => {
                self.0.insert(path, DraftEntry::File(file));
            }
            Some(slash) => {
                let dir = self.0.entry(&path[..slash]).or_insert_with(|| DraftEntry::Dir(Draft::default()));
                if let DraftEntry::Dir(dir) = dir {
                    dir.insert(&path[slash + 1..], file);
                }
            }
        }
    }

    fn finish(self, objects: &mut Objects) -> Tree<'a> {
        let mut entries = BTreeMap::new();
        let mut files = 0;
        for (name, entry) in self.0 {
            let entry = match entry {
                DraftEntry::Dir(dir) => {
                    let dir = dir.finish(objects);
                    files += dir.files;
                    Entry::Dir(dir)
                }
                DraftEntry::File(file) => {
                    files += 1;
                    if file.mode != Mode::Gitlink {
                        objects.add_known(file.id, Kind::Blob, Arc::clone(&file.content));
                    }
                    Entry::File(file)
                }
            };
            entries.insert(name, entry);
        }
        let id = objects.add(Kind::Tree, encode(&entries));
        Tree { id, files, entries }
    }
}

/// A tree object's content: a directory sorts as if its name ended in `/`.
fn encode(entries: &BTreeMap<&[u8], Entry<'_>>) -> Vec<u8> {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by_cached_key(|(name, entry)| {
        let mut key = name.to_vec();
        if matches!(entry, Entry::Dir(_)) {
            key.push(b'/');
        }
        key
    });
    let mut content = Vec::new();
    for (name, entry) in sorted {
        let (mode, id) = match entry {
            Entry::Dir(dir) => (0o40_000, dir.id),
            Entry::File(file) => (file.mode as u32, file.id),
        };
        content.extend_from_slice(format!("{mode:o} ").as_bytes());
        content.extend_from_slice(name);
        content.push(0);
        content.extend_from_slice(id.as_bytes());
    }
    content
}

/// A directory with its git id.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) id: ObjectId,
    /// Files in it and below.
    pub(super) files: usize,
    pub(super) entries: BTreeMap<&'a [u8], Entry<'a>>,
}

/// What a directory holds.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    Dir(Tree<'a>),
    File(&'a File),
}

impl Tree<'_> {
    /// The NAR hash of these files. Borrowed entries cannot fail, and a sample has a size
    /// that its maker chose.
    pub(super) fn nar_hash(&self) -> NarHash {
        nar::hash(&InMemory(PhantomData), Reference::Dir(self), u64::MAX)
            .expect("because it is all in memory and well named")
    }
}

/// The in-memory tree as the source of a NAR.
struct InMemory<'a>(PhantomData<&'a ()>);

#[derive(Clone, Copy)]
enum Reference<'a> {
    Dir(&'a Tree<'a>),
    File(&'a File),
}

impl<'a> nar::Source for InMemory<'a> {
    type Reference = Reference<'a>;
    type Content = &'a [u8];
    type Error = Infallible;

    fn open(&self, reference: Reference<'a>) -> Result<Node<Reference<'a>, &'a [u8]>, Infallible> {
        Ok(match reference {
            Reference::Dir(dir) => Node::Directory(
                dir.entries
                    .iter()
                    .map(|(name, entry)| {
                        let reference = match entry {
                            Entry::Dir(dir) => Reference::Dir(dir),
                            Entry::File(file) => Reference::File(file),
                        };
                        (name.to_vec(), reference)
                    })
                    .collect(),
            ),
            Reference::File(file) => match file.mode {
                Mode::Regular => Node::File { executable: false, content: &file.content },
                Mode::Executable => Node::File { executable: true, content: &file.content },
                Mode::Symlink => Node::Symlink(file.content.to_vec()),
                Mode::Gitlink => Node::Directory(BTreeMap::new()),
            },
        })
    }
}
