//! What becomes of one module: what is pinned, what is checked out, how it stands to upstream.

use std::borrow::Cow;

use super::Trouble;
use super::history::{Line, Pin};
use super::module::CloneState;
use super::objects::Objects;
use crate::domain::id::ObjectId;

/// One module's part in the superproject and its checkout.
#[derive(Debug)]
pub(super) struct Fate<'a> {
    /// What the flake's lock records.
    pub(super) locked: Cow<'a, Pin>,
    /// What the gitlink records.
    pub(super) gitlink: ObjectId,
    /// The clone; `None` when the module is not initialised.
    pub(super) clone: Option<CloneState<'a>>,
    /// Commits of upstream's tip that the gitlink has not.
    pub(super) behind: u32,
    /// Commits of the gitlink that upstream's tip has not.
    pub(super) ahead: u32,
}

/// The ordinary fate, or the one that this trouble brings.
pub(super) fn fate(line: &Line, trouble: Option<Trouble>) -> Fate<'_> {
    let pin = line.pin();
    let clone = |pin: &Pin, files| CloneState {
        files,
        head: pin.locked.rev,
        on_branch: false,
        shallow: false,
        local: None,
    };
    let behind_of = |pin: &Pin| u32::try_from(line.commits().len() - pin.depth).unwrap_or(u32::MAX);
    let mut fate = Fate {
        locked: Cow::Borrowed(pin),
        gitlink: pin.locked.rev,
        clone: Some(clone(pin, Cow::Borrowed(&pin.files))),
        behind: behind_of(pin),
        ahead: 0,
    };
    let mut local = Objects::default();
    match trouble {
        Some(Trouble::Uninitialised) => fate.clone = None,
        Some(Trouble::AheadCheckout) => {
            let one = line.unpushed(pin, &mut local, "local: first");
            let two = line.unpushed(&one, &mut local, "local: second");
            let state = clone(&two, Cow::Owned(two.files.clone()));
            fate.clone = Some(CloneState { on_branch: true, local: local.take_pack(), ..state });
        }
        Some(Trouble::DivergedCheckout) => {
            let other = line.unpushed(line.first(), &mut local, "local: elsewhere");
            let state = clone(&other, Cow::Owned(other.files.clone()));
            fate.clone = Some(CloneState { local: local.take_pack(), ..state });
        }
        Some(Trouble::BehindCheckout) => {
            fate.clone = Some(clone(line.first(), Cow::Borrowed(&line.first().files)));
        }
        Some(Trouble::IncoherentGitlink) => {
            let first = line.first();
            fate.gitlink = first.locked.rev;
            fate.behind = behind_of(first);
            fate.clone = Some(clone(first, Cow::Borrowed(&first.files)));
        }
        Some(Trouble::AheadPin | Trouble::DivergedPin) => {
            let unpushed = line.unpushed(pin, &mut local, "local: pinned and never pushed");
            let state = clone(&unpushed, Cow::Owned(unpushed.files.clone()));
            fate.clone = Some(CloneState { local: local.take_pack(), ..state });
            fate.gitlink = unpushed.locked.rev;
            fate.ahead = 1;
            fate.locked = Cow::Owned(unpushed);
        }
        Some(Trouble::OnBranch) => {
            fate.clone = fate.clone.map(|state| CloneState { on_branch: true, ..state });
        }
        Some(Trouble::Shallow) => fate.clone = fate.clone.map(|state| CloneState { shallow: true, ..state }),
        _ => {}
    }
    fate
}
