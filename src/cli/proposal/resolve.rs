//! Which proposal is meant: any unambiguous prefix of an id, or a module's name.
//!
//! What is asked for comes from a person or a script and is compared as text, never used as a path.

use crate::cli::{Exit, Failure};
use crate::domain::id::{ModuleName, ProposalId};
use crate::domain::proposal::{ProposalRecord, Proposals, Stage};
use crate::domain::text;

/// Every id begins so; people may leave it out.
const COMMON: &str = "bafkrei";

/// The shortest part of an id, after what all have in common, that is taken for one.
const SHORTEST: usize = 4;

/// The proposal that `wanted` names. A module's name means its open proposal, else its newest.
///
/// # Errors
/// Usage: none or several are meant.
pub(in crate::cli) fn resolve(wanted: &str, proposals: &Proposals) -> Result<ProposalId, Failure> {
    let module = ModuleName::new(wanted);
    let about: Vec<(&ProposalId, &ProposalRecord)> = proposals
        .iter()
        .filter(|(_, record)| record.pins.iter().any(|moved| moved.module == module))
        .collect();
    if module.as_str() == wanted && !about.is_empty() {
        let open: Vec<_> = about
            .iter()
            .filter(|(_, record)| {
                matches!(record.stage, Stage::Open | Stage::Applying { .. } | Stage::Stuck { .. })
            })
            .collect();
        return match open.as_slice() {
            [(id, _)] => Ok(**id),
            [] => about
                .iter()
                .max_by_key(|(_, record)| record.made)
                .map(|(id, _)| **id)
                .ok_or_else(|| none(wanted)),
            several => Err(ambiguous(wanted, several.iter().map(|(id, _)| **id))),
        };
    }
    let part = wanted.strip_prefix(COMMON).unwrap_or(wanted);
    if part.len() < SHORTEST || !part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')) {
        return Err(none(wanted));
    }
    let matching: Vec<ProposalId> =
        proposals.keys().copied().filter(|id| id.to_string()[COMMON.len()..].starts_with(part)).collect();
    match matching.as_slice() {
        [id] => Ok(*id),
        [] => Err(none(wanted)),
        several => Err(ambiguous(wanted, several.iter().copied())),
    }
}

/// Nothing is named so.
pub(super) fn none(wanted: &str) -> Failure {
    Failure::new(Exit::Usage, format!("there is no proposal {}", text::quoted(wanted)))
        .hint("lambda-os proposal list --all; a proposal is named by a part of its id, or by its module")
}

fn ambiguous(wanted: &str, ids: impl Iterator<Item = ProposalId>) -> Failure {
    let ids: Vec<String> = ids.map(|id| id.short()).collect();
    Failure::new(Exit::Usage, format!("{} names several proposals: {}", text::quoted(wanted), ids.join(", ")))
        .hint("say more of the id")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::id::{ChangeId, Cid, ObjectId};
    use crate::domain::plan::PinMove;
    use crate::domain::proposal::{Closure, Purpose, Track};

    fn record(module: &str, made: u64, stage: Stage) -> ProposalRecord {
        let id = |byte| ObjectId::from_bytes(&[byte; 20]).unwrap();
        ProposalRecord {
            change: ChangeId(Cid::of(b"change")),
            purpose: Purpose::Upgrade,
            track: Track::Leaf,
            pins: vec![PinMove { module: ModuleName::new(module), path: "m".into(), from: id(1), to: id(2) }],
            policy: None,
            members_epoch: 0,
            base: id(3),
            tree: id(4),
            supersedes: None,
            made,
            made_wall_ms: 0,
            made_checked_ms: 0,
            expires_ms: 0,
            notes: Vec::new(),
            ballots: Vec::new(),
            certificate: None,
            certified_wall_ms: None,
            certified_checked_ms: None,
            verification: None,
            judged: None,
            decided: BTreeMap::new(),
            evidence: None,
            stage,
        }
    }

    fn closed() -> Stage {
        Stage::Closed { outcome: Closure::Expired, by: None, reason: "late".to_owned() }
    }

    #[test]
    fn a_proposal_is_named_by_part_of_its_id_or_by_its_module() {
        let ids: Vec<ProposalId> = (0..4_u8).map(|byte| ProposalId(Cid::of(&[byte]))).collect();
        let proposals: Proposals = [
            (ids[0], record("alpha", 1, closed())),
            (ids[1], record("alpha", 2, Stage::Open)),
            (ids[2], record("beta", 3, closed())),
            (ids[3], record("beta", 4, closed())),
        ]
        .into();
        let named = |wanted: &str| resolve(wanted, &proposals).ok();
        for id in &ids {
            assert_eq!(named(&id.to_string()), Some(*id));
            assert_eq!(named(&id.short()), Some(*id));
            assert_eq!(named(&id.short()[..4]), Some(*id));
            assert_eq!(named(&id.short()[..3]), None, "too short to mean anything");
        }
        assert_eq!(named("alpha"), Some(ids[1]), "the open one");
        assert_eq!(named("beta"), Some(ids[3]), "the newest");
        for hostile in ["../../x", "", "gamma", "bafkrei", "ALPHA", "-u", "alpha\n"] {
            assert_eq!(named(hostile), None, "{hostile:?}");
        }
    }

    #[test]
    fn two_that_are_meant_are_an_error() {
        let id = |byte: &[u8]| ProposalId(Cid::of(byte));
        let proposals: Proposals =
            [(id(b"a"), record("x", 1, Stage::Open)), (id(b"b"), record("x", 2, Stage::Open))].into();
        let error = resolve("x", &proposals).unwrap_err();
        assert!(error.message.contains(&id(b"a").short()), "{error:?}");
    }
}
