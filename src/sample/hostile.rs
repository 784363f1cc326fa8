//! Attacks, as data: names, paths and URLs that must be refused, file names that must be
//! survived, configuration that must not run.
//!
//! Every command of these touches a file in the sample's `canaries/`; as long as that
//! directory is empty, nothing ran. What is committed names it relative to a module's checkout,
//! so that commit ids do not depend on where the sample is.

use std::fmt::Write as _;
use std::path::Path;

use super::disk;
use super::files::{Files, Mode};
use crate::domain::id::ObjectId;
use crate::ports::PortResult;

/// A command of committed files; it is run in `workspace/repos/<directory>`.
const CANARY: &str = "touch ../../../canaries";

/// (section name, path, url) of `.gitmodules`, as git reads them. Sources: CVE-2018-11235
/// (names that leave the modules directory), CVE-2018-17456 (options as URL or path),
/// CVE-2018-20961 and CVE-2019-1387 (names below other names), CVE-2024-32002 (case and
/// links), CVE-2025-48384 (a carriage return at the end of a path), CVE-2017-1000117 (hosts
/// that are options), CVE-2022-39253 (local locations).
const MODULES: [(&str, &str, &str); 28] = [
    ("../../../evil", "repos/hostile-name-up", "https://github.com/sample-evil/name-up.git"),
    ("/etc/evil", "repos/hostile-name-absolute", "https://github.com/sample-evil/name-absolute.git"),
    ("-u./payload", "repos/hostile-name-option", "https://github.com/sample-evil/name-option.git"),
    ("evil\nname", "repos/hostile-name-newline", "https://github.com/sample-evil/name-newline.git"),
    ("evil\u{1b}[31mname", "repos/hostile-name-escape", "https://github.com/sample-evil/name-escape.git"),
    (".git", "repos/hostile-name-git", "https://github.com/sample-evil/name-git.git"),
    ("repos/sample-nix/modules/x", "repos/hostile-name-nested", "https://github.com/sample-evil/nested.git"),
    ("path-up", "../outside", "https://github.com/sample-evil/path-up.git"),
    ("path-inner-up", "repos/../../outside", "https://github.com/sample-evil/path-inner-up.git"),
    ("path-absolute", "/tmp/sample-outside", "https://github.com/sample-evil/path-absolute.git"),
    ("path-git", ".git", "https://github.com/sample-evil/path-git.git"),
    ("path-hooks", "repos/x/.GIT/hooks", "https://github.com/sample-evil/path-hooks.git"),
    ("path-option", "-upath", "https://github.com/sample-evil/path-option.git"),
    ("path-return", "repos/hostile-path-return\r", "https://github.com/sample-evil/path-return.git"),
    ("path-control", "repos/hostile-path-\u{7}bell", "https://github.com/sample-evil/path-control.git"),
    ("path-empty", "", "https://github.com/sample-evil/path-empty.git"),
    ("twice-one", "repos/hostile-twice", "https://github.com/sample-evil/twice-one.git"),
    ("twice-two", "repos/hostile-twice", "https://github.com/sample-evil/twice-two.git"),
    ("case-one", "repos/hostile-case", "https://github.com/sample-evil/case-one.git"),
    ("case-two", "repos/Hostile-Case", "https://github.com/sample-evil/case-two.git"),
    ("link", "repos/hostile-link", "https://github.com/sample-evil/link.git"),
    ("url-ext", "repos/hostile-url-ext", "ext::sh -c touch% ../../../canaries/ext"),
    ("url-file", "repos/hostile-url-file", "file:///etc"),
    ("url-option", "repos/hostile-url-option", "-oProxyCommand=touch ../../../canaries/option"),
    ("url-upload", "repos/hostile-url-upload", "--upload-pack=touch ../../../canaries/upload"),
    ("url-host", "repos/hostile-url-host", "ssh://-oProxyCommand=touch% canary/x"),
    ("url-scp", "repos/hostile-url-scp", "git@-oProxyCommand=touch:x"),
    ("url-newline", "repos/hostile-url-newline", "https://github.com/sample-evil/url\nnewline.git"),
];

/// The path whose checkout [`after_checkout`] replaces by a link.
const LINK: &str = "repos/hostile-link";

/// Sections for `.gitmodules` and gitlinks for every path that an index can hold.
pub(super) fn modules(files: &mut Files, commit: ObjectId) {
    let mut text = String::from_utf8_lossy(&files.0[&b".gitmodules"[..]].content).into_owned();
    for (name, path, url) in MODULES {
        let _ = writeln!(
            text,
            "[submodule {}]\n\tpath = {}\n\turl = {}",
            section(name),
            super::repository::config_quoted(path),
            super::repository::config_quoted(url)
        );
        let fits = !path.is_empty()
            && path
                .split('/')
                .all(|part| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git"));
        if fits {
            files.put_gitlink(path, commit);
        }
    }
    files.put(".gitmodules", text);
}

/// A subsection's name; a line break cannot be in one, and is one in the value instead.
fn section(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\u{c}"))
}

/// The line that gives a section of `.gitmodules` a command (CVE-2019-19604).
pub(super) fn update_command() -> String {
    format!("\tupdate = !{CANARY}/update\n")
}

/// A link to the git directory where a gitlink is recorded.
pub(super) fn after_checkout(superproject: &Path) -> PortResult<()> {
    let path = superproject.join(LINK);
    disk::remove_dir(&path)?;
    disk::link_to(Path::new("../.git"), &path)
}

/// File names that are legal to the system and hard on everything else.
pub(super) fn file_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        &b"src/\xff\xfe-not-utf8.bin"[..],
        b"src/line\nbreak.txt",
        b"src/return\r.txt",
        b" leading space.txt",
        b"src/trailing space ",
        b"src/tab\there.txt",
        b"src/quote\"and\\backslash.txt",
        b"-rf",
        b"--output=x",
        b"src/\x1b[31mred\x1b[0m.txt",
        "src/\u{202e}txt.exe".as_bytes(),
        "src/caf\u{e9}.txt".as_bytes(),
        "src/cafe\u{301}.txt".as_bytes(),
        b"src/$(touch canary).txt",
        b"src/%s%n.txt",
        b"src/*.txt",
        b"src/:(glob)x",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    names.push([&b"src/"[..], &[b'n'; 255]].concat());
    names.push([b"deep/".repeat(150), b"leaf".to_vec()].concat());
    names.push([[[b'l'; 249].to_vec(), b"/".to_vec()].concat().repeat(12), b"leaf".to_vec()].concat());
    names
}

/// The tracked ones.
pub(super) fn tracked_names(files: &mut Files) {
    for name in file_names() {
        files.put(name, "tracked\n");
    }
    files.put_as("src/away", Mode::Symlink, "../../../../../etc/hostname");
}

/// Every setting of git that names a program, and every hook, in one git directory.
pub(super) fn configure(git_dir: &Path, canaries: &Path, whose: &str) -> PortResult<()> {
    let canary = |what: &str| format!("touch '{}'", canaries.join(format!("{whose}-{what}")).display());
    let mut config = String::from_utf8_lossy(&disk::read(&git_dir.join("config"))?).into_owned();
    for (section, key, shell) in [
        ("core", "fsmonitor", false),
        ("core", "sshCommand", false),
        ("core", "gitProxy", false),
        ("core", "editor", false),
        ("core", "pager", false),
        ("core", "askPass", false),
        ("core", "alternateRefsCommand", false),
        ("diff", "external", false),
        ("diff \"canary\"", "command", false),
        ("diff \"canary\"", "textconv", false),
        ("merge \"canary\"", "driver", false),
        ("filter \"canary\"", "clean", false),
        ("filter \"canary\"", "smudge", false),
        ("filter \"canary\"", "process", false),
        ("credential", "helper", true),
        ("gpg", "program", false),
        ("interactive", "diffFilter", false),
        ("sequence", "editor", false),
        ("alias", "status", true),
        ("alias", "ls-remote", true),
        ("uploadpack", "packObjectsHook", false),
        ("remote \"origin\"", "uploadpack", false),
        ("trailer \"x\"", "command", false),
    ] {
        let command = format!("{}{}", if shell { "!" } else { "" }, canary(&key.to_lowercase()));
        let _ = writeln!(config, "[{section}]\n\t{key} = {}", super::repository::config_quoted(&command));
    }
    let ext = format!("ext::sh -c {}", canary("insteadof").replace(' ', "% "));
    let _ = writeln!(
        config,
        "[protocol]\n\tallow = always\n[url {}]\n\tinsteadOf = https://github.com/\n[filter \"canary\"]\n\trequired = true",
        super::repository::config_quoted(&ext)
    );
    disk::write(&git_dir.join("config"), config.as_bytes())?;
    disk::write(&git_dir.join("info/attributes"), b"* filter=canary diff=canary merge=canary\n")?;
    for hook in [
        "post-checkout",
        "pre-commit",
        "post-commit",
        "post-merge",
        "pre-rebase",
        "reference-transaction",
        "post-index-change",
        "fsmonitor-watchman",
        "pre-auto-gc",
        "post-rewrite",
        "pre-push",
        "applypatch-msg",
        "update",
        "pre-receive",
    ] {
        let path = git_dir.join("hooks").join(hook);
        disk::write(&path, format!("#!/bin/sh\n{}\n", canary(&format!("hook-{hook}"))).as_bytes())?;
        disk::set_mode(&path, 0o755)?;
    }
    Ok(())
}
