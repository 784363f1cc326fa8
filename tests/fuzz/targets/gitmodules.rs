//! `.gitmodules` of a hostile superproject.
#![no_main]

use std::collections::BTreeSet;

use lambda_os::domain::discover::{DiscoverInput, accepted_branch, discover};
use lambda_os::domain::id::{ObjectId, RepoPath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let commit: ObjectId = "1".repeat(40).parse().expect("a hash");
    // Whatever looks like a path is a gitlink too, so that more than the refusals is reached.
    let values = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let value = line.splitn(2, |byte| *byte == b'=').nth(1)?;
        Some(RepoPath::new(value.trim_ascii()))
    });
    let input = DiscoverInput {
        gitmodules: Some(bytes.to_vec()),
        gitlinks: values.map(|path| (path, commit)).collect(),
        superproject_url: Some("https://example.org/group/super.git".to_owned()),
        superproject_branch: Some("main".to_owned()),
        ..DiscoverInput::default()
    };
    let found = discover(&input);
    let names: BTreeSet<_> = found.modules.iter().map(|module| &module.name).collect();
    assert_eq!(names.len(), found.modules.len(), "names are unique");
    for module in &found.modules {
        let mut parts = module.path.as_bytes().split(|byte| *byte == b'/');
        assert!(parts.all(|part| !part.is_empty() && part != b".." && !part.eq_ignore_ascii_case(b".git")));
        if let Some(branch) = &module.branch {
            assert!(accepted_branch(branch));
        }
    }
    for refused in &found.refused {
        assert!(!refused.reason.is_empty());
    }
});
