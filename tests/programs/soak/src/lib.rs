//! Decides alone: what was verified, moves pins only, troubles no rule, and has been open for a day
//! without anybody against it is approved. Everything else waits.
//!
//! The members document names it as the program of a track.

use decision::{Answer, Value, approve, reject, wait};

decision::program!(decide);

/// How long a proposal must have been open, milliseconds of checked time.
const SOAK_MS: i64 = 24 * 60 * 60 * 1000;

fn decide(input: &Value<'_>) -> Answer {
    for ballot in input["ballots"].list() {
        let choice = ballot["choice"].text();
        if choice == "reject" || choice == "veto" {
            return reject([ballot["voter"].text(), " is against it"].concat());
        }
    }
    let delta = &input["delta"];
    if !delta["files"].list().is_empty()
        || delta["document"] != Value::Null
        || delta["pins"].list().is_empty()
    {
        return wait("it does more than to move pins: people look at that");
    }
    let Value::List(findings) = &input["findings"] else {
        return wait("the policy's rules have not looked at it yet");
    };
    if let Some(finding) = findings.iter().find(|finding| finding["severity"].text() != "warn") {
        return wait(["the rule ", finding["rule"].text(), " has something to say"].concat());
    }
    if input["verified"] != Value::True {
        return wait("it is not verified on this base");
    }
    let claims = &input["claims"];
    if !claims["unverified"].list().is_empty() {
        return wait("some of what it changes is not verified");
    }
    if let Some(claim) = claims["claims"].list().iter().find(|claim| claim["verdict"].text() != "healthy") {
        return wait([claim["module"].text(), " is not healthy"].concat());
    }
    if input["time"]["open_ms"].integer() < SOAK_MS {
        return wait("it has not been open for a day");
    }
    approve("verified, and open for a day without anybody against it")
}
