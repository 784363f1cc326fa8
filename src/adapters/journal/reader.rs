//! The journal's reading side: creates nothing, changes nothing, takes no lock.
//!
//! A writer may append meanwhile: `head` is read before the journal, so that it can only be
//! behind, and a last line without a newline is somebody's write under way (or a torn tail).

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::super::durable;
use super::super::state_dir::StateDir;
use super::lines::{Lines, Next};
use super::place::{Place, Trust};
use super::{HeadFile, blocks, broken, integrity, objects, read_head, shown};
use crate::domain::audit::chain::{Broken, Head, Verified, Verifier};
use crate::domain::audit::entry::{EntryError, Record};
use crate::domain::id::Cid;
use crate::domain::state::State;
use crate::ports::{PortError, PortResult, Stored};

/// Reads the journal as it was when it was opened.
#[derive(Debug)]
pub struct JournalReader {
    pub(super) directory: StateDir,
    pub(super) path: PathBuf,
    /// `None` when there is no journal yet.
    pub(super) file: Option<File>,
    pub(super) place: Place,
    head_file: HeadFile,
    torn: u64,
}

/// What verifying a whole journal gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The linked entries, or the first that is wrong.
    pub outcome: Result<Verified, Broken>,
    /// Bytes after the last newline: a write under way, or one that a crash cut.
    pub torn: u64,
}

impl Stored for JournalReader {
    fn stored(&self, cid: &Cid) -> PortResult<Option<Vec<u8>>> {
        self.load(cid)
    }
}

impl JournalReader {
    /// Open the journal; an absent one is empty.
    ///
    /// # Errors
    /// Integrity when what is new since the last time is damaged, or the journal was cut.
    pub fn open(directory: &StateDir) -> PortResult<Self> {
        let mut reader = Self::open_unverified(directory)?;
        if let Some(file) = &reader.file {
            reader.place = Place::cached(directory, file, Trust::Place);
            let name = reader.head_name();
            let known: Vec<(Head, &str)> = match reader.head_file {
                HeadFile::At(head) => vec![(head, name.as_str())],
                HeadFile::Missing | HeadFile::Torn => Vec::new(),
            };
            let torn = reader.place.advance(&reader.path, file, &known)?;
            reader.torn = u64::try_from(torn.len()).unwrap_or(u64::MAX);
            if reader.head_file == HeadFile::Missing && reader.place.next_seq() > 1 {
                return Err(reader.without_head());
            }
        }
        Ok(reader)
    }

    /// Open it for [`verify`](Self::verify) alone.
    ///
    /// # Errors
    /// When it cannot be read, or is gone although `head` knows of it.
    pub fn open_unverified(directory: &StateDir) -> PortResult<Self> {
        directory.check_layout()?;
        let head_file = read_head(&directory.head())?;
        let path = directory.journal();
        let file = match File::open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(durable::port_error(format!("cannot open the journal {}", shown(&path)), error));
            }
        };
        if let (None, HeadFile::At(head)) = (&file, head_file) {
            return Err(integrity(format!(
                "cannot trust the journal: {} is missing, and {} knows of entry {}",
                shown(&path),
                shown(&directory.head()),
                head.seq
            )));
        }
        Ok(Self { directory: directory.clone(), path, file, place: Place::default(), head_file, torn: 0 })
    }

    fn head_name(&self) -> String {
        format!("the file {}", shown(&self.directory.head()))
    }

    fn without_head(&self) -> PortError {
        integrity(format!(
            "cannot trust the journal {}: it has {} entries, and {} is missing",
            shown(&self.path),
            self.place.next_seq(),
            shown(&self.directory.head())
        ))
    }

    /// True when there is a journal.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.file.is_some()
    }

    /// What the journal adds up to.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.place.state
    }

    /// The newest entry.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.place.head
    }

    /// Which journal it is; empty when there is none.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.place.log
    }

    /// Bytes after the last newline: a write under way, or one that a crash cut.
    #[must_use]
    pub fn torn(&self) -> u64 {
        self.torn
    }

    /// The entry with this sequence; `None` when there is none.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn entry(&self, seq: u64) -> PortResult<Option<Record>> {
        Ok(match self.line(seq)? {
            Some(line) => Some(self.record(seq, &line)?),
            None => None,
        })
    }

    /// The exact bytes of an entry's line, without the newline.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn line(&self, seq: u64) -> PortResult<Option<Vec<u8>>> {
        let Some(file) = &self.file else { return Ok(None) };
        self.place.line(file, seq).map_err(|error| self.failed(error))
    }

    /// Hand the entries from `since` on to `each`, in order, until it says stop.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn each_since(
        &self,
        since: u64,
        mut each: impl FnMut(Record) -> std::ops::ControlFlow<()>,
    ) -> PortResult<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let Some(at) = self.place.find(file, since).map_err(|error| self.failed(error))? else {
            return Ok(());
        };
        let mut lines = Lines::from(file, at).map_err(|error| self.failed(error))?;
        let mut line = Vec::new();
        while lines.offset() < self.place.offset {
            if lines.read(&mut line).map_err(|error| self.failed(error))? != Next::Line {
                break;
            }
            if each(self.record(since, &line)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Verify everything from the first entry on, trusting no cache. `known` are identities kept
    /// elsewhere, each with who knows it as a noun phrase; the head file is one of them already.
    ///
    /// # Errors
    /// When the file cannot be read; what is wrong with the journal is a value.
    pub fn verify(&self, known: &[(Head, String)]) -> PortResult<Audit> {
        let anchored = || {
            let mut verifier = Verifier::new();
            if let HeadFile::At(head) = self.head_file {
                verifier.anchor(head, self.head_name());
            }
            for (head, who) in known {
                verifier.anchor(*head, who.clone());
            }
            verifier
        };
        let Some(file) = &self.file else {
            return Ok(Audit { outcome: anchored().finish(), torn: 0 });
        };
        let mut verifier = anchored();
        let end = file.metadata().map_err(|error| self.failed(error))?.len();
        let torn =
            blocks::verify(file, end, blocks::BLOCK, &mut verifier).map_err(|error| self.failed(error))?;
        let (outcome, torn) = match torn {
            Some(torn) => (verifier.finish(), torn),
            None => self.line_by_line(file, anchored())?,
        };
        if self.head_file == HeadFile::Missing
            && let Ok(verified) = &outcome
            && verified.entries > 1
        {
            return Err(integrity(format!(
                "cannot trust the journal {}: its {} entries are linked, but {} is missing, so nothing shows whether its tail was cut",
                shown(&self.path),
                verified.entries,
                shown(&self.directory.head())
            )));
        }
        Ok(Audit { outcome, torn })
    }

    /// What is wrong, and where; or nothing.
    fn line_by_line(
        &self,
        file: &File,
        mut verifier: Verifier,
    ) -> PortResult<(Result<Verified, Broken>, u64)> {
        let mut lines = Lines::from(file, 0).map_err(|error| self.failed(error))?;
        let mut line = Vec::new();
        let mut torn = 0;
        while !verifier.is_settled() {
            match lines.read(&mut line).map_err(|error| self.failed(error))? {
                Next::Line => verifier.push(&line),
                Next::TooLong => {
                    verifier.push_damage(EntryError::TooLong);
                    break;
                }
                Next::Torn => {
                    torn = u64::try_from(line.len()).unwrap_or(u64::MAX);
                    break;
                }
                Next::End => break,
            }
        }
        Ok((verifier.finish(), torn))
    }

    /// A stored value, checked against its identity; `None` when absent.
    ///
    /// # Errors
    /// Integrity when the bytes are not what the identity says.
    pub fn load(&self, cid: &Cid) -> PortResult<Option<Vec<u8>>> {
        objects::load(&self.directory, cid)
    }

    /// The error that a broken chain is, for callers that cannot go on.
    #[must_use]
    pub fn refusal(&self, found: &Broken) -> PortError {
        broken(&self.path, found)
    }

    pub(super) fn failed(&self, error: io::Error) -> PortError {
        durable::port_error(format!("cannot read the journal {}", shown(&self.path)), error)
    }

    fn record(&self, near: u64, line: &[u8]) -> PortResult<Record> {
        Record::parse(line).map_err(|error| {
            integrity(format!("cannot trust the journal {}: near entry {near}", shown(&self.path)))
                .because(error)
        })
    }
}
