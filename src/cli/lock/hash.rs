//! `lock hash`: the NAR hash of commits' sources, from a git directory alone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use crate::adapters::git::nar::Fetched;
use crate::adapters::git::nar_cache::NarCache;
use crate::adapters::git::sources::SourceRepository;
use crate::adapters::state_dir::StateDir;
use crate::cli::show;
use crate::cli::{Exit, Failure, Global};
use crate::domain::flake::nar::store_path;
use crate::domain::id::ObjectId;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A git repository: bare, or a checkout
    #[arg(value_name = "GIT_DIR")]
    repository: PathBuf,
    /// Commits: hashes, tags, branches, HEAD~2
    #[arg(value_name = "REV", required = true)]
    revisions: Vec<String>,
    /// How Nix gets the source: as an archive (also gitlab, sourcehut), or by git
    #[arg(long = "type", value_enum, default_value_t = Type::Github, value_name = "TYPE")]
    kind: Type,
}

/// The fetchers that differ in what a source holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Type {
    /// An archive made by `git archive`: `export-ignore` and conversions apply
    Github,
    /// Every file as committed
    Git,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    hashes: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    rev: ObjectId,
    tree: ObjectId,
    nar_hash: String,
    /// The same in Nix's base 32.
    nar_hash_base32: String,
    /// The same in base 16.
    nar_hash_base16: String,
    last_modified: i64,
    store_path: String,
    /// Only of `--type git`, and not of a shallow repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    rev_count: Option<u64>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let repository = SourceRepository::open(&args.repository)?;
    let cache = cache(global)?;
    let fetched = match args.kind {
        Type::Github => Fetched::Tarball,
        Type::Git => Fetched::Git,
    };
    let mut hashes = Vec::new();
    for revision in &args.revisions {
        let commit = repository.commit(revision)?;
        let facts = repository.facts(commit, fetched, &cache)?;
        let rev_count = match args.kind {
            Type::Git => repository.rev_count(commit)?,
            Type::Github => None,
        };
        hashes.push(Row {
            rev: facts.rev,
            tree: facts.tree,
            nar_hash: facts.nar_hash.to_string(),
            nar_hash_base32: facts.nar_hash.nix32(),
            nar_hash_base16: facts.nar_hash.base16(),
            last_modified: facts.last_modified,
            store_path: store_path("source", &facts.nar_hash),
            rev_count,
        });
    }
    if args.kind == Type::Git && !global.quiet && repository.is_shallow() {
        eprintln!("warning: the repository is shallow, so revCount is not known");
    }
    if global.json {
        return show::json(&Report { schema: "lambda-os/lock-hash/v1", hashes });
    }
    let mut lines = String::new();
    for row in &hashes {
        let _ = writeln!(lines, "{}", row.rev);
        let mut rows = vec![
            vec!["  narHash".to_owned(), row.nar_hash.clone()],
            vec![String::new(), row.nar_hash_base32.clone()],
            vec![String::new(), row.nar_hash_base16.clone()],
            vec!["  storePath".to_owned(), row.store_path.clone()],
            vec!["  lastModified".to_owned(), row.last_modified.to_string()],
            vec!["  tree".to_owned(), row.tree.to_string()],
        ];
        rows.extend(row.rev_count.map(|count| vec!["  revCount".to_owned(), count.to_string()]));
        lines.push_str(&show::table(&rows));
    }
    show::data(&lines)
}

/// In the state directory when one is named, else of this run alone.
pub(super) fn cache(global: &Global) -> Result<NarCache, Failure> {
    let Some(dir) = &global.state_dir else { return Ok(NarCache::default()) };
    let state = StateDir::resolve_with(Some(dir), None, None, Path::new(""))?;
    state.prepare()?;
    Ok(NarCache::in_file(&state.nar_hashes()))
}
