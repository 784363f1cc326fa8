//! The floors that hold for what is healed without being asked: the policy's and the members document's.

use crate::domain::heal::floor;
use crate::domain::id::{ModuleName, ObjectId};
use crate::domain::module::Module;
use crate::ops::govern::Rules;
use crate::ops::recover::said;
use crate::ports::Sources;

/// Whether a module may be taken to a revision without a decision.
///
/// # Errors
/// A sentence without a final stop: why not, also when it cannot be told.
pub fn above_the_floors(
    rules: &Rules,
    sources: &dyn Sources,
    modules: &[Module],
    name: &ModuleName,
    revision: ObjectId,
) -> Result<(), String> {
    let of_policy = rules.policy.rules.security_floor.as_ref().and_then(|rule| rule.modules.get(name));
    let floors = [of_policy, rules.members.floor.get(name)];
    for floor in floors.into_iter().flatten() {
        let relation = match modules.iter().find(|module| module.name == *name) {
            Some(module) => sources.relation(module, *floor, revision).map_err(|error| said(&error)),
            None => Err(format!("there is no module {name}")),
        };
        floor::allows(*floor, revision, &relation)?;
    }
    Ok(())
}
