//! The journal as data: entries, and the chain that links them.

pub mod entry;

pub mod chain;
