//! `rln`: modules that carry messages limit their rate, on networks that require it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::contents::described::{self, Described};
use crate::domain::contents::held::METADATA;
use crate::domain::id::{ModuleName, RepoPath};
use crate::domain::policy::Severity;
use crate::domain::policy::contents::is_about;
use crate::domain::policy::facts::{Facts, Known, ModuleFacts};
use crate::domain::policy::found::Found;
use crate::domain::policy::pattern::Pattern;

/// The run configuration of a workspace.
const SCAFFOLD: &str = "scaffold.toml";

/// The settings of `rln`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rln {
    /// How grave it is.
    pub severity: Severity,
    /// The network that this workspace's modules run on.
    pub network: String,
    /// The networks that require it.
    pub required_on: BTreeSet<String>,
    /// Modules that it is not about, whatever they say.
    pub exempt: BTreeSet<Pattern>,
}

impl Default for Rln {
    fn default() -> Self {
        Self {
            severity: Severity::Deny,
            network: String::new(),
            required_on: BTreeSet::new(),
            exempt: BTreeSet::new(),
        }
    }
}

impl Rln {
    /// Whether it is about a module that a change moves, or not, and leaves these paths untouched.
    #[must_use]
    pub fn asks_of(&self, module: &ModuleName, judged: bool, paths: &BTreeSet<RepoPath>) -> bool {
        (judged || paths.contains(&RepoPath::from(SCAFFOLD)))
            && self.required_on.contains(&self.network)
            && is_about(module, &[Pattern::new("*")], &self.exempt)
    }

    fn said(&self, module: &ModuleFacts, scaffold: &Known<Option<bool>>) -> Option<String> {
        let described = match &module.contents.held {
            Some(Ok(held)) => held.told(METADATA).map(|told| told.map(described::read)),
            Some(Err(why)) => Err(why.clone()),
            None => Err("it was not looked at".to_owned()),
        };
        let described = match described {
            Ok(Some(described)) => described,
            Ok(None) => return None,
            Err(why) => return Some(format!("whether it carries messages cannot be told: {why}")),
        };
        if !described.is_messaging() {
            let doubt = unclear(&described)?;
            return Some(format!("whether it carries messages cannot be told: {doubt}"));
        }
        let network = crate::domain::text::quoted(&self.network);
        let off =
            |why: &str| Some(format!("it carries messages, the network {network} requires RLN, and {why}"));
        match (described.rln, scaffold) {
            (Some(false), _) => off("its metadata.json switches it off"),
            (_, Ok(Some(false))) => off("mix.rln_enabled in scaffold.toml switches it off"),
            (Some(true), _) | (None, Ok(Some(true))) => None,
            (None, Ok(None)) => off("neither metadata.json nor scaffold.toml switches it on"),
            (None, Err(why)) => off(&format!("whether scaffold.toml switches it on cannot be told: {why}")),
        }
    }
}

/// Why what a module can do is not told by what it says.
fn unclear(described: &Described) -> Option<&String> {
    let nothing = described.name.is_none() && described.version.is_none();
    described.faults.iter().find(|fault| nothing || fault.contains("capabilities"))
}

impl Rule for Rln {
    const ID: &'static str = "rln";
    const ASKS: Asks = Asks::Tree;
    const ABOUT: &'static str = "\
On networks that require rate limiting nullifiers, a module that carries messages has them switched on. A \
module carries messages when its metadata.json lists the capability messaging, chat or delivery. They are on \
when metadata.json says `rln`, or the workspace's scaffold.toml says `rln_enabled` in its table [mix]; where \
either says false they are off.

`network` is the one that this workspace runs on, `required_on` those that require it: on any other network \
the rule says nothing. A change of scaffold.toml is judged for every module. It holds for rollbacks and \
heals too.";
    const EXAMPLE: &'static str = "\
[rules.rln]
severity = \"deny\"
network = \"twn\"
required_on = [\"twn\"]
exempt = []
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn check(&self) -> Result<(), String> {
        if self.network.is_empty() {
            return Err("it names no network".to_owned());
        }
        if self.required_on.is_empty() {
            return Err("required_on names no network".to_owned());
        }
        Ok(())
    }

    fn files(&self) -> BTreeSet<RepoPath> {
        [RepoPath::from(SCAFFOLD)].into()
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        let none = BTreeSet::new();
        let paths = facts.change.as_ref().map_or(&none, |change| &change.paths);
        let scaffold = match facts.files.get(&RepoPath::from(SCAFFOLD)) {
            Some(Ok(Some(bytes))) => described::rln_of_scaffold(bytes),
            Some(Ok(None)) => Ok(None),
            Some(Err(why)) => Err(why.clone()),
            None => Err("it was not looked at".to_owned()),
        };
        for module in &facts.modules {
            if self.asks_of(&module.name, module.judged, paths)
                && let Some(said) = self.said(module, &scaffold)
            {
                found.module(&module.name, said, Some("switch it on in metadata.json or scaffold.toml"));
            }
        }
    }
}
