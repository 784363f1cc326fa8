//! What the supervisor and the keeper say to each other, one line of JSON a message, over a socket
//! that no confined program has.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// The keeper obeys orders of its own version alone.
pub(super) const VERSION: u32 = 1;

/// What to run, and inside which walls. The keeper is where it may do no harm already, as far as
/// namespaces make it so.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) version: u32,
    pub(super) argv: Vec<Bytes>,
    pub(super) env: Vec<(Bytes, Bytes)>,
    pub(super) cwd: Bytes,
    pub(super) stdin: Bytes,
    /// The private temporary directory; it is there.
    pub(super) tmp: Bytes,
    /// Directories of memory that are there beside it, to be watched by the supervisor.
    pub(super) watched: Vec<Bytes>,
    /// What may be read, and what may be written too.
    pub(super) read: Vec<Bytes>,
    pub(super) write: Vec<Bytes>,
    /// The user to become, where we may become anyone.
    pub(super) user: Option<u32>,
    /// No namespaces: these walls must do alone.
    pub(super) alone: bool,
    /// Connecting to sockets by path is allowed.
    pub(super) connect: bool,
    pub(super) bounds: Bounds,
}

/// The bounds that the kernel holds on each process, or each user.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Bounds {
    pub(super) data_bytes: u64,
    pub(super) processes: u64,
    pub(super) cpu_s: u64,
    pub(super) file_bytes: u64,
    pub(super) open_files: u64,
}

/// What the keeper says, in this order. With [`Told::Ready`] go the descriptors of the temporary
/// directory and of the directories that are watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Told {
    /// The directories are there.
    Ready,
    /// The program runs, behind this version of Landlock (0: none).
    Started { landlock: i32 },
    /// It does not run: why.
    NotStarted { why: String },
    /// It ended by itself, and this many of its processes were left.
    Ended { end: End, left: u64 },
}

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    Code(i32),
    Signal(i32),
}

/// Any bytes, as hexadecimal text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn of(text: impl AsRef<OsStr>) -> Self {
        Self(text.as_ref().as_bytes().to_vec())
    }

    pub(super) fn all<T: AsRef<OsStr>>(texts: impl IntoIterator<Item = T>) -> Vec<Self> {
        texts.into_iter().map(Self::of).collect()
    }

    pub(super) fn text(&self) -> OsString {
        OsString::from_vec(self.0.clone())
    }

    pub(super) fn path(&self) -> PathBuf {
        Path::new(OsStr::from_bytes(&self.0)).to_owned()
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        HEXLOWER.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A message as a line.
pub(super) fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message)
        .expect("because messages hold text and numbers, which always have a JSON form");
    line.push(b'\n');
    line
}
