//! A `flake.nix` and a `flake.lock`, with a NUL between them, made one without any source.
#![no_main]

use std::collections::BTreeMap;

use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::flake::reference::FlakeRef;
use lambda_os::domain::flake::relock::{FlakeSources, Request, SourceError, Tree, Update, relock};
use libfuzzer_sys::fuzz_target;

struct Nothing;

impl FlakeSources for Nothing {
    fn lock(&self, _: &FlakeRef, _: Option<&str>) -> Result<FlakeRef, SourceError> {
        Err(SourceError::NotAtHand("nothing is".to_owned()))
    }

    fn read(&self, tree: Tree<'_>, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        match tree {
            // The flakes inside the root's own source.
            Tree::Root if path.ends_with("flake.nix") => {
                Ok(Some(b"{ inputs.a.url = \"./a\"; inputs.b.follows = \"a\"; outputs = _: { }; }".to_vec()))
            }
            Tree::Root => Ok(None),
            Tree::Locked(_) => Err(SourceError::NotAtHand("nothing is".to_owned())),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (flake, lock) = (parts.next().unwrap_or_default(), parts.next());
    let lock = lock.and_then(|bytes| Lock::parse(bytes).ok());
    for updates in [BTreeMap::new(), BTreeMap::from([(vec!["a".to_owned(), "b".to_owned()], Update::Newest)])] {
        let request = Request { flake_nix: flake, dir: "", lock: lock.as_ref(), updates: &updates, strict: false };
        match relock(request, &Nothing) {
            Err(error) => assert!(!error.to_string().contains(|c: char| c.is_control()), "it is shown inert"),
            Ok(made) => {
                let json = made.lock.to_json();
                let again = Lock::parse(json.as_bytes()).expect("what we print is a lock");
                // Nothing is to be done a second time.
                let request =
                    Request { flake_nix: flake, dir: "", lock: Some(&again), updates: &BTreeMap::new(), strict: false };
                let second = relock(request, &Nothing).expect("the result is accepted unchanged");
                assert_eq!(second.lock.to_json(), json);
            }
        }
    }
});
