//! Pins: all the places that record a module's revision, and whether they agree.

use serde::{Deserialize, Serialize};

/// One module's places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinCheck {}
