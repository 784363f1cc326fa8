//! What the core asks of the world, as traits. Adapters answer; tests answer in their place.
//!
//! Notification has its port here already and no adapter yet: the cycle says so in its report
//! instead of pretending.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::audit::entry::Entry;
use crate::domain::change::{PathContent, PathEdit};
use crate::domain::contents::held::Held;
use crate::domain::contents::touched::{Difference, Links};
use crate::domain::contents::vouched::{Newcomer, Voucher};
use crate::domain::event::Event;
use crate::domain::flake::nar::NarHash;
use crate::domain::flake::relock::{FlakeSources, SourceError};
use crate::domain::governance::exchange::Message;
use crate::domain::governance::key::PublicKey;
use crate::domain::governance::program::Executor;
use crate::domain::governance::tally::{Question, Received, Tally};
use crate::domain::health::{Exit, Placed, SandboxReport, Scene, Step, StepRun, Stream};
use crate::domain::history::{History, HistoryLimits};
use crate::domain::id::{Cid, ModuleName, ObjectId, RepoPath};
use crate::domain::module::{Discovery, Module};
use crate::domain::snapshot::Snapshot;
use crate::domain::state::State;
use crate::domain::task::{Left, Untouched};
use crate::domain::upgrade::Upgrade;
pub use crate::domain::upgrade::{Relation, UpstreamAnswer};

/// A failure of a port: what was attempted on what, with its cause.
#[derive(Debug, thiserror::Error)]
#[error("{attempted}")]
pub struct PortError {
    /// What was attempted on what, as "cannot …".
    pub attempted: String,
    /// What kind of failure it is; decides the exit code.
    pub kind: FailureKind,
    /// True when nothing more may be written by this process (a failed fsync: what the kernel
    /// still holds is not known to be on disk, and asking again would lie).
    pub fatal: bool,
    /// The next command or step for the operator.
    pub hint: Option<String>,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of failure that callers and scripts tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// It failed (exit 1).
    Failed,
    /// The input or the arguments are wrong (exit 2).
    Usage,
    /// Policy, or those who decide, refused (exit 5).
    Refused,
    /// Those who decide have not said yes (exit 6).
    ApprovalsMissing,
    /// Something that must be intact is not (exit 7).
    Integrity,
    /// Somebody else holds a lock (exit 9).
    Busy,
    /// It may work later (exit 75).
    Temporary,
    /// A person interrupted it (exit 130).
    Interrupted,
}

impl PortError {
    /// A plain failure.
    #[must_use]
    pub fn failed(attempted: impl Into<String>) -> Self {
        Self {
            attempted: attempted.into(),
            kind: FailureKind::Failed,
            fatal: false,
            hint: None,
            source: None,
        }
    }

    /// The same with another kind.
    #[must_use]
    pub fn kind(mut self, kind: FailureKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same, after which this process must not write any more.
    #[must_use]
    pub fn fatal(mut self) -> Self {
        self.fatal = true;
        self
    }

    /// The same with the next step for the operator.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// What a port gives back.
pub type PortResult<T> = Result<T, PortError>;

/// What a snapshot shall contain.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// Hash untracked files up to this many bytes in all; `None` hashes nothing.
    pub hash_untracked_bytes: Option<u64>,
    /// List at most this many untracked files a repository.
    pub max_untracked: usize,
    /// Threads to use; 0 means as many as the machine has.
    pub threads: usize,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self { hash_untracked_bytes: Some(64 << 20), max_untracked: 100_000, threads: 0 }
    }
}

/// The operator's superproject and the checkouts in it. Only ever read, and nothing it
/// configures is run.
pub trait Repository: Sync {
    /// The commit that the superproject's HEAD resolves to; `None` on an unborn branch.
    ///
    /// # Errors
    /// When it cannot be read.
    fn head(&self) -> PortResult<Option<ObjectId>>;

    /// Which modules there are, from `.gitmodules`, the git configuration and flake inputs.
    ///
    /// # Errors
    /// When the superproject itself cannot be read; a bad module is a value in the result.
    fn discover(&self) -> PortResult<Discovery>;

    /// The state of everything, now.
    ///
    /// # Errors
    /// When the superproject itself cannot be read; a module's trouble is a value.
    fn snapshot(&self, discovery: &Discovery, options: &SnapshotOptions) -> PortResult<Snapshot>;

    /// The content of a file in the superproject's HEAD commit; `None` when there is none.
    ///
    /// # Errors
    /// When the object database cannot be read.
    fn committed_file(&self, path: &RepoPath) -> PortResult<Option<Vec<u8>>>;

    /// The content of a file of a checked-out module at a commit, from its object database.
    ///
    /// # Errors
    /// When the repository cannot be read; an absent file or commit is `None`.
    fn module_file(&self, module: &Module, commit: ObjectId, path: &RepoPath) -> PortResult<Option<Vec<u8>>>;
}

/// A change of the superproject that is about to be applied, with its commit made already.
#[derive(Debug, Clone)]
pub struct Landing {
    /// The full name of the branch that HEAD names and that moves.
    pub reference: String,
    /// Where the branch is.
    pub expected: ObjectId,
    /// Where it shall be: a commit on `expected` whose tree differs in exactly `edits`.
    pub target: ObjectId,
    /// The change, path by path.
    pub edits: Vec<PathEdit>,
    /// For each gitlink among them: where the commit's objects can be had beside the checkout.
    pub modules: Vec<Module>,
}

/// How a landing went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Landed {
    /// What was left for a person, each a sentence: a checkout that was not moved, and why.
    pub notes: Vec<String>,
}

/// What is there of a landing that may have been cut short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LandingState {
    /// The branch is at `expected`: nothing happened that anyone sees.
    NotBegun,
    /// The branch is at `target`, and what remains can be finished.
    Begun,
    /// Everything is at the target.
    Done,
    /// Something else is there: what, as a sentence.
    Elsewhere(String),
}

/// Building and applying changes in the operator's superproject. No porcelain runs, and nothing
/// outside the paths of the change is written.
pub trait Superproject: Sync {
    /// What stands at a path of a commit's tree; `None` when nothing does.
    ///
    /// # Errors
    /// When the commit or what it holds cannot be read, or a symlink or directory stands there.
    fn content(&self, commit: ObjectId, path: &RepoPath) -> PortResult<Option<PathContent>>;

    /// The gitlinks at these paths of a commit, in their order; `None` where none stands.
    ///
    /// # Errors
    /// As [`Self::content`].
    fn gitlinks(&self, commit: ObjectId, paths: &[&RepoPath]) -> PortResult<Vec<Option<ObjectId>>> {
        let one = |path: &&RepoPath| {
            Ok(match self.content(commit, path)? {
                Some(PathContent::Gitlink(id)) => Some(id),
                _ => None,
            })
        };
        paths.iter().map(one).collect()
    }

    /// The identity of the tree that `base` gives with these edits. Writes nothing.
    ///
    /// # Errors
    /// When the base cannot be read, or is not what an edit says stands there now.
    fn tree_with(&self, base: ObjectId, edits: &[PathEdit]) -> PortResult<ObjectId>;

    /// The branch that HEAD names, by its full name, and its commit.
    ///
    /// # Errors
    /// Failed when HEAD is detached or its branch has no commit, with what to do; when it cannot be
    /// read.
    fn branch(&self) -> PortResult<(String, ObjectId)>;

    /// What `to` changes on `from`, path by path, sorted.
    ///
    /// # Errors
    /// When an object cannot be read, or something is removed or is no file and no submodule: that
    /// is no change that is made here.
    fn edits_between(&self, from: ObjectId, to: ObjectId) -> PortResult<Vec<PathEdit>>;

    /// The newest commit that was landed here, with its message: remembered in the repository
    /// itself, so that it outlives a journal that is cut. `None` when there is none.
    ///
    /// # Errors
    /// When the repository cannot be read.
    fn newest_landed(&self) -> PortResult<Option<(ObjectId, Vec<u8>)>>;

    /// The documents that this repository's operator trusted first, remembered beside the repository
    /// itself: another state directory does not bring other rules. `None` when there are none.
    ///
    /// # Errors
    /// When they cannot be read.
    fn trusted(&self) -> PortResult<Option<FirstTrusted>>;

    /// Remember them, durably.
    ///
    /// # Errors
    /// Integrity when others are remembered; input/output failures.
    fn remember_trusted(&self, first: FirstTrusted) -> PortResult<()>;

    /// What forbids applying these edits now, each a sentence with what to do; empty when nothing does.
    ///
    /// # Errors
    /// Busy when another git holds the index; failed when it cannot be found out.
    fn obstacles(&self, base: ObjectId, edits: &[PathEdit]) -> PortResult<Vec<String>>;

    /// Write the objects of a commit on `base` with these edits, durably. No ref moves.
    ///
    /// # Errors
    /// As [`Self::tree_with`], and input/output failures.
    fn commit(&self, base: ObjectId, edits: &[PathEdit], message: &str, time_ms: i64)
    -> PortResult<ObjectId>;

    /// Index lock, ref by compare-and-swap, index entries and files, checkouts; also finishes a
    /// landing that was cut short.
    ///
    /// # Errors
    /// Busy when the index is locked, failed when the branch is elsewhere; then nothing changed.
    fn land(&self, landing: &Landing) -> PortResult<Landed>;

    /// What is there of a landing.
    ///
    /// # Errors
    /// When it cannot be found out.
    fn landing_state(&self, landing: &Landing) -> PortResult<LandingState>;

    /// Let go of what a landing left that did not begin: its lock on the index, temporary files.
    ///
    /// # Errors
    /// Input/output failures.
    fn abandon(&self, landing: &Landing) -> PortResult<()>;
}

/// What detection needs to know besides the modules.
#[derive(Debug, Clone)]
pub struct DetectOptions {
    /// Ask no remote: use what the mirrors have.
    pub offline: bool,
    /// Deadline for one `ls-remote`.
    pub probe_timeout: Duration,
    /// Deadline for one fetch.
    pub fetch_timeout: Duration,
    /// Remotes asked at once.
    pub parallel: usize,
    /// Remotes of one host asked at once.
    pub parallel_per_host: usize,
    /// Largest mirror, bytes on disk.
    pub max_mirror_bytes: u64,
    /// Most refs that a remote may advertise.
    pub max_refs: usize,
    /// Paths and `file:` locations are allowed.
    pub allow_local_urls: bool,
}

/// One upstream as the mirrors know it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The module.
    pub module: ModuleName,
    /// What asking gave.
    pub answer: UpstreamAnswer,
}

/// What modules' commits hold, from objects that are at hand: nothing that a repository configures
/// counts, and what is over a bound is an error, never a part that looks like the whole.
pub trait Contents: Sync {
    /// What the tree of a module's commit holds; `None` when its objects are not at hand.
    ///
    /// # Errors
    /// When an object database cannot be read, or the tree is over a bound.
    fn held(&self, module: &Module, commit: ObjectId) -> PortResult<Option<Held>>;

    /// What differs between the trees of two commits; `None` when objects are not at hand.
    ///
    /// # Errors
    /// As [`Self::held`].
    fn difference(&self, module: &Module, from: ObjectId, to: ObjectId) -> PortResult<Option<Difference>>;

    /// The signatures that a commit carries, and those of annotated tags of it that are at hand; `None`
    /// when the commit is not.
    ///
    /// # Errors
    /// As [`Self::held`].
    fn vouchers(&self, module: &Module, commit: ObjectId) -> PortResult<Option<Vec<Voucher>>>;

    /// The commits that `to` has and `from` has not, by id; `None` when they are not all at
    /// hand.
    ///
    /// # Errors
    /// As [`Self::held`], and when there are more than `most`.
    fn newcomers(
        &self,
        module: &Module,
        from: ObjectId,
        to: ObjectId,
        most: usize,
    ) -> PortResult<Option<Vec<Newcomer>>>;

    /// The symlinks of a commit of the superproject itself; `None` when it is not at hand.
    ///
    /// # Errors
    /// As [`Self::held`].
    fn own_links(&self, commit: ObjectId) -> PortResult<Option<Links>>;
}

/// The upstreams, through bare mirrors in the state directory.
pub trait Sources: Contents {
    /// Ask every module's upstream, in parallel, fetch what moved; in the order of `modules`.
    /// `known` gives the tip last seen, by module. Never fails as a whole.
    fn refresh(&self, modules: &[&Module], options: &DetectOptions) -> Vec<Upstream>;

    /// How `from` stands to `to`, over the mirror and the module's checkout together.
    ///
    /// # Errors
    /// When an object database cannot be read; a missing commit is a value.
    fn relation(&self, module: &Module, from: ObjectId, to: ObjectId) -> PortResult<Relation>;

    /// The content of a file of a module at a commit, from its mirror.
    ///
    /// # Errors
    /// When the mirror cannot be read; an absent file or commit is `None`.
    fn file(&self, module: &Module, commit: ObjectId, path: &RepoPath) -> PortResult<Option<Vec<u8>>>;

    /// The commits and file changes that `to` has and `from` has not.
    ///
    /// # Errors
    /// When an object database cannot be read; what only parts lack is said in the result.
    fn history(
        &self,
        module: &Module,
        from: ObjectId,
        to: ObjectId,
        limits: HistoryLimits,
    ) -> PortResult<History>;

    /// These modules as sources of flakes, from their mirrors and checkouts, for one thread. The
    /// root flake's own tree is not in it: whoever asks knows which one is meant.
    fn flakes(&self, modules: &[Module]) -> Box<dyn ModuleSources + '_>;
}

/// Modules as sources of flakes.
pub trait ModuleSources: FlakeSources {
    /// The hash of all files of a module's commit as git has them.
    ///
    /// # Errors
    /// When they are not at hand.
    fn hash(&self, module: &Module, commit: ObjectId) -> Result<NarHash, SourceError>;
}

/// The documents that were trusted first, by identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstTrusted {
    /// Who decides.
    pub members: Cid,
    /// By which rules.
    pub policy: Cid,
}

/// The journal's writing side: one writer at a time.
pub trait Journal {
    /// Append one entry, durably: when this returns, the entry survives power loss.
    ///
    /// # Errors
    /// Integrity, busy, or an input/output failure, after which the process must stop writing.
    fn append(&mut self, subject: &str, event: &Event) -> PortResult<Entry>;

    /// Append entries with one sync, all or none. As [`Self::append`] otherwise.
    ///
    /// # Errors
    /// As [`Self::append`].
    fn append_all(&mut self, items: &[(&str, Event)]) -> PortResult<Vec<Entry>>;

    /// Store a large value by content, durably, before an entry names it.
    ///
    /// # Errors
    /// Input/output failures.
    fn store(&mut self, bytes: &[u8]) -> PortResult<Cid>;

    /// Store many values with few syncs, durably, before any entry names them; in their order.
    ///
    /// # Errors
    /// Input/output failures; then some may be stored, and nothing names them.
    fn store_all(&mut self, values: &[&[u8]]) -> PortResult<Vec<Cid>>;

    /// A stored value, checked against its identity; `None` when absent.
    ///
    /// # Errors
    /// Integrity when the bytes are not what the identity says.
    fn load(&self, cid: &Cid) -> PortResult<Option<Vec<u8>>>;

    /// The identity of the line with this sequence; `None` when there is none.
    ///
    /// # Errors
    /// Input/output failures.
    fn line_id(&self, seq: u64) -> PortResult<Option<Cid>>;

    /// What the entries add up to, read from the first one on and never from a cache: what whoever acts
    /// rests on.
    ///
    /// # Errors
    /// Integrity when the chain does not hold, or does not end where we stand; input/output failures.
    fn proven(&self) -> PortResult<State>;

    /// Why everything is held, as of the newest entry that was appended here: with everything that
    /// others appended before it. Whoever acts looks after the entry that says so.
    fn stopped(&self) -> Option<String>;
}

/// What was stored by content, for those who only read: the journal's writer and its reader both are.
pub trait Stored {
    /// A stored value, checked against its identity; `None` when absent.
    ///
    /// # Errors
    /// Integrity when the bytes are not what the identity says.
    fn stored(&self, cid: &Cid) -> PortResult<Option<Vec<u8>>>;
}

impl<J: Journal + ?Sized> Stored for J {
    fn stored(&self, cid: &Cid) -> PortResult<Option<Vec<u8>>> {
        self.load(cid)
    }
}

/// Time. Order never depends on the wall clock.
pub trait Clock: Sync {
    /// Wall time, Unix milliseconds.
    fn wall_ms(&self) -> i64;
    /// Time since boot that also counts suspend, milliseconds (`CLOCK_BOOTTIME`).
    fn mono_ms(&self) -> u64;
    /// The same in microseconds, for timings.
    fn mono_us(&self) -> u64;
    /// An identity of this boot.
    fn boot(&self) -> String;
}

/// What a step of verification gave: for the evidence, and the log that goes beside it.
#[derive(Debug, Clone)]
pub struct Ran {
    /// What it showed and how it was run. Its `log` is filled in when the log is stored.
    pub run: StepRun,
    /// Both streams, bounded, as they came.
    pub log: Vec<u8>,
}

impl Ran {
    /// A step that could not be run at all, and why, as a sentence without a final stop.
    #[must_use]
    pub fn not_run(step: Step, reason: impl Into<String>) -> Self {
        Self { run: StepRun::not_run(step, reason), log: Vec::new() }
    }
}

/// What runs a step of verification, before it runs: a part of the key of every verdict.
pub trait Runner: Sync {
    /// A fingerprint of everything but the module that the outcome depends on: the program and its
    /// version, the settings of the step, the sandbox that this machine provides. Starts no program
    /// when nothing changed since it was asked last.
    ///
    /// # Errors
    /// A sentence without a final stop: why the step cannot be run at all here. Every module is
    /// unknown then.
    fn fingerprint(&self) -> Result<String, String>;
}

/// Derivation paths, by the name of the output attribute (`packages.x86_64-linux.default`).
pub type Derivations = BTreeMap<String, String>;

/// What evaluating one module gave.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// The derivations of its packages and checks; empty unless the step passed.
    pub derivations: Derivations,
    /// How it went.
    pub ran: Ran,
}

/// Says what modules' outputs are derived from (`eval`): pure, without import from derivation,
/// without anything that a flake's own `nixConfig` asks for, bounded.
pub trait NixEvaluator: Runner {
    /// Evaluate these modules of a scene, many at once; one answer each, in their order. One that
    /// fails does not keep the others from being evaluated.
    fn evaluate(&self, scene: &Scene, modules: &[&Placed]) -> Vec<Evaluated>;
}

/// What building one module gave.
#[derive(Debug, Clone)]
pub struct Built {
    /// Where each output is, by the name of its attribute; empty unless the step passed.
    pub outputs: BTreeMap<String, PathBuf>,
    /// How it went.
    pub ran: Ran,
}

/// Builds a module (`build`), and keeps what was built from being collected.
pub trait Builder: Runner {
    /// Build what was evaluated; with nothing evaluated, the module's default package.
    fn build(&self, scene: &Scene, module: &Placed, derivations: &Derivations) -> Built;
}

/// Loads a built module in its host (`host`).
pub trait ModuleHost: Runner {
    /// How many modules may be loaded at once. Waiting for a host to settle is no work, so that it
    /// may be more than work at once.
    fn at_once(&self) -> usize {
        1
    }

    /// Load it; `outputs` is what building gave, empty when no build step ran.
    fn load(&self, scene: &Scene, module: &Placed, outputs: &BTreeMap<String, PathBuf>) -> Ran;
}

/// Runs a program of the operator's on a module (`command`).
pub trait Checker: Runner {
    /// Run it on the module's files as the scene has them.
    fn check(&self, scene: &Scene, module: &Placed) -> Ran;
}

/// A program that shall change a copy of the workspace.
#[derive(Debug, Clone)]
pub struct Task<'a> {
    /// The superproject's commit that the copy is made of.
    pub base: ObjectId,
    /// The workspace's modules, whose files are in the copy too.
    pub modules: &'a [Module],
    /// The program and its arguments. It starts at the top of the copy.
    pub argv: &'a [OsString],
    /// When it is ended, with everything that it started.
    pub deadline: Duration,
    /// What it may write to each output stream.
    pub output_bytes: u64,
}

/// What a program did to a copy of the workspace.
#[derive(Debug, Clone)]
pub struct Worked {
    /// The program and its arguments, each inert and clipped.
    pub command: Vec<String>,
    /// What is not as the commit has it; nothing unless the program ended well.
    pub left: Vec<Left>,
    /// Every path of the commit's own tree.
    pub own: BTreeSet<RepoPath>,
    /// Where the submodules are, with their names.
    pub modules: BTreeMap<RepoPath, ModuleName>,
    /// Both streams, bounded, as they came.
    pub log: Vec<u8>,
    /// How it ended.
    pub exit: Exit,
    /// What it wrote to its standard output.
    pub stdout: Stream,
    /// What it wrote to its standard error.
    pub stderr: Stream,
    /// How it was confined.
    pub sandbox: SandboxReport,
    /// How long it took.
    pub duration: Duration,
    /// The operator's workspace before and after.
    pub workspace: Untouched,
    /// What to know about it, each a sentence without a final stop.
    pub notes: Vec<String>,
}

/// Runs programs on copies of the workspace; the workspace itself is out of their reach.
pub trait Workshop {
    /// Make a copy, run the program in the sandbox with nothing else to write and no network, tell
    /// what it left, and remove the copy. `stop` is looked at while it runs.
    ///
    /// # Errors
    /// When there is no sandbox, the copy cannot be made or removed, or the program cannot be started.
    fn work(&self, task: &Task<'_>, stop: &dyn Fn() -> bool) -> PortResult<Worked>;
}

/// Decides over proposals, from the ballots that were taken in. There is one for each configured
/// backend, and none stands in for another.
pub trait Governor: Sync {
    /// What the ballots on a proposal add up to. `elsewhere` are those on the other open proposals.
    /// A governor that cannot answer gives [`tally::unanswered`](crate::domain::governance::tally::unanswered):
    /// pending, with the reason.
    fn tally(&self, question: &Question<'_>, ballots: &[Received], elsewhere: &[Received]) -> Tally;

    /// What runs the programs that the rules name; where there is nothing, what they narrow waits.
    fn executor(&self) -> Option<&dyn Executor> {
        None
    }
}

/// Makes signatures over ballots with one principal's key.
pub trait Signer {
    /// The key it signs with.
    fn key(&self) -> &PublicKey;

    /// The armored SSH signature of a ballot's text.
    ///
    /// # Errors
    /// When the key cannot be used: locked, not there, refused by its owner.
    fn sign(&self, text: &str) -> PortResult<String>;
}

/// Where messages made elsewhere are dropped for the one writer to take in.
pub trait Inbox {
    /// The messages that are complete, oldest name first, bounded in number and size; and what was
    /// left alone, each a sentence.
    ///
    /// # Errors
    /// When the directory cannot be read; an absent one is empty.
    fn messages(&self) -> PortResult<InboxContent>;

    /// Forget a message that was taken in and journalled.
    ///
    /// # Errors
    /// When it cannot be removed; it is then taken in again, which changes nothing.
    fn forget(&self, message: &InboxMessage) -> PortResult<()>;
}

/// What is in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InboxContent {
    /// The messages.
    pub messages: Vec<InboxMessage>,
    /// What was left alone, each a sentence.
    pub left_alone: Vec<String>,
}

/// One message in the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxMessage {
    /// The names of its files, in order.
    pub files: Vec<String>,
    /// The files' bytes, one after the other.
    pub bytes: Vec<u8>,
}

/// Where operators hand each other what they have: a directory or a repository that they share. It is
/// not trusted: it may lose, repeat, reorder and invent.
pub trait Exchange {
    /// Which it is, for people, without anything secret.
    fn place(&self) -> String;

    /// What these operators show there, each bounded in number and size.
    ///
    /// # Errors
    /// Temporary when the place does not answer. What one operator shows and is of no use is no
    /// failure: it is said in [`Gathered::left_alone`].
    fn gather(&self, operators: &BTreeSet<String>) -> PortResult<Gathered>;

    /// Show these messages, and no others, under our name; false when they were shown already.
    /// What others show is not touched.
    ///
    /// # Errors
    /// Temporary when the place does not take them.
    fn publish(&self, messages: &BTreeSet<Message>) -> PortResult<bool>;
}

/// What was found in an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gathered {
    /// The messages that each operator shows, in order. The name says where they were found, not who made them.
    pub messages: BTreeMap<String, BTreeSet<Message>>,
    /// What was left alone, each a sentence.
    pub left_alone: Vec<String>,
}

/// Tells people. No adapter yet.
pub trait Notifier: Sync {
    /// Tell about a change of a module's status.
    ///
    /// # Errors
    /// When the message could not be handed over.
    fn tell(&self, upgrade: &Upgrade) -> PortResult<()>;
}
