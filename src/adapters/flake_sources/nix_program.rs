//! Sources that are not at hand, through the operator's own `nix` program.
//!
//! In: [`LocalSources`], asked first. Out: the same answers, and where those have none, what Nix
//! says: a flake of ours with that one input is locked by `nix flake metadata`, so that the
//! attributes are the ones that Nix itself would write, whichever version it is; files are read by
//! `nix eval` out of `builtins.fetchTree`, which checks `narHash`. Registries, archives, submodules
//! and whatever else Nix can fetch are Nix's business.
//!
//! Nix may use the network and its store, and runs `git` as the operator has set it up: this is
//! for a person's command that allowed it, never for what only looks. No program is started before
//! a source is missing, and none at all to confirm a `follows` that may be assumed.

#![expect(clippy::disallowed_methods, reason = "Nix needs some of the operator's environment")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{LocalSources, not_at_hand};
use crate::adapters::nix::environment::KEPT;
use crate::adapters::process::{Invocation, ProcessError};
use crate::domain::flake::reference::{Attr, FlakeRef};
use crate::domain::flake::relock::{FlakeSources, SourceError, Tree};
use crate::domain::text;

/// Fetching one source may take this long.
const DEADLINE: Duration = Duration::from_mins(15);

/// Two files of a source as JSON, or one lock.
const MAX_OUTPUT: usize = 160 << 20;

/// Gives the files `flake.nix` and `flake.lock` of a directory of a source.
type Files = BTreeMap<&'static str, Option<Vec<u8>>>;

/// Sources on this machine, then those that the `nix` program has or fetches.
pub struct AskingNix<'a> {
    local: &'a LocalSources,
    program: PathBuf,
    locked: RefCell<BTreeMap<FlakeRef, Result<FlakeRef, String>>>,
    read: RefCell<BTreeMap<(FlakeRef, String), Result<Files, String>>>,
    asked: RefCell<Vec<FlakeRef>>,
}

impl<'a> AskingNix<'a> {
    /// These first, then the `nix` of the search path, if there is one.
    #[must_use]
    pub fn new(local: &'a LocalSources) -> Self {
        Self {
            local,
            program: "nix".into(),
            locked: RefCell::default(),
            read: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    /// The same with another program than `nix`.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// What Nix answered for, in the order in which it was asked.
    #[must_use]
    pub fn answered(&self) -> Vec<FlakeRef> {
        self.asked.borrow().clone()
    }

    fn ask_to_lock(&self, reference: &FlakeRef) -> Result<FlakeRef, String> {
        if let Some(known) = self.locked.borrow().get(reference) {
            return known.clone();
        }
        let answer = self.metadata(reference);
        if answer.is_ok() {
            self.asked.borrow_mut().push(reference.clone());
        }
        self.locked.borrow_mut().insert(reference.clone(), answer.clone());
        answer
    }

    /// The locked node of a flake's only input, which is no flake: nothing is read of it.
    fn metadata(&self, reference: &FlakeRef) -> Result<FlakeRef, String> {
        #[derive(Deserialize)]
        struct Metadata {
            locks: Locks,
        }
        #[derive(Deserialize)]
        struct Locks {
            nodes: BTreeMap<String, Node>,
        }
        #[derive(Deserialize)]
        struct Node {
            locked: Option<FlakeRef>,
        }
        let flake = format!(
            "{{ inputs.source = {{ {} flake = false; }}; outputs = _: {{ }}; }}\n",
            attributes(reference)?
        );
        let failed = |error: std::io::Error| format!("no flake could be made for Nix: {error}");
        let dir = tempfile::tempdir().map_err(failed)?;
        std::fs::write(dir.path().join("flake.nix"), flake).map_err(failed)?;
        let args = ["flake", "metadata", "--json", "--no-write-lock-file", "path:."];
        let said = run(self.nix().args(args).cwd(dir.path()))?;
        let metadata: Metadata =
            serde_json::from_slice(&said).map_err(|error| format!("Nix gave no metadata: {error}"))?;
        let node = metadata.locks.nodes.get("source").and_then(|node| node.locked.clone());
        node.ok_or_else(|| "Nix locked it to nothing".to_owned())
    }

    fn ask_to_read(&self, locked: &FlakeRef, dir: &str) -> Result<Files, String> {
        let key = (locked.clone(), dir.to_owned());
        if let Some(known) = self.read.borrow().get(&key) {
            return known.clone();
        }
        let answer = self.files(locked, dir);
        if answer.is_ok() {
            self.asked.borrow_mut().push(locked.clone());
        }
        self.read.borrow_mut().insert(key, answer.clone());
        answer
    }

    /// Both files of a flake at once: Nix takes longer to start than to read.
    fn files(&self, locked: &FlakeRef, dir: &str) -> Result<Files, String> {
        let expression = format!(
            "let tree = builtins.fetchTree {{ {} }}; dir = {}; file = name: let path = tree + \"/${{dir}}${{name}}\"; \
             in if builtins.pathExists path then builtins.readFile path else null; \
             in [ (file \"flake.nix\") (file \"flake.lock\") ]",
            attributes(locked)?,
            string(dir)?
        );
        let said = run(self.nix().args(["eval", "--json", "--expr", &expression]).cwd("/"))?;
        let [nix, lock]: [Option<String>; 2] =
            serde_json::from_slice(&said).map_err(|error| format!("Nix gave no files: {error}"))?;
        Ok([("flake.nix", nix.map(String::into_bytes)), ("flake.lock", lock.map(String::into_bytes))].into())
    }

    fn nix(&self) -> Invocation {
        let mut nix = Invocation::new(&self.program).deadline(DEADLINE).output_cap(MAX_OUTPUT);
        for key in KEPT {
            if let Some(value) = std::env::var_os(key) {
                nix = nix.env(key, value);
            }
        }
        nix.env("GIT_TERMINAL_PROMPT", "0")
            .env("SSH_ASKPASS_REQUIRE", "never")
            .args(["--extra-experimental-features", "nix-command flakes"])
    }
}

impl FlakeSources for AskingNix<'_> {
    fn lock(&self, reference: &FlakeRef, revision: Option<&str>) -> Result<FlakeRef, SourceError> {
        let why = match self.local.lock(reference, revision) {
            Err(SourceError::NotAtHand(why)) => why,
            answer => return answer,
        };
        let mut asked = reference.clone();
        if let Some(revision) = revision {
            asked = asked.with("rev", Some(Attr::Str(revision.into())));
            // These name a branch or a revision, and record the revision alone.
            if matches!(reference.kind(), "github" | "gitlab" | "sourcehut") {
                asked = asked.with("ref", None);
            }
        }
        self.ask_to_lock(&asked).map_err(|said| not_at_hand(&format!("{why}; {said}")))
    }

    fn read(&self, tree: Tree<'_>, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let why = match self.local.read(tree, path) {
            Err(SourceError::NotAtHand(why)) => why,
            answer => return answer,
        };
        let Tree::Locked(locked) = tree else { return Err(SourceError::NotAtHand(why)) };
        let (dir, name) = path.split_at(path.rfind('/').map_or(0, |at| at + 1));
        let mut files = self
            .ask_to_read(&locked.with("dir", None), dir)
            .map_err(|said| not_at_hand(&format!("{why}; {said}")))?;
        files.remove(name).ok_or(SourceError::NotAtHand(why))
    }

    fn at_hand(&self, tree: Tree<'_>, path: &str) -> bool {
        self.local.at_hand(tree, path)
    }
}

/// What it prints, or why it is no answer.
fn run(invocation: Invocation) -> Result<Vec<u8>, String> {
    match invocation.run() {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => Err(format!("Nix says: {}", complaint(&output.stderr))),
        // A file where a directory of its path should be is no program either.
        Err(ProcessError::Start { source, .. })
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
        {
            Err("there is no nix program to ask for it".to_owned())
        }
        Err(error) => Err(super::chain(&error)),
    }
}

/// A reference as the inside of an attribute set.
fn attributes(reference: &FlakeRef) -> Result<String, String> {
    let mut shown = String::new();
    for (name, value) in reference.attrs() {
        let value = match value {
            Attr::Bool(value) => value.to_string(),
            Attr::Int(number) => number.to_string(),
            Attr::Str(value) => string(value)?,
        };
        let _ = write!(shown, "{} = {value}; ", string(name)?);
    }
    Ok(shown)
}

/// A string of the Nix language.
fn string(content: &str) -> Result<String, String> {
    if content.contains(char::is_control) {
        return Err("it holds a control character, and Nix is not asked for such things".to_owned());
    }
    Ok(format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$")))
}

/// The last error in what Nix said, inert and short.
fn complaint(stderr: &[u8]) -> String {
    let said = text::inert(&String::from_utf8_lossy(stderr));
    let from = said.rfind("error:").unwrap_or(0);
    text::clipped(said[from..].trim(), 500)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_data_in_the_expression() {
        let reference = FlakeRef::from_attrs(
            [
                ("type".to_owned(), Attr::Str("git".into())),
                ("url".to_owned(), Attr::Str("a\"; b = ${c} $${d} \\".into())),
                ("shallow".to_owned(), Attr::Bool(true)),
                ("a b".to_owned(), Attr::Int(1)),
            ]
            .into(),
        );
        assert_eq!(
            attributes(&reference).as_deref(),
            Ok(
                "\"a b\" = 1; \"shallow\" = true; \"type\" = \"git\"; \"url\" = \"a\\\"; b = \\${c} \\$\\${d} \\\\\"; "
            )
        );
        let odd = reference.with("url", Some(Attr::Str("a\nb".into())));
        assert!(attributes(&odd).is_err());
    }

    #[test]
    fn without_the_program_the_missing_source_is_named_as_before() {
        let local = LocalSources::new(std::path::Path::new("/nowhere"));
        let asking = AskingNix::new(&local).program("/nowhere/nix");
        let reference = FlakeRef::parse("https://x.org/a.tar.gz").expect("a reference");
        let (without, with) = (local.lock(&reference, None), asking.lock(&reference, None));
        let (Err(SourceError::NotAtHand(without)), Err(SourceError::NotAtHand(with))) = (without, with)
        else {
            panic!("neither has it")
        };
        assert_eq!(with, format!("{without}; there is no nix program to ask for it"));
        assert!(asking.answered().is_empty());
    }
}
