//! `flake.lock`: parsed, printed, parsed again; compared with itself.
#![no_main]

use lambda_os::domain::flake::lock::Lock;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(lock) = Lock::parse(bytes) else { return };
    let json = lock.to_json();
    let again = Lock::parse(json.as_bytes()).expect("what we print is a lock");
    assert_eq!(again.to_json(), json, "printing again changes nothing");
    assert!(lock.diff(&again).is_empty(), "it is the same lock");
    let _ = lock.duplicates();
    let _ = lock.closure();
    for (_, node) in lock.nodes() {
        let _ = (node.identity(), node.rev());
    }
});
