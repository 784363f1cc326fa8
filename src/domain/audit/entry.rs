//! One line of the journal.

use serde::{Deserialize, Serialize};

use crate::domain::event::Event;
use crate::domain::id::Cid;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Format version, 1.
    pub v: u32,
    /// Which journal: a random identity made at its first entry.
    pub log: String,
    /// Position, from 0, without gaps.
    pub seq: u64,
    /// Identity of the previous line's exact bytes without its newline; absent at 0.
    pub prev: Option<Cid>,
    /// Wall time, Unix milliseconds: information.
    pub wall_ms: i64,
    /// Identity of the boot.
    pub boot: String,
    /// Milliseconds since boot, suspend included.
    pub mono_ms: u64,
    /// The policy in force.
    pub policy: Option<Cid>,
    /// The members document in force.
    pub members: Option<Cid>,
    /// What it is about, for people: a module's name, a cycle.
    pub subject: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}
