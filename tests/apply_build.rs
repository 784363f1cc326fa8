//! Trees that are built in memory beside those that the real git writes.

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::domain::change::{PathContent, PathEdit};
use lambda_os::domain::id::{ObjectId, RepoPath};
use lambda_os::ports::Superproject;
use proptest::prelude::*;
use support::{git, temp_dir};

const COMMIT: [u8; 32] = [7; 32];

/// A repository with one commit of these files.
struct World {
    temp: tempfile::TempDir,
    sha256: bool,
}

impl World {
    fn new(sha256: bool, entries: &BTreeMap<String, Entry>) -> Self {
        let world = Self { temp: temp_dir(), sha256 };
        let format = if sha256 { "--object-format=sha256" } else { "--object-format=sha1" };
        git(world.temp.path(), ["init", "-q", "-b", "main", format, "w"]);
        let tree = world.write_tree(entries);
        let commit = git(&world.path(), ["commit-tree", "-m", "base", tree.trim()]);
        git(&world.path(), ["update-ref", "refs/heads/main", commit.trim()]);
        world
    }

    fn path(&self) -> PathBuf {
        self.temp.path().join("w")
    }

    fn repository(&self) -> GitRepository {
        let environment = Environment { home: Some(self.temp.path().to_owned()), ..Environment::default() };
        GitRepository::open_in(&self.path(), DiscoverSettings::default(), environment).expect("it opens")
    }

    fn head(&self) -> ObjectId {
        git(&self.path(), ["rev-parse", "HEAD"]).trim().parse().expect("an id")
    }

    fn link(&self, seed: u8) -> ObjectId {
        let mut bytes = COMMIT;
        bytes[0] = seed;
        ObjectId::from_bytes(if self.sha256 { &bytes } else { &bytes[..20] }).expect("an id")
    }

    fn content(&self, entry: &Entry) -> PathContent {
        match entry {
            Entry::Link(seed) => PathContent::Gitlink(self.link(*seed)),
            Entry::File(executable, content) => {
                PathContent::File { executable: *executable, content: content.clone() }
            }
        }
    }

    /// What `git update-index --index-info` and `git write-tree` make of these entries.
    fn write_tree(&self, entries: &BTreeMap<String, Entry>) -> String {
        use std::io::Write as _;
        let index = self.temp.path().join("other-index");
        let _ = std::fs::remove_file(&index);
        let mut lines = Vec::new();
        for (path, entry) in entries {
            let (mode, id) = match entry {
                Entry::Link(seed) => ("160000", self.link(*seed).to_string()),
                Entry::File(executable, content) => {
                    (if *executable { "100755" } else { "100644" }, self.blob(content))
                }
            };
            lines.extend_from_slice(format!("{mode} {id}\t{path}\0").as_bytes());
        }
        let mut command = support::git_command(&self.path());
        command.env("GIT_INDEX_FILE", &index).args(["update-index", "-z", "--index-info"]);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().expect("git starts");
        child.stdin.take().expect("a pipe").write_all(&lines).expect("it reads");
        assert!(child.wait().expect("git ends").success());
        let mut command = support::git_command(&self.path());
        let output = command.env("GIT_INDEX_FILE", &index).arg("write-tree").output().expect("git starts");
        assert!(output.status.success(), "{}", support::said(&output));
        String::from_utf8(output.stdout).expect("hex").trim().to_owned()
    }

    fn blob(&self, content: &[u8]) -> String {
        let file = self.temp.path().join("blob");
        std::fs::write(&file, content).expect("a file is written");
        let args: [&std::ffi::OsStr; 4] =
            ["hash-object".as_ref(), "-w".as_ref(), "--no-filters".as_ref(), file.as_ref()];
        git(&self.path(), args).trim().to_owned()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Link(u8),
    File(bool, Vec<u8>),
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        any::<u8>().prop_map(Entry::Link),
        (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(executable, content)| Entry::File(executable, content)),
    ]
}

/// Paths that meet each other often, with the characters around `/` in git's order.
fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("a.b"),
        Just("a-"),
        Just("a0"),
        Just("A"),
        Just("é"),
        Just("b c"),
        Just("\u{1}")
    ];
    proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

/// Leave out what would be a file and a directory at once.
fn consistent(entries: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    let names: Vec<String> = entries.keys().cloned().collect();
    let is_parent = |path: &str| names.iter().any(|other| other.starts_with(&format!("{path}/")));
    entries.into_iter().filter(|(path, _)| !is_parent(path)).collect()
}

fn check(sha256: bool, base: BTreeMap<String, Entry>, change: &BTreeMap<String, Entry>) {
    let base = consistent(base);
    let mut after = base.clone();
    after.extend(change.clone());
    let after = consistent(after);
    if after.len() < base.len() || !change.keys().all(|path| after.contains_key(path)) {
        return;
    }
    if !base.keys().all(|path| after.contains_key(path)) {
        return;
    }
    let world = World::new(sha256, &base);
    let repository = world.repository();
    let edits: Vec<PathEdit> = change
        .iter()
        .map(|(path, new)| PathEdit {
            path: RepoPath::from(path.as_str()),
            old: base.get(path).map(|old| world.content(old)),
            new: world.content(new),
        })
        .collect();
    let before = support::Fingerprint::of(&world.path());
    let head = world.head();
    let built = repository.tree_with(world.head(), &edits).expect("a tree is built");
    before.assert_equal(&support::Fingerprint::of(&world.path()));
    let commit = repository.commit(head, &edits, "One change\n\nWhy.", 1_790_000_000_999).expect("a commit");
    assert_committed(&world, commit, built);
    assert_eq!(world.head(), head, "a ref moved");
    assert_eq!(built.to_string(), world.write_tree(&after), "{base:?} + {change:?}");
    for (path, entry) in &base {
        let found = repository.content(world.head(), &RepoPath::from(path.as_str())).expect("it is read");
        assert_eq!(found, Some(world.content(entry)), "{path}");
    }
}

/// The real git finds the commit, whole, with all that it names.
fn assert_committed(world: &World, commit: ObjectId, tree: ObjectId) {
    let raw = git(&world.path(), ["cat-file", "commit", &commit.to_string()]);
    let person = "lambda-os <lambda-os@localhost> 1790000000 +0000";
    let head = world.head();
    assert_eq!(
        raw,
        format!("tree {tree}\nparent {head}\nauthor {person}\ncommitter {person}\n\nOne change\n\nWhy.\n")
    );
    git(&world.path(), ["fsck", "--strict", "--no-dangling", &commit.to_string()]);
    let garbage = git(&world.path(), ["count-objects", "-v"]);
    assert!(garbage.contains("garbage: 0"), "{garbage}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_built_tree_is_the_one_that_git_writes(
        base in proptest::collection::btree_map(path(), entry(), 0..8),
        change in proptest::collection::btree_map(path(), entry(), 1..5),
        sha256 in proptest::bool::weighted(0.15),
    ) {
        check(sha256, base, &change);
    }
}

fn file(content: &str) -> PathContent {
    PathContent::File { executable: false, content: content.as_bytes().to_vec() }
}

fn odd_world() -> World {
    let world = World::new(false, &BTreeMap::new());
    let at = world.path();
    std::fs::create_dir_all(at.join("d/e")).expect("directories");
    std::fs::write(at.join("f"), "f\n").expect("a file");
    std::fs::write(at.join("d/e/g"), "g\n").expect("a file");
    std::os::unix::fs::symlink("d", at.join("s")).expect("a link");
    git(&at, ["add", "-A"]);
    git(&at, ["commit", "-q", "-m", "odd"]);
    world
}

#[track_caller]
fn refused(world: &World, path: &str, old: Option<PathContent>, why: &str) {
    let edit = PathEdit { path: RepoPath::from(path), old, new: file("new\n") };
    let error = world.repository().tree_with(world.head(), &[edit]).expect_err("it is refused");
    let said = format!("{:?}", error.source);
    assert!(said.contains(why), "{said}");
}

#[test]
fn what_is_no_file_and_no_submodule_is_refused_by_name() {
    let world = odd_world();
    refused(&world, "s", Some(file("d")), "a symlink stands at s");
    refused(&world, "d", None, "a directory stands at d");
    refused(&world, "s/x", None, "s above s/x is a symlink");
    refused(&world, "f/x", None, "f above f/x is a file");
    refused(&world, "f", None, "starts at nothing");
    refused(&world, "f", Some(file("other\n")), "f is not what the change was made for");
    refused(&world, "new", Some(file("x\n")), "nothing stands there");
    refused(&world, "d/.git/config", None, "leads into a git directory");
    refused(&world, "../x", None, "has an empty component");
    let repository = world.repository();
    let content = |path: &str| repository.content(world.head(), &RepoPath::from(path));
    assert!(content("s").is_err() && content("d").is_err() && content("s/x").is_err());
    assert_eq!(content("nothing/here").expect("an answer"), None);
    assert_eq!(content("d/e/g").expect("an answer"), Some(file("g\n")));
    let twice = |path: &str| PathEdit { path: path.into(), old: None, new: file("n") };
    assert!(repository.tree_with(world.head(), &[twice("n"), twice("n")]).is_err());
    assert!(repository.tree_with(world.head(), &[twice("n"), twice("n/m")]).is_err());
}

#[test]
fn an_executable_file_is_another_content() {
    let world = odd_world();
    git(&world.path(), ["update-index", "--chmod=+x", "f"]);
    git(&world.path(), ["commit", "-q", "-m", "x"]);
    refused(&world, "f", Some(file("f\n")), "f is not what the change was made for");
    let found = world.repository().content(world.head(), &RepoPath::from("f")).expect("an answer");
    assert_eq!(found, Some(PathContent::File { executable: true, content: b"f\n".to_vec() }));
}

#[test]
fn what_is_in_the_repository_already_is_not_written_again() {
    let world = odd_world();
    let head = world.head();
    let edit = PathEdit { path: "f".into(), old: Some(file("f\n")), new: file("g\n") };
    let repository = world.repository();
    let first = repository.commit(head, std::slice::from_ref(&edit), "m", 0).expect("a commit");
    let before = support::Fingerprint::of(&world.path());
    assert_eq!(repository.commit(head, &[edit], "m", 0).expect("a commit"), first);
    before.assert_equal(&support::Fingerprint::of(&world.path()));
    // Nine were there, the blob among them as d/e/g: only a tree and a commit are new.
    let objects = git(&world.path(), ["count-objects"]);
    assert!(objects.starts_with("11 objects"), "{objects}");
    git(&world.path(), ["gc", "-q", "--prune=now"]);
    git(&world.path(), ["update-ref", "refs/heads/kept", &head.to_string()]);
    let mode = std::os::unix::fs::PermissionsExt::mode;
    let alone = repository
        .commit(head, &[PathEdit { path: "n".into(), old: None, new: file("f\n") }], "m", 0)
        .expect("a commit");
    let hex = alone.to_string();
    let path = world.path().join(".git/objects").join(&hex[..2]).join(&hex[2..]);
    let rights = std::fs::metadata(&path).expect("a loose object").permissions();
    assert_eq!(mode(&rights) & 0o222, 0, "git's objects are read-only");
    assert!(git(&world.path(), ["count-objects"]).starts_with("2 objects"));
}
