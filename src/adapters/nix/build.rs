//! `build`: a module's outputs, built from their derivations by Nix, and kept from being collected.
//!
//! In: derivations that were evaluated. Out: where their outputs are, each with a root of its own. A
//! build counts as sandboxed only when the effective settings say so, and when it was done on this
//! machine; else passing is weak. What fails is transient: the same derivation is built once more
//! before it is believed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::evaluate::{Evaluator, bounded, empty, not_run};
use super::expression::is_derivation;
use super::log::{self, Told};
use super::program::{Nix, Ready};
use super::roots::Roots;
use super::run::{self, Bounds, End, Finished, Task};
use super::said;
use super::settings::{Fetching, Packages, Unsandboxed};
use crate::domain::canonical;
use crate::domain::health::evidence::{Lasting, Stream};
use crate::domain::health::{Outcome, Placed, SandboxReport, Scene, Step, StepRun};
use crate::domain::id::Cid;
use crate::ports::{Builder, Built, Derivations, NixEvaluator as _, Ran, Runner};

/// What a run may write.
const MAX_OUTPUT: usize = 128 << 20;
/// What Nix gets to end its builders.
const GRACE: Duration = Duration::from_secs(10);

/// Builds modules with `nix-store`.
pub struct NixBuilder<'a> {
    nix: &'a Nix,
    evaluator: &'a Evaluator<'a>,
    roots: Roots,
}

impl<'a> NixBuilder<'a> {
    /// Builds with this Nix what this evaluator says. Nothing is started yet.
    #[must_use]
    pub fn new(nix: &'a Nix, evaluator: &'a Evaluator<'a>) -> Self {
        Self { nix, evaluator, roots: Roots::new(&nix.settings.roots) }
    }

    /// What keeps outputs from being collected.
    #[must_use]
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    fn attempt(&self, scene: &Scene, module: &Placed, derivations: &Derivations) -> Result<Built, Box<Ran>> {
        let unknown = |why: String| Box::new(not_run(Step::Build, why));
        let ready = self.nix.ready().map_err(unknown)?;
        let lacking = ready.effective.not_sandboxed();
        if let Some(why) = lacking.as_ref().filter(|_| self.nix.settings.unsandboxed == Unsandboxed::Refused)
        {
            return Err(unknown(format!("it is not built outside a sandbox: {why}")));
        }
        let mut derivations = derivations.clone();
        if derivations.is_empty() || derivations.values().any(|path| !Path::new(path).exists()) {
            derivations = self.evaluated(scene, module)?;
        }
        let chosen = self.chosen(&ready, module, &derivations);
        if chosen.is_empty() {
            return Err(unknown(format!("it has nothing to build for {}", ready.system)));
        }
        if let Some(odd) = chosen.values().find(|path| !is_derivation(path)) {
            return Err(unknown(format!("{} is no derivation", crate::domain::text::quoted(odd))));
        }
        let set = canonical::to_canonical(&chosen)
            .map(|bytes| Cid::of(&bytes))
            .map_err(|error| unknown(error.to_string()))?;
        let place = self.roots.place(&module.module.name, module.pin, &set);
        let place =
            place.map_err(|error| unknown(format!("no root can be made for what is built: {error}")))?;
        Ok(self.build_all(&ready, lacking, &place, &chosen))
    }

    /// What the module's derivations are, where nobody said, or what was said was collected.
    fn evaluated(&self, scene: &Scene, module: &Placed) -> Result<Derivations, Box<Ran>> {
        let Some(found) = self.evaluator.evaluate(scene, &[module]).into_iter().next() else {
            return Err(Box::new(not_run(Step::Build, "the evaluator gave no answer".to_owned())));
        };
        if matches!(found.ran.run.outcome, Outcome::Passed { .. }) {
            return Ok(found.derivations);
        }
        let mut ran = found.ran;
        ran.run.step = Step::Build;
        ran.run.notes.push("it was evaluated to be built".to_owned());
        Err(Box::new(ran))
    }

    /// What of a module is built.
    fn chosen(&self, ready: &Ready, module: &Placed, derivations: &Derivations) -> Derivations {
        let outputs = self.nix.settings.outputs;
        let packages = format!("packages.{}.", ready.system);
        let all = || derivations.iter().filter(|(name, _)| name.starts_with(&packages));
        let one = |name: &str| derivations.get_key_value(&format!("{packages}{name}"));
        let named = [Some("default"), module.module.input.as_deref(), Some(module.module.name.as_str())];
        let default =
            named.into_iter().flatten().find_map(one).filter(|_| outputs.packages == Packages::Default);
        let mut chosen: Derivations = match default {
            Some((name, path)) => BTreeMap::from([(name.clone(), path.clone())]),
            None => all().map(|(name, path)| (name.clone(), path.clone())).collect(),
        };
        if outputs.checks {
            let checks = derivations.iter().filter(|(name, _)| name.starts_with("checks."));
            chosen.extend(checks.map(|(name, path)| (name.clone(), path.clone())));
        }
        chosen
    }

    fn build_all(&self, ready: &Ready, lacking: Option<String>, place: &Path, chosen: &Derivations) -> Built {
        let begun = Instant::now();
        let deadline = self.nix.settings.build_deadline;
        let mut outputs = BTreeMap::new();
        let mut whole = Whole::default();
        for (attribute, derivation) in chosen {
            let left = deadline.saturating_sub(begun.elapsed());
            let link = Roots::link(place, attribute);
            let (command, finished) = self.realise(ready, derivation, &link, left);
            let told = log::read(&finished.stderr);
            let outcome = outcome(&finished, &told, derivation, deadline);
            if outcome.is_none() {
                outputs.extend(linked(&finished.stdout, attribute, &link));
            }
            whole.take(command, finished, told);
            if let Some(outcome) = outcome {
                return Built { outputs: BTreeMap::new(), ran: whole.ran(ready, lacking, outcome, begun) };
            }
        }
        let elsewhere = whole.machines.first().map(|machine| {
            format!("it was built on {}, whose settings are not known", crate::domain::text::inert(machine))
        });
        let weak = lacking.clone().or(elsewhere);
        let outcome = if outputs.is_empty() {
            Outcome::Unknown { reason: "Nix did not say where the outputs are".to_owned() }
        } else {
            Outcome::Passed { weak }
        };
        Built { outputs, ran: whole.ran(ready, lacking, outcome, begun) }
    }

    fn realise(
        &self,
        ready: &Ready,
        derivation: &str,
        link: &Path,
        left: Duration,
    ) -> (Vec<String>, Finished) {
        let fetching = self.nix.settings.build_fetching;
        let mut args: Vec<OsString> =
            ["--realise", derivation, "--log-format", "internal-json", "--indirect", "--add-root"]
                .map(OsString::from)
                .into();
        args.push(link.into());
        args.extend(["--timeout".into(), OsString::from(left.as_secs().max(1).to_string())]);
        if fetching == Fetching::Never {
            args.push("--offline".into());
        }
        let env = self.nix.environment(fetching);
        let bounds = Bounds { deadline: left, memory_bytes: None, output_bytes: MAX_OUTPUT, grace: GRACE };
        let task = Task { program: &ready.store, args: &args, env: env.pairs() };
        let finished = run::run(&task, bounds, &mut |_| true);
        (run::command_line(&ready.store, &args), finished)
    }
}

impl Runner for NixBuilder<'_> {
    fn fingerprint(&self) -> Result<String, String> {
        let settings = &self.nix.settings;
        let own = BTreeMap::from([
            ("step", "build 1".to_owned()),
            ("fetching", format!("{:?} {:?}", settings.fetching, settings.build_fetching)),
            ("outputs", format!("{:?}", settings.outputs)),
            ("unsandboxed", format!("{:?}", settings.unsandboxed)),
        ]);
        self.nix.fingerprint(&own)
    }
}

impl Builder for NixBuilder<'_> {
    fn build(&self, scene: &Scene, module: &Placed, derivations: &Derivations) -> Built {
        let built = self.attempt(scene, module, derivations);
        built.unwrap_or_else(|ran| Built { outputs: BTreeMap::new(), ran: *ran })
    }
}

/// Several runs as one.
#[derive(Default)]
struct Whole {
    command: Vec<String>,
    end: Option<End>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    log: Vec<u8>,
    built: usize,
    substituted: usize,
    machines: Vec<String>,
}

impl Whole {
    fn take(&mut self, command: Vec<String>, finished: Finished, told: Told) {
        self.command = command;
        self.end = Some(finished.end);
        self.stdout.extend(finished.stdout);
        self.stderr.extend(finished.stderr);
        self.log.extend(told.log);
        self.built += told.built.len();
        self.substituted += told.substituted;
        self.machines
            .extend(told.built.into_iter().map(|(_, machine)| machine).filter(|machine| !machine.is_empty()));
    }

    fn ran(self, ready: &Ready, lacking: Option<String>, outcome: Outcome, begun: Instant) -> Ran {
        let mut notes = Vec::new();
        if matches!(outcome, Outcome::Passed { .. }) {
            notes.push(match (self.built, self.substituted) {
                (0, 0) => "everything was in the store already".to_owned(),
                (built, 0) => format!("{built} derivations were built"),
                (built, substituted) => {
                    format!("{built} derivations were built, and {substituted} paths taken from elsewhere")
                }
            });
        }
        let sandbox = match lacking {
            None => SandboxReport { layers: vec!["nix".to_owned()], missing: Vec::new() },
            Some(why) => SandboxReport { layers: Vec::new(), missing: vec![why] },
        };
        let run = StepRun {
            outcome,
            command: self.command,
            exit: self.end.as_ref().map_or(crate::domain::health::Exit::NotRun, End::exit),
            stdout: Stream::of(&self.stdout),
            stderr: Stream::of(&self.stderr),
            duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            tools: Nix::tools(ready),
            sandbox: Some(sandbox),
            notes,
            ..empty(Step::Build)
        };
        Ran { run, log: bounded(&self.log) }
    }
}

/// What a run shows when it did not succeed; `None` when it did.
fn outcome(finished: &Finished, told: &Told, derivation: &str, deadline: Duration) -> Option<Outcome> {
    let seconds = deadline.as_secs_f32();
    let late = || Outcome::TimedOut { reason: format!("its build did not end within {seconds} s") };
    let failed = |reason: String| Outcome::Failed { reason, lasting: Lasting::Transient };
    Some(match &finished.end {
        End::Code(0) => return None,
        End::Deadline | End::Stopped => late(),
        End::TooMuch => failed(format!("its build wrote more than {} MiB", MAX_OUTPUT >> 20)),
        End::Lost(why) => Outcome::Unknown { reason: why.clone() },
        End::Signal(signal) => Outcome::Unknown { reason: format!("Nix was ended by signal {signal}") },
        End::Code(code) => {
            let complaints = told.complaints();
            if said::unbuildable_here(&complaints) {
                return Some(Outcome::Unknown { reason: format!("it cannot be built here: {complaints}") });
            }
            // The manual's section on exit codes of nix-store: 101 is a build that timed out.
            if *code == 101 || complaints.contains("timed out after") {
                return Some(late());
            }
            match told.broken() {
                Some(broken) => {
                    let who = if broken.derivation == derivation {
                        "it does not build".to_owned()
                    } else {
                        format!("its dependency {} does not build", log::name(&broken.derivation))
                    };
                    let said = told
                        .last_line(&broken.derivation)
                        .map_or_else(String::new, |line| format!("; it said last: {line}"));
                    failed(format!("{who}: {}{said}", broken.why))
                }
                None => Outcome::Unknown { reason: format!("Nix says: {complaints}") },
            }
        }
    })
}

/// The outputs, through the links that Nix says it made: the first by the attribute's name, others
/// (`dev`, `doc`) with theirs behind it.
fn linked(stdout: &[u8], attribute: &str, link: &Path) -> Vec<(String, PathBuf)> {
    let said = String::from_utf8_lossy(stdout);
    let shown = link.to_string_lossy();
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for line in said.lines().filter(|line| line.starts_with('/')) {
        let path = fs::read_link(line).unwrap_or_else(|_| PathBuf::from(line));
        let more = line.strip_prefix(shown.as_ref()).unwrap_or("").trim_start_matches('-');
        let name = if found.is_empty() || more.is_empty() {
            attribute.to_owned()
        } else {
            format!("{attribute}^{more}")
        };
        found.push((name, path));
    }
    found
}
