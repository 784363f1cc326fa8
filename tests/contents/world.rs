//! An upstream made by the real git, as a module of a superproject.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lambda_os::adapters::git::{DiscoverSettings, GitRepository};
use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::domain::governance::key::PublicKey;
use lambda_os::domain::id::ObjectId;
use lambda_os::domain::module::Module;
use lambda_os::ports::Repository as _;

use crate::support::{environment, git, said, temp_dir};

pub(crate) struct World {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) upstream: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        let temp = temp_dir();
        let upstream = temp.path().join("up");
        fs::create_dir(&upstream).expect("made");
        git(&upstream, ["init", "-q", "-b", "main"]);
        Self { temp, upstream }
    }

    pub(crate) fn write(&self, path: &str, content: &[u8]) {
        let path = self.upstream.join(path);
        fs::create_dir_all(path.parent().expect("in a directory")).expect("made");
        fs::write(path, content).expect("written");
    }

    pub(crate) fn commit(&self, options: &[&str]) -> ObjectId {
        git(&self.upstream, ["add", "-A", "."]);
        let fixed = ["commit", "-q", "--allow-empty", "-m", "a subject\n\nand a body"];
        git(&self.upstream, options.iter().copied().chain(fixed));
        self.head()
    }

    pub(crate) fn head(&self) -> ObjectId {
        id(&git(&self.upstream, ["rev-parse", "HEAD"]))
    }

    /// A superproject with the upstream as its module `module`, cloned as it is now.
    pub(crate) fn module(&self) -> (Mirrors, Module) {
        let superproject = self.temp.path().join("super");
        fs::create_dir(&superproject).expect("made");
        git(&superproject, ["init", "-q", "-b", "main"]);
        let upstream = self.upstream.to_str().expect("UTF-8");
        git(&superproject, ["submodule", "--quiet", "add", upstream, "module"]);
        std::os::unix::fs::symlink("module/x", superproject.join("own")).expect("linked");
        git(&superproject, ["add", "own"]);
        git(&superproject, ["commit", "-q", "-m", "modules"]);
        let settings = DiscoverSettings { config_urls: BTreeMap::new(), allow_local_urls: true };
        let repository = GitRepository::open(&superproject, settings).expect("opened");
        let module = repository.discover().expect("found").modules.remove(0);
        let mirrors =
            Mirrors::open(&self.temp.path().join("mirrors"), &superproject, &superproject.join(".git"));
        (mirrors, module)
    }

    pub(crate) fn superproject(&self) -> PathBuf {
        self.temp.path().join("super")
    }

    /// A key made by `ssh-keygen`.
    pub(crate) fn key(&self, name: &str, kind: &[&str]) -> (PathBuf, PublicKey) {
        let path = self.temp.path().join(name);
        run(Command::new("ssh-keygen").args(["-q", "-N", "", "-C", name, "-f"]).arg(&path).args(kind), &path);
        let line = fs::read_to_string(path.with_extension("pub")).expect("read");
        (path, line.parse().expect("a key"))
    }

    /// What the real git says of a signed commit or tag, with these keys allowed.
    pub(crate) fn git_accepts(&self, verb: &str, what: &str, keys: &[&PublicKey]) -> bool {
        let allowed = self.temp.path().join("allowed");
        let lines: Vec<String> =
            keys.iter().map(|key| format!("* namespaces=\"git\" {}\n", key.line())).collect();
        fs::write(&allowed, lines.concat()).expect("written");
        let mut command = crate::support::git_command(&self.upstream);
        command.arg("-c").arg(format!("gpg.ssh.allowedSignersFile={}", allowed.display()));
        command.args([verb, what]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("git starts").success()
    }
}

/// Options that make git sign with this key.
pub(crate) fn signing(key: &Path) -> Vec<String> {
    let settings = [
        "gpg.format=ssh".to_owned(),
        format!("user.signingKey={}", key.display()),
        "commit.gpgSign=true".to_owned(),
    ];
    settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]).collect()
}

fn run(command: &mut Command, home: &Path) {
    command.env_clear().envs(environment(home.parent().expect("a directory")));
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
}

pub(crate) fn id(hex: &str) -> ObjectId {
    hex.trim().parse().expect("an id")
}
