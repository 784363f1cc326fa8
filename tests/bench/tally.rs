//! Counting many ballots, from the signed messages up: each is read, its signature verified, and all of
//! them counted.
//!
//! `cargo bench --bench tally [-- BALLOTS…]`; the default is 10,000, of 1,000 principals. `verify` is
//! reading and verifying the messages, `count` the tally, `bound` as many verifications of raw Ed25519
//! signatures in the same run, on one thread as the others.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::BTreeMap;
use std::time::Instant;

use ed25519_dalek::{Signer as _, SigningKey};
use lambda_os::domain::change::{DELTA_VERSION, Delta, PinDelta, Revision};
use lambda_os::domain::governance::ballot::{Ballot, Choice, SignedBallot, pins_of};
use lambda_os::domain::governance::key::PublicKey;
use lambda_os::domain::governance::members::{Members, Principal};
use lambda_os::domain::governance::signature::{self, NAMESPACE};
use lambda_os::domain::governance::tally::{Question, Received, TallyState, tally};
use lambda_os::domain::governance::time::Times;
use lambda_os::domain::id::{Cid, ModuleName, ObjectId};
use lambda_os::domain::moment::Moment;
use lambda_os::domain::plan::PinMove;
use lambda_os::domain::policy::Policy;
use lambda_os::domain::proposal::{PROPOSAL_VERSION, Proposal, Track};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

/// Rounds of each; the median counts.
const ROUNDS: usize = 5;

/// Principals, each with one key.
const PRINCIPALS: usize = 1_000;

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    println!("ballots  verify  count  whole  bound  whole/bound   (ms, medians)");
    for ballots in if asked.is_empty() { vec![10_000] } else { asked } {
        measure(ballots);
    }
}

fn measure(count: usize) {
    let people = People::new();
    let messages: Vec<Vec<u8>> = (0..count).map(|at| people.message(at)).collect();
    let raw: Vec<_> = (0..count).map(|at| raw(&people, at)).collect();
    let (mut verify, mut counted, mut whole, mut bound) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let received: Vec<Received> = messages.iter().map(|message| read(message)).collect();
        verify.push(ms(begun));
        let counting = Instant::now();
        let tally = tally(&people.question(), &received, &[]);
        counted.push(ms(counting));
        whole.push(ms(begun));
        assert_eq!(tally.state, TallyState::Approved);
        assert_eq!(tally.counted.len() + tally.ignored.len(), count);
        let begun = Instant::now();
        for (key, text, signature) in &raw {
            key.verify_strict(text, signature).expect("it holds");
        }
        bound.push(ms(begun));
    }
    let (whole, bound) = (median(whole), median(bound));
    println!(
        "{count:>7} {:>7.0} {:>6.1} {whole:>6.0} {bound:>6.0} {:>12.2}",
        median(verify),
        median(counted),
        whole / bound
    );
}

fn read(message: &[u8]) -> Received {
    let verified = SignedBallot::from_message(message).and_then(|signed| signed.verify());
    Received { message: Cid::of(message), verified: verified.map_err(|error| error.to_string()) }
}

/// What raw Ed25519 takes: as many signatures over texts of the length that SSHSIG signs.
fn raw(people: &People, at: usize) -> (ed25519_dalek::VerifyingKey, Vec<u8>, ed25519_dalek::Signature) {
    let key = SigningKey::from_bytes(&seed(at % PRINCIPALS));
    let text =
        signature::signed_data(HashAlg::Sha512, people.ballot(at).to_string().as_bytes()).expect("data");
    let signature = key.sign(&text);
    (key.verifying_key(), text, signature)
}

fn seed(principal: usize) -> [u8; 32] {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&u64::try_from(principal).expect("small").to_le_bytes());
    seed
}

struct People {
    keys: Vec<PrivateKey>,
    members: Members,
    pins: Vec<PinMove>,
    proposal: Proposal,
    revoked: BTreeMap<String, u64>,
    elsewhere: BTreeMap<Cid, std::collections::BTreeSet<String>>,
}

impl People {
    fn new() -> Self {
        let private = |at| {
            let pair = Ed25519Keypair::from_seed(&seed(at));
            PrivateKey::new(KeypairData::from(pair), "bench").expect("a key")
        };
        let keys: Vec<PrivateKey> = (0..PRINCIPALS).map(private).collect();
        let principal = |(at, key): (usize, &PrivateKey)| {
            let public = PublicKey::from_data(key.public_key().key_data().clone()).expect("it may sign");
            Principal::with_keys(format!("p{at:04}"), vec![public])
        };
        let principals = keys.iter().enumerate().map(principal).collect();
        let members = Members::founding("bench".to_owned(), principals).expect("members");
        let revision = |byte| Revision { commit: commit(byte), nar: None };
        let pin = PinDelta {
            module: ModuleName::new("module"),
            path: "repos/module".into(),
            from: revision(1),
            to: revision(2),
        };
        let delta = Delta {
            v: DELTA_VERSION,
            workspace: "bench".to_owned(),
            pins: vec![pin],
            edits: Vec::new(),
            files: Vec::new(),
            document: None,
        };
        let proposal = Proposal {
            v: PROPOSAL_VERSION,
            change: delta.id().expect("an identity"),
            track: Track::Leaf,
            policy: Policy::default().cid().expect("an identity"),
            members_epoch: 1,
            requires: Vec::new(),
            supersedes: None,
            expires_ms: 1_000_000,
        };
        Self {
            keys,
            members,
            pins: pins_of(&delta),
            proposal,
            revoked: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
        }
    }

    fn ballot(&self, at: usize) -> Ballot {
        Ballot {
            workspace: "bench".to_owned(),
            seen_base: commit(9),
            pins: self.pins.clone(),
            files: Vec::new(),
            document: None,
            change: self.proposal.change,
            proposal: self.proposal.id().expect("an identity"),
            policy: self.proposal.policy,
            members_epoch: 1,
            verified: true,
            voter: format!("p{:04}", at % PRINCIPALS),
            choice: Choice::Approve,
            seq: u64::try_from(at / PRINCIPALS + 1).expect("small"),
            not_after: Moment::from_ms(500_000),
            reason: None,
        }
    }

    fn message(&self, at: usize) -> Vec<u8> {
        let text = self.ballot(at).to_string();
        let signed = self.keys[at % PRINCIPALS].sign(NAMESPACE, HashAlg::Sha512, text.as_bytes());
        let armor = signed.and_then(|signed| signed.to_pem(LineEnding::LF)).expect("signed");
        let signature = signature::from_armor(&armor).expect("armored now");
        SignedBallot { text, signature }.to_message()
    }

    fn question(&self) -> Question<'_> {
        Question {
            id: self.proposal.id().expect("an identity"),
            proposal: &self.proposal,
            pins: &self.pins,
            files: &[],
            document: None,
            narrowed: &[],
            decided: None,
            members: &self.members,
            successor: None,
            policy: self.proposal.policy,
            base: commit(9),
            allow_unverified: false,
            revoked: &self.revoked,
            certified: None,
            final_elsewhere: &self.elsewhere,
            now: Times { wall_ms: 10_000, checked_ms: 10_000, slow_ms: 10_000 },
        }
    }
}

fn commit(byte: u8) -> ObjectId {
    ObjectId::from_bytes(&[byte; 20]).expect("an identity")
}

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}
