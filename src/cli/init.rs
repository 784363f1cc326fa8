//! `init`: the state directory and the journal of a workspace, and who decides over it. Doing it
//! twice changes nothing.
//!
//! The first members document is trusted here because the person at this machine says so, key by
//! key; later ones are decided by those whom it names. It grants the standing authority to heal, unless
//! `--no-heal` says otherwise. With no key given one is made, so that a
//! single operator can begin at once.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::place::{self, shown};
use super::{Exit, Failure, Global, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::durable::{self, Disk as _, RealDisk};
use crate::adapters::journal::{JournalReader, JournalWriter};
use crate::adapters::signing::{make_key, read_public_key};
use crate::adapters::state_dir::{Origin, StateDir};
use crate::config::effective;
use crate::config::load::WORKSPACE_FILE;
use crate::domain::governance::key::PublicKey;
use crate::domain::governance::members::{Members, workspace_id};
use crate::domain::id::{Cid, ObjectId};
use crate::domain::policy::Policy;
use crate::ops::{govern, trust};
use crate::ports::{FirstTrusted, PortError, Repository as _, Superproject};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also write a configuration file to begin with into the git directory, unless there is one
    #[arg(long)]
    write_config: bool,
    /// Trust this public key to decide over proposals (several times for several). Without it a key is made
    #[arg(long, value_name = "KEY.pub")]
    trust: Vec<PathBuf>,
    /// Whose each trusted key is, in the same order; a name given twice has two keys [default: from the key's file]
    #[arg(long = "as", value_name = "NAME", requires = "trust")]
    names: Vec<String>,
    /// Let no module be rolled back without a decision: one that breaks is only proposed to go back
    #[arg(long)]
    no_heal: bool,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    workspace: String,
    modules: usize,
    state_dir: String,
    state_dir_named_by: Origin,
    created: bool,
    newest_entry: Option<u64>,
    config_written: Option<String>,
    /// Who decides; absent in a superproject without a commit.
    members: Option<ShownMembers>,
    policy: Option<Cid>,
    /// The key that was made because nobody trusted another.
    key: Option<String>,
    /// Whether that was just now.
    key_made: bool,
}

#[derive(Serialize)]
struct ShownMembers {
    document: Cid,
    epoch: u64,
    workspace: String,
    principals: Vec<ShownPrincipal>,
    /// Whether a broken module may be taken back to a pin that was verified without a decision.
    heal: bool,
}

#[derive(Serialize)]
struct ShownPrincipal {
    name: String,
    /// The fingerprints of its keys.
    keys: Vec<String>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let place = place::find(global);
    let (settings, repository) = (place.settings?, place.repository?);
    let state_dir = place::state_dir(global, &settings, &repository)?;
    // Before anything is made: a superproject that cannot be read needs no state.
    let modules = repository.discover()?.modules.len();
    let before = JournalReader::open(&state_dir)?.head();
    let wanted = wanted(args)?;
    let first = repository.first_commit()?;
    refuse_trust(&state_dir, &wanted, first)?;
    if before.is_none() {
        JournalWriter::open(&state_dir, &SystemClock)?;
    }
    let key_made = match first {
        Some(first) => found(&repository, &state_dir, workspace_id(first), wanted, !args.no_heal)?,
        None => false,
    };
    let newest_entry = JournalReader::open(&state_dir)?.head().map(|head| head.seq);
    let config_written = if args.write_config { write_config(repository.common_dir())? } else { None };
    let journal = JournalReader::open(&state_dir)?;
    let report = Report {
        schema: "lambda-os/init/v1",
        workspace: shown(repository.work_tree()),
        modules,
        state_dir: shown(state_dir.root()),
        state_dir_named_by: state_dir.origin(),
        created: before.is_none(),
        newest_entry,
        config_written: config_written.as_deref().map(shown),
        members: shown_members(&journal)?,
        policy: journal.state().policy,
        key: Some(state_dir.operator_key()).filter(|key| key.exists()).as_deref().map(shown),
        key_made,
    };
    if global.json {
        return show::json(&report);
    }
    show::data(&said(&report, args.write_config))
}

fn said(report: &Report, asked_for_config: bool) -> String {
    let mut said = format!(
        "workspace  {} ({} modules)\nstate      {} ({})\n",
        report.workspace,
        report.modules,
        report.state_dir,
        if report.created { "made" } else { "was there" },
    );
    if let Some(seq) = report.newest_entry {
        let _ = writeln!(said, "journal    newest entry {seq}");
    }
    match &report.members {
        None => {
            said.push_str(
                "members    none: the superproject has no commit yet; init again after the first\n",
            );
        }
        Some(members) => {
            for principal in &members.principals {
                let _ = writeln!(said, "member     {} {}", principal.name, principal.keys.join(" "));
            }
            said.push_str(if members.heal {
                "healing    granted: a module that breaks goes back to its last verified pin by itself\n"
            } else {
                "healing    not granted: for a module that breaks, going back is only proposed\n"
            });
        }
    }
    if let Some(path) = &report.key {
        let made =
            if report.key_made { "made: it signs your ballots, give it to nobody" } else { "was there" };
        let _ = writeln!(said, "key        {path} ({made})");
    }
    match &report.config_written {
        Some(path) => {
            let _ = writeln!(said, "config     {path} (made: every default, commented out)");
        }
        None if asked_for_config => said.push_str("config     was there, left as it is\n"),
        None => {}
    }
    said.push_str("next: lambda-os doctor, then lambda-os run --once\n");
    said
}

/// The keys that `--trust` names, each with its `--as`.
fn wanted(args: &Args) -> Result<Vec<(String, PublicKey)>, Failure> {
    if !args.names.is_empty() && args.names.len() != args.trust.len() {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "there are {} --trust and {} --as: give one name for each key",
                args.trust.len(),
                args.names.len()
            ),
        )
        .hint("--trust a.pub --as alice --trust b.pub --as bob"));
    }
    let named = |(at, path): (usize, &PathBuf)| {
        let key = read_public_key(path)?;
        let name = match args.names.get(at) {
            Some(name) => name.clone(),
            None => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        };
        Ok((name, key))
    };
    args.trust.iter().enumerate().map(named).collect()
}

/// Refuse what cannot be trusted before anything is made.
fn refuse_trust(
    state_dir: &StateDir,
    wanted: &[(String, PublicKey)],
    first: Option<ObjectId>,
) -> Result<(), Failure> {
    if wanted.is_empty() {
        return Ok(());
    }
    if JournalReader::open(state_dir)?.state().members.is_some() {
        return Err(Failure::new(
            Exit::Failed,
            "cannot trust another key: this workspace has its members, and only they decide who joins them",
        )
        .hint("lambda-os init, without --trust, shows who they are"));
    }
    let Some(first) = first else {
        return Err(Failure::new(
            Exit::Failed,
            "cannot trust a key: the superproject has no commit yet, and its first one names the workspace",
        )
        .hint("make the first commit, then init again"));
    };
    trust::founding(workspace_id(first), wanted)?;
    Ok(())
}

/// Put the first members document and policy in force, unless they are. Says whether a key was made.
pub(super) fn found(
    superproject: &dyn Superproject,
    state_dir: &StateDir,
    workspace: String,
    mut wanted: Vec<(String, PublicKey)>,
    heal: bool,
) -> Result<bool, Failure> {
    let mut journal = JournalWriter::open(state_dir, &SystemClock)?;
    let inbox = state_dir.inbox();
    RealDisk
        .create_dir(&inbox)
        .map_err(|error| durable::port_error(format!("cannot make the inbox {}", shown(&inbox)), error))?;
    let state = journal.state().clone();
    if state.members.is_some() {
        return Ok(false);
    }
    let made = wanted.is_empty();
    if made {
        wanted.push((OPERATOR.to_owned(), make_key(&state_dir.operator_key(), "lambda-os operator")?));
    }
    let members = Members { heal, ..trust::founding(workspace, &wanted)? };
    let document =
        members.cid().map_err(|error| PortError::failed("cannot write down who decides").because(error))?;
    let policy = Policy::default();
    let adopted = policy
        .cid()
        .map_err(|error| PortError::failed("cannot write down by which rules is decided").because(error))?;
    // A policy that was adopted before a crash is kept.
    let first = FirstTrusted { members: document, policy: state.policy.unwrap_or(adopted) };
    superproject.remember_trusted(first)?;
    trust::trust(&mut journal, &state, &members, &policy)?;
    Ok(made)
}

/// What the one who decides alone is called.
const OPERATOR: &str = "operator";

/// Who decides now.
fn shown_members(journal: &JournalReader) -> Result<Option<ShownMembers>, Failure> {
    let state = journal.state();
    if state.members.is_none() {
        return Ok(None);
    }
    let rules = govern::rules(journal, state)?;
    let principals = rules.members.principals.into_iter().map(|principal| ShownPrincipal {
        keys: principal.keys.iter().map(PublicKey::fingerprint).collect(),
        name: principal.name,
    });
    Ok(Some(ShownMembers {
        document: rules.members_cid,
        epoch: rules.members.epoch,
        workspace: rules.members.workspace,
        principals: principals.collect(),
        heal: rules.members.heal,
    }))
}

/// Write the template, whole or not at all, and never over a file that is there.
fn write_config(common_dir: &Path) -> Result<Option<PathBuf>, Failure> {
    let path = common_dir.join(WORKSPACE_FILE);
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write the configuration {}: {error}", shown(&path)))
            .hint("lambda-os config template prints the same text")
    };
    let dir = path.parent().unwrap_or(common_dir);
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut file = tempfile::Builder::new().prefix(".config-").tempfile_in(dir).map_err(failed)?;
    file.write_all(effective::template().as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(failed(error.error)),
    }
}
