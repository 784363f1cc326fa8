//! `policy`: by which rules proposals are made and judged, and putting a change of that to those who
//! decide.

use clap::Subcommand;

use super::amend::{self, ProposeArgs, ShowArgs};
use super::{Exit, Failure, Global};
use crate::domain::change::DocumentKind;

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
    /// Show the policy in force, as the file to edit
    Show(ShowArgs),
    /// Put an edited policy to those who decide
    Propose(ProposeArgs),
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Check(args) => check::run(global, args),
        Verb::Explain(args) => explain::run(global, args),
        Verb::Show(args) => amend::show(global, args, DocumentKind::Policy),
        Verb::Propose(args) => amend::propose(global, args, DocumentKind::Policy),
    }
}
