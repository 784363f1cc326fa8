//! From text that may be wrong to settings that are right.
//!
//! A TOML file goes through three steps: [`raw`] is the list of keys, types, ranges and defaults;
//! [`problem`] finds everything that is wrong with a file, each with line, column and the
//! nearest right name; [`checked`] gives [`Settings`], which need no further checks. Nothing else
//! in the program reads the configuration, and no secret ever stands in it, only files' names.

pub mod checked;

pub mod effective;

pub mod load;

pub mod multisig;

pub mod problem;

pub mod raw;

pub use checked::Settings;
pub use load::{Source, from_source, load, resolve, workspace_only};
