//! The state of the whole workspace: the superproject and every gitlink, in parallel.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use super::checkout::{self, Checkout, Context, Indexed, Opened, RepositoryState};
use super::files::{Read, Trouble, directory_beneath};
use super::objects::MODE_GITLINK;
use super::pool;
use super::untracked;
use super::walk::Seen;
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::{Discovery, Module};
use crate::domain::snapshot::{Ahead, ModuleState, Snapshot, SuperprojectState, TreeState};

/// What one job gives.
enum Done {
    Superproject(Box<(Opened, Indexed, Seen)>),
    Gitlink(Checkout),
    /// The superproject's job was taken twice, which cannot be.
    Nothing,
}

/// Read everything.
pub(super) fn take(opened: Opened, discovery: &Discovery, context: Context<'_>) -> Read<Snapshot> {
    let root = opened.work.try_clone().map_err(|error| Trouble::with("keep open", &opened.path, error))?;
    let root_path = opened.path.clone();
    let indexed = opened.read_index()?;
    let gitlinks = gitlinks(&indexed);
    let committed = committed(&opened, &indexed, discovery, &gitlinks)?;
    let mut head = SuperprojectState {
        head: opened.head.id,
        branch: opened.head.branch.clone(),
        operation: opened.operation,
        index_locked: opened.index_locked,
        tree: TreeState::default(),
    };

    // Every gitlink and every module is looked at: a refused module counts in the
    // superproject's own status, and a module in conflict has no gitlink.
    let mut places: BTreeMap<&RepoPath, Option<ObjectId>> = BTreeMap::new();
    places.extend(discovery.modules.iter().map(|module| (&module.path, None)));
    places.extend(gitlinks.iter().map(|(path, id)| (path, Some(*id))));
    let places: Vec<_> = places.into_iter().collect();
    let superproject = Mutex::new(Some((opened, indexed)));
    let threads = pool::threads(context.options.threads);
    let done = pool::parallel(places.len() + 1, threads, |job| {
        let Some(job) = job.checked_sub(1) else {
            let taken = superproject.lock().ok().and_then(|mut guard| guard.take());
            return taken.map_or(Done::Nothing, |(opened, indexed)| {
                let seen = opened.walk(&indexed, context);
                Done::Superproject(Box::new((opened, indexed, seen)))
            });
        };
        let (path, gitlink) = places[job];
        Done::Gitlink(checkout::inspect(root.as_fd(), &root_path, path, gitlink, context, 0))
    });

    let mut checkouts: BTreeMap<&RepoPath, Checkout> = BTreeMap::new();
    let mut own = None;
    for (at, result) in done.into_iter().enumerate() {
        match result {
            Done::Superproject(all) => own = Some(all),
            Done::Gitlink(checkout) => {
                checkouts.insert(places[at - 1].0, checkout);
            }
            Done::Nothing => {}
        }
    }
    let (_, indexed, seen) = *own.ok_or_else(|| Trouble("the superproject was not looked at".to_owned()))?;
    let submodules = checkouts
        .iter()
        .filter_map(|(path, checkout)| Some(((*path).clone(), checkout.submodule_state()?)))
        .collect();
    let (tree, problem) = indexed.finish(seen, &submodules);
    head.tree = tree;
    head.tree.bounded.extend(problem);

    let mut modules: Vec<ModuleState> = discovery
        .modules
        .iter()
        .map(|module| {
            let checkout = checkouts.remove(&module.path).unwrap_or(Checkout::Uninitialised);
            let gitlink = gitlinks.get(&module.path).copied();
            state(module, checkout, gitlink, committed.get(&module.path).copied())
        })
        .collect();
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    let mut snapshot = Snapshot { superproject: head, modules, refused: discovery.refused.clone() };
    hash_untracked(&mut snapshot, &root, context, threads);
    Ok(snapshot)
}

/// The gitlinks of the index, conflicts excepted.
fn gitlinks(indexed: &Indexed) -> BTreeMap<RepoPath, ObjectId> {
    let state = &indexed.index.state;
    state
        .entries()
        .iter()
        .filter(|entry| entry.mode.bits() == MODE_GITLINK && entry.stage_raw() == 0)
        .filter_map(|entry| {
            let path: &[u8] = entry.path(state);
            Some((RepoPath::new(path), ObjectId::from_bytes(entry.id.as_slice())?))
        })
        .collect()
}

/// The commits that HEAD records: the index's, unless the path is staged or in conflict.
fn committed(
    opened: &Opened,
    indexed: &Indexed,
    discovery: &Discovery,
    gitlinks: &BTreeMap<RepoPath, ObjectId>,
) -> Read<BTreeMap<RepoPath, ObjectId>> {
    let mut committed = BTreeMap::new();
    let Some(tree) = indexed.tree else { return Ok(committed) };
    for module in &discovery.modules {
        let path = &module.path;
        match gitlinks.get(path) {
            Some(id) if !indexed.staged.contains_key(path) => {
                committed.insert(path.clone(), *id);
            }
            _ => {
                let entry = opened.objects.lookup(tree, path.as_bytes())?;
                if let Some(entry) = entry.filter(|entry| entry.mode == MODE_GITLINK) {
                    committed.insert(path.clone(), entry.id);
                }
            }
        }
    }
    Ok(committed)
}

fn state(
    module: &Module,
    checkout: Checkout,
    gitlink: Option<ObjectId>,
    committed: Option<ObjectId>,
) -> ModuleState {
    let (initialised, state) = match checkout {
        Checkout::Uninitialised => (false, RepositoryState::default()),
        Checkout::Problem(why) => {
            (false, RepositoryState { problem: Some(why), ..RepositoryState::default() })
        }
        Checkout::Repository(state) => (true, *state),
    };
    let unknown = if state.problem.is_some() { Ahead::Unknown } else { Ahead::Same };
    ModuleState {
        name: module.name.clone(),
        path: module.path.clone(),
        gitlink,
        committed,
        head: state.head.id,
        branch: state.head.branch,
        initialised,
        detached: state.head.detached,
        shallow: state.shallow,
        ahead: state.ahead.unwrap_or(unknown),
        dirty: !state.tree.is_clean() || state.problem.is_some(),
        operation: state.operation,
        tree: state.tree,
        problem: state.problem,
    }
}

/// Fill in the content of untracked files, superproject first, then the modules by name.
fn hash_untracked(snapshot: &mut Snapshot, root: &OwnedFd, context: Context<'_>, threads: usize) {
    let Some(limit) = context.options.hash_untracked_bytes else { return };
    let mut left = limit;
    let mut trees: Vec<(Option<RepoPath>, &mut TreeState)> = vec![(None, &mut snapshot.superproject.tree)];
    trees.extend(snapshot.modules.iter_mut().map(|module| (Some(module.path.clone()), &mut module.tree)));
    trees.retain(|(_, tree)| !tree.untracked.is_empty());
    let chosen: Vec<Vec<usize>> =
        trees.iter_mut().map(|(_, tree)| untracked::choose(tree, limit, &mut left)).collect();
    let contents = pool::parallel(trees.len(), threads, |at| {
        let (path, tree) = &trees[at];
        let files: Vec<_> = chosen[at].iter().map(|file| &tree.untracked[*file]).collect();
        match path.as_ref().map(|path| directory_beneath(root.as_fd(), path.as_bytes())) {
            None => untracked::hash(root.as_fd(), &files),
            Some(Ok(dir)) => untracked::hash(dir.as_fd(), &files),
            Some(Err(_)) => Vec::new(),
        }
    });
    for (((_, tree), chosen), contents) in trees.iter_mut().zip(&chosen).zip(contents) {
        for (at, content) in chosen.iter().zip(contents) {
            tree.untracked[*at].content = content;
        }
    }
}
