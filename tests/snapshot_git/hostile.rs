//! Repositories that want something run, written or followed: nothing is.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use lambda_os::adapters::git::DiscoverSettings;

use super::world::World;

/// Path, content, mode and modification time.
type Print = (std::path::PathBuf, Vec<u8>, u32, (i64, i64));

/// What spoils a git directory.
type Spoil<'a> = (&'a str, &'a dyn Fn(&World, &str));

/// Every file below a directory with its content, mode and modification time.
fn fingerprint(root: &Path) -> Vec<Print> {
    let mut found = Vec::new();
    let mut stack = vec![root.to_owned()];
    while let Some(dir) = stack.pop() {
        for entry in std::fs::read_dir(&dir).expect("listed") {
            let path = entry.expect("read").path();
            let meta = std::fs::symlink_metadata(&path).expect("there");
            let content = if meta.is_file() { std::fs::read(&path).expect("read") } else { Vec::new() };
            found.push((path.clone(), content, meta.mode(), (meta.mtime(), meta.mtime_nsec())));
            if meta.is_dir() {
                stack.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn nothing_runs_and_nothing_is_written() {
    let world = World::with_submodules();
    let canary = world.path("canary");
    let script = format!("#!/bin/sh\necho \"$0 $@\" >> {}\ncat\n", canary.display());
    world.write("evil", script);
    world.mode("evil", 0o755);
    let evil = world.path("evil").display().to_string();
    for dir in ["w", "w/m", "w/deep/n"] {
        for key in [
            "core.fsmonitor",
            "core.sshCommand",
            "core.pager",
            "core.editor",
            "diff.external",
            "diff.d.textconv",
            "filter.f.clean",
            "filter.f.smudge",
            "filter.f.process",
            "core.gitProxy",
            "core.alternateRefsCommand",
            "credential.helper",
            "uploadpack.packObjectsHook",
            "gpg.program",
            "core.askPass",
        ] {
            world.git(dir, &["-c", "core.fsmonitor=false", "config", key, &evil]);
        }
        world.write(&format!("{dir}/.gitattributes"), "* filter=f diff=d\n");
    }
    for hooks in ["w/.git/hooks", "w/.git/modules/m/hooks", "w/.git/modules/deep/n/hooks"] {
        for hook in [
            "post-index-change",
            "pre-commit",
            "fsmonitor-watchman",
            "post-checkout",
            "reference-transaction",
        ] {
            std::fs::create_dir_all(world.path(hooks)).expect("made");
            std::fs::copy(world.path("evil"), world.path(&format!("{hooks}/{hook}"))).expect("copied");
        }
    }
    for name in ["w/a", "w/m/x"] {
        let content = std::fs::read(world.path(name)).expect("read");
        world.write(name, content);
    }
    world.write("w/m/new", "n");
    let before = fingerprint(&world.path("w"));
    let (snapshot, _) = world.snapshot("w");
    assert!(snapshot.modules.iter().any(|module| module.dirty));
    assert!(!canary.exists(), "{}", std::fs::read_to_string(&canary).unwrap_or_default());
    assert_eq!(fingerprint(&world.path("w")), before);
    // The canary can sing: git itself runs what we do not.
    world.try_git("w", &["status"]);
    assert!(canary.exists(), "the fixture is not hostile at all");
}

#[test]
fn a_symlink_in_a_module_s_way_is_not_followed() {
    for (at, target) in [("w/m", "m-up"), ("w/deep", "n-up")] {
        let world = World::with_submodules();
        world.remove(at);
        let target = world.path(target).display().to_string();
        world.link(&target, at);
        let (snapshot, _) = world.snapshot("w");
        let path = at.strip_prefix("w/").expect("below w");
        let module = snapshot
            .modules
            .iter()
            .find(|module| module.path.to_string().starts_with(path))
            .expect("a module");
        assert!(module.problem.as_deref().is_some_and(|why| why.contains("symlink")), "{module:?}");
        assert!(module.dirty && module.head.is_none());
        let gone = if at == "w/m" { ".T S... m" } else { ".D S... deep/n" };
        assert!(super::world::shown(&snapshot.superproject.tree).contains(gone), "{gone}");
    }
}

#[test]
fn hostile_files_of_git_s_own_are_said_and_do_not_stop_the_others() {
    let spoil: [Spoil<'_>; 7] = [
        ("index cut", &|w, git| {
            let index = std::fs::read(w.path(&format!("{git}/index"))).expect("read");
            w.write(&format!("{git}/index"), &index[..index.len() / 2]);
        }),
        ("index of noise", &|w, git| w.write(&format!("{git}/index"), [0xaa; 4000])),
        ("HEAD out of refs", &|w, git| w.write(&format!("{git}/HEAD"), "ref: refs/../../../../etc/passwd\n")),
        ("config of noise", &|w, git| w.write(&format!("{git}/config"), "[core\nx")),
        ("format of the future", &|w, git| {
            w.write(&format!("{git}/config"), "[core]\nrepositoryformatversion=1\n[extensions]\nfuture=1\n");
        }),
        ("include of a FIFO", &|w, git| {
            let fifo = w.path("fifo");
            std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs");
            w.write(
                &format!("{git}/config"),
                format!("[include]\npath = {}\n[core]\nbare = true\n", fifo.display()),
            );
        }),
        ("objects gone", &|w, git| {
            w.remove(&format!("{git}/objects"));
            std::fs::create_dir(w.path(&format!("{git}/objects"))).expect("made");
            w.write(&format!("{git}/../../../m/new"), "n");
            w.git("m-up", &["rev-parse", "HEAD"]);
        }),
    ];
    for (what, spoil) in spoil {
        let world = World::with_submodules();
        world.write("w/deep/n/x", "changed\n");
        spoil(&world, "w/.git/modules/m");
        let (snapshot, _) = world.snapshot("w");
        let module = |path: &str| {
            snapshot.modules.iter().find(|module| module.path.to_string() == path).expect("module")
        };
        assert!(module("m").problem.is_some() && module("m").dirty, "{what}: {:?}", module("m"));
        assert!(
            module("deep/n").problem.is_none() && module("deep/n").dirty,
            "{what}: {:?}",
            module("deep/n")
        );
    }
}

#[test]
fn another_user_s_repository_is_a_problem_and_the_others_go_on() {
    let world = World::with_submodules();
    if std::os::unix::fs::chown(world.path("w/m"), Some(12345), None).is_err() {
        return; // Only root can give files away.
    }
    let (snapshot, _) = world.snapshot("w");
    let module =
        |path: &str| snapshot.modules.iter().find(|module| module.path.to_string() == path).expect("module");
    assert!(
        module("m").problem.as_deref().is_some_and(|why| why.contains("belongs to user 12345")),
        "{:?}",
        module("m")
    );
    assert!(module("deep/n").problem.is_none());
    std::os::unix::fs::chown(world.path("w"), Some(12345), None).expect("root can");
    let refused = world.try_snapshot("w").expect_err("the superproject is refused");
    assert!(refused.contains("safe.directory"), "{refused}");
    let safe = world.path("w").display().to_string();
    world.write("operator", format!("[safe]\n\tdirectory = {safe}\n\tdirectory = {safe}/m\n"));
    let mut environment = world.environment();
    environment.config_files = vec![world.path("operator")];
    let opened = lambda_os::adapters::git::GitRepository::open_in(
        &world.path("w"),
        DiscoverSettings::default(),
        environment,
    );
    assert!(opened.is_ok(), "{opened:?}");
}
