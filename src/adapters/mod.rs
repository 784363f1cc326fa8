//! The only code that touches the machine. Each adapter implements a port or is
//! what another adapter stands on; none decides anything that a test could not see.

pub mod process;

pub mod sandbox;

pub mod durable;

pub mod lock;

pub mod clock;

pub mod state_dir;

pub mod journal;

pub mod flake_sources;

pub mod git;

pub mod mirrors;

pub mod signing;

pub mod inbox;

pub mod exchange;

pub mod governors;

pub mod wasm;

pub mod nix_store;

pub mod unavailable;

pub mod host;

pub mod nix;

pub mod materials;

pub mod checker;

pub mod workspace_copy;
