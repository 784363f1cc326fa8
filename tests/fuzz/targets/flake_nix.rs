//! `flake.nix` and the generated dependency map: read, edited, read again.
#![no_main]

use lambda_os::domain::flake::dep_graph::DepGraph;
use lambda_os::domain::flake::{edit, nix_reader};
use libfuzzer_sys::fuzz_target;

const NEW: &str = "fedcba9876543210fedcba9876543210fedcba98";

fuzz_target!(|bytes: &[u8]| {
    match nix_reader::read(bytes) {
        Err(error) => assert!(error.line >= 1 && error.column >= 1 && !error.reason.is_empty()),
        Ok(flake) => {
            for (name, spec) in &flake.inputs {
                let old = spec.reference.as_ref().and_then(|reference| reference.rev());
                let Ok(edited) = edit::set_revision(bytes, name, NEW) else { continue };
                let old = old.expect("there was a revision to change");
                assert_eq!(edited.len(), bytes.len(), "only the revision is another");
                let changed = bytes.iter().zip(&edited).filter(|(before, after)| before != after).count();
                assert!(changed <= 40);
                if let Ok(back) = edit::set_revision(&edited, name, old) {
                    assert!(back == bytes, "and back");
                }
            }
        }
    }
    if let Ok(map) = DepGraph::parse(bytes) {
        if let Ok(same) = edit::update_dep_graph(bytes, &map) {
            assert!(same == bytes, "nothing was to be changed");
        }
        let printed = edit::print_dep_graph(&map);
        assert_eq!(DepGraph::parse(printed.as_bytes()).as_ref(), Ok(&map));
        let mut fewer = map.clone();
        fewer.entries.pop_first();
        if let Ok(edited) = edit::update_dep_graph(bytes, &fewer) {
            assert_eq!(DepGraph::parse(&edited), Ok(fewer));
        }
    }
});
