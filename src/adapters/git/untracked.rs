//! The content of untracked files: SHA-256, streamed, up to a bound over the whole workspace.
//!
//! The bound is dealt out by size in the report's order before anything is read, so that equal
//! workspaces give equal reports whatever the threads do.

use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, readlinkat, statat};
use sha2::{Digest as _, Sha256};

use super::files::{directory_beneath, file_beneath};
use crate::domain::id::Cid;
use crate::domain::snapshot::{TreeState, UntrackedFile};

/// Which files of one tree are to be hashed. What does not fit is said in the tree.
pub(super) fn choose(tree: &mut TreeState, limit: u64, left: &mut u64) -> Vec<usize> {
    let mut chosen = Vec::new();
    let (mut files, mut bytes) = (0_u64, 0_u64);
    for (at, file) in tree.untracked.iter().enumerate() {
        if is_repository(file) {
            continue;
        }
        if let Some(rest) = left.checked_sub(file.size) {
            *left = rest;
            chosen.push(at);
        } else {
            files += 1;
            bytes = bytes.saturating_add(file.size);
        }
    }
    if files > 0 {
        tree.bounded.push(format!(
            "{files} untracked files ({bytes} bytes) were not hashed, over the bound of {limit} bytes in all"
        ));
    }
    chosen
}

fn is_repository(file: &UntrackedFile) -> bool {
    file.path.as_bytes().ends_with(b"/")
}

/// Hash the chosen files of one tree; one that cannot be read, or grew meanwhile, has no content.
pub(super) fn hash(root: BorrowedFd<'_>, files: &[&UntrackedFile]) -> Vec<Option<Cid>> {
    let mut buffer = vec![0; 64 << 10];
    files.iter().map(|file| content(root, file, &mut buffer)).collect()
}

fn content(root: BorrowedFd<'_>, file: &UntrackedFile, buffer: &mut [u8]) -> Option<Cid> {
    let path = file.path.as_bytes();
    let Ok(mut opened) = file_beneath(root, path) else { return link_target(root, path) };
    let mut hasher = Sha256::new();
    let mut left = file.size;
    loop {
        let read = match opened.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        if read == 0 {
            return Some(Cid::from_sha256(hasher.finalize().into()));
        }
        left = left.checked_sub(u64::try_from(read).ok()?)?;
        hasher.update(&buffer[..read]);
    }
}

fn link_target(root: BorrowedFd<'_>, path: &[u8]) -> Option<Cid> {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    let parent = match slash {
        Some(slash) => Some(directory_beneath(root, &path[..slash]).ok()?),
        None => None,
    };
    let dir = parent.as_ref().map_or(root, AsFd::as_fd);
    let name = slash.map_or(path, |slash| &path[slash + 1..]);
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return None;
    }
    readlinkat(dir, name, Vec::new()).ok().map(|target| Cid::of(target.as_bytes()))
}
