//! What the integration tests share: temporary workspaces, the real git, the built binary,
//! fingerprints of whole trees, and canaries.
//!
//! Use it with `mod support;` in a test file. Nothing here reads the user's configuration:
//! every program gets an environment composed here.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]
#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "every test file uses another part")]

pub mod faulty;
pub mod nix;
pub mod odd;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lambda_os::sample::{Sample, SampleSpec};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A temporary directory with a sample workspace in it; removed when dropped.
pub struct Workspace {
    /// Holds everything: `sample/`, `home/`, `state/`, `canaries/`.
    pub temp: TempDir,
    /// The sample.
    pub sample: Sample,
}

impl Workspace {
    /// A workspace as the specification says.
    pub fn new(spec: &SampleSpec) -> Self {
        let temp = temp_dir();
        let sample = spec.build(&temp.path().join("sample")).expect("a sample is made");
        Self { temp, sample }
    }

    /// The superproject.
    pub fn path(&self) -> &Path {
        &self.sample.superproject
    }

    /// A state directory outside the workspace (not created here).
    pub fn state(&self) -> PathBuf {
        self.temp.path().join("state")
    }

    /// `lambda-os` on this workspace with its own state directory, local upstreams allowed.
    pub fn lambda_os(&self) -> assert_cmd::Command {
        let config = self.temp.path().join("config.toml");
        fs::write(&config, "[workspace]\nallow_local_urls = true\n").expect("a configuration is written");
        let mut command = lambda_os(self.temp.path());
        command.arg("-C").arg(self.path()).arg("--state-dir").arg(self.state());
        command.arg("--config").arg(config);
        command
    }
}

/// A fresh directory outside any repository.
pub fn temp_dir() -> TempDir {
    tempfile::Builder::new().prefix("lambda-os-test-").tempdir().expect("a temporary directory is made")
}

/// The built binary with a composed environment; `home` becomes `HOME` and the current directory.
pub fn lambda_os(home: &Path) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_lambda-os"));
    command.env_clear().current_dir(home);
    for (key, value) in environment(home) {
        command.env(key, value);
    }
    command
}

/// The real git in `dir`: no user or system configuration, fixed people and dates, no prompts.
/// Local paths are allowed as submodule URLs.
pub fn git_command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.env_clear().envs(environment(dir)).current_dir(dir);
    command.args(["-c", "protocol.file.allow=always", "-c", "core.quotePath=false"]);
    command
}

/// Run the real git; it must succeed. Gives its standard output.
pub fn git(dir: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    String::from_utf8_lossy(&git_bytes(dir, args)).into_owned()
}

/// As [`git`], the bytes.
pub fn git_bytes(dir: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Vec<u8> {
    let mut command = git_command(dir);
    command.args(args);
    let output = command.output().expect("git starts");
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
    output.stdout
}

/// Both streams of a finished program, for a message.
pub fn said(output: &Output) -> String {
    format!(
        "status {}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The environment of every program that a test starts.
pub fn environment(home: &Path) -> BTreeMap<String, std::ffi::OsString> {
    let mut env: BTreeMap<String, std::ffi::OsString> = [
        ("LC_ALL", "C"),
        ("TZ", "UTC"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_AUTHOR_NAME", "Test"),
        ("GIT_AUTHOR_EMAIL", "test@example.org"),
        ("GIT_AUTHOR_DATE", "1790000000 +0000"),
        ("GIT_COMMITTER_NAME", "Test"),
        ("GIT_COMMITTER_EMAIL", "test@example.org"),
        ("GIT_COMMITTER_DATE", "1790000000 +0000"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.into()))
    .collect();
    env.insert("HOME".into(), home.into());
    // The only thing that is taken from outside: where programs are.
    env.insert(
        "PATH".into(),
        std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
    );
    env
}

/// What a tree is, entry by entry: path → mode and content digest (files), target (links).
/// Times and inode numbers are left out: a tree that nobody wrote to has the same fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(pub BTreeMap<PathBuf, String>);

impl Fingerprint {
    /// Of everything below `root`, git directories included.
    pub fn of(root: &Path) -> Self {
        Self::without(root, &[])
    }

    /// As [`Fingerprint::of`], leaving out what is below these paths (relative to `root`).
    pub fn without(root: &Path, left_out: &[&Path]) -> Self {
        let mut entries = BTreeMap::new();
        let mut open = vec![root.to_path_buf()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
                let path = entry.expect("an entry is read").path();
                let relative = path.strip_prefix(root).expect("it is below").to_path_buf();
                if left_out.iter().any(|out| relative.starts_with(out)) {
                    continue;
                }
                let meta = fs::symlink_metadata(&path).expect("an entry has metadata");
                let what = if meta.is_dir() {
                    open.push(path.clone());
                    "directory".to_owned()
                } else if meta.is_symlink() {
                    format!("link {}", fs::read_link(&path).expect("a link is read").display())
                } else if meta.is_file() {
                    let content = fs::read(&path).expect("a file is read");
                    format!("file {}", data_encoding::HEXLOWER.encode(&Sha256::digest(&content)))
                } else {
                    "special".to_owned()
                };
                entries.insert(relative, format!("{:o} {what}", meta.mode()));
            }
        }
        Self(entries)
    }

    /// Fail unless the two are equal, naming the paths that differ.
    #[track_caller]
    pub fn assert_equal(&self, later: &Self) {
        let mut differ: Vec<String> = Vec::new();
        for (path, was) in &self.0 {
            match later.0.get(path) {
                Some(is) if is == was => {}
                Some(is) => differ.push(format!("{}: {was} → {is}", path.display())),
                None => differ.push(format!("{}: gone", path.display())),
            }
        }
        differ.extend(
            later
                .0
                .keys()
                .filter(|path| !self.0.contains_key(*path))
                .map(|path| format!("{}: new", path.display())),
        );
        assert!(differ.is_empty(), "the tree was changed:\n{}", differ.join("\n"));
    }
}

/// A directory in which hostile commands would leave a trace.
pub struct Canaries {
    dir: PathBuf,
}

impl Canaries {
    /// In `dir`, which is created.
    pub fn new(dir: PathBuf) -> Self {
        fs::create_dir_all(&dir).expect("a directory is made");
        Self { dir }
    }

    /// A shell command that leaves the trace `name`.
    pub fn command(&self, name: &str) -> String {
        format!("touch '{}'", self.dir.join(name).display())
    }

    /// Fail when anything ran.
    #[track_caller]
    pub fn assert_silent(&self) {
        let sung: Vec<_> = fs::read_dir(&self.dir)
            .expect("the directory is read")
            .map(|entry| entry.expect("an entry is read").file_name())
            .collect();
        assert!(sung.is_empty(), "something of the repository was run: {sung:?}");
    }
}

/// True when `program` can be started; else says loudly on stderr that `what` is skipped.
pub fn have(program: &str, what: &str) -> bool {
    if Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success()) {
        return true;
    }
    eprintln!("SKIPPED: {what}: the program `{program}` is not installed");
    false
}

/// A path from bytes.
pub fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Unpack a tar archive.
pub fn unpack(tar: &Path, into: &Path) {
    let mut command = Command::new("tar");
    command.env_clear().envs(environment(into)).arg("-xf").arg(tar).arg("-C").arg(into);
    let output = command.output().expect("tar starts");
    assert!(output.status.success(), "{}", said(&output));
}
