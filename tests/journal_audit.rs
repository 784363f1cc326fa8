//! The journal through the program: every tampering of a journal, and what the verbs say to it.
#![expect(clippy::disallowed_methods, reason = "tests mount a small disk and become another user")]
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::journal::{JournalReader, JournalWriter};
use lambda_os::adapters::lock::CycleLock;
use lambda_os::adapters::state_dir::{Origin, StateDir};
use lambda_os::domain::audit::chain::Head;
use lambda_os::domain::audit::entry::Entry;
use lambda_os::domain::event::Event;
use lambda_os::domain::id::{Cid, ModuleName};
use lambda_os::ports::{FailureKind, Journal as _};
use serde_json::Value;
use tempfile::TempDir;

mod support;

const CLOCK: SystemClock = SystemClock;

fn state_dir(root: &Path) -> StateDir {
    StateDir::resolve_with(Some(root), None, None, Path::new("/nonexistent")).unwrap()
}

struct Journal {
    temp: TempDir,
    directory: StateDir,
}

impl Journal {
    /// Entries 0 to 6: opened, five holds, one snapshot with an object.
    fn new() -> Self {
        let temp = support::temp_dir();
        let directory = state_dir(&temp.path().join("state"));
        let journal = Self { temp, directory };
        let mut writer = JournalWriter::open(&journal.directory, &CLOCK).unwrap();
        for number in 0..5 {
            let name = format!("module-{number}");
            let event =
                Event::ModuleHeld { module: ModuleName::new(&name), reason: format!("reason {number}") };
            writer.append(&name, &event).unwrap();
        }
        let snapshot = writer.store(b"{\"what\":\"a snapshot\"}").unwrap();
        writer.append("workspace", &Event::SnapshotTaken { snapshot, head: None, modules: 0 }).unwrap();
        drop(writer);
        journal
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.directory.journal()).unwrap().lines().map(str::to_owned).collect()
    }

    fn put(&self, lines: &[String]) {
        fs::write(
            self.directory.journal(),
            lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>(),
        )
        .unwrap();
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = support::lambda_os(self.temp.path());
        command.arg("--state-dir").arg(self.directory.root()).args(args);
        let output = command.output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    fn json(&self, args: &[&str]) -> Value {
        let (code, stdout, stderr) = self.run(args);
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str(&stdout).unwrap()
    }

    fn head(&self) -> Head {
        JournalReader::open(&self.directory).unwrap().head().unwrap()
    }

    /// The journal must be refused, naming entry `seq`, by the verb that looks and by a writer.
    #[track_caller]
    fn assert_broken_at(&self, seq: u64, word: &str) {
        let before = support::Fingerprint::of(self.directory.root());
        let (code, stdout, stderr) = self.run(&["audit", "verify"]);
        assert_eq!((code, stdout.as_str()), (7, ""), "{stderr}");
        assert!(stderr.contains(&format!("first bad seq {seq}")), "{stderr}");
        assert!(stderr.contains(word), "{stderr} lacks {word}");
        let (code, stdout, _) = self.run(&["audit", "verify", "--json"]);
        let said: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(
            (code, &said["linked"], &said["first_bad_seq"]),
            (7, &false.into(), &seq.into()),
            "{said}"
        );
        let error = JournalWriter::open(&self.directory, &CLOCK).unwrap_err();
        assert_eq!(error.kind, FailureKind::Integrity, "{error:?}");
        before.assert_equal(&support::Fingerprint::of(self.directory.root()));
    }
}

#[test]
fn a_whole_journal_is_linked_and_nothing_more_is_claimed() {
    let journal = Journal::new();
    let (code, stdout, stderr) = journal.run(&["audit", "verify"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("linked: 7 entries"), "{stdout}");
    assert!(stdout.contains("not signed, not witnessed"), "{stdout}");
    assert!(stdout.contains(&journal.head().to_string()), "{stdout}");
    assert!(!stdout.contains("tamper"), "{stdout}");
    let said = journal.json(&["audit", "verify", "--json"]);
    assert_eq!(said["schema"], "lambda-os/audit-verify/v1");
    assert_eq!(
        (&said["linked"], &said["signed"], &said["witnessed"]),
        (&true.into(), &false.into(), &false.into())
    );
    assert_eq!((&said["entries"], &said["head"]["seq"]), (&7.into(), &6.into()));
}

#[test]
fn an_edited_entry_is_found() {
    let journal = Journal::new();
    let mut lines = journal.lines();
    lines[3] = lines[3].replace("reason 2", "reason X");
    journal.put(&lines);
    journal.assert_broken_at(3, "was changed");
}

#[test]
fn an_entry_edited_in_place_with_its_times_put_back_is_found_by_the_next_writer() {
    let journal = Journal::new();
    let modified = fs::metadata(journal.directory.journal()).unwrap().modified().unwrap();
    let whole = fs::read_to_string(journal.directory.journal()).unwrap();
    fs::write(journal.directory.journal(), whole.replace("reason 2", "reason X")).unwrap();
    let file = fs::OpenOptions::new().write(true).open(journal.directory.journal()).unwrap();
    file.set_modified(modified).unwrap();
    journal.assert_broken_at(3, "was changed");
}

#[test]
fn an_edited_last_entry_is_found_by_the_head() {
    let journal = Journal::new();
    let mut lines = journal.lines();
    lines[6] = lines[6].replace("workspace", "workshop");
    journal.put(&lines);
    journal.assert_broken_at(6, "was changed");
}

#[test]
fn a_deleted_entry_is_missing() {
    let journal = Journal::new();
    let mut lines = journal.lines();
    lines.remove(2);
    journal.put(&lines);
    journal.assert_broken_at(2, "is missing");
}

#[test]
fn reordered_entries_are_found() {
    let journal = Journal::new();
    let mut lines = journal.lines();
    lines.swap(2, 4);
    journal.put(&lines);
    journal.assert_broken_at(2, "out of order");
}

#[test]
fn a_repeated_entry_is_found() {
    let journal = Journal::new();
    let mut lines = journal.lines();
    lines.insert(4, lines[3].clone());
    journal.put(&lines);
    journal.assert_broken_at(3, "again");
}

#[test]
fn a_cut_or_emptied_or_removed_journal_is_found_by_the_head() {
    let journal = Journal::new();
    let lines = journal.lines();
    journal.put(&lines[..5]);
    journal.assert_broken_at(5, "cut or emptied");
    // In the middle of a line.
    fs::write(journal.directory.journal(), &lines.join("\n")[..lines[0].len() + 20]).unwrap();
    journal.assert_broken_at(1, "cut or emptied");
    journal.put(&[]);
    journal.assert_broken_at(0, "cut or emptied");
    fs::remove_file(journal.directory.journal()).unwrap();
    for args in [["audit", "verify"], ["audit", "log"]] {
        let (code, _, stderr) = journal.run(&args);
        assert_eq!(code, 7, "{stderr}");
    }
    assert_eq!(JournalWriter::open(&journal.directory, &CLOCK).unwrap_err().kind, FailureKind::Integrity);
    assert!(!journal.directory.journal().exists(), "nothing is made in its place");
}

#[test]
fn a_removed_head_is_noticed() {
    let journal = Journal::new();
    fs::remove_file(journal.directory.head()).unwrap();
    let (code, _, stderr) = journal.run(&["audit", "verify"]);
    assert_eq!(code, 7, "{stderr}");
    assert_eq!(JournalWriter::open(&journal.directory, &CLOCK).unwrap_err().kind, FailureKind::Integrity);
}

#[test]
fn a_whole_rewrite_is_linked_and_is_caught_only_by_what_was_kept_elsewhere() {
    let journal = Journal::new();
    let head = journal.head();
    let kept = journal.temp.path().join("kept-head");
    fs::copy(journal.directory.head(), &kept).unwrap();
    let kept = kept.to_str().unwrap().to_owned();
    let (code, stdout, _) =
        journal.run(&["audit", "verify", "--against", &head.to_string(), "--head", &kept]);
    assert_eq!(code, 0);
    assert!(stdout.contains("holds entry 6 as the given checkpoint has it"), "{stdout}");

    let mut before = None;
    let lines: Vec<String> = journal
        .lines()
        .iter()
        .map(|line| {
            let mut entry: Entry = serde_json::from_str(&line.replace("reason 2", "reason X")).unwrap();
            entry.prev = before;
            let line = entry.line().unwrap();
            before = Some(Cid::of(&line));
            String::from_utf8(line).unwrap()
        })
        .collect();
    journal.put(&lines);
    // The head still knows the old one; then the forger thinks of it, too.
    journal.assert_broken_at(6, "was changed");
    fs::write(journal.directory.head(), format!("{{\"cid\":\"{}\",\"seq\":6}}\n", before.unwrap())).unwrap();
    let (code, stdout, _) = journal.run(&["audit", "verify"]);
    assert_eq!(code, 0, "linked is all that a chain alone can say");
    assert!(stdout.contains("not witnessed"));
    for against in [["--against", &head.to_string()], ["--head", &kept]] {
        let (code, _, stderr) = journal.run(&["audit", "verify", against[0], against[1]]);
        assert_eq!(code, 7, "{stderr}");
        assert!(stderr.contains("first bad seq 6"), "{stderr}");
    }
    // And a cut together with the head.
    journal.put(&lines[..4]);
    fs::write(
        journal.directory.head(),
        format!("{{\"cid\":\"{}\",\"seq\":3}}\n", Cid::of(lines[3].as_bytes())),
    )
    .unwrap();
    assert_eq!(journal.run(&["audit", "verify"]).0, 0);
    let (code, _, stderr) = journal.run(&["audit", "verify", "--against", &head.to_string()]);
    assert_eq!(code, 7);
    assert!(stderr.contains("first bad seq 4"), "{stderr}");
}

#[test]
fn damage_that_is_no_entry_any_more_is_found() {
    let journal = Journal::new();
    let good = journal.lines();
    for bad in [
        String::new(),
        "{}".to_owned(),
        "garbage".to_owned(),
        format!("{} ", good[3]),
        good[3].replace(":{", ": {"),
        good[3].replace("\"seq\":3", "\"seq\":3.0"),
        "x".repeat(70_000),
    ] {
        let mut lines = good.clone();
        lines[3] = bad;
        journal.put(&lines);
        journal.assert_broken_at(3, "is damaged");
    }
}

#[test]
fn state_of_a_newer_program_is_refused_and_not_rewritten() {
    let journal = Journal::new();
    let mut lines = journal.lines();
    // A newer minor program appended a type that this one does not know.
    let mut entry: Value = serde_json::from_str(&lines[6]).unwrap();
    entry["type"] = "moon.landed".into();
    entry["seq"] = 7.into();
    entry["prev"] = Cid::of(lines[6].as_bytes()).to_string().into();
    let line = lambda_os::domain::canonical::to_canonical(&entry).unwrap();
    lines.push(String::from_utf8(line.clone()).unwrap());
    journal.put(&lines);
    fs::write(journal.directory.head(), format!("{{\"cid\":\"{}\",\"seq\":7}}\n", Cid::of(&line))).unwrap();
    let before = support::Fingerprint::of(journal.directory.root());
    let said = journal.json(&["audit", "log", "--json"]);
    assert_eq!(said["entries"][7]["type"], "moon.landed");
    assert_eq!(journal.json(&["audit", "verify", "--json"])["not_understood_from"], 7);
    let error = JournalWriter::open(&journal.directory, &CLOCK).unwrap_err();
    assert_eq!(error.kind, FailureKind::Failed);
    assert!(error.attempted.contains("moon.landed"), "{error:?}");
    before.assert_equal(&support::Fingerprint::of(journal.directory.root()));

    // A newer format of lines.
    lines[7] = lines[7].replace("\"v\":1", "\"v\":2");
    journal.put(&lines);
    fs::write(
        journal.directory.head(),
        format!("{{\"cid\":\"{}\",\"seq\":7}}\n", Cid::of(lines[7].as_bytes())),
    )
    .unwrap();
    journal.assert_broken_at(7, "format version 2");

    // A newer layout of the directory.
    fs::write(journal.directory.layout(), "{\"format\":\"lambda-os/state\",\"moons\":[],\"v\":2}\n").unwrap();
    let before = support::Fingerprint::of(journal.directory.root());
    for args in [["audit", "verify"], ["audit", "log"]] {
        let (code, _, stderr) = journal.run(&args);
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("layout version 2") && stderr.contains("hint: use the newer"), "{stderr}");
    }
    assert!(JournalWriter::open(&journal.directory, &CLOCK).is_err());
    assert!(CycleLock::acquire(&journal.directory).is_err());
    before.assert_equal(&support::Fingerprint::of(journal.directory.root()));
}

#[test]
fn log_filters_and_limits() {
    let journal = Journal::new();
    let seqs = |args: &[&str]| -> Vec<u64> {
        let said = journal.json(&[&["audit", "log", "--json"], args].concat());
        assert_eq!(said["schema"], "lambda-os/audit-log/v1");
        said["entries"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(seqs(&[]), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(seqs(&["--limit", "2"]), [5, 6]);
    assert_eq!(seqs(&["--since", "5"]), [5, 6]);
    assert_eq!(seqs(&["--since", "9"]), [0_u64; 0]);
    assert_eq!(seqs(&["--type", "module.held", "--limit", "2"]), [4, 5]);
    assert_eq!(seqs(&["--module", "module-3"]), [4]);
    assert_eq!(seqs(&["--module", "module-3", "--type", "snapshot.taken"]), [0_u64; 0]);
}

#[test]
fn show_gives_the_entry_and_what_it_names() {
    let journal = Journal::new();
    let (code, stdout, _) = journal.run(&["audit", "show", "6"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("snapshot.taken") && stdout.contains("\"what\": \"a snapshot\""), "{stdout}");
    let said = journal.json(&["audit", "show", "6", "--json"]);
    assert_eq!(said["objects"][0]["content"]["what"], "a snapshot");
    assert_eq!(said["entry"]["seq"], 6);
    let (code, _, stderr) = journal.run(&["audit", "show", "7"]);
    assert_eq!(code, 2, "{stderr}");
    // A changed object is not shown as if it were the one.
    let cid = Cid::of(b"{\"what\":\"a snapshot\"}").to_string();
    let object = journal.directory.objects().join(&cid[8..10]).join(&cid);
    fs::write(&object, "{\"what\":\"a lie\"}").unwrap();
    assert_eq!(journal.run(&["audit", "show", "6"]).0, 7);
    assert_eq!(journal.run(&["audit", "export"]).0, 7);
    fs::remove_file(&object).unwrap();
    assert!(journal.run(&["audit", "show", "6"]).1.contains("missing from objects/"));
    assert_eq!(journal.run(&["audit", "export"]).0, 7);
}

#[test]
fn text_from_outside_is_inert_in_every_view() {
    let journal = Journal::new();
    let hostile = "red\u{1b}[31m\u{202e}evil\u{9b}2J\nnew line";
    {
        let mut writer = JournalWriter::open(&journal.directory, &CLOCK).unwrap();
        let event = Event::ModuleHeld { module: ModuleName::new("m"), reason: hostile.to_owned() };
        writer.append(hostile, &event).unwrap();
        let bytes = writer.store(hostile.as_bytes()).unwrap();
        writer.append(hostile, &Event::JournalRecovered { length: 1, bytes }).unwrap();
    }
    for args in [&["audit", "log"][..], &["audit", "show", "7"], &["audit", "show", "8"]] {
        let (code, stdout, _) = journal.run(args);
        assert_eq!(code, 0);
        let active: Vec<char> =
            stdout.chars().filter(|c| *c != '\n' && lambda_os::domain::text::is_active(*c)).collect();
        assert_eq!(active, Vec::<char>::new(), "{stdout:?}");
        assert!(stdout.contains("evil"));
    }
}

#[test]
fn an_export_verifies_anywhere_and_shows_tampering() {
    let journal = Journal::new();
    let out = journal.temp.path().join("bundle.jsonl");
    let out_text = out.to_str().unwrap().to_owned();
    let said = journal.json(&["audit", "export", "--out", &out_text, "--json"]);
    assert_eq!((&said["entries"], &said["objects"]), (&7.into(), &1.into()));
    let elsewhere = support::temp_dir();
    let verify = || {
        let mut command = support::lambda_os(elsewhere.path());
        command.args(["audit", "verify", "--bundle"]).arg(&out).output().unwrap()
    };
    assert!(verify().status.success(), "{}", support::said(&verify()));
    let (code, _, stderr) = journal.run(&["audit", "export", "--out", &out_text]);
    assert_eq!(code, 2, "an existing file is not overwritten: {stderr}");
    let (_, stdout, _) = journal.run(&["audit", "export"]);
    let whole = fs::read_to_string(&out).unwrap();
    assert_eq!(stdout, whole);
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(&lines[1..8], journal.lines().iter().map(String::as_str).collect::<Vec<_>>());
    for (from, to) in [("reason 2", "reason X"), ("\"entries\":7", "\"entries\":6"), ("eyJ", "eyK")] {
        assert!(whole.contains(from));
        fs::write(&out, whole.replace(from, to)).unwrap();
        assert_eq!(verify().status.code(), Some(7), "{from}: {}", support::said(&verify()));
    }
    fs::write(&out, lines[..8].join("\n") + "\n").unwrap();
    assert_eq!(verify().status.code(), Some(7), "an object is missing");
}

#[test]
fn no_verb_that_looks_makes_a_state_directory() {
    let temp = support::temp_dir();
    let root = temp.path().join("state");
    for (args, code) in [(["audit", "log"], 0), (["audit", "verify"], 1), (["audit", "export"], 1)] {
        let mut command = support::lambda_os(temp.path());
        let output = command.arg("--state-dir").arg(&root).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", support::said(&output));
        assert!(!root.exists(), "{args:?} made it");
    }
}

#[test]
fn the_state_directory_is_the_first_that_is_named() {
    let temp = support::temp_dir();
    let common = temp.path().join("git");
    fs::create_dir(&common).unwrap();
    let resolve = |flag: Option<&str>, config: Option<&str>, environment: Option<&str>| {
        let state = StateDir::resolve_with(
            flag.map(Path::new),
            config.map(Path::new),
            environment.map(std::ffi::OsStr::new),
            &common,
        );
        state.map(|state| (state.root().to_owned(), state.origin()))
    };
    let is = |path: &str, origin| (PathBuf::from(path), origin);
    assert_eq!(resolve(Some("/a"), Some("/b"), Some("/c")).unwrap(), is("/a", Origin::Flag));
    assert_eq!(resolve(None, Some("/b"), Some("/c")).unwrap(), is("/b", Origin::Config));
    assert_eq!(resolve(None, None, Some("/c")).unwrap(), is("/c", Origin::Environment));
    assert_eq!(
        resolve(None, None, Some("/x:/v/lambda-os:/y")).unwrap(),
        is("/v/lambda-os", Origin::Environment)
    );
    assert_eq!(resolve(None, None, Some("/x:/y")).unwrap(), is("/x", Origin::Environment));
    let default = (common.join("lambda-os"), Origin::Default);
    assert_eq!(resolve(None, None, None).unwrap(), default);
    assert_eq!(resolve(None, None, Some("")).unwrap(), default);

    // A service leaves a pointer, and the command line follows it.
    let service = temp.path().join("service");
    let owned = StateDir::resolve_with(None, None, Some(service.as_os_str()), &common).unwrap();
    owned.prepare().unwrap();
    assert_eq!(resolve(None, None, None).unwrap(), (service.clone(), Origin::Pointer));
    let mode = fs::metadata(&service).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // A pointer to what is no state directory is refused, not followed and not ignored.
    let pointer = common.join("lambda-os/state-dir");
    for target in ["/etc", "relative", "/nonexistent/state", "/etc\n/tmp"] {
        fs::write(&pointer, format!("{target}\n")).unwrap();
        assert!(resolve(None, None, None).is_err(), "{target}");
    }
}

#[test]
fn a_state_directory_in_the_work_tree_is_refused_however_it_is_named() {
    let temp = support::temp_dir();
    let work = temp.path().join("work");
    fs::create_dir(&work).unwrap();
    support::git(&work, ["init", "--quiet"]);
    std::os::unix::fs::symlink(&work, temp.path().join("link")).unwrap();
    for named in ["../work/state", "./deep/er/state", "../link/state", "."] {
        for verb in [&["init"][..], &["run", "--once"], &["status"], &["outdated"]] {
            let mut command = support::lambda_os(temp.path());
            let output = command.current_dir(&work).args(["--state-dir", named]).args(verb).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{named} {verb:?}: {}", support::said(&output));
            assert!(String::from_utf8_lossy(&output.stderr).contains("it is in the work tree"));
            assert_eq!(support::git(&work, ["status", "--porcelain"]), "", "{named} {verb:?}");
        }
    }
    for named in [".git/mine", "../beside"] {
        let mut command = support::lambda_os(temp.path());
        let output = command.current_dir(&work).args(["--state-dir", named, "init"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{named}: {}", support::said(&output));
    }
}

#[test]
fn a_head_of_another_journal_is_noticed_though_the_cache_knows_the_file() {
    for seq in [6, 3] {
        let journal = Journal::new();
        assert!(journal.directory.cache().join("journal.json").exists(), "the place is kept");
        let other = Head { seq, cid: Cid::of(b"another history") };
        fs::write(journal.directory.head(), format!("{}\n", serde_json::json!(other))).unwrap();
        let refused = [
            JournalReader::open(&journal.directory).map(drop).unwrap_err(),
            JournalWriter::open(&journal.directory, &CLOCK)
                .and_then(|mut writer| {
                    let event = Event::ModuleHeld { module: ModuleName::new("m"), reason: String::new() };
                    writer.append("m", &event)
                })
                .map(drop)
                .unwrap_err(),
        ];
        assert!(refused.iter().all(|error| error.kind == FailureKind::Integrity), "{seq}: {refused:?}");
    }
}

#[test]
fn an_export_into_a_closed_pipe_ends_quietly() {
    let journal = Journal::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lambda-os"))
        .args(["audit", "export", "--state-dir"])
        .arg(journal.directory.root())
        .env_clear()
        .envs(support::environment(journal.temp.path()))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", support::said(&output));
    assert!(output.stderr.is_empty(), "{}", support::said(&output));
}

#[test]
fn the_second_cycle_is_told_who_runs_the_first() {
    let journal = Journal::new();
    fs::write(journal.directory.daemon_lock(), "4194304999 stale words that nobody holds").unwrap();
    assert_eq!(CycleLock::holder(&journal.directory), None, "old content is no lock");
    let held = CycleLock::acquire(&journal.directory).unwrap();
    let error = CycleLock::acquire(&journal.directory).unwrap_err();
    assert_eq!(error.kind, FailureKind::Busy);
    assert!(error.attempted.contains(&format!("process {} ", std::process::id())), "{error:?}");
    assert_eq!(CycleLock::holder(&journal.directory), Some(Some(std::process::id())));
    drop(held);
    assert!(CycleLock::acquire(&journal.directory).is_ok());
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Mounts in a namespace of their own would need another process; a bind of a small tmpfs on a
/// fresh directory disturbs nobody and is taken down by `Drop`.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).status().ok()?;
        status.success().then(|| Self(at.to_owned()))
    }

    fn remount(&self, options: &str) {
        assert!(Command::new("mount").args(["-o", options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_and_resumes_by_itself() {
    let temp = support::temp_dir();
    let place = temp.path().join("small");
    let Some(_mounted) = is_root().then(|| Mounted::tmpfs(&place, "size=256k,nr_inodes=64")).flatten() else {
        eprintln!("SKIPPED: no right to mount a small disk, so a full disk was not tried");
        return;
    };
    let directory = state_dir(&place.join("state"));
    let mut writer = JournalWriter::open(&directory, &CLOCK).unwrap();
    let hold = |number: u64| Event::ModuleHeld { module: ModuleName::new("m"), reason: format!("{number}") };
    writer.append("m", &hold(0)).unwrap();
    let ballast = place.join("ballast");

    // Space: everything but the room in the journal's last page.
    let error = {
        let _ = fs::write(&ballast, vec![0; 1 << 20]);
        let mut number = 1;
        loop {
            match writer.append("m", &hold(number)) {
                Ok(_) => number += 1,
                Err(error) => break error,
            }
        }
    };
    assert_eq!(error.kind, FailureKind::Temporary, "{error:?}");
    assert!(!error.fatal);
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("resumes by itself")));
    assert_eq!(JournalReader::open(&directory).unwrap().torn(), 0, "nothing torn is left");
    let other = JournalWriter::open(&directory, &CLOCK);
    assert!(other.is_ok() || other.is_err_and(|error| error.kind == FailureKind::Temporary));
    fs::remove_file(&ballast).unwrap();
    writer.append("m", &hold(1000)).expect("it resumes by itself");

    // Inodes: an object needs one.
    let mut made = 0;
    while fs::write(place.join(format!("inode-{made}")), "").is_ok() {
        made += 1;
    }
    let error = writer.store(b"a value").unwrap_err();
    assert_eq!(error.kind, FailureKind::Temporary, "{error:?}");
    writer.append("m", &hold(1001)).expect("an entry needs no inode; its head stays behind");
    for number in 0..made {
        fs::remove_file(place.join(format!("inode-{number}"))).unwrap();
    }
    writer.store(b"a value").unwrap();
    drop(writer);
    let audit = JournalReader::open(&directory).unwrap().verify(&[]).unwrap();
    assert!(audit.outcome.is_ok(), "{audit:?}");
    assert!(!types(&directory).contains(&"journal.recovered".to_owned()));
}

fn types(directory: &StateDir) -> Vec<String> {
    let mut types = Vec::new();
    JournalReader::open(directory)
        .unwrap()
        .each_since(0, |record| {
            types.push(record.kind);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    types
}

#[test]
fn a_read_only_state_can_be_read_and_is_not_half_written() {
    let temp = support::temp_dir();
    let place = temp.path().join("disk");
    let Some(mounted) = is_root().then(|| Mounted::tmpfs(&place, "size=4m")).flatten() else {
        eprintln!("SKIPPED: no right to mount, so a read-only state directory was not tried");
        return;
    };
    let directory = state_dir(&place.join("state"));
    drop(JournalWriter::open(&directory, &CLOCK).unwrap());
    mounted.remount("remount,ro");
    let mut command = support::lambda_os(temp.path());
    let output = command.arg("--state-dir").arg(directory.root()).args(["audit", "verify"]).output().unwrap();
    assert!(output.status.success(), "{}", support::said(&output));
    for error in [
        JournalWriter::open(&directory, &CLOCK).unwrap_err(),
        CycleLock::acquire(&directory).unwrap_err(),
        JournalWriter::open(&state_dir(&place.join("new")), &CLOCK).unwrap_err(),
    ] {
        assert_eq!(error.kind, FailureKind::Failed, "{error:?}");
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("cannot be written")), "{error:?}");
    }
}
