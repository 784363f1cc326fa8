//! `policy check`: what the rules in force say of proposals, or of the workspace as HEAD has it. Nothing
//! is journalled: the cycle and `proposal apply` judge for themselves.

use std::fmt::Write as _;

use serde::Serialize;

use crate::adapters::journal::JournalReader;
use crate::cli::open::Open;
use crate::cli::proposal::resolve;
use crate::cli::show::{self, Paint};
use crate::cli::{Exit, Failure, Global};
use crate::domain::id::{Cid, ObjectId, ProposalId};
use crate::domain::policy::{Finding, Severity};
use crate::domain::proposal::Stage;
use crate::domain::state::State;
use crate::domain::text;
use crate::domain::upgrade::Upgrade;
use crate::ops::govern::{self, Rules};
use crate::ops::policy::{self, Site};
use crate::ports::{Repository as _, SnapshotOptions, Stored as _};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only these: of each a part of its id, or its module [default: every open proposal]
    #[arg(value_name = "PROPOSAL", conflicts_with = "tree")]
    proposals: Vec<String>,
    /// The workspace as HEAD has it, instead of proposals
    #[arg(long)]
    tree: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    /// The policy in force.
    policy: Cid,
    /// Whether anything is denied.
    denied: bool,
    checked: &'a [Checked],
}

/// One thing that was judged.
#[derive(Serialize)]
struct Checked {
    /// The proposal; absent for the workspace as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<ProposalId>,
    /// The superproject's commit.
    commit: ObjectId,
    /// Why it could not be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_judged: Option<String>,
    /// What was found.
    findings: Vec<Finding>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let journal = JournalReader::open(&open.state_dir)?;
    let state = open.state()?;
    let rules = govern::rules(&journal, &state)?;
    let quick = SnapshotOptions { hash_untracked_bytes: None, ..open.settings.snapshot_options() };
    let discovery = open.repository.discover()?;
    let snapshot = args.tree.then(|| open.repository.snapshot(&discovery, &quick)).transpose()?;
    let head = open
        .repository
        .head()?
        .ok_or_else(|| Failure::new(Exit::Failed, "cannot judge anything: the superproject has no commit"))?;
    let commands = open.commands();
    // As the last cycle found them: nothing is asked for a look.
    let upgrades: Vec<Upgrade> = match &state.upgrades {
        Some(table) => {
            journal.stored(table)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
        }
        None => Vec::new(),
    };
    let site = Site {
        superproject: &open.repository,
        sources: &open.sources,
        modules: &discovery.modules,
        commands: &commands,
        snapshot: snapshot.as_ref(),
        upgrades: &upgrades,
    };
    let now = policy::now(&state, &open.clock);
    let checked = if args.tree {
        let findings = policy::judge_tree(site, &state, &rules.policy, head, now)?;
        vec![Checked { proposal: None, commit: head, not_judged: None, findings }]
    } else {
        let judge = |id| proposal(site, &journal, &state, &rules, id, now);
        wanted(&state, &args.proposals)?.into_iter().map(judge).collect::<Result<_, Failure>>()?
    };
    let denied = checked.iter().any(|one| one.findings.iter().any(|it| it.severity == Severity::Deny));
    if global.json {
        let schema = "lambda-os/policy-check/v1";
        show::json(&Report { schema, policy: rules.policy_cid, denied, checked: &checked })?;
    } else {
        show::data(&shown(&checked, &rules, Paint::stdout(global)))?;
    }
    Ok(if denied { Exit::Refused } else { Exit::Ok })
}

/// The proposals that are meant.
fn wanted(state: &State, named: &[String]) -> Result<Vec<ProposalId>, Failure> {
    if named.is_empty() {
        let open = state.open_proposals().filter(|(_, record)| record.stage == Stage::Open);
        return Ok(open.map(|(id, _)| *id).collect());
    }
    let mut ids = Vec::new();
    for name in named {
        let id = resolve::resolve(name, &state.proposals)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Judge one proposal on the commit that it was derived on last.
fn proposal(
    site: Site<'_>,
    journal: &JournalReader,
    state: &State,
    rules: &Rules,
    id: ProposalId,
    now: crate::domain::governance::time::Times,
) -> Result<Checked, Failure> {
    let case = govern::case(journal, state, id)?;
    let commit = case.record.base;
    Ok(match policy::look_at(site, journal, state, rules, &case, now)? {
        Ok(findings) => Checked { proposal: Some(id), commit, not_judged: None, findings },
        Err(why) => {
            let not_judged = Some(text::inert(&why.to_string()));
            Checked { proposal: Some(id), commit, not_judged, findings: Vec::new() }
        }
    })
}

fn shown(checked: &[Checked], rules: &Rules, paint: Paint) -> String {
    let set = rules.policy.rules.set().len();
    if set == 0 {
        return "the policy in force sets no rules; lambda-os policy explain lists those that there are\n"
            .to_owned();
    }
    if checked.is_empty() {
        return format!("no proposal is open; {set} rules are set\n");
    }
    let mut said = String::new();
    for one in checked {
        let what = match one.proposal {
            Some(id) => format!("proposal {}", id.short()),
            None => format!("the workspace at {}", one.commit.short()),
        };
        let verdict = match (&one.not_judged, one.findings.first()) {
            (Some(why), _) => paint.warn(&format!("not judged: {why}")),
            (None, None) => paint.good("nothing found"),
            (None, Some(first)) if first.severity == Severity::Deny => paint.bad("denied"),
            (None, Some(first)) if first.severity == Severity::Review => paint.warn("needs a person's look"),
            (None, Some(_)) => paint.warn("to be known"),
        };
        let _ = writeln!(said, "{}: {verdict}", paint.bold(&what));
        said.push_str(&findings(&one.findings, paint));
    }
    said
}

/// Findings as people see them, two lines each at most, indented.
pub(in crate::cli) fn findings(findings: &[Finding], paint: Paint) -> String {
    let mut said = String::new();
    for finding in findings {
        let Finding { severity, rule, module, path, message, hint } = finding;
        let word = match severity {
            Severity::Deny => paint.bad(severity.as_str()),
            Severity::Review | Severity::Warn => paint.warn(severity.as_str()),
        };
        let mut about = String::new();
        let parts = [module.as_ref().map(ToString::to_string), path.as_ref().map(ToString::to_string)];
        for part in parts.into_iter().flatten() {
            let _ = write!(about, "{part}: ");
        }
        let _ = writeln!(said, "  {word} {}: {about}{}", text::word(rule), text::inert(message));
        if let Some(hint) = hint {
            let _ = writeln!(said, "    {}", paint.faint(&text::inert(hint)));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ModuleName;

    #[test]
    fn findings_are_shown_with_what_they_are_about() {
        let finding = |severity, module: Option<&str>, path: Option<&str>, hint: Option<&str>| Finding {
            severity,
            rule: "some-rule".to_owned(),
            module: module.map(ModuleName::new),
            path: path.map(Into::into),
            message: "it is \u{1b}[2Jso".to_owned(),
            hint: hint.map(str::to_owned),
        };
        let all = [
            finding(Severity::Deny, Some("waku"), Some("metadata.json"), Some("look there")),
            finding(Severity::Review, None, Some("flake.lock"), None),
            finding(Severity::Warn, None, None, None),
        ];
        insta::assert_snapshot!(findings(&all, Paint::plain()), @r"
        deny some-rule: waku: metadata.json: it is \u{1b}[2Jso
          look there
        review some-rule: flake.lock: it is \u{1b}[2Jso
        warn some-rule: it is \u{1b}[2Jso
        ");
    }
}
