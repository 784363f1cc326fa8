//! What this machine provides, found by trying, and remembered while nothing changes.

#![expect(clippy::disallowed_methods, reason = "programs are looked for on PATH")]

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bubblewrap::Manner;
use super::profile::{Limits, Profile, Watch};
use super::supervise::{self, World};
use crate::adapters::process::Invocation;
use crate::domain::health::{Exit, SandboxReport};
use crate::domain::text;

/// What holds a program, from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outer {
    /// Namespaces, made by bubblewrap.
    Bubblewrap {
        /// The program.
        program: PathBuf,
        /// What it says of its version.
        version: String,
        /// How it is asked.
        manner: Manner,
    },
    /// Nothing: the inner walls do it alone.
    Nothing,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    /// What works; or why nothing does.
    pub(super) outer: Result<Outer, String>,
    /// The version of Landlock; 0 is none.
    pub(super) landlock: i32,
    /// What could not be had, each a sentence.
    pub(super) missing: Vec<String>,
}

/// Which outer walls are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Layers {
    /// The strongest that this machine provides.
    Best,
    /// No namespaces, even where they can be had.
    InnerAlone,
}

/// What is remembered, and of which circumstances.
#[derive(Serialize, Deserialize)]
struct Remembered {
    key: String,
    found: Found,
}

const FILE: &str = "sandbox.json";

/// Find out, or remember.
pub(super) fn find(world: &World, layers: Layers, cache: Option<&Path>) -> Found {
    let bubblewrap = on_path("bwrap");
    let key = circumstances(world, layers, bubblewrap.as_deref());
    if let Some(cache) = cache
        && let Ok(text) = std::fs::read(cache.join(FILE))
        && let Ok(remembered) = serde_json::from_slice::<Remembered>(&text)
        && remembered.key == key
    {
        return remembered.found;
    }
    let found = by_trying(world, layers, bubblewrap);
    // What did not work may have been a passing trouble: it is tried again.
    if let Some(cache) = cache
        && found.outer.is_ok()
        && let Ok(text) = serde_json::to_vec(&Remembered { key, found: found.clone() })
    {
        remember(cache, &text);
    }
    found
}

/// Forgetting costs one more try, so nothing is made of a failure.
fn remember(cache: &Path, text: &[u8]) {
    let _ = std::fs::create_dir_all(cache);
    if let Ok(file) = tempfile::NamedTempFile::new_in(cache)
        && std::fs::write(file.path(), text).is_ok()
    {
        let _ = file.persist(cache.join(FILE));
    }
}

fn by_trying(world: &World, layers: Layers, bubblewrap: Option<PathBuf>) -> Found {
    let mut missing = Vec::new();
    match (layers, bubblewrap) {
        (Layers::InnerAlone, _) => missing.push("namespaces are switched off".to_owned()),
        (Layers::Best, None) => missing.push("namespaces: the program bwrap is not on PATH".to_owned()),
        (Layers::Best, Some(program)) => match with_bubblewrap(world, &program) {
            Ok((outer, landlock)) => {
                if let Outer::Bubblewrap { manner: Manner { proc: false, .. }, .. } = outer {
                    missing.push("/proc: this process may not mount one, so there is none inside".to_owned());
                }
                if landlock == 0 {
                    missing.push("Landlock: the kernel does not have it".to_owned());
                } else if landlock < super::fence::SCOPES {
                    missing.push(format!("Landlock is version {landlock}: it keeps no signals in"));
                }
                return Found { outer: Ok(outer), landlock, missing };
            }
            Err(why) => missing.push(format!("namespaces: {why}")),
        },
    }
    match try_it(world, &Outer::Nothing) {
        Ok(landlock) => {
            if landlock < super::fence::SOCKETS {
                let sentence = "sockets by path: without namespaces and with Landlock older than version 9 \
                                a program that connects to any cannot be run";
                missing.push(sentence.to_owned());
            }
            Found { outer: Ok(Outer::Nothing), landlock, missing }
        }
        Err(why) => {
            missing.push(format!("inner walls: {why}"));
            Found { outer: Err(missing.join("; ")), landlock: 0, missing }
        }
    }
}

fn with_bubblewrap(world: &World, program: &Path) -> Result<(Outer, i32), String> {
    let asked = Invocation::new(program).arg("--version").deadline(Duration::from_secs(10)).run();
    let asked = asked.map_err(|error| error.to_string())?;
    let version = text::clipped(&text::inert(String::from_utf8_lossy(&asked.stdout).trim()), 60);
    let root = rustix::process::geteuid().is_root();
    let mut first = None;
    for proc in [true, false] {
        let outer = Outer::Bubblewrap {
            program: program.to_owned(),
            version: version.clone(),
            manner: Manner { user_namespace: !root, proc },
        };
        match try_it(world, &outer) {
            Ok(landlock) => return Ok((outer, landlock)),
            Err(why) => first.get_or_insert(why),
        };
    }
    Err(first.unwrap_or_default())
}

/// Run something that needs nothing; gives the version of Landlock that was around it.
fn try_it(world: &World, outer: &Outer) -> Result<i32, String> {
    let limits = Limits { deadline: Duration::from_secs(20), ..Limits::default() };
    let argv: [OsString; 3] = ["/bin/sh".into(), "-c".into(), "exit 0".into()];
    let (confined, landlock) = supervise::run(
        world,
        outer,
        &SandboxReport::default(),
        &Profile::new(limits),
        &argv,
        b"",
        &mut |_| Watch::GoOn,
    );
    match confined.exit {
        Exit::Code(0) => Ok(landlock),
        exit => Err(confined.trouble.unwrap_or_else(|| {
            let said = text::inert(String::from_utf8_lossy(&confined.stderr.bytes).trim());
            format!("a shell did not run in it: {exit:?} {}", text::clipped(&said, 200))
        })),
    }
}

/// What all of it depends on: the programs, the kernel, this boot, and what this process itself is
/// held by.
fn circumstances(world: &World, layers: Layers, bubblewrap: Option<&Path>) -> String {
    let file = |path: Option<&Path>| match path.and_then(|path| Some((path, path.metadata().ok()?))) {
        Some((path, meta)) => {
            format!(
                "{}:{}:{}:{}.{}",
                path.display(),
                meta.ino(),
                meta.size(),
                meta.mtime(),
                meta.mtime_nsec()
            )
        }
        None => "-".to_owned(),
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let link = |path: &str| std::fs::read_link(path).map(|it| it.display().to_string()).unwrap_or_default();
    let status = read("/proc/self/status");
    let held = status.lines().filter(|line| {
        ["Uid:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp"].iter().any(|name| line.starts_with(name))
    });
    [
        format!("{layers:?}"),
        file(bubblewrap),
        file(Some(&world.keeper)),
        read("/proc/sys/kernel/osrelease"),
        read("/proc/sys/kernel/random/boot_id"),
        read("/proc/sys/user/max_user_namespaces"),
        link("/proc/self/ns/user"),
        link("/proc/self/ns/mnt"),
    ]
    .into_iter()
    .chain(held.map(str::to_owned))
    .collect::<Vec<_>>()
    .join("\n")
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|file| file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
}
