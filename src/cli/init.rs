//! `init`: the state directory and the journal of a workspace. Doing it twice changes nothing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::place::{self, shown};
use super::{Exit, Failure, Global, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::journal::{JournalReader, JournalWriter};
use crate::adapters::state_dir::Origin;
use crate::config::effective;
use crate::config::load::WORKSPACE_FILE;
use crate::ports::Repository as _;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also write a configuration file to begin with into the git directory, unless there is one
    #[arg(long)]
    write_config: bool,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    workspace: String,
    modules: usize,
    state_dir: String,
    state_dir_named_by: Origin,
    created: bool,
    newest_entry: Option<u64>,
    config_written: Option<String>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let place = place::find(global);
    let (settings, repository) = (place.settings?, place.repository?);
    let state_dir = place::state_dir(global, &settings, &repository)?;
    // Before anything is made: a superproject that cannot be read needs no state.
    let modules = repository.discover()?.modules.len();
    let before = JournalReader::open(&state_dir)?.head();
    if before.is_none() {
        JournalWriter::open(&state_dir, &SystemClock)?;
    }
    let newest_entry = JournalReader::open(&state_dir)?.head().map(|head| head.seq);
    let config_written = if args.write_config { write_config(repository.common_dir())? } else { None };
    let report = Report {
        schema: "lambda-os/init/v1",
        workspace: shown(repository.work_tree()),
        modules,
        state_dir: shown(state_dir.root()),
        state_dir_named_by: state_dir.origin(),
        created: before.is_none(),
        newest_entry,
        config_written: config_written.as_deref().map(shown),
    };
    if global.json {
        return show::json(&report);
    }
    show::data(&said(&report, args.write_config))
}

fn said(report: &Report, asked_for_config: bool) -> String {
    let mut said = format!(
        "workspace  {} ({} modules)\nstate      {} ({})\n",
        report.workspace,
        report.modules,
        report.state_dir,
        if report.created { "made" } else { "was there" },
    );
    if let Some(seq) = report.newest_entry {
        let _ = writeln!(said, "journal    newest entry {seq}");
    }
    match &report.config_written {
        Some(path) => {
            let _ = writeln!(said, "config     {path} (made: every default, commented out)");
        }
        None if asked_for_config => said.push_str("config     was there, left as it is\n"),
        None => {}
    }
    said.push_str("next: lambda-os doctor, then lambda-os run --once\n");
    said
}

/// Write the template, whole or not at all, and never over a file that is there.
fn write_config(common_dir: &Path) -> Result<Option<PathBuf>, Failure> {
    let path = common_dir.join(WORKSPACE_FILE);
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write the configuration {}: {error}", shown(&path)))
            .hint("lambda-os config template prints the same text")
    };
    let dir = path.parent().unwrap_or(common_dir);
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut file = tempfile::Builder::new().prefix(".config-").tempfile_in(dir).map_err(failed)?;
    file.write_all(effective::template().as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(failed(error.error)),
    }
}
