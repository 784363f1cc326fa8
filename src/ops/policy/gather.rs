//! Facts for rules: read from git objects, mirrors and the journal's state, and only what is asked for.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::contents::Looked;
use super::{Site, Subject};
use crate::domain::change::PathContent;
use crate::domain::contents::touched::Links;
use crate::domain::flake::dep_graph::DepGraph;
use crate::domain::flake::lock::Lock;
use crate::domain::flake::nix_reader;
use crate::domain::governance::time::Times;
use crate::domain::graph::Wiring;
use crate::domain::id::{ModuleName, ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::domain::pin::{self, PinCheck};
use crate::domain::plan::PinMove;
use crate::domain::policy::Policy;
use crate::domain::policy::facts::{Facts, Known, Lately, ModuleFacts, Moved, UpstreamFacts};
use crate::domain::policy::rules::{Asks, Rules};
use crate::domain::state::State;
use crate::domain::text;
use crate::domain::upgrade::{Relation, Upgrade};
use crate::ops::fan::fan;
use crate::ops::order::DEP_GRAPH;
use crate::ops::recover::said;
use crate::ports::{PortResult, Sources};

/// What the rules that are set need.
#[expect(clippy::struct_excessive_bools, reason = "independent needs, each asked for by other rules")]
#[derive(Debug, Clone, Copy, Default)]
struct Needs {
    /// The result's `flake.nix`, `flake.lock` and dependency map.
    wiring: bool,
    /// Whether each pin's places agree.
    coherence: bool,
    /// That also of modules that are not judged.
    everywhere: bool,
    /// How both ends of a move stand to each other.
    relations: bool,
    /// How modules stand to their upstreams.
    upstream: bool,
    /// How far behind they are.
    behind: bool,
    /// Since when revisions are known.
    ages: bool,
    /// The superproject's symlinks.
    own_links: bool,
}

impl Needs {
    fn of(rules: &Rules, asks: Asks) -> Self {
        let Rules { drift, history_rewritten, minimum_age, pin_coherence, .. } = rules;
        let (sources, inputs) = (&rules.allowed_sources, &rules.forbidden_inputs);
        match asks {
            Asks::Tree => Self {
                wiring: pin_coherence.is_some() || sources.is_some() || inputs.is_some(),
                coherence: pin_coherence.is_some(),
                own_links: rules.forbidden_paths.as_ref().is_some_and(|rule| !rule.paths.is_empty()),
                everywhere: pin_coherence.as_ref().is_some_and(|rule| rule.everywhere),
                ..Self::default()
            },
            Asks::World => Self {
                relations: drift.is_some() || history_rewritten.is_some(),
                upstream: drift.is_some() || history_rewritten.is_some(),
                behind: drift.as_ref().is_some_and(|rule| rule.max_behind > 0),
                ages: minimum_age.is_some(),
                ..Self::default()
            },
        }
    }
}

/// What stands in a commit of the superproject, read once for everything that is judged on it.
#[derive(Debug)]
pub struct Grounds {
    commit: ObjectId,
    gitlinks: BTreeMap<ModuleName, ObjectId>,
    /// The files that wire the modules, read and parsed when a rule first asks for them.
    lock: OnceCell<Option<Arc<Lock>>>,
}

impl Grounds {
    /// Read a commit.
    ///
    /// # Errors
    /// When its objects cannot be read.
    pub fn read(site: Site<'_>, commit: ObjectId) -> PortResult<Self> {
        let paths: Vec<&RepoPath> = site.modules.iter().map(|module| &module.path).collect();
        let found = site.superproject.gitlinks(commit, &paths)?;
        let gitlinks = site.modules.iter().zip(found);
        let gitlinks = gitlinks.filter_map(|(module, found)| Some((module.name.clone(), found?))).collect();
        Ok(Self { commit, gitlinks, lock: OnceCell::new() })
    }

    /// The lock. One that cannot be read is as none: then everything in a result is new.
    fn lock(&self, site: Site<'_>) -> Option<Arc<Lock>> {
        let read = || {
            let content = site.superproject.content(self.commit, &RepoPath::from("flake.lock")).ok()??;
            match content {
                PathContent::File { content, .. } => {
                    Lock::parse_owned(content).ok().map(|(lock, _)| Arc::new(lock))
                }
                PathContent::Gitlink(_) => None,
            }
        };
        self.lock.get_or_init(read).clone()
    }
}

/// The facts that the rules that ask in this way need. What cannot be read is in them as such.
pub(super) fn gather(
    site: Site<'_>,
    grounds: &Grounds,
    state: &State,
    policy: &Policy,
    subject: Subject<'_>,
    now: Times,
    asks: Asks,
) -> Facts {
    let rules = &policy.rules;
    let needs = Needs::of(rules, asks);
    let result = Result_ { site, grounds, subject };
    let (mut files, mut files_before) = (BTreeMap::new(), BTreeMap::new());
    if asks == Asks::Tree {
        for path in rules.files() {
            let content = result.file(&path);
            if subject.change.is_some() {
                files_before.insert(path.clone(), result.file_before(&path));
            }
            files.insert(path, content);
        }
    }
    let wiring = if needs.wiring { result.wiring() } else { Wiring::default() };
    let lock_before = subject.change.filter(|_| needs.wiring).and_then(|_| grounds.lock(site));
    let gitlinks = result.gitlinks();
    let everything = subject.change.is_none() || result.rewires();
    let anywhere = needs.everywhere;
    let moves: BTreeMap<&ModuleName, &PinMove> =
        subject.change.iter().flat_map(|change| change.pins).map(|pin| (&pin.module, pin)).collect();
    let is_judged = |module: &Module| everything || moves.contains_key(&module.name);
    let mut coherence: BTreeMap<ModuleName, PinCheck> = BTreeMap::new();
    if needs.coherence {
        let asked = |module: &Module| anywhere || is_judged(module);
        let checks = pin::check_tree(site.modules, asked, &gitlinks, &wiring);
        coherence.extend(checks.into_iter().map(|check| (check.module.clone(), check)));
    }
    let checkouts: BTreeMap<&ModuleName, Option<ObjectId>> =
        site.snapshot.iter().flat_map(|it| &it.modules).map(|module| (&module.name, module.head)).collect();
    let known: BTreeMap<&ModuleName, &Upgrade> = site.upgrades.iter().map(|row| (&row.name, row)).collect();
    let none = BTreeSet::new();
    let paths = subject.change.map_or(&none, |change| &change.facts.paths);
    let kept: Vec<&Module> =
        site.modules.iter().filter(|module| asks == Asks::Tree || is_judged(module)).collect();
    let modules = fan(&kept, |module| {
        let module = *module;
        let name = &module.name;
        let judged = is_judged(module);
        let revision = gitlinks.get(name).copied();
        let look = Look { site, state, module, known: known.get(name).copied(), needs };
        ModuleFacts {
            name: name.clone(),
            path: module.path.clone(),
            identity: module.identity.clone(),
            fetched: module.fetch.url.identity(),
            revision,
            judged,
            moved: moves.get(name).map(|pin| Moved {
                from: pin.from,
                to: pin.to,
                relation: look.relation(needs.relations, pin.from, pin.to),
            }),
            coherence: coherence.get(name).map(|check| (check.verdict, check.sentence.clone())),
            upstream: (judged && needs.upstream)
                .then(|| look.upstream(revision, checkouts.get(name).copied().flatten())),
            first_seen_ms: match moves.get(name).filter(|pin| needs.ages && pin.from != pin.to) {
                Some(pin) => first_seen(site.sources, state, module, pin.to),
                None => Ok(None),
            },
            contents: Looked {
                site,
                rules,
                asks,
                paths,
                module,
                judged,
                revision,
                moved: moves.get(name).copied(),
            }
            .facts(),
            floor: look.floor(rules, revision.filter(|_| judged && asks == Asks::Tree)),
        }
    });
    let (applied, moves) = state.seen.applied_within_a_day(now.checked_ms);
    Facts {
        change: subject.change.map(|change| change.facts.clone()),
        modules,
        wiring,
        lock_before,
        files,
        files_before,
        own_links: if needs.own_links { result.own_links() } else { Ok(Links::new()) },
        commands: site.commands.to_vec(),
        now,
        lately: Lately { applied, moves },
    }
}

/// The commit with the change on it.
struct Result_<'a> {
    site: Site<'a>,
    grounds: &'a Grounds,
    subject: Subject<'a>,
}

impl Result_<'_> {
    fn content(&self, path: &RepoPath) -> PortResult<Option<PathContent>> {
        match self.subject.edits.iter().find(|edit| edit.path == *path) {
            Some(edit) => Ok(Some(edit.new.clone())),
            None => self.site.superproject.content(self.grounds.commit, path),
        }
    }

    /// A file's bytes.
    fn file(&self, path: &RepoPath) -> Known<Option<Vec<u8>>> {
        Self::bytes(self.content(path))
    }

    /// A file's bytes before the change.
    fn file_before(&self, path: &RepoPath) -> Known<Option<Vec<u8>>> {
        Self::bytes(self.site.superproject.content(self.grounds.commit, path))
    }

    fn bytes(content: PortResult<Option<PathContent>>) -> Known<Option<Vec<u8>>> {
        match content {
            Ok(Some(PathContent::File { content, .. })) => Ok(Some(content)),
            Ok(Some(PathContent::Gitlink(_))) => Err("a submodule stands there".to_owned()),
            Ok(None) => Ok(None),
            Err(error) => Err(said(&error)),
        }
    }

    /// The superproject's symlinks: no change adds or removes one.
    fn own_links(&self) -> Known<Links> {
        let commit = self.grounds.commit;
        match self.site.sources.own_links(commit) {
            Ok(Some(links)) => Ok(links),
            Ok(None) => Err(format!("{} is not at hand", commit.short())),
            Err(error) => Err(said(&error)),
        }
    }

    /// Whether a file that says how modules are wired changes as a file, not with a pin: then every
    /// module may be at another revision than before.
    fn rewires(&self) -> bool {
        let wires = ["flake.nix", "flake.lock", DEP_GRAPH].map(RepoPath::from);
        let files = self.subject.change.iter().flat_map(|change| &change.facts.files);
        files.into_iter().any(|file| wires.contains(&file.path))
    }

    fn wiring(&self) -> Wiring {
        let mut wiring = Wiring::default();
        let mut unreadable = BTreeMap::new();
        let read = |path: &str| self.file(&RepoPath::from(path));
        wiring.flake = parsed("flake.nix", read("flake.nix"), nix_reader::read, &mut unreadable);
        wiring.lock = parsed("flake.lock", read("flake.lock"), Lock::parse, &mut unreadable);
        wiring.dep_graph = parsed(DEP_GRAPH, read(DEP_GRAPH), DepGraph::parse, &mut unreadable);
        wiring.unreadable = unreadable;
        wiring
    }

    fn gitlinks(&self) -> BTreeMap<ModuleName, ObjectId> {
        let mut gitlinks = self.grounds.gitlinks.clone();
        for edit in self.subject.edits {
            let Some(module) = self.site.modules.iter().find(|module| module.path == edit.path) else {
                continue;
            };
            match edit.new {
                PathContent::Gitlink(id) => gitlinks.insert(module.name.clone(), id),
                PathContent::File { .. } => gitlinks.remove(&module.name),
            };
        }
        for pin in self.subject.change.iter().flat_map(|change| change.pins) {
            gitlinks.insert(pin.module.clone(), pin.to);
        }
        gitlinks
    }
}

/// What a file says; nothing where none stands there, or where it cannot be read, and then why.
fn parsed<T, E: std::fmt::Display>(
    path: &str,
    content: Known<Option<Vec<u8>>>,
    parse: impl FnOnce(&[u8]) -> Result<T, E>,
    unreadable: &mut BTreeMap<String, String>,
) -> Option<T> {
    let read = content.and_then(|bytes| {
        bytes.map(|bytes| parse(&bytes).map_err(|error| text::inert(&error.to_string()))).transpose()
    });
    read.map_err(|why| unreadable.insert(path.to_owned(), why)).ok().flatten()
}

/// One module, looked at.
#[derive(Clone, Copy)]
struct Look<'a> {
    site: Site<'a>,
    state: &'a State,
    module: &'a Module,
    /// How it stood to its upstream when that was looked at.
    known: Option<&'a Upgrade>,
    needs: Needs,
}

impl Look<'_> {
    fn relation(&self, asked: bool, from: ObjectId, to: ObjectId) -> Known<Relation> {
        if !asked || from == to {
            return Ok(Relation::Counted { behind: 0, ahead: 0 });
        }
        self.site.sources.relation(self.module, from, to).map_err(|error| said(&error))
    }

    fn upstream(&self, revision: Option<ObjectId>, checkout: Option<ObjectId>) -> UpstreamFacts {
        let seen = self.state.tips.get(&self.module.name);
        let tip = seen.map(|seen| seen.tip).filter(|_| self.needs.behind);
        let known = self.known.filter(|row| row.from == revision && row.to == tip && tip.is_some());
        let behind = match (revision, tip) {
            _ if known.is_some() => known.and_then(|row| row.behind),
            (Some(revision), Some(tip)) => match self.relation(true, revision, tip) {
                Ok(Relation::Counted { behind, .. }) => Some(behind),
                _ => None,
            },
            _ => None,
        };
        UpstreamFacts { behind, rewritten_to: seen.and_then(|seen| seen.rewritten_to), checkout }
    }

    fn floor(&self, rules: &Rules, revision: Option<ObjectId>) -> Option<(ObjectId, Known<Relation>)> {
        let floor = *rules.security_floor.as_ref()?.modules.get(&self.module.name)?;
        Some((floor, self.relation(true, floor, revision?)))
    }
}

/// Since when a revision is known at its upstream: the checked time when it, or the first tip that
/// holds it, was seen first.
///
/// # Errors
/// A sentence without a final stop: why it cannot be told.
pub fn first_seen(
    sources: &dyn Sources,
    state: &State,
    module: &Module,
    revision: ObjectId,
) -> Known<Option<i64>> {
    let tips = state.seen.tips(&module.name);
    if let Some(first) = tips.first().filter(|first| first.revision == revision) {
        return Ok(Some(first.checked_ms));
    }
    // Tips come in the order in which they were seen, and mostly hold those before them: the first one
    // that holds the revision is searched for by halving, then checked.
    let holds = |at: usize| -> Known<bool> {
        if tips[at].revision == revision {
            return Ok(true);
        }
        match sources.relation(module, revision, tips[at].revision).map_err(|error| said(&error))? {
            Relation::Counted { ahead, .. } => Ok(ahead == 0),
            // A tip that is gone is no witness.
            Relation::Missing(missing) if missing == tips[at].revision => Ok(false),
            Relation::Missing(missing) => Err(format!("{} is not at hand", missing.short())),
        }
    };
    let (mut low, mut high) = (0, tips.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(middle)? { high = middle } else { low = middle + 1 }
    }
    // Where history was rewritten the order does not hold: what is found then is later than the first,
    // which only makes the revision younger.
    Ok(tips.get(low).map(|seen| seen.checked_ms))
}
