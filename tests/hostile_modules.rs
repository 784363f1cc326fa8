//! Hostile superprojects and upstreams, tried on everything that reads modules and upstreams:
//! nothing that they configure is run, nothing outside the mirrors is written, each hostile
//! module is refused with a reason, and the good one gets its answer.
#![expect(clippy::format_push_string, reason = "a configuration is put together piece by piece")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::domain::discover::{DiscoverInput, discover};
use lambda_os::domain::id::{ObjectId, RepoPath};
use lambda_os::domain::module::Module;
use lambda_os::ports::{DetectOptions, Sources, UpstreamAnswer};
use support::{Canaries, Fingerprint, git, git_command, temp_dir};

fn options() -> DetectOptions {
    DetectOptions {
        offline: false,
        probe_timeout: Duration::from_secs(30),
        fetch_timeout: Duration::from_mins(1),
        parallel: 4,
        parallel_per_host: 4,
        max_mirror_bytes: 64 << 20,
        max_refs: 1000,
        allow_local_urls: true,
    }
}

fn id(digit: &str) -> ObjectId {
    digit.repeat(40).parse().expect("an id")
}

/// Make git and libgit2 run a canary on every occasion that a repository's own files offer.
fn booby_trap(git_dir: &Path, canaries: &Canaries) {
    let command = |name: &str| canaries.command(name);
    for hook in [
        "post-checkout",
        "reference-transaction",
        "pre-auto-gc",
        "post-index-change",
        "update",
        "pre-receive",
    ] {
        let path = git_dir.join("hooks").join(hook);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(&path, format!("#!/bin/sh\n{}\n", command(hook))).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let config = git_dir.join("config");
    let mut text = fs::read_to_string(&config).expect("a configuration");
    let quoted = |name: &str| command(name).replace('"', "\\\"");
    text.push_str(&format!(
        "[core]\n\tfsmonitor = \"{}\"\n\tsshCommand = \"{}\"\n\taskPass = \"{}\"\n",
        quoted("fsmonitor"),
        quoted("ssh"),
        quoted("askpass")
    ));
    text.push_str(&format!("[uploadpack]\n\tpackObjectsHook = \"{}\"\n", quoted("pack-objects")));
    text.push_str(&format!(
        "[filter \"evil\"]\n\tclean = \"{}\"\n\tsmudge = \"{}\"\n\trequired = true\n",
        quoted("clean"),
        quoted("smudge")
    ));
    text.push_str(&format!(
        "[diff]\n\texternal = \"{}\"\n[credential]\n\thelper = \"!{}\"\n",
        quoted("diff"),
        quoted("credential")
    ));
    text.push_str(&format!(
        "[remote \"origin\"]\n\tuploadpack = \"{}\"\n\tvcs = evil\n",
        quoted("uploadpack")
    ));
    fs::write(config, text).expect("written");
}

#[test]
fn nothing_of_hostile_repositories_is_run_and_the_good_module_is_answered() {
    let temp = temp_dir();
    let canaries = Canaries::new(temp.path().join("canaries"));
    let upstream = temp.path().join("up");
    fs::create_dir(&upstream).expect("made");
    git(&upstream, ["init", "-q", "-b", "main"]);
    fs::write(upstream.join(".gitattributes"), "* filter=evil diff=evil\n").expect("written");
    fs::write(upstream.join("f"), "x").expect("written");
    git(&upstream, ["add", "."]);
    git(&upstream, ["commit", "-q", "-m", "first"]);
    let first: ObjectId = git(&upstream, ["rev-parse", "HEAD"]).trim().parse().expect("an id");
    let workspace = temp.path().join("super");
    git(temp.path(), ["clone", "-q", upstream.to_str().expect("UTF-8"), "super/good"]);
    git(&workspace, ["init", "-q", "-b", "main"]);
    fs::write(upstream.join("f"), "y").expect("written");
    git(&upstream, ["commit", "-q", "-am", "second"]);
    let second: ObjectId = git(&upstream, ["rev-parse", "HEAD"]).trim().parse().expect("an id");
    for git_dir in [upstream.join(".git"), workspace.join(".git"), workspace.join("good/.git")] {
        booby_trap(&git_dir, &canaries);
    }
    let section = |name: &str, path: &str, url: &str| {
        format!("[submodule \"{name}\"]\n\tpath = {path}\n\turl = {url}\n")
    };
    let evil = canaries.command("url").replace(' ', "% ");
    let mut gitmodules = section("good", "good", upstream.to_str().expect("UTF-8"));
    let urls = [
        format!("ext::sh -c {evil}"),
        format!("ssh://-oProxyCommand={}/x", canaries.command("proxy").replace([' ', '/'], "$IFS")),
        format!("-u{}", canaries.command("option")),
        format!("--upload-pack={}", canaries.command("upload-pack")),
        "git://localhost/x".to_owned(),
        "http://localhost/x".to_owned(),
        "file://-x".to_owned(),
        "git@-oProxyCommand=x:y".to_owned(),
        "https://user:hunter2@localhost/x".to_owned(),
    ];
    let mut gitlinks = BTreeMap::from([(RepoPath::from("good"), first)]);
    for (at, url) in urls.iter().enumerate() {
        let path = format!("bad{at}");
        gitmodules.push_str(&section(
            &path,
            &path,
            &format!("\"{}\"", url.replace('\\', "\\\\").replace('"', "\\\"")),
        ));
        gitlinks.insert(RepoPath::new(path), id("1"));
    }
    for (name, path) in [
        ("../../hooks", "n0"),
        ("-x", "n1"),
        ("a/../../b", "n2"),
        ("p0", "../outside"),
        ("p1", "/etc"),
        ("p2", ".git/hooks"),
        ("p3", "sub/.GIT/x"),
        ("p4", "\"ends\r\""),
    ] {
        gitmodules.push_str(&section(name, path, "https://github.com/o/r"));
        gitlinks.insert(RepoPath::from(path.trim_matches('"')), id("2"));
    }
    gitmodules.push_str(&section("upd", "upd", "https://github.com/o/r"));
    gitmodules.push_str(&format!("\tupdate = \"!{}\"\n", canaries.command("update")));
    gitlinks.insert(RepoPath::from("upd"), id("3"));
    gitmodules.push_str("[include]\n\tpath = ../canaries/included\n");
    let before = (Fingerprint::of(&workspace), Fingerprint::of(&upstream));
    let bad = gitlinks.len() - 1;
    let input = DiscoverInput {
        gitmodules: Some(gitmodules.into_bytes()),
        gitlinks,
        allow_local_urls: true,
        ..DiscoverInput::default()
    };
    let found = discover(&input);
    let names: Vec<&str> = found.modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["good"], "{:#?}", found.refused);
    assert!(found.refused.len() >= bad, "{:#?}", found.refused);
    for refused in &found.refused {
        assert!(!refused.reason.is_empty() && !refused.reason.contains("hunter2"), "{refused:?}");
        assert!(!refused.subject.chars().chain(refused.reason.chars()).any(char::is_control), "{refused:?}");
    }

    let mirrors = Mirrors::open(&temp.path().join("mirrors"), &workspace, &workspace.join(".git"))
        .with_home(temp.path());
    let modules: Vec<&Module> = found.modules.iter().collect();
    for _ in 0..2 {
        let answers = mirrors.refresh(&modules, &options());
        assert_eq!(
            answers[0].answer,
            UpstreamAnswer::Tip { branch: "main".to_owned(), tip: second, fresh: true }
        );
    }
    mirrors.relation(modules[0], first, second).expect("it is compared");
    assert_eq!(
        mirrors.file(modules[0], second, &RepoPath::from("f")).expect("it is read").as_deref(),
        Some(&b"y"[..])
    );
    canaries.assert_silent();
    before.0.assert_equal(&Fingerprint::of(&workspace));
    before.1.assert_equal(&Fingerprint::of(&upstream));
    assert!(!temp.path().join("outside").exists());

    // The traps are real: git itself falls into them.
    let _ = git_command(&workspace.join("good")).args(["status"]).output();
    let sung = fs::read_dir(temp.path().join("canaries")).expect("listed").count();
    assert!(sung > 0, "no trap was ever set");
}

#[test]
fn objects_that_git_forbids_do_not_enter_the_mirror() {
    let temp = temp_dir();
    let upstream = temp.path().join("up");
    fs::create_dir(&upstream).expect("made");
    git(&upstream, ["init", "-q", "-b", "main"]);
    fs::write(upstream.join("f"), "x").expect("written");
    git(&upstream, ["add", "f"]);
    let blob = git(&upstream, ["rev-parse", ":f"]).trim().to_owned();
    // A tree with an entry `.git`, which would be checked out into the repository.
    let raw: Vec<u8> = [
        b"100644 .git\0".to_vec(),
        (0..20).map(|at| u8::from_str_radix(&blob[at * 2..at * 2 + 2], 16).expect("hex")).collect(),
    ]
    .concat();
    fs::write(temp.path().join("tree"), raw).expect("written");
    let tree = git(
        &upstream,
        ["hash-object", "-t", "tree", "--literally", "-w", temp.path().join("tree").to_str().expect("UTF-8")],
    );
    let commit = git(&upstream, ["commit-tree", "-m", "evil", tree.trim()]);
    git(&upstream, ["update-ref", "refs/heads/main", commit.trim()]);
    let input = DiscoverInput {
        gitmodules: Some(format!("[submodule \"m\"]\npath = m\nurl = {}\n", upstream.display()).into_bytes()),
        gitlinks: BTreeMap::from([(RepoPath::from("m"), id("1"))]),
        allow_local_urls: true,
        ..DiscoverInput::default()
    };
    let found = discover(&input);
    let mirrors =
        Mirrors::open(&temp.path().join("mirrors"), temp.path(), temp.path()).with_home(temp.path());
    let answers = mirrors.refresh(&[&found.modules[0]], &options());
    match &answers[0].answer {
        UpstreamAnswer::Unknown(why) => assert!(why.contains("was refused"), "{why}"),
        other => panic!("{other:?}"),
    }
}
