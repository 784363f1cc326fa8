//! `doctor`: everything that could keep this machine or this workspace from working, each with
//! its cause and the next step. Looks only; makes nothing, asks no remote.
#![expect(clippy::disallowed_methods, reason = "it looks at the machine: programs, rights, disk")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, StatVfsMountFlags};
use serde::Serialize;

use super::open;
use super::place::{self, shown};
use super::show::Paint;
use super::{Exit, Failure, Global, exchange, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::git::GitRepository;
use crate::adapters::journal::JournalReader;
use crate::adapters::lock::CycleLock;
use crate::adapters::process::Invocation;
use crate::adapters::sandbox::Sandbox;
use crate::adapters::state_dir::StateDir;
use crate::config::Settings;
use crate::domain::module::Discovery;
use crate::domain::text;
use crate::ops::doctor::{self, Finding, Level, Space};
use crate::ops::govern;
use crate::ports::{Clock as _, PortError, PortResult, Repository as _};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    worst: Level,
    findings: &'a [Finding],
}

pub(super) fn run(global: &Global, _args: &Args) -> Result<Exit, Failure> {
    let place = place::find(global);
    let mut findings = vec![git_program()];
    findings.extend(other_programs());
    findings.push(sandbox());
    findings.push(configuration(&place.settings));
    match &place.repository {
        Ok(repository) => findings.extend(workspace(repository)),
        Err(error) => findings.push(broken("workspace", error, "name it with -C DIR")),
    }
    let mut newest_ms = None;
    if let (Ok(repository), Ok(settings)) = (&place.repository, &place.settings) {
        match place::state_dir(global, settings, repository) {
            Ok(state_dir) => {
                newest_ms = state(&state_dir, repository, settings, &mut findings);
                findings.extend(ladder(&state_dir, settings));
                findings.extend(exchange::findings(settings, &state_dir, SystemClock.wall_ms()));
            }
            Err(error) => findings.push(broken("state", &error, "name one with --state-dir DIR")),
        }
    }
    findings.push(doctor::clock(SystemClock.wall_ms(), newest_ms));
    report(global, &findings)
}

fn report(global: &Global, findings: &[Finding]) -> Result<Exit, Failure> {
    let worst = doctor::worst(findings);
    if global.json {
        show::json(&Report { schema: "lambda-os/doctor/v1", worst, findings })?;
    } else {
        let mut said = match worst {
            Level::Ok | Level::Note => "fit\n".to_owned(),
            Level::Attention => "works, with something to look at\n".to_owned(),
            Level::Broken => "does not work like this\n".to_owned(),
        };
        let paint = Paint::stdout(global);
        for finding in findings {
            let word = format!("{:<6}", finding.level.as_str());
            let word = match finding.level {
                Level::Ok => paint.good(&word),
                Level::Note => paint.faint(&word),
                Level::Attention => paint.warn(&word),
                Level::Broken => paint.bad(&word),
            };
            let _ = writeln!(said, "  {word}  {:<10}  {}", finding.check, text::inert(&finding.message));
            if let Some(next) = &finding.next {
                let _ = writeln!(said, "  {:6}  {:10}  next: {}", "", "", text::inert(next));
            }
        }
        show::data(&said)?;
    }
    Ok(match worst {
        Level::Ok | Level::Note => Exit::Ok,
        Level::Attention => Exit::Degraded,
        Level::Broken => Exit::Failed,
    })
}

/// A failure of a port as a finding: what was attempted, its causes, its hint.
fn broken(check: &str, error: &PortError, otherwise: &str) -> Finding {
    let mut message = error.attempted.clone();
    let mut cause = std::error::Error::source(error);
    while let Some(because) = cause {
        let _ = write!(message, ": {because}");
        cause = because.source();
    }
    Finding::new(check, Level::Broken, message)
        .next(error.hint.clone().unwrap_or_else(|| otherwise.to_owned()))
}

fn git_program() -> Finding {
    let answer =
        Invocation::new("git").arg("--version").deadline(Duration::from_secs(10)).output_cap(4096).run();
    match answer {
        Ok(output) if output.status.success() => doctor::git(&String::from_utf8_lossy(&output.stdout)),
        Ok(output) => {
            Finding::new("git", Level::Broken, format!("git --version ended with {}", output.status))
                .next("install git 2.43.7, 2.47.3, 2.50.1 or newer")
        }
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Finding::new("git", Level::Broken, format!("{error}{cause}"))
                .next("install git, and put it on PATH")
        }
    }
}

/// Programs that only some workspaces or later steps need.
fn other_programs() -> Vec<Finding> {
    [
        ("ssh", "upstreams with ssh locations cannot be asked without it"),
        ("ssh-keygen", "keys that are no plain files sign ballots with it"),
        ("nix", "modules are evaluated and built with it"),
    ]
    .into_iter()
    .map(|(name, why)| match on_path(name) {
        Some(path) => Finding::new(name, Level::Ok, shown(&path)),
        None => Finding::new(name, Level::Note, format!("not found on PATH: {why}")),
    })
    .collect()
}

/// Tried anew: what is remembered may be what somebody wants to see mended.
fn sandbox() -> Finding {
    match std::env::current_exe() {
        Ok(launcher) => {
            let sandbox = Sandbox::probe(&launcher, None);
            doctor::sandbox(&sandbox.fingerprint(), &sandbox.report().missing)
        }
        Err(error) => {
            let why = format!("no sandbox: the path of this program is unknown: {error}");
            doctor::sandbox(&Err(why), &[])
        }
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| file.is_file() && rustix::fs::access(file, Access::EXEC_OK).is_ok())
}

fn configuration(settings: &PortResult<Settings>) -> Finding {
    match settings {
        Ok(settings) => {
            let idle = settings.not_acted_on();
            if idle.is_empty() {
                return Finding::new("config", Level::Ok, settings.source.to_string());
            }
            let message =
                format!("{}; accepted, not acted on by this version: {}", settings.source, idle.join(", "));
            Finding::new("config", Level::Note, message)
        }
        Err(error) => broken("config", error, "see: lambda-os config schema"),
    }
}

/// One finding for each reason, however many modules have it.
fn refused(discovery: &Discovery) -> Vec<Finding> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for refused in &discovery.refused {
        by_reason.entry(&refused.reason).or_default().push(&refused.subject);
    }
    by_reason
        .into_iter()
        .map(|(reason, subjects)| {
            let who = match subjects.as_slice() {
                [one] => format!("{one} is refused"),
                [first, rest @ ..] => format!("{first} and {} more are refused", rest.len()),
                [] => "refused".to_owned(),
            };
            let next = if reason.contains("allow_local_urls") {
                "where local upstreams are meant: allow_local_urls = true under [workspace] in the configuration"
            } else {
                "mend it in .gitmodules; the other modules go on"
            };
            Finding::new("modules", Level::Attention, format!("{who}: {reason}")).next(next)
        })
        .collect()
}

fn workspace(repository: &GitRepository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tree = shown(repository.work_tree());
    match repository.discover() {
        Err(error) => findings.push(broken("workspace", &error, "see: git status")),
        Ok(discovery) => {
            let count = discovery.modules.len();
            findings.push(Finding::new("workspace", Level::Ok, format!("{tree}: {count} modules")));
            if count == 0 && discovery.refused.is_empty() {
                findings.push(
                    Finding::new("modules", Level::Attention, "the repository has no submodules")
                        .next("name the superproject with -C DIR"),
                );
            }
            findings.extend(refused(&discovery));
        }
    }
    if repository.git_dir().join("index.lock").symlink_metadata().is_ok() {
        findings.push(
            Finding::new(
                "index",
                Level::Attention,
                "index.lock exists: a git command runs, or one was killed",
            )
            .next("when no git command runs in the workspace, remove it yourself; it is never removed here"),
        );
    }
    findings
}

/// What is to be said of the state directory; gives the wall time of the newest cycle.
fn state(
    state_dir: &StateDir,
    repository: &GitRepository,
    settings: &Settings,
    findings: &mut Vec<Finding>,
) -> Option<i64> {
    let root = state_dir.root();
    let name = shown(root);
    let inside = real(root).starts_with(real(repository.work_tree()))
        && !real(root).starts_with(real(repository.common_dir()));
    if inside {
        findings.push(
            Finding::new("state", Level::Broken, format!("{name} is in the work tree"))
                .next("name another state directory with --state-dir, or in the configuration"),
        );
    }
    let existing = root.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    // Who shares the inbox with a group lets that group pass, and no more.
    let meant = if settings.effective.governance.inbox_group.is_some() { 0o010 } else { 0 };
    findings.push(rights(state_dir, existing, meant));
    match rustix::fs::statvfs(existing) {
        Ok(stat) => findings.push(doctor::space(Space {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            free_inodes: (stat.f_files > 0).then_some(stat.f_favail),
            read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
        })),
        Err(error) => {
            findings.push(Finding::new("disk", Level::Attention, format!("cannot be read: {error}")));
        }
    }
    findings.extend(filesystem(existing));
    if !state_dir.exists() {
        return None;
    }
    if let Err(error) = state_dir.check_layout() {
        findings.push(broken("state", &error, "use the version that wrote it"));
        return None;
    }
    findings.push(match CycleLock::holder(state_dir) {
        None => Finding::new("lock", Level::Ok, "no cycle is running"),
        Some(Some(pid)) => Finding::new("lock", Level::Note, format!("process {pid} runs cycles")),
        Some(None) => Finding::new("lock", Level::Note, "another process runs cycles"),
    });
    match JournalReader::open(state_dir) {
        Ok(journal) => {
            findings.push(match journal.head() {
                Some(head) => Finding::new(
                    "journal",
                    Level::Ok,
                    format!("its tail is intact, newest entry {}", head.seq),
                ),
                None => Finding::new("journal", Level::Note, "empty").next("lambda-os init"),
            });
            journal.state().last_cycle.as_ref().map(|cycle| cycle.finished_wall_ms)
        }
        Err(error) => {
            findings.push(broken("journal", &error, "see: lambda-os audit verify"));
            None
        }
    }
}

/// How much is done without a person here; nothing where nobody is trusted yet.
fn ladder(state_dir: &StateDir, settings: &Settings) -> Option<Finding> {
    let journal = JournalReader::open(state_dir).ok()?;
    let rules = govern::rules(&journal, journal.state()).ok()?;
    let ladder = open::ladder(settings);
    Some(doctor::ladder(&ladder, &rules.policy, journal.state().stopped.as_deref()))
}

fn rights(state_dir: &StateDir, existing: &Path, meant: u32) -> Finding {
    let name = shown(state_dir.root());
    if let Err(error) = rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK) {
        return Finding::new(
            "state",
            Level::Broken,
            format!("{} cannot be written: {error}", shown(existing)),
        )
        .next("give this user the right, or name another state directory with --state-dir");
    }
    if !state_dir.exists() {
        return Finding::new("state", Level::Note, format!("{name} does not exist yet"))
            .next("lambda-os init");
    }
    match existing.metadata() {
        Ok(meta) if meta.mode() & 0o077 & !meant != 0 => Finding::new(
            "state",
            Level::Attention,
            format!("{name} may be entered by others (mode {:o})", meta.mode() & 0o7777),
        )
        .next(format!("chmod 700 {name}, unless a group shares it on purpose")),
        Ok(meta) if meta.uid() != rustix::process::geteuid().as_raw() => Finding::new(
            "state",
            Level::Attention,
            format!(
                "{name} belongs to user {}, and you are user {}",
                meta.uid(),
                rustix::process::geteuid().as_raw()
            ),
        )
        .next("run as the user that owns it, or files in it will have two owners"),
        Ok(_) => Finding::new("state", Level::Ok, name),
        Err(error) => Finding::new("state", Level::Broken, format!("{name} cannot be read: {error}"))
            .next("give this user the right"),
    }
}

/// File systems on which locks, durable writes or the state itself may not hold.
fn filesystem(dir: &Path) -> Option<Finding> {
    // Magic numbers from linux/magic.h.
    let kind = rustix::fs::statfs(dir).ok()?.f_type & 0xffff_ffff;
    let (name, why) = match kind {
        0x6969 => ("NFS", "locks between machines and durable writes depend on the server"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => ("SMB", "locks and durable writes depend on the server"),
        0x0102_1994 => ("tmpfs", "the journal is lost at the next boot"),
        _ => return None,
    };
    Some(
        Finding::new("disk", Level::Attention, format!("the state directory is on {name}: {why}"))
            .next("name a state directory on a local disk with --state-dir"),
    )
}

fn real(path: &Path) -> PathBuf {
    // What does not exist yet is judged by what it will be in.
    path.ancestors()
        .find_map(|dir| {
            let real = std::fs::canonicalize(dir).ok()?;
            Some(path.strip_prefix(dir).map_or(real.clone(), |rest| real.join(rest)))
        })
        .unwrap_or_else(|| path.to_owned())
}
