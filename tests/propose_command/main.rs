//! `propose`: a program changes a copy of the workspace, and what it changed is decided on and applied as
//! any other change, while the operator's own files are as they were. Real git, the real sandbox.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

#[path = "../support/mod.rs"]
mod support;

mod decided;
mod hostile;
mod world;
