//! Real git beside our own reading: fixtures, and both answers in one form.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::domain::module::Discovery;
use lambda_os::domain::snapshot::{ChangeKind, Snapshot, TreeState};
use lambda_os::ports::{Repository, SnapshotOptions};

/// A directory with one or more repositories, removed at the end.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A world with a repository `w` that has a first commit of a few files.
    pub(crate) fn with_repository() -> Self {
        let world = Self::new();
        world.git(".", &["init", "-q", "-b", "main", "w"]);
        for (name, content) in [("a", "one\n"), ("b.txt", "two\n"), ("d/c", "three\n"), ("d/e/f", "four\n")] {
            world.write(&format!("w/{name}"), content);
        }
        world.commit("w", "first");
        world
    }

    /// The same with submodules `m`, and `deep/n` that has a submodule `inner` of its own.
    pub(crate) fn with_submodules() -> Self {
        let world = Self::with_repository();
        for name in ["m-up", "n-up", "inner-up"] {
            world.git(".", &["init", "-q", "-b", "main", name]);
            world.write(&format!("{name}/x"), "x\n");
            world.write(&format!("{name}/dir/y"), "y\n");
            world.commit(name, "upstream");
        }
        let url = |name: &str| world.path(name).display().to_string();
        world.git("n-up", &["submodule", "--quiet", "add", &url("inner-up"), "inner"]);
        world.commit("n-up", "nested");
        world.git("w", &["submodule", "--quiet", "add", &url("m-up"), "m"]);
        world.git("w", &["submodule", "--quiet", "add", &url("n-up"), "deep/n"]);
        world.git("w", &["submodule", "--quiet", "update", "--init", "--recursive"]);
        world.commit("w", "submodules");
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories can be made");
        std::fs::write(path, content).expect("files can be written");
    }

    pub(crate) fn remove(&self, name: &str) {
        let path = self.path(name);
        if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(path).expect("directories can be removed");
        } else {
            std::fs::remove_file(path).expect("files can be removed");
        }
    }

    pub(crate) fn link(&self, target: &str, name: &str) {
        std::os::unix::fs::symlink(target, self.path(name)).expect("links can be made");
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode))
            .expect("chmod works");
    }

    /// Run git, whatever comes of it.
    pub(crate) fn try_git(&self, dir: &str, args: &[&str]) -> Output {
        git_in(self.dir.path(), &self.path(dir)).args(args).output().expect("git starts")
    }

    /// Run git, which must succeed.
    pub(crate) fn git(&self, dir: &str, args: &[&str]) -> Vec<u8> {
        let output = self.try_git(dir, args);
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub(crate) fn commit(&self, dir: &str, message: &str) {
        self.git(dir, &["add", "-A"]);
        self.git(dir, &["commit", "-q", "--allow-empty", "-m", message]);
    }

    /// Our reading of a repository.
    pub(crate) fn snapshot(&self, dir: &str) -> (Snapshot, Discovery) {
        self.try_snapshot(dir).expect("the superproject can be read")
    }

    pub(crate) fn try_snapshot(&self, dir: &str) -> Result<(Snapshot, Discovery), String> {
        self.snapshot_with(dir, &SnapshotOptions::default())
    }

    pub(crate) fn snapshot_with(
        &self,
        dir: &str,
        options: &SnapshotOptions,
    ) -> Result<(Snapshot, Discovery), String> {
        let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
        let said = |error: lambda_os::ports::PortError| format!("{error}: {:?}", error.source);
        let repository =
            GitRepository::open_in(&self.path(dir), settings, self.environment()).map_err(said)?;
        let discovery = repository.discover().map_err(said)?;
        let snapshot = repository.snapshot(&discovery, options).map_err(said)?;
        Ok((snapshot, discovery))
    }

    pub(crate) fn environment(&self) -> Environment {
        Environment { home: Some(self.dir.path().to_owned()), ..Environment::default() }
    }

    /// Both answers for a repository and for every module checked out in it must be equal.
    pub(crate) fn assert_same(&self, dir: &str) -> Snapshot {
        self.assert_same_after(dir, "")
    }

    pub(crate) fn assert_same_after(&self, dir: &str, history: &str) -> Snapshot {
        let (snapshot, _) = self.snapshot(dir);
        let own = &snapshot.superproject;
        assert_eq!(shown(&own.tree), self.status(dir), "ours is left, git's right, of {dir}\n{history}");
        assert_eq!(own.tree.bounded, Vec::<String>::new(), "{history}");
        for module in &snapshot.modules {
            let at = format!("{dir}/{}", module.path);
            if module.initialised && module.problem.is_none() {
                assert_eq!(
                    shown(&module.tree),
                    self.status(&at),
                    "ours is left, git's right, of {at}\n{history}"
                );
            }
        }
        self.assert_same_submodules(dir, &snapshot, history);
        snapshot
    }

    /// `git submodule status`: `-` not initialised, `+` another commit, `U` in conflict.
    fn assert_same_submodules(&self, dir: &str, snapshot: &Snapshot, history: &str) {
        let output = self.try_git(dir, &["submodule", "status"]);
        if !output.status.success() {
            return;
        }
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let (mark, rest) = line.split_at(1);
            let mut words = rest.split(' ');
            let (id, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let Some(module) = snapshot.modules.iter().find(|module| module.path.to_string() == path) else {
                continue;
            };
            let hex = |id: Option<lambda_os::domain::id::ObjectId>| id.map(|id| id.to_string());
            let expect = match mark {
                "-" => (!module.initialised).then(|| hex(module.gitlink)).flatten(),
                "+" => (module.head != module.gitlink).then(|| hex(module.head)).flatten(),
                "U" => module.gitlink.is_none().then(|| id.to_owned()),
                // An unborn checkout has no commit: git shows the gitlink, we show none.
                _ => (module.head.is_none_or(|head| Some(head) == module.gitlink))
                    .then(|| hex(module.gitlink))
                    .flatten(),
            };
            assert_eq!(expect.as_deref(), Some(id), "{line} against {module:?}\n{history}");
        }
    }

    /// git's answer, with git not writing the index.
    pub(crate) fn status(&self, dir: &str) -> BTreeSet<String> {
        let args = [
            "--no-optional-locks",
            "status",
            "--porcelain=v2",
            "-z",
            "--untracked-files=all",
            "--no-renames",
        ];
        parse(&self.git(dir, &args))
    }
}

/// git in a directory with nothing of the user's.
pub(crate) fn git_in(home: &Path, dir: &Path) -> Command {
    let mut command = Command::new("git");
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("HOME", home).current_dir(dir);
    command.envs([
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "A U Thor"),
        ("GIT_AUTHOR_EMAIL", "author@example.org"),
        ("GIT_COMMITTER_NAME", "C O Mitter"),
        ("GIT_COMMITTER_EMAIL", "committer@example.org"),
        ("GIT_AUTHOR_DATE", "1700000000 +0000"),
        ("GIT_COMMITTER_DATE", "1700000000 +0000"),
        ("LC_ALL", "C"),
    ]);
    command.args([
        "-c",
        "protocol.file.allow=always",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "advice.addEmbeddedRepo=false",
    ]);
    command
}

/// `XY SUB PATH` for each changed path, `?? PATH` for each untracked one.
fn parse(status: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for record in status.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
        let fields = match record[0] {
            b'1' => 9,
            b'u' => 11,
            _ => 2,
        };
        let words: Vec<&[u8]> = record.splitn(fields, |byte| *byte == b' ').collect();
        let path = std::ffi::OsStr::from_bytes(words[fields - 1]);
        let word = |at: usize| String::from_utf8_lossy(words[at]).into_owned();
        found.insert(match record[0] {
            b'1' => format!("{} {} {}", word(1), word(2), path.to_string_lossy()),
            b'u' => format!("{} unmerged {}", word(1), path.to_string_lossy()),
            _ => format!("?? {}", path.to_string_lossy()),
        });
    }
    found
}

/// Ours in the same form.
pub(crate) fn shown(tree: &TreeState) -> BTreeSet<String> {
    let path = |path: &lambda_os::domain::id::RepoPath| String::from_utf8_lossy(path.as_bytes()).into_owned();
    let mut found: BTreeSet<String> =
        tree.untracked.iter().map(|file| format!("?? {}", path(&file.path))).collect();
    for change in &tree.changes {
        let letters = format!("{}{}", change.staged.letter(), change.worktree.letter());
        let unmerged = change.staged == ChangeKind::Unmerged
            || change.worktree == ChangeKind::Unmerged
            || letters == "AA"
            || letters == "DD";
        let sub = match change.submodule {
            _ if unmerged => "unmerged".to_owned(),
            None => "N...".to_owned(),
            Some(sub) => format!(
                "S{}{}{}",
                if sub.commit { 'C' } else { '.' },
                if sub.modified { 'M' } else { '.' },
                if sub.untracked { 'U' } else { '.' }
            ),
        };
        found.insert(format!("{letters} {sub} {}", path(&change.path)));
    }
    found
}
