//! `demo`: a sample workspace, two cycles on it, one change decided and applied; a second one whose modules
//! are verified and healed; and what to type next.
//!
//! Between the cycles two upstreams move: one gets commits, another's history is rewritten by
//! a force-push. The second cycle knows that only because the first one remembered what it saw.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

mod decision;
mod healing;

use self::decision::Decision;
use self::healing::Healing;
use super::open::Open;
use super::show::{self, Paint};
use super::{Exit, Failure, Global, init, report, run as run_verb, talk};
use crate::adapters::lock::CycleLock;
use crate::daemon::stop::Stop;
use crate::domain::governance::members::workspace_id;
use crate::domain::report::CycleReport;
use crate::domain::text;
use crate::ports::PortResult;
use crate::sample::{Sample, SampleSpec, Trouble};

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to make it; absent or empty [default: a new temporary directory, which is kept]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How many modules
    #[arg(long, default_value_t = 55, value_name = "N", value_parser = clap::value_parser!(u16).range(24..=5000))]
    modules: u16,
    /// How many files in each module
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10000))]
    files: u16,
}

/// The module whose upstream is force-pushed: a leaf that another module needs.
const REWOUND: &str = "zone_core";
/// A module that needs it.
const DEPENDENT: &str = "sample-wallet-module";
/// A module that almost all others need.
const SHARED: &str = "sample-cpp-sdk";

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    schema: &'static str,
    workspace: &'a Path,
    upstreams: &'a Path,
    rewound: &'a str,
    cycles: [&'a CycleReport; 2],
    decision: &'a Decision,
    healing: &'a Healing,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => tempfile::Builder::new()
            .prefix("lambda-os-demo-")
            .tempdir()
            .map_err(|error| {
                Failure::new(Exit::Failed, format!("cannot make a temporary directory: {error}"))
            })?
            .keep(),
    };
    let progress = talk::Progress::begin(global, "making a sample workspace");
    let spec = SampleSpec::sized(usize::from(args.modules), usize::from(args.files)).with([
        Trouble::Uninitialised,
        Trouble::DirtyModule,
        Trouble::IncoherentGitlink,
    ]);
    let mut sample = spec.build(&dir)?;
    let config = allow_local(&sample)?;
    drop(progress);
    if !global.quiet {
        // Said now, so that it is known even if a cycle fails.
        show::say(&format!("made a sample workspace in {}", shown(&sample.superproject)));
    }

    let on_sample = Global {
        workspace: Some(sample.superproject.clone()),
        config: Some(config),
        state_dir: Some(sample.superproject.join(".git/lambda-os")),
        offline: false,
        ..global.clone()
    };
    let stop = Stop::on_signals()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot catch signals: {error}")))?;
    trust_a_throw_away_key(&on_sample)?;
    let first = cycle(&on_sample, &stop)?;
    move_upstreams(&mut sample)?;
    let second = cycle(&on_sample, &stop)?;
    let decision = decision::decide(&on_sample, SHARED)?;
    let healing = healing::heal(&on_sample, &stop, &dir.join("verified"))?;
    if global.json {
        return show::json(&Shown {
            schema: "lambda-os/demo/v1",
            workspace: &sample.superproject,
            upstreams: &sample.upstreams,
            rewound: REWOUND,
            cycles: [&first, &second],
            decision: &decision,
            healing: &healing,
        });
    }
    show::data(&tour(&sample, [&first, &second], &decision, &healing, Paint::stdout(global)))
}

fn cycle(global: &Global, stop: &Stop) -> Result<CycleReport, Failure> {
    let _progress = talk::Progress::begin(global, "running a cycle");
    let open = Open::new(global)?;
    let _lock = CycleLock::acquire(&open.state_dir)?;
    Ok(run_verb::one_cycle(&open, stop, "once")?)
}

/// Whose word counts: a key that is made here and thrown away with the sample.
fn trust_a_throw_away_key(global: &Global) -> Result<(), Failure> {
    let open = Open::new(global)?;
    let first = open
        .repository
        .first_commit()?
        .ok_or_else(|| Failure::new(Exit::Failed, "the sample has no commit"))?;
    let founding = init::Founding::Keys { trusted: Vec::new(), heal: true };
    init::found(&open.repository, &open.state_dir, workspace_id(first), founding)?;
    Ok(())
}

/// What happens in the world between two cycles.
fn move_upstreams(sample: &mut Sample) -> PortResult<()> {
    sample.push_commit(SHARED, "sdk: a change that others build on")?;
    sample.push_commit(DEPENDENT, "wallet: use the new zone")?;
    sample.rewind_upstream(REWOUND, 1)?;
    Ok(())
}

/// The sample's upstreams are directories, which only a configuration allows.
fn allow_local(sample: &Sample) -> Result<PathBuf, Failure> {
    let config = sample.superproject.join(".git/lambda-os/config.toml");
    let written = std::fs::create_dir_all(config.with_file_name("")).and_then(|()| {
        std::fs::write(
            &config,
            "# The upstreams of the sample are on this disk.\n[workspace]\nallow_local_urls = true\n",
        )
    });
    written
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot write {}: {error}", shown(&config))))?;
    Ok(config)
}

fn shown(path: &Path) -> String {
    text::inert_bytes(path.as_os_str().as_encoded_bytes())
}

/// A path as one word of a shell.
fn shell_word(path: &Path) -> String {
    let word = shown(path);
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn tour(
    sample: &Sample,
    [first, second]: [&CycleReport; 2],
    decision: &Decision,
    healing: &Healing,
    paint: Paint,
) -> String {
    let mut told = String::new();
    let modules = sample.modules.len();
    let _ = writeln!(told, "{}", paint.bold("A sample workspace"));
    let _ = writeln!(told, "  {modules} modules, wired by a flake: {}", shown(&sample.superproject));
    let _ = writeln!(told, "  their upstreams, as bare repositories: {}", shown(&sample.upstreams));
    let _ = writeln!(told, "  everything in it is made up, and nothing outside that directory is touched");

    let _ = writeln!(told, "\n{}", paint.bold("The first cycle"));
    let _ = writeln!(told, "  {}", report::headline(&first.findings));

    let _ = writeln!(told, "\n{}", paint.bold("Then the world moved"));
    let _ = writeln!(told, "  {SHARED}: a commit was pushed upstream; many modules depend on it");
    let _ = writeln!(told, "  {DEPENDENT}: a commit was pushed upstream; it depends on {REWOUND}");
    let _ = writeln!(told, "  {REWOUND}: its upstream was force-pushed; a commit seen before is gone");

    let _ = writeln!(told, "\n{}", paint.bold("The second cycle"));
    for line in report::text(second, paint, true).lines() {
        let _ = writeln!(told, "{}{line}", if line.is_empty() { "" } else { "  " });
    }

    let _ = writeln!(told, "\n{}", paint.bold("One honest change"));
    told.push_str(&decided(decision, paint));

    let _ = writeln!(told, "\n{}", paint.bold("Verified, and healed"));
    told.push_str(&healing::told(healing, paint));

    let command = format!("lambda-os -C {}", shell_word(&sample.superproject));
    let verified = format!("lambda-os -C {}", shell_word(&healing.workspace));
    let _ = writeln!(told, "\n{}", paint.bold("Type next"));
    let rows: Vec<Vec<String>> = [
        (format!("{command} status"), "what needs attention, and what to do about it"),
        (format!("{command} plan {DEPENDENT}"), "why one module moves, or waits"),
        (format!("{command} outdated"), "every module and its upstream"),
        (format!("{command} graph {SHARED}"), "who depends on it"),
        (format!("{command} pin check"), "where a module's pin disagrees with itself"),
        (format!("{command} proposal list"), "what is proposed, and what became of it"),
        (
            format!("{command} proposal show {}", decision.tampered.module),
            "what a person sees before signing",
        ),
        (
            format!("{command} rollback {} --to {}", decision.module, decision.from.short()),
            "the applied change undone, by the same path",
        ),
        (format!("{command} audit verify"), "that the journal of all this is whole"),
        (format!("{verified} status"), "what was taken back, and on which evidence"),
        (format!("{verified} verify"), "every verdict, and how old it is"),
        (format!("{command} run --once"), "another cycle"),
    ]
    .into_iter()
    .map(|(command, about)| vec![format!("  {command}"), paint.faint(about)])
    .collect();
    told.push_str(&show::table(&rows));
    let _ = writeln!(told, "  rm -r {}   when done", shell_word(&sample.root));
    told
}

fn decided(decision: &Decision, paint: Paint) -> String {
    let mut told = String::new();
    let Decision { module, applied, tampered, entries, .. } = decision;
    let _ = writeln!(told, "  {} was approved with a throw-away key, and applied:", applied.id.short());
    if let Some(commit) = applied.commit {
        let branch = text::inert(applied.reference.trim_start_matches("refs/heads/"));
        let _ = writeln!(told, "  {branch} is at {}, and moves {module} in all its places:", commit.short());
    }
    for path in &applied.paths {
        let _ = writeln!(told, "    {path}");
    }
    for note in &applied.notes {
        let _ = writeln!(told, "    {}", paint.warn(&format!("note: {}", text::inert(note))));
    }
    let _ = writeln!(
        told,
        "  then the stored change of {} ({}) was swapped, and signing it was",
        tampered.id.short(),
        tampered.module
    );
    let _ = writeln!(
        told,
        "  {} with exit code {}: {}",
        paint.good("refused"),
        tampered.exit,
        text::inert(&tampered.refusal)
    );
    let _ = writeln!(
        told,
        "  the journal of all this has {entries} entries, and every one is linked to the one before"
    );
    told
}
