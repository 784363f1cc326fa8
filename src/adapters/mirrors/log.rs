//! The commits and the file changes between two commits, over the object databases at hand.
//!
//! No repository configuration, attributes or drivers are read: what is text is decided by
//! content, as git does without attributes.

use git2::{Delta, Diff, DiffOptions, Oid, Patch, Repository, Sort};

use super::history::Objects;
use crate::domain::history::{FileChange, History, HistoryLimits, LogCommit};
use crate::domain::id::{ObjectId, RepoPath};
use crate::ports::{PortError, PortResult};

/// Most commits that are counted.
const MOST_COMMITS: u32 = 100_000;
/// The largest file that is compared line by line, bytes.
const LARGEST_TEXT: i64 = 4 << 20;

impl Objects {
    /// What `to` has and `from` has not.
    pub(super) fn history(self, from: ObjectId, to: ObjectId, limits: HistoryLimits) -> PortResult<History> {
        let failed = |error: git2::Error| {
            PortError::failed(format!("cannot read the history from {from} to {to}")).because(error)
        };
        let oid = |id: ObjectId| Oid::from_bytes(id.as_bytes()).map_err(failed);
        let (from, to) = (oid(from)?, oid(to)?);
        let repository = Repository::from_odb(self.into_odb()).map_err(failed)?;
        let mut history = History::default();
        if let Err(error) = commits(&repository, from, to, limits.commits, &mut history) {
            history.incomplete = Some(format!("not all commits can be read: {}", error.message()));
        }
        if let Err(error) = files(&repository, from, to, limits.files, &mut history) {
            history.incomplete = Some(format!("not all files can be compared: {}", error.message()));
        }
        Ok(history)
    }
}

fn commits(
    repository: &Repository,
    from: Oid,
    to: Oid,
    most: usize,
    history: &mut History,
) -> Result<(), git2::Error> {
    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
    walk.push(to)?;
    walk.hide(from)?;
    for oid in walk {
        let commit = repository.find_commit(oid?)?;
        history.total += 1;
        let is_silent = commit.parents().next().is_some_and(|parent| parent.tree_id() == commit.tree_id());
        if is_silent {
            history.silent += 1;
        } else if history.commits.len() < most
            && let Some(id) = ObjectId::from_bytes(commit.id().as_bytes())
        {
            let message = commit.message_bytes();
            let subject = message.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
            history.commits.push(LogCommit {
                id,
                author: String::from_utf8_lossy(commit.author().name_bytes()).into_owned(),
                time_s: commit.time().seconds(),
                subject: String::from_utf8_lossy(subject).into_owned(),
            });
        }
        if history.total == MOST_COMMITS {
            history.incomplete = Some(format!("there are more than {MOST_COMMITS} commits"));
            break;
        }
    }
    Ok(())
}

fn files(
    repository: &Repository,
    from: Oid,
    to: Oid,
    most: usize,
    history: &mut History,
) -> Result<(), git2::Error> {
    let tree = |commit| repository.find_commit(commit)?.tree();
    let mut options = DiffOptions::new();
    options.include_typechange(true).max_size(LARGEST_TEXT).context_lines(0);
    let diff = repository.diff_tree_to_tree(Some(&tree(from)?), Some(&tree(to)?), Some(&mut options))?;
    let deltas = diff.deltas();
    history.files_total = u32::try_from(deltas.len()).unwrap_or(u32::MAX);
    for (at, delta) in deltas.enumerate().take(most) {
        let file = if delta.status() == Delta::Deleted { delta.old_file() } else { delta.new_file() };
        let counted = lines(&diff, at)?;
        history.files.push(FileChange {
            path: RepoPath::new(file.path_bytes().unwrap_or_default()),
            letter: match delta.status() {
                Delta::Added => 'A',
                Delta::Deleted => 'D',
                Delta::Typechange => 'T',
                _ => 'M',
            },
            added: counted.map(|(added, _)| added),
            removed: counted.map(|(_, removed)| removed),
        });
    }
    Ok(())
}

/// Lines added and removed; `None` for what is no text before and after.
fn lines(diff: &Diff<'_>, at: usize) -> Result<Option<(u32, u32)>, git2::Error> {
    let Some(patch) = Patch::from_diff(diff, at)? else { return Ok(None) };
    // Of a file that became a link, or the other way, libgit2 counts nothing.
    if patch.delta().flags().is_binary() || patch.delta().status() == Delta::Typechange {
        return Ok(None);
    }
    let (_, added, removed) = patch.line_stats()?;
    let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Some((narrow(added), narrow(removed))))
}
