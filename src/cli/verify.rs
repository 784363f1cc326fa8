//! `verify`: every module of HEAD verified now, with the evidence of each verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::open::Open;
use super::outdated::unknown_module;
use super::run::recovered;
use super::show::{self, Paint};
use super::talk::Progress;
use super::{Exit, Failure, Global, runners};
use crate::adapters::journal::JournalWriter;
use crate::adapters::lock::CycleLock;
use crate::daemon::stop::Stop;
use crate::domain::health::{Step, Strength, Verdict};
use crate::domain::id::{Cid, ModuleName, ObjectId};
use crate::domain::text;
use crate::ops::verify::{Bench, Committed, Known, Origin, Verified, Where, verify};
use crate::ports::{Clock as _, Repository as _};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these modules
    #[arg(value_name = "MODULE")]
    modules: Vec<String>,
    /// Run everything again, whatever is known
    #[arg(long)]
    again: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: &'static str,
    head: ObjectId,
    modules: Vec<Row<'a>>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a ModuleName,
    verdict: &'static str,
    strength: Option<Strength>,
    step: Option<Step>,
    reason: Option<&'a str>,
    flaky: bool,
    revision: Option<ObjectId>,
    key: Option<Cid>,
    evidence: Option<Cid>,
    since_ms: Option<i64>,
    from: &'static str,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let stop = Stop::on_signals()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot catch signals: {error}")))?;
    let discovery = open.repository.discover()?;
    let known: Vec<&str> = discovery.modules.iter().map(|module| module.name.as_str()).collect();
    if let Some(wanted) = args.modules.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(unknown_module(wanted, &known));
    }
    let wanted: Vec<ModuleName> = discovery
        .modules
        .iter()
        .map(|module| module.name.clone())
        .filter(|name| args.modules.is_empty() || args.modules.iter().any(|one| one == name.as_str()))
        .collect();
    let head = open.repository.head()?.ok_or_else(|| {
        Failure::new(Exit::Failed, "cannot verify the workspace: the superproject has no commit")
    })?;
    let lock = CycleLock::acquire(&open.state_dir)?;
    let mut journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    recovered(&open, &mut journal)?;
    let mut state = journal.state().clone();
    let progress = Progress::begin(global, "verifying the modules");
    let scene = Committed::read(&open.repository, &discovery.modules, head)?.as_it_is();
    let how = if args.again { Known::RunAgain } else { Known::Stands };
    let (done, well) = runners::with(&open, |runners| {
        if !runners.verify_anything() {
            return Err(Failure::new(Exit::Usage, "nothing to verify with: no steps are configured")
                .hint("set [verify] steps in the configuration: lambda-os config template shows how"));
        }
        let (clock, stop) = (&open.clock, &|| stop.asked());
        let mut bench = Bench { runners, journal: &mut journal, clock, stop };
        let done = verify(&mut bench, &mut state, &scene, &wanted, how, Where::Base)?;
        let well = |verified: &Verified| {
            verified.verdict.is_healthy() || runners.steps_of(&verified.module).is_empty()
        };
        let well = done.values().all(well);
        Ok((done, well))
    })?;
    drop(progress);
    drop(lock);
    if global.json {
        let modules = done.values().map(row).collect();
        show::json(&Report { schema: "lambda-os/verify/v1", head, modules })?;
    } else {
        show::data(&shown(&done, open.clock.wall_ms(), Paint::stdout(global)))?;
    }
    Ok(if well { Exit::Ok } else { Exit::Degraded })
}

fn row(verified: &Verified) -> Row<'_> {
    let strength = match &verified.verdict {
        Verdict::Healthy { strength, .. } => Some(*strength),
        _ => None,
    };
    Row {
        name: &verified.module,
        verdict: verified.verdict.as_str(),
        strength,
        step: verified.verdict.step(),
        reason: verified.verdict.reason(),
        flaky: verified.flaky,
        revision: verified.revision,
        key: verified.key,
        evidence: verified.evidence,
        since_ms: verified.since_ms,
        from: match verified.from {
            Origin::Run => "run",
            Origin::Stands => "known",
            Origin::Inherited => "equal-derivations",
            Origin::Nowhere => "nowhere",
        },
    }
}

/// A table, the evidence of what is not healthy, and a line that counts.
fn shown(done: &BTreeMap<ModuleName, Verified>, now_ms: i64, paint: Paint) -> String {
    if done.is_empty() {
        return "no modules\n".to_owned();
    }
    let mut rows = vec![["MODULE", "VERDICT", "REVISION", "AGE", "REASON"].map(str::to_owned).to_vec()];
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for verified in done.values() {
        *counts.entry(word(&verified.verdict)).or_default() += 1;
        let age = match (verified.from, verified.since_ms) {
            (Origin::Run, _) => "now".to_owned(),
            (_, Some(since)) => show::stretch(now_ms.saturating_sub(since)),
            (_, None) => "-".to_owned(),
        };
        rows.push(vec![
            verified.module.to_string(),
            word(&verified.verdict).to_owned(),
            verified.revision.map_or_else(|| "-".to_owned(), |id| id.short()),
            age,
            reason(verified, paint),
        ]);
    }
    let mut told = show::table(&rows);
    for verified in done.values().filter(|verified| verified.verdict.is_bad()) {
        if let Some(evidence) = verified.evidence {
            let _ = writeln!(told, "evidence of {}: lambda-os audit show {evidence}", verified.module);
        }
    }
    let counted: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let _ = writeln!(told, "{}", counted.join(", "));
    told
}

/// The verdict in one word or two.
pub(super) fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy { strength: Strength::Weak, .. } => "healthy (weak)",
        other => other.as_str(),
    }
}

fn reason(verified: &Verified, paint: Paint) -> String {
    let step = verified.verdict.step().map_or_else(String::new, |step| format!("{}: ", step.as_str()));
    let said = text::inert(verified.verdict.reason().unwrap_or_default());
    let said = format!("{step}{said}");
    match &verified.verdict {
        Verdict::Healthy { strength: Strength::Strong, .. } => paint.good(&said),
        Verdict::Failed { .. } | Verdict::TimedOut { .. } => paint.bad(&said),
        Verdict::Healthy { .. } | Verdict::Unknown { .. } => paint.warn(&said),
    }
}
