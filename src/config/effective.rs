//! What is in force, key by key, and who said so: what `config show` prints.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::checked::{NOT_ACTED_ON, Settings, idle};
use super::problem::dotted;
use super::raw::Raw;
use crate::domain::text;

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The dotted key.
    pub key: String,
    /// The value in force, as TOML writes it.
    pub value: String,
    /// The line of the file that says so; `None` for a default.
    pub line: Option<usize>,
    /// False for a key that this version accepts and does nothing with.
    pub acted_on: bool,
}

/// Every key with the value in force, sorted by key.
#[must_use]
pub fn rows(settings: &Settings) -> Vec<Row> {
    let mut rows = Vec::new();
    let whole = serde_json::to_value(&settings.effective).unwrap_or_default();
    leaves("", &whole, &mut |key, value| {
        rows.push(Row {
            key: key.to_owned(),
            value: written(value),
            line: settings.places.get(key).map(|place| place.line),
            acted_on: !idle(key),
        });
    });
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows
}

fn leaves(parent: &str, value: &Value, found: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                leaves(&dotted(parent, key), value, found);
            }
        }
        leaf => found(parent, leaf),
    }
}

/// A value as TOML: JSON's strings, numbers, booleans and lists are written alike in both, but
/// for what is not inert, which becomes an escape that both read.
fn written(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::String(words) => {
            let mut shown = String::from("\"");
            for c in words.chars() {
                match c {
                    '"' => shown.push_str("\\\""),
                    '\\' => shown.push_str("\\\\"),
                    c if text::is_active(c) => {
                        let _ = write!(shown, "\\U{:08X}", u32::from(c));
                    }
                    c => shown.push(c),
                }
            }
            shown.push('"');
            shown
        }
        other => other.to_string(),
    }
}

/// A configuration file to begin with: every key that has a default, commented out, with its
/// documentation. Uncommented it says what holds without it.
#[must_use]
pub fn template() -> String {
    let mut template = String::from(
        "# The configuration of lambda-os. Every key is optional; what is commented out is the default.\n\
         # Check it with: lambda-os config check\n",
    );
    let schema = super::raw::schema();
    let defaults = serde_json::to_value(Raw::default()).unwrap_or_default();
    section("", &schema, &defaults, &mut template);
    template
}

fn section(parent: &str, schema: &Value, defaults: &Value, template: &mut String) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let is_table = |key: &str| defaults.get(key).is_some_and(Value::is_object);
    for (key, schema) in properties.iter().filter(|(key, _)| !is_table(key)) {
        let Some(default) = defaults.get(key) else { continue };
        let words = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        for line in words.lines() {
            let _ = writeln!(template, "# {line}");
        }
        let _ = writeln!(template, "#{key} = {}", written(default));
    }
    for (key, schema) in properties.iter().filter(|(key, _)| is_table(key)) {
        let path = dotted(parent, key);
        let idle = if NOT_ACTED_ON.contains(&path.as_str()) { " (not acted on by this version)" } else { "" };
        let words = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(template, "\n# {}{idle}\n[{path}]", words.lines().next().unwrap_or_default());
        section(&path, schema, &defaults[key], template);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn parse(written: &str) -> Settings {
        Settings::parse(written, Source::Explicit("/c.toml".into())).expect("right")
    }

    #[test]
    fn every_row_says_who_said_so() {
        let rows = rows(&parse("[cycle]\n\ninterval_s = 7\n[modules.\"a b\"]\nhold = \"x\\u001by\"\n"));
        let row = |key: &str| rows.iter().find(|row| row.key == key).expect("there");
        assert_eq!((row("cycle.interval_s").value.as_str(), row("cycle.interval_s").line), ("7", Some(3)));
        assert_eq!((row("detect.parallel").value.as_str(), row("detect.parallel").line), ("8", None));
        assert_eq!(row("modules.\"a b\".hold").value, "\"x\\U0000001By\"");
        assert!(row("verify.steps").acted_on && row("cycle.jitter_s").acted_on);
        let chat = super::rows(&parse("[notify.telegram]\ntoken_file = '/x'\nchat_id = '1'\n"));
        assert!(chat.iter().any(|row| row.key == "notify.telegram.chat_id" && !row.acted_on));
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        let settings =
            parse("[modules.m]\nhold = \"a\\\"b\\\\c\\u202e\"\n[verify.sandbox]\nread=['/a','/b']\n");
        let lines: Vec<String> =
            rows(&settings).iter().map(|row| format!("{} = {}\n", row.key, row.value)).collect();
        let shown = lines.concat();
        assert_eq!(parse(&shown).effective, settings.effective);
    }

    #[test]
    fn the_template_is_the_defaults_with_and_without_its_comments() {
        assert_eq!(parse(&template()).effective, Raw::default());
        let whole = template();
        let lines: Vec<&str> = whole
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
            .collect();
        let bare = lines.join("\n");
        let settings = parse(&bare);
        assert_eq!(settings.effective, Raw::default());
        assert!(settings.places.contains_key("cycle.interval_s"), "{bare}");
    }
}
