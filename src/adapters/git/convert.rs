//! git's built-in conversions from work tree to repository, as `convert.c` does them:
//! `working-tree-encoding`, then line endings, then `ident`. Pure; external filters are not run.

use std::borrow::Cow;

/// What the attributes and the configuration ask for one path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent attributes of git, by their names")]
pub(super) struct Rules {
    pub(super) eol: Eol,
    pub(super) ident: bool,
    /// `working-tree-encoding`, where it is not UTF-8.
    pub(super) encoding: Option<Encoding>,
    /// True when an external filter driver with a clean command applies, or a conversion that
    /// is not known here: the result cannot be told.
    pub(super) foreign: bool,
    /// True when an external filter driver changes what is checked out.
    pub(super) smudge: bool,
    /// True when line ends may be CRLF in what is checked out.
    pub(super) writes_crlf: bool,
}

/// What happens to CRLF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Eol {
    /// Nothing.
    #[default]
    Keep,
    /// CRLF becomes LF.
    Text,
    /// CRLF becomes LF when the content looks like text and the index holds no CRLF.
    Auto,
}

/// Encodings of the work tree that are decoded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-16 with a byte order mark.
    Utf16,
    /// UTF-16, little endian, without a mark.
    Utf16Le,
    /// UTF-16, big endian, without a mark.
    Utf16Be,
    /// UTF-32 with a byte order mark.
    Utf32,
    /// UTF-32, little endian, without a mark.
    Utf32Le,
    /// UTF-32, big endian, without a mark.
    Utf32Be,
    /// ISO-8859-1.
    Latin1,
}

impl Encoding {
    /// `Ok(None)` is UTF-8; `Err` is an encoding that is not known here.
    pub(super) fn parse(name: &[u8]) -> Result<Option<Self>, ()> {
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        Ok(Some(match name.as_str() {
            "UTF-8" | "UTF8" => return Ok(None),
            "UTF-16" | "UTF16" | "UTF-16LE-BOM" => Self::Utf16,
            "UTF-16LE" | "UTF16LE" => Self::Utf16Le,
            "UTF-16BE" | "UTF16BE" => Self::Utf16Be,
            "UTF-32" | "UTF32" => Self::Utf32,
            "UTF-32LE" | "UTF32LE" => Self::Utf32Le,
            "UTF-32BE" | "UTF32BE" => Self::Utf32Be,
            "ISO-8859-1" | "ISO8859-1" | "LATIN1" | "LATIN-1" => Self::Latin1,
            _ => return Err(()),
        }))
    }

    /// The text in UTF-8; `None` where git would refuse to convert and keep the bytes.
    fn decode(self, raw: &[u8]) -> Option<Vec<u8>> {
        let (little, width, marked) = match self {
            Self::Latin1 => {
                return Some(raw.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes());
            }
            Self::Utf16 => (raw.starts_with(&[0xff, 0xfe]), 2, true),
            Self::Utf16Le => (true, 2, false),
            Self::Utf16Be => (false, 2, false),
            Self::Utf32 => (raw.starts_with(&[0xff, 0xfe, 0, 0]), 4, true),
            Self::Utf32Le => (true, 4, false),
            Self::Utf32Be => (false, 4, false),
        };
        if !raw.len().is_multiple_of(width) {
            return None;
        }
        let mut units = raw.chunks_exact(width).map(|unit| {
            let fold = |value: u32, byte: &u8| (value << 8) | u32::from(*byte);
            if little { unit.iter().rev().fold(0, fold) } else { unit.iter().fold(0, fold) }
        });
        // A mark is required where the name does not say the order, and prohibited where it does.
        let starts_with_mark = units.clone().next() == Some(0xfeff)
            || (!marked
                && matches!((width, units.clone().next()), (2, Some(0xfffe)) | (4, Some(0xfffe_0000))));
        if starts_with_mark != marked {
            return None;
        }
        if marked {
            units.next();
        }
        if width == 4 {
            return units.map(char::from_u32).collect::<Option<String>>().map(String::into_bytes);
        }
        let units = units.map(|unit| u16::try_from(unit).unwrap_or(0));
        char::decode_utf16(units).collect::<Result<String, _>>().ok().map(String::into_bytes)
    }
}

impl Rules {
    /// True when the bytes of the work tree are the bytes of the repository.
    pub(super) fn is_identity(&self) -> bool {
        self.eol == Eol::Keep && !self.ident && self.encoding.is_none() && !self.foreign
    }

    /// The repository's form of a file. `indexed` gives the content that the index records, and
    /// is only asked where the answer depends on it.
    pub(super) fn to_git<'a>(
        &self,
        raw: &'a [u8],
        indexed: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Cow<'a, [u8]> {
        let mut bytes = Cow::Borrowed(raw);
        if let Some(encoding) = self.encoding
            && !raw.is_empty()
            && let Some(decoded) = encoding.decode(raw)
        {
            bytes = Cow::Owned(decoded);
        }
        if let Some(plain) = self.eol.to_lf(&bytes, indexed) {
            bytes = Cow::Owned(plain);
        }
        if self.ident
            && let Some(plain) = collapse_ident(&bytes)
        {
            bytes = Cow::Owned(plain);
        }
        bytes
    }
}

/// `convert.c: gather_stats`.
#[derive(Debug, Default)]
struct Stats {
    nul: usize,
    lone_cr: usize,
    crlf: usize,
    printable: usize,
    nonprintable: usize,
}

impl Stats {
    fn of(bytes: &[u8]) -> Self {
        let mut stats = Self::default();
        let mut rest = bytes;
        while let Some((byte, tail)) = rest.split_first() {
            rest = tail;
            match byte {
                b'\r' if tail.first() == Some(&b'\n') => {
                    stats.crlf += 1;
                    rest = &tail[1..];
                }
                b'\r' => stats.lone_cr += 1,
                b'\n' => {}
                0 => {
                    stats.nul += 1;
                    stats.nonprintable += 1;
                }
                8 | b'\t' | 0x1b | 0x0c => stats.printable += 1,
                0x7f | 0..0x20 => stats.nonprintable += 1,
                _ => stats.printable += 1,
            }
        }
        if bytes.last() == Some(&0x1a) {
            stats.nonprintable -= 1;
        }
        stats
    }

    fn is_binary(&self) -> bool {
        self.lone_cr > 0 || self.nul > 0 || (self.printable >> 7) < self.nonprintable
    }
}

impl Eol {
    /// `convert.c: crlf_to_git`; `None` when nothing changes.
    fn to_lf(self, bytes: &[u8], indexed: impl FnOnce() -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        if self == Self::Keep || bytes.is_empty() {
            return None;
        }
        let stats = Stats::of(bytes);
        if stats.crlf == 0 {
            return None;
        }
        if self == Self::Auto {
            if stats.is_binary() {
                return None;
            }
            let index_has_crlf = indexed().is_some_and(|content| {
                let stats = Stats::of(&content);
                stats.crlf > 0 && !stats.is_binary()
            });
            if index_has_crlf {
                return None;
            }
        }
        let mut plain = Vec::with_capacity(bytes.len());
        for (at, byte) in bytes.iter().enumerate() {
            let before_lf = bytes.get(at + 1) == Some(&b'\n');
            if *byte != b'\r' || !before_lf {
                plain.push(*byte);
            }
        }
        Some(plain)
    }
}

/// `convert.c: ident_to_git`: `$Id: anything$` on one line becomes `$Id$`.
fn collapse_ident(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut changed = false;
    while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
        plain.extend_from_slice(&rest[..=dollar]);
        rest = &rest[dollar + 1..];
        if rest.len() > 3 && rest.starts_with(b"Id:") {
            let Some(end) = rest[3..].iter().position(|byte| *byte == b'$').map(|end| end + 3) else { break };
            if rest[3..end].contains(&b'\n') {
                // The keyword is broken by a line end: it stays as it is.
                continue;
            }
            plain.extend_from_slice(b"Id$");
            rest = &rest[end + 1..];
            changed = true;
        }
    }
    plain.extend_from_slice(rest);
    changed.then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &Rules, raw: &[u8], indexed: Option<&[u8]>, expect: &[u8]) {
        let got = rules.to_git(raw, || indexed.map(<[u8]>::to_vec));
        assert_eq!(got.as_ref(), expect, "{rules:?} on {raw:?}");
    }

    #[test]
    fn line_endings_follow_the_rules() {
        let text = Rules { eol: Eol::Text, ..Rules::default() };
        check(&text, b"a\r\nb\rc\r\n", None, b"a\nb\rc\n");
        check(&text, b"a\0\r\n", None, b"a\0\n");
        let auto = Rules { eol: Eol::Auto, ..Rules::default() };
        check(&auto, b"a\r\n", None, b"a\n");
        check(&auto, b"a\r\n", Some(b"a\r\n"), b"a\r\n");
        check(&auto, b"a\0\r\n", None, b"a\0\r\n");
        check(&auto, b"a\rb\r\n", None, b"a\rb\r\n");
        check(&Rules::default(), b"a\r\n", None, b"a\r\n");
    }

    #[test]
    fn ident_is_collapsed_on_one_line_only() {
        let ident = Rules { ident: true, ..Rules::default() };
        check(&ident, b"x $Id: 1234 $ y", None, b"x $Id$ y");
        check(&ident, b"$Id: 12\n34 $", None, b"$Id: 12\n34 $");
        check(&ident, b"$Id$ $Id", None, b"$Id$ $Id");
    }

    #[test]
    fn encodings_are_decoded_or_left_alone_as_git_would() {
        let rules = |name: &str| Rules {
            encoding: Encoding::parse(name.as_bytes()).expect("known"),
            ..Rules::default()
        };
        check(&rules("utf-16"), b"\xff\xfeh\0i\0", None, b"hi");
        check(&rules("UTF-16"), b"\xfe\xff\0h\0i", None, b"hi");
        check(&rules("UTF-16"), b"h\0i\0", None, b"h\0i\0");
        check(&rules("UTF-16LE"), b"h\0i\0", None, b"hi");
        check(&rules("UTF-16LE"), b"\xff\xfeh\0", None, b"\xff\xfeh\0");
        check(&rules("UTF-32BE"), b"\0\0\0h", None, b"h");
        check(&rules("latin1"), b"\xe9", None, "é".as_bytes());
        assert_eq!(Encoding::parse(b"SHIFT-JIS"), Err(()));
    }
}
