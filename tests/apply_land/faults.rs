//! Every write, sync and rename of a landing failing once: afterwards all of it or nothing of it,
//! once it was looked at again.

use lambda_os::adapters::git::GitRepository;
use lambda_os::ports::{Landing, LandingState, PortResult, Superproject as _};

use crate::support::faulty::{Fault, Faulty};
use crate::support::{Fingerprint, git};
use crate::world::{World, head_of, repository_at};

/// A copy of a whole workspace, so that each attempt starts from the same.
struct Copied {
    temp: tempfile::TempDir,
}

impl Copied {
    fn of(world: &World) -> Self {
        let temp = crate::support::temp_dir();
        let status = std::process::Command::new("cp")
            .arg("-a")
            .arg(world.path())
            .arg(world.mirrors())
            .arg(temp.path())
            .status();
        assert!(status.expect("cp starts").success());
        Self { temp }
    }

    fn path(&self) -> std::path::PathBuf {
        self.temp.path().join("workspace")
    }

    fn repository(&self) -> GitRepository {
        repository_at(&self.path(), self.temp.path()).with_mirrors(self.temp.path().join("mirrors"))
    }
}

fn left_over(at: &std::path::Path) -> Vec<String> {
    Fingerprint::of(at)
        .0
        .keys()
        .map(|path| path.display().to_string())
        .filter(|path| path.contains("lambda-os") || path.contains(".lock") && !path.ends_with("flake.lock"))
        .filter(|path| !path.ends_with("Cargo.lock") && !path.contains("refs/lambda-os"))
        .collect()
}

#[test]
fn a_failing_call_leaves_nothing_or_what_landing_again_finishes() {
    let world = World::sized(4, 2);
    world.alone();
    let (checkout, modules) = (world.moved.path.to_string(), world.modules());
    let edits = world.edits();
    let landing = |repository: &GitRepository, expected| -> PortResult<Landing> {
        let target = repository.commit(expected, &edits, "m", 0)?;
        let reference = "refs/heads/main".to_owned();
        Ok(Landing { reference, expected, target, edits: edits.clone(), modules: modules.clone() })
    };
    let faults = [Fault::Fails(rustix::io::Errno::NOSPC), Fault::FailsButPersists, Fault::Stops];
    let (mut undone, mut finished) = (0, 0);
    for fault in faults {
        for at in 0.. {
            let copy = Copied::of(&world);
            let before = Fingerprint::of(&copy.path());
            let disk = Faulty::at(at, fault);
            let repository = copy.repository().with_disk(std::sync::Arc::new(disk.clone()));
            let expected = head_of(&copy.path());
            let landed = landing(&repository, expected).and_then(|landing| repository.land(&landing));
            let Some(failed) = disk.failed() else {
                landed.expect("nothing failed");
                assert!(at > 15, "{fault:?}: only {at} calls");
                break;
            };
            let place = format!("{fault:?} at call {at} ({failed} on {:?})", disk.failed_on());

            // Whoever comes next has a disk that works.
            let repository = copy.repository();
            let landing = landing(&repository, expected).expect("a commit");
            match repository.landing_state(&landing).unwrap_or_else(|error| panic!("{place}: {error}")) {
                LandingState::NotBegun => {
                    repository.abandon(&landing).unwrap_or_else(|error| panic!("{place}: {error}"));
                    let now = Fingerprint::without(&copy.path(), &[std::path::Path::new(".git/objects")]);
                    Fingerprint(
                        before
                            .0
                            .iter()
                            .filter(|(path, _)| !path.starts_with(".git/objects"))
                            .map(clone)
                            .collect(),
                    )
                    .assert_equal(&now);
                    undone += 1;
                }
                LandingState::Begun | LandingState::Done => {
                    let landed = repository
                        .land(&landing)
                        .unwrap_or_else(|error| panic!("{place}: {error}: {:?}", error.source));
                    assert_eq!(landed.notes, Vec::<String>::new(), "{place}");
                    assert_eq!(head_of(&copy.path()), landing.target, "{place}");
                    assert_eq!(git(copy.path().as_path(), ["status", "--porcelain"]), "", "{place}");
                    assert_eq!(head_of(&copy.path().join(&checkout)), world.moved.tip, "{place}");
                    let state = repository.landing_state(&landing).expect("an answer");
                    assert_eq!(state, LandingState::Done, "{place}");
                    finished += 1;
                }
                LandingState::Elsewhere(why) => panic!("{place}: {why}"),
            }
            assert_eq!(left_over(&copy.path()), Vec::<String>::new(), "{place}");
        }
    }
    assert!(undone > 20 && finished > 20, "{undone} undone, {finished} finished");
}

fn clone<A: Clone, B: Clone>((left, right): (&A, &B)) -> (A, B) {
    (left.clone(), right.clone())
}
