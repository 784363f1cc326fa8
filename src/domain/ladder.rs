//! The ladder: how much may be done without a person, on each track.
//!
//! The policy says how much may be at most, and those who decide over the policy raise it. The
//! configuration of one machine, and a stop of everything, only ever lower it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::heal::Rung;
use super::id::ProposalId;
use super::policy::Policy;
use super::proposal::Track;

/// By what right the daemon enacts a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// A certificate whose delay is over.
    Ballots,
    /// The bounds that the policy states.
    Bounds,
}

/// How long an enactment counts for the number that a day may have, milliseconds.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Something that was enacted within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnactedWithinBounds {
    /// What.
    pub proposal: ProposalId,
    /// Checked time of that, milliseconds: a clock that was set forward makes no day pass.
    pub checked_ms: i64,
}

/// How many of these count for the day at this checked time.
#[must_use]
pub fn of_the_day(enacted: &[EnactedWithinBounds], checked_ms: i64) -> u32 {
    let recent = enacted.iter().filter(|one| checked_ms.saturating_sub(one.checked_ms) < DAY_MS);
    u32::try_from(recent.count()).unwrap_or(u32::MAX)
}

/// How much a machine's configuration lets be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    /// On tracks that are not listed.
    pub rung: Rung,
    /// On single tracks.
    pub tracks: BTreeMap<Track, Rung>,
}

impl Ladder {
    /// What the configuration says of a track.
    #[must_use]
    pub fn configured(&self, track: Track) -> Rung {
        self.tracks.get(&track).copied().unwrap_or(self.rung)
    }

    /// How much may be done without a person on a track: the lowest of what the policy, the
    /// configuration and a stop of everything say. Changes of the rules themselves are never enacted
    /// within bounds.
    #[must_use]
    pub fn rung(&self, policy: &Policy, track: Track, stopped: bool) -> Rung {
        if stopped {
            return Rung::Manual;
        }
        let most = match track {
            Track::Policy | Track::Membership => Rung::Gated,
            Track::Leaf | Track::Core | Track::Input | Track::SelfUpgrade => Rung::Bounded,
        };
        self.configured(track).min(policy.rung(track)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNGS: [Rung; 4] = [Rung::Manual, Rung::Assisted, Rung::Gated, Rung::Bounded];

    #[test]
    fn nothing_on_this_machine_raises_what_the_policy_says() {
        for policy_says in RUNGS {
            for configured in RUNGS {
                for track in Track::ALL {
                    let policy = Policy { rungs: [(track, policy_says)].into(), ..Policy::default() };
                    let ladder = Ladder { rung: configured, tracks: BTreeMap::new() };
                    let own = Ladder { rung: Rung::Bounded, tracks: [(track, configured)].into() };
                    let rung = ladder.rung(&policy, track, false);
                    assert_eq!(own.rung(&policy, track, false), rung);
                    assert!(rung <= policy_says && rung <= configured);
                    let rules = matches!(track, Track::Policy | Track::Membership);
                    assert_eq!(
                        rung,
                        policy_says.min(configured).min(if rules { Rung::Gated } else { Rung::Bounded })
                    );
                    assert_eq!(ladder.rung(&policy, track, true), Rung::Manual);
                }
            }
        }
    }

    #[test]
    fn a_track_of_which_the_policy_says_nothing_is_assisted() {
        let ladder = Ladder { rung: Rung::Bounded, tracks: BTreeMap::new() };
        assert_eq!(ladder.rung(&Policy::default(), Track::Leaf, false), Rung::Assisted);
    }
}
