//! `allowed_signers` files, as `ssh-keygen -Y verify` reads them (ssh-keygen(1), ALLOWED SIGNERS).
//!
//! In: the file's text. Out: names with their keys and until when each may sign, for a members
//! document; and which lines are for something else than ballots. What a members document cannot
//! mean the same by is refused with its line: patterns for names, several names for one key,
//! certificate authorities, times that depend on the machine's time zone.

use super::key::PublicKey;
use super::members::is_name;
use super::signature::NAMESPACE;
use crate::domain::moment::Moment;
use crate::domain::text;

/// Largest file that is looked at, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// One key with its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedKey {
    /// Whose it is.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// From when it may sign, Unix milliseconds.
    pub from_ms: Option<i64>,
    /// Until when, Unix milliseconds.
    pub until_ms: Option<i64>,
}

/// What a file says about ballots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signers {
    /// The keys that may sign ballots, in the file's order.
    pub keys: Vec<AllowedKey>,
    /// Lines whose keys may only sign something else, each a sentence without a final stop.
    pub left_out: Vec<String>,
}

/// Why a file cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct SignersError {
    /// Which line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong, a sentence without a final stop.
    pub why: String,
}

/// Whether this is such a file rather than one public key: its first word names nobody's algorithm.
#[must_use]
pub fn is_one(content: &str) -> bool {
    let mut lines = lines(content);
    match (lines.next(), lines.next()) {
        (Some((_, only)), None) => !is_algorithm(only) && only.split_whitespace().count() > 2,
        (Some(_), Some(_)) => true,
        (None, _) => false,
    }
}

/// Read a file.
///
/// # Errors
/// With the first line that cannot be taken over.
pub fn parse(content: &str) -> Result<Signers, SignersError> {
    if content.len() > MAX_FILE {
        return Err(SignersError { line: 0, why: "the file is too large".to_owned() });
    }
    let mut signers = Signers::default();
    for (line, written) in lines(content) {
        let refused = |why: String| SignersError { line, why };
        let (principals, rest) = principals(written).map_err(refused)?;
        let (options, key) = options_and_key(rest).map_err(refused)?;
        let options = Options::parse(options).map_err(refused)?;
        if !options.namespaces.as_deref().is_none_or(|patterns| matches(patterns, NAMESPACE)) {
            let patterns = options.namespaces.unwrap_or_default();
            signers.left_out.push(format!(
                "line {line}: the key of {} may sign for {} only, not for {NAMESPACE}",
                text::word(principals),
                text::quoted(&patterns)
            ));
            continue;
        }
        if !is_name(principals) {
            let why = if principals.contains(',') {
                format!(
                    "{} are several names for one key, and a key is one principal's",
                    text::quoted(principals)
                )
            } else {
                format!("{} is a pattern or holds what no name may", text::quoted(principals))
            };
            return Err(refused(why));
        }
        if let (Some(from), Some(until)) = (options.from_ms, options.until_ms)
            && from > until
        {
            return Err(refused("it is valid before it begins to be".to_owned()));
        }
        let key = key.parse::<PublicKey>().map_err(|error| refused(error.to_string()))?;
        let name = principals.to_owned();
        signers.keys.push(AllowedKey { name, key, from_ms: options.from_ms, until_ms: options.until_ms });
    }
    Ok(signers)
}

/// The lines that say something, with their numbers.
fn lines(content: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = content.lines().enumerate().map(|(at, line)| (at + 1, line.trim_matches([' ', '\t', '\r'])));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The first word, which may stand in quotes, and what follows it.
fn principals(line: &str) -> Result<(&str, &str), String> {
    let (word, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("its quotation mark is not closed")?,
        None => line.split_once([' ', '\t']).ok_or("it has no key")?,
    };
    if word.is_empty() { Err("it names nobody".to_owned()) } else { Ok((word, rest.trim_start())) }
}

/// The options, empty where there are none, and the key.
fn options_and_key(rest: &str) -> Result<(&str, &str), String> {
    if is_algorithm(rest) {
        return Ok(("", rest));
    }
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'\\' if quoted && !escaped => {
                escaped = true;
                continue;
            }
            b'"' if !escaped => quoted = !quoted,
            b' ' | b'\t' if !quoted => return Ok((&rest[..at], rest[at..].trim_start())),
            _ => {}
        }
        escaped = false;
    }
    Err(if quoted { "its quotation mark is not closed" } else { "it has no key" }.to_owned())
}

fn is_algorithm(rest: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| rest.starts_with(prefix))
}

/// What stands between the name and the key.
#[derive(Default)]
struct Options {
    namespaces: Option<String>,
    from_ms: Option<i64>,
    until_ms: Option<i64>,
}

impl Options {
    fn parse(mut rest: &str) -> Result<Self, String> {
        let mut options = Self::default();
        while !rest.is_empty() {
            let end = rest.find(['=', ',']).unwrap_or(rest.len());
            let name = rest[..end].to_ascii_lowercase();
            let (value, tail) = match rest[end..].strip_prefix('=') {
                Some(value) => {
                    let (value, tail) = quoted_value(value)?;
                    (Some(value), tail)
                }
                None => (None, &rest[end..]),
            };
            match (name.as_str(), value) {
                ("cert-authority", _) => {
                    return Err(
                        "a certificate authority decides over nothing here: give the keys themselves"
                            .to_owned(),
                    );
                }
                ("namespaces", Some(value)) => once(&mut options.namespaces, value, &name)?,
                ("valid-after", Some(value)) => once(&mut options.from_ms, time(&value)?, &name)?,
                ("valid-before", Some(value)) => once(&mut options.until_ms, time(&value)?, &name)?,
                _ => return Err(format!("{} is no option that is known here", text::quoted(&name))),
            }
            rest = match tail.strip_prefix(',') {
                Some(more) if !more.is_empty() && !more.starts_with(',') => more,
                None if tail.is_empty() => tail,
                _ => return Err("its options are not separated by single commas".to_owned()),
            };
        }
        Ok(options)
    }
}

fn once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("the option {name} stands twice")),
    }
}

/// A value in quotation marks, where `\"` is one, and what follows it.
fn quoted_value(written: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let inner = written.strip_prefix('"').ok_or("an option's value stands in no quotation marks")?;
    let mut characters = inner.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &inner[at + 1..])),
            '\\' if inner[at + 1..].starts_with('"') => {
                value.push('"');
                characters.next();
            }
            other => value.push(other),
        }
    }
    Err("its quotation mark is not closed".to_owned())
}

/// `YYYYMMDD[HHMM[SS]]Z`, as Unix milliseconds.
fn time(written: &str) -> Result<i64, String> {
    let wrong = || format!("{} is no time such as 20261122Z or 202611220628Z", text::quoted(written));
    let upper = written.to_ascii_uppercase();
    let Some(digits) = upper.strip_suffix("UTC").or_else(|| upper.strip_suffix('Z')) else {
        let is_local = [8, 12, 14].contains(&written.len()) && written.bytes().all(|b| b.is_ascii_digit());
        return Err(if is_local {
            format!(
                "{written} is a time of the machine's own zone, which others do not share: write {written}Z"
            )
        } else {
            wrong()
        });
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let (day, clock) = digits.split_at_checked(8).ok_or_else(wrong)?;
    let clock = match clock.len() {
        0 => "000000".to_owned(),
        4 => format!("{clock}00"),
        6 => clock.to_owned(),
        _ => return Err(wrong()),
    };
    let (year, month, day) = (&day[..4], &day[4..6], &day[6..]);
    let (hour, minute, second) = (&clock[..2], &clock[2..4], &clock[4..]);
    let moment: Moment =
        format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z").parse().map_err(|_| wrong())?;
    Ok(moment.as_ms())
}

/// Whether a list of patterns matches, as OpenSSH's: `*` and `?`, and `!` in front takes back.
fn matches(patterns: &str, word: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(not) if glob(not.as_bytes(), word.as_bytes()) => return false,
            Some(_) => {}
            None => found |= glob(pattern.as_bytes(), word.as_bytes()),
        }
    }
    found
}

/// Linear in the pattern for each byte of the word: the last star is all that is gone back to.
fn glob(pattern: &[u8], word: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < word.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == word[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((back, taken)) = star else { return false };
                star = Some((back, taken + 1));
                at = back + 1;
                from = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::super::fixture::key;
    use super::*;

    fn file(lines: &[&str]) -> String {
        lines.iter().fold(String::new(), |all, line| {
            let line = line.replace("KEY1", key(1).line()).replace("KEY2", key(2).line());
            all + &line + "\n"
        })
    }

    #[test]
    fn names_keys_and_times_are_taken_over() {
        let content = file(&[
            "# people",
            "",
            "ann KEY1 ann's laptop",
            "  \"ben@example.org\"\tNameSpaces=\"git,ballot@*\",valid-after=\"20260101Z\",valid-before=\"202612312359Z\" KEY2",
        ]);
        let signers = parse(&content).unwrap();
        assert_eq!(signers.left_out, Vec::<String>::new());
        let ms = |shown: &str| Some(shown.parse::<Moment>().unwrap().as_ms());
        let ann = AllowedKey { name: "ann".to_owned(), key: key(1), from_ms: None, until_ms: None };
        let ben = AllowedKey {
            name: "ben@example.org".to_owned(),
            key: key(2),
            from_ms: ms("2026-01-01T00:00:00Z"),
            until_ms: ms("2026-12-31T23:59:00Z"),
        };
        assert_eq!(signers.keys, [ann, ben]);
        assert!(is_one(&content) && is_one(&file(&["ann KEY1"])));
        assert!(!is_one(&file(&["KEY1 ann@host"])) && !is_one("") && !is_one("garbage\n"));
    }

    #[test]
    fn a_key_for_something_else_is_left_out() {
        for (namespaces, counts) in [
            ("ballot@lambda-os", true),
            ("*", true),
            ("git,file", false),
            ("*,!ballot@*", false),
            ("!git,*@lambda-o?", true),
            ("ballot@lambda-os.org", false),
            ("", false),
        ] {
            let signers = parse(&file(&[&format!("ann namespaces=\"{namespaces}\" KEY1")])).unwrap();
            assert_eq!(
                (signers.keys.len(), signers.left_out.len()),
                (usize::from(counts), usize::from(!counts))
            );
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_its_line() {
        for (line, says) in [
            ("*@example.org KEY1", "is a pattern"),
            ("ann,ann@example.org KEY1", "several names for one key"),
            ("ann cert-authority KEY1", "certificate authority"),
            ("ann valid-after=\"20260101\" KEY1", "write 20260101Z"),
            ("ann valid-after=\"20261301Z\" KEY1", "no time such as"),
            ("ann valid-before=\"2026010Z\" KEY1", "no time such as"),
            ("ann valid-before=\"tomorrow\" KEY1", "no time such as"),
            ("ann valid-after=20260101Z KEY1", "no quotation marks"),
            ("ann valid-after=\"20270101Z\",valid-before=\"20260101Z\" KEY1", "before it begins"),
            ("ann valid-after=\"20270101Z\",valid-after=\"20260101Z\" KEY1", "stands twice"),
            ("ann verify-required KEY1", "no option that is known"),
            ("ann namespaces=\"git KEY1", "not closed"),
            ("ann namespaces=\"*\",,valid-after=\"20260101Z\" KEY1", "single commas"),
            ("ann", "it has no key"),
            ("ann namespaces=\"*\"", "it has no key"),
            ("ann ssh-ed25519 AAAA", "not an OpenSSH public key"),
            ("ann ssh-dss AAAA", "may not sign ballots"),
        ] {
            let error = parse(&file(&["ann KEY2", line])).expect_err(line);
            assert!(error.line == 2 && error.why.contains(says), "{line}: {error}");
        }
        assert_eq!(parse(&"#".repeat(MAX_FILE + 1)).unwrap_err().line, 0);
    }
}
