//! lambda-os: an autonomous control plane for a git superproject whose modules
//! are submodules wired by a Nix flake.
//!
//! # The way through the house
//!
//! A cycle is a line of values, each a function of the ones before it:
//!
//! ```text
//! Snapshot → Drift → Verdicts → Healing → Upgrades → Graph → Plan → Candidates → Proposals → Findings → Enacted → CycleReport
//!    eyes            does it work  back   upstream   order   what moves   together   to decide on  by rules  by itself
//! ```
//!
//! A verdict is found in a [`domain::health::Scene`], a commit with or without edits on it: a candidate
//! is verified by the same steps as the workspace, before it exists anywhere.
//!
//! A person takes it from there, and a change goes its own line, each step a value again:
//!
//! ```text
//! Delta (what it does, whatever the base) + PathEdits (every byte, on this base)
//!   → Proposal → Ballots → Tally → Certificate → Landing → commit, and an entry that says so
//! ```
//!
//! A program can narrow that, or decide alone where the members document says so: the same bytes give the
//! same decision everywhere ([`domain::governance::program`]).
//!
//! [`ops::propose`] derives and proposes, [`ops::govern`] takes ballots in and counts them,
//! [`ops::apply`] lands what was certified, [`ops::recover`] finishes or undoes what was cut short.
//! [`ops::policy`] judges what a change makes of the workspace by the policy's rules
//! ([`domain::policy::rules`]), in every cycle and once more before it is applied.
//! [`ops::amend`] changes who decides and by which rules, by the same line, and enacts by one entry.
//! [`ops::verify`] runs steps behind ports and keeps the evidence; [`ops::heal`] takes back what broke
//! under the standing authority that the members document grants, by the path of any approved change.
//! [`ops::enact`] applies by itself what was certified or what the policy's bounds allow, where the
//! [ladder](domain::ladder) lets it. [`domain::governance::signers`] is the guide for those who sign.
//!
//! Read the modules in this order:
//!
//! 1. [`domain`]: pure types and functions. No I/O, no clock, no randomness,
//!    ordered maps only. Everything that can be decided is decided here.
//! 2. [`ports`]: the traits through which the core asks the world.
//! 3. [`ops`]: one file per stage and per verb; [`ops::cycle`] reads like the line above.
//! 4. [`adapters`]: the only code that touches the machine: git, processes, files, clock.
//! 5. [`config`]: from text that may be wrong to settings that are right.
//! 6. [`sample`]: a real workspace made by code, for the demo, the tests and the benches.
//! 7. [`cli`] and [`daemon`]: the only places that build adapters and hand them to `ops`.
//!
//! Dependencies point one way: `cli, daemon → ops → {ports, domain}`,
//! `adapters → {ports, domain}`, `domain → nothing`. `tests/layering.rs` holds it.
//!
//! # What is on disk
//!
//! Everything is in one state directory (see [`adapters::state_dir`]), never in the
//! operator's work tree:
//!
//! | file | what | truth or cache |
//! |---|---|---|
//! | `audit.jsonl` | the journal, one entry a line, chained by content id | the only truth |
//! | `head` | sequence and id of the newest entry, to notice a cut tail | check value |
//! | `objects/` | large values by content id | truth, named by the journal |
//! | `inbox/` | ballots signed elsewhere, until they are journalled | intent |
//! | `exchange/` | what other operators show, and how asking them went | cache |
//! | `keys/operator` | the key that `init` made when nobody gave one | secret |
//! | `mirrors/` | bare mirrors of the upstreams | cache |
//! | `cache/` | what can be computed again: hashes, modules' files, what the machine provides | cache |
//! | `candidates/` | copies of the workspace for programs that propose | cache |
//! | `roots/` | links that keep verified build results from being collected by Nix | cache |
//! | `daemon.lock` | held by the one daemon or cycle | lock |
//! | `journal.lock` | held while an entry is appended | lock |
//! | `layout` | the version of this table; a newer one is refused | check value |
//! | `torn` | a torn tail that was put aside into `objects/` and is not journalled yet | intent |
//!
//! In the git common directory's `lambda-os/` there may also be `config.toml` (the workspace's
//! configuration), `state-dir` (the pointer to a state directory that a service owns) and `trusted` (the
//! identities of the members document and the policy that were trusted first). The ref
//! `refs/lambda-os/applied` names the newest commit that was applied here: an emptied journal is noticed.
//!
//! # Invariants
//!
//! - Reading starts no process and runs nothing that a repository configures. (`lock` alone may ask
//!   the `nix` program for a source that is not at hand, and never with `--offline`.)
//! - What a module brings runs in a sandbox or in Nix's own, and never decides its own verdict.
//! - Nothing outside the state directory is written by a verb that looks.
//! - An effect is journalled before it happens and after it happened.
//! - Unknown is never healthy, never up to date, never approved.
//! - Nothing is applied that was not approved: by ballots, by the standing authority to heal, which goes
//!   back to a pin that was verified here or nowhere, or within the bounds that the policy states. A change is
//!   derived again where it is applied, and must be the one that was certified. Applying touches the paths of
//!   the pin alone.
//! - Who acts rests on the journal's entries and on signatures, from the first documents on, which are
//!   remembered beside the repository; never on what is cached of them.
//! - Order is the journal's sequence; wall time is information.
//! - Text from outside is shown inert (see [`domain::text`]).

pub mod domain;

pub mod ports;

pub mod ops;

pub mod adapters;

pub mod config;

pub mod sample;

pub mod daemon;

pub mod cli;
