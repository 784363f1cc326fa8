//! The files of a module at a commit, as a directory that nobody changes.
//!
//! In: a module and a commit that its mirror or its checkout has. Out: a [`Material`]: a directory
//! `<cache>/sources/<tree>` with exactly the files of the commit's tree, byte for byte: no filter,
//! no conversion, no hook, nothing of a repository's configuration. Submodules are empty
//! directories, links stay links and are never followed. Equal trees share one directory.
//!
//! A directory is written under another name and appears whole; everything in it is read-only. It
//! is a cache: what was not used for longest is removed when there are too many, and all of it at
//! the first use after a boot, since what was not synced may not have outlived a power cut. Whoever
//! holds a [`Material`] holds a lock on it, so nothing is removed under a running program.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use git2::{ErrorCode, ObjectType, Odb, Oid, Repository, Tree};
use rustix::fs::FlockOperation;

use super::host::{Held, ModuleFiles};
use super::sandbox::remove_tree;
use crate::domain::health::Placed;
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::domain::text;
use crate::ports::{PortError, PortResult};

/// Directories in which a module's git objects may be.
pub type Places = Box<dyn Fn(&Module) -> Vec<PathBuf> + Send + Sync>;

/// The files of modules, made when they are asked for.
pub struct Materials {
    directory: PathBuf,
    boot: String,
    places: Places,
    bounds: Bounds,
}

/// How much is made of one commit, and how much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most bytes of files of one commit.
    pub bytes: u64,
    /// The most files, directories and links of one commit.
    pub files: u64,
    /// The most directories that are kept when nobody holds them.
    pub kept: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 2 << 30, files: 200_000, kept: 128 }
    }
}

/// The files of one commit, for as long as this is held.
#[derive(Debug)]
pub struct Material {
    path: PathBuf,
    tree: ObjectId,
    _held: File,
}

impl Material {
    /// Where they are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which tree it is.
    #[must_use]
    pub fn tree(&self) -> ObjectId {
        self.tree
    }
}

impl AsRef<Path> for Material {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl ModuleFiles for Materials {
    fn file(&self, module: &Module, commit: ObjectId, path: &RepoPath) -> PortResult<Option<Vec<u8>>> {
        Self::file(self, module, commit, path).map_err(|why| {
            PortError::failed(format!("cannot read {path} of {} at {}", module.name, commit.short()))
                .because(why)
        })
    }

    fn tree(&self, placed: &Placed) -> Result<Held, String> {
        self.of(&placed.module, placed.pin).map(|material| Box::new(material) as Held)
    }
}

impl Materials {
    /// Materials below a state directory's `cache`. `boot` identifies this boot of the machine.
    #[must_use]
    pub fn new(cache: &Path, boot: &str, places: Places) -> Self {
        let directory = cache.join("sources");
        Self { directory, boot: boot.to_owned(), places, bounds: Bounds::default() }
    }

    /// The same within other bounds.
    #[must_use]
    pub fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// The files of a module at a commit.
    ///
    /// # Errors
    /// A sentence without a final stop: the commit is not at hand, it is over a bound, its tree is
    /// one that git would not check out either, or the disk fails.
    pub fn of(&self, module: &Module, commit: ObjectId) -> Result<Material, String> {
        let objects = self.objects(module, commit)?;
        let tree = tree_of(&objects, commit)?;
        let name = ObjectId::from_bytes(tree.id().as_bytes()).ok_or("its tree has no name")?;
        self.begin()?;
        let path = self.directory.join(name.to_string());
        // A directory that was found can be gone before it is held.
        for _ in 0..8 {
            if let Some(held) = hold(&path) {
                return Ok(Material { path, tree: name, _held: held });
            }
            self.make(&objects, &tree, &path)?;
        }
        Err(format!("{} is removed again and again", path.display()))
    }

    /// The content of one file of a module at a commit; `None` when there is no such file. Nothing
    /// is written.
    ///
    /// # Errors
    /// A sentence without a final stop: the commit is not at hand, or the file is over the bound.
    pub fn file(
        &self,
        module: &Module,
        commit: ObjectId,
        path: &RepoPath,
    ) -> Result<Option<Vec<u8>>, String> {
        let objects = self.objects(module, commit)?;
        let tree = tree_of(&objects, commit)?;
        let entry = match tree.get_path(Path::new(OsStr::from_bytes(path.as_bytes()))) {
            Ok(entry) => entry,
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(tree.id(), &error)),
        };
        if !matches!(entry.filemode(), 0o100_000..=0o100_777) {
            return Ok(None);
        }
        let mut writer = Writer { objects: &objects, left: self.bounds, bounds: self.bounds };
        writer.blob(entry.id()).map(Some)
    }

    /// The objects of a module, without any configuration.
    fn objects(&self, module: &Module, commit: ObjectId) -> Result<Repository, String> {
        let said = |error: git2::Error| cannot_read(commit, &error);
        let odb = Odb::new().map_err(said)?;
        for place in (self.places)(module) {
            if let Some(place) = place.to_str().filter(|_| place.is_dir()) {
                odb.add_disk_alternate(place).map_err(said)?;
            }
        }
        // Opened without a directory, so without any configuration.
        Repository::from_odb(odb).map_err(said)
    }

    /// Make sure that what is there is of this boot.
    fn begin(&self) -> Result<(), String> {
        let said = |error: std::io::Error| format!("{} cannot be written: {error}", self.directory.display());
        let stamp = self.directory.join("boot");
        if fs::read(&stamp).is_ok_and(|boot| boot == self.boot.as_bytes()) {
            return Ok(());
        }
        fs::create_dir_all(&self.directory).map_err(said)?;
        for path in self.kept() {
            discard(&path);
        }
        fs::write(&stamp, &self.boot).map_err(said)
    }

    /// Every directory that is there, the one that was not used for longest first.
    fn kept(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let mut found: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        found.sort();
        found.into_iter().map(|(_, path)| path).collect()
    }

    /// Write the tree, and remove what is too much.
    fn make(&self, objects: &Repository, tree: &Tree<'_>, path: &Path) -> Result<(), String> {
        let said = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
        let made = tempfile::Builder::new().prefix(".making-").tempdir_in(&self.directory).map_err(said)?;
        let made = made.keep();
        // Held while it is written: whoever removes what is old leaves it alone.
        let held = hold(&made);
        let mut writer = Writer { objects, left: self.bounds, bounds: self.bounds };
        if let Err(why) = writer.write(tree, &made) {
            drop(held);
            discard(&made);
            return Err(why);
        }
        match fs::rename(&made, path) {
            Ok(()) => {}
            // Somebody else made the same meanwhile.
            Err(_) if path.is_dir() => {
                drop(held);
                discard(&made);
            }
            Err(error) => return Err(said(error)),
        }
        let kept = self.kept();
        let much = kept.len().saturating_sub(self.bounds.kept.max(1));
        for old in kept.iter().filter(|old| old.as_path() != path).take(much) {
            discard(old);
        }
        Ok(())
    }
}

fn cannot_read(commit: ObjectId, error: &git2::Error) -> String {
    format!("the commit {commit} cannot be read: {}", text::inert(error.message()))
}

/// The tree of a commit.
fn tree_of(objects: &Repository, commit: ObjectId) -> Result<Tree<'_>, String> {
    let id = Oid::from_bytes(commit.as_bytes()).map_err(|error| cannot_read(commit, &error))?;
    objects.find_commit(id).and_then(|commit| commit.tree()).map_err(|error| match error.code() {
        ErrorCode::NotFound => format!("the commit {commit} is not at hand: fetch it first"),
        _ => cannot_read(commit, &error),
    })
}

/// Hold a directory that is there, and note that it is used; `None` when it is not there.
fn hold(path: &Path) -> Option<File> {
    let directory = File::open(path).ok()?;
    rustix::fs::flock(&directory, FlockOperation::LockShared).ok()?;
    let (held, there) = (directory.metadata().ok()?, fs::symlink_metadata(path).ok()?);
    if (held.dev(), held.ino()) != (there.dev(), there.ino()) {
        return None;
    }
    // Only says what was used last.
    let now = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
        last_modification: rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
    };
    let _ = rustix::fs::futimens(&directory, &now);
    Some(directory)
}

/// Remove a directory that nobody holds.
fn discard(path: &Path) {
    let Ok(directory) = File::open(path) else { return };
    if rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
        // What stays is tried again when the next one is made.
        let _ = remove_tree(path);
    }
}

/// Writes one tree.
struct Writer<'r> {
    objects: &'r Repository,
    left: Bounds,
    bounds: Bounds,
}

impl Writer<'_> {
    fn write(&mut self, tree: &Tree<'_>, root: &Path) -> Result<(), String> {
        let mut directories = vec![root.to_owned()];
        let mut queue = vec![(root.to_owned(), tree.id())];
        while let Some((directory, id)) = queue.pop() {
            let tree = self.objects.find_tree(id).map_err(|error| unreadable(id, &error))?;
            for entry in &tree {
                let name = entry.name_bytes();
                if !is_plain(name) {
                    return Err(format!(
                        "a file is named {}, which git checks out nowhere",
                        text::git_quoted(name)
                    ));
                }
                let path = directory.join(OsStr::from_bytes(name));
                let shown = path.strip_prefix(root).unwrap_or(&path).to_owned();
                let said = |error: std::io::Error| {
                    format!("{} cannot be written: {error}", text::git_quoted(shown.as_os_str().as_bytes()))
                };
                self.left.files = self
                    .left
                    .files
                    .checked_sub(1)
                    .ok_or_else(|| format!("it has more than {} files", self.bounds.files))?;
                match entry.filemode() {
                    0o040_000 | 0o160_000 => {
                        fs::create_dir(&path).map_err(said)?;
                        directories.push(path.clone());
                        if entry.filemode() == 0o040_000 {
                            queue.push((path, entry.id()));
                        }
                    }
                    0o120_000 => {
                        let target = self.blob(entry.id())?;
                        std::os::unix::fs::symlink(OsStr::from_bytes(&target), &path).map_err(said)?;
                    }
                    mode => {
                        let content = self.blob(entry.id())?;
                        let mode = if mode & 0o100 == 0 { 0o444 } else { 0o555 };
                        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
                        let mut file = file.map_err(said)?;
                        file.write_all(&content).map_err(said)?;
                        // The umask may have taken rights that readers need.
                        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(said)?;
                    }
                }
            }
        }
        for directory in directories.iter().rev() {
            let closed = fs::Permissions::from_mode(0o555);
            fs::set_permissions(directory, closed)
                .map_err(|error| format!("{} cannot be closed: {error}", directory.display()))?;
        }
        Ok(())
    }

    fn blob(&mut self, id: Oid) -> Result<Vec<u8>, String> {
        let odb = self.objects.odb().map_err(|error| unreadable(id, &error))?;
        let (size, kind) = odb.read_header(id).map_err(|error| unreadable(id, &error))?;
        let much = || format!("it has more than {} bytes", self.bounds.bytes);
        self.left.bytes = self.left.bytes.checked_sub(size as u64).ok_or_else(much)?;
        let object = odb.read(id).map_err(|error| unreadable(id, &error))?;
        if kind != ObjectType::Blob || object.data().len() != size {
            return Err(format!("the object {id} is no file"));
        }
        Ok(object.data().to_vec())
    }
}

fn unreadable(id: Oid, error: &git2::Error) -> String {
    format!("the object {id} cannot be read: {}", text::inert(error.message()))
}

/// A name that stands for something in its directory and is not git's own (CVE-2014-9390).
fn is_plain(name: &[u8]) -> bool {
    !name.is_empty()
        && name != b"."
        && name != b".."
        && !name.contains(&b'/')
        && !name.contains(&0)
        && !name.eq_ignore_ascii_case(b".git")
}
