//! The policy's rules on real workspaces: what they find, what they hold up, and what passes by itself.

#[path = "../support/mod.rs"]
mod support;

mod ages;
mod gates;
mod world;
