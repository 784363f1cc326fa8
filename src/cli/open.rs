//! Opening a workspace for a verb: which one, with which settings, with its adapters built.

use super::{Failure, Global, place};
use crate::adapters::clock::SystemClock;
use crate::adapters::git::GitRepository;
use crate::adapters::governors::{People, Programs};
use crate::adapters::inbox::InboxDirectory;
use crate::adapters::journal::JournalReader;
use crate::adapters::mirrors::Mirrors;
use crate::adapters::state_dir::StateDir;
use crate::config::Settings;
use crate::config::checked::{Backend, Rung as Configured};
use crate::domain::heal::Rung;
use crate::domain::ladder::Ladder;
use crate::domain::policy::facts::Command;
use crate::domain::state::State;
use crate::ops::cycle::CycleOptions;
use crate::ops::heal::HealOptions;
use crate::ports::Governor;

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
        let place = place::find(global);
        // What is wrong with the workspace is said before what is wrong with its settings.
        let repository = place.repository?;
        let settings = place.settings?;
        let state_dir = place::state_dir(global, &settings, &repository)?;
        let sources = Mirrors::open(&state_dir.mirrors(), repository.work_tree(), repository.common_dir())
            .stale_after(settings.stale_after)
            .with_hashes_in(&state_dir.nar_hashes())
            .with_contents_in(&state_dir.contents());
        let repository = repository.with_mirrors(state_dir.mirrors());
        Ok(Self { settings, repository, state_dir, sources, clock: SystemClock, offline: global.offline })
    }

    /// Whether nothing may be asked over a network.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// The bounds of a cycle.
    #[must_use]
    pub fn cycle_options(&self) -> CycleOptions {
        CycleOptions {
            snapshot: self.settings.snapshot_options(),
            detect: self.settings.detect_options(self.offline),
            drift: self.settings.drift_limits(),
            plan: self.settings.plan_limits(),
            heal: HealOptions { rung: rung(self.settings.rung), limits: self.settings.heal_limits() },
            ladder: self.ladder(),
            commands: self.commands(),
        }
    }

    /// How much may be done without a person, by this machine's configuration.
    #[must_use]
    pub fn ladder(&self) -> Ladder {
        ladder(&self.settings)
    }

    /// What the configuration runs on the workspace.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        let command = self.settings.effective.verify.command.iter();
        command
            .map(|command| Command {
                what: "verify.command.program".to_owned(),
                words: command.program.clone(),
            })
            .collect()
    }

    /// Who decides over proposals, as configured.
    #[must_use]
    pub fn governor(&self) -> Box<dyn Governor> {
        match self.settings.backend {
            Backend::Human => Box::new(People),
            Backend::Multisig => super::exchange::governor(self),
            Backend::Program => Box::new(Programs),
        }
    }

    /// Where ballots made elsewhere are dropped.
    #[must_use]
    pub fn inbox(&self) -> InboxDirectory<'_> {
        InboxDirectory::new(self.state_dir.inbox(), &self.clock)
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

/// How much a configuration lets be done without a person.
pub(super) fn ladder(settings: &Settings) -> Ladder {
    let own = settings.track_rungs();
    Ladder { rung: rung(settings.rung), tracks: own.map(|(track, own)| (track, rung(own))).collect() }
}

fn rung(configured: Configured) -> Rung {
    match configured {
        Configured::Manual => Rung::Manual,
        Configured::Assisted => Rung::Assisted,
        Configured::Gated => Rung::Gated,
        Configured::Bounded => Rung::Bounded,
    }
}
