//! The journal: durable appends, grouped appends, opening, and verifying a million entries, each
//! beside what the machine could do at best in the same run.
//!
//! `cargo bench --bench journal [ENTRIES]`

use std::fs;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::journal::{JournalReader, JournalWriter};
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::domain::event::Event;
use lambda_os::domain::id::{Cid, ModuleName, ObjectId};
use lambda_os::ports::Journal as _;
use sha2::{Digest as _, Sha256};

fn event(number: u64) -> Event {
    let mut id = [7; 20];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Event::UpstreamMoved {
        module: ModuleName::new(&format!("logos-module-{}", number % 55)),
        branch: "master".to_owned(),
        from: ObjectId::from_bytes(&[7; 20]),
        to: ObjectId::from_bytes(&id).expect("20 bytes are an id"),
        rewritten: false,
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// `VmHWM` of this process, KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0)
}

fn durable_appends(root: &Path) {
    let state =
        StateDir::resolve_with(Some(&root.join("durable")), None, None, root).expect("a state directory");
    let mut writer = JournalWriter::open(&state, &SystemClock).expect("a journal");
    let mut ours = Vec::new();
    let mut raw = Vec::new();
    let file = fs::File::create(root.join("raw")).expect("a file");
    for number in 0..300 {
        let begun = Instant::now();
        writer.append("module", &event(number)).expect("an append");
        ours.push(begun.elapsed());
        let line = [b'x'; 512];
        let begun = Instant::now();
        (&file).write_all(&line).expect("a write");
        file.sync_data().expect("a sync");
        raw.push(begun.elapsed());
    }
    let (ours, raw) = (median(ours), median(raw));
    println!(
        "append, durable: {ours:?} a piece; bound (write + fdatasync of as many bytes): {raw:?}; ratio {:.2}",
        ratio(ours, raw)
    );
}

fn ratio(ours: Duration, bound: Duration) -> f64 {
    ours.as_secs_f64() / bound.as_secs_f64()
}

fn main() {
    let entries: u64 =
        std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let temp = tempfile::Builder::new().prefix("lambda-os-bench-").tempdir().expect("a directory");
    durable_appends(temp.path());

    let state = StateDir::resolve_with(Some(&temp.path().join("many")), None, None, temp.path())
        .expect("a state directory");
    let mut writer = JournalWriter::open(&state, &SystemClock).expect("a journal");
    let mut done = 0;
    let begun = Instant::now();
    while done < entries {
        let group: Vec<_> =
            (done..entries.min(done + 1000)).map(|number| ("module", event(number))).collect();
        done += u64::try_from(group.len()).expect("a length fits");
        writer.append_all(&group).expect("a group");
    }
    let elapsed = begun.elapsed();
    drop(writer);
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = entries as f64 / elapsed.as_secs_f64();
    println!("append, groups of 1000: {rate:.0} entries/s");

    let size = fs::metadata(state.journal()).expect("a journal").len();
    let begun = Instant::now();
    drop(JournalWriter::open(&state, &SystemClock).expect("a journal"));
    println!("open for writing, unchanged since: {:?}", begun.elapsed());

    let mut times = Vec::new();
    let mut bounds = Vec::new();
    let before = peak_kib();
    for _ in 0..3 {
        let begun = Instant::now();
        let reader = JournalReader::open_unverified(&state).expect("a reader");
        let verified = reader.verify(&[]).expect("it is read").outcome.expect("it is linked");
        assert_eq!(verified.entries, entries + 1);
        times.push(begun.elapsed());

        let begun = Instant::now();
        let mut file = fs::File::open(state.journal()).expect("a journal");
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 17];
        loop {
            let length = file.read(&mut buffer).expect("it is read");
            if length == 0 {
                break;
            }
            hash.update(&buffer[..length]);
        }
        black_box(hash.finalize());
        bounds.push(begun.elapsed());
    }
    let (ours, bound) = (median(times), median(bounds));
    println!(
        "verify {entries} entries, {size} bytes: {ours:?}; bound (SHA-256 of the same bytes): {bound:?}; ratio {:.2}; peak memory {} KiB, {} KiB more than before",
        ratio(ours, bound),
        peak_kib(),
        peak_kib() - before
    );
    let begun = Instant::now();
    let block = vec![1; 65_536];
    for _ in 0..2000 {
        black_box(Cid::of(&block));
    }
    println!("SHA-256 of 128 MiB in memory: {:?}", begun.elapsed());
}
