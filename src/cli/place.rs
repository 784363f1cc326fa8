//! Which workspace and which settings a verb is about that must also work without either:
//! `config`, `doctor`, `init`.

use std::path::{Path, PathBuf};

use super::Global;
use crate::adapters::git::{DiscoverSettings, GitRepository};
use crate::adapters::state_dir::StateDir;
use crate::config::{self, Settings, Source};
use crate::domain::text;
use crate::ports::{FailureKind, PortError, PortResult};

/// What there is, each part as far as it could be had.
pub(super) struct Place {
    /// The configuration in force.
    pub(super) settings: PortResult<Settings>,
    /// The superproject.
    pub(super) repository: PortResult<GitRepository>,
}

/// Look for the settings and the superproject that the options name.
///
/// The same rules as for opening a workspace: a found configuration that is for another
/// workspace does not lend this one its settings.
pub(super) fn find(global: &Global) -> Place {
    let explicit = global.config.as_deref();
    let settings = config::load(explicit, None);
    let named = settings.as_ref().ok().and_then(|settings| settings.workspace.clone());
    let start = match global.workspace.clone().or_else(|| named.clone()) {
        Some(start) => Ok(start),
        None => std::env::current_dir()
            .map_err(|error| PortError::failed("cannot tell the current directory").because(error)),
    };
    let repository = start.and_then(|start| GitRepository::open(&start, DiscoverSettings::default()));
    let settings = match (settings, &repository) {
        (Ok(settings), Ok(repository)) => settle(settings, explicit, repository),
        (settings, _) => settings,
    };
    // What discovery refuses depends on the settings, which depend on the repository's directory.
    let repository = match (repository, &settings) {
        (Ok(found), Ok(settings)) => GitRepository::open(found.work_tree(), discovery(settings)),
        (repository, _) => repository,
    };
    Place { settings, repository }
}

/// What discovery takes from the settings.
fn discovery(settings: &Settings) -> DiscoverSettings {
    DiscoverSettings { config_urls: settings.module_urls(), allow_local_urls: settings.allow_local_urls }
}

/// The state directory that the options and the settings name for this workspace.
pub(super) fn state_dir(
    global: &Global,
    settings: &Settings,
    repository: &GitRepository,
) -> PortResult<StateDir> {
    StateDir::resolve(global.state_dir.as_deref(), settings.state_dir.as_deref(), repository.common_dir())?
        .outside(repository.work_tree())
}

fn settle(settings: Settings, explicit: Option<&Path>, repository: &GitRepository) -> PortResult<Settings> {
    let ours = settings.workspace.as_deref().is_none_or(|path| real(path) == real(repository.work_tree()));
    match (ours, &settings.source) {
        (true, Source::Defaults) => config::load(explicit, Some(repository.common_dir())),
        (true, _) => Ok(settings),
        // The system's file was found, not named: another workspace has its own.
        (false, Source::System(_)) => config::workspace_only(repository.common_dir()),
        (false, _) => {
            let theirs = settings.workspace.unwrap_or_default();
            Err(PortError::failed(format!(
                "the configuration is for {}, not for {}",
                shown(&theirs),
                shown(repository.work_tree())
            ))
            .kind(FailureKind::Usage)
            .hint("leave out --config, or give -C the workspace that the configuration is for"))
        }
    }
}

fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// A path, inert.
pub(super) fn shown(path: &Path) -> String {
    text::inert_bytes(path.as_os_str().as_encoded_bytes())
}
