//! What a rule says about a change: a value that is stored with the proposal, shown to whoever signs,
//! and the same on every machine for the same facts.

use serde::{Deserialize, Serialize};

use crate::domain::id::{ModuleName, RepoPath};

/// How much a finding weighs. Ordered: what forbids comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The change is neither certified nor applied while this stands.
    Deny,
    /// A person must have looked: nothing is enacted within bounds alone.
    Review,
    /// To be known.
    Warn,
}

impl Severity {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Review => "review",
            Self::Warn => "warn",
        }
    }
}

/// What a rule found. Sorted by severity, then rule, module and path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// The rule's name, such as `allowed-hosts`.
    pub rule: String,
    /// The module that it is about; absent for the superproject's own files.
    pub module: Option<ModuleName>,
    /// The path that it is about: in the module where there is one, else in the superproject.
    pub path: Option<RepoPath>,
    /// What was found, a sentence without a final stop. Parts from outside are made inert.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}
