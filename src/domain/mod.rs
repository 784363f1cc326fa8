//! The pure core: values and the functions between them.
//!
//! Nothing here reads a file, asks the time, starts a process or draws a random
//! number, and maps are ordered, so that the same input gives the same bytes everywhere.

pub mod text;

pub mod id;

pub mod moment;

pub mod canonical;

pub mod url;

pub mod module;

pub mod discover;

pub mod snapshot;

pub mod drift;

pub mod flake;

pub mod pin;

pub mod graph;

pub mod upgrade;

pub mod history;

pub mod contents;

pub mod health;

pub mod plan;

pub mod combine;

pub mod candidates;

pub mod change;

pub mod task;

pub mod proposal;

pub mod packet;

pub mod policy;

pub mod governance;

pub mod heal;

pub mod ladder;

pub mod audit;

pub mod event;

pub mod seen;

pub mod state;

pub mod report;
