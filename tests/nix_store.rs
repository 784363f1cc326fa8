//! Sources from git directories in the real Nix store.
mod support;

use std::fs;

use lambda_os::adapters::git::nar::Fetched;
use lambda_os::adapters::git::sources::SourceRepository;
use lambda_os::adapters::nix_store::NixStore;
use lambda_os::domain::flake::nar::NarHash;
use lambda_os::domain::id::ObjectId;
use lambda_os::ports::FailureKind;
use support::{git, have, temp_dir};

const CONFIG: &str = "experimental-features = nix-command flakes\nsubstituters =\nbuild-users-group =\n\
    sandbox = false\nflake-registry =\n";

fn store() -> NixStore {
    NixStore::default().env("NIX_CONFIG", CONFIG)
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
    let store = store();
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
