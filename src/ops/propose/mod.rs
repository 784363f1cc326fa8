//! Propose: from pins that shall move to changes that can be decided on.
//!
//! In: the plan, and one commit of the superproject. Out: proposals with everything they would
//! change, byte by byte, and for what is not proposed a reason. Nothing is written outside the
//! state directory: a change is derived from git objects, and made nowhere yet.
//!
//! ```text
//! base → derive        one change, coherent in all places of its pins
//! files                a change that is no pin's
//! command              what a program did to a copy, as such a change
//! candidates → stage   which changes, and what becomes of the proposals that are open (fate)
//! offer                one change that somebody asked for
//! rules                the documents that say how long a proposal lives, and how many there may be
//! ```

mod base;
mod candidates;
mod command;
mod derive;
mod fate;
mod files;
pub mod offer;
mod rules;
mod stage;

pub use base::Base;
pub use candidates::track_of;
pub(in crate::ops) use candidates::{Candidate, candidates, in_the_way};
pub use command::{Came, Outcome, Site, propose_worked};
pub use derive::{Ask, Derived, NotDerived, derive};
pub use files::{FILES_TRACK, derive_delta, derive_files};
pub use stage::{Look, Proposed, Proposer, propose};

use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::ports::{PortResult, Sources, Superproject};

use super::order::DEP_GRAPH;

/// Derive one change on a commit of the superproject: what approving, applying and rolling back
/// begin with. The modules are those of [`crate::ports::Repository::discover`].
///
/// # Errors
/// When the superproject's objects cannot be read; a change that cannot be derived is a value.
pub fn derive_one(
    superproject: &dyn Superproject,
    sources: &dyn Sources,
    modules: &[Module],
    workspace: &str,
    base: ObjectId,
    asks: &[Ask],
) -> PortResult<Result<Derived, NotDerived>> {
    let base = match Base::read(superproject, modules, base, &RepoPath::from(DEP_GRAPH))? {
        Ok(base) => base,
        Err(why) => return Ok(Err(why)),
    };
    let flakes = sources.flakes(modules);
    derive(&base, superproject, flakes.as_ref(), workspace, asks)
}
