//! Evaluating and building modules with the real Nix, old and new: each test in a mount namespace with
//! a store of its own, and in a network namespace without interfaces.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

#[path = "../support/mod.rs"]
mod support;

mod build;
#[path = "../host/world.rs"]
mod host;
mod hostile;
mod sample;
mod settings;
mod whole;
mod world;
