//! The settings: typed, whole, and right. What several keys mean together is checked here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use super::raw::{Backend, Rung, Step};

use super::load::Source;
use super::multisig::{self, Multisig};
use super::problem::{Places, Problem, Problems, dotted, examine};
use super::raw::{Raw, RawModule};
use crate::domain::drift::DriftLimits;
use crate::domain::heal::HealLimits;
use crate::domain::plan::PlanLimits;
use crate::domain::proposal::Track;
use crate::domain::text;
use crate::ports::{DetectOptions, SnapshotOptions};

/// Keys that are accepted and that nothing acts on yet. A key below one of them counts too;
/// `*` stands for any one name.
pub const NOT_ACTED_ON: [&str; 1] = ["notify"];

/// What the configuration says. Made only by [`Settings::parse`] and [`Settings::default`].
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Which file it came from.
    pub source: Source,
    /// Where each key that the file sets stands in it, by dotted key.
    pub places: Places,
    /// Every key with the value in force, as it would be written.
    pub effective: Raw,
    /// The superproject, absolute, where configured.
    pub workspace: Option<PathBuf>,
    /// The state directory, absolute, where configured.
    pub state_dir: Option<PathBuf>,
    /// Paths and `file:` locations are allowed as upstreams.
    pub allow_local_urls: bool,
    /// From the start of one cycle to the start of the next.
    pub interval: Duration,
    /// At most this much is added to an interval.
    pub jitter: Duration,
    /// An upstream that was silent for longer is stale.
    pub stale_after: Duration,
    /// How much may be done without a person.
    pub rung: Rung,
    /// The steps of verification; empty means that nothing is verified.
    pub steps: Vec<Step>,
    /// Who decides.
    pub backend: Backend,
    /// Where operators hand each other what they have.
    pub multisig: Option<Multisig>,
    /// Single modules, by name.
    pub modules: BTreeMap<String, RawModule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self::checked(Raw::default(), Places::new(), Source::Defaults)
    }
}

impl Settings {
    /// The settings that a text says.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(written: &str, source: Source) -> Result<Self, Problems> {
        let places = examine(written)?;
        let raw: Raw = toml::from_str(written).map_err(|error| {
            // The walk in `examine` finds what serde finds; this is for what it might not.
            Problems(vec![Problem {
                place: None,
                key: String::new(),
                message: format!("not a configuration: {}", text::inert(error.message())),
                hint: None,
            }])
        })?;
        let problems = together(&raw, &places);
        if problems.is_empty() { Ok(Self::checked(raw, places, source)) } else { Err(Problems(problems)) }
    }

    fn checked(raw: Raw, places: Places, source: Source) -> Self {
        Self {
            source,
            places,
            workspace: raw.workspace.path.clone(),
            state_dir: raw.workspace.state_dir.clone(),
            allow_local_urls: raw.workspace.allow_local_urls,
            interval: Duration::from_secs(raw.cycle.interval_s),
            jitter: Duration::from_secs(raw.cycle.jitter_s),
            stale_after: Duration::from_secs(raw.detect.stale_after_s),
            rung: raw.autonomy.rung,
            steps: raw.verify.steps.clone(),
            backend: raw.governance.backend,
            multisig: multisig::read(&raw.governance),
            modules: raw.modules.clone(),
            effective: raw,
        }
    }

    /// How upstreams are asked.
    #[must_use]
    pub fn detect_options(&self, offline: bool) -> DetectOptions {
        let detect = &self.effective.detect;
        DetectOptions {
            offline,
            probe_timeout: Duration::from_secs(detect.probe_timeout_s),
            fetch_timeout: Duration::from_secs(detect.fetch_timeout_s),
            parallel: count(detect.parallel),
            parallel_per_host: count(detect.parallel_per_host),
            max_mirror_bytes: detect.max_mirror_mib << 20,
            max_refs: count(detect.max_refs),
            allow_local_urls: self.allow_local_urls,
        }
    }

    /// What a snapshot holds.
    #[must_use]
    pub fn snapshot_options(&self) -> SnapshotOptions {
        let snapshot = &self.effective.snapshot;
        SnapshotOptions {
            hash_untracked_bytes: (snapshot.hash_untracked_mib > 0)
                .then_some(snapshot.hash_untracked_mib << 20),
            max_untracked: count(snapshot.max_untracked),
            threads: count(snapshot.threads),
        }
    }

    /// How much change between two snapshots is too much.
    #[must_use]
    pub fn drift_limits(&self) -> DriftLimits {
        let drift = &self.effective.drift;
        DriftLimits {
            max_modules_moved: count(drift.max_modules_moved),
            max_modules_appeared_or_gone: count(drift.max_modules_appeared_or_gone),
            max_modules_dirtied: count(drift.max_modules_dirtied),
            max_modules_lost: count(drift.max_modules_lost),
            max_superproject_changes: count(drift.max_superproject_changes),
        }
    }

    /// How much is planned at once.
    #[must_use]
    pub fn plan_limits(&self) -> PlanLimits {
        let plan = &self.effective.plan;
        PlanLimits { max_steps: count(plan.max_steps), max_pins: count(plan.max_pins) }
    }

    /// How much is taken back by itself.
    #[must_use]
    pub fn heal_limits(&self) -> HealLimits {
        let heal = &self.effective.heal;
        HealLimits {
            max_rollbacks_per_cycle: count(heal.max_rollbacks_per_cycle),
            window_ms: i64::try_from(heal.window_s.saturating_mul(1000)).unwrap_or(i64::MAX),
        }
    }

    /// `[modules.X] url`, by module name.
    #[must_use]
    pub fn module_urls(&self) -> BTreeMap<String, String> {
        self.modules
            .iter()
            .filter_map(|(name, module)| module.url.clone().map(|url| (name.clone(), url)))
            .collect()
    }

    /// Modules that the configuration freezes, with the reason, by module name.
    #[must_use]
    pub fn module_holds(&self) -> BTreeMap<String, String> {
        self.modules
            .iter()
            .filter_map(|(name, module)| module.hold.clone().map(|why| (name.clone(), why)))
            .collect()
    }

    /// The rungs of the tracks that have one of their own.
    pub fn track_rungs(&self) -> impl Iterator<Item = (Track, Rung)> {
        let own = &self.effective.autonomy.tracks;
        [
            (Track::Leaf, own.leaf),
            (Track::Core, own.core),
            (Track::Input, own.input),
            (Track::Policy, own.policy),
            (Track::Membership, own.membership),
            (Track::SelfUpgrade, own.self_upgrade),
        ]
        .into_iter()
        .filter_map(|(track, rung)| Some((track, rung?)))
    }

    /// The keys that the file sets and that this version does not act on, in order.
    #[must_use]
    pub fn not_acted_on(&self) -> Vec<&str> {
        self.leaves().filter(|key| idle(key)).collect()
    }

    /// The keys that the file sets, without the tables around them, in order.
    pub fn leaves(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str).filter(|key| {
            let below = format!("{key}.");
            !self.places.keys().any(|other| other.starts_with(&below))
        })
    }
}

/// True for a key that nothing acts on.
pub(super) fn idle(key: &str) -> bool {
    let parts = split(key);
    NOT_ACTED_ON.iter().any(|pattern| {
        let pattern: Vec<&str> = pattern.split('.').collect();
        parts.len() >= pattern.len() && pattern.iter().zip(&parts).all(|(p, k)| *p == "*" || p == k)
    })
}

/// The names of a dotted key; a dot within quotes is part of a name.
fn split(key: &str) -> Vec<&str> {
    let (mut parts, mut start, mut inside, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in key.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            '.' if !inside => {
                parts.push(&key[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&key[start..]);
    parts
}

/// Sizes that were checked to be small.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What is wrong with keys together, or that no schema can say.
fn together(raw: &Raw, places: &Places) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |key: &str, message: String, hint: Option<&str>| {
        problems.push(Problem {
            place: places.get(key).copied(),
            key: key.to_owned(),
            message,
            hint: hint.map(str::to_owned),
        });
    };
    let absolute = |path: &Path| path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0);
    let mut paths: Vec<(String, &Path)> = Vec::new();
    paths.extend(raw.workspace.path.iter().map(|path| ("workspace.path".to_owned(), path.as_path())));
    paths.extend(
        raw.workspace.state_dir.iter().map(|path| ("workspace.state_dir".to_owned(), path.as_path())),
    );
    paths.extend(
        raw.governance.key_file.iter().map(|path| ("governance.key_file".to_owned(), path.as_path())),
    );
    let shared = raw.governance.multisig.iter().flat_map(|section| &section.directory);
    paths.extend(shared.map(|path| ("governance.multisig.directory".to_owned(), path.as_path())));
    paths.extend(
        raw.verify.sandbox.read.iter().map(|path| ("verify.sandbox.read".to_owned(), path.as_path())),
    );
    let nix = Some(Path::new(&raw.verify.nix.program)).filter(|nix| nix.components().count() != 1);
    paths.extend(nix.map(|path| ("verify.nix.program".to_owned(), path)));
    let ready = raw.verify.host.iter().flat_map(|host| &host.modules);
    paths.extend(ready.map(|path| ("verify.host.modules".to_owned(), path.as_path())));
    paths.extend(
        raw.notify
            .telegram
            .iter()
            .map(|chat| ("notify.telegram.token_file".to_owned(), chat.token_file.as_path())),
    );
    for (key, path) in paths {
        if !absolute(path) {
            wrong(
                &key,
                format!("{key} must be an absolute path"),
                Some("a service has no current directory; ~ is not replaced"),
            );
        }
    }
    for (key, message, hint) in multisig::problems(&raw.governance) {
        wrong(key, message, hint);
    }
    if raw.detect.parallel_per_host > raw.detect.parallel {
        wrong(
            "detect.parallel_per_host",
            format!(
                "detect.parallel_per_host must not be over detect.parallel, which is {}",
                raw.detect.parallel
            ),
            None,
        );
    }
    match &raw.verify.command {
        Some(command) if !command.program.first().is_some_and(|program| absolute(Path::new(program))) => {
            wrong(
                "verify.command.program",
                "verify.command.program must begin with an absolute path".to_owned(),
                None,
            );
        }
        Some(_) => {}
        None => {
            let asked = |steps: &[Step]| steps.contains(&Step::Command);
            let hint = Some("add [verify.command] with program = [\"/path\", …]");
            if asked(&raw.verify.steps) {
                wrong(
                    "verify.steps",
                    "verify.steps has \"command\" and there is no [verify.command]".to_owned(),
                    hint,
                );
            }
            for (name, module) in &raw.modules {
                if module.steps.as_deref().is_some_and(asked) {
                    let key = dotted(&dotted("modules", name), "steps");
                    wrong(&key, format!("{key} has \"command\" and there is no [verify.command]"), hint);
                }
            }
        }
    }
    for (name, module) in &raw.modules {
        let key = dotted(&dotted("modules", name), "url");
        if let Some(url) = &module.url {
            if url.is_empty() || url.chars().any(text::is_active) {
                wrong(&key, format!("{key} is empty or holds a control character"), None);
            } else if has_password(url) {
                wrong(&key, format!("{key} holds a password"), Some("use git's credential helpers, or ssh"));
            }
        }
    }
    problems
}

/// True for `scheme://user:password@host`.
fn has_password(url: &str) -> bool {
    url.split_once("://")
        .and_then(|(_, rest)| rest.split(['/', '?', '#']).next())
        .and_then(|authority| authority.rsplit_once('@'))
        .is_some_and(|(user, _)| user.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(written: &str) -> Result<Settings, Problems> {
        Settings::parse(written, Source::Explicit("/c.toml".into()))
    }

    fn said(written: &str) -> String {
        parse(written).map_or_else(|problems| problems.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let settings = parse("").expect("right");
        assert_eq!(settings.effective, Raw::default());
        assert_eq!(settings.interval, Duration::from_mins(5));
        assert_eq!(settings.rung, Rung::Assisted);
        assert_eq!(settings.detect_options(true).parallel, 8);
        assert!(settings.detect_options(true).offline);
    }

    #[test]
    fn the_keys_of_the_design_are_accepted() {
        let settings = parse(
            r#"
            [workspace]
            path = "/srv/workspace"
            allow_local_urls = true
            [cycle]
            interval_s = 60
            [autonomy]
            rung = "gated"
            [verify]
            steps = ["eval", "build", "host", "command"]
            timeout_s = 600
            parallel = 2
            [verify.command]
            program = ["/path/check", "{module}", "{path}"]
            [verify.sandbox]
            read = ["/x"]
            [verify.nix]
            program = "/opt/nix/bin/nix"
            fetch = true
            memory_mib = 4096
            all_packages = true
            checks = false
            require_sandbox = true
            [verify.host]
            program = "logos_host"
            modules_dir = "result/modules"
            [modules."logos-waku-module"]
            url = "https://example.org/waku"
            steps = ["build"]
            hold = "until the release"
            [governance]
            backend = "multisig"
            inbox_group = "operators"
            [governance.multisig]
            name = "ann"
            remote = "ssh://git@example.org/governance.git"
            directory = "/srv/governance"
            timeout_s = 30
            stale_after_s = 3600
            [notify.telegram]
            token_file = "/run/token"
            chat_id = "1"
            "#,
        )
        .expect("right");
        assert_eq!(settings.module_urls()["logos-waku-module"], "https://example.org/waku");
        assert_eq!(settings.module_holds()["logos-waku-module"], "until the release");
        assert_eq!(settings.not_acted_on(), ["notify.telegram.chat_id", "notify.telegram.token_file"]);
    }

    #[test]
    fn what_does_not_fit_together_is_said_with_its_place() {
        assert_eq!(
            said("[workspace]\npath = 'x'\n"),
            "line 2, column 1: workspace.path must be an absolute path (a service has no current directory; ~ is not replaced)"
        );
        assert_eq!(
            said("[detect]\nparallel_per_host = 9\n"),
            "line 2, column 1: detect.parallel_per_host must not be over detect.parallel, which is 8"
        );
        assert!(said("[verify]\nsteps = ['command']\n").contains("no [verify.command]"));
        assert!(said("[verify.command]\nprogram = []\n").contains("must begin with an absolute path"));
        for wrong in ["bin/nix", "", "./nix"] {
            let said = said(&format!("[verify.nix]\nprogram = '{wrong}'\n"));
            assert!(said.contains("verify.nix.program must be an absolute path"), "{wrong:?}: {said}");
        }
        assert!(
            said("[modules.a]\nurl = 'https://u:hunter2@h/x'\n").contains("modules.a.url holds a password")
        );
        assert!(!said("[modules.a]\nurl = 'https://u:hunter2@h/x'\n").contains("hunter2"));
        assert_eq!(said("[modules.a]\nurl = 'ssh://git@h/x'\n"), "fine");
    }

    #[test]
    fn a_dot_within_quotes_does_not_split_a_key() {
        assert_eq!(split(r#"modules."a.b\".c".steps"#), ["modules", r#""a.b\".c""#, "steps"]);
    }
}
