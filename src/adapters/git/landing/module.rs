//! The checkout of a submodule whose gitlink moved, brought to its new commit.
//!
//! Only where nothing can be lost and nothing has to be run: initialised, on the old commit and on
//! no branch, nothing changed in it, no filters, no sparse checkout, no submodules of its own among
//! what changes. Anything else stays as it is and is said, with the command that brings it along.
//! A checkout that was cut short half way is finished: what is there is then old or new, path by
//! path, and nothing else.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use super::step::{At, Leaf, Standing, Step, conversion, standing};
use super::{entries, files, lock, transfer};
use crate::adapters::durable::Disk;
use crate::adapters::git::attributes::{Attributes, Place, Sources};
use crate::adapters::git::checkout::{Context, Opened};
use crate::adapters::git::files::{Read, Trouble, directory_beneath};
use crate::adapters::git::locate::{self, Found};
use crate::adapters::git::objects::{MODE_GITLINK, MODE_TREE, Objects};
use crate::adapters::git::plumbing::{Plumbing, RefMove};
use crate::adapters::git::superproject::cannot;
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::domain::snapshot::{ChangeKind, Engine};
use crate::ports::{Landing, PortResult};

/// The most paths that are brought along.
const MAX_PATHS: usize = 50_000;
/// The deepest directory that is compared.
const MAX_DEPTH: usize = 256;

/// What a submodule needs.
pub(super) enum Needed {
    /// It is at its new commit, or nothing is checked out.
    Nothing,
    /// It can be brought along.
    Move(Box<Ready>),
    /// It stays: why.
    Stays(String),
}

/// A checkout that can be brought along.
pub(super) struct Ready {
    opened: Opened,
    /// Where the new commit's objects are when they are not in the checkout's own repository.
    elsewhere: Vec<PathBuf>,
    from: ObjectId,
    to: ObjectId,
    /// What changes, as far as it can be told before the objects are there.
    head_moved: bool,
}

impl Ready {
    /// True while this landing holds the checkout's index: something of it may be changed.
    pub(super) fn is_begun(&self, landing: &Landing) -> bool {
        lock::is_ours(&self.opened.git.dirs.git_dir, &lock::marker(landing))
    }
}

/// Where things are that every submodule needs.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) superproject: &'a Opened,
    pub(super) context: Context<'a>,
    pub(super) landing: &'a Landing,
    /// Object directories that may hold a module's commits besides its checkout.
    pub(super) sources: &'a dyn Fn(&Module) -> Vec<PathBuf>,
}

/// Look at the checkout of a moved gitlink.
pub(super) fn needed(around: Around<'_>, path: &RepoPath, from: ObjectId, to: ObjectId) -> Needed {
    match look(around, path, from, to) {
        Ok(needed) => needed,
        Err(trouble) => Needed::Stays(trouble.0),
    }
}

fn look(around: Around<'_>, path: &RepoPath, from: ObjectId, to: ObjectId) -> Read<Needed> {
    let superproject = around.superproject;
    let Ok(work) = directory_beneath(superproject.work.as_fd(), path.as_bytes()) else {
        return Ok(Needed::Nothing);
    };
    let place = superproject
        .path
        .join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path.as_bytes()));
    let (git, dot_git) = match locate::at(work.as_fd(), &place) {
        Found::Nothing => return Ok(Needed::Nothing),
        Found::Broken(why) => return Ok(Needed::Stays(why)),
        Found::Repository(git, dot_git) => (git, dot_git),
    };
    let opened = Opened::new(work, place, *git, dot_git, around.context)?;
    let ours = lock::is_ours(&opened.git.dirs.git_dir, &lock::marker(around.landing));
    if opened.head.id == Some(to) && !ours {
        return Ok(Needed::Nothing);
    }
    let stays = |why: &str| Ok(Needed::Stays(why.to_owned()));
    if opened.hash != gix_hash::Kind::Sha1 {
        return stays("its objects are not named by SHA-1");
    }
    if !opened.head.detached {
        return stays("it is on a branch");
    }
    if opened.head.id != Some(from) && opened.head.id != Some(to) {
        return stays("it is at another commit");
    }
    if opened.shallow {
        return stays("its history is shallow");
    }
    if let Some(operation) = opened.operation {
        return Ok(Needed::Stays(format!("a {operation} is under way in it")));
    }
    if opened.index_locked && !ours {
        return stays("another git works on its index");
    }
    let sparse = opened.config.boolean("core", "sparsecheckout") == Some(true);
    if sparse {
        return stays("it is a sparse checkout");
    }
    if opened.config.boolean("core", "symlinks") == Some(false) {
        return stays("core.symlinks is off in it");
    }
    if opened.config.string("extensions", None, "partialclone").is_some() {
        return stays("it is a partial clone");
    }
    let module = around.landing.modules.iter().find(|module| module.path == *path);
    let elsewhere = module.map_or_else(Vec::new, |module| (around.sources)(module));
    if !opened.objects.has(to) && !transfer::is_at(&elsewhere, to) {
        return stays("its new commit is not at hand");
    }
    let head_moved = opened.head.id == Some(to);
    Ok(Needed::Move(Box::new(Ready { opened, elsewhere, from, to, head_moved })))
}

/// Whether a checkout that looked ready must stay after all, as far as that can be told before its
/// new objects are there.
pub(super) fn stays(around: Around<'_>, ready: &Ready) -> Option<String> {
    let Ready { opened, from, to, .. } = ready;
    if !opened.objects.has(*to) {
        return None;
    }
    let resumed = lock::is_ours(&opened.git.dirs.git_dir, &lock::marker(around.landing));
    let why = || match steps(opened, *from, *to)? {
        Ok(steps) => obstacle(around, opened, &steps, resumed),
        Err(why) => Ok(Some(why)),
    };
    why().unwrap_or_else(|trouble: Trouble| Some(trouble.0))
}

/// Bring a checkout along, or say why it stays. Nothing of it changes when it stays.
pub(super) fn bring(around: Around<'_>, ready: &Ready) -> PortResult<Option<String>> {
    let Ready { opened, from, to, .. } = ready;
    let git_dir = &opened.git.dirs.git_dir;
    let marker = lock::marker(around.landing);
    let attempted = || {
        format!(
            "cannot bring the checkout {} to {}",
            crate::adapters::git::files::shown(&opened.path),
            to.short()
        )
    };
    if !opened.objects.has(*to) {
        transfer::bring(around.disk, opened.objects.directory(), &ready.elsewhere, *from, *to)?;
    }
    let resumed = lock::is_ours(git_dir, &marker);
    let held = lock::IndexLock::take(around.disk, git_dir, &marker)?;
    entries::sweep(around.disk, git_dir);
    let checked = steps(opened, *from, *to).and_then(|steps| match steps {
        Ok(steps) => {
            files::sweep(opened, &steps);
            Ok(match obstacle(around, opened, &steps, resumed)? {
                Some(why) => Err(why),
                None => Ok(steps),
            })
        }
        Err(why) => Ok(Err(why)),
    });
    let steps = match checked.map_err(cannot(attempted())) {
        Ok(Ok(steps)) => steps,
        // A lock that an earlier attempt left stays only where that attempt changed something.
        Ok(Err(why)) => {
            held.release()?;
            return Ok(Some(why));
        }
        Err(error) => {
            held.release()?;
            return Err(error);
        }
    };
    let index = opened.index().map_err(cannot(attempted()))?;
    let standings = steps
        .iter()
        .map(|step| standing(opened, &index, step))
        .collect::<Read<Vec<Standing>>>()
        .map_err(cannot(attempted()))?;
    let behind = |side: fn(&Standing) -> &At| -> Vec<&Step> {
        steps.iter().zip(&standings).filter(|(_, at)| *side(at) == At::Old).map(|(step, _)| step).collect()
    };
    files::replace(around.disk, opened, &behind(|at| &at.work))?;
    entries::replace(around.disk, opened, &behind(|at| &at.index))?;
    if !ready.head_moved {
        let log = format!("lambda-os: checkout: moving to {to}");
        Plumbing::new(&opened.git.dirs, &opened.path)
            .update_refs(&["--no-deref"], &[RefMove { reference: "HEAD", to: *to, from: Some(*from) }], &log)
            .map_err(cannot(attempted()))?;
    }
    held.release()?;
    Ok(None)
}

/// Why a checkout must stay although it could be read; `None` when it can be brought along.
fn obstacle(around: Around<'_>, opened: &Opened, steps: &[Step], resumed: bool) -> Read<Option<String>> {
    let indexed = opened.read_index()?;
    if indexed.index.engine != Engine::Index || !indexed.index.sparse.is_empty() || indexed.index.has_skipped
    {
        return Ok(Some("its index has a form in which entries are left out".to_owned()));
    }
    let sources =
        Sources::new(&opened.config, around.context.environment, &opened.path, &opened.git.dirs.common_dir);
    let place = Place {
        root: opened.work.as_fd(),
        index: &indexed.index,
        objects: &opened.objects,
        config: &opened.config,
        sources: &sources,
    };
    let mut attributes = Attributes::default();
    let by_path: BTreeMap<&RepoPath, &Step> = steps.iter().map(|step| (&step.path, step)).collect();
    for step in steps {
        if step.path.as_bytes().ends_with(b".gitattributes") {
            return Ok(Some("its attributes change".to_owned()));
        }
        let contents = step
            .new
            .iter()
            .filter_map(|leaf| opened.objects.blob(leaf.id).transpose())
            .collect::<Read<Vec<Vec<u8>>>>()?;
        if let Some(why) = conversion(&mut attributes, place, step, &contents)? {
            return Ok(Some(why));
        }
        let at = standing(opened, &indexed.index, step)?;
        if at.trouble().is_some() || (!resumed && !at.is(&At::Old)) {
            return Ok(Some(format!("{} in it is not what its commit has", step.path)));
        }
    }
    let seen = opened.walk(&indexed, around.context);
    if !seen.troubles.is_empty() {
        return Ok(Some(seen.troubles.join("; ")));
    }
    let (tree, _) = indexed.finish(seen, &BTreeMap::new());
    // What was cut short differs in the paths of the change, and only there.
    let foreign = tree.changes.iter().find(|change| {
        let only_a_submodule = change.submodule.is_some() && change.worktree == ChangeKind::Deleted;
        !(only_a_submodule || resumed && by_path.contains_key(&change.path))
    });
    Ok(foreign.map(|change| format!("{} is changed in it", change.path)))
}

/// What differs between two commits, or why that cannot be brought along.
fn steps(opened: &Opened, from: ObjectId, to: ObjectId) -> Read<Result<Vec<Step>, String>> {
    let tree = |commit: ObjectId| {
        opened.objects.commit_tree(commit)?.ok_or_else(|| Trouble(format!("the commit {commit} is missing")))
    };
    let mut steps = Vec::new();
    compare(&opened.objects, Some(tree(from)?), Some(tree(to)?), &[], 0, &mut steps)?;
    if steps.len() > MAX_PATHS {
        return Ok(Err(format!("more than {MAX_PATHS} files change")));
    }
    if let Some(step) = steps.iter().find(|step| step.is_gitlink()) {
        return Ok(Err(format!("the submodule {} in it changes too", step.path)));
    }
    if let Some(step) = steps.iter().find(|step| crate::adapters::git::build::check_path(&step.path).is_err())
    {
        return Ok(Err(format!("the path {} is not checked out here", step.path)));
    }
    steps.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(Ok(steps))
}

/// What differs between two trees, as steps whose paths begin with `prefix`.
pub(super) fn compare(
    objects: &Objects,
    old: Option<ObjectId>,
    new: Option<ObjectId>,
    prefix: &[u8],
    depth: usize,
    steps: &mut Vec<Step>,
) -> Read<()> {
    if old == new || steps.len() > MAX_PATHS {
        return Ok(());
    }
    if depth > MAX_DEPTH {
        return Err(Trouble(format!("the tree {} is too deep", RepoPath::new(prefix))));
    }
    let mut sides: BTreeMap<Vec<u8>, [Option<Leaf>; 2]> = BTreeMap::new();
    for (side, tree) in [old, new].into_iter().enumerate() {
        let Some(tree) = tree else { continue };
        let entries = objects.tree(tree)?.ok_or_else(|| Trouble(format!("the tree {tree} is missing")))?;
        for entry in entries {
            sides.entry(entry.name).or_default()[side] = Some(Leaf { mode: entry.mode, id: entry.id });
        }
    }
    for (name, [old, new]) in sides {
        if old == new {
            continue;
        }
        let path = [prefix, &name].concat();
        let tree = |leaf: Option<Leaf>| leaf.filter(|leaf| leaf.mode == MODE_TREE).map(|leaf| leaf.id);
        let file = |leaf: Option<Leaf>| leaf.filter(|leaf| leaf.mode != MODE_TREE);
        if tree(old).is_some() || tree(new).is_some() {
            compare(objects, tree(old), tree(new), &[&path[..], b"/"].concat(), depth + 1, steps)?;
        }
        let (old, new) = (file(old), file(new));
        if old != new {
            steps.push(Step { path: RepoPath::new(path), old, new });
        }
    }
    Ok(())
}

/// The gitlinks that move, with both commits.
pub(super) fn moved(steps: &[Step]) -> impl Iterator<Item = (&RepoPath, ObjectId, ObjectId)> {
    steps.iter().filter_map(|step| match (step.old, step.new) {
        (Some(old), Some(new)) if old.mode == MODE_GITLINK && new.mode == MODE_GITLINK => {
            Some((&step.path, old.id, new.id))
        }
        _ => None,
    })
}

/// The sentence for a checkout that stays.
pub(super) fn note(path: &RepoPath, why: &str) -> String {
    format!(
        "the checkout {path} was left where it is, because {why}; bring it along with: git submodule update -- {path}"
    )
}
