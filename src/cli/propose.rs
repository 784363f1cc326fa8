//! `propose`: run any program on a copy of the workspace, and propose what it changed there.
//!
//! The program runs in the sandbox: it can write the copy and nothing else, and has no network. What
//! it changed becomes a proposal on the same path as any other; the workspace itself is proven
//! untouched.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::open::Open;
use super::proposal::apply;
use super::talk::Progress;
use super::{Exit, Failure, Global, show};
use crate::adapters::lock::CycleLock;
use crate::adapters::sandbox::Sandbox;
use crate::adapters::workspace_copy::WorkspaceCopy;
use crate::daemon::stop::Stop;
use crate::domain::health;
use crate::domain::id::{Cid, ObjectId, ProposalId, RepoPath};
use crate::domain::task::Untouched;
use crate::domain::text;
use crate::ops::apply::Mode;
use crate::ops::propose::{Came, Site, propose_worked};
use crate::ops::{govern, order};
use crate::ports::{Clock as _, Repository as _, SnapshotOptions, Task, Worked, Workshop as _};

/// What a program may write to each output stream.
const OUTPUT_BYTES: u64 = 64 << 20;

/// Lines of the log that are shown when it failed.
const TAIL: usize = 20;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds until the command is ended [default: `verify.timeout_s` of the configuration]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: Option<u64>,
    /// A path that may change, with everything below it; more than once for several [default: the
    /// superproject's own files]
    #[arg(long, value_name = "PATH")]
    allow: Vec<PathBuf>,
    /// A file or directory of this machine that the command may read; more than once for several
    #[arg(long, value_name = "PATH")]
    read: Vec<PathBuf>,
    /// The command and its arguments; it starts at the top of the copy
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    /// `proposed`, `known`, `nothing`, `failed` or `refused`.
    outcome: &'static str,
    base: ObjectId,
    proposal: Option<ProposalId>,
    files: Vec<Row<'a>>,
    refused: &'a [String],
    evidence: Cid,
    exit: &'a health::Exit,
    workspace: &'a Untouched,
    notes: &'a [String],
    log_tail: String,
}

#[derive(Serialize)]
struct Row<'a> {
    path: &'a RepoPath,
    status: &'static str,
    old: Option<Cid>,
    new: Cid,
    executable: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let allowed = args.allow.iter().map(|path| allowed(path)).collect::<Result<Vec<_>, _>>()?;
    let stop = Stop::on_signals()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot catch signals: {error}")))?;
    let (base, modules) = {
        let _lock = CycleLock::acquire(&open.state_dir)?;
        let journal = apply::ready(&open, Mode::Act)?;
        // Nobody runs for minutes to hear that nobody decides here.
        govern::rules(&journal, journal.state())?;
        let base = open.repository.head()?.ok_or_else(|| {
            Failure::new(Exit::Failed, "cannot copy the workspace: the superproject has no commit yet")
        })?;
        (base, open.repository.discover()?.modules)
    };
    // Others go on while the program runs: it works on a commit, and is derived again afterwards.
    let deadline = Duration::from_secs(args.timeout.unwrap_or(open.settings.effective.verify.timeout_s));
    let task = Task { base, modules: &modules, argv: &args.command, deadline, output_bytes: OUTPUT_BYTES };
    let workshop = workshop(&open, &args.read)?;
    let progress = Progress::begin(global, "running the command on a copy of the workspace");
    let worked = workshop.work(&task, &|| stop.asked())?;
    drop(progress);
    if stop.asked() {
        return Err(Failure::new(Exit::Interrupted, "the command was ended: nothing is proposed"));
    }

    let _lock = CycleLock::acquire(&open.state_dir)?;
    let mut journal = apply::ready(&open, Mode::Act)?;
    let state = journal.state().clone();
    let quick = SnapshotOptions { hash_untracked_bytes: None, ..open.settings.snapshot_options() };
    let seen = order::see(&open.repository, &open.sources, &quick)?;
    let head = seen
        .snapshot
        .superproject
        .head
        .ok_or_else(|| Failure::new(Exit::Failed, "the superproject has no commit any more"))?;
    let site = Site { superproject: &open.repository, seen: &seen, head, now_ms: open.clock.wall_ms() };
    let outcome = propose_worked(&mut journal, &state, site, base, &allowed, worked.clone())?;
    say(global, base, &worked, outcome.evidence, &outcome.came)
}

fn workshop<'a>(open: &'a Open, read: &[PathBuf]) -> Result<WorkspaceCopy<'a>, Failure> {
    let failed =
        |what: &str, error: std::io::Error| Failure::new(Exit::Failed, format!("cannot {what}: {error}"));
    let launcher = std::env::current_exe().map_err(|error| failed("find this program's own file", error))?;
    let read = read
        .iter()
        .map(|path| path.canonicalize().map_err(|error| failed(&format!("read {}", shown(path)), error)))
        .collect::<Result<Vec<_>, _>>()?;
    let sandbox = Sandbox::probe(&launcher, Some(&open.state_dir.cache()));
    let (state, candidates) = (open.state_dir.root(), open.state_dir.candidates());
    Ok(WorkspaceCopy::new(&open.repository, sandbox, state, &candidates).reading(read))
}

/// A path of the superproject that may change.
fn allowed(path: &std::path::Path) -> Result<RepoPath, Failure> {
    use std::path::Component;
    let mut parts: Vec<&[u8]> = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.as_bytes()),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("cannot allow {}: it is no path within the superproject", shown(path)),
                )
                .hint("name it from the top of the superproject: --allow docs"));
            }
        }
    }
    Ok(RepoPath::new(parts.join(&b'/')))
}

fn say(
    global: &Global,
    base: ObjectId,
    worked: &Worked,
    evidence: Cid,
    came: &Came,
) -> Result<Exit, Failure> {
    if !worked.workspace.holds() {
        let named: Vec<String> = worked.workspace.differ.iter().map(ToString::to_string).collect();
        tracing::warn!("the workspace was written to while the command ran: {}", named.join(", "));
    }
    let (outcome, exit) = match came {
        Came::Failed => ("failed", Exit::Failed),
        Came::Refused(_) => ("refused", Exit::Failed),
        Came::Nothing => ("nothing", Exit::Ok),
        Came::Proposed { is_new: true, .. } => ("proposed", Exit::Ok),
        Came::Proposed { is_new: false, .. } => ("known", Exit::Ok),
    };
    let (proposal, files) = match came {
        Came::Proposed { id, files, .. } => (Some(*id), files.as_slice()),
        _ => (None, &[][..]),
    };
    let refused: &[String] = if let Came::Refused(refused) = came { refused } else { &[] };
    if global.json {
        let rows = files.iter().map(|file| Row {
            path: &file.path,
            status: if file.old.is_some() { "changed" } else { "added" },
            old: file.old.map(|old| old.content),
            new: file.new.content,
            executable: file.new.executable,
        });
        show::json(&Report {
            schema: "lambda-os/propose/v1",
            outcome,
            base,
            proposal,
            files: rows.collect(),
            refused,
            evidence,
            exit: &worked.exit,
            workspace: &worked.workspace,
            notes: &worked.notes,
            log_tail: tail(&worked.log),
        })?;
        return Ok(exit);
    }
    match came {
        Came::Failed => {
            let tail = tail(&worked.log);
            if !tail.is_empty() {
                show::say(&tail);
            }
            Err(Failure::new(
                Exit::Failed,
                format!("the command {}: nothing is proposed", ended(&worked.exit)),
            )
            .hint(format!("its evidence, with its log: lambda-os audit show {evidence}")))
        }
        Came::Refused(refused) => {
            let mut failure =
                Failure::new(Exit::Failed, "cannot make a proposal of what the command changed").hint(
                    format!("nothing is proposed; the run's evidence: lambda-os audit show {evidence}"),
                );
            failure.causes.extend(refused.iter().cloned());
            Err(failure)
        }
        Came::Nothing => show::data("the command changed nothing: there is nothing to propose\n"),
        Came::Proposed { id, is_new, files } => {
            let known = if *is_new { "" } else { ", which was open already" };
            let mut said = format!("proposal {id}{known}\n");
            for file in files {
                let verb = if file.old.is_some() { "change" } else { "add" };
                let _ = writeln!(said, "  {verb} {}", file.path);
            }
            for note in &worked.notes {
                let _ = writeln!(said, "note: {}", text::inert(note));
            }
            let short = id.short();
            let _ = writeln!(said, "look at every line: lambda-os proposal diff {short}");
            let _ = writeln!(said, "next: lambda-os proposal approve {short}");
            show::data(&said)
        }
    }
}

fn ended(exit: &health::Exit) -> String {
    match exit {
        health::Exit::Code(code) => format!("ended with exit code {code}"),
        health::Exit::Signal(signal) => format!("was ended by signal {signal}"),
        health::Exit::Deadline => "did not end in time, and was ended".to_owned(),
        health::Exit::Bound(which) => format!("went over its bound ({}), and was ended", text::inert(which)),
        health::Exit::Stopped => "was ended".to_owned(),
        health::Exit::NotRun => "did not run".to_owned(),
    }
}

/// The last lines of a log, inert.
fn tail(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL);
    lines[from..].iter().map(|line| text::clipped(&text::inert(line), 400)).collect::<Vec<_>>().join("\n")
}

fn shown(path: &std::path::Path) -> String {
    text::inert_bytes(path.as_os_str().as_bytes())
}
