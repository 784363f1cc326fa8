//! The inbox: signed ballots made elsewhere, as files.
//!
//! `NAME.ballot` holds the text with the armored signature behind it; or the text alone, with the
//! signature beside it in `NAME.ballot.sig`, as `ssh-keygen -Y sign … NAME.ballot` leaves it. A
//! text without a signature waits for it, for a day.
//!
//! Whoever may write here may be anyone of a group: names, kinds, sizes and numbers are bounded,
//! no symlink is followed, nothing is waited for, and what is not a message is left alone and said.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::adapters::durable::{self, Disk as _, RealDisk};
use crate::adapters::process::Invocation;
use crate::adapters::state_dir::StateDir;
use crate::domain::governance::ballot::{MAX_MESSAGE, MAX_TEXT};
use crate::domain::governance::signature::MAX_ARMOR;
use crate::domain::text;
use crate::ports::{Clock, FailureKind, Inbox, InboxContent, InboxMessage, PortError, PortResult};

/// Most messages that are taken in at once; the rest waits.
pub const MAX_MESSAGES: usize = 256;

/// Most names that are looked at.
const MAX_NAMES: usize = 10_000;

/// Most sentences about what was left alone.
const MAX_SAID: usize = 20;

/// How long a text without a signature waits for it.
const PATIENCE_MS: i64 = 24 * 60 * 60 * 1000;

const TEXT: &str = ".ballot";
const SIGNATURE: &str = ".ballot.sig";

/// The inbox of a state directory.
pub struct InboxDirectory<'c> {
    path: PathBuf,
    clock: &'c dyn Clock,
}

impl std::fmt::Debug for InboxDirectory<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InboxDirectory({})", self.path.display())
    }
}

impl<'c> InboxDirectory<'c> {
    /// The inbox at this place; it need not exist.
    #[must_use]
    pub fn new(path: PathBuf, clock: &'c dyn Clock) -> Self {
        Self { path, clock }
    }

    /// What stands under the names, each text's with its signature's: sorted, bounded.
    fn names(&self) -> io::Result<(BTreeMap<String, Pair>, Vec<String>)> {
        let (mut pairs, mut odd) = (BTreeMap::<String, Pair>::new(), Vec::new());
        let entries = match std::fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((pairs, odd)),
            opened => opened?,
        };
        for entry in entries.take(MAX_NAMES) {
            let name = entry?.file_name();
            let plain = name.to_str().filter(|name| is_plain(name));
            match plain
                .and_then(|name| Some((name.strip_suffix(SIGNATURE)?, true)))
                .or_else(|| plain.and_then(|name| Some((name.strip_suffix(TEXT)?, false))))
            {
                Some((stem, true)) => pairs.entry(stem.to_owned()).or_default().signature = true,
                Some((stem, false)) => pairs.entry(stem.to_owned()).or_default().text = true,
                None => odd.push(format!(
                    "{} in the inbox is no name of a ballot (NAME.ballot, NAME.ballot.sig)",
                    text::git_quoted(name.as_encoded_bytes())
                )),
            }
        }
        odd.sort();
        Ok((pairs, odd))
    }

    /// The message of one pair of names; `None` while it is not complete.
    fn message(&self, stem: &str, pair: Pair) -> Result<Option<InboxMessage>, String> {
        let text_name = format!("{stem}{TEXT}");
        if !pair.text {
            return Ok(None);
        }
        let (mut bytes, written_ms) = self.read(&text_name, MAX_MESSAGE)?;
        let mut files = vec![text_name];
        let has_signature = bytes.windows(BEGIN.len()).any(|window| window == BEGIN);
        if !has_signature && pair.signature {
            let signature_name = format!("{stem}{SIGNATURE}");
            let (signature, _) = self.read(&signature_name, MAX_ARMOR)?;
            if bytes.len() > MAX_TEXT {
                return Err(format!("{stem}{TEXT} in the inbox is too large"));
            }
            bytes.extend(signature);
            files.push(signature_name);
        } else if !has_signature && self.clock.wall_ms().saturating_sub(written_ms) < PATIENCE_MS {
            return Ok(None);
        }
        Ok(Some(InboxMessage { files, bytes }))
    }

    fn read(&self, name: &str, most: usize) -> Result<(Vec<u8>, i64), String> {
        let failed = |why: &dyn std::fmt::Display| format!("{name} in the inbox was left alone: {why}");
        let file = open(&self.path.join(name)).map_err(|error| failed(&error))?;
        let meta = file.metadata().map_err(|error| failed(&error))?;
        if !meta.is_file() {
            return Err(failed(&"it is no regular file"));
        }
        let most = most as u64;
        if meta.len() > most {
            return Err(failed(&"it is too large"));
        }
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        if bytes.len() as u64 > most {
            return Err(failed(&"it is too large"));
        }
        Ok((bytes, meta.mtime().saturating_mul(1000)))
    }
}

const BEGIN: &[u8] = b"-----BEGIN SSH SIGNATURE-----";

/// Which files of a message there are.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    text: bool,
    signature: bool,
}

/// Let the people of a group drop messages into the inbox of a state directory: they may enter
/// the directory, and add files to `inbox/` of which nobody but their owner and ours removes any.
/// They may not list the state directory.
///
/// # Errors
/// Refused when the state directory is another user's; failed when there is no such group, or its
/// rights cannot be set.
pub fn share(state: &StateDir, group: &str) -> PortResult<()> {
    let (root, inbox) = (state.root(), state.inbox());
    let shown = text::git_quoted(inbox.as_os_str().as_encoded_bytes());
    let failed =
        |error: io::Error| durable::port_error(format!("cannot share {shown} with the group {group}"), error);
    let owner = std::fs::metadata(root).map_err(failed)?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(PortError::failed(format!("cannot share {shown}: it is another user's"))
            .kind(FailureKind::Refused));
    }
    let number = group_number(group)?;
    RealDisk.create_dir(&inbox).map_err(failed)?;
    for (path, rights) in [(root, 0o710), (inbox.as_path(), 0o3770)] {
        let found = std::fs::symlink_metadata(path).map_err(failed)?;
        if !found.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        if found.gid() != number {
            std::os::unix::fs::chown(path, None, Some(number)).map_err(failed)?;
        }
        if found.mode() & 0o7777 != rights || found.gid() != number {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(rights)).map_err(failed)?;
        }
    }
    Ok(())
}

/// The number of a group: as the system's databases say (getent(1)).
fn group_number(group: &str) -> PortResult<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let asked = Invocation::new("getent")
        .args(["group", "--", group])
        .deadline(Duration::from_secs(10))
        .output_cap(1 << 20)
        .run()
        .map_err(|error| PortError::failed(format!("cannot look up the group {group}")).because(error))?;
    // group(5): name:password:number:members
    String::from_utf8_lossy(&asked.stdout)
        .trim_end()
        .split(':')
        .nth(2)
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| {
            PortError::failed(format!("there is no group {}", text::quoted(group)))
                .hint("make it, or set governance.inbox_group to another")
        })
}

/// Letters, digits, `.`, `_` and `-`, not hidden: nothing that a shell or a terminal would read.
fn is_plain(name: &str) -> bool {
    name.len() <= 200
        && !name.starts_with(['.', '-'])
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Open for reading what is a file itself, without waiting for anybody.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or(0)).open(path)
}

impl Inbox for InboxDirectory<'_> {
    fn messages(&self) -> PortResult<InboxContent> {
        let shown = text::git_quoted(self.path.as_os_str().as_encoded_bytes());
        let (pairs, mut left_alone) = self
            .names()
            .map_err(|error| durable::port_error(format!("cannot read the inbox {shown}"), error))?;
        let mut messages = Vec::new();
        for (stem, pair) in pairs {
            if messages.len() == MAX_MESSAGES {
                left_alone.push(format!("more than {MAX_MESSAGES} ballots are in the inbox: the rest waits"));
                break;
            }
            match self.message(&stem, pair) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => left_alone.push(format!("{stem}{TEXT} in the inbox waits for its other half")),
                Err(why) => left_alone.push(why),
            }
        }
        if left_alone.len() > MAX_SAID {
            let more = left_alone.len() - MAX_SAID;
            left_alone.truncate(MAX_SAID);
            left_alone.push(format!("and {more} more in the inbox were left alone"));
        }
        Ok(InboxContent { messages, left_alone })
    }

    fn forget(&self, message: &InboxMessage) -> PortResult<()> {
        // The text last: a signature alone is never a message. A file that was put in the place of
        // the one that was read is another message, and stays.
        let mut kept: &[u8] = &message.bytes;
        let mut contents = Vec::new();
        for (at, name) in message.files.iter().enumerate() {
            let path = self.path.join(name);
            let last = at + 1 == message.files.len();
            let now = open(&path).and_then(|file| {
                let mut bytes = Vec::new();
                file.take(MAX_MESSAGE as u64 + 1).read_to_end(&mut bytes).map(|_| bytes)
            });
            match now {
                Ok(bytes) if kept.starts_with(&bytes) && (!last || kept.len() == bytes.len()) => {
                    kept = &kept[bytes.len()..];
                    contents.push(path);
                }
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => {
                    return Err(durable::port_error(format!("cannot read {name} in the inbox again"), error));
                }
            }
        }
        for path in contents.iter().rev() {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let name = text::git_quoted(path.as_os_str().as_encoded_bytes());
                    return Err(durable::port_error(format!("cannot remove {name}"), error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
