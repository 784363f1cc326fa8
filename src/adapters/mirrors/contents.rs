//! What modules' commits hold, from mirrors and checkouts together; what trees hold is remembered.
//!
//! In: a module and commits. Out: values of [`crate::domain::contents`], `None` when the objects are not
//! at hand. Signatures in tags come from the refs of the checkout and of the mirror.
//!
//! What a tree holds is kept in a file, when one is given: a line for each commit, for ever appended to,
//! as the cache of hashes is. Signatures are remembered within a process, as long as the places that name
//! tags look the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use git2::{Odb, Oid, Repository, RepositoryOpenFlags};
use serde::{Deserialize, Serialize};

use super::Mirrors;
use super::history::Objects;
use crate::adapters::git::contents::Looked;
use crate::domain::contents::held::{Held, Told};
use crate::domain::contents::touched::{Difference, Links};
use crate::domain::contents::vouched::{Newcomer, Voucher};
use crate::domain::id::ObjectId;
use crate::domain::module::Module;
use crate::ports::{Contents, PortResult};

const FORMAT: &str = "lambda-os contents cache v1";
/// The most that is read of the file, bytes.
const MAX_FILE: u64 = 256 << 20;
/// Files of more bytes than this are read again each time.
const MAX_KEPT: usize = 16 << 10;
/// Most tags of a repository that are looked at.
const MAX_TAGS: usize = 20_000;

/// What trees hold, by commit. Shared between threads.
#[derive(Debug, Default)]
pub(super) struct HeldCache {
    known: Mutex<BTreeMap<ObjectId, Held>>,
    vouched: Mutex<BTreeMap<ObjectId, (Stamp, Vec<Voucher>)>>,
    file: Option<PathBuf>,
}

/// How the places looked that name tags: each with its number, its length and when it changed last.
type Stamp = Vec<Option<(u64, u64, i64, i64)>>;

#[derive(Serialize, Deserialize)]
struct Line {
    commit: ObjectId,
    held: Held,
}

impl HeldCache {
    /// With what the file holds, and adding to it. The file need not exist.
    pub(super) fn in_file(file: &Path) -> Self {
        let mut text = String::new();
        // Not UTF-8, not there, not readable: it is no cache, and looking again is right.
        let read = File::open(file).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
        let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let ours = read.is_ok() && (text.is_empty() || lines.next() == Some(FORMAT));
        let absent = matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::NotFound);
        let known = lines
            .filter(|_| ours)
            .filter_map(|line| serde_json::from_str::<Line>(line).ok())
            .map(|line| (line.commit, line.held))
            .collect();
        let file = (ours || absent).then(|| file.to_owned());
        Self { known: Mutex::new(known), file, ..Self::default() }
    }

    fn get(&self, commit: ObjectId) -> Option<Held> {
        self.lock().get(&commit).cloned()
    }

    fn add(&self, commit: ObjectId, held: &Held) {
        let is_large = |told: &Told| matches!(told, Told::File(bytes) if bytes.0.len() > MAX_KEPT);
        if held.told.values().any(is_large) || self.lock().insert(commit, held.clone()).is_some() {
            return;
        }
        let Some(file) = &self.file else { return };
        let Ok(line) = serde_json::to_string(&Line { commit, held: held.clone() }) else { return };
        // Whole lines in one write at the end: writers do not mix, readers skip what a crash tore.
        let _ = OpenOptions::new().create(true).append(true).open(file).and_then(|mut open| {
            let first = if open.metadata()?.len() == 0 { FORMAT } else { "" };
            open.write_all(format!("{first}\n{line}\n").as_bytes())
        });
    }

    fn vouched(&self) -> MutexGuard<'_, BTreeMap<ObjectId, (Stamp, Vec<Voucher>)>> {
        self.vouched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectId, Held>> {
        // A map of finished entries is whole whoever panicked beside it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mirrors {
    fn look<T>(
        &self,
        module: &Module,
        look: impl FnOnce(Looked<'_>) -> PortResult<Option<T>>,
    ) -> PortResult<Option<T>> {
        let odb: Odb<'static> = Objects::open(&self.object_directories(module))?.into_odb();
        look(Looked(&odb))
    }

    /// The objects that refs of tags name, in the mirror and in the checkout.
    fn tags(&self, module: &Module) -> BTreeSet<Oid> {
        let flags = RepositoryOpenFlags::NO_SEARCH;
        let mut found = BTreeSet::new();
        for (path, _) in self.repositories(module) {
            // One that cannot be opened has no tags to give; its absence only takes vouchers away.
            let Ok(repository) = Repository::open_ext(&path, flags, &[] as &[&Path]) else { continue };
            let Ok(references) = repository.references_glob("refs/tags/*") else { continue };
            found.extend(references.flatten().filter_map(|tag| tag.target()).take(MAX_TAGS));
        }
        found
    }
}

/// How the tags of repositories with these object directories look; `None` when that needs a walk.
fn stamp(objects: &[PathBuf]) -> Option<Stamp> {
    let mut stamp = Vec::new();
    for git_dir in objects.iter().filter_map(|objects| objects.parent()) {
        for (name, is_directory) in [("packed-refs", false), ("refs/tags", true)] {
            let found = std::fs::symlink_metadata(git_dir.join(name)).ok();
            // A directory below has times of its own: two names are the directory and its `.`.
            if is_directory && found.as_ref().is_some_and(|found| found.nlink() != 2) {
                return None;
            }
            stamp.push(found.map(|it| (it.ino(), it.len(), it.mtime(), it.mtime_nsec())));
        }
    }
    Some(stamp)
}

impl Contents for Mirrors {
    fn held(&self, module: &Module, commit: ObjectId) -> PortResult<Option<Held>> {
        let cache = self.contents();
        if let Some(held) = cache.get(commit) {
            return Ok(Some(held));
        }
        let held = self.look(module, |objects| objects.held(commit))?;
        if let Some(held) = &held {
            cache.add(commit, held);
        }
        Ok(held)
    }

    fn difference(&self, module: &Module, from: ObjectId, to: ObjectId) -> PortResult<Option<Difference>> {
        self.look(module, |objects| objects.difference(from, to))
    }

    fn vouchers(&self, module: &Module, commit: ObjectId) -> PortResult<Option<Vec<Voucher>>> {
        let stamp = stamp(&self.object_directories(module));
        if let (Some(now), Some((then, known))) = (&stamp, self.contents().vouched().get(&commit))
            && now == then
        {
            return Ok(Some(known.clone()));
        }
        let tags = self.tags(module);
        let found = self.look(module, |objects| objects.vouchers(commit, &tags))?;
        if let (Some(stamp), Some(found)) = (stamp, &found) {
            self.contents().vouched().insert(commit, (stamp, found.clone()));
        }
        Ok(found)
    }

    fn newcomers(
        &self,
        module: &Module,
        from: ObjectId,
        to: ObjectId,
        most: usize,
    ) -> PortResult<Option<Vec<Newcomer>>> {
        self.look(module, |objects| objects.newcomers(from, to, most))
    }

    fn own_links(&self, commit: ObjectId) -> PortResult<Option<Links>> {
        let odb = Objects::open(&[self.common_dir.join("objects")])?.into_odb();
        Looked(&odb).links(commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(byte: u8) -> Held {
        let tree = ObjectId::from_bytes(&[byte; 20]).expect("20 bytes");
        Held { tree, files: 1, bytes: 2, licences: BTreeMap::new(), told: BTreeMap::new() }
    }

    #[test]
    fn what_was_found_is_found_again_and_a_torn_line_is_skipped() {
        let dir = tempfile::tempdir().expect("made");
        let file = dir.path().join("contents");
        let id = |byte| held(byte).tree;
        HeldCache::in_file(&file).add(id(1), &held(1));
        HeldCache::in_file(&file).add(id(2), &held(2));
        let whole = std::fs::read(&file).expect("read");
        std::fs::write(&file, &whole[..whole.len() - 9]).expect("written");
        let torn = HeldCache::in_file(&file);
        assert_eq!((torn.get(id(1)), torn.get(id(2))), (Some(held(1)), None));
        torn.add(id(3), &held(3));
        let again = HeldCache::in_file(&file);
        assert_eq!((again.get(id(1)), again.get(id(3))), (Some(held(1)), Some(held(3))));
        std::fs::write(&file, "another format\n").expect("written");
        let foreign = HeldCache::in_file(&file);
        foreign.add(id(1), &held(1));
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "another format\n");
    }
}
