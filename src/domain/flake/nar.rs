//! The Nix archive (NAR) of a source tree, its hash, and the store path that follows from it.
//!
//! In: any tree that answers [`Source`]. Out: the archive's exact bytes, streamed into a
//! [`Write`], or their SHA-256 as a [`NarHash`]. Nothing is read from disk here and nothing is
//! kept: one file's content at a time, directories by an explicit stack, so that a tree of any
//! depth is safe, and a byte bound, so that a tree bomb ends as an error.
//!
//! Source of the format: the Nix thesis, section 5.2.1, and `src/libutil/archive.cc`. Entries of
//! a directory are in byte order of their names (git orders a directory as if its name ended
//! in `/`); only the owner's executable bit is kept; times and owners are not.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::domain::id::ParseIdError;

/// One thing in a tree: what a NAR can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<N, C> {
    /// A directory: its entries by name. An empty one is kept (a submodule is one).
    Directory(BTreeMap<Vec<u8>, N>),
    /// A regular file.
    File {
        /// The owner may execute it.
        executable: bool,
        /// Its bytes.
        content: C,
    },
    /// A symbolic link and its target, never followed.
    Symlink(Vec<u8>),
}

/// A tree that can be archived: it opens references into nodes.
pub trait Source {
    /// A reference to a node that was not opened yet.
    type Reference;
    /// A file's content, in memory.
    type Content: AsRef<[u8]>;
    /// Why a node cannot be opened.
    type Error;

    /// What is at this reference.
    ///
    /// # Errors
    /// When the tree does not hold it.
    fn open(&self, reference: Self::Reference) -> Result<Node<Self::Reference, Self::Content>, Self::Error>;
}

/// Why a tree could not be archived.
#[derive(Debug, thiserror::Error)]
pub enum NarError<E> {
    /// The tree could not be read.
    #[error("cannot read the source tree")]
    Source(#[source] E),
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// The tree unfolds to more than the bound.
    #[error("the source tree unfolds to more than {0} bytes")]
    TooLarge(u64),
    /// A name that no directory can hold: empty, `.`, `..`, or with `/` or a NUL byte in it.
    #[error("a directory entry is named {}", crate::domain::text::git_quoted(.0))]
    BadName(Vec<u8>),
}

/// Stream the archive of the tree at `root` into `out`; at most `max_bytes` of it.
///
/// # Errors
/// When the tree cannot be read, is too large or holds an impossible name, or `out` fails.
pub fn write<S: Source>(
    source: &S,
    root: S::Reference,
    out: impl Write,
    max_bytes: u64,
) -> Result<(), NarError<S::Error>> {
    let mut out = Archive { out, written: 0, max_bytes };
    out.string(b"nix-archive-1")?;
    let mut open: Vec<std::collections::btree_map::IntoIter<Vec<u8>, S::Reference>> = Vec::new();
    let mut next = Some(root);
    loop {
        if let Some(reference) = next.take() {
            out.string(b"(")?;
            out.string(b"type")?;
            match source.open(reference).map_err(NarError::Source)? {
                Node::Directory(entries) => {
                    out.string(b"directory")?;
                    open.push(entries.into_iter());
                }
                Node::File { executable, content } => {
                    out.string(b"regular")?;
                    if executable {
                        out.string(b"executable")?;
                        out.string(b"")?;
                    }
                    out.string(b"contents")?;
                    out.string(content.as_ref())?;
                    out.string(b")")?;
                    out.close_entry(!open.is_empty())?;
                }
                Node::Symlink(target) => {
                    out.string(b"symlink")?;
                    out.string(b"target")?;
                    out.string(&target)?;
                    out.string(b")")?;
                    out.close_entry(!open.is_empty())?;
                }
            }
        }
        let Some(directory) = open.last_mut() else { return Ok(()) };
        if let Some((name, reference)) = directory.next() {
            if name.is_empty() || name == b"." || name == b".." || name.iter().any(|b| matches!(b, 0 | b'/'))
            {
                return Err(NarError::BadName(name));
            }
            out.string(b"entry")?;
            out.string(b"(")?;
            out.string(b"name")?;
            out.string(&name)?;
            out.string(b"node")?;
            next = Some(reference);
        } else {
            open.pop();
            out.string(b")")?;
            out.close_entry(!open.is_empty())?;
        }
    }
}

/// The archive's hash, as `flake.lock` has it in `narHash`; at most `max_bytes` of archive.
///
/// # Errors
/// As [`write()`].
pub fn hash<S: Source>(
    source: &S,
    root: S::Reference,
    max_bytes: u64,
) -> Result<NarHash, NarError<S::Error>> {
    let mut digest = Sha256::new();
    write(source, root, Digesting(&mut digest), max_bytes)?;
    Ok(NarHash(digest.finalize().into()))
}

struct Digesting<'a>(&'a mut Sha256);

impl Write for Digesting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The archive being written: length-prefixed, zero-padded strings.
struct Archive<W> {
    out: W,
    written: u64,
    max_bytes: u64,
}

impl<W: Write> Archive<W> {
    fn string<E>(&mut self, bytes: &[u8]) -> Result<(), NarError<E>> {
        let len = bytes.len() as u64;
        let padded = len.div_ceil(8) * 8;
        self.written += 8 + padded;
        if self.written > self.max_bytes {
            return Err(NarError::TooLarge(self.max_bytes));
        }
        let padding = &[0; 8][..usize::try_from(padded - len).unwrap_or(0)];
        self.out
            .write_all(&len.to_le_bytes())
            .and_then(|()| self.out.write_all(bytes))
            .and_then(|()| self.out.write_all(padding))
            .map_err(NarError::Write)
    }

    /// The parenthesis around a directory's entry.
    fn close_entry<E>(&mut self, inside: bool) -> Result<(), NarError<E>> {
        if inside { self.string(b")") } else { Ok(()) }
    }
}

/// The SHA-256 of a NAR: what `narHash` records. Shown as SRI (`sha256-…=`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NarHash(pub [u8; 32]);

impl NarHash {
    /// As Nix shows hashes in store paths and older tools: `sha256:` and Nix base-32.
    #[must_use]
    pub fn nix32(&self) -> String {
        format!("sha256:{}", base32(&self.0))
    }

    /// In hexadecimal digits: `sha256:` and base 16.
    #[must_use]
    pub fn base16(&self) -> String {
        format!("sha256:{}", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Display for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256-{}", BASE64.encode(&self.0))
    }
}

impl fmt::Debug for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NarHash({self})")
    }
}

impl FromStr for NarHash {
    type Err = ParseIdError;

    /// Any of Nix's forms: SRI, `sha256:` and base-32, hex or base-64.
    fn from_str(shown: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseIdError { wanted: "a SHA-256 hash as Nix writes it", found: shown.to_owned() };
        let body =
            shown.strip_prefix("sha256-").or_else(|| shown.strip_prefix("sha256:")).ok_or_else(wrong)?;
        let raw = match (shown.as_bytes()[6], body.len()) {
            (b':', 52) => from_base32(body),
            (b':', 64) => HEXLOWER.decode(body.as_bytes()).ok(),
            (_, 44) => BASE64.decode(body.as_bytes()).ok(),
            _ => None,
        };
        raw.and_then(|raw| raw.try_into().ok()).map(Self).ok_or_else(wrong)
    }
}

impl Serialize for NarHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NarHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Nix's digits: no `e`, `o`, `t`, `u`, so that no words appear.
const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// Bytes in Nix's base 32: least significant bits first, most significant digit shown first.
///
/// Source: `src/libutil/hash.cc`, `printHash32`. It is no RFC 4648 alphabet or order.
#[must_use]
pub fn base32(bytes: &[u8]) -> String {
    let digits = (bytes.len() * 8).div_ceil(5);
    let mut shown = String::with_capacity(digits);
    for digit in (0..digits).rev() {
        let (byte, shift) = (digit * 5 / 8, digit * 5 % 8);
        let low = u16::from(bytes[byte]);
        let high = u16::from(bytes.get(byte + 1).copied().unwrap_or(0));
        let value = ((high << 8 | low) >> shift) & 0x1f;
        shown.push(char::from(DIGITS[usize::from(value)]));
    }
    shown
}

/// The 32 bytes whose Nix base 32 this is.
fn from_base32(shown: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0u8; shown.len() * 5 / 8];
    for (digit, c) in shown.bytes().rev().enumerate() {
        let value = u16::try_from(DIGITS.iter().position(|known| *known == c)?).ok()?;
        let (byte, shift) = (digit * 5 / 8, digit * 5 % 8);
        let [low, high] = (value << shift).to_le_bytes();
        *bytes.get_mut(byte)? |= low;
        match bytes.get_mut(byte + 1) {
            Some(next) => *next |= high,
            None if high != 0 => return None,
            None => {}
        }
    }
    Some(bytes)
}

/// The store path of a source that is added recursively under its NAR hash, in `/nix/store`.
///
/// Nix gives a locked flake input the name `source`. Source: `makeFixedOutputPath` in
/// `src/libstore/store-api.cc` (method recursive, algorithm SHA-256, no references).
#[must_use]
pub fn store_path(name: &str, nar_hash: &NarHash) -> String {
    let described = format!("source:sha256:{}:/nix/store:{name}", HEXLOWER.encode(&nar_hash.0));
    let digest = Sha256::digest(described.as_bytes());
    let mut folded = [0u8; 20];
    for (at, byte) in digest.iter().enumerate() {
        folded[at % 20] ^= byte;
    }
    format!("/nix/store/{}-{name}", base32(&folded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[derive(Clone)]
    enum Tree {
        Dir(Vec<(&'static [u8], Tree)>),
        File(bool, &'static [u8]),
        Link(&'static [u8]),
        /// A directory in a directory, this many times.
        Deep(u32),
    }

    struct Memory;

    impl Source for Memory {
        type Reference = Tree;
        type Content = &'static [u8];
        type Error = Infallible;

        fn open(&self, tree: Tree) -> Result<Node<Tree, &'static [u8]>, Infallible> {
            Ok(match tree {
                Tree::Dir(entries) => {
                    Node::Directory(entries.into_iter().map(|(name, tree)| (name.to_vec(), tree)).collect())
                }
                Tree::File(executable, content) => Node::File { executable, content },
                Tree::Link(target) => Node::Symlink(target.to_vec()),
                Tree::Deep(0) => Node::Directory(BTreeMap::new()),
                Tree::Deep(n) => Node::Directory(BTreeMap::from([(b"d".to_vec(), Tree::Deep(n - 1))])),
            })
        }
    }

    fn archive(tree: Tree) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&Memory, tree, &mut bytes, u64::MAX).expect("a tree in memory is archived");
        bytes
    }

    #[test]
    fn a_file_is_archived_as_nix_does() {
        // From the Nix thesis' grammar, by hand.
        let mut expected = Vec::new();
        for word in ["nix-archive-1", "(", "type", "regular", "contents", "hi\n", ")"] {
            expected.extend((word.len() as u64).to_le_bytes());
            expected.extend(word.as_bytes());
            expected.resize(expected.len().div_ceil(8) * 8, 0);
        }
        assert_eq!(archive(Tree::File(false, b"hi\n")), expected);
    }

    #[test]
    fn a_directory_is_ordered_by_bytes_and_not_as_git_orders_trees() {
        let tree = Tree::Dir(vec![(b"a", Tree::Dir(Vec::new())), (b"a-b", Tree::File(true, b""))]);
        let bytes = archive(tree);
        let at = |needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle);
        assert!(at(b"\x01\0\0\0\0\0\0\0a\0") < at(b"a-b"), "git would put a-b before a/");
    }

    #[test]
    fn an_empty_directory_has_the_hash_that_nix_gives_it() {
        // nix hash path on an empty directory.
        let hash = hash(&Memory, Tree::Dir(Vec::new()), u64::MAX).expect("hashes");
        assert_eq!(hash.to_string(), "sha256-pQpattmS9VmO3ZIQUFn66az8GSmB4IvYhTTCFn6SUmo=");
        assert_eq!(hash.nix32(), "sha256:0sjjj9z1dhilhpc8pq4154czrb79z9cm044jvn75kxcjv6v5l2m5");
    }

    #[test]
    fn links_are_kept_and_not_followed() {
        let bytes = archive(Tree::Link(b"../../etc/passwd"));
        assert!(bytes.windows(16).any(|window| window == b"../../etc/passwd"));
    }

    #[test]
    fn depth_does_not_use_up_the_stack() {
        assert!(archive(Tree::Deep(200_000)).len() > 200_000);
    }

    #[test]
    fn a_bomb_ends_at_the_bound() {
        let result = hash(&Memory, Tree::Deep(1_000_000), 4096);
        assert!(matches!(result, Err(NarError::TooLarge(4096))));
    }

    #[test]
    fn impossible_names_are_refused() {
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0b"] {
            let result = hash(&Memory, Tree::Dir(vec![(name, Tree::File(false, b""))]), 1 << 20);
            assert!(matches!(result, Err(NarError::BadName(bad)) if bad == name));
        }
    }

    #[test]
    fn all_forms_of_a_hash_are_read() {
        let hash = NarHash(Sha256::digest(b"x").into());
        for shown in [
            hash.to_string(),
            hash.nix32(),
            format!("sha256:{}", HEXLOWER.encode(&hash.0)),
            format!("sha256:{}", BASE64.encode(&hash.0)),
        ] {
            assert_eq!(shown.parse(), Ok(hash), "{shown}");
        }
        for wrong in
            ["", "sha256-", "sha256:zz", "sha512-AAAA", "sha256-pQpattmS9VmO3ZIQUFn66az8GSmB4IvYhTTCFn6SUmo"]
        {
            assert!(wrong.parse::<NarHash>().is_err(), "{wrong}");
        }
    }
}
