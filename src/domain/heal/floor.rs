//! The security floor: below which revisions no module is taken back.
//!
//! It belongs to the policy document. Policies of this version state none, so nothing is below it;
//! every way to a heal asks here all the same, when it decides, when it certifies and when it goes
//! on after a crash.

use crate::domain::id::{ModuleName, ObjectId};
use crate::domain::policy::Policy;

/// Whether a module may be at a revision.
///
/// # Errors
/// A sentence without a final stop: why the policy forbids it.
pub fn allows(_policy: &Policy, _module: &ModuleName, _revision: ObjectId) -> Result<(), String> {
    Ok(())
}
