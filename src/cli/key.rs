//! `key`: keys that sign ballots: made here, listed, put to those who decide, and cut off at once.
//!
//! Trusting a key changes who decides, so it is a proposal. Revoking one is both: from now on it counts
//! for nothing in this journal, and its removal is proposed to everyone.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::amend::{self, Report};
use super::open::Open;
use super::place::shown;
use super::{Exit, Failure, Global, show};
use crate::adapters::journal::{JournalReader, JournalWriter};
use crate::adapters::signing::{make_key, read_public_key};
use crate::domain::change::DocumentKind;
use crate::domain::event::Event;
use crate::domain::governance::document::Document;
use crate::domain::governance::key::PublicKey;
use crate::domain::governance::members::{Members, MembersError, Term, is_name};
use crate::domain::moment::Moment;
use crate::domain::text;
use crate::ops::amend::keys;
use crate::ops::govern;
use crate::ports::Journal as _;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make an Ed25519 key that signs ballots
    Generate(GenerateArgs),
    /// List the keys that may sign ballots, and those that no longer count here
    List,
    /// Propose that a key may sign for somebody
    Trust(TrustArgs),
    /// Let a key count for nothing from now on, here, and propose to everyone that it is removed
    Revoke(RevokeArgs),
}

/// Arguments.
#[derive(Debug, clap::Args)]
struct GenerateArgs {
    /// The new file; its public half goes beside it, as FILE.pub
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A comment in the public key, for people
    #[arg(long, value_name = "TEXT", default_value = "lambda-os")]
    comment: String,
}

/// Arguments.
#[derive(Debug, clap::Args)]
struct TrustArgs {
    /// The public key
    #[arg(value_name = "KEY.pub")]
    key: PathBuf,
    /// Whose it is: one who decides already, or somebody new [default: from the key's file]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// From when it holds, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Until when it holds
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

/// Arguments.
#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// The key: its fingerprint (SHA256:...), or the file of its public half
    #[arg(value_name = "KEY")]
    key: String,
    /// Why: it stands in the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The public key that is proposed in its place
    #[arg(long, value_name = "KEY.pub")]
    replace: Option<PathBuf>,
}

#[derive(Serialize)]
struct Generated {
    schema: &'static str,
    file: String,
    public_file: String,
    key: String,
    fingerprint: String,
}

#[derive(Serialize)]
struct Listed {
    schema: &'static str,
    keys: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    /// Whose it is; absent for a revoked key that is nobody's any more.
    name: Option<String>,
    fingerprint: String,
    /// The algorithm and the key, as OpenSSH writes them.
    key: Option<String>,
    #[serde(flatten)]
    term: Term,
    in_token: bool,
    /// The entry from which on it counts for nothing here.
    revoked_by: Option<u64>,
}

#[derive(Serialize)]
struct Revoked {
    schema: &'static str,
    fingerprint: String,
    /// The entry that revokes it here.
    seq: u64,
    /// Whether that entry was there before.
    repeated: bool,
    /// The proposal that removes it everywhere.
    proposed: Option<Report>,
    /// Why its removal could not be proposed.
    not_proposed: Option<String>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Generate(args) => generate(global, args),
        Verb::List => list(global),
        Verb::Trust(args) => trust(global, args),
        Verb::Revoke(args) => revoke(global, args),
    }
}

fn generate(global: &Global, args: &GenerateArgs) -> Result<Exit, Failure> {
    let mut public_file = args.out.clone().into_os_string();
    public_file.push(".pub");
    let public_file = PathBuf::from(public_file);
    if let Some(there) = [&args.out, &public_file].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(Failure::new(
            Exit::Failed,
            format!("cannot make a key: {} is there already", shown(there)),
        )
        .hint("give another --out: no key is ever overwritten"));
    }
    if args.comment.len() > 200 || text::inert(&args.comment) != args.comment {
        return Err(Failure::new(Exit::Usage, "the comment of a key is one line of at most 200 bytes"));
    }
    let key = make_key(&args.out, &args.comment)?;
    let report = Generated {
        schema: "lambda-os/key-generate/v1",
        file: shown(&args.out),
        public_file: shown(&public_file),
        key: key.line().to_owned(),
        fingerprint: key.fingerprint(),
    };
    if global.json {
        return show::json(&report);
    }
    show::data(&format!(
        "key          {} (it signs your ballots: give it to nobody)\npublic       {}\nfingerprint  {}\n\
         next: lambda-os key trust {} --as NAME proposes that it may sign\n",
        report.file, report.public_file, report.fingerprint, report.public_file
    ))
}

fn list(global: &Global) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let journal = JournalReader::open(&open.state_dir)?;
    let state = journal.state();
    let members = govern::rules(&journal, state)?.members;
    let mut keys = Vec::new();
    for principal in &members.principals {
        for key in &principal.keys {
            let fingerprint = key.fingerprint();
            keys.push(Row {
                name: Some(principal.name.clone()),
                key: Some(key.line().to_owned()),
                term: principal
                    .terms
                    .get(&fingerprint)
                    .copied()
                    .unwrap_or(Term { from_ms: None, until_ms: None }),
                in_token: key.is_in_token(),
                revoked_by: state.revoked.get(&fingerprint).copied(),
                fingerprint,
            });
        }
    }
    for (fingerprint, seq) in &state.revoked {
        if keys.iter().all(|row| row.fingerprint != *fingerprint) {
            let fingerprint = fingerprint.clone();
            let term = Term { from_ms: None, until_ms: None };
            let (name, key, revoked_by) = (None, None, Some(*seq));
            keys.push(Row { name, fingerprint, key, term, in_token: false, revoked_by });
        }
    }
    if global.json {
        return show::json(&Listed { schema: "lambda-os/key-list/v1", keys });
    }
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    show::data(&show::table(&rows))
}

fn row(key: &Row) -> Vec<String> {
    let algorithm = key.key.as_deref().and_then(|line| line.split(' ').next()).unwrap_or("?");
    let mut said = Vec::new();
    if let Some(from) = key.term.from_ms {
        said.push(format!("from {}", show::utc(from)));
    }
    if let Some(until) = key.term.until_ms {
        said.push(format!("until {}", show::utc(until)));
    }
    if key.in_token {
        said.push("in a token".to_owned());
    }
    if let Some(seq) = key.revoked_by {
        said.push(format!("revoked here by entry {seq}"));
    }
    vec![
        key.name.as_deref().map_or_else(|| "nobody".to_owned(), text::word),
        text::word(&key.fingerprint),
        algorithm.to_owned(),
        said.join(", "),
    ]
}

fn trust(global: &Global, args: &TrustArgs) -> Result<Exit, Failure> {
    let key = read_public_key(&args.key)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => args.key.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    if !is_name(&name) {
        return Err(Failure::new(Exit::Usage, format!("{} cannot name who decides", text::quoted(&name)))
            .hint("--as NAME, of letters, digits and . _ - @ +"));
    }
    let open = Open::new(global)?;
    let journal = JournalReader::open(&open.state_dir)?;
    let rules = govern::rules(&journal, journal.state())?;
    let fingerprint = key.fingerprint();
    if let Some(seq) = journal.state().revoked.get(&fingerprint) {
        return Err(Failure::new(
            Exit::Refused,
            format!("the key {fingerprint} was revoked here, by entry {seq}: it counts for nothing any more"),
        )
        .hint("lambda-os key generate --out FILE makes another"));
    }
    let (from_ms, until_ms) = (args.from.map(Moment::as_ms), args.until.map(Moment::as_ms));
    let term = (from_ms.is_some() || until_ms.is_some()).then_some(Term { from_ms, until_ms });
    let next = keys::with_key(&rules.members, rules.members_cid, &name, &key, term)
        .map_err(|error| not_a_document(&format!("trust the key {fingerprint} as {name}'s"), &error))?;
    let notes = thresholds(&rules.members, &next);
    let amended = amend::put(&open, &Document::Members(Box::new(next)))?;
    let report = amend::report("lambda-os/key-trust/v1", amended);
    if global.json {
        return show::json(&report);
    }
    show::data(&(amend::for_people(&report, DocumentKind::Members) + &notes))
}

/// What to know where more people decide by thresholds that were made for fewer.
fn thresholds(old: &Members, new: &Members) -> String {
    if new.principals.len() == old.principals.len() {
        return String::new();
    }
    let rules = new.tracks.iter();
    let said: Vec<String> =
        rules.map(|(track, rule)| format!("{} {}", track.as_str(), rule.threshold)).collect();
    format!(
        "note: thresholds stay as they are, for {} who decide: {}; lambda-os members show and propose change them\n",
        new.principals.len(),
        said.join(", ")
    )
}

fn not_a_document(attempted: &str, error: &MembersError) -> Failure {
    let mut failure = Failure::new(Exit::Usage, format!("cannot {attempted}"))
        .hint("lambda-os members show prints the document in force, to edit");
    failure.causes.push(error.to_string());
    failure
}

fn revoke(global: &Global, args: &RevokeArgs) -> Result<Exit, Failure> {
    let reason = args.reason.trim();
    if reason.is_empty() || reason.len() > 1000 {
        return Err(Failure::new(Exit::Usage, "cannot revoke a key without a reason of 1 to 1000 bytes"));
    }
    let replacement = args.replace.as_deref().map(read_public_key).transpose()?;
    let open = Open::new(global)?;
    let mut journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    let state = journal.state().clone();
    let rules = govern::rules(&journal, &state)?;
    let fingerprint = if args.key.starts_with("SHA256:") {
        args.key.clone()
    } else {
        read_public_key(std::path::Path::new(&args.key))?.fingerprint()
    };
    let all = rules.members.principals.iter().flat_map(|one| &one.keys);
    if !all.map(PublicKey::fingerprint).any(|known| known == fingerprint) {
        return Err(Failure::new(
            Exit::Usage,
            format!("the key {} is nobody's who decides over this workspace", text::word(&fingerprint)),
        )
        .hint("lambda-os key list"));
    }
    // First what holds at once, whatever becomes of the proposal.
    let known = state.revoked.get(&fingerprint).copied();
    let seq = if let Some(seq) = known {
        seq
    } else {
        let reason = text::clipped(&text::inert(reason), 1000);
        journal.append("key", &Event::KeyRevoked { key: fingerprint.clone(), reason })?.seq
    };
    drop(journal);
    let next = keys::without_key(&rules.members, rules.members_cid, &fingerprint, replacement.as_ref());
    let (proposed, not_proposed) = match next {
        Ok(next) => {
            let amended = amend::put(&open, &Document::Members(Box::new(next)))?;
            (Some(amend::report("lambda-os/key-revoke/v1", amended)), None)
        }
        Err(error) => (None, Some(error.to_string())),
    };
    if global.json {
        let schema = "lambda-os/key-revoke/v1";
        let repeated = known.is_some();
        return show::json(&Revoked { schema, fingerprint, seq, repeated, proposed, not_proposed });
    }
    let mut said = format!("{fingerprint} counts for nothing here since entry {seq}\n");
    if let Some(report) = &proposed {
        said.push_str(&amend::for_people(report, DocumentKind::Members));
    }
    if let Some(why) = &not_proposed {
        let _ = writeln!(
            said,
            "its removal cannot be proposed as it is: {why}\nnext: lambda-os key revoke with --replace KEY.pub, or \
             lambda-os members show, edit, propose"
        );
    }
    show::data(&said)
}
