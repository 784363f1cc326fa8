//! git's own plumbing, for the forms that only git can read and write: reftable refs, SHA-256
//! objects, an index that `gix-index` cannot parse.
//!
//! For reading only `ls-files`, `rev-parse`, `symbolic-ref`, `cat-file` and `rev-list` are run: none
//! looks at the work tree, and none runs what a repository configures. For landing a change there
//! are `update-ref`, and `update-index` on a copy of the index, for paths that no filter is set on. The
//! environment is composed: no system or user configuration, no optional locks, no lazy fetch, no
//! transport, no hooks.

use std::path::{Path, PathBuf};

use super::files::{Read, Trouble, shown};
use super::gitdir::GitDirs;
use super::refs::Head;
use crate::adapters::process::{Invocation, Output};
use crate::domain::id::ObjectId;
use crate::domain::text;

/// git, aimed at one repository.
#[derive(Debug, Clone)]
pub(super) struct Plumbing {
    git_dir: PathBuf,
    work_tree: PathBuf,
    /// Another index than the repository's.
    index: Option<PathBuf>,
}

impl Plumbing {
    pub(super) fn new(dirs: &GitDirs, work_tree: &Path) -> Self {
        Self { git_dir: dirs.git_dir.clone(), work_tree: work_tree.to_owned(), index: None }
    }

    /// The same, with another file as index.
    pub(super) fn with_index(mut self, index: &Path) -> Self {
        self.index = Some(index.to_owned());
        self
    }

    fn git(&self, args: &[&str]) -> Invocation {
        let git = Invocation::new("git");
        let git = match &self.index {
            Some(index) => git.env("GIT_INDEX_FILE", index),
            None => git,
        };
        git.env("GIT_DIR", &self.git_dir)
            .env("GIT_WORK_TREE", &self.work_tree)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_TERMINAL_PROMPT", "0")
            .args([
                "-c",
                "core.fsmonitor=false",
                "-c",
                "core.hooksPath=/dev/null",
                "-c",
                "core.sshCommand=false",
                "-c",
                "core.fsync=all",
            ])
            .args(["--no-pager", "--literal-pathspecs"])
            .args(args)
            .cwd("/")
            .output_cap(512 << 20)
    }

    fn run(&self, args: &[&str]) -> Read<Output> {
        self.git(args).run().map_err(|error| {
            Trouble(format!("cannot ask git {} of {}: {error}", args[0], shown(&self.git_dir)))
        })
    }

    /// As [`Self::run`], where a failure has no meaning.
    fn answer(&self, args: &[&str]) -> Read<Vec<u8>> {
        self.finished(args[0], self.run(args)?)
    }

    fn finished(&self, verb: &str, output: Output) -> Read<Vec<u8>> {
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = text::inert_bytes(output.stderr.split(|byte| *byte == b'\n').next().unwrap_or_default());
        Err(Trouble(format!("git {verb} failed on {}: {said}", shown(&self.git_dir))))
    }

    /// Run `git update-index` with this input, on the index that was named: never on the repository's.
    pub(super) fn update_index(&self, args: &[&str], input: Vec<u8>) -> Read<()> {
        debug_assert!(self.index.is_some(), "a copy of the index is changed, not the index");
        let args = [&["update-index"], args].concat();
        let output = self.git(&args).stdin(input).run();
        let output = output.map_err(|error| {
            Trouble(format!("cannot run git update-index on {}: {error}", shown(&self.git_dir)))
        })?;
        self.finished("update-index", output).map(|_| ())
    }

    /// Move refs in one transaction, synced: each from where it must be (`None`: wherever it is) to
    /// a commit. No hook runs.
    pub(super) fn update_refs(&self, options: &[&str], moves: &[RefMove<'_>], log: &str) -> Read<()> {
        let mut input = Vec::new();
        for RefMove { reference, to, from } in moves {
            let from = from.map_or_else(String::new, |from| from.to_string());
            input.extend_from_slice(format!("update {reference}\0{to}\0{from}\0").as_bytes());
        }
        let args = [&["update-ref", "-m", log], options, &["-z", "--stdin"]].concat();
        let output = self
            .git(&args)
            .env("GIT_COMMITTER_NAME", "lambda-os")
            .env("GIT_COMMITTER_EMAIL", "lambda-os@localhost")
            .stdin(input)
            .run()
            .map_err(|error| {
                Trouble(format!("cannot run git update-ref on {}: {error}", shown(&self.git_dir)))
            })?;
        self.finished("update-ref", output).map(|_| ())
    }

    /// Remove a ref that is at a commit.
    pub(super) fn delete_ref(&self, reference: &str, at: ObjectId) -> Read<()> {
        self.answer(&["update-ref", "-d", reference, &at.to_string()]).map(|_| ())
    }

    /// The commit that a ref names, whatever format the refs are in.
    pub(super) fn resolve(&self, reference: &str) -> Read<Option<ObjectId>> {
        let resolved = self.run(&["rev-parse", "-q", "--verify", "--end-of-options", reference])?;
        Ok(parse_id(resolved.stdout.trim_ascii_end()))
    }

    /// HEAD, whatever format the refs are in.
    pub(super) fn head(&self) -> Read<Head> {
        let symbolic = self.run(&["symbolic-ref", "-q", "HEAD"])?;
        let branch = symbolic.status.success().then(|| {
            let name = symbolic.stdout.trim_ascii_end();
            String::from_utf8_lossy(name.strip_prefix(b"refs/heads/").unwrap_or(name)).into_owned()
        });
        let resolved = self.run(&["rev-parse", "-q", "--verify", "HEAD"])?;
        let id = parse_id(resolved.stdout.trim_ascii_end());
        if branch.is_none() && id.is_none() {
            return Err(Trouble(format!("git cannot resolve HEAD of {}", shown(&self.git_dir))));
        }
        Ok(Head { detached: branch.is_none(), branch, id })
    }

    /// An object's type and content; `None` when it is not there.
    pub(super) fn object(&self, id: ObjectId) -> Read<Option<(Vec<u8>, Vec<u8>)>> {
        let args = ["cat-file", "--batch"];
        let output = self.git(&args).stdin(format!("{id}\n")).run().map_err(|error| {
            Trouble(format!("cannot read object {id} of {}: {error}", shown(&self.git_dir)))
        })?;
        let malformed = || Trouble(format!("git did not give object {id} of {}", shown(&self.git_dir)));
        let line = output.stdout.iter().position(|byte| *byte == b'\n').ok_or_else(malformed)?;
        let mut words = output.stdout[..line].split(|byte| *byte == b' ').skip(1);
        let kind = words.next().ok_or_else(malformed)?.to_vec();
        if kind == b"missing" {
            return Ok(None);
        }
        let size = words
            .next()
            .and_then(|size| std::str::from_utf8(size).ok()?.parse::<usize>().ok())
            .ok_or_else(malformed)?;
        let content = output.stdout.get(line + 1..line + 1 + size).ok_or_else(malformed)?;
        Ok(Some((kind, content.to_vec())))
    }

    /// Commits that each side has alone: (`head` without `base`, `base` without `head`).
    pub(super) fn ahead_behind(&self, head: ObjectId, base: ObjectId) -> Read<Option<(u32, u32)>> {
        let range = format!("{head}...{base}");
        let output = self.run(&["rev-list", "--left-right", "--count", &range])?;
        if !output.status.success() {
            return Ok(None);
        }
        let counts = String::from_utf8_lossy(&output.stdout);
        let mut words = counts.split_ascii_whitespace().map(|word| word.parse::<u32>().ok());
        Ok(words.next().flatten().zip(words.next().flatten()))
    }

    /// Every index entry with flags and stat data: `ls-files --stage --debug -z --sparse`.
    pub(super) fn index(&self) -> Read<Vec<RawEntry>> {
        let bytes =
            self.answer(&["ls-files", "--stage", "--debug", "-z", "--sparse", "--full-name", "-v"])?;
        let malformed = || Trouble(format!("git ls-files of {} has an unknown form", shown(&self.git_dir)));
        let mut entries = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
            let (head, tail) = (&rest[..end], &rest[end + 1..]);
            let (debug, next) = five_lines(tail).ok_or_else(malformed)?;
            entries.push(RawEntry::parse(head, debug).ok_or_else(malformed)?);
            rest = next;
        }
        Ok(entries)
    }
}

/// One ref that moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefMove<'a> {
    pub(super) reference: &'a str,
    pub(super) to: ObjectId,
    pub(super) from: Option<ObjectId>,
}

/// One entry as `ls-files` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawEntry {
    pub(super) path: Vec<u8>,
    pub(super) mode: u32,
    pub(super) id: ObjectId,
    pub(super) stage: u32,
    pub(super) assume_unchanged: bool,
    pub(super) skip_worktree: bool,
    pub(super) intent_to_add: bool,
    /// ctime s, ctime ns, mtime s, mtime ns, dev, ino, uid, gid, size.
    pub(super) stat: [u32; 9],
}

impl RawEntry {
    /// `T MODE ID STAGE<TAB>PATH`, then the five lines that `--debug` adds.
    fn parse(head: &[u8], debug: &[u8]) -> Option<Self> {
        let tab = head.iter().position(|byte| *byte == b'\t')?;
        let (fields, path) = (std::str::from_utf8(&head[..tab]).ok()?, &head[tab + 1..]);
        let mut words = fields.split(' ');
        let tag = words.next()?;
        let mode = u32::from_str_radix(words.next()?, 8).ok()?;
        let id = words.next()?.parse().ok()?;
        let stage = words.next()?.parse().ok()?;
        let debug = std::str::from_utf8(debug).ok()?;
        let numbers: Vec<&str> = debug
            .split(['\n', '\t', ' ', ':'])
            .filter(|word| word.bytes().next().is_some_and(|byte| byte.is_ascii_hexdigit()))
            .filter(|word| word.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .collect();
        let mut stat = [0; 9];
        if numbers.len() != 10 {
            return None;
        }
        for (slot, number) in stat.iter_mut().zip(&numbers) {
            *slot = number.parse().ok()?;
        }
        let flags = u32::from_str_radix(numbers[9], 16).ok()?;
        Some(Self {
            path: path.to_vec(),
            mode,
            id,
            stage,
            assume_unchanged: tag.starts_with(|c: char| c.is_ascii_lowercase()),
            skip_worktree: tag.eq_ignore_ascii_case("S"),
            intent_to_add: flags & (1 << 29) != 0,
            stat,
        })
    }
}

fn five_lines(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (end, _) = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(4)?;
    Some(bytes.split_at(end + 1))
}

fn parse_id(hex: &[u8]) -> Option<ObjectId> {
    std::str::from_utf8(hex).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_ls_files_is_read_with_its_flags_and_stat_data() {
        let debug =
            b"  ctime: 1:2\n  mtime: 3:4\n  dev: 5\tino: 6\n  uid: 7\tgid: 8\n  size: 9\tflags: 20000000\n";
        let head = b"s 100644 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 0\ta b";
        let entry = RawEntry::parse(head, debug).expect("a valid entry");
        assert_eq!((entry.path.as_slice(), entry.mode, entry.stage), (&b"a b"[..], 0o100_644, 0));
        assert!(entry.skip_worktree && entry.assume_unchanged && entry.intent_to_add);
        assert_eq!(entry.stat, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(RawEntry::parse(head, b"\n\n\n\n\n"), None);
    }
}
