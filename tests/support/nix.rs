//! The real Nix, offline, with settings composed here and evaluation caches of its own.
//!
//! The store is the machine's: Nix cannot build in another one without namespaces, and content
//! that is named by its hash disturbs nobody.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{environment, said};

const SETTINGS: &str = "experimental-features = nix-command flakes
substituters =
build-users-group =
sandbox = false
flake-registry =
";

/// Runs Nix with `HOME` in a directory of the test.
pub struct Nix {
    home: PathBuf,
}

impl Nix {
    /// Under `dir`.
    pub fn new(dir: &Path) -> Self {
        let home = dir.join("nix-home");
        std::fs::create_dir_all(&home).expect("a directory is made");
        Self { home }
    }

    /// Run it, whatever it says.
    pub fn run(&self, args: &[&str]) -> Output {
        self.program("nix", args)
    }

    /// Another of Nix's programs.
    pub fn program(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.env_clear().envs(environment(&self.home)).env("NIX_CONFIG", SETTINGS).env("USER", "root");
        // A name that never resolves: nothing may be fetched.
        command.env("https_proxy", "http://127.0.0.1:9").env("http_proxy", "http://127.0.0.1:9");
        command.current_dir(&self.home).args(args).output().expect("it starts")
    }

    /// Run it; it must succeed. Gives its standard output.
    pub fn must(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "nix {args:?}\n{}", said(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// `nix hash path`: the SRI hash of a path's NAR.
    pub fn hash(&self, path: &Path) -> String {
        self.must(&["hash", "path", &path.to_string_lossy()]).trim().to_owned()
    }

    /// Add a directory named `source` to the store; gives its store path.
    pub fn add_source(&self, path: &Path) -> String {
        assert!(path.ends_with("source"));
        let output = self.program("nix-store", &["--add", &path.to_string_lossy()]);
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    /// Fail unless the flake's lock is complete and what Nix would write.
    pub fn accepts_lock(&self, flake: &Path) {
        let before = std::fs::read(flake.join("flake.lock")).expect("a lock is read");
        let flake_ref = format!("path:{}", flake.display());
        self.must(&["flake", "metadata", "--no-update-lock-file", "--json", &flake_ref]);
        self.must(&["flake", "lock", &flake_ref]);
        let after = std::fs::read(flake.join("flake.lock")).expect("a lock is read");
        assert_eq!(
            String::from_utf8_lossy(&before),
            String::from_utf8_lossy(&after),
            "{}: Nix wrote another lock",
            flake.display()
        );
    }

    /// Fail unless the file is an expression that evaluates completely.
    pub fn evaluates(&self, file: &Path) {
        self.must(&["eval", "--json", "-f", &file.to_string_lossy()]);
    }

    /// Build a package of a flake; gives the path of its output.
    pub fn build(&self, flake: &Path, package: &str) -> PathBuf {
        let link = self.home.join(format!("result-{package}"));
        let installable = format!("path:{}#{package}", flake.display());
        self.must(&["build", "--no-update-lock-file", "--out-link", &link.to_string_lossy(), &installable]);
        std::fs::canonicalize(link).expect("the output is there")
    }
}
