//! An exchange that does not answer: everything is pending, and nothing weaker stands in.

use crate::support::git;
use crate::world::{Shared, World};

#[test]
fn without_the_exchange_everything_is_pending() {
    let world = World::new(Shared::Repository);
    let [ann] = world.operators(["ann"]);
    let module = ann.proposals().remove(0).2;
    let id = ann.proposal_of(&module);
    ann.approve(&id);
    ann.sync();
    assert_eq!(ann.counted(&id).0, "approved", "one of one decides, as long as the others can be heard");

    let away = world.home().join("away.git");
    std::fs::rename(world.shared(), &away).expect("it is moved");
    let ran = ann.run(&["proposal", "sync"]);
    assert_eq!(ran.exit, 75, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("cannot ask the shared repository"), "{}", ran.stdout);
    let tally = ann.tally(&id);
    assert_eq!(tally["state"], "pending");
    let why = tally["unanswered"].as_str().expect("a reason");
    assert!(why.contains("ballots of others may be missing") && why.contains("cannot ask"), "{why}");
    let head = git(&world.home().join("ann/work"), ["rev-parse", "HEAD"]);
    let ran = ann.run(&["proposal", "apply", &id]);
    assert_eq!(ran.exit, 6, "{}{}", ran.stdout, ran.stderr);
    // Another backend is no way around: it is another configuration, and who writes that is the operator.
    let report = ann.cycle();
    assert!(report.stderr.contains("cannot ask the shared repository"), "{}", report.stderr);
    let doctor = ann.run(&["doctor"]);
    assert!(doctor.stdout.contains("cannot ask the shared repository"), "{}", doctor.stdout);
    assert_eq!(git(&world.home().join("ann/work"), ["rev-parse", "HEAD"]), head);

    std::fs::rename(&away, world.shared()).expect("it is moved back");
    ann.sync();
    assert_eq!(ann.counted(&id).0, "approved");
    let doctor = ann.run(&["doctor"]);
    assert!(doctor.stdout.contains("answered"), "{}", doctor.stdout);
    ann.ok(&["proposal", "apply", &id]);
}

#[test]
fn an_exchange_that_was_never_asked_or_long_ago_is_no_answer() {
    let world = World::new(Shared::Directory);
    let [ann] = world.operators(["ann"]);
    let id = ann.proposal_of(&ann.proposals().remove(0).2.clone());
    ann.approve(&id);
    let status = ann.state().join("exchange/status.json");
    let text = std::fs::read_to_string(&status).expect("it is kept");
    let mut kept: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for place in kept["places"].as_object_mut().expect("places").values_mut() {
        place["answered_ms"] = (place["answered_ms"].as_i64().expect("a time") - 2 * 86_400_000).into();
    }
    std::fs::write(&status, kept.to_string()).expect("a file");
    assert!(ann.tally(&id)["unanswered"].as_str().is_some_and(|why| why.contains("minutes ago")));
    std::fs::remove_file(&status).expect("it is there");
    assert!(ann.tally(&id)["unanswered"].as_str().is_some_and(|why| why.contains("was not asked yet")));
    ann.sync();
    assert_eq!(ann.counted(&id).0, "approved");
}
