//! Cycles that heal, cut short anywhere: on a disk that stops at one call, as when the process is
//! killed there. Afterwards the next cycles converge, and nothing happened twice.
//!
//! `LAMBDA_OS_CUTS=1 cargo test --test heal cut` cuts at every call; by default at every 31st.

use std::path::{Path, PathBuf};

use lambda_os::adapters::durable::RealDisk;
use lambda_os::domain::id::ObjectId;

use crate::support::faulty::{Fault, Faulty};
use crate::support::{git, temp_dir};
use crate::world::{World, assert_journal_sound, by_state, copied, entries, fails};

/// The workspace and its state, somewhere else.
struct Copied {
    temp: tempfile::TempDir,
}

impl Copied {
    fn of(world: &World) -> Self {
        let temp = temp_dir();
        copied(world.path(), temp.path());
        copied(&world.workspace.state(), temp.path());
        Self { temp }
    }

    fn path(&self) -> PathBuf {
        self.temp.path().join("workspace")
    }

    fn state(&self) -> PathBuf {
        self.temp.path().join("state")
    }

    fn pin(&self, path: &str) -> ObjectId {
        git(&self.path(), ["rev-parse", &format!("HEAD:{path}")]).trim().parse().expect("an id")
    }
}

fn stride() -> usize {
    std::env::var("LAMBDA_OS_CUTS").ok().and_then(|stride| stride.parse().ok()).unwrap_or(31)
}

/// Cut at call after call, each time on a fresh copy, and go on with what is there; `check` looks at
/// what it came to.
fn cut_everywhere(world: &World, check: impl Fn(&Copied, &str)) {
    for at in (0..).step_by(stride()) {
        let copy = Copied::of(world);
        let disk = Faulty::at(at, Fault::Stops);
        let cut = world.cycle_at(&copy.path(), &copy.state(), &disk);
        let Some(failed) = disk.failed() else {
            cut.expect("nothing failed");
            assert!(at > 60, "only {at} calls");
            return;
        };
        let place = format!("cut at call {at} ({failed} on {:?})", disk.failed_on());
        for _ in 0..2 {
            world
                .cycle_at(&copy.path(), &copy.state(), &RealDisk)
                .unwrap_or_else(|error| panic!("{place}: {error}"));
        }
        assert_journal_sound(&copy.state());
        let (started, ended) =
            (entries(&copy.state(), "heal.started"), entries(&copy.state(), "heal.finished"));
        assert_eq!(started.len(), ended.len(), "{place}");
        assert_eq!(stray(&copy.path()), Vec::<PathBuf>::new(), "{place}");
        assert_eq!(git(&copy.path(), ["status", "--porcelain"]), "", "{place}");
        check(&copy, &place);
    }
}

#[test]
fn a_heal_that_is_cut_anywhere_ends_healed_and_once() {
    let mut world = World::small();
    let name = world.modules[0].clone();
    let good = world.pin(&name);
    world.cycle();
    world.upgrade(&name, "broken: one");
    let path = world.module(&name).path.to_string();
    let before: usize = git(world.path(), ["rev-list", "--count", "HEAD"]).trim().parse().expect("a number");
    cut_everywhere(&world, |copy, place| {
        assert_eq!(copy.pin(&path), good, "{place}");
        let commits = git(&copy.path(), ["rev-list", "--count", "HEAD"]);
        assert_eq!(commits.trim(), (before + 1).to_string(), "{place}");
        let ended = entries(&copy.state(), "heal.finished");
        let healed = ended.iter().filter(|it| it["body"]["outcome"] == "healed").count();
        assert_eq!(healed, 1, "{place}");
        assert!(ended.iter().all(|it| it["body"]["outcome"] != "restored"), "{place}: {ended:?}");
    });
}

#[test]
fn a_heal_that_fails_and_is_cut_anywhere_ends_where_it_began() {
    let mut world = World::small();
    let name = world.modules[0].clone();
    world.cycle();
    let bad = world.upgrade(&name, "broken: one");
    let path = world.module(&name).path.to_string();
    let broken = name.clone();
    world.fake.rule(move |asked| {
        if asked.module == broken && !asked.candidate { fails("only there") } else { by_state(asked) }
    });
    cut_everywhere(&world, |copy, place| {
        assert_eq!(copy.pin(&path), bad, "{place}");
        let ended = entries(&copy.state(), "heal.finished");
        assert!(ended.iter().all(|it| it["body"]["outcome"] != "healed"), "{place}: {ended:?}");
        assert!(ended.iter().any(|it| it["body"]["outcome"] == "restored"), "{place}: {ended:?}");
    });
}

/// Locks, and files of ours beside those of the workspace. (Temporary objects are swept once their
/// process is gone: it is this one.)
fn stray(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory is read") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let of_git = path.components().any(|part| part.as_os_str() == ".git");
            let is_lock = path.extension().is_some_and(|ending| ending == "lock");
            if path.is_dir() {
                open.push(path);
            } else if name.starts_with(".lambda-os-") || is_lock && of_git {
                found.push(path);
            }
        }
    }
    found
}
