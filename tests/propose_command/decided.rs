//! From a program's changes to a commit.

use std::fs;

use serde_json::Value;

use crate::support::{Fingerprint, git};
use crate::world::World;

const CODEMOD: &str =
    "sed -i s/one/uno/ docs/a.md docs/b.md; mkdir -p docs/new; echo hi > docs/new/c.md; chmod +x run.sh";

/// What git makes of the same changes on HEAD, in a clone of its own.
fn by_git(world: &World, script: &str) -> String {
    let clone = world.workspace.temp.path().join("clone");
    git(world.workspace.temp.path(), ["clone", "-q", world.path().to_str().expect("UTF-8"), "clone"]);
    let mut shell = std::process::Command::new("sh");
    let done = shell.args(["-euc", script]).current_dir(&clone).status().expect("sh runs");
    assert!(done.success());
    git(&clone, ["add", "-A"]);
    let tree = git(&clone, ["write-tree"]);
    fs::remove_dir_all(&clone).expect("removed");
    tree
}

#[test]
fn a_codemods_changes_are_decided_on_and_applied_as_git_would_have_them() {
    let world = World::new();
    let id = world.proposed(CODEMOD);
    let tree = by_git(&world, CODEMOD);

    let list = world.json(&["proposal", "list"]);
    assert_eq!(list["proposals"][0]["purpose"], "command");
    assert!(world.ok(&["proposal", "list"]).contains("made by a command"));
    let shown = world.json(&["proposal", "show", &id]);
    let paths: Vec<&str> = shown["delta"]["files"]
        .as_array()
        .expect("files")
        .iter()
        .filter_map(|file| file["path"].as_str())
        .collect();
    assert_eq!(paths, ["docs/a.md", "docs/b.md", "docs/new/c.md", "run.sh"]);
    let page = world.ok(&["proposal", "show", &id]);
    assert!(page.contains("docs/new/c.md") && page.contains("unverified"), "{page}");
    let evidence = shown["evidence"].as_str().expect("evidence");
    let said = world.ok(&["audit", "show", evidence]);
    assert!(said.contains("sed -i") && said.contains("\"layers\""), "{said}");
    let diff = world.ok(&["proposal", "diff", &id]);
    assert!(diff.contains("-one") && diff.contains("+uno") && diff.contains("new mode 100755"), "{diff}");

    let ballot = world.ok(&["proposal", "ballot", &id]);
    assert!(ballot.contains("\nfile: none -> bafkrei") && ballot.contains(" at docs/new/c.md\n"), "{ballot}");
    world.fails(&["proposal", "apply", &id], 6, "is not approved");
    let said = world.ok(&["proposal", "approve", "--yes", &id]);
    assert!(said.contains("docs/a.md"), "{said}");
    world.cycle();
    let state = world.git(&["status", "--porcelain"]);
    world.ok(&["proposal", "apply", &id]);
    assert_eq!(world.git(&["rev-parse", "HEAD^{tree}"]), tree);
    assert_eq!(world.git(&["status", "--porcelain"]), state);
    assert_eq!(fs::read_to_string(world.path().join("docs/new/c.md")).expect("there"), "hi\n");
    assert_eq!(
        fs::read_to_string(world.path().join("README.md")).expect("there"),
        "edited and not committed\n"
    );
    assert!(world.git(&["log", "-1", "--format=%B"]).contains("add docs/new/c.md"));
    world.ok(&["audit", "verify"]);
}

#[test]
fn the_same_change_is_found_again_and_no_change_is_none() {
    let world = World::new();
    let id = world.proposed(CODEMOD);
    let again = world.propose(&[], CODEMOD);
    assert_eq!((&again["outcome"], &again["proposal"]), (&Value::from("known"), &Value::from(id.clone())));
    let nothing = world
        .propose(&[], "touch docs/a.md; echo x > a.secret; mkdir -p target/x empty; echo y > target/x/y");
    assert_eq!(nothing["outcome"], "nothing", "{nothing:#}");
    assert!(nothing["notes"].to_string().contains("2 new files are left out"), "{nothing:#}");
    world.ok(&["proposal", "withdraw", &id]);
    assert_ne!(world.proposed(CODEMOD), id);
}

#[test]
fn a_program_sees_the_commit_with_its_modules_and_a_repository_of_its_own() {
    let world = World::new();
    let module = world.module().path.clone();
    let script = format!(
        "test -z \"$(git status --porcelain)\"; test -e '{module}/flake.nix'; test ! -e .env; test ! -e key.secret
         test \"$(readlink link.md)\" = docs/a.md; test \"$(git log --oneline | wc -l)\" = 1
         git config --get remote.origin.url && exit 9
         ! grep -q edited README.md
         echo three >> docs/a.md; git add -A; git commit -qm mine; git diff --quiet
         test \"$HOME\" != '{}'",
        world.workspace.temp.path().display()
    );
    world.proposed(&script);
}

#[test]
fn a_base_that_moves_keeps_the_change_or_ends_it() {
    let world = World::new();
    let (first, second) = (world.proposed("echo x >> docs/a.md"), world.proposed("echo y >> docs/b.md"));
    fs::write(world.path().join("docs/b.md"), "other\n").expect("written");
    git(world.path(), ["commit", "-qm", "moved", "docs/b.md"]);
    world.cycle();
    let stage = |id: &str| world.json(&["proposal", "show", id])["stage"].clone();
    assert_eq!(stage(&first)["stage"], "open");
    assert_eq!(stage(&second)["outcome"], "obsolete");
    assert!(stage(&second)["reason"].as_str().is_some_and(|why| why.contains("docs/b.md is not what")));
    world.ok(&["proposal", "approve", "--yes", &first]);
    git(world.path(), ["commit", "-q", "--allow-empty", "-m", "moved again"]);
    world.ok(&["proposal", "apply", &first]);
    assert_eq!(world.git(&["show", "HEAD:docs/a.md"]), "one\ntwo\nx\n");
    assert_eq!(world.git(&["show", "HEAD:docs/b.md"]), "other\n");
    // What was approved and no longer stands on HEAD is not applied.
    let third = world.proposed("echo z >> docs/a.md");
    world.ok(&["proposal", "approve", "--yes", &third]);
    fs::write(world.path().join("docs/a.md"), "other\n").expect("written");
    git(world.path(), ["commit", "-qm", "moved", "docs/a.md"]);
    world.fails(&["proposal", "apply", &third], 1, "docs/a.md is not what the change was made for");
    assert_eq!(world.git(&["show", "HEAD:docs/a.md"]), "other\n");
}

#[test]
fn what_was_tampered_with_is_exit_7() {
    let world = World::new();
    let id = world.proposed("echo x >> docs/a.md; echo y >> docs/b.md");
    world.ok(&["proposal", "approve", "--yes", &id]);
    let shown = world.json(&["proposal", "show", &id]);
    let names = [
        shown["change"].as_str().expect("an id"),
        shown["delta"]["files"][1]["new"]["content"].as_str().expect("an id"),
    ];
    for name in names {
        let path = world.object(name);
        let bytes = fs::read(&path).expect("stored");
        fs::write(&path, [&bytes[..], b" "].concat()).expect("written");
        let (exit, said) = world.run(&["proposal", "apply", &id]);
        assert_eq!(exit, 7, "{said}");
        fs::remove_file(&path).expect("removed");
        let (exit, said) = world.run(&["proposal", "apply", &id]);
        assert_eq!(exit, 7, "{said}");
        fs::write(&path, bytes).expect("written");
    }
    world.ok(&["proposal", "apply", &id]);
}

#[test]
fn it_is_carried_elsewhere_with_its_contents() {
    let world = World::new();
    let id = world.proposed(CODEMOD);
    world.ok(&["proposal", "approve", "--yes", &id]);
    let packet = world.workspace.temp.path().join("packet");
    world.ok(&["proposal", "export", &id, "--out", packet.to_str().expect("UTF-8")]);
    let key = world.workspace.state().join("keys/operator");
    let there = world.workspace.temp.path().join("there");
    let run = |args: &[&str]| {
        let mut command = crate::support::lambda_os(world.workspace.temp.path());
        command.arg("-C").arg(world.path()).arg("--state-dir").arg(&there);
        command.arg("--config").arg(world.workspace.temp.path().join("config.toml")).args(args);
        let output = command.output().expect("lambda-os runs");
        (output.status.code(), crate::support::said(&output))
    };
    let public = format!("{}.pub", key.display());
    let (exit, said) = run(&["init", "--trust", &public, "--as", "operator"]);
    assert_eq!(exit, Some(0), "{said}");
    let before = Fingerprint::of(world.path());
    let (exit, said) = run(&["proposal", "import", packet.to_str().expect("UTF-8")]);
    assert_eq!(exit, Some(0), "{said}");
    before.assert_equal(&Fingerprint::of(world.path()));
    let (exit, said) = run(&["proposal", "diff", &id]);
    assert!(exit == Some(0) && said.contains("+uno"), "{said}");
    let (exit, said) = run(&["proposal", "apply", &id]);
    assert_eq!(exit, Some(0), "{said}");
    assert_eq!(world.git(&["show", "HEAD:docs/b.md"]), "uno\n");
}
