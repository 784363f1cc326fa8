//! The NAR hash of a commit, from a git object database: no checkout, no process, no network.
//!
//! In: a repository (a mirror or a checkout) and a commit. Out: [`SourceFacts`], which is what
//! `flake.lock` records of a source. A missing object is an error that names it: a hash over
//! less than everything would be a lie. One file's content at a time is in memory, beside what is
//! read ahead in packs, within a bound; a file over [`MAX_FILE`] is refused by name. A pointer of
//! git's large file storage is hashed as the pointer that it is, as Nix does.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use git2::{Commit, ErrorCode, ObjectType, Oid, Repository};
use sha2::{Digest, Sha256};

use super::archive::{Attributes, Rules};
use super::blobs::Blobs;
use super::nar_cache::NarCache;
use super::subst::Formats;
use super::unpack;
use crate::domain::flake::nar::{self, NarError, NarHash, Node};
use crate::domain::id::ObjectId;
use crate::domain::text;
use crate::ports::{PortError, PortResult};

/// How Nix gets the source, which decides what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fetched {
    /// As an archive (`github:`, `gitlab:`, `sourcehut:`): `export-ignore`, `export-subst` and the
    /// built-in conversions apply. As `git archive` does, a directory whose files are all left out
    /// is kept, and one that holds nothing but directories without files is not.
    Tarball,
    /// By git (`git+https:` and so on): every file as committed.
    Git,
}

/// What a lock records of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// The commit.
    pub rev: ObjectId,
    /// Its tree.
    pub tree: ObjectId,
    /// `narHash`.
    pub nar_hash: NarHash,
    /// `lastModified`: the committer's time, Unix seconds.
    pub last_modified: i64,
}

/// The most bytes that a source may unfold to: 4 GiB.
pub const MAX_BYTES: u64 = 4 << 30;

/// The largest file that is read, bytes: 512 MiB, from which on git itself converts nothing.
pub const MAX_FILE: usize = 512 << 20;

/// The most trees that are looked into for a file: a bomb of empty trees ends here.
const MAX_TREES: u32 = 1 << 20;

/// The facts of a commit's source.
///
/// # Errors
/// When the commit or anything in its tree is missing, or the archive's bytes are not
/// determined by the commit alone, or it unfolds to more than [`MAX_BYTES`].
pub fn source_facts(repository: &Repository, commit: ObjectId, fetched: Fetched) -> PortResult<SourceFacts> {
    source_facts_cached(Objects::of(repository, &[]), commit, fetched, &NarCache::default())
}

/// The objects of sources.
#[derive(Clone, Copy)]
pub struct Objects<'r> {
    /// All of them.
    repository: &'r Repository,
    /// Object directories that it reads: where to look first, and in what order. None is needed.
    directories: &'r [PathBuf],
}

impl<'r> Objects<'r> {
    /// Of a repository that reads these object directories, perhaps among others.
    #[must_use]
    pub fn of(repository: &'r Repository, directories: &'r [PathBuf]) -> Self {
        Self { repository, directories }
    }
}

/// As [`source_facts`]; a tree that `cache` knows is not read, and one that it does not know is
/// put in it. What depends on the commit besides its tree (`export-subst`) is never in it.
///
/// # Errors
/// As [`source_facts`].
pub fn source_facts_cached(
    objects: Objects<'_>,
    commit: ObjectId,
    fetched: Fetched,
    cache: &NarCache,
) -> PortResult<SourceFacts> {
    let found = find(objects.repository, commit)?;
    let tree = ObjectId::from_bytes(found.tree_id().as_bytes()).unwrap_or(commit);
    let nar_hash = if let Some(known) = cache.get(tree, fetched) {
        known
    } else {
        let (nar_hash, of_commit) =
            with_source(objects, &found, fetched, |source, root| nar::hash(source, root, MAX_BYTES))?;
        if !of_commit {
            cache.add(tree, fetched, nar_hash);
        }
        nar_hash
    };
    Ok(SourceFacts { rev: commit, tree, nar_hash, last_modified: found.time().seconds() })
}

/// Write the archive of a commit's source, at most `max_bytes` of it, and give its hash.
///
/// # Errors
/// As [`source_facts`], and when `out` fails.
pub fn write_archive(
    objects: Objects<'_>,
    commit: ObjectId,
    fetched: Fetched,
    out: impl Write,
    max_bytes: u64,
) -> PortResult<NarHash> {
    let found = find(objects.repository, commit)?;
    let mut out = Hashing { out, digest: Sha256::new() };
    with_source(objects, &found, fetched, |source, root| nar::write(source, root, &mut out, max_bytes))?;
    Ok(NarHash(out.digest.finalize().into()))
}

/// Write the files of a commit's source to `to`, where nothing is yet; at most `max_bytes` of them.
/// What was written before a failure is removed.
///
/// # Errors
/// As [`source_facts`], and input/output failures.
pub fn write_files(
    objects: Objects<'_>,
    commit: ObjectId,
    fetched: Fetched,
    to: &Path,
    max_bytes: u64,
) -> PortResult<()> {
    let found = find(objects.repository, commit)?;
    let written =
        with_source(objects, &found, fetched, |source, root| unpack::unpack(source, root, to, max_bytes));
    if written.is_err() {
        unpack::remove(to);
    }
    written.map(|_| ())
}

/// Bytes on their way, and their hash.
struct Hashing<W> {
    out: W,
    digest: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn attempted(commit: impl std::fmt::Display) -> String {
    format!("cannot hash the source of commit {commit}")
}

fn find(repository: &Repository, commit: ObjectId) -> PortResult<Commit<'_>> {
    Oid::from_bytes(commit.as_bytes()).and_then(|oid| repository.find_commit(oid)).map_err(|error| {
        let error = ReadError::of("commit", &commit.to_string(), &error);
        PortError::failed(attempted(commit)).because(error).hint("fetch the module's upstream first")
    })
}

/// Do something with a commit's source; also whether the result depends on the commit itself.
fn with_source<T>(
    objects: Objects<'_>,
    commit: &Commit<'_>,
    fetched: Fetched,
    work: impl FnOnce(&GitSource<'_>, Reference) -> Result<T, NarError<ReadError>>,
) -> PortResult<(T, bool)> {
    let failed = || PortError::failed(attempted(commit.id()));
    let odb = objects.repository.odb().map_err(|error| failed().because(error.message().to_owned()))?;
    let source = GitSource {
        repository: objects.repository,
        blobs: Blobs::new(objects.repository, odb, commit.tree_id(), objects.directories),
        fetched,
        commit,
        of_commit: Cell::new(false),
        looked_into: Cell::new(0),
    };
    let root =
        Reference { path: Vec::new(), oid: commit.tree_id(), kind: Kind::Tree, rules: Rules::default() };
    let done = work(&source, root).map_err(|error| {
        let missing = matches!(error, NarError::Source(ReadError::Missing { .. }));
        let failed = failed().because(error);
        if missing {
            failed.hint("fetch the module again: its repository is shallow, partial or damaged")
        } else {
            failed
        }
    })?;
    Ok((done, source.of_commit.get()))
}

/// `revCount`: how many commits the commit's history has, itself included; `None` in a shallow
/// repository, whose history is not all there.
///
/// # Errors
/// When a commit of the history is missing.
pub fn rev_count(repository: &Repository, commit: ObjectId) -> PortResult<Option<u64>> {
    if repository.is_shallow() {
        return Ok(None);
    }
    let failed = |error: git2::Error| {
        PortError::failed(format!("cannot count the history of commit {commit}"))
            .because(error.message().to_owned())
            .hint("fetch the module again: its repository is partial or damaged")
    };
    let mut walk = repository.revwalk().map_err(failed)?;
    walk.push(Oid::from_bytes(commit.as_bytes()).map_err(failed)?).map_err(failed)?;
    let mut count = 0;
    for commit in walk {
        commit.map_err(failed)?;
        count += 1;
    }
    Ok(Some(count))
}

/// Why a tree cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the {kind} {object} is not in the repository")]
    Missing { kind: &'static str, object: String },
    #[error("cannot read the {kind} {object}: {reason}")]
    Unreadable { kind: &'static str, object: String, reason: String },
    #[error("the blob {object} has {bytes} bytes; at most {MAX_FILE} are read")]
    TooLarge { object: String, bytes: usize },
    #[error("it has more than {MAX_TREES} directories that hold only directories")]
    TooManyTrees,
    #[error("{path} cannot be archived")]
    Undetermined {
        path: String,
        #[source]
        source: super::archive::Undetermined,
    },
}

impl ReadError {
    pub(super) fn of(kind: &'static str, object: &str, error: &git2::Error) -> Self {
        let object = object.to_owned();
        if error.code() == ErrorCode::NotFound {
            Self::Missing { kind, object }
        } else {
            Self::Unreadable { kind, object, reason: error.message().to_owned() }
        }
    }
}

struct GitSource<'r> {
    repository: &'r Repository,
    blobs: Blobs<'r>,
    fetched: Fetched,
    commit: &'r Commit<'r>,
    /// Something in the archive says which commit it is of.
    of_commit: Cell<bool>,
    /// How many trees were looked into for a file.
    looked_into: Cell<u32>,
}

/// An entry of a tree, with what is needed to convert it.
#[derive(Debug, Clone)]
struct Reference {
    path: Vec<u8>,
    oid: Oid,
    kind: Kind,
    /// Of the directory that it is in.
    rules: Rules,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Tree,
    File { executable: bool, attributes: Attributes },
    Symlink,
    Gitlink,
}

impl nar::Source for GitSource<'_> {
    type Reference = Reference;
    type Content = Vec<u8>;
    type Error = ReadError;

    fn open(&self, reference: Reference) -> Result<Node<Reference, Vec<u8>>, ReadError> {
        match reference.kind {
            Kind::Gitlink => Ok(Node::Directory(BTreeMap::new())),
            Kind::Tree => self.entries(&reference.path, reference.oid, &reference.rules).map(Node::Directory),
            Kind::Symlink => self.blobs.next(reference.oid).map(Node::Symlink),
            Kind::File { executable, attributes } => {
                let blob = ObjectId::from_bytes(reference.oid.as_bytes());
                let content = self.blobs.next(reference.oid)?;
                let content = match (self.fetched, blob) {
                    (Fetched::Tarball, Some(blob)) => {
                        let formats = || {
                            self.of_commit.set(true);
                            Formats::of(self.commit)
                        };
                        attributes.convert(blob, content, formats).map_err(|source| {
                            ReadError::Undetermined { path: text::git_quoted(&reference.path), source }
                        })?
                    }
                    _ => content,
                };
                Ok(Node::File { executable, content })
            }
        }
    }
}

impl GitSource<'_> {
    /// What the directory holds of the source, by name: all but what attributes leave out.
    fn entries(
        &self,
        path: &[u8],
        oid: Oid,
        rules: &Rules,
    ) -> Result<BTreeMap<Vec<u8>, Reference>, ReadError> {
        let tree = self
            .repository
            .find_tree(oid)
            .map_err(|error| ReadError::of("tree", &oid.to_string(), &error))?;
        let mut rules = rules.clone();
        let prefix = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
        if self.fetched == Fetched::Tarball
            && let Some(entry) = tree.get_name(".gitattributes")
            // Git does not follow a link here.
            && matches!(entry.filemode(), 0o100_644 | 0o100_755 | 0o100_664)
        {
            rules = rules.with_file(&prefix, &self.blobs.read(entry.id())?);
        }
        let mut entries = BTreeMap::new();
        for entry in &tree {
            let name = entry.name_bytes().to_vec();
            let path = [&prefix[..], &name].concat();
            let is_dir = matches!(entry.kind(), Some(ObjectType::Tree | ObjectType::Commit));
            let attributes = if self.fetched == Fetched::Tarball {
                rules.of(&path, is_dir)
            } else {
                Attributes::default()
            };
            if attributes.export_ignore {
                continue;
            }
            let kind = match entry.filemode() {
                0o040_000
                    if self.fetched == Fetched::Tarball && !self.holds_file(&path, entry.id(), &rules)? =>
                {
                    continue;
                }
                0o040_000 => Kind::Tree,
                0o120_000 => Kind::Symlink,
                0o160_000 => Kind::Gitlink,
                mode => Kind::File { executable: mode & 0o100 != 0, attributes },
            };
            entries.insert(name, Reference { path, oid: entry.id(), kind, rules: rules.clone() });
        }
        Ok(entries)
    }

    /// Whether `git archive` comes to anything but a directory in this one: it writes directories
    /// when it comes to the first such entry in them, even one that it then leaves out.
    fn holds_file(&self, path: &[u8], oid: Oid, rules: &Rules) -> Result<bool, ReadError> {
        let mut open = vec![(path.to_vec(), oid)];
        while let Some((path, oid)) = open.pop() {
            self.looked_into.set(self.looked_into.get() + 1);
            let tree = self
                .repository
                .find_tree(oid)
                .map_err(|error| ReadError::of("tree", &oid.to_string(), &error))?;
            if tree.iter().any(|entry| entry.filemode() != 0o040_000) {
                return Ok(true);
            }
            if self.looked_into.get() > MAX_TREES {
                return Err(ReadError::TooManyTrees);
            }
            // There is no `.gitattributes` in it: the same rules hold below.
            for entry in &tree {
                let path = [&path[..], b"/", entry.name_bytes()].concat();
                if !rules.of(&path, true).export_ignore {
                    open.push((path, entry.id()));
                }
            }
        }
        Ok(false)
    }
}
