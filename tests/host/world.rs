//! Host programs made for a test, modules that behave as it says, and one run of the step.
#![allow(dead_code, clippy::allow_attributes, reason = "the tests and the benchmark use different parts")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use lambda_os::adapters::host::{Held, Host, HostSettings, ModuleFiles};
use lambda_os::adapters::sandbox::Sandbox;
use lambda_os::domain::health::{Outcome, Placed, Scene, Step};
use lambda_os::domain::id::{Cid, ModuleName, ObjectId, RepoPath};
use lambda_os::domain::module::{FetchFrom, FetchSource, Module};
use lambda_os::domain::url::{RemoteUrl, UrlRules};
use lambda_os::ports::{Builder, Built, Derivations, ModuleHost as _, PortResult, Ran, Runner};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::temp_dir;

/// The program under test; it is the driver in the sandbox too.
pub(crate) fn launcher() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lambda-os"))
}

/// The sandbox of this machine, found out about once.
pub(crate) fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| Sandbox::probe(launcher(), None))
}

/// A directory with the stand-in under each of its names; compiled once for each content.
pub(crate) fn programs(generation: &str) -> PathBuf {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().expect("no test fails while it compiles");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host/fake");
    let mut hash = Sha256::new();
    for file in ["main.rs", "daemon.rs", "host.rs", "machine.rs", "plugin.rs"] {
        hash.update(fs::read(source.join(file)).expect("a source file is read"));
    }
    let hash = data_encoding::HEXLOWER.encode(&hash.finalize());
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("host-{generation}-{}", &hash[..16]));
    if place.exists() {
        return place;
    }
    let making = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("host-making-{}", std::process::id()));
    fs::create_dir_all(&making).expect("a directory is made");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--edition", "2024", "-O", "-C", "strip=symbols", "-o"])
        .arg(making.join("logos_host"))
        .arg(source.join("main.rs"))
        .env("FAKE_GENERATION", generation)
        .output()
        .expect("rustc starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["logoscore", "logosctl", "lm"] {
        fs::hard_link(making.join("logos_host"), making.join(name)).expect("a link is made");
    }
    // Another process may have been quicker.
    if fs::rename(&making, &place).is_err() {
        fs::remove_dir_all(&making).expect("what was made is removed");
    }
    place
}

/// Built modules, and a scene with them.
pub(crate) struct World {
    pub(crate) temp: TempDir,
    pub(crate) scene: Scene,
    made: Made,
}

/// What is made of modules before a test.
#[derive(Clone)]
pub(crate) struct Made {
    place: PathBuf,
    outputs: BTreeMap<ModuleName, PathBuf>,
    metadata: BTreeMap<ModuleName, String>,
}

impl World {
    /// No module yet.
    pub(crate) fn new() -> Self {
        let scene = Scene {
            commit: revision(1),
            edits: Vec::new(),
            tree: revision(2),
            lock: None,
            modules: BTreeMap::new(),
        };
        let temp = temp_dir();
        let place = temp.path().to_path_buf();
        let made = Made { place, outputs: BTreeMap::new(), metadata: BTreeMap::new() };
        Self { temp, scene, made }
    }

    /// One module with this plugin.
    pub(crate) fn with(plugin: &str) -> Self {
        Self::new().and("alpha", plugin)
    }

    /// One more module: it is called as its plugin in its metadata, built, and in the scene.
    pub(crate) fn and(mut self, name: &str, plugin: &str) -> Self {
        let text = format!("fake plugin\nname = {name}\n{plugin}\n");
        let lines = plugin.lines().filter_map(|line| line.split_once('='));
        let depends: Vec<String> = lines
            .filter(|(key, _)| key.trim() == "depends")
            .flat_map(|(_, names)| names.split(',').map(|name| format!("\"{}\"", name.trim())))
            .collect();
        let metadata = format!("{{\"name\":\"{name}\",\"dependencies\":[{}]}}", depends.join(","));
        // The module's directory is called otherwise than the plugin.
        let module = ModuleName::new(&format!("logos-{name}-module"));
        let output = self.temp.path().join(format!("out-{name}"));
        fs::create_dir_all(output.join("lib")).expect("a directory is made");
        fs::write(output.join(format!("lib/{name}_plugin.so")), text).expect("a plugin is written");
        let url =
            RemoteUrl::parse(&format!("https://example.org/{module}"), UrlRules::REMOTE).expect("a location");
        let placed = Placed {
            module: Module {
                name: module.clone(),
                submodule: module.to_string(),
                path: RepoPath::from(format!("repos/{module}").as_str()),
                identity: url.identity(),
                declared: url.clone(),
                fetch: FetchFrom { url, source: FetchSource::Gitmodules },
                branch: None,
                input: None,
            },
            pin: revision(3),
            sees: Cid::of(format!("{metadata}{plugin}").as_bytes()),
        };
        self.scene.modules.insert(module.clone(), placed);
        self.made.outputs.insert(module.clone(), output);
        self.made.metadata.insert(module, metadata);
        self
    }

    /// What the module with this plugin was built to.
    pub(crate) fn output(&self, name: &str) -> &Path {
        &self.made.outputs[&ModuleName::new(&format!("logos-{name}-module"))]
    }

    /// Other metadata for a module than its plugin has.
    pub(crate) fn metadata(mut self, name: &str, json: &str) -> Self {
        self.made.metadata.insert(ModuleName::new(&format!("logos-{name}-module")), json.to_owned());
        self
    }

    /// The built module is gone.
    pub(crate) fn not_built(mut self, name: &str) -> Self {
        self.made.outputs.remove(&ModuleName::new(&format!("logos-{name}-module")));
        self
    }

    /// What stands for building.
    pub(crate) fn builder(&self) -> &impl Builder {
        &self.made
    }

    /// The host, over what is made here.
    pub(crate) fn host(&self, settings: HostSettings) -> Host<'static> {
        let made = Arc::new(self.made.clone());
        Host::new(settings, sandbox().clone(), launcher(), made.clone(), made)
    }

    /// Run the step on the module `alpha`.
    pub(crate) fn load(&self, settings: HostSettings) -> Ran {
        let module = ModuleName::new("logos-alpha-module");
        let outputs = self.made.outputs_of(&module);
        self.host(settings).load(&self.scene, &self.scene.modules[&module], &outputs)
    }

    /// The outcome of the step on the module `alpha`, in this host.
    pub(crate) fn outcome(&self, host: HostSettings) -> Outcome {
        self.load(host).run.outcome
    }
}

impl Made {
    fn outputs_of(&self, module: &ModuleName) -> BTreeMap<String, PathBuf> {
        let path = self.outputs.get(module);
        path.map(|path| ("packages.x.default".to_owned(), path.clone())).into_iter().collect()
    }
}

impl ModuleFiles for Made {
    fn file(&self, module: &Module, _: ObjectId, path: &RepoPath) -> PortResult<Option<Vec<u8>>> {
        assert_eq!(path.as_bytes(), b"metadata.json");
        Ok(self.metadata.get(&module.name).map(|json| json.as_bytes().to_vec()))
    }

    fn tree(&self, placed: &Placed) -> Result<Held, String> {
        Ok(Box::new(self.place.join(format!("tree-{}", placed.module.name))))
    }
}

impl Runner for Made {
    fn fingerprint(&self) -> Result<String, String> {
        Ok("built beforehand".to_owned())
    }
}

impl Builder for Made {
    fn build(&self, _: &Scene, placed: &Placed, _: &Derivations) -> Built {
        let mut ran = Ran::not_run(Step::Build, "");
        ran.run.outcome = Outcome::Passed { weak: None };
        Built { outputs: self.outputs_of(&placed.module.name), ran }
    }
}

/// Every host of every generation.
pub(crate) const HOSTS: [(&str, &str); 5] = [
    ("old", "logos_host"),
    ("new", "logos_host"),
    ("old", "logoscore"),
    ("new", "logoscore"),
    ("new", "logosctl"),
];

/// Settings for one of them, with times for a test: no verdict depends on them but those on time.
pub(crate) fn host((generation, name): (&str, &str)) -> HostSettings {
    HostSettings {
        program: programs(generation).join(name).to_string_lossy().into_owned(),
        search: Vec::new(),
        modules_dir: None,
        modules: Vec::new(),
        call: Vec::new(),
        alive: Duration::from_millis(500),
        settle: Duration::from_millis(150),
        timeout: Duration::from_secs(20),
        read: Vec::new(),
        at_once: 8,
    }
}

/// A revision for a test.
pub(crate) fn revision(number: u8) -> ObjectId {
    ObjectId::from_bytes(&[number; 20]).expect("a revision")
}

/// One word for an outcome.
pub(crate) fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed { weak: None } => "strong",
        Outcome::Passed { weak: Some(_) } => "weak",
        Outcome::Failed { .. } => "failed",
        Outcome::TimedOut { .. } => "timed-out",
        Outcome::Unknown { .. } => "unknown",
    }
}

/// What an outcome says of itself.
pub(crate) fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Passed { weak } => weak.as_deref().unwrap_or_default(),
        Outcome::Failed { reason, .. } | Outcome::TimedOut { reason } | Outcome::Unknown { reason } => reason,
    }
}
