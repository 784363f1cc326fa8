//! `completions SHELL`: the script that makes a shell complete verbs and options.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Exit, Failure, show};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lambda-os", &mut script);
    show::data(&String::from_utf8_lossy(&script))
}
