//! `forbidden-paths`: what no proposal touches, in the superproject and in modules.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::contents::touched::{Difference, How, PathChange, at_and_above, touched};
use crate::domain::id::ModuleName;
use crate::domain::policy::Severity;
use crate::domain::policy::facts::{ChangeFacts, Facts};
use crate::domain::policy::found::Found;
use crate::domain::policy::pattern::Pattern;
use crate::domain::text;

/// The settings of `forbidden-paths`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForbiddenPaths {
    /// How grave it is.
    pub severity: Severity,
    /// In the superproject's own tree.
    pub paths: BTreeSet<Pattern>,
    /// In modules, by patterns of their names: what no move of their pins changes.
    pub modules: BTreeMap<Pattern, BTreeSet<Pattern>>,
}

impl Default for ForbiddenPaths {
    fn default() -> Self {
        Self { severity: Severity::Deny, paths: BTreeSet::new(), modules: BTreeMap::new() }
    }
}

impl ForbiddenPaths {
    /// Whether it forbids anything in a module.
    #[must_use]
    pub fn is_about(&self, module: &ModuleName) -> bool {
        self.modules.keys().any(|pattern| pattern.matches(module.as_str()))
    }

    fn of(&self, module: &ModuleName) -> impl Iterator<Item = &Pattern> {
        let about = self.modules.iter().filter(|(pattern, _)| pattern.matches(module.as_str()));
        about.flat_map(|(_, paths)| paths)
    }
}

/// As a file system that ignores case, and characters without a shape, has a path.
fn folded(path: &[u8]) -> String {
    String::from_utf8_lossy(path)
        .chars()
        .filter(|c| !text::is_active(*c))
        .flat_map(char::to_lowercase)
        .collect()
}

/// What of a difference is forbidden, each a sentence with the path that it is about.
fn forbidden<'a>(
    difference: &Difference,
    patterns: impl Iterator<Item = &'a Pattern>,
) -> Vec<(crate::domain::id::RepoPath, String)> {
    let patterns: Vec<(&Pattern, Pattern)> =
        patterns.map(|pattern| (pattern, Pattern::new(&folded(pattern.as_str().as_bytes())))).collect();
    let test = |path: &[u8]| {
        let path = folded(path);
        let hit = |above: &[u8]| patterns.iter().find(|(_, folded)| folded.matches_path(above));
        at_and_above(path.as_bytes())
            .filter(|above| !above.is_empty())
            .find_map(hit)
            .map(|(pattern, _)| pattern.to_string())
    };
    let sentence = |by: String, how| {
        let by = text::quoted(&by);
        match how {
            How::Itself => format!("{by} forbids to change it"),
            How::Renamed(other) => format!("{by} forbids to change it, and it is the same file as {other}"),
            How::Called(name) => format!("it is also called {name}, and {by} forbids to change that"),
            How::LeadsTo(target) => format!("it is a link that leads to {target}, which {by} forbids"),
            How::TooManyNames => "symlinks give it more names than can be looked at".to_owned(),
        }
    };
    let found = touched(difference, test).into_iter();
    found.map(|touch| (touch.path, sentence(touch.by, touch.how))).collect()
}

impl Rule for ForbiddenPaths {
    const ID: &'static str = "forbidden-paths";
    const ASKS: Asks = Asks::Tree;
    const ABOUT: &'static str = "\
No proposal changes, adds or removes what these patterns name: `paths` in the superproject's own tree, \
`modules` in what moving a pin brings into a module, between the commit that it was at and the one that it \
goes to. A pattern without a slash is a name at any depth, one with a slash stands where it says, `*` stays \
within a directory and `**` goes across; a directory stands for everything below it. Case does not count.

A file is looked at under every name: a rename counts under both, a file below a symlinked directory under \
both, a new symlink also as the path that it leads to. What cannot be compared is said, at the rule's \
severity. A rollback, or a heal, takes back what was there.";
    const EXAMPLE: &'static str = "\
[rules.forbidden-paths]
severity = \"deny\"
paths = [\".github/workflows\", \"*.pem\"]

[rules.forbidden-paths.modules]
\"*\" = [\".github/workflows\", \".gitmodules\"]
logos-waku-module = [\"keys/**\"]
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn check(&self) -> Result<(), String> {
        if self.paths.is_empty() && self.modules.values().all(BTreeSet::is_empty) {
            return Err("it names no paths".to_owned());
        }
        Ok(())
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        let Some(change) = facts.change.as_ref().filter(|change| !ChangeFacts::goes_back(change)) else {
            return;
        };
        if !self.paths.is_empty() && !change.paths.is_empty() {
            let changes = change
                .paths
                .iter()
                .map(|path| PathChange { path: path.clone(), old: None, new: None })
                .collect();
            match &facts.own_links {
                Ok(links) => {
                    let (links_before, links_after) = (links.clone(), links.clone());
                    let difference = Difference { changes, links_before, links_after };
                    for (path, said) in forbidden(&difference, self.paths.iter()) {
                        found.path(None, &path, said, None);
                    }
                }
                Err(why) => {
                    found.whole(format!("what else its paths are called cannot be told: {why}"), None);
                }
            }
        }
        for (module, _) in facts.moved().filter(|(module, _)| self.is_about(&module.name)) {
            match &module.contents.difference {
                Some(Ok(difference)) => {
                    for (path, said) in forbidden(difference, self.of(&module.name)) {
                        found.path(Some(&module.name), &path, said, None);
                    }
                }
                Some(Err(why)) => {
                    found.module(&module.name, format!("what moving it changes cannot be told: {why}"), None);
                }
                None => found.module(&module.name, "what moving it changes was not looked at", None),
            }
        }
    }
}
