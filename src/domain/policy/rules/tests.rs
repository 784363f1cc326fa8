//! What holds of every rule.

use super::*;
use crate::domain::governance::time::Times;
use crate::domain::graph::Wiring;
use crate::domain::id::{ModuleName, ObjectId};
use crate::domain::pin::Coherence;
use crate::domain::policy::facts::{ChangeFacts, Lately, ModuleFacts, Moved, UpstreamFacts};
use crate::domain::proposal::{Purpose, Track};
use crate::domain::upgrade::Relation;
use crate::domain::url::RepoIdentity;

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

pub(super) fn id(byte: u8) -> ObjectId {
    ObjectId::from_bytes(&[byte; 20]).unwrap()
}

/// A module of the result that the change takes from 1 to 2.
pub(super) fn module(name: &str) -> ModuleFacts {
    ModuleFacts {
        contents: crate::domain::policy::contents::ContentFacts::default(),
        name: ModuleName::new(name),
        path: format!("repos/{name}").as_str().into(),
        identity: RepoIdentity::github("org", name),
        fetched: RepoIdentity::github("org", name),
        revision: Some(id(2)),
        judged: true,
        moved: Some(Moved {
            from: id(1),
            to: id(2),
            relation: Ok(Relation::Counted { behind: 3, ahead: 0 }),
        }),
        coherence: Some((Coherence::Coherent, String::new())),
        upstream: Some(UpstreamFacts { behind: Some(0), rewritten_to: None, checkout: None }),
        first_seen_ms: Ok(Some(0)),
        floor: None,
    }
}

/// An upgrade of these modules.
pub(super) fn upgrade(modules: Vec<ModuleFacts>) -> Facts {
    let paths = modules.iter().map(|module| module.path.clone()).collect();
    Facts {
        files_before: BTreeMap::new(),
        own_links: Ok(BTreeMap::new()),
        change: Some(ChangeFacts {
            purpose: Purpose::Upgrade,
            track: Track::Leaf,
            files: Vec::new(),
            paths,
            document: None,
        }),
        modules,
        wiring: Wiring::default(),
        lock_before: None,
        files: BTreeMap::new(),
        commands: Vec::new(),
        now: Times { wall_ms: 0, checked_ms: 0, slow_ms: 0 },
        lately: Lately::default(),
    }
}

/// The same for another purpose.
pub(super) fn purpose(mut facts: Facts, purpose: Purpose) -> Facts {
    if let Some(change) = &mut facts.change {
        change.purpose = purpose;
    }
    facts
}

/// What a rule says, one line each: the module or path, and the message.
pub(super) fn said<R: Rule>(rule: &R, facts: &Facts) -> Vec<String> {
    let mut found = Found::by(R::ID, rule.severity());
    rule.judge(facts, &mut found);
    let about = |it: &Finding| match (&it.module, &it.path) {
        (Some(module), _) => format!("{module}: "),
        (None, Some(path)) => format!("{path}: "),
        (None, None) => String::new(),
    };
    found.done().iter().map(|it| format!("{}{}", about(it), it.message)).collect()
}

/// A rule from its settings in TOML.
pub(super) fn rule<R: Rule>(settings: &str) -> R {
    read(toml::from_str(settings).unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

/// That a rule says one thing with these words in it; without words, nothing.
#[track_caller]
pub(super) fn check<R: Rule>(rule: &R, facts: &Facts, says: &str) {
    let said = said(rule, facts);
    match said.as_slice() {
        [] => assert_eq!(says, "", "nothing was said"),
        [one] => assert!(!says.is_empty() && one.contains(says), "{one:?} for {says:?}"),
        more => panic!("{more:?} for {says:?}"),
    }
}

#[test]
fn what_is_found_is_bounded_and_inert() {
    let mut found = Found::by("x", Severity::Warn);
    for _ in 0..1_000 {
        found.whole("a\u{1b}[2Jb", None);
    }
    let found = found.done();
    assert_eq!(found.len(), 201);
    assert!(!found[0].message.contains('\u{1b}'));
    assert!(found[200].message.contains("800 more"), "{:?}", found[200]);
}

#[test]
fn each_rule_is_asked_at_its_time_and_what_is_not_set_says_nothing() {
    let facts = upgrade(vec![ModuleFacts { coherence: None, first_seen_ms: Ok(None), ..module("m") }]);
    assert_eq!(Rules::default().judge(&facts, Asks::Tree), []);
    let rules = Rules {
        pin_coherence: Some(PinCoherence::default()),
        minimum_age: Some(MinimumAge::default()),
        ..Rules::default()
    };
    let of = |asks| -> Vec<String> { rules.judge(&facts, asks).into_iter().map(|it| it.rule).collect() };
    assert_eq!(
        (of(Asks::Tree), of(Asks::World)),
        (vec!["pin-coherence".to_owned()], vec!["minimum-age".to_owned()])
    );
}
