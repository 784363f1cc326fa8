//! A git repository that operators share, as a place to hand each other messages.
//!
//! Each operator has one ref, `refs/lambda-os/gov/NAME`, whose commit has no parent and whose tree
//! holds the messages, one blob each. Nobody's ref is written by anybody else, and ours only by
//! compare-and-swap; who publishes says all that is still of use, so that nothing hangs on history.
//!
//! The `git` program asks, fetches and pushes in the environment that mirrors use
//! (see [`crate::adapters::mirrors`]), into a bare repository of ours, which is a cache: one that
//! grew too large or was cut short is made anew. Objects are read and written through libgit2. A
//! repository on this machine is somebody else's too: receiving in it runs none of its hooks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use git2::{ObjectType, Oid, Repository, Signature, Time};

use super::{Allowance, corner, named};
use crate::adapters::mirrors::mirror::Mirror;
use crate::adapters::mirrors::remote::{Access, failure, said};
use crate::domain::governance::exchange::{MAX_MESSAGES, MAX_TOTAL, Message, read_name};
use crate::domain::url::RemoteUrl;
use crate::ports::{Exchange, FailureKind, Gathered, PortError, PortResult};

/// Where the refs are.
const REFS: &str = "refs/lambda-os/gov/";

/// Most refs that are listed.
const MAX_REFS: usize = 10_000;

/// The cache is made anew when it holds more packs or bytes than this.
const MOST_PACKS: usize = 64;
const MOST_BYTES: u64 = 512 << 20;

/// What one operator's messages may take in packs, at most.
const MOST_OF_ONE: u64 = 2 * MAX_TOTAL;

/// How `git` receives in a repository on this machine: nothing that it configures is run.
const RECEIVE: &str = "git -c core.hooksPath=/dev/null -c core.fsmonitor=false \
    -c core.alternateRefsCommand=true -c receive.autogc=false -c gc.auto=0 -c maintenance.auto=false \
    receive-pack";

/// A shared repository, and under which name we write there.
pub struct SharedRepository {
    cache: Mirror,
    root: PathBuf,
    url: RemoteUrl,
    name: String,
    deadline: Duration,
    access: Access,
    /// The refs as they were listed last.
    listed: Mutex<Option<BTreeMap<String, Oid>>>,
}

impl std::fmt::Debug for SharedRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedRepository({})", self.url)
    }
}

/// What was left of one fetch.
enum Missed {
    /// The place did not answer.
    Silent(String),
    /// It answered with what is of no use.
    Useless(String),
}

impl SharedRepository {
    /// The repository at this location, with a cache in `root`; we are the operator with this name.
    #[must_use]
    pub fn new(root: &Path, url: RemoteUrl, name: String, deadline: Duration) -> Self {
        let cache = Mirror::of(root, &url);
        let root = root.to_owned();
        Self { cache, root, url, name, deadline, access: Access::default(), listed: Mutex::new(None) }
    }

    /// Use another home directory, and no system-wide git configuration: for tests.
    #[must_use]
    pub fn with_home(mut self, home: &Path) -> Self {
        self.access = Access { home: Some(home.to_owned()) };
        self
    }

    fn silent(&self, what: &str, why: &str) -> PortError {
        PortError::failed(format!("cannot {what} the shared repository {}: {why}", self.url))
            .kind(FailureKind::Temporary)
            .hint("proposals stay pending until it answers; try: git ls-remote on its location")
    }

    fn broken(&self, error: &git2::Error) -> PortError {
        PortError::failed(format!(
            "cannot use the copy of the shared repository in {}: {}",
            self.root.display(),
            error.message()
        ))
        .hint("it is a cache: remove it, and try again")
    }

    /// The refs of all operators there are.
    fn list(&self) -> PortResult<BTreeMap<String, Oid>> {
        let output = self
            .access
            .git(&self.url, self.deadline)
            .output_cap(MAX_REFS * 200)
            .args(["ls-remote", "--quiet", "--"])
            .arg(self.url.to_string())
            .arg(format!("{REFS}*"))
            .run()
            .map_err(|error| self.silent("ask", &failure(&error)))?;
        if !output.status.success() {
            return Err(self.silent("ask", &said(&output.stderr)));
        }
        let listed = String::from_utf8_lossy(&output.stdout);
        let read = |line: &str| {
            let (id, name) = line.split_once('\t')?;
            Some((name.strip_prefix(REFS)?.to_owned(), Oid::from_str(id).ok()?))
        };
        Ok(listed.lines().filter_map(read).collect())
    }

    /// Our copy, made where it is not there, and anew where it is of no use any more.
    fn copy(&self) -> PortResult<Repository> {
        let path = self.cache.git_dir();
        self.cache.sweep();
        if self.cache.packs() > MOST_PACKS || self.cache.size() > MOST_BYTES {
            // It is a cache: what is still shown is fetched again.
            let _ = std::fs::remove_dir_all(&path);
        }
        let unmade =
            |why: String| PortError::failed("cannot keep a copy of the shared repository").because(why);
        self.cache.create(20).map_err(unmade)?;
        Repository::open_bare(&path).map_err(|error| self.broken(&error))
    }

    /// Fetch one operator's ref, alone: what one of them does costs the others nothing.
    fn fetch(&self, corner: &str) -> Result<(), Missed> {
        let most = self.cache.size().saturating_add(MOST_OF_ONE);
        let mut watch = || (self.cache.size() > most).then(|| "it is too large".to_owned());
        let output = self
            .access
            .git(&self.url, self.deadline)
            .arg("--git-dir")
            .arg(self.cache.git_dir())
            .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"])
            .args(["--no-auto-maintenance", "--no-show-forced-updates", "--refmap=", "--force", "--depth=1"])
            .arg("--")
            .arg(self.url.to_string())
            .arg(format!("+{REFS}{corner}:{REFS}{corner}"))
            .run_watched(Duration::from_millis(50), &mut watch);
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let complaint = String::from_utf8_lossy(&output.stderr);
                let bad = ["fsck error", "index-pack failed", "unpack-objects", "bad object"];
                Err(if bad.iter().any(|sign| complaint.contains(sign)) {
                    Missed::Useless(said(&output.stderr))
                } else {
                    Missed::Silent(said(&output.stderr))
                })
            }
            Err(crate::adapters::process::ProcessError::Stopped { why, .. }) => Err(Missed::Useless(why)),
            Err(error) => Err(Missed::Silent(failure(&error))),
        }
    }

    /// The commit that our copy has for an operator.
    fn held(repository: &Repository, corner: &str) -> Option<Oid> {
        repository.find_reference(&format!("{REFS}{corner}")).ok()?.target()
    }

    /// What an operator shows, as far as our copy has it.
    fn read(repository: &Repository, operator: &str, gathered: &mut Gathered) -> Result<(), git2::Error> {
        let Some(commit) = Self::held(repository, &corner(operator)) else { return Ok(()) };
        let tree = repository.find_commit(commit)?.tree()?;
        let objects = repository.odb()?;
        let (mut allowance, mut messages) = (Allowance::default(), BTreeSet::new());
        for entry in &tree {
            let Some((name, (_, kind))) = entry.name().ok().and_then(|name| Some((name, read_name(name)?)))
            else {
                allowance.other += 1;
                continue;
            };
            if entry.kind() != Some(ObjectType::Blob) || entry.filemode() != 0o100_644 {
                allowance.other += 1;
                continue;
            }
            // The size before the content: what is said to be small may unpack to anything.
            let (size, _) = objects.read_header(entry.id())?;
            if messages.len() == MAX_MESSAGES {
                allowance.over += 1;
            } else if allowance.takes(kind, size as u64) {
                match named(name, kind, objects.read(entry.id())?.data().to_vec()) {
                    Some(message) => {
                        messages.insert(message);
                    }
                    None => allowance.other += 1,
                }
            }
        }
        gathered.left_alone.extend(allowance.said(operator));
        gathered.messages.insert(operator.to_owned(), messages);
        Ok(())
    }

    /// A commit without a parent, of a tree with these messages; equal messages give an equal commit.
    fn commit(repository: &Repository, messages: &BTreeSet<Message>) -> Result<Oid, git2::Error> {
        let objects = repository.odb()?;
        let mut tree = repository.treebuilder(None)?;
        for message in messages {
            let blob = objects.write(ObjectType::Blob, &message.bytes)?;
            tree.insert(message.name(), blob, 0o100_644)?;
        }
        let tree = repository.find_tree(tree.write()?)?;
        let nobody = Signature::new("lambda-os", "lambda-os@invalid", &Time::new(0, 0))?;
        repository.commit(None, &nobody, &nobody, "lambda-os governance\n", &tree, &[])
    }

    fn push(&self, commit: Oid, expected: Option<Oid>) -> PortResult<()> {
        let own = format!("{REFS}{}", corner(&self.name));
        let lease = expected.map_or_else(String::new, |id| id.to_string());
        let mut git = self
            .access
            .git(&self.url, self.deadline)
            .arg("--git-dir")
            .arg(self.cache.git_dir())
            .args(["push", "--quiet", "--no-verify", "--no-signed", "--no-follow-tags", "--no-thin"])
            .args(["--recurse-submodules=no", &format!("--force-with-lease={own}:{lease}")]);
        if self.url.local_path().is_some() {
            git = git.arg(format!("--receive-pack={RECEIVE}"));
        }
        let output = git
            .arg("--")
            .arg(self.url.to_string())
            .arg(format!("{commit}:{own}"))
            .run()
            .map_err(|error| self.silent("write to", &failure(&error)))?;
        if output.status.success() {
            return Ok(());
        }
        Err(self.silent("write to", &said(&output.stderr)))
    }
}

impl Exchange for SharedRepository {
    fn place(&self) -> String {
        format!("the repository {}", self.url)
    }

    fn gather(&self, operators: &BTreeSet<String>) -> PortResult<Gathered> {
        let listed = self.list()?;
        let _held = self.cache.hold(self.deadline).map_err(|why| self.silent("read", &why))?;
        let repository = self.copy()?;
        let mut gathered = Gathered::default();
        let (mut asked, mut silent) = (0, Vec::new());
        for operator in operators {
            let corner = corner(operator);
            let moved = listed.get(&corner).filter(|id| Self::held(&repository, &corner) != Some(**id));
            if moved.is_none() {
                continue;
            }
            asked += 1;
            match self.fetch(&corner) {
                Ok(()) => {}
                Err(Missed::Silent(why)) => silent.push(why),
                Err(Missed::Useless(why)) => {
                    gathered.left_alone.push(format!("what {operator} shows was refused: {why}"));
                }
            }
        }
        if asked > 0 && silent.len() == asked {
            return Err(self.silent("read", &silent.remove(0)));
        }
        gathered.left_alone.extend(silent);
        // Packs came by another program.
        repository.odb().and_then(|objects| objects.refresh()).map_err(|error| self.broken(&error))?;
        for operator in operators {
            if let Err(error) = Self::read(&repository, operator, &mut gathered) {
                gathered
                    .left_alone
                    .push(format!("what {operator} shows cannot be read: {}", error.message()));
            }
        }
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some(listed);
        Ok(gathered)
    }

    fn publish(&self, messages: &BTreeSet<Message>) -> PortResult<bool> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let listed = listed.map_or_else(|| self.list(), Ok)?;
        let _held = self.cache.hold(self.deadline).map_err(|why| self.silent("write to", &why))?;
        let repository = self.copy()?;
        let commit = Self::commit(&repository, messages).map_err(|error| self.broken(&error))?;
        let expected = listed.get(&corner(&self.name)).copied();
        if expected == Some(commit) || (expected.is_none() && messages.is_empty()) {
            return Ok(false);
        }
        self.push(commit, expected)?;
        let own = format!("{REFS}{}", corner(&self.name));
        repository.reference(&own, commit, true, "published").map_err(|error| self.broken(&error))?;
        Ok(true)
    }
}
