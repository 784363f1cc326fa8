//! Detect: what every upstream says now, against what the superproject's HEAD records.
//!
//! Asks the [`Sources`], compares where there is something to compare, and classifies. Nothing
//! is written: the events say what the journal should record.

use std::num::NonZero;
use std::thread;

use crate::domain::event::Event;
use crate::domain::id::ObjectId;
use crate::domain::module::{Discovery, Module};
use crate::domain::snapshot::Snapshot;
use crate::domain::state::{SeenTip, State};
use crate::domain::upgrade::{self, Facts, Known, Upgrade, UpstreamAnswer};
use crate::ports::{DetectOptions, Sources, Upstream};

/// What detection found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detection {
    /// One row per module, sorted by name; refused ones are among them as `not-allowed`.
    pub upgrades: Vec<Upgrade>,
    /// `upstream.moved` for every tip that was not seen before, sorted by module.
    pub events: Vec<Event>,
}

/// Ask the upstreams and classify every module.
#[must_use]
pub fn detect(
    sources: &dyn Sources,
    discovery: &Discovery,
    snapshot: &Snapshot,
    state: &State,
    options: &DetectOptions,
) -> Detection {
    let modules: Vec<&Module> = discovery.modules.iter().collect();
    let upstreams = sources.refresh(&modules, options);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = modules.len().div_ceil(threads).max(1);
    let row = |(module, upstream): (&&Module, &Upstream)| one(sources, module, upstream, snapshot, state);
    let rows: Vec<(Upgrade, Option<Event>)> = thread::scope(|scope| {
        let parts: Vec<_> = modules
            .chunks(share)
            .zip(upstreams.chunks(share))
            .map(|(modules, upstreams)| {
                scope.spawn(move || modules.iter().zip(upstreams).map(row).collect::<Vec<_>>())
            })
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut found = Detection::default();
    for (upgrade, event) in rows {
        found.upgrades.push(upgrade);
        found.events.extend(event);
    }
    found.upgrades.extend(discovery.refused.iter().map(upgrade::refused));
    found.upgrades.sort_by(|a, b| (&a.name, &a.path, &a.reason).cmp(&(&b.name, &b.path, &b.reason)));
    found
}

fn one(
    sources: &dyn Sources,
    module: &Module,
    upstream: &Upstream,
    snapshot: &Snapshot,
    state: &State,
) -> (Upgrade, Option<Event>) {
    let now = snapshot.modules.iter().find(|state| state.name == module.name);
    let pin = now.and_then(|now| now.committed);
    let checkout = match now {
        Some(now) if now.initialised => Ok(()),
        Some(now) => Err(now.problem.as_deref()),
        None => Err(Some("it is not in the snapshot")),
    };
    let (tip, seen) = match &upstream.answer {
        UpstreamAnswer::Tip { branch, tip, .. } => {
            (Some(*tip), state.tips.get(&module.name).filter(|seen| seen.branch == *branch))
        }
        _ => (None, None),
    };
    let compare = |from: Option<ObjectId>| -> Option<Known> {
        let (from, tip) = (from?, tip?);
        (from != tip).then(|| sources.relation(module, from, tip).map_err(|error| error.to_string()))
    };
    let pin_to_tip = compare(pin);
    let seen_to_tip = compare(seen.map(|seen| seen.tip));
    let event = moved(module, &upstream.answer, seen, seen_to_tip.as_ref());
    let facts = Facts {
        module,
        held: state.holds.get(&module.name).map(String::as_str),
        checkout,
        pin,
        superproject: snapshot.superproject.head,
        answer: &upstream.answer,
        seen,
        pin_to_tip,
        seen_to_tip,
    };
    (upgrade::classify(&facts), event)
}

/// What the journal should say about this tip, if it does not say so already.
fn moved(
    module: &Module,
    answer: &UpstreamAnswer,
    seen: Option<&SeenTip>,
    seen_to_tip: Option<&Known>,
) -> Option<Event> {
    let UpstreamAnswer::Tip { branch, tip, .. } = answer else { return None };
    let rewritten = match seen {
        None => false,
        Some(seen) => {
            let rewritten = upgrade::is_rewritten(seen, seen_to_tip)?;
            let known = if rewritten {
                seen.rewritten_to == Some(*tip)
            } else {
                seen.tip == *tip && seen.rewritten_to.is_none()
            };
            if known {
                return None;
            }
            rewritten
        }
    };
    Some(Event::UpstreamMoved {
        module: module.name.clone(),
        branch: branch.clone(),
        from: seen.map(|seen| seen.tip),
        to: *tip,
        rewritten,
    })
}
