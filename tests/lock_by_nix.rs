//! Sources that are not on this machine, through the program and the real Nix: archives, files,
//! submodules, registries. And no process where none is wanted.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{environment, git, lambda_os, nix, said, temp_dir};

/// A root flake, sources beside it, and a search path that begins with one Nix.
struct Case {
    _temp: tempfile::TempDir,
    dir: PathBuf,
    remote: &'static str,
}

impl Case {
    /// With this Nix as `nix`.
    fn new(program: &Path, remote: &'static str) -> Self {
        let temp = temp_dir();
        let dir = fs::canonicalize(temp.path()).expect("it is there");
        for name in ["bin", "root", "home"] {
            fs::create_dir_all(dir.join(name)).expect("made");
        }
        symlink(program, dir.join("bin/nix")).expect("a link");
        Self { _temp: temp, dir, remote }
    }

    /// A file; `@` stands for the directory of the case.
    fn write(&self, path: &str, text: &str) {
        let file = self.dir.join(path);
        fs::create_dir_all(file.parent().expect("a directory")).expect("made");
        fs::write(file, text.replace('@', &self.dir.display().to_string())).expect("written");
    }

    fn flake(&self, dir: &str, inputs: &str) {
        self.write(&format!("{dir}/flake.nix"), &format!("{{ {inputs} outputs = _: {{ }}; }}\n"));
    }

    fn commit(&self, name: &str) -> String {
        let dir = self.dir.join(name);
        if !dir.join(".git").exists() {
            git(&dir, ["init", "-q", "-b", "main"]);
        }
        git(&dir, ["add", "-A"]);
        git(&dir, ["commit", "-q", "--allow-empty", "-m", "x"]);
        git(&dir, ["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// An archive of a directory.
    fn pack(&self, name: &str) {
        let archive = format!("{name}.tar.gz");
        let done = Command::new("tar").args(["-czf", &archive, name]).current_dir(&self.dir).status();
        assert!(done.is_ok_and(|status| status.success()), "tar packs {name}");
    }

    fn environment(&self) -> Vec<(String, String)> {
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        let settings = format!(
            "experimental-features = nix-command flakes\nsubstituters =\nbuild-users-group =\nsandbox = false\nflake-registry = {}/registry.json\n",
            self.dir.display()
        );
        let mut all = vec![
            ("PATH".to_owned(), format!("{}:{path}", self.dir.join("bin").display())),
            ("NIX_CONFIG".to_owned(), settings),
            ("USER".to_owned(), "root".to_owned()),
        ];
        if !self.remote.is_empty() {
            all.push(("NIX_REMOTE".to_owned(), self.remote.to_owned()));
        }
        all
    }

    /// `lock VERB root ARGS…`: exit code, stdout, stderr.
    fn lock(&self, verb: &str, args: &[&str]) -> (i32, String, String) {
        let mut command = lambda_os(&self.dir);
        command.envs(self.environment()).env("HOME", self.dir.join("home"));
        let output = command.args(["lock", verb, "root"]).args(args).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        (output.status.code().expect("a code"), text(&output.stdout), text(&output.stderr))
    }

    /// What Nix itself makes of it, on a copy.
    fn theirs(&self, args: &[&str]) -> String {
        let copy = self.dir.join("copy");
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir(&copy).expect("made");
        for file in ["flake.nix", "flake.lock"] {
            let _ = fs::copy(self.dir.join("root").join(file), copy.join(file));
        }
        let mut command = Command::new(self.dir.join("bin/nix"));
        command.env_clear().envs(environment(&self.dir.join("home"))).envs(self.environment());
        command.args(["--extra-experimental-features", "nix-command flakes", "flake", "lock"]).args(args);
        let output = command.arg(format!("path:{}", copy.display())).output().expect("it starts");
        assert!(output.status.success(), "{}", said(&output));
        fs::read_to_string(copy.join("flake.lock")).expect("Nix wrote a lock")
    }

    fn sources(&self) {
        self.write("registry.json", "{ \"version\": 2, \"flakes\": [ { \"from\": { \"type\": \"indirect\", \"id\": \"known\" }, \"to\": { \"type\": \"git\", \"url\": \"file://@/plain\" } } ] }");
        self.flake("plain", "");
        self.commit("plain");
        self.flake("leaf", "");
        self.pack("leaf");
        self.flake("packed", "inputs.leaf.url = \"file://@/leaf.tar.gz\"; inputs.plain.url = \"git+file://@/plain\"; inputs.s.url = \"path:./sub\";");
        self.flake("packed/sub", "inputs.known.url = \"known\";");
        self.pack("packed");
        self.write("data.txt", "data\n");
        self.flake("super", "");
        let module = self.dir.join("super");
        git(&module, ["init", "-q", "-b", "main"]);
        git(&module, ["submodule", "add", "-q", &format!("{}/plain", self.dir.display()), "module"]);
        self.commit("super");
    }
}

/// The Nix programs at hand, and which store each is given.
fn programs(what: &str) -> Vec<(PathBuf, &'static str)> {
    let mut all = Vec::new();
    // A store in memory, where this Nix has one that can be written to.
    all.extend(nix::current(what).map(|program| (program, "dummy://?read-only=false")));
    all.extend(nix::old(what).map(|program| (program, "")));
    all
}

#[test]
fn what_is_not_at_hand_is_locked_as_nix_alone_locks_it() {
    for (program, remote) in programs("sources that only Nix can fetch") {
        let case = Case::new(&program, remote);
        case.sources();
        let old = remote.is_empty();
        let mut inputs =
            "inputs.packed.url = \"file://@/packed.tar.gz\"; inputs.known.url = \"known\"; inputs.plain.url = \"git+file://@/plain\";"
                .to_owned();
        if old {
            // 2.8 has no inputs of type `file`, and reads no `path:./sub` of an archive's flake.
            case.flake("packed", "inputs.leaf.url = \"file://@/leaf.tar.gz\"; inputs.known.url = \"known\";");
            case.pack("packed");
        } else {
            inputs += " inputs.sub.url = \"file://@/packed.tar.gz?dir=sub\"; \
                inputs.data = { type = \"file\"; url = \"file://@/data.txt\"; flake = false; };";
        }
        case.flake("root", &inputs);
        let theirs = case.theirs(&[]);
        let (exit, shown, stderr) = case.lock("update", &["--json"]);
        assert_eq!(exit, 0, "{stderr}");
        // Nix 2.8 records `ref = main` where a current one records `refs/heads/main`; what is at
        // hand is locked as the current one does.
        let current = |text: &str| text.replace("\"ref\": \"main\"", "\"ref\": \"refs/heads/main\"");
        let ours = fs::read_to_string(case.dir.join("root/flake.lock")).expect("a lock");
        assert_eq!(current(&ours), current(&theirs));
        let report: Value = serde_json::from_str(&shown).expect("JSON");
        let by_nix: Vec<&str> =
            report["byNix"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert!(
            by_nix.contains(&"known") && by_nix.iter().any(|name| name.ends_with("/leaf.tar.gz")),
            "{by_nix:?}"
        );
        assert!(
            !by_nix.iter().any(|name| name.starts_with("git+file") && !name.contains("rev=")),
            "{by_nix:?}"
        );
        // Now it is whole: nothing is asked, with or without Nix.
        let (exit, shown, _) = case.lock("check", &["--json", "--exit-code"]);
        assert_eq!(exit, 0, "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON").get("byNix"), None);
        let (exit, ..) = case.lock("check", &["--offline", "--exit-code"]);
        assert_eq!(exit, 0);
    }
}

#[test]
fn a_source_with_its_submodules_is_asked_of_nix_also_at_a_revision() {
    let Some(program) = nix::current("sources with submodules through Nix") else { return };
    let case = Case::new(&program, "dummy://?read-only=false");
    case.sources();
    let first = case.commit("super");
    case.commit("super");
    // git refuses submodules by path, unless the operator allows them.
    case.write("home/.config/git/config", "[protocol \"file\"]\n\tallow = always\n");
    case.flake("root", "inputs.a.url = \"git+file://@/super?submodules=1\";");
    let theirs = case.theirs(&[]);
    let (exit, ours, stderr) = case.lock("update", &["--stdout"]);
    assert_eq!((exit, ours), (0, theirs), "{stderr}");
    let to = format!("a={first}");
    let theirs = case.theirs(&[
        "--override-input",
        "a",
        &format!("git+file://{}/super?submodules=1&rev={first}", case.dir.display()),
    ]);
    let (exit, ours, stderr) = case.lock("update", &[&to, "--stdout"]);
    assert_eq!(exit, 0, "{stderr}");
    let locked =
        |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["nodes"]["a"]["locked"].clone();
    assert_eq!(locked(&ours), locked(&theirs));
}

#[test]
fn no_process_is_started_offline_nor_where_nothing_is_missing() {
    let temp = temp_dir();
    let canary = temp.path().join("nix");
    let mark = temp.path().join("asked");
    fs::write(
        &canary,
        format!("#!/bin/sh\necho x >> '{}'\necho 'error: \u{1b}[31mnot today' >&2\nexit 1\n", mark.display()),
    )
    .expect("written");
    fs::set_permissions(&canary, fs::Permissions::from_mode(0o755)).expect("executable");
    let case = Case::new(&canary, "");
    case.flake("plain", "");
    case.commit("plain");
    case.flake("a", "inputs.p.url = \"git+file://@/plain\"; inputs.q.follows = \"p\";");
    case.commit("a");
    case.flake("root", "inputs.a.url = \"git+file://@/a\";");
    for (verb, args) in [("update", &[][..]), ("check", &[]), ("update", &["a"]), ("check", &["--strict"])] {
        let (exit, _, stderr) = case.lock(verb, args);
        assert_eq!(exit, 0, "{stderr}");
    }
    // A source whose `follows` could only be confirmed by fetching it is assumed.
    fs::rename(case.dir.join("a"), case.dir.join("gone")).expect("moved");
    let (exit, shown, _) = case.lock("check", &["--json"]);
    assert_eq!(exit, 0);
    assert!(shown.contains("\"assumed\": [\n    \"a\"") || shown.contains("\"assumed\":[\"a\"]"), "{shown}");
    assert!(!mark.exists(), "nothing was missing, and Nix was asked");
    let (exit, _, stderr) = case.lock("check", &["--strict", "--offline"]);
    assert_eq!(exit, 1);
    assert!(stderr.contains("without --offline the nix program is asked"), "{stderr}");
    case.flake("root", "inputs.t.url = \"https://x.org/a.tar.gz\";");
    assert_eq!(case.lock("update", &["--offline"]).0, 1);
    assert!(!mark.exists(), "--offline started a process");
    let (exit, _, stderr) = case.lock("update", &[]);
    assert_eq!(exit, 1);
    assert!(mark.exists() && stderr.contains("needs source https://x.org/a.tar.gz"), "{stderr}");
    assert!(stderr.contains("Nix says: error:") && !stderr.contains('\u{1b}'), "{stderr}");
}
