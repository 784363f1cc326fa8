//! The machine on which everything happens, as the ports see it: one value that is the workspace,
//! the upstreams and the clock. What it holds outlives every process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;

use lambda_os::domain::change::{PathContent, PathEdit};
use lambda_os::domain::contents::held::Held;
use lambda_os::domain::contents::touched::{Difference, Links};
use lambda_os::domain::contents::vouched::{Newcomer, Voucher};
use lambda_os::domain::discover::{DiscoverInput, discover};
use lambda_os::domain::flake::nix_reader::{self, InputSpec};
use lambda_os::domain::flake::reference::FlakeRef;
use lambda_os::domain::flake::relock::{Request, Update, relock};
use lambda_os::domain::history::{History, HistoryLimits};
use lambda_os::domain::id::{ObjectId, ProposalId, RepoPath};
use lambda_os::domain::module::{Discovery, Module};
use lambda_os::domain::snapshot::{
    Ahead, Change, ChangeKind, Engine, ModuleState, Operation, Snapshot, SubmoduleChange, SuperprojectState,
    TreeState, UntrackedFile,
};
use lambda_os::domain::upgrade::{Relation, UpstreamAnswer};
use lambda_os::domain::url::RepoIdentity;
use lambda_os::ports::{
    Clock, Contents, DetectOptions, FailureKind, FirstTrusted, Landed, Landing, LandingState, ModuleSources,
    PortError, PortResult, Repository, SnapshotOptions, Sources, Superproject, Upstream as Answer,
};

use super::fault::{Call, Faults, locked};
use super::git::{BRANCH, Git, Lock, Tree, tree_id};
use super::health::Bench;
use super::journal::Disk;
use super::random::Random;
use super::upstream::{Flakes, Upstream, name};

/// Time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    pub(crate) wall_ms: i64,
    pub(crate) mono_ms: u64,
    pub(crate) boot: u64,
}

/// The branch was moved by a landing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) expected: ObjectId,
    pub(crate) target: ObjectId,
    /// How many entries the journal had then.
    pub(crate) entries: usize,
}

/// The inputs of a flake, with the repository that each is.
type Inputs = BTreeMap<String, Option<RepoIdentity>>;

/// Everything that outlives a process.
pub(crate) struct Machine {
    pub(crate) faults: Faults,
    pub(crate) git: Mutex<Git>,
    pub(crate) upstreams: Mutex<Vec<Upstream>>,
    pub(crate) time: Mutex<Time>,
    pub(crate) disk: Mutex<Disk>,
    pub(crate) bench: Mutex<Bench>,
    /// What flakes say, read once.
    inputs: Mutex<BTreeMap<Vec<u8>, Inputs>>,
    /// What landings did to the branch.
    pub(crate) moves: Mutex<Vec<Move>>,
    /// Who really signed an approval of which proposal.
    pub(crate) approved: Mutex<BTreeMap<ProposalId, BTreeSet<String>>>,
}

impl Machine {
    /// A workspace of a few modules, all at the first revision of their upstream.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, "machine");
        let count = 2 + random.below(4);
        let mut upstreams: Vec<Upstream> = Vec::new();
        let circle = count > 2 && random.chance(20);
        for number in 0..count {
            let mut inputs: Vec<usize> = (0..number).filter(|_| random.chance(45)).collect();
            if circle && number == 0 {
                inputs.push(1);
            }
            if circle && number == 1 && !inputs.contains(&0) {
                inputs.push(0);
            }
            upstreams.push(Upstream::new(number, inputs));
        }
        let pinned = random.chance(40).then(|| random.below(count));
        let upstreams = Mutex::new(upstreams);
        let tree = first_tree(&upstreams, pinned);
        let mut git = Git::new(tree);
        git.work.insert("notes.txt".into(), b"the operator's own\n".to_vec());
        Self {
            faults: Faults::new(),
            git: Mutex::new(git),
            upstreams,
            time: Mutex::new(Time { wall_ms: 1_800_000_000_000, mono_ms: 1_000, boot: 1 }),
            disk: Mutex::default(),
            bench: Mutex::default(),
            inputs: Mutex::default(),
            moves: Mutex::default(),
            approved: Mutex::default(),
        }
    }

    fn read<T>(&self, name: &'static str, ask: impl FnOnce(&Git) -> PortResult<T>) -> PortResult<T> {
        self.faults.call(name, Call::Read, || ask(&locked(&self.git)))
    }

    fn write<T>(&self, name: &'static str, act: impl FnOnce(&mut Git) -> PortResult<T>) -> PortResult<T> {
        self.faults.call(name, Call::Write, || act(&mut locked(&self.git)))
    }

    /// The inputs of HEAD's flake, with the repository that each is.
    fn inputs(&self, git: &Git) -> Inputs {
        let flake = file(git.tree(git.head()).map(AsRef::as_ref), "flake.nix").unwrap_or_default();
        let mut inputs = locked(&self.inputs);
        let known = inputs.entry(flake).or_insert_with_key(|flake| {
            let read = nix_reader::read(flake).ok();
            let one = |(name, spec): (String, InputSpec)| {
                (name, spec.reference.as_ref().and_then(FlakeRef::identity))
            };
            read.into_iter().flat_map(|flake| flake.inputs).map(one).collect()
        });
        known.clone()
    }

    /// The upstream of a module.
    pub(crate) fn upstream<T>(&self, module: &str, ask: impl FnOnce(&mut Upstream) -> T) -> Option<T> {
        locked(&self.upstreams).iter_mut().find(|upstream| upstream.name == module).map(ask)
    }
}

/// The first commit: `.gitmodules`, `flake.nix`, `flake.lock`, a file of the operator's, the gitlinks.
fn first_tree(upstreams: &Mutex<Vec<Upstream>>, pinned: Option<usize>) -> Tree {
    let (mut gitmodules, mut inputs) = (String::new(), String::new());
    let mut tree = Tree::new();
    let mut updates = BTreeMap::new();
    let all = locked(upstreams).clone();
    for (number, upstream) in all.iter().enumerate() {
        let name = &upstream.name;
        let _ = writeln!(
            gitmodules,
            "[submodule \"{name}\"]\n\tpath = repos/{name}\n\turl = https://github.com/acme/{name}.git"
        );
        let rev = if pinned == Some(number) { format!("/{}", upstream.tip) } else { String::new() };
        let _ = writeln!(inputs, "    {name}.url = \"github:acme/{name}{rev}\";");
        for input in 0..all.len() {
            // Also of what it does not have now: a later revision may.
            if input < number || upstream.revisions[&upstream.tip].inputs.contains(&input) {
                let _ = writeln!(inputs, "    {name}.inputs.{0}.follows = \"{0}\";", self::name(input));
            }
        }
        updates.insert(vec![name.clone()], Update::Revision(upstream.tip.to_string()));
        tree.insert(format!("repos/{name}").as_str().into(), PathContent::Gitlink(upstream.tip));
    }
    let flake = format!("{{\n  inputs = {{\n{inputs}  }};\n  outputs = _: {{ }};\n}}\n");
    let request =
        Request { flake_nix: flake.as_bytes(), dir: "", lock: None, updates: &updates, strict: false };
    let lock = relock(request, &Flakes(upstreams)).expect("because the first revisions can be locked");
    let files = [
        (".gitmodules", gitmodules.into_bytes()),
        ("flake.nix", flake.into_bytes()),
        ("flake.lock", lock.lock.to_json().into_bytes()),
        ("README.md", b"the workspace\n".to_vec()),
    ];
    for (path, content) in files {
        tree.insert(path.into(), PathContent::File { executable: false, content });
    }
    tree
}

impl Clock for Machine {
    fn wall_ms(&self) -> i64 {
        locked(&self.time).wall_ms
    }

    fn mono_ms(&self) -> u64 {
        locked(&self.time).mono_ms
    }

    fn mono_us(&self) -> u64 {
        self.mono_ms() * 1000
    }

    fn boot(&self) -> String {
        format!("boot-{}", locked(&self.time).boot)
    }
}

impl Repository for Machine {
    fn head(&self) -> PortResult<Option<ObjectId>> {
        self.read("repository.head", |git| Ok(Some(git.head())))
    }

    fn discover(&self) -> PortResult<Discovery> {
        self.read("repository.discover", |git| {
            let gitlinks = git.index.iter().filter_map(|(path, content)| match content {
                PathContent::Gitlink(pin) => Some((path.clone(), *pin)),
                PathContent::File { .. } => None,
            });
            Ok(discover(&DiscoverInput {
                gitmodules: file(Some(&git.index), ".gitmodules"),
                gitlinks: gitlinks.collect(),
                superproject_branch: git.detached.is_none().then(|| "main".to_owned()),
                flake_inputs: self.inputs(git),
                ..DiscoverInput::default()
            }))
        })
    }

    fn snapshot(&self, discovery: &Discovery, _: &SnapshotOptions) -> PortResult<Snapshot> {
        self.read("repository.snapshot", |git| Ok(snapshot(git, discovery)))
    }

    fn committed_file(&self, path: &RepoPath) -> PortResult<Option<Vec<u8>>> {
        self.read("repository.committed_file", |git| {
            Ok(file(git.tree(git.head()).map(AsRef::as_ref), &path.to_string()))
        })
    }

    fn module_file(&self, module: &Module, commit: ObjectId, path: &RepoPath) -> PortResult<Option<Vec<u8>>> {
        self.file(module, commit, path)
    }
}

fn file(tree: Option<&Tree>, path: &str) -> Option<Vec<u8>> {
    match tree?.get(&RepoPath::from(path)) {
        Some(PathContent::File { content, .. }) => Some(content.clone()),
        _ => None,
    }
}

/// What the workspace looks like.
fn snapshot(git: &Git, discovery: &Discovery) -> Snapshot {
    let committed = git.tree(git.head()).expect("because HEAD is a commit").clone();
    let mut tree = TreeState { engine: Engine::Index, ..TreeState::default() };
    for (path, entry) in &git.index {
        let staged =
            if committed.get(path) == Some(entry) { ChangeKind::Unmodified } else { ChangeKind::Modified };
        let (differs, submodule) = match entry {
            PathContent::Gitlink(pin) => {
                let checkout = git.checkouts.get(path);
                let commit = checkout.is_some_and(|checkout| checkout.head != *pin);
                let modified = checkout.is_some_and(|checkout| checkout.dirty);
                let change = SubmoduleChange { commit, modified, untracked: false };
                (commit || modified, Some(change))
            }
            PathContent::File { content, .. } => (git.work.get(path) != Some(content), None),
        };
        let worktree = if differs { ChangeKind::Modified } else { ChangeKind::Unmodified };
        if (staged, worktree) != (ChangeKind::Unmodified, ChangeKind::Unmodified) {
            tree.changes.push(Change { path: path.clone(), staged, worktree, submodule });
        }
    }
    let untracked = git.work.iter().filter(|(path, _)| !git.index.contains_key(path));
    tree.untracked = untracked
        .map(|(path, content)| UntrackedFile {
            path: path.clone(),
            size: content.len() as u64,
            content: None,
        })
        .collect();
    let modules = discovery.modules.iter().map(|module| module_state(git, &committed, module)).collect();
    Snapshot {
        superproject: SuperprojectState {
            head: Some(git.head()),
            branch: git.detached.is_none().then(|| "main".to_owned()),
            operation: git.merging.then_some(Operation::Merge),
            index_locked: git.lock.is_some(),
            tree,
        },
        modules,
        refused: discovery.refused.clone(),
    }
}

fn module_state(git: &Git, committed: &Tree, module: &Module) -> ModuleState {
    let pin = |tree: &Tree| match tree.get(&module.path) {
        Some(PathContent::Gitlink(pin)) => Some(*pin),
        _ => None,
    };
    let checkout = git.checkouts.get(&module.path);
    let (gitlink, head) = (pin(&git.index), checkout.map(|checkout| checkout.head));
    ModuleState {
        name: module.name.clone(),
        path: module.path.clone(),
        gitlink,
        committed: pin(committed),
        head,
        branch: None,
        initialised: checkout.is_some(),
        detached: true,
        shallow: false,
        ahead: if gitlink == head { Ahead::Same } else { Ahead::Unknown },
        dirty: checkout.is_some_and(|checkout| checkout.dirty),
        operation: None,
        tree: TreeState::default(),
        problem: None,
    }
}

impl Superproject for Machine {
    fn content(&self, commit: ObjectId, path: &RepoPath) -> PortResult<Option<PathContent>> {
        self.read("superproject.content", |git| {
            let tree = git.tree(commit).ok_or_else(|| PortError::failed(format!("no commit {commit}")))?;
            Ok(tree.get(path).cloned())
        })
    }

    fn tree_with(&self, base: ObjectId, edits: &[PathEdit]) -> PortResult<ObjectId> {
        self.read("superproject.tree_with", |git| {
            let tree = git.edited(base, edits);
            Ok(tree_id(&tree.ok_or_else(|| PortError::failed("the base is not what an edit says"))?))
        })
    }

    fn branch(&self) -> PortResult<(String, ObjectId)> {
        self.read("superproject.branch", |git| match git.detached {
            Some(_) => Err(PortError::failed("HEAD is detached")),
            None => Ok((BRANCH.to_owned(), git.main)),
        })
    }

    fn edits_between(&self, from: ObjectId, to: ObjectId) -> PortResult<Vec<PathEdit>> {
        self.read("superproject.edits_between", |git| {
            let missing = || PortError::failed("a commit is missing");
            let (old, new) = (git.tree(from).ok_or_else(missing)?, git.tree(to).ok_or_else(missing)?);
            let changed = new.iter().filter(|(path, content)| old.get(path) != Some(content));
            Ok(changed
                .map(|(path, new)| PathEdit {
                    path: path.clone(),
                    old: old.get(path).cloned(),
                    new: new.clone(),
                })
                .collect())
        })
    }

    fn newest_landed(&self) -> PortResult<Option<(ObjectId, Vec<u8>)>> {
        self.read("superproject.newest_landed", |git| {
            Ok(git.landed.and_then(|id| Some((id, git.commits.get(&id)?.message.clone()))))
        })
    }

    fn trusted(&self) -> PortResult<Option<FirstTrusted>> {
        Ok(None)
    }

    fn remember_trusted(&self, _: FirstTrusted) -> PortResult<()> {
        Ok(())
    }

    fn obstacles(&self, base: ObjectId, edits: &[PathEdit]) -> PortResult<Vec<String>> {
        self.read("superproject.obstacles", |git| match git.lock {
            Some(_) => Err(busy()),
            None => Ok(git.obstacles(base, edits)),
        })
    }

    fn commit(&self, base: ObjectId, edits: &[PathEdit], message: &str, _: i64) -> PortResult<ObjectId> {
        self.write("superproject.commit", |git| {
            let tree = git.edited(base, edits);
            let tree = tree.ok_or_else(|| PortError::failed("the base is not what an edit says"))?;
            Ok(git.commit(Some(base), tree, message.as_bytes()))
        })
    }

    fn land(&self, landing: &Landing) -> PortResult<Landed> {
        let ours = Lock::Ours(landing.target);
        let detached =
            self.read("land.look", |git| Ok(git.detached.is_some() || landing.reference != BRANCH))?;
        if detached {
            return Err(PortError::failed("cannot apply: HEAD does not name the branch"));
        }
        if locked(&self.git).landing_state(landing) == LandingState::Done {
            return Ok(Landed::default());
        }
        self.write("land.lock", |git| match git.lock {
            Some(lock) if lock != ours => Err(busy()),
            _ => {
                git.lock = Some(ours);
                Ok(())
            }
        })?;
        let (begun, why) = {
            let git = locked(&self.git);
            let begun = git.main == landing.target;
            let why = if begun {
                git.trouble(landing)
            } else {
                let found = git.obstacles(landing.expected, &landing.edits);
                (!found.is_empty()).then(|| found.join("; "))
            };
            (begun, why)
        };
        let release = || {
            self.write("land.unlock", |git| {
                git.lock = None;
                Ok(())
            })
        };
        if let Some(why) = why {
            if !begun {
                release()?;
            }
            return Err(PortError::failed("cannot apply").because(std::io::Error::other(why)));
        }
        if !begun {
            let moved = self.write("land.reference", |git| {
                (git.main, git.landed) = (landing.target, Some(landing.target));
                let entries = locked(&self.disk).lines.len();
                let (expected, target) = (landing.expected, landing.target);
                locked(&self.moves).push(Move { expected, target, entries });
                Ok(())
            });
            if let Err(error) = moved {
                release()?;
                return Err(error);
            }
        }
        self.write("land.files", |git| {
            git.bring_files(landing);
            Ok(())
        })?;
        self.write("land.index", |git| {
            git.bring_entries(landing);
            Ok(())
        })?;
        release()?;
        let waiting = locked(&self.git).waiting(landing);
        for (path, to) in waiting {
            self.write("land.checkout", |git| {
                if let Some(checkout) = git.checkouts.get_mut(&path) {
                    checkout.head = to;
                }
                Ok(())
            })?;
        }
        Ok(Landed::default())
    }

    fn landing_state(&self, landing: &Landing) -> PortResult<LandingState> {
        self.read("superproject.landing_state", |git| Ok(git.landing_state(landing)))
    }

    fn abandon(&self, landing: &Landing) -> PortResult<()> {
        self.write("superproject.abandon", |git| {
            if git.landed == Some(landing.target) {
                git.landed = None;
            }
            if git.lock == Some(Lock::Ours(landing.target)) {
                git.lock = None;
            }
            Ok(())
        })
    }
}

fn busy() -> PortError {
    PortError::failed("another git holds the index").kind(FailureKind::Busy)
}

/// No module here has objects: whoever asks is told so.
impl Contents for Machine {
    fn held(&self, _: &Module, _: ObjectId) -> PortResult<Option<Held>> {
        Ok(None)
    }

    fn difference(&self, _: &Module, _: ObjectId, _: ObjectId) -> PortResult<Option<Difference>> {
        Ok(None)
    }

    fn vouchers(&self, _: &Module, _: ObjectId) -> PortResult<Option<Vec<Voucher>>> {
        Ok(None)
    }

    fn newcomers(&self, _: &Module, _: ObjectId, _: ObjectId, _: usize) -> PortResult<Option<Vec<Newcomer>>> {
        Ok(None)
    }

    fn own_links(&self, _: ObjectId) -> PortResult<Option<Links>> {
        Ok(Some(Links::new()))
    }
}

impl Sources for Machine {
    fn refresh(&self, modules: &[&Module], _: &DetectOptions) -> Vec<Answer> {
        self.faults.plain("sources.refresh", || {
            let mut upstreams = locked(&self.upstreams);
            let answer = |module: &&Module| {
                let upstream = upstreams.iter_mut().find(|upstream| upstream.name == module.name.as_str());
                let answer = match upstream {
                    None => UpstreamAnswer::Unknown("there is none".to_owned()),
                    Some(upstream) if !upstream.reachable => {
                        UpstreamAnswer::Unreachable("it does not answer".to_owned())
                    }
                    Some(upstream) => {
                        upstream.fetch();
                        UpstreamAnswer::Tip { branch: "main".to_owned(), tip: upstream.tip, fresh: true }
                    }
                };
                Answer { module: module.name.clone(), answer }
            };
            modules.iter().map(answer).collect()
        })
    }

    fn relation(&self, module: &Module, from: ObjectId, to: ObjectId) -> PortResult<Relation> {
        self.faults.call("sources.relation", Call::Read, || {
            let found = self.upstream(module.name.as_str(), |upstream| upstream.relation(from, to));
            found.ok_or_else(|| PortError::failed("there is no mirror"))
        })
    }

    fn file(&self, module: &Module, commit: ObjectId, path: &RepoPath) -> PortResult<Option<Vec<u8>>> {
        self.faults.call("sources.file", Call::Read, || {
            let flake = path.as_bytes() == b"flake.nix";
            let found = self.upstream(module.name.as_str(), |upstream| {
                if flake && upstream.mirror.contains(&commit) { upstream.flake(commit) } else { None }
            });
            Ok(found.flatten())
        })
    }

    fn history(&self, _: &Module, _: ObjectId, _: ObjectId, _: HistoryLimits) -> PortResult<History> {
        Ok(History::default())
    }

    fn flakes(&self, _: &[Module]) -> Box<dyn ModuleSources + '_> {
        Box::new(Flakes(&self.upstreams))
    }
}
