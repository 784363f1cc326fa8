//! Who decides, by the configured backend. None stands in for another: a backend that cannot answer
//! leaves every proposal pending, and says so.
//!
//! The program that the policy names for a track narrows under every backend: that is the policy's to
//! say. A program decides alone only where the members document says so and this workspace is
//! configured for it.

use crate::adapters::wasm::Interpreter;
use crate::domain::governance::program::Executor;
use crate::domain::governance::tally::{self, Question, Received, Tally};
use crate::ports::Governor;

/// People: the ballots that were taken in, counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct People;

impl Governor for People {
    fn tally(&self, question: &Question<'_>, ballots: &[Received], elsewhere: &[Received]) -> Tally {
        let track = question.proposal.track;
        if question.members.tracks.get(&track).is_some_and(|rule| rule.program.is_some()) {
            let track = track.as_str();
            let why = format!(
                "a program alone decides on the track {track}, and this workspace is configured for people; \
                 governance.backend = \"program\" runs it"
            );
            return tally::unanswered(question, &why);
        }
        tally::tally(question, ballots, elsewhere)
    }

    fn executor(&self) -> Option<&dyn Executor> {
        Some(&Interpreter)
    }
}

/// Programs, where the members document gives them a track; elsewhere it leaves the decision to people,
/// and their ballots are counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Programs;

impl Governor for Programs {
    fn tally(&self, question: &Question<'_>, ballots: &[Received], elsewhere: &[Received]) -> Tally {
        tally::tally(question, ballots, elsewhere)
    }

    fn executor(&self) -> Option<&dyn Executor> {
        Some(&Interpreter)
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
