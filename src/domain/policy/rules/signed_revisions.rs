//! `signed-revisions`: a maintainer whom the policy trusts signed what a module is at.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::contents::vouched::{Carrier, Voucher};
use crate::domain::governance::key::PublicKey;
use crate::domain::id::ModuleName;
use crate::domain::policy::Severity;
use crate::domain::policy::contents::is_about;
use crate::domain::policy::facts::{Facts, ModuleFacts};
use crate::domain::policy::found::Found;
use crate::domain::policy::pattern::Pattern;

/// Most commits that `every` looks at in one move.
pub const MOST_COMMITS: usize = 10_000;

/// Most commits of one module that are named.
const MOST_NAMED: usize = 10;

/// The settings of `signed-revisions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignedRevisions {
    /// How grave it is.
    pub severity: Severity,
    /// The maintainers' keys, by their names: OpenSSH public key lines without a comment.
    pub keys: BTreeMap<String, PublicKey>,
    /// The modules that it is about.
    pub modules: BTreeSet<Pattern>,
    /// Those of them that it is not about.
    pub exempt: BTreeSet<Pattern>,
    /// Whether a signed annotated tag of the revision does as well as a signed commit.
    pub tags: bool,
    /// Whether every commit that a move brings must be signed, not only the one that it goes to.
    pub every: bool,
}

impl Default for SignedRevisions {
    fn default() -> Self {
        Self {
            severity: Severity::Deny,
            keys: BTreeMap::new(),
            modules: [Pattern::new("*")].into(),
            exempt: BTreeSet::new(),
            tags: true,
            every: false,
        }
    }
}

impl SignedRevisions {
    /// Whether it is about a module.
    #[must_use]
    pub fn is_about(&self, module: &ModuleName) -> bool {
        is_about(module, &self.modules, &self.exempt)
    }

    /// Why a signature is none of a trusted key, as a sentence; `None` when it is one.
    fn doubt(&self, voucher: &Voucher) -> Option<String> {
        let Voucher { carrier, key } = voucher;
        match key {
            Ok(key) if self.keys.values().any(|trusted| trusted == key) => None,
            Ok(key) => Some(format!(
                "{carrier} is signed with {}, which the policy does not trust",
                key.fingerprint()
            )),
            Err(why) => Some(format!("{carrier}: {why}")),
        }
    }

    fn revision(&self, module: &ModuleFacts) -> Result<(), String> {
        let vouchers = match &module.contents.vouchers {
            Some(Ok(vouchers)) => vouchers,
            Some(Err(why)) => return Err(format!("who signed it cannot be told: {why}")),
            None => return Err("who signed it was not looked at".to_owned()),
        };
        let counted = vouchers.iter().filter(|voucher| self.tags || voucher.carrier == Carrier::Commit);
        let doubts: Vec<Option<String>> = counted.map(|voucher| self.doubt(voucher)).collect();
        if doubts.iter().any(Option::is_none) {
            return Ok(());
        }
        let doubts: Vec<String> = doubts.into_iter().flatten().take(MOST_NAMED).collect();
        let nobody = if self.tags {
            "neither the commit nor a tag of it is signed"
        } else {
            "the commit is not signed"
        };
        Err(if doubts.is_empty() { nobody.to_owned() } else { doubts.join("; ") })
    }

    fn newcomers(&self, module: &ModuleFacts) -> Result<(), String> {
        let newcomers = match &module.contents.newcomers {
            Some(Ok(newcomers)) => newcomers,
            Some(Err(why)) => return Err(format!("which commits it brings cannot be told: {why}")),
            None => return Ok(()),
        };
        // Of the revision itself the other half says what there is to say.
        let unsigned: Vec<String> = newcomers
            .iter()
            .filter(|newcomer| Some(newcomer.commit) != module.revision)
            .filter(|newcomer| newcomer.voucher.as_ref().is_none_or(|voucher| self.doubt(voucher).is_some()))
            .map(|newcomer| newcomer.commit.short())
            .collect();
        if unsigned.is_empty() {
            return Ok(());
        }
        let more = unsigned.len().saturating_sub(MOST_NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let named = unsigned[..unsigned.len().min(MOST_NAMED)].join(", ");
        Err(format!("commits that it brings are not signed by anyone the policy trusts: {named}{more}"))
    }
}

impl Rule for SignedRevisions {
    const ID: &'static str = "signed-revisions";
    const ASKS: Asks = Asks::World;
    const ABOUT: &'static str = "\
The commit that a module is at is signed by a maintainer whose SSH key is listed here, as git signs with \
gpg.format = ssh: the commit itself or, with `tags`, an annotated tag of it. Whoever signs a commit vouches \
for its whole tree. With `every`, each commit that a move brings is signed as well: then nobody's work comes \
in on another's signature.

Tags are those that the module's checkout or mirror has: git fetch --tags brings them. OpenPGP and X.509 \
signatures are named and do not count. It holds for rollbacks and heals too.";
    const EXAMPLE: &'static str = "\
[rules.signed-revisions]
severity = \"deny\"
modules = [\"*\"]
exempt = [\"docs\"]
tags = true
every = false

[rules.signed-revisions.keys]
ann = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs\"
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn check(&self) -> Result<(), String> {
        if self.keys.is_empty() { Err("it lists no keys".to_owned()) } else { Ok(()) }
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        for module in facts.judged().filter(|module| self.is_about(&module.name)) {
            let revision =
                module.revision.map_or_else(String::new, |revision| format!("{}: ", revision.short()));
            for said in [self.revision(module), self.newcomers(module)] {
                if let Err(said) = said {
                    found.module(&module.name, format!("{revision}{said}"), None);
                }
            }
        }
    }
}
