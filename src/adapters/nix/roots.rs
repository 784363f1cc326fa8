//! What keeps built outputs from being collected: links in the state directory that Nix knows of.
//!
//! ```text
//! roots/<module>/<revision>.<set>/<attribute> -> /nix/store/…
//! ```
//!
//! `set` names the derivations that were built together: one revision is built anew when what it
//! depends on moves, and both stay. Nix finds the links through its own `gcroots/auto`, and forgets
//! those that are gone. They are a cache: what is lost is built again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::domain::health::Verdicts;
use crate::domain::id::{Cid, ModuleName, ObjectId};
use crate::ports::{PortError, PortResult};

/// The longest name that is kept as it is.
const MAX_NAME: usize = 120;
/// Sets that are kept of one revision, the newest.
const SETS: usize = 8;

/// The directory of roots.
#[derive(Debug, Clone)]
pub struct Roots {
    dir: PathBuf,
}

impl Roots {
    /// Roots in this directory, the state directory's `roots/`; it is made when first needed.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where the roots of these derivations go, made.
    pub(super) fn place(&self, module: &ModuleName, revision: ObjectId, set: &Cid) -> io::Result<PathBuf> {
        let digits = data_encoding::HEXLOWER.encode(&set.sha256()[..8]);
        let dir = self.dir.join(file_name(module.as_str())).join(format!("{revision}.{digits}"));
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Where the root of an attribute goes in a place.
    pub(super) fn link(place: &Path, attribute: &str) -> PathBuf {
        place.join(file_name(attribute))
    }

    /// Let go of what no verdict needs any more: what stays are the revisions that were found healthy, the
    /// last known good one among them, and what was built last of each module. How many sets were let go.
    ///
    /// # Errors
    /// When the directory cannot be read or changed; an absent one is empty.
    pub fn prune(&self, verdicts: &Verdicts) -> PortResult<usize> {
        let mut keep: BTreeMap<String, BTreeSet<ObjectId>> = BTreeMap::new();
        for (module, records) in verdicts.iter() {
            let healthy = records.iter().filter(|record| record.verdict.is_healthy());
            keep.entry(file_name(module.as_str())).or_default().extend(healthy.map(|record| record.revision));
        }
        self.prune_to(&keep).map_err(|error| {
            let place = crate::domain::text::inert(&self.dir.to_string_lossy());
            PortError::failed(format!("cannot let go of old build results in {place}")).because(error)
        })
    }

    fn prune_to(&self, keep: &BTreeMap<String, BTreeSet<ObjectId>>) -> io::Result<usize> {
        let mut gone = 0;
        for module in entries(&self.dir)? {
            let healthy = module.file_name().and_then(|name| keep.get(name.to_str()?));
            let mut sets: Vec<(SystemTime, PathBuf, Option<ObjectId>)> = Vec::new();
            for set in entries(&module)? {
                let changed = fs::symlink_metadata(&set).and_then(|meta| meta.modified())?;
                let name = set.file_name().and_then(|name| name.to_str()).unwrap_or("");
                let revision = name.split('.').next().and_then(|revision| revision.parse().ok());
                sets.push((changed, set, revision));
            }
            // Newest first; of two at one time, by name.
            sets.sort_by(|one, other| other.cmp(one));
            let mut kept: BTreeMap<ObjectId, usize> = BTreeMap::new();
            for (place, (_, set, revision)) in sets.into_iter().enumerate() {
                let wanted = revision.is_some_and(|revision| {
                    let count = kept.entry(revision).or_default();
                    *count += 1;
                    healthy.is_some_and(|healthy| healthy.contains(&revision)) && *count <= SETS
                });
                if !wanted && place > 0 {
                    fs::remove_dir_all(&set)?;
                    gone += 1;
                }
            }
        }
        Ok(gone)
    }
}

/// What is in a directory; nothing when it is not there.
fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(found) => found.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A name as one file name, different for different names: anything but plain characters is escaped.
fn file_name(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let fits = byte.is_ascii_alphanumeric() || b"_+-".contains(&byte) || (byte == b'.' && at > 0);
        if fits {
            plain.push(char::from(byte));
        } else {
            let _ = write!(plain, "%{byte:02x}");
        }
    }
    if plain.len() > MAX_NAME || plain.is_empty() {
        // An escape is followed by two digits: no name comes out like this.
        return format!("%-{}", Cid::of(name.as_bytes()));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_bytes(&[byte; 20]).expect("20 bytes")
    }

    #[test]
    fn names_become_one_file_name_each() {
        assert_eq!(file_name("packages.x86_64-linux.default"), "packages.x86_64-linux.default");
        for (one, other) in [("a/b", "a%2fb"), ("..", "%2e."), ("", "%-"), (".", "%2e"), ("a", "A")] {
            assert_ne!(file_name(one), file_name(other));
        }
        let long = file_name(&"x".repeat(4000));
        assert!(
            long.len() < 200 && !file_name("../../x").contains('/') && file_name("..").starts_with("%2e")
        );
    }

    #[test]
    fn what_is_healthy_stays_and_so_does_the_newest() {
        let temp = tempfile::tempdir().expect("made");
        let roots = Roots::new(&temp.path().join("roots"));
        assert_eq!(roots.prune_to(&BTreeMap::new()).expect("an absent directory is empty"), 0);
        let module = ModuleName::new("a/b");
        let at = |day: u64| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(day * 86_400);
        let mut places = Vec::new();
        for (day, revision) in [(1, 1), (2, 2), (3, 3), (4, 4)] {
            let place = roots.place(&module, id(revision), &Cid::of(&[revision])).expect("made");
            std::os::unix::fs::symlink("/nix/store/x", Roots::link(&place, "packages.s.default"))
                .expect("linked");
            fs::File::open(&place).expect("opened").set_modified(at(day)).expect("set");
            places.push(place);
        }
        let keep = BTreeMap::from([(file_name("a/b"), BTreeSet::from([id(2)]))]);
        assert_eq!(roots.prune_to(&keep).expect("pruned"), 2);
        let there: Vec<bool> = places.iter().map(|place| place.exists()).collect();
        assert_eq!(there, [false, true, false, true]);
        assert_eq!(roots.prune_to(&keep).expect("pruned"), 0);
    }
}
