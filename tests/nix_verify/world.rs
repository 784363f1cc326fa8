//! A sample workspace with everything that verifying by Nix needs, in a store of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::adapters::nix::{Evaluator, Nix, NixEnvironment, NixSettings};
use lambda_os::domain::health::{Outcome, Placed, Scene};
use lambda_os::domain::id::{ModuleName, ObjectId};
use lambda_os::domain::module::Discovery;
use lambda_os::ops::propose::{Ask, Derived, derive_one};
use lambda_os::ops::verify::Committed;
use lambda_os::ports::{Evaluated, NixEvaluator as _, Repository as _};
use lambda_os::sample::{SampleModule, SampleSpec};

use crate::support::{self, Workspace, git};

const INSIDE: &str = "LAMBDA_OS_TEST_NIX_INSIDE";

/// What every Nix here gets told; `sandbox` lines come on top.
pub(crate) const PLAIN: &str = "experimental-features = nix-command flakes\nsubstituters =\nbuild-users-group =\n\
    flake-registry =\n";
/// No sandbox.
pub(crate) const OPEN: &str = "sandbox = false\n";
/// A real one.
pub(crate) const CLOSED: &str =
    "sandbox = true\nsandbox-fallback = false\nsandbox-paths = /bin/sh=/bin/busybox\n";

/// Run the body of the test `name` with each Nix at hand, in namespaces of its own: `/nix` is empty
/// and private, and there is no network. The test runs itself again for that.
pub(crate) fn alone(name: &str, body: impl FnOnce(&Path)) {
    if let Some(nix) = std::env::var_os(INSIDE) {
        return body(Path::new(&nix));
    }
    let what = format!("{name} of nix_verify");
    for nix in [support::nix::old(&what), support::nix::current(&what)].into_iter().flatten() {
        if fs::canonicalize(&nix).is_ok_and(|real| real.starts_with("/nix")) || !Path::new("/nix").is_dir() {
            eprintln!("SKIPPED: {what}: {} needs the /nix that it is in", nix.display());
            continue;
        }
        let temp = support::temp_dir();
        for dir in ["nix/store", "nix/var/nix", "home"] {
            fs::create_dir_all(temp.path().join(dir)).expect("made");
        }
        let mut inside = Command::new("unshare");
        inside.args(["--mount", "--net", "--propagation", "private", "sh", "-c"]);
        inside
            .arg(
                "mount --bind \"$1\" /nix && { ip link set lo up 2>/dev/null || :; } && shift && exec \"$@\"",
            )
            .arg("sh")
            .arg(temp.path().join("nix"));
        let probe = inside.arg("true").output().expect("unshare starts");
        if !probe.status.success() {
            eprintln!("SKIPPED: {what}: no namespaces: {}", support::said(&probe));
            return;
        }
        let mut inside = Command::new("unshare");
        inside.args(["--mount", "--net", "--propagation", "private", "sh", "-c"]);
        inside
            .arg(
                "mount --bind \"$1\" /nix && { ip link set lo up 2>/dev/null || :; } && shift && exec \"$@\"",
            )
            .arg("sh")
            .arg(temp.path().join("nix"));
        inside.arg(std::env::current_exe().expect("this program")).args(["--exact", name, "--nocapture"]);
        let ran = inside.env(INSIDE, &nix).output().expect("unshare starts");
        // Store paths are read-only, and root removes them all the same.
        assert!(ran.status.success(), "{} with {}\n{}", name, nix.display(), support::said(&ran));
        assert!(String::from_utf8_lossy(&ran.stdout).contains("1 passed"), "{name} is no test here");
        if std::env::var_os("LAMBDA_OS_TEST_SAY").is_some() {
            eprintln!("{}", support::said(&ran));
        }
    }
}

/// A workspace.
pub(crate) struct World {
    pub(crate) workspace: Workspace,
    pub(crate) repository: GitRepository,
    pub(crate) mirrors: Mirrors,
    pub(crate) discovery: Discovery,
    nix: PathBuf,
}

impl World {
    pub(crate) fn new(nix: &Path, spec: &SampleSpec) -> Self {
        let workspace = Workspace::new(spec);
        workspace.lambda_os().args(["run", "--once"]).assert().code(0);
        let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
        let repository =
            GitRepository::open_in(workspace.path(), settings, Environment::default()).expect("it opens");
        let mirrors =
            Mirrors::open(&workspace.state().join("mirrors"), workspace.path(), repository.common_dir());
        let discovery = repository.discover().expect("modules");
        let world = Self { workspace, repository, mirrors, discovery, nix: nix.to_owned() };
        world.count_starts();
        world
    }

    /// Nix is started through scripts that leave a line each time.
    fn count_starts(&self) {
        let bin = self.workspace.temp.path().join("bin");
        fs::create_dir_all(&bin).expect("made");
        for name in ["nix", "nix-store"] {
            let real = self.nix.with_file_name(name);
            let log = self.workspace.temp.path().join("starts");
            let script = format!(
                "#!/bin/sh\necho \"{name} $1\" >> {}\nexec -a {name} {} \"$@\"\n",
                log.display(),
                real.display()
            )
            .replace("#!/bin/sh", "#!/bin/bash");
            fs::write(bin.join(name), script).expect("written");
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("set");
        }
    }

    /// How often Nix was started since this was asked last, by its first words.
    pub(crate) fn starts(&self) -> Vec<String> {
        let log = self.workspace.temp.path().join("starts");
        let lines = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        lines.lines().map(str::to_owned).collect()
    }

    pub(crate) fn environment(&self, config: &str) -> NixEnvironment {
        let home = self.workspace.temp.path().join("nix-home");
        fs::create_dir_all(&home).expect("made");
        NixEnvironment::default()
            .with("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .with("HOME", home)
            .with("USER", "root")
            .with("NIX_CONFIG", format!("{PLAIN}{config}"))
    }

    pub(crate) fn settings(&self, config: &str) -> NixSettings {
        let state = self.workspace.state();
        let mut settings = NixSettings::new(&state.join("cache"), &state.join("roots"));
        settings.program = self.workspace.temp.path().join("bin/nix");
        settings.environment = self.environment(config);
        settings
    }

    pub(crate) fn nix(&self) -> Nix {
        Nix::new(self.settings(OPEN))
    }

    pub(crate) fn evaluator<'a>(&'a self, nix: &'a Nix) -> Evaluator<'a> {
        Evaluator::new(nix, &self.repository, &self.mirrors)
    }

    pub(crate) fn head(&self) -> ObjectId {
        git(self.workspace.path(), ["rev-parse", "HEAD"]).trim().parse().expect("an id")
    }

    pub(crate) fn committed(&self) -> Committed<'_> {
        Committed::read(&self.repository, &self.discovery.modules, self.head()).expect("read")
    }

    pub(crate) fn base(&self) -> Scene {
        self.committed().as_it_is()
    }

    pub(crate) fn derived(&self, pins: &[(&str, ObjectId)]) -> Derived {
        let asks: Vec<Ask> =
            pins.iter().map(|(module, to)| Ask { module: ModuleName::new(module), to: *to }).collect();
        let modules = &self.discovery.modules;
        let derived = derive_one(&self.repository, &self.mirrors, modules, "w", self.head(), &asks);
        derived.expect("it can be read").unwrap_or_else(|why| panic!("{pins:?}: {why}"))
    }

    /// The workspace with these modules at these commits.
    pub(crate) fn candidate(&self, pins: &[(&str, ObjectId)]) -> Scene {
        self.committed().with(&self.derived(pins))
    }

    pub(crate) fn module(&self, name: &str) -> &SampleModule {
        self.workspace.sample.module(name)
    }

    /// Inputs that are flakes and that no other module uses, in order.
    pub(crate) fn leaves(&self) -> Vec<&SampleModule> {
        let all = &self.workspace.sample.modules;
        let used = |name: &str| all.iter().any(|other| other.dependencies.iter().any(|it| it == name));
        all.iter()
            .filter(|module| module.flake && module.input.is_some() && module.plugin.is_some())
            .filter(|module| module.behind > 0 || module.ahead == 0)
            .filter(|module| !used(&module.name))
            .collect()
    }

    /// A new commit on the module's upstream with these files, at hand in its mirror; gives its id.
    pub(crate) fn push(&self, module: &str, files: &[(&str, &str)]) -> ObjectId {
        let module = self.module(module);
        let work = support::temp_dir();
        let clone = work.path().join("clone");
        git(work.path(), ["clone", "-q", &module.upstream.to_string_lossy(), &clone.to_string_lossy()]);
        for (path, content) in files {
            let path = clone.join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, content).expect("written");
        }
        git(&clone, ["add", "-A"]);
        git(&clone, ["commit", "-q", "-m", "another"]);
        git(&clone, ["push", "-q", "origin", &format!("HEAD:{}", module.branch)]);
        git(&clone, ["rev-parse", "HEAD"]).trim().parse().expect("an id")
    }

    /// Bring what was pushed into the mirrors.
    pub(crate) fn refresh(&self) {
        let code =
            self.workspace.lambda_os().args(["run", "--once"]).output().expect("it runs").status.code();
        assert!(matches!(code, Some(0 | 3)), "{code:?}");
    }
}

/// All modules of a scene.
pub(crate) fn all(scene: &Scene) -> Vec<&Placed> {
    scene.modules.values().collect()
}

/// Evaluate all modules of a scene; one answer for each, by name.
pub(crate) fn evaluated(evaluator: &Evaluator<'_>, scene: &Scene) -> Vec<(String, Evaluated)> {
    let modules = all(scene);
    let answers = evaluator.evaluate(scene, &modules);
    assert_eq!(answers.len(), modules.len());
    modules.iter().map(|placed| placed.module.name.to_string()).zip(answers).collect()
}

/// The answer on one module.
pub(crate) fn of<'e>(answers: &'e [(String, Evaluated)], module: &str) -> &'e Evaluated {
    &answers.iter().find(|(name, _)| name == module).unwrap_or_else(|| panic!("no answer on {module}")).1
}

/// What failed, or why it is not known.
pub(crate) fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Passed { weak } => weak.as_deref().unwrap_or(""),
        Outcome::Failed { reason, .. } | Outcome::TimedOut { reason } | Outcome::Unknown { reason } => reason,
    }
}

pub(crate) fn passed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Passed { weak: None })
}
