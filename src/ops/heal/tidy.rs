//! Ending proposals to heal that nothing asks for any more.

use crate::domain::event::Event;
use crate::domain::id::ProposalId;
use crate::domain::proposal::{Closure, Purpose, Stage};
use crate::domain::report::ModuleHealth;
use crate::domain::state::State;
use crate::ports::PortResult;

use super::Ward;

/// Whether any proposal to heal is open.
pub(super) fn has_proposals(state: &State) -> bool {
    state.open_proposals().any(|(_, record)| record.purpose == Purpose::Heal)
}

/// End those whose module is healthy where its pin is: nothing is left to heal.
pub(super) fn close_settled(ward: &mut Ward<'_, '_>, rows: &[ModuleHealth]) -> PortResult<()> {
    let healthy = |id: &ProposalId| {
        let pins = &ward.state.proposals.get(id)?.pins;
        let [pin] = pins.as_slice() else { return None };
        let row = rows.iter().find(|row| row.name == pin.module)?;
        (row.verdict.is_healthy() && row.revision == Some(pin.from)).then(|| pin.module.clone())
    };
    let settled: Vec<_> = ward
        .state
        .open_proposals()
        .filter(|(_, record)| record.purpose == Purpose::Heal && record.stage == Stage::Open)
        .filter_map(|(id, _)| Some((*id, healthy(id)?)))
        .collect();
    for (proposal, module) in settled {
        let reason = format!("{module} is healthy where its pin is");
        let event = Event::ProposalClosed { proposal, outcome: Closure::Obsolete, by: None, reason };
        ward.append(&module, &event)?;
    }
    Ok(())
}
