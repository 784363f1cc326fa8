//! Those who decide: keys that the world's number gives, and ballots that are really signed.

use lambda_os::adapters::governors::People as Counted;
use lambda_os::domain::governance::ballot::{Ballot, SignedBallot};
use lambda_os::domain::governance::key::PublicKey;
use lambda_os::domain::governance::members::{Members, workspace_id};
use lambda_os::domain::governance::signature::{self, NAMESPACE};
use lambda_os::domain::heal::Rung;
use lambda_os::domain::id::ObjectId;
use lambda_os::domain::policy::{Bounds, Policy};
use lambda_os::domain::proposal::Track;
use lambda_os::ops::trust::{self, Trusted};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::random::Random;

/// The members with their private keys, and by which rules they decide.
pub(crate) struct People {
    keys: Vec<(String, PrivateKey)>,
    pub(crate) members: Members,
    pub(crate) policy: Policy,
    pub(crate) governor: Counted,
    /// How much may be done without a person.
    pub(crate) rung: Rung,
}

impl People {
    /// One to three members of a workspace.
    pub(crate) fn new(seed: u64, first: ObjectId) -> Self {
        let mut random = Random::new(seed, "people");
        let count = [1, 1, 2, 3][random.below(4)];
        let private = |number: u8| {
            let pair = Ed25519Keypair::from_seed(&[number + 1; 32]);
            PrivateKey::new(KeypairData::from(pair), "simulated").expect("because the pair is a key")
        };
        let keys: Vec<(String, PrivateKey)> =
            (0..count).map(|number| (format!("member-{number}"), private(number))).collect();
        let trusted: Vec<Trusted> = keys
            .iter()
            .map(|(name, key)| {
                let public = PublicKey::from_data(key.public_key().key_data().clone());
                Trusted { name: name.clone(), key: public.expect("because ed25519 may sign"), term: None }
            })
            .collect();
        let mut members = trust::founding(workspace_id(first), &trusted).expect("because they are few");
        members.heal = random.chance(75);
        if random.chance(25)
            && let Some(rule) = members.tracks.get_mut(&Track::Core)
        {
            rule.delay_ms = 3_600_000;
        }
        if random.chance(25) {
            for rule in members.tracks.values_mut() {
                rule.expiry_ms = 3 * 24 * 3_600_000;
            }
        }
        if random.chance(15)
            && let Some(rule) = members.tracks.get_mut(&Track::Leaf)
        {
            rule.strict_base = true;
        }
        let max_open_proposals = if random.chance(15) { 2 } else { 100 };
        let mut policy = Policy { max_open_proposals, ..Policy::default() };
        let rung = match random.below(100) {
            0..15 => Rung::Manual,
            15..50 => Rung::Assisted,
            50..75 => Rung::Gated,
            _ => Rung::Bounded,
        };
        // What the policy says is another thing than what the machine is configured to.
        let most = [Rung::Assisted, Rung::Gated, Rung::Bounded, Rung::Bounded][random.below(4)];
        policy.rungs = [(Track::Leaf, most), (Track::Core, most)].into();
        let modules = vec!["*".to_owned()];
        let max_per_day = if random.chance(50) { 1 } else { 100 };
        let min_age_ms = if random.chance(30) { 3_600_000 } else { 0 };
        policy.bounds = Some(Bounds { modules, max_commits: 5, max_per_day, min_age_ms });
        Self { keys, members, policy, governor: Counted, rung }
    }

    pub(crate) fn count(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn name(&self, number: usize) -> &str {
        &self.keys[number].0
    }

    /// The signed message of a ballot.
    pub(crate) fn sign(&self, number: usize, ballot: &Ballot) -> Vec<u8> {
        let text = ballot.to_string();
        let signed = self.keys[number].1.sign(NAMESPACE, HashAlg::Sha512, text.as_bytes());
        let armor = signed.and_then(|signed| signed.to_pem(LineEnding::LF)).expect("because ed25519 signs");
        let signature = signature::from_armor(&armor).expect("because it was armored now");
        SignedBallot { text, signature }.to_message()
    }
}
