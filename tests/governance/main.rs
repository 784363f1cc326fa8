//! Deciding over proposals through the program, with OpenSSH's own tools on the other side.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/programs.rs"]
mod built;

mod amend;
mod certified;
mod elsewhere;
mod inbox;
mod keys;
mod programs;
mod signing;
mod tokens;
mod trust;
mod votes;
mod world;
