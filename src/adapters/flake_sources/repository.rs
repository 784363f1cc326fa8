//! The repositories of one source: one object database, and the refs of each.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, ObjectType, Odb, Oid, Repository, RepositoryOpenFlags, StatusOptions};

use super::{git_dir, not_at_hand};
use crate::adapters::git::nar::Objects;
use crate::domain::flake::relock::SourceError;
use crate::domain::id::ObjectId;
use crate::domain::text;

/// Links in a source are followed so often.
const MAX_LINKS: usize = 40;

/// Everything that is at hand of one source.
pub(super) struct Repositories {
    /// The objects of all, opened without any configuration.
    objects: Repository,
    /// Where they are, apart from alternates.
    directories: Vec<PathBuf>,
    places: Vec<Place>,
    /// The reference names this very repository (`git+file:`).
    local: bool,
}

struct Place {
    path: PathBuf,
    git_dir: PathBuf,
    head: Option<String>,
    /// Its refs, opened when first asked.
    refs: OnceCell<Repository>,
}

impl Repositories {
    pub(super) fn open(places: &[(PathBuf, Option<String>)], local: bool) -> Result<Self, SourceError> {
        let failed = |error: git2::Error| SourceError::Failed(text::inert(error.message()));
        let odb = Odb::new().map_err(failed)?;
        let (mut opened, mut directories) = (Vec::new(), Vec::new());
        for (path, head) in places {
            let Some(git_dir) = git_dir(path) else { continue };
            let objects = common_dir(&git_dir).join("objects");
            let Some(objects) = objects.to_str().filter(|_| objects.is_dir()) else { continue };
            odb.add_disk_alternate(objects).map_err(failed)?;
            directories.push(PathBuf::from(objects));
            let (path, head) = (path.clone(), head.clone());
            opened.push(Place { path, git_dir, head, refs: OnceCell::new() });
        }
        if opened.is_empty() {
            let shown: Vec<String> = places.iter().map(|(path, _)| path.display().to_string()).collect();
            return Err(not_at_hand(&format!("{} is no git repository", text::inert(&shown.join(", ")))));
        }
        let objects = Repository::from_odb(odb).map_err(failed)?;
        Ok(Self { objects, directories, places: opened, local })
    }

    pub(super) fn objects(&self) -> Objects<'_> {
        Objects::of(&self.objects, &self.directories)
    }

    fn shown(&self) -> String {
        let places: Vec<String> = self.places.iter().map(|place| place.path.display().to_string()).collect();
        text::inert(&places.join(", "))
    }

    /// The commit with this full hash.
    pub(super) fn commit(&self, revision: &str) -> Result<ObjectId, SourceError> {
        let not_here =
            || not_at_hand(&format!("the commit {} is not in {}", text::inert(revision), self.shown()));
        let id: ObjectId = revision
            .parse()
            .map_err(|_| SourceError::Failed(format!("{} is no full commit hash", text::quoted(revision))))?;
        let oid = Oid::from_bytes(id.as_bytes()).map_err(|_| not_here())?;
        match self.objects.find_commit(oid) {
            Ok(_) => Ok(id),
            Err(error) if error.code() == ErrorCode::NotFound => Err(not_here()),
            Err(error) => Err(SourceError::Failed(text::inert(error.message()))),
        }
    }

    /// Where a branch or tag of the upstream is, or its HEAD, as the first repository that knows
    /// says: the full name of the branch, and its commit.
    pub(super) fn upstream_tip(&self, git_ref: Option<&str>) -> Result<(String, ObjectId), SourceError> {
        for place in &self.places {
            let Ok(repository) = place.refs() else { continue };
            let Some(name) = git_ref.map(str::to_owned).or_else(|| upstream_head(place, repository)) else {
                continue;
            };
            let short = name.strip_prefix("refs/heads/").unwrap_or(&name);
            let mirrored = short.replace('%', "%25").replace('/', "%2F");
            let candidates = [
                format!("refs/remotes/upstream/{mirrored}"),
                format!("refs/remotes/origin/{short}"),
                format!("refs/heads/{short}"),
                format!("refs/tags/{short}"),
                name.clone(),
            ];
            for candidate in candidates.iter().filter(|name| name.starts_with("refs/")) {
                let found = repository.find_reference(candidate).and_then(|found| found.peel_to_commit());
                if let Some(id) = found.ok().and_then(|commit| ObjectId::from_bytes(commit.id().as_bytes())) {
                    let full =
                        if name.starts_with("refs/") { name.clone() } else { format!("refs/heads/{short}") };
                    return Ok((full, id));
                }
            }
        }
        let what = git_ref.map_or_else(|| "HEAD".to_owned(), text::inert);
        Err(not_at_hand(&format!("{} has no {what}", self.shown())))
    }

    /// What a `git` input is: the `ref` that Nix records when none was asked for, and the commit.
    pub(super) fn resolve(
        &self,
        git_ref: Option<&str>,
        revision: Option<&str>,
    ) -> Result<(Option<String>, ObjectId), SourceError> {
        if !self.local {
            return match (git_ref, revision) {
                (None, None) => self.upstream_tip(None).map(|(name, commit)| (Some(name), commit)),
                (None, Some(revision)) => {
                    let name = self.upstream_tip(None).map(|(name, _)| name);
                    Ok((
                        Some(name.unwrap_or_else(|_| "refs/heads/master".to_owned())),
                        self.commit(revision)?,
                    ))
                }
                (Some(name), None) => Ok((None, self.upstream_tip(Some(name))?.1)),
                (Some(_), Some(revision)) => Ok((None, self.commit(revision)?)),
            };
        }
        let place = &self.places[0];
        let repository = place.refs()?;
        let symbolic = repository
            .find_reference("HEAD")
            .ok()
            .and_then(|head| head.symbolic_target().ok().flatten().map(str::to_owned));
        let recorded = if git_ref.is_some() { None } else { symbolic };
        if let Some(revision) = revision {
            return Ok((recorded, self.commit(revision)?));
        }
        if git_ref.is_none() && place.git_dir != place.path {
            clean(&place.path)?;
        }
        let wanted = git_ref.unwrap_or("HEAD");
        let found = repository
            .revparse_single(&format!("{wanted}^{{commit}}"))
            .map_err(|_| not_at_hand(&format!("{} has no {}", self.shown(), text::inert(wanted))))?;
        let id = ObjectId::from_bytes(found.id().as_bytes())
            .ok_or_else(|| not_at_hand("its commits are not named by SHA-1"))?;
        Ok((recorded, id))
    }

    /// How many commits a commit's history has: `revCount`.
    pub(super) fn count(&self, commit: ObjectId) -> Result<u64, SourceError> {
        if self.places.iter().any(|place| common_dir(&place.git_dir).join("shallow").exists()) {
            return Err(not_at_hand(&format!("{} is shallow, so its history has no count", self.shown())));
        }
        let failed = |error: git2::Error| {
            not_at_hand(&format!("its history is not whole: {}", text::inert(error.message())))
        };
        let mut walk = self.objects.revwalk().map_err(failed)?;
        walk.push(Oid::from_bytes(commit.as_bytes()).map_err(failed)?).map_err(failed)?;
        let mut count = 0;
        for step in walk {
            step.map_err(failed)?;
            count += 1;
        }
        Ok(count)
    }

    /// Whether the commit's tree holds gitlinks.
    pub(super) fn has_submodules(&self, commit: ObjectId) -> Result<bool, SourceError> {
        let failed = |error: git2::Error| SourceError::Failed(text::inert(error.message()));
        let tree = self.tree(commit)?;
        let mut found = false;
        tree.walk(git2::TreeWalkMode::PreOrder, |_, entry| {
            found |= entry.kind() == Some(ObjectType::Commit);
            if found { git2::TreeWalkResult::Abort } else { git2::TreeWalkResult::Ok }
        })
        .or_else(|error| if found { Ok(()) } else { Err(failed(error)) })?;
        Ok(found)
    }

    fn tree(&self, commit: ObjectId) -> Result<git2::Tree<'_>, SourceError> {
        Oid::from_bytes(commit.as_bytes())
            .and_then(|oid| self.objects.find_commit(oid))
            .and_then(|commit| commit.tree())
            .map_err(|error| SourceError::Failed(text::inert(error.message())))
    }

    /// A file of a commit's tree; links are followed as long as they stay in the tree.
    pub(super) fn file(
        &self,
        commit: ObjectId,
        path: &str,
        most: u64,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let failed = |error: git2::Error| SourceError::Failed(text::inert(error.message()));
        let top = self.tree(commit)?;
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut trail = vec![top];
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    if trail.len() == 1 {
                        return Err(SourceError::Failed(format!(
                            "{} leads out of its source",
                            text::inert(path)
                        )));
                    }
                    trail.pop();
                    continue;
                }
                _ => {}
            }
            let entry = trail[trail.len() - 1].get_name(&part).map(|entry| (entry.id(), entry.filemode()));
            let Some((id, mode)) = entry else { return Ok(None) };
            match mode {
                0o040_000 => {
                    let tree = self.objects.find_tree(id).map_err(failed)?;
                    trail.push(tree);
                }
                0o160_000 => return Ok(None),
                _ => {
                    let size = self.objects.odb().and_then(|odb| odb.read_header(id)).map_err(failed)?.0;
                    if size as u64 > most {
                        return Err(SourceError::Failed(format!(
                            "{} has more than {most} bytes",
                            text::inert(path)
                        )));
                    }
                    let blob = self.objects.find_blob(id).map_err(failed)?;
                    if mode != 0o120_000 {
                        return Ok(rest.iter().all(String::is_empty).then(|| blob.content().to_vec()));
                    }
                    links += 1;
                    let target = std::str::from_utf8(blob.content()).unwrap_or("/");
                    if links > MAX_LINKS || target.starts_with('/') {
                        return Err(SourceError::Failed(format!(
                            "{} leads out of its source",
                            text::inert(path)
                        )));
                    }
                    rest.extend(target.split('/').rev().map(str::to_owned));
                }
            }
        }
        Ok(None)
    }
}

/// The branch that stands for the upstream's HEAD in this repository.
fn upstream_head(place: &Place, repository: &Repository) -> Option<String> {
    let symbolic = |name: &str| {
        let found = repository.find_reference(name).ok()?;
        found.symbolic_target().ok().flatten().map(str::to_owned)
    };
    let origin = symbolic("refs/remotes/origin/HEAD").and_then(|name| {
        name.strip_prefix("refs/remotes/origin/").map(|short| format!("refs/heads/{short}"))
    });
    place.head.as_ref().map(|head| format!("refs/heads/{head}")).or(origin).or_else(|| symbolic("HEAD"))
}

/// The directory that a linked work tree shares with its repository.
fn common_dir(git_dir: &Path) -> PathBuf {
    match fs::read_to_string(git_dir.join("commondir")) {
        Ok(text) if text.len() < 4096 => git_dir.join(text.trim_end()),
        _ => git_dir.to_owned(),
    }
}

impl Place {
    /// Refs need the repository itself; nothing in its configuration is run by libgit2, which
    /// looks at the files again when they change.
    fn refs(&self) -> Result<&Repository, SourceError> {
        if let Some(open) = self.refs.get() {
            return Ok(open);
        }
        let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::BARE;
        let opened = Repository::open_ext(&self.git_dir, flags, &[] as &[&Path]).map_err(|error| {
            let place = text::inert(&self.git_dir.display().to_string());
            SourceError::Failed(format!("cannot open {place}: {}", text::inert(error.message())))
        })?;
        Ok(self.refs.get_or_init(|| opened))
    }
}

/// Nix locks a work tree with changes to nothing that lasts, and then refuses the lock.
fn clean(work_tree: &Path) -> Result<(), SourceError> {
    let statuses = Repository::open(work_tree).and_then(|repository| {
        let mut options = StatusOptions::new();
        options.include_untracked(false).include_ignored(false);
        repository.statuses(Some(&mut options)).map(|found| found.len())
    });
    match statuses {
        Ok(0) => Ok(()),
        Ok(_) => Err(SourceError::Failed(format!(
            "the work tree {} has uncommitted changes, which no lock can name; commit them, or name a revision",
            text::inert(&work_tree.display().to_string())
        ))),
        Err(error) => Err(SourceError::Failed(text::inert(error.message()))),
    }
}
