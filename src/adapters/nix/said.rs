//! What Nix says when it fails, and who is to blame: the module, what is not at hand, or the machine.
//!
//! Nix has one kind of error, and its words are all there is. They are read on the careful side:
//! what may be about the machine or the network says nothing of the module.

use crate::domain::text;

/// The longest complaint that is kept, characters.
const MAX: usize = 500;

/// What a complaint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// What was asked for.
    Module,
    /// A source that could not be fetched.
    Fetching,
    /// The machine: disk, rights, a daemon that does not answer.
    Machine,
    /// The bound on memory.
    Memory,
}

/// The last error in what Nix said, inert and short.
pub(super) fn complaint(stderr: &[u8]) -> String {
    let said = String::from_utf8_lossy(stderr);
    let plain = without_colours(&said);
    let from = plain.rfind("error:").map_or(0, |at| at + "error:".len());
    let said = plain[from..].replace("(use '--show-trace' to show detailed location information)", "");
    let words: Vec<&str> = said.split_whitespace().collect();
    let said = text::clipped(&text::inert(&words.join(" ")), MAX);
    if said.is_empty() { "it said nothing".to_owned() } else { said }
}

/// Without escape sequences for colours.
pub(super) fn without_colours(said: &str) -> String {
    let mut parts = said.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        let colour = part.strip_prefix('[').and_then(|part| part.split_once('m'));
        match colour.filter(|(code, _)| code.bytes().all(|byte| byte.is_ascii_digit() || byte == b';')) {
            Some((_, rest)) => plain + rest,
            None => plain + "\u{1b}" + part,
        }
    })
}

/// Who a complaint blames.
pub(super) fn blame(complaint: &str) -> Blame {
    const MEMORY: [&str; 3] = ["out of memory", "bad_alloc", "cannot allocate memory"];
    const FETCHING: [&str; 14] = [
        "unable to download",
        "failed to open archive",
        "failed to fetch",
        "cannot fetch",
        "while fetching",
        "resolve host",
        "couldn't connect",
        "could not connect to server",
        "failed to connect",
        "unsupported proxy",
        "program 'git' failed",
        "program git failed",
        "program 'hg' failed",
        "not allowed to fetch",
    ];
    const MACHINE: [&str; 16] = [
        "cannot connect to",
        "cannot open connection to",
        "nix daemon disconnected",
        "no space left on device",
        "disk quota exceeded",
        "read-only file system",
        "permission denied",
        "operation not permitted",
        "too many open files",
        "resource temporarily unavailable",
        "input/output error",
        "database is busy",
        "database is locked",
        "opening lock file",
        "cannot open sqlite database",
        "unable to start any build",
    ];
    let said = complaint.to_lowercase();
    let says = |all: &[&str]| all.iter().any(|words| said.contains(words));
    if says(&MEMORY) {
        Blame::Memory
    } else if says(&FETCHING) {
        Blame::Fetching
    } else if says(&MACHINE) {
        Blame::Machine
    } else {
        Blame::Module
    }
}

/// What is wrong with the machine, in words of Nix about one build: no sandbox could be made, or no
/// machine builds for this system.
pub(super) fn unbuildable_here(complaint: &str) -> bool {
    let said = complaint.to_lowercase();
    [
        "kernel namespaces",
        "setting up a private mount namespace",
        "setting up the build environment",
        "is required to build",
        "required system",
    ]
    .iter()
    .any(|words| said.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_the_complaint_in_either_layout() {
        let old = "warning: x\nerror: no such\n       thing\n(use '--show-trace' to show detailed location information)\n";
        assert_eq!(complaint(old.as_bytes()), "no such thing");
        let new = "error:\n       … while calling the 'seq' builtin\n         at «string»:7:21:\n\n       error: no such\n       thing\n";
        assert_eq!(complaint(new.as_bytes()), "no such thing");
        assert_eq!(complaint(b"\x1b[31;1merror:\x1b[0m a \x1b[35;1mb\x1b[0m"), "a b");
        assert_eq!(complaint(b"error: \x1b]0;owned\x07"), text::inert("\u{1b}]0;owned\u{7}"));
        assert_eq!(complaint(b""), "it said nothing");
    }

    #[test]
    fn blame_goes_to_the_machine_or_the_network_where_it_may() {
        for (said, expected) in [
            ("attribute 'x' missing", Blame::Module),
            ("infinite recursion encountered", Blame::Module),
            (
                "cannot build '/nix/store/x.drv' during evaluation because the option 'allow-import-from-derivation' is disabled",
                Blame::Module,
            ),
            ("unable to download 'https://github.com/o/r': Couldn't resolve host name (6)", Blame::Fetching),
            ("program 'git' failed with exit code 128", Blame::Fetching),
            (
                "cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused",
                Blame::Machine,
            ),
            ("writing to file: No space left on device", Blame::Machine),
            ("out of memory", Blame::Memory),
        ] {
            assert_eq!(blame(said), expected, "{said}");
        }
    }
}
