//! (being built)

use super::{Exit, Failure, Global};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct HoldArgs {}

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct UnholdArgs {}

pub fn hold(_global: &Global, _args: &HoldArgs) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Failed, "this verb is not built yet"))
}

pub fn unhold(_global: &Global, _args: &UnholdArgs) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Failed, "this verb is not built yet"))
}
