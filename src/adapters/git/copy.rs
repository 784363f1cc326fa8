//! The superproject as a commit has it, written out as files for a program to work on.
//!
//! In: a commit, the modules, and an empty directory. Out: every file and symlink of the commit's
//! tree there, each module's files at its gitlink where they are at hand, and a fresh repository with
//! one commit of the same tree. Everything comes from git objects: nothing of the work tree is read,
//! nothing is linked to the operator's files, and no configuration of theirs is in the fresh
//! repository. Bytes are as they are in git: no filter and no conversion is done.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use git2::{Index, IndexEntry, IndexTime, ObjectType, Oid, Repository};

use super::GitRepository;
use super::build::{Object, first_commit};
use super::files::{Read, Trouble};
use super::gitdir::GitDirs;
use super::ignore::Ignore;
use super::objects::{MODE_GITLINK, MODE_LINK, MODE_TREE, Objects};
use super::superproject::cannot;
use crate::domain::id::{Cid, ModuleName, ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::domain::task::is_hostile;
use crate::ports::{PortResult, SnapshotOptions};

/// What an entry counts beside its bytes.
const ENTRY: u64 = 128;

/// How much may be written out.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Bytes, names included.
    pub bytes: u64,
    /// Files, links and directories.
    pub entries: u64,
}

/// What was written out.
#[derive(Debug, Default)]
pub struct Copied {
    /// The superproject's own tree, by path.
    pub own: BTreeMap<RepoPath, Stands>,
    /// Where submodules are, with the names of those that are modules.
    pub modules: BTreeMap<RepoPath, ModuleName>,
    /// The modules' files, by path from the top.
    pub theirs: BTreeMap<RepoPath, Stands>,
    /// What to know about it, each a sentence without a final stop.
    pub notes: Vec<String>,
    ignores: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What stands at one path of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// The identity of its bytes.
        content: Cid,
    },
    /// A symlink, with its target.
    Link(Vec<u8>),
}

impl Copied {
    /// Whether the commit's own `.gitignore` files leave out a new path.
    #[must_use]
    pub fn ignores(&self, path: &RepoPath) -> bool {
        let bytes = path.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        // From the top down: what is below an ignored directory is ignored.
        for end in ends.chain([bytes.len()]) {
            let at = &bytes[..end];
            let mut ignore = Ignore::new(false);
            let starts = at.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
            for start in [0].into_iter().chain(starts) {
                if let Some(content) = self.ignores.get(&at[..start]) {
                    ignore.push(start, content);
                }
            }
            if ignore.is_ignored(at, end < bytes.len()) {
                return true;
            }
        }
        false
    }
}

impl GitRepository {
    /// Write out a commit with its modules into `to`, an empty directory that is nobody else's.
    ///
    /// # Errors
    /// When objects of the superproject cannot be read, something cannot be written, or it is more
    /// than `most`. A module whose files are not at hand is a note.
    pub fn write_copy(
        &self,
        base: ObjectId,
        modules: &[Module],
        to: &Path,
        most: Most,
    ) -> PortResult<Copied> {
        self.copied(base, modules, to, most)
            .map_err(cannot(format!("cannot copy the superproject's commit {}", base.short())))
    }

    fn copied(&self, base: ObjectId, modules: &[Module], to: &Path, most: Most) -> Read<Copied> {
        let opened = self.opened(&SnapshotOptions::default())?;
        let tree = opened
            .objects
            .commit_tree(base)?
            .ok_or_else(|| Trouble(format!("the commit {base} is not there")))?;
        let mut writer = Writer { to, left: most, most };
        let mut copied = Copied::default();
        let mut gitlinks = Vec::new();
        let mut fresh = Fresh::new(opened.hash, to)?;
        writer.tree(&opened.objects, tree, b"", &mut copied.own, &mut |met| {
            match met {
                Met::Gitlink(path, id) => gitlinks.push((path.clone(), id)),
                Met::File { path, content, .. } if path.file_name() == b".gitignore" => {
                    let dir = path.as_bytes().len() - b".gitignore".len();
                    copied.ignores.insert(path.as_bytes()[..dir].to_vec(), content.to_vec());
                }
                Met::File { .. } | Met::Tree(_) => {}
            }
            fresh.as_mut().map_or(Ok(()), |fresh| fresh.met(&opened.objects, &met))
        })?;
        for (path, pin) in gitlinks {
            let module = modules.iter().find(|module| module.path == path);
            let name =
                module.map_or_else(|| ModuleName::new(&path.to_string()), |module| module.name.clone());
            copied.modules.insert(path.clone(), name.clone());
            let written = match module {
                Some(module) => self.module_files(&mut writer, module, pin, &mut copied.theirs)?,
                None => Err("it is no module".to_owned()),
            };
            if let Err(why) = written {
                let at = pin.short();
                copied.notes.push(format!("the files of {name} at {at} are not in the copy: {why}"));
            }
        }
        match fresh {
            Some(fresh) => fresh.finish(tree)?,
            None => copied.notes.push("the copy is no git repository: its objects are SHA-256".to_owned()),
        }
        Ok(copied)
    }

    /// Write out a module's files, from its mirror or its checkout; a sentence when they are not at hand.
    fn module_files(
        &self,
        writer: &mut Writer<'_>,
        module: &Module,
        pin: ObjectId,
        written: &mut BTreeMap<RepoPath, Stands>,
    ) -> Read<Result<(), String>> {
        let mirror = self.mirrors.iter().filter_map(|root| {
            let git_dir = crate::adapters::mirrors::objects_of(root, module).parent()?.to_owned();
            git_dir.is_dir().then(|| {
                let dirs = GitDirs { git_dir: git_dir.clone(), common_dir: git_dir.clone() };
                Objects::new(&dirs, &git_dir, false)
            })
        });
        let checkout = self.module(module).ok().flatten().map(|opened| opened.objects);
        let mut why = format!("neither its mirror nor its checkout has the commit {pin}");
        for objects in mirror.chain(checkout) {
            let Ok(Some(tree)) = objects.commit_tree(pin) else { continue };
            let mut own = BTreeMap::new();
            let place = module.path.as_bytes();
            match writer.tree(&objects, tree, place, &mut own, &mut |_| Ok(())) {
                Ok(()) => {
                    written.append(&mut own);
                    return Ok(Ok(()));
                }
                Err(Trouble(said)) if writer.is_full() => return Err(Trouble(said)),
                Err(Trouble(said)) => {
                    why = said;
                    let place = writer.at(place);
                    fs::remove_dir_all(&place).map_err(|error| Trouble::with("remove", &place, error))?;
                    writer.directory(module.path.as_bytes())?;
                }
            }
        }
        Ok(Err(why))
    }
}

/// Something that was met in a tree.
enum Met<'a> {
    /// A directory, by its identity.
    Tree(ObjectId),
    /// A file or symlink that was written.
    File { path: &'a RepoPath, mode: u32, id: ObjectId, content: &'a [u8] },
    /// A submodule.
    Gitlink(&'a RepoPath, ObjectId),
}

/// Writes below one directory, each name once, in directories that it made itself.
struct Writer<'a> {
    to: &'a Path,
    left: Most,
    most: Most,
}

impl Writer<'_> {
    fn at(&self, path: &[u8]) -> PathBuf {
        self.to.join(OsStr::from_bytes(path))
    }

    fn is_full(&self) -> bool {
        self.left.bytes == 0 || self.left.entries == 0
    }

    fn spend(&mut self, bytes: usize) -> Read<()> {
        let cost = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(ENTRY);
        if cost > self.left.bytes || self.left.entries == 0 {
            (self.left.bytes, self.left.entries) = (0, 0);
            let Most { bytes, entries } = self.most;
            return Err(Trouble(format!("it has more than {bytes} bytes or {entries} entries")));
        }
        self.left.bytes -= cost;
        self.left.entries -= 1;
        Ok(())
    }

    /// Make a directory unless it is there.
    fn directory(&mut self, path: &[u8]) -> Read<()> {
        let place = self.at(path);
        if place.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            return Ok(());
        }
        self.spend(path.len())?;
        DirBuilder::new()
            .mode(0o755)
            .create(&place)
            .map_err(|error| Trouble::with("make the directory", &place, error))
    }

    /// Write a tree out at `at`, a directory that is there.
    fn tree(
        &mut self,
        objects: &Objects,
        root: ObjectId,
        at: &[u8],
        written: &mut BTreeMap<RepoPath, Stands>,
        met: &mut dyn FnMut(Met<'_>) -> Read<()>,
    ) -> Read<()> {
        let mut open: Vec<(Vec<u8>, ObjectId)> = vec![(at.to_vec(), root)];
        while let Some((dir, tree)) = open.pop() {
            let entries =
                objects.tree(tree)?.ok_or_else(|| Trouble(format!("the tree {tree} is missing")))?;
            met(Met::Tree(tree))?;
            for entry in entries {
                let mut path = dir.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(&entry.name);
                let path = RepoPath::new(path);
                if is_hostile(&RepoPath::new(entry.name.clone())) {
                    return Err(Trouble(format!("{path} has a name that git would not check out")));
                }
                match entry.mode {
                    MODE_TREE => {
                        self.directory(path.as_bytes())?;
                        open.push((path.as_bytes().to_vec(), entry.id));
                    }
                    MODE_GITLINK => {
                        self.directory(path.as_bytes())?;
                        met(Met::Gitlink(&path, entry.id))?;
                    }
                    mode => {
                        let content = objects.blob(entry.id)?.ok_or_else(|| {
                            Trouble(format!("the content {} of {path} is missing", entry.id))
                        })?;
                        self.spend(content.len() + path.as_bytes().len())?;
                        let stands = self.leaf(&path, mode, &content)?;
                        met(Met::File { path: &path, mode, id: entry.id, content: &content })?;
                        written.insert(path, stands);
                    }
                }
            }
        }
        Ok(())
    }

    fn leaf(&self, path: &RepoPath, mode: u32, content: &[u8]) -> Read<Stands> {
        let place = self.at(path.as_bytes());
        if mode == MODE_LINK {
            std::os::unix::fs::symlink(OsStr::from_bytes(content), &place)
                .map_err(|error| Trouble::with("make the symlink", &place, error))?;
            return Ok(Stands::Link(content.to_vec()));
        }
        let executable = mode == 0o100_755;
        // A name that is there already, a symlink too, is not opened.
        let rights = if executable { 0o755 } else { 0o644 };
        let file = OpenOptions::new().write(true).create_new(true).mode(rights).open(&place);
        file.and_then(|mut file| file.write_all(content))
            .map_err(|error| Trouble::with("write", &place, error))?;
        Ok(Stands::File { executable, content: Cid::of(content) })
    }
}

/// A repository in the making: the objects of one commit, an index and a branch. It has no remote, no
/// hook, and nothing of anybody's configuration.
struct Fresh {
    git_dir: PathBuf,
    repository: Repository,
    index: Index,
}

/// What the fresh repository is configured as: a person is named so that a program can commit.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\
    [user]\n\tname = lambda-os\n\temail = lambda-os@localhost\n";

fn not_made(error: git2::Error) -> Trouble {
    Trouble(format!("the copy's own repository cannot be made: {}", error.message()))
}

impl Fresh {
    /// None where objects are not named by SHA-1, which libgit2 alone writes.
    fn new(hash: gix_hash::Kind, to: &Path) -> Read<Option<Self>> {
        if hash != gix_hash::Kind::Sha1 {
            return Ok(None);
        }
        let git_dir = to.join(".git");
        for directory in ["", "objects", "objects/info", "objects/pack", "refs", "refs/heads"] {
            let place = git_dir.join(directory);
            fs::create_dir(&place).map_err(|error| Trouble::with("make the directory", &place, error))?;
        }
        for (name, content) in [("config", CONFIG), ("HEAD", "ref: refs/heads/main\n")] {
            let place = git_dir.join(name);
            fs::write(&place, content).map_err(|error| Trouble::with("write", &place, error))?;
        }
        let repository = Repository::open(&git_dir).map_err(not_made)?;
        let index = Index::open(&git_dir.join("index")).map_err(not_made)?;
        Ok(Some(Self { git_dir, repository, index }))
    }

    fn met(&mut self, from: &Objects, met: &Met<'_>) -> Read<()> {
        let (path, mode, id) = match met {
            Met::Tree(id) => {
                let content =
                    from.tree_bytes(*id)?.ok_or_else(|| Trouble(format!("the tree {id} is missing")))?;
                return self.object(ObjectType::Tree, &content);
            }
            Met::File { path, mode, id, content } => {
                self.object(ObjectType::Blob, content)?;
                (path, *mode, *id)
            }
            Met::Gitlink(path, id) => (path, MODE_GITLINK, *id),
        };
        let zero = IndexTime::new(0, 0);
        let entry = IndexEntry {
            ctime: zero,
            mtime: zero,
            dev: 0,
            ino: 0,
            mode,
            uid: 0,
            gid: 0,
            file_size: 0,
            id: Oid::from_bytes(id.as_bytes()).map_err(not_made)?,
            flags: 0,
            flags_extended: 0,
            path: path.as_bytes().to_vec(),
        };
        self.index.add(&entry).map_err(not_made)
    }

    fn object(&self, kind: ObjectType, content: &[u8]) -> Read<()> {
        let objects = self.repository.odb().map_err(not_made)?;
        objects.write(kind, content).map(|_| ()).map_err(not_made)
    }

    fn finish(mut self, tree: ObjectId) -> Read<()> {
        let Object { id, content, .. } = first_commit(tree);
        self.object(ObjectType::Commit, &content)?;
        self.index.write().map_err(not_made)?;
        let branch = self.git_dir.join("refs/heads/main");
        fs::write(&branch, format!("{id}\n")).map_err(|error| Trouble::with("write", &branch, error))?;
        Ok(())
    }
}
