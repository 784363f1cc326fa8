//! `[governance.multisig]`: what is wrong with it, and what it says.

use std::path::PathBuf;
use std::time::Duration;

use super::raw::{Backend, RawGovernance};
use crate::domain::governance::members::is_name;
use crate::domain::url::{RemoteUrl, UrlRules};

/// Where operators hand each other what they have.
#[derive(Debug, Clone, PartialEq)]
pub struct Multisig {
    /// Under which name we show what we have.
    pub name: String,
    /// The repository that they share.
    pub remote: Option<RemoteUrl>,
    /// The directory that they share.
    pub directory: Option<PathBuf>,
    /// How long one question to the repository may take.
    pub timeout: Duration,
    /// How long each place counts as answering after it did.
    pub stale_after: Duration,
}

/// The operator's own configuration may name a path.
const RULES: UrlRules = UrlRules { local: true, loopback_http: false, strip_password: false };

/// What the configuration says; `None` without the section, or where it is wrong.
pub(super) fn read(raw: &RawGovernance) -> Option<Multisig> {
    let section = raw.multisig.as_ref()?;
    Some(Multisig {
        name: section.name.clone(),
        remote: section.remote.as_deref().and_then(|url| RemoteUrl::parse(url, RULES).ok()),
        directory: section.directory.clone(),
        timeout: Duration::from_secs(section.timeout_s),
        stale_after: Duration::from_secs(section.stale_after_s),
    })
}

/// What is wrong with it: the key, a clause, and what to write instead.
pub(super) fn problems(raw: &RawGovernance) -> Vec<(&'static str, String, Option<&'static str>)> {
    let mut found = Vec::new();
    if let Some(group) = &raw.inbox_group
        && !is_group(group)
    {
        found.push((
            "governance.inbox_group",
            "governance.inbox_group is no name of a group".to_owned(),
            None,
        ));
    }
    let Some(section) = &raw.multisig else {
        if raw.backend == Backend::Multisig {
            found.push((
                "governance.backend",
                "governance.backend is \"multisig\" and there is no [governance.multisig]".to_owned(),
                Some("add [governance.multisig] with name, and remote or directory"),
            ));
        }
        return found;
    };
    if !is_name(&section.name) {
        found.push((
            "governance.multisig.name",
            "governance.multisig.name is no name of a principal".to_owned(),
            Some("lambda-os members show lists the principals"),
        ));
    }
    if section.remote.is_none() && section.directory.is_none() {
        found.push((
            "governance.multisig",
            "[governance.multisig] has neither remote nor directory".to_owned(),
            Some("name the repository or the directory that the operators share"),
        ));
    }
    if let Some(Err(why)) = section.remote.as_deref().map(|url| RemoteUrl::parse(url, RULES)) {
        found.push(("governance.multisig.remote", format!("governance.multisig.remote {why}"), None));
    }
    found
}

/// What names a group: as `groupadd` takes it, or a number.
fn is_group(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !name.starts_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;
    use crate::config::load::Source;

    fn said(written: &str) -> String {
        Settings::parse(written, Source::Explicit("/c.toml".into()))
            .map_or_else(|problems| problems.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn a_backend_without_a_place_to_exchange_is_an_error() {
        for (written, says) in [
            ("[governance]\nbackend = 'multisig'\n", "there is no [governance.multisig]"),
            ("[governance.multisig]\nname = 'ann'\n", "neither remote nor directory"),
            ("[governance.multisig]\nname = '-x'\ndirectory = '/d'\n", "is no name of a principal"),
            ("[governance.multisig]\nname = 'ann'\ndirectory = 'd'\n", "must be an absolute path"),
            ("[governance.multisig]\nname = 'ann'\nremote = 'ext::sh'\n", "names the remote helper"),
            ("[governance.multisig]\nname = 'ann'\nremote = 'http://h/r'\n", "only https and ssh"),
            ("[governance.multisig]\ndirectory = '/d'\n", "name"),
            ("[governance]\ninbox_group = '../x'\n", "is no name of a group"),
        ] {
            assert!(said(written).contains(says), "{written}: {}", said(written));
        }
        for remote in ["https://h/r.git", "ssh://git@h/r.git", "git@h:r.git", "/srv/r.git"] {
            let written = format!(
                "[governance]\nbackend = 'multisig'\ninbox_group = 'ops'\n[governance.multisig]\nname = 'ann'\nremote = '{remote}'\n"
            );
            assert_eq!(said(&written), "fine");
        }
        let written = "[governance.multisig]\nname = 'ann'\nremote = 'https://me:hunter2@h/r'\n";
        assert!(
            !said(written).contains("hunter2") && said(written).contains("password"),
            "{}",
            said(written)
        );
    }
}
