//! Verifying modules of a real workspace through `ops::verify`, with a checker that decides by what the
//! files of a module's revision say. Keys, known verdicts, second tries, evidence and the journal are
//! the real ones.

#[path = "../support/mod.rs"]
mod support;

mod checker;

use std::collections::BTreeMap;

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::adapters::journal::JournalWriter;
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::adapters::unavailable::Unavailable;
use lambda_os::domain::health::evidence::Lasting;
use lambda_os::domain::health::{Evidence, Outcome, Step, Strength, Verdict};
use lambda_os::domain::id::ModuleName;
use lambda_os::domain::module::Discovery;
use lambda_os::ops::verify::{Bench, Committed, Known, Origin, Runners, Verified, Where, verify};
use lambda_os::ports::{Journal as _, Repository as _};
use lambda_os::sample::SampleSpec;

use checker::Scripted;
use support::{Workspace, git};

/// A workspace, and what verifying it needs.
struct World {
    workspace: Workspace,
    repository: GitRepository,
    discovery: Discovery,
    clock: SystemClock,
}

impl World {
    fn new(modules: usize) -> Self {
        let workspace = Workspace::new(&SampleSpec::sized(modules, 4));
        let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
        let repository =
            GitRepository::open_in(workspace.path(), settings, Environment::default()).expect("it opens");
        let discovery = repository.discover().expect("modules");
        Self { workspace, repository, discovery, clock: SystemClock }
    }

    fn names(&self) -> Vec<ModuleName> {
        self.discovery.modules.iter().map(|module| module.name.clone()).collect()
    }

    fn verify(&self, checker: &Scripted, known: Known) -> BTreeMap<ModuleName, Verified> {
        self.verify_with(checker, known, &|| false).expect("it is verified")
    }

    fn verify_with(
        &self,
        checker: &Scripted,
        known: Known,
        stop: &dyn Fn() -> bool,
    ) -> lambda_os::ports::PortResult<BTreeMap<ModuleName, Verified>> {
        let directory = StateDir::resolve(Some(&self.workspace.state()), None, self.workspace.path())
            .expect("a state directory");
        let mut journal = JournalWriter::open(&directory, &self.clock).expect("a journal");
        let absent = Unavailable { why: "it is not there".to_owned() };
        let own_steps = BTreeMap::new();
        let runners = Runners {
            evaluator: &absent,
            builder: &absent,
            host: &absent,
            checker,
            steps: &[Step::Command],
            own_steps: &own_steps,
            parallel: 3,
        };
        let head = git(self.workspace.path(), ["rev-parse", "HEAD"]).trim().parse().expect("an id");
        let scene = Committed::read(&self.repository, &self.discovery.modules, head)?.as_it_is();
        let mut state = journal.state().clone();
        let mut bench = Bench { runners, journal: &mut journal, clock: &self.clock, stop };
        let done = verify(&mut bench, &mut state, &scene, &self.names(), known, Where::Base);
        // What the stage keeps by itself is what the journal adds up to.
        assert_eq!(state.verdicts, journal.state().verdicts);
        for verified in done.iter().flat_map(BTreeMap::values) {
            let Some(evidence) = verified.evidence else { continue };
            let bytes = journal.load(&evidence).expect("readable").expect("stored before it is named");
            let evidence: Evidence = serde_json::from_slice(&bytes).expect("evidence");
            assert_eq!((&evidence.module, Some(evidence.key)), (&verified.module, verified.key));
            for log in evidence.runs.iter().filter_map(|run| run.log) {
                assert!(journal.load(&log).expect("readable").is_some(), "the log is stored");
            }
        }
        done
    }
}

#[test]
fn what_is_known_is_not_run_again_unless_asked() {
    let world = World::new(8);
    let checker = Scripted::default();
    let first = world.verify(&checker, Known::Stands);
    assert_eq!(checker.runs(), 8);
    assert!(first.values().all(|it| it.verdict == Verdict::STRONG && it.from == Origin::Run));
    let second = world.verify(&checker, Known::Stands);
    assert_eq!(checker.runs(), 8, "nothing is run");
    assert!(second.values().all(|it| it.from == Origin::Stands && it.since_ms.is_some()));
    world.verify(&checker, Known::RunAgain);
    assert_eq!(checker.runs(), 16);
    // Another program, other settings: nothing is known.
    let other = Scripted::named("another");
    world.verify(&other, Known::Stands);
    assert_eq!(other.runs(), 8);
}

#[test]
fn a_failure_is_tried_again_before_it_is_believed_and_stands_as_long_as_it_can() {
    let world = World::new(8);
    let names = world.names();
    let failed = |lasting| Outcome::Failed { reason: "it broke\u{1b}[2J".to_owned(), lasting };
    let checker = Scripted::default()
        .always(&names[0], failed(Lasting::Transient))
        .always(&names[1], failed(Lasting::Permanent))
        .at_first(&names[2], failed(Lasting::Transient))
        .always(&names[3], Outcome::TimedOut { reason: "too long".to_owned() })
        .always(&names[4], Outcome::Unknown { reason: "no sandbox".to_owned() })
        .always(&names[5], Outcome::Passed { weak: Some("no sign".to_owned()) });
    let done = world.verify(&checker, Known::Stands);
    let of = |at: usize| &done[&names[at]];
    assert!(
        matches!(&of(0).verdict, Verdict::Failed { step: Step::Command, reason } if !reason.contains('\u{1b}'))
    );
    assert_eq!(checker.runs_of(&names[0]), 2, "it may pass by itself: tried again");
    assert_eq!(checker.runs_of(&names[1]), 1, "the same input gives the same failure");
    assert!(of(2).flaky && !of(2).verdict.is_strong() && of(2).verdict.is_healthy(), "{:?}", of(2));
    assert!(matches!(of(3).verdict, Verdict::TimedOut { .. }) && !of(3).verdict.is_healthy());
    assert!(matches!(of(4).verdict, Verdict::Unknown { .. }) && !of(4).verdict.is_healthy());
    assert!(matches!(of(5).verdict, Verdict::Healthy { strength: Strength::Weak, .. }));
    assert_eq!(of(6).verdict, Verdict::STRONG);
    // All of it stands for a while: no failure is run over and over.
    let runs = checker.runs();
    world.verify(&checker, Known::Stands);
    assert_eq!(checker.runs(), runs);
}

#[test]
fn being_asked_to_stop_keeps_what_was_found_out() {
    let world = World::new(24);
    let checker = Scripted::default();
    let stopped = world.verify_with(&checker, Known::Stands, &|| checker.runs() >= 2);
    assert!(stopped.is_err());
    let before = checker.runs();
    assert!(before < 24, "it went on for {before} modules");
    world.verify(&checker, Known::Stands);
    // Those that were journalled are not run again; those under way when it was stopped are.
    assert!(checker.runs() < before + 24, "{} after {before}", checker.runs());
}

#[test]
fn a_program_that_is_not_there_makes_every_module_unknown_and_runs_nothing() {
    let world = World::new(8);
    let checker = Scripted::missing("there is no /bin/nothing");
    let done = world.verify(&checker, Known::Stands);
    assert_eq!(checker.runs(), 0);
    for verified in done.values() {
        assert!(verified.verdict.reason().is_some_and(|why| why.contains("/bin/nothing")), "{verified:?}");
        assert_eq!((verified.from, verified.evidence), (Origin::Nowhere, None));
    }
}
