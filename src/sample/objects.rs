//! Git objects and packs, written directly: the ids are known, nothing is compressed, and
//! 275,000 objects take seconds.
//!
//! In: blobs, trees and commits as values. Out: their SHA-1 ids at once, and later a version 2
//! pack with its version 2 index (`gitformat-pack(5)`). Content is stored in uncompressed
//! zlib blocks (RFC 1951, 3.2.4), which every git reads; no deltas.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use sha1::{Digest, Sha1};

use super::disk;
use crate::domain::id::ObjectId;
use crate::ports::PortResult;

/// The kinds of object, with their numbers in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Commit = 1,
    Tree = 2,
    Blob = 3,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
        }
    }
}

/// The id of an object.
pub(super) fn object_id(kind: Kind, content: &[u8]) -> ObjectId {
    let mut digest = Sha1::new();
    digest.update(format!("{} {}\0", kind.word(), content.len()).as_bytes());
    digest.update(content);
    sha1_id(digest)
}

fn sha1_id(digest: Sha1) -> ObjectId {
    ObjectId::from_bytes(&digest.finalize()).expect("because a SHA-1 is 20 bytes")
}

/// Objects of one repository: those that the next pack will hold, and the ids of all before.
#[derive(Debug, Default)]
pub(super) struct Objects {
    known: BTreeSet<ObjectId>,
    pending: Vec<(ObjectId, Kind, Arc<[u8]>)>,
}

impl Objects {
    /// Keep an object for the next pack, unless an earlier one has it.
    pub(super) fn add(&mut self, kind: Kind, content: impl Into<Arc<[u8]>>) -> ObjectId {
        let content = content.into();
        let id = object_id(kind, &content);
        self.add_known(id, kind, content);
        id
    }

    /// As [`Objects::add`], for an object whose id was computed before.
    pub(super) fn add_known(&mut self, id: ObjectId, kind: Kind, content: Arc<[u8]>) {
        if self.known.insert(id) {
            self.pending.push((id, kind, content));
        }
    }

    /// Everything since the last pack; `None` when there is nothing.
    pub(super) fn take_pack(&mut self) -> Option<Pack> {
        (!self.pending.is_empty()).then(|| Pack::of(&std::mem::take(&mut self.pending)))
    }
}

/// A commit object by the sample's one author. `message` is without its final newline.
pub(super) fn commit(tree: ObjectId, parents: &[ObjectId], time: i64, message: &str) -> Arc<[u8]> {
    let mut text = format!("tree {tree}\n");
    for parent in parents {
        let _ = writeln!(text, "parent {parent}");
    }
    let person = format!("Sample Author <author@sample.example> {time} +0000");
    let _ = write!(text, "author {person}\ncommitter {person}\n\n{message}\n");
    text.into_bytes().into()
}

/// A pack and its index, in memory.
#[derive(Debug)]
pub(super) struct Pack {
    name: String,
    content: Vec<u8>,
    index: Vec<u8>,
}

impl Pack {
    fn of(objects: &[(ObjectId, Kind, Arc<[u8]>)]) -> Self {
        let count = u32::try_from(objects.len()).expect("because a sample has fewer objects");
        let mut pack = Vec::with_capacity(objects.iter().map(|(_, _, content)| content.len() + 24).sum());
        pack.extend_from_slice(b"PACK\0\0\0\x02");
        pack.extend_from_slice(&count.to_be_bytes());
        let mut rows: Vec<(ObjectId, u32, u32)> = Vec::with_capacity(objects.len());
        for (id, kind, content) in objects {
            let begin = pack.len();
            object_header(&mut pack, *kind, content.len());
            stored_zlib(&mut pack, content);
            let offset = u32::try_from(begin).ok().filter(|offset| *offset < 1 << 31);
            rows.push((*id, offset.expect("because a sample's pack is under 2 GiB"), crc32(&pack[begin..])));
        }
        let checksum = Sha1::digest(&pack);
        pack.extend_from_slice(&checksum);
        rows.sort_unstable_by_key(|(id, _, _)| *id);

        let mut index = b"\xfftOc\0\0\0\x02".to_vec();
        let mut below = 0u32;
        let mut next = rows.iter().peekable();
        for first in 0..=u8::MAX {
            while next.next_if(|(id, _, _)| id.as_bytes()[0] == first).is_some() {
                below += 1;
            }
            index.extend_from_slice(&below.to_be_bytes());
        }
        for (id, _, _) in &rows {
            index.extend_from_slice(id.as_bytes());
        }
        for (_, _, crc) in &rows {
            index.extend_from_slice(&crc.to_be_bytes());
        }
        for (_, offset, _) in &rows {
            index.extend_from_slice(&offset.to_be_bytes());
        }
        index.extend_from_slice(&checksum);
        let index_checksum = Sha1::digest(&index);
        index.extend_from_slice(&index_checksum);
        Self { name: format!("pack-{}", HEXLOWER.encode(&checksum)), content: pack, index }
    }

    /// Write it into a repository.
    pub(super) fn write(&self, git_dir: &Path) -> PortResult<()> {
        for (extension, content) in [("pack", &self.content), ("idx", &self.index)] {
            let file = git_dir.join(format!("objects/pack/{}.{extension}", self.name));
            disk::write(&file, content)?;
            disk::set_mode(&file, 0o444)?;
        }
        Ok(())
    }

    /// Give it from one repository to another: the same files under a second name (a pack is
    /// never written to again), or copies where links are not possible.
    pub(super) fn link(&self, from: &Path, to: &Path) -> PortResult<()> {
        for extension in ["pack", "idx"] {
            let file = format!("objects/pack/{}.{extension}", self.name);
            disk::link(&from.join(&file), &to.join(&file))?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "masked to seven bits or fewer")]
fn object_header(out: &mut Vec<u8>, kind: Kind, len: usize) {
    let mut rest = len >> 4;
    let mut byte = ((kind as u8) << 4) | (len & 0xf) as u8;
    while rest > 0 {
        out.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    out.push(byte);
}

fn stored_zlib(out: &mut Vec<u8>, content: &[u8]) {
    out.extend_from_slice(&[0x78, 0x01]);
    let mut blocks = content.chunks(usize::from(u16::MAX)).peekable();
    if blocks.peek().is_none() {
        out.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let len = u16::try_from(block.len()).expect("because the chunks are that short");
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&adler32(content).to_be_bytes());
}

/// RFC 1950, section 9.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    // 5552 is the most bytes for which b stays within 32 bits.
    for chunk in bytes.chunks(5552) {
        for byte in chunk {
            a += u32::from(*byte);
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    (b << 16) | a
}

#[expect(clippy::cast_possible_truncation, reason = "at most 256")]
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
};

/// CRC-32 as in ISO 3309, which the pack index keeps for each object.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(u32::MAX, |crc, byte| CRC_TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_have_their_published_values() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn ids_are_those_of_git() {
        assert_eq!(object_id(Kind::Blob, b"").to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(object_id(Kind::Tree, b"").to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
    }

    #[test]
    fn libgit2_reads_what_was_packed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let repository = git2::Repository::init_bare(dir.path()).expect("a repository");
        let mut objects = Objects::default();
        let large = vec![b'x'; 200_000];
        let ids = [objects.add(Kind::Blob, large.clone()), objects.add(Kind::Blob, Vec::new())];
        let tree = objects.add(Kind::Tree, Vec::new());
        let commit = objects.add(Kind::Commit, commit(tree, &[], 1, "first"));
        objects.take_pack().expect("a pack").write(dir.path()).expect("written");
        let read = |id: ObjectId| git2::Oid::from_bytes(id.as_bytes()).expect("an id");
        assert_eq!(repository.find_blob(read(ids[0])).expect("there").content(), large);
        assert_eq!(repository.find_blob(read(ids[1])).expect("there").content(), b"");
        assert_eq!(repository.find_commit(read(commit)).expect("there").message(), Ok("first\n"));
        assert!(objects.take_pack().is_none());
    }
}
