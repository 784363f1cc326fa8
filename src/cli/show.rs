//! Showing results: text that fits a terminal, JSON that fits a script.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::{Exit, Failure, Global, When};
use crate::domain::moment::Civil;
use crate::domain::text::is_active;

/// Paints words, or leaves them plain. Meaning never depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// As the options, the terminal and `NO_COLOR` say, for standard output.
    #[must_use]
    pub fn stdout(global: &Global) -> Self {
        Self::on(global, io::stdout().is_terminal())
    }

    /// The same for standard error.
    #[must_use]
    pub fn stderr(global: &Global) -> Self {
        Self::on(global, io::stderr().is_terminal())
    }

    #[expect(clippy::disallowed_methods, reason = "what a terminal can do is said in the environment")]
    fn on(global: &Global, is_terminal: bool) -> Self {
        let on = match global.color {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                is_terminal
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        Self { on }
    }

    /// Never any colour: for files and tests.
    #[must_use]
    pub fn plain() -> Self {
        Self { on: false }
    }

    fn wrap(self, code: &str, words: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{words}\u{1b}[0m") } else { words.to_owned() }
    }

    /// Good news.
    #[must_use]
    pub fn good(self, words: &str) -> String {
        self.wrap("32", words)
    }

    /// Something to look at.
    #[must_use]
    pub fn warn(self, words: &str) -> String {
        self.wrap("33", words)
    }

    /// Something wrong.
    #[must_use]
    pub fn bad(self, words: &str) -> String {
        self.wrap("31", words)
    }

    /// A heading.
    #[must_use]
    pub fn bold(self, words: &str) -> String {
        self.wrap("1", words)
    }

    /// Less important.
    #[must_use]
    pub fn faint(self, words: &str) -> String {
        self.wrap("2", words)
    }
}

/// Rows of cells in aligned columns, two spaces apart, no trailing white space. Cells must be
/// inert already and are measured in characters; paint them only in the last column.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut shown = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        shown.push_str(line.trim_end());
        shown.push('\n');
    }
    shown
}

/// `2026-11-22 06:28:31Z`, from Unix milliseconds.
#[must_use]
pub fn utc(wall_ms: i64) -> String {
    let Civil { year, month, day, hour, minute, second } = Civil::of(wall_ms);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// A stretch of time in its two largest units: `3 d 4 h`, `12 min`, `5 s`.
#[must_use]
pub fn stretch(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Somebody reads standard output as it is written.
#[must_use]
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Write data to standard output. A closed pipe ends the program quietly, as `head` expects.
pub fn data(text: &str) -> Result<Exit, Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(Exit::Ok),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        Err(error) => Err(Failure::new(Exit::Failed, format!("cannot write to standard output: {error}"))),
    }
}

/// Write a line for people to stderr. One that cannot be written is dropped: nobody reads it, and
/// the exit code says the same.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Write one JSON object (which holds its own `schema` field) and a newline.
pub fn json(value: &impl Serialize) -> Result<Exit, Failure> {
    let mut text = serde_json::to_string(value)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot write JSON: {error}")))?;
    text.push('\n');
    data(&without_active(&text))
}

/// The same JSON, with characters that would act on a terminal as `\u` escapes. They stand only in
/// strings, where an escape means the character itself.
pub(super) fn without_active(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if is_active(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(utc(0), "1970-01-01 00:00:00Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00Z");
        assert_eq!(utc(1_790_000_000_999), "2026-09-21 14:13:20Z");
        assert_eq!(utc(-1), "1969-12-31 23:59:59Z");
    }

    #[test]
    fn stretches_are_shown_in_two_units() {
        let shown = [0, 59_999, 60_000, 3_599_999, 3_600_000, 90_000_000, -5].map(stretch);
        assert_eq!(shown, ["0 s", "59 s", "1 min", "59 min", "1 h 0 min", "1 d 1 h", "0 s"]);
    }

    #[test]
    fn json_is_inert_and_means_the_same() {
        let outside = "a\u{1b}[31m\u{202e}b\u{7f}\u{85}\u{e0041}\n<b>\u{fc}";
        let text = serde_json::json!({ "name": outside, outside: 1 }).to_string();
        let shown = without_active(&text);
        assert!(!shown.chars().any(is_active), "{shown:?}");
        assert!(shown.contains("\u{fc}"), "letters stay as they are");
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(value, serde_json::from_str::<serde_json::Value>(&text).unwrap());
    }
}
