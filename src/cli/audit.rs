//! (being built)

use super::{Exit, Failure, Global};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_global: &Global, _args: &Args) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Failed, "this verb is not built yet"))
}
