//! Everything that is wrong with a configuration file, with its place.
//!
//! In: the text. Out: where each key stands, and every syntax error, unknown key, wrong type,
//! word and number out of range, found by walking the parsed file beside the schema of
//! [`super::raw`]. A value is never repeated in a message: it may be a secret in a wrong place.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::raw;
use crate::domain::text;

/// A place in a file, both counted from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where; `None` for what is missing.
    pub place: Option<Place>,
    /// The dotted key, inert; empty for a syntax error.
    pub key: String,
    /// What is wrong, as a clause without a final stop.
    pub message: String,
    /// What to write instead, where that can be guessed.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with one file, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Where each key of a file stands, by dotted key.
pub type Places = BTreeMap<String, Place>;

/// Walk a file beside the schema.
///
/// # Errors
/// All problems found, in the order of the file.
pub fn examine(source: &str) -> Result<Places, Problems> {
    let table = DeTable::parse(source).map_err(|error| {
        let place = error.span().map(|span| place_of(source, span.start));
        // Only the message: the full text of a TOML error repeats the line, which may hold a secret.
        let message = format!("not TOML: {}", text::inert(error.message()));
        Problems(vec![Problem { place, key: String::new(), message, hint: None }])
    })?;
    let mut walk = Walk { source, places: Places::new(), problems: Vec::new() };
    walk.table("", table.get_ref(), &raw::schema());
    if walk.problems.is_empty() {
        return Ok(walk.places);
    }
    walk.problems.sort();
    Err(Problems(walk.problems))
}

/// The dotted form of a key below another one.
#[must_use]
pub fn dotted(parent: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let shown = if bare { key.to_owned() } else { text::quoted(key) };
    if parent.is_empty() { shown } else { format!("{parent}.{shown}") }
}

fn place_of(source: &str, offset: usize) -> Place {
    let before = source.get(..offset).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

struct Walk<'a> {
    source: &'a str,
    places: Places,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn wrong(&mut self, key: &str, at: usize, message: String, hint: Option<String>) {
        let place = Some(place_of(self.source, at));
        self.problems.push(Problem { place, key: key.to_owned(), message, hint });
    }

    fn table(&mut self, parent: &str, table: &DeTable<'_>, schema: &Value) {
        let known = schema.get("properties").and_then(Value::as_object);
        // A map such as `modules` has one schema for whatever key.
        let any = schema.get("additionalProperties").filter(|any| any.is_object());
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let path = dotted(parent, name);
            let at = key.span().start;
            self.places.insert(path.clone(), place_of(self.source, at));
            if let Some(schema) = known.and_then(|known| known.get(name)).or(any) {
                self.value(&path, value, schema);
            } else {
                let names = known.into_iter().flat_map(|known| known.keys().map(String::as_str));
                let hint = unknown_key_hint(name, parent, names);
                self.wrong(&path, at, format!("unknown key {path}"), Some(hint));
            }
        }
        for needed in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let needed = needed.as_str().unwrap_or_default();
            if !table.contains_key(needed) {
                let path = dotted(parent, needed);
                let place = self.places.get(parent).copied();
                let message = format!("{path} is missing");
                self.problems.push(Problem { place, key: path, message, hint: None });
            }
        }
    }

    fn value(&mut self, path: &str, value: &Spanned<DeValue<'_>>, schema: &Value) {
        let schema = not_null(schema);
        let at = value.span().start;
        let found = value.get_ref().type_str();
        let words = words_of(schema);
        let wanted = schema.get("type").map(|wanted| match wanted {
            Value::Array(some) => some.iter().find_map(|one| one.as_str().filter(|one| *one != "null")),
            one => one.as_str(),
        });
        match (wanted.flatten().unwrap_or("string"), value.get_ref()) {
            ("object", DeValue::Table(table)) => self.table(path, table, schema),
            ("array", DeValue::Array(array)) => {
                let items = schema.get("items").unwrap_or(&Value::Null);
                for (index, item) in array.iter().enumerate() {
                    self.value(&format!("{path}[{index}]"), item, items);
                }
            }
            ("boolean", DeValue::Boolean(_)) => {}
            ("string", DeValue::String(word)) => {
                if !words.is_empty() && !words.contains(&word.as_ref()) {
                    let hint = text::nearest(word, words.iter().copied())
                        .map(|word| format!("did you mean {}?", text::quoted(word)));
                    self.wrong(path, at, format!("{path} must be one of {}", words.join(", ")), hint);
                }
            }
            ("integer", DeValue::Integer(number)) => {
                let bound = |name| schema.get(name).and_then(Value::as_i64);
                let (min, max) = (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(i64::MAX));
                let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
                if !value.is_some_and(|value| (min..=max).contains(&value)) {
                    self.wrong(path, at, format!("{path} must be from {min} to {max}"), None);
                }
            }
            (wanted, _) => {
                let wanted = if wanted == "object" { "table" } else { wanted };
                let article = if wanted.starts_with(['a', 'i']) { "an" } else { "a" };
                let message = format!("{path} must be {article} {wanted}, and is of type {found}");
                self.wrong(path, at, message, None);
            }
        }
    }
}

/// `Option<T>` may be written as "T or null"; TOML has no null.
fn not_null(schema: &Value) -> &Value {
    schema
        .get("anyOf")
        .and_then(Value::as_array)
        .and_then(|some| some.iter().find(|one| one.get("type").and_then(Value::as_str) != Some("null")))
        .unwrap_or(schema)
}

/// The words that a string may be; empty for any string.
fn words_of(schema: &Value) -> Vec<&str> {
    let list = |name| schema.get(name).and_then(Value::as_array).into_iter().flatten();
    let plain = list("enum").filter_map(Value::as_str);
    let described = list("oneOf").flat_map(|one| {
        let one_const = one.get("const").and_then(Value::as_str);
        let some = one.get("enum").and_then(Value::as_array).into_iter().flatten();
        one_const.into_iter().chain(some.filter_map(Value::as_str))
    });
    plain.chain(described).collect()
}

/// Words that people give to keys which hold a secret.
const SECRET_WORDS: [&str; 7] = ["token", "password", "passwd", "secret", "api_key", "apikey", "credential"];

fn unknown_key_hint<'a>(name: &str, parent: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    if let Some(file) = known.iter().find(|key| key.strip_suffix("_file") == Some(name)) {
        return format!(
            "secrets do not stand in the configuration: put it into a file and name it with {file}"
        );
    }
    let lower = name.to_ascii_lowercase();
    if SECRET_WORDS.iter().any(|word| lower.contains(word))
        && text::nearest(name, known.iter().copied()).is_none()
    {
        return "secrets do not stand in the configuration, only names of files that hold them".to_owned();
    }
    if let Some(near) = text::nearest(name, known.iter().copied()) {
        return format!("did you mean {near}?");
    }
    let place = if parent.is_empty() { "here".to_owned() } else { format!("in [{parent}]") };
    if known.is_empty() {
        return format!("no keys are known {place}");
    }
    format!("known {place}: {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(source: &str) -> String {
        examine(source).map_or_else(|problems| problems.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn a_right_file_gives_the_place_of_each_key() {
        let places = examine("[cycle]\ninterval_s = 5\n[modules.\"a b\"]\n hold = 'why'\n").expect("right");
        assert_eq!(places["cycle.interval_s"], Place { line: 2, column: 1 });
        assert_eq!(places["modules.\"a b\".hold"], Place { line: 4, column: 2 });
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_right_one() {
        assert_eq!(
            said("[cycle]\n  intervall_s = 5\n"),
            "line 2, column 3: unknown key cycle.intervall_s (did you mean interval_s?)"
        );
        assert_eq!(said("[cylce]\n"), "line 1, column 2: unknown key cylce (did you mean cycle?)");
        assert_eq!(
            said("[autonomy]\nspeed = 3\n"),
            "line 2, column 1: unknown key autonomy.speed (known in [autonomy]: rung, tracks)"
        );
    }

    #[test]
    fn every_problem_is_found_in_one_pass() {
        let said = said("[cycle]\ninterval_s = 0\njitter_s = 'x'\n[autonomy]\nrung = 'asisted'\n[x]\n");
        assert_eq!(
            said,
            "line 2, column 14: cycle.interval_s must be from 1 to 2592000\n\
             line 3, column 12: cycle.jitter_s must be an integer, and is of type string\n\
             line 5, column 8: autonomy.rung must be one of manual, assisted, gated, bounded (did you mean \"assisted\"?)\n\
             line 6, column 2: unknown key x (known here: autonomy, cycle, detect, drift, governance, heal, modules, notify, plan, snapshot, verify, workspace)"
        );
    }

    #[test]
    fn a_secret_in_the_file_is_refused_and_not_repeated() {
        for source in [
            "[notify.telegram]\nchat_id = '1'\ntoken_file = '/x'\ntoken = \"s3cr3t\"\n",
            "[notify]\ntelegram = \"s3cr3t\"\n",
            "[governance]\napi_key = \"s3cr3t\"\n",
            "[autonomy]\nrung = \"s3cr3t\"\n",
            "[cycle]\ninterval_s = \"s3cr3t\"\n",
            "token = \"s3cr3t\n",
        ] {
            let said = said(source);
            assert!(said.starts_with("line ") && !said.contains("s3cr3t"), "{said}");
        }
        assert!(said("[notify.telegram]\ntoken = 'x'\n").contains("name it with token_file"));
    }

    #[test]
    fn hostile_keys_are_shown_inert_and_deep_nesting_is_an_error() {
        assert!(said("\"a\\u001b[31m\" = 1\n").contains("unknown key \"a\\u{1b}[31m\""));
        let deep = format!("x = {}1{}\n", "[".repeat(50_000), "]".repeat(50_000));
        assert!(said(&deep).contains("line 1"), "a value or an error, no overflow");
    }

    #[test]
    fn what_is_needed_and_missing_is_said() {
        assert_eq!(
            said("[notify.telegram]\nchat_id = '1'\n"),
            "line 1, column 9: notify.telegram.token_file is missing"
        );
    }
}
