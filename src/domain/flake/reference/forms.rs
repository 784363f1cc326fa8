//! What relocking asks of a reference: is it the same, is it locked, is it inside another flake.

use std::sync::Arc;

use super::uri::Uri;
use super::{Attr, Attrs, FlakeRef};

impl FlakeRef {
    /// The reference with one attribute set, or left out when `None`.
    #[must_use]
    pub fn with(&self, name: &str, value: Option<Attr>) -> Self {
        if value.is_none() && !self.attrs.contains_key(name) {
            return self.clone();
        }
        let mut attrs = Attrs::clone(&self.attrs);
        match value {
            Some(value) => attrs.insert(name, value),
            None => attrs.remove(name),
        };
        Self::from_attrs(attrs)
    }

    /// The directory of the flake in its source; empty for the top.
    #[must_use]
    pub fn dir(&self) -> &str {
        self.text("dir").unwrap_or("")
    }

    /// The path of an input that is inside the flake that names it (`path:./sub`).
    #[must_use]
    pub fn relative_path(&self) -> Option<&str> {
        self.text("path").filter(|path| self.kind() == "path" && !path.starts_with('/'))
    }

    /// Whether it names one content for ever, as Nix sees it (`InputScheme::isLocked`).
    #[must_use]
    pub fn is_locked(&self) -> bool {
        match self.kind() {
            "git" => self.rev().is_some_and(|rev| rev.bytes().any(|digit| digit != b'0')),
            "github" | "gitlab" | "sourcehut" | "hg" => self.rev().is_some(),
            "path" | "tarball" | "file" => self.nar_hash().is_some(),
            _ => false,
        }
    }

    /// Whether two references ask for the same, as Nix compares what a lock was made for with
    /// what `flake.nix` says now: old locks repeat `dir` in the query of `url`
    /// (`FlakeRef::canonicalize`).
    #[must_use]
    pub fn same_request(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.attrs, &other.attrs)
            || self.attrs == other.attrs
            || self.canonical() == other.canonical()
    }

    fn canonical(&self) -> Self {
        let Some(Ok(mut url)) = self.text("url").map(Uri::parse) else { return self.clone() };
        let dir = self.dir();
        if !dir.is_empty() && url.query.get("dir").is_some_and(|repeated| repeated == dir.as_bytes()) {
            url.query.remove("dir");
        }
        self.with("url", Some(Attr::Str(url.show().into())))
    }

    /// The reference as Nix has it when it reads it in a lock: the URL of a `git` one in the form
    /// in which it is written (`git.cc: inputFromAttrs`). What Nix would refuse is left as it is.
    #[must_use]
    pub(crate) fn normalised(self) -> Self {
        // Nearly all URLs are in that form: no escapes, no queries, a scheme and two slashes.
        let plain = |url: &str| {
            ["file", "https", "ssh", "http", "git"].iter().any(|scheme| {
                url.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")).is_some_and(|rest| {
                    rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~@".contains(&byte))
                })
            })
        };
        if self.kind() != "git" || self.text("url").is_none_or(plain) {
            return self;
        }
        match Self::from_stated(self.attrs().clone()) {
            Ok(read) => self.with("url", read.attrs().get("url").cloned()),
            Err(_) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_repeated_in_the_url_is_the_same_request() {
        let old = FlakeRef::parse("git+https://x.org/r?dir=sub").expect("it is one");
        let older = old.with("url", Some(Attr::Str("https://x.org/r?dir=sub".into())));
        assert_ne!(old, older);
        assert!(old.same_request(&older) && older.same_request(&old));
        let other = old.with("url", Some(Attr::Str("https://x.org/r?dir=other".into())));
        assert!(!old.same_request(&other));
        assert!(!old.same_request(&old.with("ref", Some(Attr::Str("main".into())))));
    }

    #[test]
    fn locked_is_what_nix_regards_as_locked() {
        const REV: &str = "0123456789abcdef0123456789abcdef01234567";
        for (reference, locked) in [
            (format!("github:o/r/{REV}"), true),
            ("github:o/r".to_owned(), false),
            (format!("git+https://x.org/r?rev={REV}"), true),
            (format!("git+https://x.org/r?rev={}", "0".repeat(40)), false),
            ("path:/x?narHash=sha256-x".to_owned(), true),
            ("path:/x".to_owned(), false),
            ("https://x.org/a.tar.gz?narHash=sha256-x".to_owned(), true),
            ("nixpkgs".to_owned(), false),
        ] {
            assert_eq!(FlakeRef::parse(&reference).map(|r| r.is_locked()), Ok(locked), "{reference}");
        }
        assert_eq!(FlakeRef::parse("path:./a").expect("it is one").relative_path(), Some("./a"));
        assert_eq!(FlakeRef::parse("path:/a").expect("it is one").relative_path(), None);
    }
}
