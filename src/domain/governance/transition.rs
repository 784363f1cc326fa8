//! One members document taking the place of another: which may.
//!
//! ```text
//! epoch n, in force ──proposal on the membership track──▶ epoch n + 1, `previous` = identity of epoch n
//! ```
//!
//! That both documents' thresholds are reached, by the same ballots, is the tally's to say (see
//! [`super::tally`]); what makes it a document at all is [`Members::check`]'s.

use super::members::Members;
use crate::domain::canonical::CanonicalError;
use crate::domain::id::Cid;
use crate::domain::proposal::Track;

/// Why a document may not follow another. A sentence without a final stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// It is for another workspace.
    #[error("it is for another workspace")]
    OtherWorkspace,
    /// It skips an epoch, or goes back.
    #[error("its epoch is {found}, and the next one is {next}")]
    Epoch {
        /// Its epoch.
        found: u64,
        /// The one that it must have.
        next: u64,
    },
    /// It was made to follow another document.
    #[error(
        "it follows the document {}, and {in_force} is in force",
        .found.map_or_else(|| "of nobody".to_owned(), |found| found.to_string())
    )]
    OtherPrevious {
        /// The one that it names.
        found: Option<Cid>,
        /// The one in force.
        in_force: Cid,
    },
    /// It changes nothing.
    #[error("it changes nothing but its epoch")]
    Nothing,
    /// Nobody could ever change it again.
    #[error("it has no rule for the track membership: nobody could ever change it again")]
    Final,
    /// It cannot be written down.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

/// Whether `new` may take the place of `old`, whose identity is `in_force`.
///
/// # Errors
/// With the first reason why not.
pub fn follows(old: &Members, in_force: Cid, new: &Members) -> Result<(), TransitionError> {
    if new.workspace != old.workspace {
        return Err(TransitionError::OtherWorkspace);
    }
    if Some(new.epoch) != old.epoch.checked_add(1) {
        return Err(TransitionError::Epoch { found: new.epoch, next: old.epoch.saturating_add(1) });
    }
    if new.previous != Some(in_force) {
        return Err(TransitionError::OtherPrevious { found: new.previous, in_force });
    }
    if !new.tracks.contains_key(&Track::Membership) {
        return Err(TransitionError::Final);
    }
    let unnumbered = |it: &Members| Members { v: 0, epoch: 0, previous: None, ..it.clone() };
    if unnumbered(new) == unnumbered(old) { Err(TransitionError::Nothing) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::members;
    use super::*;

    #[test]
    fn a_document_follows_the_one_in_force_and_no_other() {
        let old = members(3);
        let cid = old.cid().unwrap();
        let new = Members { v: 2, epoch: 2, previous: Some(cid), heal: !old.heal, ..old.clone() };
        assert_eq!(follows(&old, cid, &new), Ok(()));
        let wrong = |slip: fn(&mut Members)| {
            let mut new = new.clone();
            slip(&mut new);
            follows(&old, cid, &new).unwrap_err()
        };
        assert_eq!(wrong(|it| it.workspace.push('x')), TransitionError::OtherWorkspace);
        assert_eq!(wrong(|it| it.epoch += 1), TransitionError::Epoch { found: 3, next: 2 });
        assert_eq!(wrong(|it| it.epoch -= 1), TransitionError::Epoch { found: 1, next: 2 });
        assert!(matches!(wrong(|it| it.previous = None), TransitionError::OtherPrevious { .. }));
        assert!(matches!(
            wrong(|it| it.previous = Some(Cid::of(b"another"))),
            TransitionError::OtherPrevious { .. }
        ));
        assert_eq!(wrong(|it| drop(it.tracks.remove(&Track::Membership))), TransitionError::Final);
        assert_eq!(wrong(|it| it.heal = !it.heal), TransitionError::Nothing);
    }
}
