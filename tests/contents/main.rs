//! What modules' commits hold and who vouches for them, against what the real git says and makes.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

#[path = "../support/mod.rs"]
mod support;

mod judged;
mod signatures;
mod trees;
mod world;
