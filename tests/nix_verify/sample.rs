//! The sample workspace evaluates, as it is and as changes would make it.

use std::collections::BTreeSet;
use std::time::Instant;

use lambda_os::domain::change::{PathContent, PathEdit};
use lambda_os::domain::health::evidence::Lasting;
use lambda_os::domain::health::{Outcome, Scene};
use lambda_os::domain::id::RepoPath;
use lambda_os::ports::{Evaluated, Runner as _, Superproject as _};
use lambda_os::sample::SampleSpec;

use crate::support::git;
use crate::world::{World, alone, evaluated, of, passed, reason};

fn all_that_can_are_evaluated(nix: &std::path::Path, spec: &SampleSpec) {
    let world = World::new(nix, spec);
    let nix = world.nix();
    let evaluator = world.evaluator(&nix);
    let scene = world.base();
    let begun = Instant::now();
    let answers = evaluated(&evaluator, &scene);
    let first = begun.elapsed();
    let mut flakes = 0;
    for (name, answer) in &answers {
        let outcome = &answer.ran.run.outcome;
        if world.module(name).flake {
            flakes += 1;
            assert!(passed(outcome), "{name}: {outcome:?}");
            let attribute = format!("packages.{}-linux.default", std::env::consts::ARCH);
            assert!(answer.derivations.contains_key(&attribute), "{name}: {:?}", answer.derivations);
        } else {
            assert_eq!(*outcome, Outcome::Unknown { reason: "it has no flake.nix".to_owned() }, "{name}");
        }
    }
    assert!(flakes * 10 > answers.len() * 8, "{flakes} of {}", answers.len());
    // Asking for settings is three starts, sources are two, and all modules are one.
    let starts = world.starts();
    assert_eq!(starts.iter().filter(|start| start.starts_with("nix eval")).count(), 1, "{starts:?}");
    let begun = Instant::now();
    assert_eq!(by_name(&evaluated(&evaluator, &scene)), by_name(&answers));
    let again = begun.elapsed();
    let starts = world.starts();
    assert_eq!(starts.len(), 1, "only evaluation itself: {starts:?}");
    println!("{} modules: {first:?} with their sources put in, {again:?} again", answers.len());
}

fn by_name(answers: &[(String, Evaluated)]) -> Vec<(&str, &lambda_os::ports::Derivations)> {
    answers.iter().map(|(name, answer)| (name.as_str(), &answer.derivations)).collect()
}

#[test]
fn a_small_workspace_evaluates_in_one_run() {
    alone("sample::a_small_workspace_evaluates_in_one_run", |nix| {
        all_that_can_are_evaluated(nix, &SampleSpec::sized(24, 14));
    });
}

#[test]
fn a_whole_workspace_evaluates_in_one_run() {
    alone("sample::a_whole_workspace_evaluates_in_one_run", |nix| {
        all_that_can_are_evaluated(nix, &SampleSpec::sized(55, 14));
    });
}

#[test]
fn derivations_are_those_that_nix_itself_gives() {
    alone("sample::derivations_are_those_that_nix_itself_gives", |nix| {
        let world = World::new(nix, &SampleSpec::sized(24, 14));
        let ours = world.nix();
        let answers = evaluated(&world.evaluator(&ours), &world.base());
        let theirs = crate::support::nix::Nix::at(nix, world.workspace.temp.path());
        let copy = world.workspace.temp.path().join("copy");
        let flake = crate::support::nix::copy_of_commit(world.workspace.path(), &copy);
        let system = format!("{}-linux", std::env::consts::ARCH);
        let all = theirs.must(&[
            "eval",
            "--json",
            &format!("path:{}#packages.{system}", flake.display()),
            "--apply",
            "builtins.mapAttrs (name: package: builtins.unsafeDiscardStringContext package.drvPath)",
        ]);
        let all: std::collections::BTreeMap<String, String> =
            serde_json::from_str(&all).expect("derivations");
        assert!(all.len() > 10);
        for (name, derivation) in all {
            let found = &of(&answers, &name).derivations[&format!("packages.{system}.default")];
            assert_eq!(*found, derivation, "{name}");
        }
    });
}

#[test]
fn a_module_that_is_no_input_uses_its_own_flake_at_its_pin() {
    alone("sample::a_module_that_is_no_input_uses_its_own_flake_at_its_pin", |nix| {
        let world = World::new(nix, &SampleSpec::sized(12, 14));
        let base = world.base();
        let pins = base.modules.values().map(|placed| (placed.module.name.clone(), placed.pin)).collect();
        let mut modules: Vec<_> = base.modules.values().map(|placed| placed.module.clone()).collect();
        for module in &mut modules {
            module.input = None;
        }
        let scene = Scene::new(world.head(), base.tree, Vec::new(), &pins, base.lock.clone(), &modules);
        let ours = world.nix();
        let answers = evaluated(&world.evaluator(&ours), &scene);
        let theirs = crate::support::nix::Nix::at(nix, world.workspace.temp.path());
        let mut compared = 0;
        for module in world.workspace.sample.modules.iter().filter(|module| module.flake) {
            let answer = of(&answers, &module.name);
            assert!(passed(&answer.ran.run.outcome), "{}: {:?}", module.name, answer.ran.run.outcome);
            let files = world.workspace.temp.path().join("copies").join(&module.directory);
            std::fs::create_dir_all(&files).expect("made");
            let tar = files.with_extension("tar");
            let pin = module.pinned.to_string();
            git(&module.upstream, ["archive", "--format=tar", "-o", &tar.to_string_lossy(), &pin]);
            crate::support::unpack(&tar, &files);
            if files.join("ci").exists()
                != git(&module.upstream, ["ls-tree", "--name-only", &pin]).contains("ci\n")
            {
                // The archive leaves out what git itself would not.
                continue;
            }
            let attribute = format!("packages.{}-linux.default", std::env::consts::ARCH);
            let installable = format!("path:{}#{attribute}.drvPath", files.display());
            let derivation = theirs.must(&["eval", "--raw", &installable]);
            assert_eq!(answer.derivations[&attribute], derivation, "{}", module.name);
            compared += 1;
        }
        assert!(compared > 5, "{compared}");
    });
}

#[test]
fn a_change_changes_the_derivations_of_what_sees_it_and_no_others() {
    alone("sample::a_change_changes_the_derivations_of_what_sees_it_and_no_others", |nix| {
        let world = World::new(nix, &SampleSpec::sized(24, 14));
        let nix = world.nix();
        let evaluator = world.evaluator(&nix);
        let base = world.base();
        let before = evaluated(&evaluator, &base);

        // A file of the superproject that no module uses.
        let edit = PathEdit {
            path: RepoPath::from("NOTES"),
            old: None,
            new: PathContent::File { executable: false, content: b"x\n".to_vec() },
        };
        let tree = world.repository.tree_with(world.head(), std::slice::from_ref(&edit)).expect("a tree");
        let pins = base.modules.values().map(|placed| (placed.module.name.clone(), placed.pin)).collect();
        let modules: Vec<_> = base.modules.values().map(|placed| placed.module.clone()).collect();
        let noted = Scene::new(world.head(), tree, vec![edit], &pins, base.lock.clone(), &modules);
        assert_eq!(by_name(&evaluated(&evaluator, &noted)), by_name(&before));

        let mut radii = BTreeSet::new();
        let behind: Vec<_> = world
            .workspace
            .sample
            .modules
            .iter()
            .filter(|module| module.behind > 0 && module.flake)
            .collect();
        assert!(behind.len() > 4);
        for module in behind {
            let candidate = world.candidate(&[(&module.name, module.tip)]);
            let after = evaluated(&evaluator, &candidate);
            let changed: BTreeSet<&str> = before
                .iter()
                .zip(&after)
                .filter(|((_, before), (_, after))| before.derivations != after.derivations)
                .map(|((name, _), _)| name.as_str())
                .collect();
            let sees: BTreeSet<&str> = base
                .modules
                .iter()
                .filter(|(name, placed)| placed.sees != candidate.modules[*name].sees)
                .map(|(name, _)| name.as_str())
                .collect();
            assert!(changed.is_subset(&sees), "{}: {changed:?}, and only {sees:?} see it", module.name);
            let flakes: BTreeSet<&str> =
                sees.into_iter().filter(|name| passed(&of(&before, name).ran.run.outcome)).collect();
            assert_eq!(changed, flakes, "{}", module.name);
            radii.insert(changed.len());
        }
        assert!(radii.len() > 1, "all changes have one radius: {radii:?}");
    });
}

#[test]
fn a_bad_commit_fails_alone_and_costs_one_more_start() {
    alone("sample::a_bad_commit_fails_alone_and_costs_one_more_start", |nix| {
        let world = World::new(nix, &SampleSpec::sized(24, 14));
        let leaf = world.leaves()[0].name.clone();
        let first = leaf.as_str();
        let thrown = "{ outputs = _: { packages.x86_64-linux.default = throw \"no\\u001b[31m such thing\"; packages.aarch64-linux.default = throw \"no such thing\"; }; }";
        let one = world.push(first, &[("flake.nix", thrown)]);
        world.refresh();
        let nix = world.nix();
        let evaluator = world.evaluator(&nix);
        let before = evaluated(&evaluator, &world.base());
        world.starts();
        let after = evaluated(&evaluator, &world.candidate(&[(first, one)]));
        for (name, answer) in &after {
            let outcome = &answer.ran.run.outcome;
            if name == first {
                let Outcome::Failed { reason, lasting: Lasting::Permanent } = outcome else {
                    panic!("{outcome:?}")
                };
                assert!(reason.contains("such thing") && !reason.contains('\u{1b}'), "{reason}");
                assert!(answer.derivations.is_empty());
            } else {
                assert_eq!(outcome, &of(&before, name).ran.run.outcome, "{name}");
            }
        }
        let starts = world.starts();
        assert_eq!(starts.iter().filter(|start| start.starts_with("nix eval")).count(), 2, "{starts:?}");
        assert_eq!(git(world.workspace.path(), ["status", "--porcelain", "--ignore-submodules"]), "");
    });
}

#[test]
fn an_input_that_is_not_at_hand_is_named_and_only_who_needs_it_is_unknown() {
    alone("sample::an_input_that_is_not_at_hand_is_named_and_only_who_needs_it_is_unknown", |nix| {
        let world = World::new(nix, &SampleSpec::sized(24, 14));
        let nix = world.nix();
        let evaluator = world.evaluator(&nix);
        let scene = world.base();
        // A module whose mirror and checkout are gone.
        let gone = world.leaves()[0].clone();
        std::fs::remove_dir_all(&gone.checkout).expect("removed");
        std::fs::remove_dir_all(&gone.git_dir).expect("removed");
        std::fs::remove_dir_all(world.workspace.state().join("mirrors")).expect("removed");
        let answers = evaluated(&evaluator, &scene);
        for (name, answer) in &answers {
            let outcome = &answer.ran.run.outcome;
            if *name == gone.name {
                assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
                let said = reason(outcome);
                assert!(said.contains(&gone.repo) && said.contains("not at hand"), "{said}");
            } else if world.module(name).flake && !world.module(name).dependencies.contains(&gone.name) {
                println!("{name}: {outcome:?}");
            }
        }
        let others = answers.iter().filter(|(_, answer)| passed(&answer.ran.run.outcome)).count();
        assert!(others > answers.len() / 2, "only {others} of {}", answers.len());
        assert!(evaluator.fingerprint().is_ok());
    });
}
