//! One bare mirror: its directory, what is remembered about it, and its lock.
//!
//! In `mirrors/`, for a location whose last component is `x`:
//! `x-<12 hex>.git` (the repository), `.json` (what is remembered: a cache, never truth),
//! `.lock` (held while fetching), `.quarantine` (why it is not fetched any more; a person
//! removes it). The hex digits are of the location's SHA-256.
//!
//! A branch `b` is kept as `refs/remotes/upstream/b` (with `/` as `%2F`, so that no two branches
//! get in each other's way), every earlier tip as `refs/lambda-os/seen/<commit>`, so that a
//! history that was rewritten can still be explained.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::local;
use crate::domain::id::ObjectId;
use crate::domain::url::RemoteUrl;

/// Where one location is mirrored.
pub(in crate::adapters) struct Mirror {
    root: PathBuf,
    name: String,
}

/// What is remembered about a location. Version 1; unknown or broken files are forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Always 1.
    pub(super) v: u32,
    /// The location, as it is asked.
    pub(super) url: String,
    /// The branch that its HEAD named.
    pub(super) head: Option<String>,
    /// When it last answered, Unix milliseconds.
    pub(super) answered_ms: Option<i64>,
    /// Failures since then.
    pub(super) failures: u32,
    /// Why the last one failed.
    pub(super) failure: Option<String>,
    /// Not asked again before this time, Unix milliseconds.
    pub(super) next_ms: Option<i64>,
}

/// Held while a mirror is written.
pub(in crate::adapters) struct Held(
    #[expect(dead_code, reason = "holding the file is holding the lock")] fs::File,
);

impl Mirror {
    pub(in crate::adapters) fn of(root: &Path, url: &RemoteUrl) -> Self {
        let url = url.to_string();
        let last = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
        let readable: String = last
            .trim_end_matches(".git")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' })
            .take(40)
            .collect();
        let digest = HEXLOWER.encode(&Sha256::digest(url.as_bytes())[..6]);
        Self { root: root.to_owned(), name: format!("{readable}-{digest}") }
    }

    /// A number of this location's own, to spread pauses by.
    pub(super) fn seed(&self) -> u32 {
        let digest = Sha256::digest(self.name.as_bytes());
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }

    pub(in crate::adapters) fn git_dir(&self) -> PathBuf {
        self.beside("git")
    }

    pub(super) fn objects(&self) -> PathBuf {
        self.git_dir().join("objects")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.root.join(format!("{}.{suffix}", self.name))
    }

    /// The ref that follows a branch.
    pub(super) fn tip_ref(branch: &str) -> String {
        format!("refs/remotes/upstream/{}", branch.replace('%', "%25").replace('/', "%2F"))
    }

    /// The tip of a branch as it was last fetched.
    pub(super) fn tip(&self, branch: &str) -> Option<ObjectId> {
        local::tip(&self.git_dir(), &Self::tip_ref(branch)).ok().flatten()
    }

    /// Why this mirror is not fetched any more.
    pub(super) fn quarantined(&self) -> Option<String> {
        let why = fs::read_to_string(self.beside("quarantine")).ok()?;
        Some(format!(
            "its mirror is in quarantine: {}; remove {} to try again",
            why.trim(),
            self.beside("quarantine").display()
        ))
    }

    pub(super) fn quarantine(&self, why: &str) {
        // Whoever holds it is fetching, and sweeps before the next time.
        if let Ok(_held) = self.hold(Duration::ZERO) {
            self.sweep();
        }
        // Without the marker the next fetch meets the same bound again: safe, only slower.
        let _ = fs::create_dir_all(&self.root)
            .and_then(|()| fs::write(self.beside("quarantine"), format!("{why}\n")));
    }

    pub(super) fn memory(&self) -> Memory {
        fs::read(self.beside("json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .filter(|memory: &Memory| memory.v == 1)
            .unwrap_or_default()
    }

    /// Remember; a cache, so that failing to is no failure.
    pub(super) fn remember(&self, memory: &Memory) {
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&self.root)?;
            let mut file = tempfile::Builder::new().prefix(".memory-").tempfile_in(&self.root)?;
            serde_json::to_writer(&mut file, memory)?;
            file.flush()?;
            file.persist(self.beside("json"))?;
            Ok(())
        };
        let _ = write();
    }

    /// Take the mirror's lock, waiting up to `patience`.
    pub(in crate::adapters) fn hold(&self, patience: Duration) -> Result<Held, String> {
        let begun = Instant::now();
        let path = self.beside("lock");
        let file = fs::create_dir_all(&self.root)
            .and_then(|()| fs::File::create(&path))
            .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Held(file)),
                Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err("another process is fetching into its mirror".to_owned());
                }
                Err(error) => return Err(format!("cannot lock {}: {error}", path.display())),
            }
        }
    }

    /// Make the repository if it is not there: by hand, so that no template adds a hook.
    pub(in crate::adapters) fn create(&self, object_bytes: usize) -> Result<(), String> {
        let git_dir = self.git_dir();
        if git_dir.join("HEAD").is_file() {
            return Ok(());
        }
        let format = if object_bytes == 32 {
            "\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = sha256\n[core]\n"
        } else {
            "\trepositoryformatversion = 0\n"
        };
        let make = || -> std::io::Result<()> {
            for directory in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
                fs::create_dir_all(git_dir.join(directory))?;
            }
            fs::write(
                git_dir.join("config"),
                format!("[core]\n{format}\tbare = true\n\tlogAllRefUpdates = false\n"),
            )?;
            // Last: what has no HEAD is no repository and is made again.
            fs::write(git_dir.join("HEAD"), "ref: refs/heads/none\n")
        };
        make().map_err(|error| format!("cannot make the mirror {}: {error}", git_dir.display()))
    }

    /// Keep a tip reachable for good.
    pub(super) fn keep(&self, tip: ObjectId) -> Result<(), String> {
        let kept = self.git_dir().join(format!("refs/lambda-os/seen/{tip}"));
        if kept.is_file() {
            return Ok(());
        }
        let write = || -> std::io::Result<()> {
            let directory = kept.parent().expect("a ref is in a directory");
            fs::create_dir_all(directory)?;
            let mut file = tempfile::Builder::new().prefix(".seen-").tempfile_in(self.git_dir())?;
            writeln!(file, "{tip}")?;
            file.as_file().sync_all()?;
            file.persist(&kept)?;
            Ok(())
        };
        write().map_err(|error| format!("cannot keep {tip} in its mirror: {error}"))
    }

    /// Remove what a killed fetch left. Only while the lock is held: then every lock file and
    /// temporary pack in the mirror is nobody's.
    pub(in crate::adapters) fn sweep(&self) {
        let git_dir = self.git_dir();
        walk(&git_dir, &mut |path, _| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_stray =
                path.extension().is_some_and(|extension| extension == "lock" || extension == "temp")
                    || name.starts_with("tmp_")
                    || name.starts_with(".tmp")
                    || name.starts_with(".seen-");
            if is_stray {
                let _ = fs::remove_file(path);
            }
        });
        if let Ok(entries) = fs::read_dir(git_dir.join("objects")) {
            for entry in entries
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("tmp_objdir-"))
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// How many packs it has.
    pub(in crate::adapters) fn packs(&self) -> usize {
        fs::read_dir(self.objects().join("pack")).map_or(0, |entries| {
            entries
                .flatten()
                .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "pack"))
                .count()
        })
    }

    /// Bytes on disk.
    pub(in crate::adapters) fn size(&self) -> u64 {
        let mut bytes = 0;
        walk(&self.git_dir(), &mut |_, found| bytes += found.len());
        bytes
    }
}

/// Every file below a directory; what vanishes meanwhile is passed over, links are not followed.
fn walk(directory: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata)) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(found) = entry.metadata() else { continue };
        if found.is_dir() {
            walk(&entry.path(), visit);
        } else {
            visit(&entry.path(), &found);
        }
    }
}
