//! Every status, on real repositories: detection as a cycle runs it, against what the real git
//! counts; histories that were rewritten wait for a person.
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::domain::discover::{DiscoverInput, discover};
use lambda_os::domain::event::Event;
use lambda_os::domain::id::{ModuleName, ObjectId, RepoPath};
use lambda_os::domain::module::Discovery;
use lambda_os::domain::snapshot::{Ahead, ModuleState, Snapshot, SuperprojectState, TreeState};
use lambda_os::domain::state::State;
use lambda_os::domain::upgrade::{Status, Upgrade};
use lambda_os::domain::url::RepoIdentity;
use lambda_os::ops::detect::{Detection, detect};
use lambda_os::ports::DetectOptions;
use support::{git, git_command, temp_dir};
use tempfile::TempDir;

/// A superproject with submodules, each with an upstream of its own.
struct World {
    temp: TempDir,
    state: State,
    seq: u64,
    made: std::cell::Cell<u64>,
}

impl World {
    fn new(modules: &[&str]) -> Self {
        let world = Self { temp: temp_dir(), state: State::default(), seq: 0, made: std::cell::Cell::new(0) };
        fs::create_dir(world.superproject()).expect("made");
        git(&world.superproject(), ["init", "-q", "-b", "main"]);
        for module in modules {
            let upstream = world.upstream(module);
            fs::create_dir(&upstream).expect("made");
            git(&upstream, ["init", "-q", "-b", "main"]);
            world.commit(&upstream, 3);
            let url = upstream.to_str().expect("UTF-8").to_owned();
            git(&world.superproject(), ["submodule", "--quiet", "add", &url, module]);
        }
        git(&world.superproject(), ["commit", "-q", "-m", "modules"]);
        world
    }

    fn superproject(&self) -> PathBuf {
        self.temp.path().join("super")
    }

    fn upstream(&self, module: &str) -> PathBuf {
        self.temp.path().join(format!("up-{module}"))
    }

    fn checkout(&self, module: &str) -> PathBuf {
        self.superproject().join(module)
    }

    /// Empty commits, a second apart, each different.
    fn commit(&self, repository: &Path, count: usize) {
        for _ in 0..count {
            let made = self.made.get() + 1;
            self.made.set(made);
            let mut command = git_command(repository);
            command.args(["commit", "-q", "--allow-empty", "-m"]).arg(made.to_string());
            command.env("GIT_COMMITTER_DATE", format!("{} +0000", 1_600_000_000 + made));
            assert!(command.status().expect("git runs").success());
        }
    }

    /// Record what is checked out in the superproject's HEAD.
    fn pin(&self, module: &str) {
        git(&self.superproject(), ["add", module]);
        git(&self.superproject(), ["commit", "-q", "-m", "pin"]);
    }

    fn discovery(&self) -> Discovery {
        let listed = git(&self.superproject(), ["ls-files", "-s"]);
        let gitlinks = listed
            .lines()
            .filter_map(|line| line.strip_prefix("160000 ")?.split_once(" 0\t"))
            .map(|(id, path)| (RepoPath::from(path), id.parse().expect("an id")))
            .collect();
        let input = DiscoverInput {
            gitmodules: fs::read(self.superproject().join(".gitmodules")).ok(),
            gitlinks,
            allow_local_urls: true,
            flake_inputs: BTreeMap::from([("unused".to_owned(), Some(RepoIdentity::github("o", "r")))]),
            ..DiscoverInput::default()
        };
        discover(&input)
    }

    fn snapshot(&self, discovery: &Discovery) -> Snapshot {
        let modules = discovery
            .modules
            .iter()
            .map(|module| {
                let listed = git(&self.superproject(), ["ls-tree", "HEAD", &module.path.to_string()]);
                let committed: Option<ObjectId> =
                    listed.split_whitespace().nth(2).map(|id| id.parse().expect("an id"));
                let initialised = self.checkout(module.name.as_str()).join(".git").exists();
                ModuleState {
                    name: module.name.clone(),
                    path: module.path.clone(),
                    gitlink: committed,
                    committed,
                    head: None,
                    branch: None,
                    initialised,
                    detached: true,
                    shallow: false,
                    ahead: Ahead::Same,
                    dirty: false,
                    operation: None,
                    tree: TreeState::default(),
                    problem: None,
                }
            })
            .collect();
        let head = git(&self.superproject(), ["rev-parse", "HEAD"]).trim().parse().expect("an id");
        let superproject = SuperprojectState {
            head: Some(head),
            branch: None,
            operation: None,
            index_locked: false,
            tree: TreeState::default(),
        };
        Snapshot { superproject, modules, refused: discovery.refused.clone() }
    }

    /// One detection as a cycle does it: what it says is journalled.
    fn detect(&mut self) -> Detection {
        let mirrors = Mirrors::open(
            &self.temp.path().join("mirrors"),
            &self.superproject(),
            &self.superproject().join(".git"),
        )
        .with_home(self.temp.path());
        let discovery = self.discovery();
        let snapshot = self.snapshot(&discovery);
        let options = DetectOptions {
            offline: false,
            probe_timeout: Duration::from_secs(30),
            fetch_timeout: Duration::from_mins(1),
            parallel: 4,
            parallel_per_host: 4,
            max_mirror_bytes: 64 << 20,
            max_refs: 1000,
            allow_local_urls: true,
        };
        let found = detect(&mirrors, &discovery, &snapshot, &self.state, &options);
        for event in &found.events {
            self.apply(event);
        }
        found
    }

    fn apply(&mut self, event: &Event) {
        self.seq += 1;
        self.state.apply(self.seq, 0, event);
    }

    /// `git rev-list --count` both ways, in the upstream with the checkout's objects.
    fn counted(&self, module: &str, from: ObjectId, to: ObjectId) -> (u32, u32) {
        let mut command = git_command(&self.upstream(module));
        command.args(["rev-list", "--count", "--left-right"]).arg(format!("{from}...{to}"));
        let objects = self.superproject().join(format!(".git/modules/{module}/objects"));
        command.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects);
        let output = command.output().expect("git runs");
        let text = String::from_utf8(output.stdout).expect("numbers");
        let counts: Vec<u32> =
            text.split_whitespace().map(|count| count.parse().expect("a number")).collect();
        (counts[1], counts[0])
    }
}

fn row<'a>(found: &'a Detection, module: &str) -> &'a Upgrade {
    found.upgrades.iter().find(|row| row.name.as_str() == module).expect("a row for every module")
}

#[test]
fn every_status_is_what_git_counts() {
    let mut world = World::new(&["ahead", "behind", "diverged", "gone", "held", "same", "uninit"]);
    for module in ["ahead", "diverged"] {
        world.commit(&world.checkout(module), 2);
        world.pin(module);
    }
    for module in ["behind", "diverged", "held", "uninit"] {
        world.commit(&world.upstream(module), 4);
    }
    git(&world.superproject(), ["submodule", "--quiet", "deinit", "uninit"]);
    fs::remove_dir_all(world.upstream("gone")).expect("removed");
    world.apply(&Event::ModuleHeld {
        module: ModuleName::new("held"),
        reason: "frozen for the fair".to_owned(),
    });
    let found = world.detect();
    for (module, status, reason) in [
        ("ahead", Status::Ahead, "the pin has 2 commits that main has not"),
        ("behind", Status::Behind, "main has 4 commits that the pin has not"),
        ("diverged", Status::Diverged, "the pin has 2 commits that main has not, and lacks 4 of it"),
        ("gone", Status::Unreachable, "no git repository"),
        ("held", Status::Held, "frozen for the fair"),
        ("same", Status::UpToDate, "the pin is the tip of main"),
        ("uninit", Status::Uninitialised, "git submodule update --init -- uninit"),
    ] {
        let row = row(&found, module);
        assert_eq!(row.status, status, "{row:?}");
        assert!(row.reason.contains(reason), "{row:?}");
        if let (Some(from), Some(to)) = (row.from, row.to) {
            let (behind, ahead) = world.counted(module, from, to);
            assert_eq!((row.behind, row.ahead), (Some(behind), Some(ahead)), "{row:?}");
        }
    }
    let names: Vec<&str> = found.upgrades.iter().map(|row| row.name.as_str()).collect();
    assert!(names.is_sorted(), "{names:?}");
    // Every tip is new the first time, and none the second.
    assert_eq!(found.events.len(), 6);
    let again = world.detect();
    assert_eq!(again.events, []);
    assert_eq!(again.upgrades, found.upgrades);
}

#[test]
fn a_rewound_upstream_is_blocked_until_a_person_accepts_it() {
    let mut world = World::new(&["m", "other"]);
    assert_eq!(row(&world.detect(), "m").status, Status::UpToDate);
    git(&world.upstream("m"), ["reset", "-q", "--hard", "HEAD~1"]);
    let found = world.detect();
    assert_eq!(row(&found, "m").status, Status::Rewritten, "{found:?}");
    assert_eq!(row(&found, "other").status, Status::UpToDate);
    assert!(
        matches!(&found.events[..], [Event::UpstreamMoved { rewritten: true, .. }]),
        "{:?}",
        found.events
    );
    // It stays so, is said once, and building on it changes nothing.
    assert_eq!(world.detect().events, []);
    world.commit(&world.upstream("m"), 5);
    assert_eq!(row(&world.detect(), "m").status, Status::Rewritten);
    let accepted = world.state.tips[&ModuleName::new("m")].rewritten_to;
    assert!(accepted.is_some());
    world.apply(&Event::ModuleUnheld { module: ModuleName::new("m"), accepted });
    let found = world.detect();
    assert_eq!(row(&found, "m").status, Status::Diverged, "never a downgrade: {found:?}");
    // And on from there as ever.
    world.commit(&world.upstream("m"), 1);
    assert_eq!(row(&world.detect(), "m").status, Status::Diverged);
}

#[test]
fn an_upstream_that_is_put_right_again_is_not_rewritten_any_more() {
    let mut world = World::new(&["m"]);
    world.detect();
    let tip = git(&world.upstream("m"), ["rev-parse", "HEAD"]).trim().to_owned();
    git(&world.upstream("m"), ["reset", "-q", "--hard", "HEAD~1"]);
    assert_eq!(row(&world.detect(), "m").status, Status::Rewritten);
    git(&world.upstream("m"), ["reset", "-q", "--hard", &tip]);
    let found = world.detect();
    assert_eq!(row(&found, "m").status, Status::UpToDate);
    assert!(
        matches!(&found.events[..], [Event::UpstreamMoved { rewritten: false, .. }]),
        "{:?}",
        found.events
    );
    assert_eq!(world.state.tips[&ModuleName::new("m")].rewritten_to, None);
}

#[test]
fn losing_the_mirrors_loses_no_memory_of_a_rewritten_history() {
    let mut world = World::new(&["m"]);
    world.detect();
    git(&world.upstream("m"), ["checkout", "-q", "--orphan", "new"]);
    git(&world.upstream("m"), ["commit", "-q", "--allow-empty", "-m", "another root"]);
    git(&world.upstream("m"), ["branch", "-f", "main", "new"]);
    git(&world.upstream("m"), ["checkout", "-q", "main"]);
    fs::remove_dir_all(world.temp.path().join("mirrors")).expect("removed");
    assert_eq!(row(&world.detect(), "m").status, Status::Rewritten);
}

#[test]
fn an_upstream_that_is_the_superproject_itself_is_never_proposed() {
    let mut world = World::new(&["m"]);
    let url = world.superproject();
    git(
        &world.superproject(),
        ["config", "-f", ".gitmodules", "submodule.m.url", url.to_str().expect("UTF-8")],
    );
    git(&world.superproject(), ["commit", "-q", "-am", "itself"]);
    let found = world.detect();
    assert_eq!(row(&found, "m").status, Status::Unknown, "{found:?}");
    assert!(row(&found, "m").reason.contains("superproject's own commit"));
}

/// What git makes of relative submodule URLs, asked by `git submodule init`.
#[test]
fn relative_locations_are_resolved_as_git_does() {
    use lambda_os::domain::url::{UrlRules, relative};
    let temp = temp_dir();
    let repository = temp.path();
    git(repository, ["init", "-q"]);
    git(repository, ["commit", "-q", "--allow-empty", "-m", "c"]);
    let head = git(repository, ["rev-parse", "HEAD"]).trim().to_owned();
    git(repository, ["update-index", "--add", "--cacheinfo", &format!("160000,{head},m")]);
    for base in [
        "https://host/a/b.git",
        "https://host/a/b/",
        "https://host:8443/a/b/c",
        "ssh://git@host:22/a/b.git",
        "git@host:a/b.git",
        "git@host:b",
        "git@host:/a/b",
        "/srv/git/a/b.git",
        "file:///srv/git/a/b",
    ] {
        git(repository, ["config", "remote.origin.url", base]);
        for url in [
            "../c.git",
            "./c",
            "../c/",
            "../../d/c.git",
            "../../../c",
            "../../../../x.org/c",
            ".././c",
            "./../c",
        ] {
            git(repository, ["config", "-f", ".gitmodules", "submodule.m.path", "m"]);
            git(repository, ["config", "-f", ".gitmodules", "submodule.m.url", url]);
            let mut command = git_command(repository);
            let status = command.args(["submodule", "--quiet", "init", "m"]).output().expect("git runs");
            let by_git = if status.status.success() {
                let shown = git(repository, ["config", "submodule.m.url"]).trim().to_owned();
                git(repository, ["config", "--unset", "submodule.m.url"]);
                Some(shown)
            } else {
                None
            };
            let ours = relative::resolve(base, url, UrlRules::with_local(true)).map(|url| url.to_string());
            match (&ours, &by_git) {
                (Ok(ours), Some(by_git)) => assert_eq!(ours, by_git, "{base} + {url}"),
                // Refusing more is allowed only where the host itself would be climbed over.
                (Err(_), _) => {
                    assert!(url.starts_with("../../"), "{base} + {url}: {ours:?}, git: {by_git:?}");
                }
                (Ok(_), None) => panic!("git refuses {base} + {url}, and we do not"),
            }
        }
    }
}
