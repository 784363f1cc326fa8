//! Whether a tracked file is what the index records: stat data first, content where that cannot tell.
//!
//! As `read-cache.c: ie_modified`: a different type or executable bit is a change, a different
//! size is a change, any other difference of stat data means that the content is hashed. An
//! entry as new as the index itself is racy and is hashed too. Times are compared to the
//! nanosecond, which can only cause more hashing than git does, never less.

use std::io::{Read as _, Seek as _};
use std::os::fd::BorrowedFd;

use gix_index::Entry;
use gix_index::entry::{Flags, Mode};
use rustix::fs::{FileType, OFlags, Stat};
use sha1::Digest as _;

use super::attributes::{Attributes, Place};
use super::config::Config;
use super::convert::Rules;
use super::files::Read;
use crate::domain::id::ObjectId;
use crate::domain::snapshot::ChangeKind;

/// The largest file that is converted in memory.
const MAX_CONVERTED: u64 = 256 << 20;

/// What the configuration says about trusting the file system.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "four independent settings of git, by their names")]
pub(super) struct Trust {
    pub(super) file_mode: bool,
    pub(super) symlinks: bool,
    ctime: bool,
    check_stat: bool,
}

impl Trust {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            file_mode: config.boolean("core", "filemode").unwrap_or(true),
            symlinks: config.boolean("core", "symlinks").unwrap_or(true),
            ctime: config.boolean("core", "trustctime").unwrap_or(true),
            check_stat: config
                .string("core", None, "checkstat")
                .is_none_or(|value| !value.eq_ignore_ascii_case(b"minimal")),
        }
    }
}

/// What stat data alone say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByStat {
    Same,
    Changed(ChangeKind),
    /// The content must be hashed.
    Unsure,
}

/// The low 32 bits, which is what the index keeps.
fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(0)
}

/// Compare an entry (no gitlink) with the file in its place.
pub(super) fn by_stat(entry: &Entry, stat: &Stat, written: (i64, u32), trust: Trust) -> ByStat {
    let is = FileType::from_raw_mode(stat.st_mode);
    let link = entry.mode == Mode::SYMLINK;
    let same_type = if link {
        is == FileType::Symlink || (!trust.symlinks && is == FileType::RegularFile)
    } else {
        is == FileType::RegularFile
    };
    if !same_type {
        return ByStat::Changed(ChangeKind::TypeChanged);
    }
    let executable = entry.mode == Mode::FILE_EXECUTABLE;
    if !link && trust.file_mode && executable != (stat.st_mode & 0o100 != 0) {
        return ByStat::Changed(ChangeKind::Modified);
    }
    let known = &entry.stat;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if known.size != low(size) {
        // Size 0 with content marks an entry that git knew to be racy ("racily smudged").
        return if known.size == 0 { ByStat::Unsure } else { ByStat::Changed(ChangeKind::Modified) };
    }
    let seconds = |seconds: i64| low(u64::from_ne_bytes(seconds.to_ne_bytes()));
    let mtime = (seconds(stat.st_mtime), low(stat.st_mtime_nsec));
    if mtime != (known.mtime.secs, known.mtime.nsecs) {
        return ByStat::Unsure;
    }
    if trust.check_stat {
        let ctime = (seconds(stat.st_ctime), low(stat.st_ctime_nsec));
        let owner_and_inode = (stat.st_uid, stat.st_gid, low(stat.st_ino));
        if (trust.ctime && ctime != (known.ctime.secs, known.ctime.nsecs))
            || owner_and_inode != (known.uid, known.gid, known.ino)
        {
            return ByStat::Unsure;
        }
    }
    if (seconds(written.0), written.1) <= mtime || entry.flags.contains(Flags::INTENT_TO_ADD) {
        return ByStat::Unsure;
    }
    ByStat::Same
}

/// Compare an entry with the content of the file in its place.
pub(super) fn by_content(
    entry: &Entry,
    path: &[u8],
    dir: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    stat: &Stat,
    attributes: &mut Attributes,
    place: Place<'_>,
) -> Read<ChangeKind> {
    let unreadable = |error: &dyn std::fmt::Display| {
        super::files::Trouble(format!("cannot read {}: {error}", crate::domain::id::RepoPath::new(path)))
    };
    let kind = entry.id.kind();
    let verdict = |same: bool| if same { ChangeKind::Unmodified } else { ChangeKind::Modified };
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        let target = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(|error| unreadable(&error))?;
        let id = Blob::new(kind, target.as_bytes().len() as u64).update(target.as_bytes()).finish();
        return Ok(verdict(id.as_slice() == entry.id.as_slice()));
    }
    let rules = if entry.mode == Mode::SYMLINK { Rules::default() } else { attributes.rules(path, place)? };
    if rules.foreign {
        return Ok(ChangeKind::ModifiedOrFiltered);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = rustix::fs::openat(dir, name, flags, rustix::fs::Mode::empty())
        .map_err(|error| unreadable(&error))?;
    let mut file = std::fs::File::from(fd);
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if rules.is_identity() {
        let id = hash_stream(kind, &mut file, size).map_err(|error| unreadable(&error))?;
        return Ok(verdict(id.is_some_and(|id| id.as_slice() == entry.id.as_slice())));
    }
    if size > MAX_CONVERTED {
        return Ok(ChangeKind::ModifiedOrFiltered);
    }
    file.rewind().map_err(|error| unreadable(&error))?;
    let mut raw = Vec::new();
    file.take(MAX_CONVERTED + 1).read_to_end(&mut raw).map_err(|error| unreadable(&error))?;
    let indexed = || {
        let id = ObjectId::from_bytes(entry.id.as_slice())?;
        place.objects.blob(id).ok().flatten()
    };
    let stored = rules.to_git(&raw, indexed);
    let id = Blob::new(kind, stored.len() as u64).update(&stored).finish();
    Ok(verdict(id.as_slice() == entry.id.as_slice()))
}

/// The blob id of exactly `size` bytes of a file; `None` when it has another size by now.
fn hash_stream(
    kind: gix_hash::Kind,
    file: &mut std::fs::File,
    size: u64,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut blob = Blob::new(kind, size);
    let mut buffer = vec![0; usize::try_from(size.clamp(1, 64 << 10)).unwrap_or(1)];
    let mut left = size;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if read == 0 {
            return Ok((left == 0).then(|| blob.finish()));
        }
        let Some(rest) = left.checked_sub(read as u64) else { return Ok(None) };
        left = rest;
        blob = blob.update(&buffer[..read]);
    }
}

/// A git blob being hashed.
enum Blob {
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

impl Blob {
    fn new(kind: gix_hash::Kind, size: u64) -> Self {
        let blob = if kind == gix_hash::Kind::Sha1 {
            Self::Sha1(sha1::Sha1::default())
        } else {
            Self::Sha256(sha2::Sha256::default())
        };
        blob.update(format!("blob {size}\0").as_bytes())
    }

    fn update(mut self, bytes: &[u8]) -> Self {
        match &mut self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
        self
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
        }
    }
}
