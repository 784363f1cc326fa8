//! What a run showed, in the supervisor's words.
//!
//! In: what the script said, how the sandbox ended, and the signs seen from outside. Out: an
//! [`Outcome`]. Exit codes, sockets and a daemon's answers decide; the log only words the reason. What
//! goes wrong before anything of the module is run is the machine's or another module's, and unknown.

use serde_json::Value;

use super::plan::{Plan, Role};
use super::script::{Became, Said};
use crate::domain::health::evidence::{Exit, Lasting, Outcome};
use crate::domain::text;

/// What was seen of a module from outside its sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Sign {
    /// Nothing.
    #[default]
    None,
    /// It lived on and waited for events.
    Waits,
    /// It lived on, and this machine does not say what it did.
    NotSeen,
    /// Its socket accepted connections, and still did after the settling time.
    Registered,
}

/// How the run ended.
pub(super) struct Ended<'a> {
    /// How the sandbox ended.
    pub(super) exit: &'a Exit,
    /// What the script said.
    pub(super) said: &'a [Said],
    /// What the host and the module wrote.
    pub(super) log: &'a [u8],
    /// What was seen from outside.
    pub(super) sign: &'a Sign,
}

/// What the run of a plan showed of the module.
pub(super) fn outcome(plan: &Plan, module: &str, ended: &Ended<'_>) -> Outcome {
    for said in ended.said {
        let Some(role) = plan.roles.get(said.step) else { continue };
        if let Some(outcome) = of_step(plan, module, ended, said, role) {
            return outcome;
        }
    }
    // What the last step that spoke still does is not over.
    let at = ended.said.iter().map(|said| said.step + usize::from(!matches!(said.became, Became::Does(_))));
    let at = at.max().unwrap_or(0);
    match ended.exit {
        Exit::Stopped if plan.by_socket => by_sign(ended.sign),
        Exit::Code(0) if !plan.by_socket && at == plan.roles.len() => Outcome::Passed { weak: None },
        Exit::NotRun => unknown("the sandbox did not run it".to_owned()),
        Exit::Deadline => late(plan, at, ended.sign),
        Exit::Bound(which) => match plan.roles.get(at) {
            Some(role) if began(plan, at) => failed(format!("it went over a bound: {which}{}", after(role))),
            _ => unknown(format!("a bound was reached before the module was loaded: {which}")),
        },
        exit if began(plan, at) => failed(format!("its sandbox ended {}", shown(exit))),
        exit => unknown(format!(
            "its sandbox ended {} before the module was loaded{}",
            shown(exit),
            worded(ended.log)
        )),
    }
}

/// Why an answered call says little.
const UNSEEN: &str = "its call was answered, and its socket was not seen for long enough";

/// True when the step with this number is reached only once the module's own code may run.
fn began(plan: &Plan, at: usize) -> bool {
    let first = plan.roles.iter().position(|role| matches!(role, Role::Host | Role::Load));
    first.is_some_and(|first| at >= first)
}

/// What one step says; `None` when all went as it should.
fn of_step(plan: &Plan, module: &str, ended: &Ended<'_>, said: &Said, role: &Role) -> Option<Outcome> {
    match &said.became {
        Became::Done | Became::Does(_) => None,
        Became::Cannot(why) => Some(unknown(format!("it could not be run: {why}"))),
        Became::TooLate => Some(match role {
            Role::Needed(name) => unknown(format!("needs {name}, which did not register")),
            Role::Load | Role::Listed | Role::Call | Role::Alive | Role::Host => {
                Outcome::TimedOut { reason: format!("the host gave no answer{}", after(role)) }
            }
            Role::Daemon | Role::Ready | Role::Prepare => {
                unknown(format!("the host's daemon did not answer{}", worded(ended.log)))
            }
        }),
        Became::Ended { started, code, signal } => {
            let how = how(*code, *signal);
            Some(match plan.roles.get(*started) {
                // The host is not the module's own process here: its exit code is its answer.
                Some(Role::Host) if plan.ends && *code == Some(0) => {
                    Outcome::Passed { weak: (*ended.sign != Sign::Registered).then(|| UNSEEN.to_owned()) }
                }
                Some(Role::Host) => failed(format!("the host ended {how}{}", worded(ended.log))),
                Some(Role::Needed(name)) if !began(plan, said.step) => {
                    unknown(format!("needs {name}, whose host ended {how}{}", worded(ended.log)))
                }
                Some(Role::Needed(name)) => failed(format!("{name}, which it needs, ended {how}")),
                _ if began(plan, said.step) => {
                    failed(format!("the host's daemon ended {how}{}{}", after(role), worded(ended.log)))
                }
                _ => unknown(format!("the host's daemon ended {how}{}", worded(ended.log))),
            })
        }
        Became::Ran { code, signal, stdout, stderr } => {
            let answer = Answer { code: *code, signal: *signal, stdout, stderr };
            answered(role, module, &answer, ended.log)
        }
    }
}

/// An answer of a client.
struct Answer<'a> {
    code: Option<i32>,
    signal: Option<i32>,
    stdout: &'a str,
    stderr: &'a str,
}

fn answered(role: &Role, module: &str, answer: &Answer<'_>, log: &[u8]) -> Option<Outcome> {
    let parsed: Option<Value> = serde_json::from_str(answer.stdout.trim()).ok();
    let field = |key: &str| parsed.as_ref().and_then(|value| value.get(key)).and_then(Value::as_str);
    let is_error = answer.code != Some(0) || field("status") == Some("error");
    if !is_error {
        return match role {
            Role::Listed => listed(module, parsed.as_ref()),
            _ => None,
        };
    }
    let how = how(answer.code, answer.signal);
    let code = field("code").filter(|code| !code.is_empty());
    let said = match (code, field("message")) {
        (Some(code), Some(message)) => format!("{}: {}", text::word(code), clipped(message)),
        (Some(code), None) => text::word(code),
        (None, _) => format!("it ended {how}{}", worded(answer.stderr.as_bytes())),
    };
    Some(match role {
        Role::Needed(name) => unknown(format!("needs {name}, which does not load: {said}")),
        Role::Ready | Role::Daemon | Role::Prepare => {
            unknown(format!("the host's daemon did not start: {said}{}", worded(log)))
        }
        Role::Load | Role::Call | Role::Listed | Role::Alive | Role::Host => match code {
            Some("TIMEOUT") => {
                Outcome::TimedOut { reason: format!("the host answered {said}{}", after(role)) }
            }
            // It says nothing of the module that the client is not let in, or speaks otherwise.
            Some("AUTH_FAILED" | "INVALID_ARGS") => unknown(format!("the host answered {said}")),
            Some("NO_DAEMON" | "DAEMON_UNREACHABLE") => {
                failed(format!("the host's daemon was gone{}: {said}{}", after(role), worded(log)))
            }
            Some(_) => failed(format!("the host answered {said}{}", after(role))),
            None if answer.code == Some(2) => {
                failed(format!("the host's daemon was gone{}{}", after(role), worded(log)))
            }
            None => failed(format!("the host refused{}: {said}", after(role))),
        },
    })
}

/// What a list of modules says of this one.
fn listed(module: &str, answer: Option<&Value>) -> Option<Outcome> {
    let rows = answer.and_then(|value| match value {
        Value::Array(rows) => Some(rows),
        other => ["modules", "loaded", "data"].iter().find_map(|key| other.get(*key)?.as_array()),
    });
    let Some(rows) = rows else {
        return Some(unknown("the host's list of modules could not be read".to_owned()));
    };
    let named = |row: &&Value| row.get("name").or(Some(*row)).and_then(Value::as_str) == Some(module);
    let Some(row) = rows.iter().find(named) else {
        return Some(failed("the host does not list it among what is loaded".to_owned()));
    };
    match row.get("status").and_then(Value::as_str) {
        Some("loaded") => None,
        // A list of names of what is loaded.
        None if row.is_string() => None,
        Some(status) => Some(failed(format!("the host lists it as {}", text::word(status)))),
        None => Some(unknown("the host's list does not say whether it is loaded".to_owned())),
    }
}

fn by_sign(sign: &Sign) -> Outcome {
    match sign {
        Sign::Registered => Outcome::Passed { weak: None },
        Sign::Waits => {
            let weak = "it stays up and waits for events, and registered no socket";
            Outcome::Passed { weak: Some(weak.to_owned()) }
        }
        Sign::NotSeen | Sign::None => {
            unknown("it stays up without a socket, and what it does cannot be seen here".to_owned())
        }
    }
}

fn late(plan: &Plan, at: usize, sign: &Sign) -> Outcome {
    if !began(plan, at) {
        return unknown("the time was over before the module was loaded".to_owned());
    }
    if plan.by_socket && *sign == Sign::NotSeen {
        return by_sign(sign);
    }
    if plan.ends && *sign == Sign::Registered {
        return Outcome::TimedOut { reason: "the call to it was not answered".to_owned() };
    }
    let reason = match plan.roles.get(at) {
        Some(Role::Host) | None => "it registered no socket and did not wait for events".to_owned(),
        Some(role) => format!("the host gave no answer{}", after(role)),
    };
    Outcome::TimedOut { reason }
}

/// When it was, for a sentence.
fn after(role: &Role) -> &'static str {
    match role {
        Role::Load => " when it was told to load it",
        Role::Call => " when the module was called",
        Role::Listed | Role::Alive => " after it was loaded",
        Role::Prepare | Role::Daemon | Role::Ready | Role::Needed(_) | Role::Host => "",
    }
}

fn unknown(reason: String) -> Outcome {
    Outcome::Unknown { reason }
}

/// A failure that was run: chance or the machine may have had a part in it.
pub(super) fn failed(reason: String) -> Outcome {
    Outcome::Failed { reason, lasting: Lasting::Transient }
}

fn how(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (Some(0), _) => "by itself, with exit code 0".to_owned(),
        (Some(code), _) => format!("with exit code {code}"),
        (None, Some(signal)) => format!("by signal {signal}"),
        (None, None) => "without an exit code".to_owned(),
    }
}

fn shown(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => how(Some(*code), None),
        Exit::Signal(signal) => how(None, Some(*signal)),
        Exit::Deadline => "at its deadline".to_owned(),
        Exit::Bound(which) => format!("over a bound: {which}"),
        Exit::Stopped => "because it was stopped".to_owned(),
        Exit::NotRun => "before it ran".to_owned(),
    }
}

/// The line of a log that says most about why, as the end of a sentence; nothing for an empty log.
fn worded(log: &[u8]) -> String {
    const TELLING: [&str; 8] = [
        "FATAL:",
        "Refusing module",
        "Module does not implement",
        "Failed to register",
        "Failed to load module",
        "token",
        "rror",
        "annot",
    ];
    let log = String::from_utf8_lossy(&log[log.len().saturating_sub(64 << 10)..]).into_owned();
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = TELLING.iter().find_map(|mark| lines().find(|line| line.contains(mark)));
    line.or_else(|| lines().next_back()).map_or_else(String::new, |line| format!(": {}", clipped(line)))
}

fn clipped(said: &str) -> String {
    text::clipped(&text::inert(said), 200)
}

#[cfg(test)]
mod tests;
