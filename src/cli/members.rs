//! `members`: who decides, and putting a change of that to them.

use clap::Subcommand;

use super::amend::{self, ProposeArgs, ShowArgs};
use super::{Exit, Failure, Global};
use crate::domain::change::DocumentKind;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the members document in force, as the file to edit
    Show(ShowArgs),
    /// Put an edited members document to those who decide, now and by it
    Propose(ProposeArgs),
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Show(args) => amend::show(global, args, DocumentKind::Members),
        Verb::Propose(args) => amend::propose(global, args, DocumentKind::Members),
    }
}
