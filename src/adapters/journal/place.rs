//! How far a journal is verified and what it adds up to there, and its cache.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::durable::{self, Disk, Durability};
use super::super::state_dir::StateDir;
use super::lines::{Lines, Next, line_before, place_of};
use super::{broken, shown};
use crate::domain::audit::chain::{Broken, Head, Reason, Verifier, Witness};
use crate::domain::audit::entry::{EntryError, Fields, Record};
use crate::domain::governance::time::Reading;
use crate::domain::id::Cid;
use crate::domain::state::State;
use crate::ports::PortResult;

/// A place between two lines, up to which everything is verified.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Place {
    /// Bytes before it.
    pub(super) offset: u64,
    /// Which journal; empty at the start.
    pub(super) log: String,
    /// The entry before it.
    pub(super) head: Option<Head>,
    /// The first entry that this program does not understand: its sequence and type.
    pub(super) unknown: Option<(u64, String)>,
    /// What the entries before it add up to.
    pub(super) state: State,
}

/// What identifies a file that nobody touched. Change time cannot be set back by a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// The cache file. Another program version folds differently: then it is not used.
#[derive(Serialize, Deserialize)]
struct Cached {
    program: String,
    stamp: Stamp,
    place: Place,
}

const PROGRAM: &str = concat!(env!("CARGO_PKG_VERSION"), "/4");

/// Name of the cache in `cache/`.
const CACHE: &str = "journal.json";

/// How much of a journal must be verified when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Go on from the cached place when its entry stands there.
    Place,
    /// And only when nobody touched the file since.
    Untouched,
}

impl Place {
    /// The cached place, or the start when the cache does not fit the file.
    pub(super) fn cached(state: &StateDir, file: &File, trust: Trust) -> Self {
        Self::try_cached(state, file, trust).unwrap_or_default()
    }

    fn try_cached(state: &StateDir, file: &File, trust: Trust) -> Option<Self> {
        let bytes = std::fs::read(state.cache().join(CACHE)).ok()?;
        let Cached { program, stamp, place } = serde_json::from_slice(&bytes).ok()?;
        if program != PROGRAM || (trust == Trust::Untouched && stamp != Stamp::of(&file.metadata().ok()?)) {
            return None;
        }
        place.stands_in(file).then_some(place)
    }

    /// True when the entry before the place is the one that was verified.
    pub(super) fn stands_in(&self, file: &File) -> bool {
        match self.head {
            None => self.offset == 0,
            Some(head) => line_before(file, self.offset)
                .is_ok_and(|line| line.is_some_and(|line| Cid::of(&line) == head.cid)),
        }
    }

    /// Keep it for the next opening. It is a cache: a failure costs time, nothing else.
    pub(super) fn keep(&self, disk: &dyn Disk, state: &StateDir, file: &File) {
        let Ok(found) = file.metadata() else { return };
        if found.size() != self.offset {
            return;
        }
        let cached = Cached { program: PROGRAM.to_owned(), stamp: Stamp::of(&found), place: self.clone() };
        if let Ok(bytes) = serde_json::to_vec(&cached) {
            let _ = durable::write_file(disk, &state.cache().join(CACHE), &bytes, Durability::Cached);
        }
    }

    /// Sequence of the next entry.
    pub(super) fn next_seq(&self) -> u64 {
        self.head.map_or(0, |head| head.seq + 1)
    }

    /// Verify from here to the last newline and take it over. `known` are identities that must
    /// be in the journal, with who knows them. Gives the bytes after the last newline.
    pub(super) fn advance(
        &mut self,
        path: &Path,
        file: &File,
        known: &[(Head, &str)],
    ) -> PortResult<Vec<u8>> {
        let failed = |error| durable::port_error(format!("cannot read the journal {}", shown(path)), error);
        for (head, who) in known {
            self.check_behind(path, file, *head, who)?;
        }
        let mut verifier = match self.head {
            Some(head) => Verifier::resume(&self.log, head, self.unknown.clone()),
            None => Verifier::new(),
        };
        for (head, who) in known {
            verifier.anchor(*head, *who);
        }
        let mut lines = Lines::from(file, self.offset).map_err(failed)?;
        let mut line = Vec::new();
        let mut ahead = self.clone();
        let mut moved = false;
        let torn = loop {
            match lines.read(&mut line).map_err(failed)? {
                Next::Line => {
                    let seq = verifier.next_seq();
                    verifier.push(&line);
                    if verifier.is_intact() {
                        ahead.take(seq, &line);
                        ahead.offset = lines.offset();
                        moved = true;
                    }
                }
                Next::TooLong => {
                    verifier.push_damage(EntryError::TooLong);
                    break Vec::new();
                }
                Next::Torn => break std::mem::take(&mut line),
                Next::End => break Vec::new(),
            }
        };
        let outcome = verifier.finish().map_err(|error| broken(path, &error))?;
        if moved {
            ahead.log = outcome.log;
            ahead.head = outcome.head;
            *self = ahead;
        }
        Ok(torn)
    }

    /// Fold one verified line into the state.
    fn take(&mut self, seq: u64, line: &[u8]) {
        let record = Record::parse(line);
        match record.as_ref().map(|record| (record, record.event())) {
            Ok((Record { wall_ms, boot, mono_ms, .. }, Ok(Some(event)))) => {
                self.state.time.take(Reading { wall_ms: *wall_ms, boot, mono_ms: *mono_ms });
                self.state.apply(seq, *wall_ms, &event);
            }
            _ if self.unknown.is_some() => {}
            _ => self.unknown = Some((seq, record.map_or_else(|_| String::new(), |record| record.kind))),
        }
    }

    /// An identity at or before this place must be in the part that is verified already.
    fn check_behind(&self, path: &Path, file: &File, known: Head, who: &str) -> PortResult<()> {
        let Some(here) = self.head.filter(|here| known.seq <= here.seq) else {
            return Ok(());
        };
        let same = if known.seq == here.seq {
            known.cid == here.cid
        } else {
            let line = self.line(file, known.seq).map_err(|error| {
                durable::port_error(format!("cannot read the journal {}", shown(path)), error)
            })?;
            line.is_some_and(|line| <[u8; 32]>::from(Sha256::digest(&line)) == *known.cid.sha256())
        };
        if same {
            return Ok(());
        }
        Err(broken(path, &Broken { seq: known.seq, reason: Reason::Changed(Witness::Kept(who.to_owned())) }))
    }

    /// The line of an entry before this place.
    pub(super) fn line(&self, file: &File, seq: u64) -> std::io::Result<Option<Vec<u8>>> {
        let Some(at) = self.find(file, seq)? else { return Ok(None) };
        let mut line = Vec::new();
        Ok((Lines::from(file, at)?.read(&mut line)? == Next::Line).then_some(line))
    }

    /// Where the entry's line starts.
    pub(super) fn find(&self, file: &File, seq: u64) -> std::io::Result<Option<u64>> {
        place_of(file, seq, self.offset, |line| Fields::read(line).ok().map(|fields| fields.seq))
    }
}
