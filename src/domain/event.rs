//! What the journal records: the types of entries and their bodies.
//!
//! A body is small; large values are stored by content and named here by [`Cid`]. On disk an event is two
//! fields of its entry, `type` and `body`. A type once written keeps its name and its meaning;
//! new types and new optional fields may come.

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
        /// How long each phase took, microseconds, in order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        phases_us: Vec<(String, u64)>,
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

impl Event {
    /// The types that this program knows, in the order of the variants.
    pub const TYPES: [&'static str; 10] = [
        "journal.opened",
        "journal.recovered",
        "cycle.started",
        "snapshot.taken",
        "drift.found",
        "upstream.moved",
        "detect.finished",
        "cycle.finished",
        "module.held",
        "module.unheld",
    ];

    /// The entry's `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::JournalOpened { .. } => "journal.opened",
            Self::JournalRecovered { .. } => "journal.recovered",
            Self::CycleStarted { .. } => "cycle.started",
            Self::SnapshotTaken { .. } => "snapshot.taken",
            Self::DriftFound { .. } => "drift.found",
            Self::UpstreamMoved { .. } => "upstream.moved",
            Self::DetectFinished { .. } => "detect.finished",
            Self::CycleFinished { .. } => "cycle.finished",
            Self::ModuleHeld { .. } => "module.held",
            Self::ModuleUnheld { .. } => "module.unheld",
        }
    }

    /// The large values that the entry names, with what each is.
    #[must_use]
    pub fn objects(&self) -> Vec<(&'static str, Cid)> {
        match self {
            Self::JournalRecovered { bytes, .. } => vec![("bytes", *bytes)],
            Self::SnapshotTaken { snapshot, .. } => vec![("snapshot", *snapshot)],
            Self::DriftFound { drift, .. } => vec![("drift", *drift)],
            Self::DetectFinished { upgrades } => vec![("upgrades", *upgrades)],
            Self::CycleFinished { report, .. } => report.iter().map(|report| ("report", *report)).collect(),
            Self::JournalOpened { .. }
            | Self::CycleStarted { .. }
            | Self::UpstreamMoved { .. }
            | Self::ModuleHeld { .. }
            | Self::ModuleUnheld { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_written_under_its_listed_name() {
        let cid = Cid::of(b"x");
        let to = ObjectId::from_bytes(&[1; 20]).unwrap();
        let module = ModuleName::new("m");
        let all = [
            Event::JournalOpened { program: "p".to_owned() },
            Event::JournalRecovered { length: 1, bytes: cid },
            Event::CycleStarted { cause: "once".to_owned() },
            Event::SnapshotTaken { snapshot: cid, head: None, modules: 0 },
            Event::DriftFound { drift: cid, over_limit: 0 },
            Event::UpstreamMoved {
                module: module.clone(),
                branch: "b".to_owned(),
                from: None,
                to,
                rewritten: false,
            },
            Event::DetectFinished { upgrades: cid },
            Event::CycleFinished {
                started: 0,
                outcome: "ok".to_owned(),
                report: Some(cid),
                reason: None,
                phases_us: Vec::new(),
            },
            Event::ModuleHeld { module: module.clone(), reason: "r".to_owned() },
            Event::ModuleUnheld { module, accepted: None },
        ];
        for (event, listed) in all.iter().zip(Event::TYPES) {
            let value = serde_json::to_value(event).unwrap();
            assert_eq!(value["type"], listed);
            assert_eq!(event.kind(), listed);
            assert!(value["body"].is_object());
            // Every identity in a body is one that `objects` gives to `audit export` and `audit show`.
            let named = event.objects().len();
            assert_eq!(value["body"].to_string().matches("bafkrei").count(), named, "{listed}");
        }
        assert_eq!(all.len(), Event::TYPES.len());
    }
}
