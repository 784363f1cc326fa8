//! What one document changes on another, in sentences that a person can decide on.
//!
//! In: two documents as JSON. Out: one sentence for each value that differs, by its place, sorted.
//! Nothing is left out but the numbering (`v`, `epoch`, `previous`), so that whatever a later version
//! of a document adds is shown too. Keys are shown by their fingerprints.

use std::collections::BTreeMap;

use serde_json::Value;

use super::key::PublicKey;
use crate::domain::moment::Moment;
use crate::domain::text;

/// What only numbers the documents.
const NUMBERING: [&str; 3] = ["v", "epoch", "previous"];

/// Longest value in a sentence, in bytes.
const MAX_VALUE: usize = 120;

/// What `new` changes on `old`.
#[must_use]
pub fn changes(old: &Value, new: &Value) -> Vec<String> {
    let mut said = Vec::new();
    compare(&mut Vec::new(), Some(old), Some(new), &mut said);
    said
}

fn compare(at: &mut Vec<String>, old: Option<&Value>, new: Option<&Value>, said: &mut Vec<String>) {
    if old == new {
        return;
    }
    if let (Some(Value::Object(_)) | None, Some(Value::Object(_)) | None) = (old, new)
        && (at.len() < 2 || (old.is_some() && new.is_some()))
    {
        return each(at, &fields(old), &fields(new), said);
    }
    if let (Some(old), Some(new)) = (old.and_then(named), new.and_then(named)) {
        return each(at, &old, &new, said);
    }
    if let (Some(Value::Array(old)), Some(Value::Array(new))) = (old, new) {
        let place = place(at);
        for gone in old.iter().filter(|one| !new.contains(one)) {
            said.push(format!("{place}: without {}", shown(at, gone)));
        }
        for come in new.iter().filter(|one| !old.contains(one)) {
            said.push(format!("{place}: with {}", shown(at, come)));
        }
        return;
    }
    let place = place(at);
    said.push(match (old, new) {
        (Some(old), Some(new)) => format!("{place}: {} -> {}", shown(at, old), shown(at, new)),
        (None, Some(new)) => format!("{place}: new, {}", shown(at, new)),
        (Some(old), None) => format!("{place}: removed, it was {}", shown(at, old)),
        (None, None) => return,
    });
}

fn each(
    at: &mut Vec<String>,
    old: &BTreeMap<&str, &Value>,
    new: &BTreeMap<&str, &Value>,
    said: &mut Vec<String>,
) {
    let mut names: Vec<&str> = old.keys().chain(new.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        if at.is_empty() && NUMBERING.contains(&name) {
            continue;
        }
        at.push(name.to_owned());
        compare(at, old.get(name).copied(), new.get(name).copied(), said);
        at.pop();
    }
}

fn fields(value: Option<&Value>) -> BTreeMap<&str, &Value> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields.map(|(name, value)| (name.as_str(), value)).collect()
}

/// A list of things that have names of their own, by these.
fn named(value: &Value) -> Option<BTreeMap<&str, &Value>> {
    let list = value.as_array().filter(|list| !list.is_empty())?;
    let by_name: Option<BTreeMap<&str, &Value>> =
        list.iter().map(|one| Some((one.get("name").or_else(|| one.get("id"))?.as_str()?, one))).collect();
    by_name.filter(|by_name| by_name.len() == list.len())
}

fn place(at: &[String]) -> String {
    at.iter().map(|part| text::word(part)).collect::<Vec<_>>().join(" ")
}

fn shown(at: &[String], value: &Value) -> String {
    let moment = at.last().is_some_and(|name| ["expires_ms", "from_ms", "until_ms"].contains(&name.as_str()));
    let shown = match value {
        Value::String(said) => match said.parse::<PublicKey>() {
            Ok(key) => key.fingerprint(),
            Err(_) => text::word(said),
        },
        Value::Number(number) if moment => {
            number.as_i64().map_or_else(|| number.to_string(), |ms| Moment::from_ms(ms).to_string())
        }
        Value::Array(list) => {
            let list: Vec<String> = list.iter().map(|one| shown(&[], one)).collect();
            format!("[{}]", list.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .filter(|(name, _)| name.as_str() != "name")
                .map(|(name, value)| {
                    format!("{} {}", text::word(name), shown(std::slice::from_ref(name), value))
                })
                .collect();
            fields.join(", ")
        }
        other => other.to_string(),
    };
    text::clipped(&text::inert(&shown), MAX_VALUE)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{key, members};
    use super::super::members::Principal;
    use super::*;
    use crate::domain::proposal::Track;

    #[test]
    fn every_difference_is_said_by_its_place_and_keys_by_their_fingerprints() {
        let old = members(2);
        let mut new = old.clone();
        new.epoch = 2;
        new.heal = true;
        new.expires_ms = Some(1_790_000_000_000);
        new.principals[0].keys = vec![key(1)];
        new.principals[1] = Principal { weight: 2, ..Principal::with_keys("c".to_owned(), vec![key(9)]) };
        new.tracks.get_mut(&Track::Leaf).unwrap().threshold = 1;
        new.tracks.remove(&Track::Input);
        let value = |it: &super::super::members::Members| serde_json::to_value(it).unwrap();
        let said = changes(&value(&old), &value(&new));
        let print = |seed| key(seed).fingerprint();
        assert_eq!(
            said,
            [
                "expires_ms: new, 2026-09-21T14:13:20Z".to_owned(),
                "heal: false -> true".to_owned(),
                format!("principals a keys: without {}", print(101)),
                format!("principals b: removed, it was keys [{}]", print(2)),
                format!("principals c: new, keys [{}], weight 2", print(9)),
                "tracks input: removed, it was delay_ms 0, expiry_ms 2592000000, threshold 2".to_owned(),
                "tracks leaf threshold: 2 -> 1".to_owned(),
            ]
        );
        assert!(changes(&value(&old), &value(&old)).is_empty());
    }

    #[test]
    fn what_comes_from_a_file_is_shown_inert() {
        let value = |text: &str| serde_json::json!({ text: { "x": text } });
        for said in changes(&value("a\u{1b}[2J"), &value("b\u{202e}\n")) {
            assert!(!said.contains(['\u{1b}', '\u{202e}', '\n']), "{said:?}");
        }
    }
}
