//! The refs of a repository on this machine, read from its files: no process, no configuration.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::domain::id::ObjectId;

/// What the refs say.
pub(super) enum Refs {
    /// A branch and its commit; `None` when the branch has none.
    Branch(String, Option<ObjectId>),
    /// HEAD names a commit, not a branch.
    Detached,
    /// There is no repository at the path.
    Absent,
    /// A form that only git reads (linked work tree, reftable): ask the program.
    AskGit,
}

/// The largest ref file; a packed-refs file of 10⁶ refs has 70 MB.
const MAX_REFS_FILE: u64 = 16 << 20;

/// The git directory that git would find for this upload location.
pub(super) fn git_dir(path: &Path) -> Option<PathBuf> {
    let suffixed = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    [suffixed("/.git"), path.to_owned(), suffixed(".git")]
        .into_iter()
        .find(|candidate| candidate.is_file() || candidate.join("HEAD").is_file())
}

/// The tip of `branch`, or of the branch that HEAD names.
pub(super) fn refs(path: &Path, branch: Option<&str>) -> Refs {
    let Some(git_dir) = git_dir(path) else { return Refs::Absent };
    if git_dir.is_file() || git_dir.join("commondir").exists() || git_dir.join("reftable").exists() {
        return Refs::AskGit;
    }
    let branch = match branch {
        Some(branch) => branch.to_owned(),
        None => match read(&git_dir.join("HEAD")) {
            Some(head) => match head.trim_end().strip_prefix("ref: refs/heads/") {
                Some(branch) => branch.to_owned(),
                None if head.trim_end().parse::<ObjectId>().is_ok() => return Refs::Detached,
                None => return Refs::AskGit,
            },
            None => return Refs::AskGit,
        },
    };
    if branch.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        return Refs::AskGit;
    }
    match tip(&git_dir, &format!("refs/heads/{branch}")) {
        Ok(tip) => Refs::Branch(branch, tip),
        Err(()) => Refs::AskGit,
    }
}

/// The commit of a ref in a plain git directory.
pub(super) fn tip(git_dir: &Path, name: &str) -> Result<Option<ObjectId>, ()> {
    let loose = git_dir.join(name);
    match fs::symlink_metadata(&loose) {
        Ok(found) if found.is_file() => {
            return read(&loose).ok_or(())?.trim_end().parse().map(Some).map_err(|_| ());
        }
        Ok(found) if !found.is_dir() => return Err(()),
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
        Err(_) => return Err(()),
    }
    let packed = git_dir.join("packed-refs");
    if !packed.exists() {
        return Ok(None);
    }
    let packed = read(&packed).ok_or(())?;
    let found =
        packed.lines().filter_map(|line| line.split_once(' ')).find(|(_, found)| found.trim_end() == name);
    found.map(|(id, _)| id.parse().map_err(|_| ())).transpose()
}

fn read(path: &Path) -> Option<String> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    let read = fs::File::open(path).ok()?.take(MAX_REFS_FILE + 1).read_to_string(&mut text).ok()?;
    (read as u64 <= MAX_REFS_FILE).then_some(text)
}
