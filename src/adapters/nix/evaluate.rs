//! `eval`: what the packages and checks of modules are derived from, many modules in one run of Nix.
//!
//! In: a scene and modules of it. Out: one answer each, in their order. Sources are put into the store
//! first, then one expression goes through all modules. Where a run ends early, what it ended at is
//! known: that module has its answer, and another run goes on behind it; so a module that fails costs
//! one more start. What may be the doing of the modules before it (memory, output) is tried with that
//! module first before it is believed.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::time::Duration;

use super::expression::{self, Done, Progress, Stage};
use super::program::{Nix, Ready, options};
use super::run::{self, Bounds, End, Finished, Task};
use super::said::{self, Blame};
use super::settings::Fetching;
use super::sources::{Absent, Flake, Laid, NixSources};
use crate::adapters::git::GitRepository;
use crate::adapters::mirrors::Mirrors;
use crate::domain::health::evidence::{Exit, Lasting, Stream};
use crate::domain::health::{Outcome, Placed, SandboxReport, Scene, Step, StepRun};
use crate::ports::{Derivations, Evaluated, NixEvaluator, Ran, Runner};

/// Modules in one run: its expression is one argument, and the kernel bounds those.
const AT_ONCE: usize = 200;
/// The longest expression, bytes: below the kernel's 128 KiB for one argument.
const MAX_SCRIPT: usize = 100 << 10;
/// What a run may write.
const MAX_OUTPUT: usize = 32 << 20;
/// What is kept of what a module wrote.
const MAX_LOG: usize = 64 << 10;

/// Evaluates modules with the `nix` program.
pub struct Evaluator<'a> {
    nix: &'a Nix,
    sources: NixSources<'a>,
}

impl<'a> Evaluator<'a> {
    /// Evaluates with this Nix, with sources from these repositories. Nothing is started yet.
    #[must_use]
    pub fn new(nix: &'a Nix, repository: &'a GitRepository, mirrors: &'a Mirrors) -> Self {
        Self { nix, sources: NixSources::new(repository, mirrors) }
    }

    fn all(&self, scene: &Scene, modules: &[&Placed]) -> Result<Vec<Evaluated>, String> {
        let ready = self.nix.ready()?;
        let laid = self.sources.lay(self.nix, &ready, scene, modules)?;
        let mut work = Work::new(self.nix, &ready, &laid);
        work.go_through();
        if !(work.missed && laid.trusted) {
            return Ok(work.answers());
        }
        // What was in the store when it was seen last may have been collected meanwhile.
        self.sources.forget();
        let laid = self.sources.lay(self.nix, &ready, scene, modules)?;
        let mut work = Work::new(self.nix, &ready, &laid);
        work.go_through();
        Ok(work.answers())
    }
}

impl Runner for Evaluator<'_> {
    fn fingerprint(&self) -> Result<String, String> {
        let settings = &self.nix.settings;
        let own = BTreeMap::from([
            ("step", "eval 1".to_owned()),
            ("fetching", format!("{:?}", settings.fetching)),
            ("memory", settings.eval_memory_bytes.to_string()),
        ]);
        self.nix.fingerprint(&own)
    }
}

impl NixEvaluator for Evaluator<'_> {
    fn evaluate(&self, scene: &Scene, modules: &[&Placed]) -> Vec<Evaluated> {
        if modules.is_empty() {
            return Vec::new();
        }
        self.all(scene, modules).unwrap_or_else(|why| modules.iter().map(|_| unknown(why.clone())).collect())
    }
}

/// One walk through modules.
struct Work<'w> {
    nix: &'w Nix,
    ready: &'w Ready,
    laid: &'w Laid,
    queue: VecDeque<usize>,
    answers: Vec<Option<Evaluated>>,
    /// A source was not found that may have been there.
    missed: bool,
}

/// One run of Nix, ended.
struct Round {
    batch: Vec<usize>,
    command: Vec<String>,
    progress: Progress,
    finished: Finished,
}

impl<'w> Work<'w> {
    fn new(nix: &'w Nix, ready: &'w Ready, laid: &'w Laid) -> Self {
        let mut answers: Vec<Option<Evaluated>> = Vec::with_capacity(laid.flakes.len());
        let mut queue = VecDeque::new();
        for (at, flake) in laid.flakes.iter().enumerate() {
            answers.push(match flake {
                Ok(_) => {
                    queue.push_back(at);
                    None
                }
                Err(why) => Some(unknown(why.clone())),
            });
        }
        Self { nix, ready, laid, queue, answers, missed: false }
    }

    fn answers(self) -> Vec<Evaluated> {
        let never = || unknown("Nix gave no answer".to_owned());
        self.answers.into_iter().map(|answer| answer.unwrap_or_else(never)).collect()
    }

    /// Each round gives at least one answer, or puts the module that it ended at first in the next.
    fn go_through(&mut self) {
        let mut first = None;
        while !self.queue.is_empty() {
            let batch = self.batch();
            let round = match self.run(&batch) {
                Ok(round) => round,
                Err(why) => {
                    for at in batch {
                        self.answers[at] = Some(unknown(why.clone()));
                    }
                    continue;
                }
            };
            first = self.take(round, first);
        }
    }

    /// As many as go into one expression.
    fn batch(&mut self) -> Vec<usize> {
        let mut batch = Vec::new();
        let mut size = 0;
        while let Some(at) = self.queue.front().copied() {
            size += self.flake(at).expression.len() + 40;
            if !batch.is_empty() && (batch.len() >= AT_ONCE || size > MAX_SCRIPT) {
                break;
            }
            batch.push(at);
            self.queue.pop_front();
        }
        batch
    }

    fn flake(&self, at: usize) -> &'w Flake {
        self.laid.flakes[at].as_ref().expect("because only flakes are queued")
    }

    fn run(&self, batch: &[usize]) -> Result<Round, String> {
        let settings = &self.nix.settings;
        let mark = expression::mark().map_err(|error| format!("no random mark can be made: {error}"))?;
        let flakes: Vec<&str> = batch.iter().map(|at| self.flake(*at).expression.as_str()).collect();
        let root = self.laid.root.as_deref().filter(|_| batch.iter().any(|at| self.flake(*at).of_root));
        let script = expression::script(&mark, &self.ready.system, root, &flakes)?;
        let mut args: Vec<OsString> = vec!["eval".into()];
        args.extend(options(settings.fetching == Fetching::Never));
        args.extend(["--json".into(), "--expr".into(), OsString::from(script)]);
        let env = self.nix.environment(settings.fetching);
        let task = Task { program: &self.ready.located.nix, args: &args, env: env.pairs() };
        let deadline = settings.eval_deadline;
        let bounds = Bounds {
            deadline: deadline.saturating_mul(u32::try_from(batch.len() + 1).unwrap_or(u32::MAX)),
            memory_bytes: Some(settings.eval_memory_bytes),
            output_bytes: MAX_OUTPUT,
            grace: Duration::ZERO,
        };
        let mut progress = Progress::new(&mark);
        let finished = run::run(&task, bounds, &mut |stderr| {
            progress.follow(stderr);
            progress.since.elapsed() < deadline
        });
        progress.follow(&finished.stderr);
        let command = run::command_line(&self.ready.located.nix, &args);
        Ok(Round { batch: batch.to_vec(), command, progress, finished })
    }

    /// Take what a round gave; the module that is to be tried first in the next, to be sure.
    fn take(&mut self, mut round: Round, tried_first: Option<usize>) -> Option<usize> {
        let clean = round.finished.end == End::Code(0);
        let others = round.batch.len() - 1;
        let done = std::mem::take(&mut round.progress.done);
        let ended_at = match round.progress.stage {
            Stage::Flake(id) if !clean => round.batch.get(id).copied(),
            _ => None,
        };
        for (id, done) in &done {
            if let Some(at) = round.batch.get(*id) {
                self.answers[*at] = Some(self.passed(&round, done, others));
            }
        }
        let left: Vec<usize> = round
            .batch
            .iter()
            .copied()
            .filter(|at| self.answers[*at].is_none() && Some(*at) != ended_at)
            .collect();
        let mut first = None;
        if let Some(at) = ended_at {
            let (outcome, sure) = self.outcome(&round, at);
            if sure || tried_first == Some(at) || others == 0 {
                self.answers[at] = Some(self.ended(&round, outcome, others));
            } else {
                first = Some(at);
            }
        } else if !left.is_empty() {
            self.together(&round, &left, clean);
        }
        let again = left.into_iter().filter(|at| self.answers[*at].is_none());
        for at in again.collect::<Vec<_>>().into_iter().rev() {
            self.queue.push_front(at);
        }
        if let Some(at) = first {
            self.queue.push_front(at);
        }
        first
    }

    /// It ended at none of the modules: at the workspace's own flake, or before anything.
    fn together(&mut self, round: &Round, left: &[usize], clean: bool) {
        let at_root = round.progress.stage == Stage::Root;
        // Those that are no input of the workspace's flake go on without it.
        let of_root: Vec<usize> = left.iter().copied().filter(|at| self.flake(*at).of_root).collect();
        let ended = if at_root && !of_root.is_empty() { &of_root } else { left };
        for at in ended {
            let (outcome, _) = self.outcome(round, *at);
            let outcome = match outcome {
                Outcome::Failed { reason, lasting } if at_root => Outcome::Failed {
                    reason: format!("the workspace's own flake does not evaluate: {reason}"),
                    lasting,
                },
                Outcome::TimedOut { reason } if at_root => {
                    Outcome::TimedOut { reason: format!("the workspace's own flake: {reason}") }
                }
                Outcome::Failed { reason, .. } if !clean => {
                    Outcome::Unknown { reason: format!("Nix did not begin to evaluate: {reason}") }
                }
                Outcome::Failed { .. } => {
                    Outcome::Unknown { reason: "Nix ended without an answer on it".to_owned() }
                }
                other => other,
            };
            self.answers[*at] = Some(self.ended(round, outcome, round.batch.len() - 1));
        }
    }

    /// What the end of a round says of the module that it ended at, and whether the modules before it
    /// have no part in that.
    fn outcome(&mut self, round: &Round, at: usize) -> (Outcome, bool) {
        let settings = &self.nix.settings;
        let said = &round.finished.stderr[round.progress.from.min(round.finished.stderr.len())..];
        let mebibytes = settings.eval_memory_bytes >> 20;
        let failed = |reason: String, lasting| Outcome::Failed { reason, lasting };
        match &round.finished.end {
            End::Code(_) => {
                let complaint = said::complaint(said);
                match said::blame(&complaint) {
                    Blame::Module => (failed(complaint, Lasting::Permanent), true),
                    Blame::Memory => (
                        failed(format!("its evaluation needs more than {mebibytes} MiB"), Lasting::Permanent),
                        false,
                    ),
                    Blame::Machine => (Outcome::Unknown { reason: format!("Nix says: {complaint}") }, true),
                    Blame::Fetching => {
                        self.missed = true;
                        (Outcome::Unknown { reason: self.not_at_hand(at, &complaint) }, true)
                    }
                }
            }
            // A stack that is used up ends some versions of Nix this way.
            End::Signal(signal) => (
                failed(format!("Nix was ended by signal {signal} while it evaluated"), Lasting::Transient),
                false,
            ),
            End::Deadline | End::Stopped => {
                let seconds = settings.eval_deadline.as_secs_f32();
                (Outcome::TimedOut { reason: format!("its evaluation did not end within {seconds} s") }, true)
            }
            End::TooMuch => (
                failed(
                    format!("it wrote more than {} MiB while it was evaluated", MAX_OUTPUT >> 20),
                    Lasting::Permanent,
                ),
                false,
            ),
            End::Lost(why) => (Outcome::Unknown { reason: why.clone() }, true),
        }
    }

    /// Which input was not at hand, as far as that can be told.
    fn not_at_hand(&self, at: usize, complaint: &str) -> String {
        let absent = &self.flake(at).absent;
        let named = absent.iter().find(|absent| {
            let words = absent.input.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
            // A revision in full says which.
            words.filter(|word| word.len() >= 40).any(|word| complaint.contains(word))
        });
        let hint = match self.nix.settings.fetching {
            Fetching::Never => ", and evaluation fetches nothing (verify.nix.fetch)",
            Fetching::ByNix => "",
        };
        match named.or(absent.first()) {
            Some(Absent { input, why }) => {
                format!("its input {input} is not at hand ({why}){hint}; Nix says: {complaint}")
            }
            None => format!("it needs something that is not at hand{hint}; Nix says: {complaint}"),
        }
    }

    fn passed(&self, round: &Round, done: &Done, others: usize) -> Evaluated {
        let (derivations, outcome) = match &done.derivations {
            Ok(found) if found.is_empty() => {
                let weak = format!("it has no packages and no checks for {}", self.ready.system);
                (Derivations::new(), Outcome::Passed { weak: Some(weak) })
            }
            Ok(found) => (found.clone(), Outcome::Passed { weak: None }),
            Err(why) => {
                let outcome = Outcome::Failed { reason: why.clone(), lasting: Lasting::Permanent };
                (Derivations::new(), outcome)
            }
        };
        let mut ran = self.ran(round, outcome, &done.said, done.duration, others);
        if round.finished.end != End::Code(0) {
            ran.run.notes.push("the run ended later, at another module".to_owned());
        }
        let shown = serde_json::to_vec(&derivations).unwrap_or_default();
        ran.run.stdout = Stream::of(&shown);
        Evaluated { derivations, ran }
    }

    fn ended(&self, round: &Round, outcome: Outcome, others: usize) -> Evaluated {
        let said = &round.finished.stderr[round.progress.from.min(round.finished.stderr.len())..];
        let duration = round.progress.since.elapsed().min(round.finished.duration);
        let ran = self.ran(round, outcome, said, duration, others);
        Evaluated { derivations: Derivations::new(), ran }
    }

    fn ran(&self, round: &Round, outcome: Outcome, said: &[u8], took: Duration, others: usize) -> Ran {
        let mut notes = Vec::new();
        if others > 0 {
            notes.push(format!("evaluated in one run with {others} other modules"));
        }
        let run = StepRun {
            outcome,
            command: round.command.clone(),
            exit: round.finished.end.exit(),
            stderr: Stream::of(said),
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            tools: Nix::tools(self.ready),
            sandbox: Some(SandboxReport {
                layers: vec!["nix".into(), "rlimits".into()],
                missing: Vec::new(),
            }),
            notes,
            ..empty(Step::Eval)
        };
        Ran { run, log: bounded(said) }
    }
}

/// The beginning and the end of what was written.
pub(super) fn bounded(said: &[u8]) -> Vec<u8> {
    if said.len() <= MAX_LOG {
        return said.to_vec();
    }
    let (head, tail) = (&said[..MAX_LOG / 2], &said[said.len() - MAX_LOG / 2..]);
    let left_out = format!("\n[{} bytes are left out here]\n", said.len() - MAX_LOG);
    [head, left_out.as_bytes(), tail].concat()
}

/// A run of a step in which nothing ran yet.
pub(super) fn empty(step: Step) -> StepRun {
    StepRun {
        step,
        attempt: 1,
        outcome: Outcome::Unknown { reason: String::new() },
        command: Vec::new(),
        exit: Exit::NotRun,
        stdout: Stream::default(),
        stderr: Stream::default(),
        log: None,
        duration_ms: 0,
        tools: BTreeMap::new(),
        sandbox: None,
        notes: Vec::new(),
    }
}

/// A step that did not run.
pub(super) fn not_run(step: Step, reason: String) -> Ran {
    let outcome = Outcome::Unknown { reason };
    Ran { run: StepRun { outcome, ..empty(step) }, log: Vec::new() }
}

fn unknown(reason: String) -> Evaluated {
    Evaluated { derivations: Derivations::new(), ran: not_run(Step::Eval, reason) }
}
