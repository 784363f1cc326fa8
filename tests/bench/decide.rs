//! One decision of a program: the example `soak` on a proposal as it is every day, and on one as large
//! as they come; beside them what reading the same input natively costs, and a run that uses all its fuel.
//!
//! `cargo bench --bench decide`. A decision is to take 10 ms at most; what is as large
//! as they come takes more, and is bounded by its fuel.
#![expect(clippy::disallowed_methods, reason = "a benchmark builds the example with cargo")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

#[path = "../support/programs.rs"]
mod built;

use std::hint::black_box;
use std::time::Instant;

use lambda_os::adapters::wasm::Interpreter;
use lambda_os::domain::canonical;
use lambda_os::domain::governance::program::decide;
use lambda_os::domain::id::Cid;
use serde_json::{Value, json};

/// An input with so many of each.
fn input(pins: usize, findings: usize, principals: usize) -> Vec<u8> {
    let id = |at: usize| Cid::of(&at.to_be_bytes()).to_string();
    let many = |count: usize, one: &dyn Fn(usize) -> Value| (0..count).map(one).collect::<Vec<_>>();
    let value = json!({
        "v": 1, "proposal_id": id(0), "policy": id(1), "purpose": "upgrade", "verified": true,
        "base": "11".repeat(20), "tree": "22".repeat(20),
        "proposal": {"change": id(2), "expires_ms": 1, "members_epoch": 1, "track": "core", "v": 1},
        "delta": {"v": 1, "workspace": id(3), "edits": many(pins, &|at| json!({
            "at": [format!("module-{at}")], "place": "flake-lock", "old": "x".repeat(300), "new": "y".repeat(300)})),
            "pins": many(pins, &|at| json!({
            "module": format!("module-{at}"), "path": format!("repos/module-{at}"),
            "from": {"commit": "33".repeat(20), "nar": format!("sha256-{}", id(at))},
            "to": {"commit": "44".repeat(20), "nar": format!("sha256-{}", id(at))}}))},
        "claims": {"v": 1, "tree": "22".repeat(20), "unverified": [], "claims": many(pins, &|at| json!({
            "module": format!("module-{at}"), "key": id(at), "verdict": "healthy", "evidence": id(at)}))},
        "findings": many(findings, &|at| json!({
            "rule": "minimum-age", "severity": "warn", "module": format!("module-{at}"), "path": null,
            "message": "it was seen here for the first time three days ago", "hint": null})),
        "members": {"v": 2, "epoch": 1, "principals": many(principals, &|at| json!({
            "name": format!("person-{at}"), "roles": ["core"], "keys": [format!("ssh-ed25519 {}", id(at))]}))},
        "ballots": many(principals, &|at| json!({
            "voter": format!("person-{at}"), "choice": "approve", "seq": 1, "key": format!("SHA256:{}", id(at))})),
        "time": {"now_ms": 1_800_000_000_000_i64, "open_ms": 90_000_000},
    });
    canonical::to_canonical(&value).expect("it has a form")
}

/// Milliseconds, the median of these runs.
fn median(runs: usize, mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let Some(module) = built::program("soak") else { return };
    println!(
        "{:>8} {:>9} {:>12} {:>12} {:>11} {:>7}",
        "pins", "KiB", "fuel", "decision ms", "native ms", "ratio"
    );
    for (pins, findings, principals) in [(1, 2, 3), (20, 50, 10), (150, 1000, 100)] {
        let input = input(pins, findings, principals);
        let (decision, _) = decide(&Interpreter, &module, &input);
        assert_eq!(decision.verdict.as_str(), "approve", "{}", decision.reason);
        let ours = median(31, || drop(black_box(decide(&Interpreter, &module, black_box(&input)))));
        let native = median(31, || drop(black_box(canonical::parse_canonical(black_box(&input)))));
        let (kib, ratio) = (input.len() / 1024, ours / native);
        println!("{pins:>8} {kib:>9} {:>12} {ours:>12.2} {native:>11.2} {ratio:>7.1}", decision.fuel);
    }
    let endless =
        wat::parse_str("(module (memory (export \"memory\") 1) (func (export \"decide\") (loop (br 0))))");
    let endless = endless.expect("it is WebAssembly");
    let ended = median(3, || drop(black_box(decide(&Interpreter, &endless, b"{}"))));
    println!("a run that uses all its fuel ends after {ended:.0} ms");
}
