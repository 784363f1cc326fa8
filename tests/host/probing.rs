//! Which host a program is, is asked; and what identifies it is known without starting it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lambda_os::adapters::host::HostSettings;
use lambda_os::ports::Runner as _;

use crate::world::{HOSTS, World, host, programs, reason, word};

fn script(path: &Path, text: &str) {
    fs::write(path, text).expect("a script is written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it may run");
}

#[test]
fn the_name_of_a_program_says_nothing() {
    let world = World::with("");
    let renamed = world.temp.path().join("bin");
    fs::create_dir_all(&renamed).expect("a directory");
    // The stand-in goes by its name itself, so a script is what is named wrongly.
    let real = programs("old").join("logos_host");
    script(&renamed.join("logosctl"), &format!("#!/bin/sh\nexec '{}' \"$@\"\n", real.display()));
    let settings = HostSettings {
        program: "logosctl".to_owned(),
        search: vec![renamed],
        read: vec![programs("old")],
        ..host(HOSTS[0])
    };
    let ran = world.load(settings);
    assert_eq!(word(&ran.run.outcome), "strong", "{:?}", ran.run);
    assert!(ran.run.tools["host"].contains("a name and a path alone"), "{:?}", ran.run.tools);
}

#[test]
fn each_generation_is_told_apart() {
    for (which, expect) in HOSTS.iter().zip([
        "logos_host 0.1.0 (protocol 1.4) (logos_host that takes a name and a path alone)",
        "logos_host 0.3.0 (protocol 2.1) (logos_host that takes a token)",
        "logoscore 0.1.0 (logoscore, one-shot)",
        "logoscore 0.2.0 (logoscore, daemon)",
        "logosctl 0.1.0 (logosctl)",
    ]) {
        let ran = World::with("").load(host(*which));
        assert_eq!(ran.run.tools["host"], expect);
    }
}

#[test]
fn a_program_that_does_not_say_what_it_is_makes_everything_unknown() {
    let world = World::with("");
    let program = world.temp.path().join("logos_host");
    for (text, expect) in
        [("#!/bin/sh\necho 'a program'\n", "does not say by --help"), ("#!/bin/sh\nkill -9 $$\n", "signal 9")]
    {
        script(&program, text);
        let settings = HostSettings { program: program.to_string_lossy().into_owned(), ..host(HOSTS[0]) };
        let outcome = world.outcome(settings);
        assert!(word(&outcome) == "unknown" && reason(&outcome).contains(expect), "{outcome:?}");
    }
}

#[test]
fn the_fingerprint_follows_the_program_and_the_settings_and_starts_nothing() {
    let world = World::with("");
    let program = world.temp.path().join("host");
    let trace = world.temp.path().join("trace");
    script(&program, &format!("#!/bin/sh\ntouch '{}'\n", trace.display()));
    let settings = HostSettings { program: program.to_string_lossy().into_owned(), ..host(HOSTS[0]) };
    let fingerprint = |settings: &HostSettings| world.host(settings.clone()).fingerprint();
    let first = fingerprint(&settings);
    assert!(first.is_ok(), "{first:?}");
    assert_eq!(first, fingerprint(&settings));
    script(&program, "#!/bin/sh\necho changed\n");
    assert_ne!(first, fingerprint(&settings));
    let other = HostSettings { call: vec!["ping".to_owned()], ..settings.clone() };
    assert_ne!(fingerprint(&other), fingerprint(&settings));
    fs::remove_file(&program).expect("it is removed");
    assert_eq!(
        fingerprint(&settings),
        Err(format!("the host program \"{}\" was not found", program.display()))
    );
    assert!(!trace.exists());
}
