//! What differs between two snapshots, and which differences are over a limit.

use serde::{Deserialize, Serialize};

/// The differences.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drift {}
