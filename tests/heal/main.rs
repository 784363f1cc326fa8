//! Healing on a real workspace: real git, a checker that the modules' own files decide.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

#[path = "../support/mod.rs"]
mod support;

mod authority;
mod cut;
mod fails;
mod heals;
mod world;
