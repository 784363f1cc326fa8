//! The tree of a commit, read from its file or its pack without opening an object database.
//!
//! A snapshot asks this once for each repository, and opening a database costs more than all
//! else that a small repository needs. What is not in the plain form (a delta, a large pack
//! offset, an alternate, SHA-256) is left to the database: `None` says nothing about whether
//! the commit is there. What is read is checked against the commit's id.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use rustix::fs::{Mode, OFlags, RawDir, openat};
use sha1::Digest as _;

use super::files;
use crate::domain::id::ObjectId;

/// The largest commit that is read here.
const MAX_COMMIT: usize = 64 << 10;
/// The most packs that are looked into.
const MAX_PACKS: usize = 32;
/// Bytes of a pack's index before its ids: magic, version, 256 counts.
const IDS: u64 = 8 + 256 * 4;

/// The tree of a commit with a SHA-1 id; `objects` is the path of the object directory.
pub(super) fn tree_of(objects: &std::path::Path, commit: ObjectId) -> Option<ObjectId> {
    let wanted: &[u8; 20] = commit.as_bytes().try_into().ok()?;
    let whole = loose(objects, commit).or_else(|| packed(objects, wanted))?;
    if sha1::Sha1::digest(&whole).as_slice() != wanted {
        return None;
    }
    tree_named(&whole)
}

/// `commit SIZE NUL tree HEX LF …`.
fn tree_named(whole: &[u8]) -> Option<ObjectId> {
    let nul = whole.iter().position(|byte| *byte == 0)?;
    let size: usize = std::str::from_utf8(whole[..nul].strip_prefix(b"commit ")?).ok()?.parse().ok()?;
    let content = &whole[nul + 1..];
    let (hex, rest) = content.strip_prefix(b"tree ")?.split_at_checked(40)?;
    (content.len() == size && rest.first() == Some(&b'\n')).then_some(())?;
    std::str::from_utf8(hex).ok()?.parse().ok()
}

/// A commit in a file of its own, inflated.
fn loose(objects: &std::path::Path, commit: ObjectId) -> Option<Vec<u8>> {
    let hex = commit.to_string();
    let (directory, name) = hex.split_at_checked(2)?;
    let file = objects.join(directory).join(name);
    let bytes = files::read(&file, MAX_COMMIT as u64).ok()??;
    decompress_to_vec_zlib_with_limit(&bytes, MAX_COMMIT).ok()
}

/// A commit that is whole in a pack, with the header that a loose one has.
fn packed(objects: &std::path::Path, wanted: &[u8; 20]) -> Option<Vec<u8>> {
    let dir = files::open_directory_at(&objects.join("pack")).ok()?;
    for name in indexes(dir.as_fd())? {
        let Some(index) = open_file(dir.as_fd(), &name) else { continue };
        let Some(offset) = offset_of(index.as_fd(), wanted) else { continue };
        let pack = [name.strip_suffix(b"idx")?, b"pack"].concat();
        return whole_at(open_file(dir.as_fd(), &pack)?.as_fd(), offset);
    }
    None
}

/// The names of the packs' indexes; `None` when there are too many.
pub(super) fn indexes(dir: BorrowedFd<'_>) -> Option<Vec<Vec<u8>>> {
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.ok()?;
        let name = entry.file_name().to_bytes();
        if name.starts_with(b"pack-") && name.ends_with(b".idx") {
            names.push(name.to_vec());
        }
        if names.len() > MAX_PACKS {
            return None;
        }
    }
    Some(names)
}

pub(super) fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    openat(dir, name, flags, Mode::empty()).ok()
}

/// Exactly this many bytes; `None` when there are fewer.
fn exact<const N: usize>(file: BorrowedFd<'_>, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (rustix::io::pread(file, &mut bytes[..], at).ok()? == N).then_some(bytes)
}

fn number(file: BorrowedFd<'_>, at: u64) -> Option<u64> {
    exact(file, at).map(|bytes| u64::from(u32::from_be_bytes(bytes)))
}

/// Where an object is in the pack of an index of version 2 (gitformat-pack(5)).
pub(super) fn offset_of(index: BorrowedFd<'_>, wanted: &[u8; 20]) -> Option<u64> {
    if exact(index, 0)? != *b"\xfftOc\0\0\0\x02" {
        return None;
    }
    let first = u64::from(wanted[0]);
    let count = number(index, 8 + 255 * 4)?;
    let mut low = if first == 0 { 0 } else { number(index, 8 + (first - 1) * 4)? };
    let mut high = number(index, 8 + first * 4)?.min(count);
    while low < high {
        let middle = low + (high - low) / 2;
        match exact::<20>(index, IDS + middle * 20)?.cmp(wanted) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => {
                // After the ids come their checksums, then the offsets. A set top bit means a
                // pack over 2 GiB, whose offsets are in one more table.
                let offset = number(index, IDS + count * 24 + middle * 4)?;
                return (offset >> 31 == 0).then_some(offset);
            }
        }
    }
    None
}

/// A commit at an offset of a pack, unless it is a delta.
fn whole_at(pack: BorrowedFd<'_>, offset: u64) -> Option<Vec<u8>> {
    let mut buffer = [0; 4096];
    let read = rustix::io::pread(pack, &mut buffer[..], offset).ok()?;
    let bytes = &buffer[..read];
    let first = *bytes.first()?;
    if (first >> 4) & 7 != 1 {
        return None;
    }
    let (mut size, mut shift, mut at, mut last) = (usize::from(first & 15), 4_u32, 1, first);
    while last & 0x80 != 0 {
        last = *bytes.get(at)?;
        size |= usize::from(last & 0x7f).checked_shl(shift)?;
        (shift, at) = (shift + 7, at + 1);
        (shift < 32).then_some(())?;
    }
    // One that does not fit the buffer does not inflate, and is left to the database.
    let content = decompress_to_vec_zlib_with_limit(&bytes[at..], size.min(MAX_COMMIT)).ok()?;
    (content.len() == size).then_some(())?;
    Some([format!("commit {size}\0").into_bytes(), content].concat())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "real git makes the objects")]
mod tests {
    use super::*;
    use std::path::Path;
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

    #[test]
    fn the_tree_is_the_one_that_git_names_loose_and_packed() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        git(temp.path(), &["init", "-q"]);
        for at in 0..40 {
            git(temp.path(), &["commit", "-q", "--allow-empty", "-m", &format!("message {at}")]);
        }
        let objects = temp.path().join(".git/objects");
        let list = git(temp.path(), &["log", "--format=%H %T"]);
        let check = || {
            list.lines()
                .map(|line| {
                    let (commit, tree) = line.split_once(' ').expect("two ids");
                    let found = tree_of(&objects, commit.parse().expect("an id"));
                    assert!(found.is_none_or(|found| found.to_string() == tree), "{line}");
                    usize::from(found.is_some())
                })
                .sum::<usize>()
        };
        assert_eq!(check(), 40, "loose");
        git(temp.path(), &["-c", "pack.depth=0", "repack", "-adfq"]);
        assert_eq!(check(), 40, "packed");
        assert_eq!(tree_of(&objects, ObjectId::from_bytes(&[7; 20]).expect("an id")), None);
    }

    #[test]
    fn what_is_not_the_commit_is_not_believed() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        git(temp.path(), &["init", "-q"]);
        for at in 0..2 {
            git(temp.path(), &["commit", "-q", "--allow-empty", "-m", &format!("message {at}")]);
        }
        let objects = temp.path().join(".git/objects");
        let place = |id: &str| objects.join(&id[..2]).join(&id[2..]);
        let (one, other) =
            (git(temp.path(), &["rev-parse", "HEAD"]), git(temp.path(), &["rev-parse", "HEAD~"]));
        std::fs::remove_file(place(&one)).expect("it was loose");
        std::fs::copy(place(&other), place(&one)).expect("copied");
        assert_eq!(tree_of(&objects, one.parse().expect("an id")), None);
        assert!(tree_of(&objects, other.parse().expect("an id")).is_some());
    }
}
