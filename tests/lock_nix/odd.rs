//! Locks that no good Nix wrote, each beside the real one: sources locked by nothing but their
//! content, or by nothing at all, and inputs that follow each other in a circle.

use std::fs;

use serde_json::{Value, json};

use super::named::Case;
use super::{Ask, Outcome, compare};

impl Case {
    /// Change the lock of a flake by hand.
    fn edit(&self, flake: &str, change: impl FnOnce(&mut Value)) -> String {
        let file = self.dir.join(flake).join("flake.lock");
        let mut lock = serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("JSON");
        change(&mut lock);
        let text = format!("{lock:#}\n");
        fs::write(file, &text).expect("it is written");
        text
    }

    /// How it goes, in a word, when both do the same. `unwritten` is where they say it otherwise:
    /// a lock with an unlocked input in it is not written, which is an error of ours and of
    /// `nix flake lock`, and a warning of `nix flake update`.
    #[track_caller]
    fn both(&self, ask: &Ask) -> &'static str {
        let read = || fs::read(self.dir.join("root/flake.lock")).ok();
        let before = read();
        match compare(&self.nix, &self.dir.join("root"), ask) {
            Outcome::Equal if read() == before => "left",
            Outcome::Equal => "written",
            Outcome::BothRefuse(how) if how.contains("would be unlocked") => "unwritten",
            Outcome::BothRefuse(_) => "refused",
            Outcome::Different(how) if how.contains("would be unlocked") && read() == before => "unwritten",
            Outcome::Different(how) => panic!("{ask:?}\n{how}"),
        }
    }
}

/// Make a node one that names no revision, and perhaps no content.
fn unlock(node: &str, content: bool) -> impl FnOnce(&mut Value) {
    move |lock| {
        let locked = lock["nodes"][node]["locked"].as_object_mut().expect("an object");
        locked.remove("rev");
        if !content {
            locked.remove("narHash");
        }
    }
}

fn update(input: &str) -> Ask {
    Ask::Update(vec![input.to_owned()])
}

/// `a` and `b`, with `c` inside `b`, locked.
fn unlocked_case() -> Option<Case> {
    let case = Case::new()?;
    case.flake("a", "").commit("a").flake("c", "").commit("c");
    case.flake("b", "inputs.c.url = \"git+file://@/c\";").commit("b");
    case.flake("root", "inputs.a.url = \"git+file://@/a\"; inputs.b.url = \"git+file://@/b\";");
    case.equal(&Ask::Lock);
    // So that there is something to write when one is updated.
    case.flake("a", "description = \"1\";").commit("a");
    case.flake("b", "inputs.c.url = \"git+file://@/c\"; description = \"1\";").commit("b");
    Some(case)
}

#[test]
fn a_node_that_is_locked_by_its_content_alone_stays_until_something_is_written() {
    let Some(case) = unlocked_case() else { return };
    case.edit("root", unlock("a", true));
    assert_eq!(case.both(&Ask::Lock), "left");
    // It would be in the new lock.
    assert_eq!(case.both(&update("b")), "unwritten");
    case.flake("root", "inputs.a.url = \"git+file://@/a\"; inputs.c.url = \"git+file://@/c\";");
    assert_eq!(case.both(&Ask::Lock), "unwritten");
    case.flake("root", "inputs.a.url = \"git+file://@/a\"; inputs.b.url = \"git+file://@/b\";");
    // It would not.
    assert_eq!(case.both(&update("a")), "written");
    // Inside another one, and that one moves.
    case.edit("root", unlock("c", true));
    assert_eq!(case.both(&Ask::Lock), "left");
    case.flake("a", "description = \"2\";").commit("a");
    assert_eq!(case.both(&update("a")), "unwritten");
    assert_eq!(case.both(&update("b")), "written");
}

#[test]
fn a_node_that_names_no_commit_is_unlocked_like_one_without_a_revision() {
    let Some(case) = unlocked_case() else { return };
    case.edit("root", |lock| lock["nodes"]["a"]["locked"]["rev"] = json!("0".repeat(40)));
    assert_eq!(case.both(&Ask::Lock), "left");
    assert_eq!(case.both(&update("b")), "unwritten");
}

#[test]
fn a_node_that_is_locked_by_nothing_is_refused_unless_nothing_reaches_it() {
    let Some(case) = unlocked_case() else { return };
    let whole = case.edit("root", |_| ());
    for node in ["a", "c"] {
        case.write("root/flake.lock", &whole);
        case.edit("root", unlock(node, false));
        for ask in [Ask::Lock, update("a"), update("b")] {
            assert_eq!(case.both(&ask), "refused", "{node}");
        }
    }
    case.write("root/flake.lock", &whole);
    case.edit("root", |lock| {
        lock["nodes"]["lost"] = lock["nodes"]["a"].clone();
        unlock("lost", false)(lock);
    });
    assert_eq!(case.both(&Ask::Lock), "left");
    assert_eq!(case.both(&update("a")), "written");
}

#[test]
fn an_unlocked_node_in_a_source_s_own_lock_is_refused_unless_it_is_not_used() {
    let Some(case) = unlocked_case() else { return };
    case.nix.flake(&["lock".to_owned(), format!("path:{}/b", case.dir.display())]).expect("Nix locks it");
    let whole = case.edit("b", |_| ());
    let over = "inputs.a.url = \"git+file://@/a\"; inputs.b.url = \"git+file://@/b\"; inputs.b.inputs.c.follows = \"a\";";
    for content in [true, false] {
        case.write("b/flake.lock", &whole);
        case.edit("b", unlock("c", content));
        case.commit("b");
        case.flake("root", "inputs.a.url = \"git+file://@/a\"; inputs.b.url = \"git+file://@/b\";");
        assert_eq!(case.both(&update("b")), if content { "unwritten" } else { "refused" });
        // Read all the same.
        case.flake("root", over);
        assert_eq!(case.both(&update("b")), if content { "written" } else { "refused" });
    }
}

#[test]
fn inputs_that_follow_each_other_in_a_circle_are_refused_and_a_longer_way_is_not() {
    let Some(case) = Case::new() else { return };
    case.flake("p", "").commit("p");
    case.flake("a", "inputs.p.url = \"git+file://@/p\"; inputs.q.url = \"git+file://@/p\";").commit("a");
    let a = "inputs.a.url = \"git+file://@/a\";";
    for (goes, inputs) in [
        ("refused", "inputs.a.follows = \"a\";"),
        ("refused", "inputs.a.follows = \"a/b\";"),
        ("refused", "inputs.a.follows = \"b\"; inputs.b.follows = \"a\";"),
        ("refused", "inputs.a.follows = \"b\"; inputs.b.follows = \"c\"; inputs.c.follows = \"b\";"),
        ("refused", "inputs.a.follows = \"\"; inputs.b.follows = \"a/a\";"),
        ("refused", "inputs.a.follows = \"\"; inputs.b.follows = \"a/b\";"),
        ("refused", &format!("{a} inputs.a.inputs.p.follows = \"a/p\";")),
        ("written", &format!("{a} inputs.a.inputs.p.follows = \"a\";")),
        ("written", &format!("{a} inputs.a.inputs.p.follows = \"a/q\";")),
        (
            "refused",
            &format!("{a} inputs.a.inputs.p.follows = \"a/q\"; inputs.a.inputs.q.follows = \"a/p\";"),
        ),
        ("refused", &format!("{a} inputs.a.inputs.p.follows = \"q\"; inputs.q.follows = \"a/p\";")),
        ("written", &format!("{a} inputs.a.inputs.p.follows = \"q\"; inputs.q.follows = \"a/q\";")),
        ("written", &format!("{a} inputs.a.inputs.p.follows = \"b/q\"; inputs.b.follows = \"a\";")),
        ("refused", &format!("{a} inputs.a.inputs.p.follows = \"b/p\"; inputs.b.follows = \"a\";")),
        // No circle, and Nix meets `b` twice on the way.
        (
            "refused",
            &format!(
                "{a} inputs.b.follows = \"a\"; inputs.c.follows = \"b/p\"; inputs.a.inputs.p.follows = \"b/q\";"
            ),
        ),
        // An input that is not there, through a circle that is not reached.
        ("refused", &format!("{a} inputs.b.follows = \"a/x/y\";")),
    ] {
        let _ = fs::remove_file(case.dir.join("root/flake.lock"));
        case.flake("root", inputs);
        assert_eq!(case.both(&Ask::Lock), goes, "{inputs}");
        if goes == "written" {
            assert_eq!(case.both(&Ask::Lock), "left", "{inputs}");
        }
    }
}

#[test]
fn a_circle_in_a_lock_goes_with_the_flake_that_made_it() {
    let Some(case) = Case::new() else { return };
    case.flake("p", "").commit("p");
    let a = "inputs.p.url = \"git+file://@/p\"; inputs.q.url = \"git+file://@/p\";";
    case.flake("a", a).commit("a");
    case.flake("root", "inputs.a.url = \"git+file://@/a\";");
    let whole = case.equal(&Ask::Lock);
    // At the root, where flake.nix has no such input any more, or has it otherwise.
    for (inputs, goes) in [
        (json!({ "a": "a", "x": ["x"] }), "written"),
        (json!({ "a": "a", "x": ["y"], "y": ["x"] }), "written"),
        (json!({ "a": ["a"] }), "written"),
        (json!({ "a": ["a", "p"] }), "written"),
    ] {
        case.write("root/flake.lock", &whole);
        case.edit("root", |lock| lock["nodes"]["root"]["inputs"] = inputs.clone());
        assert_eq!(case.both(&Ask::Lock), goes, "{inputs}");
        assert_eq!(fs::read_to_string(case.dir.join("root/flake.lock")).expect("it is there"), whole);
    }
    // In a kept node.
    case.write("root/flake.lock", &whole);
    case.edit("root", |lock| lock["nodes"]["a"]["inputs"]["p"] = json!(["a", "p"]));
    assert_eq!(case.both(&Ask::Lock), "written");
    // In a source's own lock, where its flake says otherwise, or a flake above it does.
    case.nix.flake(&["lock".to_owned(), format!("path:{}/a", case.dir.display())]).expect("Nix locks it");
    case.edit("a", |lock| lock["nodes"]["root"]["inputs"]["p"] = json!(["p"]));
    case.commit("a");
    assert_eq!(case.both(&update("a")), "written");
    case.flake("a", "inputs.p.follows = \"p\"; inputs.q.url = \"git+file://@/p\";").commit("a");
    assert_eq!(case.both(&update("a")), "refused");
    case.flake("root", "inputs.a.url = \"git+file://@/a\"; inputs.a.inputs.p.follows = \"a/q\";");
    assert_eq!(case.both(&update("a")), "written");
}
