//! Landings that succeed: the pin moves in all its places, and nothing else does.

use std::path::Path;

use lambda_os::domain::change::PathEdit;
use lambda_os::ports::{Landed, Landing, LandingState, Superproject as _};

use crate::support::odd::OddForm;
use crate::support::{Canaries, Fingerprint, git, git_bytes, temp_dir};
use crate::world::{World, file_edit, head_of, repository_at};

/// Index entries with stat data, but for the paths of the change.
fn other_entries(at: &Path, edits: &[PathEdit]) -> Vec<u8> {
    let mut args = vec!["ls-files".to_owned(), "-s".into(), "-v".into(), "--debug".into(), "--".into()];
    args.push(".".to_owned());
    args.extend(edits.iter().map(|edit| format!(":(exclude){}", edit.path)));
    git_bytes(at, args)
}

/// Everything outside git directories but the paths of the change.
fn other_files(world: &World, edits: &[PathEdit]) -> Fingerprint {
    let paths: Vec<String> = edits.iter().map(|edit| edit.path.to_string()).collect();
    let mut left_out: Vec<&Path> = paths.iter().map(Path::new).collect();
    left_out.push(Path::new(".git"));
    Fingerprint::without(world.path(), &left_out)
}

#[track_caller]
fn assert_landed(world: &World, landing: &Landing) {
    let at = world.path();
    assert_eq!(git(at, ["rev-parse", "refs/heads/main"]).trim(), landing.target.to_string());
    assert_eq!(git(at, ["symbolic-ref", "HEAD"]).trim(), "refs/heads/main");
    for edit in &landing.edits {
        let path = edit.path.to_string();
        // Without refreshing: the stat data of the new entries are right.
        assert_eq!(git(at, ["diff-files", "--name-only", "--", &path]), "", "{path} in the work tree");
        assert_eq!(
            git(at, ["diff-index", "--cached", "--name-only", "HEAD", "--", &path]),
            "",
            "{path} staged"
        );
    }
    assert!(!at.join(".git/index.lock").exists(), "the lock is left");
    git(at, ["fsck", "--no-dangling"]);
}

#[test]
fn whatever_form_the_index_has_only_the_pin_moves() {
    let forms = std::iter::once(None).chain(OddForm::ALL.into_iter().map(Some));
    for form in forms.filter(|form| form.is_none_or(OddForm::is_possible)) {
        let world = World::new();
        if let Some(form) = form {
            form.apply(world.path());
        }
        world.at_work();
        let landing = world.landing();
        let repository = world.repository();
        let obstacles = repository.obstacles(landing.expected, &landing.edits).expect("an answer");
        assert_eq!(obstacles, Vec::<String>::new(), "{form:?}");
        assert_eq!(repository.landing_state(&landing).expect("an answer"), LandingState::NotBegun);
        let (status, entries) = (world.status(), other_entries(world.path(), &landing.edits));
        let files = other_files(&world, &landing.edits);

        let landed = repository.land(&landing).expect("it lands");

        assert_eq!(landed, Landed::default(), "{form:?}");
        files.assert_equal(&other_files(&world, &landing.edits));
        // What its operator left in the moved module is still said, of its new commit.
        let (pinned, tip) = (world.moved.pinned.to_string(), world.moved.tip.to_string());
        let status = String::from_utf8_lossy(&status).replace(&pinned, &tip);
        assert_eq!(String::from_utf8_lossy(&world.status()), status, "{form:?}");
        assert_eq!(other_entries(world.path(), &landing.edits), entries, "{form:?}");
        assert_landed(&world, &landing);
        assert_eq!(repository.landing_state(&landing).expect("an answer"), LandingState::Done);
        // The checkout came along, with what its operator left in it.
        assert_eq!(head_of(&world.moved.checkout), world.moved.tip, "{form:?}");
        assert_eq!(git(&world.moved.checkout, ["status", "--porcelain"]), "?? untracked-in-module\n");
        git(&world.moved.checkout, ["fsck", "--no-dangling"]);
        assert_eq!(head_of(&world.other.checkout), world.other.tip, "{form:?}");
        // Once more changes nothing.
        let before = Fingerprint::of(world.path());
        repository.land(&landing).expect("it is there");
        before.assert_equal(&Fingerprint::of(world.path()));
        if form == Some(OddForm::SplitIndex) {
            assert!(git(world.path(), ["rev-parse", "--shared-index-path"]).contains("sharedindex."));
        }
    }
}

#[test]
fn a_file_keeps_its_rights() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let lock = world.path().join("flake.lock");
    std::fs::set_permissions(&lock, std::fs::Permissions::from_mode(0o640)).expect("chmod");
    let landing = world.landing();
    world.repository().land(&landing).expect("it lands");
    assert_eq!(std::fs::metadata(&lock).expect("it is there").permissions().mode() & 0o777, 0o640);
    assert_eq!(world.status(), b"");
}

#[test]
fn nothing_that_a_repository_configures_runs() {
    let world = World::new();
    let canaries = Canaries::new(world.workspace.temp.path().join("canaries"));
    for at in [world.path(), &world.moved.checkout] {
        let git_dir = git(at, ["rev-parse", "--absolute-git-dir"]).trim().to_owned();
        let hooks = Path::new(&git_dir).join("hooks");
        std::fs::create_dir_all(&hooks).expect("a directory");
        for hook in
            ["reference-transaction", "post-index-change", "post-checkout", "post-commit", "pre-commit"]
        {
            let script = hooks.join(hook);
            std::fs::write(&script, format!("#!/bin/sh\n{}\n", canaries.command(hook))).expect("a hook");
            let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
            std::fs::set_permissions(&script, mode).expect("chmod");
        }
        for (key, name) in [
            ("core.fsmonitor", "fsmonitor"),
            ("core.sshCommand", "ssh"),
            ("core.pager", "pager"),
            ("core.editor", "editor"),
            ("filter.evil.clean", "clean"),
            ("filter.evil.smudge", "smudge"),
            ("diff.external", "diff"),
            ("gpg.program", "gpg"),
            ("uploadpack.packObjectsHook", "pack"),
        ] {
            git(at, ["config", key, &canaries.command(name)]);
        }
        git(at, ["config", "core.hooksPath", &hooks.to_string_lossy()]);
        git(at, ["config", "commit.gpgSign", "true"]);
        // A filter on what does not change is none of our business, and is not run either.
        std::fs::write(Path::new(&git_dir).join("info/attributes"), "*.txt filter=evil\n").expect("a file");
    }
    let landing = world.landing();
    let landed = world.repository().land(&landing).expect("it lands");
    canaries.assert_silent();
    // Where a filter may apply, the checkout stays for its operator.
    let came = head_of(&world.moved.checkout) == world.moved.tip;
    assert_eq!(landed.notes.is_empty(), came, "{landed:?}");
}

#[test]
fn linked_work_trees_packed_refs_and_sha256_are_landed_too() {
    for sha256 in [false, true] {
        let temp = temp_dir();
        let format = if sha256 { "--object-format=sha256" } else { "--object-format=sha1" };
        git(temp.path(), ["init", "-q", "-b", "main", format, "w"]);
        let main = temp.path().join("w");
        std::fs::write(main.join("f"), "f\n").expect("a file");
        git(&main, ["add", "f"]);
        git(&main, ["commit", "-q", "-m", "first"]);
        git(&main, ["branch", "deep/branch"]);
        git(&main, ["pack-refs", "--all"]);
        git(&main, ["worktree", "add", "-q", "../linked", "deep/branch"]);
        let linked = temp.path().join("linked");
        let repository = repository_at(&linked, temp.path());
        let edits = vec![file_edit(&linked, "f")];
        let expected = head_of(&linked);
        let target = repository.commit(expected, &edits, "m", 0).expect("a commit");
        let reference = "refs/heads/deep/branch".to_owned();
        let landing = Landing { reference, expected, target, edits, modules: Vec::new() };
        assert_eq!(repository.obstacles(expected, &landing.edits).expect("an answer"), Vec::<String>::new());
        repository.land(&landing).expect("it lands");
        assert_eq!(head_of(&linked), target);
        assert_eq!(git(&linked, ["status", "--porcelain"]), "");
        assert_eq!(head_of(&main), expected, "the other work tree stays");
        assert_eq!(git(&main, ["status", "--porcelain"]), "");
        let log = git(&linked, ["reflog", "-1", "--format=%gs %gn <%ge>"]);
        assert_eq!(log, format!("lambda-os: applied {} lambda-os <lambda-os@localhost>\n", target.short()));
    }
}

#[test]
fn a_checkout_in_which_something_could_be_lost_is_left_with_a_note() {
    type Case = (&'static str, fn(&World));
    let cases: [Case; 6] = [
        ("it is on a branch", |world| {
            git(&world.moved.checkout, ["checkout", "-q", "-b", "mine"]);
        }),
        ("is changed in it", |world| {
            let tracked = git(&world.moved.checkout, ["ls-files"]);
            let unchanged = tracked.lines().find(|path| {
                let range = format!("{}..{}", world.moved.pinned, world.moved.tip);
                let upstream = &world.moved.upstream;
                git(upstream, ["diff", "--name-only", &range, "--", path]).is_empty()
            });
            let path = world.moved.checkout.join(unchanged.expect("a file that stays"));
            std::fs::write(path, "mine\n").expect("a file");
        }),
        ("in it is not what its commit has", |world| {
            let range = format!("{}..{}", world.moved.pinned, world.moved.tip);
            let changed = git(&world.moved.upstream, ["diff", "--name-only", &range]);
            let path = world.moved.checkout.join(changed.lines().next().expect("a file that changes"));
            std::fs::write(path, "mine\n").expect("a file");
        }),
        ("it is a sparse checkout", |world| {
            git(&world.moved.checkout, ["sparse-checkout", "set", "--cone", "src"]);
        }),
        ("another git works on its index", |world| {
            std::fs::write(world.moved.git_dir.join("index.lock"), "").expect("a file");
        }),
        ("its new commit is not at hand", |world| {
            std::fs::remove_dir_all(world.workspace.temp.path().join("mirrors")).expect("removed");
        }),
    ];
    for (why, prepare) in cases {
        let world = World::new();
        prepare(&world);
        let before = Fingerprint::of(&world.moved.checkout);
        let landing = world.landing();
        let landed = world.repository().land(&landing).expect("it lands");
        assert_eq!(landed.notes.len(), 1, "{why}: {landed:?}");
        assert!(landed.notes[0].contains(why), "{why}: {landed:?}");
        assert!(landed.notes[0].ends_with(&format!("git submodule update -- {}", world.moved.path)));
        before.assert_equal(&Fingerprint::of(&world.moved.checkout));
        assert_eq!(head_of(world.path()), landing.target);
        assert_eq!(world.repository().landing_state(&landing).expect("an answer"), LandingState::Done);
    }
}

#[test]
fn a_module_that_is_not_checked_out_stays_so() {
    let world = World::new();
    git(world.path(), ["submodule", "--quiet", "deinit", "-f", "--", &world.moved.path.to_string()]);
    let landing = world.landing();
    assert_eq!(world.repository().land(&landing).expect("it lands"), Landed::default());
    assert_eq!(world.status(), b"");
}

#[test]
fn the_branch_that_went_on_is_done_and_one_that_went_elsewhere_is_not() {
    let world = World::new();
    let landing = world.landing();
    world.repository().land(&landing).expect("it lands");
    git(world.path(), ["commit", "-q", "--allow-empty", "-m", "more"]);
    let state = || world.repository().landing_state(&landing).expect("an answer");
    assert_eq!(state(), LandingState::Done);
    git(world.path(), ["revert", "--no-edit", &landing.target.to_string()]);
    assert!(matches!(state(), LandingState::Elsewhere(why) if why.contains("which has something else at")));
    git(world.path(), ["reset", "-q", "--hard", &landing.expected.to_string()]);
    git(world.path(), ["commit", "-q", "--allow-empty", "-m", "other"]);
    assert!(matches!(state(), LandingState::Elsewhere(why) if why.contains("does not contain")));
}
