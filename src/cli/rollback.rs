//! `rollback`: a pin back to where it was, by the same path as any change: proposed, approved with
//! the operator's key, applied. The module is held afterwards.

use std::path::PathBuf;

use serde::Serialize;

use super::open::Open;
use super::outdated::unknown_module;
use super::proposal::{apply, vote};
use super::{Exit, Failure, Global, show};
use crate::adapters::lock::CycleLock;
use crate::domain::id::{ModuleName, ObjectId, ProposalId};
use crate::domain::text;
use crate::ops::apply::{Applied, Mode};
use crate::ops::exchange::Place;
use crate::ops::order;
use crate::ops::rollback::{self, Wanted};
use crate::ports::{Clock as _, SnapshotOptions};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The module
    #[arg(value_name = "MODULE")]
    module: String,
    /// The revision: an ancestor of the pin, or one that was applied here
    #[arg(long, value_name = "REV")]
    to: String,
    /// Why: it stands in the ballot and in the hold
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    reason: String,
    /// The key to approve with [default: as for proposal approve]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    module: &'a ModuleName,
    to: ObjectId,
    proposal: ProposalId,
    applied: &'a Applied,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let lock = CycleLock::acquire(&open.state_dir)?;
    let mut journal = apply::ready(&open, Mode::Act)?;
    let state = journal.state().clone();
    let quick = SnapshotOptions { hash_untracked_bytes: None, ..open.settings.snapshot_options() };
    let seen = order::see(&open.repository, &open.sources, &quick)?;
    let known: Vec<&str> = seen.discovery.modules.iter().map(|module| module.name.as_str()).collect();
    if !known.contains(&args.module.as_str()) {
        return Err(unknown_module(&args.module, &known));
    }
    let module = ModuleName::new(&args.module);
    let failed = |why: String| Failure::new(Exit::Usage, format!("cannot roll {module} back: {why}"));
    let pinned = seen.snapshot.modules.iter().find(|state| state.name == module);
    let from = pinned
        .and_then(|state| state.committed)
        .ok_or_else(|| failed("HEAD has no gitlink for it".to_owned()))?;
    let head = seen
        .snapshot
        .superproject
        .head
        .ok_or_else(|| failed("the superproject has no commit yet".to_owned()))?;
    let to = rollback::revision(&state, &module, &args.to).map_err(failed)?;
    let graph = order::order(&seen.discovery, &seen.wiring);
    let place = Place {
        superproject: &open.repository,
        sources: &open.sources,
        modules: &seen.discovery.modules,
        graph: &graph,
        head,
        now_ms: open.clock.wall_ms(),
    };
    let reason = text::inert(args.reason.trim());
    let wanted = Wanted { module: &module, from, to, reason: &reason };
    let id = rollback::propose(&mut journal, &state, place, wanted)?;
    drop(journal);
    // Signing waits for agents and people: nobody else is kept waiting meanwhile.
    drop(lock);
    vote::approve_one(global, id, args.key.clone(), Some(reason))?;

    let _lock = CycleLock::acquire(&open.state_dir)?;
    let mut journal = apply::ready(&open, Mode::Act)?;
    let applied = apply::one(&open, &mut journal, id, Mode::Act)?;
    if global.json {
        let schema = "lambda-os/rollback/v1";
        return show::json(&Report { schema, module: &module, to, proposal: id, applied: &applied });
    }
    let said = apply::said(&applied);
    show::data(&format!(
        "{said}{module} is held at {}; let it go with: lambda-os unhold {module}\n",
        to.short()
    ))
}
