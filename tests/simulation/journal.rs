//! The journal, on a disk in memory: real entries in canonical JSON, chained and folded by the real
//! code. What is on the disk is durable; a process that dies in the middle of a write leaves a torn
//! line, which the next one puts aside as the real writer does.

use std::collections::BTreeMap;
use std::sync::Mutex;

use lambda_os::domain::audit::chain::Verifier;
use lambda_os::domain::audit::entry::{Entry, Record, VERSION};
use lambda_os::domain::event::Event;
use lambda_os::domain::governance::time::Reading;
use lambda_os::domain::id::Cid;
use lambda_os::domain::state::State;
use lambda_os::ports::{Clock, FailureKind, Journal, PortError, PortResult};

use super::fault::{Call, Fault, Faults, die, failed, locked, unknown};

/// What is on the disk.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) lines: Vec<Vec<u8>>,
    pub(crate) objects: BTreeMap<Cid, Vec<u8>>,
    torn: Option<Vec<u8>>,
    fold: Fold,
}

/// The lines read so far, as any program reads them.
#[derive(Default)]
struct Fold {
    read: usize,
    verifier: Verifier,
    state: State,
    prev: Option<Cid>,
}

/// An entry that was read from its line.
pub(crate) struct Read {
    pub(crate) seq: u64,
    pub(crate) wall_ms: i64,
    pub(crate) boot: String,
    pub(crate) mono_ms: u64,
    pub(crate) event: Event,
}

impl Read {
    /// The state after it.
    pub(crate) fn fold(&self, state: &mut State) {
        state.time.take(Reading { wall_ms: self.wall_ms, boot: &self.boot, mono_ms: self.mono_ms });
        state.apply(self.seq, self.wall_ms, &self.event);
    }
}

impl Disk {
    /// Read on: what the lines add up to, or the first that is no link of the chain.
    pub(crate) fn fold(&mut self) -> Result<&State, String> {
        let fold = &mut self.fold;
        while let Some(line) = self.lines.get(fold.read) {
            fold.verifier.push(line);
            let intact = fold.verifier.is_intact();
            let read = entry(line)?;
            if !intact || read.seq != fold.read as u64 {
                return Err(format!("entry {} does not follow from the one before it", fold.read));
            }
            read.fold(&mut fold.state);
            fold.prev = Some(Cid::of(line));
            fold.read += 1;
        }
        Ok(&fold.state)
    }
}

/// The entry of a line.
pub(crate) fn entry(line: &[u8]) -> Result<Read, String> {
    let record = Record::parse(line).map_err(|error| format!("a line is no entry: {error}"))?;
    let event = record.event().map_err(|error| format!("entry {}: {error}", record.seq))?;
    let event = event.ok_or_else(|| format!("entry {} is of no known type", record.seq))?;
    let Record { seq, wall_ms, boot, mono_ms, .. } = record;
    Ok(Read { seq, wall_ms, boot, mono_ms, event })
}

/// The one writer of a process.
pub(crate) struct Writer<'w> {
    disk: &'w Mutex<Disk>,
    faults: &'w Faults,
    clock: &'w dyn Clock,
    state: State,
    prev: Option<Cid>,
    poisoned: bool,
}

impl<'w> Writer<'w> {
    /// Open the journal: read it anew, put a torn line aside, begin it when it is empty.
    pub(crate) fn open(disk: &'w Mutex<Disk>, faults: &'w Faults, clock: &'w dyn Clock) -> PortResult<Self> {
        let (state, prev, torn) = {
            let mut disk = locked(disk);
            let state =
                disk.fold().map_err(|why| PortError::failed(why).kind(FailureKind::Integrity))?.clone();
            (state, disk.fold.prev, disk.torn.clone())
        };
        let mut writer = Self { disk, faults, clock, state, prev, poisoned: false };
        if writer.prev.is_none() {
            writer.append("journal", &Event::JournalOpened { program: "simulation".to_owned() })?;
        }
        if let Some(torn) = torn {
            let bytes = writer.store(&torn)?;
            let length = torn.len() as u64;
            writer.append("journal", &Event::JournalRecovered { length, bytes })?;
            locked(disk).torn = None;
        }
        Ok(writer)
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// What this process believes is what is on the disk.
    pub(crate) fn is_as_on_disk(&self) -> Result<bool, String> {
        Ok(self.poisoned || *locked(self.disk).fold()? == self.state)
    }

    fn may_write(&self) -> PortResult<()> {
        if self.poisoned { Err(unknown("journal after a failed sync")) } else { Ok(()) }
    }

    fn put(&mut self, entries: Vec<Entry>) -> PortResult<Vec<Entry>> {
        let mut disk = locked(self.disk);
        for entry in &entries {
            let line = entry.line().map_err(|error| PortError::failed("cannot append").because(error))?;
            self.prev = Some(Cid::of(&line));
            disk.lines.push(line);
            self.state.take(entry);
        }
        Ok(entries)
    }
}

impl Journal for Writer<'_> {
    fn append(&mut self, subject: &str, event: &Event) -> PortResult<Entry> {
        let mut entries = self.append_all(&[(subject, event.clone())])?;
        Ok(entries.remove(0))
    }

    fn proven(&self) -> PortResult<State> {
        locked(self.disk).fold().cloned().map_err(PortError::failed)
    }

    fn stopped(&self) -> Option<String> {
        self.state.stopped.clone()
    }

    fn append_all(&mut self, items: &[(&str, Event)]) -> PortResult<Vec<Entry>> {
        self.may_write()?;
        let fault = self.faults.next("journal.append", Call::Write);
        let mut prev = self.prev;
        let next = locked(self.disk).lines.len() as u64;
        let mut entries = Vec::with_capacity(items.len());
        for (seq, (subject, event)) in (next..).zip(items) {
            let entry = Entry {
                v: VERSION,
                log: "simulated".to_owned(),
                seq,
                prev,
                wall_ms: self.clock.wall_ms(),
                boot: self.clock.boot(),
                mono_ms: self.clock.mono_ms(),
                policy: self.state.policy,
                members: self.state.members.map(|members| members.document),
                subject: (*subject).to_owned(),
                event: event.clone(),
            };
            let line = entry.line().map_err(|error| {
                PortError::failed(format!("cannot append {} to the journal", event.kind())).because(error)
            })?;
            prev = Some(Cid::of(&line));
            entries.push(entry);
        }
        match fault {
            Some(Fault::DiesBefore) => die(),
            Some(Fault::DiesWithin) => {
                // One write of many lines: whole ones of its beginning may be there, and a part of one.
                let rest = entries.split_off(entries.len() / 2);
                let line = rest.first().and_then(|entry| entry.line().ok()).unwrap_or_default();
                self.put(entries)?;
                locked(self.disk).torn = Some(line[..line.len() / 2].to_vec());
                die()
            }
            Some(Fault::Fails(kind)) => return Err(failed("journal.append", kind)),
            Some(Fault::FailsLost) => {
                self.poisoned = true;
                return Err(unknown("journal.append"));
            }
            _ => {}
        }
        let entries = self.put(entries)?;
        match fault {
            Some(Fault::DiesAfter) => die(),
            Some(Fault::FailsDone) => {
                self.poisoned = true;
                Err(unknown("journal.append"))
            }
            _ => Ok(entries),
        }
    }

    fn store(&mut self, bytes: &[u8]) -> PortResult<Cid> {
        let mut cids = self.store_all(&[bytes])?;
        Ok(cids.remove(0))
    }

    fn store_all(&mut self, values: &[&[u8]]) -> PortResult<Vec<Cid>> {
        self.may_write()?;
        let fault = self.faults.next("journal.store", Call::Write);
        match fault {
            Some(Fault::DiesBefore) => die(),
            Some(Fault::Fails(kind)) => return Err(failed("journal.store", kind)),
            Some(Fault::FailsLost) => {
                self.poisoned = true;
                return Err(unknown("journal.store"));
            }
            _ => {}
        }
        let some = if fault == Some(Fault::DiesWithin) { values.len() / 2 } else { values.len() };
        let mut cids = Vec::with_capacity(values.len());
        for value in &values[..some] {
            let cid = Cid::of(value);
            locked(self.disk).objects.insert(cid, value.to_vec());
            cids.push(cid);
        }
        match fault {
            Some(Fault::DiesWithin | Fault::DiesAfter) => die(),
            Some(Fault::FailsDone) => {
                self.poisoned = true;
                Err(unknown("journal.store"))
            }
            _ => Ok(cids),
        }
    }

    fn load(&self, cid: &Cid) -> PortResult<Option<Vec<u8>>> {
        self.faults.call("journal.load", Call::Read, || Ok(locked(self.disk).objects.get(cid).cloned()))
    }

    fn line_id(&self, seq: u64) -> PortResult<Option<Cid>> {
        self.faults.call("journal.line_id", Call::Read, || {
            let disk = locked(self.disk);
            let at = usize::try_from(seq).ok();
            Ok(at.and_then(|at| disk.lines.get(at)).map(|line| Cid::of(line)))
        })
    }
}
