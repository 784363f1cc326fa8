//! What trees hold and how they differ, against `git ls-tree` and `git diff`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use lambda_os::domain::contents::held::{MANIFEST, MANIFEST_SIG, METADATA};
use lambda_os::domain::contents::touched::{Kind, PathChange};
use lambda_os::domain::id::{ObjectId, RepoPath};
use lambda_os::ports::Contents as _;

use crate::support::{git, git_bytes};
use crate::world::{World, id};

/// Path, and mode and object on both sides, as `git diff --raw` has them.
type Row = (RepoPath, [Option<(String, ObjectId)>; 2]);

fn raw_diff(world: &World, from: ObjectId, to: ObjectId) -> Vec<Row> {
    let range = format!("{from}..{to}");
    let raw = git_bytes(&world.upstream, ["diff", "--raw", "-z", "--no-renames", "--no-abbrev", &range]);
    let fields: Vec<&[u8]> = raw.split(|byte| *byte == 0).filter(|field| !field.is_empty()).collect();
    let mut rows: Vec<Row> = fields
        .chunks(2)
        .map(|row| {
            let said = String::from_utf8(row[0].to_vec()).expect("text");
            let words: Vec<&str> = said.trim_start_matches(':').split(' ').collect();
            let side = |mode: &str, hex: &str| (mode != "000000").then(|| (mode.to_owned(), id(hex)));
            (RepoPath::new(row[1]), [side(words[0], words[2]), side(words[1], words[3])])
        })
        .collect();
    rows.sort();
    rows
}

fn shown(change: &PathChange) -> Row {
    let side = |at: Option<lambda_os::domain::contents::touched::At>| {
        at.map(|at| {
            let mode = match at.kind {
                Kind::File => "100644",
                Kind::Executable => "100755",
                Kind::Link => "120000",
                Kind::Gitlink => "160000",
            };
            (mode.to_owned(), at.id)
        })
    };
    (change.path.clone(), [side(change.old), side(change.new)])
}

#[test]
fn trees_differ_as_git_says_and_their_links_are_known() {
    let world = World::new();
    for path in ["a/b/c", "a/b/d", "file", "turns", "mode", "keeps/x", "becomes-a-directory"] {
        world.write(path, path.as_bytes());
    }
    symlink("../file", world.upstream.join("a/link")).expect("linked");
    let from = world.commit(&[]);
    world.write("a/b/c", b"other");
    fs::remove_file(world.upstream.join("a/b/d")).expect("removed");
    fs::remove_file(world.upstream.join("turns")).expect("removed");
    symlink("a/b", world.upstream.join("turns")).expect("linked");
    fs::set_permissions(world.upstream.join("mode"), fs::Permissions::from_mode(0o755)).expect("set");
    fs::remove_file(world.upstream.join("becomes-a-directory")).expect("removed");
    world.write("becomes-a-directory/in", b"x");
    world.write("n\u{e9}w\nline", b"odd");
    fs::rename(world.upstream.join("file"), world.upstream.join("moved")).expect("moved");
    let to = world.commit(&[]);
    let (mirrors, module) = world.module();
    let found = mirrors.difference(&module, from, to).expect("read").expect("at hand");
    assert_eq!(found.changes.iter().map(shown).collect::<Vec<_>>(), raw_diff(&world, from, to));
    assert!(found.changes.len() > 7);
    let links = |all: &[(&str, &str)]| -> BTreeMap<RepoPath, Vec<u8>> {
        all.iter().map(|(path, to)| ((*path).into(), to.as_bytes().to_vec())).collect()
    };
    assert_eq!(found.links_before, links(&[("a/link", "../file")]));
    assert_eq!(found.links_after, links(&[("a/link", "../file"), ("turns", "a/b")]));
    assert_eq!(mirrors.difference(&module, from, id(&"7".repeat(40))).expect("read"), None);
    let own = id(&git(&world.superproject(), ["rev-parse", "HEAD"]));
    assert_eq!(mirrors.own_links(own).expect("read"), Some(links(&[("own", "module/x")])));
}

#[test]
fn a_tree_is_counted_and_what_it_says_of_itself_is_kept() {
    let world = World::new();
    world.write("metadata.json", b"{}");
    world.write("sub/metadata.json", b"{\"elsewhere\":1}");
    world.write("LICENSE", b"terms");
    world.write("LICENSES/MIT.txt", b"more");
    world.write("docs/LICENSE", b"not at the top");
    world.write("manifest.json", &vec![b' '; (1 << 20) + 1]);
    symlink("metadata.json", world.upstream.join("manifest.sig")).expect("linked");
    let commit = world.commit(&[]);
    let (mirrors, module) = world.module();
    let held = mirrors.held(&module, commit).expect("read").expect("at hand");
    let tree = git(&world.upstream, ["rev-parse", "HEAD^{tree}"]);
    assert_eq!(held.tree, id(&tree));
    let listed = git(&world.upstream, ["ls-tree", "-r", "-l", "HEAD"]);
    let sizes: Vec<u64> = listed
        .lines()
        .map(|line| line.split_whitespace().nth(3).expect("a size").parse().expect("a number"))
        .collect();
    assert_eq!((held.files, held.bytes), (sizes.len() as u64, sizes.iter().sum()));
    let licences: Vec<String> = held.licences.keys().map(ToString::to_string).collect();
    assert_eq!(licences, ["LICENSE", "LICENSES/MIT.txt"]);
    assert_eq!(held.told(METADATA), Ok(Some(&b"{}"[..])));
    assert!(held.told(MANIFEST).expect_err("too large").contains("1048577 bytes"));
    assert!(held.told(MANIFEST_SIG).expect_err("a link").contains("no regular file"));
    assert_eq!(mirrors.held(&module, id(&"7".repeat(40))).expect("read"), None);
}
