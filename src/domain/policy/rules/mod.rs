//! The rules that a policy can have, one file each.
//!
//! A rule is a struct of settings, read from `rules.<id>` of the policy document, and a pure function
//! from [`Facts`] to findings. To add one: write its file with a struct that is [`Rule`], and name it
//! in the list at the end of this one, in the order of the ids. Reading, the nearest name of a key that
//! is not known, `policy explain`, judging and storing follow from that. What a rule needs of the world
//! that is not in [`Facts`] yet is gathered in [`crate::ops::policy`], and only for rules that are set.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::facts::Facts;
use super::found::Found;
use super::{Finding, Severity, slip};
use crate::domain::id::RepoPath;
use crate::domain::text;

mod allowed_sources;
mod drift;
mod forbidden_inputs;
mod forbidden_paths;
mod freeze;
mod history_rewritten;
mod licence_and_size;
mod limits;
mod metadata;
mod minimum_age;
mod pin_coherence;
mod program_pins;
mod rln;
mod security_floor;
mod signed_metadata;
mod signed_revisions;

pub use allowed_sources::{AllowedSources, Scope};
pub use drift::Drift;
pub use forbidden_inputs::{ForbiddenInputs, Overrides};
pub use forbidden_paths::ForbiddenPaths;
pub use freeze::{FREEZE, Freeze, Window};
pub use history_rewritten::HistoryRewritten;
pub use licence_and_size::LicenceAndSize;
pub use limits::Limits;
pub use metadata::Metadata;
pub use minimum_age::MinimumAge;
pub use pin_coherence::PinCoherence;
pub use program_pins::{Pin, ProgramPins};
pub use rln::Rln;
pub use security_floor::SecurityFloor;
pub use signed_metadata::SignedMetadata;
pub use signed_revisions::{MOST_COMMITS, SignedRevisions};

/// When a rule's answer can become another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asks {
    /// Only with the policy, the change or the tree that it gives: one answer for each of them.
    Tree,
    /// Also as time goes by, upstreams move and others do things: asked anew in every cycle.
    World,
}

/// One rule: its settings, and what it says of facts.
pub trait Rule: Sized + Serialize + DeserializeOwned {
    /// Its name in the document and in findings.
    const ID: &'static str;
    /// When its answer can become another one.
    const ASKS: Asks;
    /// What it forbids and why, for `policy explain`: paragraphs of prose.
    const ABOUT: &'static str;
    /// How it is written in a policy in TOML, with every key.
    const EXAMPLE: &'static str;

    /// How grave its findings are.
    fn severity(&self) -> Severity;

    /// What is wrong with the settings, beyond their types.
    ///
    /// # Errors
    /// A sentence without a final stop.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// The files of the superproject that it reads.
    fn files(&self) -> BTreeSet<RepoPath> {
        BTreeSet::new()
    }

    /// What is to be said.
    fn judge(&self, facts: &Facts, found: &mut Found);
}

/// A rule as `policy explain` shows it.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Its name.
    pub id: &'static str,
    /// When its answer can become another one.
    pub asks: Asks,
    /// What it forbids and why.
    pub about: &'static str,
    /// How it is written.
    pub example: &'static str,
}

fn judged<R: Rule>(rule: Option<&R>, facts: &Facts, asks: Asks, all: &mut Vec<Finding>) {
    let Some(rule) = rule.filter(|_| R::ASKS == asks) else { return };
    let mut found = Found::by(R::ID, rule.severity());
    rule.judge(facts, &mut found);
    all.extend(found.done());
}

fn read<R: Rule>(settings: serde_json::Value) -> Result<R, String> {
    let of = |why: String| format!("rules.{}: {why}", R::ID);
    let rule: R = serde_json::from_value(settings).map_err(|error| of(slip(&error.to_string())))?;
    rule.check().map_err(of)?;
    Ok(rule)
}

macro_rules! rules {
    ($($(#[$about:meta])* $field:ident: $rule:ty),+ $(,)?) => {
        /// The rules of a policy, each with its settings; one that is not set says nothing.
        #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct Rules {
            $($(#[$about])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$rule>,)+
        }

        /// Every rule that there is, by id.
        pub const ALL: &[About] = &[$(About {
            id: <$rule as Rule>::ID,
            asks: <$rule as Rule>::ASKS,
            about: <$rule as Rule>::ABOUT,
            example: <$rule as Rule>::EXAMPLE,
        },)+];

        impl Rules {
            /// The ids of the rules that are set, with the settings of each.
            #[must_use]
            pub fn set(&self) -> BTreeMap<&'static str, Severity> {
                let mut set = BTreeMap::new();
                $(if let Some(rule) = &self.$field {
                    set.insert(<$rule as Rule>::ID, rule.severity());
                })+
                set
            }

            /// Whether any rule is set.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                true $(&& self.$field.is_none())+
            }

            /// Whether a rule is set whose answer can become another one in this way.
            #[must_use]
            pub fn asks(&self, asks: Asks) -> bool {
                false $(|| (self.$field.is_some() && <$rule as Rule>::ASKS == asks))+
            }

            /// The files of the superproject that the rules read.
            #[must_use]
            pub fn files(&self) -> BTreeSet<RepoPath> {
                let mut files = BTreeSet::new();
                $(files.extend(self.$field.iter().flat_map(Rule::files));)+
                files
            }

            /// What the rules that ask in this way say, sorted.
            #[must_use]
            pub fn judge(&self, facts: &Facts, asks: Asks) -> Vec<Finding> {
                let mut all = Vec::new();
                $(judged(self.$field.as_ref(), facts, asks, &mut all);)+
                all.sort();
                all.dedup();
                all
            }
        }

        impl<'de> Deserialize<'de> for Rules {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut rules = Self::default();
                for (id, settings) in BTreeMap::<String, serde_json::Value>::deserialize(deserializer)? {
                    match id.as_str() {
                        $(<$rule as Rule>::ID => {
                            rules.$field = Some(read(settings).map_err(serde::de::Error::custom)?);
                        })+
                        _ => return Err(serde::de::Error::custom(no_such_rule(&id))),
                    }
                }
                Ok(rules)
            }
        }
    };
}

/// That there is no such rule, and which is meant perhaps.
#[must_use]
pub fn no_such_rule(id: &str) -> String {
    let near = text::nearest(id, ALL.iter().map(|rule| rule.id));
    let near = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
    format!("there is no rule {}{near}", text::quoted(id))
}

rules! {
    /// Hosts and organisations that modules and inputs come from.
    allowed_sources: AllowedSources,
    /// How far a pin moves at once, and lags behind.
    drift: Drift,
    /// Flake inputs and overrides that may not be.
    forbidden_inputs: ForbiddenInputs,
    /// Paths that no proposal touches.
    forbidden_paths: ForbiddenPaths,
    /// Times in which nothing is decided.
    freeze: Freeze,
    /// A pin loses no commits.
    history_rewritten: HistoryRewritten,
    /// Terms of use that change, and sizes that jump.
    licence_and_size: LicenceAndSize,
    /// How much changes at once, and in a day.
    limits: Limits,
    /// What modules say of themselves, as the format has it.
    metadata: Metadata,
    /// How long a revision must be known.
    minimum_age: MinimumAge,
    /// The places of a pin agree.
    pin_coherence: PinCoherence,
    /// Files and values that stay what they are.
    program_pins: ProgramPins,
    /// Rates are limited where a network requires it.
    rln: Rln,
    /// Below which revisions no module goes.
    security_floor: SecurityFloor,
    /// What modules say of themselves is signed.
    signed_metadata: SignedMetadata,
    /// Revisions are signed by maintainers.
    signed_revisions: SignedRevisions,
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod contents_tests;
