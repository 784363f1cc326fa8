//! The configuration as it is written: every key, its type, its range and its default.
//!
//! These types are the one list of keys. Their JSON Schema (see [`schema`]) is what
//! [`super::problem`] walks over a file with, so that an unknown key, a wrong type and a number
//! out of range are found in one pass, all of them, each with its place. A doc comment here is
//! the key's documentation in `config schema`.
//!
//! Compatibility: keys are only added. A key that is accepted before anything acts on it is
//! listed in [`super::checked::NOT_ACTED_ON`] and `config check` says so.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};

use crate::domain::drift::DriftLimits;
use crate::domain::heal::HealLimits;
use crate::domain::plan::PlanLimits;

/// The configuration of lambda-os (TOML). Every key is optional; an unknown key is an error.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Raw {
    /// Which workspace, and where its state is.
    pub workspace: RawWorkspace,
    /// When cycles run.
    pub cycle: RawCycle,
    /// How much may be done without a person.
    pub autonomy: RawAutonomy,
    /// What a snapshot holds.
    pub snapshot: RawSnapshot,
    /// How upstreams are asked.
    pub detect: RawDetect,
    /// How much change between two snapshots is reported as too much.
    pub drift: RawDrift,
    /// How much is proposed at once.
    pub plan: RawPlan,
    /// How modules are verified.
    pub verify: RawVerify,
    /// How much is taken back by itself.
    pub heal: RawHeal,
    /// Settings of single modules, by module name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub modules: BTreeMap<String, RawModule>,
    /// Who approves.
    pub governance: RawGovernance,
    /// Who is told.
    pub notify: RawNotify,
}

/// `[workspace]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawWorkspace {
    /// The superproject, an absolute path. `--workspace` overrides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The state directory, an absolute path outside the work tree. `--state-dir` overrides it;
    /// without either it is `$STATE_DIRECTORY`, else `lambda-os/` in the git directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,
    /// Allow upstreams that are paths or `file:` locations (samples, tests, local mirrors).
    pub allow_local_urls: bool,
}

/// `[cycle]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawCycle {
    /// Seconds from the start of one cycle to the start of the next.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub interval_s: u64,
    /// Up to this many seconds are added to each interval, so that many nodes do not ask at once.
    #[schemars(range(min = 0, max = 86_400))]
    pub jitter_s: u64,
}

impl Default for RawCycle {
    fn default() -> Self {
        Self { interval_s: 300, jitter_s: 15 }
    }
}

/// `[autonomy]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAutonomy {
    /// The rung of the ladder from manual to autonomous. The policy's rung of a track is the most that
    /// counts there: what stands here only lowers it.
    pub rung: Rung,
    /// The rungs of single tracks.
    #[serde(skip_serializing_if = "RawTrackRungs::is_empty")]
    pub tracks: RawTrackRungs,
}

/// `[autonomy.tracks]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawTrackRungs {
    /// Pins on which no other module depends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf: Option<Rung>,
    /// Pins on which other modules depend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core: Option<Rung>,
    /// Root inputs that are no modules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Rung>,
    /// The policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Rung>,
    /// The members document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<Rung>,
    /// This program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_upgrade: Option<Rung>,
}

impl RawTrackRungs {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How much may be done without a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// The daemon changes nothing in the workspace; a person applies.
    Manual,
    /// The daemon heals under its standing authority; a person applies the rest.
    #[default]
    Assisted,
    /// The daemon enacts what a certificate approves, after its delay.
    Gated,
    /// The daemon acts within the bounds that policy states.
    Bounded,
}

/// `[snapshot]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawSnapshot {
    /// Hash untracked files up to this many MiB in all; 0 hashes none. The snapshot says when the bound bites.
    #[schemars(range(min = 0, max = 1_048_576))]
    pub hash_untracked_mib: u64,
    /// List at most this many untracked files of a repository. The snapshot says when the bound bites.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_untracked: u64,
    /// Threads; 0 means as many as the machine has.
    #[schemars(range(min = 0, max = 256))]
    pub threads: u64,
}

impl Default for RawSnapshot {
    fn default() -> Self {
        Self { hash_untracked_mib: 64, max_untracked: 100_000, threads: 0 }
    }
}

/// `[detect]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawDetect {
    /// Seconds that one remote has to list its branches.
    #[schemars(range(min = 1, max = 3600))]
    pub probe_timeout_s: u64,
    /// Seconds that one fetch may take.
    #[schemars(range(min = 1, max = 86_400))]
    pub fetch_timeout_s: u64,
    /// Remotes asked at once.
    #[schemars(range(min = 1, max = 256))]
    pub parallel: u64,
    /// Remotes of one host asked at once.
    #[schemars(range(min = 1, max = 256))]
    pub parallel_per_host: u64,
    /// Largest mirror of one module on disk, MiB; a larger one is put in quarantine.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub max_mirror_mib: u64,
    /// Most refs that a remote may advertise.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_refs: u64,
    /// After this many seconds without an answer a module's upstream is reported as stale.
    #[schemars(range(min = 60, max = 31_536_000))]
    pub stale_after_s: u64,
}

impl Default for RawDetect {
    fn default() -> Self {
        Self {
            probe_timeout_s: 20,
            fetch_timeout_s: 300,
            parallel: 8,
            parallel_per_host: 4,
            max_mirror_mib: 2048,
            max_refs: 50_000,
            stale_after_s: 86_400,
        }
    }
}

/// `[drift]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawDrift {
    /// Modules whose checked-out commit or gitlink moved.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_modules_moved: u64,
    /// Modules that appeared or went away.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_modules_appeared_or_gone: u64,
    /// Modules that became dirty.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_modules_dirtied: u64,
    /// Modules that became unreadable or were refused.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_modules_lost: u64,
    /// Tracked paths of the superproject that became different.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub max_superproject_changes: u64,
}

impl Default for RawDrift {
    fn default() -> Self {
        let limits = DriftLimits::default();
        Self {
            max_modules_moved: limits.max_modules_moved as u64,
            max_modules_appeared_or_gone: limits.max_modules_appeared_or_gone as u64,
            max_modules_dirtied: limits.max_modules_dirtied as u64,
            max_modules_lost: limits.max_modules_lost as u64,
            max_superproject_changes: limits.max_superproject_changes as u64,
        }
    }
}

/// `[plan]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawPlan {
    /// Most steps (components that move together) of one plan; the rest waits and says so.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_steps: u64,
    /// Most pins in all steps of one plan together.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_pins: u64,
}

impl Default for RawPlan {
    fn default() -> Self {
        let limits = PlanLimits::default();
        Self { max_steps: limits.max_steps as u64, max_pins: limits.max_pins as u64 }
    }
}

/// `[verify]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawVerify {
    /// The steps, in order. Empty: nothing is verified, and every report says so.
    pub steps: Vec<Step>,
    /// Seconds that one step of one module may take.
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_s: u64,
    /// Modules verified at once.
    #[schemars(range(min = 1, max = 256))]
    pub parallel: u64,
    /// The step `command`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<RawCommand>,
    /// What a sandboxed step may see.
    pub sandbox: RawSandbox,
    /// The steps `eval` and `build`.
    pub nix: RawNix,
    /// The step `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<RawHost>,
}

impl Default for RawVerify {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            timeout_s: 600,
            parallel: 2,
            command: None,
            sandbox: RawSandbox::default(),
            nix: RawNix::default(),
            host: None,
        }
    }
}

/// `[heal]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawHeal {
    /// More broken modules than this at once mean that this machine is broken: nothing is taken back.
    #[schemars(range(min = 0, max = 10_000))]
    pub max_rollbacks_per_cycle: u64,
    /// For how many seconds a rollback counts against its module: the second one freezes it.
    #[schemars(range(min = 60, max = 31_536_000))]
    pub window_s: u64,
}

impl Default for RawHeal {
    fn default() -> Self {
        let limits = HealLimits::default();
        Self {
            max_rollbacks_per_cycle: limits.max_rollbacks_per_cycle as u64,
            window_s: limits.window_ms.unsigned_abs() / 1000,
        }
    }
}

/// One step of verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Evaluate the module's outputs.
    Eval,
    /// Build the module.
    Build,
    /// Load the built module in its host.
    Host,
    /// Run a program of the operator's.
    Command,
}

/// `[verify.command]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCommand {
    /// The program (an absolute path) and its arguments; `{module}` and `{path}` are replaced. Exit 0 means healthy.
    pub program: Vec<String>,
}

/// `[verify.sandbox]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawSandbox {
    /// Extra paths that a step may read, absolute.
    pub read: Vec<PathBuf>,
}

/// `[verify.nix]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key that people set on its own")]
pub struct RawNix {
    /// The `nix` program: a name that is looked for on `PATH`, or an absolute path.
    pub program: String,
    /// Evaluation may fetch locked inputs that are not on this machine, as Nix is configured. Without it, modules that need one are unknown; `--offline` overrides it.
    pub fetch: bool,
    /// MiB of address space that evaluation may use.
    #[schemars(range(min = 256, max = 1_048_576))]
    pub memory_mib: u64,
    /// Build all packages of a module, not its default one alone.
    pub all_packages: bool,
    /// Build the checks of a module too.
    pub checks: bool,
    /// Build nothing where Nix does not say that it builds in a sandbox. Without it, such builds are weakly healthy.
    pub require_sandbox: bool,
}

impl Default for RawNix {
    fn default() -> Self {
        Self {
            program: "nix".to_owned(),
            fetch: false,
            memory_mib: 8192,
            all_packages: false,
            checks: true,
            require_sandbox: false,
        }
    }
}

/// `[verify.host]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHost {
    /// The host program: a name that is looked for on `PATH`, or an absolute path. Which host it is, and which generation, it is asked itself.
    pub program: String,
    /// Where the built modules are, relative to what was built; a first component `result` is that itself. Without it, `modules` and `lib`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules_dir: Option<PathBuf>,
    /// Directories of modules that are there already, absolute: for what modules need and this workspace does not build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<PathBuf>,
    /// A call to each module once it is loaded, where the host takes calls: the method, then its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub call: Vec<String>,
    /// Seconds after which a host that waits for events without a sign of the module is weakly healthy.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 3600))]
    pub alive_s: u64,
    /// Milliseconds for which a module that is loaded must stay so.
    #[serde(default = "half_a_second")]
    #[schemars(range(min = 0, max = 600_000))]
    pub settle_ms: u64,
    /// Seconds that loading one module may take; `verify.timeout_s` where that is less.
    #[serde(default = "half_a_minute")]
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_s: u64,
    /// Modules loaded at once. Hosts mostly wait: these may be more than `verify.parallel`.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 256))]
    pub parallel: u64,
}

fn five() -> u64 {
    5
}

fn half_a_second() -> u64 {
    500
}

fn half_a_minute() -> u64 {
    30
}

fn eight() -> u64 {
    8
}

/// `[modules."name"]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawModule {
    /// Where this module is fetched from, whatever `.gitmodules` says. Its identity stays that of `.gitmodules`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The steps of this module, instead of `verify.steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Step>>,
    /// Freeze this module; the text is the reason. `lambda-os hold` does the same, with an entry in the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

/// `[governance]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawGovernance {
    /// Who decides over proposals.
    pub backend: Backend,
    /// The key that `proposal approve` signs with when it is given none and the ssh-agent has none of the
    /// members' keys: a private key file, absolute. Without it, the key that `init` made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The group whose people may drop signed messages into the state directory's `inbox/`: a name or a number.
    /// Without it, only the user that owns the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbox_group: Option<String>,
    /// Where operators hand each other proposals, ballots and certificates; for the backend multisig.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multisig: Option<RawMultisig>,
}

/// `[governance.multisig]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMultisig {
    /// Under which name this node shows what it has: the principal's in the members document.
    pub name: String,
    /// A git repository that the operators share: https, ssh or an absolute path. Its refs `refs/lambda-os/gov/*` are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// A directory that the operators share, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Seconds that one question to the repository may take.
    #[serde(default = "one_minute")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_s: u64,
    /// After this many seconds without an answer of each of the places, everything is pending.
    #[serde(default = "one_day")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub stale_after_s: u64,
}

fn one_minute() -> u64 {
    60
}

fn one_day() -> u64 {
    86_400
}

/// Who decides over proposals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// One operator.
    #[default]
    Human,
    /// A threshold of principals.
    Multisig,
    /// Programs, on the tracks that the members document gives to one; people on the others.
    Program,
}

/// `[notify]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawNotify {
    /// A Telegram chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telegram: Option<RawTelegram>,
}

/// `[notify.telegram]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTelegram {
    /// A file that holds the bot's token, absolute. The token itself never stands in the configuration.
    pub token_file: PathBuf,
    /// The chat.
    pub chat_id: String,
}

/// The JSON Schema of the configuration (draft 2020-12), without references.
#[must_use]
pub fn schema() -> serde_json::Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.for_deserialize().into_generator().into_root_schema_for::<Raw>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), "lambda-os configuration".into());
    }
    schema
}
