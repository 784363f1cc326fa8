//! What runs the steps of verification, as configured: the one place where their adapters are built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::open::Open;
use crate::adapters::checker::{Command, CommandChecker};
use crate::adapters::host::{Host, HostSettings};
use crate::adapters::materials::Materials;
use crate::adapters::mirrors::Mirrors;
use crate::adapters::nix::{
    Evaluator, Fetching, Nix, NixBuilder, NixSettings, Outputs, Packages, Unsandboxed,
};
use crate::adapters::sandbox::{Limits, Sandbox};
use crate::adapters::unavailable::Unavailable;
use crate::config::checked::Step as Configured;
use crate::config::raw::RawHost;
use crate::domain::health::Step;
use crate::domain::id::ModuleName;
use crate::domain::module::Module;
use crate::ops::verify::Runners;
use crate::ports::{Builder, Checker, Clock as _, ModuleHost};

/// Do something with what runs the steps. Nothing is started by building it but a try of what this machine
/// provides for a sandbox, once, where a step needs one.
pub fn with<T>(open: &Open, work: impl FnOnce(Runners<'_>) -> T) -> T {
    let (settings, state) = (&open.settings, &open.state_dir);
    let verify = &settings.effective.verify;
    let steps: Vec<Step> = settings.steps.iter().copied().map(step).collect();
    let own_steps: BTreeMap<ModuleName, Vec<Step>> = settings
        .modules
        .iter()
        .filter_map(|(name, module)| {
            let steps = module.steps.as_deref()?;
            Some((ModuleName::new(name), steps.iter().copied().map(step).collect()))
        })
        .collect();
    let timeout = Duration::from_secs(verify.timeout_s);

    let nix = Nix::new(nix_settings(open, timeout));
    let evaluator = Evaluator::new(&nix, &open.repository, &open.sources);
    let builder = Arc::new(NixBuilder::new(&nix, &evaluator));

    let materials = Arc::new(materials(open));
    let asked =
        |wanted: Step| steps.contains(&wanted) || own_steps.values().flatten().any(|it| *it == wanted);
    let confined = (asked(Step::Host) || asked(Step::Command)).then(|| sandbox(&state.cache()));
    let absent = |why: &str| Unavailable { why: why.to_owned() };
    let host: Box<dyn ModuleHost + '_> = match (&verify.host, &confined) {
        (Some(host), Some(Ok((sandbox, launcher)))) => {
            let host = host_settings(host, timeout, &verify.sandbox.read);
            let files = Arc::clone(&materials);
            let built: Arc<dyn Builder + Send + '_> = builder.clone();
            Box::new(Host::new(host, sandbox.as_ref().clone(), launcher.clone(), files, built))
        }
        (Some(_), Some(Err(why))) => Box::new(absent(why)),
        (None, _) | (_, None) => Box::new(absent("there is no [verify.host] in the configuration")),
    };
    let checker: Box<dyn Checker + '_> = match (&verify.command, &confined) {
        (Some(command), Some(Ok((sandbox, _)))) => {
            let limits = Limits { deadline: timeout, ..Limits::default() };
            let (program, read) = (command.program.clone(), verify.sandbox.read.clone());
            let command = Command { program, read, limits };
            Box::new(CommandChecker::new(Arc::clone(sandbox), Arc::clone(&materials), command))
        }
        (Some(_), Some(Err(why))) => Box::new(absent(why)),
        (None, _) | (_, None) => Box::new(absent("there is no [verify.command] in the configuration")),
    };
    work(Runners {
        evaluator: &evaluator,
        builder: builder.as_ref(),
        host: host.as_ref(),
        checker: checker.as_ref(),
        steps: &steps,
        own_steps: &own_steps,
        parallel: usize::try_from(verify.parallel).unwrap_or(1),
    })
}

/// Nix, as configured.
fn nix_settings(open: &Open, timeout: Duration) -> NixSettings {
    let (nix, state) = (&open.settings.effective.verify.nix, &open.state_dir);
    let unless_offline = |wanted: bool| {
        if wanted && !open.is_offline() { Fetching::ByNix } else { Fetching::Never }
    };
    NixSettings {
        program: PathBuf::from(&nix.program),
        fetching: unless_offline(nix.fetch),
        build_fetching: unless_offline(true),
        eval_deadline: timeout,
        eval_memory_bytes: nix.memory_mib << 20,
        build_deadline: timeout,
        outputs: Outputs {
            packages: if nix.all_packages { Packages::All } else { Packages::Default },
            checks: nix.checks,
        },
        unsandboxed: if nix.require_sandbox { Unsandboxed::Refused } else { Unsandboxed::Weak },
        ..NixSettings::new(&state.cache(), &state.roots())
    }
}

/// The sandbox of this machine, and the program that it is made with: this one.
pub(super) fn sandbox(cache: &Path) -> Result<(Arc<Sandbox>, PathBuf), String> {
    let launcher = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    Ok((Arc::new(Sandbox::probe(&launcher, Some(cache))), launcher))
}

/// The files of modules, from their mirrors and checkouts.
pub(super) fn materials(open: &Open) -> Materials {
    let (mirrors, work_tree) = (open.state_dir.mirrors(), open.repository.work_tree().to_owned());
    let common_dir = open.repository.common_dir().to_owned();
    let places =
        move |module: &Module| Mirrors::open(&mirrors, &work_tree, &common_dir).object_directories(module);
    Materials::new(&open.state_dir.cache(), &open.clock.boot(), Box::new(places))
}

#[expect(
    clippy::disallowed_methods,
    reason = "programs are looked for where the operator's shell finds them"
)]
fn host_settings(host: &RawHost, timeout: Duration, read: &[PathBuf]) -> HostSettings {
    let search =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    HostSettings {
        program: host.program.clone(),
        search,
        modules_dir: host.modules_dir.clone(),
        modules: host.modules.clone(),
        call: host.call.clone(),
        alive: Duration::from_secs(host.alive_s),
        settle: Duration::from_millis(host.settle_ms),
        timeout: Duration::from_secs(host.timeout_s).min(timeout),
        read: read.to_vec(),
        at_once: usize::try_from(host.parallel).unwrap_or(1),
    }
}

fn step(step: Configured) -> Step {
    match step {
        Configured::Eval => Step::Eval,
        Configured::Build => Step::Build,
        Configured::Host => Step::Host,
        Configured::Command => Step::Command,
    }
}
