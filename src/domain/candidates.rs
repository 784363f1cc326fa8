//! What combining the changes that could be proposed gave: the report of that stage.
//!
//! It is stored by content and named by the journal's `candidates.verified`. Equal findings are
//! equal bytes: there is no time in it.

use serde::{Deserialize, Serialize};

use super::canonical::{self, CanonicalError};
use super::health::Claim;
use super::id::{Cid, ModuleName, ObjectId};
use super::plan::PinMove;

/// The version of the canonical form of [`Candidates`].
pub const CANDIDATES_VERSION: u32 = 1;

/// What was found of the changes that could be proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidates {
    /// Format version, 1.
    pub v: u32,
    /// Sets of pins that hold together, each verified as a whole: one proposal each. There is more than one
    /// only where one proposal could not hold them all.
    pub green: Vec<GreenSet>,
    /// Changes that are in none of them, in the plan's order.
    pub aside: Vec<SetAside>,
    /// Which modules move only with which others, as the runs showed.
    pub needs: Vec<NeedFound>,
    /// How many sets were verified, those included of which everything was known.
    pub runs: u32,
    /// True when the bound on that ended the search.
    pub over_bound: bool,
    /// Bad and unknown verdicts that can pass by themselves and that this rests on: module and key.
    pub rests_on: Vec<(ModuleName, Cid)>,
    /// True when something could not be found out now that may be later, although nothing here changes.
    pub try_again: bool,
}

/// Pins that hold together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GreenSet {
    /// The pins, by module. One that is only put right has equal ends.
    pub pins: Vec<PinMove>,
    /// The superproject's tree with them.
    pub tree: ObjectId,
    /// The verdict on each module that they change something for: [`super::health::Claims`], in `objects/`.
    pub claims: Cid,
    /// What to know about it, each a sentence without a final stop.
    pub notes: Vec<String>,
}

/// A change that is not among those that hold together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// Its pins, by module.
    pub pins: Vec<PinMove>,
    /// Why, in one word.
    pub why: Reason,
    /// Why, as a sentence without a final stop.
    pub reason: String,
    /// Modules of the other changes that have to do with it: what it conflicts with, what it needs.
    pub with: Vec<ModuleName>,
    /// The modules that fail with it, or of which it could not be found out, as far as they were run.
    pub shown_by: Vec<Claim>,
}

/// Why a change is not among those that hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It fails by itself.
    Culprit,
    /// It fails together with another one.
    Conflict,
    /// It needs another one, which is not green itself.
    Needs,
    /// It could not be verified.
    Unverified,
}

impl Reason {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Culprit => "culprit",
            Self::Conflict => "conflict",
            Self::Needs => "needs",
            Self::Unverified => "unverified",
        }
    }
}

/// Modules that hold only with others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedFound {
    /// Which.
    pub modules: Vec<ModuleName>,
    /// The others: one of these at least has to move with them.
    pub one_of: Vec<ModuleName>,
}

impl Candidates {
    /// The bytes that the identity is of.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_canonical(self)
    }

    /// One short line.
    #[must_use]
    pub fn summary(&self) -> String {
        let pins: usize = self.green.iter().map(|set| set.pins.len()).sum();
        let count = |why| self.aside.iter().filter(|aside| aside.why == why).count();
        format!(
            "{pins} pins hold together, {} culprits, {} in conflict, {} need one of those, {} not verified",
            count(Reason::Culprit),
            count(Reason::Conflict),
            count(Reason::Needs),
            count(Reason::Unverified)
        )
    }
}
