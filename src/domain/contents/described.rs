//! What a module says of itself in `metadata.json`, and whether it says it as the format has it.
//!
//! In: the file's bytes. Out: what rules ask of it, with everything that is wrong, each a sentence.
//! Unknown keys are normal. What is a claim of the module's own stays one: it can only weigh against it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::signed::MAX_BYTES;
use crate::domain::canonical;
use crate::domain::text;

/// The kinds of modules.
const TYPES: [&str; 3] = ["core", "ui", "ui_qml"];

/// The kinds of interfaces.
const INTERFACES: [&str; 3] = ["universal", "cdylib", "legacy"];

/// Capabilities that make a module one that carries messages.
const MESSAGING: [&str; 3] = ["messaging", "chat", "delivery"];

/// What `metadata.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    /// The module's own name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What it says that it can do.
    pub capabilities: BTreeSet<String>,
    /// Whether it limits its rate (RLN), where it says so.
    pub rln: Option<bool>,
    /// The licence that it names.
    pub licence: Option<String>,
    /// What is not as the format has it, each a sentence without a final stop, inert.
    pub faults: Vec<String>,
}

impl Described {
    /// Whether it carries messages.
    #[must_use]
    pub fn is_messaging(&self) -> bool {
        MESSAGING.iter().any(|capability| self.capabilities.contains(*capability))
    }
}

/// Read it. A text that is no JSON object has that as its one fault.
#[must_use]
pub fn read(bytes: &[u8]) -> Described {
    let broken = |why: String| Described { faults: vec![text::inert(&why)], ..Described::default() };
    if bytes.len() > MAX_BYTES {
        return broken(format!("it is larger than {MAX_BYTES} bytes"));
    }
    match object(bytes) {
        Ok(members) => Reader { members, faults: Vec::new() }.read(),
        Err(why) => broken(why),
    }
}

/// A JSON object without doubt about what it says. Fractions are no doubt here: nothing is hashed.
fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    use canonical::CanonicalError::{NotAnInteger, OutOfRange};

    let value = match canonical::parse(bytes) {
        Err(NotAnInteger | OutOfRange) => {
            serde_json::from_slice(bytes).map_err(|error| format!("it is no JSON: {error}"))?
        }
        parsed => parsed.map_err(|error| error.to_string())?,
    };
    match value {
        Value::Object(members) => Ok(members),
        _ => Err("it is no JSON object".to_owned()),
    }
}

struct Reader {
    members: Map<String, Value>,
    faults: Vec<String>,
}

impl Reader {
    fn read(mut self) -> Described {
        let name = self.required("name");
        if let Some(name) = name.as_deref().filter(|name| !is_name(name)) {
            self.faults.push(format!("{} is no name of a module", text::quoted(&text::clipped(name, 80))));
        }
        let version = self.required("version");
        if let Some(version) = version.as_deref().filter(|version| !is_version(version)) {
            self.faults.push(format!("{} is no version", text::quoted(&text::clipped(version, 80))));
        }
        if let Some(kind) = self.required("type") {
            self.one_of("type", &kind, &TYPES);
        }
        if let Some(interface) = self.text("interface") {
            self.one_of("interface", &interface, &INTERFACES);
        }
        for key in ["display_name", "description", "category", "icon", "view"] {
            self.text(key);
        }
        let licence = self.text("license").or_else(|| self.text("licence"));
        self.main();
        self.dependencies();
        let capabilities = self.capabilities();
        let rln = self.rln();
        if self.members.get("nix").is_some_and(|nix| !nix.is_object()) {
            self.faults.push("nix is no object".to_owned());
        }
        Described { name, version, capabilities, rln, licence, faults: self.faults }
    }

    /// A text; a fault when it is something else.
    fn text(&mut self, key: &str) -> Option<String> {
        match self.members.get(key) {
            Some(Value::String(text)) => Some(text.clone()),
            None | Some(Value::Null) => None,
            Some(_) => {
                self.faults.push(format!("{key} is no text"));
                None
            }
        }
    }

    fn required(&mut self, key: &str) -> Option<String> {
        let before = self.faults.len();
        let found = self.text(key).filter(|text| !text.is_empty());
        if found.is_none() && self.faults.len() == before {
            self.faults.push(format!("it has no {key}"));
        }
        found
    }

    fn one_of(&mut self, key: &str, found: &str, known: &[&str]) {
        if !known.contains(&found) {
            let found = text::quoted(&text::clipped(found, 80));
            self.faults.push(format!("its {key} is {found}, and none of {}", known.join(", ")));
        }
    }

    /// One name, or one for each platform.
    fn main(&mut self) {
        let fine = match self.members.get("main") {
            None | Some(Value::Null | Value::String(_)) => true,
            Some(Value::Object(each)) => each.values().all(Value::is_string),
            Some(_) => false,
        };
        if !fine {
            self.faults.push("main is neither a text nor one for each platform".to_owned());
        }
    }

    fn dependencies(&mut self) {
        let fine = |entry: &Value| {
            let name = entry.as_str().or_else(|| entry.get("name").and_then(Value::as_str));
            name.is_some_and(is_name)
        };
        match self.members.get("dependencies") {
            None | Some(Value::Null) => {}
            Some(Value::Array(entries)) if entries.iter().all(fine) => {}
            Some(Value::Array(_)) => {
                self.faults.push("one of its dependencies is no name of a module".to_owned());
            }
            Some(_) => self.faults.push("dependencies is no list".to_owned()),
        }
    }

    /// A list of names, or an object whose members that are not false are the names.
    fn capabilities(&mut self) -> BTreeSet<String> {
        match self.members.get("capabilities") {
            None | Some(Value::Null) => BTreeSet::new(),
            Some(Value::Array(entries)) => {
                let found: BTreeSet<String> =
                    entries.iter().filter_map(Value::as_str).map(str::to_lowercase).collect();
                if !entries.iter().all(Value::is_string) {
                    self.faults.push("one of its capabilities is no text".to_owned());
                }
                found
            }
            Some(_) => {
                self.faults.push("capabilities is no list".to_owned());
                BTreeSet::new()
            }
        }
    }

    /// `true`, `false`, or an object that says `enabled`. What cannot be read does not switch it on.
    fn rln(&mut self) -> Option<bool> {
        let said = match self.members.get("rln")? {
            Value::Null => return None,
            Value::Bool(on) => Some(*on),
            Value::Object(settings) => settings.get("enabled").and_then(Value::as_bool),
            _ => None,
        };
        if said.is_none() {
            self.faults.push("rln is neither true nor false".to_owned());
        }
        Some(said.unwrap_or(false))
    }
}

/// A name that can stand in a path and on a command line as it is.
fn is_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    first && name.len() <= 128 && name.chars().all(fine)
}

/// Digits first, then anything that a version can hold (semver.org and what is in use around it).
fn is_version(version: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
    let bare = version.strip_prefix('v').unwrap_or(version);
    bare.starts_with(|c: char| c.is_ascii_digit()) && version.len() <= 128 && version.chars().all(fine)
}

/// Whether the workspace's run configuration (`scaffold.toml`, its table `[mix]`) switches RLN on;
/// `None` when it does not say.
///
/// # Errors
/// A sentence without a final stop, inert: why that cannot be told.
pub fn rln_of_scaffold(bytes: &[u8]) -> Result<Option<bool>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text in UTF-8".to_owned())?;
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| format!("it is no TOML: {}", text::inert(error.message())))?;
    match table.get("mix") {
        None => Ok(None),
        Some(toml::Value::Table(mix)) => match mix.get("rln_enabled") {
            None => Ok(None),
            Some(toml::Value::Boolean(on)) => Ok(Some(*on)),
            Some(_) => Err("mix.rln_enabled is neither true nor false".to_owned()),
        },
        Some(_) => Err("mix is no table".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, faults: &[&str]) -> Described {
        let read = read(json.as_bytes());
        assert_eq!(read.faults.len(), faults.len(), "{json}: {:?}", read.faults);
        for (found, expect) in read.faults.iter().zip(faults) {
            assert!(found.contains(expect), "{json}: {found}");
        }
        read
    }

    #[test]
    fn what_rules_ask_is_read_and_unknown_keys_are_normal() {
        let read = check(
            r#"{"name":"chat","version":"1.2.0-rc.1","type":"core","interface":"universal","license":"MIT",
                "main":{"linux":"chat_plugin.so"},"dependencies":["waku",{"name":"store","version":"1"}],
                "capabilities":["Chat"],"rln":{"enabled":true},"nix":{"packages":[]},"x":[1.5]}"#,
            &[],
        );
        assert_eq!((read.name.as_deref(), read.version.as_deref()), (Some("chat"), Some("1.2.0-rc.1")));
        assert_eq!((read.rln, read.licence.as_deref()), (Some(true), Some("MIT")));
        assert!(read.is_messaging());
        let read = check(r#"{"name":"a","version":"v1","type":"ui","main":"x","capabilities":[]}"#, &[]);
        assert!(!read.is_messaging() && read.rln.is_none());
    }

    #[test]
    fn every_slip_is_named() {
        check("{}", &["no name", "no version", "no type"]);
        check("[]", &["no JSON object"]);
        check("{", &["JSON"]);
        check("\u{feff}{}", &["JSON"]);
        check(r#"{"name":"a","name":"b","version":"1","type":"core"}"#, &["name"]);
        check(
            r#"{"name":"../a","version":"one","type":"plugin"}"#,
            &["no name of", "no version", "its type is"],
        );
        check(
            r#"{"name":1,"version":"1","type":"core","interface":"x","main":1,"dependencies":["a b"],
                "capabilities":"chat","rln":"yes","nix":[],"description":[]}"#,
            &[
                "name is no text",
                "interface is",
                "description is",
                "main is",
                "dependencies",
                "capabilities",
                "rln",
                "nix",
            ],
        );
        check(&format!("{}{}", " ".repeat(MAX_BYTES), "{}"), &["larger than"]);
    }

    #[test]
    fn what_cannot_be_read_does_not_switch_rln_on() {
        for (rln, expect) in
            [("true", true), ("false", false), ("\"yes\"", false), ("1", false), ("{\"enabled\":1}", false)]
        {
            let json = format!(r#"{{"name":"a","version":"1","type":"core","rln":{rln}}}"#);
            assert_eq!(read(json.as_bytes()).rln, Some(expect), "{rln}");
        }
        for (toml, expect) in [
            ("[mix]\nrln_enabled = true\n", Ok(Some(true))),
            ("[mix]\nrln_enabled = false\n", Ok(Some(false))),
            ("[mix]\n", Ok(None)),
            ("[other]\nrln_enabled = true\n", Ok(None)),
            ("", Ok(None)),
        ] {
            assert_eq!(rln_of_scaffold(toml.as_bytes()), expect, "{toml}");
        }
        for broken in ["[mix]\nrln_enabled = 1\n", "mix = 1\n", "[mix", "\u{1}"] {
            assert!(rln_of_scaffold(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
