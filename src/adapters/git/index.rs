//! The index: parsed by `gix-index`, or listed by plumbing where that cannot.
//!
//! What comes out is sorted, holds no two entries of one path and stage, and no sparse
//! directory: those are expanded from their trees, and remembered for the report.

use std::path::Path;

use filetime::FileTime;
use gix_index::entry::{Flags, Mode, Stat, stat};
use gix_index::{State, decode};
use rustix::fs::{AtFlags, OFlags, statat};

use super::files::{self, Read, Trouble};
use super::gitdir::GitDir;
use super::objects::{MODE_TREE, Objects};
use super::plumbing::{Plumbing, RawEntry};
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::snapshot::Engine;

/// The largest index file that is read (about five million entries).
const MAX_INDEX: u64 = 512 << 20;
/// The most entries that sparse directories may expand to, and how deep.
const MAX_EXPANDED: usize = 2_000_000;
const MAX_DEPTH: usize = 256;

/// A parsed index.
pub(super) struct Index {
    pub(super) state: State,
    /// The index file's modification time: entries as new as that are racy.
    pub(super) written: (i64, u32),
    pub(super) engine: Engine,
    /// Sparse directories, each ending with `/`.
    pub(super) sparse: Vec<RepoPath>,
    /// True when any entry has the skip-worktree flag.
    pub(super) has_skipped: bool,
}

impl Index {
    /// The index of a work tree; an absent one is empty.
    pub(super) fn read(
        git: &GitDir,
        work_tree: &Path,
        objects: &Objects,
        hash: gix_hash::Kind,
    ) -> Read<Self> {
        let file = git.dirs.git_dir.join("index");
        Self::read_from(&file, &Plumbing::new(&git.dirs, work_tree), git, objects, hash)
    }

    /// As [`Self::read`], from a file in the git directory that `plumbing` takes for the index.
    pub(super) fn read_from(
        file: &Path,
        plumbing: &Plumbing,
        git: &GitDir,
        objects: &Objects,
        hash: gix_hash::Kind,
    ) -> Read<Self> {
        let name = file.file_name().unwrap_or_default();
        let read = files::read_with_stat_at(git.fd(), name, OFlags::empty(), MAX_INDEX)
            .map_err(|error| Trouble::with("read", file, error))?;
        let Some((bytes, stat)) = read else {
            if statat(git.fd(), name, AtFlags::empty()).is_ok() {
                return Err(Trouble::with("read", file, "it is no regular file"));
            }
            return Ok(Self {
                state: State::new(hash),
                written: (0, 0),
                engine: Engine::Index,
                sparse: Vec::new(),
                has_skipped: false,
            });
        };
        let written = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
        let (state, engine) = match parse(&bytes, file, hash) {
            Ok(state) => (state, Engine::Index),
            Err(_) => (listed(plumbing, hash)?, Engine::Plumbing),
        };
        drop(bytes);
        let mut index = Self { state, written, engine, sparse: Vec::new(), has_skipped: false };
        if index.state.entries().iter().any(|entry| entry.mode.is_sparse()) {
            index.expand(objects, hash)?;
        }
        index.check(file)?;
        Ok(index)
    }

    /// The first stage-0 entry with this path.
    pub(super) fn entry(&self, path: &[u8]) -> Option<&gix_index::Entry> {
        self.state.entry_by_path_and_stage(path.into(), gix_index::entry::Stage::Unconflicted)
    }

    /// Replace each sparse directory by the entries of its tree.
    fn expand(&mut self, objects: &Objects, hash: gix_hash::Kind) -> Read<()> {
        let mut full = State::new(hash);
        for entry in self.state.entries() {
            let path = entry.path(&self.state);
            if entry.mode.is_sparse() {
                let directory: &[u8] = path.strip_suffix(b"/").unwrap_or(path);
                let shown = [directory, b"/"].concat();
                self.sparse.push(RepoPath::new(shown.clone()));
                if let Some(tree) = ObjectId::from_bytes(entry.id.as_slice()) {
                    push_tree(&mut full, objects, tree, &shown, 0)?;
                }
            } else {
                full.dangerously_push_entry(entry.stat, entry.id, entry.flags, entry.mode, path);
            }
        }
        self.state = full;
        Ok(())
    }

    /// Refuse what no git would write, and note what must be reported.
    fn check(&mut self, file: &Path) -> Read<()> {
        self.has_skipped =
            self.state.entries().iter().any(|entry| entry.flags.contains(Flags::SKIP_WORKTREE));
        let mut last: Option<(&[u8], u32)> = None;
        for entry in self.state.entries() {
            let key = (&**entry.path(&self.state), entry.stage_raw());
            if last.is_some_and(|last| last >= key) {
                return Err(Trouble::with("read", file, "its entries are not in order"));
            }
            if key.0.is_empty() {
                return Err(Trouble::with("read", file, "an entry has no path"));
            }
            last = Some(key);
        }
        Ok(())
    }
}

/// The error says that the form is not known here.
fn parse(bytes: &[u8], file: &Path, hash: gix_hash::Kind) -> Result<State, String> {
    let options = decode::Options {
        thread_limit: Some(1),
        alloc_limit_bytes: usize::try_from(MAX_INDEX * 4).ok(),
        ..decode::Options::default()
    };
    let (state, _) =
        State::from_bytes(bytes, FileTime::zero(), hash, options).map_err(|error| error.to_string())?;
    if state.link().is_none() {
        return Ok(state);
    }
    // A split index: the shared part is read and merged by gix.
    let whole = gix_index::File::at(file, hash, true, options).map_err(|error| error.to_string())?;
    Ok(whole.into())
}

fn listed(plumbing: &Plumbing, hash: gix_hash::Kind) -> Read<State> {
    let mut state = State::new(hash);
    for entry in plumbing.index()? {
        let mut flags = Flags::from_bits_truncate(entry.stage << 12);
        flags.set(Flags::ASSUME_VALID, entry.assume_unchanged);
        flags.set(Flags::SKIP_WORKTREE, entry.skip_worktree);
        flags.set(Flags::INTENT_TO_ADD, entry.intent_to_add);
        let Some(id) = to_gix(entry.id, hash) else { continue };
        let mode = Mode::from_bits_truncate(entry.mode);
        state.dangerously_push_entry(stat_of(&entry), id, flags, mode, entry.path.as_slice().into());
    }
    Ok(state)
}

fn stat_of(entry: &RawEntry) -> Stat {
    let [cs, cn, ms, mn, dev, ino, uid, gid, size] = entry.stat;
    Stat {
        mtime: stat::Time { secs: ms, nsecs: mn },
        ctime: stat::Time { secs: cs, nsecs: cn },
        dev,
        ino,
        uid,
        gid,
        size,
    }
}

fn to_gix(id: ObjectId, hash: gix_hash::Kind) -> Option<gix_hash::ObjectId> {
    (id.as_bytes().len() == hash.len_in_bytes())
        .then(|| gix_hash::ObjectId::try_from(id.as_bytes()).ok())
        .flatten()
}

fn push_tree(full: &mut State, objects: &Objects, tree: ObjectId, prefix: &[u8], depth: usize) -> Read<()> {
    let what = RepoPath::new(prefix);
    if depth > MAX_DEPTH || full.entries().len() > MAX_EXPANDED {
        return Err(Trouble(format!("the sparse directory {what} is too deep or too large to expand")));
    }
    let Some(entries) = objects.tree(tree)? else {
        return Err(Trouble(format!("the tree {tree} of the sparse directory {what} is missing")));
    };
    for entry in entries {
        let mut path = [prefix, &entry.name].concat();
        if entry.mode == MODE_TREE {
            path.push(b'/');
            push_tree(full, objects, entry.id, &path, depth + 1)?;
        } else if let Ok(id) = gix_hash::ObjectId::try_from(entry.id.as_bytes()) {
            let mode = Mode::from_bits_truncate(entry.mode);
            let flags = Flags::SKIP_WORKTREE | Flags::EXTENDED;
            full.dangerously_push_entry(Stat::default(), id, flags, mode, path.as_slice().into());
        }
    }
    Ok(())
}
