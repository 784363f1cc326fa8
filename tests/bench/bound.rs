//! The physical bound of looking at a work tree: a program that only lists every directory and
//! looks at every file, on two threads.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, statat};

/// List every directory and look at every file below the superproject, `.git` excepted.
pub(crate) fn raw_bound(root: &Path) {
    let mut parts: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(root.join("repos")).expect("repos") {
        parts.push(entry.expect("an entry").path());
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = openat(CWD, part, flags, Mode::empty()).expect("a directory");
            look(dir.as_fd(), &mut buffer);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
}

fn look(dir: BorrowedFd<'_>, buffer: &mut Vec<MaybeUninit<u8>>) {
    let mut below = Vec::new();
    {
        let mut entries = RawDir::new(dir, buffer);
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.file_name();
            match name.to_bytes() {
                b"." | b".." | b".git" => {}
                _ if entry.file_type() == FileType::Directory => below.push(name.to_owned()),
                _ => {
                    let _ = std::hint::black_box(statat(dir, name, AtFlags::SYMLINK_NOFOLLOW));
                }
            }
        }
    }
    for name in below {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(child) = openat(dir, &name, flags, Mode::empty()) {
            look(child.as_fd(), buffer);
        }
    }
}
