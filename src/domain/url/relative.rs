//! Relative submodule locations (`./x`, `../x.git`), resolved against the superproject's origin.
//!
//! As git's `relative_url` in `remote.c`, but on parsed locations: components come off the
//! path only, so that `../../../other.host/x` cannot reach the host as it can on text.

use super::{Endpoint, LocalPath, RemoteUrl, UrlRefused, UrlRules};

/// True for what git resolves against the superproject's remote.
#[must_use]
pub fn is_relative(url: &str) -> bool {
    url.starts_with("./") || url.starts_with("../")
}

/// The location that `url` means in a superproject whose remote is `base`.
pub fn resolve(base: &str, url: &str, rules: UrlRules) -> Result<RemoteUrl, UrlRefused> {
    // The base is where the operator cloned from; its credentials are not ours to pass on.
    let base_rules = UrlRules { local: true, strip_password: true, ..rules };
    let base = RemoteUrl::parse(base, base_rules).map_err(|_| UrlRefused::NoBase)?;
    let path = match &base {
        RemoteUrl::Path(LocalPath(path)) | RemoteUrl::File(LocalPath(path)) => path,
        RemoteUrl::Https(endpoint)
        | RemoteUrl::Ssh(endpoint)
        | RemoteUrl::Scp(endpoint)
        | RemoteUrl::LoopbackHttp(endpoint) => &endpoint.path,
    };
    let path = joined(path, url)?;
    let moved = |endpoint: &Endpoint| Endpoint { path: path.clone(), ..endpoint.clone() };
    let resolved = match &base {
        RemoteUrl::Path(_) => path,
        RemoteUrl::File(_) => format!("file://{path}"),
        RemoteUrl::Https(endpoint) => RemoteUrl::Https(moved(endpoint)).to_string(),
        RemoteUrl::Ssh(endpoint) => RemoteUrl::Ssh(moved(endpoint)).to_string(),
        RemoteUrl::Scp(endpoint) => RemoteUrl::Scp(moved(endpoint)).to_string(),
        RemoteUrl::LoopbackHttp(endpoint) => RemoteUrl::LoopbackHttp(moved(endpoint)).to_string(),
    };
    // Everything is checked once more as a whole: the joined path may hold anything.
    RemoteUrl::parse(&resolved, rules)
}

/// The base's path with the last directory off for each leading `../`, and the rest put on.
fn joined(base: &str, mut url: &str) -> Result<String, UrlRefused> {
    let absolute = base.starts_with('/');
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    loop {
        if let Some(rest) = url.strip_prefix("../") {
            parts.pop().ok_or(UrlRefused::ClimbsOut)?;
            url = rest;
        } else if let Some(rest) = url.strip_prefix("./") {
            url = rest;
        } else {
            break;
        }
    }
    let mut path = String::new();
    for part in &parts {
        if absolute || !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
    }
    if absolute || !path.is_empty() {
        path.push('/');
    }
    path.push_str(url.strip_suffix('/').unwrap_or(url));
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_as_git_does_and_never_leaves_the_host() {
        for (base, url, expect) in [
            ("https://h/a/b.git", "../c.git", Ok("https://h/a/c.git")),
            ("https://h/a/b/", "../c/", Ok("https://h/a/c")),
            ("https://h/a/b", "./c", Ok("https://h/a/b/c")),
            ("https://u:secret@h/a/b", "../c", Ok("https://h/a/c")),
            ("git@h:a/b", "../c", Ok("git@h:a/c")),
            ("git@h:b", "../c", Ok("git@h:c")),
            ("git@h:/a/b", "../../c", Ok("git@h:/c")),
            ("ssh://git@h:22/a/b", "../../o/c", Ok("ssh://git@h:22/o/c")),
            ("/srv/a", "../c", Ok("/srv/c")),
            ("file:///srv/a", "../c", Ok("file:///srv/c")),
            ("https://h/a/b", "../../../evil.org/c", Err(UrlRefused::ClimbsOut)),
            ("https://h/a", "../-x", Err(UrlRefused::Option("path"))),
            ("https://h/a/b", "../x/../../../y", Err(UrlRefused::Path("a \".\" or \"..\" in its path"))),
            ("relative/base", "../c", Err(UrlRefused::NoBase)),
            ("ext::x", "../c", Err(UrlRefused::NoBase)),
        ] {
            let found = resolve(base, url, UrlRules::with_local(true)).map(|url| url.to_string());
            assert_eq!(found, expect.map(str::to_owned), "{base} + {url}");
        }
        assert_eq!(resolve("/srv/a", "../c", UrlRules::REMOTE), Err(UrlRefused::Local));
    }
}
