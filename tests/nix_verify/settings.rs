//! Which Nix it is, and what it is told.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use lambda_os::adapters::nix::{Nix, NixBuilder};
use lambda_os::domain::health::Outcome;
use lambda_os::ports::{Builder as _, Derivations, Runner as _};
use lambda_os::sample::SampleSpec;

use crate::world::{CLOSED, OPEN, PLAIN, World, alone, reason};

#[test]
fn the_fingerprint_costs_a_start_only_when_something_changed() {
    alone("settings::the_fingerprint_costs_a_start_only_when_something_changed", |nix| {
        let world = World::new(nix, &SampleSpec::sized(3, 8));
        let of = |config: &str| {
            let nix = Nix::new(world.settings(config));
            let evaluator = world.evaluator(&nix);
            let builder = NixBuilder::new(&nix, &evaluator);
            (evaluator.fingerprint().expect("Nix"), builder.fingerprint().expect("Nix"))
        };
        let first = of(OPEN);
        assert!(!world.starts().is_empty(), "Nix is asked once");
        assert_ne!(first.0, first.1, "two steps");
        assert_eq!(of(OPEN), first);
        assert_eq!(
            world.starts(),
            Vec::<String>::new(),
            "what was asked is remembered from one process to the next"
        );
        let closed = of(CLOSED);
        assert!(closed.0 != first.0 && closed.1 != first.1);
        assert!(!world.starts().is_empty());

        // Another file is another Nix.
        let program = world.workspace.temp.path().join("bin/nix");
        let script = fs::read_to_string(&program).expect("read");
        fs::write(&program, format!("{script}# another\n")).expect("written");
        assert_ne!(of(OPEN).0, first.0);

        let mut settings = world.settings(OPEN);
        settings.program = world.workspace.temp.path().join("nowhere/nix");
        let missing = Nix::new(settings);
        let said = world.evaluator(&missing).fingerprint().expect_err("there is none");
        assert!(said.contains("nowhere/nix") && said.contains("install Nix"), "{said}");
        let mut settings = world.settings(OPEN);
        settings.program = "nix".into();
        settings.environment = settings.environment.with("PATH", "/nowhere");
        let missing = Nix::new(settings);
        let said = world.evaluator(&missing).fingerprint().expect_err("there is none");
        assert!(said.contains("search path") && said.contains("install Nix"), "{said}");
    });
}

/// A daemon, ended with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn where_a_daemon_builds_its_own_settings_count() {
    alone("settings::where_a_daemon_builds_its_own_settings_count", |nix| {
        let world = World::new(nix, &SampleSpec::sized(6, 8));
        let conf = world.workspace.temp.path().join("conf");
        fs::create_dir_all(&conf).expect("made");
        for (daemon_says, expected) in [(OPEN, Some("for the daemon")), (CLOSED, None)] {
            fs::write(conf.join("nix.conf"), format!("{PLAIN}{daemon_says}")).expect("written");
            let mut command = Command::new(nix.with_file_name("nix-daemon"));
            command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", world.workspace.temp.path());
            command.env("NIX_CONF_DIR", &conf).env("NIX_USER_CONF_FILES", "/dev/null");
            let _daemon = Daemon(command.spawn().expect("it starts"));
            let socket = std::path::Path::new("/nix/var/nix/daemon-socket/socket");
            let until = Instant::now() + Duration::from_mins(1);
            while std::os::unix::net::UnixStream::connect(socket).is_err() {
                assert!(Instant::now() < until, "the daemon does not listen");
                std::thread::yield_now();
            }
            // This environment asks for a sandbox whatever the daemon does.
            let mut settings = world.settings(CLOSED);
            settings.environment =
                settings.environment.with("NIX_CONF_DIR", &conf).with("NIX_REMOTE", "daemon");
            let nix = Nix::new(settings);
            let evaluator = world.evaluator(&nix);
            let builder = NixBuilder::new(&nix, &evaluator);
            let scene = world.base();
            let placed = scene
                .modules
                .values()
                .find(|it| world.module(it.module.name.as_str()).flake)
                .expect("a flake");
            let built = builder.build(&scene, placed, &Derivations::new());
            let outcome = &built.ran.run.outcome;
            assert!(matches!(outcome, Outcome::Passed { .. }), "{outcome:?}");
            match expected {
                Some(part) => assert!(reason(outcome).contains(part), "{outcome:?}"),
                None => assert_eq!(*outcome, Outcome::Passed { weak: None }),
            }
            fs::remove_file(socket).expect("removed");
        }
    });
}
