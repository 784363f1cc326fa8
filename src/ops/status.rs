//! How things are: from the journal's state and the newest cycle's findings to what needs
//! attention, each with its cause and the next step. Pure.
//!
//! It says what the last cycle saw and how long ago that was; it does not look again. Without a
//! cycle, or after one that failed, nothing is known, and that is never called fine.

use serde::Serialize;

use crate::domain::heal::HealEnd;
use crate::domain::module::RefusedModule;
use crate::domain::proposal::Stage;
use crate::domain::report::Findings;
use crate::domain::state::State;
use crate::domain::upgrade::{self, Upgrade};

/// What there is to judge.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What the journal adds up to, with the configuration's holds.
    pub state: &'a State,
    /// What the newest cycle found; `None` when there is none to read.
    pub findings: Option<&'a Findings>,
    /// Whether a process runs cycles now.
    pub running: bool,
    /// Wall time, Unix milliseconds.
    pub now_ms: i64,
    /// A look that is older than this is old, milliseconds.
    pub stale_after_ms: i64,
}

/// Something that needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attention {
    /// A module's name, or `cycle`.
    pub subject: String,
    /// What it is, one word: a status, `refused`, `unreadable`, `incoherent`, `failed`, `old`, ….
    pub what: String,
    /// Why, as a clause without a final stop.
    pub cause: String,
    /// The next command or step.
    pub next: String,
}

/// How old the newest look is, in milliseconds; `None` when there was none. A cycle that failed
/// looked at nothing: it makes nothing younger. A clock that went back gives 0.
#[must_use]
pub fn age_ms(known: &Known<'_>) -> Option<i64> {
    known.state.last_look.as_ref().map(|cycle| known.now_ms.saturating_sub(cycle.finished_wall_ms).max(0))
}

/// What needs attention: the cycle itself first, then modules in the order of the findings.
#[must_use]
pub fn attention(known: &Known<'_>) -> Vec<Attention> {
    let mut all = Vec::new();
    cycle(known, &mut all);
    stopped(known, &mut all);
    applications(known, &mut all);
    heals(known, &mut all);
    if let Some(findings) = known.findings {
        modules(findings, &mut all);
    }
    all
}

/// True when a module or the cycle is in trouble, or nothing is known.
#[must_use]
pub fn is_degraded(known: &Known<'_>) -> bool {
    let mut urgent = Vec::new();
    cycle(known, &mut urgent);
    applications(known, &mut urgent);
    !urgent.is_empty() || known.findings.is_none_or(Findings::is_degraded)
}

fn say(
    all: &mut Vec<Attention>,
    subject: &str,
    what: &str,
    cause: impl Into<String>,
    next: impl Into<String>,
) {
    all.push(Attention {
        subject: subject.to_owned(),
        what: what.to_owned(),
        cause: cause.into(),
        next: next.into(),
    });
}

fn cycle(known: &Known<'_>, all: &mut Vec<Attention>) {
    let look = "lambda-os run --once";
    if let Some(open) = known.state.open_cycle
        && !known.running
    {
        say(
            all,
            "cycle",
            "interrupted",
            format!("cycle {open} began and never ended, and nothing runs now"),
            look,
        );
    }
    let Some(last) = &known.state.last_cycle else {
        if !known.running {
            say(all, "cycle", "never", "no cycle has looked at this workspace yet", look);
        }
        return;
    };
    if last.outcome != "ok" {
        let cause = format!("cycle {} ended as {}", last.started, last.outcome);
        say(all, "cycle", &last.outcome, cause, "lambda-os audit log says why; then lambda-os run --once");
    } else if known.findings.is_none() {
        let cause = format!("the report of cycle {} is not in the state directory", last.started);
        say(all, "cycle", "unreadable", cause, look);
    }
    if let Some(age) = age_ms(known).filter(|age| *age > known.stale_after_ms) {
        let next = if known.running { "see what holds it: lambda-os audit log" } else { look };
        say(all, "cycle", "old", format!("the last look is {} old", span(age)), next);
    }
}

/// Everything is held.
fn stopped(known: &Known<'_>, all: &mut Vec<Attention>) {
    if let Some(reason) = &known.state.stopped {
        let cause = format!("nothing is enacted, healed or applied: {reason}");
        say(all, "everything", "held", cause, "lambda-os unhold --all lets go");
    }
}

/// Applications that neither ended nor can end by themselves.
fn applications(known: &Known<'_>, all: &mut Vec<Attention>) {
    if let Some(open) = &known.state.open_apply
        && !known.running
    {
        let cause = format!("applying it to {} began and its end is not known", open.reference);
        let next = "lambda-os run --once finishes or undoes it";
        say(all, &open.proposal.short(), "interrupted", cause, next);
    }
    for (id, record) in &known.state.proposals {
        if let Stage::Stuck { reason } = &record.stage {
            let next = format!("lambda-os proposal show {0}, and git log -2", id.short());
            say(all, &id.short(), "stuck", reason, next);
        }
    }
}

/// Modules that were taken back, until a person lets go of them; and why what is bad was left.
fn heals(known: &Known<'_>, all: &mut Vec<Attention>) {
    let heals = &known.state.heals;
    for tried in heals.newest() {
        let (module, heal) = (&tried.heal.module, &tried.heal);
        if tried.end != HealEnd::Healed || !heals.is_bad(module, heal.from) {
            continue;
        }
        let frozen =
            if heals.is_frozen(module) { ", and the module is frozen after the second time" } else { "" };
        let cause = format!(
            "it was taken back from {} to {}, which passes{frozen}; the evidence is {}",
            heal.from.short(),
            heal.to.short(),
            heal.bad
        );
        let next =
            format!("lambda-os audit show {}; when it is understood, lambda-os unhold {module}", tried.seq);
        say(all, module.as_str(), "healed", cause, next);
    }
    let Some(findings) = known.findings else { return };
    if let Some(stopped) = &findings.heal.stopped {
        let cause = format!("{} modules are bad at once: this machine is broken, not they", stopped.bad);
        say(all, "healing", "stopped", cause, "lambda-os doctor; then lambda-os verify --again");
    }
    for row in &findings.heal.not_healed {
        let next = format!("lambda-os proposal list; lambda-os verify --again {}", row.module);
        say(all, row.module.as_str(), "not-healed", row.reason.to_string(), next);
    }
}

fn modules(findings: &Findings, all: &mut Vec<Attention>) {
    for RefusedModule { subject, reason } in &findings.refused {
        say(all, subject, "refused", reason, "mend its section of .gitmodules; the other modules go on");
    }
    for (module, problem) in &findings.problems {
        say(
            all,
            module.as_str(),
            "unreadable",
            problem,
            format!("lambda-os snapshot, and git status in {module}"),
        );
    }
    for upgrade in findings.upgrades.iter().filter(|upgrade| upgrade.status.needs_attention()) {
        say(all, upgrade.name.as_str(), upgrade.status.as_str(), &upgrade.reason, next_for(upgrade));
    }
    for row in findings.health.iter().filter(|row| row.needs_attention()) {
        let step = row.verdict.step().map_or_else(String::new, |step| format!("{}: ", step.as_str()));
        let cause = format!("{step}{}", row.verdict.reason().unwrap_or("no reason was given"));
        let next = match &row.evidence {
            Some(evidence) => format!("lambda-os audit show {evidence}"),
            None => "lambda-os doctor, and lambda-os config check".to_owned(),
        };
        say(all, row.name.as_str(), row.verdict.as_str(), cause, next);
    }
    for check in &findings.incoherent {
        let next = format!("lambda-os pin check {}", check.module);
        say(all, check.module.as_str(), "incoherent", &check.sentence, next);
    }
}

fn next_for(module: &Upgrade) -> String {
    let name = &module.name;
    match module.status {
        upgrade::Status::Rewritten => {
            format!("look at upstream's history; accept it with: lambda-os unhold {name}")
        }
        upgrade::Status::Diverged => format!("publish or drop the module's own commits in {}", module.path),
        upgrade::Status::Unreachable => {
            "it is asked again in the next cycle; check the network and your access".to_owned()
        }
        upgrade::Status::NotAllowed => {
            format!("name an allowed location: [modules.\"{name}\"] url in the configuration")
        }
        _ => format!("lambda-os plan {name}"),
    }
}

/// A span of time for people, in its largest unit: `5 s`, `12 min`, `3 h`, `2 days`.
#[must_use]
pub fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Event;
    use crate::domain::heal::HealReport;
    use crate::domain::id::{ChangeId, Cid, ModuleName, ObjectId, ProposalId, RepoPath};
    use crate::domain::plan::Plan;
    use crate::domain::proposal::{Purpose, Track};
    use crate::domain::state::LastCycle;
    use crate::domain::upgrade::Status;

    const NOW: i64 = 1_800_000_000_000;
    const DAY: i64 = 86_400_000;

    fn ended(outcome: &str, ago_ms: i64) -> State {
        let last = LastCycle {
            started: 4,
            finished_wall_ms: NOW - ago_ms,
            outcome: outcome.to_owned(),
            report: Some(Cid::of(b"")),
        };
        let last_look = last.report.is_some().then(|| last.clone());
        State { last_cycle: Some(last), last_look, ..State::default() }
    }

    fn found(status: Status) -> Findings {
        let upgrade = Upgrade {
            name: ModuleName::new("m"),
            path: RepoPath::from("libs/m"),
            status,
            behind: None,
            ahead: None,
            from: None,
            to: None,
            branch: None,
            reason: "because".to_owned(),
        };
        Findings {
            snapshot: Cid::of(b""),
            modules: 1,
            refused: Vec::new(),
            problems: std::collections::BTreeMap::new(),
            upgrades: vec![upgrade],
            cycles: Vec::new(),
            incoherent: Vec::new(),
            plan: Plan::default(),
            proposals: Vec::new(),
            not_proposed: Vec::new(),
            enactments: Vec::new(),
            health: Vec::new(),
            heal: HealReport::default(),
            verified_how: None,
            not_done: Vec::new(),
        }
    }

    fn said(state: &State, findings: Option<&Findings>, running: bool) -> (Vec<String>, bool) {
        let known = Known { state, findings, running, now_ms: NOW, stale_after_ms: DAY };
        let said =
            attention(&known).into_iter().map(|item| format!("{} {}", item.subject, item.what)).collect();
        (said, is_degraded(&known))
    }

    #[test]
    fn a_good_and_recent_cycle_needs_no_attention() {
        let fine = found(Status::UpToDate);
        assert_eq!(said(&ended("ok", 5000), Some(&fine), false), (vec![], false));
        assert_eq!(said(&ended("ok", -5000), Some(&fine), false), (vec![], false), "the clock went back");
    }

    #[test]
    fn nothing_known_is_never_fine() {
        assert_eq!(said(&State::default(), None, false), (vec!["cycle never".to_owned()], true));
        assert_eq!(said(&State::default(), None, true), (vec![], true), "the first cycle is under way");
        assert_eq!(said(&ended("failed", 0), None, false), (vec!["cycle failed".to_owned()], true));
        assert_eq!(said(&ended("ok", 0), None, false), (vec!["cycle unreadable".to_owned()], true));
    }

    #[test]
    fn a_cycle_that_never_ended_is_said_unless_it_runs() {
        let fine = found(Status::UpToDate);
        let state = State { open_cycle: Some(9), ..ended("ok", 0) };
        assert_eq!(said(&state, Some(&fine), false), (vec!["cycle interrupted".to_owned()], true));
        assert_eq!(said(&state, Some(&fine), true), (vec![], false));
    }

    #[test]
    fn a_cycle_that_failed_makes_the_last_look_no_younger() {
        let mut state = State::default();
        let ended = |started, outcome: &str, report| Event::CycleFinished {
            started,
            outcome: outcome.to_owned(),
            report,
            reason: None,
            phases_us: Vec::new(),
        };
        state.apply(2, NOW - 3 * DAY, &ended(1, "ok", Some(Cid::of(b"seen"))));
        state.apply(4, NOW - 1000, &ended(3, "interrupted", None));
        assert_eq!(state.last_look.as_ref().and_then(|look| look.report), Some(Cid::of(b"seen")));
        let fine = found(Status::UpToDate);
        let expect = vec!["cycle interrupted".to_owned(), "cycle old".to_owned()];
        assert_eq!(said(&state, Some(&fine), false), (expect, true));
    }

    #[test]
    fn an_application_without_an_end_is_said_unless_it_runs_and_a_stuck_one_always() {
        let fine = found(Status::UpToDate);
        let proposal = ProposalId(Cid::of(b"proposal"));
        let commit = |byte| ObjectId::from_bytes(&[byte; 20]).unwrap();
        let mut state = ended("ok", 0);
        let made = Event::ProposalMade {
            proposal,
            change: ChangeId(Cid::of(b"change")),
            purpose: Purpose::Upgrade,
            track: Track::Leaf,
            pins: Vec::new(),
            base: commit(1),
            tree: commit(2),
            supersedes: None,
            expires_ms: NOW,
            notes: Vec::new(),
        };
        let began = Event::ApplyStarted {
            proposal,
            certificate: Cid::of(b"certificate"),
            reference: "refs/heads/main".to_owned(),
            expected: commit(1),
            target: commit(3),
        };
        let stuck = Event::ApplyFinished {
            proposal,
            started: 12,
            outcome: "stuck".to_owned(),
            commit: None,
            notes: vec!["main is elsewhere".to_owned()],
        };
        state.apply(11, NOW, &made);
        assert_eq!(said(&state, Some(&fine), false), (vec![], false), "an open proposal is no trouble");
        state.apply(12, NOW, &began);
        let id = proposal.short();
        assert_eq!(said(&state, Some(&fine), false), (vec![format!("{id} interrupted")], true));
        assert_eq!(said(&state, Some(&fine), true), (vec![], false));
        state.apply(13, NOW, &stuck);
        assert_eq!(said(&state, Some(&fine), true), (vec![format!("{id} stuck")], true));
    }

    #[test]
    fn an_old_look_is_said() {
        let fine = found(Status::UpToDate);
        assert_eq!(said(&ended("ok", 3 * DAY), Some(&fine), false), (vec!["cycle old".to_owned()], true));
    }

    #[test]
    fn a_module_in_trouble_is_said_and_one_that_is_behind_is_not() {
        assert_eq!(
            said(&ended("ok", 0), Some(&found(Status::Rewritten)), false),
            (vec!["m rewritten".to_owned()], true)
        );
        assert_eq!(said(&ended("ok", 0), Some(&found(Status::Behind)), false), (vec![], false));
    }
}
