//! What forbids landing: each refusal by its reason, with everything as it was.

use std::path::Path;

use lambda_os::ports::{FailureKind, LandingState, Superproject as _};

use crate::support::{Fingerprint, git};
use crate::world::World;

fn write(at: &Path, name: &str, content: &str) {
    std::fs::write(at.join(name), content).expect("a file is written");
}

/// Prepare a workspace, and see both `obstacles` and `land` refuse for this reason.
#[track_caller]
fn refused(why: &str, prepare: impl FnOnce(&World)) {
    let world = World::new();
    let landing = world.landing();
    prepare(&world);
    let before = Fingerprint::of(world.path());
    let repository = world.repository();
    let obstacles = repository.obstacles(landing.expected, &landing.edits).expect("an answer");
    assert!(obstacles.iter().any(|obstacle| obstacle.contains(why)), "{why}: {obstacles:?}");
    let error = repository.land(&landing).expect_err("it is refused");
    let said = format!("{:?}", error.source);
    assert!(said.contains(why), "{why}: {said}");
    assert_eq!(error.kind, FailureKind::Failed);
    before.assert_equal(&Fingerprint::of(world.path()));
}

#[test]
fn a_head_that_is_no_branch_or_an_operation_under_way() {
    refused("HEAD is detached", |world| {
        git(world.path(), ["checkout", "-q", "--detach"]);
    });
    refused(" is at ", |world| {
        git(world.path(), ["commit", "-q", "--allow-empty", "-m", "more"]);
    });
    refused("a git merge is under way", |world| {
        write(world.path(), ".git/MERGE_HEAD", &format!("{}\n", world.head()));
    });
    refused("a git bisect is under way", |world| {
        git(world.path(), ["bisect", "start"]);
    });
    refused("a git rebase is under way", |world| {
        std::fs::create_dir(world.path().join(".git/rebase-merge")).expect("a directory");
    });
}

#[test]
fn a_pin_file_that_is_not_as_committed() {
    refused("flake.lock has changes that are not committed", |world| {
        write(world.path(), "flake.lock", "{}\n");
    });
    refused("flake.lock is staged as something else", |world| {
        write(world.path(), "flake.lock", "{}\n");
        git(world.path(), ["add", "flake.lock"]);
    });
    refused("flake.nix is missing in the work tree", |world| {
        std::fs::remove_file(world.path().join("flake.nix")).expect("removed");
    });
    refused("flake.nix has changes", |world| {
        std::fs::rename(world.path().join("flake.nix"), world.path().join("real")).expect("renamed");
        std::os::unix::fs::symlink("real", world.path().join("flake.nix")).expect("a link");
    });
    refused("flake.lock is flagged assume-unchanged", |world| {
        git(world.path(), ["update-index", "--assume-unchanged", "flake.lock"]);
    });
    refused("flake.lock is flagged skip-worktree", |world| {
        git(world.path(), ["update-index", "--skip-worktree", "flake.lock"]);
    });
    refused("flake.lock has changes", |world| {
        git(world.path(), ["config", "core.fileMode", "true"]);
        let path = world.path().join("flake.lock");
        let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        std::fs::set_permissions(path, mode).expect("chmod");
    });
}

#[test]
fn a_gitlink_that_is_staged_or_whose_place_is_taken() {
    refused("is staged as something else", |world| {
        let path = world.moved.path.to_string();
        let id = world.other.tip.to_string();
        git(world.path(), ["update-index", "--cacheinfo", &format!("160000,{id},{path}")]);
    });
    refused("is a file or a symlink in the work tree", |world| {
        let place = &world.moved.checkout;
        std::fs::rename(place, world.path().join("aside")).expect("renamed");
        std::os::unix::fs::symlink("../aside", place).expect("a link");
    });
    refused("a directory above", |world| {
        let repos = world.moved.checkout.parent().expect("a parent");
        std::fs::rename(repos, world.path().join("aside")).expect("renamed");
        std::os::unix::fs::symlink("aside", repos).expect("a link");
    });
}

#[test]
fn attributes_under_which_files_are_not_their_bytes() {
    let attribute =
        |line: &'static str| move |world: &World| write(&world.path().join(".git/info"), "attributes", line);
    refused("goes through a filter", |world| {
        git(world.path(), ["config", "filter.f.smudge", "cat"]);
        attribute("flake.lock filter=f\n")(world);
    });
    refused("goes through a filter", |world| {
        git(world.path(), ["config", "filter.f.clean", "cat"]);
        attribute("flake.lock filter=f\n")(world);
    });
    refused("has the attribute ident", attribute("flake.nix ident\n"));
    refused(
        "has the attribute ident or working-tree-encoding",
        attribute("flake.nix working-tree-encoding=UTF-16\n"),
    );
    refused("checked out with CRLF", attribute("flake.nix text eol=crlf\n"));
    refused("checked out with CRLF", |world| {
        git(world.path(), ["config", "core.autocrlf", "true"]);
    });
    // Text whose line ends stay as they are is no obstacle.
    let world = World::new();
    attribute("* text=auto\n")(&world);
    git(world.path(), ["config", "core.autocrlf", "input"]);
    let landing = world.landing();
    world.repository().land(&landing).expect("it lands");
    assert_eq!(world.status(), b"");
}

#[test]
fn a_lock_that_another_git_holds_is_busy_and_stays() {
    let world = World::new();
    let landing = world.landing();
    let lock = world.path().join(".git/index.lock");
    write(world.path(), ".git/index.lock", "");
    let before = Fingerprint::of(world.path());
    let repository = world.repository();
    assert_eq!(
        repository.obstacles(landing.expected, &landing.edits).expect_err("busy").kind,
        FailureKind::Busy
    );
    assert_eq!(repository.land(&landing).expect_err("busy").kind, FailureKind::Busy);
    repository.abandon(&landing).expect("there is nothing of ours");
    before.assert_equal(&Fingerprint::of(world.path()));
    assert!(lock.exists());
    assert_eq!(repository.landing_state(&landing).expect("an answer"), LandingState::NotBegun);
    // A ref that another git holds is left to it too.
    std::fs::remove_file(&lock).expect("removed");
    write(world.path(), ".git/refs/heads/main.lock", "");
    let before = Fingerprint::of(world.path());
    assert_eq!(repository.land(&landing).expect_err("busy").kind, FailureKind::Busy);
    before.assert_equal(&Fingerprint::of(world.path()));
}

#[test]
fn a_new_file_is_not_put_over_one_that_git_does_not_know() {
    use lambda_os::domain::change::{PathContent, PathEdit};
    let world = World::new();
    let content = b"new\n".to_vec();
    let new = PathContent::File { executable: true, content };
    let edit = PathEdit { path: "new/dir/file".into(), old: None, new };
    let repository = world.repository();
    let expected = world.head();
    let edits = vec![edit];
    let target = repository.commit(expected, &edits, "m", 0).expect("a commit");
    let reference = "refs/heads/main".to_owned();
    let landing = lambda_os::ports::Landing { reference, expected, target, edits, modules: Vec::new() };
    std::fs::create_dir_all(world.path().join("new/dir")).expect("directories");
    write(world.path(), "new/dir/file", "mine\n");
    let said = repository.obstacles(expected, &landing.edits).expect("an answer");
    assert!(said[0].contains("is in the work tree and not in git"), "{said:?}");
    repository.land(&landing).expect_err("it is refused");
    std::fs::remove_dir_all(world.path().join("new")).expect("removed");
    repository.land(&landing).expect("it lands");
    assert_eq!(world.status(), b"");
    assert_eq!(std::fs::read(world.path().join("new/dir/file")).expect("it is there"), b"new\n");
}
