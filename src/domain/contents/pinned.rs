//! Files and values in them, by content: what a policy can pin so that no proposal changes it.

use serde_json::Value;

use crate::domain::canonical;
use crate::domain::id::{Cid, RepoPath};
use crate::domain::text;

/// The identity of a file's bytes, or of one value in it: of the value's canonical JSON.
///
/// `at` is a JSON pointer (RFC 6901) into a JSON file, or into a TOML file when the path ends with
/// `.toml`. `None` when there is no such value.
///
/// # Errors
/// A sentence without a final stop, inert: why the value cannot be told.
pub fn identity(path: &RepoPath, content: &[u8], at: Option<&str>) -> Result<Option<Cid>, String> {
    let Some(at) = at else { return Ok(Some(Cid::of(content))) };
    let value = if path.as_bytes().ends_with(b".toml") { toml_value(content)? } else { json_value(content)? };
    let Some(found) = value.pointer(at) else { return Ok(None) };
    let canonical = canonical::to_canonical(found)
        .map_err(|error| format!("the value at {} has no one form: {error}", text::quoted(at)))?;
    Ok(Some(Cid::of(&canonical)))
}

/// What is wrong with a JSON pointer, as a sentence without a final stop.
///
/// # Errors
/// When it is none.
pub fn check_pointer(at: &str) -> Result<(), String> {
    let escapes = at.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if (at.is_empty() || at.starts_with('/')) && escapes {
        Ok(())
    } else {
        Err(format!("{} is no JSON pointer: /programs/name, with ~1 for a slash in a name", text::quoted(at)))
    }
}

fn json_value(content: &[u8]) -> Result<Value, String> {
    use canonical::CanonicalError::{NotAnInteger, OutOfRange};

    match canonical::parse(content) {
        // Elsewhere in the file that is none of our business.
        Err(NotAnInteger | OutOfRange) => {
            serde_json::from_slice(content).map_err(|error| format!("it is no JSON: {error}"))
        }
        parsed => parsed.map_err(|error| text::inert(&error.to_string())),
    }
}

fn toml_value(content: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(content).map_err(|_| "it is no text in UTF-8".to_owned())?;
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| format!("it is no TOML: {}", text::inert(error.message())))?;
    serde_json::to_value(table).map_err(|error| text::inert(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_bytes_and_a_value_its_canonical_json() {
        let id = |path: &str, content: &str, at| identity(&path.into(), content.as_bytes(), at);
        assert_eq!(id("a.bin", "x", None), Ok(Some(Cid::of(b"x"))));
        let wanted = Ok(Some(Cid::of(br#"{"a":[1],"b":"x"}"#)));
        assert_eq!(id("p.json", r#"{"p":{"b":"x", "a" : [1]},"f":1.5}"#, Some("/p")), wanted);
        assert_eq!(id("p.toml", "f = 1.5\n[p]\nb = 'x'\na = [1]\n", Some("/p")), wanted);
        assert_eq!(id("p.json", r#"{"p":{"q~/":"x"}}"#, Some("/p/q~0~1")), Ok(Some(Cid::of(b"\"x\""))));
        assert_eq!(id("p.json", "{}", Some("/p")), Ok(None));
        for (path, content) in [("p.json", "{\"p\":1.5}"), ("p.json", "{\"p\":1,\"p\":2}"), ("p.toml", "p")] {
            assert!(id(path, content, Some("/p")).is_err(), "{content}");
        }
    }

    #[test]
    fn a_pointer_begins_with_a_slash() {
        for fine in ["", "/a", "/a/0/b~1c"] {
            assert_eq!(check_pointer(fine), Ok(()));
        }
        for wrong in ["a", "/a~2", "/a~"] {
            assert!(check_pointer(wrong).is_err(), "{wrong}");
        }
    }
}
