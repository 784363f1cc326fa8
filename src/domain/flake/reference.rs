//! Flake references: where an input comes from, as an ordered set of attributes.
//!
//! In: a URL (`github:owner/repo/rev`, `git+https://…?ref=…`, `path:./sub`, `nixpkgs`) or the
//! attributes of `flake.nix` and `flake.lock`. Out: a [`FlakeRef`], Nix's own attributes
//! (`type`, `owner`, `repo`, `rev`, …; `libflake/flakeref.cc`, `libfetchers/*.cc`). Attributes
//! that are not known here are kept. Nothing is fetched and no registry is asked.

mod forms;
mod parse;
mod uri;

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::named::Named;
use super::shared::SharedStr;
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
    Str(SharedStr),
}

/// Attributes by name, as Nix orders them.
pub type Attrs = Named<Attr>;

/// Where an input comes from. Copies are cheap: they are one set of attributes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FlakeRef {
    attrs: Arc<Attrs>,
}

impl Serialize for FlakeRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.attrs.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FlakeRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Attrs::deserialize(deserializer).map(Self::from_attrs)
    }
}

/// Why text is not a flake reference, as a sentence without a final stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the flake reference {} {why}", text::quoted(&text::clipped(reference, 200)))]
pub struct RefError {
    /// The text.
    pub reference: String,
    /// What is wrong with it.
    pub why: String,
}

impl FlakeRef {
    /// The reference with these attributes.
    #[must_use]
    pub fn from_attrs(attrs: Attrs) -> Self {
        Self { attrs: Arc::new(attrs) }
    }

    /// The reference with attributes that `flake.nix` states: those of a known type must be what
    /// its fetcher demands, and come out in Nix's canonical form.
    ///
    /// # Errors
    /// With what Nix refuses about them.
    pub fn from_stated(attrs: Attrs) -> Result<Self, RefError> {
        let shown = || {
            let pairs = attrs.iter().map(|(name, value)| match value {
                Attr::Str(text) => format!("{name}={text}"),
                Attr::Int(number) => format!("{name}={number}"),
                Attr::Bool(value) => format!("{name}={value}"),
            });
            pairs.collect::<Vec<_>>().join(" ")
        };
        let checked = parse::attributes(attrs.clone());
        checked.map(Self::from_attrs).map_err(|why| RefError { reference: shown(), why })
    }

    /// Parse the text form, as Nix does for `url` in `flake.nix`: an identifier of the registry
    /// first, then a URL, then a path. Stricter than Nix in two ways: a control character is
    /// refused, and so is a broken URL, which Nix takes for a relative path of that name.
    ///
    /// # Errors
    /// With what Nix refuses about it.
    pub fn parse(reference: &str) -> Result<Self, RefError> {
        Self::parse_as(reference, true)
    }

    /// As [`parse`](Self::parse); with `is_flake` false, as for `flake = false`: an address by
    /// HTTP that is not named like an archive is then a file, not an archive.
    ///
    /// # Errors
    /// With what Nix refuses about it.
    pub fn parse_as(reference: &str, is_flake: bool) -> Result<Self, RefError> {
        let parsed = parse::reference(reference, is_flake);
        parsed.map(Self::from_attrs).map_err(|why| RefError { reference: reference.to_owned(), why })
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

/// The text that `%XX` stands for; `None` when it is malformed or not UTF-8.
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

#[cfg(test)]
mod tests {
    use super::*;

    const REV: &str = "0123456789abcdef0123456789abcdef01234567";

    fn shown(reference: &str) -> String {
        match FlakeRef::parse(reference) {
            Ok(parsed) => serde_json::to_string(&parsed).expect("it is plain data"),
            Err(error) => error.why,
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
            ("ext::sh -c x", "has a character in its path that must be encoded".to_owned()),
            ("ext:x", "has a scheme that Nix does not know".to_owned()),
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
