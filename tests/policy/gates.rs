//! What a denial holds up: the certificate, and applying; each asks for itself.

use lambda_os::domain::change::PathContent;
use lambda_os::domain::id::RepoPath;
use lambda_os::ports::{Repository as _, Superproject as _};
use lambda_os::sample::{SampleSpec, Trouble, UrlStyle};

use crate::world::World;

fn spec() -> SampleSpec {
    SampleSpec { style: UrlStyle::AutoInputs, ..SampleSpec::sized(8, 3) }
}

/// The sample's modules are all fetched from paths, whatever they declare.
const NOWHERE: &str = "[rules.allowed-sources]\nhosts = ['git.example.org']\nscope = 'modules'\n";

#[test]
fn what_is_denied_is_shown_is_not_certified_and_is_not_applied() {
    let world = World::with(&spec(), NOWHERE);
    world.run(&["run", "--once"]).is(0, "policy");
    let judged = world.entries("proposal.judged");
    let ids = world.proposals();
    assert!(!ids.is_empty() && judged.len() == ids.len(), "{judged:?}");
    let id = ids[0].as_str();
    assert!(judged[0]["denied"][0].as_str().is_some_and(|why| why.contains("allowed-sources: ")));
    let check = world.run(&["policy", "check", id]);
    check.is(5, "deny allowed-sources: ");
    world.run(&["policy", "check"]).is(5, "denied");
    let json = world.run(&["policy", "check", id, "--json"]).json();
    assert_eq!(
        (&json["denied"], &json["checked"][0]["findings"][0]["rule"]),
        (&true.into(), &"allowed-sources".into())
    );
    let shown = world.run(&["proposal", "show", id]);
    shown.is(0, "allowed-sources");
    // The ballot counts, and is not enough.
    world.run(&["proposal", "approve", id]);
    let head = world.workspace.path().join(".git/refs/heads/main");
    let before = std::fs::read(&head).expect("a branch");
    world.run(&["proposal", "apply", id, "--dry-run"]).is(0, "the policy denies it: allowed-sources");
    world.run(&["proposal", "apply", id]).is(5, "the policy denies the proposal");
    assert_eq!(std::fs::read(&head).expect("a branch"), before);
    assert!(world.entries("proposal.certified").is_empty() && world.entries("apply.started").is_empty());
    let listed = world.run(&["proposal", "show", id, "--json"]).json();
    assert_eq!(listed["tally"]["state"], "pending", "{listed}");
    assert_eq!(listed["tally"]["narrowed"][0]["by"], "policy", "{listed}");
    // Nothing changed: nothing is judged or written again.
    world.run(&["run", "--once"]);
    assert_eq!(world.entries("proposal.judged").len(), judged.len());
    world.audited();
}

#[test]
fn applying_asks_again_whatever_was_found_before() {
    let world = World::with(&spec(), "[rules.limits]\napplied_per_day = 1\n");
    world.run(&["run", "--once"]);
    let ids = world.proposals();
    assert!(ids.len() >= 2, "{ids:?}");
    world.run(&["policy", "check"]).is(0, "nothing found");
    for id in &ids {
        world.run(&["proposal", "approve", id]).is(0, "");
    }
    world.run(&["proposal", "apply", &ids[0]]).is(0, "applied");
    // No cycle in between: the entry that allowed it still stands.
    world
        .run(&["proposal", "apply", &ids[1]])
        .is(5, "1 proposals were applied within a day, and 1 are allowed");
    let judged = world.entries("proposal.judged");
    let last = judged.last().expect("it was judged");
    assert_eq!(
        (&last["proposal"], last["denied"].as_array().map(Vec::len)),
        (&ids[1].as_str().into(), Some(1))
    );
    world.run(&["policy", "check", &ids[1]]).is(5, "applied within a day");
    world.audited();
}

#[test]
fn a_freeze_holds_what_is_approved_until_it_is_over() {
    let rules = "[[rules.freeze.windows]]\nfrom = '2020-01-01T00:00:00Z'\nuntil = '2090-01-01T00:00:00Z'\n";
    let world = World::with(&spec(), rules);
    world.run(&["run", "--once"]);
    let id = world.proposals().remove(0);
    world.run(&["proposal", "approve", &id]);
    world.run(&["proposal", "apply", &id]).is(5, "frozen until 2090-01-01T00:00:00Z");
    let shown = world.run(&["proposal", "show", &id, "--json"]).json();
    assert_eq!(shown["tally"]["narrowed"][0]["by"], "freeze", "{shown}");
}

#[test]
fn the_workspace_as_it_is_is_judged_and_what_mends_it_is_not_denied() {
    let spec = spec().with([Trouble::IncoherentGitlink]);
    let world = World::with(&spec, "[rules.pin-coherence]\n\n[rules.drift]\ncheckout = true\n");
    let victim = world.workspace.sample.victim(Trouble::IncoherentGitlink).name.clone();
    world.run(&["run", "--once"]);
    let json = world.run(&["policy", "check", "--tree", "--json"]);
    json.is(5, "pin-coherence");
    let json = json.json();
    let denied: Vec<&str> = json["checked"][0]["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter(|it| it["severity"] == "deny")
        .filter_map(|it| it["module"].as_str())
        .collect();
    assert_eq!(denied, [victim.as_str()], "{json}");
    // What is proposed makes the places agree.
    world.run(&["policy", "check", &victim]).is(0, "nothing found");
}

#[test]
fn rules_are_explained_and_slips_are_answered() {
    let world = World::with(&spec(), "[rules.minimum-age]\nhours = 7\n");
    world.run(&["policy", "explain"]).is(0, "security-floor");
    world.run(&["policy", "explain", "minimum-age"]).is(0, "\"hours\": 7");
    world.run(&["policy", "explain", "freeze"]).is(0, "does not set it");
    world.run(&["policy", "explain", "minimum-aje"]).is(2, "did you mean minimum-age?");
    let json = world.run(&["policy", "explain", "minimum-age", "--json"]).json();
    assert_eq!(json["rules"][0]["settings"]["hours"], 7);
}

#[test]
fn gitlinks_are_read_many_at_once_as_they_are_one_by_one() {
    let world = World::with(&spec(), "");
    let repository = world.repository();
    let head = repository.head().expect("readable").expect("a commit");
    let modules = repository.discover().expect("modules").modules;
    let odd = ["flake.nix", "flake.nix/below", "absent", "absent/below", "repos/absent"].map(RepoPath::from);
    let paths: Vec<&RepoPath> = modules.iter().map(|module| &module.path).chain(&odd).collect();
    let found = repository.gitlinks(head, &paths).expect("readable");
    assert!(
        found[..modules.len()].iter().all(Option::is_some)
            && found[modules.len()..].iter().all(Option::is_none)
    );
    for (path, found) in paths.iter().zip(found).take(modules.len()) {
        let one = repository.content(head, path).expect("readable");
        assert_eq!(one, found.map(PathContent::Gitlink), "{path}");
    }
    let directory = RepoPath::from("repos");
    assert_eq!(repository.gitlinks(head, &[&directory]).expect("a directory is none"), [None]);
}
