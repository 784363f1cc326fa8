use super::super::fixture::{self, World};
use super::*;
use crate::domain::health::claim::CLAIMS_VERSION;
use crate::domain::health::{Claim, Strength, Verdict};
use crate::domain::policy::Bounds;
use crate::domain::policy::bounds::PinExtent;
use crate::domain::proposal::Track;

fn members() -> Cid {
    Cid::of(b"members")
}

fn good() -> BoundedCertificate {
    let bounds =
        Bounds { modules: vec!["waku".to_owned()], max_commits: 3, max_per_day: 1, min_age_ms: 1000 };
    let policy =
        Policy { rungs: [(Track::Leaf, Rung::Bounded)].into(), bounds: Some(bounds), ..Policy::default() };
    let World { mut proposal, delta, .. } = World::new(1);
    proposal.policy = policy.cid().unwrap();
    let module = ModuleName::new("waku");
    let claim = Claim {
        module: module.clone(),
        key: Cid::of(b"key"),
        verdict: Verdict::STRONG,
        as_before: false,
        evidence: Cid::of(b"evidence"),
    };
    BoundedCertificate {
        v: BOUNDED_CERTIFICATE_VERSION,
        proposal,
        delta,
        members: members(),
        bounded_by: policy,
        extent: Extent {
            pins: vec![PinExtent { module, commits: Some(3), age_ms: Some(1000) }],
            enacted_today: 0,
        },
        claims: Claims {
            v: CLAIMS_VERSION,
            tree: fixture::commit(7),
            claims: vec![claim],
            unverified: Vec::new(),
        },
        base: fixture::commit(9),
        at_ms: 5,
    }
}

fn policy() -> Cid {
    good().bounded_by.cid().unwrap()
}

#[test]
fn a_whole_certificate_proves_its_proposal_and_is_read_as_it_was_written() {
    let bytes = good().to_canonical().unwrap();
    let read = BoundedCertificate::from_canonical(&bytes).unwrap();
    assert_eq!(read, good());
    let proven = verify(&read, &members(), &policy()).unwrap();
    assert_eq!(proven, Bounded { proposal: good().proposal.id().unwrap(), change: good().proposal.change });
}

#[test]
fn anything_else_proves_nothing_with_its_reason() {
    type Change = fn(&mut BoundedCertificate);
    let weak = Verdict::Healthy { strength: Strength::Weak, reason: None };
    let changes: [(Change, &str); 11] = [
        (|it| it.v = 2, "version 2"),
        (|it| it.members = Cid::of(b"other"), "another members document"),
        (|it| it.proposal.policy = Cid::of(b"other"), "another policy"),
        (|it| it.bounded_by.max_open_proposals = 7, "another policy"),
        (|it| it.delta.workspace = "other".to_owned(), "about another change"),
        (|it| it.extent.pins.clear(), "other pins"),
        (|it| it.proposal.track = Track::Core, "core is not bounded"),
        (|it| it.extent.pins[0].commits = Some(4), "moves 4 commits"),
        (|it| it.extent.enacted_today = 1, "1 changes were enacted"),
        (|it| it.claims.unverified.push(ModuleName::new("chat")), "chat is not verified"),
        (|it| it.claims.claims.clear(), "nothing is known of waku"),
    ];
    for (change, said) in changes {
        let mut certificate = good();
        change(&mut certificate);
        let error = verify(&certificate, &members(), &policy()).unwrap_err().to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
    let mut certificate = good();
    certificate.claims.claims[0].verdict = weak;
    let error = verify(&certificate, &members(), &policy()).unwrap_err().to_string();
    assert!(error.contains("not strongly healthy"), "{error}");
}
