//! `hold` and `unhold`: freeze a module, let it go, accept an upstream whose history changed; stop
//! everything, and let go of that.

use serde::Serialize;

use super::open::Open;
use super::outdated::unknown_module;
use super::show;
use super::{Exit, Failure, Global};
use crate::adapters::journal::JournalWriter;
use crate::domain::event::Event;
use crate::domain::id::{ModuleName, ObjectId};
use crate::domain::text;
use crate::ports::{Journal as _, Repository as _};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct HoldArgs {
    /// The module
    #[arg(value_name = "MODULE", required_unless_present = "all")]
    module: Option<String>,
    /// Stop everything: nothing is enacted, healed or applied until unhold --all
    #[arg(long, conflicts_with = "module")]
    all: bool,
    /// Why it is frozen: shown wherever the module is
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct UnholdArgs {
    /// The module
    #[arg(value_name = "MODULE", required_unless_present = "all")]
    module: Option<String>,
    /// Let go of everything that hold --all stopped; modules that are held stay so
    #[arg(long, conflicts_with = "module")]
    all: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    module: &'a ModuleName,
    held: bool,
    reason: Option<&'a str>,
    accepted: Option<ObjectId>,
    seq: u64,
}

/// The longest reason, in bytes: it is kept in the journal's line.
const MAX_REASON: usize = 4096;

pub(super) fn hold(global: &Global, args: &HoldArgs) -> Result<Exit, Failure> {
    let reason = args.reason.trim();
    if reason.is_empty() || reason.len() > MAX_REASON {
        let what = args.module.as_deref().map_or_else(|| "everything".to_owned(), text::quoted);
        return Err(Failure::new(
            Exit::Usage,
            format!("cannot hold {what} without a reason of 1 to {MAX_REASON} bytes"),
        )
        .hint("--reason says why, to whoever meets the hold later"));
    }
    let open = Open::new(global)?;
    let Some(module) = &args.module else { return hold_all(global, &open, reason) };
    let module = existing(&open, module)?;
    let event = Event::ModuleHeld { module: module.clone(), reason: reason.to_owned() };
    let seq = append(&open, &module, &event)?;
    if global.json {
        let held = Some(reason);
        return show::json(&Report {
            schema: "lambda-os/hold/v1",
            module: &module,
            held: true,
            reason: held,
            accepted: None,
            seq,
        });
    }
    show::data(&format!("{module} is held: {}\n", text::inert(reason)))
}

pub(super) fn unhold(global: &Global, args: &UnholdArgs) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let journal = crate::adapters::journal::JournalReader::open(&open.state_dir)?;
    let state = journal.state();
    let Some(wanted) = &args.module else { return unhold_all(global, &open, state.stopped.is_some()) };
    let named = ModuleName::new(wanted);
    let accepted = state.tips.get(&named).and_then(|seen| seen.rewritten_to);
    let was_held = state.holds.contains_key(&named);
    let bad = state.heals.bad(&named).len();
    let turned_down = state.rejected.contains_key(&named);
    if !was_held && accepted.is_none() && bad == 0 && !turned_down {
        // A module that is gone may still be unheld; one that never was gets the nearest name.
        let module = existing(&open, wanted)?;
        if let Some((_, reason)) =
            open.settings.module_holds().into_iter().find(|(held, _)| held == module.as_str())
        {
            return Err(Failure::new(
                Exit::Usage,
                format!("{module} is held by the configuration: {}", text::inert(&reason)),
            )
            .hint("take the hold out of the configuration file"));
        }
        return Err(Failure::new(
            Exit::Usage,
            format!("{module} is not held, nothing of it was turned down or rolled back, and its upstream is not rewritten"),
        )
        .hint("lambda-os outdated shows what is held"));
    }
    let event = Event::ModuleUnheld { module: named.clone(), accepted };
    let seq = append(&open, &named, &event)?;
    if global.json {
        return show::json(&Report {
            schema: "lambda-os/unhold/v1",
            module: &named,
            held: false,
            reason: None,
            accepted,
            seq,
        });
    }
    let accepts = accepted
        .map_or_else(String::new, |tip| format!("; its upstream's history is accepted at {}", tip.short()));
    let lifted = if was_held { "is not held any more" } else { "was not held" };
    let again = match bad {
        0 => String::new(),
        1 => "; the revision that it was taken back from may be proposed again".to_owned(),
        bad => format!("; {bad} revisions that it was taken back from may be proposed again"),
    };
    show::data(&format!("{named} {lifted}{accepts}{again}\n"))
}

/// What `--json` prints of everything.
#[derive(Serialize)]
struct Everything<'a> {
    schema: &'static str,
    all: bool,
    held: bool,
    reason: Option<&'a str>,
    seq: u64,
}

/// Stop everything. It takes no lock but the journal's: a cycle that runs meets it before it acts next.
fn hold_all(global: &Global, open: &Open, reason: &str) -> Result<Exit, Failure> {
    let mut journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    let seq = journal.append("all", &Event::AllHeld { reason: reason.to_owned() })?.seq;
    if global.json {
        let (all, held, reason) = (true, true, Some(reason));
        return show::json(&Everything { schema: "lambda-os/hold/v1", all, held, reason, seq });
    }
    show::data(&format!(
        "everything is held: {}\nnothing is enacted, healed or applied until: lambda-os unhold --all\n",
        text::inert(reason)
    ))
}

fn unhold_all(global: &Global, open: &Open, was_held: bool) -> Result<Exit, Failure> {
    if !was_held {
        return Err(Failure::new(Exit::Usage, "everything is not held")
            .hint("lambda-os unhold MODULE lets go of one module"));
    }
    let mut journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    let seq = journal.append("all", &Event::AllUnheld {})?.seq;
    if global.json {
        let (all, held, reason) = (true, false, None);
        return show::json(&Everything { schema: "lambda-os/unhold/v1", all, held, reason, seq });
    }
    show::data("everything is let go of; modules that are held themselves stay so\n")
}

/// The module with this name.
fn existing(open: &Open, wanted: &str) -> Result<ModuleName, Failure> {
    let discovery = open.repository.discover()?;
    let known: Vec<&str> = discovery.modules.iter().map(|module| module.name.as_str()).collect();
    if known.contains(&wanted) { Ok(ModuleName::new(wanted)) } else { Err(unknown_module(wanted, &known)) }
}

fn append(open: &Open, module: &ModuleName, event: &Event) -> Result<u64, Failure> {
    let mut journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    Ok(journal.append(module.as_str(), event)?.seq)
}
