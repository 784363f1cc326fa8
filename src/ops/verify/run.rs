//! Running the steps of modules, side by side, each module tried again before it is believed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use serde::Serialize;

use crate::domain::canonical;
use crate::domain::event::Event;
use crate::domain::health::evidence::{EVIDENCE_VERSION, Lasting};
use crate::domain::health::{Evidence, Outcome, Placed, Scene, Step, StepRun, Verdict, judge};
use crate::domain::id::{Cid, ModuleName};
use crate::domain::state::State;
use crate::domain::text;
use crate::ports::{Derivations, FailureKind, PortError, PortResult, Ran, Runner};

use super::gate::Gate;
use super::{Bench, Known, Origin, Runners, Verified, Where};

/// How many characters of a reason the journal keeps: an entry is one bounded line.
const REASON: usize = 600;

/// Verify modules in a scene; one answer for each, by name. What was found out is journalled module by
/// module, and `state` is brought up to it, so that a cut loses the modules under way alone.
///
/// # Errors
/// When the journal cannot be written, or it was asked to stop: what was found out until then stays.
/// A module that cannot be verified is a value.
pub fn verify(
    bench: &mut Bench<'_>,
    state: &mut State,
    scene: &Scene,
    modules: &[ModuleName],
    known: Known,
    at: Where,
) -> PortResult<BTreeMap<ModuleName, Verified>> {
    let mut done = BTreeMap::new();
    let mut jobs = Vec::new();
    let fingerprints = Fingerprints::of(bench.runners, modules);
    for name in modules {
        match job(bench.runners, &fingerprints, scene, name) {
            Err(verified) => {
                done.insert(name.clone(), *verified);
            }
            Ok(job) => match stands(bench, state, &job, known, at)? {
                Some(verified) => {
                    done.insert(name.clone(), verified);
                }
                None => jobs.push(job),
            },
        }
    }
    jobs.sort_by(|one, other| one.placed.module.name.cmp(&other.placed.module.name));
    jobs.dedup_by(|one, other| one.placed.module.name == other.placed.module.name);
    let evaluated = evaluate(bench, scene, &jobs)?;
    let mut pending = Vec::new();
    for (job, begun) in jobs.into_iter().zip(evaluated) {
        match inherited(bench, state, &job, &begun, known, at)? {
            Some(verified) => {
                done.insert(verified.module.clone(), verified);
            }
            None => pending.push((job, begun)),
        }
    }
    side_by_side(bench, state, scene, &pending, at, &mut done)?;
    Ok(done)
}

/// One module that is to be run.
struct Job<'a> {
    placed: &'a Placed,
    steps: &'a [Step],
    /// Each step with the fingerprint of what runs it.
    how: Vec<(Step, String)>,
    key: Cid,
}

/// What was run of a module before its own turn: its evaluation.
#[derive(Default)]
struct Begun {
    ran: Option<Ran>,
    derivations: Derivations,
    /// The identity of the derivations and of how they are built and loaded.
    identity: Option<Cid>,
}

/// What would run each step that any of the modules has, or why nothing can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Fingerprints(BTreeMap<Step, Result<String, String>>);

/// The identity of how these modules would be verified now: their steps and what runs each. While it and
/// the scene are the same, so are the keys of all verdicts.
#[must_use]
pub fn how(runners: Runners<'_>, modules: &[ModuleName]) -> Option<Cid> {
    let steps: BTreeMap<&ModuleName, &[Step]> =
        modules.iter().map(|name| (name, runners.steps_of(name))).collect();
    let how = (steps, Fingerprints::of(runners, modules));
    canonical::to_canonical(&how).ok().map(|bytes| Cid::of(&bytes))
}

impl Fingerprints {
    fn of(runners: Runners<'_>, modules: &[ModuleName]) -> Self {
        let mut known = BTreeMap::new();
        for step in modules.iter().flat_map(|name| runners.steps_of(name)) {
            known.entry(*step).or_insert_with(|| runner(runners, *step).fingerprint());
        }
        Self(known)
    }
}

fn runner(runners: Runners<'_>, step: Step) -> &dyn Runner {
    match step {
        Step::Eval => runners.evaluator,
        Step::Build => runners.builder,
        Step::Host => runners.host,
        Step::Command => runners.checker,
    }
}

/// What is to be run for a module, or why nothing can be.
fn job<'a>(
    runners: Runners<'a>,
    fingerprints: &Fingerprints,
    scene: &'a Scene,
    name: &ModuleName,
) -> Result<Job<'a>, Box<Verified>> {
    let nowhere = |revision, reason: String| {
        Box::new(Verified {
            module: name.clone(),
            revision,
            key: None,
            verdict: Verdict::Unknown { reason: text::clipped(&text::inert(&reason), REASON) },
            lasting: Lasting::Transient,
            flaky: false,
            evidence: None,
            since_ms: None,
            from: Origin::Nowhere,
        })
    };
    let Some(placed) = scene.modules.get(name) else {
        return Err(nowhere(None, "the superproject has no gitlink for it".to_owned()));
    };
    let steps = runners.steps_of(name);
    if steps.is_empty() {
        return Err(nowhere(Some(placed.pin), "no steps of verification are configured".to_owned()));
    }
    let mut how = Vec::with_capacity(steps.len());
    for step in steps {
        match fingerprints.0.get(step) {
            Some(Ok(fingerprint)) => how.push((*step, fingerprint.clone())),
            Some(Err(why)) => return Err(nowhere(Some(placed.pin), format!("{}: {why}", step.as_str()))),
            None => return Err(nowhere(Some(placed.pin), format!("nothing runs {}", step.as_str()))),
        }
    }
    let key = placed.key(&how);
    Ok(Job { placed, steps, how, key })
}

/// The verdict that stands on this key, where one does.
fn stands(
    bench: &mut Bench<'_>,
    state: &mut State,
    job: &Job<'_>,
    known: Known,
    at: Where,
) -> PortResult<Option<Verified>> {
    if known == Known::RunAgain {
        return Ok(None);
    }
    let name = &job.placed.module.name;
    let Some(record) = state.verdicts.on(name, &job.key).filter(|it| it.stands(bench.clock.wall_ms())) else {
        return Ok(None);
    };
    let verified = Verified {
        module: name.clone(),
        revision: Some(job.placed.pin),
        key: Some(job.key),
        verdict: record.verdict.clone(),
        lasting: record.lasting,
        flaky: record.flaky,
        evidence: Some(record.evidence),
        since_ms: Some(record.wall_ms),
        from: Origin::Stands,
    };
    if at == Where::Base && !record.base {
        // What was verified as a candidate is in the workspace now: approved, so a target of healing.
        let event = Event::VerifyAdopted { module: name.clone(), key: job.key };
        let entry = bench.journal.append(name.as_str(), &event)?;
        state.take(&entry);
    }
    Ok(Some(verified))
}

/// Evaluate, all at once, the modules that have that step; one answer for each job.
fn evaluate(bench: &Bench<'_>, scene: &Scene, jobs: &[Job<'_>]) -> PortResult<Vec<Begun>> {
    goes_on(bench)?;
    let wanted: Vec<&Placed> =
        jobs.iter().filter(|job| job.steps.contains(&Step::Eval)).map(|job| job.placed).collect();
    let mut answers =
        if wanted.is_empty() { Vec::new() } else { bench.runners.evaluator.evaluate(scene, &wanted) }
            .into_iter();
    let begun = jobs.iter().map(|job| {
        if !job.steps.contains(&Step::Eval) {
            return Begun::default();
        }
        let Some(answer) = answers.next() else {
            let reason = "the evaluator gave no answer".to_owned();
            return Begun { ran: Some(Ran::not_run(Step::Eval, reason)), ..Begun::default() };
        };
        let passed = matches!(answer.ran.run.outcome, Outcome::Passed { .. });
        let identity = (passed && !answer.derivations.is_empty())
            .then(|| identity(&answer.derivations, &job.how))
            .flatten();
        Begun { ran: Some(answer.ran), derivations: answer.derivations, identity }
    });
    Ok(begun.collect())
}

/// The identity of derivations and of how they are built and loaded.
fn identity(derivations: &Derivations, how: &[(Step, String)]) -> Option<Cid> {
    #[derive(Serialize)]
    struct Same<'a> {
        derivations: &'a Derivations,
        how: &'a [(Step, String)],
    }
    canonical::to_canonical(&Same { derivations, how }).ok().map(|bytes| Cid::of(&bytes))
}

/// A verdict on equal derivations, which counts for these too. What looks at the module's files
/// themselves is run.
fn inherited(
    bench: &mut Bench<'_>,
    state: &mut State,
    job: &Job<'_>,
    begun: &Begun,
    known: Known,
    at: Where,
) -> PortResult<Option<Verified>> {
    if known == Known::RunAgain || job.steps.contains(&Step::Command) {
        return Ok(None);
    }
    let Some(identity) = begun.identity else { return Ok(None) };
    let name = &job.placed.module.name;
    let Some(record) = state.verdicts.with_derivations(name, &identity).cloned() else { return Ok(None) };
    let found = Found {
        verdict: record.verdict,
        lasting: record.lasting,
        flaky: record.flaky,
        evidence: record.evidence,
        derivations: Some(identity),
    };
    journalled(bench, state, job, found, at, Origin::Inherited).map(Some)
}

/// What is journalled of one module.
struct Found {
    verdict: Verdict,
    lasting: Lasting,
    flaky: bool,
    evidence: Cid,
    derivations: Option<Cid>,
}

fn journalled(
    bench: &mut Bench<'_>,
    state: &mut State,
    job: &Job<'_>,
    found: Found,
    at: Where,
    from: Origin,
) -> PortResult<Verified> {
    let module = job.placed.module.name.clone();
    let Found { verdict, lasting, flaky, evidence, derivations } = found;
    let event = Event::VerifyFinished {
        module: module.clone(),
        revision: job.placed.pin,
        key: job.key,
        sees: job.placed.sees,
        verdict: verdict.clone(),
        lasting,
        flaky,
        evidence,
        derivations,
        base: at == Where::Base,
    };
    let entry = bench.journal.append(module.as_str(), &event)?;
    state.take(&entry);
    Ok(Verified {
        module,
        revision: Some(job.placed.pin),
        key: Some(job.key),
        verdict,
        lasting,
        flaky,
        evidence: Some(evidence),
        since_ms: Some(entry.wall_ms),
        from,
    })
}

/// Run what is left, several modules at a time; each is stored and journalled as it ends.
fn side_by_side(
    bench: &mut Bench<'_>,
    state: &mut State,
    scene: &Scene,
    pending: &[(Job<'_>, Begun)],
    at: Where,
    done: &mut BTreeMap<ModuleName, Verified>,
) -> PortResult<()> {
    let runners = bench.runners;
    let gates = Gates::of(runners, pending);
    let next = AtomicUsize::new(0);
    let halt = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // What waits to be journalled is bounded: logs are large.
        let (sender, receiver) = mpsc::sync_channel(1);
        for _ in 0..gates.most().min(pending.len()) {
            let (sender, next, halt, gates) = (sender.clone(), &next, &halt, &gates);
            scope.spawn(move || {
                while !halt.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((job, begun)) = pending.get(number) else { return };
                    if sender.send((number, tried(runners, gates, scene, job, begun))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut result = Ok(());
        for (number, tries) in receiver {
            if result.is_err() {
                continue;
            }
            let (job, begun) = &pending[number];
            result = settle(bench, state, scene, job, begun, tries, at).map(|verified| {
                done.insert(verified.module.clone(), verified);
            });
            if result.is_ok() {
                result = goes_on(bench);
            }
            if result.is_err() {
                halt.store(true, Ordering::Relaxed);
            }
        }
        result
    })
}

/// How much is done at once.
struct Gates {
    work: Gate,
    hosts: Gate,
}

impl Gates {
    fn of(runners: Runners<'_>, pending: &[(Job<'_>, Begun)]) -> Self {
        let loads = pending.iter().any(|(job, _)| job.steps.contains(&Step::Host));
        let hosts = if loads { runners.host.at_once() } else { 1 };
        Self { work: Gate::new(runners.parallel), hosts: Gate::new(hosts) }
    }

    /// Threads that can all be busy.
    fn most(&self) -> usize {
        self.work.all().max(self.hosts.all())
    }
}

/// The first try, and the second where there was need of one.
struct Tries {
    first: Vec<Ran>,
    second: Vec<Ran>,
}

fn tried(runners: Runners<'_>, gates: &Gates, scene: &Scene, job: &Job<'_>, begun: &Begun) -> Tries {
    let mut first: Vec<Ran> = begun.ran.iter().cloned().collect();
    if first.last().is_none_or(|ran| passed(&ran.run)) {
        first.extend(rest(runners, gates, scene, job, &begun.derivations, 1));
    }
    let runs: Vec<StepRun> = first.iter().map(|ran| ran.run.clone()).collect();
    let believed = !judge::verdict(&runs).is_bad() || judge::lasting(&runs) == Lasting::Permanent;
    let second = if believed {
        Vec::new()
    } else if first.last().is_some_and(|ran| ran.run.step == Step::Eval) {
        let again = gates.work.through(|| runners.evaluator.evaluate(scene, &[job.placed]));
        match again.into_iter().next() {
            None => vec![Ran::not_run(Step::Eval, "the evaluator gave no answer".to_owned())],
            Some(mut answer) => {
                answer.ran.run.attempt = 2;
                let goes_on = passed(&answer.ran.run);
                let mut second = vec![answer.ran];
                if goes_on {
                    second.extend(rest(runners, gates, scene, job, &answer.derivations, 2));
                }
                second
            }
        }
    } else {
        rest(runners, gates, scene, job, &begun.derivations, 2)
    };
    Tries { first, second }
}

fn passed(run: &StepRun) -> bool {
    matches!(run.outcome, Outcome::Passed { .. })
}

/// The steps after evaluation, until one does not pass.
fn rest(
    runners: Runners<'_>,
    gates: &Gates,
    scene: &Scene,
    job: &Job<'_>,
    derivations: &Derivations,
    attempt: u32,
) -> Vec<Ran> {
    let mut all = Vec::new();
    let mut outputs: BTreeMap<String, PathBuf> = BTreeMap::new();
    for step in job.steps.iter().filter(|step| **step != Step::Eval) {
        let mut ran = match step {
            Step::Eval => continue,
            Step::Build => {
                let built = gates.work.through(|| runners.builder.build(scene, job.placed, derivations));
                outputs = built.outputs;
                built.ran
            }
            Step::Host => gates.hosts.through(|| runners.host.load(scene, job.placed, &outputs)),
            Step::Command => gates.work.through(|| runners.checker.check(scene, job.placed)),
        };
        ran.run.attempt = attempt;
        let goes_on = passed(&ran.run);
        all.push(ran);
        if !goes_on {
            break;
        }
    }
    all
}

/// Store the logs and the evidence, and journal the verdict.
fn settle(
    bench: &mut Bench<'_>,
    state: &mut State,
    scene: &Scene,
    job: &Job<'_>,
    begun: &Begun,
    tries: Tries,
    at: Where,
) -> PortResult<Verified> {
    let mut tries = tries;
    for ran in tries.first.iter_mut().chain(&mut tries.second) {
        ran.run.log = (!ran.log.is_empty()).then(|| Cid::of(&ran.log));
        clip(&mut ran.run);
    }
    let first: Vec<StepRun> = tries.first.iter().map(|ran| ran.run.clone()).collect();
    let second: Vec<StepRun> = tries.second.iter().map(|ran| ran.run.clone()).collect();
    let (verdict, flaky) =
        if second.is_empty() { (judge::verdict(&first), false) } else { judge::confirmed(&first, &second) };
    let verdict = clipped(verdict);
    let runs: Vec<StepRun> = first.into_iter().chain(second).collect();
    let lasting = judge::lasting(&runs);
    let evidence = Evidence {
        v: EVIDENCE_VERSION,
        module: job.placed.module.name.clone(),
        revision: job.placed.pin,
        key: job.key,
        tree: scene.tree,
        verdict: verdict.clone(),
        runs,
    };
    let bytes = evidence.to_canonical().map_err(|error| {
        PortError::failed(format!("cannot write the evidence on {}", evidence.module)).because(error)
    })?;
    let logs = tries.first.iter().chain(&tries.second).map(|ran| ran.log.as_slice());
    let mut values: Vec<&[u8]> = logs.filter(|log| !log.is_empty()).collect();
    values.push(&bytes);
    bench.journal.store_all(&values)?;
    let evidence = Cid::of(&bytes);
    let found = Found { verdict, lasting, flaky, evidence, derivations: begun.identity };
    journalled(bench, state, job, found, at, Origin::Run)
}

/// Bound what a run says of itself: reasons and commands may hold text from outside.
fn clip(run: &mut StepRun) {
    let bound = |said: &mut String| *said = text::clipped(&text::inert(said), REASON);
    match &mut run.outcome {
        Outcome::Passed { weak } => weak.iter_mut().for_each(bound),
        Outcome::Failed { reason, .. } | Outcome::TimedOut { reason } | Outcome::Unknown { reason } => {
            bound(reason);
        }
    }
    run.command.iter_mut().chain(&mut run.notes).for_each(bound);
}

fn clipped(verdict: Verdict) -> Verdict {
    let bound = |said: String| text::clipped(&text::inert(&said), REASON);
    match verdict {
        Verdict::Healthy { strength, reason } => Verdict::Healthy { strength, reason: reason.map(bound) },
        Verdict::Failed { step, reason } => Verdict::Failed { step, reason: bound(reason) },
        Verdict::TimedOut { step, reason } => Verdict::TimedOut { step, reason: bound(reason) },
        Verdict::Unknown { reason } => Verdict::Unknown { reason: bound(reason) },
    }
}

fn goes_on(bench: &Bench<'_>) -> PortResult<()> {
    if (bench.stop)() {
        return Err(PortError::failed("verification was asked to stop").kind(FailureKind::Interrupted));
    }
    Ok(())
}
