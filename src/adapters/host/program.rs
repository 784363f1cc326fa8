//! The host program on this machine: where it is, what it is with, and what it says it is.
//!
//! In: the name or path in the settings. Out: a [`Program`], found without starting anything, and its
//! [`Probe`], which runs it in the sandbox with nothing of a module beside it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kind::{Kind, modules_option, protocol_major};
use crate::adapters::sandbox::{Limits, Profile, Sandbox, Watch};
use crate::domain::health::Exit;
use crate::domain::text;

/// Programs that a host may start, or that belong to it, and are looked for beside it.
const BESIDE: [&str; 6] = ["logos_host", "logos_host_qt", "logoscore", "logosctl", "lm", "logos_core"];

/// How long a program may take to describe itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// A host program, found.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// Where it was found.
    pub(super) path: PathBuf,
    /// What tells `lm`, where it is.
    pub(super) lm: Option<PathBuf>,
    /// Files and directories that it must be able to read, beside the system's.
    pub(super) reads: Vec<PathBuf>,
    /// What of it changes when it changes.
    pub(super) identity: String,
}

/// What a host program says it is.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    pub(super) kind: Kind,
    /// The major number of the protocol that it speaks, where it says so.
    pub(super) protocol: Option<u64>,
    /// The first line of its version; the kind where it says none.
    pub(super) version: String,
}

impl Program {
    /// Find it: an absolute path, or a name in these directories.
    pub(super) fn find(name: &str, search: &[PathBuf]) -> Result<Self, String> {
        let shown = text::quoted(name);
        let path = if Path::new(name).is_absolute() {
            Some(PathBuf::from(name)).filter(|path| path.is_file())
        } else if name.contains('/') || name.is_empty() {
            return Err(format!("the host {shown} is neither a name nor an absolute path"));
        } else {
            search.iter().map(|dir| dir.join(name)).find(|path| path.is_file())
        };
        let path = path.ok_or_else(|| format!("the host program {shown} was not found"))?;
        let real =
            path.canonicalize().map_err(|error| format!("the host {shown} cannot be read: {error}"))?;
        let mut reads = vec![path.clone(), real.clone()];
        let mut beside = Vec::new();
        for dir in [path.parent(), real.parent()].into_iter().flatten() {
            for name in BESIDE {
                let file = dir.join(name);
                if file.is_file() && !reads.contains(&file) {
                    reads.push(file.clone());
                    beside.push(file);
                }
            }
            // Of an installation below a prefix of its own: its libraries, and the modules it brings.
            if let Some(prefix) = dir.parent().filter(|_| dir.ends_with("bin") && !is_system(dir)) {
                reads.extend(["lib", "libexec", "modules", "plugins"].map(|inner| prefix.join(inner)));
            }
        }
        let beside_lm = beside.iter().find(|file| file.ends_with("lm")).cloned();
        let lm = beside_lm.or_else(|| search.iter().map(|dir| dir.join("lm")).find(|path| path.is_file()));
        let mut identity = format!("{} {}", path.display(), stat(&real));
        for file in beside.iter().chain(&lm) {
            let _ = write!(identity, "\n{} {}", file.display(), stat(file));
        }
        reads.extend(lm.clone());
        Ok(Self { path, lm, reads, identity })
    }

    /// Ask it what it is.
    ///
    /// # Errors
    /// A sentence without a final stop: why that is not known.
    pub(super) fn probe(&self, sandbox: &Sandbox) -> Result<Probe, String> {
        let help = self.says(sandbox, &["--help"])?;
        let mut kind = Kind::of_help(&help).ok_or_else(|| {
            format!("{} does not say by --help that it is a host that is known here", self.path.display())
        })?;
        if let Kind::Logosctl { modules_option: option } = &mut kind {
            *option = modules_option(&self.says(sandbox, &["daemon", "start", "--help"])?);
            if option.is_none() {
                return Err(format!(
                    "{} daemon start does not say how it is told where modules are",
                    self.path.display()
                ));
            }
        }
        let version = self.says(sandbox, &["--version"]).unwrap_or_default();
        let first = version.lines().map(str::trim).find(|line| !line.is_empty());
        let first = text::clipped(&text::inert(first.unwrap_or_default()), 100);
        let protocol = protocol_major(&version).or_else(|| protocol_major(&help));
        let version =
            if first.is_empty() { kind.shown().to_owned() } else { format!("{first} ({})", kind.shown()) };
        Ok(Probe { kind, protocol, version })
    }

    /// What it writes when it is asked to describe itself.
    fn says(&self, sandbox: &Sandbox, words: &[&str]) -> Result<String, String> {
        let limits = Limits { deadline: PATIENCE, output_bytes: 1 << 20, ..Limits::default() };
        let profile = self.readable(Profile::new(limits));
        let argv: Vec<OsString> =
            [self.path.as_os_str().to_owned()].into_iter().chain(words.iter().map(OsString::from)).collect();
        let ran = sandbox.run(&profile, &argv, b"", &mut |_| Watch::GoOn);
        let what = format!("{} {}", self.path.display(), words.join(" "));
        match ran.exit {
            Exit::Code(_) => {
                let both = [ran.stdout.bytes.as_slice(), b"\n", &ran.stderr.bytes].concat();
                Ok(String::from_utf8_lossy(&both).into_owned())
            }
            Exit::NotRun => Err(ran.trouble.unwrap_or_else(|| format!("{what} could not be run"))),
            Exit::Deadline => Err(format!("{what} gave no answer within {} s", PATIENCE.as_secs())),
            Exit::Signal(signal) => Err(format!("{what} ended by signal {signal}")),
            Exit::Bound(which) => Err(format!("{what} went over a bound: {which}")),
            Exit::Stopped => Err(format!("{what} was stopped")),
        }
    }

    /// The profile, with what the program needs to run.
    pub(super) fn readable(&self, profile: Profile) -> Profile {
        self.reads.iter().fold(profile, Profile::read)
    }
}

/// True for the directories of programs that every sandbox has.
fn is_system(dir: &Path) -> bool {
    ["/bin", "/usr/bin", "/sbin", "/usr/sbin"].iter().any(|system| dir == Path::new(system))
}

/// What of a file changes when it changes.
fn stat(path: &Path) -> String {
    std::fs::metadata(path).map_or_else(
        |_| "-".to_owned(),
        |meta| format!("{} {} {}.{:09}", meta.len(), meta.ino(), meta.mtime(), meta.mtime_nsec()),
    )
}
