//! Patterns in rules: `*` and `?` as in a shell, `[…]` for sets, `**` across directories.

use std::fmt;

use gix_glob::wildmatch::Mode;
use serde::{Deserialize, Serialize};

/// A pattern, as it is written. Anything is one: what has no special meaning stands for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether the whole of a name or a reference is like it: `*` stands for anything, slashes too.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        gix_glob::wildmatch(self.0.as_str().into(), text.into(), Mode::empty())
    }

    /// Whether a path is like it: `*` stays within a directory, `**` goes across. A pattern without
    /// a slash is compared with the last part of the path, one that begins with a slash stands at the
    /// top, and one that ends with a slash is every path below such a directory.
    #[must_use]
    pub fn matches_path(&self, path: &[u8]) -> bool {
        let whole = |pattern: &str, path: &[u8]| {
            gix_glob::wildmatch(pattern.into(), path.into(), Mode::NO_MATCH_SLASH_LITERAL)
        };
        if let Some(directory) = self.0.strip_suffix('/') {
            let directory = Self::new(directory);
            let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
            return ends.into_iter().any(|end| directory.matches_path(&path[..end]));
        }
        if self.0.contains('/') {
            return whole(self.0.strip_prefix('/').unwrap_or(&self.0), path);
        }
        whole(&self.0, path.rsplit(|byte| *byte == b'/').next().unwrap_or(path))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_a_whole_and_paths_by_their_parts() {
        for (pattern, text, expect) in [
            ("path:*", "path:/home/x/y", true),
            ("path:*", "github:o/path:x", false),
            ("logos-*-fork", "logos-waku-fork", true),
            ("github:o/r", "github:o/r/branch", false),
            ("*?ref=*", "git+https://h/o/r?ref=x", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expect, "{pattern} {text}");
        }
        for (pattern, path, expect) in [
            (".env", "a/b/.env", true),
            (".env", "a/.env/x", false),
            ("*.pem", "keys/a.pem", true),
            ("keys/*", "keys/a", true),
            ("keys/*", "keys/a/b", false),
            ("keys/**", "keys/a/b", true),
            ("**/secrets/*", "a/b/secrets/c", true),
            ("secrets/", "a/secrets/b/c", true),
            ("/secrets/", "a/secrets/b", false),
            ("/secrets/", "secrets/b", true),
            ("a/secrets/", "a/secrets/b/c", true),
            ("secrets/", "secrets", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches_path(path.as_bytes()), expect, "{pattern} {path}");
        }
    }
}
