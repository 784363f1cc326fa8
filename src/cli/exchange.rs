//! The exchange with other operators: asked before proposals are settled, shown ours afterwards.
//!
//! Whether each place answered is remembered, because whoever decides must know whether ballots may be
//! missing: then everything is pending, and says why.

use std::collections::BTreeSet;

use super::open::Open;
use crate::adapters::exchange::directory::SharedDirectory;
use crate::adapters::exchange::repository::SharedRepository;
use crate::adapters::exchange::status::Status;
use crate::adapters::governors::{Absent, People};
use crate::adapters::inbox;
use crate::adapters::journal::JournalWriter;
use crate::adapters::state_dir::StateDir;
use crate::config::Settings;
use crate::config::checked::Backend;
use crate::domain::text;
use crate::ops::doctor::{Finding, Level};
use crate::ops::exchange::Place;
use crate::ops::govern::sync::{self, Merged};
use crate::ops::{govern, order};
use crate::ports::{
    Clock as _, Exchange, FailureKind, Gathered, Governor, PortError, PortResult, SnapshotOptions,
};

/// Where operators hand each other what they have, as configured.
fn places(settings: &Settings, state_dir: &StateDir) -> Vec<Box<dyn Exchange>> {
    let mut places: Vec<Box<dyn Exchange>> = Vec::new();
    let Some(multisig) = &settings.multisig else { return places };
    let name = || multisig.name.clone();
    if let Some(directory) = &multisig.directory {
        places.push(Box::new(SharedDirectory::new(directory.clone(), name())));
    }
    if let Some(remote) = &multisig.remote {
        let root = state_dir.exchange();
        places.push(Box::new(SharedRepository::new(&root, remote.clone(), name(), multisig.timeout)));
    }
    places
}

/// Each place with why ballots of others may be missing, if they may.
fn troubles(settings: &Settings, state_dir: &StateDir, now_ms: i64) -> Vec<Trouble> {
    let Some(multisig) = &settings.multisig else { return Vec::new() };
    let status = Status::read(&state_dir.exchange());
    let stale_after_ms = i64::try_from(multisig.stale_after.as_millis()).unwrap_or(i64::MAX);
    let one = |place: Box<dyn Exchange>| {
        let place = place.place();
        let known = status.places.get(&place).cloned().unwrap_or_default();
        let unheard = known.trouble(&place, now_ms, stale_after_ms);
        Trouble { place, unheard, unpublished: known.unpublished }
    };
    places(settings, state_dir).into_iter().map(one).collect()
}

/// How it stands with one place.
struct Trouble {
    place: String,
    /// Why ballots of others may be missing, if they may.
    unheard: Option<String>,
    /// Why others may not see what we have, if they may not.
    unpublished: Option<String>,
}

/// How the exchange is, for `doctor`.
pub(super) fn findings(settings: &Settings, state_dir: &StateDir, now_ms: i64) -> Vec<Finding> {
    if settings.backend != Backend::Multisig {
        return Vec::new();
    }
    let one = |trouble: Trouble| match trouble {
        Trouble { unheard: Some(why), .. } => {
            Finding::new("exchange", Level::Attention, format!("everything is pending: {why}"))
                .next("lambda-os proposal sync")
        }
        Trouble { unpublished: Some(why), .. } => {
            Finding::new("exchange", Level::Attention, format!("others may not see our ballots: {why}"))
                .next("lambda-os proposal sync")
        }
        Trouble { place, .. } => Finding::new("exchange", Level::Ok, format!("{place} answered")),
    };
    troubles(settings, state_dir, now_ms).into_iter().map(one).collect()
}

/// N of M: the ballots that were taken in, counted, as long as every place of the exchange answers.
pub(super) fn governor(open: &Open) -> Box<dyn Governor> {
    let places = troubles(&open.settings, &open.state_dir, open.clock.wall_ms());
    if places.is_empty() {
        let why = "no place to exchange ballots is configured, and no other backend stands in".to_owned();
        return Box::new(Absent { why });
    }
    match places.into_iter().find_map(|place| place.unheard) {
        Some(why) => Box::new(Absent { why: format!("ballots of others may be missing: {why}") }),
        None => Box::new(People),
    }
}

/// What an exchange did.
#[derive(Debug, Default)]
pub(super) struct Synced {
    /// What came.
    pub(super) merged: Merged,
    /// Places that did not answer, or did not take what we have: each a sentence.
    pub(super) failures: Vec<String>,
    /// Places where what we show changed.
    pub(super) published: usize,
}

/// Ask every place, and take in what others show there. Nothing without the backend multisig.
pub(super) fn bring(open: &Open, journal: &mut JournalWriter<'_>) -> PortResult<Synced> {
    share_inbox(open);
    let mut synced = Synced::default();
    if open.settings.backend != Backend::Multisig || journal.state().members.is_none() {
        return Ok(synced);
    }
    let mut state = journal.state().clone();
    let rules = govern::rules(journal, &state)?;
    let mut names: BTreeSet<String> =
        rules.members.principals.iter().map(|principal| principal.name.clone()).collect();
    names.extend(open.settings.multisig.iter().map(|multisig| multisig.name.clone()));
    let root = open.state_dir.exchange();
    let mut status = Status::read(&root);
    let mut gathered: Vec<Gathered> = Vec::new();
    for place in places(&open.settings, &open.state_dir) {
        let name = place.place();
        if open.is_offline() && name.starts_with("the repository ") {
            continue;
        }
        let known = status.places.entry(name).or_default();
        match place.gather(&names) {
            Ok(found) => {
                (known.answered_ms, known.failure) = (Some(open.clock.wall_ms()), None);
                gathered.push(found);
            }
            Err(error) => {
                let why = said(&error);
                known.failure = Some(why.clone());
                synced.failures.push(why);
            }
        }
    }
    status.keep(&root);
    let sifted = sync::sift(journal, &state, gathered)?;
    let now_ms = open.clock.wall_ms();
    let governor = open.governor();
    synced.merged = if sifted.brings_proposals() {
        let quick = SnapshotOptions { hash_untracked_bytes: None, ..open.settings.snapshot_options() };
        let seen = order::see(&open.repository, &open.sources, &quick)?;
        let graph = order::order(&seen.discovery, &seen.wiring);
        let ground = seen.snapshot.superproject.head.map(|head| Place {
            superproject: &open.repository,
            sources: &open.sources,
            modules: &seen.discovery.modules,
            graph: &graph,
            head,
            now_ms,
        });
        sync::merge(journal, &mut state, governor.as_ref(), sifted, ground, &open.clock)?
    } else {
        sync::merge(journal, &mut state, governor.as_ref(), sifted, None, &open.clock)?
    };
    Ok(synced)
}

/// Show others what we have. A place that does not take it is said, and changes no decision here.
pub(super) fn publish(open: &Open, journal: &JournalWriter<'_>, synced: &mut Synced) -> PortResult<()> {
    if open.settings.backend != Backend::Multisig || journal.state().members.is_none() {
        return Ok(());
    }
    let (messages, left) = sync::shown(journal, journal.state())?;
    if left > 0 {
        let said = format!("{left} messages are more than one operator may show: the oldest are left out");
        synced.merged.said.push(said);
    }
    let root = open.state_dir.exchange();
    let mut status = Status::read(&root);
    for place in places(&open.settings, &open.state_dir) {
        let name = place.place();
        let known = status.places.entry(name.clone()).or_default();
        if known.failure.is_some() || (open.is_offline() && name.starts_with("the repository ")) {
            continue;
        }
        known.unpublished = match place.publish(&messages) {
            Ok(changed) => {
                synced.published += usize::from(changed);
                None
            }
            Err(error) => {
                let why = said(&error);
                synced.failures.push(why.clone());
                Some(why)
            }
        };
    }
    status.keep(&root);
    Ok(())
}

/// The failure of a place as a sentence.
fn said(error: &PortError) -> String {
    let mut message = error.attempted.clone();
    let mut cause = std::error::Error::source(error);
    while let Some(because) = cause {
        message = format!("{message}: {because}");
        cause = because.source();
    }
    text::clipped(&text::inert(&message), 600)
}

/// Tell what came, to whoever watches.
pub(super) fn tell(synced: &Synced) {
    let merged = &synced.merged;
    for (proposal, sponsor) in &merged.proposals {
        tracing::info!("{sponsor} brought the proposal {}", proposal.short());
    }
    for (proposal, voter) in &merged.ballots {
        tracing::info!("a ballot of {voter} on {} was taken in", proposal.short());
    }
    for proposal in &merged.certified {
        tracing::info!("another operator proves that {} was approved", proposal.short());
    }
    for (source, reason) in &merged.refused {
        tracing::warn!("a message that {source} shows was refused: {reason}");
    }
    for said in &merged.unfit {
        tracing::info!("{said}");
    }
    for said in synced.failures.iter().chain(&merged.said) {
        tracing::warn!("{said}");
    }
}

/// Let the configured group drop messages into the inbox. Who is not the owner cannot, and need not.
fn share_inbox(open: &Open) {
    if let Some(group) = &open.settings.effective.governance.inbox_group
        && let Err(error) = inbox::share(&open.state_dir, group)
        && error.kind != FailureKind::Refused
    {
        tracing::warn!("{}", said(&error));
    }
}
