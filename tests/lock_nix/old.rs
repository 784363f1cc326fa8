//! Debian's Nix 2.8 on generated workspaces, where its rules are those of the reference.
//!
//! Left out, because 2.8 does otherwise (found by trying them):
//! - `ref` of a repository without one: `main` there, `refs/heads/main` in the reference; compared
//!   as the same;
//! - `?dir=` of a URL: stays in `url` there;
//! - `?rev=` without `ref`: another `ref` is recorded; `?shallow=1`: another set of attributes;
//! - `path:` inside a source: no `parent`, and another place to look from;
//! - overrides of an override, and overrides with a URL: what is kept when they change; an override
//!   that is gone: which inputs are read again;
//! - `--override-input` with a revision: recorded as what was asked for;
//! - inputs that follow each other in a circle: a lock that the reference refuses.

use super::world::World;
use super::{Ask, Nix, Outcome, Tally, compare, next};
use crate::support::{nix, temp_dir};

#[test]
fn generated_workspaces_are_locked_as_nix_2_8_locks_them_where_it_agrees() {
    let Some(program) = nix::old("relocking beside Nix 2.8") else { return };
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let (worlds, first) = (number("LAMBDA_OS_LOCK_WORLDS", 10), number("LAMBDA_OS_LOCK_SEED", 0));
    let home = temp_dir();
    let nix = Nix { program, home: home.path().to_owned(), old: true };
    let mut tally = Tally::default();
    for seed in first..first + worlds {
        let temp = temp_dir();
        let dir = std::fs::canonicalize(temp.path()).expect("it is there");
        let mut world = World::plain(&dir, seed);
        let mut ask = Ask::Lock;
        for step in 0..4 {
            match compare(&nix, &world.root, &ask) {
                Outcome::Equal => tally.equal += 1,
                Outcome::BothRefuse(_) => tally.refused += 1,
                // 2.8 writes a lock in which inputs follow each other in a circle.
                Outcome::Different(how) if how.contains("follow each other in a circle") => break,
                Outcome::Different(how) => {
                    let flake = std::fs::read_to_string(world.root.join("flake.nix")).expect("it is there");
                    tally.differences.push(format!("seed {seed}, step {step}, {ask:?}\n{flake}{how}"));
                    break;
                }
            }
            world.change();
            ask = match next(&mut world) {
                _ if !world.bare => Ask::UpdateAll,
                Ask::Update(mut inputs) => {
                    inputs.retain(|input| !input.contains('/'));
                    Ask::Update(inputs)
                }
                // 2.8 records the override as what was asked for.
                Ask::Revision(..) => Ask::Lock,
                other => other,
            };
        }
    }
    eprintln!(
        "Nix 2.8: {} equal, {} refused by both, {} different",
        tally.equal,
        tally.refused,
        tally.differences.len()
    );
    for difference in tally.differences.iter().take(8) {
        eprintln!("\n=== {difference}");
    }
    assert!(tally.differences.is_empty(), "{} differences", tally.differences.len());
    assert!(
        tally.equal > tally.refused,
        "most cases are refused: {} equal, {} refused",
        tally.equal,
        tally.refused
    );
}
