//! Slips of the fingers in a document: what serde says of a name that it does not know, with the nearest
//! right one.

use crate::domain::text;

/// The same message, with the nearest name where one is not known.
///
/// serde says "unknown field `x`, expected one of `a`, `b`" (and "variant"), always with the names in
/// backticks; any other message stays as it is.
pub(in crate::domain) fn slip(message: &str) -> String {
    let (what, rest) = if let Some(rest) = message.strip_prefix("unknown field ") {
        ("key", rest)
    } else if let Some(rest) = message.strip_prefix("unknown variant ") {
        ("word", rest)
    } else {
        return text::inert(message);
    };
    // The name itself may hold backticks: it ends where the list begins.
    let Some((name, known)) = split(rest) else { return text::inert(message) };
    let near = text::nearest(name, known.iter().copied());
    let known =
        if known.is_empty() { "it knows none".to_owned() } else { format!("it knows {}", known.join(", ")) };
    match near {
        Some(near) => format!("unknown {what} {} (did you mean {near}?); {known}", text::quoted(name)),
        None => format!("unknown {what} {}; {known}", text::quoted(name)),
    }
}

fn split(rest: &str) -> Option<(&str, Vec<&str>)> {
    let at = rest.rfind(", expected ").or_else(|| rest.rfind(", there are no "))?;
    let name = rest[..at].strip_prefix('`')?.strip_suffix('`')?;
    let known = rest[at..].split('`').skip(1).step_by(2).collect();
    Some((name, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_in_what_serde_says() {
        for (message, expect) in [
            (
                "unknown field `dais`, expected `days`",
                "unknown key \"dais\" (did you mean days?); it knows days",
            ),
            ("unknown field `x`, expected `long` or `longer`", "unknown key \"x\"; it knows long, longer"),
            (
                "unknown field `b`, expected one of `a`, `c`, `d` at line 1",
                "unknown key \"b\" (did you mean a?); it knows a, c, d",
            ),
            ("unknown field `x`, there are no fields", "unknown key \"x\"; it knows none"),
            ("unknown field `a`, expected `b`, expected `c`", "unknown key \"a`, expected `b\"; it knows c"),
            (
                "unknown variant `denny`, expected one of `deny`, `warn`",
                "unknown word \"denny\" (did you mean deny?); it knows deny, warn",
            ),
            ("invalid type: \u{1b}[2J", "invalid type: \\u{1b}[2J"),
        ] {
            assert_eq!(slip(message), expect);
        }
    }
}
