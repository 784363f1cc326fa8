//! Sources from git repositories into the Nix store, so that a locked flake needs no network.
//!
//! In: a commit of a repository on this machine. Out: its source in the store, under the path
//! that Nix itself computes from `narHash` (the name is always `source`): evaluation then finds
//! it there and fetches nothing. The store's own program is asked to add it, as any user may;
//! nothing is signed and nothing is trusted that its content does not prove.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::git::nar::Fetched;
use super::git::sources::SourceRepository;
use super::process::{Invocation, Output, ProcessError};
use crate::domain::flake::nar::{NarHash, store_path};
use crate::domain::id::ObjectId;
use crate::domain::text;
use crate::ports::{FailureKind, PortError, PortResult};

/// The largest archive that is added, bytes: it passes through memory.
const MAX_ARCHIVE: u64 = 1 << 30;

/// Paths in one question: arguments of a program are bounded.
const AT_ONCE: usize = 1000;

/// A Nix store, through its program `nix-store`.
#[derive(Debug, Clone)]
pub struct NixStore {
    program: PathBuf,
    env: Vec<(OsString, OsString)>,
    deadline: Duration,
}

impl Default for NixStore {
    fn default() -> Self {
        Self::with_program("nix-store")
    }
}

impl NixStore {
    /// The store that this `nix-store` talks to.
    #[must_use]
    pub fn with_program(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), env: Vec::new(), deadline: Duration::from_mins(5) }
    }

    /// The same with a variable in the program's environment (`NIX_REMOTE`, `NIX_CONFIG`).
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Those of these paths that the store does not hold, asked at once.
    ///
    /// # Errors
    /// When the program cannot be run, or names another path.
    pub fn lacking<'p>(&self, paths: &[&'p str]) -> PortResult<BTreeSet<&'p str>> {
        let mut lacking = BTreeSet::new();
        for some in paths.chunks(AT_ONCE) {
            let attempted = || format!("cannot ask the Nix store for {} paths", some.len());
            let said = self.must(
                &self.invocation(&["--check-validity", "--print-invalid"]).args(some).output_cap(1 << 20),
                attempted,
            )?;
            for line in String::from_utf8_lossy(&said.stdout).lines() {
                let path = some.iter().find(|path| **path == line).ok_or_else(|| {
                    PortError::failed(attempted()).because(format!("it answered {}", text::quoted(line)))
                })?;
                lacking.insert(*path);
            }
        }
        Ok(lacking)
    }

    /// Add directories, each under its own last name, with one run of the program; the paths that
    /// they have in the store, in their order.
    ///
    /// # Errors
    /// When the store refuses one.
    pub fn add_directories(&self, directories: &[PathBuf]) -> PortResult<Vec<String>> {
        let attempted = || format!("cannot add {} sources to the Nix store", directories.len());
        let add = self.invocation(&["--add"]).args(directories.iter().map(Path::new)).output_cap(1 << 20);
        let said = self.must(&add, attempted)?;
        let paths: Vec<String> = String::from_utf8_lossy(&said.stdout).lines().map(str::to_owned).collect();
        if paths.len() == directories.len() {
            return Ok(paths);
        }
        Err(PortError::failed(attempted()).because(format!("it named {} paths", paths.len())))
    }

    /// Whether the store holds the source with this hash.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn has(&self, hash: &NarHash) -> PortResult<bool> {
        let path = store_path("source", hash);
        let attempted = || format!("cannot ask the Nix store for {path}");
        let ran = self.invocation(&["--check-validity", &path]).run();
        ran.map(|output| output.status.success()).map_err(|error| self.failed(attempted(), error))
    }

    /// Add the source of a commit, and give its path. With `expected`, what a lock says it is,
    /// another hash is an integrity failure and nothing is added. What is there already is left.
    ///
    /// # Errors
    /// When the source cannot be hashed, is not what is expected, or the store refuses it.
    pub fn add_source(
        &self,
        repository: &SourceRepository,
        commit: ObjectId,
        fetched: Fetched,
        expected: Option<&NarHash>,
    ) -> PortResult<String> {
        let attempted = || format!("cannot add the source of commit {commit} to the Nix store");
        if let Some(expected) = expected
            && self.has(expected)?
        {
            return Ok(store_path("source", expected));
        }
        let mut archive = Vec::new();
        let hash = repository.archive(commit, fetched, &mut archive, MAX_ARCHIVE)?;
        if let Some(expected) = expected.filter(|expected| **expected != hash) {
            return Err(PortError::failed(attempted())
                .kind(FailureKind::Integrity)
                .because(format!("its hash is {hash}, and {expected} was expected")));
        }
        let path = store_path("source", &hash);
        if self.has(&hash)? {
            return Ok(path);
        }
        let dir = tempfile::tempdir().map_err(|error| PortError::failed(attempted()).because(error))?;
        // Its name is a part of the path.
        let source = dir.path().join("source");
        let shown = source.to_string_lossy();
        let restore = self.invocation(&["--restore", &shown]).stdin(archive);
        self.must(&restore, attempted)?;
        let added = self.must(&self.invocation(&["--add", &shown]), attempted)?;
        let added = String::from_utf8_lossy(&added.stdout).trim().to_owned();
        if added != path {
            return Err(PortError::failed(attempted())
                .kind(FailureKind::Integrity)
                .because(format!("the store put it at {}, not at {path}", text::inert(&added))));
        }
        Ok(path)
    }

    fn invocation(&self, args: &[&str]) -> Invocation {
        let known = Invocation::new(&self.program).args(args).deadline(self.deadline).output_cap(1 << 16);
        self.env.iter().fold(known, |invocation, (name, value)| invocation.env(name, value))
    }

    fn must(&self, invocation: &Invocation, attempted: impl Fn() -> String) -> PortResult<Output> {
        let output = invocation.run().map_err(|error| self.failed(attempted(), error))?;
        if output.status.success() {
            return Ok(output);
        }
        let said = text::inert(String::from_utf8_lossy(&output.stderr).trim());
        Err(PortError::failed(attempted()).because(text::clipped(&said, 2_000)))
    }

    fn failed(&self, attempted: String, error: ProcessError) -> PortError {
        let absent = matches!(error, ProcessError::Start { .. });
        let failed = PortError::failed(attempted).because(error);
        if absent {
            failed.hint(format!("install Nix: {} is not there", text::inert(&self.program.to_string_lossy())))
        } else {
            failed
        }
    }
}
