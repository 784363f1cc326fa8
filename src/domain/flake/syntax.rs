//! Nix text to a syntax tree, bounded.
