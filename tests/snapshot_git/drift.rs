//! Laws of the drift report, over snapshots made at random.

use std::collections::BTreeSet;

use lambda_os::domain::drift::{Drift, DriftKind, DriftLimits};
use lambda_os::domain::id::{Cid, ModuleName, ObjectId, RepoPath};
use lambda_os::domain::module::RefusedModule;
use lambda_os::domain::snapshot::{
    Ahead, Change, ChangeKind, Engine, HiddenEntry, HidingFlag, ModuleState, Operation, Snapshot,
    SubmoduleChange, SuperprojectState, TreeState, UntrackedFile,
};
use proptest::prelude::*;

fn id() -> impl Strategy<Value = Option<ObjectId>> {
    prop::option::of((0..3_u8).prop_filter_map("20 bytes", |byte| ObjectId::from_bytes(&[byte; 20])))
}

fn path() -> impl Strategy<Value = RepoPath> {
    prop::sample::select(vec!["a", "b/c", "d\n"]).prop_map(RepoPath::from)
}

fn tree() -> impl Strategy<Value = TreeState> {
    let kind =
        || prop::sample::select(vec![ChangeKind::Unmodified, ChangeKind::Modified, ChangeKind::Deleted]);
    let sub = prop::option::of((any::<bool>(), any::<bool>(), any::<bool>()));
    let change = (path(), kind(), kind(), sub).prop_map(|(path, staged, worktree, sub)| Change {
        path,
        staged,
        worktree,
        submodule: sub.map(|(commit, modified, untracked)| SubmoduleChange { commit, modified, untracked }),
    });
    let untracked = (path(), 0..3_u64, any::<bool>()).prop_map(|(path, size, hashed)| UntrackedFile {
        path,
        size,
        content: hashed.then(|| Cid::of(b"x")),
    });
    let flag = prop::sample::select(vec![HidingFlag::AssumeUnchanged, HidingFlag::SkipWorktree]);
    let hidden = (path(), flag).prop_map(|(path, flag)| HiddenEntry { path, flag });
    let few = 0..3_usize;
    (
        prop::collection::btree_set(change, few.clone()),
        prop::collection::btree_set(untracked, few.clone()),
        prop::collection::btree_set(hidden, few),
        prop::sample::select(vec![Engine::Index, Engine::Plumbing]),
        prop::sample::select(vec![vec![], vec!["left out".to_owned()]]),
    )
        .prop_map(|(changes, untracked, hidden, engine, bounded)| TreeState {
            changes: changes.into_iter().collect(),
            untracked: untracked.into_iter().collect(),
            hidden: hidden.into_iter().collect(),
            engine,
            bounded,
        })
}

fn module(name: &'static str) -> impl Strategy<Value = Option<ModuleState>> {
    let ahead = prop::sample::select(vec![
        Ahead::Same,
        Ahead::Ahead(1),
        Ahead::Behind(1),
        Ahead::Diverged,
        Ahead::Unknown,
    ]);
    let bits = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let words =
        (prop::option::of("[ab]{0,1}"), prop::option::of("[ab]"), prop::option::of(Just(Operation::Rebase)));
    prop::option::of((path(), (id(), id(), id()), bits, ahead, words, tree()).prop_map(
        move |(path, ids, bits, ahead, words, tree)| ModuleState {
            name: ModuleName::new(name),
            path,
            gitlink: ids.0,
            committed: ids.1,
            head: ids.2,
            branch: words.0,
            initialised: bits.0,
            detached: bits.1,
            shallow: bits.2,
            ahead,
            dirty: bits.3,
            operation: words.2,
            tree,
            problem: words.1,
        },
    ))
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let own = (id(), prop::option::of("[ab]{0,1}"), any::<bool>(), tree());
    (own, module("m"), module("n"), prop::option::of("[ab]")).prop_map(|(own, m, n, refused)| Snapshot {
        superproject: SuperprojectState {
            head: own.0,
            branch: own.1,
            operation: own.2.then_some(Operation::Merge),
            index_locked: own.2,
            tree: own.3,
        },
        modules: m.into_iter().chain(n).collect(),
        refused: refused
            .into_iter()
            .map(|reason| RefusedModule { subject: "s".to_owned(), reason })
            .collect(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_empty_exactly_when_the_snapshots_are_equal(a in snapshot(), b in snapshot()) {
        let limits = DriftLimits::default();
        prop_assert!(Drift::between(&a, &a, &limits).is_empty());
        prop_assert_eq!(Drift::between(&a, &b, &limits).is_empty(), a == b);
    }

    #[test]
    fn the_way_back_is_the_same_set_with_from_and_to_exchanged(a in snapshot(), b in snapshot()) {
        let limits = DriftLimits::default();
        let there: BTreeSet<_> = Drift::between(&a, &b, &limits).items.into_iter()
            .map(|item| (item.module, item.what, item.from, item.to)).collect();
        let back: BTreeSet<_> = Drift::between(&b, &a, &limits).items.into_iter()
            .map(|item| (item.module, item.what, item.to, item.from)).collect();
        prop_assert_eq!(there, back);
    }

    #[test]
    fn one_changed_field_is_one_item(mut a in snapshot()) {
        let before = a.clone();
        a.superproject.index_locked = !a.superproject.index_locked;
        let drift = Drift::between(&before, &a, &DriftLimits::default());
        prop_assert_eq!(drift.items.iter().map(|item| item.what).collect::<Vec<_>>(), [DriftKind::IndexLocked]);
    }
}

#[test]
fn limits_are_said_in_sentences() {
    let world = super::world::World::with_submodules();
    let (before, _) = world.snapshot("w");
    for dir in ["w/m", "w/deep/n"] {
        world.write(&format!("{dir}/x"), "moved\n");
        world.commit(dir, "moved");
        world.write(&format!("{dir}/x"), "and dirty\n");
    }
    world.write("w/a", "changed\n");
    let (after, _) = world.snapshot("w");
    let limits = DriftLimits {
        max_modules_moved: 1,
        max_modules_dirtied: 1,
        max_superproject_changes: 0,
        ..DriftLimits::default()
    };
    let over = Drift::between(&before, &after, &limits).over_limit;
    assert_eq!(
        over,
        [
            "2 modules moved to other commits, which is more than the limit of 1",
            "2 modules became dirty, which is more than the limit of 1",
            "3 files of the superproject changed, which is more than the limit of 0",
        ]
    );
    assert_eq!(Drift::between(&before, &after, &DriftLimits::default()).over_limit, Vec::<String>::new());
}
