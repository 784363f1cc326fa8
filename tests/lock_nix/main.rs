//! Relocking beside the real Nix, byte for byte, on generated workspaces.
//!
//! `LAMBDA_OS_NIX` is the Nix to compare with (`tests/nix.sh` sets one up); without it these tests
//! say loudly that they are skipped. `LAMBDA_OS_LOCK_WORLDS` and `LAMBDA_OS_LOCK_SEED` make a
//! longer or another run; a difference is reported with the seed that makes it again.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

#[path = "../support/mod.rs"]
mod support;
mod world;

mod hidden;
mod named;
mod odd;
mod old;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::flake::relock::Update;
use world::{World, ours};

/// The Nix to compare with.
struct Nix {
    program: PathBuf,
    home: PathBuf,
    /// Debian's 2.8, whose rules are others in places: see [`old`].
    old: bool,
}

impl Nix {
    /// `None`, said loudly, when there is none.
    fn new(home: &Path) -> Option<Self> {
        let Some(program) = std::env::var_os("LAMBDA_OS_NIX") else {
            eprintln!("SKIPPED: relocking beside Nix: LAMBDA_OS_NIX is not set (eval \"$(tests/nix.sh)\")");
            return None;
        };
        fs::create_dir_all(home).expect("a directory is made");
        Some(Self { program: program.into(), home: home.to_owned(), old: false })
    }

    /// Run it on the flake in `root`; what it says when it refuses.
    fn flake(&self, args: &[String]) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(support::environment(&self.home)).env("USER", "root");
        if !self.old {
            // A store in memory: nothing of the machine is used or changed.
            command.env("NIX_REMOTE", "dummy://?read-only=false");
        }
        command.env(
            "NIX_CONFIG",
            "experimental-features = nix-command flakes\nsubstituters =\nflake-registry =\nwarn-dirty = false\n",
        );
        command.current_dir(&self.home).arg("flake").args(args);
        let output = command.output().expect("Nix starts");
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Nix {
    /// 2.8 records the branch of a repository by its short name.
    fn normal(&self, lock: String) -> String {
        if self.old { lock.replace("\"ref\": \"main\"", "\"ref\": \"refs/heads/main\"") } else { lock }
    }
}

/// What is asked of both.
#[derive(Debug, Clone)]
enum Ask {
    /// `nix flake lock`.
    Lock,
    /// `nix flake update INPUT…`.
    Update(Vec<String>),
    /// `nix flake update`.
    UpdateAll,
    /// `nix flake lock --override-input INPUT URL?rev=REV`.
    Revision(String, String, String),
}

impl Ask {
    fn args(&self, root: &Path, old: bool) -> Vec<String> {
        let flake = format!("path:{}", root.display());
        match self {
            Self::Update(inputs) if old => {
                let inputs = inputs.iter().flat_map(|input| ["--update-input", input].map(str::to_owned));
                ["lock".to_owned()].into_iter().chain(inputs).chain([flake]).collect()
            }
            Self::UpdateAll if old => vec!["update".to_owned(), flake],
            Self::Lock => vec!["lock".to_owned(), flake],
            Self::Update(inputs) => {
                let mut args = vec!["update".to_owned(), "--flake".to_owned(), flake];
                args.extend(inputs.iter().cloned());
                args
            }
            Self::UpdateAll => vec!["update".to_owned(), "--flake".to_owned(), flake],
            Self::Revision(input, url, rev) => {
                let sign = if url.contains('?') { '&' } else { '?' };
                ["lock", "--override-input", input, &format!("{url}{sign}rev={rev}"), &flake]
                    .map(str::to_owned)
                    .to_vec()
            }
        }
    }

    fn updates(&self) -> BTreeMap<Vec<String>, Update> {
        let path = |text: &String| text.split('/').map(str::to_owned).collect();
        match self {
            Self::Lock | Self::UpdateAll => BTreeMap::new(),
            Self::Update(inputs) => inputs.iter().map(|input| (path(input), Update::Newest)).collect(),
            Self::Revision(input, _, rev) => [(path(input), Update::Revision(rev.clone()))].into(),
        }
    }
}

/// How a comparison ended: both the same lock, both refused, or a difference.
enum Outcome {
    Equal,
    BothRefuse(String),
    Different(String),
}

/// Ask both about the flake in `root`. What Nix wrote is there afterwards.
fn compare(nix: &Nix, root: &Path, ask: &Ask) -> Outcome {
    let file = root.join("flake.lock");
    let before = fs::read(&file).ok();
    let lock = before.clone().and_then(|bytes| Some(Lock::parse_for_relock(bytes).ok()?.0));
    let used = if matches!(ask, Ask::UpdateAll) { None } else { before.as_deref() };
    let mine = ours(root, "", used, &ask.updates()).map(|made| {
        if made.differs_from(lock.as_ref()) {
            Some(made.file(lock.as_ref().zip(before.as_deref())))
        } else {
            before.clone()
        }
    });
    let theirs = nix.flake(&ask.args(root, nix.old)).map(|()| fs::read(&file).ok());
    let text = |bytes: &Option<Vec<u8>>| {
        bytes
            .as_ref()
            .map_or_else(|| "(no file)".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    match (mine, theirs) {
        (Ok(mine), Ok(theirs)) if nix.normal(text(&mine)) == nix.normal(text(&theirs)) => Outcome::Equal,
        (Err(ours), Err(_)) => Outcome::BothRefuse(ours),
        (Ok(mine), Ok(theirs)) => Outcome::Different(difference(&text(&mine), &text(&theirs))),
        (Ok(_), Err(said)) => Outcome::Different(format!("Nix refused, we did not: {said}")),
        (Err(said), Ok(_)) => Outcome::Different(format!("we refused, Nix did not: {said}")),
    }
}

/// The lines from the first that differs on.
fn difference(mine: &str, theirs: &str) -> String {
    let same = mine.lines().zip(theirs.lines()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(6);
    let part = |text: &str| text.lines().skip(from).take(24).collect::<Vec<_>>().join("\n");
    format!("ours, from line {from}:\n{}\nNix's:\n{}", part(mine), part(theirs))
}

#[derive(Default)]
struct Tally {
    equal: usize,
    refused: usize,
    reasons: BTreeMap<String, usize>,
    differences: Vec<String>,
}

/// One world: locked from nothing, then changed and asked again a few times.
fn live(nix: &Nix, seed: u64, tally: &mut Tally) {
    let temp = support::temp_dir();
    let dir = fs::canonicalize(temp.path()).expect("it is there");
    let mut world = World::new(&dir, seed);
    let mut ask = Ask::Lock;
    for step in 0..5 {
        match compare(nix, &world.root, &ask) {
            Outcome::Equal => tally.equal += 1,
            Outcome::BothRefuse(why) => {
                tally.refused += 1;
                *tally
                    .reasons
                    .entry(why.chars().filter(|c| !c.is_ascii_digit()).take(30).collect())
                    .or_default() += 1;
            }
            Outcome::Different(how) => {
                let flake = fs::read_to_string(world.root.join("flake.nix")).expect("it is there");
                tally.differences.push(format!("seed {seed}, step {step}, {ask:?}\n{flake}{how}"));
                if std::env::var_os("LAMBDA_OS_LOCK_KEEP").is_some() {
                    eprintln!("kept: {}", temp.keep().display());
                }
                return;
            }
        }
        world.change();
        ask = next(&mut world);
    }
}

fn next(world: &mut World) -> Ask {
    let names: Vec<String> = world.inputs.keys().cloned().collect();
    if names.is_empty() {
        return Ask::Lock;
    }
    match world.random.below(20) {
        0..8 => Ask::Lock,
        8..14 => {
            let mut chosen = vec![world.random.pick(&names).clone()];
            if world.random.percent(40) {
                chosen.push(world.random.pick(&names).clone());
            }
            Ask::Update(chosen)
        }
        14 | 15 => {
            let deep = format!("{}/{}", world.random.pick(&names), world.random.pick(&names));
            Ask::Update(vec![deep])
        }
        16 | 17 => Ask::UpdateAll,
        _ => {
            let name = world.random.pick(&names).clone();
            let Some(url) = world.inputs[&name].url.clone() else { return Ask::Lock };
            let place = url.strip_prefix("git+file://").filter(|url| !url.contains("rev="));
            let source = place.and_then(|place| {
                let path = place.split('?').next().unwrap_or(place);
                world.sources.iter().position(|source| source.path == Path::new(path))
            });
            let Some(source) = source else { return Ask::Lock };
            let commits = world.sources[source].commits.clone();
            let rev = world.random.pick(&commits).clone();
            Ask::Revision(name, url, rev)
        }
    }
}

#[test]
fn generated_workspaces_are_locked_as_nix_locks_them() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let (worlds, first) = (number("LAMBDA_OS_LOCK_WORLDS", 40), number("LAMBDA_OS_LOCK_SEED", 0));
    let threads = 2;
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let temp = support::temp_dir();
                    let mut tally = Tally::default();
                    let Some(nix) = Nix::new(temp.path()) else { return tally };
                    for world in (0..worlds).filter(|world| world % threads == thread) {
                        live(&nix, first + world, &mut tally);
                    }
                    tally
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let equal: usize = tallies.iter().map(|tally| tally.equal).sum();
    let refused: usize = tallies.iter().map(|tally| tally.refused).sum();
    let differences: Vec<&String> = tallies.iter().flat_map(|tally| &tally.differences).collect();
    eprintln!("{equal} equal, {refused} refused by both, {} different", differences.len());
    if std::env::var_os("LAMBDA_OS_LOCK_KEEP").is_some() {
        eprintln!("{:#?}", tallies[0].reasons);
    }
    for difference in differences.iter().take(8) {
        eprintln!("\n=== {difference}");
    }
    assert!(differences.is_empty(), "{} differences", differences.len());
    assert!(equal > refused || equal == 0, "most cases are refused: {equal} equal, {refused} refused");
}
