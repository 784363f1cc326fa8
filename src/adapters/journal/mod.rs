//! The journal on disk: `audit.jsonl`, `head`, `objects/`, and a cache of what they add up to.
//!
//! In: events ([`JournalWriter`]), questions ([`JournalReader`]). Out: entries that survive power loss, and the
//! [`State`](crate::domain::state::State) that they add up to.
//!
//! # How an entry becomes durable
//!
//! Under `journal.lock`: the tail is compared with what this process knows (another one may have
//! appended: its entries are verified and taken over), the whole line is written, `fdatasync`, and
//! only then is the append acknowledged and `head` replaced. So at every moment:
//!
//! - what is acknowledged is on stable storage and ends with a newline;
//! - bytes after the last newline were never acknowledged: a *torn tail*. The next writer puts
//!   them into `objects/`, notes that in `torn`, cuts them off, and appends `journal.recovered`;
//! - `head` names an entry that is in the journal. Behind the newest entry it was overtaken by a
//!   crash, and is healed; ahead of it, somebody cut or emptied the journal: exit 7;
//! - a complete line that is wrong is damage: nothing starts, nothing is rewritten, exit 7.
//!
//! `head` and the cache are replaced without a sync of their own: a power cut leaves the old one, the
//! new one or one that is cut short, and each of these heals.
//!
//! # Opening costs what is new
//!
//! `cache/journal.json` keeps the place, the identity and the [`State`](crate::domain::state::State) up to which everything was verified,
//! with the file's inode, size and change time. While these are unchanged a writer checks only the
//! last line; when they are not (somebody else wrote, a crash) it verifies everything again. A reader
//! always goes on from the cached place. `audit verify` trusts no cache.

mod blocks;
mod export;
mod lines;
mod objects;
mod place;
mod reader;
mod writer;

pub use export::{Bundle, export, verify_bundle};
pub use reader::{Audit, JournalReader};
pub use writer::JournalWriter;

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::durable::{self, Disk, Durability};
use super::state_dir::StateDir;
use crate::domain::audit::chain::{Broken, Head};
use crate::domain::canonical::to_canonical;
use crate::domain::text;
use crate::ports::{FailureKind, PortError, PortResult};

fn shown(path: &Path) -> String {
    text::git_quoted(path.as_os_str().as_bytes())
}

/// What a broken chain means to the operator.
fn broken(path: &Path, broken: &Broken) -> PortError {
    PortError::failed(format!("cannot trust the journal {}: {broken}", shown(path)))
        .kind(FailureKind::Integrity)
        .hint("nothing was changed; keep the state directory as it is, and compare it with an export or a checkpoint kept elsewhere (lambda-os audit verify --against SEQ:CID)")
}

fn integrity(said: String) -> PortError {
    PortError::failed(said)
        .kind(FailureKind::Integrity)
        .hint("nothing was changed; keep the state directory as it is, and look with: lambda-os audit verify")
}

/// What the file `head` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeadFile {
    Missing,
    /// Empty or cut short, as a power cut can leave a new one that was renamed into place.
    Torn,
    At(Head),
}

fn read_head(path: &Path) -> PortResult<HeadFile> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HeadFile::Missing),
        Err(error) => Err(durable::port_error(format!("cannot read {}", shown(path)), error)),
        Ok(bytes) => match parse_head(&bytes) {
            Some(head) => Ok(HeadFile::At(head)),
            // A whole one ends with a newline.
            None if bytes.last().is_none_or(|last| *last != b'\n') => Ok(HeadFile::Torn),
            None => Err(integrity(format!(
                "cannot trust {}: it does not hold a sequence and an identity",
                shown(path)
            ))),
        },
    }
}

/// The content of a head file, `{"cid":…,"seq":…}`, or `SEQ:CID` as `audit verify` prints it.
#[must_use]
pub fn parse_head(bytes: &[u8]) -> Option<Head> {
    let said = std::str::from_utf8(bytes).ok()?.trim();
    serde_json::from_str(said).ok().or_else(|| said.parse().ok())
}

fn write_head(
    disk: &dyn Disk,
    state: &StateDir,
    head: Head,
    durability: Durability,
) -> Result<(), durable::WriteError> {
    let mut bytes = to_canonical(&head).expect("because a number below 2^53 and a text are canonical");
    bytes.push(b'\n');
    durable::write_file(disk, &state.head(), &bytes, durability)
}
