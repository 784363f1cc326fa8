//! What of the operator's environment Nix gets: enough to be the operator's own Nix, with its
//! configuration, its remote stores, its builders and its keys; nothing else.

#![expect(clippy::disallowed_methods, reason = "Nix needs some of the operator's environment")]

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The variables that are passed on, beside `PATH` and `HOME`.
pub(in crate::adapters) const KEPT: &[&str] = &[
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "DBUS_SESSION_BUS_ADDRESS",
    "HTTPS_PROXY",
    "LOGNAME",
    "NIX_CONFIG",
    "NIX_CONF_DIR",
    "NIX_DAEMON_SOCKET_PATH",
    "NIX_DATA_DIR",
    "NIX_LOG_DIR",
    "NIX_REMOTE",
    "NIX_SSHOPTS",
    "NIX_SSL_CERT_FILE",
    "NIX_STATE_DIR",
    "NIX_STORE_DIR",
    "NIX_USER_CONF_FILES",
    "NO_PROXY",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// An environment for Nix: names with their values, in the order of the names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NixEnvironment(Vec<(OsString, OsString)>);

impl NixEnvironment {
    /// The operator's, as this process has it.
    #[must_use]
    pub fn of_process() -> Self {
        let names = ["PATH", "HOME"].iter().chain(KEPT);
        let known = names.filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        known.fold(Self::default(), |env, (name, value)| env.with(name, value))
    }

    /// The same with another value of a variable.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.0.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name, value)),
        }
        self
    }

    /// The same without a variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    /// The same, leading nowhere: whatever honours proxies meets a port that nothing listens on, and
    /// `git` has no protocol but that of files.
    pub(super) fn without_network(&self) -> Self {
        const NOWHERE: &str = "http://127.0.0.1:0";
        let proxies = ["ALL_PROXY", "HTTPS_PROXY", "all_proxy", "http_proxy", "https_proxy"];
        let closed = proxies.iter().fold(self.clone(), |env, name| env.with(*name, NOWHERE));
        closed.without("NO_PROXY").without("no_proxy").with("GIT_ALLOW_PROTOCOL", "file")
    }

    /// A variable's value, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        let found = self.0.iter().find(|(known, _)| known == name)?;
        (!found.1.is_empty()).then_some(&found.1)
    }

    /// The same as a path.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// All of it.
    pub(super) fn pairs(&self) -> &[(OsString, OsString)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_variable_counts_and_an_empty_one_is_none() {
        let env = NixEnvironment::default().with("B", "1").with("A", "2").with("B", "3").with("C", "");
        assert_eq!(env.pairs().len(), 3);
        assert_eq!(env.get("B"), Some(OsStr::new("3")));
        assert_eq!(env.get("C"), None);
        assert_eq!(env.without("B").get("B"), None);
    }

    #[test]
    fn without_a_network_every_way_out_is_closed() {
        let env = NixEnvironment::default()
            .with("no_proxy", "*")
            .with("https_proxy", "http://proxy")
            .without_network();
        assert_eq!(env.get("no_proxy"), None);
        for name in ["https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy"] {
            assert_eq!(env.get(name), Some(OsStr::new("http://127.0.0.1:0")), "{name}");
        }
        assert_eq!(env.get("GIT_ALLOW_PROTOCOL"), Some(OsStr::new("file")));
    }
}
