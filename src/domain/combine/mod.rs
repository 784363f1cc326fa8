//! Which changes hold together: the search for the largest green set, and for who is to blame.
//!
//! In: the parts that could move (components, leaves first), which modules each has an influence
//! on, and the answers of the runs so far. Out: the set to run next, or the [`Outcome`]: a set that
//! was green as a whole and to which no single part can be added, and for every other part why.
//!
//! It is a function of the question and the answers alone ([`next`]): nothing is remembered in
//! between, so that a search that was cut short goes on where it was, and a decision can be
//! replayed. It goes like this:
//!
//! 1. everything is run together. Green: that is it, in one run;
//! 2. red: who fails is put off and the rest is run; where a run says no more than *red*, halves
//!    are run. Membership stays frozen meanwhile, and the half that must be red, because the other
//!    one was green, is never run;
//! 3. what is left over is tried on top of what is green, until nothing can be added: one part at a
//!    time, and parts that see each other together;
//! 4. each part that stays out is said to fail alone, with another one, or without another one.
//!
//! Inference rests on one fact: a module's verdict depends on what it sees, and on nothing else. A
//! module that failed while it saw some parts and not others fails again when it sees the same
//! ones, whatever else moves. So a run is only asked for when its answer does not follow from
//! earlier ones; a green set is always one that was run as a whole. No set is run twice: an answer
//! that changes by itself cannot keep the search going. The number of runs is bounded, and what was
//! not found out by then is said not to be.

mod facts;
mod outcome;
mod search;
mod set;

use std::collections::BTreeSet;

use super::id::ModuleName;

pub use outcome::{Aside, Need, Outcome, Why};
pub use search::next;
pub use set::Set;

/// Modules that move together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The modules that it moves.
    pub modules: BTreeSet<ModuleName>,
    /// Every module that sees something else when it moves, its own among them. One too many costs
    /// runs; one too few may set a part aside that would hold, but makes nothing green that is not.
    pub reaches: BTreeSet<ModuleName>,
}

/// What is to be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What could move, what others need first. Of two parts that fail together alone, the later
    /// one stays out.
    pub parts: Vec<Part>,
    /// Modules that fail in the workspace as it is: their failing is no part's fault.
    pub already_failing: BTreeSet<ModuleName>,
    /// Most runs.
    pub most_runs: usize,
}

/// A set of parts, to be run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The parts.
    pub set: Set,
    /// Modules that failed in earlier runs, the newest failure first: once one of them fails again, the
    /// rest need not be run.
    pub first: Vec<ModuleName>,
}

/// What a run showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Everything holds.
    Green,
    /// Something does not.
    Red,
    /// It could not be found out: that is not green.
    Unknown,
}

/// What a run showed, and of which modules. Modules that are not named were not looked at; a run may say
/// its colour alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// On the whole.
    pub colour: Colour,
    /// Modules that fail.
    pub failing: BTreeSet<ModuleName>,
    /// Modules of which it could not be found out.
    pub unknown: BTreeSet<ModuleName>,
    /// Modules that hold.
    pub holding: BTreeSet<ModuleName>,
}

impl Answer {
    /// A colour, and no more.
    #[must_use]
    pub fn plain(colour: Colour) -> Self {
        let none = BTreeSet::new;
        Self { colour, failing: none(), unknown: none(), holding: none() }
    }

    /// From what was found of the modules, of which none was left out but after a failure.
    #[must_use]
    pub fn of_modules(
        failing: BTreeSet<ModuleName>,
        unknown: BTreeSet<ModuleName>,
        holding: BTreeSet<ModuleName>,
    ) -> Self {
        let colour = match (failing.is_empty(), unknown.is_empty()) {
            (false, _) => Colour::Red,
            (true, false) => Colour::Unknown,
            (true, true) => Colour::Green,
        };
        Self { colour, failing, unknown, holding }
    }

    /// The same when these modules' failing does not count.
    fn beyond(&self, already: &BTreeSet<ModuleName>) -> Self {
        if self.failing.is_disjoint(already) {
            return self.clone();
        }
        let failing: BTreeSet<ModuleName> = self.failing.difference(already).cloned().collect();
        Self::of_modules(failing, self.unknown.clone(), self.holding.clone())
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Run this, and ask again with its answer.
    Run(Ask),
    /// That was all.
    Done(Outcome),
}

#[cfg(test)]
mod tests;
