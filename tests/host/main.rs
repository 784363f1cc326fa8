//! The step `host` against a stand-in for the real hosts, in every generation of their command lines.
#![expect(clippy::disallowed_methods, reason = "tests compile and run the stand-in")]

#[path = "../support/mod.rs"]
mod support;

mod behaviours;
mod flaky;
mod hostile;
mod needs;
mod probing;
mod world;
