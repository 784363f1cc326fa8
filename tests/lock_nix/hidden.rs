//! What is kept unseen because its source is not at hand, beside what Nix finds in that source.
//!
//! Where the premise holds (the source's revision and lock are as they were, and nothing above it
//! stopped overriding), the lock is the one that is made with everything at hand, and Nix's. Where
//! a flake above dropped an override that said the same as the source might, it may not be: then
//! the input is named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use lambda_os::adapters::flake_sources::LocalSources;
use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::flake::reference::FlakeRef;
use lambda_os::domain::flake::relock::{
    FlakeSources, RelockError, Relocked, Request, SourceError, Tree, Update, relock,
};

use super::named::Case;
use super::world::World;
use super::{Ask, Nix, Outcome, compare, next};
use crate::support::temp_dir;

/// Sources, some of which are not at hand any more.
struct Hiding<'a> {
    sources: LocalSources,
    hidden: &'a BTreeSet<Source>,
}

/// A repository and a revision of it.
type Source = (String, String);

fn source(locked: &FlakeRef) -> Option<Source> {
    Some((locked.text("url")?.to_owned(), locked.rev()?.to_owned()))
}

impl FlakeSources for Hiding<'_> {
    fn lock(&self, reference: &FlakeRef, revision: Option<&str>) -> Result<FlakeRef, SourceError> {
        let locked = self.sources.lock(reference, revision)?;
        if source(&locked).is_some_and(|source| self.hidden.contains(&source)) {
            return Err(SourceError::NotAtHand("it is hidden".to_owned()));
        }
        Ok(locked)
    }

    fn read(&self, tree: Tree<'_>, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        if let Tree::Locked(locked) = tree
            && source(locked).is_some_and(|source| self.hidden.contains(&source))
        {
            return Err(SourceError::NotAtHand("it is hidden".to_owned()));
        }
        self.sources.read(tree, path)
    }
}

/// Everything that one relock takes, but for what is hidden.
struct Question<'a> {
    root: &'a Path,
    lock: Option<Lock>,
    updates: BTreeMap<Vec<String>, Update>,
}

impl Question<'_> {
    fn answer(&self, hidden: &BTreeSet<Source>, strict: bool) -> Result<Relocked, RelockError> {
        let flake_nix = fs::read(self.root.join("flake.nix")).expect("it is there");
        let sources = Hiding { sources: LocalSources::new(self.root), hidden };
        let (lock, updates) = (self.lock.as_ref(), &self.updates);
        relock(Request { flake_nix: &flake_nix, dir: "", lock, updates, strict }, &sources)
    }
}

#[derive(Debug, Default)]
struct Tally {
    /// The same without anything being assumed.
    unneeded: usize,
    /// The same, with something assumed.
    assumed: usize,
    /// The source is needed.
    needed: usize,
    /// Another lock, where a flake above changed; and that says so.
    said: usize,
}

/// Hide each source that the lock has, and all.
fn hide(question: &Question<'_>, premise: bool, tally: &mut Tally) -> Result<(), String> {
    let none = BTreeSet::new();
    let Ok(strict) = question.answer(&none, true) else { return Ok(()) };
    let seen = question.answer(&none, false).expect("no less is at hand");
    if seen.lock != strict.lock || !seen.assumed.is_empty() {
        return Err("with everything at hand something is assumed".to_owned());
    }
    let Some(lock) = &question.lock else { return Ok(()) };
    let all: BTreeSet<Source> = lock.nodes().filter_map(|(_, node)| source(node.locked.as_ref()?)).collect();
    let each = all.iter().map(|source| BTreeSet::from([source.clone()]));
    for hidden in each.chain([all.clone()]) {
        match question.answer(&hidden, false) {
            Ok(made) if made.lock == strict.lock && made.assumed.is_empty() => tally.unneeded += 1,
            Ok(made) if made.lock == strict.lock => tally.assumed += 1,
            Ok(made) if !premise && !made.assumed.is_empty() => tally.said += 1,
            Ok(made) => return Err(format!("{hidden:?}, assumed {:?}: another lock", made.assumed)),
            Err(RelockError::Needs(_)) => {
                tally.needed += 1;
                continue;
            }
            Err(error) => return Err(format!("{hidden:?}: {error}")),
        }
        let strictly = question.answer(&hidden, true);
        if strictly.is_ok_and(|made| made.lock != strict.lock) {
            return Err(format!("{hidden:?}: another lock, strictly"));
        }
    }
    Ok(())
}

#[test]
fn what_is_assumed_of_a_hidden_source_is_what_nix_finds_in_it() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let (worlds, first) = (number("LAMBDA_OS_LOCK_WORLDS", 30), number("LAMBDA_OS_LOCK_SEED", 0));
    let home = temp_dir();
    let Some(nix) = Nix::new(home.path()) else { return };
    let mut tally = Tally::default();
    for seed in first..first + worlds {
        let temp = temp_dir();
        let dir = fs::canonicalize(temp.path()).expect("it is there");
        let mut world = World::tidy(&dir, seed);
        let mut ask = Ask::Lock;
        for step in 0..4 {
            let file = fs::read(world.root.join("flake.lock")).ok();
            let question = Question {
                root: &world.root,
                lock: file
                    .filter(|_| !matches!(ask, Ask::UpdateAll))
                    .map(|bytes| Lock::parse(&bytes).expect("Nix wrote it")),
                updates: ask.updates(),
            };
            // Every other world's root says the same all the time.
            let premise = seed % 2 == 0;
            if let Err(how) = hide(&question, premise, &mut tally) {
                let flake = fs::read_to_string(world.root.join("flake.nix")).expect("it is there");
                panic!("seed {seed}, step {step}, {ask:?}\n{flake}{how}");
            }
            match compare(&nix, &world.root, &ask) {
                Outcome::Different(how) => panic!("seed {seed}, step {step}, {ask:?}: {how}"),
                Outcome::Equal | Outcome::BothRefuse(_) => {}
            }
            if premise {
                world.change_sources();
            } else {
                world.change();
            }
            ask = next(&mut world);
        }
    }
    eprintln!("{tally:?}");
    assert!(tally.assumed > 0 && tally.needed > 0, "nothing was tried: {tally:?}");
}

#[test]
fn an_override_that_said_the_same_as_its_source_might_is_kept_unseen_and_named() {
    let Some(case) = Case::new() else { return };
    case.flake("p", "").commit("p");
    case.flake("a", "inputs.p.url = \"git+file://@/p\"; inputs.q.url = \"git+file://@/p\";").commit("a");
    case.flake("root", "inputs.a.url = \"git+file://@/a\"; inputs.a.inputs.p.follows = \"a/q\";");
    let before = Lock::parse(case.equal(&Ask::Lock).as_bytes()).expect("Nix wrote it");
    // The override is gone. That it was not the source's own word only the source can tell.
    case.flake("root", "inputs.a.url = \"git+file://@/a\";");
    let root = case.dir.join("root");
    let question = Question { root: &root, lock: Some(before.clone()), updates: BTreeMap::new() };
    let a = before.node(before.resolve(&["a"]).expect("it is there")).locked.as_ref();
    let hidden = BTreeSet::from([a.and_then(source).expect("it is locked")]);
    let kept = question.answer(&hidden, false).expect("it is kept unseen");
    assert_eq!(kept.lock, before);
    assert_eq!(kept.assumed, BTreeSet::from([vec!["a".to_owned()]]));
    assert!(matches!(question.answer(&hidden, true), Err(RelockError::Needs(_))));
    let strict = question.answer(&BTreeSet::new(), true).expect("all is at hand").lock;
    assert_ne!(strict, before);
    assert_eq!(case.equal(&Ask::Lock), strict.to_json());
}
