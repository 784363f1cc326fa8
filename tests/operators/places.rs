//! The places themselves: what is shown is read, nobody writes another's corner, and nothing that a
//! place holds runs or costs more than its bound.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use lambda_os::adapters::exchange::directory::SharedDirectory;
use lambda_os::adapters::exchange::repository::SharedRepository;
use lambda_os::domain::governance::exchange::{MAX_MESSAGES, Message, MessageKind};
use lambda_os::domain::url::{RemoteUrl, UrlRules};
use lambda_os::ports::{Exchange, FailureKind};
use tempfile::TempDir;

use crate::support::{Canaries, git, temp_dir};
use crate::world::{REFS, show};

fn ballot(text: &str) -> Message {
    Message::new(MessageKind::Ballot, text.as_bytes().to_vec())
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn repository(temp: &TempDir, name: &str) -> SharedRepository {
    let shared = temp.path().join("shared.git");
    if !shared.exists() {
        git(temp.path(), ["init", "-q", "--bare", "shared.git"]);
    }
    let url = RemoteUrl::parse(&shared.to_string_lossy(), UrlRules::with_local(true)).expect("a path");
    let cache = temp.path().join(format!("cache-{name}"));
    SharedRepository::new(&cache, url, name.to_owned(), Duration::from_mins(1)).with_home(temp.path())
}

fn directory(temp: &TempDir, name: &str) -> SharedDirectory {
    let shared = temp.path().join("shared");
    std::fs::create_dir_all(&shared).expect("a directory");
    SharedDirectory::new(shared, name.to_owned())
}

/// What both kinds of places do alike.
fn hands_over(ann: &dyn Exchange, bob: &dyn Exchange) {
    let all = names(&["ann", "b.lock", "cat"]);
    assert!(ann.gather(&all).expect("it answers").messages.values().all(BTreeSet::is_empty));
    let (one, two) = (ballot("one"), Message::new(MessageKind::Certificate, b"two".to_vec()));
    let shown = BTreeSet::from([one.clone(), two.clone()]);
    assert!(ann.publish(&shown).expect("it takes it"));
    ann.gather(&all).expect("it answers");
    assert!(!ann.publish(&shown).expect("it takes it"), "it stands there already");
    assert!(bob.publish(&BTreeSet::from([two.clone()])).expect("it takes it"));
    let found = bob.gather(&all).expect("it answers");
    assert_eq!(found.messages["ann"], shown);
    assert_eq!(found.messages["b.lock"], BTreeSet::from([two.clone()]));
    assert_eq!(found.left_alone, Vec::<String>::new());
    // Only those who are asked for are looked at.
    let found = bob.gather(&names(&["ann"])).expect("it answers");
    assert_eq!(found.messages.keys().collect::<Vec<_>>(), ["ann"]);
    // What is not shown any more is gone, and only from one's own corner.
    ann.gather(&all).expect("it answers");
    assert!(ann.publish(&BTreeSet::from([one.clone()])).expect("it takes it"));
    let found = bob.gather(&all).expect("it answers");
    assert_eq!(found.messages["ann"], BTreeSet::from([one]));
    assert_eq!(found.messages["b.lock"], BTreeSet::from([two]));
}

#[test]
fn messages_go_through_a_repository() {
    let temp = temp_dir();
    hands_over(&repository(&temp, "ann"), &repository(&temp, "b.lock"));
}

#[test]
fn messages_go_through_a_directory() {
    let temp = temp_dir();
    hands_over(&directory(&temp, "ann"), &directory(&temp, "b.lock"));
}

#[test]
fn a_place_that_is_not_there_is_said_and_not_made() {
    let temp = temp_dir();
    let (repository, directory) = (repository(&temp, "ann"), directory(&temp, "ann"));
    std::fs::remove_dir_all(temp.path().join("shared.git")).expect("it was there");
    std::fs::remove_dir_all(temp.path().join("shared")).expect("it was there");
    for place in [&repository as &dyn Exchange, &directory] {
        let error = place.gather(&names(&["ann"])).expect_err("it is gone");
        assert_eq!(error.kind, FailureKind::Temporary, "{error}");
        assert!(place.publish(&BTreeSet::from([ballot("x")])).is_err());
    }
    assert!(!temp.path().join("shared").exists() && !temp.path().join("shared.git").exists());
}

#[test]
fn what_is_no_message_in_a_repository_is_left_alone() {
    let temp = temp_dir();
    let ann = repository(&temp, "ann");
    let shared = temp.path().join("shared.git");
    let good = ballot("good");
    show(
        &shared,
        "bob",
        &[
            (good.name(), good.bytes.clone()),
            (ballot("x").name(), b"another content".to_vec()),
            ("hello".to_owned(), b"x".to_vec()),
            (ballot(&"x".repeat(1 << 20)).name(), "x".repeat(1 << 20).into_bytes()),
        ],
    );
    let found = ann.gather(&names(&["bob"])).expect("it answers");
    assert_eq!(found.messages["bob"], BTreeSet::from([good]));
    assert_eq!(found.left_alone.len(), 1, "{:?}", found.left_alone);
    assert!(found.left_alone[0].contains("1 more or larger"), "{:?}", found.left_alone);
    assert!(found.left_alone[0].contains("2 that are not"), "{:?}", found.left_alone);

    // A ref that is no commit, and one that is damaged, cost the others nothing.
    let blob = git(&shared, ["rev-parse", &format!("{REFS}/bob:hello")]);
    git(&shared, ["update-ref", &format!("{REFS}/cat"), blob.trim()]);
    let found = ann.gather(&names(&["bob", "cat"])).expect("it answers");
    assert_eq!(found.messages["bob"].len(), 1);
    assert!(found.left_alone.iter().any(|said| said.contains("what cat shows")), "{:?}", found.left_alone);
}

#[test]
fn what_is_no_message_in_a_directory_is_left_alone() {
    let temp = temp_dir();
    let ann = directory(&temp, "ann");
    let corner = temp.path().join("shared/bob");
    std::fs::create_dir(&corner).expect("a directory");
    let good = ballot("good");
    std::fs::write(corner.join(good.name()), &good.bytes).expect("a file");
    std::fs::write(corner.join(ballot("x").name()), "another content").expect("a file");
    std::fs::write(corner.join("hello"), "x").expect("a file");
    symlink("/dev/zero", corner.join(ballot("zero").name())).expect("a link");
    let mut fifo = std::process::Command::new("mkfifo");
    assert!(fifo.arg(corner.join(ballot("pipe").name())).status().expect("it starts").success());
    std::fs::create_dir(corner.join(ballot("dir").name())).expect("a directory");
    let found = ann.gather(&names(&["bob"])).expect("it answers");
    assert_eq!(found.messages["bob"], BTreeSet::from([good]));
    assert!(found.left_alone[0].contains("4 that are not"), "{:?}", found.left_alone);

    // Our corner is somebody's link to elsewhere: nothing is written there.
    let elsewhere = temp.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    symlink(&elsewhere, temp.path().join("shared/ann")).expect("a link");
    assert!(ann.publish(&BTreeSet::from([ballot("x")])).is_err());
    assert_eq!(std::fs::read_dir(&elsewhere).expect("it is there").count(), 0);
}

#[test]
fn one_operator_shows_a_bounded_number() {
    let temp = temp_dir();
    let ann = directory(&temp, "ann");
    let corner = temp.path().join("shared/bob");
    std::fs::create_dir(&corner).expect("a directory");
    for at in 0..MAX_MESSAGES + 20 {
        let message = ballot(&at.to_string());
        std::fs::write(corner.join(message.name()), &message.bytes).expect("a file");
    }
    let found = ann.gather(&names(&["bob"])).expect("it answers");
    assert_eq!(found.messages["bob"].len(), MAX_MESSAGES);
    assert!(found.left_alone[0].contains("20 more or larger"), "{:?}", found.left_alone);
}

/// A file that leaves a trace when it is run.
fn trap(path: &Path, canaries: &Canaries, name: &str) {
    std::fs::create_dir_all(path.parent().expect("it is in a directory")).expect("a directory");
    std::fs::write(path, format!("#!/bin/sh\n{}\n", canaries.command(name))).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("rights");
}

#[test]
fn nothing_that_a_shared_repository_configures_runs() {
    let temp = temp_dir();
    let canaries = Canaries::new(temp.path().join("canaries"));
    let (ann, bob) = (repository(&temp, "ann"), repository(&temp, "bob"));
    let shared = temp.path().join("shared.git");
    for hook in
        ["pre-receive", "update", "post-receive", "post-update", "reference-transaction", "proc-receive"]
    {
        trap(&shared.join("hooks").join(hook), &canaries, hook);
        trap(&temp.path().join("hooks").join(hook), &canaries, &format!("{hook}-elsewhere"));
    }
    let alternate = temp.path().join("alternate.git");
    git(temp.path(), ["init", "-q", "--bare", "alternate.git"]);
    std::fs::write(
        shared.join("objects/info/alternates"),
        format!("{}\n", alternate.join("objects").display()),
    )
    .expect("a file");
    let set = |key: &str, value: &str| git(&shared, ["config", key, value]);
    set("core.hooksPath", &temp.path().join("hooks").to_string_lossy());
    set("core.alternateRefsCommand", &canaries.command("alternates"));
    set("core.fsmonitor", &canaries.command("fsmonitor"));
    set("core.sshCommand", &canaries.command("ssh"));
    set("uploadpack.packObjectsHook", &canaries.command("pack-objects"));
    set("gc.recentObjectsHook", &canaries.command("recent"));
    set("gc.auto", "1");
    for round in 0..3 {
        ann.gather(&names(&["ann", "bob"])).expect("it answers");
        assert!(ann.publish(&BTreeSet::from([ballot(&round.to_string())])).expect("it takes it"));
        assert_eq!(bob.gather(&names(&["ann", "bob"])).expect("it answers").messages["ann"].len(), 1);
    }
    // Without its hook such a repository takes nothing; the hook does not run either.
    set("receive.procReceiveRefs", "refs/lambda-os");
    ann.gather(&names(&["ann", "bob"])).expect("it answers");
    let refused = ann.publish(&BTreeSet::from([ballot("x")])).expect_err("its hook is not run");
    assert_eq!(refused.kind, FailureKind::Temporary, "{refused}");
    canaries.assert_silent();
}

#[test]
fn who_overwrites_our_ref_is_overwritten_and_ours_only_by_compare_and_swap() {
    let temp = temp_dir();
    let ann = repository(&temp, "ann");
    let shared = temp.path().join("shared.git");
    let own = BTreeSet::from([ballot("mine")]);
    ann.publish(&own).expect("it takes it");
    let lie = ballot("a lie");
    show(&shared, "ann", &[(lie.name(), lie.bytes.clone())]);
    // Between our look and our push: nothing of theirs is lost unseen.
    ann.gather(&names(&["ann"])).expect("it answers");
    show(&shared, "ann", &[(ballot("later").name(), b"later".to_vec())]);
    assert_eq!(ann.publish(&own).expect_err("it moved").kind, FailureKind::Temporary);
    assert!(ann.gather(&names(&["ann"])).expect("it answers").messages["ann"].contains(&ballot("later")));
    assert!(ann.publish(&own).expect("it takes it"));
    assert_eq!(ann.gather(&names(&["ann"])).expect("it answers").messages["ann"], own);
}

#[test]
fn a_copy_that_was_cut_short_or_grew_is_made_anew() {
    let temp = temp_dir();
    let (ann, bob) = (repository(&temp, "ann"), repository(&temp, "bob"));
    for round in 0..70 {
        bob.publish(&BTreeSet::from([ballot(&round.to_string())])).expect("it takes it");
        let found = ann.gather(&names(&["bob"])).expect("it answers");
        assert!(found.messages["bob"].contains(&ballot(&round.to_string())), "{round}");
        if round == 3 {
            let copy = std::fs::read_dir(temp.path().join("cache-ann")).expect("it is there").flatten();
            let copy = copy.map(|entry| entry.path()).find(|path| path.is_dir()).expect("a copy");
            let lock = copy.join("refs/lambda-os/gov/bob.lock");
            std::fs::write(lock, "").expect("a file");
        }
    }
}
