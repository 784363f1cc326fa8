//! Who decides, by the configured backend. None stands in for another: a backend that this
//! version does not have leaves every proposal pending, and says so.

use crate::domain::governance::tally::{self, Question, Received, Tally};
use crate::ports::Governor;

/// People: the ballots that were taken in, counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct People;

impl Governor for People {
    fn tally(&self, question: &Question<'_>, ballots: &[Received], elsewhere: &[Received]) -> Tally {
        tally::tally(question, ballots, elsewhere)
    }
}

/// A backend that cannot answer.
#[derive(Debug, Clone)]
pub struct Absent {
    /// Why, as a sentence without a final stop.
    pub why: String,
}

impl Governor for Absent {
    fn tally(&self, question: &Question<'_>, _: &[Received], _: &[Received]) -> Tally {
        tally::unanswered(question, &self.why)
    }
}
