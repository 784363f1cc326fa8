//! The demo's second workspace: modules are verified, a bad upstream commit is named, a module that broke
//! is taken back.
//!
//! Between the first two cycles several upstreams move, and one commit breaks its module. Before the
//! third, somebody pulls a commit of the superproject that pins another module to a broken revision: what
//! was verified before stands there no more.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::open::Open;
use super::super::show::Paint;
use super::super::{Exit, Failure, Global, report, runners};
use super::{cycle, shown, trust_a_throw_away_key};
use crate::adapters::process::Invocation;
use crate::daemon::stop::Stop;
use crate::domain::governance::members::workspace_id;
use crate::domain::health::Outcome;
use crate::domain::id::{ModuleName, ObjectId};
use crate::domain::report::{CycleReport, NotProposed};
use crate::domain::text;
use crate::ops::propose::{Ask, derive_one};
use crate::ops::verify::Committed;
use crate::ports::{Clock as _, PortError, Repository as _, Superproject as _};
use crate::sample::{Sample, SampleSpec};

/// How many modules the second workspace has.
const MODULES: usize = 24;
/// Modules whose upstreams get a good commit.
const GOOD: [&str; 2] = ["sample-waku-module", "storage_module"];
/// The module whose upstream gets a bad one.
const CULPRIT: &str = "sample-wallet-module";
/// The module that somebody pins to a broken revision.
const BROKEN: &str = "sample-design-system";

/// What the program of the step `command` is.
const CHECK: &str = r#"#!/bin/sh
# Called with a module's name and its files. The supervisor decides by the exit code, in a sandbox.
read -r state < "$2/src/state.txt" || exit 1
case "$state" in
  broken*) echo "$1 is $state" >&2; exit 1 ;;
esac
"#;

/// What happened.
#[derive(Debug, Serialize)]
pub(super) struct Healing {
    /// The second workspace.
    pub(super) workspace: PathBuf,
    /// The steps that ran.
    pub(super) steps: Vec<&'static str>,
    /// Why these.
    pub(super) note: String,
    /// The module whose upstream's newest commit breaks it.
    pub(super) culprit: &'static str,
    /// The module that was pinned to a broken revision by hand.
    pub(super) broken: &'static str,
    /// What that revision is.
    pub(super) broken_at: ObjectId,
    /// Verified at first; a bad commit upstream; a regression.
    pub(super) cycles: [CycleReport; 3],
}

/// Make the second workspace in `dir` and tell its story.
pub(super) fn heal(global: &Global, stop: &Stop, dir: &Path) -> Result<Healing, Failure> {
    let mut sample = SampleSpec::sized(MODULES, 8).build(dir)?;
    let workspace = sample.superproject.clone();
    let on_sample = Global {
        workspace: Some(workspace.clone()),
        config: Some(configure(&sample, Steps::Nix)?),
        state_dir: Some(workspace.join(".git/lambda-os")),
        ..global.clone()
    };
    trust_a_throw_away_key(&on_sample)?;
    let (steps, note) = match nix_can(&on_sample) {
        Ok(()) => {
            (Steps::Nix, "by this machine's Nix, and a program of the operator's in a sandbox".to_owned())
        }
        Err(why) => {
            configure(&sample, Steps::Program)?;
            (Steps::Program, format!("a program of the operator's in a sandbox; not by Nix: {why}"))
        }
    };
    let first = cycle(&on_sample, stop)?;
    for name in GOOD {
        sample.push_commit(name, "a good change")?;
    }
    sample.push_broken(CULPRIT, "does not start any more")?;
    let second = cycle(&on_sample, stop)?;
    let broken_at = sample.push_broken(BROKEN, "draws nothing")?;
    pull_a_pin(&on_sample, &sample, broken_at)?;
    let third = cycle(&on_sample, stop)?;
    Ok(Healing {
        workspace,
        steps: steps.words(),
        note,
        culprit: CULPRIT,
        broken: BROKEN,
        broken_at,
        cycles: [first, second, third],
    })
}

/// Which steps verify the second workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// Nix evaluates and builds; the program looks at the files.
    Nix,
    /// The program alone.
    Program,
}

impl Steps {
    fn words(self) -> Vec<&'static str> {
        match self {
            Self::Nix => vec!["eval", "build", "command"],
            Self::Program => vec!["command"],
        }
    }
}

/// The configuration of the second workspace, and the program that it names.
fn configure(sample: &Sample, steps: Steps) -> Result<PathBuf, Failure> {
    let check = sample.root.join("check");
    let config = sample.superproject.join(".git/lambda-os/config.toml");
    let program = toml::Value::String(check.to_string_lossy().into_owned());
    let mut settings = format!(
        "# The upstreams of the sample are on this disk.\n[workspace]\nallow_local_urls = true\n\n\
         [verify]\nsteps = {:?}\n\n\
         # Exit 0 means healthy. It runs in a sandbox, and sees the module's files alone.\n\
         [verify.command]\nprogram = [{program}, \"{{module}}\", \"{{path}}\"]\n",
        steps.words()
    );
    for module in sample.modules.iter().filter(|module| steps == Steps::Nix && !module.flake) {
        let name = toml::Value::String(module.name.clone());
        let _ = writeln!(settings, "\n# It is no flake.\n[modules.{name}]\nsteps = [\"command\"]");
    }
    fs::write(&check, CHECK)
        .and_then(|()| fs::set_permissions(&check, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::create_dir_all(config.with_file_name("")))
        .and_then(|()| fs::write(&config, settings))
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot write {}: {error}", shown(&config))))?;
    Ok(config)
}

/// Whether this machine's Nix can evaluate a module of the sample and build it in its sandbox; why not, as a
/// clause.
fn nix_can(global: &Global) -> Result<(), String> {
    let open = Open::new(global).map_err(|failure| failure.message)?;
    let said = |error: PortError| error.to_string();
    let modules = open.repository.discover().map_err(said)?.modules;
    let head = open.repository.head().map_err(said)?.ok_or("the sample has no commit")?;
    let scene = Committed::read(&open.repository, &modules, head).map_err(said)?.as_it_is();
    let placed = scene.modules.get(&ModuleName::new(BROKEN)).ok_or("the sample has no such module")?;
    runners::with(&open, |runners| {
        let evaluated = runners.evaluator.evaluate(&scene, &[placed]).pop().ok_or("it gave no answer")?;
        if !matches!(evaluated.ran.run.outcome, Outcome::Passed { .. }) {
            return Err(why(&evaluated.ran.run.outcome));
        }
        let built = runners.builder.build(&scene, placed, &evaluated.derivations);
        match &built.ran.run.outcome {
            // Healing goes back to what was verified strongly, or nowhere.
            Outcome::Passed { weak: None } => Ok(()),
            outcome => Err(why(outcome)),
        }
    })
}

fn why(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Passed { weak } => {
            let weak = weak.as_deref().unwrap_or("it passed");
            format!("what it builds would be weak: {}", text::clipped(&text::inert(weak), 200))
        }
        Outcome::Failed { reason, .. } | Outcome::TimedOut { reason } | Outcome::Unknown { reason } => {
            text::clipped(&text::inert(reason), 200)
        }
    }
}

/// Somebody else moved a pin, in all its places but without a look at what it does; here it is pulled,
/// as a person does it.
fn pull_a_pin(global: &Global, sample: &Sample, to: ObjectId) -> Result<(), Failure> {
    let module = sample.module(BROKEN);
    let checkout = sample.superproject.join(module.path.to_string());
    let upstream = module.upstream.to_string_lossy().into_owned();
    git(&checkout, &["fetch", "-q", &upstream, &module.branch])?;
    git(&checkout, &["checkout", "-q", &to.to_string()])?;
    let open = Open::new(global)?;
    let modules = open.repository.discover()?.modules;
    let unexpected = |what: &str| Failure::new(Exit::Failed, format!("the sample {what}"));
    let first = open.repository.first_commit()?.ok_or_else(|| unexpected("has no commit"))?;
    let head = open.repository.head()?.ok_or_else(|| unexpected("has no commit"))?;
    let asks = [Ask { module: ModuleName::new(BROKEN), to }];
    let workspace = workspace_id(first);
    let derived = derive_one(&open.repository, &open.sources, &modules, &workspace, head, &asks)?
        .map_err(|why| unexpected(&format!("cannot move a pin: {}", text::inert(&why.to_string()))))?;
    let message = format!("{BROKEN}: take the newest\n");
    let commit = open.repository.commit(head, &derived.edits, &message, open.clock.wall_ms())?;
    git(&sample.superproject, &["merge", "-q", "--ff-only", &commit.to_string()])
}

/// The story, for people.
pub(super) fn told(healing: &Healing, paint: Paint) -> String {
    let [first, second, third] = &healing.cycles;
    let mut told = String::new();
    let mut line = |said: &str| {
        let _ = writeln!(told, "  {said}");
    };
    line(&format!("a second workspace, {MODULES} modules: {}", shown(&healing.workspace)));
    line(&format!("each is verified by {}: {}", healing.steps.join(", "), healing.note));
    line(&format!("at first: {}", report::verdicts(&first.findings)));
    if let Some(row) = first.findings.health.iter().find(|row| row.needs_attention()) {
        // Without a sandbox nothing is verified, and nothing is taken back.
        let why = text::inert(row.verdict.reason().unwrap_or_default());
        line(&format!("  {} {why}", paint.warn("because:")));
        line("  install bubblewrap to see the rest; lambda-os doctor says what confines modules here");
    }
    line(&format!("then {} and {CULPRIT} moved upstream, and {CULPRIT} is broken there:", GOOD.join(", ")));
    for proposal in &second.findings.proposals {
        let names: Vec<&str> = proposal.pins.iter().map(|pin| pin.module.as_str()).collect();
        let word = if names.len() == 1 { "proposed" } else { "proposed together" };
        line(&format!("  {} {}: {}", paint.good(word), proposal.id.short(), names.join(", ")));
    }
    for row in second.findings.not_proposed.iter().filter(|row| names(row, CULPRIT)) {
        line(&format!("  {}: {}", paint.warn("not proposed"), text::inert(&row.reason)));
    }
    line(&format!(
        "then somebody pulled a commit that pins {BROKEN} to {}, which is broken:",
        healing.broken_at.short()
    ));
    for healed in &third.findings.heal.healed {
        let (module, from, to) = (&healed.module, healed.from.short(), healed.to.short());
        line(&format!(
            "  {} {module} from {from} to {to}, verified before and again",
            paint.good("taken back:")
        ));
        line(&format!("  its evidence: bad {}", healed.bad));
        line(&format!("                good again {}", healed.again));
    }
    for row in &third.findings.heal.not_healed {
        line(&format!(
            "  {} {}: {}",
            paint.bad("not healed:"),
            row.module,
            text::inert(&row.reason.to_string())
        ));
    }
    line(&format!("now: {}", report::verdicts(&third.findings)));
    told
}

fn names(row: &NotProposed, module: &str) -> bool {
    row.pins.iter().any(|pin| pin.module.as_str() == module)
}

/// What a person types.
fn git(dir: &Path, args: &[&str]) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(Exit::Failed, format!("git {}: {why}", args.join(" ")));
    let ran = Invocation::new("git").cwd(dir).args(args).run().map_err(|error| failed(error.to_string()))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(failed(text::inert(String::from_utf8_lossy(&ran.stderr).trim())))
}
