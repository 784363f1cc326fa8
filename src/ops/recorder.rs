//! A journal that remembers what is appended through it, for whoever keeps the state beside it.

use crate::domain::audit::entry::Entry;
use crate::domain::event::Event;
use crate::domain::id::Cid;
use crate::domain::state::State;
use crate::ports::{Journal, PortResult};

/// The journal, and the entries since.
pub(in crate::ops) struct Recorder<'a> {
    inner: &'a mut dyn Journal,
    entries: Vec<Entry>,
}

impl<'a> Recorder<'a> {
    pub(in crate::ops) fn new(inner: &'a mut dyn Journal) -> Self {
        Self { inner, entries: Vec::new() }
    }

    /// Bring a state up to what was appended.
    pub(in crate::ops) fn tell(self, state: &mut State) {
        for entry in self.entries {
            state.take(&entry);
        }
    }
}

impl Journal for Recorder<'_> {
    fn append(&mut self, subject: &str, event: &Event) -> PortResult<Entry> {
        let entry = self.inner.append(subject, event)?;
        self.entries.push(entry.clone());
        Ok(entry)
    }

    fn append_all(&mut self, items: &[(&str, Event)]) -> PortResult<Vec<Entry>> {
        let entries = self.inner.append_all(items)?;
        self.entries.extend(entries.iter().cloned());
        Ok(entries)
    }

    fn store(&mut self, bytes: &[u8]) -> PortResult<Cid> {
        self.inner.store(bytes)
    }

    fn store_all(&mut self, values: &[&[u8]]) -> PortResult<Vec<Cid>> {
        self.inner.store_all(values)
    }

    fn load(&self, cid: &Cid) -> PortResult<Option<Vec<u8>>> {
        self.inner.load(cid)
    }

    fn line_id(&self, seq: u64) -> PortResult<Option<Cid>> {
        self.inner.line_id(seq)
    }

    fn proven(&self) -> PortResult<State> {
        self.inner.proven()
    }

    fn stopped(&self) -> Option<String> {
        self.inner.stopped()
    }
}
