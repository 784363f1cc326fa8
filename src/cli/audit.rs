//! `audit`: read, verify and export the journal.
//!
//! With `--state-dir` (or a bundle) no workspace is needed, so that a journal can be examined on
//! another machine. Nothing here creates or changes a state directory.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Subcommand;
use serde::Serialize;
use serde_json::{Value, json};

use super::open::Open;
use super::{Exit, Failure, Global, show};
use crate::adapters::journal::{Audit, JournalReader, export, parse_head, verify_bundle};
use crate::adapters::state_dir::StateDir;
use crate::domain::audit::chain::{Broken, Head, Verified};
use crate::domain::audit::entry::Record;
use crate::domain::id::{Cid, ModuleName};
use crate::domain::text;
use crate::ports::PortError;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List entries, oldest first
    Log(LogArgs),
    /// Show one entry and the values it names, or one stored value: evidence, a log
    Show {
        /// The entry's sequence number, or the identity of a stored value
        #[arg(value_name = "SEQ|CID")]
        what: Subject,
    },
    /// Check that all entries are linked, and that none is missing
    Verify(VerifyArgs),
    /// Write the entries and all values they name into one file that can be verified anywhere
    Export {
        /// The new file [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// What `audit show` shows.
#[derive(Debug, Clone, Copy)]
enum Subject {
    Entry(u64),
    Stored(Cid),
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(said: &str) -> Result<Self, Self::Err> {
        let entry = said.parse().map(Self::Entry).ok();
        entry
            .or_else(|| said.parse().map(Self::Stored).ok())
            .ok_or_else(|| "it is neither a number nor a content identity (bafkrei…)".to_owned())
    }
}

#[derive(Debug, clap::Args)]
struct LogArgs {
    /// At most so many, the newest of those that match; 0 means all
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// Only entries from this sequence number on
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
    /// Only entries of this type, such as cycle.finished
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only entries about this module
    #[arg(long, value_name = "MODULE")]
    module: Option<String>,
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// An entry that is known from elsewhere must be in the journal
    #[arg(long, value_name = "SEQ:CID")]
    against: Vec<Head>,
    /// A head file that was kept elsewhere: its entry must be in the journal
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// Verify an export instead of the journal
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Log(args) => log(global, args),
        Verb::Show { what: Subject::Entry(seq) } => show_entry(global, *seq),
        Verb::Show { what: Subject::Stored(cid) } => show_stored(global, *cid),
        Verb::Verify(args) => verify(global, args),
        Verb::Export { out } => export_to(global, out.as_deref()),
    }
}

fn state_dir(global: &Global) -> Result<StateDir, Failure> {
    match &global.state_dir {
        Some(_) => Ok(StateDir::resolve(global.state_dir.as_deref(), None, Path::new("."))?),
        None => Ok(Open::new(global)?.state_dir),
    }
}

fn no_journal(directory: &StateDir) -> Failure {
    let place = text::quoted(&directory.root().to_string_lossy());
    Failure::new(Exit::Failed, format!("there is no journal in {place}"))
        .hint("lambda-os init or run --once makes one; --state-dir names another directory")
}

fn log(global: &Global, args: &LogArgs) -> Result<Exit, Failure> {
    let directory = state_dir(global)?;
    let reader = JournalReader::open(&directory)?;
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let next = reader.head().map_or(0, |head| head.seq + 1);
    let filtered = args.kind.is_some() || args.module.is_some();
    // Without a filter the newest ones are known by their numbers; nothing else is read.
    let newest = if filtered { 0 } else { next.saturating_sub(u64::try_from(limit).unwrap_or(u64::MAX)) };
    let mut kept: VecDeque<Record> = VecDeque::new();
    reader.each_since(args.since.unwrap_or(0).max(newest), |record| {
        if args.kind.as_ref().is_none_or(|kind| *kind == record.kind)
            && args.module.as_ref().is_none_or(|module| is_about(&record, module))
        {
            if kept.len() == limit {
                kept.pop_front();
            }
            kept.push_back(record);
        }
        ControlFlow::Continue(())
    })?;
    if global.json {
        return show::json(&json!({
            "schema": "lambda-os/audit-log/v1",
            "log": reader.log(),
            "head": reader.head(),
            "torn_bytes": reader.torn(),
            "entries": kept,
        }));
    }
    if !reader.exists() && !global.quiet {
        show::say(&format!("no journal yet in {}", text::quoted(&directory.root().to_string_lossy())));
    }
    let rows: Vec<Vec<String>> = kept
        .iter()
        .map(|record| {
            vec![
                record.seq.to_string(),
                show::utc(record.wall_ms),
                text::inert(&record.kind),
                text::clipped(&text::inert(&record.subject), 40),
                text::clipped(&text::inert(&record.body.to_string()), 120),
            ]
        })
        .collect();
    show::data(&show::table(&rows))
}

fn is_about(record: &Record, module: &str) -> bool {
    let escaped = ModuleName::new(module);
    record.subject == escaped.as_str()
        || record.body.get("module").and_then(Value::as_str) == Some(escaped.as_str())
}

#[derive(Serialize)]
struct Named {
    name: &'static str,
    cid: Cid,
    present: bool,
    /// As JSON where it is JSON, else as inert text.
    content: Value,
}

fn show_entry(global: &Global, seq: u64) -> Result<Exit, Failure> {
    let directory = state_dir(global)?;
    let reader = JournalReader::open(&directory)?;
    if !reader.exists() {
        return Err(no_journal(&directory));
    }
    let Some(record) = reader.entry(seq)? else {
        let newest = reader.head().map_or(0, |head| head.seq);
        return Err(Failure::new(Exit::Usage, format!("there is no entry {seq}: the newest is {newest}"))
            .hint("lambda-os audit log"));
    };
    let cid = reader.line(seq)?.map(|line| Cid::of(&line));
    let mut objects = Vec::new();
    for (name, cid) in record.event().ok().flatten().map(|event| event.objects()).unwrap_or_default() {
        let bytes = reader.load(&cid)?;
        let content = match &bytes {
            None => Value::Null,
            Some(bytes) => {
                serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(text::inert_bytes(bytes)))
            }
        };
        objects.push(Named { name, cid, present: bytes.is_some(), content });
    }
    if global.json {
        let value =
            json!({"schema": "lambda-os/audit-show/v1", "entry": record, "cid": cid, "objects": objects});
        return show::json(&value);
    }
    let mut said = format!("entry {seq}  {}  {}\n", show::utc(record.wall_ms), text::inert(&record.kind));
    if let Some(cid) = cid {
        let _ = writeln!(said, "identity  {cid}");
    }
    let _ = writeln!(
        said,
        "follows   {}",
        record.prev.map_or_else(|| "nothing: it is the first".to_owned(), |prev| prev.to_string())
    );
    let _ = writeln!(said, "subject   {}", text::inert(&record.subject));
    let _ = writeln!(said, "body      {}", pretty(&record.body));
    for object in objects {
        let content =
            if object.present { pretty(&object.content) } else { "missing from objects/".to_owned() };
        let _ = writeln!(said, "\n{}  {}\n{content}", object.name, object.cid);
    }
    show::data(&said)
}

/// One stored value: indented where it is JSON, as inert lines where it is not.
fn show_stored(global: &Global, cid: Cid) -> Result<Exit, Failure> {
    let directory = state_dir(global)?;
    let reader = JournalReader::open(&directory)?;
    let Some(bytes) = reader.load(&cid)? else {
        return Err(Failure::new(Exit::Usage, format!("there is no stored value {cid}"))
            .hint("lambda-os audit show SEQ names the values of an entry"));
    };
    let content: Option<Value> = serde_json::from_slice(&bytes).ok();
    if global.json {
        let content = content.unwrap_or_else(|| Value::String(text::inert_bytes(&bytes)));
        return show::json(&json!({"schema": "lambda-os/audit-show/v1", "cid": cid, "content": content}));
    }
    let shown = match content {
        Some(value) => pretty(&value),
        None => text::inert_lines(&String::from_utf8_lossy(&bytes)),
    };
    show::data(&format!("{}\n", shown.trim_end_matches('\n')))
}

/// Indented JSON, every line inert (JSON itself escapes only C0 controls).
fn pretty(value: &Value) -> String {
    text::inert_lines(&serde_json::to_string_pretty(value).unwrap_or_default())
}

fn verify(global: &Global, args: &VerifyArgs) -> Result<Exit, Failure> {
    let mut known: Vec<(Head, String)> =
        args.against.iter().map(|head| (*head, "the given checkpoint".to_owned())).collect();
    if let Some(path) = &args.head {
        known.push((read_kept_head(path)?, format!("the file {}", text::quoted(&path.to_string_lossy()))));
    }
    let (audit, what) = if let Some(path) = &args.bundle {
        (verify_bundle(path, &known)?, text::quoted(&path.to_string_lossy()))
    } else {
        let directory = state_dir(global)?;
        let reader = JournalReader::open_unverified(&directory)?;
        if !reader.exists() {
            return Err(no_journal(&directory));
        }
        (reader.verify(&known)?, text::quoted(&directory.journal().to_string_lossy()))
    };
    match &audit.outcome {
        Ok(verified) => said_linked(global, &audit, verified, &known, &what),
        Err(found) => said_broken(global, found, &what),
    }
}

fn read_kept_head(path: &Path) -> Result<Head, Failure> {
    let place = text::quoted(&path.to_string_lossy());
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read the head file {place}: {error}")))?;
    parse_head(&bytes).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{place} is not a head file"))
            .hint("it holds {\"cid\":…,\"seq\":…} or SEQ:CID, as audit verify prints it")
    })
}

fn said_linked(
    global: &Global,
    audit: &Audit,
    verified: &Verified,
    known: &[(Head, String)],
    what: &str,
) -> Result<Exit, Failure> {
    if global.json {
        return show::json(&json!({
            "schema": "lambda-os/audit-verify/v1",
            "linked": true,
            "signed": false,
            "witnessed": false,
            "checked_against": known.iter().map(|(head, _)| head).collect::<Vec<_>>(),
            "entries": verified.entries,
            "log": verified.log,
            "head": verified.head,
            "torn_bytes": audit.torn,
            "not_understood_from": verified.unknown.as_ref().map(|(seq, _)| seq),
        }));
    }
    let mut said = format!(
        "linked: {} entries of the journal {} in {what}\n",
        verified.entries,
        text::inert(&verified.log)
    );
    match verified.head {
        Some(head) => {
            let _ = writeln!(said, "head: {head}");
        }
        None => said.push_str("head: none, the journal is empty\n"),
    }
    for (head, who) in known {
        let _ = writeln!(said, "holds entry {} as {} has it", head.seq, text::inert(who));
    }
    said.push_str("not signed, not witnessed: a rewrite of the whole journal together with its head file shows only against a head kept elsewhere (--against)\n");
    if let Some((seq, kind)) = &verified.unknown {
        let _ = writeln!(
            said,
            "entries from {seq} on ({}) were written by a newer lambda-os and are not understood here",
            text::inert(kind)
        );
    }
    if audit.torn > 0 {
        let _ = writeln!(
            said,
            "{} bytes after the last entry: a write under way, or a torn one that the next writer puts aside",
            audit.torn
        );
    }
    show::data(&said)
}

/// The answer of a broken chain: exit 7, and stdout is complete in both forms.
fn said_broken(global: &Global, found: &Broken, what: &str) -> Result<Exit, Failure> {
    if global.json {
        show::json(&json!({
            "schema": "lambda-os/audit-verify/v1",
            "linked": false,
            "signed": false,
            "witnessed": false,
            "first_bad_seq": found.seq,
            "reason": text::inert(&found.reason.to_string()),
        }))?;
        return Ok(Exit::Integrity);
    }
    let mut failure = Failure::new(
        Exit::Integrity,
        format!("not linked: {what} is broken at entry {} (first bad seq {})", found.seq, found.seq),
    )
    .hint("keep the state directory as it is: an export or a copy kept elsewhere has what is wrong here");
    failure.causes.push(found.to_string());
    Err(failure)
}

fn is_closed_pipe(error: &PortError) -> bool {
    let cause = error.source.as_ref().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn export_to(global: &Global, out: Option<&Path>) -> Result<Exit, Failure> {
    let directory = state_dir(global)?;
    let reader = JournalReader::open(&directory)?;
    if !reader.exists() {
        return Err(no_journal(&directory));
    }
    let (bundle, objects) = match export(&reader, out, &mut io::stdout().lock()) {
        Ok(written) => written,
        // Who reads the pipe has seen enough, as with every other verb.
        Err(error) if out.is_none() && is_closed_pipe(&error) => return Ok(Exit::Ok),
        Err(error) => return Err(error.into()),
    };
    let Some(out) = out else { return Ok(Exit::Ok) };
    if global.json {
        return show::json(&json!({
            "schema": "lambda-os/audit-export/v1",
            "out": out.to_string_lossy(),
            "entries": bundle.entries,
            "objects": objects,
            "head": bundle.head,
            "log": bundle.log,
        }));
    }
    let place = text::quoted(&out.to_string_lossy());
    show::data(&format!(
        "wrote {} entries and {objects} objects to {place}\nverify it anywhere: lambda-os audit verify --bundle {place}\n",
        bundle.entries
    ))
}
