//! A cycle's report as text: one line first, then what it is made of.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::show::{Paint, table};
use super::verify;
use crate::domain::id::ProposalId;
use crate::domain::ladder::Right;
use crate::domain::report::{CycleReport, Findings};
use crate::domain::text;
use crate::domain::upgrade::{Status, Upgrade};

/// The whole report. Times are left out with `timings = false`, for frozen examples.
pub(super) fn text(report: &CycleReport, paint: Paint, timings: bool) -> String {
    let findings = &report.findings;
    let mut shown = format!("{}\n", paint.bold(&headline(findings)));
    drift(&mut shown, report, paint);
    health(&mut shown, findings, paint);
    healing(&mut shown, findings, paint);
    enacting(&mut shown, findings, paint);
    attention(&mut shown, findings, paint);
    open(&mut shown, report, paint);
    over(&mut shown, report, paint);
    not_proposed(&mut shown, findings, paint);
    waiting(&mut shown, findings, paint);
    let _ = writeln!(shown, "\n{}", paint.bold("Not done"));
    for sentence in &findings.not_done {
        let _ = writeln!(shown, "  {}", text::inert(sentence));
    }
    if timings {
        let phases: Vec<String> = report
            .phases
            .iter()
            .map(|phase| format!("{} {}", phase.name, millis(phase.elapsed_us)))
            .collect();
        let total: u64 = report.phases.iter().map(|phase| phase.elapsed_us).sum();
        let line = format!("Cycle {} took {}: {}", report.cycle, millis(total), phases.join(", "));
        let _ = writeln!(shown, "\n{}", paint.faint(&line));
    }
    shown
}

/// What there is, in one line.
pub(super) fn headline(findings: &Findings) -> String {
    let mut parts = vec![format!("{} modules", findings.modules)];
    for status in [
        Status::UpToDate,
        Status::Behind,
        Status::Ahead,
        Status::Diverged,
        Status::Rewritten,
        Status::Unreachable,
        Status::Uninitialised,
        Status::Held,
        Status::NotAllowed,
        Status::Unknown,
    ] {
        let count = findings.count(status);
        if count > 0 {
            parts.push(format!("{count} {}", status.as_str()));
        }
    }
    if !findings.refused.is_empty() {
        parts.push(format!("{} refused", findings.refused.len()));
    }
    if !findings.incoherent.is_empty() {
        parts.push(format!("{} incoherent", findings.incoherent.len()));
    }
    let open = findings.proposals.len();
    let mut line =
        format!("{}; {open} {} open", parts.join(", "), if open == 1 { "proposal" } else { "proposals" });
    if !findings.not_proposed.is_empty() {
        let _ = write!(line, ", {} not proposed", findings.not_proposed.len());
    }
    line
}

fn drift(shown: &mut String, report: &CycleReport, paint: Paint) {
    if report.drift.is_empty() {
        return;
    }
    let _ = writeln!(shown, "\n{}", paint.bold("Changed since the cycle before"));
    let rows: Vec<Vec<String>> = report
        .drift
        .items
        .iter()
        .map(|item| {
            let subject =
                item.module.as_ref().map_or_else(|| "(superproject)".to_owned(), ToString::to_string);
            let change = format!("{} → {}", or_dash(&item.from), or_dash(&item.to));
            vec![format!("  {subject}"), item.what.as_str().to_owned(), change]
        })
        .collect();
    shown.push_str(&table(&rows));
    for sentence in &report.drift.over_limit {
        let _ = writeln!(shown, "  {} {}", paint.warn("over the limit:"), text::inert(sentence));
    }
}

fn or_dash(value: &str) -> String {
    if value.is_empty() { "-".to_owned() } else { text::clipped(&text::inert(value), 60) }
}

/// What verification says, where anything was to be verified: a count of verdicts, and each that is not
/// strong.
fn health(shown: &mut String, findings: &Findings, paint: Paint) {
    if !findings.health.iter().any(|row| row.asked) {
        return;
    }
    let _ = writeln!(shown, "\n{}", paint.bold("Verified"));
    let _ = writeln!(shown, "  {}", verdicts(findings));
    let rows: Vec<Vec<String>> = findings
        .health
        .iter()
        .filter(|row| row.asked && !row.verdict.is_strong())
        .map(|row| {
            let step = row.verdict.step().map_or_else(String::new, |step| format!("{}: ", step.as_str()));
            let said = format!("{step}{}", text::inert(row.verdict.reason().unwrap_or_default()));
            let said = if row.verdict.is_bad() { paint.bad(&said) } else { paint.warn(&said) };
            vec![format!("  {}", row.name), verify::word(&row.verdict).to_owned(), said]
        })
        .collect();
    shown.push_str(&table(&rows));
}

/// How many modules have which verdict, of those that are to be verified.
pub(super) fn verdicts(findings: &Findings) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in findings.health.iter().filter(|row| row.asked) {
        *counts.entry(verify::word(&row.verdict)).or_default() += 1;
    }
    let counted: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    if counted.is_empty() { "nothing is verified".to_owned() } else { counted.join(", ") }
}

/// What was taken back, and why what is bad was left.
fn healing(shown: &mut String, findings: &Findings, paint: Paint) {
    let heal = &findings.heal;
    if !heal.healed.is_empty() {
        let _ = writeln!(shown, "\n{}", paint.bold("Healed"));
        for healed in &heal.healed {
            let _ = writeln!(
                shown,
                "  {}  {} → {}, which was verified before and is again",
                healed.module,
                healed.from.short(),
                healed.to.short()
            );
            for note in &healed.notes {
                let _ = writeln!(shown, "    {}", paint.warn(&format!("note: {}", text::inert(note))));
            }
        }
    }
    if let Some(stopped) = &heal.stopped {
        let line = format!(
            "{} modules are bad at once, and at most {} are taken back: this machine is broken, not they",
            stopped.bad, stopped.limit
        );
        let _ = writeln!(shown, "\n{}\n  {}", paint.bold("Healing stopped"), paint.bad(&line));
    }
    let rows: Vec<Vec<String>> = heal
        .not_healed
        .iter()
        .map(|row| vec![format!("  {}", row.module), paint.bad(&text::inert(&row.reason.to_string()))])
        .collect();
    if !rows.is_empty() {
        let _ = writeln!(shown, "\n{}", paint.bold("Not healed"));
        shown.push_str(&table(&rows));
    }
}

/// What was enacted without a person, and what may be and waits.
fn enacting(shown: &mut String, findings: &Findings, paint: Paint) {
    if findings.enactments.is_empty() {
        return;
    }
    let _ = writeln!(shown, "\n{}", paint.bold("Enacted by itself, or waiting for it"));
    let rows: Vec<Vec<String>> = findings
        .enactments
        .iter()
        .map(|row| {
            let right = match row.right {
                Right::Ballots => "approved",
                Right::Bounds => "within bounds",
            };
            let said = match (&row.waits, row.commit) {
                (Some(why), _) => paint.warn(&format!("waits: {}", text::inert(why))),
                (None, Some(commit)) => format!("is commit {}", commit.short()),
                (None, None) => "is done".to_owned(),
            };
            vec![format!("  {}", row.id.short()), right.to_owned(), said]
        })
        .collect();
    shown.push_str(&table(&rows));
}

fn attention(shown: &mut String, findings: &Findings, paint: Paint) {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for refused in &findings.refused {
        rows.push(vec![
            format!("  {}", text::inert(&refused.subject)),
            "refused".to_owned(),
            paint.bad(&text::inert(&refused.reason)),
        ]);
    }
    for (module, problem) in &findings.problems {
        rows.push(vec![format!("  {module}"), "unreadable".to_owned(), paint.bad(&text::inert(problem))]);
    }
    for upgrade in findings.upgrades.iter().filter(|upgrade| upgrade.status.needs_attention()) {
        rows.push(vec![
            format!("  {}", upgrade.name),
            upgrade.status.as_str().to_owned(),
            paint.warn(&text::inert(&upgrade.reason)),
        ]);
    }
    for check in &findings.incoherent {
        rows.push(vec![
            format!("  {}", check.module),
            "incoherent".to_owned(),
            paint.warn(&text::inert(&check.sentence)),
        ]);
    }
    if !rows.is_empty() {
        let _ = writeln!(shown, "\n{}", paint.bold("Needs attention"));
        shown.push_str(&table(&rows));
    }
}

fn open(shown: &mut String, report: &CycleReport, paint: Paint) {
    let findings = &report.findings;
    if findings.proposals.is_empty() {
        return;
    }
    let _ = writeln!(shown, "\n{}", paint.bold("Open proposals"));
    let mut rows = Vec::new();
    for proposal in &findings.proposals {
        for (index, pin) in proposal.pins.iter().enumerate() {
            let id = if index == 0 { proposal.id.short() } else { "  with it".to_owned() };
            let mut about = vec![if pin.from == pin.to {
                format!("{} in all its places", pin.to.short())
            } else {
                format!("{} → {}", pin.from.short(), pin.to.short())
            }];
            if let Some(upgrade) = findings.upgrades.iter().find(|upgrade| upgrade.name == pin.module) {
                about.extend(commits(upgrade).filter(|_| pin.from != pin.to));
            }
            if index == 0 {
                about.push(proposal.track.as_str().to_owned());
                about.extend(news(report, &proposal.id));
            }
            rows.push(vec![format!("  {id}"), pin.module.to_string(), about.join("  ")]);
        }
    }
    shown.push_str(&table(&rows));
}

/// What this cycle did with an open proposal.
fn news(report: &CycleReport, id: &ProposalId) -> Option<String> {
    let changes = &report.proposal_changes;
    if let Some(made) = changes.made.iter().find(|made| made.id == *id) {
        let old = made.supersedes.map(|old| format!(", in the place of {}", old.short()));
        return Some(format!("new{}", old.unwrap_or_default()));
    }
    changes.derived.contains(id).then(|| "the same on the superproject as it is now".to_owned())
}

fn over(shown: &mut String, report: &CycleReport, paint: Paint) {
    let rows: Vec<Vec<String>> = report
        .proposal_changes
        .closed
        .iter()
        .map(|closed| {
            let (id, outcome) = (format!("  {}", closed.id.short()), closed.outcome.as_str().to_owned());
            vec![id, outcome, text::inert(&closed.reason)]
        })
        .collect();
    if !rows.is_empty() {
        let _ = writeln!(shown, "\n{}", paint.bold("Proposals that are over"));
        shown.push_str(&table(&rows));
    }
}

fn not_proposed(shown: &mut String, findings: &Findings, paint: Paint) {
    let rows: Vec<Vec<String>> = findings
        .not_proposed
        .iter()
        .map(|row| {
            let names: Vec<&str> = row.pins.iter().map(|pin| pin.module.as_str()).collect();
            vec![format!("  {}", names.join(", ")), paint.warn(&text::inert(&row.reason))]
        })
        .collect();
    if !rows.is_empty() {
        let _ = writeln!(shown, "\n{}", paint.bold("Not proposed"));
        shown.push_str(&table(&rows));
    }
}

fn commits(upgrade: &Upgrade) -> Option<String> {
    upgrade.behind.map(|count| if count == 1 { "1 commit".to_owned() } else { format!("{count} commits") })
}

fn waiting(shown: &mut String, findings: &Findings, paint: Paint) {
    let rows: Vec<Vec<String>> = findings
        .plan
        .waiting
        .iter()
        .filter(|waiting| !waiting.settled)
        .map(|waiting| vec![format!("  {}", waiting.module), text::inert(&waiting.reason)])
        .collect();
    if !rows.is_empty() {
        let _ = writeln!(shown, "\n{}", paint.bold("Waiting"));
        shown.push_str(&table(&rows));
    }
}

/// Microseconds as milliseconds with one digit.
fn millis(elapsed_us: u64) -> String {
    format!("{}.{} ms", elapsed_us / 1000, elapsed_us % 1000 / 100)
}
