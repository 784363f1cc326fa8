//! `plan`: what would be proposed, in which order, and for everything else why not.

use std::fmt::Write as _;

use serde::Serialize;

use super::open::Open;
use super::outdated::unknown_module;
use super::show::{self, Paint};
use super::{Exit, Failure, Global};
use crate::adapters::journal::JournalReader;
use crate::domain::graph::Graph;
use crate::domain::id::ModuleName;
use crate::domain::plan::{Plan, Step, Waiting};
use crate::ops::{detect, order, pins, plan, policy};
use crate::ports::SnapshotOptions;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Explain this module: why it moves, or what it waits for
    #[arg(value_name = "MODULE")]
    module: Option<String>,
    /// Exit with 4 when something would be proposed
    #[arg(long)]
    exit_code: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    steps: Vec<&'a Step>,
    waiting: Vec<&'a Waiting>,
    /// When one module is asked about: what depends on it and what moves with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    affected: Option<Vec<ModuleName>>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let options = open.cycle_options();
    let state = open.state()?;
    let quick = SnapshotOptions { hash_untracked_bytes: None, ..options.snapshot };
    let seen = order::see(&open.repository, &open.sources, &quick)?;
    let found = detect::detect(&open.sources, &seen.discovery, &seen.snapshot, &state, &options.detect);
    let graph = order::order(&seen.discovery, &seen.wiring);
    let checks = pins::pins(&seen.discovery, &seen.snapshot, &seen.wiring);
    let (journal, now) = (JournalReader::open(&open.state_dir)?, policy::now(&state, &open.clock));
    let modules = &seen.discovery.modules;
    let aimed = policy::aim(&journal, &open.sources, modules, &state, &found.upgrades, now)?;
    let plan = plan::plan(&seen.snapshot, &graph, &aimed, &checks, &options.plan);
    let exit = if args.exit_code && !plan.steps.is_empty() { Exit::Changes } else { Exit::Ok };
    let name = match &args.module {
        None => None,
        Some(wanted) => {
            let known: Vec<&str> = graph.modules.iter().map(ModuleName::as_str).collect();
            if !known.contains(&wanted.as_str()) {
                return Err(unknown_module(wanted, &known));
            }
            Some(ModuleName::new(wanted))
        }
    };
    if global.json {
        let wanted = |module: &ModuleName| name.as_ref().is_none_or(|name| name == module);
        show::json(&Report {
            schema: "lambda-os/plan/v1",
            steps: plan.steps.iter().filter(|step| step.pins.iter().any(|pin| wanted(&pin.module))).collect(),
            waiting: plan.waiting.iter().filter(|waiting| wanted(&waiting.module)).collect(),
            affected: name.as_ref().map(|name| affected(&graph, name)),
        })?;
        return Ok(exit);
    }
    let paint = Paint::stdout(global);
    show::data(&match &name {
        Some(name) => explain(&plan, &graph, name, paint),
        None => shown(&plan, paint),
    })?;
    Ok(exit)
}

/// Every module that depends on this one's component.
fn affected(graph: &Graph, module: &ModuleName) -> Vec<ModuleName> {
    let together = graph.component_of(module).map_or(&[][..], |component| &component.members);
    graph.blast_radius(together)
}

fn names(names: &[ModuleName]) -> String {
    names.iter().map(ModuleName::as_str).collect::<Vec<_>>().join(" ")
}

/// `affected` are the names of what depends on it, where they shall be listed.
fn step_lines(step: &Step, affected: Option<&[ModuleName]>, paint: Paint) -> String {
    let mut shown = String::new();
    let rows: Vec<Vec<String>> = step
        .pins
        .iter()
        .map(|pin| vec![pin.module.to_string(), format!("{} → {}", pin.from.short(), pin.to.short())])
        .collect();
    shown.push_str(&show::table(&rows));
    if !step.after.is_empty() {
        let _ = writeln!(shown, "  after: {}", names(&step.after));
    }
    if step.affects > 0 {
        let affected = affected.map_or_else(String::new, |affected| format!(": {}", names(affected)));
        let _ = writeln!(shown, "  {}", paint.faint(&format!("affects {}{affected}", step.affects)));
    }
    for note in &step.notes {
        let _ = writeln!(shown, "  {}", paint.warn(&format!("note: {note}")));
    }
    shown
}

/// The whole plan as text. What is up to date is counted, not listed.
pub(super) fn shown(plan: &Plan, paint: Paint) -> String {
    let settled = plan.waiting.iter().filter(|waiting| waiting.settled).count();
    let pins: usize = plan.steps.iter().map(|step| step.pins.len()).sum();
    let mut shown = format!(
        "would propose {} steps with {pins} pins; {} modules wait, {settled} are up to date\n",
        plan.steps.len(),
        plan.waiting.len() - settled
    );
    for (number, step) in plan.steps.iter().enumerate() {
        let title = format!("{}. level {}", number + 1, step.level);
        let _ = writeln!(shown, "\n{}", paint.bold(&title));
        for line in step_lines(step, None, paint).lines() {
            let _ = writeln!(shown, "  {line}");
        }
    }
    let rows: Vec<Vec<String>> = plan
        .waiting
        .iter()
        .filter(|waiting| !waiting.settled)
        .map(|waiting| vec![waiting.module.to_string(), waiting.reason.clone()])
        .collect();
    if !rows.is_empty() {
        let _ = writeln!(shown, "\n{}", paint.bold("waiting"));
        for line in show::table(&rows).lines() {
            let _ = writeln!(shown, "  {line}");
        }
    }
    shown
}

/// One module: its step, or its reason, and the reason behind that.
fn explain(plan: &Plan, graph: &Graph, module: &ModuleName, paint: Paint) -> String {
    for (number, step) in plan.steps.iter().enumerate() {
        if step.pins.iter().any(|pin| pin.module == *module) {
            let affected = affected(graph, module);
            let with = if step.pins.len() > 1 { "; these move together" } else { "" };
            return format!(
                "{module} would be proposed in step {} of {}{with}\n{}",
                number + 1,
                plan.steps.len(),
                step_lines(step, Some(&affected), paint)
            );
        }
    }
    let mut shown = String::new();
    let mut next = Some(module.clone());
    let mut told = Vec::new();
    while let Some(name) = next.take() {
        if told.contains(&name) {
            break;
        }
        if let Some(waiting) = plan.waiting.iter().find(|waiting| waiting.module == name) {
            let _ = writeln!(shown, "{name}: {}", waiting.reason);
            next.clone_from(&waiting.waits_for);
        }
        told.push(name);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::graph::{Component, Edge, EdgeSource};
    use crate::domain::id::{ObjectId, RepoPath};
    use crate::domain::plan::PinMove;

    fn plan() -> Plan {
        let name = ModuleName::new;
        let id = |byte| ObjectId::from_bytes(&[byte; 20]).expect("20 bytes are an id");
        let waiting = |module: &str, settled, waits_for: Option<&str>, reason: &str| Waiting {
            module: name(module),
            settled,
            waits_for: waits_for.map(name),
            reason: reason.to_owned(),
        };
        Plan {
            steps: vec![Step {
                level: 1,
                pins: vec![PinMove {
                    module: name("a"),
                    path: RepoPath::from("repos/a"),
                    from: id(1),
                    to: id(2),
                }],
                after: vec![name("b")],
                affects: 1,
                notes: vec!["a has local changes".to_owned()],
            }],
            waiting: vec![
                waiting("b", true, None, "the pin is the tip"),
                waiting("c", false, Some("d"), "waits for d, which is rewritten"),
                waiting("d", false, None, "history rewritten: master lost a commit"),
            ],
        }
    }

    /// `c` needs `a`.
    fn graph() -> Graph {
        let [a, c] = ["a", "c"].map(ModuleName::new);
        let component = |level, name: &ModuleName| Component { level, members: vec![name.clone()] };
        Graph {
            components: vec![component(0, &a), component(1, &c)],
            edges: vec![Edge {
                from: c.clone(),
                to: a.clone(),
                sources: [EdgeSource::FlakeLock].into(),
                via: Vec::new(),
            }],
            modules: vec![a, c],
            ..Graph::default()
        }
    }

    #[test]
    fn a_plan_says_what_and_why_not() {
        insta::assert_snapshot!(shown(&plan(), Paint::plain()), @r"
        would propose 1 steps with 1 pins; 2 modules wait, 1 are up to date

        1. level 1
          a  010101010101 → 020202020202
            after: b
            affects 1
            note: a has local changes

        waiting
          c  waits for d, which is rewritten
          d  history rewritten: master lost a commit
        ");
    }

    #[test]
    fn one_module_is_explained_down_to_the_cause() {
        insta::assert_snapshot!(explain(&plan(), &graph(), &ModuleName::new("c"), Paint::plain()), @r"
        c: waits for d, which is rewritten
        d: history rewritten: master lost a commit
        ");
        insta::assert_snapshot!(explain(&plan(), &graph(), &ModuleName::new("a"), Paint::plain()), @r"
        a would be proposed in step 1 of 1
        a  010101010101 → 020202020202
          after: b
          affects 1: c
          note: a has local changes
        ");
    }
}
