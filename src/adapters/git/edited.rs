//! The superproject's own source with edits on it: a candidate, as Nix would take it from git.
//!
//! In: a commit and path edits. Out: its hash, or its files in a directory. Everything is read from
//! objects, what the edits bring from memory: the work tree is not looked at, and nothing is written
//! to the repository. Submodules are empty directories, as Nix has them.

use std::collections::BTreeMap;
use std::path::Path;

use super::GitRepository;
use super::build::{self, Object};
use super::checkout::Opened;
use super::files::{Read, Trouble};
use super::nar::MAX_BYTES;
use super::objects::{MODE_GITLINK, MODE_LINK, MODE_TREE, Objects, parse_tree};
use super::superproject::cannot;
use super::unpack;
use crate::domain::change::PathEdit;
use crate::domain::flake::nar::{self, NarError, NarHash, Node, Source};
use crate::domain::id::ObjectId;
use crate::ports::{PortResult, SnapshotOptions};

impl GitRepository {
    /// The hash of all files of `base` with these edits.
    ///
    /// # Errors
    /// When the base cannot be read, or is not what an edit says stands there now.
    pub fn edited_hash(&self, base: ObjectId, edits: &[PathEdit]) -> PortResult<NarHash> {
        self.of_edited(base, edits, |source, root| nar::hash(source, root, MAX_BYTES))
            .map_err(cannot(format!("cannot hash the superproject's commit {} with its edits", base.short())))
    }

    /// Write all files of `base` with these edits to `to`, where nothing is yet.
    ///
    /// # Errors
    /// As [`Self::edited_hash`], and input/output failures.
    pub fn edited_files(&self, base: ObjectId, edits: &[PathEdit], to: &Path) -> PortResult<()> {
        self.of_edited(base, edits, |source, root| unpack::unpack(source, root, to, MAX_BYTES)).map_err(
            cannot(format!("cannot write out the superproject's commit {} with its edits", base.short())),
        )
    }

    fn of_edited<T>(
        &self,
        base: ObjectId,
        edits: &[PathEdit],
        work: impl FnOnce(&Edited<'_>, Reference) -> Result<T, NarError<Trouble>>,
    ) -> Read<T> {
        let opened: Opened = self.opened(&SnapshotOptions::default())?;
        let built = build::tree(&opened, base, edits)?;
        let made = built.objects.iter().map(|object| (object.id, object)).collect();
        let source = Edited { objects: &opened.objects, made };
        work(&source, Reference { mode: MODE_TREE, id: built.tree }).map_err(|error| match error {
            NarError::Source(trouble) => trouble,
            NarError::Write(error) => Trouble(format!("it cannot be written: {error}")),
            other => Trouble(other.to_string()),
        })
    }
}

/// A tree in the repository, with objects that are only in memory.
struct Edited<'a> {
    objects: &'a Objects,
    made: BTreeMap<ObjectId, &'a Object>,
}

#[derive(Clone, Copy)]
struct Reference {
    mode: u32,
    id: ObjectId,
}

impl Source for Edited<'_> {
    type Reference = Reference;
    type Content = Vec<u8>;
    type Error = Trouble;

    fn open(&self, Reference { mode, id }: Reference) -> Read<Node<Reference, Vec<u8>>> {
        let missing = |what: &str| Trouble(format!("the {what} {id} is missing"));
        let blob = || match self.made.get(&id) {
            Some(object) => Ok(object.content.clone()),
            None => self.objects.blob(id)?.ok_or_else(|| missing("blob")),
        };
        Ok(match mode {
            MODE_TREE => {
                let entries = match self.made.get(&id) {
                    Some(object) => parse_tree(&object.content, id.as_bytes().len()),
                    None => self.objects.tree(id)?,
                };
                let entries = entries.ok_or_else(|| missing("tree"))?.into_iter();
                let reference = |entry: super::objects::TreeEntry| {
                    (entry.name, Reference { mode: entry.mode, id: entry.id })
                };
                Node::Directory(entries.map(reference).collect())
            }
            MODE_GITLINK => Node::Directory(BTreeMap::new()),
            MODE_LINK => Node::Symlink(blob()?),
            mode => Node::File { executable: mode & 0o100 != 0, content: blob()? },
        })
    }
}
