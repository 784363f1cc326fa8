//! What a module says of itself: `metadata.json`, and what `lm` reads out of the plugin.
//!
//! In: JSON from outside, bounded. Out: the name under which a host loads it, and what must be
//! loaded before it. Unknown keys are normal. A claim can refuse a module; it never passes one.

use serde_json::Value;

/// Most bytes of one such text.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Most modules that one may need.
const MAX_DEPENDENCIES: usize = 256;

/// What a module says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Metadata {
    /// The name that hosts know it by.
    pub(super) name: String,
    /// What its plugin file is called, with or without an ending; absent when that follows from the name.
    pub(super) main: Option<String>,
    /// The names of modules that must be loaded first.
    pub(super) dependencies: Vec<String>,
    /// What kind of module it is: `core`, or what only a user interface loads.
    pub(super) kind: Option<String>,
    /// The protocol that it was built for.
    pub(super) protocol: Option<String>,
}

impl Metadata {
    /// Read it.
    ///
    /// # Errors
    /// A sentence without a final stop: what is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_BYTES {
            return Err(format!("it is larger than {MAX_BYTES} bytes"));
        }
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| format!("it is no JSON: {error}"))?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let name = text("name").ok_or("it gives no name")?;
        let name = checked(&name)?;
        let mut dependencies = Vec::new();
        for entry in value.get("dependencies").and_then(Value::as_array).into_iter().flatten() {
            let named = entry.as_str().or_else(|| entry.get("name").and_then(Value::as_str));
            let named = checked(named.ok_or("one of its dependencies has no name")?)?;
            if named != name && !dependencies.contains(&named) {
                dependencies.push(named);
            }
        }
        if dependencies.len() > MAX_DEPENDENCIES {
            return Err(format!("it needs more than {MAX_DEPENDENCIES} modules"));
        }
        // An object says it per platform, and the file's name follows from the module's all the same.
        let main = text("main").filter(|main| !main.is_empty());
        let main = main.map(|main| checked(&main)).transpose()?;
        Ok(Self { name, main, dependencies, kind: text("type"), protocol: text("logos_protocol_version") })
    }
}

/// A name that can stand in a path and on a command line as it is.
fn checked(name: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    if first && name.len() <= 128 && name.chars().all(fine) {
        return Ok(name.to_owned());
    }
    Err(format!("{} is no name of a module", crate::domain::text::quoted(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_and_what_it_needs_are_read_and_the_rest_is_left() {
        let read = Metadata::read(
            br#"{"name":"chat","main":"chat_plugin","type":"core","dependencies":["waku",{"name":"store"},"waku"],
                "logos_protocol_version":"1.2","x":[{}]}"#,
        );
        let expect = Metadata {
            name: "chat".into(),
            main: Some("chat_plugin".into()),
            dependencies: vec!["waku".into(), "store".into()],
            kind: Some("core".into()),
            protocol: Some("1.2".into()),
        };
        assert_eq!(read, Ok(expect));
    }

    #[test]
    fn names_that_would_be_paths_or_options_are_refused() {
        for bad in ["../x", "-D", "a/b", "", ".hidden", "a b", "a\\nb", "a,b"] {
            let json = format!("{{\"name\":\"{bad}\"}}");
            assert!(Metadata::read(json.as_bytes()).is_err(), "{json}");
            let json = format!("{{\"name\":\"a\",\"dependencies\":[\"{bad}\"]}}");
            assert!(Metadata::read(json.as_bytes()).is_err(), "{json}");
        }
        assert!(Metadata::read(b"[]").is_err());
        assert!(Metadata::read(b"{").is_err());
        assert!(Metadata::read(&vec![b' '; MAX_BYTES + 1]).is_err());
    }
}
