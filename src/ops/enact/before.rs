//! Verifying just before enacting: what the change makes of HEAD, module by module.

use std::collections::BTreeMap;

use crate::domain::event::Event;
use crate::domain::health::claim::CLAIMS_VERSION;
use crate::domain::health::{Claim, Claims, Scene};
use crate::domain::id::{Cid, ModuleName};
use crate::domain::text;
use crate::ops::propose::{Derived, derive_delta};
use crate::ops::verify::{Bench, Committed, Known, Origin, Verified, Where, verify};
use crate::ports::{PortError, PortResult};

use super::One;

/// What verification says of the tree that the change gives now; `None` when no steps are configured
/// and the policy lets that be; else why it waits.
pub(super) type Answer = Result<Option<Claims>, String>;

impl One<'_, '_> {
    /// Derive the change on HEAD, verify it there, and journal what is new.
    pub(super) fn verified_now(&mut self) -> PortResult<Answer> {
        let world = &*self.world;
        let head = match world.superproject.branch() {
            Ok((_, head)) => head,
            Err(error) if error.fatal => return Err(error),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let case = crate::ops::govern::case(&*world.journal, self.state, self.id)?;
        let modules = &self.discovery.modules;
        let (superproject, sources) = (world.superproject, world.sources);
        let derived = derive_delta(superproject, sources, modules, &*world.journal, &case.delta, head)?;
        let derived = match derived {
            Ok(derived) if derived.change == case.proposal.change => derived,
            Ok(_) => {
                return Ok(Err("on HEAD it is another change than the one that was proposed".to_owned()));
            }
            Err(why) => return Ok(Err(text::inert(&why.to_string()))),
        };
        let obstacles = world.superproject.obstacles(head, &derived.edits)?;
        if !obstacles.is_empty() {
            return Ok(Err(obstacles.join("; ")));
        }
        let claims = match self.claims(&derived, head)? {
            Ok(claims) => claims,
            Err(why) => return Ok(Err(why)),
        };
        self.record(&derived, head, claims.as_ref())?;
        Ok(Ok(claims))
    }

    fn claims(&mut self, derived: &Derived, head: crate::domain::id::ObjectId) -> PortResult<Answer> {
        let runners = self.world.runners.filter(super::Runners::verify_anything);
        let Some(runners) = runners else {
            let may = self.rules.policy.allow_unverified;
            return Ok(if may {
                Ok(None)
            } else {
                Err("nothing verifies it, and the policy asks for that".to_owned())
            });
        };
        let committed = Committed::read(self.world.superproject, &self.discovery.modules, head)?;
        let (now, then) = (committed.as_it_is(), committed.with(derived));
        let (asked, unverified): (Vec<ModuleName>, Vec<ModuleName>) =
            changed(&now, &then).into_iter().partition(|name| !runners.steps_of(name).is_empty());
        if !unverified.is_empty() && !self.rules.policy.allow_unverified {
            return Ok(Err(format!("nothing verifies {}, and the policy asks for that", unverified[0])));
        }
        let world = &mut *self.world;
        let mut bench = Bench { runners, journal: &mut *world.journal, clock: world.clock, stop: world.stop };
        let before = verify(&mut bench, self.state, &now, &asked, Known::Stands, Where::Base)?;
        let mut found = verify(&mut bench, self.state, &then, &asked, Known::Stands, Where::Candidate)?;
        if let Some(why) = not_good(&before, &found) {
            return Ok(Err(why));
        }
        // What moves is shown again, not remembered; what only sees it stands on its key.
        let moved = derived.pins.iter().map(|pin| &pin.module);
        let remembered: Vec<ModuleName> =
            moved.filter(|name| found.get(*name).is_some_and(|it| it.from != Origin::Run)).cloned().collect();
        found.extend(verify(&mut bench, self.state, &then, &remembered, Known::RunAgain, Where::Candidate)?);
        if let Some(why) = not_good(&before, &found) {
            return Ok(Err(why));
        }
        let claims = found.values().filter_map(|it| claim(it, &before)).collect();
        Ok(Ok(Some(Claims { v: CLAIMS_VERSION, tree: derived.tree, claims, unverified })))
    }

    /// Journal on what it stands now, where that is new.
    fn record(
        &mut self,
        derived: &Derived,
        base: crate::domain::id::ObjectId,
        claims: Option<&Claims>,
    ) -> PortResult<()> {
        let (proposal, tree) = (self.id, derived.tree);
        let Some(record) = self.state.proposals.get(&proposal) else { return Ok(()) };
        let known = record.verified().map(|it| it.claims);
        let mut events = Vec::new();
        if (record.base, record.tree) != (base, tree) {
            events.push(Event::ProposalDerived { proposal, base, tree });
        }
        if let Some(claims) = claims {
            let bytes = claims.to_canonical().map_err(|error| {
                PortError::failed("cannot write what verification found as canonical JSON").because(error)
            })?;
            if known != Some(Cid::of(&bytes)) {
                let claims = self.world.journal.store(&bytes)?;
                events.push(Event::ProposalVerified { proposal, tree, claims });
            }
        }
        for event in events {
            let entry = self.world.journal.append(&proposal.short(), &event)?;
            self.state.take(&entry);
        }
        Ok(())
    }
}

/// The modules that see something else then.
fn changed(now: &Scene, then: &Scene) -> Vec<ModuleName> {
    let same = |name: &ModuleName, sees: Cid| now.modules.get(name).is_some_and(|placed| placed.sees == sees);
    then.modules
        .iter()
        .filter(|(name, placed)| !same(name, placed.sees))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Why it is not to be enacted: something that is not healthy with it, unless it fails without it, too.
fn not_good(
    before: &BTreeMap<ModuleName, Verified>,
    found: &BTreeMap<ModuleName, Verified>,
) -> Option<String> {
    let bad = found.values().find(|it| {
        let was_bad = before.get(&it.module).is_some_and(|was| was.verdict.is_bad());
        let as_before = was_bad && it.verdict.is_bad();
        !(it.verdict.is_healthy() || as_before)
    })?;
    let why = bad.verdict.reason().map_or_else(String::new, |why| format!(": {why}"));
    Some(format!("{} is {} with it{why}", bad.module, bad.verdict.as_str()))
}

fn claim(verified: &Verified, before: &BTreeMap<ModuleName, Verified>) -> Option<Claim> {
    Some(Claim {
        module: verified.module.clone(),
        key: verified.key?,
        verdict: verified.verdict.clone(),
        as_before: verified.verdict.is_bad() && before.contains_key(&verified.module),
        evidence: verified.evidence?,
    })
}
