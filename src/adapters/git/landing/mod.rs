//! Landing a change: its commit on the branch, its paths in index and work tree, its checkouts.
//!
//! In: a [`Landing`], whose commit is made already. Out: the branch at that commit and exactly the
//! changed paths at their new content. The order, each step a file here:
//!
//! ```text
//! lock (index.lock is ours) → every path is at its old side → ref by compare-and-swap
//!   → files → entries (private copy, then one rename) → unlock → module (transfer, checkout)
//! ```
//!
//! Until the ref moves nothing is changed, and a refusal leaves all as it was. From then on the lock
//! stays with the landing until index and files are at the target: whatever ends the process, other
//! gits are kept out, and landing again goes on where it stopped, since each path is at its old
//! side, at its new one, or somewhere that only a person can judge. No porcelain runs; of what the
//! repository configures nothing runs.

mod entries;
mod files;
mod lock;
mod module;
mod step;
mod transfer;

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use rustix::fs::{Access, AtFlags, accessat};

use self::lock::IndexLock;
use self::module::{Around, Needed};
use self::step::{At, Standing, Step, conversion, hiding_flag, standing};
use super::attributes::{Attributes, Place, Sources};
use super::build;
use super::checkout::{Context, Opened};
use super::files::{Read, Trouble, shown};
use super::index::Index;
use super::plumbing::{Plumbing, RefMove};
use super::refs;
use super::superproject::cannot;
use crate::adapters::durable::{self, Disk};
use crate::domain::change::{PathContent, PathEdit};
use crate::domain::id::ObjectId;
use crate::domain::module::Module;
use crate::domain::snapshot::Operation;
use crate::ports::{FailureKind, Landed, Landing, LandingState, PortError, PortResult};

/// The ref that remembers the newest commit that was landed here.
pub(super) const LANDED: &str = "refs/lambda-os/applied";

/// What landing works with.
pub(super) struct Lander<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) opened: Opened,
    pub(super) context: Context<'a>,
    /// Object directories that may hold a module's commits besides its checkout.
    pub(super) sources: &'a dyn Fn(&Module) -> Vec<PathBuf>,
}

impl Lander<'_> {
    /// What forbids applying edits on `base` now.
    pub(super) fn obstacles(&self, base: ObjectId, edits: &[PathEdit]) -> PortResult<Vec<String>> {
        let git_dir = &self.opened.git.dirs.git_dir;
        if git_dir.join("index.lock").symlink_metadata().is_ok() {
            return Err(lock::busy(&git_dir.join("index.lock")));
        }
        self.found(base, edits).map_err(cannot("cannot tell whether the change can be applied".to_owned()))
    }

    fn found(&self, base: ObjectId, edits: &[PathEdit]) -> Read<Vec<String>> {
        let opened = &self.opened;
        let mut found = Vec::new();
        if let Some(why) = head_obstacle(opened) {
            found.push(why);
        } else if opened.head.id != Some(base) {
            found.push(format!(
                "HEAD is at {}, and the change is for {}: derive it again with: lambda-os run --once",
                opened.head.id.map_or_else(String::new, |id| id.short()),
                base.short()
            ));
        }
        found.extend(opened.operation.map(under_way));
        found.extend(self.read_only(edits));
        let index = opened.index()?;
        let sources =
            Sources::new(&opened.config, self.context.environment, &opened.path, &opened.git.dirs.common_dir);
        let place = Place {
            root: opened.work.as_fd(),
            index: &index,
            objects: &opened.objects,
            config: &opened.config,
            sources: &sources,
        };
        let mut attributes = Attributes::default();
        for edit in edits {
            build::check_path(&edit.path)?;
            let step = Step::of(edit, opened.hash);
            if let Some(why) = self.path_obstacle(&index, &step)? {
                found.push(why);
            }
            if !step.is_gitlink() {
                let contents: Vec<Vec<u8>> =
                    edit.old.iter().chain([&edit.new]).filter_map(file_content).collect();
                found.extend(conversion(&mut attributes, place, &step, &contents)?);
            }
        }
        Ok(found)
    }

    /// Why one path cannot be changed now.
    fn path_obstacle(&self, index: &Index, step: &Step) -> Read<Option<String>> {
        let path = &step.path;
        match hiding_flag(index, step) {
            // A submodule outside a sparse checkout: its entry moves and keeps the flag.
            Some("skip-worktree") if step.is_gitlink() => {}
            Some(flag) => {
                return Ok(Some(format!(
                    "{path} is flagged {flag}, which hides changes: take the flag off with: git update-index --no-{flag} -- {path}"
                )));
            }
            None => {}
        }
        let at = standing(&self.opened, index, step)?;
        Ok(match at.trouble() {
            Some(why) => Some(why.to_owned()),
            None if at.index == At::New => Some(format!(
                "{path} is staged as the change would have it: take it back with: git restore --staged -- {path}"
            )),
            None if at.work == At::New && !step.is_gitlink() => Some(format!(
                "{path} is in the work tree as the change would have it, and not committed: put it back with: git restore -- {path}"
            )),
            None => None,
        })
    }

    /// Places that this process may not write, when one is needed.
    fn read_only(&self, edits: &[PathEdit]) -> Option<String> {
        let opened = &self.opened;
        let forbidden = |dir, what: &str| {
            let flags = AtFlags::EACCESS;
            accessat(dir, c".", Access::WRITE_OK | Access::EXEC_OK, flags).err().map(|error| {
                format!("{what} cannot be written ({error}): check its owner, its rights and its mount")
            })
        };
        let git_dir = forbidden(opened.git.fd(), &shown(&opened.git.dirs.git_dir));
        let common = forbidden(opened.git.common(), &shown(&opened.git.dirs.common_dir));
        let needed = edits.iter().any(|edit| matches!(edit.new, PathContent::File { .. }));
        let work = needed.then(|| forbidden(opened.work.as_fd(), &shown(&opened.path))).flatten();
        git_dir.or(common).or(work)
    }

    /// Land, or finish a landing that was cut short.
    pub(super) fn land(&self, landing: &Landing) -> PortResult<Landed> {
        let opened = &self.opened;
        let git_dir = &opened.git.dirs.git_dir;
        let attempted = || format!("cannot apply {} to {}", landing.target.short(), landing.reference);
        let steps = self.steps(landing);
        if let Some(why) = head_obstacle(opened).or_else(|| other_branch(opened, landing)) {
            return Err(PortError::failed(attempted()).because(Trouble(why)));
        }
        if self.landing_state(landing)? == LandingState::Done {
            return Ok(self.left(landing, &steps));
        }
        let lock = IndexLock::take(self.disk, git_dir, &lock::marker(landing))?;
        self.sweep(&steps);
        // Read again under the lock: nobody changes the index any more.
        let at = self.reference(landing).map_err(cannot(attempted()))?;
        let begun = at == Some(landing.target);
        let checked = if begun { self.resumable(&steps) } else { self.may_begin(landing, at) };
        match checked.map_err(cannot(attempted())) {
            Ok(None) => {}
            Ok(Some(why)) => {
                if !begun {
                    lock.release()?;
                }
                return Err(PortError::failed(attempted()).because(Trouble(why)));
            }
            Err(error) => {
                if !begun {
                    lock.release()?;
                }
                return Err(error);
            }
        }
        if !begun && let Err(error) = self.move_reference(landing) {
            lock.release()?;
            return Err(error);
        }
        let index = opened.index().map_err(cannot(attempted()))?;
        let standings = self.standings(&index, &steps).map_err(cannot(attempted()))?;
        let behind = |side: fn(&Standing) -> &At| -> Vec<&Step> {
            steps
                .iter()
                .zip(&standings)
                .filter(|(_, at)| *side(at) == At::Old)
                .map(|(step, _)| step)
                .collect()
        };
        files::replace(self.disk, opened, &behind(|at| &at.work))?;
        entries::replace(self.disk, opened, &behind(|at| &at.index))?;
        lock.release()?;
        self.bring_modules(landing, &steps)
    }

    fn steps(&self, landing: &Landing) -> Vec<Step> {
        landing.edits.iter().map(|edit| Step::of(edit, self.opened.hash)).collect()
    }

    fn standings(&self, index: &Index, steps: &[Step]) -> Read<Vec<Standing>> {
        steps.iter().map(|step| standing(&self.opened, index, step)).collect()
    }

    /// What dead processes left is removed.
    fn sweep(&self, steps: &[Step]) {
        entries::sweep(self.disk, &self.opened.git.dirs.git_dir);
        files::sweep(&self.opened, steps);
    }

    /// Where the branch is now.
    fn reference(&self, landing: &Landing) -> Read<Option<ObjectId>> {
        refs::resolve(&self.opened, landing.reference.as_bytes())
    }

    /// Why a landing cannot begin.
    fn may_begin(&self, landing: &Landing, at: Option<ObjectId>) -> Read<Option<String>> {
        if at != Some(landing.expected) {
            return Ok(Some(format!(
                "the branch is at {}, not at {}",
                at.map_or_else(|| "no commit".to_owned(), |id| id.short()),
                landing.expected.short()
            )));
        }
        let found = self.found(landing.expected, &landing.edits)?;
        Ok((!found.is_empty()).then(|| found.join("; ")))
    }

    /// Why a landing that began cannot go on.
    fn resumable(&self, steps: &[Step]) -> Read<Option<String>> {
        let index = self.opened.index()?;
        let standings = self.standings(&index, steps)?;
        Ok(standings.iter().find_map(|at| at.trouble().map(str::to_owned)))
    }

    fn move_reference(&self, landing: &Landing) -> PortResult<()> {
        let opened = &self.opened;
        let attempted = || format!("cannot move {} to {}", landing.reference, landing.target.short());
        let log = format!("lambda-os: applied {}", landing.target.short());
        // Both at once: whoever cuts the journal afterwards meets a commit that it does not know.
        let moves = [
            RefMove { reference: &landing.reference, to: landing.target, from: Some(landing.expected) },
            RefMove { reference: LANDED, to: landing.target, from: None },
        ];
        let said =
            Plumbing::new(&opened.git.dirs, &opened.path).update_refs(&["--create-reflog"], &moves, &log);
        // What it says does not count, but where the branch is.
        let at = self.reference(landing).map_err(cannot(attempted()))?;
        if at == Some(landing.target) {
            self.sync_reference(LANDED)?;
            return self.sync_reference(&landing.reference);
        }
        let error = PortError::failed(attempted());
        Err(match said {
            Err(trouble) if trouble.0.contains("File exists") => {
                error.kind(FailureKind::Busy).because(trouble)
            }
            Err(trouble) => error.because(trouble),
            Ok(()) => error,
        })
    }

    /// Put the name of a ref's file on stable storage; the file itself git has synced.
    fn sync_reference(&self, reference: &str) -> PortResult<()> {
        let common = &self.opened.git.dirs.common_dir;
        let file = common.join(reference);
        let dir = if common.join("reftable").is_dir() {
            common.join("reftable")
        } else {
            file.parent().unwrap_or(common).to_owned()
        };
        if !dir.is_dir() {
            return Ok(());
        }
        self.disk.sync_dir(&dir).map_err(|error| {
            super::superproject::not_written("the directory", &dir, durable::WriteError::Unknown(error))
        })
    }

    fn around<'b>(&'b self, landing: &'b Landing) -> Around<'b> {
        Around {
            disk: self.disk,
            superproject: &self.opened,
            context: self.context,
            landing,
            sources: self.sources,
        }
    }

    /// Bring the checkouts of moved gitlinks along, and say which stay.
    fn bring_modules(&self, landing: &Landing, steps: &[Step]) -> PortResult<Landed> {
        let mut landed = Landed::default();
        for (path, from, to) in module::moved(steps) {
            let around = self.around(landing);
            let stays = match module::needed(around, path, from, to) {
                Needed::Nothing => None,
                Needed::Stays(why) => Some(why),
                Needed::Move(ready) => match module::bring(around, &ready) {
                    Ok(stays) => stays,
                    // What began is finished by landing again.
                    Err(error) if error.fatal || ready.is_begun(landing) => return Err(error),
                    // The change is applied; a checkout that did not follow is for a person.
                    Err(error) => Some(said(&error)),
                },
            };
            landed.notes.extend(stays.map(|why| module::note(path, &why)));
        }
        Ok(landed)
    }

    /// What stays of a landing that is done.
    fn left(&self, landing: &Landing, steps: &[Step]) -> Landed {
        let notes = module::moved(steps)
            .filter_map(|(path, from, to)| match module::needed(self.around(landing), path, from, to) {
                Needed::Stays(why) => Some(module::note(path, &why)),
                Needed::Move(ready) => {
                    module::stays(self.around(landing), &ready).map(|why| module::note(path, &why))
                }
                Needed::Nothing => None,
            })
            .collect();
        Landed { notes }
    }

    /// What is there of a landing.
    pub(super) fn landing_state(&self, landing: &Landing) -> PortResult<LandingState> {
        self.state(landing)
            .map_err(cannot(format!("cannot tell what became of applying {}", landing.target.short())))
    }

    fn state(&self, landing: &Landing) -> Read<LandingState> {
        let opened = &self.opened;
        let at = self.reference(landing)?;
        if at == Some(landing.expected) {
            return Ok(LandingState::NotBegun);
        }
        let steps = self.steps(landing);
        if at != Some(landing.target) {
            return self.went_on(landing, at, &steps);
        }
        if let Some(why) = other_branch(opened, landing) {
            return Ok(LandingState::Elsewhere(why));
        }
        let index = opened.index()?;
        let standings = self.standings(&index, &steps)?;
        let finished = standings.iter().all(|at| at.is(&At::New));
        let locked = lock::is_ours(&opened.git.dirs.git_dir, &lock::marker(landing));
        if !finished && !locked {
            // Whoever took our lock away may have worked on: only what is certain is finished.
            if let Some(why) = standings.iter().find_map(Standing::trouble) {
                return Ok(LandingState::Elsewhere(why.to_owned()));
            }
        }
        if !finished || locked {
            return Ok(match standings.iter().find_map(Standing::trouble) {
                Some(why) => LandingState::Elsewhere(why.to_owned()),
                None => LandingState::Begun,
            });
        }
        let waits = module::moved(&steps).any(|(path, from, to)| {
            match module::needed(self.around(landing), path, from, to) {
                Needed::Move(ready) => module::stays(self.around(landing), &ready).is_none(),
                Needed::Nothing | Needed::Stays(_) => false,
            }
        });
        Ok(if waits { LandingState::Begun } else { LandingState::Done })
    }

    /// The branch is neither where it was nor where it should be: did it go on from there?
    fn went_on(&self, landing: &Landing, at: Option<ObjectId>, steps: &[Step]) -> Read<LandingState> {
        let Some(tip) = at else {
            return Ok(LandingState::Elsewhere(format!("{} is gone", landing.reference)));
        };
        let onwards =
            self.opened.objects.ahead_behind(tip, landing.target)?.is_some_and(|(_, behind)| behind == 0);
        if !onwards {
            return Ok(LandingState::Elsewhere(format!(
                "{} is at {}, which does not contain the applied commit {}",
                landing.reference,
                tip.short(),
                landing.target.short()
            )));
        }
        for step in steps {
            let found = build::content(&self.opened, tip, &step.path)?;
            let leaf = found.map(|content| build::entry_of(&content, self.opened.hash));
            if leaf != step.new.map(|new| (new.mode, new.id)) {
                return Ok(LandingState::Elsewhere(format!(
                    "{} went on to {}, which has something else at {}",
                    landing.reference,
                    tip.short(),
                    step.path
                )));
            }
        }
        Ok(LandingState::Done)
    }

    /// Let go of what a landing that did not begin left.
    pub(super) fn abandon(&self, landing: &Landing) -> PortResult<()> {
        self.sweep(&self.steps(landing));
        let attempted = || "cannot forget an application that was taken back".to_owned();
        let newest = refs::resolve(&self.opened, LANDED.as_bytes()).map_err(cannot(attempted()))?;
        if newest == Some(landing.target) {
            // The branch moved and was moved back by its operator.
            Plumbing::new(&self.opened.git.dirs, &self.opened.path)
                .delete_ref(LANDED, landing.target)
                .map_err(cannot(attempted()))?;
        }
        let git_dir = &self.opened.git.dirs.git_dir;
        if lock::is_ours(git_dir, &lock::marker(landing)) {
            IndexLock::take(self.disk, git_dir, &lock::marker(landing))?.release()?;
        }
        Ok(())
    }
}

/// An error with its causes, as one sentence.
fn said(error: &PortError) -> String {
    let mut said = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    said
}

fn file_content(content: &PathContent) -> Option<Vec<u8>> {
    match content {
        PathContent::File { content, .. } => Some(content.clone()),
        PathContent::Gitlink(_) => None,
    }
}

/// Why nothing can be put on HEAD.
pub(super) fn head_obstacle(opened: &Opened) -> Option<String> {
    let head = &opened.head;
    match (&head.branch, head.id) {
        (None, _) => Some(
            "HEAD is detached: check out the branch that the change shall go to with: git switch BRANCH"
                .to_owned(),
        ),
        (Some(branch), _) if branch.starts_with("refs/") || branch.contains('\u{fffd}') => {
            Some(format!("HEAD names {}, which is no branch", crate::domain::text::quoted(branch)))
        }
        (Some(branch), None) => {
            Some(format!("the branch {} has no commit yet", crate::domain::text::quoted(branch)))
        }
        (Some(_), Some(_)) => None,
    }
}

/// HEAD names another branch than the one that moves.
fn other_branch(opened: &Opened, landing: &Landing) -> Option<String> {
    let now = format!("refs/heads/{}", opened.head.branch.as_deref().unwrap_or_default());
    (now != landing.reference).then(|| {
        format!(
            "HEAD names {} now, and the change was begun on {}",
            crate::domain::text::quoted(&now),
            landing.reference
        )
    })
}

fn under_way(operation: Operation) -> String {
    format!(
        "a git {operation} is under way: finish it, or end it with: git {operation} {}",
        match operation {
            Operation::Bisect => "reset",
            _ => "--abort",
        }
    )
}

/// What one commit changes on another, with all contents.
pub(super) fn edits_between(opened: &Opened, from: ObjectId, to: ObjectId) -> Read<Vec<PathEdit>> {
    let tree = |commit: ObjectId| {
        opened.objects.commit_tree(commit)?.ok_or_else(|| Trouble(format!("the commit {commit} is missing")))
    };
    let mut steps = Vec::new();
    module::compare(&opened.objects, Some(tree(from)?), Some(tree(to)?), &[], 0, &mut steps)?;
    steps.sort_by(|left, right| left.path.cmp(&right.path));
    let edit = |step: Step| {
        let old = build::content(opened, from, &step.path)?;
        let new = build::content(opened, to, &step.path)?
            .ok_or_else(|| Trouble(format!("it removes {}", step.path)))?;
        Ok(PathEdit { path: step.path, old, new })
    };
    steps.into_iter().map(edit).collect()
}
