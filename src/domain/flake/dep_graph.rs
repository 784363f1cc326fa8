//! The generated dependency map.

/// A parsed map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DepGraph {}
