//! The operator's Nix: evaluating modules, building them, and keeping what was built.
//!
//! ```text
//! settings     how Nix is used here; what of the environment it gets (environment)
//! program      which nix this is; its effective settings (effective), asked once and remembered
//! sources      a scene's own tree and its locked inputs, from git objects into the store
//! expression   what Nix is asked to evaluate; run: bounded; said: what it complains about
//! evaluate     `eval`: many modules in one run
//! build        `build`: from derivations, with logs (log) and roots
//! ```
//!
//! What a flake says of itself is never obeyed: evaluation is pure and gets an expression of ours, so
//! that no `nixConfig` is looked at, and builds get derivations alone. The operator's own configuration,
//! remote stores and builders included, holds as it does for the operator.

mod build;
mod effective;
pub(in crate::adapters) mod environment;
mod evaluate;
mod expression;
mod log;
mod program;
mod roots;
mod run;
mod said;
mod settings;
mod sources;

pub use build::NixBuilder;
pub use environment::NixEnvironment;
pub use evaluate::Evaluator;
pub use program::Nix;
pub use roots::Roots;
pub use settings::{Fetching, NixSettings, Outputs, Packages, Unsandboxed};
