//! Modules that want a verdict of their own choice from within their host.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use lambda_os::adapters::host::HostSettings;

use crate::world::{HOSTS, World, host, reason, word};

#[test]
fn what_a_module_says_in_the_supervisors_words_does_not_count() {
    for which in [HOSTS[0], HOSTS[1]] {
        let settings = HostSettings { timeout: Duration::from_secs(3), ..host(which) };
        let ran = World::with("behaviour = forge").load(settings);
        let log = String::from_utf8_lossy(&ran.log).into_owned();
        assert!(log.contains("{\"status\":\"ok\"}"), "it did say so: {log}");
        assert_eq!(word(&ran.run.outcome), "timed-out", "{which:?}: {:?}\n{log}", ran.run.outcome);
    }
}

#[test]
fn a_module_that_ends_whoever_watches_it_has_failed() {
    for which in [HOSTS[0], HOSTS[1]] {
        let outcome = World::with("behaviour = kill-parent").outcome(host(which));
        assert!(
            word(&outcome) == "failed" && reason(&outcome).contains("signal 9"),
            "{which:?}: {outcome:?}"
        );
    }
}

#[test]
fn a_host_that_goes_on_as_another_process_has_ended() {
    for which in [HOSTS[0], HOSTS[1]] {
        let outcome = World::with("behaviour = leave").outcome(host(which));
        assert!(
            word(&outcome) == "failed" && reason(&outcome).contains("by itself, with exit code 0"),
            "{which:?}: {outcome:?}"
        );
    }
}

#[test]
fn a_link_to_a_socket_of_the_machines_is_not_followed() {
    let world = World::new();
    let outside = world.temp.path().join("outside.sock");
    let listener = UnixListener::bind(&outside).expect("a socket");
    listener.set_nonblocking(true).expect("it does not wait");
    let world = world.and("alpha", &format!("behaviour = link {}", outside.display()));
    let outcome = world.outcome(host(HOSTS[1]));
    assert_eq!(word(&outcome), "weak", "{outcome:?}");
    let came = listener.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(came, Err(std::io::ErrorKind::WouldBlock), "nobody connected from outside the sandbox");
}
