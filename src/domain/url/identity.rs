//! Who a repository is, however it is fetched.
//!
//! Canonical host and path: `https://github.com/Org/Repo.git`, `git@github.com:org/repo` and
//! `github:org/repo` are one identity. Owner and name are compared without case on GitHub,
//! exactly elsewhere; a `.git` suffix, doubled and trailing slashes and default ports do not
//! count. A local repository is its path.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{RemoteUrl, UrlRules, decoded};

/// A repository, whatever way it is fetched. Shown as `host/path`, or as `/path` when local.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepoIdentity(String);

impl RepoIdentity {
    /// `owner/repo` on github.com.
    #[must_use]
    pub fn github(owner: &str, repo: &str) -> Self {
        Self::hosted("github.com", owner, repo)
    }

    /// `owner/repo` on gitlab.com; the owner may be a path of groups.
    #[must_use]
    pub fn gitlab(owner: &str, repo: &str) -> Self {
        Self::hosted("gitlab.com", owner, repo)
    }

    /// `~owner/repo` on git.sr.ht.
    #[must_use]
    pub fn sourcehut(owner: &str, repo: &str) -> Self {
        Self::hosted("git.sr.ht", owner, repo)
    }

    /// `owner/repo` on a forge's host, as in the `host` attribute of a flake reference.
    #[must_use]
    pub fn hosted(host: &str, owner: &str, repo: &str) -> Self {
        let owner = owner.replace("%2F", "/").replace("%2f", "/");
        canonical(&host.to_ascii_lowercase(), None, &format!("{owner}/{repo}"))
    }

    /// The repository of a git URL in a flake reference (`url` of `type = "git"`, with or
    /// without `git+` and a query); `None` for what is no git location.
    #[must_use]
    pub fn of_git_url(url: &str) -> Option<Self> {
        let url = url.strip_prefix("git+").unwrap_or(url);
        let url = url.split(['?', '#']).next().unwrap_or(url);
        // Only compared, never fetched: an unencrypted location is the same repository.
        let url = match url.split_once("://") {
            Some(("http" | "git", rest)) => format!("https://{rest}"),
            _ => url.to_owned(),
        };
        let rules = UrlRules { local: true, loopback_http: false, strip_password: true };
        RemoteUrl::parse(&url, rules).ok().map(|url| url.identity())
    }

    /// The repository of a flake reference in URL form: `github:o/r[/ref]`, `gitlab:`,
    /// `sourcehut:`, `git+https://`, `git+ssh://`, `git+file:///`; `None` for the others
    /// (registry names, `path:`, tarballs).
    #[must_use]
    pub fn of_flake_url(url: &str) -> Option<Self> {
        let (plain, query) = url.split_once('?').unwrap_or((url, ""));
        let forge = |default: &str, rest: &str| {
            let host = query.split(['&', '#']).find_map(|pair| pair.strip_prefix("host=")).unwrap_or(default);
            let mut parts = rest.split(['/', '#']);
            let (owner, repo) = (parts.next()?, parts.next()?);
            (!owner.is_empty() && !repo.is_empty()).then(|| Self::hosted(host, owner, repo))
        };
        match plain.split_once(':') {
            Some(("github", rest)) => forge("github.com", rest),
            Some(("gitlab", rest)) => forge("gitlab.com", rest),
            Some(("sourcehut", rest)) => forge("git.sr.ht", rest),
            Some((scheme, _)) if scheme.starts_with("git+") => Self::of_git_url(url),
            _ => None,
        }
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepoIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepoIdentity {
    type Err = std::convert::Infallible;

    /// The inverse of `Display`: canonical text, taken as it is.
    fn from_str(shown: &str) -> Result<Self, Self::Err> {
        Ok(Self(shown.to_owned()))
    }
}

/// The identity of a location.
pub(super) fn of(url: &RemoteUrl) -> RepoIdentity {
    match url {
        RemoteUrl::Path(_) | RemoteUrl::File(_) => canonical("", None, &url.local_path().unwrap_or_default()),
        RemoteUrl::Https(endpoint) => canonical(
            &endpoint.host,
            endpoint.port.filter(|port| *port != 443),
            &decoded(&endpoint.path).unwrap_or_else(|_| endpoint.path.clone()),
        ),
        RemoteUrl::LoopbackHttp(endpoint) => canonical(&endpoint.host, endpoint.port, &endpoint.path),
        RemoteUrl::Ssh(endpoint) => canonical(
            &endpoint.host,
            endpoint.port.filter(|port| *port != 22),
            &decoded(&endpoint.path).unwrap_or_else(|_| endpoint.path.clone()),
        ),
        RemoteUrl::Scp(endpoint) => canonical(&endpoint.host, None, &endpoint.path),
    }
}

fn canonical(host: &str, port: Option<u16>, path: &str) -> RepoIdentity {
    // The forges' second names for ssh through port 443.
    let (host, port) = match (host, port) {
        ("ssh.github.com", None | Some(443)) | ("www.github.com", None) => ("github.com", None),
        ("altssh.gitlab.com", None | Some(443)) => ("gitlab.com", None),
        (host, port) => (host, port),
    };
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.last().copied() {
        Some(".git") => {
            parts.pop();
        }
        Some(last) => {
            let name = last.strip_suffix(".git").unwrap_or(last);
            parts.pop();
            parts.push(name);
        }
        None => {}
    }
    let mut path = parts.join("/");
    if host == "github.com" {
        path = path.to_ascii_lowercase();
    }
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    RepoIdentity(match port {
        Some(port) => format!("{host}:{port}/{path}"),
        None => format!("{host}/{path}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_url(text: &str) -> RepoIdentity {
        RemoteUrl::parse(text, UrlRules::with_local(true))
            .unwrap_or_else(|why| panic!("{text}: {why}"))
            .identity()
    }

    #[test]
    fn one_repository_has_one_identity_however_it_is_fetched() {
        let identity = RepoIdentity::github("Logos-co", "Repo");
        for text in [
            "https://github.com/logos-co/repo",
            "https://github.com/Logos-Co/Repo.git",
            "https://github.com:443/logos-co/repo.git/",
            "https://GITHUB.com//logos-co/repo",
            "https://www.github.com/logos-co/repo",
            "git@github.com:logos-co/repo.git",
            "git@github.com:/logos-co/repo",
            "ssh://git@github.com/logos-co/repo.git",
            "ssh://git@ssh.github.com:443/logos-co/repo.git",
        ] {
            assert_eq!(of_url(text), identity, "{text}");
        }
        for text in [
            "github:logos-co/repo",
            "github:Logos-co/repo/0123456789012345678901234567890123456789",
            "github:logos-co/repo?ref=x",
            "git+https://github.com/logos-co/repo.git?ref=main&rev=1",
            "git+ssh://git@github.com/logos-co/repo",
        ] {
            assert_eq!(RepoIdentity::of_flake_url(text), Some(identity.clone()), "{text}");
        }
        assert_eq!(identity.to_string(), "github.com/logos-co/repo");
        assert_eq!(identity.to_string().parse(), Ok(identity));
    }

    #[test]
    fn different_repositories_stay_apart() {
        assert_ne!(of_url("https://gitlab.com/o/R"), of_url("https://gitlab.com/o/r"));
        assert_ne!(of_url("https://github.com/o/r"), of_url("https://gitlab.com/o/r"));
        assert_ne!(of_url("https://h:8443/o/r"), of_url("https://h/o/r"));
        assert_ne!(of_url("/srv/r"), of_url("https://srv/r"));
        assert_eq!(of_url("file:///srv/r.git"), of_url("/srv/r/.git"));
    }

    #[test]
    fn flake_references_of_other_forges_and_kinds() {
        let check = |text: &str, expect: Option<&str>| {
            let found = RepoIdentity::of_flake_url(text);
            assert_eq!(found.as_ref().map(RepoIdentity::as_str), expect, "{text}");
        };
        check("gitlab:g%2Fsub/r", Some("gitlab.com/g/sub/r"));
        check("gitlab:g/r?host=git.example.org", Some("git.example.org/g/r"));
        check("sourcehut:~u/r", Some("git.sr.ht/~u/r"));
        check("git+file:///srv/r", Some("/srv/r"));
        check("git+http://h/r", Some("h/r"));
        check("nixpkgs", None);
        check("nixpkgs/nixos-unstable", None);
        check("path:./x", None);
        check("https://h/x.tar.gz", None);
        check("github:o", None);
        check("github:", None);
    }
}
