//! The command line: one file per verb, each with its arguments and its way to show things.
//!
//! stdout is data, stderr is talk. A verb builds adapters, calls [`crate::ops`], and shows the
//! result as text or, with `--json`, as one object with a `schema` field.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

pub mod failure;

pub mod show;

pub mod open;

pub mod runners;

pub mod talk;

mod amend;
mod audit;
mod completions;
mod config;
mod demo;
mod doctor;
mod exchange;
mod graph;
mod hold;
mod init;
mod key;
mod lock;
mod man;
mod members;
mod outdated;
mod pin;
mod place;
mod plan;
mod policy;
mod program;
mod proposal;
mod propose;
mod report;
mod rollback;
mod run;
mod snapshot;
mod status;
mod verify;

pub use failure::{Exit, Failure};

use crate::adapters::sandbox;

/// An autonomous control plane for a git superproject whose modules are submodules wired by a Nix flake.
#[derive(Debug, Parser)]
#[command(name = "lambda-os", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What applies to every verb.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every verb.
#[expect(clippy::doc_markdown, reason = "these are shown as they are by --help")]
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The superproject [default: the configured path, else the git repository around the current directory]
    #[arg(short = 'C', long, global = true, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// The state directory [default: the configured one, else $STATE_DIRECTORY, else inside the git directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The configuration file [default: $LAMBDA_OS_CONFIG, else the system's, else inside the git directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Ask no remote: use what was fetched before
    #[arg(long, global = true)]
    pub offline: bool,
    /// Say less on stderr
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more on stderr (twice: still more)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub color: When,
}

/// When to do something that depends on the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, and unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a sample workspace and run a cycle on it
    Demo(demo::Args),
    /// Set up the state of a workspace
    Init(init::Args),
    /// Check that this machine and this workspace are fit
    Doctor(doctor::Args),
    /// Say in one line how things are, then what needs attention
    Status(status::Args),
    /// Show the state of the superproject and of every module
    Snapshot(snapshot::Args),
    /// Show the modules' dependencies, components and levels
    Graph(graph::Args),
    /// Compare every module's pin with its upstream
    Outdated(outdated::Args),
    /// Show what would be proposed, in which order, and why not the rest
    Plan(plan::Args),
    /// Run cycles: once, or until stopped
    Run(run::Args),
    /// Verify every module of HEAD, and say what each verdict rests on
    Verify(verify::Args),
    /// Show what is proposed, decide over it, and apply it
    Proposal(proposal::Args),
    /// Show who decides, and propose a change of that
    Members(members::Args),
    /// Make, list, trust and revoke keys that sign ballots
    Key(key::Args),
    /// Keep and try the programs that decide over proposals
    Program(program::Args),
    /// Run a command on a copy of the workspace, and propose what it changes there
    Propose(propose::Args),
    /// Show and check the places that record each module's revision
    Pin(pin::Args),
    /// Check and remake a flake's lock as Nix does, from sources on this machine
    Lock(lock::Args),
    /// Show and change the rules that judge proposals, and judge by them
    Policy(policy::Args),
    /// Move a module's pin back to a revision that it was at, approve that, and apply it
    Rollback(rollback::Args),
    /// Freeze a module: it is not upgraded until unheld
    Hold(hold::HoldArgs),
    /// Lift a hold, or accept an upstream whose history was rewritten
    Unhold(hold::UnholdArgs),
    /// Read and verify the journal
    Audit(audit::Args),
    /// Show, check and describe the configuration
    Config(config::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the manual page
    Man(man::Args),
}

/// Parse the arguments, run the verb, say what failed.
#[must_use]
pub fn run() -> ExitCode {
    // Started by the supervisor within a sandbox, never by a person: it is no verb.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == crate::adapters::host::DRIVER_VERB) {
        return match crate::adapters::host::driver::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    // Not a verb for people: what stands between us and a program in the sandbox.
    if std::env::args_os().nth(1).is_some_and(|word| word == sandbox::KEEPER) {
        return sandbox::keep();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    talk::start(&cli.global);
    let json = cli.global.json;
    match dispatch(&cli) {
        Ok(exit) => ExitCode::from(u8::from(exit)),
        Err(failure) => {
            failure.report(json);
            ExitCode::from(u8::from(failure.exit))
        }
    }
}

/// Help and version are data; wrong usage is an error like any other, as JSON where that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let shown = error.to_string();
        let mut paragraphs = shown.trim().splitn(2, "\n\n");
        let message = paragraphs.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let failure = Failure::new(Exit::Usage, message);
        match paragraphs.next() {
            Some(rest) => failure.hint(rest).report(true),
            None => failure.report(true),
        }
    } else {
        // A closed pipe is nobody's error.
        let _ = error.print();
    }
    // clap: 0 for --help and --version, 2 for wrong usage.
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn dispatch(cli: &Cli) -> Result<Exit, Failure> {
    let global = &cli.global;
    match &cli.command {
        Command::Demo(args) => demo::run(global, args),
        Command::Init(args) => init::run(global, args),
        Command::Doctor(args) => doctor::run(global, args),
        Command::Status(args) => status::run(global, args),
        Command::Snapshot(args) => snapshot::run(global, args),
        Command::Graph(args) => graph::run(global, args),
        Command::Outdated(args) => outdated::run(global, args),
        Command::Plan(args) => plan::run(global, args),
        Command::Run(args) => run::run(global, args),
        Command::Verify(args) => verify::run(global, args),
        Command::Proposal(args) => proposal::run(global, args),
        Command::Members(args) => members::run(global, args),
        Command::Key(args) => key::run(global, args),
        Command::Program(args) => program::run(global, args),
        Command::Propose(args) => propose::run(global, args),
        Command::Pin(args) => pin::run(global, args),
        Command::Lock(args) => lock::run(global, args),
        Command::Policy(args) => policy::run(global, args),
        Command::Rollback(args) => rollback::run(global, args),
        Command::Hold(args) => hold::hold(global, args),
        Command::Unhold(args) => hold::unhold(global, args),
        Command::Audit(args) => audit::run(global, args),
        Command::Config(args) => config::run(global, args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}
