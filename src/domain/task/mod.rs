//! Tasks: a program that an operator lets change a copy of the workspace, and what came of it.
//!
//! The program has a copy without any tie to the operator's files. What it left there is told path by
//! path ([`Left`]) and judged ([`judge`]): only files of the superproject's own tree make a change.
//! A [`TaskEvidence`] is canonical JSON in the journal's store, as evidence of verification is:
//!
//! ```json
//! {"allowed":[],"base":"96ee…","command":["sed","-i","…"],"duration_ms":12,"exit":{"kind":"code","value":0},
//!  "log":"bafkrei…","sandbox":{"layers":["bubblewrap"]},"stderr":{"bytes":0},"stdout":{"bytes":0},
//!  "v":1,"workspace":{"after":"bafkrei…","before":"bafkrei…","entries":120}}
//! ```

use serde::{Deserialize, Serialize};

use super::canonical::{self, CanonicalError};
use super::health::{Exit, SandboxReport, Stream};
use super::id::{Cid, ObjectId, RepoPath};
use super::text;

mod judge;

pub use judge::{Boundaries, Judged, MAX_BYTES, Refusal, is_hostile, judge};

/// The version of the canonical form of a [`TaskEvidence`].
pub const TASK_VERSION: u32 = 1;

/// Most arguments of a command that are shown, and the most characters of each.
const SHOWN: (usize, usize) = (64, 300);

/// One path of the copy that is not as the base has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The path in the superproject's tree, modules' directories included.
    pub path: RepoPath,
    /// What is there now.
    pub what: What,
}

/// What stands at a path of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A regular file that is new or differs.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Its bytes; empty where its content is of no interest (in a module).
        content: Vec<u8>,
    },
    /// Nothing, where the base has something.
    Removed,
    /// A symlink that is new or leads elsewhere.
    Symlink,
    /// A device, a pipe, a socket.
    Special,
    /// Something that cannot be read: why, as a sentence without a final stop.
    Unreadable(String),
}

/// What a task's program did, as the supervisor saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEvidence {
    /// Format version, 1.
    pub v: u32,
    /// The program and its arguments, each inert and clipped.
    pub command: Vec<String>,
    /// The superproject's commit that the copy was made of.
    pub base: ObjectId,
    /// The paths that it was to keep to; none: all of the superproject's own tree.
    pub allowed: Vec<RepoPath>,
    /// How the program ended.
    pub exit: Exit,
    /// What it wrote to its standard output.
    pub stdout: Stream,
    /// What it wrote to its standard error.
    pub stderr: Stream,
    /// The bounded log of both, in `objects/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Cid>,
    /// How long it took, milliseconds of monotonic time.
    pub duration_ms: u64,
    /// How it was confined.
    pub sandbox: SandboxReport,
    /// The operator's workspace before and after.
    pub workspace: Untouched,
    /// What to know about it, each a sentence without a final stop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The operator's work tree with everything in it, the git directories and what is ignored included,
/// before a program ran and after: equal identities say that nothing of it was written meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untouched {
    /// The identity of all names with what each is: kind, rights, size, place on disk, times of
    /// change, target.
    pub before: Cid,
    /// The same afterwards.
    pub after: Cid,
    /// How many names there are.
    pub entries: u64,
    /// Some of the paths that differ: somebody worked there meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differ: Vec<RepoPath>,
}

impl Untouched {
    /// True when nothing was written.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.before == self.after
    }
}

impl TaskEvidence {
    /// The bytes that the identity is of.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_canonical(self)
    }
}

/// A command as people see it: each argument inert and clipped.
#[must_use]
pub fn shown_command(argv: &[Vec<u8>]) -> Vec<String> {
    let mut shown: Vec<String> = argv
        .iter()
        .take(SHOWN.0)
        .map(|argument| text::clipped(&text::inert_bytes(argument), SHOWN.1))
        .collect();
    if argv.len() > SHOWN.0 {
        shown.push(format!("… {} more arguments", argv.len() - SHOWN.0));
    }
    shown
}
