//! git's configuration, read and never obeyed beyond what reading a work tree needs.
//!
//! Files are parsed by `gix-config`; includes are followed here, so that an included FIFO or
//! device cannot hold us. `hasconfig:` conditions are not evaluated. No value is ever run.

use std::ffi::{CStr, OsStr};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix_config::file::Metadata;
use gix_config::file::init::Options;
use rustix::fs::OFlags;

use super::files::{self, MAX_TEXT, Read, Trouble};

/// How deep includes may nest, as in git's `config.c`.
const MAX_INCLUDES: u8 = 10;

/// Where the operator's own files are. Taken from the process once, so that tests can have their own.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The home directory.
    pub home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    pub xdg_config: Option<PathBuf>,
    /// Configuration files of system and user, weakest first.
    pub config_files: Vec<PathBuf>,
    /// System-wide attributes.
    pub system_attributes: Option<PathBuf>,
    /// The user who called `sudo`, whose repositories root may read (git's `safe.directory`).
    pub sudo_uid: Option<u32>,
}

impl Environment {
    /// As git would find them: `GIT_CONFIG_SYSTEM`, `GIT_CONFIG_GLOBAL`, `GIT_CONFIG_NOSYSTEM`
    /// say where they are; no other `GIT_*` variable is looked at.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "an adapter may read the environment")]
    pub fn of_process() -> Self {
        let path = |key: &str| std::env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = path("HOME");
        let xdg_config = path("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        let no_system = std::env::var("GIT_CONFIG_NOSYSTEM")
            .is_ok_and(|value| boolean(Some(value.as_bytes())) == Some(true));
        let mut config_files = Vec::new();
        if !no_system {
            config_files.push(path("GIT_CONFIG_SYSTEM").unwrap_or_else(|| "/etc/gitconfig".into()));
        }
        if let Some(global) = std::env::var_os("GIT_CONFIG_GLOBAL") {
            config_files.push(global.into());
        } else {
            config_files.extend(xdg_config.as_ref().map(|dir| dir.join("git/config")));
            config_files.extend(home.as_ref().map(|dir| dir.join(".gitconfig")));
        }
        let sudo_uid = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
        Self {
            home,
            xdg_config,
            config_files,
            system_attributes: (!no_system).then(|| "/etc/gitattributes".into()),
            sudo_uid,
        }
    }
}

/// One variable.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    /// Lower-case.
    section: Vec<u8>,
    subsection: Option<Vec<u8>>,
    /// Lower-case.
    key: Vec<u8>,
    /// `None` for `key` without `=`.
    value: Option<Vec<u8>>,
}

/// All variables in the order in which git would see them: the last one wins.
#[derive(Debug, Clone, Default)]
pub(super) struct Config {
    /// Weaker than all of `variables`, and the same for many repositories.
    shared: Arc<Vec<Variable>>,
    variables: Vec<Variable>,
    /// True when a condition was evaluated: the result is only good for one repository.
    conditional: bool,
}

/// What conditional includes depend on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Conditions<'a> {
    pub(super) git_dir: Option<&'a Path>,
    pub(super) branch: Option<&'a str>,
}

impl Config {
    /// The system's and the user's files.
    pub(super) fn of_operator(environment: &Environment, conditions: Conditions<'_>) -> Read<Self> {
        let mut config = Self::default();
        for file in &environment.config_files {
            config.add(file, environment, conditions, 0)?;
        }
        config.shared = Arc::new(std::mem::take(&mut config.variables));
        Ok(config)
    }

    /// A configuration that starts with these variables, which are not copied.
    pub(super) fn inherited(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), variables: Vec::new(), conditional: self.conditional }
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = &Variable> {
        self.shared.iter().chain(&self.variables)
    }

    /// True when another repository may have to read the files again.
    pub(super) fn is_conditional(&self) -> bool {
        self.conditional
    }

    /// These variables and then those of one more file, `name` in an open directory; an absent
    /// file has none. `file` is the same file's path.
    pub(super) fn add_at(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        file: &Path,
        environment: &Environment,
        conditions: Conditions<'_>,
    ) -> Read<()> {
        match files::read_at(dir, name, OFlags::empty(), MAX_TEXT) {
            Ok(Some(bytes)) => self.add_content(&bytes, file, environment, conditions, 0),
            Ok(None) => Ok(()),
            Err(error) => Err(Trouble::with("read", file, error)),
        }
    }

    /// As [`Self::add_at`], by path.
    fn add(
        &mut self,
        file: &Path,
        environment: &Environment,
        conditions: Conditions<'_>,
        depth: u8,
    ) -> Read<()> {
        if depth > MAX_INCLUDES {
            return Err(Trouble::with("follow the includes of", file, "they nest too deep"));
        }
        match files::read(file, MAX_TEXT)? {
            Some(bytes) => self.add_content(&bytes, file, environment, conditions, depth),
            None => Ok(()),
        }
    }

    fn add_content(
        &mut self,
        bytes: &[u8],
        file: &Path,
        environment: &Environment,
        conditions: Conditions<'_>,
        depth: u8,
    ) -> Read<()> {
        let options = Options { lossy: true, ..Options::default() };
        let metadata = Metadata::from(gix_config::Source::Local);
        let parsed = gix_config::File::from_bytes_no_includes(bytes, metadata, options).map_err(|error| {
            Trouble::with("parse", file, format!("{error:#}").lines().next().unwrap_or(""))
        })?;
        for section in parsed.sections() {
            let header = section.header();
            let name = header.name().to_ascii_lowercase();
            let subsection = header.subsection_name().map(|name| name.to_vec());
            let mut keys: Vec<String> = Vec::new();
            for key in section.value_names() {
                let key = key.to_ascii_lowercase();
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            for key in keys {
                let implicit = section.value_implicit(&key) == Some(None);
                let mut values: Vec<_> =
                    section.values(&key).into_iter().map(|value| Some(value.to_vec())).collect();
                if implicit {
                    values.retain(|value| value.as_ref().is_some_and(|value| !value.is_empty()));
                    values.push(None);
                }
                for value in values {
                    let include = key == "path" && (name == b"include" || name == b"includeif");
                    if include {
                        self.conditional |= name == b"includeif";
                        if let Some(target) = value.as_deref()
                            && holds(subsection.as_deref(), file, environment, conditions)
                        {
                            let target = resolve(target, file, environment);
                            self.add(&target, environment, conditions, depth + 1)?;
                        }
                        continue;
                    }
                    self.variables.push(Variable {
                        section: name.clone(),
                        subsection: subsection.clone(),
                        key: key.clone().into_bytes(),
                        value,
                    });
                }
            }
        }
        Ok(())
    }

    fn last(&self, section: &str, subsection: Option<&[u8]>, key: &str) -> Option<&Variable> {
        self.all().rev().find(|variable| {
            variable.section == section.as_bytes()
                && variable.key == key.as_bytes()
                && variable.subsection.as_deref() == subsection
        })
    }

    /// A variable's value; section and key in lower case.
    pub(super) fn string(&self, section: &str, subsection: Option<&[u8]>, key: &str) -> Option<&[u8]> {
        self.last(section, subsection, key).map(|variable| variable.value.as_deref().unwrap_or_default())
    }

    /// A variable's truth; `None` when it is not set, or no boolean.
    pub(super) fn boolean(&self, section: &str, key: &str) -> Option<bool> {
        boolean(self.last(section, None, key)?.value.as_deref())
    }

    /// A variable as path: `~/` is the home directory, a relative one is relative to `base`.
    pub(super) fn path(
        &self,
        section: &str,
        key: &str,
        base: &Path,
        environment: &Environment,
    ) -> Option<PathBuf> {
        let value = self.string(section, None, key).filter(|value| !value.is_empty())?;
        Some(interpolated(value, environment).unwrap_or_else(|| base.join(OsStr::from_bytes(value))))
    }

    /// All subsections of a section that set a key, with the value that wins.
    pub(super) fn subsections(&self, section: &str, key: &str) -> Vec<(&[u8], &[u8])> {
        let mut names: Vec<&[u8]> = self
            .all()
            .filter(|variable| variable.section == section.as_bytes() && variable.key == key.as_bytes())
            .filter_map(|variable| variable.subsection.as_deref())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .filter_map(|name| self.string(section, Some(name), key).map(|value| (name, value)))
            .collect()
    }

    /// The keys set in a section without subsection, each with its last value.
    pub(super) fn keys(&self, section: &str) -> Vec<(&[u8], &[u8])> {
        self.all()
            .filter(|variable| variable.section == section.as_bytes() && variable.subsection.is_none())
            .map(|variable| (variable.key.as_slice(), variable.value.as_deref().unwrap_or_default()))
            .collect()
    }

    /// Every value of a variable, in order.
    pub(super) fn strings(&self, section: &str, key: &str) -> Vec<&[u8]> {
        self.all()
            .filter(|variable| {
                variable.section == section.as_bytes()
                    && variable.subsection.is_none()
                    && variable.key == key.as_bytes()
            })
            .map(|variable| variable.value.as_deref().unwrap_or_default())
            .collect()
    }

    /// True when any variable with this section and key exists, whatever its subsection.
    pub(super) fn has(&self, section: &str, subsection: &[u8], key: &str) -> bool {
        self.string(section, Some(subsection), key).is_some_and(|value| !value.is_empty())
    }
}

/// git's booleans (`git_parse_maybe_bool`): no value is true, an empty one is false.
fn boolean(value: Option<&[u8]>) -> Option<bool> {
    let Some(value) = value else { return Some(true) };
    let is = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
    if is("true") || is("yes") || is("on") {
        return Some(true);
    }
    if value.is_empty() || is("false") || is("no") || is("off") {
        return Some(false);
    }
    std::str::from_utf8(value).ok()?.parse::<i64>().ok().map(|number| number != 0)
}

/// `~/x` or an absolute path; `None` for a relative one. `~user/` and `%(prefix)/` are not known here.
fn interpolated(value: &[u8], environment: &Environment) -> Option<PathBuf> {
    if let (Some(rest), Some(home)) = (value.strip_prefix(b"~/"), &environment.home) {
        return Some(home.join(OsStr::from_bytes(rest)));
    }
    value.starts_with(b"/").then(|| PathBuf::from(OsStr::from_bytes(value)))
}

fn resolve(target: &[u8], file: &Path, environment: &Environment) -> PathBuf {
    interpolated(target, environment)
        .unwrap_or_else(|| file.parent().unwrap_or_else(|| Path::new("/")).join(OsStr::from_bytes(target)))
}

/// Whether a section's condition holds; `include` has none.
fn holds(
    condition: Option<&[u8]>,
    file: &Path,
    environment: &Environment,
    conditions: Conditions<'_>,
) -> bool {
    use gix_glob::wildmatch;
    use gix_glob::wildmatch::Mode;
    let Some(condition) = condition else { return true };
    let rules: [(&[u8], Mode); 2] = [(b"gitdir:", Mode::empty()), (b"gitdir/i:", Mode::IGNORE_CASE)];
    for (prefix, mode) in rules {
        if let Some(pattern) = condition.strip_prefix(prefix) {
            let Some(git_dir) = conditions.git_dir else { return false };
            let pattern = gitdir_pattern(pattern, file, environment);
            let mode = mode | Mode::NO_MATCH_SLASH_LITERAL;
            let real = git_dir.canonicalize().unwrap_or_else(|_| git_dir.to_owned());
            return [git_dir, real.as_path()]
                .iter()
                .any(|dir| wildmatch(pattern.as_slice().into(), dir.as_os_str().as_bytes().into(), mode));
        }
    }
    if let Some(pattern) = condition.strip_prefix(b"onbranch:") {
        let mut pattern = pattern.to_vec();
        if pattern.ends_with(b"/") {
            pattern.extend_from_slice(b"**");
        }
        return conditions.branch.is_some_and(|branch| {
            wildmatch(pattern.as_slice().into(), branch.as_bytes().into(), Mode::NO_MATCH_SLASH_LITERAL)
        });
    }
    false
}

/// git-config(1), "Conditional includes": `~/`, `./`, an implied `**/`, a final `/` means `/**`.
fn gitdir_pattern(pattern: &[u8], file: &Path, environment: &Environment) -> Vec<u8> {
    let mut full = if let Some(rest) = pattern.strip_prefix(b"./") {
        file.parent().unwrap_or_else(|| Path::new("/")).join(OsStr::from_bytes(rest)).into_os_string()
    } else if let Some(path) = interpolated(pattern, environment) {
        path.into_os_string()
    } else {
        Path::new("**").join(OsStr::from_bytes(pattern)).into_os_string()
    }
    .as_bytes()
    .to_vec();
    if pattern.ends_with(b"/") {
        if !full.ends_with(b"/") {
            full.push(b'/');
        }
        full.extend_from_slice(b"**");
    }
    full
}
