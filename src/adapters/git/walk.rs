//! The walk over a work tree: every directory read once, every tracked path looked at once.
//!
//! Each directory is opened below its parent without following a symlink, so a tracked path
//! behind one is missing, as git has it, and nothing outside the tree is reached. Index entries
//! decide nothing about what is opened: a hostile path (`../x`) matches no name.

use std::cell::Cell;
use std::ffi::{CStr, OsStr};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix_index::entry::{Flags, Mode};
use gix_index::{Entry, State};
use rustix::fs::{AtFlags, FileType, OFlags, statat};

use super::attributes::{Attributes, Place};
use super::compare::{self, ByStat, Trust};
use super::files::{self, MAX_TEXT, open_directory};
use super::gitdir::GitDir;
use super::ignore::Ignore;
use super::locate::{self, Found};
use super::names::{Buffer, Names, buffer};
use super::refs;
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::snapshot::{ChangeKind, UntrackedFile};

/// How deep directories are followed: each level holds an open descriptor.
const MAX_DEPTH: usize = 200;
/// How many unreadable things are told apart; more are counted.
const MAX_TROUBLES: usize = 20;

/// What a walk found. Lists are in walking order, not sorted.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Tracked paths (no gitlinks) that differ, with the second letter.
    pub(super) changes: Vec<(RepoPath, ChangeKind)>,
    /// Tracked files that turned into a checked-out repository (a change, with `<sub>`).
    pub(super) became_repository: Vec<RepoPath>,
    /// Untracked files, content not hashed yet.
    pub(super) untracked: Vec<UntrackedFile>,
    /// Untracked files that were not listed because of the bound.
    pub(super) left_out: usize,
    /// Gitlinks of the index, and what stands in their place.
    pub(super) gitlinks: Vec<Gitlink>,
    /// What could not be read, as sentences.
    pub(super) troubles: Vec<String>,
}

/// A gitlink of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gitlink {
    pub(super) path: RepoPath,
    pub(super) id: Option<ObjectId>,
    pub(super) place: InPlace,
    pub(super) skip_worktree: bool,
}

/// What stands where a gitlink should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InPlace {
    Nothing,
    File,
    Directory,
}

/// What a walk needs to know.
pub(super) struct Plan<'a> {
    pub(super) place: Place<'a>,
    pub(super) work_tree: &'a Path,
    pub(super) trust: Trust,
    /// Files of ignore patterns for the whole tree, weakest first; read when first needed.
    pub(super) excludes: Vec<PathBuf>,
    pub(super) fold: bool,
    pub(super) max_untracked: usize,
}

/// A directory being read, and those above it. Its ignore patterns are read when the first
/// name that is not tracked is met in it or below: a clean tree reads none.
struct Frame<'f> {
    above: Option<&'f Frame<'f>>,
    dir: BorrowedFd<'f>,
    /// The length of its path, with the final `/`.
    base: usize,
    /// Whether the directory has a `.gitignore`.
    has_patterns: bool,
    patterns: Cell<Patterns>,
}

/// How far the ignore patterns of a directory are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patterns {
    /// Not asked yet, nor whether the directory itself is ignored.
    NotAsked,
    /// The directory is ignored, or below one that is.
    Ignored,
    /// It is not ignored, and this many lists were pushed for it.
    Pushed(usize),
}

/// Walk a work tree.
pub(super) fn walk(plan: Plan<'_>) -> Seen {
    let root = plan.place.root;
    let state = &plan.place.index.state;
    let mut walk = Walk {
        state,
        entries: state.entries(),
        place: plan.place,
        work_tree: plan.work_tree,
        trust: plan.trust,
        ignore: Ignore::new(plan.fold),
        excludes: plan.excludes,
        fold: plan.fold,
        max_untracked: plan.max_untracked,
        attributes: Attributes::default(),
        path: Vec::with_capacity(256),
        buffer: buffer(),
        seen: Seen::default(),
    };
    walk.directory(root, 0..state.entries().len(), None, 0);
    walk.seen
}

struct Walk<'a> {
    state: &'a State,
    entries: &'a [Entry],
    place: Place<'a>,
    work_tree: &'a Path,
    trust: Trust,
    ignore: Ignore,
    excludes: Vec<PathBuf>,
    fold: bool,
    max_untracked: usize,
    attributes: Attributes,
    /// The directory being read, with its final `/`; empty at the top.
    path: Vec<u8>,
    buffer: Buffer,
    seen: Seen,
}

impl<'a> Walk<'a> {
    fn path_of(&self, at: usize) -> &'a [u8] {
        self.entries[at].path(self.state)
    }

    fn trouble(&mut self, said: String) {
        if self.seen.troubles.len() < MAX_TROUBLES {
            self.seen.troubles.push(said);
        } else if self.seen.troubles.len() == MAX_TROUBLES {
            self.seen.troubles.push("more could not be read".to_owned());
        }
    }

    /// One directory: its index entries are `range`.
    fn directory(
        &mut self,
        dir: BorrowedFd<'_>,
        range: Range<usize>,
        above: Option<&Frame<'_>>,
        depth: usize,
    ) {
        let shown = |path: &[u8]| RepoPath::new(path);
        if depth > MAX_DEPTH {
            let path = shown(&self.path);
            self.trouble(format!(
                "{path} is nested deeper than {MAX_DEPTH} directories and was not looked at"
            ));
            return;
        }
        let mut names = match Names::read(dir, &mut self.buffer, self.fold) {
            Ok(names) => names,
            Err(error) => {
                let path = shown(&self.path);
                self.trouble(format!("cannot list the directory {path}: {error}"));
                return;
            }
        };
        let has_patterns = names.find(b".gitignore", usize::MAX).is_some();
        let patterns = Cell::new(Patterns::NotAsked);
        let frame = Frame { above, dir, base: self.path.len(), has_patterns, patterns };
        self.tracked(&frame, &mut names, range, depth);
        for at in 0..names.len() {
            if !names.is_tracked(at) {
                self.untracked(&frame, &names, at, depth);
            }
        }
        if let Patterns::Pushed(lists) = frame.patterns.get() {
            (0..lists).for_each(|_| self.ignore.pop());
        }
    }

    /// Whether untracked names of a directory count: it is not ignored. Its patterns are read.
    fn counts(&mut self, frame: &Frame<'_>) -> bool {
        if frame.patterns.get() == Patterns::NotAsked {
            // The lists at hand are those of the directories above, and they are asked first.
            let ignored = match frame.above {
                None => false,
                Some(above) => {
                    !self.counts(above) || self.ignore.is_ignored(&self.path[..frame.base - 1], true)
                }
            };
            frame.patterns.set(if ignored {
                Patterns::Ignored
            } else {
                let whole = if frame.above.is_none() { self.push_excludes() } else { 0 };
                Patterns::Pushed(whole + usize::from(self.push_ignore(frame)))
            });
        }
        frame.patterns.get() != Patterns::Ignored
    }

    /// The patterns for the whole tree: how many lists they are.
    fn push_excludes(&mut self) -> usize {
        let mut lists = 0;
        for file in std::mem::take(&mut self.excludes) {
            match files::read(&file, MAX_TEXT) {
                Ok(Some(content)) => lists += usize::from(self.ignore.push(0, &content)),
                Ok(None) => {}
                Err(trouble) => self.trouble(trouble.0),
            }
        }
        lists
    }

    /// A directory's `.gitignore`; true when it has patterns. A symlink is not followed. One
    /// that is outside a sparse checkout is read from the index, as git does.
    fn push_ignore(&mut self, frame: &Frame<'_>) -> bool {
        let path = |walk: &Self| [&walk.path[..frame.base], &b".gitignore"[..]].concat();
        if frame.has_patterns {
            return match files::read_at(frame.dir, c".gitignore", OFlags::NOFOLLOW, MAX_TEXT) {
                Ok(Some(content)) => self.ignore.push(frame.base, &content),
                Ok(None) => false,
                Err(error) => {
                    let path = RepoPath::new(path(self));
                    self.trouble(format!("cannot read {path}: {error}"));
                    false
                }
            };
        }
        if self.place.index.sparse.is_empty() && !self.place.index.has_skipped {
            return false;
        }
        let skipped =
            self.place.index.entry(&path(self)).filter(|entry| entry.flags.contains(Flags::SKIP_WORKTREE));
        let content = skipped
            .and_then(|entry| ObjectId::from_bytes(entry.id.as_slice()))
            .and_then(|id| self.place.objects.blob(id).ok().flatten());
        content.is_some_and(|content| self.ignore.push(frame.base, &content))
    }

    /// The index entries of a directory against its names.
    fn tracked(&mut self, frame: &Frame<'_>, names: &mut Names, range: Range<usize>, depth: usize) {
        let (dir, base) = (frame.dir, frame.base);
        let mut at = range.start;
        let mut hint = 0;
        while at < range.end {
            let path = self.path_of(at);
            let rest = &path[base..];
            let Some(slash) = rest.iter().position(|byte| *byte == b'/') else {
                let found = names.find(rest, hint);
                hint = found.map_or(hint, |found| found + 1);
                self.leaf(dir, names, at, found);
                at += 1;
                continue;
            };
            let prefix = &path[..=base + slash];
            let end = self.end_of(prefix, at..range.end);
            let found =
                names.find(&rest[..slash], hint).filter(|found| names.kind(*found) == FileType::Directory);
            hint = found.map_or(hint, |found| found + 1);
            let opened = found.map(|found| {
                names.set_tracked(found);
                open_directory(dir, names.c_name(found))
            });
            match opened {
                Some(Ok(child)) => {
                    self.path.extend_from_slice(&rest[..=slash]);
                    self.directory(child.as_fd(), at..end, Some(frame), depth + 1);
                    self.path.truncate(base);
                }
                Some(Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP))
                | None => {
                    (at..end).for_each(|at| self.missing(at));
                }
                Some(Err(error)) => {
                    let shown = RepoPath::new(prefix);
                    self.trouble(format!("cannot open the directory {shown}: {error}"));
                }
            }
            at = end;
        }
    }

    /// The end of the entries whose path starts with `prefix`, by galloping: directories are small.
    fn end_of(&self, prefix: &[u8], range: Range<usize>) -> usize {
        let mut step = 1;
        let mut low = range.start;
        while low + step < range.end && self.path_of(low + step).starts_with(prefix) {
            low += step;
            step *= 2;
        }
        let high = range.end.min(low + step);
        low + self.entries[low..high].partition_point(|entry| entry.path(self.state).starts_with(prefix))
    }

    /// A tracked path that is not there.
    fn missing(&mut self, at: usize) {
        let (entry, path) = (&self.entries[at], self.path_of(at));
        if entry.stage_raw() != 0 {
            return;
        }
        let skip_worktree = entry.flags.contains(Flags::SKIP_WORKTREE);
        if entry.mode == Mode::COMMIT {
            self.gitlink(entry, path, InPlace::Nothing);
        } else if !skip_worktree {
            self.seen.changes.push((RepoPath::new(path), ChangeKind::Deleted));
        }
    }

    fn gitlink(&mut self, entry: &Entry, path: &[u8], place: InPlace) {
        self.seen.gitlinks.push(Gitlink {
            path: RepoPath::new(path),
            id: ObjectId::from_bytes(entry.id.as_slice()),
            place,
            skip_worktree: entry.flags.contains(Flags::SKIP_WORKTREE),
        });
    }

    /// A tracked path of this directory, found among its names or not.
    fn leaf(&mut self, dir: BorrowedFd<'_>, names: &mut Names, at: usize, found: Option<usize>) {
        let (entry, path) = (&self.entries[at], self.path_of(at));
        let Some(found) = found else { return self.missing(at) };
        let is_dir = names.kind(found) == FileType::Directory;
        let is_link = entry.mode == Mode::COMMIT;
        let repository =
            if is_dir && !is_link { self.repository(dir, names.c_name(found), path) } else { None };
        // A repository in the place of a tracked file is no untracked one (`index_name_is_other`).
        if !is_dir || is_link || repository.is_some() {
            names.set_tracked(found);
        }
        if entry.stage_raw() != 0 {
            return;
        }
        if is_link {
            let place = if is_dir { InPlace::Directory } else { InPlace::File };
            return self.gitlink(entry, path, place);
        }
        if is_dir {
            // A file that turned into a directory is gone, unless git would add it as a gitlink.
            let has_commit =
                repository.is_some_and(|git| refs::head(&git).is_ok_and(|head| head.id.is_some()));
            if has_commit {
                self.seen.became_repository.push(RepoPath::new(path));
            } else {
                self.missing(at);
            }
            return;
        }
        let stat = match statat(dir, names.c_name(found), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => return self.missing(at),
            Err(error) => {
                let shown = RepoPath::new(path);
                return self.trouble(format!("cannot look at {shown}: {error}"));
            }
        };
        if entry.flags.contains(Flags::INTENT_TO_ADD) {
            self.seen.changes.push((RepoPath::new(path), ChangeKind::Added));
            return;
        }
        let kind = match compare::by_stat(entry, &stat, self.place.index.written, self.trust) {
            ByStat::Same => return,
            ByStat::Changed(kind) => kind,
            ByStat::Unsure => {
                let name = names.c_name(found);
                match compare::by_content(entry, path, dir, name, &stat, &mut self.attributes, self.place) {
                    Ok(ChangeKind::Unmodified) => return,
                    Ok(kind) => kind,
                    Err(trouble) => return self.trouble(trouble.0),
                }
            }
        };
        self.seen.changes.push((RepoPath::new(path), kind));
    }

    /// The repository whose work tree a directory is, if it is one.
    fn repository(&self, dir: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Option<Box<GitDir>> {
        let child = open_directory(dir, name).ok()?;
        match locate::at(child.as_fd(), &self.work_tree.join(OsStr::from_bytes(path))) {
            Found::Repository(git, _) => Some(git),
            Found::Nothing | Found::Broken(_) => None,
        }
    }

    /// A name that the index does not have.
    fn untracked(&mut self, frame: &Frame<'_>, names: &Names, at: usize, depth: usize) {
        let kind = names.kind(at);
        let is_dir = kind == FileType::Directory;
        if !is_dir && kind != FileType::RegularFile && kind != FileType::Symlink {
            return;
        }
        if !self.counts(frame) {
            return;
        }
        self.path.extend_from_slice(names.name(at));
        if !self.ignore.is_ignored(&self.path, is_dir) {
            if is_dir {
                self.untracked_directory(frame, names, at, depth);
            } else {
                let size = || {
                    statat(frame.dir, names.c_name(at), AtFlags::SYMLINK_NOFOLLOW)
                        .ok()
                        .and_then(|stat| u64::try_from(stat.st_size).ok())
                        .unwrap_or(0)
                };
                self.list_untracked(size);
            }
        }
        self.path.truncate(frame.base);
    }

    fn untracked_directory(&mut self, frame: &Frame<'_>, names: &Names, at: usize, depth: usize) {
        let child = match open_directory(frame.dir, names.c_name(at)) {
            Ok(child) => child,
            Err(rustix::io::Errno::NOENT) => return,
            Err(error) => {
                let shown = RepoPath::new(self.path.as_slice());
                return self.trouble(format!("cannot open the directory {shown}: {error}"));
            }
        };
        let place = self.work_tree.join(OsStr::from_bytes(&self.path));
        let is_repository = matches!(locate::at(child.as_fd(), &place), Found::Repository(..));
        self.path.push(b'/');
        if is_repository {
            self.list_untracked(|| 0);
        } else {
            self.directory(child.as_fd(), 0..0, Some(frame), depth + 1);
        }
    }

    fn list_untracked(&mut self, size: impl FnOnce() -> u64) {
        if self.seen.untracked.len() >= self.max_untracked {
            self.seen.left_out += 1;
            return;
        }
        let path = RepoPath::new(self.path.as_slice());
        self.seen.untracked.push(UntrackedFile { path, size: size(), content: None });
    }
}
