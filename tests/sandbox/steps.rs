//! The step `command` on real commits: what is written of them, and what their checking gives.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lambda_os::adapters::checker::{Command, CommandChecker};
use lambda_os::adapters::git::{DiscoverSettings, GitRepository};
use lambda_os::adapters::materials::{Bounds, Materials};
use lambda_os::domain::health::{Outcome, Placed, Scene, StepRun};
use lambda_os::domain::id::{Cid, ObjectId, RepoPath};
use lambda_os::domain::module::Module;
use lambda_os::ports::{Checker as _, Repository as _, Runner as _};
use lambda_os::sample::SampleSpec;
use tempfile::TempDir;

use crate::support::{self, Workspace, git};
use crate::world::{limits, sandboxes};

/// A module of a sample workspace, whose objects are in a repository of our own making.
struct World {
    _workspace: Workspace,
    temp: TempDir,
    module: Module,
}

impl World {
    fn new() -> Self {
        let workspace = Workspace::new(&SampleSpec { modules: 1, ..SampleSpec::default() });
        let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
        let repository = GitRepository::open(workspace.path(), settings).expect("a superproject");
        let module = repository.discover().expect("modules").modules.remove(0);
        let temp = support::temp_dir();
        // Not rights keep anyone out here.
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).expect("opened");
        fs::create_dir(temp.path().join("repo")).expect("made");
        git(&temp.path().join("repo"), ["init", "-q"]);
        Self { _workspace: workspace, temp, module }
    }

    fn repo(&self) -> PathBuf {
        self.temp.path().join("repo")
    }

    fn commit(&self) -> ObjectId {
        git(&self.repo(), ["add", "-A"]);
        git(&self.repo(), ["commit", "-q", "--allow-empty", "-m", "x"]);
        git(&self.repo(), ["rev-parse", "HEAD"]).trim().parse().expect("a commit")
    }

    /// A commit of a tree that no index would make: entries as `mktree` takes them.
    fn commit_of(&self, tree: &[u8]) -> ObjectId {
        let file = self.temp.path().join("tree");
        fs::write(&file, tree).expect("written");
        let file = file.to_str().expect("UTF-8");
        let tree = git(&self.repo(), ["hash-object", "-t", "tree", "-w", "--literally", file]);
        git(&self.repo(), ["commit-tree", "-m", "x", tree.trim()]).trim().parse().expect("a commit")
    }

    fn materials(&self) -> Materials {
        let objects = self.repo().join(".git/objects");
        Materials::new(&self.temp.path().join("cache"), "this boot", Box::new(move |_| vec![objects.clone()]))
    }

    fn placed(&self, pin: ObjectId) -> Placed {
        Placed { module: self.module.clone(), pin, sees: Cid::of(b"sees") }
    }
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("there");
    let mut names: Vec<String> =
        entries.map(|it| it.expect("there").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_commit_is_written_as_it_is_and_for_reading_alone() {
    let world = World::new();
    let repo = world.repo();
    fs::create_dir(repo.join("dir")).expect("made");
    fs::write(repo.join("dir/tool"), "#!/bin/sh\n").expect("written");
    fs::set_permissions(repo.join("dir/tool"), fs::Permissions::from_mode(0o755)).expect("set");
    // Neither an attribute nor a filter changes a byte.
    fs::write(repo.join("plain"), "a\r\n$Id$\n").expect("written");
    fs::write(repo.join(".gitattributes"), "* text ident eol=crlf filter=evil export-ignore\n")
        .expect("written");
    git(&repo, ["config", "filter.evil.smudge", "touch canary"]);
    std::os::unix::fs::symlink("/etc/passwd", repo.join("link")).expect("made");
    fs::create_dir(repo.join("sub")).expect("made");
    git(&repo, ["update-index", "--add", "--cacheinfo", &format!("160000,{},sub", "1".repeat(40))]);
    let commit = world.commit();
    let materials = world.materials();
    let material = materials.of(&world.module, commit).expect("written");
    let path = material.path();
    assert_eq!(names(path), [".gitattributes", "dir", "link", "plain", "sub"]);
    let content = git(&repo, ["cat-file", "blob", "HEAD:plain"]);
    assert_eq!(fs::read_to_string(path.join("plain")).expect("read"), content);
    assert_eq!(fs::read_link(path.join("link")).expect("a link"), Path::new("/etc/passwd"));
    assert_eq!(names(&path.join("sub")), [] as [String; 0]);
    let mode = |name: &str| fs::metadata(path.join(name)).expect("there").permissions().mode() & 0o7777;
    assert_eq!((mode("plain"), mode("dir/tool"), mode("dir"), mode(".")), (0o444, 0o555, 0o555, 0o555));
    assert!(!repo.join("canary").exists() && !path.join("canary").exists());
    // Another commit of the same tree is the same directory.
    let again = materials.of(&world.module, world.commit()).expect("there");
    assert_eq!((again.path(), again.tree()), (path, material.tree()));
    assert_eq!(
        names(&world.temp.path().join("cache/sources")),
        [material.tree().to_string(), "boot".to_owned()]
    );
    let read = materials.file(&world.module, commit, &RepoPath::new(b"dir/tool".to_vec())).expect("read");
    assert_eq!(read.as_deref(), Some(&b"#!/bin/sh\n"[..]));
    let none = materials.file(&world.module, commit, &RepoPath::new(b"dir/none".to_vec())).expect("read");
    assert_eq!(none, None);
}

#[test]
fn names_that_lead_elsewhere_are_refused_and_nothing_is_left() {
    let world = World::new();
    let blob = world.temp.path().join("evil");
    fs::write(&blob, "evil").expect("written");
    let blob = git(&world.repo(), ["hash-object", "-w", blob.to_str().expect("UTF-8")]);
    let blob = blob.trim().parse::<ObjectId>().expect("a blob");
    for name in ["..", ".", ".git", ".GIT", "../../escaped", "a/b", "/tmp/escaped"] {
        let mut tree = format!("100644 {name}\0").into_bytes();
        tree.extend_from_slice(blob.as_bytes());
        let commit = world.commit_of(&tree);
        let refused = world.materials().of(&world.module, commit).expect_err("refused");
        assert!(refused.contains("git checks out nowhere"), "{name}: {refused}");
        assert_eq!(names(&world.temp.path().join("cache/sources")), ["boot"], "{name}");
    }
    // A link and a directory of one name: nothing is written through the link.
    let target = world.temp.path().join("target");
    fs::create_dir(&target).expect("made");
    let link = world.temp.path().join("link");
    fs::write(&link, target.to_str().expect("UTF-8")).expect("written");
    let link = git(&world.repo(), ["hash-object", "-w", link.to_str().expect("UTF-8")]);
    let mut inner = b"100644 inside\0".to_vec();
    inner.extend_from_slice(blob.as_bytes());
    let inner_file = world.temp.path().join("inner");
    fs::write(&inner_file, &inner).expect("written");
    let inner = git(
        &world.repo(),
        ["hash-object", "-t", "tree", "-w", "--literally", inner_file.to_str().expect("UTF-8")],
    );
    let mut tree = b"120000 a\0".to_vec();
    tree.extend_from_slice(link.trim().parse::<ObjectId>().expect("a blob").as_bytes());
    tree.extend_from_slice(b"40000 a\0");
    tree.extend_from_slice(inner.trim().parse::<ObjectId>().expect("a tree").as_bytes());
    let commit = world.commit_of(&tree);
    world.materials().of(&world.module, commit).expect_err("refused");
    assert_eq!(names(&target), [] as [String; 0]);
}

#[test]
fn what_is_too_much_is_refused_and_old_ones_go_unless_they_are_held() {
    let world = World::new();
    for number in 0..4 {
        fs::write(world.repo().join(format!("f{number}")), vec![b'x'; 1000]).expect("written");
    }
    let first = world.commit();
    for (bounds, why) in [
        (Bounds { bytes: 3999, ..Bounds::default() }, "more than 3999 bytes"),
        (Bounds { files: 3, ..Bounds::default() }, "more than 3 files"),
    ] {
        let refused = world.materials().within(bounds).of(&world.module, first).expect_err("refused");
        assert!(refused.contains(why), "{refused}");
        assert_eq!(names(&world.temp.path().join("cache/sources")), ["boot"]);
    }
    let materials = world.materials().within(Bounds { kept: 1, ..Bounds::default() });
    let held = materials.of(&world.module, first).expect("written");
    for number in 0..3 {
        fs::write(world.repo().join("f0"), format!("{number}")).expect("written");
        materials.of(&world.module, world.commit()).expect("written");
    }
    let kept = names(&world.temp.path().join("cache/sources"));
    assert!(kept.contains(&held.tree().to_string()) && kept.len() <= 4, "{kept:?}");
    drop(held);
    fs::write(world.repo().join("f0"), "last").expect("written");
    let last = materials.of(&world.module, world.commit()).expect("written");
    assert_eq!(names(&world.temp.path().join("cache/sources")), [last.tree().to_string(), "boot".to_owned()]);
}

#[test]
fn after_a_boot_everything_is_made_anew() {
    let world = World::new();
    fs::write(world.repo().join("file"), "whole").expect("written");
    let commit = world.commit();
    let path = world.materials().of(&world.module, commit).expect("written").path().to_owned();
    // As a power cut may leave it.
    fs::set_permissions(path.join("file"), fs::Permissions::from_mode(0o644)).expect("set");
    fs::write(path.join("file"), "").expect("cut");
    let objects = world.repo().join(".git/objects");
    let later = Materials::new(
        &world.temp.path().join("cache"),
        "next boot",
        Box::new(move |_| vec![objects.clone()]),
    );
    let material = later.of(&world.module, commit).expect("written");
    assert_eq!(fs::read(material.path().join("file")).expect("read"), b"whole");
}

#[test]
fn the_end_of_the_command_is_the_verdict_and_nothing_else_is() {
    let world = World::new();
    fs::write(world.repo().join("file"), "content").expect("written");
    let commit = world.commit();
    let scene = Scene::new(commit, commit, Vec::new(), &std::collections::BTreeMap::default(), None, &[]);
    for (name, sandbox) in sandboxes() {
        let run = |script: &str, pin: ObjectId| -> (StepRun, Vec<u8>) {
            let words = ["/bin/sh", "-c", script, "sh", "{module}", "{path}"];
            let bounds =
                lambda_os::adapters::sandbox::Limits { deadline: Duration::from_secs(2), ..limits() };
            let command =
                Command { program: words.map(str::to_owned).to_vec(), read: Vec::new(), limits: bounds };
            let checker =
                CommandChecker::new(Arc::new(sandbox.clone()), Arc::new(world.materials()), command);
            assert!(checker.fingerprint().is_ok());
            let ran = checker.check(&scene, &world.placed(pin));
            (ran.run, ran.log)
        };
        let own = world.module.name.as_str().to_owned();
        let script =
            format!("test \"$1\" = '{own}' && test \"$PWD\" = \"$2\" && cat \"$2/file\" && ! echo x > new");
        let (passed, log) = run(&script, commit);
        assert_eq!(passed.outcome, Outcome::Passed { weak: None }, "{name}: {passed:?}");
        assert!(String::from_utf8_lossy(&log).contains("content") && passed.stdout.bytes == 7, "{name}");
        assert!(passed.sandbox.is_some_and(|report| report.layers.contains(&"seccomp".to_owned())), "{name}");
        let (failed, _) = run("echo OK; echo '{\"outcome\":\"passed\"}'; echo broken >&2; exit 3", commit);
        let reason = "the command ended with exit code 3, saying: broken";
        assert!(
            matches!(&failed.outcome, Outcome::Failed { reason: said, .. } if said == reason),
            "{failed:?}"
        );
        let (hung, _) = run("echo OK; while :; do sleep 1; done", commit);
        assert!(matches!(hung.outcome, Outcome::TimedOut { .. }), "{name}: {hung:?}");
        let (absent, _) = run("exit 0", "1".repeat(40).parse().expect("an id"));
        assert!(
            matches!(&absent.outcome, Outcome::Unknown { reason } if reason.contains("not at hand")),
            "{absent:?}"
        );
    }
}

#[test]
fn a_program_that_changes_is_another_fingerprint_and_one_that_is_gone_is_an_error() {
    let world = World::new();
    let Some((_, sandbox)) = sandboxes().first() else { return };
    let program = world.temp.path().join("program");
    let checker = || {
        let command = Command {
            program: vec![program.to_str().expect("UTF-8").to_owned(), "{path}".to_owned()],
            read: Vec::new(),
            limits: limits(),
        };
        CommandChecker::new(Arc::new(sandbox.clone()), Arc::new(world.materials()), command).fingerprint()
    };
    assert!(checker().is_err());
    fs::write(&program, "#!/bin/sh\n").expect("written");
    assert!(checker().expect_err("no program").contains("is no program"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
    let first = checker().expect("a program");
    assert_eq!(checker().as_ref(), Ok(&first));
    let before = fs::metadata(&program).expect("there").size();
    fs::write(&program, "#!/bin/zz\n").expect("written");
    assert_eq!(fs::metadata(&program).expect("there").size(), before);
    assert_ne!(checker().expect("a program"), first);
}

#[test]
fn what_was_found_of_the_machine_is_remembered_and_nothing_is_started() {
    use lambda_os::adapters::sandbox::Sandbox;
    let temp = support::temp_dir();
    let cache = temp.path().join("cache");
    let first = Sandbox::probe(crate::world::launcher(), Some(&cache));
    let file = cache.join("sandbox.json");
    let remembered = fs::read_to_string(&file).expect("remembered");
    // What stands there is believed as long as the circumstances are the same...
    fs::write(&file, remembered.replace("\"landlock\":", "\"landlock\":1")).expect("written");
    let second = Sandbox::probe(crate::world::launcher(), Some(&cache));
    assert_ne!(second.fingerprint(), first.fingerprint());
    // ... and no longer.
    let copy = temp.path().join("lambda-os");
    fs::copy(crate::world::launcher(), &copy).expect("copied");
    let third = Sandbox::probe(&copy, Some(&cache));
    assert_eq!(third.fingerprint(), first.fingerprint());
}
