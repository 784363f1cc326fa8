//! Where the answer differs from `git status` on purpose: one test for each row of the table in
//! the documentation of `adapters::git`, each asserting both answers.

use std::collections::BTreeSet;

use lambda_os::domain::snapshot::{ChangeKind, Engine, HidingFlag};
use lambda_os::ports::SnapshotOptions;

use super::world::{World, shown};

fn both(world: &World) -> (BTreeSet<String>, BTreeSet<String>) {
    let (snapshot, _) = world.snapshot("w");
    (shown(&snapshot.superproject.tree), world.status("w"))
}

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn touch(world: &World, name: &str) {
    let file = std::fs::File::options().append(true).open(world.path(name)).expect("opens");
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
}

#[test]
fn assume_unchanged_hides_nothing() {
    let world = World::with_repository();
    world.git("w", &["update-index", "--assume-unchanged", "a", "b.txt", "d/c"]);
    world.write("w/a", "uno\n");
    world.remove("w/b.txt");
    let (ours, git) = both(&world);
    assert_eq!((ours, git), (set(&[".M N... a", ".D N... b.txt"]), set(&[])));
    let hidden = world.snapshot("w").0.superproject.tree.hidden;
    assert_eq!(hidden.len(), 3);
    assert!(hidden.iter().all(|entry| entry.flag == HidingFlag::AssumeUnchanged));
}

#[test]
fn skip_worktree_hides_a_deletion_and_no_edit() {
    let world = World::with_repository();
    world.git("w", &["update-index", "--skip-worktree", "a", "b.txt", "d/c"]);
    world.write("w/a", "uno\n");
    world.remove("w/b.txt");
    let (ours, git) = both(&world);
    assert_eq!((ours, git), (set(&[".M N... a"]), set(&[])));
    assert_eq!(world.snapshot("w").0.superproject.tree.hidden.len(), 3);
}

#[test]
fn a_filtered_file_with_other_stat_data_is_not_judged() {
    let world = World::with_repository();
    world.write("w/.gitattributes", "*.bin filter=f\n");
    world.git("w", &["config", "filter.f.clean", "tr a-z A-Z"]);
    world.write("w/x.bin", "content\n");
    world.commit("w", "filtered");
    touch(&world, "w/x.bin");
    let (snapshot, _) = world.snapshot("w");
    let kinds: Vec<_> = snapshot.superproject.tree.changes.iter().map(|change| change.worktree).collect();
    assert_eq!(kinds, [ChangeKind::ModifiedOrFiltered]);
    assert_eq!(world.status("w"), set(&[]));
    // A driver that is named and not configured does nothing, for git as for us.
    world.git("w", &["config", "--unset", "filter.f.clean"]);
    let (ours, git) = both(&world);
    assert_eq!(ours, git);
}

#[test]
fn a_submodule_cannot_hide_itself() {
    let world = World::with_submodules();
    world.git("w", &["config", "-f", ".gitmodules", "submodule.m.ignore", "all"]);
    world.commit("w", "ignore it");
    world.write("w/m/x", "changed\n");
    world.write("w/m/new", "new\n");
    let (ours, git) = both(&world);
    assert_eq!((ours, git), (set(&[".M S.MU m"]), set(&[])));
}

#[test]
fn ignore_case_hides_no_file_that_is_there() {
    let world = World::with_repository();
    world.git("w", &["config", "core.ignoreCase", "true"]);
    world.write("w/A", "another file\n");
    let (ours, git) = both(&world);
    assert_eq!((ours, git), (set(&["?? A"]), set(&[])));
}

#[test]
fn a_broken_module_does_not_hide_the_others() {
    let world = World::with_submodules();
    world.write("w/m/.git", "gitdir: /nowhere\n");
    world.write("w/deep/n/x", "changed\n");
    assert!(!world.try_git("w", &["status"]).status.success(), "git gives up as a whole");
    let (snapshot, _) = world.snapshot("w");
    let problems: Vec<_> = snapshot.modules.iter().filter_map(|module| module.problem.as_deref()).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("leads to no repository"), "{problems:?}");
    assert!(shown(&snapshot.superproject.tree).contains(".M S.M. deep/n"));
}

#[test]
fn a_work_tree_elsewhere_is_a_problem() {
    let world = World::with_submodules();
    world.git("w/m", &["config", "core.worktree", "/"]);
    let (snapshot, _) = world.snapshot("w");
    let module = snapshot.modules.iter().find(|module| module.path.to_string() == "m").expect("m");
    assert!(module.problem.as_deref().is_some_and(|why| why.contains("core.worktree")), "{module:?}");
    assert!(module.dirty);
}

#[test]
fn depth_is_bounded_and_said() {
    let world = World::with_repository();
    let deep = vec!["d"; 230].join("/");
    world.write(&format!("w/deep/{deep}/x"), "u");
    let (snapshot, _) = world.snapshot("w");
    let bounded = &snapshot.superproject.tree.bounded;
    assert!(bounded.iter().any(|said| said.contains("nested deeper")), "{bounded:?}");
}

#[test]
fn bounds_on_untracked_files_are_said() {
    let world = World::with_repository();
    for name in ["1", "2", "3"] {
        world.write(&format!("w/{name}"), "12345678");
    }
    let options = SnapshotOptions { hash_untracked_bytes: Some(16), max_untracked: 100_000, threads: 1 };
    let tree = world.snapshot_with("w", &options).expect("read").0.superproject.tree;
    let hashed = tree.untracked.iter().filter(|file| file.content.is_some()).count();
    assert_eq!(hashed, 2);
    assert!(
        tree.bounded.iter().any(|said| said.contains("1 untracked files (8 bytes) were not hashed")),
        "{tree:?}"
    );
    let options = SnapshotOptions { hash_untracked_bytes: None, max_untracked: 2, threads: 1 };
    let tree = world.snapshot_with("w", &options).expect("read").0.superproject.tree;
    assert_eq!(tree.untracked.len(), 2);
    assert!(tree.bounded.iter().any(|said| said.contains("1 more untracked")), "{tree:?}");
}

#[test]
fn untracked_content_is_its_sha_256() {
    use lambda_os::domain::id::Cid;
    let world = World::with_submodules();
    world.write("w/u", "some content");
    world.link("the target", "w/l");
    world.write("w/m/u", "in a module");
    let (snapshot, _) = world.snapshot("w");
    let of = |tree: &lambda_os::domain::snapshot::TreeState| -> Vec<_> {
        tree.untracked.iter().filter_map(|file| file.content).collect()
    };
    assert_eq!(of(&snapshot.superproject.tree), [Cid::of(b"the target"), Cid::of(b"some content")]);
    let module = snapshot.modules.iter().find(|module| module.path.to_string() == "m").expect("m");
    assert_eq!(of(&module.tree), [Cid::of(b"in a module")]);
}

#[test]
fn the_engine_is_said() {
    let world = World::with_repository();
    assert_eq!(world.snapshot("w").0.superproject.tree.engine, Engine::Index);
}

#[test]
fn head_branch_operation_lock_and_ahead_are_read() {
    use lambda_os::domain::snapshot::{Ahead, Operation};
    let world = World::with_submodules();
    world.write("w/m/x", "more\n");
    world.commit("w/m", "ahead by one");
    world.git("w/deep/n", &["checkout", "-q", "--detach", "HEAD~"]);
    world.write("w/.git/index.lock", "");
    world.write("w/.git/MERGE_HEAD", "");
    let (snapshot, _) = world.snapshot("w");
    assert_eq!(snapshot.superproject.branch.as_deref(), Some("main"));
    assert_eq!(snapshot.superproject.operation, Some(Operation::Merge));
    assert!(snapshot.superproject.index_locked);
    let module =
        |path: &str| snapshot.modules.iter().find(|module| module.path.to_string() == path).expect("module");
    assert_eq!(module("m").ahead, Ahead::Ahead(1));
    assert_eq!(module("deep/n").ahead, Ahead::Behind(1));
    assert!(module("deep/n").detached && !module("deep/n").shallow);
    assert_eq!(module("m").gitlink, module("m").committed);
}
