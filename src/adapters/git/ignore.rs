//! Which untracked paths are ignored: gitignore(5), patterns by `gix-glob`.
//!
//! Lists are kept weakest first: `core.excludesFile`, `info/exclude`, then each `.gitignore` from
//! the top down. The last pattern that matches in the last list that matches decides. A path
//! below an ignored directory is never asked for: the walk does not go there for untracked files.

use gix_glob::Pattern;
use gix_glob::pattern::Case;
use gix_glob::wildmatch::Mode;

/// The patterns of one file.
#[derive(Debug, Clone)]
struct List {
    /// Length of the directory that the patterns are relative to, with its `/`.
    base: usize,
    patterns: Vec<Pattern>,
}

/// The lists that apply at one place of a walk.
#[derive(Debug, Clone, Default)]
pub(super) struct Ignore {
    lists: Vec<List>,
    fold: bool,
}

impl Ignore {
    /// No pattern; `fold` for `core.ignoreCase`.
    pub(super) fn new(fold: bool) -> Self {
        Self { lists: Vec::new(), fold }
    }

    /// A stronger list; `base` as in [`List`]. True when it has any pattern, and so a [`Self::pop`] is due.
    pub(super) fn push(&mut self, base: usize, content: &[u8]) -> bool {
        let patterns: Vec<_> = gix_ignore::parse(content, false).map(|(pattern, _, _)| pattern).collect();
        if patterns.is_empty() {
            return false;
        }
        self.lists.push(List { base, patterns });
        true
    }

    /// Take the strongest list away.
    pub(super) fn pop(&mut self) {
        self.lists.pop();
    }

    /// Whether a path is ignored, given that no directory above it is.
    pub(super) fn is_ignored(&self, path: &[u8], is_dir: bool) -> bool {
        let case = if self.fold { Case::Fold } else { Case::Sensitive };
        for list in self.lists.iter().rev() {
            let Some(relative) = path.get(list.base..) else { continue };
            let basename = relative.iter().rposition(|byte| *byte == b'/').map(|slash| slash + 1);
            let verdict = list.patterns.iter().rev().find(|pattern| {
                pattern.matches_repo_relative_path(
                    relative.into(),
                    basename,
                    Some(is_dir),
                    case,
                    Mode::NO_MATCH_SLASH_LITERAL,
                )
            });
            if let Some(pattern) = verdict {
                return !pattern.is_negative();
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, path: &str, is_dir: bool, expect: bool) {
        let mut ignore = Ignore::new(false);
        ignore.push(0, content.as_bytes());
        assert_eq!(ignore.is_ignored(path.as_bytes(), is_dir), expect, "{content:?} on {path}");
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        check("*.o\n!keep.o\n", "a.o", false, true);
        check("*.o\n!keep.o\n", "d/keep.o", false, false);
        check("!keep.o\n*.o\n", "keep.o", false, true);
        check("/top\n", "d/top", false, false);
        check("dir/\n", "dir", false, false);
        check("dir/\n", "d/dir", true, true);
        check("a/**/z\n", "a/b/c/z", false, true);
        check("# c\n\\#x\n", "#x", false, true);
        check("trail  \n", "trail", false, true);
    }

    #[test]
    fn a_deeper_file_is_stronger_and_relative_to_its_directory() {
        let mut ignore = Ignore::new(false);
        ignore.push(0, b"*.log\n");
        assert!(ignore.push(2, b"!/x.log\n"));
        assert!(!ignore.is_ignored(b"d/x.log", false));
        assert!(ignore.is_ignored(b"d/e/x.log", false));
        ignore.pop();
        assert!(ignore.is_ignored(b"d/x.log", false));
        assert!(!ignore.push(2, b"# nothing\n"));
    }
}
