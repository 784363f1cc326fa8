//! From what a program left in a copy to the files of a change, or every reason why there is none.
//!
//! All or nothing: a result of which a part is refused is no result, for what is left of it was never
//! what the program meant.

use std::collections::{BTreeMap, BTreeSet};

use super::{Left, What};
use crate::domain::change::MAX_FILES;
use crate::domain::id::{ModuleName, RepoPath};
use crate::domain::text;

/// Most bytes of all new contents together: a proposal can be carried elsewhere as one file.
pub const MAX_BYTES: usize = 8 << 20;

/// Most bytes of all paths together.
const MAX_PATH_BYTES: usize = 48 << 10;

/// How many directories may be above a file.
const MAX_DEPTH: usize = 100;

/// Within what a program's changes must be.
#[derive(Debug, Clone, Copy)]
pub struct Boundaries<'a> {
    /// Every path of the base's own tree: files, links, submodules.
    pub base: &'a BTreeSet<RepoPath>,
    /// Where the submodules are, with their names.
    pub modules: &'a BTreeMap<RepoPath, ModuleName>,
    /// The paths to keep to, each with everything below it; none: all.
    pub allowed: &'a [RepoPath],
}

/// What a program makes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The path.
    pub path: RepoPath,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// Why something that a program left makes no change. A sentence without a final stop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// It is a module's; told once for each module, with the first path.
    #[error("{path} is in the module {module}: what changes there belongs upstream, in its own repository{}", also(*.more))]
    InModule {
        /// The path.
        path: RepoPath,
        /// The module.
        module: ModuleName,
        /// How many more there are in it.
        more: usize,
    },
    /// It would change which modules there are.
    #[error("{0} says which modules there are, and no command changes that")]
    Modules(RepoPath),
    /// It is outside what was allowed.
    #[error("{0} is outside the allowed paths")]
    NotAllowed(RepoPath),
    /// It is gone.
    #[error("{0} was removed, and a command's proposal only changes and adds files")]
    Removed(RepoPath),
    /// It is a symlink.
    #[error("{0} is a new or changed symlink, which no proposal holds")]
    Symlink(RepoPath),
    /// It is neither a file nor a directory.
    #[error("{0} is neither a file nor a directory")]
    Special(RepoPath),
    /// It cannot be read.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// The path.
        path: RepoPath,
        /// Why, inert.
        why: String,
    },
    /// Its name is one that git does not hold, or that is something else elsewhere.
    #[error("{0} has a name that means a git directory on some machine")]
    Hostile(RepoPath),
    /// It is deeper than a path of a change may be.
    #[error("{0} … is too deep: a path has at most {MAX_DEPTH} directories")]
    Deep(RepoPath),
    /// It is the same as another one where case does not count.
    #[error("{path} and {other} are one file where case does not count")]
    Clash {
        /// The path.
        path: RepoPath,
        /// The other one.
        other: RepoPath,
    },
    /// There are too many.
    #[error("{files} files changed, and a proposal has at most {MAX_FILES}, with short paths")]
    TooMany {
        /// How many.
        files: usize,
    },
    /// They are too large.
    #[error("the changed files have {bytes} bytes, and a proposal has at most {MAX_BYTES}")]
    TooLarge {
        /// How large they are.
        bytes: usize,
    },
}

/// What makes a change, by path.
///
/// # Errors
/// Everything that makes none, sorted.
pub fn judge(left: Vec<Left>, within: Boundaries<'_>) -> Result<Vec<Judged>, Vec<Refusal>> {
    let mut refused: Vec<Refusal> = Vec::new();
    let mut judged: Vec<Judged> = Vec::with_capacity(left.len().min(MAX_FILES));
    for Left { path, what } in left {
        if let Some(why) = misplaced(&path, within) {
            refused.push(why);
            continue;
        }
        match what {
            What::File { executable, content } => judged.push(Judged { path, executable, content }),
            What::Removed => refused.push(Refusal::Removed(path)),
            What::Symlink => refused.push(Refusal::Symlink(path)),
            What::Special => refused.push(Refusal::Special(path)),
            What::Unreadable(why) => refused.push(Refusal::Unreadable { path, why }),
        }
    }
    judged.sort_by(|one, other| one.path.cmp(&other.path));
    refused.extend(clashes(&judged, within.base));
    let files = judged.len();
    if files > MAX_FILES || judged.iter().map(|one| one.path.as_bytes().len()).sum::<usize>() > MAX_PATH_BYTES
    {
        refused.push(Refusal::TooMany { files });
    }
    let bytes = judged.iter().map(|one| one.content.len()).fold(0, usize::saturating_add);
    if bytes > MAX_BYTES {
        refused.push(Refusal::TooLarge { bytes });
    }
    if refused.is_empty() {
        return Ok(judged);
    }
    refused.sort();
    refused.dedup();
    Err(once_for_each_module(refused))
}

/// Of several refusals of paths in one module the first, with their number.
fn once_for_each_module(refused: Vec<Refusal>) -> Vec<Refusal> {
    let mut counts: BTreeMap<ModuleName, usize> = BTreeMap::new();
    for refusal in &refused {
        if let Refusal::InModule { module, .. } = refusal {
            *counts.entry(module.clone()).or_default() += 1;
        }
    }
    refused
        .into_iter()
        .filter_map(|refusal| match refusal {
            Refusal::InModule { path, module, .. } => {
                let more = counts.remove(&module)?.saturating_sub(1);
                Some(Refusal::InModule { path, module, more })
            }
            other => Some(other),
        })
        .collect()
}

fn also(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} more there)") }
}

/// Why nothing may change at this path, whatever it is.
fn misplaced(path: &RepoPath, within: Boundaries<'_>) -> Option<Refusal> {
    let module = ancestors(path.as_bytes())
        .find_map(|above| within.modules.get(&RepoPath::new(above)))
        .map(|module| Refusal::InModule { path: path.clone(), module: module.clone(), more: 0 });
    if module.is_some() {
        return module;
    }
    if path.as_bytes().eq_ignore_ascii_case(b".gitmodules") {
        return Some(Refusal::Modules(path.clone()));
    }
    if ancestors(path.as_bytes()).count() > MAX_DEPTH + 1 {
        return Some(Refusal::Deep(RepoPath::new(&path.as_bytes()[..path.as_bytes().len().min(60)])));
    }
    if is_hostile(path) {
        return Some(Refusal::Hostile(path.clone()));
    }
    let allowed = within.allowed.is_empty() || within.allowed.iter().any(|allowed| is_below(path, allowed));
    (!allowed).then(|| Refusal::NotAllowed(path.clone()))
}

/// The path itself and every directory above it, longest first.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    std::iter::once(path).chain(slashes.map(move |at| &path[..at]))
}

/// At the path or below it; the root has everything below it.
fn is_below(path: &RepoPath, root: &RepoPath) -> bool {
    let root = root.as_bytes();
    root.is_empty() || ancestors(path.as_bytes()).any(|above| above == root)
}

/// Whether a component of a path is `.git`, or becomes it on a file system that ignores case,
/// characters without a shape (HFS+), or final dots, spaces and streams (NTFS): git refuses most of
/// these (`read-cache.c: verify_path`, CVE-2014-9390, CVE-2019-1352).
#[must_use]
pub fn is_hostile(path: &RepoPath) -> bool {
    let bytes = path.as_bytes();
    bytes.is_empty()
        || bytes.contains(&0)
        || bytes.split(|byte| matches!(byte, b'/' | b'\\')).any(|component| {
            let shown = String::from_utf8_lossy(component);
            let plain: String = shown.chars().filter(|c| !text::is_active(*c)).collect();
            let plain = plain.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
            let plain = plain.to_lowercase();
            let short =
                plain.strip_prefix("git~").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
            plain == ".git" || (short && plain.len() > 4) || matches!(component, b"" | b"." | b"..")
        })
}

/// New paths that differ from another path in case alone, in any component.
fn clashes(judged: &[Judged], base: &BTreeSet<RepoPath>) -> Vec<Refusal> {
    let new: Vec<&RepoPath> =
        judged.iter().map(|one| &one.path).filter(|path| !base.contains(*path)).collect();
    if new.is_empty() {
        return Vec::new();
    }
    let folded = |path: &[u8]| String::from_utf8_lossy(path).to_lowercase();
    // Directories count too: `Docs/a` beside `docs/b` is one directory elsewhere.
    let mut known: BTreeMap<String, &[u8]> = BTreeMap::new();
    for path in base {
        for above in ancestors(path.as_bytes()) {
            known.entry(folded(above)).or_insert(above);
        }
    }
    let mut found = Vec::new();
    for path in new {
        for above in ancestors(path.as_bytes()) {
            let there = known.entry(folded(above)).or_insert(above);
            if *there != above {
                found.push(Refusal::Clash { path: path.clone(), other: RepoPath::new(*there) });
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Left {
        Left { path: path.into(), what: What::File { executable: false, content: b"x".to_vec() } }
    }

    fn check(left: Vec<Left>, allowed: &[&str]) -> Result<Vec<String>, Vec<String>> {
        let base = ["flake.nix", "docs/a.md", "repos/waku"].map(RepoPath::from).into();
        let modules = [(RepoPath::from("repos/waku"), ModuleName::new("waku"))].into();
        let allowed: Vec<RepoPath> = allowed.iter().map(|path| RepoPath::from(*path)).collect();
        judge(left, Boundaries { base: &base, modules: &modules, allowed: &allowed })
            .map(|judged| judged.iter().map(|one| one.path.to_string()).collect())
            .map_err(|refused| refused.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn refused(left: Left, allowed: &[&str], why: &str) {
        let said = check(vec![file("docs/a.md"), left], allowed).expect_err(why);
        assert!(said.len() == 1 && said[0].contains(why), "{said:?}");
    }

    #[test]
    fn files_of_the_superproject_make_a_change_by_path() {
        let found = check(vec![file("flake.nix"), file("docs/new/b"), file("a.gitignore")], &[]);
        assert_eq!(
            found,
            Ok(vec!["a.gitignore".to_owned(), "docs/new/b".to_owned(), "flake.nix".to_owned()])
        );
        assert_eq!(check(vec![file("docs/a.md")], &["docs"]), Ok(vec!["docs/a.md".to_owned()]));
        assert_eq!(check(vec![file("docs/a.md")], &["docs/a.md"]), Ok(vec!["docs/a.md".to_owned()]));
        assert_eq!(check(vec![file("docs/a.md")], &[""]), Ok(vec!["docs/a.md".to_owned()]));
    }

    #[test]
    fn what_belongs_elsewhere_is_refused_by_name() {
        refused(file("repos/waku/src/x.c"), &[], "repos/waku/src/x.c is in the module waku");
        refused(file("repos/waku"), &[], "in the module waku");
        let all = check(vec![file("repos/waku/b"), file("repos/waku/a"), file("x")], &[]);
        let why = "repos/waku/a is in the module waku: what changes there belongs upstream, in its own \
            repository (and 1 more there)";
        assert_eq!(all, Err(vec![why.to_owned()]));
        refused(file(".gitmodules"), &[], "which modules there are");
        refused(file(&format!("{}x", "d/".repeat(101))), &[], "is too deep");
        refused(file(".GitModules"), &[], "which modules there are");
        refused(file("docsx"), &["docs"], "docsx is outside the allowed paths");
        refused(file("flake.nix"), &["docs", "flake"], "flake.nix is outside");
        for what in [What::Removed, What::Symlink, What::Special, What::Unreadable("why".to_owned())] {
            refused(Left { path: "y".into(), what }, &[], "y ");
        }
    }

    #[test]
    fn names_that_are_git_directories_somewhere_are_refused() {
        for bad in [
            ".git",
            ".git/hooks/pre-commit",
            "a/.GIT/config",
            "a/.git ",
            ".git.",
            ".git::$INDEX_ALLOCATION/x",
            "GIT~1/x",
            "git~2",
            ".g\u{200c}it",
            "a\\.git\\x",
            "a//b",
            "../x",
            "a/./b",
            "",
        ] {
            assert!(is_hostile(&bad.into()), "{bad:?}");
        }
        for good in [".gitignore", ".github/x", "git~", "gitx", "a.git", "git~1x", "..a", "x:y"] {
            assert!(!is_hostile(&good.into()), "{good:?}");
        }
    }

    #[test]
    fn names_that_differ_in_case_alone_are_refused() {
        refused(file("FLAKE.nix"), &[], "FLAKE.nix and flake.nix are one file");
        refused(file("Docs/b"), &[], "Docs/b and docs are one file");
        let said = check(vec![file("new/x"), file("New/y")], &[]).expect_err("clash");
        assert_eq!(said.len(), 1, "{said:?}");
    }

    #[test]
    fn there_is_a_bound_on_number_and_size() {
        let many: Vec<Left> = (0..=MAX_FILES).map(|at| file(&format!("f{at}"))).collect();
        assert!(check(many[1..].to_vec(), &[]).is_ok());
        assert!(check(many, &[]).expect_err("too many")[0].contains("301 files"));
        let long: Vec<Left> =
            (0..20).map(|at| file(&format!("{at}{}", "/long".repeat(90) + &"x".repeat(2500)))).collect();
        assert!(check(long, &[]).is_err());
        let large = What::File { executable: false, content: vec![0; MAX_BYTES + 1] };
        let said = check(vec![Left { path: "large".into(), what: large }], &[]).expect_err("too large");
        assert!(said[0].contains("8388609 bytes"), "{said:?}");
    }
}
