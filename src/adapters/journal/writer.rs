//! The journal's writing side.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::super::durable::{self, Disk, DiskFile, Durability, Open, RealDisk, WriteError};
use super::super::lock::{JOURNAL_WAIT, JournalLock};
use super::super::state_dir::StateDir;
use super::place::{Place, Trust};
use super::{HeadFile, integrity, objects, read_head, shown, write_head};
use crate::domain::audit::chain::Head;
use crate::domain::audit::entry::{Entry, VERSION};
use crate::domain::event::Event;
use crate::domain::governance::members::MEMBERS_VERSION;
use crate::domain::governance::newer::newer;
use crate::domain::id::Cid;
use crate::domain::policy::POLICY_VERSION;
use crate::domain::state::State;
use crate::ports::{Clock, FailureKind, Journal, PortError, PortResult};

/// The cache is also renewed after this many entries, not only at the end.
const KEEP_EVERY: u64 = 4096;

/// Appends to the journal. Several processes may have one open: each append takes
/// `journal.lock`, and takes over what others appended before.
#[derive(Debug)]
pub struct JournalWriter<'c> {
    directory: StateDir,
    path: PathBuf,
    file: DiskFile,
    disk: Box<dyn Disk>,
    clock: ClockRef<'c>,
    boot: String,
    place: Place,
    /// Entries since the cache was renewed.
    unkept: u64,
    policy: Option<Cid>,
    members: Option<Cid>,
    /// Why nothing may be written any more.
    poisoned: Option<String>,
}

struct ClockRef<'c>(&'c dyn Clock);

impl std::fmt::Debug for ClockRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl<'c> JournalWriter<'c> {
    /// Open the journal for writing; make it when there is none; put a torn tail aside.
    ///
    /// # Errors
    /// Integrity when the journal is damaged, cut or rewritten; a plain failure when a newer program
    /// wrote to it or the directory cannot be written; temporary when the disk is full.
    pub fn open(directory: &StateDir, clock: &'c dyn Clock) -> PortResult<Self> {
        Self::open_on(directory, clock, Box::new(RealDisk))
    }

    /// As [`open`](Self::open), on a given disk.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(directory: &StateDir, clock: &'c dyn Clock, disk: Box<dyn Disk>) -> PortResult<Self> {
        directory.prepare_on(disk.as_ref())?;
        let path = directory.journal();
        let _lock = JournalLock::acquire(directory, JOURNAL_WAIT)?;
        durable::sweep(disk.as_ref(), directory.root());
        durable::sweep(disk.as_ref(), &directory.cache());
        let head = read_head(&directory.head())?;
        if let HeadFile::At(head) = head
            && !path.exists()
        {
            return Err(integrity(format!(
                "cannot trust the journal: {} is missing, and {} knows of entry {}",
                shown(&path),
                shown(&directory.head()),
                head.seq
            )));
        }
        let opened = disk.open(&path, Open::Keep);
        let file = opened.map_err(|error| {
            durable::port_error(format!("cannot open the journal {}", shown(&path)), error)
        })?;
        let place = Place::cached(directory, &file, Trust::Untouched);
        let kept = place.head.map(|head| head.seq);
        let mut writer = Self {
            directory: directory.clone(),
            path,
            file,
            disk,
            clock: ClockRef(clock),
            boot: clock.boot(),
            place,
            unkept: 0,
            policy: None,
            members: None,
            poisoned: None,
        };
        writer.catch_up(head)?;
        writer.refuse_newer()?;
        if writer.place.head.is_none() {
            writer.begin()?;
        } else {
            writer.close_quarantine()?;
            writer.heal_head(head);
        }
        if writer.place.head.map(|head| head.seq) != kept {
            writer.keep();
        }
        Ok(writer)
    }

    /// What the journal adds up to, with everything appended so far.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.place.state
    }

    /// The newest entry.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.place.head
    }

    /// Stamp the entries from now on with this policy and this members document. Where it is not
    /// called, or with `None`, entries bear what the journal says is in force before them.
    pub fn stamp(&mut self, policy: Option<Cid>, members: Option<Cid>) {
        self.policy = policy;
        self.members = members;
    }

    /// Append entries with one sync, all or none: when this returns they survive power loss.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_all(&mut self, items: &[(&str, Event)]) -> PortResult<Vec<Entry>> {
        self.refuse_poisoned()?;
        let _lock = JournalLock::acquire(&self.directory, JOURNAL_WAIT)?;
        self.look_again()?;
        self.append_locked(items)
    }

    /// Under the lock: has anybody else written, and is what we know still there?
    fn look_again(&mut self) -> PortResult<()> {
        let failed = |path, error| durable::port_error(format!("cannot read the journal {path}"), error);
        let now = std::fs::metadata(&self.path).map_err(|error| failed(shown(&self.path), error))?;
        let ours = self.file.metadata().map_err(|error| failed(shown(&self.path), error))?;
        if (now.dev(), now.ino()) != (ours.dev(), ours.ino()) {
            return Err(integrity(format!(
                "cannot trust the journal {}: another file was put in its place",
                shown(&self.path)
            )));
        }
        if now.size() < self.place.offset || !self.place.stands_in(&self.file) {
            return Err(integrity(format!(
                "cannot trust the journal {}: its newest entries were cut or changed while it was open",
                shown(&self.path)
            )));
        }
        let head = read_head(&self.directory.head())?;
        if now.size() > self.place.offset || head != self.place.head.map_or(HeadFile::Missing, HeadFile::At) {
            self.catch_up(head)?;
            self.refuse_newer()?;
        }
        self.close_quarantine()
    }

    /// Verify and take over what stands after our place, and put a torn tail aside.
    fn catch_up(&mut self, head: HeadFile) -> PortResult<()> {
        let name = format!("the file {}", shown(&self.directory.head()));
        let known: Vec<(Head, &str)> = match head {
            HeadFile::At(head) => vec![(head, name.as_str())],
            HeadFile::Missing | HeadFile::Torn => Vec::new(),
        };
        let torn = self.place.advance(&self.path, &self.file, &known)?;
        // The first entry may have been written without its head, nothing else.
        if head == HeadFile::Missing && self.place.next_seq() > 1 {
            return Err(integrity(format!(
                "cannot trust the journal {}: it has {} entries, and {} is missing",
                shown(&self.path),
                self.place.next_seq(),
                shown(&self.directory.head())
            )));
        }
        if torn.is_empty() { Ok(()) } else { self.quarantine(&torn) }
    }

    /// Put a torn tail into `objects/` and cut it off. `torn` remembers it until it is journalled.
    fn quarantine(&mut self, torn: &[u8]) -> PortResult<()> {
        self.refuse_newer()?;
        let bytes = self.store(torn)?;
        let note = Event::JournalRecovered { length: u64::try_from(torn.len()).unwrap_or(u64::MAX), bytes };
        // A new journal begins with its own entry.
        let seq = self.place.next_seq().max(1);
        let note = serde_json::to_vec(&(seq, note)).expect("because an event serialises");
        durable::write_file(self.disk.as_ref(), &self.directory.torn(), &note, Durability::Synced)
            .map_err(|error| self.failed("put aside the torn tail of", error))?;
        let cut =
            self.disk.set_len(&self.file, self.place.offset).and_then(|()| self.disk.sync_data(&self.file));
        cut.map_err(|error| self.failed("cut the torn tail of", WriteError::Unknown(error)))
    }

    /// Journal a torn tail that was put aside, unless that was done before a crash.
    fn close_quarantine(&mut self) -> PortResult<()> {
        let path = self.directory.torn();
        let note = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(durable::port_error(format!("cannot read {}", shown(&path)), error)),
            Ok(note) => note,
        };
        let note: Option<(u64, Event)> = serde_json::from_slice(&note).ok();
        if let Some((seq, event)) = note
            && self.place.next_seq() <= seq
        {
            self.append_locked(&[("journal", event)])?;
        }
        self.disk
            .remove(&path)
            .map_err(|error| durable::port_error(format!("cannot remove {}", shown(&path)), error))
    }

    /// The first entry of a new journal; its head is on stable storage before anything follows.
    fn begin(&mut self) -> PortResult<()> {
        self.disk
            .sync_dir(self.directory.root())
            .map_err(|error| self.failed("make", WriteError::Unknown(error)))?;
        self.place.log = random_identity().map_err(|error| {
            PortError::failed("cannot make an identity for the journal: no random bytes").because(error)
        })?;
        let program = concat!("lambda-os ", env!("CARGO_PKG_VERSION")).to_owned();
        self.append_locked(&[("journal", Event::JournalOpened { program })])?;
        self.close_quarantine()?;
        let head = self.place.head.expect("because an entry was appended");
        write_head(self.disk.as_ref(), &self.directory, head, Durability::Synced)
            .map_err(|error| self.failed("write the head of", error))
    }

    fn append_locked(&mut self, items: &[(&str, Event)]) -> PortResult<Vec<Entry>> {
        let mut bytes = Vec::with_capacity(items.len() * 512);
        let mut entries = Vec::with_capacity(items.len());
        let mut head = self.place.head;
        for (subject, event) in items {
            let entry = Entry {
                v: VERSION,
                log: self.place.log.clone(),
                seq: head.map_or(0, |head| head.seq + 1),
                prev: head.map(|head| head.cid),
                wall_ms: self.clock.0.wall_ms(),
                boot: self.boot.clone(),
                mono_ms: self.clock.0.mono_ms(),
                policy: self.policy.or(self.place.state.policy),
                members: self.members.or(self.place.state.members.map(|in_force| in_force.document)),
                subject: (*subject).to_owned(),
                event: event.clone(),
            };
            let line = entry.line().map_err(|error| {
                PortError::failed(format!("cannot append {} to the journal", event.kind())).because(error)
            })?;
            head = Some(Head { cid: Cid::of(&line), seq: entry.seq });
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
            entries.push(entry);
        }
        let Some(head) = head else { return Ok(entries) };
        durable::append(self.disk.as_ref(), &self.file, &bytes, self.place.offset)
            .map_err(|error| self.failed("append to", error))?;
        self.place.offset += u64::try_from(bytes.len()).expect("because a length fits u64");
        self.place.head = Some(head);
        for entry in &entries {
            self.place.state.take(entry);
        }
        self.unkept += u64::try_from(entries.len()).unwrap_or(u64::MAX);
        if let Err(error) = write_head(self.disk.as_ref(), &self.directory, head, Durability::Cached) {
            // The entries are durable. A head that is behind is healed by the next append.
            tracing::debug!(error = %error, "the journal's head is behind");
        }
        if self.unkept >= KEEP_EVERY {
            self.keep();
        }
        Ok(entries)
    }

    fn heal_head(&mut self, found: HeadFile) {
        if let Some(head) = self.place.head
            && found != HeadFile::At(head)
        {
            let _ = write_head(self.disk.as_ref(), &self.directory, head, Durability::Synced);
        }
    }

    /// Renew the cache. Only under the lock, so that it describes the file.
    fn keep(&mut self) {
        self.place.keep(self.disk.as_ref(), &self.directory, &self.file);
        self.unkept = 0;
    }

    /// What other programs appended and we do not understand is not in our state.
    fn refuse_newer(&self) -> PortResult<()> {
        let Some((seq, kind)) = &self.place.unknown else { return self.refuse_newer_rules() };
        Err(PortError::failed(format!(
            "cannot write to the journal {}: entry {seq} is of type {}, which this program does not know",
            shown(&self.path),
            crate::domain::text::quoted(kind)
        ))
        .hint("use the newer lambda-os that wrote it; reading works, and nothing was changed"))
    }

    /// By rules that we cannot read nobody knows what may be written.
    fn refuse_newer_rules(&self) -> PortResult<()> {
        let state = &self.place.state;
        let members = state.members.map(|in_force| in_force.document);
        let rules =
            [("members document", members, MEMBERS_VERSION), ("policy", state.policy, POLICY_VERSION)];
        for (what, document, known) in rules {
            let Some(document) = document else { continue };
            // What is missing or damaged is said where it is needed.
            let Ok(Some(bytes)) = objects::load(&self.directory, &document) else { continue };
            if let Some(version) = newer(&bytes, known) {
                return Err(PortError::failed(format!(
                    "cannot write to the journal {}: the {what} in force has version {version}, and this program knows up to {known}",
                    shown(&self.path),
                ))
                .hint("use the newer lambda-os that wrote it; nothing was changed"));
            }
        }
        Ok(())
    }

    fn refuse_poisoned(&self) -> PortResult<()> {
        match &self.poisoned {
            None => Ok(()),
            Some(why) => Err(PortError::failed(format!(
                "cannot write to the journal {}: an earlier write failed ({why}), and what stands on disk is not known",
                shown(&self.path)
            ))
            .fatal()
            .hint("check the disk, then start again: the journal is read anew")),
        }
    }

    fn not_stored(&mut self, failed: objects::StoreError) -> PortError {
        let fatal = failed.error.is_fatal();
        if fatal {
            self.poisoned = Some(failed.error.io().to_string());
        }
        let error = durable::port_error(format!("cannot store {}", shown(&failed.path)), failed.error.into());
        if fatal { error.fatal() } else { error }
    }

    fn failed(&mut self, attempted: &str, error: WriteError) -> PortError {
        let said = format!("cannot {attempted} the journal {}", shown(&self.path));
        if error.is_fatal() {
            self.poisoned = Some(error.io().to_string());
            // Unlike a refusal this must not read as "nothing was half done".
            return PortError::failed(said)
                .hint("check the disk, then start again: the journal is read anew, and this process writes nothing more")
                .fatal()
                .because(io::Error::from(error));
        }
        durable::port_error(said, error.into())
    }
}

impl Journal for JournalWriter<'_> {
    fn append(&mut self, subject: &str, event: &Event) -> PortResult<Entry> {
        let mut made = self.append_all(&[(subject, event.clone())])?;
        Ok(made.remove(0))
    }

    fn append_all(&mut self, items: &[(&str, Event)]) -> PortResult<Vec<Entry>> {
        self.append_all(items)
    }

    fn store(&mut self, bytes: &[u8]) -> PortResult<Cid> {
        self.refuse_poisoned()?;
        let is_named = |cid: &Cid| self.place.state.names(cid);
        let stored = objects::store(self.disk.as_ref(), &self.directory, bytes, is_named);
        stored.map_err(|failed| self.not_stored(failed))
    }

    fn store_all(&mut self, values: &[&[u8]]) -> PortResult<Vec<Cid>> {
        self.refuse_poisoned()?;
        let is_named = |cid: &Cid| self.place.state.names(cid);
        let stored = objects::store_all(self.disk.as_ref(), &self.directory, values, is_named);
        stored.map_err(|failed| self.not_stored(failed))
    }

    fn load(&self, cid: &Cid) -> PortResult<Option<Vec<u8>>> {
        objects::load(&self.directory, cid)
    }

    fn proven(&self) -> PortResult<State> {
        let mut place = Place::default();
        place.advance(&self.path, &self.file, &[])?;
        if place.head == self.place.head {
            return Ok(place.state);
        }
        // Another process appended meanwhile: what we know is its beginning.
        let known = self.place.head.map_or(Ok(None), |head| self.line_id(head.seq))?;
        if known == self.place.head.map(|head| head.cid) {
            return Ok(place.state);
        }
        Err(PortError::failed(format!("the journal {} is another one now", shown(&self.path)))
            .kind(FailureKind::Integrity))
    }

    fn stopped(&self) -> Option<String> {
        self.place.state.stopped.clone()
    }

    fn line_id(&self, seq: u64) -> PortResult<Option<Cid>> {
        let line = self.place.line(&self.file, seq).map_err(|error| {
            durable::port_error(format!("cannot read the journal {}", shown(&self.path)), error)
        })?;
        Ok(line.as_deref().map(Cid::of))
    }
}

impl Drop for JournalWriter<'_> {
    fn drop(&mut self) {
        if self.unkept > 0
            && self.poisoned.is_none()
            && let Some(_lock) = JournalLock::try_acquire(&self.directory)
        {
            self.keep();
        }
    }
}

fn random_identity() -> io::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}
