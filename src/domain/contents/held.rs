//! What a module's tree holds, as far as rules ask: the same wherever that tree is pinned.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::signed::MAX_BYTES;
use crate::domain::id::{ObjectId, RepoPath};

/// The files whose bytes are kept: what a module says of itself.
pub const TOLD: [&str; 3] = [METADATA, MANIFEST, MANIFEST_SIG];

/// What a module is, in its own words.
pub const METADATA: &str = "metadata.json";
/// What a package of it holds, in its publisher's words.
pub const MANIFEST: &str = "manifest.json";
/// The publisher's signature over [`MANIFEST`].
pub const MANIFEST_SIG: &str = "manifest.sig";

/// What names of files at the top say that they are terms of use, without regard to case.
const LICENCES: [&str; 4] = ["license", "licence", "copying", "unlicense"];

/// The directory of licence texts of <https://reuse.software>.
const LICENCES_DIRECTORY: &[u8] = b"LICENSES/";

/// A module's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The tree.
    pub tree: ObjectId,
    /// How many files and links it holds.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// The terms of use: each file with its object.
    pub licences: BTreeMap<RepoPath, ObjectId>,
    /// What stands at the paths of [`TOLD`]; those where nothing does are left out.
    pub told: BTreeMap<RepoPath, Told>,
}

/// What stands where a module says something of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// A file, with its bytes.
    File(Bytes),
    /// A file of more bytes than anybody reads.
    TooLarge(u64),
    /// A link, a directory or a submodule.
    NoFile,
}

/// Bytes; in JSON their base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Held {
    /// The bytes of one of [`TOLD`]; `None` when nothing stands there.
    ///
    /// # Errors
    /// A sentence without a final stop: why it has none.
    pub fn told(&self, path: &str) -> Result<Option<&[u8]>, String> {
        match self.told.get(&RepoPath::from(path)) {
            None => Ok(None),
            Some(Told::File(bytes)) => Ok(Some(&bytes.0)),
            Some(Told::TooLarge(size)) => {
                Err(format!("it has {size} bytes, and {MAX_BYTES} are read at most"))
            }
            Some(Told::NoFile) => Err("it is no regular file".to_owned()),
        }
    }
}

/// Whether a path is one of the terms of use.
#[must_use]
pub fn is_licence(path: &[u8]) -> bool {
    if path.starts_with(LICENCES_DIRECTORY) {
        return true;
    }
    let name = path.to_ascii_lowercase();
    !name.contains(&b'/') && LICENCES.iter().any(|known| name.starts_with(known.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_use_are_known_by_their_names() {
        for (path, expect) in [
            ("LICENSE", true),
            ("LICENSE-MIT", true),
            ("License.txt", true),
            ("COPYING.LESSER", true),
            ("LICENSES/Apache-2.0.txt", true),
            ("src/LICENSE", false),
            ("README.md", false),
        ] {
            assert_eq!(is_licence(path.as_bytes()), expect, "{path}");
        }
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let id = ObjectId::from_bytes(&[7; 20]).unwrap();
        let told = [
            (METADATA.into(), Told::File(Bytes(vec![0, 255, b'"']))),
            (MANIFEST.into(), Told::TooLarge(9)),
            (MANIFEST_SIG.into(), Told::NoFile),
        ];
        let held = Held {
            tree: id,
            files: 2,
            bytes: 3,
            licences: [("LICENSE".into(), id)].into(),
            told: told.into(),
        };
        let json = serde_json::to_string(&held).unwrap();
        assert_eq!(serde_json::from_str::<Held>(&json).unwrap(), held);
        assert_eq!(held.told(METADATA), Ok(Some(&[0, 255, b'"'][..])));
        assert!(held.told(MANIFEST).unwrap_err().contains("9 bytes"));
        assert!(held.told(MANIFEST_SIG).is_err());
    }
}
