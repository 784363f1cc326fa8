//! What every cycle begins with: closing what an earlier process left open.
//!
//! In: the journal's [`State`]. Out: entries that close what was open, and an account of them.
//! Whoever calls holds the cycle lock, so that an open cycle belongs to a process that is gone.
//!
//! The only effects so far are cycles, which change nothing but the journal: an unfinished one is
//! closed as `interrupted`. An effect on the world will be journalled as
//! `…started{expected, target}` and `…finished{outcome}`; [`reconcile`] decides what an
//! unfinished one needs, from what is there now.

use crate::domain::event::Event;
use crate::domain::state::State;
use crate::ports::{Journal, PortResult};

/// What recovery found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Sequence of the `cycle.started` that was closed as interrupted.
    pub interrupted_cycle: Option<u64>,
}

/// Close what an earlier process left open. Repeating it does nothing more.
///
/// # Errors
/// When the journal cannot be written.
pub fn recover(journal: &mut dyn Journal, state: &State) -> PortResult<Recovered> {
    let Some(started) = state.open_cycle else {
        return Ok(Recovered::default());
    };
    journal.append(
        "cycle",
        &Event::CycleFinished {
            started,
            outcome: "interrupted".to_owned(),
            report: None,
            reason: Some("the process that ran it ended before it did".to_owned()),
            phases_us: Vec::new(),
        },
    )?;
    Ok(Recovered { interrupted_cycle: Some(started) })
}

/// What an unfinished effect needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It happened: journal that it did.
    Finish,
    /// It did not happen, and nothing else did: do it now.
    Redo,
    /// Something else happened meanwhile: touch nothing, tell the operator.
    Stuck,
}

/// Decide over an unfinished effect that was to bring the world from `expected` to `target`.
/// `reality` is what is there now, `None` when it cannot be told.
#[must_use]
pub fn reconcile<T: PartialEq>(expected: &T, target: &T, reality: Option<&T>) -> Remedy {
    match reality {
        // The target first: an effect that changes nothing has happened.
        Some(reality) if reality == target => Remedy::Finish,
        Some(reality) if reality == expected => Remedy::Redo,
        _ => Remedy::Stuck,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::entry::Entry;
    use crate::domain::id::Cid;
    use crate::ports::PortError;

    #[test]
    fn an_effect_is_finished_at_its_target_redone_at_its_start_and_stuck_elsewhere() {
        assert_eq!(reconcile(&"a", &"b", Some(&"b")), Remedy::Finish);
        assert_eq!(reconcile(&"a", &"b", Some(&"a")), Remedy::Redo);
        assert_eq!(reconcile(&"a", &"b", Some(&"c")), Remedy::Stuck);
        assert_eq!(reconcile(&"a", &"b", None), Remedy::Stuck);
        assert_eq!(reconcile(&"a", &"a", Some(&"a")), Remedy::Finish);
    }

    #[derive(Default)]
    struct Remembering {
        events: Vec<Event>,
    }

    impl Journal for Remembering {
        fn append(&mut self, subject: &str, event: &Event) -> PortResult<Entry> {
            self.events.push(event.clone());
            Ok(Entry {
                v: 1,
                log: String::new(),
                seq: 9,
                prev: None,
                wall_ms: 0,
                boot: String::new(),
                mono_ms: 0,
                policy: None,
                members: None,
                subject: subject.to_owned(),
                event: event.clone(),
            })
        }
        fn append_all(&mut self, items: &[(&str, Event)]) -> PortResult<Vec<Entry>> {
            items.iter().map(|(subject, event)| self.append(subject, event)).collect()
        }
        fn store_all(&mut self, _: &[&[u8]]) -> PortResult<Vec<Cid>> {
            Err(PortError::failed("nothing is stored here"))
        }
        fn store(&mut self, _: &[u8]) -> PortResult<Cid> {
            Err(PortError::failed("nothing is stored here"))
        }
        fn load(&self, _: &Cid) -> PortResult<Option<Vec<u8>>> {
            Ok(None)
        }
    }

    #[test]
    fn an_open_cycle_is_closed_as_interrupted_once() {
        let mut journal = Remembering::default();
        let mut state = State::default();
        state.apply(4, 0, &Event::CycleStarted { cause: "once".to_owned() });
        assert_eq!(recover(&mut journal, &state).unwrap().interrupted_cycle, Some(4));
        state.apply(9, 0, &journal.events[0]);
        assert_eq!(state.last_cycle.as_ref().unwrap().outcome, "interrupted");
        assert_eq!(recover(&mut journal, &state).unwrap(), Recovered::default());
        assert_eq!(journal.events.len(), 1);
    }
}
