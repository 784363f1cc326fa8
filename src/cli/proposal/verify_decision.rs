//! `proposal verify-decision`: what programs decided over a proposal, decided again here.
//!
//! Nothing is believed: each program is run again on the bytes that the journal names, and what it was
//! given is held against the proposal, the rules that were in force at the entry, and the signed ballots.

use std::fmt::Write as _;

use serde::Serialize;

use super::resolve;
use crate::adapters::journal::JournalReader;
use crate::adapters::wasm::Interpreter;
use crate::cli::open::Open;
use crate::cli::show;
use crate::cli::{Exit, Failure, Global};
use crate::domain::governance::program::{Decision, Executor as _};
use crate::domain::id::ProposalId;
use crate::domain::text;
use crate::ops::govern;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The proposal: a part of its id, or its module
    #[arg(value_name = "PROPOSAL")]
    proposal: String,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    proposal: ProposalId,
    /// What decided again here.
    engine: &'static str,
    decisions: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    /// Its entry.
    seq: u64,
    #[serde(flatten)]
    decision: Decision,
    /// Whether deciding again gave the same, on an input that is as it says.
    same: bool,
    /// What is wrong with it.
    wrong: Option<String>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let journal = JournalReader::open(&open.state_dir)?;
    let state = journal.state();
    let id = resolve::resolve(&args.proposal, &state.proposals)?;
    let case = govern::case(&journal, state, id)?;
    let stamp = |seq| Ok(journal.entry(seq)?.map_or((None, None), |entry| (entry.members, entry.policy)));
    let again = govern::redecide(&journal, &Interpreter, &case, stamp)?;
    if again.is_empty() {
        return Err(Failure::new(
            Exit::Failed,
            format!("no program decided over the proposal {}", id.short()),
        )
        .hint("the policy or the members document names a program for a track, and cycles ask it"));
    }
    let rows: Vec<Row> = again
        .into_iter()
        .map(|one| Row {
            seq: one.decided.seq,
            decision: one.decided.decision,
            same: one.wrong.is_none(),
            wrong: one.wrong,
        })
        .collect();
    let wrong = rows.iter().filter_map(|row| row.wrong.as_ref().map(|why| (row.seq, why)));
    let wrong: Vec<String> = wrong.map(|(seq, why)| format!("entry {seq}: {}", text::inert(why))).collect();
    let shown = if global.json {
        let engine = Interpreter.engine();
        let schema = "lambda-os/proposal-verify-decision/v1";
        show::json(&Report { schema, proposal: id, engine, decisions: rows })
    } else {
        show::data(&rows.iter().map(said).collect::<String>())
    }?;
    if wrong.is_empty() {
        return Ok(shown);
    }
    Err(Failure {
        exit: Exit::Integrity,
        message: format!("what was decided over the proposal {} does not hold", id.short()),
        causes: wrong,
        hint: Some("keep the state directory as it is, and look with: lambda-os audit verify".to_owned()),
    })
}

fn said(row: &Row) -> String {
    let Row { seq, decision, same, .. } = row;
    let (program, verdict) = (ProposalId(decision.program).short(), decision.verdict.as_str());
    let mut said =
        format!("entry {seq}: the program {program} says {verdict}: {}\n", text::inert(&decision.reason));
    let again = if *same { "the same again" } else { "NOT the same again" };
    let _ = writeln!(said, "  program {}", decision.program);
    let _ = writeln!(said, "  input   {}", decision.input);
    let _ = writeln!(said, "  output  {}", decision.output);
    let _ = writeln!(said, "  fuel    {}, by {}; {again}", decision.fuel, text::inert(&decision.engine));
    said
}
