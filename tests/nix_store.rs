//! Sources from git directories in the real Nix store: a locked flake is evaluated and built in
//! a network namespace without interfaces, from nothing but what was put there.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lambda_os::adapters::git::nar::Fetched;
use lambda_os::adapters::git::sources::SourceRepository;
use lambda_os::adapters::nix_store::NixStore;
use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::flake::nar::NarHash;
use lambda_os::domain::id::ObjectId;
use lambda_os::ports::FailureKind;
use lambda_os::sample::SampleSpec;
use support::{Workspace, environment, git, have, nix, said, temp_dir};

const CONFIG: &str = "experimental-features = nix-command flakes\nsubstituters =\nbuild-users-group =\n\
    sandbox = false\nflake-registry =\n";

fn store(program: &Path) -> NixStore {
    NixStore::with_program(program).env("NIX_CONFIG", CONFIG)
}

/// Every Nix at hand: `nix`, its `nix-store`, and a size that no other test and no other Nix has:
/// what they put into the machine's store would be help.
fn programs(what: &str) -> Vec<(PathBuf, PathBuf, SampleSpec)> {
    let mut all = Vec::new();
    if have("nix", what) {
        all.push(("nix".into(), "nix-store".into(), SampleSpec::sized(8, 17)));
    }
    if let Some(current) = nix::current(what) {
        all.push((current.clone(), current.with_file_name("nix-store"), SampleSpec::sized(9, 19)));
    }
    all
}

#[test]
fn a_locked_flake_is_evaluated_and_built_without_a_network() {
    let what = "that a locked flake needs no network";
    let programs = programs(what);
    let alone = Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|status| status.success());
    if !alone {
        eprintln!("SKIPPED: {what}: no network namespace can be made here");
        return;
    }
    for (nix, nix_store, spec) in programs {
        evaluated_and_built_alone(&nix, &store(&nix_store), &spec);
    }
}

fn evaluated_and_built_alone(program: &Path, store: &NixStore, spec: &SampleSpec) {
    let workspace = Workspace::new(spec);
    let lock = fs::read(workspace.path().join("flake.lock")).expect("read");
    let lock = Lock::parse(&lock).expect("a lock");
    let mut added = 0;
    for (_, node) in lock.nodes() {
        let Some(locked) = &node.locked else { continue };
        let (owner, repo) = (locked.text("owner").expect("owner"), locked.text("repo").expect("repo"));
        let upstream = workspace.sample.upstreams.join(owner).join(format!("{repo}.git"));
        let repository = SourceRepository::open(&upstream).expect("opened");
        let commit = repository.commit(locked.rev().expect("a revision")).expect("it is there");
        let hash: NarHash = locked.nar_hash().expect("a hash").parse().expect("a hash");
        let path = store.add_source(&repository, commit, Fetched::Tarball, Some(&hash)).expect("added");
        assert!(store.has(&hash).expect("asked"), "{path}");
        added += 1;
    }
    assert!(added > 4, "{added} sources");
    let nix = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .env_clear()
            .envs(environment(workspace.temp.path()))
            .env("NIX_CONFIG", CONFIG)
            .env("USER", "root");
        command.arg("-n").arg(program).args(args).current_dir(workspace.path()).output().expect("it starts")
    };
    // A cache of its own: the home is the test's.
    let flake = format!("path:{}", workspace.path().display());
    let shown = nix(&["flake", "metadata", "--no-update-lock-file", "--json", &flake]);
    assert!(shown.status.success(), "{}", said(&shown));
    let module = &workspace.sample.modules[0].name;
    let built = nix(&["build", "--no-link", "--no-update-lock-file", &format!("{flake}#{module}")]);
    assert!(built.status.success(), "{}", said(&built));
}

#[test]
fn another_hash_than_the_expected_one_adds_nothing() {
    if !have("nix-store", "that a wrong hash is refused") {
        return;
    }
    let temp = temp_dir();
    git(temp.path(), ["init", "-q", "repository"]);
    let at = temp.path().join("repository");
    fs::write(at.join("a"), temp.path().to_string_lossy().as_bytes()).expect("written");
    git(&at, ["add", "-A"]);
    git(&at, ["commit", "-q", "-m", "x"]);
    let repository = SourceRepository::open(&at).expect("opened");
    let commit: ObjectId = repository.commit("HEAD").expect("there");
    let store = store(Path::new("nix-store"));
    let wrong = NarHash([7; 32]);
    let error = store.add_source(&repository, commit, Fetched::Git, Some(&wrong)).expect_err("it is another");
    assert_eq!(error.kind, FailureKind::Integrity);
    let mut archive = Vec::new();
    let hash = repository.archive(commit, Fetched::Git, &mut archive, 1 << 20).expect("archived");
    assert!(!store.has(&hash).expect("asked"));
    let path = store.add_source(&repository, commit, Fetched::Git, None).expect("added");
    assert!(store.has(&hash).expect("asked"));
    assert_eq!(fs::read(format!("{path}/a")).expect("it is there"), fs::read(at.join("a")).expect("read"));

    let nowhere = NixStore::with_program(temp.path().join("nix-store"));
    let error = nowhere.add_source(&repository, commit, Fetched::Git, None).expect_err("there is no program");
    assert!(error.hint.is_some(), "{error}");
}
