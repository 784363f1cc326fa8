//! The step `command`: a program of the operator's looks at a module's files, in the sandbox.
//!
//! In: a module at its pin. Out: what the program's end says, as the supervisor saw it: exit 0 is
//! passed, everything else is not; what the program prints is a log and no more. The program has the
//! files read-only, at the path that `{path}` stands for, which is also where it starts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::materials::Materials;
use super::sandbox::{Confined, Limits, Profile, Sandbox, Watch};
use crate::domain::health::evidence::Lasting;
use crate::domain::health::{Exit, Outcome, Placed, Scene, Step, StepRun, Stream};
use crate::domain::text;
use crate::ports::{Checker, Ran, Runner};

/// Runs the operator's program.
pub struct CommandChecker {
    sandbox: Arc<Sandbox>,
    materials: Arc<Materials>,
    command: Command,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program, by an absolute path, and its arguments. `{module}` stands for the module's
    /// name, `{path}` for the directory of its files. There is no shell.
    pub program: Vec<String>,
    /// What it may read besides.
    pub read: Vec<PathBuf>,
    /// Its bounds.
    pub limits: Limits,
}

impl CommandChecker {
    /// A checker with this command.
    #[must_use]
    pub fn new(sandbox: Arc<Sandbox>, materials: Arc<Materials>, command: Command) -> Self {
        Self { sandbox, materials, command }
    }

    /// The arguments for one module.
    fn words(&self, module: &str, path: &Path) -> Vec<OsString> {
        let path = path.to_string_lossy();
        let placed =
            |word: &String| OsString::from(replaced(word, &[("{module}", module), ("{path}", &path)]));
        // The program itself is the operator's alone.
        let (program, args) = self.command.program.split_at(1.min(self.command.program.len()));
        program.iter().map(OsString::from).chain(args.iter().map(placed)).collect()
    }
}

/// A word with names replaced; what is put in their place is not looked at again.
fn replaced(word: &str, names: &[(&str, &str)]) -> String {
    let mut whole = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        whole.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((name, value)) = names.iter().find(|(name, _)| rest.starts_with(name)) {
            whole.push_str(value);
            rest = &rest[name.len()..];
        } else {
            whole.push('{');
            rest = &rest[1..];
        }
    }
    whole.push_str(rest);
    whole
}

impl Runner for CommandChecker {
    fn fingerprint(&self) -> Result<String, String> {
        let program = self.command.program.first().ok_or("no program is configured")?;
        let real = std::fs::canonicalize(program).map_err(|error| format!("{program}: {error}"))?;
        let meta = real.metadata().map_err(|error| format!("{program}: {error}"))?;
        if !meta.is_file() || meta.mode() & 0o111 == 0 {
            return Err(format!("{program} is no program"));
        }
        let sandbox = self.sandbox.fingerprint()?;
        let Command { program, read, limits } = &self.command;
        Ok(format!(
            "command 1: {program:?} at {} ({} bytes, inode {}, {}.{:09}), reads {read:?}, {limits:?}, {sandbox}",
            real.display(),
            meta.size(),
            meta.ino(),
            meta.mtime(),
            meta.mtime_nsec(),
        ))
    }
}

impl Checker for CommandChecker {
    fn check(&self, _scene: &Scene, placed: &Placed) -> Ran {
        let module = &placed.module;
        let material = match self.materials.of(module, placed.pin) {
            Ok(material) => material,
            Err(reason) => return not_run(reason),
        };
        let words = self.words(module.name.as_str(), material.path());
        let mut profile =
            Profile::new(self.command.limits.clone()).read(material.path()).cwd(material.path());
        for path in &self.command.read {
            profile = profile.read(path);
        }
        let confined = self.sandbox.run(&profile, &words, b"", &mut |_| Watch::GoOn);
        let outcome = outcome(&confined, self.command.limits.deadline.as_secs());
        ran(outcome, &words, &confined)
    }
}

/// What the program's end says of the module.
fn outcome(confined: &Confined, deadline_s: u64) -> Outcome {
    // The same files may pass another time, as far as anyone but the program knows.
    let failed = |reason: String| Outcome::Failed { reason, lasting: Lasting::Transient };
    if let Some(reason) = &confined.trouble {
        return Outcome::Unknown { reason: reason.clone() };
    }
    match &confined.exit {
        Exit::Code(0) => Outcome::Passed { weak: None },
        Exit::Code(code) => {
            failed(format!("the command ended with exit code {code}{}", last_words(confined)))
        }
        Exit::Signal(signal) => {
            failed(format!("the command was ended by signal {signal}{}", last_words(confined)))
        }
        Exit::Deadline => {
            Outcome::TimedOut { reason: format!("the command did not end within {deadline_s} s") }
        }
        Exit::Bound(bound) => failed(format!("the command was stopped: {bound}")),
        Exit::Stopped | Exit::NotRun => Outcome::Unknown { reason: "the command was not run".to_owned() },
    }
}

/// The last line that it wrote, for people.
fn last_words(confined: &Confined) -> String {
    let last = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4096)..]).into_owned();
        text.lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .map(|line| text::clipped(&text::inert(line), 200))
    };
    let said = last(&confined.stderr.bytes).or_else(|| last(&confined.stdout.bytes));
    said.map_or_else(String::new, |line| format!(", saying: {line}"))
}

fn ran(outcome: Outcome, words: &[OsString], confined: &Confined) -> Ran {
    let mut notes = Vec::new();
    if confined.left_behind > 0 {
        notes.push(format!("{} processes that it left behind were ended", confined.left_behind));
    }
    let run = StepRun {
        step: Step::Command,
        attempt: 1,
        outcome,
        command: words.iter().map(|word| text::inert(&word.to_string_lossy())).collect(),
        exit: confined.exit.clone(),
        stdout: confined.stdout.stream(),
        stderr: confined.stderr.stream(),
        log: None,
        duration_ms: u64::try_from(confined.duration.as_millis()).unwrap_or(u64::MAX),
        tools: BTreeMap::from([("lambda-os".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
        sandbox: Some(confined.report.clone()),
        notes,
    };
    Ran { run, log: confined.log() }
}

fn not_run(reason: String) -> Ran {
    let run = StepRun {
        step: Step::Command,
        attempt: 1,
        outcome: Outcome::Unknown { reason },
        command: Vec::new(),
        exit: Exit::NotRun,
        stdout: Stream::default(),
        stderr: Stream::default(),
        log: None,
        duration_ms: 0,
        tools: BTreeMap::new(),
        sandbox: None,
        notes: Vec::new(),
    };
    Ran { run, log: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_once_and_values_are_not_read_again() {
        let names = [("{module}", "a{path}"), ("{path}", "/p")];
        for (word, expect) in [
            ("{module}", "a{path}"),
            ("--x={path}/{path}", "--x=/p//p"),
            ("{other} {", "{other} {"),
            ("{{path}}", "{/p}"),
            ("", ""),
        ] {
            assert_eq!(replaced(word, &names), expect);
        }
    }
}
