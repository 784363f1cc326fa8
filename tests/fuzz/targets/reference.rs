//! Flake references and git URLs.
#![no_main]

use lambda_os::domain::flake::reference::FlakeRef;
use lambda_os::domain::url::{RemoteUrl, RepoIdentity, UrlRules, relative};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for is_flake in [true, false] {
        if let Ok(reference) = FlakeRef::parse_as(text, is_flake) {
            assert!(!reference.kind().is_empty());
            assert!(reference.same_request(&reference));
            let _ = (reference.identity(), reference.is_locked(), reference.relative_path());
            // Not always the same one: Nix too takes one `git+` off an attribute.
            let _ = FlakeRef::from_stated(reference.attrs().clone());
        }
    }
    let _ = RepoIdentity::of_git_url(text);
    let _ = RepoIdentity::of_flake_url(text);
    for local in [true, false] {
        let rules = UrlRules::with_local(local);
        if let Ok(url) = RemoteUrl::parse(text, rules) {
            assert!(!text.starts_with('-'), "no program takes it for an option");
            let _ = (url.identity(), url.host(), url.local_path());
        }
        let _ = relative::resolve("https://example.org/group/super.git", text, rules);
        let _ = relative::resolve(text, "../sibling.git", rules);
    }
});
