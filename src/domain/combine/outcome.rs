//! What a search found.

use std::collections::BTreeSet;

use super::Set;
use crate::domain::id::ModuleName;

/// What a search found. Parts and runs are named by their numbers, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The parts that hold together.
    pub green: Set,
    /// The run that showed it, as a whole; `None` when nothing is green but the workspace as it is.
    pub shown_by: Option<usize>,
    /// Every other part, and why it is not among them, in order.
    pub aside: Vec<Aside>,
    /// Which part holds only with which others, as the runs showed.
    pub needs: Vec<Need>,
    /// The sets that were run, in order.
    pub runs: Vec<Set>,
    /// True when the bound on runs ended it.
    pub over_bound: bool,
}

/// A part that does not hold with the green ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Which.
    pub part: usize,
    /// Why.
    pub why: Why,
    /// The run that showed it; `None` when there was none.
    pub run: Option<usize>,
    /// The modules that failed in it, or of which it could not be found out; empty when it did not say.
    pub modules: BTreeSet<ModuleName>,
}

/// Why a part does not hold with the green ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It fails by itself.
    Culprit {
        /// Parts beside the green set that it sees: whether it only needs one of them, the runs could not
        /// tell.
        perhaps_needs: Set,
    },
    /// It fails together with these, and not by itself.
    Conflict {
        /// With one part, or with several at once. Empty when it could not be found out whether it fails
        /// by itself: it fails together with the green ones.
        with: Set,
    },
    /// It holds with these, which are not green themselves, and fails without them.
    Needs {
        /// Which.
        parts: Set,
    },
    /// It could not be found out.
    NotFoundOut,
}

/// A part that holds with others and failed without them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Which.
    pub part: usize,
    /// The others: it needs one of them at least.
    pub of: Set,
    /// The run in which it failed without them.
    pub without: usize,
    /// The run in which it held with them.
    pub with: usize,
}
