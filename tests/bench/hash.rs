//! `lock hash` from the object database: megabytes a second over packed sources of several
//! shapes, and the time for a module of 100 files, warm. `cargo bench --bench hash`.
#![expect(clippy::disallowed_methods, reason = "a benchmark makes its repositories with the real git")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lambda_os::adapters::git::nar::Fetched;
use lambda_os::adapters::git::nar_cache::NarCache;
use lambda_os::adapters::git::sources::SourceRepository;

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

fn main() {
    let temp = tempfile::tempdir().expect("made");
    println!("{:44} {:>10} {:>10}", "what", "median", "MB/s");
    for (name, files, bytes, attributes) in [
        ("100 files of 8 KB", 100, 8 << 10, ""),
        ("100 files of 8 KB, with attributes", 100, 8 << 10, "*.md export-ignore\n*.txt text eol=crlf\n"),
        ("2,000 files of 20 KB", 2_000, 20 << 10, ""),
        ("4 files of 16 MB", 4, 16 << 20, ""),
    ] {
        let at = temp.path().join(name);
        repository(&at, files, bytes, attributes);
        for fetched in [Fetched::Tarball, Fetched::Git] {
            let time = median(9, || {
                let repository = SourceRepository::open(&at).expect("opened");
                let commit = repository.commit("main").expect("found");
                let facts = repository.facts(commit, fetched, &NarCache::default()).expect("hashed");
                black_box(facts);
            });
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = (files * bytes) as f64 / 1e6 / time.as_secs_f64();
            println!(
                "{:44} {:>8.2}ms {rate:>10.0}",
                format!("{name}, {fetched:?}"),
                time.as_secs_f64() * 1e3
            );
        }
    }
}
