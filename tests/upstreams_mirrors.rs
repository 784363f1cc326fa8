//! Upstreams on this machine: asked, mirrored, compared, rewritten, missing, and cheap while
//! nothing moves. What is counted is compared with the real git.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::domain::id::{ModuleName, ObjectId, RepoPath};
use lambda_os::domain::module::{FetchFrom, FetchSource, Module};
use lambda_os::domain::url::{RemoteUrl, UrlRules};
use lambda_os::ports::{Clock, DetectOptions, Relation, Sources, UpstreamAnswer};
use support::{git, git_command, temp_dir};
use tempfile::TempDir;

struct World {
    temp: TempDir,
    clock: Arc<AtomicI64>,
}

struct StoppedClock(Arc<AtomicI64>);

impl Clock for StoppedClock {
    fn wall_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
    fn mono_ms(&self) -> u64 {
        0
    }
    fn mono_us(&self) -> u64 {
        0
    }
    fn boot(&self) -> String {
        "boot".to_owned()
    }
}

impl World {
    fn new() -> Self {
        Self { temp: temp_dir(), clock: Arc::new(AtomicI64::new(1_790_000_000_000)) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn upstream(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a directory is made");
        git(&path, ["init", "-q", "-b", "main"]);
        path
    }

    fn mirrors(&self) -> Mirrors {
        Mirrors::open(&self.path("mirrors"), &self.path("work"), &self.path("work/.git"))
            .with_clock(Box::new(StoppedClock(Arc::clone(&self.clock))))
            .with_home(self.temp.path())
    }
}

fn module(name: &str, url: &str) -> Module {
    let url = RemoteUrl::parse(url, UrlRules::with_local(true)).expect("a valid location");
    Module {
        name: ModuleName::new(name),
        submodule: name.to_owned(),
        path: RepoPath::from(name),
        identity: url.identity(),
        declared: url.clone(),
        fetch: FetchFrom { url, source: FetchSource::Gitmodules },
        branch: None,
        input: None,
    }
}

fn options() -> DetectOptions {
    DetectOptions {
        offline: false,
        probe_timeout: Duration::from_secs(20),
        fetch_timeout: Duration::from_mins(1),
        parallel: 4,
        parallel_per_host: 2,
        max_mirror_bytes: 64 << 20,
        max_refs: 1000,
        allow_local_urls: true,
    }
}

fn commit(repository: &Path, date: u64) -> ObjectId {
    let mut command = git_command(repository);
    command.args(["commit", "-q", "--allow-empty", "-m", "c"]);
    command
        .env("GIT_COMMITTER_DATE", format!("{date} +0000"))
        .env("GIT_AUTHOR_DATE", format!("{date} +0000"));
    assert!(command.status().expect("git runs").success());
    head(repository)
}

fn head(repository: &Path) -> ObjectId {
    git(repository, ["rev-parse", "HEAD"]).trim().parse().expect("an id")
}

fn ask(mirrors: &Mirrors, module: &Module, options: &DetectOptions) -> UpstreamAnswer {
    let mut found = mirrors.refresh(&[module], options);
    assert_eq!(found.len(), 1);
    found.remove(0).answer
}

fn tip(tip: ObjectId, fresh: bool) -> UpstreamAnswer {
    UpstreamAnswer::Tip { branch: "main".to_owned(), tip, fresh }
}

#[test]
fn the_tip_is_mirrored_remembered_and_followed() {
    let world = World::new();
    let upstream = world.upstream("up");
    let first = commit(&upstream, 1_000_000_000);
    let module = module("m", upstream.to_str().expect("UTF-8"));
    let mirrors = world.mirrors();
    let offline = DetectOptions { offline: true, ..options() };
    assert!(
        matches!(ask(&mirrors, &module, &offline), UpstreamAnswer::Unknown(why) if why.contains("offline"))
    );
    assert_eq!(ask(&mirrors, &module, &options()), tip(first, true));
    let second = commit(&upstream, 1_000_000_001);
    assert_eq!(ask(&mirrors, &module, &offline), tip(first, false));
    assert_eq!(ask(&mirrors, &module, &options()), tip(second, true));
    assert_eq!(
        mirrors.relation(&module, first, second).expect("it is counted"),
        Relation::Counted { behind: 1, ahead: 0 }
    );
    git(&upstream, ["pack-refs", "--all"]);
    git(&upstream, ["gc", "-q"]);
    assert_eq!(ask(&mirrors, &module, &options()), tip(second, true));
    // The upstream is only read, the mirror holds no hook.
    let hooks: Vec<PathBuf> = fs::read_dir(world.path("mirrors"))
        .expect("mirrors")
        .flatten()
        .map(|entry| entry.path().join("hooks"))
        .filter(|path| path.exists())
        .collect();
    assert_eq!(hooks, Vec::<PathBuf>::new());
}

#[test]
fn a_file_of_the_mirror_is_read_without_checkout() {
    let world = World::new();
    let upstream = world.upstream("up");
    fs::create_dir(upstream.join("d")).expect("made");
    fs::write(upstream.join("d/f"), "content").expect("written");
    git(&upstream, ["add", "."]);
    let at = commit(&upstream, 1_000_000_000);
    let module = module("m", upstream.to_str().expect("UTF-8"));
    let mirrors = world.mirrors();
    ask(&mirrors, &module, &options());
    let read = |path: &str| mirrors.file(&module, at, &RepoPath::from(path)).expect("it is read");
    assert_eq!(read("d/f").as_deref(), Some(&b"content"[..]));
    assert_eq!(read("d"), None);
    assert_eq!(read("d/g"), None);
    let absent: ObjectId = "1".repeat(40).parse().expect("an id");
    assert_eq!(mirrors.file(&module, absent, &RepoPath::from("d/f")).expect("it is read"), None);
}

#[test]
fn a_rewritten_history_keeps_its_earlier_tips() {
    let world = World::new();
    let upstream = world.upstream("up");
    let base = commit(&upstream, 1_000_000_000);
    let old = commit(&upstream, 1_000_000_100);
    let module = module("m", upstream.to_str().expect("UTF-8"));
    let mirrors = world.mirrors();
    assert_eq!(ask(&mirrors, &module, &options()), tip(old, true));
    git(&upstream, ["reset", "-q", "--hard", &base.to_string()]);
    assert_eq!(ask(&mirrors, &module, &options()), tip(base, true));
    assert_eq!(
        mirrors.relation(&module, old, base).expect("counted"),
        Relation::Counted { behind: 0, ahead: 1 }
    );
    let forked = commit(&upstream, 1_000_000_200);
    git(&upstream, ["reflog", "expire", "--expire=now", "--all"]);
    git(&upstream, ["gc", "-q", "--prune=now"]);
    assert_eq!(ask(&mirrors, &module, &options()), tip(forked, true));
    let mirror = fs::read_dir(world.path("mirrors"))
        .expect("mirrors")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "git"))
        .expect("a mirror");
    let kept = git(&mirror, ["for-each-ref", "--format=%(objectname)", "refs/lambda-os/seen"]);
    assert!(kept.contains(&old.to_string()) && kept.contains(&base.to_string()), "{kept}");
    assert_eq!(
        mirrors.relation(&module, old, forked).expect("counted"),
        Relation::Counted { behind: 1, ahead: 1 }
    );
    assert_eq!(
        mirrors.relation(&module, "2".repeat(40).parse().expect("an id"), forked).expect("counted"),
        Relation::Missing("2".repeat(40).parse().expect("an id"))
    );
}

#[test]
fn upstreams_of_which_nothing_can_be_said_say_why_and_the_others_go_on() {
    let world = World::new();
    let good = world.upstream("good");
    let at = commit(&good, 1_000_000_000);
    let empty = world.upstream("empty");
    let detached = world.upstream("detached");
    commit(&detached, 1_000_000_000);
    git(&detached, ["checkout", "-q", "--detach"]);
    let broken = world.upstream("broken");
    commit(&broken, 1_000_000_000);
    fs::remove_dir_all(broken.join(".git/objects")).expect("removed");
    let mut branch = module("branch", good.to_str().expect("UTF-8"));
    branch.branch = Some("gone".to_owned());
    let modules = [
        module("good", good.to_str().expect("UTF-8")),
        module("empty", empty.to_str().expect("UTF-8")),
        module("detached", detached.to_str().expect("UTF-8")),
        module("broken", broken.to_str().expect("UTF-8")),
        branch,
        module("absent", world.path("absent").to_str().expect("UTF-8")),
    ];
    let all: Vec<&Module> = modules.iter().collect();
    let found = world.mirrors().refresh(&all, &options());
    assert_eq!(found[0].answer, tip(at, true));
    let check = |position: usize, unknown: bool, reason: &str| match &found[position].answer {
        UpstreamAnswer::Unknown(why) if unknown => assert!(why.contains(reason), "{why}"),
        UpstreamAnswer::Unreachable(why) if !unknown => assert!(why.contains(reason), "{why}"),
        other => panic!("{position}: {other:?}"),
    };
    check(1, true, "no commit on branch main");
    check(2, true, "names no branch");
    check(3, false, "");
    check(4, true, "no branch gone");
    check(5, false, "no git repository at");
    let refused = world.mirrors().refresh(&all, &DetectOptions { allow_local_urls: false, ..options() });
    assert!(refused.iter().all(|found| matches!(found.answer, UpstreamAnswer::NotAllowed(_))), "{refused:?}");
}

#[test]
fn linked_work_trees_and_sha256_upstreams_are_answered_by_git() {
    let world = World::new();
    let main = world.upstream("main");
    let at = commit(&main, 1_000_000_000);
    git(&main, ["worktree", "add", "-q", "-b", "side", world.path("linked").to_str().expect("UTF-8")]);
    let mirrors = world.mirrors();
    let mut linked = module("linked", world.path("linked").to_str().expect("UTF-8"));
    linked.branch = Some("main".to_owned());
    assert_eq!(ask(&mirrors, &linked, &options()), tip(at, true));
    let sha256 = world.path("sha256");
    fs::create_dir(&sha256).expect("made");
    git(&sha256, ["init", "-q", "-b", "main", "--object-format=sha256"]);
    let at = commit(&sha256, 1_000_000_000);
    let sha256 = module("sha256", sha256.to_str().expect("UTF-8"));
    assert_eq!(ask(&mirrors, &sha256, &options()), tip(at, true));
    assert!(mirrors.relation(&sha256, at, at).is_err(), "it is said, not guessed");
}

#[test]
fn what_a_killed_fetch_left_breaks_nothing() {
    let world = World::new();
    let upstream = world.upstream("up");
    commit(&upstream, 1_000_000_000);
    let module = module("m", upstream.to_str().expect("UTF-8"));
    let mirrors = world.mirrors();
    ask(&mirrors, &module, &options());
    let mirror = fs::read_dir(world.path("mirrors"))
        .expect("mirrors")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "git"))
        .expect("a mirror");
    for stray in [
        "refs/remotes/upstream/main.lock",
        "packed-refs.lock",
        "config.lock",
        "objects/pack/tmp_pack_x",
        "objects/pack/pack-1.pack.temp",
    ] {
        fs::write(mirror.join(stray), "").expect("written");
    }
    fs::remove_file(mirror.join("HEAD")).expect("a mirror whose making was cut short");
    let second = commit(&upstream, 1_000_000_001);
    assert_eq!(ask(&mirrors, &module, &options()), tip(second, true));
    assert!(!mirror.join("objects/pack/tmp_pack_x").exists());
    assert!(!mirror.join("objects/pack/pack-1.pack.temp").exists());
}

#[test]
fn a_mirror_over_its_bounds_is_put_aside_until_a_person_lifts_it() {
    let world = World::new();
    let upstream = world.upstream("up");
    // Does not compress: a counter through a hash.
    let noise: Vec<u8> = (0u64..40_000)
        .flat_map(|at| {
            (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (at << 17)).wrapping_mul(at | 1).to_le_bytes()
        })
        .collect();
    fs::write(upstream.join("big"), &noise).expect("written");
    git(&upstream, ["add", "."]);
    let at = commit(&upstream, 1_000_000_000);
    let big = module("big", upstream.to_str().expect("UTF-8"));
    let other = world.upstream("other");
    let small = commit(&other, 1_000_000_000);
    let other = module("other", other.to_str().expect("UTF-8"));
    let tight = DetectOptions { max_mirror_bytes: 100_000, ..options() };
    let mirrors = world.mirrors();
    let found = mirrors.refresh(&[&big, &other], &tight);
    let UpstreamAnswer::Unknown(why) = &found[0].answer else { panic!("{found:?}") };
    assert!(why.contains("quarantine") && why.contains("larger than"), "{why}");
    assert_eq!(found[1].answer, tip(small, true));
    let later = DetectOptions { max_mirror_bytes: 64 << 20, ..options() };
    commit(&upstream, 1_000_000_001);
    assert!(matches!(ask(&mirrors, &big, &later), UpstreamAnswer::Unknown(_)));
    let marker = fs::read_dir(world.path("mirrors"))
        .expect("mirrors")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "quarantine"))
        .expect("a marker");
    fs::remove_file(marker).expect("removed");
    let UpstreamAnswer::Tip { tip: now, .. } = ask(&mirrors, &big, &later) else { panic!("lifted") };
    assert_ne!(now, at);
}

/// Random histories with merges and wrong clocks: counted exactly as `git rev-list --count`.
#[test]
fn relations_are_what_rev_list_counts() {
    let world = World::new();
    let upstream = world.upstream("up");
    let mut seed = 0x1234_5678_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits") % below
    };
    let tree = git(&upstream, ["write-tree"]).trim().to_owned();
    let mut commits: Vec<String> = Vec::new();
    for at in 0..60_u64 {
        let mut command = git_command(&upstream);
        command.args(["commit-tree", "-m", &at.to_string(), &tree]);
        let mut parents: Vec<usize> = Vec::new();
        for _ in 0..=random(2) {
            if !commits.is_empty() && at % 13 != 0 {
                parents.push(commits.len() - 1 - random(commits.len().min(9)));
            }
        }
        parents.dedup();
        for parent in parents {
            command.args(["-p", &commits[parent]]);
        }
        // One clock in eight is off by up to an hour either way.
        let skew = if random(8) == 0 { random(7200) as u64 } else { 3600 };
        let date = format!("{} +0000", 1_500_000_000 + at * 60 + skew);
        command.env("GIT_COMMITTER_DATE", &date).env("GIT_AUTHOR_DATE", &date);
        let output = command.output().expect("git runs");
        assert!(output.status.success());
        commits.push(String::from_utf8(output.stdout).expect("an id").trim().to_owned());
    }
    for (at, commit) in commits.iter().enumerate() {
        git(&upstream, ["update-ref", &format!("refs/heads/b{at}"), commit]);
    }
    // One merge of everything, so that one fetch brings everything.
    let mut all = git_command(&upstream);
    all.args(["commit-tree", "-m", "all", &tree]);
    for commit in &commits {
        all.args(["-p", commit]);
    }
    let all = String::from_utf8(all.output().expect("git runs").stdout).expect("an id");
    git(&upstream, ["update-ref", "refs/heads/main", all.trim()]);
    let module = module("m", upstream.to_str().expect("UTF-8"));
    let mirrors = world.mirrors();
    ask(&mirrors, &module, &options());
    for _ in 0..150 {
        let (from, to) = (&commits[random(60)], &commits[random(60)]);
        let counted = git(&upstream, ["rev-list", "--count", "--left-right", &format!("{from}...{to}")]);
        let counts: Vec<u32> =
            counted.split_whitespace().map(|count| count.parse().expect("a number")).collect();
        let found = mirrors
            .relation(&module, from.parse().expect("an id"), to.parse().expect("an id"))
            .expect("it is counted");
        assert_eq!(found, Relation::Counted { behind: counts[1], ahead: counts[0] }, "{from}...{to}");
    }
}

#[test]
fn history_cut_off_is_missing_not_counted() {
    let world = World::new();
    let upstream = world.upstream("up");
    let first = commit(&upstream, 1_000_000_000);
    commit(&upstream, 1_000_000_001);
    let last = commit(&upstream, 1_000_000_002);
    let shallow = world.path("work/m");
    git(
        world.temp.path(),
        [
            "clone",
            "-q",
            "--depth=1",
            &format!("file://{}", upstream.display()),
            shallow.to_str().expect("UTF-8"),
        ],
    );
    // Never fetched: only the shallow checkout is at hand.
    let module = module("m", world.path("absent").to_str().expect("UTF-8"));
    let mirrors = world.mirrors();
    assert_eq!(mirrors.relation(&module, first, last).expect("read"), Relation::Missing(first));
    assert!(matches!(mirrors.relation(&module, last, last), Ok(Relation::Counted { behind: 0, ahead: 0 })));
    let local = commit(&shallow, 1_000_000_003);
    assert_eq!(
        mirrors.relation(&module, last, local).expect("read"),
        Relation::Counted { behind: 1, ahead: 0 }
    );
}

#[test]
fn fifty_five_upstreams_that_did_not_move_cost_no_process() {
    let world = World::new();
    let first = world.upstream("up0");
    commit(&first, 1_000_000_000);
    let modules: Vec<Module> = (0..55)
        .map(|at| {
            let path = world.path(&format!("up{at}"));
            if at > 0 {
                git(
                    world.temp.path(),
                    ["clone", "-q", first.to_str().expect("UTF-8"), path.to_str().expect("UTF-8")],
                );
            }
            module(&format!("m{at}"), path.to_str().expect("UTF-8"))
        })
        .collect();
    let all: Vec<&Module> = modules.iter().collect();
    let mirrors = world.mirrors();
    let cold = mirrors.refresh(&all, &options());
    // With no time for any process, only what needs none can answer.
    let hurried = DetectOptions { probe_timeout: Duration::ZERO, fetch_timeout: Duration::ZERO, ..options() };
    let begun = std::time::Instant::now();
    let warm = mirrors.refresh(&all, &hurried);
    println!("55 unchanged upstreams: {:?}", begun.elapsed());
    assert_eq!(warm, cold);
    assert!(warm.iter().all(|found| matches!(found.answer, UpstreamAnswer::Tip { fresh: true, .. })));
}

#[test]
fn many_small_fetches_do_not_pile_up_packs() {
    let world = World::new();
    let upstream = world.upstream("up");
    let first = commit(&upstream, 1_000_000_000);
    let module = module("m", upstream.to_str().expect("UTF-8"));
    let mirrors = world.mirrors();
    ask(&mirrors, &module, &options());
    let mut last = first;
    for at in 1..45 {
        last = commit(&upstream, 1_000_000_000 + at);
        assert_eq!(ask(&mirrors, &module, &options()), tip(last, true));
    }
    let mirror = fs::read_dir(world.path("mirrors"))
        .expect("mirrors")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "git"))
        .expect("a mirror");
    let packs = fs::read_dir(mirror.join("objects/pack"))
        .expect("packs")
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "pack"))
        .count();
    assert!(packs < 10, "{packs} packs");
    assert_eq!(
        mirrors.relation(&module, first, last).expect("counted"),
        Relation::Counted { behind: 44, ahead: 0 }
    );
}
