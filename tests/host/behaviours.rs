//! Each way a module can behave, in each host of each generation.

use std::time::Duration;

use crate::world::{HOSTS, World, host, reason, word};

/// Check the outcome of a plugin in every host: the word, and what the reason holds. One outcome for
/// `logos_host` and the one-shot form, and one for the daemons, which wait for the module themselves.
#[track_caller]
fn check(plugin: &str, hosts: (&str, &str), daemons: (&str, &str)) {
    for which in HOSTS {
        let ran = World::with(plugin).load(host(which));
        let is_daemon = which.0 == "new" && which.1 != "logos_host";
        let expect = if is_daemon { daemons } else { hosts };
        let outcome = &ran.run.outcome;
        assert!(
            word(outcome) == expect.0 && reason(outcome).contains(expect.1),
            "{plugin} in {which:?}: {outcome:?}\n{}",
            String::from_utf8_lossy(&ran.log)
        );
        assert!(ran.run.sandbox.is_some() && !ran.run.command.is_empty(), "{:?}", ran.run);
    }
}

#[test]
fn a_module_that_registers_and_stays_is_strong() {
    check("", ("strong", ""), ("strong", ""));
    check("behaviour = late 100", ("strong", ""), ("strong", ""));
}

#[test]
fn a_crash_while_loading_has_failed() {
    check("behaviour = crash-at-load", ("failed", "crashed"), ("failed", "MODULE_LOAD_FAILED"));
}

#[test]
fn a_refusal_has_failed_with_the_hosts_own_words() {
    check("behaviour = fail", ("failed", "undefined symbol"), ("failed", "MODULE_LOAD_FAILED"));
    check("behaviour = not-registered", ("failed", "Failed to register"), ("failed", "MODULE_LOAD_FAILED"));
}

#[test]
fn an_exit_with_zero_and_ok_is_no_success() {
    check("behaviour = exit-zero", ("failed", "ended"), ("failed", "MODULE_LOAD_FAILED"));
}

#[test]
fn a_crash_soon_after_registering_has_failed() {
    // Later than the sign, earlier than the settling time is over.
    for which in HOSTS {
        let settings = lambda_os::adapters::host::HostSettings {
            settle: Duration::from_secs(3),
            timeout: Duration::from_mins(1),
            ..host(which)
        };
        let outcome = World::with("behaviour = crash-later 700").outcome(settings);
        assert_eq!(word(&outcome), "failed", "{which:?}: {outcome:?}");
    }
}

#[test]
fn a_hang_while_loading_is_timed_out() {
    for (behaviour, which) in [("hang", HOSTS[0]), ("hang", HOSTS[1]), ("spin", HOSTS[1]), ("hang", HOSTS[2])]
    {
        let settings =
            lambda_os::adapters::host::HostSettings { timeout: Duration::from_secs(2), ..host(which) };
        let ran = World::with(&format!("behaviour = {behaviour}")).load(settings);
        assert_eq!(word(&ran.run.outcome), "timed-out", "{behaviour} in {which:?}: {:?}", ran.run);
    }
    for which in [HOSTS[3], HOSTS[4]] {
        let outcome = World::with("behaviour = hang").outcome(host(which));
        assert!(word(&outcome) == "timed-out" && reason(&outcome).contains("TIMEOUT"), "{outcome:?}");
    }
}

#[test]
fn living_on_without_a_sign_is_weak_only() {
    for which in [HOSTS[0], HOSTS[1]] {
        let outcome = World::with("behaviour = silent").outcome(host(which));
        assert!(word(&outcome) == "weak" && reason(&outcome).contains("no socket"), "{which:?}: {outcome:?}");
    }
}

#[test]
fn registering_later_than_a_host_must_live_counts_and_later_than_the_deadline_does_not() {
    let late = World::with("behaviour = late 1200");
    let outcome = late.outcome(host(HOSTS[1]));
    assert_eq!(word(&outcome), "strong", "{outcome:?}");
    let settings =
        lambda_os::adapters::host::HostSettings { timeout: Duration::from_secs(1), ..host(HOSTS[1]) };
    let outcome = late.outcome(settings);
    assert_eq!(word(&outcome), "timed-out", "{outcome:?}");
}

#[test]
fn a_name_that_is_another_is_refused_before_anything_runs() {
    let world = World::with("name = beta").metadata("alpha", r#"{"name":"alpha"}"#);
    for which in HOSTS {
        let ran = world.load(host(which));
        let outcome = &ran.run.outcome;
        assert!(
            word(outcome) == "failed" && reason(outcome).contains("says that it is beta"),
            "{which:?}: {outcome:?}"
        );
        assert_eq!(ran.run.sandbox, None, "nothing was run");
    }
}

#[test]
fn a_protocol_of_another_major_number_is_refused_before_anything_runs() {
    for (which, protocol) in [(HOSTS[0], "2.0"), (HOSTS[1], "1.4")] {
        let ran = World::with(&format!("protocol = {protocol}")).load(host(which));
        let outcome = &ran.run.outcome;
        assert!(word(outcome) == "failed" && reason(outcome).contains("protocol"), "{which:?}: {outcome:?}");
        assert_eq!(ran.run.sandbox, None, "nothing was run");
    }
    let outcome = World::with("protocol = 1.9").outcome(host(HOSTS[0]));
    assert_eq!(word(&outcome), "strong", "{outcome:?}");
}

#[test]
fn what_is_no_plugin_has_failed() {
    let world = World::with("");
    std::fs::write(world.output("alpha").join("lib/alpha_plugin.so"), b"\x7fELF").expect("a file");
    let ran = world.load(host(HOSTS[1]));
    let outcome = &ran.run.outcome;
    assert!(
        word(outcome) == "failed" && reason(outcome).contains("does not implement"),
        "{outcome:?}\n{}",
        String::from_utf8_lossy(&ran.log)
    );
    assert!(ran.run.notes.iter().any(|note| note.contains("lm was no help")), "{:?}", ran.run.notes);
}

#[test]
fn a_call_that_is_answered_counts_and_one_that_is_not_has_failed() {
    for which in [HOSTS[2], HOSTS[3], HOSTS[4]] {
        let called = |method: &str| lambda_os::adapters::host::HostSettings {
            call: vec![method.to_owned()],
            ..host(which)
        };
        let outcome = World::with("").outcome(called("ping"));
        // The one-shot host is gone before its socket could have been seen to stay.
        let expect = if which.0 == "old" { "weak" } else { "strong" };
        assert_eq!(word(&outcome), expect, "{which:?}: {outcome:?}");
        let outcome = World::with("").outcome(called("pong"));
        assert_eq!(word(&outcome), "failed", "{which:?}: {outcome:?}");
    }
}
