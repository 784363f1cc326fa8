//! Where programs that are not trusted run: walled in, bounded, watched, and dead at the deadline.
//!
//! ```text
//! supervise   here: starts it, attends to it, measures it, decides how it ended
//!   bubblewrap   the outer walls: namespaces, a root of its own, a bounded /tmp in memory
//!     keeper     a hidden verb of our own program: first process of the namespace, or subreaper
//!       fence      Landlock, around the program
//!       filter     seccomp, around the program
//!         the program
//! ```
//!
//! In: a [`Profile`] and an argument vector. Out: [`Confined`]: how it ended, in the supervisor's
//! words, and what it wrote. Invariants:
//!
//! - Nothing of what it started is alive when [`Sandbox::run`] returns.
//! - It reads nothing but the system's programs and what the profile names, and writes nothing but
//!   its private temporary directory and what the profile lets it write.
//! - It reaches no network, no other process, no socket of another program, no terminal.
//! - Time, processes, memory, processor time, files and output are bounded; all output is counted
//!   and hashed.
//!
//! Where namespaces cannot be had, the inner walls hold the same alone, more strictly: attributes of
//! files cannot be changed, there is no `/proc`, no network at all, and (before Landlock 9) no
//! connecting to sockets by path. Where they cannot either, nothing is run.
//!
//! Root becomes a user that owns nothing. Memory is bounded for each process by the kernel, and for
//! all together by watching, since control groups are rarely ours to make.

mod bubblewrap;
mod capture;
mod fence;
mod filter;
mod keeper;
mod order;
mod probe;
mod profile;
mod scratch;
mod supervise;
mod tree;

use std::ffi::OsString;
use std::path::Path;

use crate::domain::health::SandboxReport;

pub use keeper::{KEEPER, keep};
pub use probe::Layers;
pub(in crate::adapters) use scratch::remove as remove_tree;

pub use profile::{Captured, Confined, Limits, Look, Profile, TMP, Watch};

use bubblewrap::System;
use probe::{Found, Outer};
use supervise::World;

/// The sandbox that this machine provides.
#[derive(Debug, Clone)]
pub struct Sandbox {
    world: World,
    found: Found,
    report: SandboxReport,
}

impl Sandbox {
    /// Find out what this machine provides. `launcher` is the `lambda-os` program. What was found
    /// is remembered in the directory `cache`, where one is given: nothing is started as long as
    /// the machine stays the same.
    #[must_use]
    pub fn probe(launcher: &Path, cache: Option<&Path>) -> Self {
        Self::probe_for(Layers::Best, launcher, cache)
    }

    /// As [`Sandbox::probe`], with these layers.
    #[must_use]
    pub fn probe_for(layers: Layers, launcher: &Path, cache: Option<&Path>) -> Self {
        let world = World { keeper: launcher.to_owned(), system: System::find() };
        let found = probe::find(&world, layers, cache);
        let report = SandboxReport { layers: names(&found), missing: found.missing.clone() };
        Self { world, found, report }
    }

    /// What confines, for the key of a verdict. Starts nothing.
    ///
    /// # Errors
    /// A sentence without a final stop: which property is missing, so that nothing is run here.
    pub fn fingerprint(&self) -> Result<String, String> {
        match &self.found.outer {
            Err(why) => Err(format!("no sandbox: {why}")),
            Ok(Outer::Bubblewrap { version, manner, .. }) => Ok(format!(
                "sandbox 1: {version}{}, landlock {}, seccomp, rlimits",
                if manner.proc { "" } else { " without /proc" },
                self.found.landlock
            )),
            Ok(Outer::Nothing) => {
                Ok(format!("sandbox 1: landlock {}, seccomp, rlimits", self.found.landlock))
            }
        }
    }

    /// How programs are confined here, and what this machine could not provide.
    #[must_use]
    pub fn report(&self) -> &SandboxReport {
        &self.report
    }

    /// Run a program to its end, at most to its deadline, and end everything that it started.
    /// `argv[0]` is the program, by its absolute path or to be found on the sandbox's `PATH`; it
    /// reads `stdin` and then its end. `watch` is asked whenever something was written, and at
    /// least every tenth of a second.
    pub fn run(
        &self,
        profile: &Profile,
        argv: &[OsString],
        stdin: &[u8],
        watch: &mut dyn FnMut(&Look<'_>) -> Watch,
    ) -> Confined {
        match &self.found.outer {
            Err(why) => Confined::not_run(format!("no sandbox: {why}"), self.report.clone()),
            Ok(outer) => supervise::run(&self.world, outer, &self.report, profile, argv, stdin, watch).0,
        }
    }
}

/// The layers, outermost first.
fn names(found: &Found) -> Vec<String> {
    let Ok(outer) = &found.outer else { return Vec::new() };
    let outer = matches!(outer, Outer::Bubblewrap { .. }).then_some("bubblewrap");
    let landlock = (found.landlock > 0).then_some("landlock");
    outer.into_iter().chain(landlock).chain(["seccomp", "rlimits"]).map(str::to_owned).collect()
}
