//! What `git archive` makes of a commit's files: which it leaves out, and which bytes it writes.
//!
//! GitHub serves `github:` inputs as such archives, and Nix hashes what it unpacks. Attributes
//! come from the `.gitattributes` files of the commit itself: `export-ignore`, and the built-in
//! conversions `ident` and `eol`, and `export-subst` as far as the commit alone decides it. What
//! depends on more (`$Format:%d$`, another encoding) is a clear refusal, never a wrong hash.
//! Source: git's `archive.c`, `convert.c`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gix_attributes::search::{MetadataCollection, Outcome};
use gix_attributes::{Search, StateRef};
use gix_glob::pattern::Case;

use super::subst::Formats;
use crate::domain::id::ObjectId;

const NAMES: [&str; 7] =
    ["export-ignore", "export-subst", "text", "crlf", "eol", "ident", "working-tree-encoding"];

/// The attribute rules in force in one directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules(Option<Rc<(Search, MetadataCollection)>>);

/// What the attributes say about one path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) export_ignore: bool,
    export_subst: bool,
    ident: bool,
    encoding: Option<String>,
    eol: Eol,
}

/// Which line endings are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Eol {
    /// The committed ones.
    #[default]
    AsIs,
    /// Every LF becomes CRLF.
    Crlf,
    /// As `Crlf`, for what is text and has no carriage return yet.
    CrlfIfText,
}

/// A conversion whose result the commit does not determine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("its attribute {0} depends on more than the commit")]
pub(super) struct Undetermined(String);

impl Undetermined {
    /// Because of this attribute, or format of one.
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl Rules {
    /// The rules in a directory that has this `.gitattributes`. `dir` is empty or ends in `/`.
    pub(super) fn with_file(&self, dir: &[u8], content: &[u8]) -> Self {
        let (mut search, mut collection) = self.0.as_deref().cloned().unwrap_or_else(|| {
            let mut collection = MetadataCollection::default();
            let no_files = std::iter::empty::<PathBuf>();
            let built_in = Search::new_globals(no_files, &mut Vec::new(), &mut collection);
            (built_in.unwrap_or_default(), collection)
        });
        let source = Path::new(OsStr::from_bytes(dir)).join(".gitattributes");
        // Macros are only read at the top, as git does. A file that cannot be parsed adds nothing.
        let added =
            search.add_patterns_buffer(content, source, Some(Path::new("")), &mut collection, dir.is_empty());
        if added.is_err() { self.clone() } else { Self(Some(Rc::new((search, collection)))) }
    }

    /// What they say about a path, without a trailing `/`.
    pub(super) fn of(&self, path: &[u8], is_dir: bool) -> Attributes {
        let Some(rules) = &self.0 else { return Attributes::default() };
        let (search, collection) = &**rules;
        let mut outcome = Outcome::default();
        outcome.initialize_with_selection(collection, NAMES);
        if !search.pattern_matching_relative_path(path.into(), Case::Sensitive, Some(is_dir), &mut outcome) {
            return Attributes::default();
        }
        let states: Vec<StateRef<'_>> =
            outcome.iter_selected().map(|matched| matched.assignment.state).collect();
        let [ignore, subst, text, crlf, eol, ident, encoding] = states[..] else {
            return Attributes::default();
        };
        let text = if text == StateRef::Unspecified { crlf } else { text };
        Attributes {
            export_ignore: ignore == StateRef::Set,
            export_subst: subst == StateRef::Set,
            ident: ident == StateRef::Set,
            encoding: value(&encoding).filter(|name| !name.eq_ignore_ascii_case("utf-8")),
            eol: match (text, value(&eol).as_deref()) {
                (StateRef::Unset, _) => Eol::AsIs,
                (_, Some("crlf")) if value(&text).as_deref() == Some("auto") => Eol::CrlfIfText,
                (_, Some("crlf")) if value(&text).as_deref() != Some("input") => Eol::Crlf,
                _ => Eol::AsIs,
            },
        }
    }
}

fn value(state: &StateRef<'_>) -> Option<String> {
    match state {
        StateRef::Value(value) => Some(String::from_utf8_lossy(value.as_bstr()).into_owned()),
        _ => None,
    }
}

impl Attributes {
    /// The bytes that the archive holds for a file with this blob; `formats` is asked for what
    /// depends on the commit.
    pub(super) fn convert(
        &self,
        blob: ObjectId,
        content: Vec<u8>,
        formats: impl FnOnce() -> Formats,
    ) -> Result<Vec<u8>, Undetermined> {
        if let Some(encoding) = &self.encoding {
            return Err(Undetermined(format!("working-tree-encoding={encoding}")));
        }
        let content = if self.ident { expand_ident(&content, blob) } else { content };
        let content = match self.eol {
            Eol::AsIs => content,
            Eol::CrlfIfText if content.contains(&b'\r') || is_binary(&content) => content,
            Eol::Crlf | Eol::CrlfIfText => to_crlf(&content),
        };
        if self.export_subst && content.windows(8).any(|window| window == b"$Format:") {
            return formats().expand(&content);
        }
        Ok(content)
    }
}

/// `$Id$` and `$Id: …$` become `$Id: <blob> $`; an `$Id:` whose text holds a space inside is
/// somebody else's (`ident_to_worktree`).
fn expand_ident(content: &[u8], blob: ObjectId) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.windows(3).position(|window| window == b"$Id") {
        let (before, found) = rest.split_at(at + 3);
        out.extend_from_slice(before);
        rest = found;
        let skipped = match found.first() {
            Some(b'$') => 1,
            Some(b':') => {
                let line = found.iter().position(|byte| *byte == b'\n').unwrap_or(found.len());
                let Some(end) = found[..line].iter().position(|byte| *byte == b'$') else { continue };
                let foreign = found.get(2..end).is_some_and(|text| {
                    text.iter().position(|byte| *byte == b' ').is_some_and(|space| space + 1 < text.len())
                });
                if foreign {
                    continue;
                }
                end + 1
            }
            _ => continue,
        };
        out.extend_from_slice(format!(": {blob} $").as_bytes());
        rest = &found[skipped..];
    }
    out.extend_from_slice(rest);
    out
}

/// As git guesses it (`convert_is_binary`): a NUL, or more than one unprintable byte in 128.
/// Lone carriage returns are excluded by the caller.
fn is_binary(content: &[u8]) -> bool {
    let content = content.strip_suffix(b"\x1a").unwrap_or(content);
    let unprintable = |byte: &u8| matches!(byte, 0..=7 | 11 | 14..=26 | 28..=31 | 127);
    let odd = content.iter().filter(|byte| unprintable(byte)).count();
    let printable = content.iter().filter(|byte| **byte != b'\n' && !unprintable(byte)).count();
    content.contains(&0) || printable >> 7 < odd
}

fn to_crlf(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 16);
    for (at, byte) in content.iter().enumerate() {
        if *byte == b'\n' && (at == 0 || content[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> Formats {
        panic!("nothing here depends on the commit")
    }

    fn attributes(file: &str, path: &str) -> Attributes {
        Rules::default().with_file(b"", file.as_bytes()).of(path.as_bytes(), false)
    }

    #[test]
    fn the_deeper_file_wins_and_stays_where_it_is() {
        let top = Rules::default().with_file(b"", b"*.txt export-ignore\n");
        let below = top.with_file(b"doc/", b"keep.txt -export-ignore\n");
        assert!(top.of(b"doc/keep.txt", false).export_ignore);
        assert!(!below.of(b"doc/keep.txt", false).export_ignore);
        assert!(below.of(b"doc/other.txt", false).export_ignore);
    }

    #[test]
    fn directories_and_macros_are_understood() {
        let rules =
            Rules::default().with_file(b"", b"[attr]hidden export-ignore\nci/ export-ignore\nx hidden\n");
        assert!(rules.of(b"ci", true).export_ignore);
        assert!(!rules.of(b"ci", false).export_ignore);
        assert!(rules.of(b"a/x", false).export_ignore);
    }

    #[test]
    fn line_endings_are_converted_as_git_does() {
        let blob = ObjectId::from_bytes(&[1; 20]).expect("20 bytes");
        let convert = |file: &str, content: &[u8]| {
            attributes(file, "f").convert(blob, content.to_vec(), never).expect("determined")
        };
        assert_eq!(convert("f text eol=crlf", b"a\nb\r\n"), b"a\r\nb\r\n");
        assert_eq!(convert("f eol=crlf", b"a\n"), b"a\r\n");
        assert_eq!(convert("f text", b"a\n"), b"a\n");
        assert_eq!(convert("f -text eol=crlf", b"a\n"), b"a\n");
        assert_eq!(convert("f binary eol=crlf", b"a\n"), b"a\n");
        assert_eq!(convert("f text=auto eol=crlf", b"a\nb\r\n"), b"a\nb\r\n");
        assert_eq!(convert("f text=auto eol=crlf", b"a\0\n"), b"a\0\n");
        assert_eq!(convert("f text=auto eol=crlf", b"a line\n"), b"a line\r\n");
    }

    #[test]
    fn identities_are_expanded_and_foreign_ones_kept() {
        let blob = ObjectId::from_bytes(&[0xab; 20]).expect("20 bytes");
        let id = "ab".repeat(20);
        for (content, expected) in [
            ("x $Id$ y", format!("x $Id: {id} $ y")),
            ("$Id: old $", format!("$Id: {id} $")),
            ("$Id: foreign text $", "$Id: foreign text $".to_owned()),
            ("$Id: open\n$", "$Id: open\n$".to_owned()),
            ("$Idea$", "$Idea$".to_owned()),
        ] {
            let converted =
                attributes("f ident", "f").convert(blob, content.into(), never).expect("determined");
            assert_eq!(String::from_utf8(converted).expect("UTF-8"), expected, "{content}");
        }
    }

    #[test]
    fn what_the_commit_does_not_determine_is_refused() {
        let blob = ObjectId::from_bytes(&[1; 20]).expect("20 bytes");
        let subst = attributes("f export-subst", "f");
        assert_eq!(subst.convert(blob, b"plain".to_vec(), never), Ok(b"plain".to_vec()));
        assert!(attributes("f working-tree-encoding=UTF-16", "f").convert(blob, Vec::new(), never).is_err());
    }
}
