//! From a specification to a workspace on disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cast::{Role, cast};
use super::fate::{self, Fate};
use super::history::{self, Histories, Line, Pin, TOOLCHAIN};
use super::superproject::{self, Lies};
use super::{Sample, SampleModule, SampleSpec, Trouble, disk, mishap, module, trouble};
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::text;
use crate::ports::{FailureKind, PortError, PortResult};

/// Time of the superproject's commits: after the pins of the first and the last age.
const COMMITTED: [i64; 2] = [1_767_225_600 + 10 * 86_400, 1_767_225_600 + 25 * 86_400];

pub(super) fn build(spec: &SampleSpec, dir: &Path) -> PortResult<Sample> {
    let shown = text::inert_bytes(dir.as_os_str().as_encoded_bytes());
    if spec.modules == 0 {
        return Err(
            PortError::failed("cannot make a sample workspace without modules").kind(FailureKind::Usage)
        );
    }
    if !disk::is_vacant(dir)? {
        return Err(PortError::failed(format!("cannot make a sample workspace in {shown}: it is not empty"))
            .kind(FailureKind::Usage)
            .hint("name a directory that does not exist yet"));
    }
    disk::create_dir(dir)?;
    let root = disk::canonical(dir)?;
    let upstreams = root.join("upstreams");
    let superproject = root.join("workspace");
    let mut cast = cast(spec.modules, spec.seed);
    let victims = trouble::victims(spec, &cast)?;
    if let Some(at) = victims.get(&Trouble::HostileFileNames) {
        cast[*at].hostile_names = true;
    }
    let histories = history::live(&cast, spec.files, spec.seed);
    let fates: Vec<Fate<'_>> = (0..cast.len())
        .map(|at| {
            let trouble = victims.iter().find(|(_, victim)| **victim == at).map(|(trouble, _)| *trouble);
            fate::fate(&histories.lines[at], trouble)
        })
        .collect();
    let modules: Vec<SampleModule> =
        (0..cast.len()).map(|at| facts(&root, &cast, at, &histories.lines[at], &fates[at])).collect();

    let toolchain = upstreams.join(TOOLCHAIN.0).join(format!("{}.git", TOOLCHAIN.1));
    module::upstream(&toolchain, &histories.toolchain, "main")?;
    in_parallel(&modules, |at, facts| {
        let (role, line) = (&cast[at], &histories.lines[at]);
        module::upstream(&facts.upstream, line, role.branch)?;
        match &fates[at].clone {
            Some(state) => module::clone(&superproject, role, line, &facts.upstream, state),
            None => disk::create_dir(&facts.checkout),
        }
    })?;

    let head = write_superproject(spec, &superproject, &cast, &histories, &fates, &modules, &victims)?;
    let victims = victims.into_iter().map(|(trouble, at)| (trouble, modules[at].name.clone())).collect();
    let canaries = root.join("canaries");
    let mut sample = Sample { root, superproject, upstreams, head, modules, canaries, victims };
    mishap::happen(spec, &mut sample)?;
    Ok(sample)
}

fn facts(root: &Path, cast: &[Role], at: usize, line: &Line, fate: &Fate<'_>) -> SampleModule {
    let role = &cast[at];
    let path = format!("repos/{}", role.directory);
    let called = |role: &Role| role.input.clone().unwrap_or_else(|| role.directory.clone());
    let mut dependencies: Vec<String> = role.needs.iter().map(|need| called(&cast[*need])).collect();
    dependencies.sort();
    SampleModule {
        name: called(role),
        input: role.input.clone(),
        directory: role.directory.clone(),
        path: RepoPath::from(path.as_str()),
        plugin: role.plugin.clone(),
        owner: role.owner.to_owned(),
        repo: role.repo.clone(),
        url: format!("https://github.com/{}/{}.git", role.owner, role.repo),
        branch: role.branch.to_owned(),
        flake: role.flake,
        dependencies,
        upstream: root.join("upstreams").join(role.owner).join(format!("{}.git", role.repo)),
        checkout: root.join("workspace").join(&path),
        git_dir: root.join("workspace/.git/modules").join(&path),
        pinned: fate.gitlink,
        tip: line.tip(),
        behind: fate.behind,
        ahead: fate.ahead,
    }
}

fn write_superproject(
    spec: &SampleSpec,
    work_tree: &Path,
    cast: &[Role],
    histories: &Histories,
    fates: &[Fate<'_>],
    modules: &[SampleModule],
    victims: &BTreeMap<Trouble, usize>,
) -> PortResult<ObjectId> {
    let first: Vec<&Pin> = histories.lines.iter().map(Line::first).collect();
    let last: Vec<&Pin> = fates.iter().map(|fate| fate.locked.as_ref()).collect();
    let victim = |trouble| victims.get(&trouble).copied();
    let mut lies = Lies {
        update_command: victim(Trouble::HostileConfig),
        hostile_modules: spec.trouble.contains(&Trouble::HostileModules),
        ..Lies::default()
    };
    lies.gitlinks.extend(fates.iter().map(|fate| fate.gitlink).enumerate());
    lies.stale.extend(victim(Trouble::StaleDepGraph));
    lies.branches.extend(victim(Trouble::MissingBranch).map(|at| (at, "no-such-branch")));
    lies.url_revisions
        .extend(victim(Trouble::IncoherentUrl).map(|at| (at, histories.lines[at].first().locked.rev)));
    let history = [
        (
            superproject::files(spec, cast, histories, &first, &Lies::default()),
            "workspace: begin",
            COMMITTED[0],
        ),
        (superproject::files(spec, cast, histories, &last, &lies), "workspace: move all pins", COMMITTED[1]),
    ];
    let urls: Vec<(String, String)> = modules
        .iter()
        .enumerate()
        .filter(|(at, _)| fates[*at].clone.is_some())
        .map(|(at, module)| {
            let mut location = module.upstream.to_string_lossy().into_owned();
            if victim(Trouble::MissingRemote) == Some(at) {
                location.push_str(".gone");
            }
            (module.path.to_string(), location)
        })
        .collect();
    superproject::write(work_tree, &history, &urls)
}

/// Do something for every module, on as many threads as the machine has; the first failure in
/// the order of the modules is the result.
fn in_parallel(
    modules: &[SampleModule],
    work: impl Fn(usize, &SampleModule) -> PortResult<()> + Sync,
) -> PortResult<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(modules.len());
    let next = AtomicUsize::new(0);
    let failures: Mutex<BTreeMap<usize, PortError>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, module)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    modules.get(at).map(|module| (at, module))
                } {
                    if let Err(error) = work(at, module) {
                        let mut failures = failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        failures.insert(at, error);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failures.into_values().next().map_or(Ok(()), Err)
}
