//! On sources that are a table: `https://x.org/NAME` at revision `1`, `2`, ….

use std::cell::RefCell;

use super::*;
use crate::domain::flake::lock::InputEdge;
use crate::domain::flake::reference::Attr;

/// A source's versions: `flake.nix`, and `flake.lock` where it has one.
#[derive(Default)]
struct Table {
    versions: BTreeMap<&'static str, Vec<(String, Option<String>)>>,
    gone: BTreeSet<&'static str>,
    asked: RefCell<Vec<String>>,
}

impl Table {
    fn add(&mut self, name: &'static str, inputs: &str) {
        let flake = flake(inputs);
        let sources = &*self;
        let updates = BTreeMap::new();
        let request =
            Request { flake_nix: flake.as_bytes(), dir: "", lock: None, updates: &updates, strict: false };
        let lock = relock(request, sources).ok().map(|made| made.lock.to_json());
        self.versions.entry(name).or_default().push((flake, lock));
    }

    fn version(&self, reference: &FlakeRef) -> Result<(&'static str, usize), SourceError> {
        let url = reference.text("url").unwrap_or("");
        let wanted = url.strip_prefix("https://x.org/").unwrap_or(url);
        let (name, versions) = self
            .versions
            .get_key_value(wanted)
            .filter(|(name, _)| !self.gone.contains(*name))
            .ok_or_else(|| SourceError::NotAtHand("it is gone".to_owned()))?;
        let version = match reference.rev() {
            Some(rev) => rev.trim_start_matches('0').parse().unwrap_or(0),
            None => versions.len(),
        };
        Ok((name, version))
    }
}

impl FlakeSources for Table {
    fn lock(&self, reference: &FlakeRef, revision: Option<&str>) -> Result<FlakeRef, SourceError> {
        let reference = match revision {
            Some(rev) => reference.with("rev", Some(Attr::Str(rev.into()))),
            None => reference.clone(),
        };
        let (name, version) = self.version(&reference)?;
        self.asked.borrow_mut().push(format!("lock {name}"));
        Ok(reference
            .with("rev", Some(Attr::Str(rev(version).into())))
            .with("narHash", Some(Attr::Str(format!("{name}{version}").into()))))
    }

    fn read(&self, tree: Tree<'_>, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let Tree::Locked(locked) = tree else {
            return Ok(
                (path == "sub/flake.nix").then(|| flake("a.url = \"git+https://x.org/a\";").into_bytes())
            );
        };
        let (name, version) = self.version(locked)?;
        self.asked.borrow_mut().push(format!("read {name} {path}"));
        let (flake, lock) = &self.versions[name][version - 1];
        Ok(match path {
            "flake.nix" => Some(flake.clone().into_bytes()),
            "flake.lock" => lock.clone().map(String::into_bytes),
            _ => None,
        })
    }
}

fn rev(version: usize) -> String {
    format!("{version:040}")
}

fn flake(inputs: &str) -> String {
    format!("{{ inputs = {{ {inputs} }}; outputs = _: {{ }}; }}")
}

/// `name.url` for each.
fn urls(names: &str) -> String {
    let url = |name| format!("{name}.url = \"git+https://x.org/{name}\"; ");
    names.split(' ').map(url).collect::<Vec<_>>().concat()
}

/// Every input path with its revision's number, or what it follows.
fn shown(lock: &Lock) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), lock.root())];
    while let Some((prefix, id)) = open.pop() {
        for (name, input) in &lock.node(id).inputs {
            match &input.edge {
                InputEdge::Node(id) => {
                    let rev = lock.node(*id).rev().unwrap_or(".").trim_start_matches('0');
                    found.push(format!("{prefix}{name} {rev}"));
                    open.push((format!("{prefix}{name}/"), *id));
                }
                InputEdge::Follows(path) => found.push(format!("{prefix}{name} ={}", path.join("/"))),
            }
        }
    }
    found.sort();
    found
}

fn path(path: &str) -> InputPath {
    path.split('/').map(str::to_owned).collect()
}

fn relocked(
    sources: &Table,
    inputs: &str,
    lock: Option<&Lock>,
    updates: &[(&str, Option<usize>)],
    strict: bool,
) -> Result<Relocked, String> {
    let updates = updates
        .iter()
        .map(|(at, version)| {
            (path(at), version.map_or(Update::Newest, |version| Update::Revision(rev(version))))
        })
        .collect();
    let flake = flake(inputs);
    let request = Request { flake_nix: flake.as_bytes(), dir: "", lock, updates: &updates, strict };
    sources.asked.borrow_mut().clear();
    relock(request, sources).map_err(|error| error.to_string())
}

fn table() -> Table {
    let mut sources = Table::default();
    sources.add("pkgs", "");
    sources.add("sdk", &urls("pkgs"));
    sources.add("a", &(urls("sdk pkgs") + "sdk.inputs.pkgs.follows = \"pkgs\";"));
    sources
}

#[test]
fn a_new_input_brings_what_its_own_lock_says_and_follows_are_rooted_at_it() {
    let mut sources = table();
    sources.add("pkgs", "");
    let made = relocked(&sources, &urls("a pkgs"), None, &[], false).expect("all is at hand");
    assert_eq!(shown(&made.lock), ["a 1", "a/pkgs 1", "a/sdk 1", "a/sdk/pkgs =a/pkgs", "pkgs 2"]);
    assert!(made.lock.to_json().contains("\"pkgs_2\": {"));
}

#[test]
fn what_is_unchanged_is_kept_without_asking_and_an_update_moves_one_input() {
    let mut sources = table();
    let first = relocked(&sources, &urls("pkgs sdk"), None, &[], false).expect("all is at hand").lock;
    sources.add("pkgs", "");
    sources.add("sdk", &urls("pkgs"));
    let kept = relocked(&sources, &urls("pkgs sdk"), Some(&first), &[], true).expect("nothing is needed");
    assert_eq!(kept.lock, first);
    assert_eq!(*sources.asked.borrow(), Vec::<String>::new());
    let moved = relocked(&sources, &urls("pkgs sdk"), Some(&first), &[("sdk", None)], true);
    assert_eq!(shown(&moved.expect("it is at hand").lock), ["pkgs 1", "sdk 2", "sdk/pkgs 2"]);
    let inner = relocked(&sources, &urls("pkgs sdk"), Some(&first), &[("sdk/pkgs", None)], true);
    assert_eq!(shown(&inner.expect("it is at hand").lock), ["pkgs 1", "sdk 1", "sdk/pkgs 2"]);
}

#[test]
fn a_revision_that_was_asked_for_is_locked_and_the_request_stays() {
    let mut sources = table();
    sources.add("sdk", &urls("pkgs"));
    let first = relocked(&sources, &urls("sdk"), None, &[], false).expect("all is at hand").lock;
    let back =
        relocked(&sources, &urls("sdk"), Some(&first), &[("sdk", Some(1))], false).expect("it is there");
    assert_eq!(shown(&back.lock), ["sdk 1", "sdk/pkgs 1"]);
    let node = back.lock.node(back.lock.resolve(&["sdk"]).expect("it is there"));
    assert_eq!(node.original.as_ref().and_then(FlakeRef::rev), None);
    let pinned = format!("sdk.url = \"git+https://x.org/sdk?rev={}\";", rev(2));
    assert_eq!(
        relocked(&sources, &pinned, None, &[("sdk", Some(1))], false),
        Err(format!(
            "the input sdk is pinned to {two} by git+https://x.org/sdk?rev={two}; it cannot be locked to {one}",
            two = rev(2),
            one = rev(1)
        ))
    );
}

#[test]
fn the_outermost_override_counts_and_one_for_nothing_is_said() {
    let sources = table();
    let inputs = urls("a pkgs")
        + "a.inputs.sdk.inputs.pkgs.follows = \"pkgs\"; a.inputs.pkgs.url = \"git+https://x.org/pkgs?rev=0000000000000000000000000000000000000001\"; a.inputs.no.follows = \"pkgs\";";
    let made = relocked(&sources, &inputs, None, &[], false).expect("all is at hand");
    assert_eq!(shown(&made.lock), ["a 1", "a/pkgs 1", "a/sdk 1", "a/sdk/pkgs =pkgs", "pkgs 1"]);
    assert_eq!(made.warnings, [Warning::NoSuchInput { of: path("a"), name: "no".to_owned() }]);
    let again =
        relocked(&sources, &inputs, Some(&made.lock), &[("nothing", None)], true).expect("it is kept");
    assert_eq!(again.lock, made.lock);
    assert_eq!(again.warnings.last(), Some(&Warning::NotUpdated(path("nothing"))));
}

#[test]
fn an_override_that_is_gone_needs_the_source_and_an_inner_follows_only_when_strict() {
    let mut sources = table();
    let with = urls("a pkgs") + "a.inputs.pkgs.follows = \"pkgs\";";
    let first = relocked(&sources, &with, None, &[], false).expect("all is at hand").lock;
    assert_eq!(shown(&first), ["a 1", "a/pkgs =pkgs", "a/sdk 1", "a/sdk/pkgs =a/pkgs", "pkgs 1"]);
    let without = relocked(&sources, &urls("a pkgs"), Some(&first), &[], false).expect("all is at hand");
    assert_eq!(shown(&without.lock), ["a 1", "a/pkgs 1", "a/sdk 1", "a/sdk/pkgs =a/pkgs", "pkgs 1"]);
    assert_eq!(without.assumed, BTreeSet::new());
    sources.gone.insert("a");
    let missing = relocked(&sources, &urls("a pkgs"), Some(&first), &[], false);
    assert_eq!(
        missing,
        Err(format!("needs source git+https://x.org/a at {}, seen at input path a: it is gone", rev(1)))
    );

    // `a/sdk/pkgs` follows something in `a`: its own word, and its source is as it was.
    let second = without.lock;
    sources.gone.clear();
    let seen = relocked(&sources, &urls("a pkgs"), Some(&second), &[], false).expect("all is at hand");
    assert_eq!((&seen.lock, seen.assumed.len()), (&second, 0));
    // Nix looks at `a`'s direct inputs only, and `a` itself has no follows among them now.
    let inner = urls("pkgs") + "b.url = \"git+https://x.org/b\";";
    sources.add("b", &(urls("sdk pkgs") + "x.follows = \"pkgs\";"));
    let third = relocked(&sources, &inner, None, &[], false).expect("all is at hand").lock;
    sources.gone.insert("b");
    let kept = relocked(&sources, &inner, Some(&third), &[], false).expect("it is kept unseen");
    assert_eq!(kept.lock, third);
    assert_eq!(kept.assumed, BTreeSet::from([path("b")]));
    assert!(relocked(&sources, &inner, Some(&third), &[], true).is_err());
}

#[test]
fn every_missing_source_is_named_at_once() {
    let mut sources = table();
    sources.gone.extend(["sdk", "pkgs"]);
    assert_eq!(
        relocked(&sources, &urls("pkgs sdk"), None, &[("sdk", Some(1))], false),
        Err(format!(
            "needs source git+https://x.org/pkgs at its newest revision, seen at input path pkgs: it is gone; \
             needs source git+https://x.org/sdk at {}, seen at input path sdk: it is gone",
            rev(1)
        ))
    );
}

#[test]
fn relative_inputs_are_read_in_their_flake_and_stay_inside_it() {
    let sources = table();
    let made = relocked(&sources, "s.url = \"path:./sub\";", None, &[], false).expect("it is there");
    assert_eq!(shown(&made.lock), ["s .", "s/a 1", "s/a/pkgs 1", "s/a/sdk 1", "s/a/sdk/pkgs =s/a/pkgs"]);
    let node = made.lock.node(made.lock.resolve(&["s"]).expect("it is there"));
    assert_eq!(node.parent, Some(Vec::new()));
    let kept =
        relocked(&sources, "s.url = \"path:./sub\";", Some(&made.lock), &[], true).expect("it is kept");
    assert_eq!(kept.lock, made.lock);
    assert_eq!(
        relocked(&sources, "s.url = \"path:../x\";", None, &[], false),
        Err("the input s leads out of its source: \"../x\"".to_owned())
    );
    assert_eq!(
        relocked(&sources, "s.url = \"path:./no\";", None, &[], false),
        Err("the input s (path:./no) has no no/flake.nix".to_owned())
    );
}

#[test]
fn what_nix_refuses_is_refused() {
    let mut sources = table();
    sources.versions.insert("x", vec![(flake(&urls("y")), None)]);
    sources.versions.insert("y", vec![(flake(&urls("x")), None)]);
    for (inputs, refusal) in [
        (urls("x"), "the input x/y/x is a circular import of git+https://x.org/x"),
        ("a.follows = \"b\";".to_owned(), "the input a follows b, which is not there"),
        (
            "a.follows = \"b\"; b.follows = \"a\";".to_owned(),
            "inputs follow each other in a circle: b -> a -> b",
        ),
        ("a = 1;".to_owned(), "flake.nix, line 1, column 14: expected a set but got an integer"),
    ] {
        assert_eq!(relocked(&sources, &inputs, None, &[], false), Err(refusal.to_owned()), "{inputs}");
    }
    // The circle is broken by a follows.
    let inputs = urls("x") + "x.inputs.y.inputs.x.follows = \"x\";";
    let made = relocked(&sources, &inputs, None, &[], false).expect("it is no circle");
    assert_eq!(shown(&made.lock), ["x 1", "x/y 1", "x/y/x =x"]);
}

#[test]
fn a_lock_that_nests_or_multiplies_without_end_is_refused() {
    let sources = table();
    let node = |inputs: &str| {
        format!(
            r#"{{"inputs": {{{inputs}}}, "locked": {{"type": "git", "url": "https://x.org/a", "rev": "{r}"}}, "original": {{"type": "git", "url": "https://x.org/a"}}}}"#,
            r = rev(1)
        )
    };
    let lock = |nodes: &str| {
        let file = format!(
            r#"{{"nodes": {{"root": {{"inputs": {{"a": "n0"}}}}, {nodes}}}, "root": "root", "version": 7}}"#
        );
        Lock::parse(file.as_bytes()).expect("it is well formed")
    };
    let circle = lock(&format!(r#""n0": {}, "n1": {}"#, node(r#""b": "n1""#), node(r#""a": "n0""#)));
    assert!(
        relocked(&sources, &urls("a"), Some(&circle), &[], false)
            .is_err_and(|error| error.starts_with("the lock has more levels than are read at a/b/a/b"))
    );
    let doubling: Vec<String> = (0..20)
        .map(|n| {
            let inputs = if n == 19 { String::new() } else { format!(r#""l": "n{0}", "r": "n{0}""#, n + 1) };
            format!(r#""n{n}": {}"#, node(&inputs))
        })
        .collect();
    assert!(
        relocked(&sources, &urls("a"), Some(&lock(&doubling.join(","))), &[], false)
            .is_err_and(|error| error.starts_with("the lock has more nodes than are read"))
    );
}

#[test]
fn a_lock_that_only_looks_different_keeps_its_bytes() {
    let sources = table();
    let made = relocked(&sources, &urls("sdk"), None, &[], false).expect("all is at hand");
    let renamed = made
        .lock
        .to_json()
        .replace("\"pkgs\": {", "\"other\": {")
        .replace("\"pkgs\": \"pkgs\"", "\"pkgs\": \"other\"");
    let lock = Lock::parse(renamed.as_bytes()).expect("it is a lock");
    let again = relocked(&sources, &urls("sdk"), Some(&lock), &[], false).expect("it is kept");
    assert!(!again.differs_from(Some(&lock)));
    assert_eq!(again.file(Some((&lock, renamed.as_bytes()))), renamed.as_bytes());
    assert_eq!(again.file(None), made.lock.to_json().as_bytes());
    let none = relocked(&sources, "", None, &[], false).expect("there is nothing to lock");
    assert!(!none.differs_from(None) && made.differs_from(None));
}

#[test]
fn a_source_without_a_revision_is_warned_of_and_not_written_again() {
    let sources = table();
    let made = relocked(&sources, &urls("pkgs sdk"), None, &[], false).expect("all is at hand");
    let json = made.lock.to_json();
    let at = json.find("\"rev\"").expect("it is locked");
    let end = at + json[at..].find(',').expect("more follows");
    let by_content = format!("{}{}", &json[..at], &json[end + 1..]);
    let lock = Lock::parse(by_content.as_bytes()).expect("it is a lock");
    let warning = Warning::Unlocked {
        at: Vec::new(),
        node: "pkgs".to_owned(),
        reference: "git+https://x.org/pkgs".to_owned(),
    };
    let kept = relocked(&sources, &urls("pkgs sdk"), Some(&lock), &[], false).expect("it is as it was");
    assert_eq!((&kept.lock, kept.warnings), (&lock, vec![warning]));
    assert_eq!(
        relocked(&sources, &urls("pkgs"), Some(&lock), &[], false),
        Err("the input pkgs would be unlocked: git+https://x.org/pkgs names no revision".to_owned())
    );
    assert!(relocked(&sources, &urls("pkgs sdk"), Some(&lock), &[("pkgs", None)], false).is_ok());

    let by_nothing = by_content.replacen("\"narHash\": \"pkgs1\",", "", 1);
    let lock = Lock::parse(by_nothing.as_bytes()).expect("it is a lock");
    assert_eq!(
        relocked(&sources, &urls("pkgs sdk"), Some(&lock), &[("pkgs", None)], false),
        Err("flake.lock holds the unlocked input git+https://x.org/pkgs at \"pkgs\"".to_owned())
    );
}
