//! `lock hash` against git's own archives hashed by real Nix, and against `nix flake prefetch`.
#![expect(clippy::disallowed_methods, reason = "the environment says how many cases to try")]
#![expect(clippy::cast_possible_truncation, reason = "choices below a small bound")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::nix::Nix;
use support::{git, git_command, have, lambda_os, temp_dir, unpack};

fn hashes(home: &Path, args: &[&str]) -> Result<Vec<Value>, String> {
    let output = lambda_os(home).args(["--json", "lock", "hash"]).args(args).output().expect("it starts");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["schema"], "lambda-os/lock-hash/v1");
    Ok(report["hashes"].as_array().expect("a list").clone())
}

fn commit(at: &Path, files: &[(&str, &str)]) -> String {
    if !at.join(".git").exists() {
        fs::create_dir_all(at).expect("made");
        git(at, ["init", "-q", "-b", "main"]);
    }
    for (path, content) in files {
        let path = at.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, content).expect("written");
    }
    git(at, ["add", "-A"]);
    git(at, ["commit", "-q", "-m", "A subject\nin two lines  \n\nand a body"]);
    git(at, ["rev-parse", "HEAD"]).trim().to_owned()
}

/// What `git archive` makes of a commit, unpacked in `<dir>/source`.
fn archived(at: &Path, rev: &str, dir: &Path) -> PathBuf {
    let source = dir.join("source");
    fs::create_dir_all(&source).expect("made");
    let tar = dir.join("source.tar");
    git(at, ["archive", "--format=tar", "-o", &tar.to_string_lossy(), rev]);
    unpack(&tar, &source);
    source
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

#[test]
fn formats_that_the_commit_decides_are_archived_as_git_does() {
    if !have("nix", "that hashes of archives are those of Nix") {
        return;
    }
    let temp = temp_dir();
    let at = temp.path().join("repository");
    let formats = "H=$Format:%H$ T=$Format:%T$ P=[$Format:%P$] $Format:%an <%ae> %at|%ai|%ad|%aD|%as$\n\
                   $Format:%cn <%ce> %ct|%ci|%cd|%cD|%cs$ s=$Format:%s$ 100%% $Format:%%%n$ $Format: open\n";
    commit(&at, &[("a", "1")]);
    let rev = commit(
        &at,
        &[
            ("version.txt", formats),
            ("dos.txt", "one\n$Format:%H$\n"),
            ("plain.txt", "$Format:%H$"),
            ("big.bin", POINTER),
            (
                ".gitattributes",
                "version.txt export-subst\ndos.txt export-subst eol=crlf\n*.bin filter=lfs diff=lfs -text\n",
            ),
        ],
    );
    let nix = Nix::new(temp.path());
    let source = archived(&at, &rev, temp.path());
    let expanded = fs::read_to_string(source.join("version.txt")).expect("read");
    assert!(expanded.contains(&rev) && expanded.contains("s=A subject in two lines 100%%"), "{expanded}");
    let all = hashes(temp.path(), &[&at.to_string_lossy(), "HEAD", &rev[..12]]).expect("hashed");
    assert_eq!(all.len(), 2);
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0]["narHash"], nix.hash(&source));
    assert_eq!(all[0]["storePath"], nix.add_source(&source));
    assert_eq!(all[0]["lastModified"], 1_790_000_000);
    assert_eq!(all[0]["rev"], rev);
    assert_eq!(all[0]["tree"], git(&at, ["rev-parse", "HEAD^{tree}"]).trim());
    assert_eq!(fs::read_to_string(source.join("big.bin")).expect("read"), POINTER, "a pointer stays one");

    // Two commits with one tree differ in what they expand to, and no cache may mix them up.
    git(&at, ["commit", "-q", "--allow-empty", "-m", "the same tree"]);
    let state = temp.path().join("state").to_string_lossy().into_owned();
    let both = hashes(temp.path(), &["--state-dir", &state, &at.to_string_lossy(), "HEAD~1", "HEAD"])
        .expect("hashed");
    assert_eq!(both[0]["narHash"], all[0]["narHash"]);
    assert_eq!(both[0]["tree"], both[1]["tree"]);
    assert_ne!(both[0]["narHash"], both[1]["narHash"]);
    let other = archived(&at, "HEAD", &temp.path().join("other"));
    assert_eq!(both[1]["narHash"], nix.hash(&other));
}

#[test]
fn formats_that_depend_on_more_than_the_commit_are_refused_by_name() {
    let temp = temp_dir();
    let at = temp.path().join("repository");
    for (format, named) in [
        ("$Format:%d$", "%d"),
        ("$Format:at %h$", "%h"),
        ("$Format:%(describe)$", "%(describe)"),
        ("$Format:%aN$", "%aN"),
        ("$Format:%H %$", "%"),
    ] {
        commit(&at, &[("sub/v", format), (".gitattributes", "v export-subst\n")]);
        let error = hashes(temp.path(), &[&at.to_string_lossy(), "HEAD"]).expect_err("refused");
        assert!(error.contains("sub/v cannot be archived"), "{error}");
        assert!(error.contains(&format!("export-subst with the format {named}")), "{error}");
        // As committed there is nothing to refuse.
        hashes(temp.path(), &[&at.to_string_lossy(), "HEAD", "--type", "git"]).expect("hashed");
    }
}

#[test]
fn sources_by_git_are_those_of_nix_with_the_length_of_their_history() {
    let Some(current) = support::nix::current("that sources fetched by git are those of Nix") else { return };
    let temp = temp_dir();
    let at = temp.path().join("repository");
    commit(&at, &[("a", "1"), ("hidden", "x"), ("dos.txt", "a\nb\n")]);
    let attributes = "hidden export-ignore\n*.txt eol=crlf\nv export-subst\n*.bin filter=lfs -text\n";
    let rev =
        commit(&at, &[("v", "$Format:%H$"), ("b.bin", POINTER), (".gitattributes", attributes), ("d/e", "")]);
    let nix = Nix::at(&current, temp.path());
    for (wanted, count) in [(rev.clone(), 2), (git(&at, ["rev-parse", "HEAD~1"]).trim().to_owned(), 1)] {
        let url = format!("git+file://{}?rev={wanted}", at.display());
        let fetched: Value =
            serde_json::from_str(&nix.must(&["flake", "prefetch", "--json", &url])).expect("JSON");
        let ours =
            &hashes(temp.path(), &[&at.to_string_lossy(), &wanted, "--type", "git"]).expect("hashed")[0];
        assert_eq!(ours["narHash"], fetched["hash"]);
        assert_eq!(ours["storePath"], fetched["storePath"]);
        assert_eq!(ours["lastModified"], fetched["locked"]["lastModified"]);
        assert_eq!(ours["revCount"], fetched["locked"]["revCount"]);
        assert_eq!(ours["revCount"], count);
    }
}

#[test]
fn a_shallow_repository_has_hashes_and_no_count() {
    let temp = temp_dir();
    let at = temp.path().join("repository");
    commit(&at, &[("a", "1")]);
    let rev = commit(&at, &[("a", "2")]);
    let shallow = temp.path().join("shallow.git");
    git(
        temp.path(),
        [
            "clone",
            "-q",
            "--bare",
            "--depth=1",
            &format!("file://{}", at.display()),
            &shallow.to_string_lossy(),
        ],
    );
    let whole = &hashes(temp.path(), &[&at.to_string_lossy(), &rev, "--type", "git"]).expect("hashed")[0];
    let ours = &hashes(temp.path(), &[&shallow.to_string_lossy(), &rev, "--type", "git"]).expect("hashed")[0];
    assert_eq!(ours["narHash"], whole["narHash"]);
    assert_eq!(whole["revCount"], 2);
    assert_eq!(ours.get("revCount"), None);
    let parent = git(&at, ["rev-parse", "HEAD~1"]).trim().to_owned();
    let error = hashes(temp.path(), &[&shallow.to_string_lossy(), &parent]).expect_err("it is not there");
    assert!(error.contains(&parent) && error.contains("fetch it first"), "{error}");
}

#[test]
fn a_tree_is_hashed_once_when_a_state_directory_is_named() {
    let temp = temp_dir();
    let at = temp.path().join("repository");
    let rev = commit(&at, &[("a", "1"), ("b", "2")]);
    let path = at.to_string_lossy().into_owned();
    let state = temp.path().join("state").to_string_lossy().into_owned();
    let first = hashes(temp.path(), &["--state-dir", &state, &path, &rev]).expect("hashed");
    let blob = git(&at, ["rev-parse", "HEAD:a"]).trim().to_owned();
    fs::remove_file(at.join(".git/objects").join(&blob[..2]).join(&blob[2..])).expect("removed");
    let again = hashes(temp.path(), &["--state-dir", &state, &path, &rev]).expect("it is known");
    assert_eq!(first, again);
    let error = hashes(temp.path(), &[&path, &rev]).expect_err("a blob is missing");
    assert!(error.contains(&blob) && error.contains("not in the repository"), "{error}");
    // The other kind of source is not known yet.
    hashes(temp.path(), &["--state-dir", &state, &path, &rev, "--type", "git"])
        .expect_err("a blob is missing");
}

/// A commit with a random tree, as text for `git fast-import`. The seed decides everything.
fn random_commit(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let names = [
        "a",
        "a-b",
        "a.b",
        "a0",
        "b",
        "B",
        "ci",
        "doc.txt",
        "x.c",
        "y.bat",
        "z.dat",
        "e\u{301}",
        "sp ace",
        "\u{1f980}",
    ];
    let mut stream = format!(
        "commit refs/heads/c{seed}\ncommitter C <c@example.org> {} +0130\ndata 1\nx\n",
        1_000_000_000 + seed
    );
    let file = |stream: &mut String, mode: &str, path: &str, content: &str| {
        let _ = write!(stream, "M {mode} inline \"{path}\"\ndata {}\n{content}\n", content.len());
    };
    let rule = |next: &mut dyn FnMut(u64) -> u64| {
        let pattern = ["*.txt", "ci", "ci/", "/a", "*.c", "*.bat", "a*", "doc.txt", "*", "b/**", "**/x.c"]
            [next(11) as usize];
        let attributes = [
            "export-ignore",
            "-export-ignore",
            "text eol=crlf",
            "text=auto eol=crlf",
            "ident",
            "-text",
            "!export-ignore",
            "eol=lf",
            "binary",
            "crlf",
            "text=auto",
            "-ident",
            "export-subst",
        ][next(13) as usize];
        format!("{pattern} {attributes}\n")
    };
    for _ in 0..=next(12) {
        let mut path = String::new();
        for _ in 0..next(3) {
            let _ = write!(path, "{}.d/", names[next(14) as usize]);
        }
        path.push_str(names[next(14) as usize]);
        let line = [
            "one\n",
            "two\r\n",
            "$Id$\n",
            "$Id: old $ x\n",
            "",
            "no end",
            "\u{1}\u{2}\n",
            "$Format:%H %ct$\n",
        ];
        let content: String = (0..next(9)).map(|_| line[next(8) as usize]).collect();
        match next(8) {
            0 => file(&mut stream, "120000", &path, "../somewhere/else"),
            1 => file(&mut stream, "100755", &path, &content),
            2 => {
                let _ = writeln!(stream, "M 160000 {:040x} \"{path}\"", seed + 1);
            }
            _ => file(&mut stream, "100644", &path, &content),
        }
    }
    for place in ["", "ci.d/", "a.d/"] {
        if next(3) > 0 {
            let rules: String = (0..=next(4)).map(|_| rule(&mut next)).collect();
            file(&mut stream, "100644", &format!("{place}.gitattributes"), &rules);
        }
    }
    stream.push('\n');
    stream.into_bytes()
}

#[test]
fn random_trees_hash_as_their_archives_do() {
    if !have("nix", "that hashes of random archives are those of Nix") {
        return;
    }
    let cases: u64 = std::env::var("LAMBDA_OS_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let temp = temp_dir();
    let at = temp.path().join("repository.git");
    git(temp.path(), ["init", "-q", "--bare", &at.to_string_lossy()]);
    let mut importer = git_command(&at);
    importer.args(["fast-import", "--quiet"]).stdin(std::process::Stdio::piped());
    let mut import = importer.spawn().expect("git starts");
    let mut stdin = import.stdin.take().expect("piped");
    for seed in 1..=cases {
        std::io::Write::write_all(&mut stdin, &random_commit(seed)).expect("written");
    }
    drop(stdin);
    assert!(import.wait().expect("waited").success());

    let names: Vec<String> = (1..=cases).map(|seed| format!("c{seed}")).collect();
    let path = at.to_string_lossy().into_owned();
    let mut args: Vec<&str> = vec![&path];
    args.extend(names.iter().map(String::as_str));
    let ours = hashes(temp.path(), &args).expect("hashed");
    let sources: Vec<String> = names
        .iter()
        .map(|name| archived(&at, name, &temp.path().join(name)).to_string_lossy().into_owned())
        .collect();
    let mut args: Vec<&str> = vec!["hash", "path"];
    args.extend(sources.iter().map(String::as_str));
    let theirs = Nix::new(temp.path()).must(&args);
    for ((name, ours), theirs) in names.iter().zip(&ours).zip(theirs.lines()) {
        let seed = name[1..].parse().expect("a number");
        assert_eq!(ours["narHash"], theirs, "{name}:\n{}", String::from_utf8_lossy(&random_commit(seed)));
    }
}
