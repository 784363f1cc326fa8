//! The real Nix, offline, with settings composed here and evaluation caches of its own.
//!
//! The store is the machine's: Nix cannot build in another one without namespaces, and content
//! that is named by its hash disturbs nobody.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lambda_os::domain::flake::nar;
use lambda_os::sample::Sample;

use super::{environment, said};

const SETTINGS: &str = "experimental-features = nix-command flakes
substituters =
build-users-group =
sandbox = false
download-attempts = 1
connect-timeout = 1
flake-registry =
";

/// Runs Nix with `HOME` in a directory of the test.
pub struct Nix {
    home: PathBuf,
    program: PathBuf,
}

/// The current Nix that `tests/nix.sh` has set up: `$LAMBDA_OS_NIX`, else where it puts it.
/// Without one it is said that `what` is not compared.
pub fn current(what: &str) -> Option<PathBuf> {
    let named = std::env::var_os("LAMBDA_OS_NIX").map(PathBuf::from);
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/nix/current/bin/nix");
    let found = named.into_iter().chain([usual]).find(|program| program.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: {what}: no current Nix; eval \"$(tests/nix.sh)\" sets one up");
    }
    found
}

/// Debian's Nix: `$LAMBDA_OS_NIX_OLD`, else the `nix` of the machine where that is a 2.8.
pub fn old(what: &str) -> Option<PathBuf> {
    let named = std::env::var_os("LAMBDA_OS_NIX_OLD").map(PathBuf::from);
    let found = named.into_iter().chain([PathBuf::from("/usr/bin/nix")]).find(|program| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|version| version.stdout.starts_with(b"nix (Nix) 2.8"))
    });
    if found.is_none() {
        eprintln!("SKIPPED: {what}: no Nix 2.8");
    }
    found
}

impl Nix {
    /// Under `dir`.
    pub fn new(dir: &Path) -> Self {
        Self::at(Path::new("nix"), dir)
    }

    /// This very program, under `dir`.
    pub fn at(program: &Path, dir: &Path) -> Self {
        let home = dir.join("nix-home");
        std::fs::create_dir_all(&home).expect("a directory is made");
        Self { home, program: program.to_owned() }
    }

    /// Run it, whatever it says.
    pub fn run(&self, args: &[&str]) -> Output {
        self.output(&self.program, args)
    }

    /// Another of Nix's programs.
    pub fn program(&self, program: &str, args: &[&str]) -> Output {
        self.output(Path::new(program), args)
    }

    fn output(&self, program: &Path, args: &[&str]) -> Output {
        self.command(program).args(args).output().expect("it starts")
    }

    /// Type lines into `nix repl`; what it says to each, errors included.
    pub fn repl(&self, lines: &[String]) -> Vec<String> {
        use std::io::Write as _;
        let mut command = self.command(&self.program);
        command.args(["repl", "--quiet", "--show-trace"]).env("TERM", "dumb");
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        // Errors must stay between the answers.
        let script = lines.iter().enumerate().fold(String::new(), |mut script, (at, line)| {
            let _ = std::fmt::Write::write_fmt(&mut script, format_args!("\"@@{at}@@\"\n{line}\n"));
            script
        });
        let out = self.home.join("repl.out");
        let file = std::fs::File::create(&out).expect("made");
        command.stderr(file.try_clone().expect("a descriptor")).stdout(file);
        let mut running = command.spawn().expect("it starts");
        let mut stdin = running.stdin.take().expect("piped");
        stdin.write_all(script.as_bytes()).expect("it reads");
        drop(stdin);
        running.wait().expect("waited");
        let said = uncoloured(&String::from_utf8_lossy(&std::fs::read(out).expect("read")));
        let mut answers = vec![String::new(); lines.len()];
        let mut rest = said.as_str();
        for (at, answer) in answers.iter_mut().enumerate() {
            // The echo of what was typed does not stand at the start of a line.
            let mark = format!("\n\"@@{at}@@\"\n");
            let start = rest.find(&mark).unwrap_or_else(|| panic!("no answer {at} in\n{rest}")) + mark.len();
            rest = &rest[start..];
            let end = rest.find(&format!("\n\"@@{}@@\"\n", at + 1)).unwrap_or(rest.len());
            rest[..end].clone_into(answer);
        }
        answers
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(environment(&self.home)).env("NIX_CONFIG", SETTINGS).env("USER", "root");
        // A name that never resolves: nothing may be fetched.
        command.env("https_proxy", "http://127.0.0.1:9").env("http_proxy", "http://127.0.0.1:9");
        command.current_dir(&self.home);
        command
    }

    /// Run it; it must succeed. Gives its standard output.
    pub fn must(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "nix {args:?}\n{}", said(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// `nix hash path`: the SRI hash of a path's NAR.
    pub fn hash(&self, path: &Path) -> String {
        self.must(&["hash", "path", &path.to_string_lossy()]).trim().to_owned()
    }

    /// Add a directory named `source` to the store; gives its store path.
    pub fn add_source(&self, path: &Path) -> String {
        assert!(path.ends_with("source"));
        let output = self.program("nix-store", &["--add", &path.to_string_lossy()]);
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    /// Fail unless the flake's lock is complete and what Nix would write.
    pub fn accepts_lock(&self, flake: &Path) {
        let before = std::fs::read(flake.join("flake.lock")).expect("a lock is read");
        let flake_ref = format!("path:{}", flake.display());
        self.must(&["flake", "metadata", "--no-update-lock-file", "--json", &flake_ref]);
        self.must(&["flake", "lock", &flake_ref]);
        let after = std::fs::read(flake.join("flake.lock")).expect("a lock is read");
        assert_eq!(
            String::from_utf8_lossy(&before),
            String::from_utf8_lossy(&after),
            "{}: Nix wrote another lock",
            flake.display()
        );
    }

    /// Fail unless the file is an expression that evaluates completely.
    pub fn evaluates(&self, file: &Path) {
        self.must(&["eval", "--json", "-f", &file.to_string_lossy()]);
    }

    /// Build a package of a flake; gives the path of its output.
    pub fn build(&self, flake: &Path, package: &str) -> PathBuf {
        let link = self.home.join(format!("result-{package}"));
        let installable = format!("path:{}#{package}", flake.display());
        self.must(&["build", "--no-update-lock-file", "--out-link", &link.to_string_lossy(), &installable]);
        std::fs::canonicalize(link).expect("the output is there")
    }
}

/// Put every locked source of `lock` into the store under its NAR hash, taken from the
/// upstreams as GitHub would archive it.
pub fn store_sources(nix: &Nix, sample: &Sample, lock: &Path, exports: &Path) {
    let lock: serde_json::Value =
        serde_json::from_slice(&std::fs::read(lock).expect("a lock is read")).expect("a lock is JSON");
    for (key, node) in lock["nodes"].as_object().expect("nodes") {
        let Some(locked) = node.get("locked") else { continue };
        let text =
            |field: &str| locked[field].as_str().unwrap_or_else(|| panic!("{key}: {field}")).to_owned();
        let upstream = sample.upstreams.join(text("owner")).join(text("repo") + ".git");
        let rev = text("rev");
        let time = super::git(&upstream, ["show", "-s", "--format=%ct", &rev]);
        assert_eq!(time.trim(), locked["lastModified"].to_string(), "{key}");
        let expected: nar::NarHash = text("narHash").parse().expect("a hash");
        let export = exports.join(&rev).join("source");
        if !export.exists() {
            std::fs::create_dir_all(&export).expect("a directory is made");
            let tar = exports.join("source.tar");
            super::git(&upstream, ["archive", "--format=tar", "-o", &tar.to_string_lossy(), &rev]);
            super::unpack(&tar, &export);
            assert_eq!(nix.add_source(&export), nar::store_path("source", &expected), "{key} {rev}");
        }
        assert_eq!(nix.hash(&export), expected.to_string(), "{key} {rev}");
    }
}

/// What HEAD of a repository holds, as plain files.
pub fn copy_of_commit(repository: &Path, to: &Path) -> PathBuf {
    std::fs::create_dir_all(to).expect("a directory is made");
    let tar = to.with_extension("tar");
    super::git(repository, ["archive", "--format=tar", "-o", &tar.to_string_lossy(), "HEAD"]);
    super::unpack(&tar, to);
    to.to_path_buf()
}

/// Without the colours that `nix repl` writes whatever it writes to.
fn uncoloured(said: &str) -> String {
    let mut parts = said.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or(part, |(_, rest)| rest))
}
