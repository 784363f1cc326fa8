//! What flakes say about the inputs of their inputs.
//!
//! A tree by input path: the walk goes down it beside the flakes, so that no path is ever made
//! only to look something up. The first word about an input counts; flakes are met outermost
//! first, so that is the outermost one's.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::place::Place;
use crate::domain::flake::nix_reader::InputSpec;
use crate::domain::flake::reference::FlakeRef;
use crate::domain::flake::shared::SharedStr;

/// One input as its flake wants it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) reference: Option<FlakeRef>,
    /// From the root of the new lock.
    pub(super) follows: Option<Vec<SharedStr>>,
    pub(super) flake: bool,
}

impl Wanted {
    /// As a `flake.nix` has it; what it follows is relative to that flake.
    pub(super) fn of(spec: &InputSpec, flake: &[SharedStr]) -> Self {
        let follows = spec.follows.as_ref().map(|path| {
            flake.iter().cloned().chain(path.iter().map(|name| SharedStr::from(name.as_str()))).collect()
        });
        Self { reference: spec.reference.clone(), follows, flake: spec.flake }
    }
}

/// An input's reference as a flake above it wants it.
#[derive(Debug, Clone)]
pub(super) struct Override {
    pub(super) wanted: Wanted,
    /// Where that flake is, for relative paths.
    pub(super) place: Rc<Place>,
    /// How long its input path is: the start of the input's own.
    pub(super) depth: usize,
}

/// A place in the tree, for an input path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot(usize);

#[derive(Default)]
struct Words {
    here: Option<Rc<Override>>,
    below: BTreeMap<String, Spot>,
}

/// Everything that was said so far.
#[derive(Default)]
pub(super) struct Overrides {
    spots: Vec<Words>,
}

impl Overrides {
    /// A place for the inputs of a flake about which nothing was said yet.
    pub(super) fn spot(&mut self) -> Spot {
        self.spots.push(Words::default());
        Spot(self.spots.len() - 1)
    }

    /// The place of an input, made if need be.
    pub(super) fn child(&mut self, of: Spot, name: &str) -> Spot {
        if let Some(known) = self.below(Some(of), name) {
            return known;
        }
        let new = self.spot();
        self.spots[of.0].below.insert(name.to_owned(), new);
        new
    }

    /// The place of an input, when anything was said at it or below.
    pub(super) fn below(&self, of: Option<Spot>, name: &str) -> Option<Spot> {
        self.spots[of?.0].below.get(name).copied()
    }

    /// What was said about this input.
    pub(super) fn at(&self, spot: Option<Spot>) -> Option<&Rc<Override>> {
        self.spots[spot?.0].here.as_ref()
    }

    /// The inputs of a flake about which something was said.
    pub(super) fn names(&self, of: Option<Spot>) -> impl Iterator<Item = &str> {
        let below = of.into_iter().flat_map(|spot| &self.spots[spot.0].below);
        below.filter(|(_, spot)| self.spots[spot.0].here.is_some()).map(|(name, _)| name.as_str())
    }

    /// Note what the flake at `flake` says about the inputs of its input at `spot`.
    pub(super) fn collect(&mut self, spot: Spot, spec: &InputSpec, flake: &[SharedStr], place: &Rc<Place>) {
        for (name, spec) in &spec.inputs {
            let child = self.child(spot, name);
            let here = &mut self.spots[child.0].here;
            if here.is_none() && (spec.reference.is_some() || spec.follows.is_some()) {
                let wanted = Wanted::of(spec, flake);
                *here = Some(Rc::new(Override { wanted, place: Rc::clone(place), depth: flake.len() }));
            }
            self.collect(child, spec, flake, place);
        }
    }
}
