//! Index entries of exactly the changed paths, whatever form the index has.
//!
//! The index is copied, git's own plumbing changes the copy (it alone writes every form: split and
//! sparse indexes, all versions and extensions), the copy is read back, and its bytes take the
//! index's place by one rename while the lock is held. All other entries keep what they say.

use std::io;
use std::path::{Path, PathBuf};

use super::step::{At, Step, in_index};
use crate::adapters::durable::{self, Disk, Open, WriteError};
use crate::adapters::git::checkout::Opened;
use crate::adapters::git::files::shown;
use crate::adapters::git::index::Index;
use crate::adapters::git::objects::MODE_GITLINK;
use crate::adapters::git::plumbing::Plumbing;
use crate::adapters::git::superproject::{cannot, not_done, not_written};
use crate::ports::{PortError, PortResult};

/// What our copies are called, so that what a crash left is found.
pub(super) const COPY: &str = "index.lambda-os";

/// The largest index that is copied.
const MAX_INDEX: u64 = 512 << 20;

/// Bring the entries of these steps to their new side. The caller holds the index lock.
pub(super) fn replace(disk: &dyn Disk, opened: &Opened, steps: &[&Step]) -> PortResult<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let git_dir = &opened.git.dirs.git_dir;
    let copy = git_dir.join(durable::temp_name(Path::new(COPY)));
    let made = prepare(disk, opened, steps, &copy);
    let placed = made.and_then(|()| {
        let index = git_dir.join("index");
        disk.rename(&copy, &index).map_err(|error| not_done("replace", &index, error))
    });
    if let Err(error) = placed {
        remove_copy(disk, &copy);
        return Err(error);
    }
    disk.sync_dir(git_dir).map_err(|error| not_written("the directory", git_dir, WriteError::Unknown(error)))
}

/// The changed copy, checked and on stable storage.
fn prepare(disk: &dyn Disk, opened: &Opened, steps: &[&Step], copy: &Path) -> PortResult<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let index = opened.git.dirs.git_dir.join("index");
    let attempted = || format!("cannot prepare the entries of the change in {}", shown(&index));
    let mode =
        std::fs::metadata(&index).map_err(|error| not_done("look at", &index, error))?.permissions().mode();
    let bytes = crate::adapters::git::files::read(&index, MAX_INDEX)
        .map_err(cannot(attempted()))?
        .ok_or_else(|| PortError::failed(attempted()))?;
    remove_copy(disk, copy);
    let write = || -> io::Result<()> {
        let file = disk.open(copy, Open::NewWith(0o666))?;
        durable::write_all_at(disk, &file, &bytes, 0)
    };
    write().map_err(|error| not_done("copy the index to", copy, error))?;

    let git = Plumbing::new(&opened.git.dirs, &opened.path).with_index(copy);
    git.update_index(&["-z", "--add", "--replace", "--index-info"], index_info(steps))
        .map_err(cannot(attempted()))?;
    // With stat data, so that git does not have to read the files again to see that nothing differs.
    let files: Vec<u8> = steps
        .iter()
        .filter(|step| step.new.is_some_and(|new| new.mode != MODE_GITLINK))
        .flat_map(|step| [step.path.as_bytes(), b"\0"].concat())
        .collect();
    if !files.is_empty() {
        git.update_index(&["-z", "--info-only", "--stdin"], files).map_err(cannot(attempted()))?;
    }
    let before = opened.index().map_err(cannot(attempted()))?;
    let hidden: Vec<u8> = steps
        .iter()
        .filter(|step| super::step::hiding_flag(&before, step) == Some("skip-worktree"))
        .flat_map(|step| [step.path.as_bytes(), b"\0"].concat())
        .collect();
    if !hidden.is_empty() {
        git.update_index(&["-z", "--skip-worktree", "--stdin"], hidden).map_err(cannot(attempted()))?;
    }

    let after = Index::read_from(copy, &git, &opened.git, &opened.objects, opened.hash)
        .map_err(cannot(attempted()))?;
    for step in steps {
        if in_index(&after, step) != At::New {
            return Err(PortError::failed(format!(
                "{}: git did not write {} as it should be",
                attempted(),
                step.path
            )));
        }
    }
    if let Some(path) = other_difference(&before, &after, steps) {
        return Err(PortError::failed(format!("{}: git changed the entry of {path} too", attempted())));
    }

    std::fs::set_permissions(copy, std::fs::Permissions::from_mode(mode & 0o7777))
        .map_err(|error| not_done("set the rights of", copy, error))?;
    let file = disk.open(copy, Open::Keep).map_err(|error| not_done("open", copy, error))?;
    disk.sync_data(&file)
        .map_err(|error| not_written("the changed copy of the index", copy, WriteError::Unknown(error)))
}

/// Lines of `git update-index -z --index-info`; removals first, so that a file can become a directory.
fn index_info(steps: &[&Step]) -> Vec<u8> {
    let mut lines = Vec::new();
    let (gone, kept): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|step| step.new.is_none());
    for step in gone.into_iter().chain(kept) {
        let line = match (step.new, step.old) {
            (Some(new), _) => format!("{:06o} {}\t", new.mode, new.id),
            (None, old) => {
                let digits = old.map_or(40, |old| old.id.as_bytes().len() * 2);
                format!("0 {}\t", "0".repeat(digits))
            }
        };
        lines.extend_from_slice(line.as_bytes());
        lines.extend_from_slice(step.path.as_bytes());
        lines.push(0);
    }
    lines
}

/// A path outside the steps whose entry differs in more than stat data.
fn other_difference(before: &Index, after: &Index, steps: &[&Step]) -> Option<String> {
    let entries = |index: &Index| -> Vec<(Vec<u8>, u32, u32, Vec<u8>)> {
        let state = &index.state;
        state
            .entries()
            .iter()
            .filter(|entry| !steps.iter().any(|step| <[u8]>::eq(entry.path(state), step.path.as_bytes())))
            .map(|entry| {
                let path: &[u8] = entry.path(state);
                (path.to_vec(), entry.stage_raw(), entry.mode.bits(), entry.id.as_slice().to_vec())
            })
            .collect()
    };
    let (before, after) = (entries(before), entries(after));
    if before == after {
        return None;
    }
    let at = before.iter().zip(&after).position(|(before, after)| before != after);
    let path = at.map_or_else(Vec::new, |at| before[at].0.clone());
    Some(crate::domain::id::RepoPath::new(path).to_string())
}

fn remove_copy(disk: &dyn Disk, copy: &Path) {
    let mut lock = copy.as_os_str().to_owned();
    lock.push(".lock");
    for path in [copy.to_owned(), PathBuf::from(lock)] {
        if path.symlink_metadata().is_ok() {
            let _ = disk.remove(&path);
        }
    }
}

/// Remove the copies that earlier landings left: there is one at a time.
pub(super) fn sweep(disk: &dyn Disk, git_dir: &Path) {
    for found in std::fs::read_dir(git_dir).into_iter().flatten().flatten() {
        let name = found.file_name();
        let Some(name) =
            name.to_str().filter(|name| name.starts_with(COPY) || name.starts_with("index.lock.lambda-os"))
        else {
            continue;
        };
        let stem = name.strip_suffix(".lock").unwrap_or(name);
        if durable::is_temporary(stem) {
            let _ = disk.remove(&found.path());
        }
    }
}
