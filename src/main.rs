//! The `lambda-os` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    lambda_os::cli::run()
}
