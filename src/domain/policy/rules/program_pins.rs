//! `program-pins`: files and values that stay what they are.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::contents::pinned::{check_pointer, identity};
use crate::domain::id::{Cid, ModuleName, RepoPath};
use crate::domain::policy::Severity;
use crate::domain::policy::facts::{Facts, Known};
use crate::domain::policy::found::Found;
use crate::domain::text;

/// The settings of `program-pins`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProgramPins {
    /// How grave it is.
    pub severity: Severity,
    /// What is pinned.
    pub pins: Vec<Pin>,
}

/// A file, or a value in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// In which module; absent for the superproject's own tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleName>,
    /// The file.
    pub path: RepoPath,
    /// The value in it, as a JSON pointer; absent for the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What it must be; absent: what it was before the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Cid>,
}

impl Default for ProgramPins {
    fn default() -> Self {
        Self { severity: Severity::Deny, pins: Vec::new() }
    }
}

impl ProgramPins {
    /// The files of a module that it pins.
    pub fn files_of<'a>(&'a self, module: &'a ModuleName) -> impl Iterator<Item = &'a RepoPath> {
        self.pins.iter().filter(move |pin| pin.module.as_ref() == Some(module)).map(|pin| &pin.path)
    }
}

impl Pin {
    /// What is pinned in these bytes, by identity.
    fn identity(&self, file: &Known<Option<Vec<u8>>>) -> Known<Option<Cid>> {
        match file {
            Ok(Some(bytes)) => identity(&self.path, bytes, self.at.as_deref()),
            Ok(None) => Ok(None),
            Err(why) => Err(why.clone()),
        }
    }

    /// What is wrong, as a sentence; `None` when it is what it must be. `before` is absent when nothing
    /// changes.
    fn fault(
        &self,
        before: Option<&Known<Option<Vec<u8>>>>,
        after: Option<&Known<Option<Vec<u8>>>>,
    ) -> Option<String> {
        let what =
            self.at.as_deref().map_or_else(String::new, |at| format!("the value at {}: ", text::quoted(at)));
        let shown = |id: Option<Cid>| id.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
        let untold = |why: String| Some(format!("{what}what it is cannot be told: {why}"));
        let wanted = match (self.content, before.map(|before| self.identity(before))) {
            (Some(content), _) => Some(content),
            (None, None) => return None,
            (None, Some(Ok(before))) => before,
            (None, Some(Err(why))) => return untold(why),
        };
        let found = match after.map(|after| self.identity(after)) {
            Some(Ok(found)) => found,
            Some(Err(why)) => return untold(why),
            None => return untold("it was not looked at".to_owned()),
        };
        (found != wanted)
            .then(|| format!("{what}it is pinned to {}, and would be {}", shown(wanted), shown(found)))
    }
}

impl Rule for ProgramPins {
    const ID: &'static str = "program-pins";
    const ASKS: Asks = Asks::Tree;
    const ABOUT: &'static str = "\
Files, and values in JSON and TOML files, that no proposal changes: the identities of programs that keys or \
funds were bound to. Each is named by its path (in a module, or in the superproject) and, for a value, by a \
JSON pointer. `content` is what it must be: the CID of the file's bytes, or of the value's canonical JSON; \
without it, it must be what it was before the change.

Another content is a change of the policy first. It holds for rollbacks and heals too.";
    const EXAMPLE: &'static str = "\
[rules.program-pins]
severity = \"deny\"

[[rules.program-pins.pins]]
module = \"lez-multisig\"
path = \"programs/multisig.bin\"
content = \"bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku\"

[[rules.program-pins.pins]]
path = \"scaffold.toml\"
at = \"/programs/token\"
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn check(&self) -> Result<(), String> {
        if self.pins.is_empty() {
            return Err("it pins nothing".to_owned());
        }
        self.pins.iter().filter_map(|pin| pin.at.as_deref()).try_for_each(check_pointer)
    }

    fn files(&self) -> BTreeSet<RepoPath> {
        self.pins.iter().filter(|pin| pin.module.is_none()).map(|pin| pin.path.clone()).collect()
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        for pin in &self.pins {
            let Some(name) = &pin.module else {
                let before = facts.change.as_ref().and_then(|_| facts.files_before.get(&pin.path));
                if let Some(said) = pin.fault(before, facts.files.get(&pin.path)) {
                    found.path(None, &pin.path, said, None);
                }
                continue;
            };
            let Some(module) = facts.modules.iter().find(|module| module.name == *name) else {
                found
                    .whole(format!("the module {name}, in which {} is pinned, is not there", pin.path), None);
                continue;
            };
            if !module.judged {
                continue;
            }
            let files = module.contents.files.get(&pin.path);
            let before = files.and_then(|files| files.before.as_ref());
            if let Some(said) = pin.fault(before, files.map(|files| &files.after)) {
                found.path(Some(name), &pin.path, said, None);
            }
        }
    }
}
