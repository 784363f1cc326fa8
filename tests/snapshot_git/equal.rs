//! Snapshot and `git status` say the same, scenario by scenario.
use std::os::unix::ffi::OsStrExt;

use super::world::World;

/// Make a repository, change it, compare.
fn check(change: impl FnOnce(&World)) {
    let world = World::with_repository();
    change(&world);
    world.assert_same("w");
}

/// The same with submodules.
fn check_modules(change: impl FnOnce(&World)) {
    let world = World::with_submodules();
    change(&world);
    world.assert_same("w");
}

#[test]
fn nothing_changed() {
    check(|_| {});
    check_modules(|_| {});
}

#[test]
fn an_unborn_branch() {
    let world = World::new();
    world.git(".", &["init", "-q", "w"]);
    world.assert_same("w");
    world.write("w/a", "a");
    world.write("w/b", "b");
    world.git("w", &["add", "a"]);
    world.assert_same("w");
}

#[test]
fn edits_deletions_modes_and_types() {
    check(|w| w.write("w/a", "uno\n"));
    check(|w| w.write("w/a", "longer than before\n"));
    check(|w| w.remove("w/a"));
    check(|w| w.remove("w/d"));
    check(|w| w.mode("w/a", 0o755));
    check(|w| {
        w.remove("w/a");
        w.link("b.txt", "w/a");
    });
    check(|w| {
        w.remove("w/a");
        w.write("w/a/in", "now a directory");
    });
    check(|w| {
        w.remove("w/d");
        w.write("w/d", "now a file");
    });
    check(|w| {
        w.remove("w/d");
        w.link("/tmp", "w/d");
    });
    check(|w| {
        w.remove("w/a");
        w.git("w", &["init", "-q", "a"]);
    });
    check(|w| {
        w.remove("w/a");
        w.git("w", &["init", "-q", "a"]);
        w.write("w/a/f", "f");
        w.commit("w/a", "inside");
    });
}

#[test]
fn symlinks_are_compared_by_target() {
    check(|w| {
        w.link("a", "w/l");
        w.commit("w", "link");
        w.remove("w/l");
        w.link("b", "w/l");
    });
    check(|w| {
        w.link("a", "w/l");
        w.commit("w", "link");
        w.remove("w/l");
        w.link("longer", "w/l");
    });
}

#[test]
fn staged_changes() {
    check(|w| {
        w.write("w/a", "staged\n");
        w.write("w/new/x", "x");
        w.git("w", &["rm", "-q", "b.txt"]);
        w.git("w", &["add", "a", "new"]);
        w.write("w/a", "and edited\n");
    });
    check(|w| {
        w.git("w", &["rm", "-q", "--cached", "a"]);
    });
    check(|w| {
        w.git("w", &["mv", "d", "moved"]);
    });
    check(|w| {
        w.git("w", &["update-index", "--chmod=+x", "a"]);
    });
    check(|w| {
        w.remove("w/a");
        w.write("w/a/b", "file to directory");
        w.git("w", &["add", "-A"]);
    });
    check(|w| {
        w.remove("w/d");
        w.link("a", "w/d");
        w.git("w", &["add", "-A"]);
    });
    check(|w| {
        w.git("w", &["rm", "-r", "-q", "--cached", "."]);
    });
}

#[test]
fn intent_to_add() {
    check(|w| {
        w.write("w/n", "n");
        w.git("w", &["add", "-N", "n"]);
    });
    check(|w| {
        w.write("w/n", "n");
        w.git("w", &["add", "-N", "n"]);
        w.remove("w/n");
    });
    check(|w| {
        w.git("w", &["rm", "-q", "--cached", "a"]);
        w.git("w", &["add", "-N", "a"]);
    });
    check(|w| {
        w.write("w/empty", "");
        w.git("w", &["add", "-N", "empty"]);
    });
}

#[test]
fn conflicts_of_every_kind() {
    check(|w| {
        w.write("w/only-base", "x");
        w.write("w/both-deleted", "some content to follow\n");
        w.commit("w", "base");
        w.git("w", &["checkout", "-q", "-b", "side"]);
        w.write("w/a", "side\n");
        w.git("w", &["rm", "-q", "b.txt"]);
        w.write("w/d/c", "side c\n");
        w.write("w/added", "side\n");
        w.git("w", &["mv", "both-deleted", "side-name"]);
        w.commit("w", "side");
        w.git("w", &["checkout", "-q", "main"]);
        w.write("w/a", "main\n");
        w.write("w/b.txt", "main\n");
        w.git("w", &["rm", "-q", "d/c"]);
        w.write("w/added", "main\n");
        w.git("w", &["mv", "both-deleted", "main-name"]);
        w.commit("w", "main");
        assert!(!w.try_git("w", &["merge", "side"]).status.success(), "the merge must conflict");
    });
}

#[test]
fn ignore_rules() {
    check(|w| {
        w.write("w/.gitignore", "*.o\n!keep.o\nbuild/\n/top\nd/**/z\n\\#hash\ntrail \nq?r\n[x-z]1\n");
        for name in [
            "1.o",
            "keep.o",
            "build/x",
            "build/keep.o",
            "top",
            "d/top",
            "d/e/z",
            "d/z",
            "#hash",
            "trail",
            "qar",
            "y1",
            "w1",
        ] {
            w.write(&format!("w/{name}"), "u");
        }
        w.write("w/d/.gitignore", "!1.o\n*.log\n");
        w.write("w/d/1.o", "u");
        w.write("w/d/2.o", "u");
        w.write("w/d/e/x.log", "u");
        w.write("w/.git/info/exclude", "excluded\n!top\n");
        w.write("w/excluded", "u");
    });
    // A tracked file in an ignored directory is looked at; its untracked neighbours are not.
    check(|w| {
        w.write("w/.gitignore", "d/\n");
        w.write("w/d/c", "changed\n");
        w.write("w/d/new", "u");
        w.write("w/d/e/new", "u");
    });
    // Everything in a directory ignored: nothing is said of it.
    check(|w| {
        w.write("w/u/.gitignore", "*\n");
        w.write("w/u/x", "u");
    });
    check(|w| {
        w.write("rules", "*.tmp\n");
        w.git("w", &["config", "core.excludesFile", &w.path("rules").display().to_string()]);
        w.write("w/x.tmp", "u");
        w.write("w/.gitignore", "!y.tmp\n");
        w.write("w/y.tmp", "u");
    });
    check(|w| {
        w.write("w/rules", "*\n");
        w.link("rules", "w/.gitignore");
    });
    check(|w| {
        w.git("w", &["config", "core.ignoreCase", "true"]);
        w.write("w/.gitignore", "*.OBJ\n");
        w.write("w/x.obj", "u");
    });
    check(|w| {
        w.write("w/.gitignore", "\u{feff}bom\n$dollar\n!*.keep\ncr\r\n");
        for name in ["bom", "$dollar", "dollar", "x.keep", "cr", "cr\r"] {
            w.write(&format!("w/{name}"), "u");
        }
    });
}

#[test]
fn untracked_things_of_every_kind() {
    check(|w| {
        std::fs::create_dir_all(w.path("w/empty/inside")).expect("made");
        w.link("nowhere", "w/dangling");
        w.link("d", "w/to-dir");
        w.write("w/u/v/w", "deep");
        w.write("w/u.x", "sorts between");
        w.write("w/ leading", "space");
        w.write("w/new\nline", "n");
        w.write("w/.gitx", "not git's");
        w.write("w/sub/.git", "not a repository");
        w.write("w/sub/x", "u");
        std::process::Command::new("mkfifo").arg(w.path("w/pipe")).status().expect("mkfifo runs");
        std::fs::write(w.path("w").join(std::ffi::OsStr::from_bytes(b"not-\xff-utf8")), "u")
            .expect("written");
    });
    check(|w| {
        w.git("w", &["init", "-q", "nested"]);
        w.write("w/nested/f", "f");
        w.git("w", &["init", "-q", "d/nested"]);
        w.write("w/.gitignore", "/ignored\n");
        w.git("w", &["init", "-q", "ignored"]);
        w.git(".", &["init", "-q", "--bare", "w/bare.git"]);
        w.git("w", &["worktree", "add", "-q", "linked"]);
    });
}

#[test]
fn racy_and_touched_files() {
    // The same size within the clock's grain: only the content can tell.
    for _ in 0..20 {
        check(|w| {
            w.write("w/a", "ein\n");
            w.git("w", &["add", "a"]);
            w.write("w/a", "uno\n");
        });
    }
    check(|w| {
        let file = std::fs::File::options().append(true).open(w.path("w/a")).expect("opens");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000))
            .expect("set");
    });
    check(|w| {
        std::fs::copy(w.path("w/a"), w.path("copy")).expect("copied");
        std::fs::rename(w.path("copy"), w.path("w/a")).expect("renamed");
    });
}

#[test]
fn line_endings_ident_and_encodings() {
    let attributes = "*.txt text\n*.auto text=auto\n*.crlf eol=crlf\n*.bin -text\n*.id ident\n*.u16 text working-tree-encoding=UTF-16\n*.u16le text working-tree-encoding=UTF-16LE\nd/* -text\n[attr]mine text eol=lf\n*.mac mine\nx.* binary\n";
    let u16 = b"\xff\xfeh\0\r\0\n\0".to_vec();
    check(|w| {
        w.write("w/.gitattributes", attributes);
        for name in ["f.txt", "f.auto", "f.crlf", "f.bin", "f.mac", "x.txt", "d/f.txt", "f.none"] {
            w.write(&format!("w/{name}"), "line\r\nline\r\n");
        }
        w.write("w/f.id", "$Id: something $\n");
        w.write("w/f.u16", &u16);
        w.write("w/f.u16le", b"h\0\n\0");
        w.commit("w", "converted");
        w.assert_same("w");
        // Touch everything: each file must be converted again to be found equal.
        for name in [
            "f.txt", "f.auto", "f.crlf", "f.bin", "f.mac", "x.txt", "d/f.txt", "f.none", "f.id", "f.u16",
            "f.u16le",
        ] {
            let file =
                std::fs::File::options().append(true).open(w.path(&format!("w/{name}"))).expect("opens");
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
        }
        w.assert_same("w");
        w.write("w/f.txt", "line\r\nLINE\r\n");
        w.write("w/f.u16le", b"i\0\n\0");
    });
    for auto in ["true", "input", "false"] {
        check(|w| {
            w.git("w", &["config", "core.autocrlf", auto]);
            w.write("w/x", "line\r\nline\r\n");
            w.write("w/lone", "line\r\nli\rne\n");
            w.write("w/zero", "line\r\n\0\n");
            w.commit("w", "auto");
            for name in ["x", "lone", "zero", "a"] {
                let file =
                    std::fs::File::options().append(true).open(w.path(&format!("w/{name}"))).expect("opens");
                file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
            }
        });
    }
    // CRLF already in the index stays, with text=auto, what it is.
    check(|w| {
        w.write("w/x", "line\r\n");
        w.commit("w", "with CRLF");
        w.write("w/.gitattributes", "* text=auto\n");
        let file = std::fs::File::options().append(true).open(w.path("w/x")).expect("opens");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
    });
}

#[test]
fn configuration_that_changes_what_counts() {
    check(|w| {
        w.git("w", &["config", "core.fileMode", "false"]);
        w.mode("w/a", 0o755);
    });
    check(|w| {
        w.link("a", "w/l");
        w.commit("w", "link");
        w.git("w", &["config", "core.symlinks", "false"]);
        w.remove("w/l");
        w.write("w/l", "a");
    });
    check(|w| {
        w.git("w", &["config", "core.trustctime", "false"]);
        w.git("w", &["config", "core.checkStat", "minimal"]);
        w.write("w/a", "uno\n");
    });
    check(|w| {
        w.write("included", "[core]\n\tfileMode = false\n");
        w.git("w", &["config", "include.path", "../../included"]);
        w.mode("w/a", 0o755);
    });
}

#[test]
fn index_forms() {
    for version in ["2", "3", "4"] {
        check(|w| {
            w.git("w", &["update-index", "--index-version", version]);
            w.write("w/a", "changed\n");
            w.write("w/new", "n");
            w.git("w", &["add", "new"]);
        });
    }
    check(|w| {
        w.git("w", &["update-index", "--split-index"]);
        w.write("w/new", "n");
        w.git("w", &["add", "new"]);
        w.write("w/a", "changed\n");
    });
    check(|w| {
        w.git("w", &["update-index", "--untracked-cache"]);
        w.git("w", &["status"]);
        w.write("w/new", "n");
        w.write("w/a", "changed\n");
    });
    check(|w| {
        w.git("w", &["config", "index.skipHash", "true"]);
        w.write("w/new", "n");
        w.git("w", &["add", "new"]);
    });
}

#[test]
fn sparse_checkouts() {
    for index in ["--no-sparse-index", "--sparse-index"] {
        check(|w| {
            w.write("w/out/side/x", "x\n");
            w.write("w/out/y", "y\n");
            w.commit("w", "more");
            w.git("w", &["sparse-checkout", "set", "--cone", index, "d"]);
            w.assert_same("w");
            w.write("w/d/c", "changed\n");
            w.write("w/u", "u");
            w.assert_same("w");
            w.git("w", &["reset", "-q", "--soft", "HEAD~"]);
        });
    }
}

#[test]
fn linked_worktrees_packed_refs_and_alternates() {
    check(|w| {
        w.git("w", &["worktree", "add", "-q", "-b", "side", "../linked"]);
        w.write("linked/a", "changed\n");
        w.git("w", &["pack-refs", "--all"]);
        w.assert_same("linked");
    });
    check(|w| {
        w.git("w", &["gc", "-q"]);
        w.write("w/a", "changed\n");
        w.git("w", &["add", "a"]);
    });
    let world = World::with_repository();
    world.git(".", &["clone", "-q", "--shared", "w", "shared"]);
    world.write("shared/d/c", "changed\n");
    world.git("shared", &["add", "-A"]);
    world.assert_same("shared");
}

#[test]
fn reftable_and_sha256() {
    for form in [&["--ref-format=reftable"][..], &["--object-format=sha256"]] {
        let world = World::new();
        let mut args = vec!["init", "-q", "-b", "main"];
        args.extend(form);
        args.push("w");
        if !world.try_git(".", &args).status.success() {
            continue;
        }
        world.write("w/a", "a\n");
        world.write("w/d/b", "b\n");
        world.commit("w", "first");
        let snapshot = world.assert_same("w");
        assert_eq!(snapshot.superproject.branch.as_deref(), Some("main"));
        assert!(snapshot.superproject.head.is_some());
        world.write("w/a", "b\n");
        world.write("w/d/b", "c\n");
        world.git("w", &["add", "d"]);
        world.write("w/u", "u\n");
        world.assert_same("w");
    }
}

#[test]
fn modules_in_every_state() {
    check_modules(|w| w.write("w/m/x", "changed\n"));
    check_modules(|w| w.write("w/m/new", "untracked\n"));
    check_modules(|w| {
        w.write("w/m/x", "changed\n");
        w.commit("w/m", "ahead");
        w.write("w/m/new", "untracked\n");
    });
    check_modules(|w| {
        w.write("w/m/x", "changed\n");
        w.git("w/m", &["add", "x"]);
    });
    check_modules(|w| w.remove("w/m"));
    check_modules(|w| {
        w.remove("w/m");
        w.write("w/m", "a file");
    });
    check_modules(|w| {
        w.git("w", &["submodule", "--quiet", "deinit", "-f", "m"]);
    });
    check_modules(|w| {
        w.write("w/deep/n/inner/new", "untracked in a nested one\n");
    });
    check_modules(|w| w.write("w/deep/n/inner/x", "changed in a nested one\n"));
    check_modules(|w| {
        w.write("w/deep/n/inner/x", "changed in a nested one\n");
        w.commit("w/deep/n/inner", "nested commit");
    });
    check_modules(|w| {
        w.write("w/m/x", "changed\n");
        w.commit("w/m", "ahead");
        w.git("w", &["add", "m"]);
        w.write("w/m/x", "again\n");
    });
    check_modules(|w| {
        w.git("w", &["rm", "-q", "--cached", "m"]);
    });
    check_modules(|w| {
        w.git("w", &["rm", "-q", "--cached", "a"]);
        w.remove("w/a");
        w.git("w", &["init", "-q", "a"]);
        w.write("w/a/f", "f");
        w.commit("w/a", "in place of a file");
        w.git("w", &["add", "a"]);
    });
    check_modules(|w| {
        w.git("w/m", &["checkout", "-q", "--orphan", "unborn"]);
    });
}
