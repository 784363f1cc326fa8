//! The security floor: below which revisions no module is taken.
//!
//! The policy states it for every change, the members document for what is healed without being asked;
//! every way to a heal asks both, when it decides and when it applies.

use crate::domain::id::ObjectId;
use crate::domain::text;
use crate::domain::upgrade::Relation;

/// Whether a module may be at a revision, by how its floor stands to that (`relation`: commits that the
/// revision has and the floor has not, and the other way round). The revision must hold all of the floor.
///
/// # Errors
/// A sentence without a final stop: why it may not, also when it cannot be told.
pub fn allows(
    floor: ObjectId,
    revision: ObjectId,
    relation: &Result<Relation, String>,
) -> Result<(), String> {
    if floor == revision {
        return Ok(());
    }
    let (at, floor) = (revision.short(), floor.short());
    match relation {
        Ok(Relation::Counted { ahead: 0, .. }) => Ok(()),
        Ok(Relation::Counted { ahead, .. }) => {
            Err(format!("{at} is below the security floor {floor}: it lacks {ahead} of its commits"))
        }
        Ok(Relation::Missing(commit)) => Err(format!(
            "whether {at} is below the security floor {floor} cannot be told: {} is not at hand",
            commit.short()
        )),
        Err(why) => Err(format!(
            "whether {at} is below the security floor {floor} cannot be told: {}",
            text::inert(why)
        )),
    }
}
