//! NAR hashes that were computed already, by tree: in memory, and in a file when one is given.
//!
//! In: a tree, and how its source is fetched. Out: its hash, when known. The file is text, one
//! line an entry after the line that says the format, for ever appended to:
//!
//! ```text
//! lambda-os nar cache v1
//! github 4b825dc642cb6eb9a060e54bf8d69288fbee4904 sha256-pQpattmS9VmO3ZIQUFn66az8GSmB4IvYhTTCFn6SUmo=
//! ```
//!
//! It is a cache: a file of another format, a torn line or a file that cannot be written costs
//! time and nothing else. It is as trustworthy as the state directory that it is in (0700).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::nar::Fetched;
use crate::domain::flake::nar::NarHash;
use crate::domain::id::ObjectId;

const FORMAT: &str = "lambda-os nar cache v1";

/// The most that is read of a file, bytes; some half a million entries.
const MAX_FILE: u64 = 64 << 20;

/// Hashes by tree. Shared between threads.
#[derive(Debug, Default)]
pub struct NarCache {
    known: Mutex<BTreeMap<(ObjectId, Fetched), NarHash>>,
    file: Option<PathBuf>,
}

impl NarCache {
    /// With what the file holds, and adding to it. The file need not exist; its directory must,
    /// or nothing is kept.
    #[must_use]
    pub fn in_file(file: &Path) -> Self {
        let mut text = String::new();
        // Not UTF-8, not there, not readable: it is no cache, and computing again is right.
        let read = File::open(file).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
        let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let ours = read.is_ok() && (text.is_empty() || lines.next() == Some(FORMAT));
        let absent = matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::NotFound);
        let known = if ours { lines.filter_map(entry).collect() } else { BTreeMap::new() };
        Self { known: Mutex::new(known), file: (ours || absent).then(|| file.to_owned()) }
    }

    /// The hash of this tree, when it was computed before.
    #[must_use]
    pub fn get(&self, tree: ObjectId, fetched: Fetched) -> Option<NarHash> {
        self.lock().get(&(tree, fetched)).copied()
    }

    /// Remember it.
    pub fn add(&self, tree: ObjectId, fetched: Fetched, hash: NarHash) {
        if self.lock().insert((tree, fetched), hash).is_some() {
            return;
        }
        let Some(file) = &self.file else { return };
        // Whole lines in one write at the end of the file: writers do not mix, and readers skip
        // what a crash tore.
        let _ = OpenOptions::new().create(true).append(true).open(file).and_then(|mut open| {
            let head = if open.metadata()?.len() == 0 { FORMAT } else { "" };
            open.write_all(format!("{head}\n{} {tree} {hash}\n", name(fetched)).as_bytes())
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(ObjectId, Fetched), NarHash>> {
        // A map of finished entries is whole whoever panicked beside it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(fetched: Fetched) -> &'static str {
    match fetched {
        Fetched::Tarball => "github",
        Fetched::Git => "git",
    }
}

fn entry(line: &str) -> Option<((ObjectId, Fetched), NarHash)> {
    let mut words = line.split(' ');
    let fetched = match words.next()? {
        "github" => Fetched::Tarball,
        "git" => Fetched::Git,
        _ => return None,
    };
    let tree = words.next()?.parse().ok()?;
    let hash = words.next()?.parse().ok()?;
    words.next().is_none().then_some(((tree, fetched), hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_bytes(&[byte; 20]).expect("20 bytes")
    }

    #[test]
    fn what_was_added_is_found_again_in_the_file() {
        let dir = tempfile::tempdir().expect("made");
        let file = dir.path().join("nar");
        let cache = NarCache::in_file(&file);
        cache.add(id(1), Fetched::Tarball, NarHash([1; 32]));
        cache.add(id(1), Fetched::Git, NarHash([2; 32]));
        let again = NarCache::in_file(&file);
        assert_eq!(again.get(id(1), Fetched::Tarball), Some(NarHash([1; 32])));
        assert_eq!(again.get(id(1), Fetched::Git), Some(NarHash([2; 32])));
        assert_eq!(again.get(id(2), Fetched::Git), None);
    }

    #[test]
    fn a_torn_line_is_skipped_and_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().expect("made");
        let file = dir.path().join("nar");
        NarCache::in_file(&file).add(id(1), Fetched::Git, NarHash([1; 32]));
        NarCache::in_file(&file).add(id(2), Fetched::Git, NarHash([2; 32]));
        let whole = std::fs::read(&file).expect("read");
        std::fs::write(&file, &whole[..whole.len() - 9]).expect("written");
        let torn = NarCache::in_file(&file);
        assert_eq!(torn.get(id(2), Fetched::Git), None);
        torn.add(id(3), Fetched::Git, NarHash([3; 32]));
        let again = NarCache::in_file(&file);
        assert_eq!(again.get(id(1), Fetched::Git), Some(NarHash([1; 32])));
        assert_eq!(again.get(id(3), Fetched::Git), Some(NarHash([3; 32])));
    }

    #[test]
    fn a_file_of_another_format_is_not_read_and_not_written() {
        let dir = tempfile::tempdir().expect("made");
        let file = dir.path().join("nar");
        let foreign = format!("lambda-os nar cache v2\ngit {} {}\n", id(1), NarHash([1; 32]));
        std::fs::write(&file, &foreign).expect("written");
        let cache = NarCache::in_file(&file);
        assert_eq!(cache.get(id(1), Fetched::Git), None);
        cache.add(id(2), Fetched::Git, NarHash([2; 32]));
        assert_eq!(cache.get(id(2), Fetched::Git), Some(NarHash([2; 32])));
        assert_eq!(std::fs::read_to_string(&file).expect("read"), foreign);
    }
}
