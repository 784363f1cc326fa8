//! Changes landed in real workspaces: what moves, what must not, what is refused, what a failing
//! disk leaves.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod lands;
mod refusals;
mod world;
