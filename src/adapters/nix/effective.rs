//! Nix's effective settings, as far as the outcome of verification depends on them.
//!
//! Nix is asked once: the answer is kept in memory and in a file, under a key made of everything
//! that the answer depends on: the program, the environment it gets, the configuration files with
//! what they include. The file is a cache: whatever is wrong with it, Nix is asked again.
//!
//! Where a daemon builds, what counts is what *it* was told: the system's configuration alone, and
//! nothing that this environment says. Both must agree before a build counts as sandboxed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::environment::NixEnvironment;
use super::program::Located;
use crate::adapters::durable::{self, Durability, RealDisk};
use crate::adapters::process::{Invocation, ProcessError};
use crate::domain::id::Cid;
use crate::domain::text;

/// The version of the file's form.
const FORM: u32 = 1;
/// Files that include files, so deep.
const MAX_INCLUDES: usize = 10;
/// The largest configuration file that is read.
const MAX_FILE: u64 = 1 << 20;
/// Settings that outcomes depend on, beside those that have a field of their own.
const OTHERS: [&str; 6] =
    ["sandbox-paths", "extra-platforms", "system-features", "builders", "max-call-depth", "filter-syscalls"];
/// How long Nix may take to say its settings.
const DEADLINE: Duration = Duration::from_mins(1);

/// What Nix says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Effective {
    /// `2.34.8`.
    pub(super) version: String,
    /// What it builds for.
    pub(super) system: String,
    /// Who builds.
    pub(super) by: By,
    /// Sandboxing, as this environment asks for it.
    pub(super) here: Sandboxing,
    /// Sandboxing, as the system's configuration alone has it, where a daemon builds.
    pub(super) daemon: Option<Sandboxing>,
    /// Other settings that outcomes depend on, as JSON.
    pub(super) others: BTreeMap<String, String>,
}

/// Who builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum By {
    /// Nix itself, in a store that it may write.
    Itself,
    /// A daemon on this machine.
    Daemon,
    /// Another store: which.
    Elsewhere(String),
}

/// The settings that say whether builds are sandboxed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sandboxing {
    /// `true`, `false` or `relaxed`.
    pub(super) sandbox: String,
    /// Whether it is done without where it cannot be done.
    pub(super) fallback: bool,
}

impl Sandboxing {
    fn lacking(&self) -> Option<String> {
        if self.sandbox != "true" {
            return Some(format!("Nix's settings have sandbox = {}", text::inert(&self.sandbox)));
        }
        self.fallback.then(|| {
            "Nix's settings have sandbox-fallback = true, so that it may have built without a sandbox"
                .to_owned()
        })
    }
}

impl Effective {
    /// Why builds here do not count as sandboxed; `None` when they do.
    pub(super) fn not_sandboxed(&self) -> Option<String> {
        match &self.by {
            By::Itself => self.here.lacking(),
            By::Daemon => self.here.lacking().or_else(|| match &self.daemon {
                None => Some("the settings of the Nix daemon are not known".to_owned()),
                Some(daemon) => daemon.lacking().map(|why| format!("{why} for the daemon")),
            }),
            By::Elsewhere(store) => Some(format!(
                "the store {} is elsewhere, and how it builds cannot be asked",
                text::inert(store)
            )),
        }
    }

    /// Ask, unless the file has the answer.
    pub(super) fn known(
        located: &Located,
        env: &NixEnvironment,
        key: &Cid,
        file: &Path,
    ) -> Result<Self, String> {
        if let Some(known) = remembered(file, key) {
            return Ok(known);
        }
        let asked = Self::ask(located, env)?;
        if let Ok(bytes) = serde_json::to_vec(&Remembered { v: FORM, key: *key, effective: asked.clone() }) {
            // It costs a question to Nix next time, and nothing else.
            let _ = file.parent().map(fs::create_dir_all);
            let _ = durable::write_file(&RealDisk, file, &bytes, Durability::Cached);
        }
        Ok(asked)
    }

    /// Everything that the settings follow from.
    pub(super) fn key(located: &Located, env: &NixEnvironment) -> Cid {
        key(located, env)
    }

    fn ask(located: &Located, env: &NixEnvironment) -> Result<Self, String> {
        let said = told(located, env, &["--version"])?;
        let said = String::from_utf8_lossy(&said);
        let version = said.split_whitespace().last().unwrap_or("unknown");
        let settings = shown(located, env)?;
        let by = by(&settings, env);
        let daemon = match by {
            By::Daemon => {
                let bare = env.clone().without("NIX_CONFIG").with("NIX_USER_CONF_FILES", "/dev/null");
                Some(sandboxing(&shown(located, &bare)?))
            }
            By::Itself | By::Elsewhere(_) => None,
        };
        let others = OTHERS.iter().filter_map(|name| {
            Some(((*name).to_owned(), serde_json::to_string(&settings.get(*name)?.value).ok()?))
        });
        Ok(Self {
            version: text::clipped(&text::inert(version), 60),
            system: settings.get("system").and_then(|it| it.value.as_str()).unwrap_or("").to_owned(),
            by,
            here: sandboxing(&settings),
            daemon,
            others: others.collect(),
        })
    }
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Remembered {
    v: u32,
    key: Cid,
    effective: Effective,
}

fn remembered(file: &Path, key: &Cid) -> Option<Effective> {
    let found: Remembered = serde_json::from_slice(&content(file)?).ok()?;
    (found.v == FORM && found.key == *key).then_some(found.effective)
}

/// One setting in what Nix shows.
#[derive(Deserialize)]
struct Setting {
    #[serde(default)]
    value: serde_json::Value,
}

type Settings = BTreeMap<String, Setting>;

/// All settings. The command has had two names.
fn shown(located: &Located, env: &NixEnvironment) -> Result<Settings, String> {
    const FEATURES: [&str; 2] = ["--extra-experimental-features", "nix-command flakes"];
    let ask = |command: &[&str]| told(located, env, &[&FEATURES[..], command].concat());
    let said = ask(&["config", "show", "--json"]).or_else(|_| ask(&["show-config", "--json"]))?;
    serde_json::from_slice(&said).map_err(|error| format!("Nix did not say its settings: {error}"))
}

fn told(located: &Located, env: &NixEnvironment, args: &[&str]) -> Result<Vec<u8>, String> {
    let known = Invocation::new(&located.nix).args(args).cwd("/").deadline(DEADLINE).output_cap(16 << 20);
    let asked = env.pairs().iter().fold(known, |asked, (name, value)| asked.env(name, value));
    match asked.run() {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => Err(format!(
            "Nix does not say its settings: {}",
            text::clipped(text::inert(String::from_utf8_lossy(&output.stderr).trim()).as_str(), 300)
        )),
        Err(ProcessError::Start { program, source }) => {
            Err(format!("{} cannot be started: {source}", text::inert(&program)))
        }
        Err(error) => Err(format!("Nix does not say its settings: {error}")),
    }
}

fn sandboxing(settings: &Settings) -> Sandboxing {
    let value = |name: &str| settings.get(name).map(|it| &it.value);
    let sandbox = match value("sandbox") {
        Some(serde_json::Value::Bool(on)) => on.to_string(),
        Some(serde_json::Value::String(text)) => text::clipped(text, 40),
        _ => "unknown".to_owned(),
    };
    // Not said is as bad as yes.
    Sandboxing {
        sandbox,
        fallback: value("sandbox-fallback").and_then(serde_json::Value::as_bool).unwrap_or(true),
    }
}

/// Who builds, as `libstore/store-api.cc: openStore` decides it.
fn by(settings: &Settings, env: &NixEnvironment) -> By {
    let stated = settings.get("store").and_then(|it| it.value.as_str()).unwrap_or("auto").to_owned();
    let store = match env.get("NIX_REMOTE").and_then(|remote| remote.to_str()) {
        Some(remote) if stated == "auto" => remote.to_owned(),
        _ => stated,
    };
    match store.as_str() {
        "local" => By::Itself,
        "daemon" => By::Daemon,
        "auto" => {
            let state = env.path("NIX_STATE_DIR").unwrap_or_else(|| "/nix/var/nix".into());
            let socket =
                env.path("NIX_DAEMON_SOCKET_PATH").unwrap_or_else(|| state.join("daemon-socket/socket"));
            let is_socket = fs::metadata(&socket).is_ok_and(|meta| meta.file_type().is_socket());
            if access(&state, Access::WRITE_OK).is_err() && is_socket { By::Daemon } else { By::Itself }
        }
        other if other.starts_with("unix://") => By::Daemon,
        other => By::Elsewhere(other.to_owned()),
    }
}

fn key(located: &Located, env: &NixEnvironment) -> Cid {
    let mut digest = Sha256::new();
    let mut add = |part: &[u8]| {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    };
    add(located.identity.as_bytes());
    add(&rustix::process::geteuid().as_raw().to_le_bytes());
    for (name, value) in env.pairs() {
        add(name.as_encoded_bytes());
        add(value.as_encoded_bytes());
    }
    for file in configuration_files(env) {
        with_included(&file, 0, &mut |path, content| {
            add(path.as_os_str().as_encoded_bytes());
            add(content.unwrap_or(b"\0absent"));
        });
    }
    // Who builds depends on these.
    let state = env.path("NIX_STATE_DIR").unwrap_or_else(|| "/nix/var/nix".into());
    add(&[u8::from(access(&state, Access::WRITE_OK).is_ok())]);
    Cid::from_sha256(digest.finalize().into())
}

/// The files that Nix reads, as `libstore/globals.cc: loadConfFile` finds them, and the one that names
/// build machines.
fn configuration_files(env: &NixEnvironment) -> Vec<PathBuf> {
    let system = env.path("NIX_CONF_DIR").unwrap_or_else(|| "/etc/nix".into());
    let mut files = vec![system.join("nix.conf"), system.join("machines"), "/etc/nix/machines".into()];
    if let Some(named) = env.get("NIX_USER_CONF_FILES") {
        files.extend(std::env::split_paths(named));
        return files;
    }
    let home = env.path("HOME").unwrap_or_else(|| "/".into());
    files.push(env.path("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("nix/nix.conf"));
    let others = env.get("XDG_CONFIG_DIRS").map_or_else(|| OsString::from("/etc/xdg"), OsString::from);
    files.extend(std::env::split_paths(&others).map(|dir| dir.join("nix/nix.conf")));
    files
}

/// A file's content, and that of those it includes.
fn with_included(path: &Path, depth: usize, seen: &mut dyn FnMut(&Path, Option<&[u8]>)) {
    let found = content(path);
    seen(path, found.as_deref());
    let Some(found) = found.filter(|_| depth < MAX_INCLUDES) else { return };
    for line in String::from_utf8_lossy(&found).lines() {
        let mut words = line.split_whitespace();
        if let (Some("include" | "!include"), Some(included)) = (words.next(), words.next()) {
            let base = path.parent().unwrap_or(Path::new("/"));
            with_included(&base.join(included), depth + 1, seen);
        }
    }
}

fn content(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).ok().filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))?;
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective(by: By, here: (&str, bool), daemon: Option<(&str, bool)>) -> Effective {
        let of = |(sandbox, fallback): (&str, bool)| Sandboxing { sandbox: sandbox.to_owned(), fallback };
        Effective {
            version: "2.8.0".to_owned(),
            system: "x86_64-linux".to_owned(),
            by,
            here: of(here),
            daemon: daemon.map(of),
            others: BTreeMap::new(),
        }
    }

    #[test]
    fn a_build_counts_as_sandboxed_only_when_everyone_who_builds_says_so() {
        let lacking = |it: Effective| it.not_sandboxed();
        assert_eq!(lacking(effective(By::Itself, ("true", false), None)), None);
        for here in [("false", false), ("relaxed", false), ("true", true), ("unknown", false)] {
            assert!(lacking(effective(By::Itself, here, None)).is_some(), "{here:?}");
        }
        assert_eq!(lacking(effective(By::Daemon, ("true", false), Some(("true", false)))), None);
        for daemon in [None, Some(("false", false)), Some(("true", true))] {
            assert!(lacking(effective(By::Daemon, ("true", false), daemon)).is_some(), "{daemon:?}");
        }
        let elsewhere = By::Elsewhere("ssh-ng://host".to_owned());
        assert!(
            lacking(effective(elsewhere, ("true", false), None)).expect("weak").contains("ssh-ng://host")
        );
    }

    #[test]
    fn settings_that_are_not_said_are_taken_for_the_worse() {
        let said: Settings = serde_json::from_str(r#"{"sandbox":{"value":true}}"#).expect("JSON");
        assert_eq!(sandboxing(&said), Sandboxing { sandbox: "true".to_owned(), fallback: true });
        let said: Settings = serde_json::from_str(r#"{"sandbox-fallback":{"value":false}}"#).expect("JSON");
        assert_eq!(sandboxing(&said), Sandboxing { sandbox: "unknown".to_owned(), fallback: false });
    }

    #[test]
    fn the_key_follows_the_configuration_with_what_it_includes() {
        let temp = tempfile::tempdir().expect("made");
        let write = |name: &str, text: &str| fs::write(temp.path().join(name), text).expect("written");
        let located = Located::at(Path::new("/bin/sh")).expect("there");
        let env = NixEnvironment::default()
            .with("NIX_CONF_DIR", temp.path())
            .with("NIX_USER_CONF_FILES", "/dev/null");
        let mut keys = vec![key(&located, &env)];
        write("nix.conf", "sandbox = true\n!include more.conf\n");
        keys.push(key(&located, &env));
        write("more.conf", "sandbox = false\n");
        keys.push(key(&located, &env));
        write("more.conf", "sandbox = true\ninclude nix.conf\n");
        keys.push(key(&located, &env));
        keys.push(key(&located, &env.clone().with("NIX_CONFIG", "sandbox = false")));
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "{keys:?}");
        assert_eq!(key(&located, &env), keys[3], "unchanged, it is the same");
    }

    #[test]
    fn what_is_remembered_counts_for_its_key_alone() {
        let temp = tempfile::tempdir().expect("made");
        let file = temp.path().join("nix-settings.json");
        let effective = effective(By::Itself, ("true", false), None);
        let (key, other) = (Cid::of(b"one"), Cid::of(b"two"));
        let bytes =
            serde_json::to_vec(&Remembered { v: FORM, key, effective: effective.clone() }).expect("JSON");
        fs::write(&file, &bytes).expect("written");
        assert_eq!(remembered(&file, &key), Some(effective));
        assert_eq!(remembered(&file, &other), None);
        fs::write(&file, &bytes[..bytes.len() / 2]).expect("written");
        assert_eq!(remembered(&file, &key), None);
    }
}
