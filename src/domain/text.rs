//! Text from outside, made inert for the place where it is shown.
//!
//! Commit messages, file names, logs and remote answers can hold escape sequences,
//! bidirectional overrides and markup (CVE-2021-42574 and friends). What is shown keeps
//! its meaning and loses its power; nothing is dropped silently.

use std::fmt::Write as _;

/// True for characters that change how other characters are shown, or are not shown at all:
/// controls (C0, C1, DEL), bidirectional controls, line separators, and what Unicode calls
/// default ignorable (zero-width, fillers, variation selectors, tags, byte order mark).
#[must_use]
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// One line for a terminal or a log: active characters become `\u{…}` or their short escape.
#[must_use]
pub fn inert(outside: &str) -> String {
    let mut shown = String::with_capacity(outside.len());
    for c in outside.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            c if is_active(c) => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// As [`inert`], for bytes: what is not UTF-8 becomes `\xNN`.
#[must_use]
pub fn inert_bytes(outside: &[u8]) -> String {
    let mut shown = String::with_capacity(outside.len());
    for chunk in outside.utf8_chunks() {
        shown.push_str(&inert(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// As [`inert`], keeping line breaks: for a log or a message of several lines.
#[must_use]
pub fn inert_lines(outside: &str) -> String {
    outside.lines().map(inert).collect::<Vec<_>>().join("\n")
}

/// Inert text within double quotes, for use in a message.
#[must_use]
pub fn quoted(outside: &str) -> String {
    format!("\"{}\"", inert(outside).replace('"', "\\\""))
}

/// One word: as [`inert`], and white space becomes `\u{20}`; empty text becomes `\u{0}`'s
/// visible stand-in `(empty)`.
#[must_use]
pub fn word(outside: &str) -> String {
    if outside.is_empty() {
        return "(empty)".to_owned();
    }
    let mut shown = String::with_capacity(outside.len());
    for c in inert(outside).chars() {
        if c.is_whitespace() {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// At most `max` characters, the last an ellipsis where something was cut.
#[must_use]
pub fn clipped(shown: &str, max: usize) -> String {
    if shown.chars().count() <= max {
        return shown.to_owned();
    }
    let mut cut: String = shown.chars().take(max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A repository path as git shows it with `core.quotePath=false`: itself where it is plain,
/// else in double quotes with C escapes. What git would show raw and is not inert (active
/// characters beyond ASCII, bytes that are not UTF-8) is escaped too. Injective: see [`git_unquoted`].
#[must_use]
pub fn git_quoted(path: &[u8]) -> String {
    if let Ok(plain) = std::str::from_utf8(path)
        && !plain.contains(['"', '\\'])
        && !plain.chars().any(is_active)
    {
        return plain.to_owned();
    }
    let mut shown = String::from("\"");
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => shown.push_str("\\\""),
                '\\' => shown.push_str("\\\\"),
                '\n' => shown.push_str("\\n"),
                '\t' => shown.push_str("\\t"),
                '\r' => shown.push_str("\\r"),
                '\u{7}' => shown.push_str("\\a"),
                '\u{8}' => shown.push_str("\\b"),
                '\u{b}' => shown.push_str("\\v"),
                '\u{c}' => shown.push_str("\\f"),
                c if is_active(c) => {
                    let mut buffer = [0; 4];
                    for byte in c.encode_utf8(&mut buffer).bytes() {
                        let _ = write!(shown, "\\{byte:03o}");
                    }
                }
                c => shown.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\{byte:03o}");
        }
    }
    shown.push('"');
    shown
}

/// The bytes that [`git_quoted`] shows so; `None` for text that it never writes.
#[must_use]
pub fn git_unquoted(shown: &str) -> Option<Vec<u8>> {
    // Two texts for one path would give one thing two identities.
    unescaped(shown).filter(|bytes| git_quoted(bytes) == shown)
}

fn unescaped(shown: &str) -> Option<Vec<u8>> {
    let Some(inner) = shown.strip_prefix('"') else {
        return Some(shown.as_bytes().to_vec());
    };
    let inner = inner.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (escape, tail) = rest.split_first()?;
        rest = tail;
        bytes.push(match escape {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'v' => 11,
            b'f' => 12,
            b'"' => b'"',
            b'\\' => b'\\',
            b'0'..=b'3' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                rest = tail;
                let octal = std::str::from_utf8(&[*escape, digits[0], digits[1]]).ok().map(str::to_owned)?;
                u8::from_str_radix(&octal, 8).ok()?
            }
            _ => return None,
        });
    }
    Some(bytes)
}

/// The candidate that is most like `word`, if one is like enough to be a slip of the fingers:
/// at most a third of its characters inserted, left out, replaced or swapped with a neighbour.
/// Case does not count; of equally near ones the first.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(MAX_NEAREST + 1).collect();
    if word.len() > MAX_NEAREST {
        return None;
    }
    let mut best = None;
    for candidate in candidates {
        let other: Vec<char> = candidate.to_lowercase().chars().take(MAX_NEAREST + 1).collect();
        let bound = (word.len().max(other.len()) / 3).max(1);
        if other.len() > MAX_NEAREST || word.len().abs_diff(other.len()) > bound {
            continue;
        }
        let distance = edits(&word, &other);
        if distance <= bound && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Longer words are not compared: the cost grows with the square.
const MAX_NEAREST: usize = 100;

/// Optimal string alignment distance: insertions, deletions, replacements, swaps of neighbours.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, y) in b.iter().enumerate() {
            let mut fewest = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                fewest = fewest.min(before[j - 1] + 1);
            }
            row[j + 1] = fewest;
        }
        before = last;
        last = row;
    }
    last[b.len()]
}
