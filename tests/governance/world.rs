//! A workspace with open proposals, keys made by `ssh-keygen`, and what the journal says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lambda_os::sample::{SampleSpec, UrlStyle};
use serde_json::Value;

use crate::support::{Workspace, environment, said};

pub(crate) const NAMESPACE: &str = "ballot@lambda-os";

pub(crate) struct World {
    pub(crate) workspace: Workspace,
}

/// A finished run of the program.
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stderr))
    }

    #[track_caller]
    pub(crate) fn failed(&self, exit: i32, says: &str) {
        assert_eq!(self.exit, exit, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.contains(says), "{}", self.stderr);
    }
}

impl World {
    /// A small sample with nothing decided: `init` has not run.
    pub(crate) fn new() -> Self {
        let spec = SampleSpec { style: UrlStyle::AutoInputs, ..SampleSpec::sized(12, 3) };
        Self { workspace: Workspace::new(&spec) }
    }

    /// The same with these arguments to `init`, after a cycle that proposed.
    pub(crate) fn proposing(init: &[&str]) -> Self {
        let world = Self::new();
        world.init(init);
        world
    }

    pub(crate) fn init(&self, args: &[&str]) {
        let args: Vec<&str> = ["init"].into_iter().chain(args.iter().copied()).collect();
        self.ok(&args);
        self.ok(&["run", "--once"]);
    }

    pub(crate) fn command(&self) -> assert_cmd::Command {
        self.workspace.lambda_os()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        ran(&self.command().args(args).output().expect("lambda-os runs"))
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        // A cycle of a sample with troubled modules is degraded; that is no failure here.
        assert!(
            ran.exit == 0 || (args[0] == "run" && ran.exit == 3),
            "{args:?}: {}{}",
            ran.stdout,
            ran.stderr
        );
        ran
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.workspace.state()
    }

    pub(crate) fn inbox(&self) -> PathBuf {
        self.state().join("inbox")
    }

    pub(crate) fn home(&self) -> &Path {
        self.workspace.temp.path()
    }

    /// The open proposals' identities.
    pub(crate) fn proposals(&self) -> Vec<String> {
        let listed = self.ok(&["proposal", "list", "--json"]).json();
        let ids = listed["proposals"].as_array().expect("a list").iter();
        let ids: Vec<String> = ids.map(|one| one["id"].as_str().expect("an id").to_owned()).collect();
        assert!(ids.len() >= 2, "the sample gives proposals: {listed}");
        ids
    }

    pub(crate) fn entries(&self, kind: &str) -> Vec<Value> {
        let journal = std::fs::read_to_string(self.state().join("audit.jsonl")).expect("the journal is read");
        let entries = journal.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        entries.filter(|entry| entry["type"] == kind).collect()
    }

    /// A stored value.
    pub(crate) fn object(&self, cid: &str) -> PathBuf {
        self.state().join("objects").join(&cid[8..10]).join(cid)
    }

    pub(crate) fn audited(&self) {
        self.ok(&["audit", "verify"]);
    }

    /// A key made by `ssh-keygen`: the path of the private half.
    pub(crate) fn key(&self, name: &str, arguments: &[&str]) -> String {
        let path = self.home().join(name).to_string_lossy().into_owned();
        let mut command = Command::new("ssh-keygen");
        command.env_clear().envs(environment(self.home()));
        command.args(["-q", "-N", "", "-C", name, "-f", &path]).args(arguments);
        finished(&mut command, b"");
        path
    }

    pub(crate) fn ed25519(&self, name: &str) -> String {
        self.key(name, &["-t", "ed25519"])
    }

    /// `ssh-keygen -Y sign` over a text: the armored signature.
    pub(crate) fn keygen_sign(&self, key: &str, namespace: &str, text: &[u8]) -> Vec<u8> {
        let mut command = Command::new("ssh-keygen");
        command.env_clear().envs(environment(self.home()));
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f", key]);
        finished(&mut command, text)
    }

    /// The text that `proposal ballot` prints.
    pub(crate) fn ballot(&self, id: &str, arguments: &[&str]) -> String {
        let args: Vec<&str> =
            ["proposal", "ballot", id].into_iter().chain(arguments.iter().copied()).collect();
        self.ok(&args).stdout
    }
}

pub(crate) fn ran(output: &Output) -> Ran {
    Ran {
        exit: output.status.code().unwrap_or_else(|| panic!("it was killed: {}", said(output))),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Run a program that must succeed, with this on its standard input.
pub(crate) fn finished(command: &mut Command, input: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
    output.stdout
}

pub(crate) fn public(key: &str) -> String {
    format!("{key}.pub")
}
