//! The NAR hash of a commit, from a git object database: no checkout, no process, no network.
//!
//! In: a repository (a mirror or a checkout) and a commit. Out: [`SourceFacts`], which is what
//! `flake.lock` records of a source. A missing object is an error that names it: a hash over
//! less than everything would be a lie.

use std::collections::BTreeMap;

use git2::{ErrorCode, ObjectType, Oid, Repository};

use super::archive::{Attributes, Rules};
use crate::domain::flake::nar::{self, NarError, NarHash, Node};
use crate::domain::id::ObjectId;
use crate::domain::text;
use crate::ports::{PortError, PortResult};

/// How Nix gets the source, which decides what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// As an archive (`github:`, `gitlab:`, `sourcehut:`): `export-ignore` and the built-in
    /// conversions apply. Directories that end up empty are kept, as `git archive` does.
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

/// The facts of a commit's source.
///
/// # Errors
/// When the commit or anything in its tree is missing, or the archive's bytes are not
/// determined by the commit alone, or it unfolds to more than [`MAX_BYTES`].
pub fn source_facts(repository: &Repository, commit: ObjectId, fetched: Fetched) -> PortResult<SourceFacts> {
    source_facts_within(repository, commit, fetched, MAX_BYTES)
}

fn source_facts_within(
    repository: &Repository,
    commit: ObjectId,
    fetched: Fetched,
    max_bytes: u64,
) -> PortResult<SourceFacts> {
    let attempted = || format!("cannot hash the source of commit {commit}");
    let found =
        Oid::from_bytes(commit.as_bytes()).and_then(|oid| repository.find_commit(oid)).map_err(|error| {
            let error = ReadError::of("commit", &commit.to_string(), &error);
            PortError::failed(attempted()).because(error).hint("fetch the module's upstream first")
        })?;
    let source = GitSource { repository, fetched };
    let root =
        Reference { path: Vec::new(), oid: found.tree_id(), kind: Kind::Tree, rules: Rules::default() };
    let nar_hash = nar::hash(&source, root, max_bytes).map_err(|error| {
        let missing = matches!(error, NarError::Source(ReadError::Missing { .. }));
        let failed = PortError::failed(attempted()).because(error);
        if missing {
            failed.hint("fetch the module again: its repository is shallow, partial or damaged")
        } else {
            failed
        }
    })?;
    let tree = ObjectId::from_bytes(found.tree_id().as_bytes()).unwrap_or(commit);
    Ok(SourceFacts { rev: commit, tree, nar_hash, last_modified: found.time().seconds() })
}

/// Why a tree cannot be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the {kind} {object} is not in the repository")]
    Missing { kind: &'static str, object: String },
    #[error("cannot read the {kind} {object}: {reason}")]
    Unreadable { kind: &'static str, object: String, reason: String },
    #[error("{path} cannot be archived")]
    Undetermined {
        path: String,
        #[source]
        source: super::archive::Undetermined,
    },
}

impl ReadError {
    fn of(kind: &'static str, object: &str, error: &git2::Error) -> Self {
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
    fetched: Fetched,
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
            Kind::Symlink => self.blob(reference.oid).map(Node::Symlink),
            Kind::File { executable, attributes } => {
                let blob = ObjectId::from_bytes(reference.oid.as_bytes());
                let content = self.blob(reference.oid)?;
                let content = match (self.fetched, blob) {
                    (Fetched::Tarball, Some(blob)) => {
                        attributes.convert(blob, content).map_err(|source| ReadError::Undetermined {
                            path: text::git_quoted(&reference.path),
                            source,
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
    fn blob(&self, oid: Oid) -> Result<Vec<u8>, ReadError> {
        let blob = self.repository.find_blob(oid);
        blob.map(|blob| blob.content().to_vec())
            .map_err(|error| ReadError::of("blob", &oid.to_string(), &error))
    }

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
            rules = rules.with_file(&prefix, &self.blob(entry.id())?);
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
                0o040_000 => Kind::Tree,
                0o120_000 => Kind::Symlink,
                0o160_000 => Kind::Gitlink,
                mode => Kind::File { executable: mode & 0o100 != 0, attributes },
            };
            entries.insert(name, Reference { path, oid: entry.id(), kind, rules: rules.clone() });
        }
        Ok(entries)
    }
}
