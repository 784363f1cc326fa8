//! `lock hash` from the object database: megabytes a second over packed sources of several
//! shapes, and the time for a module of 100 files; from its blobs and from the cache of hashes by
//! tree; in this process and by the program.
//!
//! Beside each: `git archive` of the same commit with SHA-256 over its output, which reads and
//! hashes the same bytes, and with `LAMBDA_OS_NIX` (`tests/nix.sh`) `nix hash path` of the files
//! already unpacked. `LAMBDA_OS_REPOSITORY` adds the HEAD of a real one. `cargo bench --bench hash`.
#![expect(clippy::disallowed_methods, reason = "a benchmark makes its repositories with the real git")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lambda_os::adapters::git::nar::Fetched;
use lambda_os::adapters::git::nar_cache::NarCache;
use lambda_os::adapters::git::sources::SourceRepository;
use sha2::{Digest as _, Sha256};

/// One packed commit of `files` files of `bytes` bytes of text each.
fn repository(at: &Path, files: usize, bytes: usize, attributes: &str) {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", at);
        command.args(["-c", "init.defaultBranch=main"]).args(args).current_dir(at);
        command
    };
    std::fs::create_dir_all(at).expect("made");
    assert!(git(&["init", "-q", "--bare", "."]).status().expect("git starts").success());
    let mut stream =
        "commit refs/heads/main\ncommitter C <c@example.org> 1790000000 +0000\ndata 1\nx\n".to_owned();
    let mut state = 1_u64;
    for file in 0..files {
        let mut content = String::new();
        while content.len() < bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let _ = writeln!(content, "let value_{} = compute({state:x}, other);", state >> 54);
        }
        content.truncate(bytes);
        let _ = write!(stream, "M 644 inline d{}/f{file}.rs\ndata {}\n{content}\n", file % 10, content.len());
    }
    let _ = write!(stream, "M 644 inline .gitattributes\ndata {}\n{attributes}\n", attributes.len());
    let mut import = git(&["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().expect("git starts");
    import.stdin.take().expect("piped").write_all(stream.as_bytes()).expect("written");
    assert!(import.wait().expect("waited").success());
    assert!(git(&["repack", "-adq"]).status().expect("git starts").success());
}

fn median(runs: usize, mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[runs / 2]
}

/// What git alone takes: an archive, and its SHA-256.
fn archived(at: &Path) {
    let mut git = Command::new("git");
    git.args(["archive", "--format=tar", "HEAD"]).current_dir(at).stdout(Stdio::piped());
    let mut git = git.spawn().expect("git starts");
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut out = git.stdout.take().expect("piped");
    loop {
        let read = out.read(&mut buffer).expect("read");
        if read == 0 {
            break;
        }
        digest.update(&buffer[..read]);
    }
    black_box(digest.finalize());
    assert!(git.wait().expect("waited").success());
}

/// The program, or Nix: it answers.
fn run(program: impl AsRef<std::ffi::OsStr>, home: &Path, args: &[&str]) -> String {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("NIX_CONFIG", "experimental-features = nix-command").args(args);
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it is text")
}

fn row(what: &str, bytes: u64, time: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = bytes as f64 / 1e6 / time.as_secs_f64();
    println!("{what:64} {:>8.2}ms {rate:>8.0}", time.as_secs_f64() * 1e3);
}

/// Every way to the hash of one repository's HEAD.
fn measure(name: &str, at: &Path, home: &Path) {
    let files = home.join("unpacked");
    std::fs::create_dir_all(&files).expect("made");
    let tar = format!("git -C '{}' archive HEAD | tar -x -C '{}'", at.display(), files.display());
    assert!(Command::new("sh").args(["-c", &tar]).status().expect("it starts").success());
    let bytes = size(&files);
    let runs = if bytes > 8 << 20 { 5 } else { 21 };
    let mut hash = String::new();
    for fetched in [Fetched::Tarball, Fetched::Git] {
        let time = median(runs, || {
            let repository = SourceRepository::open(at).expect("opened");
            let commit = repository.commit("HEAD").expect("found");
            let facts = repository.facts(commit, fetched, &NarCache::default()).expect("hashed");
            if fetched == Fetched::Tarball {
                hash = facts.nar_hash.to_string();
            }
        });
        row(&format!("{name}, as by {fetched:?}"), bytes, time);
    }
    let git_dir = at.display().to_string();
    let time = median(runs, || {
        run(env!("CARGO_BIN_EXE_lambda-os"), home, &["lock", "hash", &git_dir, "HEAD"]);
    });
    row(&format!("{name}, the program"), bytes, time);
    let known = NarCache::default();
    let warm = || {
        let repository = SourceRepository::open(at).expect("opened");
        let commit = repository.commit("HEAD").expect("found");
        repository.facts(commit, Fetched::Tarball, &known).expect("hashed");
    };
    warm();
    row(&format!("{name}, known by its tree"), bytes, median(runs, warm));
    let state = home.join("state").display().to_string();
    let warm = || {
        run(
            env!("CARGO_BIN_EXE_lambda-os"),
            home,
            &["--state-dir", &state, "lock", "hash", &git_dir, "HEAD"],
        );
    };
    warm();
    row(&format!("{name}, known by its tree, the program"), bytes, median(runs, warm));
    row(&format!("{name}, git archive and SHA-256"), bytes, median(runs, || archived(at)));
    if let Some(nix) = std::env::var_os("LAMBDA_OS_NIX") {
        let files = files.display().to_string();
        let mut theirs = String::new();
        let time = median(runs, || theirs = run(&nix, home, &["hash", "path", &files]));
        assert_eq!(theirs.trim(), hash, "Nix has another hash");
        row(&format!("{name}, nix hash path of its files"), bytes, time);
    }
}

/// The bytes of all files.
fn size(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("listed");
    let of = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("listed");
        let meta = entry.path().symlink_metadata().expect("there");
        if meta.is_dir() { size(&entry.path()) } else { meta.len() }
    };
    entries.map(of).sum()
}

fn main() {
    println!("{:64} {:>10} {:>8}", "what", "median", "MB/s");
    for (name, files, bytes, attributes) in [
        ("100 files of 8 KB", 100, 8 << 10, ""),
        ("100 files of 8 KB, attributes", 100, 8 << 10, "*.md export-ignore\n*.txt text eol=crlf\n"),
        ("2,000 files of 20 KB, deltas", 2_000, 20 << 10, ""),
        ("4 files of 16 MB", 4, 16 << 20, ""),
    ] {
        let temp = tempfile::tempdir().expect("made");
        let at = temp.path().join("repository");
        repository(&at, files, bytes, attributes);
        measure(name, &at, temp.path());
    }
    if let Some(real) = std::env::var_os("LAMBDA_OS_REPOSITORY") {
        let temp = tempfile::tempdir().expect("made");
        measure("LAMBDA_OS_REPOSITORY", Path::new(&real), temp.path());
    }
}
