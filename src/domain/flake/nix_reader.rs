//! `flake.nix`, read statically.

/// What a `flake.nix` declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlakeNix {}
