//! Commits and tags that the real git signed with keys of `ssh-keygen`, and hostile ones.

use lambda_os::domain::contents::vouched::{Carrier, Voucher, VoucherError, of_commit, of_tag};
use lambda_os::domain::governance::signature::SignatureError;
use lambda_os::ports::Contents as _;

use crate::support::{git, git_bytes};
use crate::world::{World, id, signing};

fn raw(world: &World, kind: &str, what: &str) -> Vec<u8> {
    git_bytes(&world.upstream, ["cat-file", kind, what])
}

fn options(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

#[test]
fn a_commit_that_git_signed_names_its_key_and_no_byte_of_it_can_change() {
    let world = World::new();
    for (name, kind) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("ecdsa", &["-t", "ecdsa", "-b", "384"]),
        ("rsa", &["-t", "rsa", "-b", "3072"]),
    ] {
        let (path, key) = world.key(name, kind);
        world.write("file", name.as_bytes());
        let commit = world.commit(&options(&signing(&path)));
        assert!(world.git_accepts("verify-commit", &commit.to_string(), &[&key]), "git itself accepts it");
        let raw = raw(&world, "commit", &commit.to_string());
        assert_eq!(
            of_commit(&raw),
            Some(Voucher { carrier: Carrier::Commit, key: Ok(key.clone()) }),
            "{name}"
        );
        if name != "ed25519" {
            continue;
        }
        for at in 0..raw.len() {
            let mut changed = raw.clone();
            changed[at] ^= 1;
            let held = of_commit(&changed).is_some_and(|voucher| voucher.key.is_ok());
            assert!(!held, "byte {at} of {}", String::from_utf8_lossy(&raw));
        }
        let longer = [&raw[..], b"\n"].concat();
        assert_eq!(of_commit(&longer).map(|voucher| voucher.key), Some(Err(wrong())));
    }
}

fn wrong() -> VoucherError {
    VoucherError::Signature(SignatureError::Wrong)
}

#[test]
fn a_merge_of_a_signed_tag_and_a_commit_without_a_signature_are_read() {
    let world = World::new();
    let (path, key) = world.key("maintainer", &["-t", "ed25519"]);
    let signing = signing(&path);
    world.write("a", b"1");
    let plain = world.commit(&[]);
    assert_eq!(of_commit(&raw(&world, "commit", &plain.to_string())), None);
    git(&world.upstream, ["checkout", "-q", "-b", "side"]);
    world.write("b", b"2");
    world.commit(&options(&signing));
    git(&world.upstream, options(&signing).into_iter().chain(["tag", "-s", "-m", "a tag", "v1"]));
    git(&world.upstream, ["checkout", "-q", "main"]);
    world.write("c", b"3");
    world.commit(&[]);
    // The merge carries the tag, with its signature, in a header of its own.
    git(
        &world.upstream,
        options(&signing).into_iter().chain(["merge", "-q", "--no-ff", "-m", "merge", "v1"]),
    );
    let merge = raw(&world, "commit", "HEAD");
    assert!(merge.windows(8).any(|window| window == b"mergetag"), "a merge of a tag");
    assert_eq!(of_commit(&merge).map(|voucher| voucher.key), Some(Ok(key.clone())));
    assert!(world.git_accepts("verify-commit", "HEAD", &[&key]));
    // Without its own signature, that of the merged tag does not stand for it.
    let own = merge.windows(8).position(|window| window == b"\ngpgsig ").expect("signed");
    let end = merge[own..].windows(2).position(|pair| pair == b"\n\n").expect("a body") + own;
    let bare = [&merge[..own], &merge[end..]].concat();
    assert_eq!(of_commit(&bare), None);
}

#[test]
fn a_tag_vouches_for_the_commit_that_it_names_alone() {
    let world = World::new();
    let (path, key) = world.key("maintainer", &["-t", "ed25519"]);
    world.write("a", b"1");
    let first = world.commit(&[]);
    git(
        &world.upstream,
        options(&signing(&path)).into_iter().chain(["tag", "-s", "-m", "text\n\nand more", "v1"]),
    );
    git(&world.upstream, ["tag", "-a", "-m", "not signed", "v2"]);
    git(&world.upstream, ["tag", "light"]);
    world.write("a", b"2");
    let second = world.commit(&[]);
    assert!(world.git_accepts("verify-tag", "v1", &[&key]));
    let tag = raw(&world, "tag", "v1");
    let carrier = Carrier::Tag("v1".to_owned());
    assert_eq!(of_tag(&tag, first), Some(Voucher { carrier: carrier.clone(), key: Ok(key.clone()) }));
    let other = of_tag(&tag, second).expect("a signature");
    assert_eq!(other.key, Err(VoucherError::OfAnother(second)));
    assert_eq!(of_tag(&raw(&world, "tag", "v2"), first), None);
    // How wide the armor's lines are does not matter, here as to ssh-keygen.
    for at in (0..tag.len()).filter(|at| *at < tag.len() - 300 || tag[*at] != b'\n') {
        let mut changed = tag.clone();
        changed[at] ^= 1;
        assert!(of_tag(&changed, first).is_none_or(|voucher| voucher.key.is_err()), "byte {at}");
    }

    let (mirrors, module) = world.module();
    let found = mirrors.vouchers(&module, first).expect("read").expect("at hand");
    assert_eq!(found, [Voucher { carrier, key: Ok(key.clone()) }], "the tag, from the checkout's refs");
    assert_eq!(mirrors.vouchers(&module, second).expect("read"), Some(Vec::new()));
    // A tag that comes later is seen, in whatever place.
    let checkout = world.superproject().join("module");
    for (at, name) in ["v9", "deep/er"].into_iter().enumerate() {
        let tag = ["tag", "-s", "-m", "later", name, &second.to_string()].map(str::to_owned);
        git(&checkout, signing(&path).into_iter().chain(tag));
        let found = mirrors.vouchers(&module, second).expect("read").expect("at hand");
        assert_eq!(found.iter().filter(|voucher| voucher.key == Ok(key.clone())).count(), at + 1, "{name}");
        git(&checkout, ["pack-refs", "--all"]);
        assert_eq!(mirrors.vouchers(&module, second).expect("read"), Some(found), "packed");
    }
    assert_eq!(mirrors.vouchers(&module, id(&"7".repeat(40))).expect("read"), None, "not at hand");
}

#[test]
fn signatures_for_something_else_and_of_other_kinds_do_not_count() {
    let world = World::new();
    let (path, key) = world.key("maintainer", &["-t", "ed25519"]);
    world.write("a", b"1");
    let commit = world.commit(&options(&signing(&path)));
    let whole = raw(&world, "commit", &commit.to_string());
    let text = String::from_utf8(whole.clone()).expect("text");
    let reason =
        |raw: String| of_commit(raw.as_bytes()).expect("a signature").key.expect_err("refused").to_string();

    // The same signature over what git would read as the same commit with another signature before it.
    let (head, rest) = text.split_once("gpgsig ").expect("signed");
    let twice = format!("{head}gpgsig {}\ngpgsig {rest}", "-----BEGIN SSH SIGNATURE-----");
    assert!(reason(twice).contains("two of them"));
    let pgp = text.replace("BEGIN SSH SIGNATURE", "BEGIN PGP SIGNATURE");
    assert!(reason(pgp).contains("OpenPGP signature, and only SSH"));
    let x509 = text.replace("BEGIN SSH SIGNATURE", "BEGIN SIGNED MESSAGE");
    assert!(reason(x509).contains("X.509"));
    // A signature of SHA-256 repositories beside ours is no part of what was signed, as for git.
    let both = format!("{head}gpgsig-sha256 x\n y\ngpgsig {rest}");
    assert_eq!(of_commit(both.as_bytes()).expect("a signature").key, Ok(key));
    // A signature that was made over the same bytes, but as a file's or a ballot's.
    let signed = {
        let (headers, body) = rest.split_once("-----END SSH SIGNATURE-----\n").expect("its end");
        assert!(headers.starts_with("-----BEGIN"), "a signature");
        format!("{head}{body}")
    };
    let file = world.temp.path().join("payload");
    std::fs::write(&file, &signed).expect("written");
    for namespace in ["file", "ballot@lambda-os"] {
        let output = std::process::Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
            .arg(&path)
            .arg(&file)
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{output:?}");
        let armor = std::fs::read_to_string(file.with_extension("sig")).expect("read");
        std::fs::remove_file(file.with_extension("sig")).expect("removed");
        let folded = armor.trim_end().replace('\n', "\n ");
        let (headers, body) = signed.split_once("\n\n").expect("a body");
        let forged = format!("{headers}\ngpgsig {folded}\n\n{body}");
        assert!(reason(forged).contains(&format!("for the namespace \"{namespace}\", not for git")));
    }
}

#[test]
fn what_a_change_brings_is_every_new_commit_with_its_own_signature() {
    let world = World::new();
    let (path, key) = world.key("maintainer", &["-t", "ed25519"]);
    let signing = signing(&path);
    world.write("a", b"1");
    let from = world.commit(&[]);
    git(&world.upstream, ["checkout", "-q", "-b", "side"]);
    world.write("b", b"1");
    let side = world.commit(&[]);
    git(&world.upstream, ["checkout", "-q", "main"]);
    world.write("c", b"1");
    let main = world.commit(&options(&signing));
    git(&world.upstream, options(&signing).into_iter().chain(["merge", "-q", "--no-ff", "-m", "m", "side"]));
    let to = world.head();
    let (mirrors, module) = world.module();
    let found = mirrors.newcomers(&module, from, to, 10).expect("read").expect("at hand");
    let mut listed: Vec<_> =
        git(&world.upstream, ["rev-list", &format!("{from}..{to}")]).lines().map(id).collect();
    listed.sort();
    assert_eq!(found.iter().map(|one| one.commit).collect::<Vec<_>>(), listed);
    for newcomer in found {
        let expect = (newcomer.commit != side).then(|| Ok(key.clone()));
        assert_eq!(newcomer.voucher.map(|voucher| voucher.key), expect, "{}", newcomer.commit);
    }
    assert!(mirrors.newcomers(&module, from, to, 2).is_err(), "more than are looked at");
    assert_eq!(mirrors.newcomers(&module, main, main, 2).expect("read"), Some(Vec::new()));
}
