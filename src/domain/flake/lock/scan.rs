//! How far plain bytes go, eight at a time: half of a lock is indentation, and most of the rest
//! is text without escapes.

/// How many spaces come first: exact below eight, and no more than eight.
///
/// `bytes` begins with one.
#[inline]
pub(super) fn spaces(bytes: &[u8]) -> usize {
    bytes.first_chunk().map_or(1, |chunk| first(u64::from_le_bytes(*chunk) ^ repeated(b' ')))
}

/// How many bytes come before the first quote, backslash or control character; all, without one.
#[inline]
pub(super) fn plain(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        let chunk = u64::from_le_bytes(*chunk);
        let below = |limit: u8, of: u64| of.wrapping_sub(repeated(limit)) & !of & repeated(0x80);
        let quote = below(1, chunk ^ repeated(b'"'));
        let backslash = below(1, chunk ^ repeated(b'\\'));
        // A borrow makes wrong marks only above a right one, and the first counts.
        let marks = quote | backslash | below(0x20, chunk);
        if marks != 0 {
            return at + first(marks);
        }
        at += 8;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len())
}

const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The place of the first byte that is not 0; 8 without one.
const fn first(chunk: u64) -> usize {
    chunk.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_ends_plain_text_where_it_should_at_every_place() {
        for byte in 0..=255 {
            for (length, before) in (0..20).flat_map(|length| (0..=length).map(move |at| (length, at))) {
                for other in [b'a', 0x7f, 0x80, 0xff, b'!', b'#'] {
                    let mut bytes = vec![other; length];
                    bytes.insert(before, byte);
                    let expected = if matches!(byte, b'"' | b'\\' | 0..=0x1f) { before } else { bytes.len() };
                    assert_eq!(plain(&bytes), expected, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn spaces_are_counted_and_nothing_else() {
        for count in 1..20 {
            for other in ["\n", "\u{0}", "!", "x", ""] {
                let text = " ".repeat(count) + &other.repeat(9);
                let mut at = 0;
                while text.as_bytes().get(at) == Some(&b' ') {
                    at += spaces(&text.as_bytes()[at..]);
                }
                assert_eq!(at, count);
            }
        }
    }
}
