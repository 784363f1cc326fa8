//! Opening a workspace for a verb: which one, with which settings, with its adapters built.

use std::path::{Path, PathBuf};

use super::{Exit, Failure, Global};
use crate::adapters::clock::SystemClock;
use crate::adapters::git::{DiscoverSettings, GitRepository};
use crate::adapters::journal::JournalReader;
use crate::adapters::mirrors::Mirrors;
use crate::adapters::state_dir::StateDir;
use crate::config::{self, Settings, Source};
use crate::domain::state::State;
use crate::ops::cycle::CycleOptions;

/// A workspace with everything that a verb needs.
pub struct Open {
    /// The checked configuration.
    pub settings: Settings,
    /// The superproject.
    pub repository: GitRepository,
    /// Where the state is.
    pub state_dir: StateDir,
    /// The upstreams.
    pub sources: Mirrors,
    /// The machine's clocks.
    pub clock: SystemClock,
    /// Ask no remote.
    offline: bool,
}

impl Open {
    /// Open what the options and the configuration name.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let explicit = global.config.as_deref();
        let mut settings = config::load(explicit, None)?;
        let named = global.workspace.clone().or_else(|| settings.workspace.clone());
        let start = match named {
            Some(path) => path,
            None => std::env::current_dir().map_err(|error| {
                Failure::new(Exit::Failed, format!("cannot tell the current directory: {error}"))
            })?,
        };
        let found = GitRepository::open(&start, DiscoverSettings::default())?;
        if !is_for(&settings, found.work_tree()) {
            if !matches!(settings.source, Source::System(_)) {
                let theirs = settings.workspace.as_deref().unwrap_or(Path::new("")).display().to_string();
                return Err(Failure::new(
                    Exit::Usage,
                    format!("the configuration is for {theirs}, not for {}", found.work_tree().display()),
                )
                .hint("leave out --config, or give -C the workspace that the configuration is for"));
            }
            // A node's configuration must not lend its state to another workspace.
            settings = config::workspace_only(found.common_dir())?;
        } else if settings.source == Source::Defaults {
            settings = config::load(explicit, Some(found.common_dir()))?;
        }
        let repository = GitRepository::open(
            found.work_tree(),
            DiscoverSettings {
                config_urls: settings.module_urls(),
                allow_local_urls: settings.allow_local_urls,
            },
        )?;
        let state_dir = StateDir::resolve(
            global.state_dir.as_deref(),
            settings.state_dir.as_deref(),
            repository.common_dir(),
        )?;
        let sources = Mirrors::open(&state_dir.mirrors(), repository.work_tree(), repository.common_dir())
            .stale_after(settings.stale_after);
        Ok(Self { settings, repository, state_dir, sources, clock: SystemClock, offline: global.offline })
    }

    /// The bounds of a cycle.
    #[must_use]
    pub fn cycle_options(&self) -> CycleOptions {
        CycleOptions {
            snapshot: self.settings.snapshot_options(),
            detect: self.settings.detect_options(self.offline),
            drift: self.settings.drift_limits(),
            plan: self.settings.plan_limits(),
        }
    }

    /// The state that the journal adds up to, with the configuration's holds on top.
    pub fn state(&self) -> Result<State, Failure> {
        let mut state = JournalReader::open(&self.state_dir)?.state().clone();
        self.add_holds(&mut state);
        Ok(state)
    }

    /// Put the configuration's holds on top of the journal's.
    pub fn add_holds(&self, state: &mut State) {
        for (module, reason) in self.settings.module_holds() {
            state.holds.insert(crate::domain::id::ModuleName::new(&module), reason);
        }
    }
}

/// True unless the settings name another workspace than this one.
fn is_for(settings: &Settings, work_tree: &Path) -> bool {
    let real = |path: &Path| -> PathBuf { std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()) };
    settings.workspace.as_deref().is_none_or(|path| real(path) == real(work_tree))
}
