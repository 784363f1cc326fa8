//! Flakes, read statically: `flake.nix`, `flake.lock`, and the NAR hash of a source.

pub mod nar;

pub mod nix_reader;

pub mod lock;
