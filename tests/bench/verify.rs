//! Verifying 55 modules whose host stays up: without a sign, and with one; then again, warm.
//!
//! `cargo bench --bench verify [-- MODULES]`. The hosts are the stand-in of the tests, one for each
//! module, in the sandbox of this machine, with the settings that are the defaults: 5 s of life
//! where there is no sign, half a second to settle where there is one. `one by one` is what loading
//! them after one another would take: the sum of the runs. Of a second run nothing is left to do.
#![expect(clippy::disallowed_methods, reason = "a benchmark compiles the stand-in")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

#[path = "../support/mod.rs"]
mod support;
#[path = "../host/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::host::HostSettings;
use lambda_os::adapters::journal::JournalWriter;
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::adapters::unavailable::Unavailable;
use lambda_os::domain::health::{Evidence, Step};
use lambda_os::domain::id::ModuleName;
use lambda_os::ops::verify::{Bench, Known, Origin, Runners, Verified, Where, verify};
use lambda_os::ports::Journal as _;

use world::{HOSTS, World};

fn main() {
    let modules = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(55);
    println!("in {}", world::sandbox().report().layers.join(", "));
    println!("modules  hosts at once  sign    cold s  one by one s   warm ms  verdicts");
    for (sign, behaviour) in [("none", "behaviour = silent"), ("socket", "")] {
        measure(modules, sign, behaviour);
    }
}

fn measure(modules: usize, sign: &str, behaviour: &str) {
    let world = (0..modules).fold(World::new(), |world, number| world.and(&format!("m{number}"), behaviour));
    // The defaults of the configuration.
    let settings = HostSettings {
        alive: std::time::Duration::from_secs(5),
        settle: std::time::Duration::from_millis(500),
        timeout: std::time::Duration::from_secs(30),
        at_once: 8,
        ..world::host(HOSTS[1])
    };
    let at_once = settings.at_once;
    let host = world.host(settings);
    let clock = SystemClock;
    let state_dir = world.temp.path().join("state");
    let directory = StateDir::resolve(Some(&state_dir), None, world.temp.path()).expect("a state directory");
    let mut journal = JournalWriter::open(&directory, &clock).expect("a journal");
    let mut state = journal.state().clone();
    let absent = Unavailable { why: "it is not measured".to_owned() };
    let own_steps = BTreeMap::new();
    let runners = Runners {
        evaluator: &absent,
        builder: world.builder(),
        host: &host,
        checker: &absent,
        steps: &[Step::Build, Step::Host],
        own_steps: &own_steps,
        parallel: 2,
    };
    let names: Vec<ModuleName> = world.scene.modules.keys().cloned().collect();
    let mut run = || {
        let begun = Instant::now();
        let mut bench = Bench { runners, journal: &mut journal, clock: &clock, stop: &|| false };
        let done = verify(&mut bench, &mut state, &world.scene, &names, Known::Stands, Where::Base);
        (done.expect("it is verified"), begun.elapsed())
    };
    let (first, cold) = run();
    let (second, warm) = run();
    assert!(second.values().all(|it| it.from == Origin::Stands), "nothing is run again");
    let mut words: BTreeMap<String, usize> = BTreeMap::new();
    let mut alone = 0;
    for verified in first.values() {
        *words.entry(shown(verified)).or_default() += 1;
        let bytes = verified.evidence.and_then(|cid| journal.load(&cid).ok().flatten());
        let evidence: Evidence = serde_json::from_slice(&bytes.expect("evidence")).expect("evidence");
        alone += evidence.runs.iter().map(|run| run.duration_ms).sum::<u64>();
    }
    println!(
        "{modules:>7} {at_once:>14}  {sign:<6} {:>7.1} {:>13.1} {:>9.2}  {words:?}",
        cold.as_secs_f64(),
        std::time::Duration::from_millis(alone).as_secs_f64(),
        warm.as_secs_f64() * 1000.0,
    );
}

fn shown(verified: &Verified) -> String {
    match (verified.verdict.is_strong(), verified.verdict.as_str()) {
        (true, _) => "strong".to_owned(),
        (false, "healthy") => "weak".to_owned(),
        (false, word) => word.to_owned(),
    }
}
