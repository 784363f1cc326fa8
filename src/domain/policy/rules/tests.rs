//! What holds of every rule.

use super::*;

#[test]
fn rules_are_named_as_they_are_written_and_each_example_is_read() {
    let ids: Vec<&str> = ALL.iter().map(|rule| rule.id).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    for rule in ALL {
        let written: toml::Value =
            toml::from_str(rule.example).unwrap_or_else(|e| panic!("{}: {e}", rule.id));
        let settings = serde_json::to_value(&written["rules"]).unwrap();
        let rules: Rules = serde_json::from_value(settings).unwrap_or_else(|e| panic!("{}: {e}", rule.id));
        assert_eq!(rules.set().keys().copied().collect::<Vec<_>>(), [rule.id]);
        assert!(rules.asks(rule.asks));
        // What is written again has the name of the rule, and every key of the example is one of it.
        let again = serde_json::to_value(&rules).unwrap();
        let keys = |value: &serde_json::Value| -> BTreeSet<String> {
            value[rule.id].as_object().unwrap().keys().cloned().collect()
        };
        let example = serde_json::to_value(&written["rules"]).unwrap();
        assert_eq!(keys(&again), keys(&example), "{}: the example names every key", rule.id);
        assert!(!rule.about.is_empty() && rule.about.lines().all(|line| !line.starts_with(' ')));
    }
}

#[test]
fn a_slip_is_answered_with_the_nearest_name() {
    let said = |text: &str| serde_json::from_str::<Rules>(text).unwrap_err().to_string();
    for (text, expect) in [
        (r#"{"pin-coherense":{}}"#, "there is no rule \"pin-coherense\" (did you mean pin-coherence?)"),
        (
            r#"{"pin-coherence":{"everywher":true}}"#,
            "rules.pin-coherence: unknown key \"everywher\" (did you mean everywhere?)",
        ),
        (r#"{"pin-coherence":{"severity":"denny"}}"#, "(did you mean deny?)"),
        (r#"{"pin-coherence":{"zzzzzzzzz":1}}"#, "it knows severity, everywhere"),
        (r#"{"pin-coherence":{"everywhere":1}}"#, "rules.pin-coherence: invalid type"),
    ] {
        let error = said(text);
        assert!(error.contains(expect), "{error}");
    }
}
