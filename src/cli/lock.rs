//! `lock`: a flake's lock, checked and remade as Nix does, from sources on this machine.
//!
//! What is not there is asked of the `nix` program, if there is one and `--offline` was not said.

mod hash;
mod inputs;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;

use super::place::{self, shown};
use super::show::{self, Paint};
use super::{Exit, Failure, Global};
use crate::adapters::flake_sources::{AskingNix, LocalSources, write_lock};
use crate::adapters::git::nar_cache::NarCache;
use crate::adapters::git::{DiscoverSettings, GitRepository};
use crate::adapters::mirrors::Mirrors;
use crate::adapters::state_dir::StateDir;
use crate::domain::flake::lock::Lock;
use crate::domain::flake::reference::FlakeRef;
use crate::domain::flake::relock::{InputPath, RelockError, Relocked, Request, Update, Warning, relock};
use crate::domain::text;
use crate::domain::url::RepoIdentity;
use crate::ports::Repository as _;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Hash the sources of commits as Nix does
    Hash(hash::Args),
    /// Show what a flake.nix asks for, in Nix's own attributes
    Inputs(inputs::Args),
    /// Say whether Nix would accept flake.lock unchanged, else what would change
    Check {
        /// The directory of the flake
        #[arg(value_name = "FLAKE_DIR")]
        flake: PathBuf,
        #[command(flatten)]
        from: From,
        /// Also show repositories that are locked at several revisions
        #[arg(long)]
        duplicates: bool,
        /// Exit with 4 when Nix would change it
        #[arg(long)]
        exit_code: bool,
    },
    /// Lock inputs anew as `nix flake update INPUT...` does; without any, only what flake.nix changed
    Update {
        /// The directory of the flake
        #[arg(value_name = "FLAKE_DIR")]
        flake: PathBuf,
        /// Inputs (or input paths, a/b), each at its newest revision or at REV
        #[arg(value_name = "INPUT[=REV]")]
        inputs: Vec<String>,
        #[command(flatten)]
        from: From,
        /// Print the new lock instead of writing it
        #[arg(long)]
        stdout: bool,
    },
}

/// Where sources are.
#[derive(Debug, clap::Args)]
struct From {
    /// A repository of `github.com/OWNER/REPO` (or of `HOST/OWNER/REPO`) at `GIT_DIR`
    #[arg(long = "source", value_name = "OWNER/REPO=GIT_DIR")]
    sources: Vec<String>,
    /// A directory of git directories named OWNER+REPO/repo or OWNER/REPO.git
    #[arg(long = "sources", value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Also fail when only the `follows` of an unchanged source cannot be confirmed
    #[arg(long)]
    strict: bool,
}

/// A flake and the lock that is there.
struct Flake {
    dir: PathBuf,
    /// The tree that it is in, and where.
    top: PathBuf,
    inside: String,
    nix: Vec<u8>,
    /// The lock's bytes, and what they are.
    lock: Option<(Arc<String>, Lock)>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Hash(args) => hash::run(global, args),
        Verb::Inputs(args) => inputs::run(global, args),
        Verb::Check { flake, from, duplicates, exit_code } => {
            check(global, flake, from, *duplicates, *exit_code)
        }
        Verb::Update { flake, inputs, from, stdout } => update(global, flake, inputs, from, *stdout),
    }
}

fn check(
    global: &Global,
    dir: &Path,
    from: &From,
    duplicates: bool,
    exit_code: bool,
) -> Result<Exit, Failure> {
    let flake = Flake::open(dir)?;
    let (made, asked) = flake.relock(global, from, &BTreeMap::new())?;
    let (_, changed) = flake.file(&made);
    let report = shown::Report::new("check", flake.before(), &made, changed, &BTreeSet::new(), duplicates)
        .asked(&asked);
    if global.json {
        show::json(&report)?;
    } else {
        show::data(&report.text(Paint::stdout(global)))?;
    }
    Ok(if exit_code && report.changed { Exit::Changes } else { Exit::Ok })
}

fn update(
    global: &Global,
    dir: &Path,
    inputs: &[String],
    from: &From,
    stdout: bool,
) -> Result<Exit, Failure> {
    let updates = inputs.iter().map(|input| parse_update(input)).collect::<Result<BTreeMap<_, _>, _>>()?;
    let flake = Flake::open(dir)?;
    let (made, asked) = flake.relock(global, from, &updates)?;
    refuse_unknown(&made)?;
    let (file, changed) = flake.file(&made);
    if stdout {
        return show::data(&String::from_utf8_lossy(&file));
    }
    let declared: BTreeSet<String> = updates.keys().filter_map(|path| path.first().cloned()).collect();
    let report = shown::Report::new("update", flake.before(), &made, changed, &declared, false).asked(&asked);
    if report.changed {
        write_lock(&flake.dir, &file).map_err(|error| {
            let path = flake.dir.join("flake.lock");
            Failure::new(Exit::Failed, format!("cannot write {}: {error}", shown(&path)))
        })?;
    }
    if global.json { show::json(&report) } else { show::data(&report.text(Paint::stdout(global))) }
}

/// `INPUT` or `INPUT=REV`.
fn parse_update(argument: &str) -> Result<(InputPath, Update), Failure> {
    let (input, revision) = argument.split_once('=').map_or((argument, None), |(a, b)| (a, Some(b)));
    let path: InputPath = input.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let usage = |what: String| Failure::new(Exit::Usage, what);
    if path.is_empty() {
        return Err(usage(format!("{} names no input", text::quoted(argument))));
    }
    let Some(revision) = revision else { return Ok((path, Update::Newest)) };
    let full = matches!(revision.len(), 40 | 64)
        && revision.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if !full {
        return Err(usage(format!("{} is no full commit hash", text::quoted(revision)))
            .hint("give all 40 digits, in lower case: git rev-parse REV"));
    }
    Ok((path, Update::Revision(revision.to_owned())))
}

/// Nix only warns of an input that is none; who asked for it did not get it.
fn refuse_unknown(made: &Relocked) -> Result<(), Failure> {
    let unknown = made.warnings.iter().find_map(|warning| match warning {
        Warning::NotUpdated(path) => Some(path),
        Warning::NoSuchInput { .. } | Warning::Unlocked { .. } => None,
    });
    let Some(path) = unknown else { return Ok(()) };
    let name = path.join("/");
    let failure = Failure::new(
        Exit::Usage,
        format!(
            "{} is no input that can be locked: it is not there, or it follows another",
            text::quoted(&name)
        ),
    );
    let known: Vec<&str> = made.lock.root_inputs().map(|(name, _)| name).collect();
    Err(match text::nearest(&name, known.iter().copied()) {
        Some(near) => failure.hint(format!("did you mean {}?", text::inert(near))),
        None => failure.hint(format!("the flake's inputs: {}", text::inert(&known.join(" ")))),
    })
}

impl Flake {
    fn open(dir: &Path) -> Result<Self, Failure> {
        let failed = |what: &str, path: &Path, error: std::io::Error| {
            Failure::new(Exit::Failed, format!("cannot {what} {}: {error}", shown(path)))
        };
        let dir = std::fs::canonicalize(dir).map_err(|error| failed("open the flake", dir, error))?;
        let nix = dir.join("flake.nix");
        let bytes = std::fs::read(&nix).map_err(|error| failed("read", &nix, error))?;
        let file = dir.join("flake.lock");
        let lock = match std::fs::read(&file) {
            Ok(bytes) => {
                let (lock, text) = Lock::parse_for_relock(bytes).map_err(|error| {
                    Failure::new(Exit::Failed, format!("cannot read {}: {error}", shown(&file)))
                })?;
                Some((text, lock))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read", &file, error)),
        };
        // A flake in a repository is a part of that source: `path:` inputs may lead up to its top.
        let top = dir.ancestors().find(|dir| dir.join(".git").exists()).unwrap_or(&dir).to_owned();
        let inside = dir.strip_prefix(&top).ok().and_then(Path::to_str).unwrap_or("").to_owned();
        Ok(Self { dir, top, inside, nix: bytes, lock })
    }

    fn before(&self) -> Option<&Lock> {
        self.lock.as_ref().map(|(_, lock)| lock)
    }

    /// The file as it shall be, and whether that is another one.
    fn file(&self, made: &Relocked) -> (Vec<u8>, bool) {
        let before = self.lock.as_ref().map(|(text, lock)| (lock, text.as_bytes()));
        let file = made.file(before);
        let changed = before.map_or_else(|| made.differs_from(None), |(_, bytes)| bytes != file);
        (file, changed)
    }

    /// The lock made anew, and the sources that Nix was asked for.
    fn relock(
        &self,
        global: &Global,
        from: &From,
        updates: &BTreeMap<InputPath, Update>,
    ) -> Result<(Relocked, Vec<FlakeRef>), Failure> {
        let mut sources = LocalSources::new(&self.top);
        for source in &from.sources {
            let (identity, path) = parse_source(source)?;
            sources.add(identity, &path, None);
        }
        sources = self.add_modules(global, sources);
        if global.state_dir.is_some() {
            sources = sources.with_cache(Arc::new(hash::cache(global)?));
        }
        for folder in &from.folders {
            sources.add_folder(folder).map_err(|error| {
                Failure::new(Exit::Usage, format!("cannot list the sources in {}: {error}", shown(folder)))
            })?;
        }
        let request = Request {
            flake_nix: &self.nix,
            dir: &self.inside,
            lock: self.before(),
            updates,
            strict: from.strict,
        };
        if global.offline {
            let made = relock(request, &sources).map_err(|error| self.failure(global, error))?;
            return Ok((made, Vec::new()));
        }
        let asking = AskingNix::new(&sources);
        let made = relock(request, &asking).map_err(|error| self.failure(global, error))?;
        Ok((made, asking.answered()))
    }

    /// The modules of the workspace that the flake belongs to: their mirrors and checkouts. A
    /// workspace that cannot be read only has less to offer.
    fn add_modules(&self, global: &Global, mut sources: LocalSources) -> LocalSources {
        let workspace = global.workspace.clone().unwrap_or_else(|| self.dir.clone());
        let place = place::find(&Global { workspace: Some(workspace.clone()), ..global.clone() });
        let Ok(settings) = place.settings else { return sources };
        let wanted = DiscoverSettings {
            config_urls: settings.module_urls(),
            allow_local_urls: settings.allow_local_urls,
        };
        let Ok(repository) = GitRepository::open(&workspace, wanted) else { return sources };
        let common = repository.common_dir();
        let state = StateDir::resolve(global.state_dir.as_deref(), settings.state_dir.as_deref(), common);
        let (Ok(state), Ok(discovery)) = (state, repository.discover()) else { return sources };
        sources = sources.with_cache(Arc::new(NarCache::in_file(&state.nar_hashes())));
        let mirrors = Mirrors::open(&state.mirrors(), repository.work_tree(), common);
        for module in &discovery.modules {
            for (path, head) in mirrors.repositories(module) {
                sources.add(module.identity.clone(), &path, head);
            }
        }
        sources
    }

    fn failure(&self, global: &Global, error: RelockError) -> Failure {
        let attempted = format!("cannot lock the flake in {}", shown(&self.dir));
        let mut failure = Failure::new(Exit::Failed, attempted);
        match error {
            RelockError::Needs(needed) => {
                failure.causes = needed.iter().map(ToString::to_string).collect();
                let name = "name a clone of each with --source OWNER/REPO=GIT_DIR, or a directory of them with --sources DIR";
                let ask = if global.offline { "; without --offline the nix program is asked" } else { "" };
                failure.hint(format!("{name}{ask}"))
            }
            RelockError::Pinned { .. } => {
                failure.causes.push(error.to_string());
                failure.exit = Exit::Usage;
                failure.hint("change the revision in flake.nix first, then update without =REV")
            }
            other => {
                failure.causes.push(other.to_string());
                failure
            }
        }
    }
}

/// `OWNER/REPO=GIT_DIR` or `HOST/OWNER/REPO=GIT_DIR`.
fn parse_source(argument: &str) -> Result<(RepoIdentity, PathBuf), Failure> {
    let wrong = || {
        Failure::new(
            Exit::Usage,
            format!("--source {} is not of the form OWNER/REPO=GIT_DIR", text::quoted(argument)),
        )
    };
    let (name, path) = argument.split_once('=').ok_or_else(wrong)?;
    let parts: Vec<&str> = name.split('/').collect();
    let identity = match parts.as_slice() {
        [owner, repo] if !owner.is_empty() && !repo.is_empty() => RepoIdentity::github(owner, repo),
        [host, owner @ .., repo] if !host.is_empty() && !owner.is_empty() && !repo.is_empty() => {
            RepoIdentity::hosted(host, &owner.join("/"), repo)
        }
        _ => return Err(wrong()),
    };
    Ok((identity, PathBuf::from(path)))
}
