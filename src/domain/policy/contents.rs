//! What rules judge of modules' own commits: facts that cost a look into their objects.

use std::collections::BTreeMap;

use super::facts::Known;
use super::pattern::Pattern;
use crate::domain::contents::held::Held;
use crate::domain::contents::touched::Difference;
use crate::domain::contents::vouched::{Newcomer, Voucher};
use crate::domain::id::{ModuleName, RepoPath};

/// What a module's commits hold. Each part is there when a rule that is set asks for it of this module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContentFacts {
    /// What its tree holds in the result.
    pub held: Option<Known<Held>>,
    /// What it held before, when the change moves it.
    pub held_before: Option<Known<Held>>,
    /// What differs between the two, when the change moves it.
    pub difference: Option<Known<Difference>>,
    /// The signatures over its revision.
    pub vouchers: Option<Known<Vec<Voucher>>>,
    /// The commits that the change brings.
    pub newcomers: Option<Known<Vec<Newcomer>>>,
    /// Files that rules name, before and after.
    pub files: BTreeMap<RepoPath, FileFacts>,
}

/// A file by its bytes; `None` inside where nothing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Where the module was, when the change moves it.
    pub before: Option<Known<Option<Vec<u8>>>>,
    /// In the result.
    pub after: Known<Option<Vec<u8>>>,
}

/// Whether a rule that names modules by patterns is about one.
#[must_use]
pub fn is_about<'a>(
    name: &ModuleName,
    modules: impl IntoIterator<Item = &'a Pattern>,
    exempt: impl IntoIterator<Item = &'a Pattern>,
) -> bool {
    let matches = |pattern: &Pattern| pattern.matches(name.as_str());
    modules.into_iter().any(matches) && !exempt.into_iter().any(matches)
}
