//! The outer walls where bubblewrap can be had: what the program's world consists of.
//!
//! A root of its own in memory, read-only: the system's programs and libraries, the Nix store, what
//! the profile names, each at its own path; a fresh `/dev`, `/proc` of its own pid namespace, and a
//! bounded `/tmp` and `/dev/shm` in memory, which end with it. No network but its own loopback.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::profile::Profile;

/// Where the keeper's program is seen inside.
pub(super) const KEEPER_INSIDE: &str = "/run/lambda-os-keeper";

/// Where the private temporary directory is, inside.
pub(super) const TMP_INSIDE: &str = "/tmp";

/// Where memory can be shared, inside.
pub(super) const SHM_INSIDE: &str = "/dev/shm";

/// Directories that programs of the system are made of.
const SYSTEM: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/run/current-system/sw"];

/// Files and directories of `/etc` that libraries look for, none of which holds a secret.
const ETC: [&str; 14] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/services",
    "/etc/mime.types",
    "/etc/localtime",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
];

/// What of the system is there: directories to show, and links to make (where, target).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct System {
    pub(super) shown: Vec<PathBuf>,
    pub(super) links: Vec<(PathBuf, PathBuf)>,
}

impl System {
    /// Look.
    pub(super) fn find() -> Self {
        let mut system = Self::default();
        for path in SYSTEM.into_iter().chain(ETC).map(PathBuf::from) {
            match std::fs::read_link(&path) {
                // `/bin` is `usr/bin` nearly everywhere; a link to elsewhere is shown as what it leads to.
                Ok(target) if target.is_relative() && path.parent() == Some(Path::new("/")) => {
                    system.links.push((path, target));
                }
                _ if path.exists() => system.shown.push(path),
                _ => {}
            }
        }
        system
    }

    /// True for what is seen already because the system is.
    fn shows(&self, path: &Path) -> bool {
        self.shown.iter().any(|shown| path.starts_with(shown))
            || self.links.iter().any(|(link, _)| path.starts_with(link))
    }
}

/// How bubblewrap is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Manner {
    /// A user namespace of its own; root needs none, and becomes nobody inside.
    pub(super) user_namespace: bool,
    /// A `/proc` of its own; not to be had where parts of the machine's are covered.
    pub(super) proc: bool,
}

/// What the program may see beside the system: at which path, and whether it may write there.
pub(super) fn binds(system: &System, profile: &Profile) -> Result<Vec<(PathBuf, PathBuf, bool)>, String> {
    let mut binds: Vec<(PathBuf, PathBuf, bool)> = Vec::new();
    let wanted = profile.read.iter().map(|it| (it, false)).chain(profile.write.iter().map(|it| (it, true)));
    for (path, writable) in wanted {
        let real = match std::fs::canonicalize(path) {
            Ok(real) => real,
            Err(_) if !writable => continue,
            Err(error) => return Err(format!("{} cannot be written: {error}", path.display())),
        };
        if real == Path::new("/") || (writable && system.shows(&real)) {
            return Err(format!("{} is not to be given to a program", path.display()));
        }
        let seen = |binds: &[(PathBuf, PathBuf, bool)], path: &Path| {
            system.shows(path) || binds.iter().any(|(_, at, rw)| *rw == writable && path.starts_with(at))
        };
        if !seen(&binds, &real) {
            binds.push((real.clone(), real.clone(), writable));
        }
        // Its own name too, where that leads through links that are not seen inside.
        if *path != real && path.is_absolute() && !seen(&binds, path) {
            binds.push((real, path.clone(), writable));
        }
    }
    // What is inside something else comes after it.
    binds.sort_by(|left, right| left.1.cmp(&right.1));
    Ok(binds)
}

/// Directories above what is shown. Bubblewrap would make them too, for their owner alone.
#[derive(Default)]
struct Parents {
    directories: Vec<PathBuf>,
    there: Vec<PathBuf>,
}

impl Parents {
    /// Those above a path that are to be made, outermost first.
    fn missing(&mut self, path: &Path) -> Vec<PathBuf> {
        let mut missing: Vec<PathBuf> = path
            .ancestors()
            .skip(1)
            .filter(|parent| *parent != Path::new("/") && !self.directories.iter().any(|it| it == parent))
            .filter(|parent| !self.there.iter().any(|shown| parent.starts_with(shown)))
            .map(Path::to_owned)
            .collect();
        missing.reverse();
        self.directories.extend(missing.iter().cloned());
        missing
    }
}

/// The arguments that make the world and start the keeper in it.
pub(super) fn arguments(
    system: &System,
    manner: Manner,
    binds: &[(PathBuf, PathBuf, bool)],
    keeper: &Path,
    verb: &str,
    tmp_bytes: u64,
) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut say = |words: &[&dyn AsRef<std::ffi::OsStr>]| {
        args.extend(words.iter().map(|word| word.as_ref().to_owned()));
    };
    say(&[&"--unshare-pid", &"--unshare-ipc", &"--unshare-uts", &"--unshare-net", &"--unshare-cgroup-try"]);
    say(&[&"--hostname", &"sandbox", &"--die-with-parent", &"--new-session", &"--as-pid-1"]);
    say(&[&"--cap-drop", &"ALL"]);
    if manner.user_namespace {
        say(&[&"--unshare-user"]);
    } else {
        // For the keeper alone, which gives its directories to the user that the program becomes.
        for capability in ["CAP_SETUID", "CAP_SETGID", "CAP_CHOWN"] {
            say(&[&"--cap-add", &capability]);
        }
    }
    let mut made = Parents::default();
    for path in &system.shown {
        for parent in made.missing(path) {
            say(&[&"--perms", &"0755", &"--dir", &parent]);
        }
        say(&[&"--ro-bind", path, path]);
        made.there.push(path.clone());
    }
    for (link, target) in &system.links {
        say(&[&"--symlink", target, link]);
    }
    if manner.proc {
        say(&[&"--proc", &"/proc"]);
    }
    let size = tmp_bytes.to_string();
    say(&[&"--dev", &"/dev"]);
    say(&[&"--perms", &"1777", &"--size", &size, &"--tmpfs", &SHM_INSIDE]);
    say(&[&"--perms", &"1777", &"--size", &size, &"--tmpfs", &TMP_INSIDE]);
    say(&[&"--dir", &"/var", &"--symlink", &"/tmp", &"/var/tmp"]);
    made.there.extend(system.links.iter().map(|(link, _)| link.clone()));
    made.directories.extend(["/proc", "/dev", "/tmp", "/var"].map(PathBuf::from));
    for parent in made.missing(Path::new(KEEPER_INSIDE)) {
        say(&[&"--perms", &"0755", &"--dir", &parent]);
    }
    say(&[&"--ro-bind", &keeper, &KEEPER_INSIDE]);
    for (from, at, writable) in binds {
        for parent in made.missing(at) {
            say(&[&"--perms", &"0755", &"--dir", &parent]);
        }
        made.there.push(at.clone());
        say(&[if *writable { &"--bind" } else { &"--ro-bind" }, from, at]);
    }
    // The two that bubblewrap itself made; whoever owns them could fill them.
    say(&[&"--remount-ro", &"/dev", &"--remount-ro", &"/"]);
    say(&[&"--chdir", &"/", &"--", &KEEPER_INSIDE, &verb]);
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::sandbox::Limits;

    fn system() -> System {
        System { shown: vec!["/usr".into()], links: vec![("/bin".into(), "usr/bin".into())] }
    }

    #[test]
    fn what_is_asked_for_is_seen_once_at_its_own_path() {
        let temp = tempfile::tempdir().expect("a directory");
        let root = temp.path().canonicalize().expect("it is there");
        std::fs::create_dir_all(root.join("a/b")).expect("made");
        std::os::unix::fs::symlink(root.join("a"), root.join("link")).expect("made");
        let profile = Profile::new(Limits::default())
            .read(root.join("a"))
            .read(root.join("a/b"))
            .read(root.join("link"))
            .read(root.join("missing"))
            .read("/usr/share")
            .read("/bin/sh");
        let binds = binds(&system(), &profile).expect("fine");
        let at = |name: &str| root.join(name);
        assert_eq!(binds, [(at("a"), at("a"), false), (at("a"), at("link"), false)]);
    }

    #[test]
    fn the_system_and_the_root_are_given_to_nobody() {
        for profile in [
            Profile::new(Limits::default()).read("/"),
            Profile::new(Limits::default()).write("/"),
            Profile::new(Limits::default()).write("/usr/share"),
            Profile::new(Limits::default()).write("/does/not/exist"),
        ] {
            assert!(binds(&system(), &profile).is_err());
        }
    }
}
