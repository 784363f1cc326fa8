//! Rules judge what real repositories hold: a pin moves, and every rule that looks into it answers.

use std::fs;
use std::os::unix::fs::symlink;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer as _, SigningKey};
use lambda_os::adapters::git::{DiscoverSettings, GitRepository};
use lambda_os::domain::change::{PathContent, PathEdit};
use lambda_os::domain::governance::time::Times;
use lambda_os::domain::id::{Cid, ObjectId, RepoPath};
use lambda_os::domain::plan::PinMove;
use lambda_os::domain::policy::Policy;
use lambda_os::domain::policy::facts::ChangeFacts;
use lambda_os::domain::policy::rules::Asks;
use lambda_os::domain::proposal::{Purpose, Track};
use lambda_os::domain::state::State;
use lambda_os::ops::policy::{Change, Grounds, Site, Subject, judge, judge_tree};
use serde_json::json;

use crate::support::git;
use crate::world::{World, id, signing};

/// What the rules say, as `rule module path: message`, of a move of the module from one commit to another.
fn said(world: &World, rules: &serde_json::Value, from: ObjectId, to: ObjectId) -> Vec<String> {
    let (mirrors, module) = world.module();
    let superproject = world.superproject();
    git(&superproject.join("module"), ["checkout", "-q", &from.to_string()]);
    git(&superproject, ["commit", "-q", "--allow-empty", "-am", "pinned"]);
    let base = id(&git(&superproject, ["rev-parse", "HEAD"]));
    let settings =
        DiscoverSettings { config_urls: std::collections::BTreeMap::new(), allow_local_urls: true };
    let repository = GitRepository::open(&superproject, settings).expect("opened");
    let modules = [module];
    let site = Site {
        superproject: &repository,
        sources: &mirrors,
        modules: &modules,
        commands: &[],
        snapshot: None,
        upgrades: &[],
    };
    let policy = Policy { rules: serde_json::from_value(rules.clone()).expect("rules"), ..Policy::default() };
    let (state, now) = (State::default(), Times { wall_ms: 0, checked_ms: 0, slow_ms: 0 });
    let path = RepoPath::from("module");
    let (old, new) = (Some(PathContent::Gitlink(from)), PathContent::Gitlink(to));
    let edits = [PathEdit { path: path.clone(), old, new }];
    let pins = [PinMove { module: modules[0].name.clone(), path: path.clone(), from, to }];
    let facts = ChangeFacts {
        purpose: Purpose::Upgrade,
        track: Track::Leaf,
        files: Vec::new(),
        paths: [path].into(),
        document: None,
    };
    let subject = Subject { edits: &edits, change: Some(Change { facts: &facts, pins: &pins }) };
    let grounds = Grounds::read(site, base).expect("read");
    let mut found = Vec::new();
    for asks in [Asks::Tree, Asks::World] {
        found.extend(judge(site, &grounds, &state, &policy, subject, now, asks));
    }
    // The workspace as it is has no move to look at; what is there is judged all the same.
    let still = judge_tree(site, &state, &policy, base, now).expect("judged");
    assert!(
        still.iter().all(|finding| finding.rule != "forbidden-paths" && finding.rule != "licence-and-size")
    );
    let shown = |it: &lambda_os::domain::policy::Finding| {
        let path = it.path.as_ref().map_or_else(String::new, ToString::to_string);
        format!("{} {path}: {}", it.rule, it.message)
    };
    found.iter().map(shown).collect()
}

/// metadata.json of a module that carries messages, signed by this key.
fn metadata(key: &SigningKey, version: &str) -> String {
    let words = format!(
        r#"{{"capabilities":["messaging"],"name":"m","rln":true,"type":"core","version":"{version}"}}"#
    );
    let signature = HEXLOWER.encode(&key.sign(words.as_bytes()).to_bytes());
    format!("{},\"signature\":\"k:{signature}\"}}\n", words.trim_end_matches('}'))
}

#[test]
fn a_move_is_judged_by_what_both_commits_hold() {
    let world = World::new();
    let (maintainer, key) = world.key("maintainer", &["-t", "ed25519"]);
    let (stranger, _) = world.key("stranger", &["-t", "ed25519"]);
    let options = signing(&maintainer);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let publisher = SigningKey::from_bytes(&[5; 32]);
    world.write("metadata.json", metadata(&publisher, "1").as_bytes());
    world.write("LICENSE", b"terms");
    world.write("program.bin", b"program");
    world.write("tools/run.yml", b"1");
    symlink("tools", world.upstream.join(".ci")).expect("linked");
    let from = world.commit(&options);
    let rules = json!({
        "signed-metadata": { "keys": { "k": HEXLOWER.encode(publisher.verifying_key().as_bytes()) } },
        "metadata": {},
        "rln": { "network": "twn", "required_on": ["twn"] },
        "forbidden-paths": { "paths": ["secret"], "modules": { "*": [".ci/*.yml", "keys/"] } },
        "signed-revisions": { "keys": { "maintainer": key }, "every": true },
        "program-pins": { "pins": [
            { "module": "module", "path": "program.bin", "content": Cid::of(b"program") },
        ] },
        "licence-and-size": { "percent": 50, "least_bytes": 100 },
    });

    world.write("metadata.json", metadata(&publisher, "2").as_bytes());
    world.write("src/fine", b"fine");
    let good = world.commit(&options);
    assert_eq!(said(&world, &rules, from, good), [""; 0]);
    fs::remove_dir_all(world.superproject()).expect("removed");

    // Everything goes wrong at once, and the commits are those of somebody else.
    let options = signing(&stranger);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let forged = metadata(&publisher, "2").replace("\"rln\":true", "\"rln\":false");
    world.write("metadata.json", forged.as_bytes());
    world.write("LICENSE", b"other terms");
    world.write("program.bin", b"another program");
    world.write("tools/run.yml", b"2");
    world.write("keys/new", b"k");
    world.write("large", &[b'x'; 4000]);
    let unsigned = world.commit(&[]);
    world.write("src/more", b"more");
    let bad = world.commit(&options);
    let found = said(&world, &rules, good, bad);
    let expect = [
        "forbidden-paths keys/new: \"keys/\" forbids",
        "forbidden-paths tools/run.yml: it is also called .ci/run.yml",
        "program-pins program.bin: it is pinned to",
        "rln : it carries messages, the network \"twn\" requires RLN, and its metadata.json switches it off",
        "signed-metadata metadata.json: the signature in metadata.json does not hold",
        "licence-and-size : it grows from",
        "licence-and-size LICENSE: these terms of use change",
        "signed-revisions : ",
        "signed-revisions : ",
    ];
    assert_eq!(found.len(), expect.len(), "{found:#?}");
    for (found, expect) in found.iter().zip(expect) {
        assert!(found.starts_with(expect), "{found}, not {expect}");
    }
    assert!(found[7].contains(&format!("anyone the policy trusts: {}", unsigned.short())), "{found:#?}");
    assert!(found[8].contains("which the policy does not trust"), "{found:#?}");
    fs::remove_dir_all(world.superproject()).expect("removed");

    // A revision that is not at hand is not passed.
    let nowhere = said(&world, &rules, good, id(&"7".repeat(40)));
    for rule in [
        "forbidden-paths",
        "licence-and-size",
        "metadata",
        "program-pins",
        "rln",
        "signed-metadata",
        "signed-revisions",
    ] {
        let row = nowhere.iter().find(|row| row.starts_with(rule));
        assert!(row.is_some_and(|row| row.contains("not at hand")), "{rule}: {nowhere:#?}");
    }
}
