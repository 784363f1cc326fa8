//! The journal under power cuts, failing disks, kills and other writers.
#![expect(clippy::disallowed_methods, reason = "a test starts itself again to be killed")]
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::durable::{Disk, DiskFile, Open, RealDisk};
use lambda_os::adapters::journal::{JournalReader, JournalWriter};
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::domain::event::Event;
use lambda_os::domain::id::Cid;
use lambda_os::ports::{FailureKind, Journal as _, PortError};
use support::faulty::{Fault, Faulty};
use tempfile::TempDir;

const CLOCK: SystemClock = SystemClock;

fn state_dir(root: &Path) -> StateDir {
    StateDir::resolve_with(Some(root), None, None, Path::new("/nonexistent")).unwrap()
}

fn cycle(cause: &str) -> Event {
    Event::CycleStarted { cause: cause.to_owned() }
}

fn temp() -> TempDir {
    tempfile::Builder::new().prefix("lambda-os-journal-").tempdir().unwrap()
}

/// The causes of all cycles in the journal, after a full verification.
fn causes(directory: &StateDir) -> Vec<String> {
    let reader = JournalReader::open(directory).unwrap();
    reader.verify(&[]).unwrap().outcome.unwrap();
    let mut causes = Vec::new();
    reader
        .each_since(0, |record| {
            if let Some(cause) = record.body.get("cause") {
                causes.push(cause.as_str().unwrap().to_owned());
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    causes
}

fn types(directory: &StateDir) -> Vec<String> {
    let mut types = Vec::new();
    let reader = JournalReader::open(directory).unwrap();
    reader
        .each_since(0, |record| {
            types.push(record.kind);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    types
}

// ---- a disk that remembers every call, for power cuts ----

#[derive(Debug, Clone)]
enum Call {
    CreateDir(PathBuf),
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    SetLen(PathBuf, u64),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    SyncDir(PathBuf),
    SyncAll,
    Remove(PathBuf),
}

#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Call>>>);

impl Recorder {
    fn note(&self, call: Call) {
        self.0.lock().unwrap().push(call);
    }
    fn calls(&self) -> Vec<Call> {
        self.0.lock().unwrap().clone()
    }
}

impl Disk for Recorder {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Call::CreateDir(path.to_owned()));
        RealDisk.create_dir(path)
    }
    fn open(&self, path: &Path, how: Open) -> io::Result<DiskFile> {
        let existed = path.exists();
        let file = RealDisk.open(path, how)?;
        if !existed {
            self.note(Call::Create(path.to_owned()));
        }
        Ok(file)
    }
    fn write_at(&self, file: &DiskFile, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.note(Call::Write(file.path().to_owned(), offset, bytes.to_vec()));
        RealDisk.write_at(file, bytes, offset)
    }
    fn set_len(&self, file: &DiskFile, length: u64) -> io::Result<()> {
        self.note(Call::SetLen(file.path().to_owned(), length));
        RealDisk.set_len(file, length)
    }
    fn sync_data(&self, file: &DiskFile) -> io::Result<()> {
        self.note(Call::Sync(file.path().to_owned()));
        RealDisk.sync_data(file)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(Call::Rename(from.to_owned(), to.to_owned()));
        RealDisk.rename(from, to)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Call::SyncDir(path.to_owned()));
        RealDisk.sync_dir(path)
    }
    fn sync_all(&self, directory: &Path) -> io::Result<()> {
        self.note(Call::SyncAll);
        RealDisk.sync_all(directory)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note(Call::Remove(path.to_owned()));
        RealDisk.remove(path)
    }
    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("the journal gives no file a second name");
    }
}

/// What a power cut leaves of writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Only what was synced: data by file sync, names by directory sync.
    DropAll,
    /// Names are there, unsynced data is not (a renamed file is empty).
    DropData,
    /// Names are there, and of every unsynced write its first half.
    TearData,
    /// Everything.
    KeepAll,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
}

/// Files of a disk that is cut off after some calls, put into `to`.
fn replay(calls: &[Call], cut: Cut, from: &Path, to: &Path) {
    let mut inodes: Vec<Inode> = Vec::new();
    let mut names: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut durable_names: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut directories = vec![from.to_owned()];
    let write = |bytes: &mut Vec<u8>, offset: u64, more: &[u8]| {
        let offset = usize::try_from(offset).unwrap();
        bytes.resize(bytes.len().max(offset + more.len()), 0);
        bytes[offset..offset + more.len()].copy_from_slice(more);
    };
    for call in calls {
        match call {
            Call::CreateDir(path) => directories.push(path.clone()),
            Call::Create(path) => {
                inodes.push(Inode::default());
                names.insert(path.clone(), inodes.len() - 1);
            }
            Call::Write(path, offset, bytes) => {
                let inode = &mut inodes[names[path]];
                write(&mut inode.now, *offset, bytes);
                if cut == Cut::TearData {
                    // Nothing is durable yet, but half of it may be there.
                    let mut half = inode.durable.clone();
                    write(&mut half, *offset, &bytes[..bytes.len() / 2]);
                    inode.durable = half;
                }
            }
            Call::SetLen(path, length) => {
                let length = usize::try_from(*length).unwrap();
                inodes[names[path]].now.truncate(length);
            }
            Call::Sync(path) => {
                let inode = &mut inodes[names[path]];
                inode.durable = inode.now.clone();
            }
            Call::Rename(old, new) => {
                let inode = names.remove(old).unwrap();
                names.insert(new.clone(), inode);
            }
            Call::Remove(path) => {
                names.remove(path);
            }
            Call::SyncAll => {
                for inode in &mut inodes {
                    inode.durable = inode.now.clone();
                }
                durable_names.clone_from(&names);
            }
            Call::SyncDir(path) => {
                durable_names.retain(|name, _| name.parent() != Some(path));
                durable_names.extend(
                    names
                        .iter()
                        .filter(|(name, _)| name.parent() == Some(path))
                        .map(|(a, b)| (a.clone(), *b)),
                );
            }
        }
    }
    let left = if cut == Cut::DropAll { &durable_names } else { &names };
    for directory in directories {
        fs::create_dir_all(to.join(directory.strip_prefix(from).unwrap())).unwrap();
    }
    for (name, inode) in left {
        let bytes = if cut == Cut::KeepAll { &inodes[*inode].now } else { &inodes[*inode].durable };
        fs::write(to.join(name.strip_prefix(from).unwrap()), bytes).unwrap();
    }
}

#[test]
fn a_power_cut_after_any_call_loses_nothing_that_was_acknowledged() {
    let temp = temp();
    let from = temp.path().join("state");
    let disk = Recorder::default();
    // (calls made when it was acknowledged, what was acknowledged)
    let mut acknowledged: Vec<(usize, String)> = Vec::new();
    let mut stored: Vec<(usize, Cid)> = Vec::new();
    {
        let mut writer = JournalWriter::open_on(&state_dir(&from), &CLOCK, Box::new(disk.clone())).unwrap();
        for round in 0..3 {
            let cid = writer.store(format!("object {round}").as_bytes()).unwrap();
            stored.push((disk.calls().len(), cid));
            let many: Vec<String> = (0..6).map(|item| format!("one of many {round} {item}")).collect();
            let many: Vec<&[u8]> = many.iter().map(String::as_bytes).collect();
            let cids = writer.store_all(&many).unwrap();
            assert_eq!(cids, many.iter().map(|bytes| Cid::of(bytes)).collect::<Vec<_>>());
            stored.extend(cids.into_iter().map(|cid| (disk.calls().len(), cid)));
            let cause = format!("single {round}");
            writer.append("cycle", &cycle(&cause)).unwrap();
            acknowledged.push((disk.calls().len(), cause));
            let group: Vec<String> = (0..3).map(|item| format!("group {round} {item}")).collect();
            writer
                .append_all(&group.iter().map(|cause| ("cycle", cycle(cause))).collect::<Vec<_>>())
                .unwrap();
            acknowledged.extend(group.into_iter().map(|cause| (disk.calls().len(), cause)));
        }
    }
    let calls = disk.calls();
    let mut cuts = 0;
    for at in 0..=calls.len() {
        for cut in [Cut::DropAll, Cut::DropData, Cut::TearData, Cut::KeepAll] {
            let to = temp.path().join(format!("cut-{at}-{cut:?}"));
            replay(&calls[..at], cut, &from, &to);
            let directory = state_dir(&to);
            let expect: Vec<&String> =
                acknowledged.iter().filter(|(when, _)| *when <= at).map(|(_, cause)| cause).collect();
            {
                let mut writer = JournalWriter::open(&directory, &CLOCK).unwrap_or_else(|error| {
                    panic!("after call {at}, {:?}, with {cut:?}: {error:?}", calls[..at].last())
                });
                for (_, cid) in stored.iter().filter(|(when, _)| *when <= at) {
                    assert!(
                        writer.load(cid).unwrap().is_some(),
                        "an object is lost after call {at} with {cut:?}"
                    );
                }
                writer.append("cycle", &cycle("after")).unwrap();
            }
            let mut found = causes(&directory);
            assert_eq!(found.pop().as_deref(), Some("after"));
            assert!(
                found.len() >= expect.len()
                    && found.iter().zip(&expect).all(|(found, expect)| found == *expect),
                "after call {at} with {cut:?}: {found:?} against {expect:?}"
            );
            fs::remove_dir_all(&to).unwrap();
            cuts += 1;
        }
    }
    assert!(cuts > 200, "only {cuts} cuts were tried");
}

#[test]
fn what_the_journal_names_already_is_stored_again_without_a_sync() {
    let temp = temp();
    let directory = state_dir(&temp.path().join("state"));
    let disk = Recorder::default();
    {
        let mut writer = JournalWriter::open_on(&directory, &CLOCK, Box::new(disk.clone())).unwrap();
        let upgrades = writer.store(b"upgrades").unwrap();
        writer.append("upstreams", &Event::DetectFinished { upgrades }).unwrap();
    }
    let before = disk.calls().len();
    {
        let mut writer = JournalWriter::open_on(&directory, &CLOCK, Box::new(disk.clone())).unwrap();
        assert_eq!(disk.calls().len(), before, "opening an untouched journal changes nothing");
        let first = writer.store(b"upgrades").unwrap();
        writer.append("cycle", &cycle("warm")).unwrap();
        assert_eq!(writer.store(b"upgrades").unwrap(), first);
    }
    let syncs: Vec<Call> = disk.calls().split_off(before);
    let syncs: Vec<&Call> =
        syncs.iter().filter(|call| matches!(call, Call::Sync(_) | Call::SyncDir(_))).collect();
    assert!(matches!(syncs.as_slice(), [Call::Sync(path)] if *path == directory.journal()), "{syncs:?}");
}

// ---- a disk that fails one call ----

/// What happened to one attempt on a faulty disk.
struct Attempt {
    acknowledged: Vec<String>,
    error: Option<PortError>,
    failed_call: Option<&'static str>,
    /// What a second append in the same process said after the first failed.
    again: Option<Result<(), PortError>>,
}

fn attempt(directory: &StateDir, at: usize, fault: Fault) -> Attempt {
    let disk = Faulty::at(at, fault);
    let mut attempt = Attempt { acknowledged: Vec::new(), error: None, failed_call: None, again: None };
    match JournalWriter::open_on(directory, &CLOCK, Box::new(disk.clone())) {
        Err(error) => attempt.error = Some(error),
        Ok(mut writer) => {
            for cause in ["one", "two"] {
                let many: Vec<String> = (0..5).map(|item| format!("{cause} {item}")).collect();
                let many: Vec<&[u8]> = many.iter().map(String::as_bytes).collect();
                let done = writer
                    .store(cause.as_bytes())
                    .and_then(|_| writer.store_all(&many))
                    .and_then(|_| writer.append("cycle", &cycle(cause)));
                match done {
                    Ok(_) => attempt.acknowledged.push(cause.to_owned()),
                    Err(error) => {
                        attempt.again = Some(writer.append("cycle", &cycle("again")).map(|_| ()));
                        if attempt.again.as_ref().is_some_and(Result::is_ok) {
                            attempt.acknowledged.push("again".to_owned());
                        }
                        attempt.error = Some(error);
                        break;
                    }
                }
            }
        }
    }
    attempt.failed_call = disk.failed();
    attempt
}

#[test]
fn every_failing_call_is_survived_and_a_failed_sync_is_never_repeated() {
    let faults = [
        Fault::Fails(rustix::io::Errno::IO),
        Fault::Fails(rustix::io::Errno::NOSPC),
        Fault::Short,
        Fault::FailsButPersists,
    ];
    for fault in faults {
        let mut at = 0;
        loop {
            let temp = temp();
            let directory = state_dir(&temp.path().join("state"));
            let attempt = attempt(&directory, at, fault);
            let Some(call) = attempt.failed_call else { break };
            let place = format!("{fault:?} at call {at} ({call})");
            let no_space = matches!(fault, Fault::Fails(rustix::io::Errno::NOSPC) | Fault::Short);
            if let Some(error) = &attempt.error {
                if no_space && !call.starts_with("sync") {
                    assert_eq!(error.kind, FailureKind::Temporary, "{place}: {error:?}");
                }
                if call.starts_with("sync")
                    && let Some(again) = &attempt.again
                {
                    let again = again.as_ref().expect_err(&place);
                    assert!(again.fatal, "{place}: {again:?}");
                }
            }
            // The next process: everything acknowledged is there, and writing goes on.
            {
                let mut writer = JournalWriter::open(&directory, &CLOCK)
                    .unwrap_or_else(|error| panic!("{place}: {error:?}"));
                writer.append("cycle", &cycle("next")).unwrap_or_else(|error| panic!("{place}: {error:?}"));
            }
            let found = causes(&directory);
            let mut expect = attempt.acknowledged.iter();
            let mut wanted = expect.next();
            for cause in &found {
                if Some(cause) == wanted {
                    wanted = expect.next();
                }
            }
            assert_eq!(wanted, None, "{place}: {found:?} lacks what was acknowledged");
            assert_eq!(found.last().map(String::as_str), Some("next"), "{place}");
            let torn = types(&directory).iter().any(|kind| kind == "journal.recovered");
            assert!(!(torn && no_space), "{place}: a full disk left a torn tail");
            at += 1;
        }
        assert!(at > 20, "{fault:?} met only {at} calls");
    }
}

#[test]
fn a_torn_tail_is_put_aside_and_journalled() {
    let temp = temp();
    let directory = state_dir(&temp.path().join("state"));
    JournalWriter::open(&directory, &CLOCK).unwrap().append("cycle", &cycle("one")).unwrap();
    let torn = b"{\"body\":{\"cause\":\"tw";
    let mut file = fs::OpenOptions::new().append(true).open(directory.journal()).unwrap();
    file.write_all(torn).unwrap();
    assert_eq!(JournalReader::open(&directory).unwrap().torn(), 20, "reading reports it and changes nothing");
    {
        let writer = JournalWriter::open(&directory, &CLOCK).unwrap();
        assert_eq!(writer.load(&Cid::of(torn)).unwrap().as_deref(), Some(torn.as_slice()));
    }
    assert_eq!(types(&directory), ["journal.opened", "cycle.started", "journal.recovered"]);
    let reader = JournalReader::open(&directory).unwrap();
    let body = reader.entry(2).unwrap().unwrap().body;
    assert_eq!(body["length"], 20);
    assert_eq!(body["bytes"], Cid::of(torn).to_string());
    // Once only.
    drop(JournalWriter::open(&directory, &CLOCK).unwrap());
    assert_eq!(types(&directory).len(), 3);
}

#[test]
fn a_crash_while_a_torn_tail_is_put_aside_still_journals_it_once() {
    let temp = temp();
    let from = temp.path().join("state");
    JournalWriter::open(&state_dir(&from), &CLOCK).unwrap().append("cycle", &cycle("one")).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(state_dir(&from).journal()).unwrap();
    file.write_all(b"torn").unwrap();
    for at in 0..40 {
        let to = temp.path().join(format!("try-{at}"));
        let copied = Command::new("cp").arg("-a").arg(&from).arg(&to).status().unwrap();
        assert!(copied.success());
        let directory = state_dir(&to);
        let disk = Faulty::at(at, Fault::Fails(rustix::io::Errno::IO));
        drop(JournalWriter::open_on(&directory, &CLOCK, Box::new(disk.clone())));
        drop(JournalWriter::open(&directory, &CLOCK).unwrap());
        let recovered = types(&directory).iter().filter(|kind| *kind == "journal.recovered").count();
        assert_eq!(recovered, 1, "failed call {at}: {:?}", disk.failed());
        if disk.failed().is_none() {
            assert!(at > 5);
            return;
        }
    }
    panic!("the fault was met every time");
}

// ---- other processes ----

/// Set for the process that this test starts again; holds the state directory.
const CHILD: &str = "LAMBDA_OS_TEST_JOURNAL_CHILD";

/// Not a test of its own: what the processes below run. Without the variable it does nothing.
#[test]
fn child_appends_until_it_is_killed_or_done() {
    let Some(root) = std::env::var_os(CHILD) else { return };
    let count: u64 = std::env::var("LAMBDA_OS_TEST_COUNT").unwrap().parse().unwrap();
    let mut writer = JournalWriter::open(&state_dir(Path::new(&root)), &CLOCK).unwrap();
    let me = std::process::id();
    for number in 0..count {
        let cause = format!("{me}-{number}");
        writer.append("cycle", &cycle(&cause)).unwrap();
        // Said only after it was acknowledged.
        println!("ACK {cause}");
    }
}

fn child(root: &Path, count: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child_appends_until_it_is_killed_or_done", "--nocapture"])
        .env(CHILD, root)
        .env("LAMBDA_OS_TEST_COUNT", count.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

fn acknowledged(stdout: &[u8]) -> Vec<String> {
    let said = String::from_utf8_lossy(stdout);
    // A line that the kill cut is no promise.
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    whole.lines().filter_map(|line| line.split("ACK ").nth(1)).map(str::to_owned).collect()
}

#[test]
fn killed_at_any_moment_a_writer_loses_and_doubles_nothing() {
    let temp = temp();
    let root = temp.path().join("state");
    let mut promised: Vec<String> = Vec::new();
    for round in 0..25_u64 {
        let mut running = child(&root, 100_000).spawn().unwrap();
        let mut stdout = running.stdout.take().unwrap();
        // Kill after so many acknowledgements: a moment in the middle of the next append.
        let mut said = Vec::new();
        let mut piece = [0; 64];
        while acknowledged(&said).len() < usize::try_from(round % 7).unwrap() {
            let length = io::Read::read(&mut stdout, &mut piece).unwrap();
            assert!(length > 0, "the writer ended by itself: {}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&piece[..length]);
        }
        let spin = std::time::Instant::now();
        while spin.elapsed() < std::time::Duration::from_micros(round * 137 % 3000) {}
        running.kill().unwrap();
        running.wait().unwrap();
        io::Read::read_to_end(&mut stdout, &mut said).unwrap();
        promised.extend(acknowledged(&said));
    }
    let directory = state_dir(&root);
    drop(JournalWriter::open(&directory, &CLOCK).unwrap());
    let found = causes(&directory);
    assert!(promised.len() > 50);
    for cause in &promised {
        assert_eq!(found.iter().filter(|found| *found == cause).count(), 1, "{cause}");
    }
    let left: Vec<_> = fs::read_dir(directory.root())
        .unwrap()
        .chain(fs::read_dir(directory.cache()).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".tmp"))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "temporary files of dead processes are swept");
}

#[test]
fn several_writers_at_once_lose_and_double_no_sequence() {
    let temp = temp();
    let root = temp.path().join("state");
    let running: Vec<_> = (0..4).map(|_| child(&root, 40).spawn().unwrap()).collect();
    let mut promised = Vec::new();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        promised.extend(acknowledged(&output.stdout));
    }
    assert_eq!(promised.len(), 160);
    let mut found = causes(&state_dir(&root));
    found.sort();
    promised.sort();
    assert_eq!(found, promised);
}

#[test]
fn a_writer_notices_when_the_journal_is_cut_or_replaced_under_it() {
    let temp = temp();
    let directory = state_dir(&temp.path().join("state"));
    let mut writer = JournalWriter::open(&directory, &CLOCK).unwrap();
    writer.append("cycle", &cycle("one")).unwrap();
    writer.append("cycle", &cycle("two")).unwrap();
    let whole = fs::read(directory.journal()).unwrap();
    let file = fs::OpenOptions::new().write(true).open(directory.journal()).unwrap();

    let place = u64::try_from(whole.len() - 5).unwrap();
    file.write_all_at(b"x", place).unwrap();
    assert_eq!(writer.append("cycle", &cycle("three")).unwrap_err().kind, FailureKind::Integrity);
    file.write_all_at(&whole[whole.len() - 5..], place).unwrap();
    writer.append("cycle", &cycle("three")).unwrap();

    let whole = fs::read(directory.journal()).unwrap();
    file.set_len(10).unwrap();
    assert_eq!(writer.append("cycle", &cycle("four")).unwrap_err().kind, FailureKind::Integrity);
    fs::remove_file(directory.journal()).unwrap();
    fs::write(directory.journal(), &whole).unwrap();
    assert_eq!(writer.append("cycle", &cycle("four")).unwrap_err().kind, FailureKind::Integrity);
}
