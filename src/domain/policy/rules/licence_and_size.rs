//! `licence-and-size`: a person looks when a module's terms of use change, or its size jumps.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::contents::described;
use crate::domain::contents::held::{Held, METADATA};
use crate::domain::id::{ModuleName, RepoPath};
use crate::domain::policy::Severity;
use crate::domain::policy::contents::is_about;
use crate::domain::policy::facts::{ChangeFacts, Facts};
use crate::domain::policy::found::Found;
use crate::domain::policy::pattern::Pattern;
use crate::domain::text;

/// The settings of `licence-and-size`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LicenceAndSize {
    /// How grave it is.
    pub severity: Severity,
    /// Whether changed terms of use are said.
    pub licence: bool,
    /// By how many percent of its bytes a module may grow or shrink; 0 is no limit.
    pub percent: u32,
    /// A difference of fewer bytes than this is no jump.
    pub least_bytes: u64,
    /// Modules that it is not about.
    pub exempt: BTreeSet<Pattern>,
}

impl Default for LicenceAndSize {
    fn default() -> Self {
        Self {
            severity: Severity::Review,
            licence: true,
            percent: 50,
            least_bytes: 256 << 10,
            exempt: BTreeSet::new(),
        }
    }
}

impl LicenceAndSize {
    /// Whether it is about a module.
    #[must_use]
    pub fn is_about(&self, module: &ModuleName) -> bool {
        is_about(module, &[Pattern::new("*")], &self.exempt)
    }

    fn jump(&self, before: &Held, after: &Held) -> Option<String> {
        let difference = before.bytes.abs_diff(after.bytes);
        let allowed = u128::from(before.bytes) * u128::from(self.percent);
        if self.percent == 0 || difference < self.least_bytes || u128::from(difference) * 100 <= allowed {
            return None;
        }
        let how = if after.bytes > before.bytes { "grows" } else { "shrinks" };
        let Held { bytes, files, .. } = before;
        Some(format!(
            "it {how} from {bytes} bytes in {files} files to {} bytes in {} files",
            after.bytes, after.files
        ))
    }
}

/// The licence that `metadata.json` names.
fn stated(held: &Held) -> Option<String> {
    described::read(held.told(METADATA).ok()??).licence
}

impl Rule for LicenceAndSize {
    const ID: &'static str = "licence-and-size";
    const ASKS: Asks = Asks::Tree;
    const ABOUT: &'static str = "\
Puts a move of a pin before a person when the module's terms of use change (files named as licences at its \
top, LICENSES/, or the licence that metadata.json names), or when its files become larger or smaller by more \
than `percent` and by at least `least_bytes`.

Neither is wrong in itself, and both are what nobody sees in a list of commits. A rollback, or a heal, is \
not looked at.";
    const EXAMPLE: &'static str = "\
[rules.licence-and-size]
severity = \"review\"
licence = true
percent = 50
least_bytes = 262144
exempt = [\"docs\"]
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn check(&self) -> Result<(), String> {
        if self.licence || self.percent > 0 { Ok(()) } else { Err("it asks for nothing".to_owned()) }
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        if facts.change.as_ref().is_some_and(ChangeFacts::goes_back) {
            return;
        }
        for (module, _) in facts.moved().filter(|(module, _)| self.is_about(&module.name)) {
            let name = &module.name;
            let (before, after) = match (&module.contents.held_before, &module.contents.held) {
                (Some(Ok(before)), Some(Ok(after))) => (before, after),
                (Some(Err(why)), _) | (_, Some(Err(why))) => {
                    found.module(name, format!("what it held and holds cannot be told: {why}"), None);
                    continue;
                }
                (None, _) | (_, None) => {
                    found.module(name, "what it held and holds was not looked at", None);
                    continue;
                }
            };
            if let Some(said) = self.jump(before, after) {
                found.module(name, said, Some("look at what came or went"));
            }
            if !self.licence {
                continue;
            }
            let paths: BTreeSet<&RepoPath> = before.licences.keys().chain(after.licences.keys()).collect();
            for path in paths {
                let said = match (before.licences.get(path), after.licences.get(path)) {
                    (Some(one), Some(other)) if one == other => continue,
                    (Some(_), Some(_)) => "these terms of use change",
                    (None, _) => "these terms of use are new",
                    (_, None) => "these terms of use are gone",
                };
                found.path(Some(name), path, said, Some("read them"));
            }
            let (was, is) = (stated(before), stated(after));
            if was != is {
                let shown =
                    |said: Option<String>| said.map_or_else(|| "none".to_owned(), |said| text::quoted(&said));
                let said = format!("the licence that it names changes from {} to {}", shown(was), shown(is));
                found.path(Some(name), &RepoPath::from(METADATA), said, None);
            }
        }
    }
}
