//! Building modules: sandboxed and not, what fails, what is kept.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lambda_os::adapters::nix::{Nix, NixBuilder, Roots, Unsandboxed};
use lambda_os::domain::health::evidence::Lasting;
use lambda_os::domain::health::{Outcome, Placed, Scene, Verdict, VerdictRecord, Verdicts};
use lambda_os::domain::id::{Cid, ModuleName, ObjectId};
use lambda_os::ports::{Builder as _, Built, Derivations};
use lambda_os::sample::SampleSpec;

use crate::support::nix::Nix as RealNix;
use crate::world::{CLOSED, OPEN, World, all, alone, evaluated, passed, reason};

fn have_busybox() -> bool {
    let there = Path::new("/bin/busybox").is_file();
    if !there {
        eprintln!("SKIPPED: builds in a sandbox: no /bin/busybox");
    }
    there
}

fn placed<'s>(scene: &'s Scene, module: &str) -> &'s Placed {
    scene.modules.values().find(|placed| placed.module.name.as_str() == module).expect("it is in the scene")
}

/// A flake with these derivations, each a shell script; `default` is built.
fn flake(scripts: &[(&str, &str)]) -> String {
    let system = format!("{}-linux", std::env::consts::ARCH);
    let mut text = format!(
        "{{ outputs = {{ self }}: let system = \"{system}\"; of = name: needs: script: derivation {{ inherit name system needs; builder = \"/bin/sh\"; args = [ \"-c\" script ]; }};\n"
    );
    for (name, script) in scripts {
        let (name, needs) = name.split_once(" needs ").unwrap_or((name, ""));
        let _ = writeln!(text, "  {name} = of \"{name}\" [ {needs} ] ''{script}'';");
    }
    text + "in { packages.${system} = { inherit default; }; }; }\n"
}

/// Build the default package of a module whose flake is this one.
fn built(world: &World, nix: &Nix, text: &str) -> Built {
    let leaf = world.leaves()[0].name.clone();
    let pin = world.push(&leaf, &[("flake.nix", text)]);
    world.refresh();
    let scene = world.candidate(&[(&leaf, pin)]);
    let evaluator = world.evaluator(nix);
    NixBuilder::new(nix, &evaluator).build(&scene, placed(&scene, &leaf), &Derivations::new())
}

#[test]
fn all_modules_build_in_a_sandbox_and_keep_roots() {
    alone("build::all_modules_build_in_a_sandbox_and_keep_roots", |nix| {
        if !have_busybox() {
            return;
        }
        let world = World::new(nix, &SampleSpec::sized(55, 14));
        let nix = Nix::new(world.settings(CLOSED));
        let evaluator = world.evaluator(&nix);
        let builder = NixBuilder::new(&nix, &evaluator);
        let scene = world.base();
        let answers = evaluated(&evaluator, &scene);
        let begun = Instant::now();
        let mut count = 0;
        for (placed, (name, answer)) in all(&scene).into_iter().zip(&answers) {
            if !passed(&answer.ran.run.outcome) {
                continue;
            }
            count += 1;
            let built = builder.build(&scene, placed, &answer.derivations);
            let run = &built.ran.run;
            assert_eq!(run.outcome, Outcome::Passed { weak: None }, "{name}");
            let sandbox = run.sandbox.as_ref().expect("said");
            assert_eq!((sandbox.layers.as_slice(), sandbox.missing.len()), (&["nix".to_owned()][..], 0));
            let (attribute, output) = built.outputs.first_key_value().expect("an output");
            assert!(
                attribute.ends_with(".default") && output.starts_with("/nix/store"),
                "{attribute} {output:?}"
            );
            assert!(output.join("lib").is_dir(), "{name}: {}", output.display());
        }
        assert!(count > 45, "{count} modules were built");
        println!("{count} modules built in {:?}", begun.elapsed());
        let begun = Instant::now();
        let flake =
            all(&scene).into_iter().zip(&answers).find(|(_, (_, answer))| passed(&answer.ran.run.outcome));
        let (placed, (_, answer)) = flake.expect("one");
        let again = builder.build(&scene, placed, &answer.derivations);
        assert!(again.ran.run.notes.iter().any(|note| note.contains("in the store already")), "{again:?}");
        println!("one again in {:?}", begun.elapsed());
    });
}

#[test]
fn outside_a_sandbox_passing_is_weak_or_nothing_is_built() {
    alone("build::outside_a_sandbox_passing_is_weak_or_nothing_is_built", |nix| {
        let world = World::new(nix, &SampleSpec::sized(24, 14));
        let secret = world.workspace.temp.path().join("secret");
        fs::write(&secret, "s").expect("written");
        let peeks = flake(&[(
            "default",
            &format!("if test -e {}; then echo seen > $out; else echo unseen > $out; fi", secret.display()),
        )]);
        let open = Nix::new(world.settings(OPEN));
        let weak = built(&world, &open, &peeks);
        let outcome = &weak.ran.run.outcome;
        assert!(matches!(outcome, Outcome::Passed { weak: Some(_) }), "{outcome:?}");
        assert!(reason(outcome).contains("sandbox = false"), "{outcome:?}");
        let sandbox = weak.ran.run.sandbox.as_ref().expect("said");
        assert!(sandbox.layers.is_empty() && sandbox.missing.len() == 1, "{sandbox:?}");
        let output = weak.outputs.values().next().expect("an output");
        assert_eq!(fs::read_to_string(output).expect("read"), "seen\n");

        let mut settings = world.settings(OPEN);
        settings.unsandboxed = Unsandboxed::Refused;
        let refused = built(&world, &Nix::new(settings), &peeks.replace("seen", "looked"));
        assert!(matches!(refused.ran.run.outcome, Outcome::Unknown { .. }), "{refused:?}");

        if have_busybox() {
            // The same in a sandbox, as another derivation.
            let closed = Nix::new(world.settings(CLOSED));
            let strong = built(&world, &closed, &peeks.replace("seen", "met"));
            assert_eq!(strong.ran.run.outcome, Outcome::Passed { weak: None });
            let output = strong.outputs.values().next().expect("an output");
            assert_eq!(fs::read_to_string(output).expect("read"), "unmet\n");
        }
    });
}

#[test]
fn what_fails_is_named_with_its_last_words() {
    alone("build::what_fails_is_named_with_its_last_words", |nix| {
        let world = World::new(nix, &SampleSpec::sized(24, 14));
        let nix = Nix::new(world.settings(OPEN));
        for (scripts, parts) in [
            (
                &[("default", "echo error: disk full; echo why; exit 3")][..],
                &["it does not build", "exit code 3", "it said last: why"][..],
            ),
            (&[("default", "true")], &["it does not build", "failed to produce output"]),
            (
                &[("base", "echo no luck >&2; exit 1"), ("default needs base", "echo > $out")],
                &["its dependency base does not build", "exit code 1", "no luck"],
            ),
        ] {
            let built = built(&world, &nix, &flake(scripts));
            let outcome = &built.ran.run.outcome;
            let Outcome::Failed { reason, lasting: Lasting::Transient } = outcome else {
                panic!("{outcome:?}")
            };
            assert!(parts.iter().all(|part| reason.contains(part)), "{parts:?}: {reason}");
            assert!(built.outputs.is_empty());
        }
        let odd = flake(&[("default", "echo > $out")])
            .replace("name system needs", "name needs; system = \"riscv64-linux\"");
        let elsewhere = built(&world, &nix, &odd);
        let outcome = &elsewhere.ran.run.outcome;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
        assert!(reason(outcome).contains("cannot be built here"), "{outcome:?}");
    });
}

/// Processes that have this text in their arguments.
fn alive(marker: &str) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").expect("there").flatten().map(|entry| entry.path());
    processes
        .filter(|path| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
        })
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()) != Some(&std::process::id().to_string())
        })
        .filter(|path| {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            line.windows(marker.len()).any(|part| part == marker.as_bytes())
        })
        .collect()
}

#[test]
fn a_build_that_hangs_is_timed_out_and_leaves_nothing() {
    alone("build::a_build_that_hangs_is_timed_out_and_leaves_nothing", |nix| {
        let world = World::new(nix, &SampleSpec::sized(24, 14));
        for config in [OPEN, CLOSED] {
            if config == CLOSED && !have_busybox() {
                continue;
            }
            let mut settings = world.settings(config);
            settings.build_deadline = Duration::from_secs(3);
            let nix = Nix::new(settings);
            let marker = format!("hang-{}-{}", std::process::id(), config.len());
            let script = format!("trap : TERM; : {marker}; echo begun; while true; do true; done");
            let hung = built(&world, &nix, &flake(&[("default", &script)]));
            let outcome = &hung.ran.run.outcome;
            assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome:?}");
            assert!(String::from_utf8_lossy(&hung.ran.log).contains("begun"), "{hung:?}");
            let until = Instant::now() + Duration::from_secs(20);
            while !alive(&marker).is_empty() {
                assert!(Instant::now() < until, "left: {:?}", alive(&marker));
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn what_was_verified_survives_a_collection_until_no_verdict_needs_it() {
    alone("build::what_was_verified_survives_a_collection_until_no_verdict_needs_it", |nix| {
        let world = World::new(nix, &SampleSpec::sized(24, 14));
        let real = RealNix::at(nix, world.workspace.temp.path());
        let collect = || {
            let collected = real.program(&nix.with_file_name("nix-store").to_string_lossy(), &["--gc"]);
            assert!(collected.status.success(), "{}", crate::support::said(&collected));
        };
        let ours = Nix::new(world.settings(OPEN));
        let leaf = world.leaves()[0].name.clone();
        let mut outputs = Vec::new();
        let mut pins: Vec<ObjectId> = Vec::new();
        let evaluator = world.evaluator(&ours);
        let builder = NixBuilder::new(&ours, &evaluator);
        for round in 0..3 {
            let pin =
                world.push(&leaf, &[("flake.nix", &flake(&[("default", &format!("echo {round} > $out"))]))]);
            world.refresh();
            let scene = world.candidate(&[(&leaf, pin)]);
            let built = builder.build(&scene, placed(&scene, &leaf), &Derivations::new());
            outputs.push(built.outputs.values().next().unwrap_or_else(|| panic!("{built:?}")).clone());
            pins.push(pin);
        }
        let there = || outputs.iter().map(|output| output.exists()).collect::<Vec<_>>();
        collect();
        assert_eq!(there(), [true, true, true], "a collection while they are under review");

        let mut verdicts = Verdicts::default();
        let record = |pin: ObjectId, verdict: Verdict| VerdictRecord {
            key: Cid::of(pin.as_bytes()),
            verdict,
            ..record_of(pin)
        };
        let name = ModuleName::new(&leaf);
        verdicts.add(&name, record(pins[0], Verdict::STRONG));
        verdicts.add(&name, record(pins[1], Verdict::Unknown { reason: "x".to_owned() }));
        let roots = Roots::new(&world.workspace.state().join("roots"));
        assert_eq!(roots.prune(&verdicts).expect("pruned"), 1);
        collect();
        assert_eq!(there(), [true, false, true], "the last known good one and the newest stay");

        // After a collection took the sources too, they are put in again.
        let scene = world.base();
        let name = world.leaves()[1].name.clone();
        let again = builder.build(&scene, placed(&scene, &name), &Derivations::new());
        assert!(matches!(again.ran.run.outcome, Outcome::Passed { .. }), "{:?}", again.ran.run.outcome);
    });
}

fn record_of(pin: ObjectId) -> VerdictRecord {
    serde_json::from_value(serde_json::json!({
        "key": Cid::of(b"k"), "sees": Cid::of(b"s"), "revision": pin, "verdict": { "verdict": "unknown", "reason": "x" },
        "lasting": "permanent", "flaky": false, "evidence": Cid::of(b"e"), "derivations": null, "base": true,
        "transient_count": 0, "seq": 1, "wall_ms": 0, "was_healthy": false, "healthy_before": false
    }))
    .expect("a record")
}
