//! The objects of a submodule's new commit, from its mirror into its own repository.
//!
//! In process: no fetch is run, and nothing that either repository configures. A pack of what the
//! new commit has and the old one has not is written into a directory of its own, synced, and
//! renamed into place, the index last: a pack that git sees is whole.

use std::path::{Path, PathBuf};

use git2::{Odb, Oid, Repository};

use crate::adapters::durable::{self, Disk, Open, WriteError};
use crate::adapters::git::files::shown;
use crate::adapters::git::superproject::{not_done, not_written};
use crate::domain::id::ObjectId;
use crate::ports::{PortError, PortResult};

/// What our temporary directories begin with: git's own housekeeping would remove them too.
const PREFIX: &str = "tmp_lambda-os";

/// Whether one of these object directories has a commit.
pub(super) fn is_at(directories: &[PathBuf], commit: ObjectId) -> bool {
    let Ok(oid) = Oid::from_bytes(commit.as_bytes()) else { return false };
    database(directories).is_ok_and(|odb| odb.exists(oid))
}

fn database(directories: &[PathBuf]) -> Result<Odb<'static>, git2::Error> {
    let odb = Odb::new()?;
    for directory in directories.iter().filter(|directory| directory.is_dir()) {
        let path =
            directory.to_str().ok_or_else(|| git2::Error::from_str("libgit2 wants a path in UTF-8"))?;
        odb.add_disk_alternate(path)?;
    }
    Ok(odb)
}

/// Put what `to` has and `from` has not into the object directory `into`.
pub(super) fn bring(
    disk: &dyn Disk,
    into: &Path,
    sources: &[PathBuf],
    from: ObjectId,
    to: ObjectId,
) -> PortResult<()> {
    sweep(disk, into);
    let temp = into.join(durable::temp_name(Path::new(PREFIX)));
    disk.create_dir(&temp).map_err(|error| not_done("make the directory", &temp, error))?;
    let result = pack(into, sources, &temp, from, to)
        .map_err(|error| {
            PortError::failed(format!("cannot bring the commit {to} into {}", shown(into)))
                .because(std::io::Error::other(error.message().to_owned()))
        })
        .and_then(|name| place(disk, into, &temp, &name));
    // Best effort: the next transfer takes the rest away.
    let _ = std::fs::remove_dir_all(&temp);
    result
}

/// Write the pack and its index; gives its name without `pack-`.
fn pack(
    into: &Path,
    sources: &[PathBuf],
    temp: &Path,
    from: ObjectId,
    to: ObjectId,
) -> Result<String, git2::Error> {
    let mut directories = sources.to_vec();
    directories.push(into.to_owned());
    let repository = Repository::from_odb(database(&directories)?)?;
    let mut walk = repository.revwalk()?;
    walk.push(Oid::from_bytes(to.as_bytes())?)?;
    walk.hide(Oid::from_bytes(from.as_bytes())?)?;
    let mut builder = repository.packbuilder()?;
    builder.insert_walk(&mut walk)?;
    builder.write(temp, 0o444)?;
    let name = builder.name()?.ok_or_else(|| git2::Error::from_str("the pack has no name"))?;
    Ok(name.to_owned())
}

fn place(disk: &dyn Disk, into: &Path, temp: &Path, name: &str) -> PortResult<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let packs = into.join("pack");
    if !packs.is_dir() {
        disk.create_dir(&packs).map_err(|error| not_done("make the directory", &packs, error))?;
    }
    let names = ["pack", "idx"].map(|kind| format!("pack-{name}.{kind}"));
    for name in &names {
        let path = temp.join(name);
        let rights = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
        rights(0o644).map_err(|error| not_done("set the rights of", &path, error))?;
        let file = disk.open(&path, Open::Keep).map_err(|error| not_done("open", &path, error))?;
        disk.sync_data(&file).map_err(|error| not_written("a pack", &path, WriteError::Unknown(error)))?;
        rights(0o444).map_err(|error| not_done("set the rights of", &path, error))?;
    }
    for name in &names {
        let path = packs.join(name);
        disk.rename(&temp.join(name), &path).map_err(|error| not_done("place", &path, error))?;
    }
    disk.sync_dir(&packs).map_err(|error| not_written("the directory", &packs, WriteError::Unknown(error)))
}

/// Remove the directories that earlier transfers left.
fn sweep(_: &dyn Disk, into: &Path) {
    for found in std::fs::read_dir(into).into_iter().flatten().flatten() {
        let name = found.file_name();
        let left = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && durable::is_temporary(name));
        if left {
            let _ = std::fs::remove_dir_all(found.path());
        }
    }
}
