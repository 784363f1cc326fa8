//! A module that fails one time in five, through the whole of verification: tried again in a fresh
//! sandbox, and marked; one that fails each time is not believed to be flaky.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::host::Host;
use lambda_os::adapters::journal::JournalWriter;
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::adapters::unavailable::Unavailable;
use lambda_os::domain::health::{Placed, Scene, Step, Strength, Verdict};
use lambda_os::domain::id::ModuleName;
use lambda_os::domain::state::State;
use lambda_os::ops::verify::{Bench, Known, Runners, Verified, Where, verify};
use lambda_os::ports::{Builder as _, ModuleHost, Ran, Runner};

use crate::world::{HOSTS, World, host};

/// A host, and a counter outside of every sandbox: the module sees which run it is, no more.
struct Counted<'a> {
    host: Host<'a>,
    world: &'a World,
    counter: PathBuf,
    runs: AtomicU64,
}

impl Runner for Counted<'_> {
    fn fingerprint(&self) -> Result<String, String> {
        self.host.fingerprint()
    }
}

impl ModuleHost for Counted<'_> {
    fn load(&self, scene: &Scene, module: &Placed, _: &BTreeMap<String, PathBuf>) -> Ran {
        let run = self.runs.fetch_add(1, Ordering::SeqCst);
        fs::write(&self.counter, run.to_string()).expect("the counter is written");
        let built = self.world.builder().build(scene, module, &BTreeMap::new());
        self.host.load(scene, module, &built.outputs)
    }
}

/// Verify `alpha` so often, each time anew; its verdicts, the state that is left, and the runs.
fn verdicts(behaviour: &str, times: usize) -> (Vec<Verified>, State, u64) {
    let world = World::new();
    let counter = world.temp.path().join("out-alpha/lib/counter");
    let world = world.and("alpha", &format!("behaviour = {behaviour}\ncounter = {}", counter.display()));
    let host = Counted { host: world.host(host(HOSTS[1])), world: &world, counter, runs: AtomicU64::new(0) };
    let clock = SystemClock;
    let state_dir = world.temp.path().join("state");
    let directory = StateDir::resolve(Some(&state_dir), None, world.temp.path()).expect("a state directory");
    let mut journal = JournalWriter::open(&directory, &clock).expect("a journal");
    let mut state = journal.state().clone();
    let absent = Unavailable { why: "it is not there".to_owned() };
    let own_steps = BTreeMap::new();
    let runners = Runners {
        evaluator: &absent,
        builder: &absent,
        host: &host,
        checker: &absent,
        steps: &[Step::Host],
        own_steps: &own_steps,
        parallel: 2,
    };
    let names = [ModuleName::new("logos-alpha-module")];
    let mut all = Vec::new();
    for _ in 0..times {
        let mut bench = Bench { runners, journal: &mut journal, clock: &clock, stop: &|| false };
        let done = verify(&mut bench, &mut state, &world.scene, &names, Known::RunAgain, Where::Base);
        all.extend(done.expect("it is verified").into_values());
    }
    (all, state, host.runs.into_inner())
}

#[test]
fn one_failure_in_five_is_no_failure_and_is_marked() {
    // By this seed, some of these runs fail, and no two in a row.
    let (all, state, runs) = verdicts("flaky 7", 8);
    let flaky = all.iter().filter(|it| it.flaky).count();
    assert!(flaky > 0, "{all:?}");
    assert_eq!(usize::try_from(runs).ok(), Some(all.len() + flaky), "each failure was tried once more");
    for verified in &all {
        match &verified.verdict {
            Verdict::Healthy { strength: Strength::Weak, reason: Some(reason) } => {
                assert!(verified.flaky && reason.contains("flaky"), "{reason}");
            }
            verdict => assert!(verdict.is_strong() && !verified.flaky, "{verdict:?}"),
        }
    }
    // What was flaky is nothing to go back to.
    let module = ModuleName::new("logos-alpha-module");
    assert!(state.verdicts.good_pins(&module).all(|record| !record.flaky));
}

#[test]
fn a_module_that_fails_at_each_try_has_failed() {
    let (all, _, runs) = verdicts("crash-at-load", 1);
    assert_eq!(runs, 2);
    assert!(matches!(&all[0].verdict, Verdict::Failed { step: Step::Host, .. }) && !all[0].flaky, "{all:?}");
}
