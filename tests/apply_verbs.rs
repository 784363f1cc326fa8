//! Proposals applied through the program: approved, refused, tampered with, and rolled back.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

mod support;

use std::path::PathBuf;

use lambda_os::sample::{SampleModule, SampleSpec};
use serde_json::Value;
use support::{Fingerprint, Workspace, git};

struct World {
    workspace: Workspace,
}

impl World {
    /// A workspace whose one operator is trusted, with open proposals.
    fn new() -> Self {
        let world = Self { workspace: Workspace::new(&SampleSpec::sized(8, 4)) };
        world.ok(&["init"]);
        let (exit, said) = world.run(&["run", "--once"]);
        assert!(exit == 0 || exit == 3, "{said}");
        world
    }

    fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self.workspace.lambda_os().args(args).output().expect("lambda-os runs");
        (output.status.code().expect("it ended by itself"), support::said(&output))
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let (exit, said) = self.run(args);
        assert_eq!(exit, 0, "{args:?}: {said}");
        said
    }

    /// The verb ends with this code and says this.
    #[track_caller]
    fn fails(&self, args: &[&str], code: i32, why: &str) {
        let (exit, said) = self.run(args);
        assert_eq!(exit, code, "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.workspace.lambda_os().args(args).arg("--json").output().expect("lambda-os runs");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}\n{}", support::said(&output)))
    }

    /// The open proposals that move one module alone: id and module.
    fn proposals(&self) -> Vec<(String, SampleModule)> {
        let list = self.json(&["proposal", "list"]);
        let rows = list["proposals"].as_array().expect("rows");
        rows.iter()
            .filter(|row| row["pins"].as_array().is_some_and(|pins| pins.len() == 1))
            .map(|row| {
                let name = row["pins"][0]["module"].as_str().expect("a name");
                let id = row["id"].as_str().expect("an id");
                (id.to_owned(), self.workspace.sample.module(name).clone())
            })
            .collect()
    }

    fn first(&self) -> (String, SampleModule) {
        self.proposals().first().cloned().expect("an open proposal")
    }

    fn git(&self, args: &[&str]) -> String {
        git(self.workspace.path(), args)
    }

    fn entries(&self, kind: &str) -> Vec<Value> {
        let journal = std::fs::read_to_string(self.workspace.state().join("audit.jsonl")).expect("a journal");
        journal
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("an entry"))
            .filter(|entry| entry["type"] == kind)
            .collect()
    }

    fn object(&self, cid: &str) -> PathBuf {
        self.workspace.state().join("objects").join(&cid[8..10]).join(cid)
    }
}

#[test]
fn an_approved_proposal_is_applied_once_and_only_its_pin_moves() {
    let world = World::new();
    let (id, module) = world.first();
    let at = world.workspace.path();
    std::fs::write(at.join(".env"), "SECRET=1\n").expect("a file");
    std::fs::write(at.join("README.md"), "edited\n").expect("a file");
    let status = world.git(&["status", "--porcelain=v2", "-z"]);
    let before = Fingerprint::of(at);

    world.fails(&["proposal", "apply", &id], 6, "is not approved");
    world.ok(&["proposal", "apply", "--dry-run", &id]);
    before.assert_equal(&Fingerprint::of(at));
    world.ok(&["proposal", "approve", "--yes", &id]);
    let report = world.json(&["proposal", "apply", &id]);

    assert_eq!(report["schema"], "lambda-os/proposal-apply/v1");
    assert_eq!(report["applied"][0]["notes"].as_array().map(Vec::len), Some(0), "{report}");
    let commit = report["applied"][0]["commit"].as_str().expect("a commit").to_owned();
    assert_eq!(world.git(&["rev-parse", "HEAD"]).trim(), commit);
    assert_eq!(world.git(&["status", "--porcelain=v2", "-z"]), status);
    let pinned = world.git(&["rev-parse", &format!("HEAD:{}", module.path)]);
    assert_eq!(pinned.trim(), module.tip.to_string());
    assert_eq!(git(&module.checkout, ["rev-parse", "HEAD"]).trim(), module.tip.to_string());
    // The commit names its proposal and the entry that it rests on.
    let trailer = |key: &str| {
        let format = format!("--format=%(trailers:key={key},valueonly)");
        world.git(&["log", "-1", &format]).trim().to_owned()
    };
    assert_eq!(trailer("Lambda-OS-Proposal"), id);
    let certified = world.entries("proposal.certified");
    let newest = certified.last().expect("certified");
    assert!(trailer("Lambda-OS-Journal").starts_with(&format!("{} bafkrei", newest["seq"])));
    assert_eq!(world.entries("apply.finished")[0]["body"]["outcome"], "applied");
    world.ok(&["audit", "verify"]);
    world.ok(&["pin", "check"]);

    world.fails(&["proposal", "apply", &id], 1, "it was applied already");
    let (exit, said) = world.run(&["run", "--once"]);
    assert!(exit == 0 || exit == 3, "{said}");
    assert_eq!(world.git(&["rev-parse", "HEAD"]).trim(), commit);
    assert_eq!(world.entries("apply.started").len(), 1);
}

#[test]
fn what_forbids_it_now_is_said_and_the_approval_stays() {
    let world = World::new();
    let (id, _) = world.first();
    world.ok(&["proposal", "approve", "--yes", &id]);
    let at = world.workspace.path();
    let head = world.git(&["rev-parse", "HEAD"]);
    let lock = std::fs::read(at.join("flake.lock")).expect("a lock");
    std::fs::write(at.join("flake.lock"), b"{}").expect("a file");
    world.fails(&["proposal", "apply", &id], 1, "flake.lock has changes that are not committed");
    std::fs::write(at.join("flake.lock"), lock).expect("a file");
    std::fs::write(at.join(".git/index.lock"), b"").expect("a file");
    world.fails(&["proposal", "apply", &id], 9, "index.lock is there");
    assert!(at.join(".git/index.lock").exists());
    std::fs::remove_file(at.join(".git/index.lock")).expect("removed");
    world.git(&["checkout", "-q", "--detach"]);
    world.fails(&["proposal", "apply", &id], 1, "HEAD is detached");
    world.git(&["checkout", "-q", "main"]);
    assert_eq!(world.git(&["rev-parse", "HEAD"]), head);
    assert_eq!(world.entries("apply.started").len(), 0);
    world.ok(&["proposal", "apply", &id]);
}

#[test]
fn the_same_change_on_a_moved_base_keeps_its_ballots_and_another_one_does_not() {
    let world = World::new();
    let proposals = world.proposals();
    let (id, module) = proposals[0].clone();
    world.ok(&["proposal", "approve", "--yes", &id]);
    std::fs::write(world.workspace.path().join("unrelated"), "x\n").expect("a file");
    world.git(&["add", "unrelated"]);
    world.git(&["commit", "-q", "-m", "unrelated"]);
    world.ok(&["proposal", "apply", &id]);
    assert_eq!(world.git(&["rev-parse", &format!("HEAD:{}", module.path)]).trim(), module.tip.to_string());
    assert_eq!(world.entries("proposal.derived").len(), 1);

    // Somebody moves the pin of another proposal by hand: what was approved is not that any more.
    let (other, module) = proposals[1].clone();
    world.ok(&["proposal", "approve", "--yes", &other]);
    let parent = git(&module.upstream, ["rev-parse", &format!("{}~1", module.pinned)]);
    let entry = format!("160000,{},{}", parent.trim(), module.path);
    world.git(&["update-index", "--cacheinfo", &entry]);
    world.git(&["commit", "-q", "-m", "by hand"]);
    let head = world.git(&["rev-parse", "HEAD"]);
    let (exit, said) = world.run(&["proposal", "apply", &other]);
    assert_eq!(exit, 1, "{said}");
    assert_eq!(world.git(&["rev-parse", "HEAD"]), head);
}

#[test]
fn a_swapped_manifest_change_or_ballot_is_an_integrity_failure() {
    for what in ["proposal", "change", "ballot"] {
        let world = World::new();
        let (id, _) = world.first();
        world.ok(&["proposal", "approve", "--yes", &id]);
        let cid = if what == "ballot" {
            world.entries("ballot.cast")[0]["body"]["ballot"].as_str().expect("a cid").to_owned()
        } else {
            let made = world.entries("proposal.made");
            let made = made.iter().find(|entry| entry["body"]["proposal"] == id).expect("it was made");
            made["body"][what].as_str().expect("a cid").to_owned()
        };
        let path = world.object(&cid);
        let mut bytes = std::fs::read(&path).expect("it is stored");
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).expect("it is swapped");
        let before = Fingerprint::of(world.workspace.path());
        world.fails(&["proposal", "apply", &id], 7, "its content is not what its name says");
        before.assert_equal(&Fingerprint::of(world.workspace.path()));
    }
    let world = World::new();
    world.fails(&["proposal", "apply", "../../x"], 2, "there is no proposal");
}

#[test]
fn a_journal_that_does_not_know_the_applied_commit_is_not_trusted() {
    let world = World::new();
    let (id, _) = world.first();
    world.ok(&["proposal", "approve", "--yes", &id]);
    let state = world.workspace.state();
    let copied = world.workspace.temp.path().join("before");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(status.expect("cp starts").success());
    };
    copy(&state, &copied);
    world.ok(&["proposal", "apply", &id]);
    let good = world.workspace.temp.path().join("good");
    std::fs::rename(&state, &good).expect("renamed");

    // Cut back to before, with a head and a cache that fit: whole in itself.
    copy(&copied, &state);
    world.ok(&["audit", "verify"]);
    let other = world.proposals()[0].0.clone();
    world.fails(&["run", "--once"], 7, "cannot trust the journal: it does not fit the applied commit");
    world.fails(&["proposal", "apply", &other], 7, "it does not fit the applied commit");

    // Emptied, and begun anew.
    std::fs::remove_dir_all(&state).expect("removed");
    world.fails(&["init"], 7, "trusted the members document");
    // Who removes that as well meets the commit.
    std::fs::remove_file(world.workspace.path().join(".git/lambda-os/trusted")).expect("removed");
    world.ok(&["init"]);
    world.fails(&["run", "--once"], 7, "it does not fit the applied commit");
    std::fs::remove_dir_all(&state).expect("removed");
    std::fs::remove_file(world.workspace.path().join(".git/lambda-os/trusted")).expect("removed");
    std::fs::rename(&good, &state).expect("renamed");
    let (exit, said) = world.run(&["run", "--once"]);
    assert!(exit == 0 || exit == 3, "{said}");
}

#[test]
fn a_rollback_goes_the_same_way_and_holds_the_module() {
    let world = World::new();
    let (id, module) = world.first();
    let name = module.name.as_str();
    let lock = world.git(&["show", "HEAD:flake.lock"]);
    world.ok(&["proposal", "approve", "--yes", &id]);
    world.ok(&["proposal", "apply", &id]);
    assert_ne!(world.git(&["show", "HEAD:flake.lock"]), lock);
    let pinned = module.pinned.to_string();
    world.fails(&["rollback", name, "--to", "nonsense"], 2, "is no revision");
    world.fails(&["rollback", name, "--to", &"1".repeat(40)], 1, "is not at hand");
    world.fails(&["rollback", name, "--to", &module.tip.to_string()], 2, "its pin is there already");
    world.fails(&["rollback", "no-such", "--to", &pinned], 2, "no-such");

    let report = world.json(&["rollback", name, "--to", &pinned[..10], "--reason", "it broke"]);

    assert_eq!(report["schema"], "lambda-os/rollback/v1");
    assert_eq!(report["to"], pinned);
    assert_eq!(world.git(&["rev-parse", &format!("HEAD:{}", module.path)]).trim(), pinned);
    assert_eq!(world.git(&["show", "HEAD:flake.lock"]), lock, "all places of the pin go back");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(git(&module.checkout, ["rev-parse", "HEAD"]).trim(), pinned);
    let held = world.entries("module.held");
    let reason = held[0]["body"]["reason"].as_str().expect("a reason");
    assert_eq!(reason, format!("rolled back from {}: it broke", module.tip.short()));
    let certified = world.entries("proposal.certified");
    let certificates: std::collections::BTreeSet<String> =
        certified.iter().map(|entry| entry["body"]["certificate"].to_string()).collect();
    assert_eq!(certificates.len(), 2, "one for each of the two changes, however often it is named");
    let (exit, said) = world.run(&["run", "--once"]);
    assert!(exit == 0 || exit == 3, "{said}");
    assert!(world.proposals().iter().all(|(_, open)| open.name != name), "the bad revision comes back");
}
