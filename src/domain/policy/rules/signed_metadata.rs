//! `signed-metadata`: what modules say of themselves is signed by a publisher whom the policy trusts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::contents::described;
use crate::domain::contents::held::{Held, MANIFEST, MANIFEST_SIG, METADATA};
use crate::domain::contents::signed::{self, Form, PublisherKey, Signed};
use crate::domain::id::{ModuleName, RepoPath};
use crate::domain::policy::Severity;
use crate::domain::policy::contents::is_about;
use crate::domain::policy::facts::Facts;
use crate::domain::policy::found::Found;
use crate::domain::policy::pattern::Pattern;
use crate::domain::text;

/// The settings of `signed-metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignedMetadata {
    /// How grave it is.
    pub severity: Severity,
    /// The publishers' keys, by the id that signatures name them by: 64 hex digits, or a did:jwk.
    pub keys: BTreeMap<String, PublisherKey>,
    /// The modules that it is about.
    pub modules: BTreeSet<Pattern>,
    /// Those of them that it is not about.
    pub exempt: BTreeSet<Pattern>,
    /// What a module must call itself, so that another module's signed words do not do for it.
    pub names: BTreeMap<ModuleName, String>,
}

impl Default for SignedMetadata {
    fn default() -> Self {
        Self {
            severity: Severity::Deny,
            keys: BTreeMap::new(),
            modules: [Pattern::new("*")].into(),
            exempt: BTreeSet::new(),
            names: BTreeMap::new(),
        }
    }
}

impl SignedMetadata {
    /// Whether it is about a module.
    #[must_use]
    pub fn is_about(&self, module: &ModuleName) -> bool {
        is_about(module, &self.modules, &self.exempt)
    }

    /// Everything that is wrong with what a module says, each with the file that it is about.
    fn faults(&self, module: &ModuleName, held: &Held) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut told = |file: &'static str| {
            held.told(file).unwrap_or_else(|why| {
                faults.push((file, format!("it cannot be read: {why}")));
                None
            })
        };
        let (metadata, manifest, signature) = (told(METADATA), told(MANIFEST), told(MANIFEST_SIG));
        let mut signed: Vec<Signed> = Vec::new();
        match (manifest, signature) {
            (Some(manifest), Some(signature)) => match signed::manifest(manifest, signature) {
                Ok(found) => signed.push(found),
                Err(why) => faults.push((MANIFEST_SIG, why.to_string())),
            },
            (None, Some(_)) => {
                faults.push((MANIFEST_SIG, format!("it signs a {MANIFEST} that is not there")));
            }
            (_, None) => {}
        }
        match metadata.map(|metadata| signed::metadata(metadata, &self.keys)) {
            Some(Ok(found)) => signed.extend(found),
            Some(Err(why)) => faults.push((METADATA, why.to_string())),
            None => {}
        }
        let said = metadata.map(described::read).unwrap_or_default();
        for found in &signed {
            let file = found.form.file();
            if !self.keys.values().any(|key| *key == found.key) {
                faults.push((
                    file,
                    format!("it is signed with the key {}, which the policy does not trust", found.key),
                ));
            }
            let words = if found.form == Form::Manifest { MANIFEST } else { METADATA };
            if found.form == Form::Manifest && (&found.name, &found.version) != (&said.name, &said.version) {
                let (theirs, ours) = (
                    called(found.name.as_deref(), found.version.as_deref()),
                    called(said.name.as_deref(), said.version.as_deref()),
                );
                faults.push((words, format!("it is signed for {theirs}, and {METADATA} says {ours}")));
            }
            if let Some(name) = self.names.get(module).filter(|name| found.name.as_ref() != Some(name)) {
                let (theirs, name) =
                    (called(found.name.as_deref(), found.version.as_deref()), text::quoted(name));
                faults.push((words, format!("it is signed for {theirs}, and this module is {name}")));
            }
        }
        if signed.is_empty() && faults.is_empty() {
            let said =
                format!("nobody signed it: there is neither a {MANIFEST_SIG} nor a signature in {METADATA}");
            faults.push((METADATA, said));
        }
        faults
    }
}

fn called(name: Option<&str>, version: Option<&str>) -> String {
    let shown = |said: Option<&str>| {
        said.map_or_else(|| "(nothing)".to_owned(), |said| text::quoted(&text::clipped(said, 80)))
    };
    format!("{} {}", shown(name), shown(version))
}

impl Rule for SignedMetadata {
    const ID: &'static str = "signed-metadata";
    const ASKS: Asks = Asks::Tree;
    const ABOUT: &'static str = "\
Each module's words about itself are signed with Ed25519 by a publisher whose key is listed here, in one of \
two forms: manifest.sig over manifest.json (the key is in its DID), or `signature` in metadata.json, as \
\"key id:hex\" over the sorted and compact JSON of the rest. Every signature that is there must hold and be \
of a listed key, and a signed manifest must be of the name and version that metadata.json says. `names` says \
what a module must call itself, so that the signed words of another module do not do for it.

A signature vouches for the words, not for the sources beside them: `signed-revisions` does. It holds for \
rollbacks and heals too.";
    const EXAMPLE: &'static str = "\
[rules.signed-metadata]
severity = \"deny\"
modules = [\"*\"]
exempt = [\"docs\"]

[rules.signed-metadata.keys]
release-2026 = \"ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c\"

[rules.signed-metadata.names]
logos-waku-module = \"waku_module\"
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn check(&self) -> Result<(), String> {
        if self.keys.is_empty() { Err("it lists no keys".to_owned()) } else { Ok(()) }
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        for module in facts.judged().filter(|module| self.is_about(&module.name)) {
            let held = match module.contents.held.as_ref() {
                Some(Ok(held)) => held,
                Some(Err(why)) => {
                    found.module(&module.name, format!("what it says of itself cannot be told: {why}"), None);
                    continue;
                }
                None => {
                    found.module(&module.name, "what it says of itself was not looked at", None);
                    continue;
                }
            };
            for (file, fault) in self.faults(&module.name, held) {
                let hint = "its publisher signs it; exempt names modules that are not signed";
                found.path(Some(&module.name), &RepoPath::from(file), fault, Some(hint));
            }
        }
    }
}
