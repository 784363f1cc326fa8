//! NAR hashes and store paths equal what real Nix computes, over real archives of real commits.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lambda_os::adapters::git::nar::{Fetched, source_facts};
use lambda_os::domain::flake::nar::{NarHash, store_path};
use lambda_os::domain::id::ObjectId;
use lambda_os::sample::{SampleSpec, Trouble};
use support::nix::Nix;
use support::{Workspace, git, have, path_of, temp_dir, unpack};

/// A repository with everything that a NAR or an archive treats in a way of its own.
fn repository(at: &Path) {
    fs::create_dir_all(at).expect("made");
    git(at, ["init", "-q", "-b", "main"]);
    let write = |path: &[u8], content: &[u8]| {
        let path = at.join(path_of(path));
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, content).expect("written");
    };
    write(b"a/inner", b"1");
    write(b"a-b", b"2");
    write(b"a.b", b"3");
    write(b"a0", b"4");
    write(b"empty", b"");
    write(b"eight888", b"12345678");
    write(b"large", &vec![b'x'; 300_000]);
    write(b"not-utf8-\xff", b"x");
    write(b"line\nbreak", b"x");
    write(b"run.sh", b"#!/bin/sh\n");
    fs::set_permissions(at.join("run.sh"), fs::Permissions::from_mode(0o755)).expect("set");
    symlink("a/inner", at.join("link")).expect("linked");
    symlink("../../nowhere", at.join("a/dangling")).expect("linked");
    write(b"ci/check.yml", b"x");
    write(b"gone/only/hidden.txt", b"x");
    write(b"kept/hidden.txt", b"x");
    write(b"kept/shown.md", b"x");
    write(b"dos.bat", b"one\ntwo\n");
    write(b"auto.txt2", b"one\ntwo\n");
    write(b"auto-mixed.txt2", b"one\r\ntwo\n");
    write(b"auto-binary.txt2", b"one\0\ntwo\n");
    write(b"version.c", b"/* $Id$ */\n/* $Id: old $ */\n/* $Id: not ours $ */\n");
    write(b"raw.bin", b"one\n$Id$\n");
    write(
        b".gitattributes",
        b"ci/ export-ignore\nhidden.txt export-ignore\n*.bat text eol=crlf\n*.txt2 text=auto eol=crlf\n\
          *.c ident\n[attr]raw -text -ident\n*.bin eol=crlf ident raw\n",
    );
    write(b"kept/.gitattributes", b"*.md eol=crlf\n");
    git(at, ["add", "-A"]);
    let pinned = "1111111111111111111111111111111111111111";
    git(at, ["update-index", "--add", "--cacheinfo", &format!("160000,{pinned},modules/sub")]);
    git(at, ["commit", "-q", "-m", "everything"]);
}

fn commit_of(repository: &Path) -> ObjectId {
    git(repository, ["rev-parse", "HEAD"]).trim().parse().expect("an id")
}

/// Unpack what `git archive` makes of HEAD into `<dir>/source`.
fn archived(repository: &Path, dir: &Path) -> std::path::PathBuf {
    let source = dir.join("source");
    fs::create_dir_all(&source).expect("made");
    let tar = dir.join("source.tar");
    git(repository, ["archive", "--format=tar", "-o", &tar.to_string_lossy(), "HEAD"]);
    unpack(&tar, &source);
    source
}

#[test]
fn hashes_of_archives_and_checkouts_are_those_of_nix() {
    if !have("nix", "that NAR hashes are those of Nix") {
        return;
    }
    let temp = temp_dir();
    let at = temp.path().join("repository");
    repository(&at);
    let nix = Nix::new(temp.path());
    let opened = git2::Repository::open(&at).expect("opened");
    let commit = commit_of(&at);

    let source = archived(&at, temp.path());
    assert!(!source.join("ci").exists(), "git left it out");
    assert!(source.join("gone/only").is_dir(), "git keeps a directory that it emptied");
    let facts = source_facts(&opened, commit, Fetched::Tarball).expect("hashed");
    assert_eq!(facts.nar_hash.to_string(), nix.hash(&source));
    assert_eq!(store_path("source", &facts.nar_hash), nix.add_source(&source));
    assert_eq!(facts.last_modified, 1_790_000_000);
    assert_eq!(facts.tree.to_string(), git(&at, ["rev-parse", "HEAD^{tree}"]).trim());

    // As committed: what a checkout without any conversion holds.
    fs::remove_file(at.join(".gitattributes")).expect("removed");
    fs::write(at.join(".git/info/attributes"), "* -text -ident -eol\n").expect("written");
    git(&at, ["checkout", "-q", "-f", "HEAD"]);
    let plain = temp.path().join("plain");
    fs::create_dir_all(plain.join("modules/sub")).expect("made");
    git(&at, ["checkout-index", "-a", "-f", &format!("--prefix={}/", plain.display())]);
    let facts = source_facts(&opened, commit, Fetched::Git).expect("hashed");
    assert_eq!(facts.nar_hash.to_string(), nix.hash(&plain));
    let shown = nix.must(&["hash", "path", "--base32", &plain.to_string_lossy()]);
    assert_eq!(facts.nar_hash.nix32(), format!("sha256:{}", shown.trim()));
    assert_eq!(facts.nar_hash.nix32().parse::<NarHash>(), Ok(facts.nar_hash));
}

#[test]
fn archives_are_byte_for_byte_those_of_nix_store_dump() {
    if !have("nix-store", "that archives are those of Nix") {
        return;
    }
    let workspace = Workspace::new(&SampleSpec::sized(24, 30).with([Trouble::HostileFileNames]));
    let nix = Nix::new(workspace.temp.path());
    for module in &workspace.sample.modules {
        let opened = git2::Repository::open(&module.checkout).expect("opened");
        let dir = workspace.temp.path().join("archives").join(&module.directory);
        let source = archived(&module.checkout, &dir);
        let facts = source_facts(&opened, module.pinned, Fetched::Tarball).expect("hashed");
        let dumped = nix.program("nix-store", &["--dump", &source.to_string_lossy()]);
        assert!(dumped.status.success(), "{}", support::said(&dumped));
        let hash = NarHash(<sha2::Sha256 as sha2::Digest>::digest(&dumped.stdout).into());
        assert_eq!(facts.nar_hash, hash, "{}", module.name);
    }
}

#[test]
fn what_cannot_be_hashed_is_said() {
    let temp = temp_dir();
    let at = temp.path().join("repository");
    repository(&at);
    let opened = git2::Repository::open(&at).expect("opened");
    let absent: ObjectId = "2222222222222222222222222222222222222222".parse().expect("an id");
    let error = source_facts(&opened, absent, Fetched::Git).expect_err("absent");
    assert!(error.to_string().contains(&absent.to_string()) && error.hint.is_some(), "{error}");

    fs::write(at.join("subst"), "$Format:%d$").expect("written");
    fs::write(at.join(".gitattributes"), "subst export-subst\n").expect("written");
    git(&at, ["add", "-A"]);
    git(&at, ["commit", "-q", "-m", "subst"]);
    let commit = commit_of(&at);
    // `%d` is the names of refs, which no commit knows.
    let error = source_facts(&opened, commit, Fetched::Tarball).expect_err("undetermined");
    let chain = chain(&error);
    assert!(chain.contains("export-subst") && chain.contains("subst cannot be archived"), "{chain}");
    source_facts(&opened, commit, Fetched::Git).expect("as committed it is hashed");

    let blob = git(&at, ["rev-parse", "HEAD:a/inner"]);
    let (dir, file) = blob.trim().split_at(2);
    fs::remove_file(at.join(".git/objects").join(dir).join(file)).expect("removed");
    let opened = git2::Repository::open(&at).expect("opened");
    let error = source_facts(&opened, commit, Fetched::Git).expect_err("a blob is missing");
    let chain = self::chain(&error);
    assert!(chain.contains(blob.trim()) && chain.contains("not in the repository"), "{chain}");
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut shown = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        shown = format!("{shown}: {cause}");
        next = cause.source();
    }
    shown
}
