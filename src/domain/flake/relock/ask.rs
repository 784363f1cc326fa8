//! What sources are asked: what a reference is now, and the files of its flake.
//!
//! A source that is not at hand is noted with the path of the input at hand, and stops only that
//! input: all that is missing is said at once.

use std::rc::Rc;

use super::compute::{Stop, Walk};
use super::error::{self, RelockError};
use super::place::Place;
use super::{Needed, SourceError, Update};
use crate::domain::flake::nix_reader::{self, FlakeNix};
use crate::domain::flake::reference::{Attr, FlakeRef};

/// A flake that was read.
pub(super) struct Read {
    pub(super) flake: FlakeNix,
    pub(super) locked: FlakeRef,
    pub(super) place: Rc<Place>,
}

impl Walk<'_> {
    /// What a reference is now, or at the revision that was asked for.
    pub(super) fn lock(&mut self, reference: &FlakeRef) -> Result<FlakeRef, Stop> {
        let revision = match self.updates.at(&self.path) {
            Some(Update::Revision(revision)) => Some(revision.as_str()),
            _ => None,
        };
        if let (Some(pinned), Some(wanted)) = (reference.rev(), revision)
            && pinned != wanted
        {
            let error = RelockError::Pinned {
                at: self.at(),
                reference: error::reference(reference),
                pinned: pinned.to_owned(),
                wanted: wanted.to_owned(),
            };
            return Err(error.into());
        }
        let locked = match self.sources.lock(&reference.with("dir", None), revision) {
            Ok(locked) => locked,
            Err(error) => return Err(self.unanswered(reference, revision, error)),
        };
        let dir = Some(reference.dir()).filter(|dir| !dir.is_empty());
        Ok(locked.with("dir", dir.map(|dir| Attr::Str(dir.into()))))
    }

    fn unanswered(&mut self, reference: &FlakeRef, revision: Option<&str>, error: SourceError) -> Stop {
        match error {
            SourceError::NotAtHand(why) => {
                self.needed.push(Needed {
                    at: self.at(),
                    reference: reference.clone(),
                    revision: revision.or(reference.rev()).map(str::to_owned),
                    why,
                });
                Stop::Missing
            }
            SourceError::Failed(what) => {
                let reference = error::reference(reference);
                Stop::Fatal(RelockError::Source { at: self.at(), reference, what })
            }
        }
    }

    /// The flake that a reference names now.
    pub(super) fn read_new(&mut self, reference: &FlakeRef) -> Result<Read, Stop> {
        let locked = self.lock(reference)?;
        let read = self.read_at(&locked, Place::of(&locked))?;
        if read.flake.own.iter().all(|(name, value)| locked.attrs().get(name) == Some(value)) {
            return Ok(read);
        }
        // `inputs.self` asks for another tree of the same commit (`flake.cc: applySelfAttrs`).
        let mut asked = locked.with("narHash", None);
        for (name, value) in &read.flake.own {
            asked = asked.with(name, Some(value.clone()));
        }
        let again = match self.sources.lock(&asked.with("dir", None), None) {
            Ok(again) => again.with("dir", locked.attrs().get("dir").cloned()),
            Err(error) => return Err(self.unanswered(&asked, None, error)),
        };
        self.read_at(&again, Place::of(&again))
    }

    /// The flake of a locked node; a relative one is looked up from `place`.
    pub(super) fn read_locked(&mut self, locked: &FlakeRef, place: &Place) -> Result<Read, Stop> {
        if locked.relative_path().is_some() {
            return self.read_relative(locked, place);
        }
        self.read_at(locked, Place::of(locked))
    }

    /// The flake of an input that is inside the one that names it.
    pub(super) fn read_relative(&mut self, reference: &FlakeRef, place: &Place) -> Result<Read, Stop> {
        let Some(place) = place.relative(reference) else {
            let path = reference.relative_path().unwrap_or("").to_owned();
            return Err(RelockError::Outside { at: self.at(), path }.into());
        };
        self.read_at(reference, place)
    }

    fn read_at(&mut self, reference: &FlakeRef, place: Place) -> Result<Read, Stop> {
        let Some(bytes) = self.file(&place, "flake.nix", reference)? else {
            let (reference, file) = (error::reference(reference), place.join("flake.nix"));
            return Err(RelockError::NoFlake { at: self.at(), reference, file }.into());
        };
        let flake =
            nix_reader::read(&bytes).map_err(|error| RelockError::FlakeNix { at: self.at(), error })?;
        Ok(Read { flake, locked: reference.clone(), place: Rc::new(place) })
    }

    /// A file beside a flake.
    pub(super) fn file(
        &mut self,
        place: &Place,
        name: &str,
        reference: &FlakeRef,
    ) -> Result<Option<Vec<u8>>, Stop> {
        match self.sources.read(place.tree(), &place.join(name)) {
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(self.unanswered(reference, reference.rev(), error)),
        }
    }

    /// Whether a kept flake's source is at hand.
    pub(super) fn at_hand(&self, locked: &FlakeRef, place: &Place) -> bool {
        let place = match locked.relative_path() {
            Some(_) => place.relative(locked).unwrap_or_else(|| place.top()),
            None => Place::of(locked),
        };
        self.sources.at_hand(place.tree(), &place.join("flake.nix"))
    }
}
