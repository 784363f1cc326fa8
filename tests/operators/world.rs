//! Operators with clones, keys, and a bare repository or a directory that they share.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lambda_os::sample::{SampleSpec, UrlStyle};
use serde_json::Value;

use crate::support::{Workspace, environment, git, lambda_os, said};

pub(crate) const NAMESPACE: &str = "ballot@lambda-os";
pub(crate) const REFS: &str = "refs/lambda-os/gov";

/// What operators share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    Repository,
    Directory,
}

/// The sample, what is shared, and everybody's keys.
pub(crate) struct World {
    pub(crate) workspace: Workspace,
    shared: Shared,
}

/// One operator: a clone of the superproject, a state directory, a key.
pub(crate) struct Operator {
    pub(crate) name: String,
    home: PathBuf,
    superproject: PathBuf,
    pub(crate) key: String,
}

/// A finished run of the program.
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stderr))
    }
}

impl World {
    pub(crate) fn new(shared: Shared) -> Self {
        let spec = SampleSpec { style: UrlStyle::AutoInputs, ..SampleSpec::sized(12, 3) };
        let world = Self { workspace: Workspace::new(&spec), shared };
        match shared {
            Shared::Repository => {
                git(world.home(), ["init", "-q", "--bare", "shared.git"]);
            }
            Shared::Directory => std::fs::create_dir(world.shared()).expect("a directory"),
        }
        world
    }

    pub(crate) fn home(&self) -> &Path {
        self.workspace.temp.path()
    }

    pub(crate) fn shared(&self) -> PathBuf {
        match self.shared {
            Shared::Repository => self.home().join("shared.git"),
            Shared::Directory => self.home().join("shared"),
        }
    }

    /// These operators, who trust each other, each after a first cycle of its own.
    pub(crate) fn operators<const N: usize>(&self, names: [&str; N]) -> [Operator; N] {
        for name in names {
            std::fs::create_dir(self.home().join(name)).expect("a directory");
            self.keygen(name);
        }
        let publics: Vec<String> = names.iter().map(|name| format!("{}.pub", self.key(name))).collect();
        names.map(|name| {
            let operator = self.operator(name);
            let trust = publics.iter().flat_map(|key| ["--trust", key.as_str()]);
            let init: Vec<&str> = ["init"].into_iter().chain(trust).collect();
            operator.ok(&init);
            operator.cycle();
            operator
        })
    }

    fn key(&self, name: &str) -> String {
        self.home().join(name).join(name).to_string_lossy().into_owned()
    }

    fn keygen(&self, name: &str) {
        let mut command = Command::new("ssh-keygen");
        command.env_clear().envs(environment(self.home()));
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &self.key(name)]);
        finished(&mut command, b"");
    }

    fn operator(&self, name: &str) -> Operator {
        let home = self.home().join(name);
        let superproject = home.join("work");
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.workspace.path()).arg(&superproject);
        finished(&mut copy, b"");
        let place = match self.shared {
            Shared::Repository => "remote",
            Shared::Directory => "directory",
        };
        let config = format!(
            "[workspace]\nallow_local_urls = true\n[governance]\nbackend = \"multisig\"\n\
             [governance.multisig]\nname = \"{name}\"\n{place} = \"{}\"\n",
            self.shared().display()
        );
        std::fs::write(home.join("config.toml"), config).expect("a configuration");
        Operator { name: name.to_owned(), home, superproject, key: self.key(name) }
    }
}

impl Operator {
    pub(crate) fn state(&self) -> PathBuf {
        self.home.join("state")
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let mut command = lambda_os(&self.home);
        command.arg("-C").arg(&self.superproject).arg("--state-dir").arg(self.state());
        command.arg("--config").arg(self.home.join("config.toml")).args(args);
        ran(&command.output().expect("lambda-os runs"))
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.exit, 0, "{} {args:?}: {}{}", self.name, ran.stdout, ran.stderr);
        ran
    }

    /// One cycle; modules of the sample that are in trouble make it degraded, which is no failure here.
    #[track_caller]
    pub(crate) fn cycle(&self) -> Ran {
        let ran = self.run(&["run", "--once"]);
        assert!(ran.exit == 0 || ran.exit == 3, "{}: {}{}", self.name, ran.stdout, ran.stderr);
        ran
    }

    #[track_caller]
    pub(crate) fn sync(&self) -> Value {
        self.ok(&["proposal", "sync", "--json"]).json()
    }

    /// The open proposals: id, state and the module that moves.
    #[track_caller]
    pub(crate) fn proposals(&self) -> Vec<(String, String, String)> {
        let listed = self.ok(&["proposal", "list", "--json"]).json();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let one = |row: &Value| (text(&row["id"]), text(&row["state"]), text(&row["pins"][0]["module"]));
        listed["proposals"].as_array().expect("a list").iter().map(one).collect()
    }

    /// The open proposal that moves this module.
    #[track_caller]
    pub(crate) fn proposal_of(&self, module: &str) -> String {
        let all = self.proposals();
        let found = all.iter().find(|(_, _, name)| name == module);
        found.unwrap_or_else(|| panic!("{} has no proposal for {module}: {all:?}", self.name)).0.clone()
    }

    #[track_caller]
    pub(crate) fn tally(&self, id: &str) -> Value {
        self.ok(&["proposal", "show", id, "--json"]).json()["tally"].clone()
    }

    /// Who counts, and what the tally says.
    #[track_caller]
    pub(crate) fn counted(&self, id: &str) -> (String, Vec<String>) {
        let tally = self.tally(id);
        let names = tally["counted"].as_array().expect("a list").iter();
        let names = names.map(|one| one["voter"].as_str().expect("a name").to_owned()).collect();
        (tally["state"].as_str().expect("a state").to_owned(), names)
    }

    #[track_caller]
    pub(crate) fn approve(&self, id: &str) {
        self.ok(&["proposal", "approve", id, "--key", &self.key]);
    }

    pub(crate) fn entries(&self, kind: &str) -> Vec<Value> {
        let journal = std::fs::read_to_string(self.state().join("audit.jsonl")).expect("the journal is read");
        let entries = journal.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        entries.filter(|entry| entry["type"] == kind).collect()
    }

    pub(crate) fn object(&self, cid: &str) -> PathBuf {
        self.state().join("objects").join(&cid[8..10]).join(cid)
    }

    /// Why messages were refused, in order.
    pub(crate) fn refusals(&self) -> Vec<String> {
        let refused = self.entries("ballot.refused");
        refused.iter().map(|entry| entry["body"]["reason"].as_str().expect("a reason").to_owned()).collect()
    }

    /// The text that `proposal ballot` prints.
    #[track_caller]
    pub(crate) fn ballot(&self, id: &str, arguments: &[&str]) -> String {
        let args: Vec<&str> = ["proposal", "ballot", id, "--as", &self.name]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        self.ok(&args).stdout
    }

    /// A text with the signature that `ssh-keygen` makes of it with this operator's key.
    pub(crate) fn signed(&self, text: &str) -> Vec<u8> {
        let mut command = Command::new("ssh-keygen");
        command.env_clear().envs(environment(&self.home));
        command.args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f", &self.key]);
        let signature = finished(&mut command, text.as_bytes());
        [text.as_bytes(), &signature].concat()
    }

    /// The identity of a message, and its name in an exchange.
    pub(crate) fn audited(&self) {
        self.ok(&["audit", "verify"]);
    }
}

/// The messages that stand in an operator's ref: name and bytes.
pub(crate) fn shown(repository: &Path, name: &str) -> Vec<(String, Vec<u8>)> {
    let listed = git(repository, ["ls-tree", "--name-only", &format!("{REFS}/{name}")]);
    let one = |file: &str| {
        let blob = format!("{REFS}/{name}:{file}");
        (file.to_owned(), crate::support::git_bytes(repository, ["cat-file", "blob", &blob]))
    };
    listed.lines().map(one).collect()
}

/// Put these messages, and no others, into an operator's ref, as whoever may write to the repository can.
pub(crate) fn show(repository: &Path, name: &str, messages: &[(String, Vec<u8>)]) {
    let mut tree = Vec::new();
    for (file, bytes) in messages {
        let mut hash = crate::support::git_command(repository);
        hash.args(["hash-object", "-w", "--stdin"]);
        let blob = String::from_utf8(finished(&mut hash, bytes)).expect("an id");
        tree.extend(format!("100644 blob {}\t{file}\n", blob.trim()).into_bytes());
    }
    let mut make = crate::support::git_command(repository);
    make.arg("mktree");
    let tree = String::from_utf8(finished(&mut make, &tree)).expect("an id");
    let commit = git(repository, ["commit-tree", "-m", "x", tree.trim()]);
    git(repository, ["update-ref", &format!("{REFS}/{name}"), commit.trim()]);
}

/// A ballot as it is named in an exchange.
pub(crate) fn named(message: &[u8]) -> (String, Vec<u8>) {
    let cid = lambda_os::domain::id::Cid::of(message);
    (format!("{cid}.ballot"), message.to_vec())
}

fn ran(output: &Output) -> Ran {
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
