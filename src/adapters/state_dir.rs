//! Where lambda-os keeps what it knows: one directory, never in the operator's work tree.
//!
//! In: the `--state-dir` flag, the configuration's directory, the environment, the git common
//! directory. Out: a [`StateDir`] with the paths of everything in it. The first that is given
//! holds: flag, configuration, `$STATE_DIRECTORY` (systemd), the pointer file in the git
//! common directory (left by a service whose state is elsewhere), `<common dir>/lambda-os/`.
//!
//! Resolving and reading create nothing; a writer calls [`StateDir::prepare`]. The directory has
//! rights 0700. Its file `layout` says which version of the layout it has: a program that
//! meets a newer one refuses and rewrites nothing.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::durable::{self, Disk, Durability, RealDisk};
use crate::domain::id::Cid;
use crate::domain::text;
use crate::ports::{FailureKind, PortError, PortResult};

/// The newest layout that this program knows.
pub const LAYOUT_VERSION: u32 = 1;

/// Name of the directory in the git common directory, and of a service's state directory.
const NAME: &str = "lambda-os";

/// Who named the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// `--state-dir`.
    Flag,
    /// The configuration.
    Config,
    /// `$STATE_DIRECTORY`.
    Environment,
    /// The pointer file in the git common directory.
    Pointer,
    /// Nobody: `lambda-os/` in the git common directory.
    Default,
}

/// The state directory.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
    origin: Origin,
    /// Where a pointer file belongs when a service owns the state.
    common_dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Layout {
    format: String,
    v: u32,
}

impl StateDir {
    /// The directory that the flag, the configuration, the environment or the pointer names.
    ///
    /// # Errors
    /// When the pointer file names something that is not a state directory.
    pub fn resolve(flag: Option<&Path>, settings_dir: Option<&Path>, common_dir: &Path) -> PortResult<Self> {
        #[expect(clippy::disallowed_methods, reason = "systemd tells a service its directory this way")]
        let environment = std::env::var_os("STATE_DIRECTORY");
        Self::resolve_with(flag, settings_dir, environment.as_deref(), common_dir)
    }

    /// As [`resolve`](Self::resolve), with the environment's answer given.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn resolve_with(
        flag: Option<&Path>,
        settings_dir: Option<&Path>,
        environment: Option<&OsStr>,
        common_dir: &Path,
    ) -> PortResult<Self> {
        let at =
            |root: &Path, origin| Self { root: root.to_owned(), origin, common_dir: common_dir.to_owned() };
        if let Some(root) = flag {
            return Ok(at(root, Origin::Flag));
        }
        if let Some(root) = settings_dir {
            return Ok(at(root, Origin::Config));
        }
        if let Some(root) = environment.and_then(service_directory) {
            return Ok(at(&root, Origin::Environment));
        }
        if let Some(root) = read_pointer(common_dir)? {
            return Ok(at(&root, Origin::Pointer));
        }
        Ok(at(&common_dir.join(NAME), Origin::Default))
    }

    /// This directory, unless it is in a work tree: there `git add` or `git clean` would take it,
    /// and every snapshot would report it. The git directory in the work tree is no part of it.
    ///
    /// # Errors
    /// Usage, when it is in the work tree.
    pub fn outside(self, work_tree: &Path) -> PortResult<Self> {
        let (root, work_tree, common_dir) =
            (resolved(&self.root), resolved(work_tree), resolved(&self.common_dir));
        if root.starts_with(&work_tree) && !root.starts_with(&common_dir) {
            return Err(PortError::failed(format!(
                "cannot use the state directory {}: it is in the work tree {}",
                shown(&self.root),
                shown(&work_tree)
            ))
            .kind(FailureKind::Usage)
            .hint("name a directory outside it; without one it is lambda-os/ in the git directory"));
        }
        Ok(self)
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Who named it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("audit.jsonl")
    }

    /// Sequence and identity of the newest entry.
    #[must_use]
    pub fn head(&self) -> PathBuf {
        self.root.join("head")
    }

    /// Says that a torn tail was put aside and is not yet journalled.
    #[must_use]
    pub fn torn(&self) -> PathBuf {
        self.root.join("torn")
    }

    /// Large values by content.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// Where messages made elsewhere are dropped.
    #[must_use]
    pub fn inbox(&self) -> PathBuf {
        self.root.join("inbox")
    }

    /// Where the value with this identity is, in [`Self::objects`]. All identities begin alike; the
    /// two characters after that spread them.
    #[must_use]
    pub fn object(&self, cid: &Cid) -> PathBuf {
        let name = cid.to_string();
        self.objects().join(&name[8..10]).join(name)
    }

    /// The key that `init` made when nobody gave one.
    #[must_use]
    pub fn operator_key(&self) -> PathBuf {
        self.root.join("keys").join("operator")
    }

    /// Copies of what other operators show, and how asking them went.
    #[must_use]
    pub fn exchange(&self) -> PathBuf {
        self.root.join("exchange")
    }

    /// Bare mirrors of the upstreams.
    #[must_use]
    pub fn mirrors(&self) -> PathBuf {
        self.root.join("mirrors")
    }

    /// Where copies of the workspace are made, for as long as they are needed.
    #[must_use]
    pub fn candidates(&self) -> PathBuf {
        self.root.join("candidates")
    }

    /// What can be computed again.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// What keeps verified build results from being collected by Nix.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.root.join("roots")
    }

    /// NAR hashes by tree.
    #[must_use]
    pub fn nar_hashes(&self) -> PathBuf {
        self.cache().join("nar-hashes")
    }

    /// What trees of modules hold that were looked at already: a cache, lost without loss.
    #[must_use]
    pub fn contents(&self) -> PathBuf {
        self.cache().join("contents")
    }

    /// Held by the one daemon or cycle.
    #[must_use]
    pub fn daemon_lock(&self) -> PathBuf {
        self.root.join("daemon.lock")
    }

    /// Held while an entry is appended.
    #[must_use]
    pub fn journal_lock(&self) -> PathBuf {
        self.root.join("journal.lock")
    }

    /// The version of the layout.
    #[must_use]
    pub fn layout(&self) -> PathBuf {
        self.root.join("layout")
    }

    /// True when there is a state directory.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.root.is_dir()
    }

    /// Refuse a layout that is newer than this program. A missing directory or file is fine.
    ///
    /// # Errors
    /// When the layout is newer, or the file is not one.
    pub fn check_layout(&self) -> PortResult<()> {
        let path = self.layout();
        let shown = shown(&path);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(durable::port_error(format!("cannot read {shown}"), error)),
        };
        let layout: Layout = serde_json::from_slice(&bytes).map_err(|error| {
            PortError::failed(format!("cannot read {shown}: it is not a layout file")).because(error)
        })?;
        if layout.v > LAYOUT_VERSION {
            return Err(PortError::failed(format!(
                "cannot use the state directory {}: it has layout version {}, and this program knows up to {LAYOUT_VERSION}",
                self::shown(&self.root),
                layout.v
            ))
            .hint("use the newer lambda-os that wrote it; nothing was changed"));
        }
        Ok(())
    }

    /// Make the directory for a writer, and check that it can be one: rights 0700, a layout
    /// that is known, `objects/` and `cache/`.
    ///
    /// # Errors
    /// When it cannot be made or written, or has a newer layout.
    pub fn prepare(&self) -> PortResult<()> {
        self.prepare_on(&RealDisk)
    }

    /// As [`prepare`](Self::prepare), on a given disk.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn prepare_on(&self, disk: &dyn Disk) -> PortResult<()> {
        self.check_layout()?;
        let failed = |what: &Path, error| {
            durable::port_error(format!("cannot make the directory {}", shown(what)), error)
        };
        if !self.root.is_dir() {
            if let Some(parent) = self.root.parent() {
                std::fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
            }
            disk.create_dir(&self.root).map_err(|error| failed(&self.root, error))?;
            if let Some(parent) = self.root.parent() {
                disk.sync_dir(parent).map_err(|error| failed(parent, error))?;
            }
        }
        for directory in [self.objects(), self.cache()] {
            if !directory.is_dir() {
                disk.create_dir(&directory).map_err(|error| failed(&directory, error))?;
                disk.sync_dir(&self.root).map_err(|error| failed(&self.root, error))?;
            }
        }
        if !self.layout().exists() {
            let layout = Layout { format: "lambda-os/state".to_owned(), v: LAYOUT_VERSION };
            let said = serde_json::json!(layout).to_string() + "\n";
            durable::write_file(disk, &self.layout(), said.as_bytes(), Durability::Synced).map_err(
                |error| durable::port_error(format!("cannot write {}", shown(&self.layout())), error.into()),
            )?;
        }
        if self.origin == Origin::Environment {
            // A service may not write to the workspace; then the CLI needs the same configuration.
            let _ = self.write_pointer();
        }
        Ok(())
    }

    /// Leave the pointer by which the CLI finds this directory from the git common directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_pointer(&self) -> PortResult<()> {
        let pointer = pointer_path(&self.common_dir);
        let failed = |error| durable::port_error(format!("cannot write {}", shown(&pointer)), error);
        let root = std::path::absolute(&self.root).map_err(failed)?;
        let mut line = root.as_os_str().as_bytes().to_vec();
        line.push(b'\n');
        if std::fs::read(&pointer).is_ok_and(|old| old == line) {
            return Ok(());
        }
        RealDisk.create_dir(&self.common_dir.join(NAME)).map_err(failed)?;
        durable::write_file(&RealDisk, &pointer, &line, Durability::Synced)
            .map_err(|error| failed(error.into()))
    }
}

/// A path without symlinks and dots, as far as it exists; what does not exist yet is kept.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for existing in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (existing.canonicalize(), path.strip_prefix(existing)) {
            return real.join(rest);
        }
    }
    path
}

fn shown(path: &Path) -> String {
    text::git_quoted(path.as_os_str().as_bytes())
}

fn pointer_path(common_dir: &Path) -> PathBuf {
    common_dir.join(NAME).join("state-dir")
}

/// `$STATE_DIRECTORY` may be a colon-separated list (systemd.exec(5)): ours is the one that
/// bears our name, else the first.
fn service_directory(list: &OsStr) -> Option<PathBuf> {
    let mut paths = list
        .as_bytes()
        .split(|byte| *byte == b':')
        .filter(|path| !path.is_empty())
        .map(|path| PathBuf::from(OsStr::from_bytes(path)))
        .peekable();
    let first = paths.peek().cloned();
    paths.find(|path| path.file_name() == Some(OsStr::new(NAME))).or(first)
}

/// The state directory that a pointer file names. It must be one already: a repository that came
/// with a pointer of its own cannot make us write into any other directory.
fn read_pointer(common_dir: &Path) -> PortResult<Option<PathBuf>> {
    let pointer = pointer_path(common_dir);
    let bytes = match std::fs::read(&pointer) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(durable::port_error(format!("cannot read {}", shown(&pointer)), error)),
    };
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let root = PathBuf::from(OsStr::from_bytes(line));
    let wrong = |why: &str| {
        PortError::failed(format!("cannot follow {} to {}: {why}", shown(&pointer), text::git_quoted(line)))
            .hint("give the right directory with --state-dir, or remove the pointer file")
    };
    if !root.is_absolute() || line.contains(&b'\n') {
        return Err(wrong("it is not an absolute path"));
    }
    match std::fs::metadata(root.join("layout")) {
        Ok(found) if found.is_file() => Ok(Some(root)),
        Ok(_) => Err(wrong("that is not a state directory")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(wrong("this user may not read it").because(error))
        }
        Err(error) => Err(wrong("there is no state directory").because(error)),
    }
}
