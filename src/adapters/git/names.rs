//! The names in one directory, read with `getdents` and sorted.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, RawDir, statat};

/// Sorted names of a directory without `.`, `..` and `.git`.
pub(super) struct Names {
    /// All names, each followed by a NUL.
    text: Vec<u8>,
    list: Vec<Name>,
}

struct Name {
    start: u32,
    len: u32,
    kind: FileType,
    tracked: bool,
}

/// Room for what `getdents` gives at once; kept between directories.
pub(super) type Buffer = Vec<MaybeUninit<u8>>;

/// A buffer of 32 KiB, which is what the C library uses.
pub(super) fn buffer() -> Buffer {
    vec![MaybeUninit::uninit(); 32 << 10]
}

impl Names {
    pub(super) fn read(dir: BorrowedFd<'_>, buffer: &mut Buffer, fold: bool) -> rustix::io::Result<Self> {
        let mut text = Vec::with_capacity(1024);
        let mut list = Vec::with_capacity(64);
        let mut entries = RawDir::new(dir, buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            let plain = &name[..name.len() - 1];
            if matches!(plain, b"." | b".." | b".git") || (fold && plain.eq_ignore_ascii_case(b".git")) {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
                known => known,
            };
            let start = u32::try_from(text.len()).unwrap_or(u32::MAX);
            let len = u32::try_from(plain.len()).unwrap_or(u32::MAX);
            text.extend_from_slice(name);
            list.push(Name { start, len, kind, tracked: false });
        }
        let mut names = Self { text, list };
        let text = std::mem::take(&mut names.text);
        names.list.sort_unstable_by(|a, b| slice(&text, a).cmp(slice(&text, b)));
        names.text = text;
        Ok(names)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn name(&self, at: usize) -> &[u8] {
        slice(&self.text, &self.list[at])
    }

    pub(super) fn c_name(&self, at: usize) -> &CStr {
        let name = &self.list[at];
        let (start, len) = (name.start as usize, name.len as usize);
        CStr::from_bytes_with_nul(&self.text[start..=start + len]).unwrap_or_default()
    }

    pub(super) fn kind(&self, at: usize) -> FileType {
        self.list[at].kind
    }

    pub(super) fn is_tracked(&self, at: usize) -> bool {
        self.list[at].tracked
    }

    pub(super) fn set_tracked(&mut self, at: usize) {
        self.list[at].tracked = true;
    }

    /// Where a name is. `hint` is tried first: index and directory are in nearly the same order.
    pub(super) fn find(&self, name: &[u8], hint: usize) -> Option<usize> {
        if hint < self.list.len() && self.name(hint) == name {
            return Some(hint);
        }
        self.list.binary_search_by(|entry| slice(&self.text, entry).cmp(name)).ok()
    }
}

fn slice<'a>(text: &'a [u8], name: &Name) -> &'a [u8] {
    &text[name.start as usize..name.start as usize + name.len as usize]
}
