//! Flake references.
