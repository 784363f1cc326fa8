//! Who decides over proposals, how they say it, and what it adds up to.
//!
//! ```text
//! members + policy                     who may decide, and by which rules
//! proposal → ballot text → signature   what one of them says
//! ballots → tally → certificate        what they say together, and the proof of it
//! document → transition                how the rules themselves change
//! ```
//!
//! Everything here is a function of its arguments: verifying a signature, counting, and checking
//! a certificate give the same bytes on every machine. Signing, files and clocks are elsewhere.

#[doc = include_str!("SIGNERS.md")]
pub mod signers {}

pub mod key;

pub mod signature;

pub mod members;

pub mod allowed_signers;

pub mod compare;

pub mod document;

pub mod transition;

pub mod ballot;

pub mod time;

pub mod tally;

pub mod certificate;

pub mod bounded;

pub mod program;

pub mod exchange;

pub mod heard;

pub mod newer;

#[cfg(test)]
pub(super) mod fixture;
