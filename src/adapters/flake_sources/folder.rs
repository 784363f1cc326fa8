//! A directory of git directories, by owner and repository.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::git_dir;
use crate::domain::url::RepoIdentity;

/// What a directory holds, listed once.
pub(super) struct Folder {
    /// By `owner/repo` in lower case: identities on GitHub are without case.
    by_name: BTreeMap<String, PathBuf>,
}

impl Folder {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let mut by_name = BTreeMap::new();
        for entry in list(dir)? {
            let (name, path) = entry;
            if let Some((owner, repo)) = name.split_once('+') {
                let inner = path.join("repo");
                if let Some(found) = [inner, path].into_iter().find(|path| git_dir(path).is_some()) {
                    by_name.insert(format!("{owner}/{repo}").to_lowercase(), found);
                }
            } else if git_dir(&path).is_none() && path.is_dir() {
                for (repo, path) in list(&path).unwrap_or_default() {
                    if git_dir(&path).is_some() {
                        let repo = repo.strip_suffix(".git").unwrap_or(&repo);
                        by_name.insert(format!("{name}/{repo}").to_lowercase(), path);
                    }
                }
            }
        }
        Ok(Self { by_name })
    }

    /// The repository whose owner and name end this identity.
    pub(super) fn find(&self, identity: &RepoIdentity) -> Option<PathBuf> {
        let mut parts = identity.as_str().rsplit('/');
        let (repo, owner) = (parts.next()?, parts.next()?);
        self.by_name.get(&format!("{owner}/{repo}").to_lowercase()).cloned()
    }
}

/// Names that are text, with their paths, sorted.
fn list(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
