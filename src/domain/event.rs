//! What the journal records: the types of entries and their bodies.
//!
//! A body is small; large values are stored by content and named here by [`Cid`].

use serde::{Deserialize, Serialize};

use super::id::{Cid, ModuleName, ObjectId};

/// An entry's `type` and `body`. The names are part of the on-disk format: they are only added to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "body")]
pub enum Event {
    /// The first entry of a journal.
    #[serde(rename = "journal.opened")]
    JournalOpened {
        /// The version of the program that made it.
        program: String,
    },
    /// A torn last line was found and put aside.
    #[serde(rename = "journal.recovered")]
    JournalRecovered {
        /// How many bytes stood after the last newline.
        length: u64,
        /// The identity of those bytes, kept in `objects/`.
        bytes: Cid,
    },
    /// A cycle began.
    #[serde(rename = "cycle.started")]
    CycleStarted {
        /// Why: `once`, `interval`, `resume`.
        cause: String,
    },
    /// The workspace was seen in another state than before.
    #[serde(rename = "snapshot.taken")]
    SnapshotTaken {
        /// The snapshot, in `objects/`.
        snapshot: Cid,
        /// The superproject's HEAD.
        head: Option<ObjectId>,
        /// Number of modules.
        modules: u32,
    },
    /// What differs from the snapshot before.
    #[serde(rename = "drift.found")]
    DriftFound {
        /// The drift report, in `objects/`.
        drift: Cid,
        /// Number of differences over a limit.
        over_limit: u32,
    },
    /// An upstream was seen at a new tip.
    #[serde(rename = "upstream.moved")]
    UpstreamMoved {
        /// The module.
        module: ModuleName,
        /// The branch.
        branch: String,
        /// The tip before, if any was seen.
        from: Option<ObjectId>,
        /// The tip now.
        to: ObjectId,
        /// True when the tip before is no longer part of the branch.
        rewritten: bool,
    },
    /// The statuses of all modules changed; the table is in `objects/`.
    #[serde(rename = "detect.finished")]
    DetectFinished {
        /// The table of [`crate::domain::upgrade::Upgrade`].
        upgrades: Cid,
    },
    /// A cycle ended.
    #[serde(rename = "cycle.finished")]
    CycleFinished {
        /// Sequence of its `cycle.started`.
        started: u64,
        /// `ok`, `failed` or `interrupted`.
        outcome: String,
        /// The report, in `objects/`; absent when it failed before there was one.
        report: Option<Cid>,
        /// Why it failed.
        reason: Option<String>,
    },
    /// A person froze a module.
    #[serde(rename = "module.held")]
    ModuleHeld {
        /// The module.
        module: ModuleName,
        /// Why.
        reason: String,
    },
    /// A person lifted a hold, and accepts upstream's history as it is now.
    #[serde(rename = "module.unheld")]
    ModuleUnheld {
        /// The module.
        module: ModuleName,
        /// The tip that is accepted although history was rewritten.
        accepted: Option<ObjectId>,
    },
}
