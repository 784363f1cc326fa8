//! `proposal`: what was proposed, what it does, and deciding over it. One file for each verb.

use clap::Subcommand;

use super::{Exit, Failure, Global};

pub(super) mod apply;
mod ballot;
mod certificate;
pub(super) mod desk;
mod diff;
mod exchange;
mod list;
mod page;
pub(super) mod resolve;
mod show;
mod signer;
mod sync;
mod verify_decision;
pub(super) mod vote;
mod withdraw;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the proposals that are open; or all there ever were
    List(list::Args),
    /// Show one: what it does, to what, and how to test and undo it
    Show(show::Args),
    /// Show what it does to the superproject's files, as a patch
    Diff(diff::Args),
    /// Write one with its ballots as a file, to carry it elsewhere
    Export(exchange::ExportArgs),
    /// Take in a proposal from such a file: its change is derived again here
    Import(exchange::ImportArgs),
    /// Exchange proposals, ballots and certificates with the other operators
    Sync(sync::Args),
    /// Say yes to a proposal, or to several at once as one: sign a ballot on it
    Approve(vote::Args),
    /// Say no to proposals: sign a ballot on each
    Reject(vote::Args),
    /// Say that proposals must not be applied: sign a veto on each, where the track has one
    Veto(vote::Args),
    /// Say neither yes nor no to proposals, and take back what was said: sign a ballot on each
    Abstain(vote::Args),
    /// Bring approved proposals into the superproject
    Apply(apply::Args),
    /// Take proposals back
    Withdraw(withdraw::Args),
    /// Decide again what programs decided over one, and compare
    VerifyDecision(verify_decision::Args),
    /// Print the text of a ballot, to be signed elsewhere with ssh-keygen
    Ballot(ballot::Args),
    /// Say what a certificate proves, by a members document alone: without a workspace
    VerifyCertificate(certificate::Args),
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::List(args) => list::run(global, args),
        Verb::Show(args) => show::run(global, args),
        Verb::Diff(args) => diff::run(global, args),
        Verb::Export(args) => exchange::export(global, args),
        Verb::Import(args) => exchange::import(global, args),
        Verb::Sync(args) => sync::run(global, args),
        Verb::Approve(args) => vote::approve(global, args),
        Verb::Reject(args) => vote::reject(global, args),
        Verb::Veto(args) => vote::veto(global, args),
        Verb::Abstain(args) => vote::abstain(global, args),
        Verb::Apply(args) => apply::run(global, args),
        Verb::Withdraw(args) => withdraw::run(global, args),
        Verb::VerifyDecision(args) => verify_decision::run(global, args),
        Verb::Ballot(args) => ballot::run(global, args),
        Verb::VerifyCertificate(args) => certificate::run(global, args),
    }
}
