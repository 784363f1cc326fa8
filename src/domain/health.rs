//! What is known about a module's health. Unknown is never healthy.

use serde::{Deserialize, Serialize};

/// The outcome of verifying one module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// It was not verified, and why.
    Unknown {
        /// One sentence without a final stop.
        reason: String,
    },
}

impl Verdict {
    /// True only for a verified success, which this version cannot yet produce.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        match self {
            Self::Unknown { .. } => false,
        }
    }
}
