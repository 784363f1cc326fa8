//! Which file is the configuration, and reading it.
//!
//! In order: `--config`, `$LAMBDA_OS_CONFIG`, `/etc/lambda-os/config.toml`,
//! `lambda-os/config.toml` in the superproject's git common directory; the first that is named
//! or exists is the only one read. No file at all gives the defaults.
#![expect(clippy::disallowed_methods, reason = "this is where the environment and the file are read")]

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::checked::Settings;
use crate::domain::text;
use crate::ports::{FailureKind, PortError, PortResult};

/// The system's configuration.
pub const SYSTEM_FILE: &str = "/etc/lambda-os/config.toml";

/// A workspace's own configuration, in its git common directory.
pub const WORKSPACE_FILE: &str = "lambda-os/config.toml";

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// How a configuration file was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `--config`, or the argument of `config check`.
    Explicit(PathBuf),
    /// `$LAMBDA_OS_CONFIG`.
    Environment(PathBuf),
    /// [`SYSTEM_FILE`].
    System(PathBuf),
    /// [`WORKSPACE_FILE`] in the git common directory.
    Workspace(PathBuf),
    /// There is none.
    Defaults,
}

impl Source {
    /// The file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Explicit(path) | Self::Environment(path) | Self::System(path) | Self::Workspace(path) => {
                Some(path)
            }
            Self::Defaults => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self {
            Self::Explicit(_) => "as asked",
            Self::Environment(_) => "from $LAMBDA_OS_CONFIG",
            Self::System(_) => "the system's",
            Self::Workspace(_) => "the workspace's",
            Self::Defaults => return f.write_str("no configuration file: defaults"),
        };
        write!(f, "{} ({how})", shown(self.path().unwrap_or(Path::new(""))))
    }
}

fn shown(path: &Path) -> String {
    text::inert_bytes(path.as_os_str().as_encoded_bytes())
}

/// Which file it is. Files that somebody named are taken without looking; the two usual places
/// only when something is there.
#[must_use]
pub fn resolve(explicit: Option<&Path>, common_dir: Option<&Path>) -> Source {
    choose(
        explicit,
        std::env::var_os("LAMBDA_OS_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from),
        Path::new(SYSTEM_FILE),
        common_dir,
    )
}

fn choose(
    explicit: Option<&Path>,
    environment: Option<PathBuf>,
    system: &Path,
    common_dir: Option<&Path>,
) -> Source {
    if let Some(path) = explicit {
        return Source::Explicit(path.to_owned());
    }
    if let Some(path) = environment {
        return Source::Environment(path);
    }
    // "Is there" and not "is readable": an unreadable configuration is an error, not a default.
    if system.symlink_metadata().is_ok() {
        return Source::System(system.to_owned());
    }
    match common_dir.map(|dir| dir.join(WORKSPACE_FILE)) {
        Some(path) if path.symlink_metadata().is_ok() => Source::Workspace(path),
        _ => Source::Defaults,
    }
}

/// The settings in force for a workspace with this git common directory.
///
/// # Errors
/// [`FailureKind::Usage`] with every problem of the file, each with its place; a plain failure
/// when the file cannot be read.
pub fn load(explicit: Option<&Path>, common_dir: Option<&Path>) -> PortResult<Settings> {
    from_source(resolve(explicit, common_dir))
}

/// The settings of the workspace's own file alone, else the defaults: for a workspace that is
/// not the one which the system's file or `$LAMBDA_OS_CONFIG` is for.
///
/// # Errors
/// As [`load`].
pub fn workspace_only(common_dir: &Path) -> PortResult<Settings> {
    let path = common_dir.join(WORKSPACE_FILE);
    let source = if path.symlink_metadata().is_ok() { Source::Workspace(path) } else { Source::Defaults };
    from_source(source)
}

/// The settings of a chosen file.
///
/// # Errors
/// As [`load`].
pub fn from_source(source: Source) -> PortResult<Settings> {
    let Some(path) = source.path() else {
        return Ok(Settings::default());
    };
    let written = read(&source, path)?;
    let name = shown(path);
    Settings::parse(&written, source).map_err(|problems| {
        let count = problems.0.len();
        let what = if count == 1 { "a problem".to_owned() } else { format!("{count} problems") };
        PortError::failed(format!("the configuration {name} has {what}"))
            .kind(FailureKind::Usage)
            .because(problems)
            .hint(format!("mend it, then: lambda-os config check {name}"))
    })
}

fn read(source: &Source, path: &Path) -> PortResult<String> {
    let failed = |kind| {
        PortError::failed(format!("cannot read the configuration {}", shown(path)))
            .kind(kind)
            .hint("name another with --config FILE; see: lambda-os config schema")
    };
    let file = open(source, path).map_err(|error| {
        let named = matches!(source, Source::Explicit(_) | Source::Environment(_));
        let kind = if named && error.kind() == ErrorKind::NotFound {
            FailureKind::Usage
        } else {
            FailureKind::Failed
        };
        failed(kind).because(error)
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(FailureKind::Failed).because(error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(failed(FailureKind::Usage).because("it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
        failed(FailureKind::Usage).because(format!("line {line} is not UTF-8"))
    })
}

/// A file that was found rather than named must be one that only its owner, who is this user or
/// root, could have written, as git asks of a repository's own configuration.
fn open(source: &Source, path: &Path) -> std::io::Result<File> {
    let refused = |why: &str| std::io::Error::new(ErrorKind::PermissionDenied, why.to_owned());
    if matches!(source, Source::Explicit(_) | Source::Environment(_)) {
        let file = File::open(path)?;
        return if file.metadata()?.is_dir() { Err(ErrorKind::IsADirectory.into()) } else { Ok(file) };
    }
    // Before opening: a FIFO that was put there would make `open` wait for ever.
    if !path.metadata()?.is_file() {
        return Err(refused("it is not a regular file"));
    }
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused("it belongs to another user"));
    }
    if meta.mode() & 0o002 != 0 {
        return Err(refused("every user may write it"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_named_or_exists_is_taken() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (system, common) = (dir.path().join("system.toml"), dir.path().join("git"));
        let pick = |explicit: Option<&str>, environment: Option<&str>| {
            choose(explicit.map(Path::new), environment.map(PathBuf::from), &system, Some(&common))
        };
        assert_eq!(pick(None, None), Source::Defaults);
        std::fs::create_dir_all(common.join("lambda-os")).expect("dir");
        std::fs::write(common.join(WORKSPACE_FILE), "").expect("file");
        assert_eq!(pick(None, None), Source::Workspace(common.join(WORKSPACE_FILE)));
        std::fs::write(&system, "").expect("file");
        assert_eq!(pick(None, None), Source::System(system.clone()));
        assert_eq!(pick(None, Some("/e")), Source::Environment("/e".into()));
        assert_eq!(pick(Some("/x"), Some("/e")), Source::Explicit("/x".into()));
    }

    #[test]
    fn a_file_that_was_found_and_that_anybody_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("config.toml");
        std::fs::write(&path, "").expect("file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("mode");
        let error = from_source(Source::Workspace(path.clone())).expect_err("refused");
        assert!(format!("{:?}", error.source).contains("every user may write it"));
        from_source(Source::Explicit(path.clone())).expect("a named file is the operator's choice");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("mode");
        from_source(Source::Workspace(path)).expect("right");
    }

    #[test]
    fn a_named_file_that_is_absent_is_wrong_usage() {
        let error = from_source(Source::Explicit("/nonexistent/c.toml".into())).expect_err("absent");
        assert_eq!(error.kind, FailureKind::Usage);
    }

    #[test]
    fn all_problems_stand_in_the_cause() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("config.toml");
        std::fs::write(&path, "a = 1\nb = 2\n").expect("file");
        let error = from_source(Source::Explicit(path)).expect_err("wrong");
        assert_eq!(error.kind, FailureKind::Usage);
        assert!(error.attempted.ends_with("has 2 problems"), "{}", error.attempted);
        assert!(error.source.expect("cause").to_string().contains("line 2, column 1: unknown key b"));
    }
}
