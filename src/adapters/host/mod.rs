//! The step `host`: a built module is loaded in its host, in a sandbox, and watched.
//!
//! In: a module, what was built of it, and the host program of the settings. Out: what was seen.
//!
//! ```text
//! program   where the host is; what it says it is   kind      which host and which generation that is
//! metadata  what the module says of itself          plugin    its file in what was built
//! needs     what must be loaded before it           plan      what is run, and what each part is for
//! script    the plan as it goes into the sandbox    driver    what carries it out there
//! sockets   the sign that a module is registered    idle      whether a host waits for events
//! judge     from all that to an outcome
//! ```
//!
//! # What decides
//!
//! The exit of the host, the socket under the module's name seen from outside, a daemon's answers.
//! What is printed words a reason, no more. The module's code runs within its host, so it can do all
//! that its host can: it may end it with any code, or listen at a socket of that name itself. So:
//!
//! - Ending is never a success, with whatever code: a module that is loaded stays.
//! - A socket counts when something listens at it *and* still does after a settling time, in a host
//!   that is still there. A module that makes it itself runs in its host and serves: for the question
//!   of this step, whether it loads and stays, that is the truth. Whether it means well is not.
//! - A daemon and its clients are other processes than the module's host. What clients answer goes
//!   through pipes that only the driver holds, and the driver is not dumpable: nothing in the sandbox
//!   can open them. What started first must still be the process that was started.
//! - Living on without a socket is weak, and only while the host waits for events; else it hangs, and
//!   is timed out when its time is over.
//! - Every run has a sandbox of its own: a `/tmp`, a configuration and a place to keep things that no
//!   other run sees. One module cannot choose the verdict on another.
//! - Before anything runs, `lm` where it is found reads the plugin. Its word can refuse, not pass.
//! - Only whole outputs are shown in the sandbox, never where a link in them leads.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::adapters::sandbox::{Confined, Limits, Look, Profile, Sandbox, TMP, Watch};
use crate::domain::health::evidence::Lasting;
use crate::domain::health::{Exit, Outcome, Placed, Scene, Step, StepRun};
use crate::domain::id::{Cid, ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::domain::text;
use crate::ports::{Builder, ModuleHost, PortResult, Ran, Runner};

pub mod driver;
mod idle;
mod judge;
mod kind;
mod metadata;
mod needs;
mod plan;
mod plugin;
mod program;
mod script;
mod sockets;

use idle::Doing;
use judge::{Ended, Sign};
use kind::major;
use metadata::Metadata;
use needs::{Called, Own, metadata_file};
use plan::{CONFIG_DIR, Plan, Role, Times, USER_DIR, inside};
use plugin::Plugin;
use program::{Probe, Program};
use script::{Became, Said, said};

/// The first argument with which this program is a [`driver`].
pub const DRIVER_VERB: &str = "__host-driver";

/// How modules are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// The host program: an absolute path, or a name to be found in `search`.
    pub program: String,
    /// Where programs are looked for, in order.
    pub search: Vec<PathBuf>,
    /// Where built modules are in an output, relative; a first component `result` is the output itself.
    pub modules_dir: Option<PathBuf>,
    /// Directories of modules that are there already, for what modules need.
    pub modules: Vec<PathBuf>,
    /// A call to each module, where the host takes calls: the method and its arguments. Empty: none.
    pub call: Vec<String>,
    /// How long a host must live on without a sign to be weakly healthy.
    pub alive: Duration,
    /// How long a module that is loaded must stay so to be healthy.
    pub settle: Duration,
    /// The time that one run may take.
    pub timeout: Duration,
    /// More paths that may be read, absolute.
    pub read: Vec<PathBuf>,
    /// Modules that are loaded at once, at most.
    pub at_once: usize,
}

/// The files of modules at their pins.
pub trait ModuleFiles: Sync {
    /// The content of a file of a module at a commit; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    fn file(&self, module: &Module, commit: ObjectId, path: &RepoPath) -> PortResult<Option<Vec<u8>>>;

    /// A directory with all files of a module at its pin, to be read alone, for as long as it is held.
    ///
    /// # Errors
    /// A sentence without a final stop: why there is none.
    fn tree(&self, placed: &Placed) -> Result<Held, String>;
}

/// A directory that stays while this is held.
pub type Held = Box<dyn AsRef<Path> + Send>;

/// Loads modules in the host program of the settings.
pub struct Host<'a> {
    settings: HostSettings,
    sandbox: Sandbox,
    /// This program: it is the driver too.
    launcher: PathBuf,
    files: Arc<dyn ModuleFiles + Send + 'a>,
    builder: Arc<dyn Builder + Send + 'a>,
    /// What programs said they are, by their identity.
    probed: Mutex<BTreeMap<String, Probe>>,
    called: Mutex<Called>,
}

impl<'a> Host<'a> {
    /// A host with these settings. `launcher` is the `lambda-os` program; `builder` builds what
    /// modules need of each other.
    #[must_use]
    pub fn new(
        settings: HostSettings,
        sandbox: Sandbox,
        launcher: impl Into<PathBuf>,
        files: Arc<dyn ModuleFiles + Send + 'a>,
        builder: Arc<dyn Builder + Send + 'a>,
    ) -> Self {
        let launcher = launcher.into();
        let (probed, called) = (Mutex::default(), Mutex::default());
        Self { settings, sandbox, launcher, files, builder, probed, called }
    }

    fn program(&self) -> Result<Program, String> {
        let mut program = Program::find(&self.settings.program, &self.settings.search)?;
        program.reads.extend(self.settings.read.iter().cloned());
        Ok(program)
    }

    /// What the program is; asked once for all modules.
    fn probe(&self, program: &Program) -> Result<Probe, String> {
        let mut probed = self.probed.lock().map_err(|_| "another thread failed while asking the host")?;
        if let Some(known) = probed.get(&program.identity) {
            return Ok(known.clone());
        }
        let probe = program.probe(&self.sandbox)?;
        probed.insert(program.identity.clone(), probe.clone());
        Ok(probe)
    }

    fn run_host(
        &self,
        scene: &Scene,
        placed: &Placed,
        outputs: &BTreeMap<String, PathBuf>,
    ) -> Result<Ran, Outcome> {
        let unknown = |reason: String| Outcome::Unknown { reason };
        let program = self.program().map_err(unknown)?;
        let probe = self.probe(&program).map_err(unknown)?;
        let bytes = metadata_file(self.files.as_ref(), placed).map_err(unknown)?;
        let bytes = bytes.ok_or_else(|| unknown("it has no metadata.json: nothing to load".to_owned()))?;
        let metadata = Metadata::read(&bytes).map_err(|why| Outcome::Failed {
            reason: format!("its metadata.json cannot be used: {why}"),
            lasting: Lasting::Permanent,
        })?;
        let built = !outputs.is_empty();
        let mut held: Vec<Held> = Vec::new();
        let roots = if built {
            plugin::in_order(outputs)
        } else {
            // No build step ran: the module's own tree may hold what was built of it.
            let tree = self.files.tree(placed).map_err(unknown)?;
            let root = tree.as_ref().as_ref().to_owned();
            held.push(tree);
            vec![root]
        };
        let own = plugin::find(&metadata, &roots, self.settings.modules_dir.as_deref()).ok_or_else(|| {
            let place = if built { "what was built" } else { "its own files, and the steps have no build" };
            let kind = metadata.kind.as_deref().filter(|kind| *kind != "core");
            let kind = kind.map_or_else(String::new, |kind| format!("; it is of type {}", text::word(kind)));
            unknown(format!("there is no plugin of {} in {place}{kind}", metadata.name))
        })?;
        let mut metadata = metadata;
        let mut notes = Vec::new();
        self.look_with_lm(&program, &probe, &own, &mut metadata, &roots, &mut notes)?;
        let found = Own { plugin: &own, metadata: &metadata, roots: &roots, built };
        let needs::Found { plugins: needed, roots: more, held: others } = self.needed(scene, &found)?;
        held.extend(others);
        let times = Times { answer: self.settings.timeout / 2, settle: self.settings.settle };
        let plan = Plan::new(&probe.kind, &program.path, &own, &needed, &self.settings.call, times);
        let mut profile = program.readable(Profile::new(limits(self.settings.timeout)).own_sockets());
        for path in roots.iter().chain(&more).chain([&self.launcher]) {
            profile = profile.read(path);
        }
        let argv: Vec<OsString> = vec![self.launcher.clone().into(), DRIVER_VERB.into()];
        let mut watcher = Watcher::new(&plan, &own.name, &self.settings);
        let script = plan.script.to_json();
        let ran = self.sandbox.run(&environment(profile), &argv, &script, &mut |look| watcher.look(look));
        drop(held);
        if let Some(socket) = watcher.socket.take().filter(|_| watcher.sign == Sign::Registered) {
            notes.push(format!("{socket} accepted connections"));
        }
        if !needed.is_empty() {
            let names: Vec<&str> = needed.iter().map(|plugin| plugin.name.as_str()).collect();
            notes.push(format!("loaded after {}", names.join(", ")));
        }
        Ok(ran_of(&plan, &own, &probe, &ran, &watcher.sign, notes))
    }

    /// What `lm` reads out of the plugin, where it is found, against what the module says of itself.
    fn look_with_lm(
        &self,
        program: &Program,
        probe: &Probe,
        own: &Plugin,
        metadata: &mut Metadata,
        roots: &[PathBuf],
        notes: &mut Vec<String>,
    ) -> Result<(), Outcome> {
        let mut protocol = metadata.protocol.clone();
        if let Some(lm) = &program.lm {
            let profile = program.readable(Profile::new(limits(Duration::from_secs(20))));
            let profile = roots.iter().fold(profile, Profile::read);
            let argv = [lm.as_os_str(), "metadata".as_ref(), own.file.as_os_str(), "--json".as_ref()];
            let argv = argv.map(OsString::from);
            let ran = self.sandbox.run(&environment(profile), &argv, b"", &mut |_| Watch::GoOn);
            let read = match ran.exit {
                Exit::Code(0) => Metadata::read(&ran.stdout.bytes),
                _ => Err("it gave no answer".to_owned()),
            };
            match read {
                // What cannot be read is the host's to refuse.
                Err(why) => notes.push(format!("lm was no help: {why}")),
                Ok(read) => {
                    if read.name != metadata.name {
                        return Err(refused(format!(
                            "the plugin says that it is {}, and metadata.json says {}",
                            read.name, metadata.name
                        )));
                    }
                    for name in read.dependencies {
                        if !metadata.dependencies.contains(&name) {
                            notes.push(format!("the plugin needs {name}, and metadata.json does not say so"));
                            metadata.dependencies.push(name);
                        }
                    }
                    protocol = read.protocol.or(protocol);
                }
            }
        }
        let theirs = protocol.as_deref().and_then(major);
        match (theirs, probe.protocol) {
            (Some(theirs), Some(ours)) if theirs != ours => Err(refused(format!(
                "it was built for protocol {}, and the host speaks {ours}",
                text::word(protocol.as_deref().unwrap_or_default())
            ))),
            _ => Ok(()),
        }
    }
}

/// The usual bounds, with this deadline.
fn limits(deadline: Duration) -> Limits {
    Limits { deadline, ..Limits::default() }
}

/// What cannot be otherwise the next time.
fn refused(reason: String) -> Outcome {
    Outcome::Failed { reason, lasting: Lasting::Permanent }
}

/// What hosts and modules find in their environment.
fn environment(profile: Profile) -> Profile {
    profile
        .env("LOGOS_USER_DIR", inside(USER_DIR))
        .env("LOGOSCORE_CONFIG_DIR", inside(CONFIG_DIR))
        .env("LOGOSCTL_CONFIG_DIR", inside(CONFIG_DIR))
        // There is no screen.
        .env("QT_QPA_PLATFORM", "offscreen")
}

impl Runner for Host<'_> {
    fn fingerprint(&self) -> Result<String, String> {
        let program = self.program()?;
        let sandbox = self.sandbox.fingerprint()?;
        // Neither where programs are looked for nor how many run at once has a part in what comes out.
        let settings = HostSettings { search: Vec::new(), at_once: 0, ..self.settings.clone() };
        let all = format!("host v1\n{}\n{settings:?}\n{sandbox}", program.identity);
        Ok(format!("host {}", Cid::of(all.as_bytes())))
    }
}

impl ModuleHost for Host<'_> {
    fn at_once(&self) -> usize {
        self.settings.at_once
    }

    fn load(&self, scene: &Scene, module: &Placed, outputs: &BTreeMap<String, PathBuf>) -> Ran {
        self.run_host(scene, module, outputs).unwrap_or_else(|outcome| {
            let mut ran = Ran::not_run(Step::Host, "");
            ran.run.outcome = outcome;
            ran
        })
    }
}

/// The evidence of a run.
fn ran_of(plan: &Plan, own: &Plugin, probe: &Probe, ran: &Confined, sign: &Sign, notes: Vec<String>) -> Ran {
    let said = said(&ran.stdout.bytes);
    let ended = Ended { exit: &ran.exit, said: &said, log: &ran.stderr.bytes, sign };
    let mut outcome = judge::outcome(plan, &own.name, &ended);
    if let (Outcome::Unknown { reason }, Some(trouble)) = (&mut outcome, &ran.trouble) {
        reason.clone_from(trouble);
    }
    let run = StepRun {
        step: Step::Host,
        attempt: 1,
        outcome,
        command: plan.command.iter().map(|word| word.replace(TMP, "$TMPDIR")).collect(),
        exit: exit_of_host(plan, &said).unwrap_or_else(|| ran.exit.clone()),
        stdout: ran.stdout.stream(),
        stderr: ran.stderr.stream(),
        log: None,
        duration_ms: u64::try_from(ran.duration.as_millis()).unwrap_or(u64::MAX),
        tools: BTreeMap::from([("host".to_owned(), probe.version.clone())]),
        sandbox: Some(ran.report.clone()),
        notes,
    };
    Ran { run, log: ran.log() }
}

/// How the module's own host ended, where it did.
fn exit_of_host(plan: &Plan, said: &[Said]) -> Option<Exit> {
    said.iter().find_map(|said| match said.became {
        Became::Ended { started, code, signal } if plan.roles.get(started) == Some(&Role::Host) => {
            code.map(Exit::Code).or(signal.map(Exit::Signal))
        }
        _ => None,
    })
}

/// Looks for the sign that a module is loaded.
struct Watcher<'a> {
    plan: &'a Plan,
    module: &'a str,
    settings: &'a HostSettings,
    sign: Sign,
    socket: Option<String>,
    /// When it was looked last.
    looked: Option<Duration>,
    /// When the host was seen to be started.
    began: Option<Duration>,
    /// When the socket was seen first.
    registered: Option<Duration>,
}

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(25);

impl<'a> Watcher<'a> {
    fn new(plan: &'a Plan, module: &'a str, settings: &'a HostSettings) -> Self {
        let sign = Sign::None;
        Self { plan, module, settings, sign, socket: None, looked: None, began: None, registered: None }
    }

    fn look(&mut self, look: &Look<'_>) -> Watch {
        let now = look.elapsed;
        if !self.plan.by_socket
            || self.sign == Sign::Registered
            || self.looked.is_some_and(|looked| now < looked + LOOK)
        {
            return Watch::GoOn;
        }
        self.looked = Some(now);
        let said = said(look.stdout);
        let host = |said: &&Said| self.plan.roles.get(said.step) == Some(&Role::Host);
        if said.iter().find(host).is_none() {
            return Watch::GoOn;
        }
        let began = *self.began.get_or_insert(now);
        // Connecting is what counts, and is done twice: when the socket appears, and once it has settled.
        if self.registered.is_none_or(|since| now >= since + self.settings.settle) {
            self.socket = sockets::listening(look.tmp, self.module, &self.plan.names);
            match (&self.socket, self.registered) {
                (Some(_), Some(_)) => {
                    self.sign = Sign::Registered;
                    return if self.plan.ends { Watch::GoOn } else { Watch::Enough };
                }
                (Some(_), None) => self.registered = Some(now),
                (None, _) => self.registered = None,
            }
        }
        if self.registered.is_some() || self.plan.ends || now < began + self.settings.alive {
            return Watch::GoOn;
        }
        let doing = said.iter().rev().find_map(|said| match said.became {
            Became::Does(doing) => Some(doing),
            _ => None,
        });
        match doing {
            Some(Doing::WaitsForEvents) => {
                self.sign = Sign::Waits;
                Watch::Enough
            }
            Some(Doing::NotSeen) => {
                self.sign = Sign::NotSeen;
                Watch::GoOn
            }
            Some(Doing::SomethingElse) | None => Watch::GoOn,
        }
    }
}

/// Where programs are looked for: the `PATH` of this process.
#[expect(clippy::disallowed_methods, reason = "an adapter may ask where programs are")]
#[must_use]
pub fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|dir| Path::is_absolute(dir)).collect()
}
