//! Several operators, each with a clone and a state directory of its own, and what they share: who
//! agrees on what, whatever a hostile one among them does.
#![expect(clippy::disallowed_methods, reason = "tests run real programs")]

mod agree;
mod early;
mod inbox;
mod newer;
mod outage;
mod places;
#[path = "../support/mod.rs"]
mod support;
mod world;
