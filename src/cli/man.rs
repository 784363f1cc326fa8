//! (being built)

use super::{Exit, Failure};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Failed, "this verb is not built yet"))
}
