//! The `nix` program of this machine: where it is, what it is, and how it is asked.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::effective::Effective;
use super::environment::NixEnvironment;
use super::settings::{Fetching, NixSettings};
use crate::adapters::nix_store::NixStore;
use crate::domain::canonical;
use crate::domain::id::Cid;
use crate::domain::text;

/// Nix, as the operator has it, with the settings of verification.
#[derive(Debug)]
pub struct Nix {
    pub(super) settings: NixSettings,
    /// What was found out last, with the identity of the program that it was found out of.
    known: Mutex<Option<(Cid, Effective)>>,
}

/// A program that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    /// Where it was found, before links.
    pub(super) nix: PathBuf,
    /// The file that it is, with its size and times: another one is another Nix.
    pub(super) identity: String,
}

impl Located {
    /// The program at this path.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let real = fs::canonicalize(path).ok()?;
        let meta = fs::metadata(&real).ok().filter(|meta| meta.is_file() && meta.mode() & 0o111 != 0)?;
        let identity = format!(
            "{} {} {}.{:09} {}",
            real.display(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ino()
        );
        Some(Self { nix: path.to_owned(), identity })
    }

    /// Another of Nix's programs, beside it.
    pub(super) fn sibling(&self, name: &str) -> Option<PathBuf> {
        let real = fs::canonicalize(&self.nix).ok()?;
        let beside = [self.nix.parent(), real.parent()].into_iter().flatten().map(|dir| dir.join(name));
        beside.into_iter().find(|path| path.is_file())
    }
}

/// Nix, found and asked: what a run needs.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) located: Located,
    pub(super) store: PathBuf,
    pub(super) effective: Effective,
    /// What is evaluated and built for.
    pub(super) system: String,
}

/// What an outcome depends on of Nix and of its settings here.
#[derive(Serialize)]
struct Fingerprint<'a> {
    v: u32,
    program: &'a str,
    effective: &'a Effective,
    system: &'a str,
    own: &'a BTreeMap<&'a str, String>,
}

impl Nix {
    /// Nix with these settings. Nothing is started and nothing is looked for yet.
    #[must_use]
    pub fn new(settings: NixSettings) -> Self {
        Self { settings, known: Mutex::default() }
    }

    /// Find it, and know its effective settings. No program is started when nothing changed since it was
    /// asked last, by this process or another.
    pub(super) fn ready(&self) -> Result<Ready, String> {
        let located = self.locate().ok_or_else(|| self.absent())?;
        let store = located.sibling("nix-store").ok_or_else(|| {
            format!("there is no nix-store beside {}", text::inert(&located.nix.to_string_lossy()))
        })?;
        let effective = self.effective(&located)?;
        let system = self.settings.system.clone().unwrap_or_else(|| effective.system.clone());
        if system.is_empty() {
            return Err("Nix does not say which system it builds for".to_owned());
        }
        Ok(Ready { located, store, effective, system })
    }

    fn effective(&self, located: &Located) -> Result<Effective, String> {
        let (env, file) = (&self.settings.environment, self.settings.cache.join("nix-settings.json"));
        let key = Effective::key(located, env);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, effective)) = known.as_ref().filter(|(known, _)| *known == key) {
            return Ok(effective.clone());
        }
        let effective = Effective::known(located, env, &key, &file)?;
        *known = Some((key, effective.clone()));
        Ok(effective)
    }

    fn locate(&self) -> Option<Located> {
        let program = &self.settings.program;
        if program.components().count() > 1 {
            return Located::at(program);
        }
        let path = self.settings.environment.get("PATH").map(OsStr::to_owned)?;
        std::env::split_paths(&path)
            .filter(|dir| dir.is_absolute())
            .find_map(|dir| Located::at(&dir.join(program)))
    }

    fn absent(&self) -> String {
        let program = text::inert(&self.settings.program.to_string_lossy());
        if self.settings.program.components().count() > 1 {
            format!("there is no program {program}; install Nix, or name it in the configuration")
        } else {
            format!("there is no program {program} on the search path; install Nix")
        }
    }

    /// A fingerprint of Nix, its settings and these of ours.
    pub(super) fn fingerprint(&self, own: &BTreeMap<&str, String>) -> Result<String, String> {
        let ready = self.ready()?;
        let whole = Fingerprint {
            v: 1,
            program: &ready.located.identity,
            effective: &ready.effective,
            system: &ready.system,
            own,
        };
        let bytes =
            canonical::to_canonical(&whole).map_err(|error| format!("Nix has odd settings: {error}"))?;
        Ok(format!("nix {} {} {}", ready.effective.version, ready.system, Cid::of(&bytes)))
    }

    /// The environment of a run that may use the network or may not.
    pub(super) fn environment(&self, fetching: Fetching) -> NixEnvironment {
        let env = self.settings.environment.clone().with("LC_ALL", "C");
        let env = env.with("GIT_TERMINAL_PROMPT", "0").with("SSH_ASKPASS_REQUIRE", "never");
        match fetching {
            Fetching::ByNix => env,
            Fetching::Never => env.without_network(),
        }
    }

    /// The store, through its program.
    pub(super) fn store(&self, ready: &Ready) -> NixStore {
        let store = NixStore::with_program(&ready.store);
        self.settings.environment.pairs().iter().fold(store, |store, (name, value)| store.env(name, value))
    }

    /// What ran a step, for the evidence.
    pub(super) fn tools(ready: &Ready) -> BTreeMap<String, String> {
        [("nix", ready.effective.version.as_str()), ("lambda-os", env!("CARGO_PKG_VERSION"))]
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .into()
    }
}

/// Options that hold for every run: what a flake asks for itself is never accepted, whatever the
/// operator accepted elsewhere; nothing is built to be evaluated, and no registry is asked.
pub(super) fn options(offline: bool) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        ["--extra-experimental-features", "nix-command flakes", "--log-format", "raw"]
            .map(OsString::from)
            .into();
    for (name, value) in [
        ("accept-flake-config", "false"),
        ("allow-import-from-derivation", "false"),
        ("allow-unsafe-native-code-during-evaluation", "false"),
        ("pure-eval", "true"),
        ("use-registries", "false"),
        ("flake-registry", ""),
    ] {
        args.extend(["--option", name, value].map(OsString::from));
    }
    if offline {
        args.push("--offline".into());
    }
    args
}
