//! Which modules see something else when a change is made: by the graph, and by the locks of the
//! workspace as it is and as it would be with everything.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::combine::Part;
use crate::domain::graph::Graph;
use crate::domain::id::ModuleName;
use crate::domain::plan::PinMove;
use crate::ports::PortResult;

use super::trial::Trial;

/// The parts of a search, one for each change.
pub(super) fn parts(pins: &[Vec<PinMove>], graph: &Graph, trial: &Trial<'_>) -> PortResult<Vec<Part>> {
    let mut above: BTreeMap<ModuleName, BTreeSet<ModuleName>> = BTreeMap::new();
    let mut add = |needed: &ModuleName, needs: &ModuleName| {
        above.entry(needed.clone()).or_default().insert(needs.clone());
    };
    graph.edges.iter().for_each(|edge| add(&edge.to, &edge.from));
    // A newer revision may see what the one of now does not, and the other way round.
    for scene in trial.ends(pins)? {
        for (module, below) in scene.below() {
            for needed in below {
                add(needed, module);
            }
        }
    }
    let part = |pins: &Vec<PinMove>| {
        let modules: BTreeSet<ModuleName> = pins.iter().map(|pin| pin.module.clone()).collect();
        let mut reaches = modules.clone();
        let mut open: Vec<ModuleName> = modules.iter().cloned().collect();
        while let Some(here) = open.pop() {
            let more = above.get(&here).into_iter().flatten();
            open.extend(more.filter(|module| reaches.insert((*module).clone())).cloned());
        }
        Part { modules, reaches }
    };
    Ok(pins.iter().map(part).collect())
}
