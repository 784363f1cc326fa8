//! What the journal remembers of verdicts, and which pin is the last known good one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Verdict;
use super::evidence::Lasting;
use crate::domain::id::{Cid, ModuleName, ObjectId};

/// Most verdicts that are remembered of one module, beside the last known good one.
pub const KEPT: usize = 32;

/// How long a verdict that can pass by itself stands, milliseconds, before the module is verified
/// again; it doubles with each such verdict on the same key, up to [`MAX_STANDS_MS`].
pub const TRANSIENT_STANDS_MS: i64 = 15 * 60 * 1000;

/// The longest that a verdict that can pass by itself stands, milliseconds.
pub const MAX_STANDS_MS: i64 = 24 * 60 * 60 * 1000;

/// One verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// What it depends on.
    pub key: Cid,
    /// What the module sees, whatever runs its steps: [`super::Placed::sees`].
    pub sees: Cid,
    /// The revision.
    pub revision: ObjectId,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the same key can give another one.
    pub lasting: Lasting,
    /// Whether it failed once and passed once.
    pub flaky: bool,
    /// The evidence, in `objects/`.
    pub evidence: Cid,
    /// The identity of the derivations that were evaluated, where they were.
    pub derivations: Option<Cid>,
    /// Whether it is about the workspace as it was, not about a candidate: approved, or there at `init`.
    pub base: bool,
    /// Whether this or an earlier verdict on the same key was healthy.
    #[serde(default)]
    pub healthy_once: bool,
    /// How many verdicts on this key, this one included, could have passed by themselves.
    pub transient_count: u32,
    /// Sequence of its entry.
    pub seq: u64,
    /// Wall time of that, Unix milliseconds.
    pub wall_ms: i64,
}

impl VerdictRecord {
    /// Whether it still stands at this wall time. What cannot change by itself always does.
    #[must_use]
    pub fn stands(&self, now_ms: i64) -> bool {
        if self.verdict.is_healthy() || self.lasting == Lasting::Permanent {
            return true;
        }
        let doubled = TRANSIENT_STANDS_MS << self.transient_count.saturating_sub(1).min(10);
        // A clock that went back does not make an old verdict eternal.
        (0..doubled.min(MAX_STANDS_MS)).contains(&now_ms.saturating_sub(self.wall_ms))
    }

    /// Whether healing may go back to it: verified strongly, here, in the workspace itself.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.base && !self.flaky && self.verdict.is_strong()
    }
}

/// The verdicts on all modules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verdicts(BTreeMap<ModuleName, Vec<VerdictRecord>>);

impl Verdicts {
    /// Remember a verdict; the newest is last, and one on the same key takes the place of the one before.
    pub fn add(&mut self, module: &ModuleName, mut record: VerdictRecord) {
        record.healthy_once |= record.verdict.is_healthy();
        let all = self.0.entry(module.clone()).or_default();
        if let Some(at) = all.iter().position(|known| known.key == record.key) {
            let before = all.remove(at);
            record.base |= before.base && record.revision == before.revision;
            record.healthy_once |= before.healthy_once;
            if record.lasting == Lasting::Transient && !record.verdict.is_healthy() {
                record.transient_count = before.transient_count.saturating_add(1);
            }
        }
        all.push(record);
        let good = all.iter().rposition(VerdictRecord::is_good);
        while all.len() > KEPT {
            // The last known good pin outlives everything.
            let oldest = usize::from(good == Some(0) && all.first().is_some_and(VerdictRecord::is_good));
            all.remove(oldest);
        }
    }

    /// The verdict on this key is one on the workspace itself now.
    pub fn adopt(&mut self, module: &ModuleName, key: &Cid) {
        let all = self.0.get_mut(module).into_iter().flatten();
        all.filter(|record| record.key == *key).for_each(|record| record.base = true);
    }

    /// The newest verdict on a key.
    #[must_use]
    pub fn on(&self, module: &ModuleName, key: &Cid) -> Option<&VerdictRecord> {
        self.0.get(module)?.iter().rev().find(|record| record.key == *key)
    }

    /// The verdicts on a module, oldest first.
    #[must_use]
    pub fn of(&self, module: &ModuleName) -> &[VerdictRecord] {
        self.0.get(module).map_or(&[], Vec::as_slice)
    }

    /// Every module with its verdicts, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&ModuleName, &[VerdictRecord])> {
        self.0.iter().map(|(name, records)| (name, records.as_slice()))
    }

    /// The newest verdict with this identity of derivations that is not about them being unknown.
    #[must_use]
    pub fn with_derivations(&self, module: &ModuleName, derivations: &Cid) -> Option<&VerdictRecord> {
        let known = self.0.get(module)?.iter().rev();
        known
            .filter(|record| record.derivations == Some(*derivations))
            .find(|record| record.verdict.is_healthy())
    }

    /// The pins of a module that healing may go back to, newest first, each once.
    pub fn good_pins(&self, module: &ModuleName) -> impl Iterator<Item = &VerdictRecord> {
        self.of(module).iter().rev().filter(|record| record.is_good())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::health::Step;

    fn record(key: &[u8], verdict: Verdict) -> VerdictRecord {
        VerdictRecord {
            key: Cid::of(key),
            sees: Cid::of(b"sees"),
            revision: ObjectId::from_bytes(&[1; 20]).unwrap(),
            verdict,
            lasting: Lasting::Permanent,
            flaky: false,
            evidence: Cid::of(b"evidence"),
            derivations: None,
            base: true,
            healthy_once: false,
            transient_count: 1,
            seq: 1,
            wall_ms: 0,
        }
    }

    #[test]
    fn that_a_key_was_healthy_is_remembered_through_what_fails_later() {
        let (module, mut all) = (ModuleName::new("m"), Verdicts::default());
        let failed = Verdict::Failed { step: Step::Command, reason: "r".to_owned() };
        all.add(&module, record(b"new", failed.clone()));
        assert!(!all.of(&module)[0].healthy_once);
        all.add(&module, record(b"known", Verdict::STRONG));
        all.add(&module, record(b"known", failed.clone()));
        all.add(&module, record(b"known", failed));
        let known = all.on(&module, &Cid::of(b"known")).unwrap();
        assert!(known.healthy_once && !known.is_good());
        assert_eq!(all.of(&module).len(), 2);
    }
}
