//! `proposal export` and `proposal import`: a proposal as one file.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::resolve;
use crate::adapters::journal::JournalWriter;
use crate::adapters::lock::CycleLock;
use crate::cli::open::Open;
use crate::cli::show;
use crate::cli::{Exit, Failure, Global};
use crate::domain::id::ProposalId;
use crate::domain::packet::{MAX_BYTES, Packet};
use crate::domain::text;
use crate::ops::exchange::{self, Place};
use crate::ops::govern::{self, Taken};
use crate::ops::order;
use crate::ports::{Clock as _, SnapshotOptions};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// The proposal: a part of its id, or its module
    #[arg(value_name = "PROPOSAL")]
    proposal: String,
    /// The new file [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The file; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What `import --json` prints.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    id: ProposalId,
    is_new: bool,
    ballots_taken: usize,
    ballots_refused: Vec<String>,
}

pub(super) fn export(global: &Global, args: &ExportArgs) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    let state = journal.state();
    let id = resolve::resolve(&args.proposal, &state.proposals)?;
    let bytes = exchange::export(&journal, state, id)?.to_bytes().map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot write the proposal {} as a file: {error}", id.short()))
    })?;
    match &args.out {
        None => show::data(&String::from_utf8_lossy(&bytes)),
        Some(path) => {
            let failed = |error: std::io::Error| {
                Failure::new(Exit::Failed, format!("cannot write {}: {error}", shown(path)))
                    .hint("the file must not be there yet")
            };
            // Never over a file that is there.
            let mut file = File::create_new(path).map_err(failed)?;
            file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
            Ok(Exit::Ok)
        }
    }
}

pub(super) fn import(global: &Global, args: &ImportArgs) -> Result<Exit, Failure> {
    let bytes = read(&args.file)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot read {}: {error}", shown(&args.file))))?;
    let packet = Packet::from_bytes(&bytes).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot import {}: {error}", shown(&args.file)))
            .hint("lambda-os proposal export makes such a file")
    })?;
    let open = Open::new(global)?;
    let _lock = CycleLock::acquire(&open.state_dir)?;
    let quick = SnapshotOptions { hash_untracked_bytes: None, ..open.settings.snapshot_options() };
    let seen = order::see(&open.repository, &open.sources, &quick)?;
    let head = seen.snapshot.superproject.head.ok_or_else(|| {
        Failure::new(Exit::Failed, "cannot import a proposal: the superproject has no commit yet")
    })?;
    let graph = order::order(&seen.discovery, &seen.wiring);
    let mut journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    let state = journal.state().clone();
    let place = Place {
        superproject: &open.repository,
        sources: &open.sources,
        modules: &seen.discovery.modules,
        graph: &graph,
        head,
        now_ms: open.clock.wall_ms(),
    };
    let imported = exchange::import(&mut journal, &state, packet, place)?;
    let mut report = Report {
        schema: "lambda-os/proposal-import/v1",
        id: imported.id,
        is_new: imported.is_new,
        ballots_taken: 0,
        ballots_refused: Vec::new(),
    };
    for ballot in &imported.ballots {
        let state = journal.state().clone();
        match govern::take_in(&mut journal, &state, ballot.as_bytes(), open.clock.wall_ms())? {
            Taken::Cast { .. } => report.ballots_taken += 1,
            Taken::Known { .. } | Taken::Waits { .. } => {}
            Taken::Refused { reason, .. } => report.ballots_refused.push(text::inert(&reason)),
        }
    }
    if global.json {
        return show::json(&report);
    }
    let known = if report.is_new { "is open here now" } else { "was known here" };
    let mut said = format!("proposal {} {known}; {} ballots taken in\n", report.id, report.ballots_taken);
    for reason in &report.ballots_refused {
        said.push_str("a ballot does not count: ");
        said.push_str(reason);
        said.push('\n');
    }
    show::data(&said)
}

/// A file, or standard input, up to a byte more than a packet may have.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX) + 1;
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn shown(path: &Path) -> String {
    text::inert_bytes(path.as_os_str().as_encoded_bytes())
}
