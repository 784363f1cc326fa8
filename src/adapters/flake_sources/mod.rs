//! Sources of flakes that are on this machine: git repositories, and directories.
//!
//! In: where repositories are (mirrors, checkouts, what the user names). Out: [`FlakeSources`],
//! what a lock records of a source and the files in it, read from git objects. No process is
//! started, nothing of a repository's configuration is run, nothing is written but hashes in the
//! cache that was given, no network. Repositories stay open and trees stay hashed for as long as
//! the [`LocalSources`] live: many locks are made over one.
//! [`AskingNix`] alone goes further, for what is not at hand.
//!
//! All repositories of one identity are one object database; where a branch is, the first that
//! has it says. Only `git+file:` inputs are read where they are; a repository of any other input
//! must have been named here, so that a flake cannot lead to a repository of its choice.

mod disk;
mod folder;
mod nix_program;
mod repository;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use self::folder::Folder;
pub use self::nix_program::AskingNix;
use self::repository::Repositories;
use super::git::nar::{Fetched, MAX_BYTES, SourceFacts, source_facts_cached, write_files};
use super::git::nar_cache::NarCache;
use crate::domain::flake::nar::NarHash;
use crate::domain::flake::reference::{Attr, FlakeRef};
use crate::domain::flake::relock::{FlakeSources, SourceError, Tree};
use crate::domain::id::ObjectId;
use crate::domain::module::Module;
use crate::domain::text;
use crate::domain::url::RepoIdentity;
use crate::ports::{ModuleSources, PortResult};

/// The largest file that is read out of a source.
const MAX_FILE: u64 = 64 << 20;

/// Where sources are, and what was read of them.
pub struct LocalSources {
    root: PathBuf,
    named: BTreeMap<RepoIdentity, Vec<(PathBuf, Option<String>)>>,
    folders: Vec<Folder>,
    opened: RefCell<BTreeMap<String, Rc<Repositories>>>,
    facts: RefCell<BTreeMap<(ObjectId, bool), SourceFacts>>,
    verified: RefCell<BTreeMap<PathBuf, (NarHash, u64)>>,
    /// Hashes of trees, also of earlier runs where it has a file.
    cache: Arc<NarCache>,
}

impl LocalSources {
    /// Sources for a root flake whose tree is the directory `root` (of a flake in a repository:
    /// the top of its work tree).
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            named: BTreeMap::new(),
            folders: Vec::new(),
            opened: RefCell::default(),
            facts: RefCell::default(),
            verified: RefCell::default(),
            cache: Arc::default(),
        }
    }

    /// The same, with hashes that are known already; trees that are hashed here are added to them.
    #[must_use]
    pub fn with_cache(mut self, cache: Arc<NarCache>) -> Self {
        self.cache = cache;
        self
    }

    /// A repository of this identity: a git directory or the top of a checkout. The first one
    /// that has a branch says where it is. `head` is the branch that stands for the upstream's
    /// HEAD, where the repository does not say.
    pub fn add(&mut self, identity: RepoIdentity, repository: &Path, head: Option<String>) {
        self.named.entry(identity).or_default().push((repository.to_owned(), head));
    }

    /// A directory of git directories, named `OWNER+REPO/repo`, `OWNER+REPO`, `OWNER/REPO.git` or
    /// `OWNER/REPO`. Asked after the repositories that were added one by one.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn add_folder(&mut self, dir: &Path) -> std::io::Result<()> {
        self.folders.push(Folder::open(dir)?);
        Ok(())
    }

    /// The repositories of an input that is fetched by or like git.
    fn repositories(&self, reference: &FlakeRef) -> Result<Rc<Repositories>, SourceError> {
        let local = reference.text("url").and_then(local_path).filter(|_| reference.kind() == "git");
        let identity = reference.identity();
        let key = match (&local, &identity) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(identity)) => identity.as_str().to_owned(),
            (None, None) => return Err(not_at_hand("its repository cannot be told from its reference")),
        };
        if let Some(opened) = self.opened.borrow().get(&key) {
            return Ok(Rc::clone(opened));
        }
        let places = match (&local, &identity) {
            (Some(path), _) => vec![(path.clone(), None)],
            (None, Some(identity)) => self.places(identity),
            (None, None) => Vec::new(),
        };
        if places.is_empty() {
            return Err(not_at_hand(&format!("no repository of {} was named", text::inert(&key))));
        }
        let opened = Rc::new(Repositories::open(&places, local.is_some())?);
        self.opened.borrow_mut().insert(key, Rc::clone(&opened));
        Ok(opened)
    }

    /// The repositories of a module.
    fn of_module(&self, module: &Module) -> Result<Rc<Repositories>, SourceError> {
        let key = module.identity.as_str();
        if let Some(opened) = self.opened.borrow().get(key) {
            return Ok(Rc::clone(opened));
        }
        let places = self.places(&module.identity);
        if places.is_empty() {
            return Err(not_at_hand(&format!("no repository of {} was named", text::inert(key))));
        }
        let opened = Rc::new(Repositories::open(&places, false)?);
        self.opened.borrow_mut().insert(key.to_owned(), Rc::clone(&opened));
        Ok(opened)
    }

    fn places(&self, identity: &RepoIdentity) -> Vec<(PathBuf, Option<String>)> {
        let named = self.named.get(identity).into_iter().flatten().cloned();
        let found = self.folders.iter().filter_map(|folder| folder.find(identity)).map(|path| (path, None));
        named.chain(found).collect()
    }

    fn facts(
        &self,
        repositories: &Repositories,
        commit: ObjectId,
        fetched: Fetched,
    ) -> Result<SourceFacts, SourceError> {
        let key = (commit, fetched == Fetched::Git);
        if let Some(facts) = self.facts.borrow().get(&key) {
            return Ok(facts.clone());
        }
        let facts = source_facts_cached(repositories.objects(), commit, fetched, &self.cache)
            // A repository without all of the commit is as good as none, and so is a commit whose
            // archive cannot be told from its objects alone.
            .map_err(|error| SourceError::NotAtHand(chain(&error)))?;
        self.facts.borrow_mut().insert(key, facts.clone());
        Ok(facts)
    }

    /// Write the files of a locked source to `to`, where nothing is yet; they are what its `narHash` says.
    ///
    /// # Errors
    /// When it is not at hand, or its content is another than the lock says.
    pub fn write_files(&self, locked: &FlakeRef, to: &Path) -> Result<(), SourceError> {
        let fetched = match locked.kind() {
            "github" | "gitlab" | "sourcehut" => Fetched::Tarball,
            "git" => {
                whole_by_git(locked)?;
                Fetched::Git
            }
            kind => {
                return Err(not_at_hand(&format!(
                    "inputs of type {} are not fetched here",
                    text::quoted(kind)
                )));
            }
        };
        let repositories = self.repositories(locked)?;
        let commit = repositories.commit(locked.rev().unwrap_or(""))?;
        if flag(locked, "submodules") && repositories.has_submodules(commit)? {
            return Err(not_at_hand("sources with their submodules are not made here"));
        }
        same_content(locked, &self.facts(&repositories, commit, fetched)?.nar_hash)?;
        written(write_files(repositories.objects(), commit, fetched, to, MAX_BYTES))
    }

    /// Write the files of a module's commit, as git has them, to `to`, where nothing is yet.
    ///
    /// # Errors
    /// When they are not at hand.
    pub fn write_module(&self, module: &Module, commit: ObjectId, to: &Path) -> Result<(), SourceError> {
        let repositories = self.of_module(module)?;
        let commit = repositories.commit(&commit.to_string())?;
        written(write_files(repositories.objects(), commit, Fetched::Git, to, MAX_BYTES))
    }

    /// What a lock would record of a module's commit, taken by git.
    ///
    /// # Errors
    /// When it is not at hand.
    pub fn module_facts(&self, module: &Module, commit: ObjectId) -> Result<SourceFacts, SourceError> {
        let repositories = self.of_module(module)?;
        let commit = repositories.commit(&commit.to_string())?;
        self.facts(&repositories, commit, Fetched::Git)
    }

    /// A file of a module's commit; `None` when it has none.
    ///
    /// # Errors
    /// When the commit is not at hand, or the file cannot be read.
    pub fn module_file(
        &self,
        module: &Module,
        commit: ObjectId,
        path: &str,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let repositories = self.of_module(module)?;
        let commit = repositories.commit(&commit.to_string())?;
        repositories.file(commit, path, MAX_FILE)
    }

    /// `github:` and its like: an archive of a commit.
    fn lock_archive(&self, reference: &FlakeRef, revision: Option<&str>) -> Result<FlakeRef, SourceError> {
        let repositories = self.repositories(reference)?;
        let commit = match revision.or(reference.rev()) {
            Some(revision) => repositories.commit(revision)?,
            None => repositories.upstream_tip(reference.git_ref())?.1,
        };
        let facts = self.facts(&repositories, commit, Fetched::Tarball)?;
        finish(reference, reference.with("ref", None), &facts)
    }

    /// `git+…`: a commit as git has it.
    fn lock_git(&self, reference: &FlakeRef, revision: Option<&str>) -> Result<FlakeRef, SourceError> {
        whole_by_git(reference)?;
        let repositories = self.repositories(reference)?;
        let asked = revision.or(reference.rev());
        let (git_ref, commit) = repositories.resolve(reference.git_ref(), asked)?;
        if flag(reference, "submodules") && repositories.has_submodules(commit)? {
            return Err(not_at_hand("sources with their submodules are not made here"));
        }
        let mut locked = reference.clone();
        if let Some(git_ref) = git_ref {
            locked = locked.with("ref", Some(Attr::Str(git_ref.into())));
        }
        if !flag(reference, "shallow") {
            locked = locked.with("revCount", Some(Attr::Int(repositories.count(commit)?)));
        }
        let facts = self.facts(&repositories, commit, Fetched::Git)?;
        finish(reference, locked, &facts)
    }

    /// `path:`: a directory as it is now.
    fn lock_path(&self, reference: &FlakeRef) -> Result<FlakeRef, SourceError> {
        let path = PathBuf::from(reference.text("path").unwrap_or(""));
        let (hash, modified) = self.directory(&path)?;
        let mut locked = reference.clone();
        if reference.last_modified().is_none() {
            locked = locked.with("lastModified", Some(Attr::Int(modified)));
        }
        same_content(reference, &hash)?;
        Ok(locked.with("narHash", Some(Attr::Str(hash.to_string().into()))))
    }

    /// The hash of a directory, and the newest time in it.
    fn directory(&self, path: &Path) -> Result<(NarHash, u64), SourceError> {
        if let Some(known) = self.verified.borrow().get(path) {
            return Ok(*known);
        }
        let found = disk::hash(path)?;
        self.verified.borrow_mut().insert(path.to_owned(), found);
        Ok(found)
    }
}

impl FlakeSources for LocalSources {
    fn lock(&self, reference: &FlakeRef, revision: Option<&str>) -> Result<FlakeRef, SourceError> {
        match reference.kind() {
            "github" | "gitlab" | "sourcehut" => self.lock_archive(reference, revision),
            "git" => self.lock_git(reference, revision),
            "indirect" => Err(not_at_hand("only a registry says what it is; give the input a url")),
            kind if revision.is_some() => {
                Err(SourceError::Failed(format!("inputs of type {} have no revisions", text::quoted(kind))))
            }
            "path" => self.lock_path(reference),
            kind => Err(not_at_hand(&format!("inputs of type {} are not fetched here", text::quoted(kind)))),
        }
    }

    fn read(&self, tree: Tree<'_>, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let locked = match tree {
            Tree::Root => return disk::read(&self.root, path, MAX_FILE),
            Tree::Locked(locked) => locked,
        };
        match locked.kind() {
            "github" | "gitlab" | "sourcehut" | "git" => {
                let repositories = self.repositories(locked)?;
                let commit = repositories.commit(locked.rev().unwrap_or(""))?;
                repositories.file(commit, path, MAX_FILE)
            }
            "path" => {
                let dir = PathBuf::from(locked.text("path").unwrap_or(""));
                let (hash, _) = self.directory(&dir)?;
                if locked.nar_hash().is_some_and(|locked| locked != hash.to_string()) {
                    return Err(not_at_hand("the directory has changed since it was locked"));
                }
                disk::read(&dir, path, MAX_FILE)
            }
            kind => Err(not_at_hand(&format!("inputs of type {} are not fetched here", text::quoted(kind)))),
        }
    }
}

impl ModuleSources for LocalSources {
    fn hash(&self, module: &Module, commit: ObjectId) -> Result<NarHash, SourceError> {
        Ok(self.module_facts(module, commit)?.nar_hash)
    }
}

/// Refuse what of a `git` source is not in the objects as they are.
fn whole_by_git(reference: &FlakeRef) -> Result<(), SourceError> {
    for unsupported in ["lfs", "exportIgnore", "verifyCommit"] {
        if flag(reference, unsupported) {
            return Err(not_at_hand(&format!("sources with {unsupported} = true are not made here")));
        }
    }
    Ok(())
}

/// A repository without all of the commit is as good as none.
fn written(result: PortResult<()>) -> Result<(), SourceError> {
    result.map_err(|error| SourceError::NotAtHand(chain(&error)))
}

fn finish(asked: &FlakeRef, locked: FlakeRef, facts: &SourceFacts) -> Result<FlakeRef, SourceError> {
    same_content(asked, &facts.nar_hash)?;
    let modified = u64::try_from(facts.last_modified).unwrap_or(0);
    Ok(locked
        .with("rev", Some(Attr::Str(facts.rev.to_string().into())))
        .with("lastModified", Some(Attr::Int(modified)))
        .with("narHash", Some(Attr::Str(facts.nar_hash.to_string().into()))))
}

/// A reference that names its content gets that or nothing.
fn same_content(asked: &FlakeRef, found: &NarHash) -> Result<(), SourceError> {
    match asked.nar_hash() {
        Some(wanted) if wanted.parse::<NarHash>().ok().as_ref() != Some(found) => Err(SourceError::Failed(
            format!("its narHash is {found}, and the reference says {}", text::inert(wanted)),
        )),
        _ => Ok(()),
    }
}

fn flag(reference: &FlakeRef, name: &str) -> bool {
    reference.attrs().get(name) == Some(&Attr::Bool(true))
}

fn not_at_hand(why: &str) -> SourceError {
    SourceError::NotAtHand(why.to_owned())
}

/// Put a flake's lock in place: whole or not at all, and with the mode that it had.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_lock(flake_dir: &Path, content: &[u8]) -> std::io::Result<()> {
    disk::replace(&flake_dir.join("flake.lock"), content)
}

/// An error with its causes, inert.
fn chain(error: &dyn std::error::Error) -> String {
    let mut shown = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        shown = format!("{shown}: {cause}");
        next = cause.source();
    }
    text::inert(&shown)
}

/// The path of a `file:` URL.
fn local_path(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("file:")?.split(['?', '#']).next()?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let path = crate::domain::flake::reference::percent_decoded(path)?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// The git directory of a repository: itself, or what `.git` in it is or names.
fn git_dir(path: &Path) -> Option<PathBuf> {
    let dot_git = path.join(".git");
    let meta = fs::symlink_metadata(&dot_git);
    if meta.as_ref().is_ok_and(fs::Metadata::is_dir) {
        return Some(dot_git);
    }
    if meta.as_ref().is_ok_and(|meta| meta.is_file() && meta.len() < 8192) {
        let text = fs::read_to_string(&dot_git).ok()?;
        return Some(path.join(text.strip_prefix("gitdir: ")?.trim_end()));
    }
    (path.join("HEAD").is_file() && path.join("objects").is_dir()).then(|| path.to_owned())
}
