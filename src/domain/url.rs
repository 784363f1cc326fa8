//! Remote locations, parsed rather than matched.
//!
//! Text comes in, a [`RemoteUrl`] or a [`UrlRefused`] comes out. What is accepted is put
//! together again from its parts before any program sees it, so that nothing that was not
//! understood is handed on. Invariants of every accepted location:
//!
//! - `https`, `ssh` or scp-like, or, where the [`UrlRules`] say so, a local path;
//! - no part begins with `-`, holds a control or otherwise active character, or hides one
//!   behind a percent sign; no `.` or `..` component, and no query;
//! - no password: one is refused, and a user name before an `https` host (which may be a
//!   token) is dropped. No error repeats any of it.
//!
//! [`RepoIdentity`] (in [`identity`]) says who a repository is, however it is fetched;
//! [`relative`] resolves `../x.git` as git does.
//!
//! Sources: gitfaq and git-fetch(1) "GIT URLS", git's `connect.c` and `url.c`;
//! CVE-2017-1000117 (`ssh://-o…`), CVE-2020-5260 and CVE-2020-11008 (newline, empty host).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text;

pub mod identity;
pub mod relative;

pub use identity::RepoIdentity;

/// A location that may be fetched from. Shown (`Display`) as git takes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemoteUrl {
    /// `https://host[:port]/path`; never with a user.
    Https(Endpoint),
    /// `ssh://[user@]host[:port]/path`.
    Ssh(Endpoint),
    /// `[user@]host:path`.
    Scp(Endpoint),
    /// `http://` to a loopback address: only for tests of misbehaving servers.
    LoopbackHttp(Endpoint),
    /// An absolute path.
    Path(LocalPath),
    /// `file:///path`.
    File(LocalPath),
}

/// A checked place on another machine. Made only by [`RemoteUrl::parse`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
}

/// A checked absolute path on this machine. Made only by [`RemoteUrl::parse`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalPath(String);

/// What may be accepted beyond `https` and `ssh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UrlRules {
    /// Absolute paths and `file:///…`.
    pub local: bool,
    /// `http://` to a loopback address literal.
    pub loopback_http: bool,
    /// Drop a user and password before an `https` host instead of refusing the password:
    /// for a location that is only resolved against, never fetched.
    pub strip_password: bool,
}

impl UrlRules {
    /// `https` and `ssh` only.
    pub const REMOTE: Self = Self { local: false, loopback_http: false, strip_password: false };

    /// These, and local paths as `allowed` says.
    #[must_use]
    pub fn with_local(allowed: bool) -> Self {
        Self { local: allowed, ..Self::REMOTE }
    }
}

/// Why a location is refused, as a sentence that goes on from "its URL …" without a final
/// stop. Never holds any part of the location but a scheme, which is shown inert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum UrlRefused {
    /// There is no text.
    #[error("is empty")]
    Empty,
    /// More than 4096 bytes.
    #[error("is longer than 4096 bytes")]
    TooLong,
    /// Control bytes, line ends, NUL, bidirectional marks and the like, also percent-encoded.
    #[error("holds control or invisible characters")]
    ActiveCharacters,
    /// A part would be taken for an option by git or ssh.
    #[error("has a {0} that begins with \"-\", which programs take for an option")]
    Option(&'static str),
    /// `ext::`, `fd::` or any other remote helper, which is a program to run.
    #[error("names the remote helper {0}, which runs a program; use https or ssh")]
    Helper(String),
    /// A scheme that is neither encrypted nor authenticated, or unknown.
    #[error("has the scheme {0}, and only https and ssh are allowed")]
    Scheme(String),
    /// A user and password.
    #[error("holds a password; take it out and use a git credential helper")]
    Password,
    /// A path or `file://`, and the rules do not allow it.
    #[error("is a local path, and workspace.allow_local_urls is off")]
    Local,
    /// A path that does not start at the root.
    #[error("is a relative path that does not begin with ./ or ../")]
    RelativePath,
    /// `./…` or `../…` where there is nothing to resolve it against.
    #[error("is relative, and the superproject has no usable origin to resolve it against")]
    NoBase,
    /// `../` climbs above the path of what it is resolved against.
    #[error("is relative and climbs above the root of the superproject's origin")]
    ClimbsOut,
    /// The host is empty or holds what no host holds.
    #[error("has no valid host")]
    Host,
    /// The user holds what no user holds.
    #[error("has no valid user")]
    User,
    /// Not a number from 1 to 65535.
    #[error("has no valid port")]
    Port,
    /// A path without content, or with `.`, `..`, a query, a fragment, a backslash, or a bad
    /// percent sign.
    #[error("has {0}")]
    Path(&'static str),
}

impl RemoteUrl {
    /// Parse and check a location. Relative ones (`./`, `../`) are refused here: see [`relative`].
    pub fn parse(text: &str, rules: UrlRules) -> Result<Self, UrlRefused> {
        if text.is_empty() {
            return Err(UrlRefused::Empty);
        }
        if text.len() > 4096 {
            return Err(UrlRefused::TooLong);
        }
        if text.chars().any(text::is_active) {
            return Err(UrlRefused::ActiveCharacters);
        }
        if text.starts_with('-') {
            return Err(UrlRefused::Option("location"));
        }
        if let Some(helper) = helper(text) {
            return Err(UrlRefused::Helper(text::quoted(&text::clipped(helper, 40))));
        }
        if let Some((scheme, rest)) = split_scheme(text) {
            return parse_scheme(&scheme.to_ascii_lowercase(), rest, rules);
        }
        if is_local(text) {
            return local(text, rules).map(Self::Path);
        }
        scp(text).map(Self::Scp)
    }

    /// The host that is talked to; `None` for a local one. For limits per host.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.endpoint().map(|endpoint| endpoint.host.as_str())
    }

    /// The place on another machine; `None` for a local one.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Https(endpoint)
            | Self::Ssh(endpoint)
            | Self::Scp(endpoint)
            | Self::LoopbackHttp(endpoint) => Some(endpoint),
            Self::Path(_) | Self::File(_) => None,
        }
    }

    /// The directory on this machine; `None` for a remote one.
    #[must_use]
    pub fn local_path(&self) -> Option<String> {
        match self {
            Self::Path(path) => Some(path.0.clone()),
            // Checked when it was parsed.
            Self::File(path) => decoded(&path.0).ok(),
            _ => None,
        }
    }

    /// Who the repository is.
    #[must_use]
    pub fn identity(&self) -> RepoIdentity {
        identity::of(self)
    }
}

impl Endpoint {
    /// The user to log in as.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The host: lower case, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, where one is given.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The path as written (with `/` first, except in the scp-like form).
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, endpoint) = match self {
            Self::Https(endpoint) => ("https://", endpoint),
            Self::LoopbackHttp(endpoint) => ("http://", endpoint),
            Self::Ssh(endpoint) => ("ssh://", endpoint),
            Self::Scp(endpoint) => {
                endpoint.write(f)?;
                return write!(f, ":{}", endpoint.path);
            }
            Self::Path(path) => return f.write_str(&path.0),
            Self::File(path) => return write!(f, "file://{}", path.0),
        };
        f.write_str(scheme)?;
        endpoint.write(f)?;
        f.write_str(&endpoint.path)
    }
}

impl Serialize for RemoteUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RemoteUrl {
    /// What was accepted once is read again; whether it may be used is asked anew when it is.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rules = UrlRules { local: true, loopback_http: true, strip_password: false };
        Self::parse(&String::deserialize(deserializer)?, rules).map_err(serde::de::Error::custom)
    }
}

/// The helper of `helper::address`, as git's `transport.c` recognises it.
fn helper(text: &str) -> Option<&str> {
    let name = text.split_once("::")?.0;
    name.bytes().all(is_scheme_byte).then_some(name)
}

fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-')
}

fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    scheme.bytes().all(is_scheme_byte).then_some((scheme, rest))
}

/// git's `url_is_local_not_ssh`: no colon, or a slash before the first one.
pub(crate) fn is_local(text: &str) -> bool {
    match (text.find(':'), text.find('/')) {
        (None, _) => true,
        (Some(colon), Some(slash)) => slash < colon,
        (Some(_), None) => false,
    }
}

fn parse_scheme(scheme: &str, rest: &str, rules: UrlRules) -> Result<RemoteUrl, UrlRefused> {
    match scheme {
        "https" => {
            let mut endpoint = endpoint(rest, rules.strip_password)?;
            endpoint.user = None;
            Ok(RemoteUrl::Https(endpoint))
        }
        "http" if rules.loopback_http => {
            let mut endpoint = endpoint(rest, false)?;
            endpoint.user = None;
            let address: Result<IpAddr, _> = endpoint.host.parse();
            if address.is_ok_and(|address| address.is_loopback()) {
                Ok(RemoteUrl::LoopbackHttp(endpoint))
            } else {
                Err(UrlRefused::Scheme(text::quoted(scheme)))
            }
        }
        "ssh" | "git+ssh" | "ssh+git" => Ok(RemoteUrl::Ssh(endpoint(rest, rules.strip_password)?)),
        "file" => {
            if !rest.starts_with('/') {
                return Err(if rest.starts_with('-') {
                    UrlRefused::Option("path")
                } else {
                    UrlRefused::Host
                });
            }
            if rest.contains(['?', '#']) {
                return Err(UrlRefused::Path("a query or fragment"));
            }
            decoded(rest)?;
            local(rest, rules).map(RemoteUrl::File)
        }
        other => Err(UrlRefused::Scheme(text::quoted(&text::clipped(other, 40)))),
    }
}

/// `[user[:password]@]host[:port]/path`.
fn endpoint(rest: &str, strip_password: bool) -> Result<Endpoint, UrlRefused> {
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (userinfo, place) = match authority.rsplit_once('@') {
        Some((userinfo, place)) => (Some(userinfo), place),
        None => (None, authority),
    };
    let user = match userinfo {
        None => None,
        Some(userinfo) => match userinfo.split_once(':') {
            None => Some(checked_user(userinfo)?),
            Some(_) if strip_password => None,
            Some(_) => return Err(UrlRefused::Password),
        },
    };
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or(UrlRefused::Host)?;
        let port = match after {
            "" => None,
            after => Some(after.strip_prefix(':').ok_or(UrlRefused::Host)?),
        };
        (checked_ipv6(address)?, port)
    } else {
        match place.split_once(':') {
            Some((host, port)) => (checked_host(host)?, Some(port)),
            None => (checked_host(place)?, None),
        }
    };
    let port = match port {
        None | Some("") => None,
        Some(digits) => Some(checked_port(digits)?),
    };
    if path.contains(['?', '#']) {
        return Err(UrlRefused::Path("a query or fragment"));
    }
    if path.contains(char::is_whitespace) {
        return Err(UrlRefused::Path("white space"));
    }
    let plain = decoded(path)?;
    checked_path(plain.trim_start_matches('/'))?;
    Ok(Endpoint { user, host, port, path: path.to_owned() })
}

/// `[user@]host:path`; git decodes nothing in this form.
fn scp(text: &str) -> Result<Endpoint, UrlRefused> {
    let bracket = text.find('[').filter(|at| *at == 0 || text[..*at].ends_with('@'));
    let colon = match bracket {
        Some(open) => {
            let close = text[open..].find(']').ok_or(UrlRefused::Host)? + open;
            if text[close + 1..].starts_with(':') { close + 1 } else { return Err(UrlRefused::Host) }
        }
        None => text.find(':').ok_or(UrlRefused::Host)?,
    };
    let (authority, path) = (&text[..colon], &text[colon + 1..]);
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(checked_user(user)?), host),
        None => (None, authority),
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => checked_ipv6(address)?,
        None => checked_host(host)?,
    };
    if path.starts_with('-') {
        return Err(UrlRefused::Option("path"));
    }
    // `token:secret@host:path` has its first colon inside the user.
    if path.split('/').next().is_some_and(|first| first.contains('@') && first.contains(':')) {
        return Err(UrlRefused::Password);
    }
    checked_path(path.trim_start_matches('/'))?;
    Ok(Endpoint { user, host, port: None, path: path.to_owned() })
}

fn local(path: &str, rules: UrlRules) -> Result<LocalPath, UrlRefused> {
    if !rules.local {
        return Err(UrlRefused::Local);
    }
    if !path.starts_with('/') {
        return Err(UrlRefused::RelativePath);
    }
    checked_path(path.trim_start_matches('/'))?;
    Ok(LocalPath(path.to_owned()))
}

fn checked_user(user: &str) -> Result<String, UrlRefused> {
    if user.starts_with('-') {
        return Err(UrlRefused::Option("user"));
    }
    let valid = !user.is_empty()
        && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+'));
    if valid { Ok(user.to_owned()) } else { Err(UrlRefused::User) }
}

fn checked_host(host: &str) -> Result<String, UrlRefused> {
    if host.starts_with('-') {
        return Err(UrlRefused::Option("host"));
    }
    let valid = host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        });
    if valid { Ok(host.to_ascii_lowercase()) } else { Err(UrlRefused::Host) }
}

fn checked_ipv6(address: &str) -> Result<String, UrlRefused> {
    address.parse::<Ipv6Addr>().map(|address| address.to_string()).map_err(|_| UrlRefused::Host)
}

fn checked_port(digits: &str) -> Result<u16, UrlRefused> {
    if digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlRefused::Port);
    }
    digits.parse().ok().filter(|port| *port != 0).ok_or(UrlRefused::Port)
}

/// A path without its leading slashes, percent signs already decoded.
fn checked_path(path: &str) -> Result<(), UrlRefused> {
    if path.starts_with('-') {
        return Err(UrlRefused::Option("path"));
    }
    if path.contains('\\') {
        return Err(UrlRefused::Path("a backslash in its path"));
    }
    if path.split('/').any(|part| part == "." || part == "..") {
        return Err(UrlRefused::Path("a \".\" or \"..\" in its path"));
    }
    if path.split('/').all(str::is_empty) {
        return Err(UrlRefused::Path("no path"));
    }
    Ok(())
}

/// The path with its percent escapes decoded; what they hide is checked here.
fn decoded(path: &str) -> Result<String, UrlRefused> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or(UrlRefused::Path("a broken percent sign"))?;
        rest = tail;
        let byte = data_encoding::HEXLOWER_PERMISSIVE
            .decode(digits)
            .ok()
            .and_then(|byte| byte.first().copied())
            .ok_or(UrlRefused::Path("a broken percent sign"))?;
        if matches!(byte, b'/' | b'%') {
            return Err(UrlRefused::Path("an encoded \"/\" or \"%\" in its path"));
        }
        bytes.push(byte);
    }
    let plain = String::from_utf8(bytes).map_err(|_| UrlRefused::Path("bytes that are not UTF-8"))?;
    if plain.chars().any(text::is_active) {
        return Err(UrlRefused::ActiveCharacters);
    }
    Ok(plain)
}

#[cfg(test)]
mod tests;
