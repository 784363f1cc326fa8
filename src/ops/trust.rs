//! Trusting those who decide: the first members document and the policy of a workspace.
//!
//! In: principals with their keys, or a whole document, from `init`. Out: the entries `policy.adopted` and
//! `members.trusted`, each after its document is stored; a crash between them is made good by the next `init`. It happens once: whoever decides later is
//! decided by those who decide now.

use std::collections::BTreeMap;

use crate::domain::event::Event;
use crate::domain::governance::key::PublicKey;
use crate::domain::governance::members::{Members, Principal, Term, is_name};
use crate::domain::policy::Policy;
use crate::domain::state::State;
use crate::domain::text;
use crate::ports::{FailureKind, Journal, PortError, PortResult};

/// A key that shall be trusted, with its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// Whose it is.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// When it holds; absent for always.
    pub term: Option<Term>,
}

/// Who shall decide: names with their keys, in the order given. One name may stand several times,
/// each time with another key.
///
/// # Errors
/// Usage when a name or the whole cannot be trusted, with the reason.
pub fn founding(workspace: String, trusted: &[Trusted]) -> PortResult<Members> {
    let mut principals: BTreeMap<&str, Principal> = BTreeMap::new();
    for Trusted { name, key, term } in trusted {
        if !is_name(name) {
            return Err(PortError::failed(format!("{} cannot name who decides", text::quoted(name)))
                .kind(FailureKind::Usage)
                .hint("--as NAME, of letters, digits and . _ - @ +"));
        }
        let nobody = || Principal::with_keys(name.clone(), Vec::new());
        let principal = principals.entry(name).or_insert_with(nobody);
        principal.keys.push(key.clone());
        principal.terms.extend(term.map(|term| (key.fingerprint(), term)));
    }
    Members::founding(workspace, principals.into_values().collect()).map_err(|error| {
        PortError::failed("cannot trust these keys together").kind(FailureKind::Usage).because(error)
    })
}

/// Put the first documents in force. What is in force already stays: with members trusted nothing
/// happens, and a policy that was adopted before a crash is kept.
///
/// # Errors
/// When the journal cannot be written.
pub fn trust(journal: &mut dyn Journal, state: &State, members: &Members, policy: &Policy) -> PortResult<()> {
    if state.members.is_some() {
        return Ok(());
    }
    let unwritable = |error| PortError::failed("cannot write down who decides").because(error);
    if state.policy.is_none() {
        let policy = journal.store(&policy.to_canonical().map_err(unwritable)?)?;
        journal.append("policy", &Event::PolicyAdopted { policy, enacts: None, certificate: None })?;
    }
    let document = journal.store(&members.to_canonical().map_err(unwritable)?)?;
    let event =
        Event::MembersTrusted { members: document, epoch: members.epoch, enacts: None, certificate: None };
    journal.append("members", &event).map(|_| ())
}
