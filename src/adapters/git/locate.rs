//! Where a repository's git directory is, found as git finds it.
//!
//! A work tree's `.git` is a directory, or a file `gitdir: PATH`; a linked work tree's git
//! directory names the common one in `commondir`. Such names may lead anywhere: what they lead
//! to is only read.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, Stat, fstat, statat};
use rustix::io::Errno;

use super::config::{Config, Environment};
use super::files::{self, Read, Trouble, shown};
use super::gitdir::{GitDir, GitDirs};

/// What stands at `.git` in a directory.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing: no repository.
    Nothing,
    /// Something that leads to no repository: why.
    Broken(String),
    /// A repository, and who owns the `.git` that led to it.
    Repository(Box<GitDir>, Uid),
}

/// The owner of `.git` itself, a number as in `stat`.
pub(super) type Uid = u32;

/// Look at `.git` in a directory (`path` is the same directory, for names).
pub(super) fn at(dir: BorrowedFd<'_>, path: &Path) -> Found {
    let looked = statat(dir, c".git", AtFlags::SYMLINK_NOFOLLOW).and_then(|stat| {
        let link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let target = if link { statat(dir, c".git", AtFlags::empty())? } else { stat };
        Ok((stat.st_uid, FileType::from_raw_mode(target.st_mode)))
    });
    let (owner, kind) = match looked {
        Ok(looked) => looked,
        Err(Errno::NOENT) => return Found::Nothing,
        Err(error) => return Found::Broken(format!("cannot look at {}/.git: {error}", shown(path))),
    };
    let target = match kind {
        FileType::Directory => b".git".to_vec(),
        FileType::RegularFile => match gitfile(dir, path) {
            Ok(target) => target,
            Err(trouble) => return Found::Broken(trouble.0),
        },
        _ => return Found::Broken(format!("{}/.git is neither a directory nor a file", shown(path))),
    };
    match GitDir::open(dir, &target, path.join(OsStr::from_bytes(&target))) {
        Some(git) => Found::Repository(Box::new(git), owner),
        None => Found::Broken(format!("{}/.git leads to no repository", shown(path))),
    }
}

/// The target of a `.git` file (gitrepository-layout(5)).
fn gitfile(dir: BorrowedFd<'_>, path: &Path) -> Read<Vec<u8>> {
    let file = path.join(".git");
    let bytes = files::read_at(dir, c".git", OFlags::empty(), 1 << 20)
        .map_err(|error| Trouble::with("read", &file, error))?
        .unwrap_or_default();
    bytes
        .strip_prefix(b"gitdir: ")
        .map(<[u8]>::trim_ascii_end)
        .filter(|target| !target.is_empty() && !target.contains(&0))
        .map(<[u8]>::to_vec)
        .ok_or_else(|| Trouble(format!("{} does not say gitdir: PATH", shown(&file))))
}

/// The first directory at or above `start` that holds a repository's work tree.
pub(super) fn upwards(start: &Path) -> Read<(PathBuf, GitDirs)> {
    let start = start.canonicalize().map_err(|error| Trouble::with("open", start, error))?;
    for path in start.ancestors() {
        let Ok(dir) = files::open_directory_at(path) else { continue };
        match at(std::os::fd::AsFd::as_fd(&dir), path) {
            Found::Nothing => {}
            Found::Repository(git, _) => return Ok((path.to_owned(), git.dirs)),
            // git walks on when a `.git` directory is none, and stops at a broken `.git` file.
            Found::Broken(_) if path.join(".git").is_dir() => {}
            Found::Broken(why) => return Err(Trouble(why)),
        }
    }
    Err(Trouble(format!("there is no git work tree at or above {}", shown(&start))))
}

/// Why git would refuse this repository because of its owner; `None` when it would not
/// (`setup.c: ensure_valid_ownership`: work tree, `.git` file and git directory must be the
/// user's own, or `safe.directory` of the system's or the user's configuration lists it).
///
/// Nothing here is run whoever owns it. Another user's repository is refused all the same:
/// its alternates, includes and git file can name files that its owner may not read and we may.
pub(super) fn foreign_owner(
    work: &Stat,
    path: &Path,
    dot_git: Uid,
    git: &GitDir,
    environment: &Environment,
    operator: &Config,
) -> Option<String> {
    let me = rustix::process::geteuid().as_raw();
    let mine = |uid: u32| uid == me || (me == 0 && environment.sudo_uid == Some(uid));
    let owners = [Some(work.st_uid), Some(dot_git), fstat(git.fd()).ok().map(|stat| stat.st_uid)];
    let stranger = owners.into_iter().flatten().find(|uid| !mine(*uid))?;
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut safe = false;
    for value in operator.strings("safe", "directory") {
        safe = match value {
            b"" => false,
            b"*" => true,
            value => {
                let value = value.strip_prefix(b"~/").zip(environment.home.as_ref()).map_or_else(
                    || OsStr::from_bytes(value).into(),
                    |(rest, home)| home.join(OsStr::from_bytes(rest)),
                );
                match value.as_os_str().as_bytes().strip_suffix(b"/*") {
                    Some(parent) => safe || real.starts_with(OsStr::from_bytes(parent)),
                    None => safe || real == value || value.canonicalize().is_ok_and(|value| value == real),
                }
            }
        };
    }
    (!safe).then(|| {
        format!(
            "{} belongs to user {stranger}, and safe.directory does not list it, so git refuses it",
            shown(path)
        )
    })
}
