//! `lock check` and `lock update` through the program: files, exit codes, hints, JSON. No Nix.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Fingerprint, git, lambda_os, temp_dir};

/// A root flake with the input `a`, `github:o/a`, and a clone of that.
struct Case {
    temp: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let case = Self { temp: temp_dir() };
        case.flake("a", "");
        git(&case.path("a"), ["init", "-q", "-b", "main"]);
        case.commit();
        case.flake("root", "inputs.a.url = \"github:o/a\";");
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn flake(&self, name: &str, inputs: &str) {
        fs::create_dir_all(self.path(name)).expect("a directory is made");
        let text = format!("{{ {inputs} outputs = _: {{ }}; }}\n");
        fs::write(self.path(name).join("flake.nix"), text).expect("it is written");
    }

    /// A commit of `a`; its hash.
    fn commit(&self) -> String {
        git(&self.path("a"), ["add", "-A"]);
        git(&self.path("a"), ["commit", "-q", "--allow-empty", "-m", "x"]);
        git(&self.path("a"), ["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Run `lock VERB root ARGS…`: exit code, stdout, stderr.
    fn lock(&self, verb: &str, args: &[&str]) -> (i32, String, String) {
        let mut command = lambda_os(self.temp.path());
        let output = // The machine's Nix has no part in this.
        command.args(["--offline", "lock", verb, "root"]).args(args).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        (output.status.code().expect("an exit code"), text(&output.stdout), text(&output.stderr))
    }

    fn locked(&self) -> Value {
        let bytes = fs::read(self.path("root/flake.lock")).expect("there is a lock");
        serde_json::from_slice(&bytes).expect("it is JSON")
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

#[test]
fn a_source_that_is_not_named_is_asked_for_with_the_input_that_needs_it() {
    let case = Case::new();
    let (exit, stdout, stderr) = case.lock("update", &[]);
    assert_eq!((exit, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains("needs source github:o/a at its newest revision, seen at input path a: no repository of github.com/o/a was named"),
        "{stderr}"
    );
    assert!(stderr.contains("hint: name a clone of each with --source OWNER/REPO=GIT_DIR"), "{stderr}");
    assert!(!case.path("root/flake.lock").exists());
}

#[test]
fn an_update_moves_what_was_named_and_a_revision_can_be_given() {
    let case = Case::new();
    let first = case.commit();
    let source = ["--source", "o/a=a"];
    let (exit, ..) = case.lock("update", &source);
    assert_eq!(exit, 0);
    assert_eq!(case.locked()["nodes"]["a"]["locked"]["rev"], first.as_str());
    case.flake("a", "description = \"2\";");
    let second = case.commit();
    // Not named, not moved.
    let (_, stdout, _) = case.lock("update", &source);
    assert_eq!(stdout, "flake.lock is unchanged\n");
    let (exit, stdout, _) = case.lock("update", &["--source", "O/A=a/.git", "a", "--json"]);
    let report = json(&stdout);
    assert_eq!((exit, &report["schema"]), (0, &"lambda-os/lock/v1".into()));
    assert_eq!(report["changes"][0]["path"], "a");
    assert_eq!(report["changes"][0]["to"]["locked"]["rev"], second.as_str());
    assert_eq!(case.locked()["nodes"]["a"]["locked"]["rev"], second.as_str());
    let (exit, ..) = case.lock("update", &["--source", "o/a=a", &format!("a={first}")]);
    assert_eq!((exit, &case.locked()["nodes"]["a"]["locked"]["rev"]), (0, &first.as_str().into()));
    assert_eq!(case.locked()["nodes"]["a"]["original"].get("rev"), None);
}

#[test]
fn the_new_lock_can_be_printed_and_then_nothing_is_written() {
    let case = Case::new();
    case.commit();
    let sources = case.path("sources/O+A");
    fs::create_dir_all(&sources).expect("a directory is made");
    git(case.temp.path(), ["clone", "-q", "--bare", "a", "sources/O+A/repo"]);
    let before = Fingerprint::of(case.temp.path());
    let (exit, stdout, _) = case.lock("update", &["--sources", "sources", "--stdout"]);
    assert_eq!(exit, 0);
    assert_eq!(json(&stdout)["version"], 7);
    assert!(stdout.ends_with("}\n"));
    before.assert_equal(&Fingerprint::of(case.temp.path()));
}

#[test]
fn a_check_says_what_nix_would_change() {
    let case = Case::new();
    case.commit();
    let source = ["--source", "o/a=a"];
    case.lock("update", &source);
    // What is kept needs no source.
    let (exit, stdout, _) = case.lock("check", &["--exit-code"]);
    assert_eq!((exit, stdout.as_str()), (0, "flake.lock is what Nix would write\n"));
    case.flake("root", "inputs.b.url = \"github:o/a\";");
    let (exit, stdout, _) = case.lock("check", &["--exit-code", "--source", "o/a=a"]);
    assert_eq!(exit, 4);
    assert!(stdout.starts_with("Nix would change flake.lock\n  removed a "), "{stdout}");
    let (exit, stdout, _) = case.lock("check", &["--json", "--duplicates", "--source", "o/a=a"]);
    assert_eq!((exit, &json(&stdout)["changed"]), (0, &true.into()));
    assert_eq!(json(&stdout)["duplicates"], Value::Array(Vec::new()));
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let case = Case::new();
    let first = case.commit();
    let source = ["--source", "o/a=a"];
    case.lock("update", &source);
    for (args, said) in [
        (vec!["aa", "--source", "o/a=a"], "hint: did you mean a?"),
        (vec!["a=abc", "--source", "o/a=a"], "\"abc\" is no full commit hash"),
        (vec!["--source", "nonsense"], "is not of the form OWNER/REPO=GIT_DIR"),
        (vec!["--sources", "nowhere"], "cannot list the sources in nowhere"),
    ] {
        let (exit, _, stderr) = case.lock("update", &args);
        assert_eq!(exit, 2, "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
    case.flake("root", &format!("inputs.a.url = \"github:o/a/{first}\";"));
    let other = "1".repeat(40);
    let (exit, _, stderr) = case.lock("update", &["--source", "o/a=a", &format!("a={other}")]);
    assert_eq!(exit, 2);
    assert!(stderr.contains("hint: change the revision in flake.nix first"), "{stderr}");
    case.flake("root", "inputs.a.url = 1;");
    let (exit, _, stderr) = case.lock("check", &[]);
    assert_eq!(exit, 1);
    assert!(stderr.contains("flake.nix, line 1, column 12: expected a string or a path"), "{stderr}");
    fs::write(case.path("root/flake.lock"), "{").expect("it is written");
    let (exit, _, stderr) = case.lock("check", &[]);
    assert_eq!(exit, 1);
    assert!(stderr.contains("flake.lock: line 1, column 1"), "{stderr}");
}

#[test]
fn a_flake_inside_a_repository_reaches_its_neighbours_and_no_further() {
    let case = Case::new();
    let root = case.path("root");
    git(&root, ["init", "-q"]);
    case.flake("root/sub", "inputs.n.url = \"path:../n\";");
    case.flake("root/n", "");
    let run = |dir: &Path| {
        let output = lambda_os(case.temp.path())
            .args(["--offline", "lock", "update"])
            .arg(dir)
            .output()
            .expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run(&root.join("sub")), (Some(0), String::new()));
    case.flake("root/sub", "inputs.n.url = \"path:../../a\";");
    let (exit, stderr) = run(&root.join("sub"));
    assert_eq!(exit, Some(1));
    assert!(stderr.contains("the input n leads out of its source"), "{stderr}");
}

#[test]
fn a_source_is_hashed_once_when_a_state_directory_is_named() {
    let case = Case::new();
    let (state, source) = (case.path("state"), format!("o/a={}", case.path("a").display()));
    let args = ["--stdout", "--source", &source, "--state-dir", &state.to_string_lossy()];
    let (exit, first, err) = case.lock("update", &args);
    assert_eq!(exit, 0, "{err}");
    let hash = json(&first)["nodes"]["a"]["locked"]["narHash"].as_str().expect("a hash").to_owned();
    // Another hash in the cache is what the next lock has: the source was not hashed again.
    let file = state.join("cache/nar-hashes");
    let kept = fs::read_to_string(&file).expect("hashes are kept");
    let other = "sha256-pQpattmS9VmO3ZIQUFn66az8GSmB4IvYhTTCFn6SUmo=";
    assert!(kept.contains(&hash) && hash != other);
    fs::write(&file, kept.replace(&hash, other)).expect("it is written");
    let (_, second, _) = case.lock("update", &args);
    assert_eq!(json(&second)["nodes"]["a"]["locked"]["narHash"], other);
}
