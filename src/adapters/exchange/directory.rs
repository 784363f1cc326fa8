//! A directory that operators share: on a common disk, by any program that copies files, or on a stick.
//!
//! ```text
//! DIRECTORY/ann/bafkrei….proposal
//! DIRECTORY/ann/bafkrei….ballot
//! DIRECTORY/bob/bafkrei….certificate
//! ```
//!
//! Each operator writes its own subdirectory only. Whoever may write here may be anyone: names, kinds,
//! sizes and numbers are bounded, no symlink is followed, nothing is waited for.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{Allowance, corner, named};
use crate::adapters::durable::{self, Disk as _, Open, RealDisk};
use crate::domain::governance::exchange::{MAX_MESSAGES, Message, read_name};
use crate::domain::text;
use crate::ports::{Exchange, FailureKind, Gathered, PortError, PortResult};

/// Most names of one subdirectory that are looked at.
const MAX_NAMES: usize = 2 * MAX_MESSAGES;

/// A shared directory, and under which name we write there.
#[derive(Debug, Clone)]
pub struct SharedDirectory {
    root: PathBuf,
    name: String,
}

impl SharedDirectory {
    /// The directory at this place, which must be there; we are the operator with this name.
    #[must_use]
    pub fn new(root: PathBuf, name: String) -> Self {
        Self { root, name }
    }

    fn shown(&self) -> String {
        text::git_quoted(self.root.as_os_str().as_encoded_bytes())
    }

    fn failed(&self, what: &str, error: io::Error) -> PortError {
        durable::port_error(format!("cannot {what} the shared directory {}", self.shown()), error)
            .kind(FailureKind::Temporary)
    }

    /// What one operator shows.
    fn read(&self, operator: &str, gathered: &mut Gathered) {
        let path = self.root.join(corner(operator));
        let entries = match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => std::fs::read_dir(&path),
            Ok(_) => {
                gathered.left_alone.push(format!("{operator} in the shared directory is no directory"));
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => Err(error),
        };
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                gathered.left_alone.push(format!("what {operator} shows cannot be read: {error}"));
                return;
            }
        };
        let names: BTreeSet<_> = entries.take(MAX_NAMES).flatten().map(|entry| entry.file_name()).collect();
        let (mut allowance, mut messages) = (Allowance::default(), BTreeSet::new());
        for name in names {
            // What is being written, and what does not concern us.
            let Some(known) = name.to_str().and_then(|name| Some((name, read_name(name)?))) else { continue };
            let (name, (_, kind)) = known;
            if messages.len() == MAX_MESSAGES {
                allowance.over += 1;
                continue;
            }
            match read(&path.join(name), |bytes| allowance.takes(kind, bytes)) {
                Ok(Some(bytes)) => match named(name, kind, bytes) {
                    Some(message) => {
                        messages.insert(message);
                    }
                    None => allowance.other += 1,
                },
                Ok(None) => {}
                Err(_) => allowance.other += 1,
            }
        }
        gathered.left_alone.extend(allowance.said(operator));
        gathered.messages.insert(operator.to_owned(), messages);
    }

    /// Our own subdirectory, made where it is not there yet.
    fn own(&self) -> PortResult<PathBuf> {
        let path = self.root.join(corner(&self.name));
        match std::fs::DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => RealDisk.sync_dir(&self.root).map_err(|error| self.failed("write to", error))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(self.failed("write to", error)),
        }
        let found = std::fs::symlink_metadata(&path).map_err(|error| self.failed("write to", error))?;
        if found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() {
            return Ok(path);
        }
        Err(PortError::failed(format!(
            "cannot write to the shared directory {}: {} in it is not a directory of this user",
            self.shown(),
            corner(&self.name)
        ))
        .hint("is governance.multisig.name the name of another operator?"))
    }
}

/// A regular file's bytes, once its size was allowed; `None` when it was not.
fn read(path: &Path, allow: impl FnOnce(u64) -> bool) -> io::Result<Option<Vec<u8>>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file: File =
        OpenOptions::new().read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or(0)).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if !allow(found.len()) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(found.len()).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

impl Exchange for SharedDirectory {
    fn place(&self) -> String {
        format!("the directory {}", self.shown())
    }

    fn gather(&self, operators: &BTreeSet<String>) -> PortResult<Gathered> {
        // A place that is not mounted looks like one where nobody said anything.
        std::fs::read_dir(&self.root).map_err(|error| self.failed("read", error))?;
        let mut gathered = Gathered::default();
        for operator in operators {
            self.read(operator, &mut gathered);
        }
        Ok(gathered)
    }

    fn publish(&self, messages: &BTreeSet<Message>) -> PortResult<bool> {
        let path = self.own()?;
        durable::sweep(&RealDisk, &path);
        let failed = |error| self.failed("write to", error);
        let wanted: BTreeSet<String> = messages.iter().map(Message::name).collect();
        let mut changed = false;
        let there = std::fs::read_dir(&path).map_err(failed)?;
        let there: BTreeSet<_> = there.take(4 * MAX_NAMES).flatten().map(|entry| entry.file_name()).collect();
        for message in messages {
            let name = message.name();
            let file = path.join(&name);
            // Our own file may have been cut short by a crash of the machine, or by somebody else.
            let whole = there.contains(OsStr::new(&name))
                && read(&file, |bytes| bytes == message.bytes.len() as u64)
                    .is_ok_and(|bytes| bytes.as_ref() == Some(&message.bytes));
            if !whole {
                let temp = path.join(durable::temp_name(&file));
                durable::put_file(&RealDisk, &temp, &file, &message.bytes, Open::NewWith(0o644), |_| None)
                    .map_err(|error| failed(error.into()))?;
                changed = true;
            }
        }
        for name in there {
            if name.to_str().is_some_and(|name| read_name(name).is_some() && !wanted.contains(name)) {
                RealDisk.remove(&path.join(&name)).map_err(failed)?;
                changed = true;
            }
        }
        if changed {
            RealDisk.sync_dir(&path).map_err(failed)?;
        }
        Ok(changed)
    }
}
