//! The upstreams, through bare mirrors in the state directory.
//!
//! Modules come in, one answer each goes out, in their order. Modules with one location share
//! one mirror and one question. An upstream on this machine is read from its ref files and
//! costs no process while nothing moved; any other is asked with one `git ls-remote`, and
//! what moved is fetched, within deadlines, a bound on refs and a bound on bytes. A location
//! that failed is left alone for a while that doubles, with its reason remembered.
//!
//! Invariants: one misbehaving upstream costs the others no answer; no answer is never
//! "up to date"; nothing but the mirrors is written; an earlier tip stays reachable.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use self::contents::HeldCache;
use self::history::Objects;
use self::mirror::{Memory, Mirror};
use self::pool::Caps;
use self::remote::{Access, Advertised, Refusal};
use super::clock::SystemClock;
use super::flake_sources::LocalSources;
use super::git::nar_cache::NarCache;
use crate::domain::history::{History, HistoryLimits};
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::domain::url::RemoteUrl;
use crate::ports::{
    Clock, DetectOptions, ModuleSources, PortResult, Relation, Sources, Upstream, UpstreamAnswer,
};

mod contents;
mod history;
mod local;
mod log;
pub(super) mod mirror;
mod pool;
pub(super) mod remote;

/// First pause after a failure; it doubles with each further one.
const FIRST_PAUSE_MS: i64 = 30_000;
/// Longest pause, before jitter.
const LONGEST_PAUSE_MS: i64 = 3_600_000;
/// More packs than this in a mirror are made one.
const MOST_PACKS: usize = 40;
/// After this many deadlines missed by one host, its other locations are not asked this time.
const PATIENCE_PER_HOST: u32 = 3;

/// Bare mirrors, one per location.
pub struct Mirrors {
    root: PathBuf,
    work_tree: PathBuf,
    common_dir: PathBuf,
    clock: Box<dyn Clock + Send>,
    stale_after: Duration,
    insecure_loopback: bool,
    access: Access,
    hash_file: Option<PathBuf>,
    hashes: OnceLock<Arc<NarCache>>,
    contents_file: Option<PathBuf>,
    contents: OnceLock<HeldCache>,
}

/// One location, and what its modules want from it.
struct Job<'a> {
    url: &'a RemoteUrl,
    mirror: Mirror,
    /// Positions in the modules asked about, and the branch each follows.
    wanted: Vec<(usize, Option<String>)>,
}

/// Hosts that misbehave in this refresh, and how often.
type Trouble = Mutex<BTreeMap<String, u32>>;

impl Mirrors {
    /// Mirrors in `root` (the state directory's `mirrors/`, made when first needed) for the
    /// superproject with this work tree and git common directory, whose checkouts' objects
    /// are read too.
    #[must_use]
    pub fn open(root: &Path, work_tree: &Path, common_dir: &Path) -> Self {
        Self {
            root: root.to_owned(),
            work_tree: work_tree.to_owned(),
            common_dir: common_dir.to_owned(),
            clock: Box::new(SystemClock),
            stale_after: Duration::from_hours(24),
            insecure_loopback: false,
            access: Access::default(),
            hash_file: None,
            hashes: OnceLock::new(),
            contents_file: None,
            contents: OnceLock::new(),
        }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Box<dyn Clock + Send>) -> Self {
        self.clock = clock;
        self
    }

    /// The same, saying that an upstream is stale after another time without an answer.
    #[must_use]
    pub fn stale_after(mut self, silence: Duration) -> Self {
        self.stale_after = silence;
        self
    }

    /// The same, keeping the hashes of sources in this file from one process to the next.
    #[must_use]
    pub fn with_hashes_in(mut self, file: &Path) -> Self {
        self.hash_file = Some(file.to_owned());
        self
    }

    /// The same, keeping what trees hold in this file from one process to the next.
    #[must_use]
    pub fn with_contents_in(mut self, file: &Path) -> Self {
        self.contents_file = Some(file.to_owned());
        self
    }

    /// Also ask `http://` locations on loopback addresses: for tests of misbehaving servers.
    #[must_use]
    pub fn allow_insecure_loopback(mut self) -> Self {
        self.insecure_loopback = true;
        self
    }

    /// Use another home directory, and no system-wide git configuration: for tests.
    #[must_use]
    pub fn with_home(mut self, home: &Path) -> Self {
        self.access = Access { home: Some(home.to_owned()) };
        self
    }

    /// Repositories that hold a module as its upstream has it, nearest to the upstream first: its
    /// mirror, with the branch that the upstream's HEAD names as far as it said, and its checkout.
    #[must_use]
    pub fn repositories(&self, module: &Module) -> Vec<(PathBuf, Option<String>)> {
        let mirror = Mirror::of(&self.root, &module.fetch.url);
        let checkout = self.work_tree.join(std::ffi::OsStr::from_bytes(module.path.as_bytes()));
        vec![
            (mirror.git_dir(), module.branch.clone().or_else(|| mirror.memory().head)),
            (checkout, module.branch.clone()),
        ]
    }

    /// Object directories that may hold a module's commits: its mirror and its checkout.
    #[must_use]
    pub fn object_directories(&self, module: &Module) -> Vec<PathBuf> {
        let mut found = vec![Mirror::of(&self.root, &module.fetch.url).objects()];
        let path = self.work_tree.join(std::ffi::OsStr::from_bytes(module.path.as_bytes()));
        let dot_git = path.join(".git");
        // `gitdir: <path>`, relative to the checkout (gitrepository-layout(5)).
        let linked = fs::metadata(&dot_git)
            .ok()
            .filter(|file| file.is_file() && file.len() < 8192)
            .and_then(|_| fs::read(&dot_git).ok())
            .and_then(|text| {
                let link = text.strip_prefix(b"gitdir: ")?.trim_ascii_end().to_owned();
                Some(path.join(std::ffi::OsStr::from_bytes(&link)))
            });
        found.push(linked.unwrap_or(dot_git).join("objects"));
        found.push(self.common_dir.join("modules").join(&module.submodule).join("objects"));
        found
    }

    fn allowed(&self, url: &RemoteUrl, options: &DetectOptions) -> Result<(), String> {
        match url {
            RemoteUrl::Https(_) | RemoteUrl::Ssh(_) | RemoteUrl::Scp(_) => Ok(()),
            RemoteUrl::Path(_) | RemoteUrl::File(_) if options.allow_local_urls => Ok(()),
            RemoteUrl::Path(_) | RemoteUrl::File(_) => {
                Err("its URL is a local path, and workspace.allow_local_urls is off".to_owned())
            }
            RemoteUrl::LoopbackHttp(_) if self.insecure_loopback => Ok(()),
            RemoteUrl::LoopbackHttp(_) => {
                Err("its URL has the scheme \"http\", and only https and ssh are allowed".to_owned())
            }
        }
    }

    /// The answers for one location, in the order of its `wanted`.
    fn ask(&self, job: &Job<'_>, options: &DetectOptions, trouble: &Trouble) -> Vec<UpstreamAnswer> {
        let all = |answer: UpstreamAnswer| vec![answer; job.wanted.len()];
        if let Err(why) = self.allowed(job.url, options) {
            return all(UpstreamAnswer::NotAllowed(why));
        }
        if options.offline {
            let memory = job.mirror.memory();
            return job
                .wanted
                .iter()
                .map(|(_, branch)| remembered(job, &memory, branch.as_deref()))
                .collect();
        }
        if let Some(path) = job.url.local_path()
            && let Some(answers) = unmoved(job, Path::new(&path))
        {
            return answers;
        }
        if let Some(why) = job.mirror.quarantined() {
            return all(UpstreamAnswer::Unknown(why));
        }
        let mut memory = job.mirror.memory();
        let now = self.clock.wall_ms();
        if let Some(why) = self.pause(&memory, now) {
            return all(UpstreamAnswer::Unreachable(why));
        }
        let host = job.url.host().unwrap_or_default();
        let tried = |trouble: &Trouble| {
            trouble.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied().unwrap_or(0)
        };
        if !host.is_empty() && tried(trouble) >= PATIENCE_PER_HOST {
            return all(UpstreamAnswer::Unreachable(format!(
                "{host} did not answer the other modules; not asked"
            )));
        }
        match self.asked(job, options) {
            Ok((answers, head)) => {
                memory = Memory {
                    v: 1,
                    url: job.url.to_string(),
                    head: head.or(memory.head),
                    answered_ms: Some(now),
                    ..Memory::default()
                };
                job.mirror.remember(&memory);
                answers
            }
            Err(Refusal::TooMuch(why)) => {
                job.mirror.quarantine(&why);
                all(UpstreamAnswer::Unknown(job.mirror.quarantined().unwrap_or(why)))
            }
            Err(Refusal::Useless(why)) => {
                Self::failed(job, memory, &why, now);
                all(UpstreamAnswer::Unknown(why))
            }
            Err(Refusal::Unreachable(why)) => {
                let weight = if why.contains("429") {
                    PATIENCE_PER_HOST
                } else {
                    u32::from(why.contains("did not finish"))
                };
                *trouble
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry(host.to_owned())
                    .or_default() += weight;
                let silence = self.silence(&memory, now);
                Self::failed(job, memory, &why, now);
                all(UpstreamAnswer::Unreachable(format!("{why}{silence}")))
            }
        }
    }

    /// One question, and a fetch for each branch that moved.
    fn asked(
        &self,
        job: &Job<'_>,
        options: &DetectOptions,
    ) -> Result<(Vec<UpstreamAnswer>, Option<String>), Refusal> {
        let branches: Vec<Option<String>> = job.wanted.iter().map(|(_, branch)| branch.clone()).collect();
        let advertised = match read_here(job) {
            Some(found) => found.into_iter().map(Ok).collect(),
            None => self.access.advertised(job.url, &branches, options.probe_timeout, options.max_refs)?,
        };
        let head = advertised.iter().zip(&branches).find_map(|(found, branch)| match (found, branch) {
            (Ok(found), None) => Some(found.branch.clone()),
            _ => None,
        });
        let mut answers = Vec::with_capacity(advertised.len());
        for found in advertised {
            answers.push(match found {
                Ok(found) => match self.mirrored(job, &found, options)? {
                    Some(tip) => UpstreamAnswer::Tip { branch: found.branch, tip, fresh: true },
                    None => UpstreamAnswer::Unknown(format!(
                        "its branch {} vanished while it was fetched",
                        found.branch
                    )),
                },
                Err(why) => UpstreamAnswer::Unknown(why),
            });
        }
        Ok((answers, head))
    }

    /// Bring a branch into the mirror if it moved; its tip there, `None` when it vanished meanwhile.
    fn mirrored(
        &self,
        job: &Job<'_>,
        found: &Advertised,
        options: &DetectOptions,
    ) -> Result<Option<ObjectId>, Refusal> {
        let mirror = &job.mirror;
        if mirror.tip(&found.branch) == Some(found.tip) {
            return Ok(Some(found.tip));
        }
        let _held = mirror.hold(options.probe_timeout).map_err(Refusal::Unreachable)?;
        mirror.create(found.tip.as_bytes().len()).map_err(Refusal::Useless)?;
        mirror.sweep();
        if let Some(before) = mirror.tip(&found.branch) {
            mirror.keep(before).map_err(Refusal::Useless)?;
        }
        let limit = options.max_mirror_bytes;
        let mut too_big = || {
            let size = mirror.size();
            (size > limit).then(|| format!("it is larger than {} MiB", limit >> 20))
        };
        let into = Mirror::tip_ref(&found.branch);
        self.access.fetch(
            &mirror.git_dir(),
            job.url,
            &found.branch,
            &into,
            options.fetch_timeout,
            &mut too_big,
        )?;
        if let Some(why) = too_big() {
            return Err(Refusal::TooMuch(why));
        }
        if mirror.packs() > MOST_PACKS {
            // Only makes reading faster: a failure leaves the packs as they are.
            let _ = self.access.repack(&mirror.git_dir(), job.url, options.fetch_timeout);
        }
        Ok(mirror.tip(&found.branch))
    }

    /// Why a location is left alone now.
    fn pause(&self, memory: &Memory, now: i64) -> Option<String> {
        let wait = memory.next_ms? - now;
        // A clock that jumped must not silence a module for longer than any pause lasts.
        if wait <= 0 || wait > 2 * LONGEST_PAUSE_MS {
            return None;
        }
        let why = memory.failure.as_deref().unwrap_or("it failed");
        Some(format!("{why}{}; next attempt in {}", self.silence(memory, now), span(wait)))
    }

    /// How long there was no answer, as the end of a reason; empty when that is not known.
    fn silence(&self, memory: &Memory, now: i64) -> String {
        let Some(answered) = memory.answered_ms else { return String::new() };
        let silence = (now - answered).max(0);
        let alarm = u128::try_from(silence).unwrap_or(0) > self.stale_after.as_millis();
        format!("; {}last answered {} ago", if alarm { "stale: " } else { "" }, span(silence))
    }

    fn failed(job: &Job<'_>, memory: Memory, why: &str, now: i64) {
        let failures = memory.failures.saturating_add(1);
        let doubled = FIRST_PAUSE_MS.saturating_mul(1 << (failures - 1).min(20)).min(LONGEST_PAUSE_MS);
        // Spread by content, not by chance: the same history gives the same pauses.
        let spread = i64::from(job.mirror.seed().wrapping_add(failures.wrapping_mul(0x9e37_79b9)) % 1000);
        let pause = doubled / 2 + doubled * spread / 1000;
        job.mirror.remember(&Memory {
            v: 1,
            url: job.url.to_string(),
            failures,
            failure: Some(why.to_owned()),
            next_ms: job.url.host().map(|_| now.saturating_add(pause)),
            ..memory
        });
    }
}

/// The object directory of a module's mirror.
#[must_use]
pub fn objects_of(root: &Path, module: &Module) -> PathBuf {
    Mirror::of(root, &module.fetch.url).objects()
}

/// Answers for an upstream on this machine when its refs are where the mirror has them.
fn unmoved(job: &Job<'_>, path: &Path) -> Option<Vec<UpstreamAnswer>> {
    job.wanted
        .iter()
        .map(|(_, branch)| match local::refs(path, branch.as_deref()) {
            local::Refs::Branch(branch, Some(tip)) if job.mirror.tip(&branch) == Some(tip) => {
                Some(UpstreamAnswer::Tip { branch, tip, fresh: true })
            }
            local::Refs::Branch(branch, None) => {
                Some(UpstreamAnswer::Unknown(format!("its upstream has no commit on branch {branch}")))
            }
            local::Refs::Detached => Some(UpstreamAnswer::Unknown(
                "its upstream's HEAD names no branch; set branch in .gitmodules".to_owned(),
            )),
            local::Refs::Absent => {
                Some(UpstreamAnswer::Unreachable(format!("there is no git repository at {}", path.display())))
            }
            local::Refs::Branch(..) | local::Refs::AskGit => None,
        })
        .collect()
}

/// The refs of an upstream on this machine, read from its files; `None` where git must be asked.
fn read_here(job: &Job<'_>) -> Option<Vec<Advertised>> {
    let path = job.url.local_path()?;
    job.wanted
        .iter()
        .map(|(_, branch)| match local::refs(Path::new(&path), branch.as_deref()) {
            local::Refs::Branch(branch, Some(tip)) => Some(Advertised { branch, tip }),
            _ => None,
        })
        .collect()
}

/// What the mirror knows without asking.
fn remembered(job: &Job<'_>, memory: &Memory, branch: Option<&str>) -> UpstreamAnswer {
    let head = || {
        let path = job.url.local_path()?;
        match local::refs(Path::new(&path), None) {
            local::Refs::Branch(branch, _) => Some(branch),
            _ => None,
        }
    };
    let known = branch.map(str::to_owned).or_else(|| memory.head.clone()).or_else(head);
    match known.and_then(|branch| job.mirror.tip(&branch).map(|tip| (branch, tip))) {
        Some((branch, tip)) => UpstreamAnswer::Tip { branch, tip, fresh: false },
        None => UpstreamAnswer::Unknown("it was never fetched, and this run is offline".to_owned()),
    }
}

/// A length of time for people.
fn span(ms: i64) -> String {
    let seconds = (ms + 999) / 1000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

impl Sources for Mirrors {
    fn refresh(&self, modules: &[&Module], options: &DetectOptions) -> Vec<Upstream> {
        let mut jobs: BTreeMap<&RemoteUrl, Job<'_>> = BTreeMap::new();
        for (at, module) in modules.iter().enumerate() {
            let url = &module.fetch.url;
            jobs.entry(url)
                .or_insert_with(|| Job { url, mirror: Mirror::of(&self.root, url), wanted: Vec::new() })
                .wanted
                .push((at, module.branch.clone()));
        }
        let jobs: Vec<Job<'_>> = jobs.into_values().collect();
        let trouble = Trouble::default();
        let caps = Caps { total: options.parallel, per_host: options.parallel_per_host };
        let host = |job: &Job<'_>| job.url.host().map(str::to_owned);
        let answers = pool::run(&jobs, caps, host, |job| self.ask(job, options, &trouble));
        let mut found: BTreeMap<usize, UpstreamAnswer> = BTreeMap::new();
        for (job, answers) in jobs.iter().zip(answers) {
            found.extend(job.wanted.iter().map(|(at, _)| *at).zip(answers));
        }
        modules
            .iter()
            .zip(found.into_values())
            .map(|(module, answer)| Upstream { module: module.name.clone(), answer })
            .collect()
    }

    fn relation(&self, module: &Module, from: ObjectId, to: ObjectId) -> PortResult<Relation> {
        Objects::open(&self.object_directories(module))?.relation(from, to)
    }

    fn file(&self, module: &Module, commit: ObjectId, path: &RepoPath) -> PortResult<Option<Vec<u8>>> {
        Objects::open(&self.object_directories(module))?.file(commit, path)
    }

    fn history(
        &self,
        module: &Module,
        from: ObjectId,
        to: ObjectId,
        limits: HistoryLimits,
    ) -> PortResult<History> {
        Objects::open(&self.object_directories(module))?.history(from, to, limits)
    }

    fn flakes(&self, modules: &[Module]) -> Box<dyn ModuleSources + '_> {
        Box::new(self.local(modules))
    }
}

impl Mirrors {
    /// These modules as sources of flakes, as [`Sources::flakes`] gives them, with their files.
    #[must_use]
    pub fn local<'m>(&self, modules: impl IntoIterator<Item = &'m Module>) -> LocalSources {
        let mut sources = LocalSources::new(&self.work_tree).with_cache(Arc::clone(self.hashes()));
        for module in modules {
            for (path, head) in self.repositories(module) {
                sources.add(module.identity.clone(), &path, head);
            }
        }
        sources
    }

    /// The hashes of sources that were computed already.
    #[must_use]
    pub fn hashes(&self) -> &Arc<NarCache> {
        self.hashes.get_or_init(|| {
            Arc::new(self.hash_file.as_deref().map_or_else(NarCache::default, NarCache::in_file))
        })
    }

    /// What trees hold that were looked at already.
    fn contents(&self) -> &HeldCache {
        let file = self.contents_file.as_deref();
        self.contents.get_or_init(|| file.map_or_else(HeldCache::default, HeldCache::in_file))
    }
}
