//! Narrows: approvals must come from two people who have no role in common, and a change that moves
//! more than twenty pins at once is rejected.
//!
//! The policy names it as the program of a track.

use decision::{Answer, Value, approve, reject, wait};

decision::program!(decide);

/// Most pins in one change.
const MOST_PINS: usize = 20;

fn decide(input: &Value<'_>) -> Answer {
    if input["delta"]["pins"].list().len() > MOST_PINS {
        return reject("more than twenty pins at once");
    }
    let principals = input["members"]["principals"].list();
    let roles_of = |name: &str| {
        principals.iter().find(|one| one["name"].text() == name).map_or(&[][..], |one| one["roles"].list())
    };
    let approvals: Vec<&[Value<'_>]> = input["ballots"]
        .list()
        .iter()
        .filter(|ballot| ballot["choice"].text() == "approve")
        .map(|ballot| roles_of(ballot["voter"].text()))
        .filter(|roles| !roles.is_empty())
        .collect();
    let apart = |a: &[Value<'_>], b: &[Value<'_>]| a.iter().all(|role| !b.contains(role));
    let two = approvals.iter().enumerate().any(|(at, a)| approvals[at + 1..].iter().any(|b| apart(a, b)));
    if two { approve("two teams approve it") } else { wait("only one team approves it so far") }
}
