//! A proposal as a patch: what git makes of it on a clean clone is the tree that it says.
mod support;

use std::fs;
use std::path::Path;

use lambda_os::adapters::git::patch::{Letter, diff, mail};
use lambda_os::adapters::git::{DiscoverSettings, GitRepository};
use lambda_os::domain::change::{PathContent, PathEdit};
use lambda_os::domain::id::{ObjectId, RepoPath};
use lambda_os::ports::Superproject as _;
use lambda_os::sample::{SampleSpec, Trouble};
use serde_json::Value;
use support::{Workspace, git, git_command, temp_dir};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn clone(from: &Path, to: &Path) {
    let parent = to.parent().expect("a parent");
    git(parent, ["clone", "-q", "--no-recurse-submodules", text(from), text(to)]);
}

/// git with a text on its standard input.
fn git_reads(dir: &Path, args: &[&str], input: &[u8]) {
    let file = dir.with_extension("input");
    fs::write(&file, input).expect("written");
    let input = fs::File::open(&file).expect("opened");
    let output = git_command(dir).args(args).stdin(input).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_open_proposal_applies_to_a_clean_clone_by_git_alone() {
    let workspace = Workspace::new(&SampleSpec::sized(24, 3).with([Trouble::IncoherentGitlink]));
    workspace.lambda_os().args(["run", "--once"]).output().expect("a cycle runs");
    let listed = workspace.lambda_os().args(["proposal", "list", "--json"]).output().expect("listed");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let proposals = listed["proposals"].as_array().expect("a list");
    assert!(proposals.len() > 5, "{listed}");
    let clean = workspace.temp.path().join("clean");
    clone(workspace.path(), &clean);
    let head = git(&clean, ["rev-parse", "HEAD"]);
    for proposal in proposals {
        let id = proposal["id"].as_str().expect("an id");
        let shown = workspace.lambda_os().args(["proposal", "diff", id, "--json"]).output().expect("shown");
        let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
        let tree = shown["tree"].as_str().expect("a tree");

        let plain = workspace.lambda_os().args(["proposal", "diff", id]).output().expect("shown").stdout;
        git_reads(&clean, &["apply", "--index", "-"], &plain);
        assert_eq!(git(&clean, ["write-tree"]).trim(), tree, "git apply --index of {id}");
        let full = git(&clean, ["diff", "--cached", "--full-index", "--submodule=short", "--no-renames"]);
        assert_eq!(String::from_utf8_lossy(&plain), full, "the very text that git diff prints");
        git(&clean, ["reset", "-q", "--hard", head.trim()]);

        let letter = workspace.lambda_os().args(["proposal", "diff", id, "--patch"]).output().expect("shown");
        git_reads(&clean, &["am", "-q"], &letter.stdout);
        assert_eq!(git(&clean, ["rev-parse", "HEAD^{tree}"]).trim(), tree, "git am of {id}");
        let message = git(&clean, ["log", "-1", "--format=%an <%ae>%n%B"]);
        assert!(message.starts_with("lambda-os <lambda-os@localhost>\n"), "{message}");
        assert!(message.contains(&format!("Lambda-OS-Proposal: {id}")), "{message}");
        git(&clean, ["reset", "-q", "--hard", head.trim()]);
    }
}

#[test]
fn odd_names_and_odd_ends_survive_git_am() {
    let temp = temp_dir();
    let (origin, clean) = (temp.path().join("origin"), temp.path().join("clean"));
    fs::create_dir(&origin).expect("made");
    git(&origin, ["init", "-q", "-b", "main"]);
    let names = ["plain", "a b/c d", "n\u{e4}me", "tab\tnew\nline", "quo\"te", "run"];
    for name in names {
        let path = origin.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, "1\n2\n3\n4\n5\n6\n7\n8\n9").expect("written");
    }
    git(&origin, ["add", "."]);
    git(&origin, ["update-index", "--chmod=+x", "run"]);
    let commit = "1".repeat(40);
    git(&origin, ["update-index", "--add", "--cacheinfo", &format!("160000,{commit},sub")]);
    git(&origin, ["commit", "-q", "-m", "base"]);
    clone(&origin, &clean);
    let base: ObjectId = git(&clean, ["rev-parse", "HEAD"]).trim().parse().expect("an id");

    let file = |executable, content: &[u8]| PathContent::File { executable, content: content.to_vec() };
    let old = |name: &str| Some(file(name == "run", b"1\n2\n3\n4\n5\n6\n7\n8\n9"));
    let edit = |path: &str, old, new| PathEdit { path: RepoPath::from(path), old, new };
    let gitlink = |digit: &str| PathContent::Gitlink(digit.repeat(40).parse().expect("an id"));
    let mut edits: Vec<PathEdit> = names
        .iter()
        .map(|name| edit(name, old(name), file(*name == "run", b"1\nzwei\n3\n4\n5\n6\n7\n8\n9\n")))
        .collect();
    edits.push(edit("new", None, file(false, b"From me\n--- a/x\ndiff --git a b\nno end")));
    edits.push(edit("plain2", None, file(true, b"")));
    edits.push(edit("sub", Some(gitlink("1")), gitlink("2")));
    edits.sort_by(|a, b| a.path.cmp(&b.path));

    let repository = GitRepository::open(&clean, DiscoverSettings::default()).expect("opened");
    let tree = repository.tree_with(base, &edits).expect("built").to_string();
    let diff = diff(&edits, base).expect("compared");
    let body = "From here on:\n--- not the end\ndiff --git is only text\nlast\n";
    let letter = mail(&Letter { subject: "two\n lines", body, time_ms: 1_790_000_000_999 }, &diff);
    git_reads(&clean, &["am", "-q", "--keep-cr"], &letter);
    assert_eq!(git(&clean, ["rev-parse", "HEAD^{tree}"]).trim(), tree);
    let message = git(&clean, ["log", "-1", "--format=%at%n%B"]);
    assert!(message.starts_with("1790000000\ntwo lines\n"), "{message}");
    assert!(message.contains("only text\nlast"), "{message}");
    git(&clean, ["reset", "-q", "--hard", &base.to_string()]);
    git_reads(&clean, &["apply", "--index", "-"], &diff.text);
    assert_eq!(git(&clean, ["write-tree"]).trim(), tree);
    let theirs =
        git(&clean, ["-c", "core.quotePath=false", "diff", "--cached", "--full-index", "--no-renames"]);
    assert_eq!(String::from_utf8_lossy(&diff.text), theirs);
}
