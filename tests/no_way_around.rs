//! Nothing in configuration, flags, environment, state files or the inbox gets around a certificate: each
//! of them is tried on a proposal that the one who decides never approved.
//!
//! Whoever may write the operator's repository or the journal's directory can destroy them; what they
//! cannot do is have lambda-os apply, in that repository, what nobody approved.

#![expect(clippy::disallowed_methods, reason = "tests run real programs, as whoever attacks does")]

#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::journal::JournalWriter;
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::domain::canonical::to_canonical;
use lambda_os::domain::event::Event;
use lambda_os::domain::governance::key::PublicKey;
use lambda_os::domain::governance::members::Members;
use lambda_os::domain::heal::Rung;
use lambda_os::domain::id::{Cid, ObjectId, ProposalId};
use lambda_os::domain::ladder::Right;
use lambda_os::domain::policy::{Bounds, Policy};
use lambda_os::domain::proposal::Track;
use lambda_os::ops::{govern, trust};
use lambda_os::ports::Journal as _;
use lambda_os::sample::{SampleSpec, UrlStyle};
use serde_json::Value;

use support::{Workspace, git, said};

/// A workspace of alice, whose key is nowhere near it, with a proposal that she did not approve; and
/// mallory, who may write files.
struct World {
    workspace: Workspace,
    id: String,
    head: String,
}

fn keygen(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
        .arg(&path)
        .stdin(Stdio::null())
        .status();
    assert!(status.expect("ssh-keygen starts").success());
    path
}

impl World {
    fn new() -> Self {
        let spec = SampleSpec { style: UrlStyle::AutoInputs, ..SampleSpec::sized(8, 2) };
        let workspace = Workspace::new(&spec);
        keygen(workspace.temp.path(), "mallory");
        let alice = keygen(workspace.temp.path(), "alice").with_extension("pub");
        let mut world = Self { workspace, id: String::new(), head: String::new() };
        world.ok(&["init", "--trust", &alice.to_string_lossy(), "--as", "alice"]);
        world.ok(&["run", "--once"]);
        let list: Value = serde_json::from_str(&world.ok(&["proposal", "list", "--json"])).expect("JSON");
        list["proposals"][0]["id"].as_str().expect("a proposal").clone_into(&mut world.id);
        world.head = git(world.path(), ["rev-parse", "HEAD"]);
        world
    }

    fn path(&self) -> &Path {
        self.workspace.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.workspace.temp.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    fn command(&self, args: &[&str], environment: &[(&str, &Path)]) -> assert_cmd::Command {
        let mut command = support::lambda_os(self.workspace.temp.path());
        command.current_dir(self.path());
        let named = |flag| args.contains(&flag);
        let configured = environment.iter().any(|(name, _)| *name == "LAMBDA_OS_CONFIG");
        if !named("--config") && !configured {
            let usual = self.write("usual.toml", "[workspace]\nallow_local_urls = true\n");
            command.arg("--config").arg(usual);
        }
        // A service's directory counts only where nothing else names one.
        if !named("--state-dir") && environment.iter().all(|(name, _)| *name != "STATE_DIRECTORY") {
            command.arg("--state-dir").arg(self.workspace.state());
        }
        command.args(args).envs(environment.iter().copied());
        command
    }

    fn run_in(&self, args: &[&str], environment: &[(&str, &Path)]) -> (i32, String) {
        let output = self.command(args, environment).output().expect("it runs");
        (output.status.code().expect("it ended by itself"), said(&output))
    }

    fn stdout(&self, args: &[String], environment: &[(&str, &Path)]) -> String {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = self.command(&args, environment).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let output = self.workspace.lambda_os().args(args).output().expect("it runs");
        let code = output.status.code().expect("it ended by itself");
        assert!(code == 0 || (args[0] == "run" && code == 3), "{args:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn id(&self) -> ProposalId {
        self.id.parse().expect("an identity")
    }

    /// A cycle, and whoever applies: neither changes anything. Gives how applying ended.
    #[track_caller]
    fn still_stands(&self, what: &str, args: &[&str], environment: &[(&str, &Path)]) -> i32 {
        let with = |verb: &[&'static str]| -> Vec<String> {
            let verb = verb.iter().map(|&word| word.to_owned());
            args.iter().map(|&arg| arg.to_owned()).chain(verb).collect()
        };
        let run = |words: &[String]| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.run_in(&words, environment)
        };
        let (_, cycle) = run(&with(&["run", "--once"]));
        assert_eq!(git(self.path(), ["rev-parse", "HEAD"]), self.head, "{what}: a cycle moved HEAD: {cycle}");
        let mut apply = with(&["proposal", "apply"]);
        apply.push(self.id.clone());
        let (code, said) = run(&apply);
        assert_eq!(git(self.path(), ["rev-parse", "HEAD"]), self.head, "{what}: it was applied: {said}");
        assert_eq!(git(self.path(), ["status", "--porcelain"]), "", "{what}");
        assert_ne!(code, 0, "{what}: {said}");
        assert_ne!(code, 101, "{what}: {said}");
        // And what is proposed now, with the only key that mallory has.
        let key = self.file("mallory").to_string_lossy().into_owned();
        let directory = with(&["proposal", "list", "--json"]);
        let listed: Value = serde_json::from_str(&self.stdout(&directory, environment)).unwrap_or_default();
        let newest =
            listed["proposals"].as_array().and_then(|all| all.last()).and_then(|one| one["id"].as_str());
        if let Some(newest) = newest {
            let also = |verb: &[&'static str], more: &[&str]| {
                let mut words = with(verb);
                words.extend(more.iter().map(|&word| word.to_owned()));
                run(&words)
            };
            also(&["proposal", "approve", "--yes"], &[newest, "--key", &key]);
            let (also, said) = also(&["proposal", "apply"], &[newest]);
            assert_ne!(also, 0, "{what}: {said}");
            assert_eq!(git(self.path(), ["rev-parse", "HEAD"]), self.head, "{what}: {said}");
        }
        code
    }

    /// Write the journal as mallory would: whole in itself.
    fn forge<T>(&self, act: impl FnOnce(&mut JournalWriter<'_>) -> T) -> T {
        let directory =
            StateDir::resolve(Some(&self.workspace.state()), None, self.path()).expect("a directory");
        let clock = SystemClock;
        act(&mut JournalWriter::open(&directory, &clock).expect("a journal"))
    }

    fn mallory(&self) -> PublicKey {
        let line = std::fs::read_to_string(self.file("mallory.pub")).expect("readable");
        line.parse().expect("a key")
    }

    /// The members document of mallory alone, for this workspace.
    fn mallorys(&self) -> Members {
        let ours = self.forge(|journal| {
            let state = journal.state().clone();
            govern::rules(journal, &state).expect("rules").members
        });
        trust::founding(
            ours.workspace,
            &[trust::Trusted { name: "alice".to_owned(), key: self.mallory(), term: None }],
        )
        .expect("members")
    }

    /// A ballot on the proposal in alice's name, by mallory's key.
    fn ballot(&self) -> Vec<u8> {
        let text = self.ok(&["proposal", "ballot", &self.id, "--as", "alice"]);
        let path = self.write("forged.ballot", &text);
        let status = Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", "ballot@lambda-os", "-f"])
            .arg(self.file("mallory"))
            .arg(&path)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.expect("ssh-keygen starts").success());
        let mut message = std::fs::read(&path).expect("readable");
        message.extend(std::fs::read(self.file("forged.ballot.sig")).expect("signed"));
        std::fs::remove_file(self.file("forged.ballot.sig")).expect("removed");
        message
    }

    /// The same, dropped.
    fn ballot_into_inbox(&self) -> String {
        let path = self.workspace.state().join("inbox/forged.ballot");
        std::fs::write(&path, self.ballot()).expect("dropped");
        path.display().to_string()
    }

    /// A certificate that proves the proposal to whoever trusts mallory.
    fn certificate(&self) -> Vec<u8> {
        let message = String::from_utf8(self.ballot()).expect("text");
        let (text, signature) = message.split_at(message.find("-----BEGIN").expect("signed"));
        let members = self.mallorys();
        self.forge(|journal| {
            let state = journal.state().clone();
            let case = govern::case(journal, &state, self.id()).expect("a case");
            let certificate = serde_json::json!({
                "v": 1,
                "proposal": case.proposal,
                "delta": case.delta,
                "members": members,
                "policy": state.policy,
                "allow_unverified": true,
                "base": case.record.base,
                "at_ms": case.record.made_wall_ms,
                "ballots": [{"text": text, "signature": signature}],
            });
            to_canonical(&certificate).expect("canonical")
        })
    }

    /// The policy that would let anything be enacted with no ballot.
    fn lax() -> Policy {
        let bounds =
            Bounds { modules: vec!["*".to_owned()], max_commits: 10_000, max_per_day: 10_000, min_age_ms: 0 };
        let rungs = Track::ALL.into_iter().map(|track| (track, Rung::Bounded)).collect();
        Policy { rungs, bounds: Some(bounds), ..Policy::default() }
    }

    /// A configuration that asks for everything.
    fn bold(&self) -> PathBuf {
        self.write(
            "bold.toml",
            "[workspace]\nallow_local_urls = true\n[autonomy]\nrung = 'bounded'\n[autonomy.tracks]\nleaf = 'bounded'\ncore = 'bounded'\n",
        )
    }
}

#[test]
fn no_configuration_does() {
    let world = World::new();
    assert_eq!(world.still_stands("nothing", &[], &[]), 6);
    let mallory = world.file("mallory").to_string_lossy().into_owned();
    for (what, config, exit) in [
        (
            "every rung",
            "[autonomy]\nrung = 'bounded'\n[autonomy.tracks]\nleaf = 'gated'\ncore = 'bounded'\n",
            6,
        ),
        ("the backend human", "[governance]\nbackend = 'human'\n", 6),
        ("another key", &format!("[governance]\nkey_file = '{mallory}'\n"), 6),
        ("nothing verified", "[verify]\nsteps = []\n", 6),
        ("a key that there is not", "[governance]\nthreshold = 0\n", 2),
        ("another that there is not", "[autonomy]\nforce = true\n", 2),
        ("policy in the configuration", "[policy]\nallow = true\n", 2),
    ] {
        let path = world.write("c.toml", &format!("[workspace]\nallow_local_urls = true\n{config}"));
        let path = path.to_string_lossy();
        let config = ["--config", path.as_ref()];
        assert_eq!(world.still_stands(what, &config, &[]), exit, "{what}");
        let (_, said) = world.run_in(&["--config", &path, "proposal", "approve", "--yes", &world.id], &[]);
        assert_ne!(world.still_stands(what, &config, &[]), 0, "{what}: {said}");
    }
}

#[test]
fn no_backend_that_cannot_answer_does() {
    let world = World::new();
    for backend in ["multisig", "program"] {
        let text = format!("[workspace]\nallow_local_urls = true\n[governance]\nbackend = '{backend}'\n");
        let path = world.write("c.toml", &text);
        let exit = world.still_stands(backend, &["--config", &path.to_string_lossy()], &[]);
        assert!(matches!(exit, 2 | 6), "{backend}: {exit}");
    }
}

#[test]
fn no_flag_does() {
    let world = World::new();
    for flag in ["--force", "--yes", "--no-verify", "--skip-approval", "--as=alice", "--admin"] {
        let (code, said) = world.run_in(&["proposal", "apply", &world.id, flag], &[]);
        assert_eq!(code, 2, "{flag}: {said}");
    }
    world.still_stands("after the flags", &[], &[]);
    let key = world.file("mallory").to_string_lossy().into_owned();
    for name in ["alice", "mallory"] {
        let (code, said) =
            world.run_in(&["proposal", "approve", "--yes", &world.id, "--key", &key, "--as", name], &[]);
        assert_ne!(code, 0, "{said}");
    }
    assert_eq!(world.still_stands("another's key", &[], &[]), 6);
    // Another state directory, with other members.
    let other = world.file("other").to_string_lossy().into_owned();
    let public = world.file("mallory.pub").to_string_lossy().into_owned();
    let (code, said) =
        world.run_in(&["--state-dir", &other, "init", "--trust", &public, "--as", "mallory"], &[]);
    assert_eq!(code, 7, "{said}");
    world.still_stands("a state directory of mallory's", &["--state-dir", &other], &[]);
}

#[test]
fn no_environment_does() {
    let world = World::new();
    // A clone of mallory's has the same name: what is decided there is decided for it.
    let clone = world.file("clone");
    git(
        world.workspace.temp.path(),
        ["clone", "-q", &world.path().to_string_lossy(), &clone.to_string_lossy()],
    );
    let theirs = world.file("theirs");
    let public = world.file("mallory.pub");
    let mut init = support::lambda_os(world.workspace.temp.path());
    init.arg("-C").arg(&clone).arg("--state-dir").arg(&theirs).arg("init");
    init.arg("--trust").arg(&public).args(["--as", "alice"]);
    let output = init.output().expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    let theirs_said = theirs.to_string_lossy().into_owned();
    assert_eq!(world.still_stands("a state directory from a clone", &["--state-dir", &theirs_said], &[]), 7);
    let bold = world.bold();
    let yes = Path::new("1");
    for (what, environment) in [
        ("a configuration", vec![("LAMBDA_OS_CONFIG", bold.as_path())]),
        (
            "words that mean nothing",
            vec![
                ("LAMBDA_OS_APPROVE", yes),
                ("LAMBDA_OS_FORCE", yes),
                ("LAMBDA_OS_RUNG", Path::new("bounded")),
                ("LAMBDA_OS_GOVERNANCE_BACKEND", Path::new("human")),
            ],
        ),
        ("git's own", vec![("GIT_DIR", clone.as_path()), ("GIT_INDEX_FILE", yes)]),
    ] {
        assert_eq!(world.still_stands(what, &[], &environment), 6, "{what}");
    }
    let service = [("STATE_DIRECTORY", theirs.as_path())];
    assert_eq!(world.still_stands("a service's state", &[], &service), 7);
}

#[test]
fn no_message_in_the_inbox_does() {
    let world = World::new();
    let inbox = world.workspace.state().join("inbox");
    let forged = world.ballot();
    let text = world.ok(&["proposal", "ballot", &world.id, "--as", "alice"]);
    let certificate = world.certificate();
    for (name, content) in [
        ("forged.ballot", forged.as_slice()),
        ("unsigned.ballot", text.as_bytes()),
        ("certificate.ballot", certificate.as_slice()),
        ("certificate.json", certificate.as_slice()),
        ("approved", b"approved\n"),
        ("huge.ballot", &vec![b'a'; 1 << 20]),
    ] {
        std::fs::write(inbox.join(name), content).expect("dropped");
        assert_eq!(world.still_stands(name, &[], &[]), 6, "{name}");
    }
    std::os::unix::fs::symlink(world.file("alice"), inbox.join("link.ballot")).expect("linked");
    assert_eq!(world.still_stands("a link", &[], &[]), 6);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one of each")]
fn no_forged_entry_does() {
    type Forge = fn(&World, &mut JournalWriter<'_>, &Forged);
    struct Forged {
        ballot: Vec<u8>,
        certificate: Vec<u8>,
        members: Members,
        target: ObjectId,
    }
    fn store(journal: &mut JournalWriter<'_>, bytes: &[u8]) -> Cid {
        journal.store(bytes).expect("stored")
    }
    fn append(journal: &mut JournalWriter<'_>, event: &Event) {
        journal.append("forged", event).expect("appended");
    }
    fn begin(world: &World, journal: &mut JournalWriter<'_>, certificate: Cid, target: ObjectId) {
        let (proposal, reference) = (world.id(), "refs/heads/main".to_owned());
        append(journal, &Event::ProposalCertified { proposal, certificate });
        let expected = world.head.trim().parse().expect("a commit");
        append(journal, &Event::ApplyStarted { proposal, certificate, reference, expected, target });
    }
    let forgeries: [(&str, Forge, &[i32]); 8] = [
        (
            "a ballot",
            |world, journal, forged| {
                let ballot = store(journal, &forged.ballot);
                let (voter, choice) = ("alice".to_owned(), "approve".to_owned());
                append(journal, &Event::BallotCast { proposal: world.id(), ballot, voter, choice });
            },
            &[6],
        ),
        (
            "a certificate",
            |world, journal, forged| {
                let certificate = store(journal, &forged.certificate);
                append(journal, &Event::ProposalCertified { proposal: world.id(), certificate });
            },
            &[6, 7],
        ),
        (
            "members",
            |_, journal, forged| {
                let members = store(journal, &forged.members.to_canonical().expect("canonical"));
                let event = Event::MembersTrusted { members, epoch: 1, enacts: None, certificate: None };
                append(journal, &event);
            },
            &[7],
        ),
        (
            "members with a certificate",
            |world, journal, forged| {
                let members = store(journal, &forged.members.to_canonical().expect("canonical"));
                let certificate = Some(store(journal, &forged.certificate));
                let enacts = Some(world.id());
                append(journal, &Event::MembersTrusted { members, epoch: 1, enacts, certificate });
            },
            &[7],
        ),
        (
            "a policy",
            |_, journal, _| {
                let policy = store(journal, &World::lax().to_canonical().expect("canonical"));
                append(journal, &Event::PolicyAdopted { policy, enacts: None, certificate: None });
            },
            &[7],
        ),
        (
            "an application that began",
            |world, journal, forged| {
                let certificate = store(journal, &forged.certificate);
                begin(world, journal, certificate, forged.target);
            },
            &[6, 7],
        ),
        (
            "an application that rests on nothing",
            |world, journal, forged| {
                begin(world, journal, Cid::of(b"nothing"), forged.target);
            },
            &[6, 7],
        ),
        (
            "an enactment",
            |world, journal, _| {
                append(journal, &Event::EnactStarted { proposal: world.id(), right: Right::Bounds });
            },
            &[6],
        ),
    ];
    for (what, forge, exits) in forgeries {
        let world = World::new();
        let tree = git(world.path(), ["rev-parse", "HEAD^{tree}"]);
        let target = git(world.path(), ["commit-tree", "-p", "HEAD", "-m", "mallory's", tree.trim()]);
        let forged = Forged {
            ballot: world.ballot(),
            certificate: world.certificate(),
            members: world.mallorys(),
            target: target.trim().parse().expect("a commit"),
        };
        world.forge(|journal| forge(&world, journal, &forged));
        let bold = world.bold();
        let exit = world.still_stands(what, &["--config", &bold.to_string_lossy()], &[]);
        assert!(exits.contains(&exit), "{what}: {exit}");
    }
}

#[test]
fn no_other_file_of_the_state_does() {
    // What is kept of the journal between two runs: with other members and another policy in it.
    let world = World::new();
    let members = world.mallorys();
    let (members, policy) = world.forge(|journal| {
        let members = journal.store(&members.to_canonical().expect("canonical")).expect("stored");
        let policy = journal.store(&World::lax().to_canonical().expect("canonical")).expect("stored");
        (members.to_string(), policy.to_string())
    });
    world.ok(&["proposal", "list"]);
    let cache = world.workspace.state().join("cache/journal.json");
    let kept = std::fs::read_to_string(&cache).expect("a cache");
    let mut state: Value = serde_json::from_str(&kept).expect("JSON");
    let inside = &mut state["place"]["state"];
    inside["members"]["document"] = members.clone().into();
    inside["first_members"] = members.into();
    inside["policy"] = policy.clone().into();
    inside["first_policy"] = policy.into();
    std::fs::write(&cache, state.to_string()).expect("written");
    let forged = world.ballot_into_inbox();
    let bold = world.bold();
    let exit = world.still_stands("the cache", &["--config", &bold.to_string_lossy()], &[]);
    assert!(matches!(exit, 6 | 7), "{exit} {forged}");

    // What was stored by content.
    let world = World::new();
    let state = world.workspace.state();
    for cid in world.forge(|journal| {
        let record = journal.state().proposals[&world.id()].clone();
        [world.id().0, record.change.0, journal.state().members.expect("members").document]
    }) {
        let name = cid.to_string();
        let path = state.join("objects").join(&name[8..10]).join(&name);
        let kept = std::fs::read(&path).expect("stored");
        let other: Vec<u8> = kept.iter().map(|byte| if *byte == b'1' { b'2' } else { *byte }).collect();
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, other).expect("written");
        assert_eq!(world.still_stands(&format!("a stored value {name}"), &[], &[]), 7, "{name}");
        std::fs::write(&path, kept).expect("written");
    }
    assert_eq!(world.still_stands("as it was", &[], &[]), 6);
    let journal = std::fs::read_to_string(state.join("audit.jsonl")).expect("readable");
    let cut = journal.trim_end().rfind('\n').expect("several lines") + 1;
    std::fs::write(state.join("audit.jsonl"), &journal[..cut]).expect("written");
    assert_eq!(world.still_stands("a cut journal", &[], &[]), 7);
}
