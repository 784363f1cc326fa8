//! Programs that mean harm, run for real: none gets a verdict it chose, touches anything outside,
//! or leaves a process. Each attack is one word of `hostile.c`, and runs in every kind of sandbox
//! that this machine provides; what it achieved it says itself, in lines that begin with `GOT`.
#![expect(clippy::disallowed_methods, reason = "tests compile and run real programs")]

mod ends;
mod reach;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod use_of;
mod world;
