//! Changes of the members document that one key asks for: trusted, or not any more.
//!
//! In: the document in force and a key. Out: the document that should follow, or why there can be
//! none. Thresholds stay as they are: who wants others edits the document.

use crate::domain::governance::key::PublicKey;
use crate::domain::governance::members::{MEMBERS_VERSION, Members, MembersError, Principal, Term};
use crate::domain::id::Cid;

/// The document with one more key: of this principal, who may be new.
///
/// # Errors
/// When that is no document, as when the key is somebody's already.
pub fn with_key(
    in_force: &Members,
    cid: Cid,
    name: &str,
    key: &PublicKey,
    term: Option<Term>,
) -> Result<Members, MembersError> {
    let mut next = following(in_force, cid);
    let at = next.principals.partition_point(|one| one.name.as_str() < name);
    if next.principals.get(at).is_none_or(|one| one.name != name) {
        next.principals.insert(at, Principal::with_keys(name.to_owned(), Vec::new()));
    }
    let principal = &mut next.principals[at];
    principal.keys.push(key.clone());
    principal.keys.sort();
    principal.terms.extend(term.map(|term| (key.fingerprint(), term)));
    next.check()?;
    Ok(next)
}

/// The document without the key of this fingerprint, with another one in its place where there is
/// one. A principal who has no key left decides no longer, and speaks for nobody.
///
/// # Errors
/// When that is no document, as when too few are left for a threshold.
pub fn without_key(
    in_force: &Members,
    cid: Cid,
    fingerprint: &str,
    replacement: Option<&PublicKey>,
) -> Result<Members, MembersError> {
    let mut next = following(in_force, cid);
    for principal in &mut next.principals {
        let before = principal.keys.len();
        principal.keys.retain(|key| key.fingerprint() != fingerprint);
        principal.terms.remove(fingerprint);
        if principal.keys.len() < before {
            principal.keys.extend(replacement.cloned());
            principal.keys.sort();
        }
    }
    next.principals.retain(|principal| !principal.keys.is_empty());
    let there: Vec<String> = next.principals.iter().map(|one| one.name.clone()).collect();
    for principal in &mut next.principals {
        principal.delegates.retain(|_, delegation| there.contains(&delegation.to));
    }
    next.check()?;
    Ok(next)
}

fn following(in_force: &Members, cid: Cid) -> Members {
    Members {
        v: MEMBERS_VERSION,
        epoch: in_force.epoch.saturating_add(1),
        previous: Some(cid),
        ..in_force.clone()
    }
}
