//! How exchanges went: when each place answered last, and why it did not.
//!
//! `exchange/status.json` in the state directory, a cache: who decides on whether ballots may be
//! missing asks it, and a lost one means that nothing was asked yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::adapters::durable::{self, Durability, RealDisk};

/// The version of the file.
const VERSION: u32 = 1;

/// What is remembered of each place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    v: u32,
    /// By the place's name.
    pub places: BTreeMap<String, PlaceStatus>,
}

/// What is remembered of one place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlaceStatus {
    /// When all of it was read last, Unix milliseconds.
    pub answered_ms: Option<i64>,
    /// Why it was not, the last time that it was asked.
    pub failure: Option<String>,
    /// Why what we have could not be shown there, the last time.
    #[serde(default)]
    pub unpublished: Option<String>,
}

impl PlaceStatus {
    /// Why ballots may be missing, as a sentence without a final stop; `None` when the place
    /// answered within `stale_after_ms`.
    #[must_use]
    pub fn trouble(&self, place: &str, now_ms: i64, stale_after_ms: i64) -> Option<String> {
        match (&self.failure, self.answered_ms) {
            (Some(why), _) => Some(why.clone()),
            (None, None) => Some(format!("{place} was not asked yet")),
            (None, Some(answered)) => {
                // A clock that was set back makes nothing fresh.
                let age_ms = now_ms.saturating_sub(answered);
                (!(0..=stale_after_ms).contains(&age_ms)).then(|| {
                    let minutes = age_ms / 60_000;
                    if age_ms < 0 {
                        format!("{place} answered last in the future of this clock")
                    } else {
                        format!("{place} answered last {minutes} minutes ago")
                    }
                })
            }
        }
    }
}

fn file(root: &Path) -> PathBuf {
    root.join("status.json")
}

impl Status {
    /// What is remembered in this directory; nothing where it cannot be read.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        std::fs::read(file(root))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok())
            .filter(|status| status.v == VERSION)
            .unwrap_or_default()
    }

    /// Remember. Failing to is no failure: then the place counts as not asked.
    pub fn keep(&mut self, root: &Path) {
        self.v = VERSION;
        if let Ok(bytes) = serde_json::to_vec_pretty(self) {
            let _ = std::fs::create_dir_all(root);
            let _ = durable::write_file(&RealDisk, &file(root), &bytes, Durability::Cached);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_trusted_for_a_while_after_it_answered() {
        let status = |answered_ms, failure: Option<&str>| PlaceStatus {
            answered_ms,
            failure: failure.map(str::to_owned),
            unpublished: None,
        };
        let trouble = |status: PlaceStatus| status.trouble("the place", 1_000_000, 600_000);
        assert_eq!(trouble(status(Some(400_000), None)), None);
        assert_eq!(trouble(status(Some(1_000_000), None)), None);
        assert!(trouble(status(Some(399_999), None)).is_some_and(|why| why.contains("10 minutes ago")));
        assert!(trouble(status(Some(1_000_001), None)).is_some_and(|why| why.contains("future")));
        assert!(trouble(status(None, None)).is_some_and(|why| why.contains("not asked yet")));
        assert_eq!(trouble(status(Some(1_000_000), Some("it is down"))), Some("it is down".to_owned()));
    }

    #[test]
    fn what_is_kept_is_read_again_and_rubbish_is_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("exchange");
        assert_eq!(Status::read(&root), Status::default());
        let mut status = Status::default();
        status.places.insert("p".to_owned(), PlaceStatus { answered_ms: Some(1), ..PlaceStatus::default() });
        status.keep(&root);
        assert_eq!(Status::read(&root), status);
        std::fs::write(root.join("status.json"), "{}").unwrap();
        assert_eq!(Status::read(&root), Status::default());
    }
}
