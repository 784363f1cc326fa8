//! What Nix is asked to evaluate, and how it says how far it has come.
//!
//! One expression goes through many modules, one after the other, and traces a line when it begins and
//! when it ends each: with the module's derivations as JSON. Whatever ends the run, what was done
//! before is known, and so is who it ended at. The lines begin with a mark that no module can know:
//! evaluation is pure, and cannot look at the expression that it is part of.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;

use crate::domain::flake::nar::{NarHash, store_path};
use crate::ports::Derivations;

/// The longest name of a derivation's path that is taken.
const MAX_PATH: usize = 400;

/// A string of the Nix language.
pub(super) fn string(content: &str) -> Result<String, String> {
    if content.contains(char::is_control) {
        return Err("its name holds a control character, and Nix is not asked for such things".to_owned());
    }
    Ok(format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$")))
}

/// The flake whose source is in the store under this hash, with what else is known of it
/// (`rev=…`): pure evaluation accepts it.
pub(super) fn flake(hash: &NarHash, more: &[(&str, String)]) -> String {
    let mut url = format!("path:{}?narHash={}", store_path("source", hash), encoded(&hash.to_string()));
    for (name, value) in more {
        let _ = write!(url, "&{name}={}", encoded(value));
    }
    format!("builtins.getFlake \"{url}\"")
}

/// As in the query of a URL.
fn encoded(text: &str) -> String {
    text.replace('%', "%25").replace('+', "%2B").replace('/', "%2F").replace('=', "%3D").replace('&', "%26")
}

/// What no module can guess.
pub(super) fn mark() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("@{}", HEXLOWER.encode(&bytes)))
}

/// The derivations of a flake's packages and checks, each checked to be one that Nix itself made: a
/// path that somebody wrote down as text has no context. What is not a derivation is refused, as by
/// `nix flake check`.
const DERIVATIONS: &str = r#"  path = text: builtins.unsafeDiscardStringContext text;
  checked = name: value:
    if (value.type or null) != "derivation" then throw "${name} is not a derivation"
    else if builtins.attrNames (builtins.getContext value.drvPath) != [ (path value.drvPath) ]
      || !(builtins.hasAttr (path value.drvPath) (builtins.getContext value.outPath))
    then throw "${name} names a derivation that it is not"
    else path value.drvPath;
  of = flake: kind:
    let all = flake.${kind}.${system} or { };
    in map (name: { name = "${kind}.${system}.${name}"; value = checked "${kind}.${system}.${name}" all.${name}; })
      (builtins.attrNames all);
  derivations = flake: builtins.toJSON (builtins.listToAttrs (of flake "packages" ++ of flake "checks"));
  step = before: module: builtins.seq before (builtins.trace "${mark} begin ${module.id}" (
    let found = derivations module.flake;
    in builtins.seq found (builtins.trace "${mark} end ${module.id} ${found}" null)));
"#;

/// The expression that goes through these flakes in this order. `root` is what `root` in them is.
pub(super) fn script(
    mark: &str,
    system: &str,
    root: Option<&str>,
    flakes: &[&str],
) -> Result<String, String> {
    let mut script =
        format!("let\n  mark = {};\n  system = {};\n{DERIVATIONS}", string(mark)?, string(system)?);
    let start = match root {
        Some(root) => {
            let _ = writeln!(script, "  root = {root};");
            "(builtins.trace \"${mark} root\" (builtins.seq root.inputs null))"
        }
        None => "null",
    };
    let _ = writeln!(script, "in builtins.foldl' step {start} [");
    for (id, flake) in flakes.iter().enumerate() {
        let _ = writeln!(script, "  {{ id = \"{id}\"; flake = {flake}; }}");
    }
    script.push_str("]\n");
    Ok(script)
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing of the expression yet.
    Before,
    /// The workspace's own flake.
    Root,
    /// The flake at this place.
    Flake(usize),
    /// Between flakes, or after the last.
    Between,
}

/// What one flake gave.
#[derive(Debug, Clone)]
pub(super) struct Done {
    /// Its derivations, or what is wrong with what it gave.
    pub(super) derivations: Result<Derivations, String>,
    /// What was written while it was evaluated.
    pub(super) said: Vec<u8>,
    /// How long it took.
    pub(super) duration: Duration,
}

/// Follows what a run writes to its standard error.
#[derive(Debug)]
pub(super) struct Progress {
    prefix: String,
    read: usize,
    pub(super) stage: Stage,
    /// Since when, and from which byte on.
    pub(super) since: Instant,
    pub(super) from: usize,
    pub(super) done: BTreeMap<usize, Done>,
}

impl Progress {
    pub(super) fn new(mark: &str) -> Self {
        Self {
            prefix: format!("trace: {mark} "),
            read: 0,
            stage: Stage::Before,
            since: Instant::now(),
            from: 0,
            done: BTreeMap::new(),
        }
    }

    /// Read on, whole lines only.
    pub(super) fn follow(&mut self, stderr: &[u8]) {
        while let Some(end) = stderr[self.read..].iter().position(|byte| *byte == b'\n') {
            let (begin, end) = (self.read, self.read + end);
            self.read = end + 1;
            let line = String::from_utf8_lossy(&stderr[begin..end]);
            let Some(said) = line.strip_prefix(&self.prefix) else { continue };
            let mut words = said.splitn(3, ' ');
            let next = match (words.next(), words.next(), words.next()) {
                (Some("root"), None, None) => Stage::Root,
                (Some("begin"), Some(id), None) => id.parse().map_or(Stage::Between, Stage::Flake),
                (Some("end"), Some(id), Some(json)) => {
                    if let Ok(id) = id.parse() {
                        let said = stderr[self.from.min(begin)..begin].to_vec();
                        let done = Done { derivations: parsed(json), said, duration: self.since.elapsed() };
                        self.done.insert(id, done);
                    }
                    Stage::Between
                }
                _ => continue,
            };
            (self.stage, self.since, self.from) = (next, Instant::now(), self.read);
        }
    }
}

/// Derivations by attribute; their paths become arguments of programs.
fn parsed(json: &str) -> Result<Derivations, String> {
    let found: Derivations =
        serde_json::from_str(json).map_err(|error| format!("Nix gave no derivations: {error}"))?;
    match found.values().find(|path| !is_derivation(path)) {
        None => Ok(found),
        Some(odd) => Err(format!("Nix gave {} for a derivation", crate::domain::text::quoted(odd))),
    }
}

/// Whether this is the path of a derivation in a store, fit to be an argument.
pub(super) fn is_derivation(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or("");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte);
    path.len() <= MAX_PATH
        && path.starts_with('/')
        && path.bytes().all(|byte| byte == b'/' || plain(byte))
        && name.len() > 37
        && name.as_bytes()[32] == b'-'
        && name.strip_suffix(".drv").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_string() {
        assert_eq!(string("a\"; ${b} \\").expect("a string"), "\"a\\\"; \\${b} \\\\\"");
        assert!(string("a\nb").is_err());
    }

    #[test]
    fn progress_is_read_line_by_line_and_only_with_the_mark() {
        let mut progress = Progress::new("@m");
        let drv = format!("/nix/store/{}-x.drv", "a".repeat(32));
        let all = format!(
            "warning: x\ntrace: @m root\ntrace: @m begin 0\ntrace: @other end 0 {{}}\ntrace: own words\n\
             trace: @m end 0 {{\"packages.s.default\":\"{drv}\"}}\ntrace: @m begin 1\nerror: no\n"
        );
        for end in 0..=all.len() {
            progress.follow(&all.as_bytes()[..end]);
        }
        assert_eq!(progress.stage, Stage::Flake(1));
        let done = &progress.done[&0];
        assert_eq!(done.derivations.as_ref().expect("derivations")["packages.s.default"], drv);
        assert_eq!(done.said, b"trace: @other end 0 {}\ntrace: own words\n");
        assert_eq!(&all[progress.from..], "error: no\n");
        assert!(!progress.done.contains_key(&1));
    }

    #[test]
    fn only_paths_of_derivations_become_arguments() {
        let good = format!("/nix/store/{}-sample-1.0.drv", "a".repeat(32));
        assert!(is_derivation(&good));
        for bad in
            ["--help", "/nix/store/x.drv", "", "a.drv", &format!("{good} "), &good.replace("sample", "a\nb")]
        {
            assert!(!is_derivation(bad), "{bad:?}");
        }
        assert!(parsed("{\"a\":\"--option\"}").is_err());
        assert!(parsed("{\"a\":1}").is_err());
    }
}
