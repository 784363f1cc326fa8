//! `metadata`: every module says what it is, as the format has it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::contents::described;
use crate::domain::contents::held::METADATA;
use crate::domain::id::{ModuleName, RepoPath};
use crate::domain::policy::Severity;
use crate::domain::policy::contents::is_about;
use crate::domain::policy::facts::{ChangeFacts, Facts};
use crate::domain::policy::found::Found;
use crate::domain::policy::pattern::Pattern;

/// The settings of `metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metadata {
    /// How grave it is.
    pub severity: Severity,
    /// The modules that it is about.
    pub modules: BTreeSet<Pattern>,
    /// Those of them that it is not about.
    pub exempt: BTreeSet<Pattern>,
}

impl Default for Metadata {
    fn default() -> Self {
        Self { severity: Severity::Deny, modules: [Pattern::new("*")].into(), exempt: BTreeSet::new() }
    }
}

impl Metadata {
    /// Whether it is about a module.
    #[must_use]
    pub fn is_about(&self, module: &ModuleName) -> bool {
        is_about(module, &self.modules, &self.exempt)
    }
}

impl Rule for Metadata {
    const ID: &'static str = "metadata";
    const ASKS: Asks = Asks::Tree;
    const ABOUT: &'static str = "\
Each module has a metadata.json at its top that every reader understands alike: a JSON object without a key \
twice, with name, version and type (core, ui or ui_qml), and whatever else it says in the form that hosts \
read. Unknown keys are normal. What is exempt has no plugin: documents, libraries, tools.

A rollback, or a heal, goes back to words that were accepted once: they are not asked again.";
    const EXAMPLE: &'static str = "\
[rules.metadata]
severity = \"deny\"
modules = [\"*\"]
exempt = [\"docs\", \"*-sdk\"]
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        if facts.change.as_ref().is_some_and(ChangeFacts::goes_back) {
            return;
        }
        let path = RepoPath::from(METADATA);
        for module in facts.judged().filter(|module| self.is_about(&module.name)) {
            let told = match &module.contents.held {
                Some(Ok(held)) => held.told(METADATA),
                Some(Err(why)) => Err(format!("whether there is one cannot be told: {why}")),
                None => Err("it was not looked at".to_owned()),
            };
            let faults = match told {
                Ok(Some(bytes)) => described::read(bytes).faults,
                Ok(None) => vec!["it is not there".to_owned()],
                Err(why) => vec![why],
            };
            for fault in faults {
                found.path(Some(&module.name), &path, fault, None);
            }
        }
    }
}
