//! Where programs that are not trusted run: bounded, watched, and dead at the deadline.

mod capture;
mod profile;
mod supervise;

use std::ffi::OsString;
use std::path::Path;

use crate::domain::health::SandboxReport;

pub use profile::{Captured, Confined, Limits, Look, Profile, TMP, Watch};

/// The sandbox that this machine provides.
#[derive(Debug, Clone)]
pub struct Sandbox {
    report: SandboxReport,
}

impl Sandbox {
    /// Find out what this machine provides. `launcher` is the `lambda-os` program. What was found
    /// is remembered in the directory `cache`, where one is given: nothing is started as long as
    /// the machine stays the same.
    #[must_use]
    pub fn probe(launcher: &Path, cache: Option<&Path>) -> Self {
        let _ = (launcher, cache);
        let missing = vec!["only time and output are bounded".to_owned()];
        Self { report: SandboxReport { layers: vec!["process-group".to_owned()], missing } }
    }

    /// What confines, for the key of a verdict. Starts nothing.
    ///
    /// # Errors
    /// A sentence without a final stop: which property is missing, so that nothing is run here.
    pub fn fingerprint(&self) -> Result<String, String> {
        Ok(self.report.layers.join(" "))
    }

    /// How programs are confined here.
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
        supervise::run(&self.report, profile, argv, stdin, watch)
    }
}
