//! The blobs of one source, most of them before they are asked for.
//!
//! In: an object database, and object directories that it reads. Out: a blob's bytes, or the
//! [`ReadError`] that names it. libgit2 opens a loose object's file twice to read it safely and
//! loses a chain of deltas between two files that are far apart, so two things come before it:
//!
//! - a small loose object is read here, in one go, and checked against its id;
//! - packed ones are read ahead of the archive, [`AHEAD`] bytes at a time, on all processors, in
//!   the pack's order from its end: deltas stand behind what they are made from, and the cache
//!   then holds that for all of them.
//!
//! Neither knows an error: what does not come out whole is left to libgit2, which words it.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use git2::{ObjectType, Odb, Oid, Repository};
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use sha1::Digest as _;

use super::nar::{MAX_FILE, ReadError};
use super::{commits, files, pool};

/// The most that is read ahead, bytes.
const AHEAD: usize = 64 << 20;
/// The most files that are read ahead.
const AHEAD_FILES: usize = 1 << 14;
/// Of less, a second thread costs more than it brings.
const WORTH_A_THREAD: usize = 2 << 20;
/// More packs than this are not looked into for the order.
const MAX_PACKS: usize = 4;
/// The largest file of a loose object that is read here, and the most that it may unfold to.
const MAX_LOOSE: (u64, usize) = (256 << 10, 4 << 20);

/// The most files whose order is found in advance.
const MAX_ORDER: usize = 1 << 18;

/// Blobs of one source.
pub(super) struct Blobs<'r> {
    repository: &'r Repository,
    odb: Odb<'r>,
    tree: Oid,
    directories: &'r [PathBuf],
    /// The indexes of the packs in the directories, when they are few.
    packs: Vec<OwnedFd>,
    /// Directories with loose objects in them.
    with_loose: OnceCell<Vec<PathBuf>>,
    ahead: RefCell<Ahead>,
    /// How much is read ahead, bytes.
    most: usize,
}

/// What is read ahead.
#[derive(Default)]
struct Ahead {
    /// The files in the archive's order, once that was needed.
    order: Option<Vec<Oid>>,
    /// How many of them were asked for, or left out of the archive.
    asked: usize,
    /// How many of them were read ahead, or left.
    read: usize,
    content: BTreeMap<Oid, Vec<u8>>,
}

impl<'r> Blobs<'r> {
    /// Of the source that is this tree.
    pub(super) fn new(
        repository: &'r Repository,
        odb: Odb<'r>,
        tree: Oid,
        directories: &'r [PathBuf],
    ) -> Self {
        let packs = packs(directories).unwrap_or_default();
        let (with_loose, ahead) = (OnceCell::new(), RefCell::default());
        Self { repository, odb, tree, directories, packs, with_loose, ahead, most: AHEAD }
    }

    /// The bytes of a blob.
    pub(super) fn read(&self, oid: Oid) -> Result<Vec<u8>, ReadError> {
        if let Some(content) = self.loose(oid) {
            return Ok(content);
        }
        let bytes = size(&self.odb, oid)?;
        if bytes > MAX_FILE {
            return Err(ReadError::TooLarge { object: oid.to_string(), bytes });
        }
        content(&self.odb, oid)
    }

    /// The bytes of the blob that comes next in the archive.
    pub(super) fn next(&self, oid: Oid) -> Result<Vec<u8>, ReadError> {
        self.ready(oid).map_or_else(|| self.read(oid), Ok)
    }

    /// A blob in a small file of its own, whose id is that of its bytes. Collisions of SHA-1 are
    /// refused where objects come in, by git.
    fn loose(&self, oid: Oid) -> Option<Vec<u8>> {
        // A packed repository has no such directories, and is asked no questions.
        let directories = self.with_loose.get_or_init(|| {
            let has_any = |dir: &&PathBuf| {
                let mut entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
                entries.any(|entry| entry.file_name().len() == 2)
            };
            self.directories.iter().filter(has_any).cloned().collect()
        });
        if directories.is_empty() {
            return None;
        }
        let hex = oid.to_string();
        let below = Path::new(hex.get(..2)?).join(&hex[2..]);
        let file = directories.iter().find_map(|dir| files::read(&dir.join(&below), MAX_LOOSE.0).ok()?)?;
        let mut whole = decompress_to_vec_zlib_with_limit(&file, MAX_LOOSE.1).ok()?;
        if sha1::Sha1::digest(&whole).as_slice() != oid.as_bytes() {
            return None;
        }
        let nul = whole.iter().position(|byte| *byte == 0)?;
        let size: usize = std::str::from_utf8(whole[..nul].strip_prefix(b"blob ")?).ok()?.parse().ok()?;
        whole.drain(..=nul);
        (whole.len() == size).then_some(whole)
    }

    /// A blob that was read ahead; reads on when it comes to the end of that.
    fn ready(&self, oid: Oid) -> Option<Vec<u8>> {
        if self.packs.is_empty() {
            return None;
        }
        let Ahead { order, asked, read, content } = &mut *self.ahead.borrow_mut();
        let order = order.get_or_insert_with(|| order_of(self.repository, self.tree));
        let Some(skipped) = order[*asked..].iter().position(|next| *next == oid) else {
            *asked = order.len();
            return None;
        };
        let at = *asked + skipped;
        *asked = at + 1;
        if at >= *read {
            *read = at + self.read_ahead(&order[at..], content);
        }
        content.remove(&oid)
    }

    /// Read the first of these blobs, as many as fit; says how many were looked at.
    fn read_ahead(&self, order: &[Oid], content_of: &mut BTreeMap<Oid, Vec<u8>>) -> usize {
        content_of.clear();
        let (mut total, mut passed) = (0, 0);
        let mut wanted = Vec::new();
        for oid in order.iter().take(AHEAD_FILES) {
            let bytes = size(&self.odb, *oid).unwrap_or(usize::MAX);
            if bytes > self.most - total {
                break;
            }
            passed += 1;
            if let Some(place) = self.place(*oid) {
                total += bytes;
                wanted.push((place, *oid));
            }
        }
        wanted.sort_unstable_by(|a, b| b.cmp(a));
        wanted.dedup();
        let threads = if total < WORTH_A_THREAD { 1 } else { pool::threads(0).min(4) };
        let parts: Vec<&[((usize, u64), Oid)]> =
            wanted.chunks(wanted.len().div_ceil(threads).max(1)).collect();
        let all = |odb: &Odb<'_>, part: &[((usize, u64), Oid)]| {
            let read = part.iter().filter_map(|(_, oid)| Some((*oid, content(odb, *oid).ok()?)));
            read.collect::<Vec<_>>()
        };
        if let [part] = parts[..] {
            content_of.extend(all(&self.odb, part));
        } else {
            // A database is of one thread.
            let parts = pool::parallel(parts.len(), threads, |at| {
                open(self.directories).map(|odb| all(&odb, parts[at])).unwrap_or_default()
            });
            content_of.extend(parts.into_iter().flatten());
        }
        passed.max(1)
    }

    /// Which pack a blob is in, and where.
    fn place(&self, oid: Oid) -> Option<(usize, u64)> {
        let id: &[u8; 20] = oid.as_bytes().try_into().ok()?;
        let mut packs = self.packs.iter().enumerate();
        packs.find_map(|(number, pack)| Some((number, commits::offset_of(pack.as_fd(), id)?)))
    }
}

/// The files below a tree in the order of the archive; those before what cannot be read.
fn order_of(repository: &Repository, tree: Oid) -> Vec<Oid> {
    let mut order = Vec::new();
    let mut open = vec![(ObjectType::Tree, tree)];
    let mut trees = 0;
    while let Some((kind, id)) = open.pop() {
        if kind == ObjectType::Blob {
            order.push(id);
            continue;
        }
        trees += 1;
        let Ok(tree) = repository.find_tree(id) else { break };
        if trees > MAX_ORDER || order.len() + open.len() + tree.len() > MAX_ORDER {
            break;
        }
        let mut entries: Vec<_> = tree.iter().filter_map(|entry| Some((entry.kind()?, entry))).collect();
        entries.retain(|(kind, _)| matches!(kind, ObjectType::Blob | ObjectType::Tree));
        entries.sort_by(|a, b| b.1.name_bytes().cmp(a.1.name_bytes()));
        open.extend(entries.into_iter().map(|(kind, entry)| (kind, entry.id())));
    }
    order
}

/// The indexes of all packs; none when there are too many.
fn packs(directories: &[PathBuf]) -> Option<Vec<OwnedFd>> {
    let mut packs = Vec::new();
    for dir in directories {
        let Ok(dir) = files::open_directory_at(&dir.join("pack")) else { continue };
        for name in commits::indexes(dir.as_fd())? {
            packs.push(commits::open_file(dir.as_fd(), &name)?);
        }
    }
    (packs.len() <= MAX_PACKS).then_some(packs)
}

/// The database of these directories alone.
fn open(directories: &[PathBuf]) -> Option<Odb<'static>> {
    let odb = Odb::new().ok()?;
    for dir in directories {
        odb.add_disk_alternate(dir.to_str()?).ok()?;
    }
    Some(odb)
}

/// A blob's size. It stands in front: a bomb is refused before it is unpacked.
fn size(odb: &Odb<'_>, oid: Oid) -> Result<usize, ReadError> {
    let (bytes, kind) =
        odb.read_header(oid).map_err(|error| ReadError::of("blob", &oid.to_string(), &error))?;
    if kind == ObjectType::Blob {
        return Ok(bytes);
    }
    let reason = format!("it is a {}", kind.str());
    Err(ReadError::Unreadable { kind: "blob", object: oid.to_string(), reason })
}

fn content(odb: &Odb<'_>, oid: Oid) -> Result<Vec<u8>, ReadError> {
    let read = odb.read(oid).map(|object| object.data().to_vec());
    read.map_err(|error| ReadError::of("blob", &oid.to_string(), &error))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "real git makes the objects")]
mod tests {
    use super::*;
    use std::process::Command;

    fn git(dir: &Path, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b", "-C"])
            .arg(dir)
            .args(args)
            .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
            .output()
            .expect("git starts");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Files that are alike in several directories, some of them the same, and what stands before
    /// and behind a directory of nearly the same name.
    fn repository(dir: &Path) -> Repository {
        git(dir, &["init", "-q"]);
        for number in 0..60 {
            let content = format!("{}\n{}", "the same text in many lines\n".repeat(40), number / 2);
            let below = dir.join(format!("d{}", number % 3));
            std::fs::create_dir_all(&below).expect("made");
            std::fs::write(below.join(format!("f{number}")), content).expect("written");
            std::fs::write(dir.join(format!("d{}.x", number % 3)), number.to_string()).expect("written");
        }
        git(dir, &["add", "."]);
        git(dir, &["commit", "-qm", "x"]);
        Repository::open(dir).expect("opened")
    }

    /// Everything in the archive's order, through `next`; also how much of it was read ahead.
    fn all(repository: &Repository, directories: &[PathBuf], most: usize) -> (usize, Vec<Vec<u8>>) {
        let tree = repository.head().and_then(|head| head.peel_to_tree()).expect("a tree").id();
        let mut blobs = Blobs::new(repository, repository.odb().expect("there"), tree, directories);
        blobs.most = most;
        let (mut ahead, mut contents) = (0, Vec::new());
        for oid in order_of(repository, tree) {
            let content = blobs.ready(oid);
            ahead += usize::from(content.is_some());
            contents.push(content.map_or_else(|| blobs.read(oid), Ok).expect("it is there"));
        }
        (ahead, contents)
    }

    #[test]
    fn what_is_read_here_or_ahead_is_what_libgit2_reads() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let opened = repository(temp.path());
        let directories = [temp.path().join(".git/objects")];
        let (_, plain) = all(&opened, &[], AHEAD);
        assert_eq!(all(&opened, &directories, AHEAD), (0, plain.clone()), "loose");
        git(temp.path(), &["repack", "-adfq", "--depth=50"]);
        let opened = Repository::open(temp.path()).expect("opened");
        assert_eq!(all(&opened, &[], AHEAD), (0, plain.clone()));
        let (ahead, read) = all(&opened, &directories, AHEAD);
        assert!(read == plain && ahead > plain.len() / 3, "{ahead} of {} were read ahead", plain.len());
        // Now and then nothing more fits.
        for most in [0, 1, 5_000] {
            assert_eq!(all(&opened, &directories, most).1, plain, "{most}");
        }
    }

    #[test]
    fn the_order_is_that_of_names_not_of_git() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let opened = repository(temp.path());
        let tree = opened.head().and_then(|head| head.peel_to_tree()).expect("a tree");
        // Git has `d0.x` before what is in `d0`; Nix goes by the name alone.
        let first = tree.get_path(Path::new("d0/f0")).expect("there").id();
        assert_eq!(order_of(&opened, tree.id()).first(), Some(&first));
    }

    #[test]
    fn a_file_that_is_another_object_is_not_believed() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let opened = repository(temp.path());
        let objects = temp.path().join(".git/objects");
        let id = |path: &str| git(temp.path(), &["rev-parse", &format!("HEAD:{path}")]);
        let (one, other) = (id("d0/f0"), id("d1.x"));
        let place = |id: &str| objects.join(&id[..2]).join(&id[2..]);
        std::fs::remove_file(place(&one)).expect("it was loose");
        std::fs::copy(place(&other), place(&one)).expect("copied");
        let directories = [objects.clone()];
        let blobs = Blobs::new(&opened, opened.odb().expect("there"), Oid::ZERO_SHA1, &directories);
        let oid = |id: &str| Oid::from_str(id).expect("an id");
        assert!(blobs.loose(oid(&one)).is_none() && blobs.read(oid(&one)).is_err());
        assert!(blobs.loose(oid(&other)).is_some());
    }
}
