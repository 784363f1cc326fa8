//! The sockets of loaded modules, in the `/tmp` of a sandbox.
//!
//! A host registers a module at `/tmp/logos_<name>_<instance>`. What stands there is made by code
//! that is not trusted: a name is followed nowhere (a link could lead to a socket of the machine's),
//! and connecting never waits (a listener that accepts nothing could hold whoever asks).

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// Most entries of the directory that are looked at.
const MOST: usize = 4096;

/// What every socket's name begins with.
const PREFIX: &[u8] = b"logos_";

/// The name of a socket of `module` that accepts connections; `None` when there is none. `among`
/// are the names of all modules that sockets may be of: `logos_a_b_1` is one of `a_b` where there is such.
pub(super) fn listening(tmp: &Path, module: &str, among: &[String]) -> Option<String> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = openat(CWD, tmp, flags, Mode::empty()).ok()?;
    let entries = Dir::read_from(&dir).ok()?;
    for entry in entries.take(MOST) {
        let Ok(entry) = entry else { return None };
        let name = entry.file_name().to_bytes();
        if is_of(name, module, among) && accepts(&dir, name) {
            return Some(String::from_utf8_lossy(name).into_owned());
        }
    }
    None
}

/// True for the name of a socket of this module: of all the names that it can begin with, the longest.
fn is_of(name: &[u8], module: &str, among: &[String]) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let begins = |with: &str| {
        rest.strip_prefix(with.as_bytes())
            .is_some_and(|rest| rest.strip_prefix(b"_").is_some_and(|instance| !instance.is_empty()))
    };
    begins(module) && !among.iter().any(|other| other.len() > module.len() && begins(other))
}

/// True when something listens at this very entry.
fn accepts(dir: &OwnedFd, name: &[u8]) -> bool {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(entry) = openat(dir, OsStr::from_bytes(name), flags, Mode::empty()) else { return false };
    let is_socket = fstat(&entry).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    is_socket && connects(entry.as_fd().as_raw_fd())
}

/// Connect through the descriptor: the entry cannot be changed for another in between, and the
/// path is short enough for an address, however long that of the sandbox is.
fn connects(entry: i32) -> bool {
    let path = format!("/proc/self/fd/{entry}");
    let Ok(address) = SocketAddrUnix::new(path.as_str()) else { return false };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let Ok(ours) = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None) else { return false };
    connect(&ours, &address).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_counts_for_the_module_with_the_longest_name() {
        let among = ["a".to_owned(), "a_b".to_owned()];
        assert!(is_of(b"logos_a_1", "a", &among));
        assert!(is_of(b"logos_a_b_1", "a_b", &among));
        assert!(!is_of(b"logos_a_b_1", "a", &among));
        assert!(is_of(b"logos_a_b_1", "a", &["a".to_owned()]));
        assert!(!is_of(b"logos_a", "a", &among));
        assert!(!is_of(b"logos_a_", "a", &among));
        assert!(!is_of(b"logos_ab_1", "a", &among));
    }

    #[test]
    fn only_a_socket_that_listens_is_a_sign() {
        let temp = tempfile::tempdir().expect("a directory");
        let found = |name: &str| listening(temp.path(), name, &[]);
        std::fs::write(temp.path().join("logos_file_1"), b"").expect("a file");
        assert_eq!(found("file"), None);
        drop(UnixListener::bind(temp.path().join("logos_dead_1")).expect("a socket"));
        assert_eq!(found("dead"), None);
        let elsewhere = tempfile::tempdir().expect("a directory");
        let _real = UnixListener::bind(elsewhere.path().join("s")).expect("a socket");
        let link = temp.path().join("logos_link_1");
        std::os::unix::fs::symlink(elsewhere.path().join("s"), link).expect("a link");
        assert_eq!(found("link"), None);
        let _listens = UnixListener::bind(temp.path().join("logos_up_7")).expect("a socket");
        assert_eq!(found("up").as_deref(), Some("logos_up_7"));
        assert_eq!(listening(Path::new("/nonexistent"), "up", &[]), None);
    }

    #[test]
    fn a_listener_that_accepts_nothing_holds_nobody() {
        let temp = tempfile::tempdir().expect("a directory");
        let _listens = UnixListener::bind(temp.path().join("logos_full_1")).expect("a socket");
        let clients: Vec<_> = (0..5000).map(|_| listening(temp.path(), "full", &[])).collect();
        // Each of ours is closed again and still waits in its queue: once that is full, no sign.
        assert!(clients[0].is_some());
    }
}
