//! What is to be run to load a module in a host of a kind, before anything is run.
//!
//! In: the host, the module's plugin, and those of what it needs, in the order in which they are
//! loaded. Out: a script, and what each of its steps is for, so that what it says can be judged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kind::Kind;
use super::plugin::Plugin;
use super::script::{Script, Step};
use crate::adapters::sandbox::TMP;

/// What hosts read as the directory of the user's data, below the sandbox's own temporary directory.
pub(super) const USER_DIR: &str = "lambda-os/user";

/// Where the daemons keep how they are reached.
pub(super) const CONFIG_DIR: &str = "lambda-os/config";

/// Where modules keep what is theirs.
const KEPT: &str = "lambda-os/kept";

/// What a host that takes a token is given. Nothing else is in its sandbox that it could be kept from.
const TOKEN: &str = "lambda-os-verification";

/// What a step is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// It prepares.
    Prepare,
    /// The daemon that loads modules.
    Daemon,
    /// Waiting until the daemon answers, before anything of a module is run.
    Ready,
    /// Something that the module needs, by name.
    Needed(String),
    /// The module's own host.
    Host,
    /// The daemon loads the module.
    Load,
    /// The daemon says which modules are loaded.
    Listed,
    /// A call to the module.
    Call,
    /// The daemon still answers.
    Alive,
}

/// What is to be run, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) script: Script,
    /// One for each step.
    pub(super) roles: Vec<Role>,
    /// The command that loads the module: shown in the evidence.
    pub(super) command: Vec<String>,
    /// Whether the module's socket decides; else the answers do.
    pub(super) by_socket: bool,
    /// Whether the host makes a call and ends with 0 once it was answered.
    pub(super) ends: bool,
    /// The names of all modules that sockets may be of.
    pub(super) names: Vec<String>,
}

/// Times of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Loading one module, and every answer, may take this long.
    pub(super) answer: Duration,
    /// How long a module that is loaded must stay so.
    pub(super) settle: Duration,
}

impl Plan {
    /// What loads `module` after `needed`, each before those that need it.
    pub(super) fn new(
        kind: &Kind,
        program: &Path,
        module: &Plugin,
        needed: &[Plugin],
        call: &[String],
        times: Times,
    ) -> Self {
        let mut plan = Self {
            script: Script::default(),
            roles: Vec::new(),
            command: Vec::new(),
            by_socket: true,
            ends: false,
            names: needed.iter().map(|plugin| plugin.name.clone()).chain([module.name.clone()]).collect(),
        };
        plan.add(Role::Prepare, Step::Dirs { paths: [USER_DIR, CONFIG_DIR, KEPT].map(inside).into() });
        let program = text(program);
        match kind {
            Kind::LogosHost { takes_token, takes_persistence } => {
                for plugin in needed {
                    let argv = plan.host(&program, plugin, *takes_token, *takes_persistence);
                    let stdin = if *takes_token { TOKEN } else { "" }.to_owned();
                    plan.add(Role::Needed(plugin.name.clone()), Step::Start { argv, stdin });
                    let (among, within_ms) = (plan.names.clone(), millis(times.answer));
                    let step = Step::Socket { module: plugin.name.clone(), among, within_ms };
                    plan.add(Role::Needed(plugin.name.clone()), step);
                }
                plan.command = plan.host(&program, module, *takes_token, *takes_persistence);
                let stdin = if *takes_token { TOKEN } else { "" }.to_owned();
                plan.add(Role::Host, Step::Start { argv: plan.command.clone(), stdin });
                plan.add(Role::Host, Step::Stay);
            }
            Kind::OneShot { takes_calls } => {
                plan.command = vec![program];
                plan.command.extend(modules_options("-m", module, needed));
                plan.command.extend(["-l".to_owned(), plan.names.join(",")]);
                if let ([method, args @ ..], true) = (call, takes_calls) {
                    let call = format!("{}.{method}({})", module.name, args.join(","));
                    plan.command.extend(["-c".to_owned(), call]);
                    plan.ends = true;
                }
                plan.add(Role::Host, Step::Start { argv: plan.command.clone(), stdin: String::new() });
                plan.add(Role::Host, Step::Stay);
            }
            Kind::Daemon { takes_config_dir, takes_persistence } => {
                let mut argv = vec![program.clone(), "-D".to_owned()];
                argv.extend(modules_options("-m", module, needed));
                if *takes_config_dir {
                    argv.extend(["--config-dir".to_owned(), inside(CONFIG_DIR)]);
                }
                if *takes_persistence {
                    argv.extend(["--persistence-path".to_owned(), inside(KEPT)]);
                }
                plan.add(Role::Daemon, Step::Start { argv, stdin: String::new() });
                plan.talk(&program, &DAEMON, module, needed, call, times);
            }
            Kind::Logosctl { modules_option } => {
                let mut argv: Vec<String> =
                    [program.as_str(), "daemon", "start", "--detach"].map(str::to_owned).into();
                if let Some(option) = modules_option {
                    argv.extend(modules_options(option, module, needed));
                }
                let within_ms = millis(times.answer);
                plan.add(Role::Ready, Step::Run { argv, within_ms, again: false });
                plan.talk(&program, &LOGOSCTL, module, needed, call, times);
            }
        }
        plan
    }

    fn add(&mut self, role: Role, step: Step) {
        self.roles.push(role);
        self.script.steps.push(step);
    }

    /// The host of one module.
    fn host(&mut self, program: &str, plugin: &Plugin, token: bool, persistence: bool) -> Vec<String> {
        let mut argv = vec![program.to_owned(), "--name".to_owned(), plugin.name.clone()];
        argv.extend(["--path".to_owned(), text(&plugin.file)]);
        if token {
            argv.extend(["--token-source".to_owned(), "stdin".to_owned()]);
        }
        if persistence {
            let kept = format!("{}/{}", inside(KEPT), plugin.name);
            if let Some(Step::Dirs { paths }) = self.script.steps.first_mut() {
                paths.push(kept.clone());
            }
            argv.extend(["--instance-persistence-path".to_owned(), kept]);
        }
        argv
    }

    /// The calls to a daemon that has been started.
    fn talk(
        &mut self,
        program: &str,
        verbs: &Verbs,
        module: &Plugin,
        needed: &[Plugin],
        call: &[String],
        times: Times,
    ) {
        self.by_socket = false;
        let argv = |verb: &[&str], rest: &[&str]| -> Vec<String> {
            let all = [program].into_iter().chain(verb.iter().copied()).chain(rest.iter().copied());
            all.map(str::to_owned).collect()
        };
        let within_ms = millis(times.answer);
        let run = |argv: Vec<String>, again| Step::Run { argv, within_ms, again };
        self.add(Role::Ready, run(argv(verbs.status, &[]), true));
        for plugin in needed {
            let step = run(argv(verbs.load, &[&plugin.name]), false);
            self.add(Role::Needed(plugin.name.clone()), step);
        }
        self.command = argv(verbs.load, &[&module.name]);
        self.add(Role::Load, run(self.command.clone(), false));
        self.add(Role::Listed, run(argv(verbs.list, &[]), false));
        if !call.is_empty() {
            let words: Vec<&str> =
                [module.name.as_str()].into_iter().chain(call.iter().map(String::as_str)).collect();
            self.add(Role::Call, run(argv(&["call"], &words), false));
        }
        // Loaded a moment ago is not loaded: it may be falling over.
        self.add(Role::Prepare, Step::Pause { ms: millis(times.settle) });
        self.add(Role::Listed, run(argv(verbs.list, &[]), false));
        self.add(Role::Alive, run(argv(verbs.status, &[]), false));
    }

    /// The directories that hold the plugins.
    pub(super) fn directories(module: &Plugin, needed: &[Plugin]) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = Vec::new();
        for plugin in [module].into_iter().chain(needed) {
            if !all.contains(&plugin.modules) {
                all.push(plugin.modules.clone());
            }
        }
        all
    }
}

/// The verbs of a client.
struct Verbs {
    status: &'static [&'static str],
    load: &'static [&'static str],
    list: &'static [&'static str],
}

const DAEMON: Verbs =
    Verbs { status: &["status"], load: &["load-module"], list: &["list-modules", "--loaded"] };

const LOGOSCTL: Verbs =
    Verbs { status: &["daemon", "status"], load: &["module", "load"], list: &["module", "ls"] };

fn modules_options(option: &str, module: &Plugin, needed: &[Plugin]) -> Vec<String> {
    Plan::directories(module, needed).iter().flat_map(|dir| [option.to_owned(), text(dir)]).collect()
}

/// A path below the sandbox's own temporary directory.
pub(super) fn inside(path: &str) -> String {
    format!("{TMP}/{path}")
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str) -> Plugin {
        let file = PathBuf::from(format!("/out-{name}/lib/{name}_plugin.so"));
        Plugin { name: name.to_owned(), file, modules: PathBuf::from(format!("/out-{name}/lib")) }
    }

    fn shown(kind: &Kind, needed: &[Plugin], call: &[&str]) -> Vec<String> {
        let times = Times { answer: Duration::from_secs(9), settle: Duration::from_millis(500) };
        let call: Vec<String> = call.iter().map(|word| (*word).to_owned()).collect();
        let plan = Plan::new(kind, Path::new("/bin/host"), &plugin("a"), needed, &call, times);
        assert_eq!(plan.roles.len(), plan.script.steps.len());
        plan.script
            .steps
            .iter()
            .map(|step| match step {
                Step::Dirs { paths } => format!("dirs {}", paths.join(" ")),
                Step::Start { argv, stdin } => format!("start {} <{stdin}", argv.join(" ")),
                Step::Socket { module, .. } => format!("socket {module}"),
                Step::Run { argv, again: true, .. } => format!("again {}", argv.join(" ")),
                Step::Run { argv, again: false, .. } => format!("run {}", argv.join(" ")),
                Step::Pause { ms } => format!("pause {ms}"),
                Step::Stay => "stay".to_owned(),
            })
            .map(|line| line.replace(TMP, "TMP"))
            .collect()
    }

    #[test]
    fn an_old_host_is_given_a_name_and_a_path_alone() {
        let kind = Kind::LogosHost { takes_token: false, takes_persistence: false };
        assert_eq!(
            shown(&kind, &[], &[])[1..],
            ["start /bin/host --name a --path /out-a/lib/a_plugin.so <", "stay"]
        );
    }

    #[test]
    fn what_a_module_needs_has_its_own_host_first() {
        let kind = Kind::LogosHost { takes_token: true, takes_persistence: true };
        assert_eq!(
            shown(&kind, &[plugin("b")], &[]),
            [
                "dirs TMP/lambda-os/user TMP/lambda-os/config TMP/lambda-os/kept TMP/lambda-os/kept/b TMP/lambda-os/kept/a",
                "start /bin/host --name b --path /out-b/lib/b_plugin.so --token-source stdin \
                 --instance-persistence-path TMP/lambda-os/kept/b <lambda-os-verification",
                "socket b",
                "start /bin/host --name a --path /out-a/lib/a_plugin.so --token-source stdin \
                 --instance-persistence-path TMP/lambda-os/kept/a <lambda-os-verification",
                "stay",
            ]
        );
    }

    #[test]
    fn a_one_shot_host_loads_all_in_order() {
        assert_eq!(
            shown(&Kind::OneShot { takes_calls: true }, &[plugin("b")], &["ping", "1"])[1],
            "start /bin/host -m /out-a/lib -m /out-b/lib -l b,a -c a.ping(1) <"
        );
    }

    #[test]
    fn a_daemon_is_asked_twice_whether_it_has_it() {
        let kind = Kind::Daemon { takes_config_dir: true, takes_persistence: false };
        assert_eq!(
            shown(&kind, &[plugin("b")], &["ping"])[1..],
            [
                "start /bin/host -D -m /out-a/lib -m /out-b/lib --config-dir TMP/lambda-os/config <",
                "again /bin/host status",
                "run /bin/host load-module b",
                "run /bin/host load-module a",
                "run /bin/host list-modules --loaded",
                "run /bin/host call a ping",
                "pause 500",
                "run /bin/host list-modules --loaded",
                "run /bin/host status",
            ]
        );
    }

    #[test]
    fn logosctl_starts_its_own_daemon() {
        let kind = Kind::Logosctl { modules_option: Some("--modules-dir".to_owned()) };
        assert_eq!(
            shown(&kind, &[], &[])[1..4],
            [
                "run /bin/host daemon start --detach --modules-dir /out-a/lib",
                "again /bin/host daemon status",
                "run /bin/host module load a",
            ]
        );
    }
}
