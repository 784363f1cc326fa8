//! What can be wrong with a workspace, by name, and whom it hits.

use std::collections::BTreeMap;

use super::SampleSpec;
use super::cast::Role;
use crate::ports::{FailureKind, PortError, PortResult};

/// One thing that is wrong. Each hits a module of its own ([`super::Sample::victim`]) unless it
/// says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The module's directory is empty and git's configuration does not know it.
    Uninitialised,
    /// The checkout has two commits on top of the gitlink, on a branch.
    AheadCheckout,
    /// The checkout and the gitlink each have a commit that the other has not.
    DivergedCheckout,
    /// The checkout is one commit behind the gitlink.
    BehindCheckout,
    /// HEAD is on the branch, at the gitlink.
    OnBranch,
    /// The pinned commit is on top of the upstream's tip and was never pushed.
    AheadPin,
    /// The pinned commit was never pushed, and upstream has others.
    DivergedPin,
    /// Upstream's branch was force-pushed: it no longer holds the pinned commit, nor the tip
    /// that the clone saw.
    UpstreamRewound,
    /// The clone has the pinned commit and no history.
    Shallow,
    /// A tracked file of the module was edited.
    DirtyModule,
    /// The module holds a file that git does not know.
    UntrackedModule,
    /// An edit in the module is staged.
    StagedModule,
    /// Entries that git is told not to look at (assume-unchanged, skip-worktree) were edited.
    HiddenEntries,
    /// The superproject's `README.md` was edited. No module is hit.
    DirtySuperproject,
    /// The superproject holds `.env` and `notes/todo.txt`, unknown to git. No module is hit.
    UntrackedSuperproject,
    /// A new file is staged in the superproject. No module is hit.
    StagedSuperproject,
    /// The gitlink is one commit behind what `flake.lock` says.
    IncoherentGitlink,
    /// The revision in the flake's URL is not the one in `flake.lock`.
    IncoherentUrl,
    /// `nix/dep-graph.nix` lacks a dependency of the module.
    StaleDepGraph,
    /// The location in git's configuration holds no repository.
    MissingRemote,
    /// `.gitmodules` names a branch that the upstream has not.
    MissingBranch,
    /// Tracked and untracked files of the module have names that are not UTF-8, with line
    /// breaks, leading spaces, 255 bytes, and deep paths.
    HostileFileNames,
    /// Git configuration and hooks of superproject and module that would run a canary.
    HostileConfig,
    /// `.gitmodules` sections and gitlinks whose names, paths and URLs attack. No regular
    /// module is hit.
    HostileModules,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Uninitialised,
        Self::AheadCheckout,
        Self::DivergedCheckout,
        Self::BehindCheckout,
        Self::OnBranch,
        Self::AheadPin,
        Self::DivergedPin,
        Self::UpstreamRewound,
        Self::Shallow,
        Self::DirtyModule,
        Self::UntrackedModule,
        Self::StagedModule,
        Self::HiddenEntries,
        Self::DirtySuperproject,
        Self::UntrackedSuperproject,
        Self::StagedSuperproject,
        Self::IncoherentGitlink,
        Self::IncoherentUrl,
        Self::StaleDepGraph,
        Self::MissingRemote,
        Self::MissingBranch,
        Self::HostileFileNames,
        Self::HostileConfig,
        Self::HostileModules,
    ];

    /// False for trouble of the superproject alone.
    #[must_use]
    pub fn hits_a_module(self) -> bool {
        !matches!(
            self,
            Self::DirtySuperproject
                | Self::UntrackedSuperproject
                | Self::StagedSuperproject
                | Self::HostileModules
        )
    }
}

/// A module for each trouble that hits one, by index in the cast: ordinary ones first, no two
/// the same.
pub(super) fn victims(spec: &SampleSpec, cast: &[Role]) -> PortResult<BTreeMap<Trouble, usize>> {
    let mut free: Vec<usize> =
        (21..cast.len()).chain(1..cast.len().min(21)).filter(|at| cast[*at].flake).collect();
    let mut victims = BTreeMap::new();
    for trouble in spec.trouble.iter().filter(|trouble| trouble.hits_a_module()) {
        let fitting = free.iter().position(|at| match trouble {
            // Every third module has newer commits upstream; see `history`.
            Trouble::AheadPin => !at.is_multiple_of(3),
            Trouble::DivergedPin => at.is_multiple_of(3),
            _ => true,
        });
        let Some(fitting) = fitting else {
            let attempted = format!("cannot make {} modules have all the trouble asked for", spec.modules);
            return Err(PortError::failed(attempted)
                .kind(FailureKind::Usage)
                .hint("ask for more modules, or for less trouble"));
        };
        victims.insert(*trouble, free.remove(fitting));
    }
    Ok(victims)
}
