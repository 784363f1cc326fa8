//! `flake.lock`: a model that keeps everything, and its inputs resolved.

/// A parsed lock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {}
