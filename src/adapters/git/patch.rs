//! A change as a patch for people: a unified diff, or a message that `git am` takes.
//!
//! In: path edits with all their bytes. Out: text. Nothing is read from a repository and nothing
//! is ever applied from such a text: what is applied is built from the edits. The forms are those
//! of git-diff(1) ("Generating patch text with -p") and git-format-patch(1), with full identities.

use std::fmt::Write as _;

use git2::{DiffOptions, Patch};

use super::build::entry_of;
use super::objects::MODE_GITLINK;
use crate::domain::change::{PathContent, PathEdit};
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::moment::Civil;
use crate::domain::text;
use crate::ports::{PortError, PortResult};

/// A diff, and how much each path changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// What `git diff --full-index` prints.
    pub text: Vec<u8>,
    /// Lines added and removed, by path.
    pub stat: Vec<(RepoPath, usize, usize)>,
}

/// What a message says beside the diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter<'a> {
    /// One line.
    pub subject: &'a str,
    /// Lines; each line that a mail reader would take for something else is moved in by a space.
    pub body: &'a str,
    /// When it was written, Unix milliseconds.
    pub time_ms: i64,
}

/// The diff of a change on a repository that names objects as `like` is named.
///
/// # Errors
/// When libgit2 cannot compare two texts.
pub fn diff(edits: &[PathEdit], like: ObjectId) -> PortResult<Diff> {
    let hash = if like.as_bytes().len() == 20 { gix_hash::Kind::Sha1 } else { gix_hash::Kind::Sha256 };
    let mut diff = Diff { text: Vec::new(), stat: Vec::new() };
    for edit in edits {
        if edit.old.as_ref() == Some(&edit.new) {
            continue;
        }
        let old = edit.old.as_ref().map(|content| entry_of(content, hash));
        let new = entry_of(&edit.new, hash);
        let is_gitlink = |mode| mode == MODE_GITLINK;
        match old {
            // One thing in the place of another of a different kind: away with the one, then the other.
            Some(old) if is_gitlink(old.0) != is_gitlink(new.0) => {
                section(&mut diff, edit, Some(old), None, hash)?;
                section(&mut diff, edit, None, Some(new), hash)?;
            }
            old => section(&mut diff, edit, old, Some(new), hash)?,
        }
    }
    Ok(diff)
}

/// One path's part of a diff.
fn section(
    diff: &mut Diff,
    edit: &PathEdit,
    old: Option<(u32, ObjectId)>,
    new: Option<(u32, ObjectId)>,
    hash: gix_hash::Kind,
) -> PortResult<()> {
    let side = |prefix: &str| {
        let mut named = prefix.as_bytes().to_vec();
        named.extend_from_slice(edit.path.as_bytes());
        text::git_quoted(&named)
    };
    let (a, b) = (side("a/"), side("b/"));
    let none =
        ObjectId::from_bytes(&vec![0; hash.len_in_bytes()]).expect("because a hash's length is an id's");
    let (from, to) = (old.map_or(none, |old| old.1), new.map_or(none, |new| new.1));
    let mut header = format!("diff --git {a} {b}\n");
    let mut mode = String::new();
    match (old, new) {
        (None, Some(new)) => {
            let _ = writeln!(header, "new file mode {:06o}", new.0);
        }
        (Some(old), None) => {
            let _ = writeln!(header, "deleted file mode {:06o}", old.0);
        }
        (Some(old), Some(new)) if old.0 != new.0 => {
            let _ = writeln!(header, "old mode {:06o}\nnew mode {:06o}", old.0, new.0);
        }
        (Some(old), Some(_)) => mode = format!(" {:06o}", old.0),
        (None, None) => {}
    }
    let (before, after) = (old.map(|_| content(edit.old.as_ref())), new.map(|_| content(Some(&edit.new))));
    let (hunks, added, removed) =
        hunks(before.as_deref().unwrap_or_default(), after.as_deref().unwrap_or_default())?;
    diff.text.extend_from_slice(header.as_bytes());
    if from != to {
        diff.text.extend_from_slice(format!("index {from}..{to}{mode}\n").as_bytes());
    }
    if !hunks.is_empty() {
        // A name with a space ends with a tab, so that no time stamp is looked for behind it.
        let end = if edit.path.as_bytes().contains(&b' ') { "\t" } else { "" };
        let name =
            |there: bool, name: &str| if there { format!("{name}{end}") } else { "/dev/null".to_owned() };
        let names = format!("--- {}\n+++ {}\n", name(old.is_some(), &a), name(new.is_some(), &b));
        diff.text.extend_from_slice(names.as_bytes());
        diff.text.extend_from_slice(&hunks);
    }
    match diff.stat.last_mut() {
        Some(last) if last.0 == edit.path => (last.1, last.2) = (last.1 + added, last.2 + removed),
        _ => diff.stat.push((edit.path.clone(), added, removed)),
    }
    Ok(())
}

/// What is compared line by line.
fn content(side: Option<&PathContent>) -> Vec<u8> {
    match side {
        None => Vec::new(),
        Some(PathContent::Gitlink(commit)) => format!("Subproject commit {commit}\n").into_bytes(),
        Some(PathContent::File { content, .. }) => content.clone(),
    }
}

/// The hunks of two texts, with the number of lines added and removed.
fn hunks(before: &[u8], after: &[u8]) -> PortResult<(Vec<u8>, usize, usize)> {
    let failed = |error: git2::Error| PortError::failed("cannot compare two texts").because(error);
    let mut options = DiffOptions::new();
    // Whatever it is, its lines are shown: a binary patch says nothing to a person.
    options.force_text(true).context_lines(3);
    let mut patch = Patch::from_buffers(before, None, after, None, Some(&mut options)).map_err(failed)?;
    let (mut hunks, mut added, mut removed) = (Vec::new(), 0, 0);
    patch
        .print(&mut |_, _, line| {
            let origin = line.origin();
            match origin {
                '+' => added += 1,
                '-' => removed += 1,
                _ => {}
            }
            match origin {
                '+' | '-' | ' ' => {
                    hunks.push(u8::try_from(origin).unwrap_or(b' '));
                    hunks.extend_from_slice(line.content());
                }
                // Hunk headers, and what stands for a missing last line break.
                'H' | '=' | '>' | '<' => hunks.extend_from_slice(line.content()),
                _ => {}
            }
            true
        })
        .map_err(failed)?;
    Ok((hunks, added, removed))
}

/// The diff as a message that `git am` makes a commit from.
#[must_use]
pub fn mail(letter: &Letter<'_>, diff: &Diff) -> Vec<u8> {
    let none = "0".repeat(40);
    let mut said = format!("From {none} Mon Sep 17 00:00:00 2001\n");
    let _ = writeln!(said, "From: lambda-os <lambda-os@localhost>");
    let _ = writeln!(said, "Date: {}", date(letter.time_ms));
    let _ = writeln!(
        said,
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit"
    );
    let subject: Vec<&str> = letter.subject.split_whitespace().collect();
    let _ = writeln!(said, "Subject: [PATCH] {}\n", subject.join(" "));
    for line in letter.body.lines() {
        let taken = ["From ", "---", "diff -", "Index: "].iter().any(|start| line.starts_with(start));
        let _ = writeln!(said, "{}{}", if taken { " " } else { "" }, line);
    }
    said.push_str("---\n");
    let (mut added, mut removed) = (0, 0);
    for (path, more, fewer) in &diff.stat {
        let _ = writeln!(said, " {path} | {} +{more} -{fewer}", more + fewer);
        (added, removed) = (added + more, removed + fewer);
    }
    let files = diff.stat.len();
    let _ = writeln!(said, " {files} files changed, {added} insertions(+), {removed} deletions(-)\n");
    let mut mail = said.into_bytes();
    mail.extend_from_slice(&diff.text);
    mail.extend_from_slice(concat!("-- \nlambda-os ", env!("CARGO_PKG_VERSION"), "\n\n").as_bytes());
    mail
}

/// A time as RFC 5322 has it, UTC.
fn date(time_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Civil { year, month, day, hour, minute, second } = Civil::of(time_ms);
    let named = |names: &[&'static str], at: i64| {
        usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default()
    };
    let weekday = named(&DAYS, time_ms.div_euclid(86_400_000).rem_euclid(7));
    let month = named(&MONTHS, i64::from(month) - 1);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_mail() {
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(date(951_782_400_000), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(date(1_790_000_000_999), "Mon, 21 Sep 2026 14:13:20 +0000");
    }
}
