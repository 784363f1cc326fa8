//! `policy`: by which rules proposals are made and judged.

use clap::Subcommand;

use super::{Exit, Failure, Global};

pub(super) mod check;
mod explain;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Judge the open proposals, or the workspace as it is, by the rules in force
    Check(check::Args),
    /// Say what a rule is for, how it is written, and how it is set
    Explain(explain::Args),
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Check(args) => check::run(global, args),
        Verb::Explain(args) => explain::run(global, args),
    }
}
