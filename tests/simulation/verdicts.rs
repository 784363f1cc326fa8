//! What must hold of verdicts: they say what the runs showed, no more, and nothing healthy is known of
//! what is not.

use std::collections::BTreeMap;

use lambda_os::domain::change::PathContent;
use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::health::{Evidence, Outcome, Step, Verdict};
use lambda_os::domain::id::{Cid, ModuleName, ObjectId, RepoPath};
use lambda_os::domain::report::Findings;
use lambda_os::domain::state::State;

use super::fault::locked;
use super::git::Tree;
use super::health::{STEPS, really};
use super::journal::Disk;
use super::machine::Machine;

/// The runs of one process that no verdict was given on yet.
#[derive(Default)]
pub(crate) struct Runs(BTreeMap<(ModuleName, Cid), Vec<(Step, Outcome)>>);

/// A verdict as it was journalled.
pub(crate) struct Said<'a> {
    pub(crate) module: &'a ModuleName,
    pub(crate) key: &'a Cid,
    pub(crate) sees: &'a Cid,
    pub(crate) verdict: &'a Verdict,
    pub(crate) evidence: &'a Cid,
    pub(crate) derivations: Option<&'a Cid>,
}

impl Runs {
    /// Those of the process that ended.
    pub(crate) fn of(machine: &Machine) -> Self {
        let mut all = Self::default();
        for run in &locked(&machine.bench).runs {
            all.0.entry((run.module.clone(), run.sees)).or_default().push((run.step, run.outcome.clone()));
        }
        all
    }

    /// A verdict rests on the runs that its evidence names, and says what they showed.
    pub(crate) fn verdict(&mut self, disk: &Disk, state: &State, said: &Said<'_>) -> Result<(), String> {
        let bytes = disk.objects.get(said.evidence).ok_or("its evidence is not stored")?;
        let evidence: Evidence = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let runs = self.0.entry((said.module.clone(), *said.sees)).or_default();
        if evidence.key != *said.key {
            return inherited(runs, state, said);
        }
        let count = evidence.runs.len().min(runs.len());
        let ran: Vec<(Step, Outcome)> = runs.drain(..count).collect();
        let named: Vec<(Step, Outcome)> =
            evidence.runs.iter().map(|run| (run.step, run.outcome.clone())).collect();
        if ran != named {
            return Err(format!("the evidence on {} is not what was run: {named:?}, {ran:?}", said.module));
        }
        let last = |step: Step| ran.iter().rev().find(|(ran, _)| *ran == step).map(|(_, outcome)| outcome);
        let passed = STEPS.iter().all(|step| matches!(last(*step), Some(Outcome::Passed { .. })));
        let strong = passed && ran.iter().all(|(_, outcome)| *outcome == Outcome::Passed { weak: None });
        let bad = ran.iter().any(|(_, it)| matches!(it, Outcome::Failed { .. } | Outcome::TimedOut { .. }));
        let right = match said.verdict {
            verdict if verdict.is_strong() => strong,
            Verdict::Healthy { .. } => passed,
            Verdict::Failed { .. } | Verdict::TimedOut { .. } => bad && !passed,
            Verdict::Unknown { .. } => !passed,
        };
        if right {
            Ok(())
        } else {
            Err(format!("{} is called {:?} after {ran:?}", said.module, said.verdict))
        }
    }
}

/// A verdict on equal derivations: evaluated now, and healthy before.
fn inherited(runs: &mut Vec<(Step, Outcome)>, state: &State, said: &Said<'_>) -> Result<(), String> {
    let evaluated = !runs.is_empty() && runs.remove(0) == (Step::Eval, Outcome::Passed { weak: None });
    let before = said.derivations.and_then(|same| state.verdicts.with_derivations(said.module, same));
    match before {
        Some(record) if evaluated && record.verdict == *said.verdict && record.verdict.is_healthy() => Ok(()),
        _ => Err(format!("the verdict on {} rests on the evidence of something else", said.module)),
    }
}

/// The pins of a tree.
fn pin(tree: &Tree, module: &str) -> Option<ObjectId> {
    match tree.get(&RepoPath::from(format!("repos/{module}").as_str())) {
        Some(PathContent::Gitlink(pin)) => Some(*pin),
        _ => None,
    }
}

/// A report of a cycle calls nothing healthy that is not, and rests on the journal.
pub(crate) fn report(machine: &Machine, state: &State, findings: &Findings) -> Result<(), String> {
    let git = locked(&machine.git);
    let tree = git.tree(git.head()).ok_or("HEAD has no tree")?;
    let lock = match tree.get(&RepoPath::from("flake.lock")) {
        Some(PathContent::File { content, .. }) => Lock::parse(content).map_err(|error| error.to_string())?,
        _ => return Err("there is no lock".to_owned()),
    };
    let upstreams = locked(&machine.upstreams);
    for row in findings.health.iter().filter(|row| row.verdict.is_healthy()) {
        let known = row.key.as_ref().and_then(|key| state.verdicts.on(&row.name, key));
        let backed = known.is_some_and(|record| record.base && record.verdict == row.verdict);
        if !backed || row.revision != pin(tree, row.name.as_str()) {
            return Err(format!("{} is reported healthy, and the journal does not say so", row.name));
        }
        let is = really(&upstreams, &lock, row.name.as_str()).map(|(is, _)| is);
        if is.is_none_or(super::health::Really::is_never_healthy) {
            return Err(format!("{} is reported healthy, and is {is:?}", row.name));
        }
    }
    Ok(())
}
