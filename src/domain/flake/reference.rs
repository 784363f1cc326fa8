//! Flake references: where an input comes from, as an ordered set of attributes.
//!
//! In: a URL (`github:owner/repo/rev`, `git+https://…?ref=…`, `path:./sub`, `nixpkgs`) or the
//! attributes of `flake.nix` and `flake.lock`. Out: a [`FlakeRef`], Nix's own attributes
//! (`type`, `owner`, `repo`, `rev`, …; `libflake/flakeref.cc`, `libfetchers/*.cc`). Attributes
//! that are not known here are kept. Nothing is fetched and no registry is asked.

mod forms;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::text;
use crate::domain::url::RepoIdentity;

/// The value of one attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attr {
    /// `true` or `false`.
    Bool(bool),
    /// A number; Nix has no negative ones here.
    Int(u64),
    /// Text.
    Str(String),
}

/// Attributes by name, as Nix orders them.
pub type Attrs = BTreeMap<String, Attr>;

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlakeRef {
    attrs: Attrs,
}

/// Why text is not a flake reference, as a sentence without a final stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the flake reference {} {why}", text::quoted(&text::clipped(reference, 200)))]
pub struct RefError {
    /// The text.
    pub reference: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl FlakeRef {
    /// The reference with these attributes.
    #[must_use]
    pub fn from_attrs(attrs: Attrs) -> Self {
        Self { attrs }
    }

    /// Parse the text form, as Nix does for `url` in `flake.nix`: an identifier of the registry
    /// first, then a URL, then a path.
    ///
    /// # Errors
    /// With what Nix refuses about it.
    pub fn parse(reference: &str) -> Result<Self, RefError> {
        let refuse = |why| RefError { reference: reference.to_owned(), why };
        if reference.chars().any(char::is_control) {
            return Err(refuse("holds a control character"));
        }
        let (whole, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if !fragment.is_empty() {
            return Err(refuse("has a fragment"));
        }
        if let Some(attrs) = registry(whole) {
            return Ok(Self { attrs });
        }
        let (place, query) = whole.split_once('?').unwrap_or((whole, ""));
        let query = parse_query(query).ok_or_else(|| refuse("has a malformed query"))?;
        let attrs = match place.split_once(':') {
            Some((scheme @ ("github" | "gitlab" | "sourcehut"), rest)) => forge(scheme, rest, &query),
            Some(("flake", rest)) => registry_with(rest, &query),
            Some(("path", rest)) => Ok(path(rest, &query)),
            Some((scheme, _)) if is_scheme(scheme) => remote(scheme, place, &query),
            _ => Ok(path(place, &query)),
        };
        attrs.map(|attrs| Self { attrs }).map_err(refuse)
    }

    /// All attributes.
    #[must_use]
    pub fn attrs(&self) -> &Attrs {
        &self.attrs
    }

    /// An attribute that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.attrs.get(name) {
            Some(Attr::Str(text)) => Some(text),
            _ => None,
        }
    }

    /// The fetcher: `github`, `git`, `path`, `tarball`, `indirect`, …; empty when none is named.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text("type").unwrap_or("")
    }

    /// The revision, as written.
    #[must_use]
    pub fn rev(&self) -> Option<&str> {
        self.text("rev")
    }

    /// The branch or tag, as written.
    #[must_use]
    pub fn git_ref(&self) -> Option<&str> {
        self.text("ref")
    }

    /// The NAR hash, in the form it was written in.
    #[must_use]
    pub fn nar_hash(&self) -> Option<&str> {
        self.text("narHash")
    }

    /// The committer time, Unix seconds.
    #[must_use]
    pub fn last_modified(&self) -> Option<u64> {
        match self.attrs.get("lastModified") {
            Some(Attr::Int(seconds)) => Some(*seconds),
            _ => None,
        }
    }

    /// Which repository it is; `None` for what is no repository (a path inside another flake, a
    /// tarball) or what only a registry could say.
    #[must_use]
    pub fn identity(&self) -> Option<RepoIdentity> {
        match self.kind() {
            kind @ ("github" | "gitlab" | "sourcehut") => {
                let host = self.text("host").unwrap_or(match kind {
                    "github" => "github.com",
                    "gitlab" => "gitlab.com",
                    _ => "git.sr.ht",
                });
                Some(RepoIdentity::hosted(host, self.text("owner")?, self.text("repo")?))
            }
            "git" => RepoIdentity::of_git_url(self.text("url")?),
            _ => None,
        }
    }
}

type Query = BTreeMap<String, String>;

fn parse_query(query: &str) -> Option<Query> {
    let mut pairs = Query::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        pairs.insert(percent_decoded(name)?, percent_decoded(value)?);
    }
    Some(pairs)
}

pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            rest = tail;
            bytes.extend(data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()?);
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Nix's `flakeIdRegex`.
pub(super) fn is_flake_id(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Nix's `revRegex`: 40 lower-case digits; also 64 for SHA-256 repositories.
fn is_rev(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `git check-ref-format`, as far as Nix applies it.
fn is_ref_name(text: &str) -> bool {
    !text.is_empty()
        && text != "@"
        && !text.starts_with(['/', '-', '.'])
        && !text.ends_with(['/', '.'])
        && ["..", "//", "@{", "/."].iter().all(|bad| !text.contains(bad))
        && !text.split('/').any(|part| part.strip_suffix(".lock").is_some())
        && !text.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c))
}

fn is_scheme(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
}

fn strings<const N: usize>(pairs: [(&str, &str); N]) -> Attrs {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), Attr::Str(value.to_owned()))).collect()
}

fn set(attrs: &mut Attrs, name: &str, value: &str) {
    attrs.insert(name.to_owned(), Attr::Str(value.to_owned()));
}

/// `id`, `id/ref`, `id/rev` or `id/ref/rev`; `None` when the text has another form.
fn registry(text: &str) -> Option<Attrs> {
    let mut parts = text.splitn(2, '/');
    let id = parts.next().filter(|id| is_flake_id(id))?;
    let mut attrs = strings([("type", "indirect"), ("id", id)]);
    match parts.next() {
        None => {}
        Some(rest) if is_rev(rest) => set(&mut attrs, "rev", rest),
        Some(rest) => match rest.rsplit_once('/') {
            Some((name, rev)) if is_rev(rev) && is_ref_name(name) => {
                set(&mut attrs, "ref", name);
                set(&mut attrs, "rev", rev);
            }
            _ if is_ref_name(rest) => set(&mut attrs, "ref", rest),
            _ => return None,
        },
    }
    Some(attrs)
}

fn registry_with(text: &str, query: &Query) -> Result<Attrs, &'static str> {
    let mut attrs = registry(text).ok_or("is not an entry of the registry")?;
    add_dir(&mut attrs, query);
    Ok(attrs)
}

fn add_dir(attrs: &mut Attrs, query: &Query) {
    if let Some(dir) = query.get("dir") {
        set(attrs, "dir", dir);
    }
}

/// `owner/repo[/ref-or-rev]` of a forge (`libfetchers/github.cc`).
fn forge(scheme: &str, rest: &str, query: &Query) -> Result<Attrs, &'static str> {
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    let [owner, repo, more @ ..] = parts.as_slice() else {
        return Err("names no owner and repository");
    };
    let owner = percent_decoded(owner).ok_or("has a malformed owner")?;
    let mut attrs = strings([("type", scheme), ("owner", &owner), ("repo", repo)]);
    let mut rev = None;
    let mut git_ref = None;
    match more {
        [] => {}
        [one] if is_rev(one) => rev = Some((*one).to_owned()),
        more => git_ref = Some(more.join("/")),
    }
    for (name, value) in query {
        match name.as_str() {
            "rev" if rev.is_some() => return Err("has several revisions"),
            "rev" => rev = Some(value.clone()),
            "ref" if git_ref.is_some() => return Err("has several branch or tag names"),
            "ref" => git_ref = Some(value.clone()),
            "host" if value.chars().any(|c| !(c.is_ascii_alphanumeric() || c == '.' || c == '-')) => {
                return Err("has a host that is none");
            }
            "host" | "narHash" | "dir" => set(&mut attrs, name, value),
            _ => {}
        }
    }
    if git_ref.is_some() && rev.is_some() {
        return Err("has both a revision and a branch or tag name");
    }
    if let Some(rev) = rev {
        if !is_rev(&rev) {
            return Err("has a revision that is not a full commit hash");
        }
        set(&mut attrs, "rev", &rev);
    }
    if let Some(git_ref) = git_ref {
        if !is_ref_name(&git_ref) {
            return Err("has neither a commit hash nor a branch or tag name after the repository");
        }
        set(&mut attrs, "ref", &git_ref);
    }
    Ok(attrs)
}

fn path(place: &str, query: &Query) -> Attrs {
    let path = place.strip_prefix("//").map_or(place, |rest| rest.find('/').map_or("", |at| &rest[at..]));
    let mut attrs = strings([("type", "path"), ("path", path)]);
    for (name, value) in query {
        match (name.as_str(), value.parse()) {
            ("lastModified" | "revCount", Ok(number)) => {
                attrs.insert(name.clone(), Attr::Int(number));
            }
            ("rev" | "narHash" | "dir", _) => set(&mut attrs, name, value),
            _ => {}
        }
    }
    attrs
}

/// `git+…`, `hg+…`, and archives or files by HTTP.
fn remote(scheme: &str, place: &str, query: &Query) -> Result<Attrs, &'static str> {
    let (kind, transport) = match scheme.split_once('+') {
        Some((kind @ ("git" | "hg" | "tarball" | "file"), transport)) => (kind, transport),
        None if scheme == "git" => ("git", scheme),
        None if matches!(scheme, "http" | "https" | "file") => {
            (if is_archive(place) { "tarball" } else { "file" }, scheme)
        }
        _ => return Err("has a scheme that Nix does not know"),
    };
    let address = place.split_once(':').map_or("", |(_, rest)| rest);
    let mut url = format!("{transport}:{address}");
    let mut attrs = strings([("type", kind)]);
    let mut kept = Vec::new();
    for (name, value) in query {
        match (kind, name.as_str()) {
            (_, "dir" | "narHash" | "rev") | ("git" | "hg", "ref") => set(&mut attrs, name, value),
            (_, "lastModified" | "revCount") if value.parse::<u64>().is_ok() => {
                attrs.insert(name.clone(), Attr::Int(value.parse().unwrap_or_default()));
            }
            ("git", "submodules" | "shallow" | "allRefs" | "exportIgnore" | "lfs" | "verifyCommit") => {
                attrs.insert(name.clone(), Attr::Bool(value == "1"));
            }
            _ => kept.push(format!("{name}={value}")),
        }
    }
    if kind == "git" && attrs.get("rev").is_some_and(|rev| !matches!(rev, Attr::Str(rev) if is_rev(rev))) {
        return Err("has a revision that is not a full commit hash");
    }
    if kind == "git" && attrs.get("ref").is_some_and(|name| !matches!(name, Attr::Str(n) if is_ref_name(n))) {
        return Err("has an invalid branch or tag name");
    }
    if !kept.is_empty() {
        url.push('?');
        url.push_str(&kept.join("&"));
    }
    set(&mut attrs, "url", &url);
    Ok(attrs)
}

/// Nix's `hasTarballExtension`. A plain HTTP URL of a flake without one is a tarball too, which
/// the lock says; a reader of `flake.nix` need not know.
fn is_archive(place: &str) -> bool {
    [".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst"]
        .iter()
        .any(|end| place.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REV: &str = "0123456789abcdef0123456789abcdef01234567";

    fn shown(reference: &str) -> String {
        match FlakeRef::parse(reference) {
            Ok(parsed) => serde_json::to_string(&parsed).expect("it is plain data"),
            Err(error) => error.why.to_owned(),
        }
    }

    #[test]
    fn references_become_nixs_attributes() {
        for (reference, expected) in [
            ("nixpkgs", r#"{"id":"nixpkgs","type":"indirect"}"#.to_owned()),
            ("nixpkgs/nixos-25.11", r#"{"id":"nixpkgs","ref":"nixos-25.11","type":"indirect"}"#.to_owned()),
            ("flake:nixpkgs", r#"{"id":"nixpkgs","type":"indirect"}"#.to_owned()),
            ("github:o/r", r#"{"owner":"o","repo":"r","type":"github"}"#.to_owned()),
            ("github:o/r/main", r#"{"owner":"o","ref":"main","repo":"r","type":"github"}"#.to_owned()),
            ("github:o/r/a/b", r#"{"owner":"o","ref":"a/b","repo":"r","type":"github"}"#.to_owned()),
            (
                &format!("github:o/r/{REV}"),
                format!(r#"{{"owner":"o","repo":"r","rev":"{REV}","type":"github"}}"#),
            ),
            (
                "github:o/r?ref=x&dir=sub",
                r#"{"dir":"sub","owner":"o","ref":"x","repo":"r","type":"github"}"#.to_owned(),
            ),
            ("gitlab:g%2Fs/r", r#"{"owner":"g/s","repo":"r","type":"gitlab"}"#.to_owned()),
            ("sourcehut:~o/r", r#"{"owner":"~o","repo":"r","type":"sourcehut"}"#.to_owned()),
            (
                "git+https://x.org/o/r.git?ref=main&submodules=1",
                r#"{"ref":"main","submodules":true,"type":"git","url":"https://x.org/o/r.git"}"#.to_owned(),
            ),
            ("git+ssh://git@x.org/o/r", r#"{"type":"git","url":"ssh://git@x.org/o/r"}"#.to_owned()),
            ("git+file:///srv/r", r#"{"type":"git","url":"file:///srv/r"}"#.to_owned()),
            ("path:./sub", r#"{"path":"./sub","type":"path"}"#.to_owned()),
            ("./sub", r#"{"path":"./sub","type":"path"}"#.to_owned()),
            ("https://x.org/a.tar.gz", r#"{"type":"tarball","url":"https://x.org/a.tar.gz"}"#.to_owned()),
            ("github:o", "names no owner and repository".to_owned()),
            (&format!("github:o/r/{REV}?ref=x"), "has both a revision and a branch or tag name".to_owned()),
            ("github:o/r?rev=abc", "has a revision that is not a full commit hash".to_owned()),
            (
                "github:o/r/a..b",
                "has neither a commit hash nor a branch or tag name after the repository".to_owned(),
            ),
            ("github:o/r#x", "has a fragment".to_owned()),
            ("ext::sh -c x", "has a scheme that Nix does not know".to_owned()),
            ("github:o/r\n", "holds a control character".to_owned()),
        ] {
            assert_eq!(shown(reference), expected, "{reference}");
        }
    }

    #[test]
    fn one_repository_has_one_identity_whatever_the_reference() {
        let all = [
            "github:O/R",
            "github:o/r/main",
            "git+https://github.com/o/r.git",
            "git+ssh://git@github.com/o/r",
        ];
        let identities: Vec<_> =
            all.iter().map(|text| FlakeRef::parse(text).ok().and_then(|r| r.identity())).collect();
        assert!(identities[0].is_some());
        assert!(identities.iter().all(|identity| *identity == identities[0]), "{identities:?}");
        assert_eq!(FlakeRef::parse("path:./x").ok().and_then(|r| r.identity()), None);
    }
}
