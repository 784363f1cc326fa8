//! `allowed-sources`: from which hosts and organisations modules and inputs may come.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::flake::lock::{Lock, Node};
use crate::domain::policy::Severity;
use crate::domain::policy::facts::Facts;
use crate::domain::policy::found::Found;
use crate::domain::policy::pattern::Pattern;
use crate::domain::text;
use crate::domain::url::RepoIdentity;

/// The settings of `allowed-sources`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AllowedSources {
    /// How grave it is.
    pub severity: Severity,
    /// Hosts from which everything may come: `github.com`, `*.example.org`.
    pub hosts: BTreeSet<Pattern>,
    /// Organisations and repositories that are allowed: `github.com/logos-co`, `github.com/nixos/nixpkgs`.
    pub organisations: BTreeSet<Pattern>,
    /// Whether repositories on this machine are allowed.
    pub local: bool,
    /// What is looked at.
    pub scope: Scope,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The modules.
    Modules,
    /// And the inputs of the workspace's own flake.
    Inputs,
    /// And everything else in its lock.
    #[default]
    Lock,
}

impl Default for AllowedSources {
    fn default() -> Self {
        Self {
            severity: Severity::Deny,
            hosts: BTreeSet::new(),
            organisations: BTreeSet::new(),
            local: false,
            scope: Scope::default(),
        }
    }
}

impl AllowedSources {
    /// Whether a repository may be used; `host/organisation/…/name`, or a path.
    fn allows(&self, identity: &RepoIdentity) -> bool {
        let identity = identity.as_str();
        if identity.starts_with('/') {
            return self.local;
        }
        let host = identity.split('/').next().unwrap_or_default();
        // The host without its port is the host.
        let bare = host.split(':').next().unwrap_or_default();
        if self.hosts.iter().any(|pattern| pattern.matches(host) || pattern.matches(bare)) {
            return true;
        }
        let above = identity.match_indices('/').map(|(at, _)| &identity[..at]);
        let places: Vec<&str> = above.skip(1).chain([identity]).collect();
        self.organisations.iter().any(|pattern| places.iter().any(|place| pattern.matches(place)))
    }

    /// Why a node's source is not allowed, if it is not.
    fn refuses(&self, node: &Node) -> Option<String> {
        let locked = node.locked.as_ref()?;
        match locked.identity() {
            Some(identity) if self.allows(&identity) => None,
            Some(identity) => Some(identity.to_string()),
            None if locked.kind() == "path" => {
                // Within the workspace itself, or a place on this machine.
                let path = locked.text("path").unwrap_or_default();
                (!self.local && path.starts_with('/')).then(|| format!("the path {path}"))
            }
            None => {
                let url = locked.text("url").unwrap_or_default();
                let identity = RepoIdentity::of_git_url(url);
                match identity {
                    Some(identity) if self.allows(&identity) => None,
                    _ => Some(format!("{} {url}", locked.kind())),
                }
            }
        }
    }
}

impl Rule for AllowedSources {
    const ID: &'static str = "allowed-sources";
    const ASKS: Asks = Asks::Tree;
    const ABOUT: &'static str = "\
Modules, and what the flake's lock holds, come from these hosts and organisations and from nowhere else. \
A host is compared without its port; an organisation is the host with the first parts of the path \
(`github.com/logos-co`), a repository the whole of it. Owners on GitHub are compared in lower case.

For a change, what its modules are fetched from is looked at, and in the lock what was not there before. \
What is no repository (an archive, a file) is allowed by its host alone.";
    const EXAMPLE: &'static str = "\
[rules.allowed-sources]
severity = \"deny\"
hosts = [\"git.example.org\"]
organisations = [\"github.com/logos-co\", \"github.com/nixos/nixpkgs\"]
local = false
scope = \"lock\"
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn check(&self) -> Result<(), String> {
        if self.hosts.is_empty() && self.organisations.is_empty() && !self.local {
            return Err("it allows nothing: set hosts or organisations".to_owned());
        }
        Ok(())
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        let hint = Some("policy lists the hosts and organisations that are allowed");
        for module in facts.judged() {
            let mut seen = BTreeSet::new();
            for identity in [&module.identity, &module.fetched] {
                if seen.insert(identity) && !self.allows(identity) {
                    let said =
                        format!("it comes from {}, which is not allowed", text::quoted(identity.as_str()));
                    found.module(&module.name, said, hint);
                }
            }
        }
        let Some(lock) = facts.wiring.lock.as_ref().filter(|_| self.scope != Scope::Modules) else { return };
        let known = facts.lock_before.as_deref().map(sources).unwrap_or_default();
        let roots: BTreeSet<_> = lock.root_inputs().filter_map(|(_, node)| node).collect();
        let mut refused: BTreeMap<String, &Node> = BTreeMap::new();
        for (id, node) in lock.nodes() {
            if self.scope == Scope::Inputs && !roots.contains(&id) {
                continue;
            }
            if node.locked.as_ref().is_some_and(|locked| known.contains(locked)) {
                continue;
            }
            if let Some(from) = self.refuses(node) {
                refused.entry(from).or_insert(node);
            }
        }
        for (from, node) in refused {
            let key = text::word(&node.key);
            let said =
                format!("flake.lock's node {key} comes from {}, which is not allowed", text::quoted(&from));
            found.path(None, &"flake.lock".into(), said, hint);
        }
    }
}

/// Every source in a lock.
fn sources(lock: &Lock) -> BTreeSet<&crate::domain::flake::reference::FlakeRef> {
    lock.nodes().filter_map(|(_, node)| node.locked.as_ref()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{check, module, rule, said, upgrade};
    use super::*;
    use crate::domain::policy::facts::ModuleFacts;

    const RULE: &str = "hosts = ['git.example.org']\norganisations = ['github.com/org', 'gitlab.com/a/b']";

    #[test]
    fn modules_come_from_what_is_listed_by_whole_names() {
        let it: AllowedSources = rule(RULE);
        for (from, says) in [
            ("github.com/org/m", ""),
            ("github.com/organisation/m", "comes from \"github.com/organisation/m\""),
            ("github.com/other/org", "is not allowed"),
            ("github.com.evil.org/org/m", "is not allowed"),
            ("git.example.org/x", ""),
            ("git.example.org:8443/x", ""),
            ("evil-git.example.org/x", "is not allowed"),
            ("gitlab.com/a/b/c/d", ""),
            ("gitlab.com/a/c", "is not allowed"),
            ("/srv/git/m", "is not allowed"),
        ] {
            let identity: RepoIdentity = from.parse().unwrap();
            // Wherever it says it is from, where it is fetched from counts, too.
            check(&it, &upgrade(vec![ModuleFacts { fetched: identity.clone(), ..module("m") }]), says);
            check(&it, &upgrade(vec![ModuleFacts { identity, judged: false, ..module("m") }]), "");
        }
        let local: AllowedSources = rule("local = true");
        let fetched: RepoIdentity = "/srv/git/m".parse().unwrap();
        let facts = upgrade(vec![ModuleFacts { identity: fetched.clone(), fetched, ..module("m") }]);
        check(&local, &facts, "");
        assert!(AllowedSources::default().check().is_err());
    }

    fn lock(nodes: &[(&str, &str)]) -> Lock {
        let text: Vec<String> = nodes
            .iter()
            .map(|(name, locked)| format!(r#""{name}":{{"locked":{locked},"original":{locked}}}"#))
            .collect();
        let inputs = nodes.first().map_or_else(String::new, |(name, _)| format!(r#""{name}":"{name}""#));
        let text = text.join(",");
        let text =
            format!(r#"{{"nodes":{{{text},"root":{{"inputs":{{{inputs}}}}}}},"root":"root","version":7}}"#);
        Lock::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_new_in_the_lock_is_looked_at_as_far_as_the_scope_goes() {
        let github = |owner: &str| {
            format!(r#"{{"type":"github","owner":"{owner}","repo":"r","rev":"{}"}}"#, "1".repeat(40))
        };
        let (good, evil) = (github("org"), github("evil"));
        let archive = r#"{"type":"tarball","url":"https://evil.example/x.tar.gz"}"#;
        let within = r#"{"type":"path","path":"./sub"}"#;
        let without = r#"{"type":"path","path":"/home/x"}"#;
        let mut facts = upgrade(Vec::new());
        facts.wiring.lock = Some(lock(&[
            ("good", &good),
            ("evil", &evil),
            ("archive", archive),
            ("within", within),
            ("without", without),
        ]));
        let all: AllowedSources = rule(RULE);
        let said = said(&all, &facts);
        assert_eq!(said.len(), 3, "{said:?}");
        let at = |words: &str| said.iter().any(|line| line.contains(words));
        assert!(at("node evil comes from \"github.com/evil/r\""), "{said:?}");
        assert!(at("tarball https://evil.example/x.tar.gz") && at("the path /home/x"), "{said:?}");
        // What stood there before the change is another matter; only the root's inputs, or only modules.
        facts.lock_before = Some(Arc::new(lock(&[("good", &good), ("evil", &evil), ("without", without)])));
        check(&all, &facts, "tarball");
        facts.lock_before = None;
        check(&rule::<AllowedSources>(&format!("{RULE}\nscope = 'inputs'")), &facts, "");
        check(&rule::<AllowedSources>(&format!("{RULE}\nscope = 'modules'")), &facts, "");
        facts.wiring.lock = Some(lock(&[("evil", &evil), ("archive", archive)]));
        check(&rule::<AllowedSources>(&format!("{RULE}\nscope = 'inputs'")), &facts, "node evil");
    }
}
