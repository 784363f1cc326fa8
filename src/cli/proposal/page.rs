//! A proposal as one page of text. Everything from outside is inert, everything long is bounded.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::list;
use super::show::{Shown, Upstream};
use crate::cli::policy::check;
use crate::cli::show::{self, Paint};
use crate::domain::change::{Edit, FileDelta, PinDelta};
use crate::domain::governance::tally::{Counted, Narrower, TallyState};
use crate::domain::history::{FileChange, History};
use crate::domain::id::{ModuleName, ProposalId};
use crate::domain::policy::Severity;
use crate::domain::proposal::{ProposalRecord, Stage};
use crate::domain::text;

/// Most commits of one module on the page.
const COMMITS: usize = 20;
/// Most files of one module on the page.
const FILES: usize = 20;
/// Most edits on the page.
const EDITS: usize = 40;
/// Most claims that are shown.
const CLAIMS: usize = 30;
/// The widest cell of text from outside, in characters.
const WIDE: usize = 100;

/// The whole page.
pub(super) fn page(shown: &Shown, paint: Paint) -> String {
    let record = &shown.record;
    let mut said = format!("{} {}\n", paint.bold("proposal"), shown.id);
    said.push_str(&indented(&facts(shown)));
    said.push_str(&what_it_is(shown, paint));
    if record.stage == Stage::Open {
        heading(&mut said, paint, "who decides");
        said.push_str(&indented(&decision(shown)));
        if shown.delta.document.is_none() {
            heading(&mut said, paint, "to test it by hand");
            let _ = writeln!(said, "  git clone -q --no-recurse-submodules . ../try");
            let id = shown.id.short();
            let _ = writeln!(said, "  lambda-os proposal diff {id} | git -C ../try apply --index");
        }
    }
    heading(&mut said, paint, "to undo it once applied");
    for pin in record.pins.iter().filter(|pin| pin.from != pin.to) {
        let _ = writeln!(said, "  lambda-os rollback {} --to {}", pin.module, pin.from);
    }
    if let Some(document) = &shown.delta.document {
        let _ = writeln!(said, "  propose the old content anew: lambda-os {} show", document.kind.as_str());
    } else if record.pins.iter().all(|pin| pin.from == pin.to) {
        said.push_str("  git revert the commit: no gitlink moves\n");
    }
    said
}

/// What it does, brings and touches, and what is known of it: what nobody should sign without having seen.
pub(super) fn what_it_is(shown: &Shown, paint: Paint) -> String {
    let (record, mut said) = (&shown.record, String::new());
    if !shown.delta.pins.is_empty() {
        heading(&mut said, paint, "pins");
        said.push_str(&indented(&pins(&shown.delta.pins)));
    }
    if !shown.delta.files.is_empty() {
        heading(&mut said, paint, "files");
        said.push_str(&indented(&files(&shown.delta.files)));
        let _ = writeln!(said, "  every line of it: lambda-os proposal diff {}", shown.id.short());
    }
    if let Some(document) = &shown.delta.document {
        heading(&mut said, paint, &format!("the {}", document.kind.title()));
        let _ = writeln!(said, "  from {}\n  to   {}", document.old, document.new);
        let _ = writeln!(said, "  every line of it: lambda-os proposal diff {}", shown.id.short());
    }
    for upstream in &shown.upstream {
        heading(&mut said, paint, &format!("what upstream brings to {}", upstream.module));
        said.push_str(&indented(&brings(upstream)));
    }
    if !shown.delta.edits.is_empty() {
        heading(&mut said, paint, "what changes beside the gitlinks");
        for edit in shown.delta.edits.iter().take(EDITS) {
            said.push_str(&indented(&edit_lines(edit)));
        }
        rest(&mut said, shown.delta.edits.len().saturating_sub(EDITS), "more edits: --json has them all");
    }
    if !shown.delta.pins.is_empty() {
        heading(&mut said, paint, "what depends on it");
        let _ = writeln!(said, "  {}", affected(&shown.affects));
    }
    heading(&mut said, paint, "what is known of it");
    if shown.delta.document.is_none() {
        said.push_str(&indented(&verification(shown, paint)));
    }
    said.push_str(&indented(&judged(shown, paint)));
    for note in &record.notes {
        let _ = writeln!(said, "  {}", paint.warn(&format!("note: {}", text::inert(note))));
    }
    said
}

/// What the policy's rules found, and whether that is about the tree as it is now.
fn judged(shown: &Shown, paint: Paint) -> String {
    let (Some(findings), Some(judged)) = (&shown.findings, &shown.record.judged) else {
        return "policy: not judged; lambda-os policy explain lists the rules that there are\n".to_owned();
    };
    let verdict = match findings.first().map(|finding| finding.severity) {
        None => paint.good("nothing found"),
        Some(Severity::Deny) => paint.bad("denied"),
        Some(Severity::Review) => paint.warn("needs a person's look"),
        Some(Severity::Warn) => paint.warn("to be known"),
    };
    let old = if judged.tree == shown.record.tree { "" } else { ", about the tree that it was before" };
    format!("policy: {verdict}{old}\n{}", check::findings(findings, paint))
}

/// What verification says of it, and for each module with which evidence.
fn verification(shown: &Shown, paint: Paint) -> String {
    let Some(claims) = &shown.claims else {
        let why = if shown.record.stage == Stage::Open {
            "nothing was verified of it: [verify] steps in the configuration says what would be"
        } else {
            "nothing was verified of it"
        };
        return format!("verification: {}\n", paint.warn(&format!("unverified; {why}")));
    };
    let mut said = if shown.verified {
        format!("verification: {}\n", paint.good("verified on this base"))
    } else {
        let old = format!("unverified on this base; what follows is about the tree {}", claims.tree);
        format!("verification: {}\n", paint.warn(&old))
    };
    for claim in claims.claims.iter().take(CLAIMS) {
        let _ = writeln!(said, "  {claim}");
    }
    rest(&mut said, claims.claims.len().saturating_sub(CLAIMS), "more: --json has them all");
    if !claims.unverified.is_empty() {
        let names: Vec<&str> = claims.unverified.iter().map(ModuleName::as_str).collect();
        let line = format!("no steps are configured for {}", text::clipped(&names.join(", "), 400));
        let _ = writeln!(said, "  {}", paint.warn(&line));
    }
    said
}

fn facts(shown: &Shown) -> String {
    let record = &shown.record;
    let age = show::stretch(shown.seen_wall_ms.saturating_sub(record.made_wall_ms));
    let mut rows = vec![
        row("state", stage(record)),
        row("purpose", record.purpose.as_str().to_owned()),
        row("track", record.track.as_str().to_owned()),
        row("made", format!("{}, {age} ago", show::utc(record.made_wall_ms))),
        row("expires", show::utc(record.expires_ms)),
        row("change", record.change.to_string()),
        row("base", record.base.to_string()),
        row("gives tree", record.tree.to_string()),
    ];
    if let Some(evidence) = record.evidence {
        rows.push(row("made by", format!("a command: lambda-os audit show {evidence}")));
    }
    if let Some(before) = record.supersedes {
        rows.push(row("supersedes", before.to_string()));
    }
    show::table(&rows)
}

fn row(name: &str, value: String) -> Vec<String> {
    vec![name.to_owned(), value]
}

fn pins(pins: &[PinDelta]) -> String {
    let hash = |nar: &Option<String>| nar.as_deref().map_or_else(|| "not at hand".to_owned(), text::word);
    let rows: Vec<Vec<String>> = pins
        .iter()
        .flat_map(|pin| {
            [
                row(pin.module.as_str(), pin.path.to_string()),
                row("  from", format!("{}  {}", pin.from.commit, hash(&pin.from.nar))),
                row("  to", format!("{}  {}", pin.to.commit, hash(&pin.to.nar))),
            ]
        })
        .collect();
    show::table(&rows)
}

fn files(files: &[FileDelta]) -> String {
    let rows: Vec<Vec<String>> = files
        .iter()
        .map(|file| {
            let old = file.old.map_or_else(|| "nothing".to_owned(), |old| old.short());
            vec![file.path.to_string(), format!("{old} -> {}", file.new.short())]
        })
        .collect();
    show::table(&rows)
}

fn brings(upstream: &Upstream) -> String {
    let Some(history) = &upstream.history else {
        let why = upstream.unreadable.as_deref().unwrap_or("nobody knows why");
        return format!("cannot be read: {}\n", text::inert(why));
    };
    let mut said = format!("{}\n", summary(history));
    let rows: Vec<Vec<String>> = history
        .commits
        .iter()
        .take(COMMITS)
        .map(|commit| {
            vec![
                commit.id.short(),
                show::utc(commit.time_s.saturating_mul(1000)).chars().take(10).collect(),
                text::clipped(&text::inert(&commit.author), 20),
                text::clipped(&text::inert(&commit.subject), WIDE),
            ]
        })
        .collect();
    said.push_str(&indented(&show::table(&rows)));
    let listed = rows.len() + usize::try_from(history.silent).unwrap_or(usize::MAX);
    rest(
        &mut said,
        usize::try_from(history.total).unwrap_or(usize::MAX).saturating_sub(listed),
        "more commits",
    );
    let rows: Vec<Vec<String>> = history.files.iter().take(FILES).map(file).collect();
    said.push_str(&indented(&show::table(&rows)));
    let files = usize::try_from(history.files_total).unwrap_or(usize::MAX);
    rest(&mut said, files.saturating_sub(rows.len()), "more files");
    if let Some(why) = &history.incomplete {
        let _ = writeln!(said, "not all of it is known: {}", text::inert(why));
    }
    said
}

/// Counts, in a line.
fn summary(history: &History) -> String {
    let count = |count: u32, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut said = count(history.total, "commit");
    if history.silent > 0 {
        let _ = write!(said, " ({} of them change no file)", history.silent);
    }
    let (added, removed) = history.files.iter().fold((0_u64, 0_u64), |(added, removed), file| {
        (added + u64::from(file.added.unwrap_or(0)), removed + u64::from(file.removed.unwrap_or(0)))
    });
    let _ = write!(said, ", {}, +{added} -{removed} lines", count(history.files_total, "file"));
    said
}

fn file(file: &FileChange) -> Vec<String> {
    let count =
        |sign: char, lines: Option<u32>| lines.map_or_else(|| "-".to_owned(), |n| format!("{sign}{n}"));
    vec![
        file.letter.to_string(),
        count('+', file.added),
        count('-', file.removed),
        text::clipped(&file.path.to_string(), WIDE),
    ]
}

/// Who said what, who is still to say something, and what comes next.
fn decision(shown: &Shown) -> String {
    let Some(tally) = &shown.tally else {
        return "nobody yet: lambda-os init says who, and the next cycle proposes it to them\n".to_owned();
    };
    let mut said = match (&tally.unanswered, tally.threshold) {
        (Some(why), _) => format!("pending: {}\n", text::inert(why)),
        (None, _) if tally.program.is_some() => {
            format!("{}: a program alone decides here\n", tally.state.as_str())
        }
        (None, Some(threshold)) => {
            format!("{}: {} of {threshold} approvals\n", tally.state.as_str(), tally.approving)
        }
        (None, None) => format!("{}\n", tally.state.as_str()),
    };
    for (program, decided) in &shown.record.decided {
        let (program, decision) = (ProposalId(*program).short(), &decided.decision);
        let (verdict, reason) = (decision.verdict.as_str(), text::inert(&decision.reason));
        let _ = writeln!(said, "  the program {program}: {verdict}: {reason} (entry {})", decided.seq);
    }
    for narrowing in &tally.narrowed {
        let verb = if narrowing.verdict == Narrower::Reject { "rejected" } else { "held up" };
        let by = narrowing.by.as_str();
        let _ = writeln!(said, "  {verb} by {by}: {}", text::inert(&narrowing.reason));
    }
    if tally.certified {
        said.push_str("certified: what is said from now on is evidence, and takes nothing back\n");
    }
    for ballot in tally.counted.iter().chain(&tally.vetoes) {
        said.push_str(&counted(ballot));
    }
    if let Some(next) = &tally.successor {
        let asked = next.threshold.map_or_else(|| "no rule".to_owned(), |asked| asked.to_string());
        let _ = writeln!(said, "by the next members document: {} of {asked} approvals", next.approving);
        for ballot in &next.counted {
            said.push_str(&counted(ballot));
        }
    }
    if let Some(until) = tally.suspended_until_ms {
        let _ = writeln!(said, "held up: a quorum of vetoes stands until {}", show::utc(until));
    } else if let (Some(waits), Some(at)) = (tally.waits_ms.filter(|ms| *ms > 0), tally.earliest_enactment_ms)
    {
        let _ =
            writeln!(said, "waits: {} more, until {} at the earliest", show::stretch(waits), show::utc(at));
    }
    for ballot in &tally.ignored {
        let voter = ballot.voter.as_deref().map_or_else(|| "somebody".to_owned(), text::word);
        let _ = writeln!(said, "  {voter}: does not count: {}", text::inert(&ballot.reason));
    }
    if let Some(successor) = &tally.successor {
        let missing: Vec<String> = successor.missing.iter().map(|name| text::word(name)).collect();
        let (threshold, approving) = (successor.threshold.unwrap_or_default(), successor.approving);
        let _ =
            writeln!(said, "  by the document that it puts in force: {approving} of {threshold} approvals");
        if !missing.is_empty() {
            let _ = writeln!(said, "  there, no ballot of {}", missing.join(", "));
        }
    }
    if !tally.missing.is_empty() {
        let missing: Vec<String> = tally.missing.iter().map(|name| text::word(name)).collect();
        let _ = writeln!(said, "no ballot of {}", missing.join(", "));
    }
    let id = shown.id.short();
    let next = match tally.state {
        TallyState::Approved => format!("lambda-os proposal apply {id}"),
        _ => format!("lambda-os proposal approve {id}"),
    };
    let _ = writeln!(said, "next: {next}");
    said
}

/// A ballot that counts, in a line.
fn counted(ballot: &Counted) -> String {
    let voter = text::word(&ballot.voter);
    let weight = if ballot.weight == 1 { String::new() } else { format!(", weighs {}", ballot.weight) };
    let through =
        ballot.through.as_deref().map_or_else(String::new, |to| format!(", through {}", text::word(to)));
    let choice = ballot.choice.as_str();
    format!("  {voter}: {choice} (ballot {}, {}{weight}{through})\n", ballot.seq, ballot.key)
}

/// One value of a lock in a line that people read: where it is from, at which revision, with which
/// content. Anything else as it stands.
fn readable(value: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Node {
        locked: Option<BTreeMap<String, serde_json::Value>>,
    }
    let short = || {
        let locked = serde_json::from_str::<Node>(value).ok()?.locked?;
        let text = |key: &str| locked.get(key).and_then(serde_json::Value::as_str);
        let place = match (text("owner"), text("repo")) {
            (Some(owner), Some(repo)) => format!("{owner}/{repo}"),
            _ => text("url").or_else(|| text("path"))?.to_owned(),
        };
        let rev = text("rev").map_or_else(String::new, |rev| format!(" {rev}"));
        let hash = text("narHash").map_or_else(String::new, |hash| format!(" {hash}"));
        Some(format!("{}:{place}{rev}{hash}", text("type")?))
    };
    short().unwrap_or_else(|| value.to_owned())
}

fn edit_lines(edit: &Edit) -> String {
    let at: Vec<String> = edit.at.iter().map(|part| text::word(part)).collect();
    let mut said = format!("{} {}\n", edit.place.as_str(), at.join("/"));
    for (sign, value) in [('-', &edit.old), ('+', &edit.new)] {
        if let Some(value) = value {
            let _ = writeln!(said, "  {sign} {}", text::inert(&readable(value)));
        }
    }
    said
}

fn affected(modules: &[ModuleName]) -> String {
    if modules.is_empty() {
        return "no other module".to_owned();
    }
    let names: Vec<&str> = modules.iter().map(ModuleName::as_str).collect();
    format!("{} modules: {}", modules.len(), names.join(" "))
}

fn stage(record: &ProposalRecord) -> String {
    let word = list::word(&record.stage);
    match &record.stage {
        Stage::Open | Stage::Applying { .. } => word.to_owned(),
        Stage::Applied { commit } => format!("{word} by {commit}"),
        Stage::Enacted { seq } => format!("{word} by entry {seq}"),
        Stage::Closed { by: Some(by), reason, .. } => format!("{word} by {by}: {}", text::inert(reason)),
        Stage::Stuck { reason } | Stage::Closed { by: None, reason, .. } => {
            format!("{word}: {}", text::inert(reason))
        }
    }
}

fn heading(said: &mut String, paint: Paint, words: &str) {
    let _ = writeln!(said, "\n{}", paint.bold(words));
}

/// Say that something is left out, when it is.
fn rest(said: &mut String, count: usize, what: &str) {
    if count > 0 {
        let _ = writeln!(said, "  … {count} {what}");
    }
}

fn indented(lines: &str) -> String {
    let mut said = String::with_capacity(lines.len() + 64);
    for line in lines.lines() {
        let _ = writeln!(said, "  {line}");
    }
    said
}
