//! The journal on disk.

use crate::domain::audit::chain::Head;
use crate::domain::audit::entry::{Entry, Record};
use crate::domain::event::Event;
use crate::domain::id::Cid;
use crate::domain::state::State;
use crate::ports::{Clock, Journal, PortError, PortResult};

use super::state_dir::StateDir;

/// The writing side.
pub struct JournalWriter<'c> {
    state: State,
    _clock: &'c dyn Clock,
}

impl<'c> JournalWriter<'c> {
    /// Open it, make it when there is none, recover what a crash left.
    pub fn open(_state_dir: &StateDir, _clock: &'c dyn Clock) -> PortResult<Self> {
        Err(PortError::failed("cannot open the journal: writing it is not supported yet"))
    }

    /// What the journal adds up to, with everything appended so far.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Append many entries with one sync.
    pub fn append_all(&mut self, _entries: &[(&str, Event)]) -> PortResult<Vec<Entry>> {
        Err(PortError::failed("cannot append to the journal: writing it is not supported yet"))
    }
}

impl Journal for JournalWriter<'_> {
    fn append(&mut self, subject: &str, event: &Event) -> PortResult<Entry> {
        self.append_all(&[(subject, event.clone())]).map(|mut made| made.remove(0))
    }
    fn store(&mut self, _bytes: &[u8]) -> PortResult<Cid> {
        Err(PortError::failed("cannot store: writing the journal is not supported yet"))
    }
    fn load(&self, _cid: &Cid) -> PortResult<Option<Vec<u8>>> {
        Ok(None)
    }
}

/// The reading side: creates nothing, locks nothing.
#[derive(Debug)]
pub struct JournalReader {
    state: State,
}

impl JournalReader {
    /// Open it; an absent journal is an empty one.
    pub fn open(_state_dir: &StateDir) -> PortResult<Self> {
        Ok(Self { state: State::default() })
    }

    /// What the journal adds up to.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The newest entry.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        None
    }

    /// The entry with this sequence.
    pub fn entry(&self, _seq: u64) -> PortResult<Option<Record>> {
        Ok(None)
    }

    /// A stored value, checked against its identity; `None` when absent.
    pub fn load(&self, _cid: &Cid) -> PortResult<Option<Vec<u8>>> {
        Ok(None)
    }
}
