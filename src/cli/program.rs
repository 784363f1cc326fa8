//! `program`: the programs that decide. Keep one here by its content, and try one on a proposal.
//!
//! Keeping a program gives it no say: the policy or the members document does, by its name.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::open::Open;
use super::proposal::resolve;
use super::show;
use super::{Exit, Failure, Global};
use crate::adapters::journal::{JournalReader, JournalWriter};
use crate::adapters::wasm::Interpreter;
use crate::domain::governance::program::{Decision, Executor as _, Fault, MAX_MODULE, decide};
use crate::domain::id::{Cid, ProposalId};
use crate::domain::text;
use crate::ops::govern;
use crate::ports::Journal as _;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Keep a program in the state directory, and print the name that documents give it
    Add(AddArgs),
    /// Say what a program would decide over a proposal as it is now; nothing is journalled
    Try(TryArgs),
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The WebAssembly module
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct TryArgs {
    /// The WebAssembly module
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The proposal: a part of its id, or its module
    #[arg(value_name = "PROPOSAL")]
    proposal: String,
    /// Print what the program is given, as canonical JSON, and do not run it
    #[arg(long)]
    input: bool,
}

#[derive(Serialize)]
struct Added {
    schema: &'static str,
    /// Its name.
    program: Cid,
    bytes: usize,
}

#[derive(Serialize)]
struct Tried {
    schema: &'static str,
    proposal: ProposalId,
    #[serde(flatten)]
    decision: Decision,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Add(args) => add(global, args),
        Verb::Try(args) => run_once(global, args),
    }
}

fn add(global: &Global, args: &AddArgs) -> Result<Exit, Failure> {
    let module = module(&args.file)?;
    // What traps without an input is a program all the same.
    if let Err(fault @ Fault::NotAProgram(_)) = Interpreter.execute(&module, b"") {
        return Err(Failure::new(Exit::Usage, format!("cannot keep {}: {fault}", named(&args.file))));
    }
    let open = Open::new(global)?;
    let mut journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    let program = journal.store(&module)?;
    if global.json {
        let schema = "lambda-os/program-add/v1";
        return show::json(&Added { schema, program, bytes: module.len() });
    }
    show::data(&format!("{program}\n"))
}

fn run_once(global: &Global, args: &TryArgs) -> Result<Exit, Failure> {
    let module = module(&args.file)?;
    let open = Open::new(global)?;
    let journal = JournalReader::open(&open.state_dir)?;
    let state = journal.state();
    let proposal = resolve::resolve(&args.proposal, &state.proposals)?;
    let input = govern::program_input(&journal, state, open.governor().as_ref(), proposal, &open.clock)?;
    if args.input {
        return show::data(&format!("{}\n", String::from_utf8_lossy(&input)));
    }
    let (decision, _) = decide(&Interpreter, &module, &input);
    if global.json {
        return show::json(&Tried { schema: "lambda-os/program-try/v1", proposal, decision });
    }
    show::data(&format!(
        "{}: {} (fuel {})\n",
        decision.verdict.as_str(),
        text::inert(&decision.reason),
        decision.fuel
    ))
}

/// The bytes of a module, read no further than one may be.
fn module(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Usage, format!("cannot read the program {}: {error}", named(path)))
    };
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_MODULE).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_MODULE {
        let why = format!("cannot take the program {}: it has more than {MAX_MODULE} bytes", named(path));
        return Err(Failure::new(Exit::Usage, why));
    }
    Ok(bytes)
}

fn named(path: &Path) -> String {
    text::git_quoted(path.as_os_str().as_encoded_bytes())
}
