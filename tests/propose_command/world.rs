//! A workspace with everything in it that a program could spoil.

use std::fs;
use std::path::{Path, PathBuf};

use lambda_os::sample::{SampleModule, SampleSpec};
use serde_json::Value;

use crate::support::{self, Fingerprint, Workspace, git};

pub(crate) struct World {
    pub(crate) workspace: Workspace,
}

impl World {
    /// A workspace whose one operator is trusted, with work of theirs in it.
    pub(crate) fn new() -> Self {
        let world = Self { workspace: Workspace::new(&SampleSpec::sized(4, 2)) };
        let at = world.path();
        fs::create_dir_all(at.join("docs")).expect("made");
        fs::write(at.join("docs/a.md"), "one\ntwo\n").expect("written");
        fs::write(at.join("docs/b.md"), "one\n").expect("written");
        fs::write(at.join("run.sh"), "#!/bin/sh\n").expect("written");
        fs::write(at.join(".gitignore"), "*.secret\n/target/\n").expect("written");
        std::os::unix::fs::symlink("docs/a.md", at.join("link.md")).expect("made");
        git(at, ["add", "docs", "run.sh", ".gitignore", "link.md"]);
        git(at, ["commit", "-qm", "files"]);
        fs::write(at.join("key.secret"), "ignored\n").expect("written");
        fs::write(at.join(".env"), "SECRET=1\n").expect("written");
        fs::write(at.join("README.md"), "edited and not committed\n").expect("written");
        world.ok(&["init"]);
        world
    }

    pub(crate) fn path(&self) -> &Path {
        self.workspace.path()
    }

    /// Everything of the operator's, git directories included.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.workspace.temp.path().join("sample").as_path())
    }

    pub(crate) fn module(&self) -> &SampleModule {
        &self.workspace.sample.modules[0]
    }

    pub(crate) fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self.workspace.lambda_os().args(args).output().expect("lambda-os runs");
        (output.status.code().expect("it ended by itself"), support::said(&output))
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let (exit, said) = self.run(args);
        assert_eq!(exit, 0, "{args:?}: {said}");
        said
    }

    #[track_caller]
    pub(crate) fn fails(&self, args: &[&str], code: i32, why: &str) {
        let (exit, said) = self.run(args);
        assert_eq!(exit, code, "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }

    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all: Vec<&str> = vec!["--json"];
        all.extend(args);
        let output = self.workspace.lambda_os().args(all).output().expect("lambda-os runs");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}\n{}", support::said(&output)))
    }

    /// Run a shell script on a copy; the operator's files are as they were.
    #[track_caller]
    pub(crate) fn propose(&self, options: &[&str], script: &str) -> Value {
        let before = self.fingerprint();
        let mut args = vec!["propose"];
        args.extend(options);
        args.extend(["--", "sh", "-euc", script]);
        let report = self.json(&args);
        before.assert_equal(&self.fingerprint());
        let left = fs::read_dir(self.workspace.state().join("candidates")).expect("a directory").count();
        assert_eq!(left, 0, "the copy is left");
        report
    }

    /// As [`World::propose`], for a script of which a proposal must come: its id.
    #[track_caller]
    pub(crate) fn proposed(&self, script: &str) -> String {
        let report = self.propose(&[], script);
        assert_eq!(report["outcome"], "proposed", "{report:#}");
        assert_eq!(report["workspace"]["before"], report["workspace"]["after"], "{report:#}");
        report["proposal"].as_str().expect("an id").to_owned()
    }

    /// The script makes no proposal, for this reason.
    #[track_caller]
    pub(crate) fn refused(&self, options: &[&str], script: &str, why: &str) -> Value {
        let report = self.propose(options, script);
        assert!(matches!(report["outcome"].as_str(), Some("refused" | "failed")), "{report:#}");
        let said = format!("{} {}", report["refused"], report["exit"]);
        assert!(said.contains(why), "{why:?}: {report:#}");
        assert_eq!(self.json(&["proposal", "list"])["proposals"].as_array().map(Vec::len), Some(0));
        report
    }

    /// Run a cycle. Nothing was ever fetched, so that it knows nothing of the upstreams.
    #[track_caller]
    pub(crate) fn cycle(&self) {
        let (exit, said) = self.run(&["run", "--once", "--offline"]);
        assert!(exit == 0 || exit == 3, "{said}");
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(self.path(), args)
    }

    pub(crate) fn object(&self, cid: &str) -> PathBuf {
        self.workspace.state().join("objects").join(&cid[8..10]).join(cid)
    }
}
