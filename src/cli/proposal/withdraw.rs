//! `proposal withdraw`: whoever runs this workspace takes proposals back.

use serde::Serialize;

use super::resolve;
use crate::adapters::journal::JournalWriter;
use crate::cli::open::Open;
use crate::cli::show;
use crate::cli::{Exit, Failure, Global};
use crate::domain::id::ProposalId;
use crate::domain::text;
use crate::ops::govern;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The proposals: of each a part of its id, or its module
    #[arg(value_name = "PROPOSAL", required = true)]
    proposals: Vec<String>,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    withdrawn: Vec<ProposalId>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let state = open.state()?;
    let mut ids: Vec<ProposalId> = Vec::new();
    for wanted in &args.proposals {
        let id = resolve::resolve(wanted, &state.proposals)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let reason = match args.reason.as_deref().map(str::trim) {
        None | Some("") => "withdrawn by whoever runs this workspace".to_owned(),
        Some(reason) => text::inert(reason),
    };
    let mut journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    for id in &ids {
        let state = journal.state().clone();
        govern::withdraw(&mut journal, &state, *id, &reason)?;
    }
    if global.json {
        return show::json(&Report { schema: "lambda-os/proposal-withdraw/v1", withdrawn: ids });
    }
    let ids: Vec<String> = ids.iter().map(ProposalId::short).collect();
    show::data(&format!("withdrawn: {}\n", ids.join(", ")))
}
