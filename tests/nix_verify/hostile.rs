//! Flakes that want more than they get: fault 25, and what else evaluation can be made to try.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use lambda_os::adapters::nix::{Fetching, Nix};
use lambda_os::domain::change::{PathContent, PathEdit};
use lambda_os::domain::health::{Outcome, Scene};
use lambda_os::domain::id::RepoPath;
use lambda_os::ports::Superproject as _;
use lambda_os::sample::SampleSpec;

use crate::world::{OPEN, World, alone, evaluated, of, passed, reason};

/// A flake whose default package is this expression.
fn flake(default: &str) -> String {
    let system = format!("{}-linux", std::env::consts::ARCH);
    format!(
        "{{ outputs = {{ self }}: let system = \"{system}\"; good = derivation {{ name = \"good\"; inherit system; \
         builder = \"/bin/sh\"; args = [ \"-c\" \"echo > $out\" ]; }}; in {{ packages.${{system}}.default = {default}; }}; }}\n"
    )
}

/// Expression, and a part of the reason for its failure; nothing where it passes.
const CASES: &[(&str, Option<&str>)] = &[
    ("let a = b; b = a; in a", Some("infinite recursion")),
    ("let f = x: 1 + f x; in f 1", Some("stack overflow")),
    (
        "builtins.seq (builtins.length (builtins.genList (x: x) 2000000000)) good",
        Some("needs more than 1024 MiB"),
    ),
    (
        "good // { a = import (derivation { name = \"x\"; inherit system; builder = \"/bin/sh\"; args = [ \"-c\" \"echo 1 > $out\" ]; }); drvPath = good.drvPath + (if import good == 1 then \"\" else \"x\"); }",
        Some("allow-import-from-derivation"),
    ),
    (
        "{ type = \"derivation\"; name = \"x\"; drvPath = \"/nix/store/00000000000000000000000000000000-x.drv\"; outPath = \"/nix/store/00000000000000000000000000000000-x\"; }",
        Some("names a derivation that it is not"),
    ),
    (
        "good // { outPath = \"/nix/store/00000000000000000000000000000000-x\"; }",
        Some("names a derivation that it is not"),
    ),
    ("{ a = 1; }", Some("is not a derivation")),
    ("builtins.seq (builtins.readFile /etc/passwd) good", Some("")),
    ("builtins.seq (builtins.exec [ \"/bin/sh\" ]) good", Some("exec")),
    (
        "builtins.foldl' (a: _: builtins.trace (builtins.concatStringsSep \"\" (builtins.genList (x: \"0123456789\") 200)) a) good (builtins.genList (x: x) 40000)",
        Some("wrote more than 32 MiB"),
    ),
    ("builtins.trace \"trace: @0 end 0 {}\" (builtins.trace \"error: unable to download\" good)", None),
    (
        "let l = builtins.genList (x: x) 1000000; in builtins.foldl' (a: _: builtins.foldl' (a: _: a) a l) good l",
        Some("did not end within"),
    ),
];

#[test]
fn bombs_fail_or_time_out_and_cost_the_others_nothing() {
    alone("hostile::bombs_fail_or_time_out_and_cost_the_others_nothing", |nix| {
        let world = World::new(nix, &SampleSpec::sized(40, 14));
        let leaves: Vec<String> = world.leaves().iter().map(|module| module.name.clone()).collect();
        assert!(leaves.len() >= CASES.len(), "only {} leaves", leaves.len());
        let pins: Vec<(&str, _)> = leaves
            .iter()
            .zip(CASES)
            .map(|(name, (default, _))| (name.as_str(), world.push(name, &[("flake.nix", &flake(default))])))
            .collect();
        world.refresh();
        let mut settings = world.settings(OPEN);
        settings.eval_deadline = Duration::from_secs(12);
        settings.eval_memory_bytes = 1 << 30;
        let nix = Nix::new(settings);
        let evaluator = world.evaluator(&nix);
        let before = evaluated(&evaluator, &world.base());
        world.starts();
        let after = evaluated(&evaluator, &world.candidate(&pins));
        for (name, answer) in &after {
            let outcome = &answer.ran.run.outcome;
            match leaves.iter().position(|leaf| leaf == name).and_then(|at| CASES.get(at)) {
                None => assert_eq!(outcome, &of(&before, name).ran.run.outcome, "{name}"),
                Some((case, None)) => {
                    assert!(passed(outcome), "{case}: {outcome:?}");
                    assert_eq!(answer.derivations.len(), 1, "{case}");
                    assert!(
                        String::from_utf8_lossy(&answer.ran.log).contains("unable to download"),
                        "{case}"
                    );
                }
                Some((case, Some("did not end within"))) => {
                    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{case}: {outcome:?}");
                }
                Some((case, Some(part))) => {
                    assert!(matches!(outcome, Outcome::Failed { .. }), "{case}: {outcome:?}");
                    assert!(reason(outcome).contains(part), "{case}: {outcome:?}");
                    assert!(answer.derivations.is_empty(), "{case}");
                }
            }
        }
        let starts = world.starts().iter().filter(|start| start.starts_with("nix eval")).count();
        assert!(starts <= 1 + CASES.len() + 2, "{starts} starts for {} cases", CASES.len());
    });
}

#[test]
fn what_a_flake_configures_is_never_accepted() {
    alone("hostile::what_a_flake_configures_is_never_accepted", |nix| {
        let world = World::new(nix, &SampleSpec::sized(24, 14));
        let canary = world.workspace.temp.path().join("canary");
        let hook = world.workspace.temp.path().join("hook");
        std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", canary.display())).expect("written");
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
        let leaf = world.leaves()[0].name.clone();
        let config = format!(
            "{{ nixConfig = {{ post-build-hook = \"{0}\"; build-hook = \"{0}\"; pre-build-hook = \"{0}\"; \
             allow-import-from-derivation = true; sandbox = false; substituters = \"file://{0}\"; \
             allow-unsafe-native-code-during-evaluation = true; }}; outputs",
            hook.display()
        );
        let own = flake("good").replacen("{ outputs", &config, 1);
        let pin = world.push(&leaf, &[("flake.nix", &own)]);
        world.refresh();
        // As if the operator had said yes to all of it once.
        let trusted = world.workspace.temp.path().join("nix-home/.local/share/nix");
        std::fs::create_dir_all(&trusted).expect("made");
        let yes = format!(
            "{{\"post-build-hook\":{{\"{}\":true}},\"allow-import-from-derivation\":{{\"true\":true}}}}",
            hook.display()
        );
        std::fs::write(trusted.join("trusted-settings.json"), yes).expect("written");
        let nix = Nix::new(world.settings(&format!("{OPEN}accept-flake-config = true\n")));
        let evaluator = world.evaluator(&nix);
        let scene = world.candidate(&[(&leaf, pin)]);
        let answers = evaluated(&evaluator, &scene);
        let answer = of(&answers, &leaf);
        assert!(passed(&answer.ran.run.outcome), "{:?}", answer.ran.run.outcome);
        let builder = lambda_os::adapters::nix::NixBuilder::new(&nix, &evaluator);
        let placed =
            scene.modules.values().find(|placed| placed.module.name.as_str() == leaf).expect("there");
        let built = lambda_os::ports::Builder::build(&builder, &scene, placed, &answer.derivations);
        assert!(matches!(built.ran.run.outcome, Outcome::Passed { .. }), "{:?}", built.ran.run.outcome);
        assert!(!canary.exists(), "the flake's hook ran");
        // The same hook, from the operator's own configuration, is the operator's business and runs.
        let own = Nix::new(world.settings(&format!("{OPEN}post-build-hook = {}\n", hook.display())));
        let evaluator = world.evaluator(&own);
        let placed =
            scene.modules.values().find(|it| world.module(it.module.name.as_str()).flake).expect("a flake");
        let builder = lambda_os::adapters::nix::NixBuilder::new(&own, &evaluator);
        let built =
            lambda_os::ports::Builder::build(&builder, &scene, placed, &lambda_os::ports::Derivations::new());
        assert!(matches!(built.ran.run.outcome, Outcome::Passed { .. }), "{:?}", built.ran.run.outcome);
        assert!(canary.exists(), "the canary can sing");
    });
}

#[test]
fn evaluation_leads_nowhere_unless_nix_may_fetch() {
    alone("hostile::evaluation_leads_nowhere_unless_nix_may_fetch", |nix| {
        let world = World::new(nix, &SampleSpec::sized(24, 14));
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        listener.set_nonblocking(true).expect("set");
        let port = listener.local_addr().expect("an address").port();
        let leaves: Vec<String> = world.leaves().iter().map(|module| module.name.clone()).collect();
        let hash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let fetch = format!(
            "builtins.seq (builtins.readDir (builtins.fetchTarball {{ url = \"http://127.0.0.1:{port}/x.tar.gz\"; sha256 = \"{hash}\"; }})) good"
        );
        let git = format!(
            "builtins.seq (builtins.readDir (builtins.fetchGit {{ url = \"git://127.0.0.1:{port}/x\"; rev = \"{}\"; }})) good",
            "1".repeat(40)
        );
        let pins: Vec<(&str, _)> = [&fetch, &git]
            .iter()
            .zip(&leaves)
            .map(|(default, leaf)| (leaf.as_str(), world.push(leaf, &[("flake.nix", &flake(default))])))
            .collect();
        world.refresh();
        let scene = world.candidate(&pins);
        let nix = world.nix();
        let answers = evaluated(&world.evaluator(&nix), &scene);
        for (leaf, _) in &pins {
            let outcome = &of(&answers, leaf).ran.run.outcome;
            assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
            assert!(reason(outcome).contains("fetches nothing"), "{outcome:?}");
        }
        assert_eq!(listener.accept().expect_err("nobody called").kind(), ErrorKind::WouldBlock);
        if std::net::TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_secs(1))
            .is_err()
        {
            eprintln!("SKIPPED: that Nix would have called: there is no loopback here");
            return;
        }
        listener.accept().expect("our own call");
        let mut settings = world.settings(&format!(
            "{OPEN}download-attempts = 1\nconnect-timeout = 1\nstalled-download-timeout = 1\n"
        ));
        settings.fetching = Fetching::ByNix;
        settings.eval_deadline = Duration::from_secs(5);
        let nix = Nix::new(settings);
        let asked: Vec<_> =
            scene.modules.values().filter(|it| it.module.name.as_str() == pins[0].0).collect();
        lambda_os::ports::NixEvaluator::evaluate(&world.evaluator(&nix), &scene, &asked);
        listener.accept().expect("with leave, Nix calls");
    });
}

#[test]
fn a_workspace_whose_own_flake_is_broken_says_so_of_its_inputs_alone() {
    alone("hostile::a_workspace_whose_own_flake_is_broken_says_so_of_its_inputs_alone", |nix| {
        let world = World::new(nix, &SampleSpec::sized(24, 14));
        let path = RepoPath::from("flake.nix");
        let old = world.repository.content(world.head(), &path).expect("read").expect("a flake");
        let PathContent::File { content, executable } = &old else { panic!("no file") };
        let text = String::from_utf8(content.clone()).expect("text").replacen(
            "inputs:\n",
            "inputs:\n    assert throw \"broken here\";\n",
            1,
        );
        let new = PathContent::File { executable: *executable, content: text.into_bytes() };
        assert_ne!(new, old);
        let edit = PathEdit { path, old: Some(old), new };
        let tree = world.repository.tree_with(world.head(), std::slice::from_ref(&edit)).expect("a tree");
        let base = world.base();
        let pins = base.modules.values().map(|placed| (placed.module.name.clone(), placed.pin)).collect();
        let mut modules: Vec<_> = base.modules.values().map(|placed| placed.module.clone()).collect();
        // One that is no input of the workspace's flake.
        let alone = world.leaves()[0].name.clone();
        modules
            .iter_mut()
            .filter(|module| module.name.as_str() == alone)
            .for_each(|module| module.input = None);
        let scene = Scene::new(world.head(), tree, vec![edit], &pins, base.lock.clone(), &modules);
        let nix = world.nix();
        world.starts();
        let answers = evaluated(&world.evaluator(&nix), &scene);
        let (mut inputs, mut own) = (0, 0);
        for (name, answer) in &answers {
            let module = world.module(name);
            let outcome = &answer.ran.run.outcome;
            if *name != alone && module.input.is_some() && module.flake {
                inputs += 1;
                assert!(matches!(outcome, Outcome::Failed { .. }), "{name}: {outcome:?}");
                assert!(
                    reason(outcome).contains("own flake") && reason(outcome).contains("broken here"),
                    "{outcome:?}"
                );
            } else if module.flake {
                own += 1;
                assert!(passed(outcome), "{name}: {outcome:?}");
            }
        }
        assert!(inputs > 5 && own > 0, "{inputs} inputs, {own} with a flake of their own alone");
        let evals = world.starts().iter().filter(|start| start.starts_with("nix eval")).count();
        assert_eq!(evals, 2, "one for the inputs, one for the others");
    });
}
