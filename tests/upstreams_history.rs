//! What an upgrade brings, against what the real git says: `rev-list` and `diff --numstat`.
mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use lambda_os::adapters::git::{DiscoverSettings, GitRepository};
use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::domain::history::{History, HistoryLimits};
use lambda_os::domain::id::ObjectId;
use lambda_os::ports::{Repository as _, Sources as _};
use support::{git, git_bytes, temp_dir};

fn id(revision: &str) -> ObjectId {
    revision.trim().parse().expect("an id")
}

#[test]
fn commits_and_file_changes_are_those_that_git_lists() {
    let temp = temp_dir();
    let (upstream, superproject) = (temp.path().join("up"), temp.path().join("super"));
    for dir in [&upstream, &superproject] {
        fs::create_dir(dir).expect("made");
        git(dir, ["init", "-q", "-b", "main"]);
    }
    let write = |name: &[u8], content: &[u8]| {
        fs::write(upstream.join(OsStr::from_bytes(name)), content).expect("written");
    };
    let commit = |message: &str| {
        git(&upstream, ["add", "."]);
        git(&upstream, ["commit", "-q", "--allow-empty", "-m", message]);
        id(&git(&upstream, ["rev-parse", "HEAD"]))
    };
    write(b"kept", b"1\n2\n3\n");
    write(b"gone", b"1\n");
    write(b"moved", b"a\nb\nc\nd\n");
    write(b"turned", b"x\n");
    let from = commit("base");

    write(b"kept", b"1\ntwo\n3\n4");
    write(b"binary", b"\0\x01\x02");
    write(b"n\xe9w\nline", b"odd name\n");
    fs::remove_file(upstream.join("gone")).expect("removed");
    fs::rename(upstream.join("moved"), upstream.join("there")).expect("moved");
    fs::remove_file(upstream.join("turned")).expect("removed");
    std::os::unix::fs::symlink("kept", upstream.join("turned")).expect("linked");
    commit("\n\nsubject after blank lines\n\nbody");
    git(&upstream, ["checkout", "-q", "-b", "side", from.to_string().as_str()]);
    write(b"side", b"s\n");
    commit("a side \u{1b}[31mbranch");
    git(&upstream, ["checkout", "-q", "main"]);
    commit("nothing at all");
    git(&upstream, ["merge", "-q", "--no-ff", "-m", "merge side", "side"]);
    let to = id(&git(&upstream, ["rev-parse", "HEAD"]));

    git(&superproject, ["submodule", "--quiet", "add", upstream.to_str().expect("UTF-8"), "module"]);
    git(&superproject, ["commit", "-q", "-m", "modules"]);
    let settings = DiscoverSettings { config_urls: BTreeMap::new(), allow_local_urls: true };
    let repository = GitRepository::open(&superproject, settings).expect("opened");
    let discovery = repository.discover().expect("found");
    let mirrors = Mirrors::open(&temp.path().join("mirrors"), &superproject, &superproject.join(".git"));
    let history = |from, to, limits| -> History {
        mirrors.history(&discovery.modules[0], from, to, limits).expect("read")
    };
    let whole = history(from, to, HistoryLimits::default());

    let range = format!("{from}..{to}");
    let listed: Vec<ObjectId> =
        git(&upstream, ["rev-list", "--topo-order", &range]).lines().map(id).collect();
    assert_eq!(whole.total as usize, listed.len());
    assert_eq!(whole.silent, 1, "the commit that changes nothing");
    assert_eq!(whole.incomplete, None);
    let mut ours: Vec<ObjectId> = whole.commits.iter().map(|commit| commit.id).collect();
    let mut theirs: Vec<ObjectId> = listed
        .into_iter()
        .filter(|commit| {
            let trees = format!("{commit}^{{tree}} {commit}^^{{tree}}");
            let trees = git(&upstream, [&["rev-parse"], &trees.split(' ').collect::<Vec<_>>()[..]].concat());
            let trees: Vec<&str> = trees.lines().collect();
            trees[0] != trees[1]
        })
        .collect();
    assert_eq!(ours.first(), Some(&to), "newest first");
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
    let subjects: Vec<&str> = whole.commits.iter().map(|commit| commit.subject.as_str()).collect();
    assert!(subjects.contains(&"subject after blank lines"), "{subjects:?}");
    assert!(subjects.contains(&"a side \u{1b}[31mbranch"), "as upstream wrote it: {subjects:?}");

    let numstat = git_bytes(&upstream, ["diff", "--numstat", "-z", "--no-renames", &range]);
    let theirs: Vec<(Option<u32>, Option<u32>, Vec<u8>)> = numstat
        .split(|byte| *byte == 0)
        .filter(|row| !row.is_empty())
        .map(|row| {
            let mut cells = row.splitn(3, |byte| *byte == b'\t');
            let mut count = || std::str::from_utf8(cells.next()?).ok()?.parse().ok();
            (count(), count(), cells.next().expect("a path").to_vec())
        })
        .collect();
    // Only of what is of another type before and after nothing is counted here.
    let theirs: Vec<_> =
        theirs.into_iter().map(|row| if row.2 == b"turned" { (None, None, row.2) } else { row }).collect();
    let ours: Vec<(Option<u32>, Option<u32>, Vec<u8>)> =
        whole.files.iter().map(|file| (file.added, file.removed, file.path.as_bytes().to_vec())).collect();
    assert_eq!(ours, theirs);
    assert_eq!(whole.files_total as usize, theirs.len());
    let letters: String = whole.files.iter().map(|file| file.letter).collect();
    assert_eq!(letters, letters_of(&upstream, &range));

    let short = history(from, to, HistoryLimits { commits: 1, files: 2 });
    assert_eq!((short.commits.len(), short.files.len()), (1, 2));
    assert_eq!((short.total, short.files_total), (whole.total, whole.files_total));
    assert_eq!(history(to, to, HistoryLimits::default()), History::default());
    let absent = ObjectId::from_bytes(&[9; 20]).expect("an id");
    let lacking = history(from, absent, HistoryLimits::default());
    assert!(lacking.incomplete.is_some());
}

/// git's letters for the same comparison, in its order.
fn letters_of(upstream: &std::path::Path, range: &str) -> String {
    let rows = git_bytes(upstream, ["diff", "--name-status", "-z", "--no-renames", range]);
    rows.split(|byte| *byte == 0)
        .step_by(2)
        .filter_map(|cell| cell.first().map(|byte| char::from(*byte)))
        .collect()
}
