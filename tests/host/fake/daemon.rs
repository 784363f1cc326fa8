//! `logoscore` as a daemon with client verbs, and `logosctl`: one daemon, two ways to speak to it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::host::load;
use crate::machine;
use crate::plugin::Plugin;

/// How long the daemon waits for a module to register.
const PATIENCE: Duration = Duration::from_secs(2);

const CORE_HELP: &str = "Usage: logoscore [OPTIONS] [SUBCOMMAND]
Options:
  -D,--daemon                 Run as a daemon
  -m,--modules-dir DIR ...    Directories of modules
  --config-dir DIR            Configuration
  --persistence-path DIR      Data of modules
  -j                          JSON
Subcommands:
  status  load-module  unload-module  list-modules  module-info  call  stop";

/// `logoscore`.
pub fn logoscore(words: &[&str]) -> i32 {
    match words {
        ["--help"] => println!("{CORE_HELP}"),
        ["--version"] => println!("logoscore 0.2.0"),
        ["-D" | "--daemon", rest @ ..] => return serve(rest, "LOGOSCORE_CONFIG_DIR"),
        ["status"] => return ask("LOGOSCORE_CONFIG_DIR", &["status"], 1),
        ["load-module", name] => return ask("LOGOSCORE_CONFIG_DIR", &["load", name], 2),
        ["list-modules"] => return ask("LOGOSCORE_CONFIG_DIR", &["list", "rows"], 2),
        ["list-modules", "--loaded"] => return ask("LOGOSCORE_CONFIG_DIR", &["list", "rows", "loaded"], 2),
        ["call", rest @ ..] => return ask("LOGOSCORE_CONFIG_DIR", &[&["call"], rest].concat(), 2),
        ["stop"] => return ask("LOGOSCORE_CONFIG_DIR", &["stop"], 2),
        _ => return envelope("INVALID_ARGS", "unknown arguments", 1),
    }
    0
}

const CTL_HELP: &str = "Usage: logosctl COMMAND
Commands:
  daemon   start, stop, status
  module   ls, show, load, unload
  call     call a method
  package  …
  catalog  …
  key      …";

/// `logosctl`.
pub fn logosctl(words: &[&str]) -> i32 {
    let dir = "LOGOSCTL_CONFIG_DIR";
    match words {
        ["--help"] => println!("{CTL_HELP}"),
        ["--version"] => println!("logosctl 0.1.0"),
        ["daemon", "start", "--help"] => println!("  --detach\n  -m, --modules-dir DIR ..."),
        ["daemon", "start", "--detach", rest @ ..] => return start(rest, dir),
        ["daemon", "run", rest @ ..] => return serve(rest, dir),
        ["daemon", "status"] => return ask(dir, &["status"], 1),
        ["daemon", "stop"] => return ask(dir, &["stop"], 2),
        ["module", "ls"] => return ask(dir, &["list", "object"], 2),
        ["module", "load", name] => return ask(dir, &["load", name], 2),
        ["call", rest @ ..] => return ask(dir, &[&["call"], rest].concat(), 2),
        _ => return envelope("INVALID_ARGS", "unknown arguments", 1),
    }
    0
}

/// Start the daemon apart from this program, and return once it answers.
fn start(rest: &[&str], dir: &str) -> i32 {
    let Ok(me) = std::env::current_exe() else { return 1 };
    let mut command = Command::new(me);
    command.args(["daemon", "run"]).args(rest);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.spawn().is_err() {
        return 1;
    }
    let begun = Instant::now();
    while UnixStream::connect(config(dir).join("daemon.sock")).is_err() {
        if begun.elapsed() > Duration::from_secs(10) {
            return envelope("NO_DAEMON", "the daemon did not start", 2);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{{\"status\":\"ok\"}}");
    0
}

fn config(variable: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from("/nonexistent"), PathBuf::from)
}

fn envelope(code: &str, message: &str, exit: i32) -> i32 {
    println!("{{\"status\":\"error\",\"code\":\"{code}\",\"message\":\"{message}\"}}");
    exit
}

/// Ask the daemon, show its answer, exit as it says.
fn ask(variable: &str, words: &[&str], without: i32) -> i32 {
    let dir = config(variable);
    let Ok(mut stream) = UnixStream::connect(dir.join("daemon.sock")) else {
        return envelope("NO_DAEMON", "no daemon is running", without);
    };
    let token = std::fs::read_to_string(dir.join("token")).unwrap_or_default();
    let mut answer = String::new();
    let asked = write!(stream, "{token}\t{}\n", words.join("\t"));
    if asked.is_err() || stream.read_to_string(&mut answer).is_err() || answer.is_empty() {
        return envelope("DAEMON_UNREACHABLE", "the daemon does not answer", 2);
    }
    let (code, json) = answer.split_once('\n').unwrap_or(("1", ""));
    println!("{json}");
    code.parse().unwrap_or(1)
}

#[derive(Default)]
struct Daemon {
    dirs: Vec<String>,
    hosts: BTreeMap<String, Child>,
}

fn serve(words: &[&str], variable: &str) -> i32 {
    let mut daemon = Daemon::default();
    let mut dir = config(variable);
    for pair in words.chunks(2) {
        match pair {
            ["-m" | "--modules-dir", modules] => daemon.dirs.push((*modules).to_owned()),
            ["--config-dir", at] => dir = PathBuf::from(at),
            ["--persistence-path", _] => {}
            _ => return 1,
        }
    }
    machine::begin_session();
    let token = format!("token-{}", machine::number());
    if std::fs::write(dir.join("token"), &token).is_err() {
        eprintln!("cannot write the token");
        return 1;
    }
    let Ok(listener) = UnixListener::bind(dir.join("daemon.sock")) else { return 1 };
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let mut line = String::new();
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|read| read == 1) && byte[0] != b'\n' {
            line.push(char::from(byte[0]));
        }
        let words: Vec<&str> = line.split('\t').collect();
        let (code, json) = match words.split_first() {
            Some((given, words)) if *given == token => daemon.answer(words),
            Some((given, _)) if given.is_empty() && line.is_empty() => continue,
            _ => error("AUTH_FAILED", "wrong token", 1),
        };
        let _ = write!(stream, "{code}\n{json}");
        if words.get(1) == Some(&"stop") {
            return 0;
        }
    }
    0
}

fn error(code: &str, message: &str, exit: i32) -> (i32, String) {
    (exit, format!("{{\"status\":\"error\",\"code\":\"{code}\",\"message\":\"{message}\"}}"))
}

impl Daemon {
    fn answer(&mut self, words: &[&str]) -> (i32, String) {
        match words {
            ["status"] => (0, "{\"status\":\"ok\",\"daemon\":\"running\"}".to_owned()),
            ["stop"] => (0, "{\"status\":\"ok\"}".to_owned()),
            ["load", name] => self.load(name),
            ["list", form, rest @ ..] => {
                let rows = self.rows(rest == ["loaded"]);
                (0, if *form == "rows" { rows } else { format!("{{\"status\":\"ok\",\"modules\":{rows}}}") })
            }
            ["call", name, "ping", ..] if self.is_loaded(name) => {
                (0, "{\"status\":\"ok\",\"result\":\"pong\"}".to_owned())
            }
            ["call", name, ..] if !self.is_loaded(name) => {
                error("MODULE_NOT_LOADED", "the module is not loaded", 3)
            }
            ["call", ..] => error("METHOD_NOT_FOUND", "no such method", 4),
            _ => error("INVALID_ARGS", "unknown", 1),
        }
    }

    fn load(&mut self, name: &str) -> (i32, String) {
        let Some(path) = Plugin::find(name, &self.dirs) else {
            return error("MODULE_NOT_FOUND", &format!("no module {name}"), 3);
        };
        let plugin = Plugin::read(&path).unwrap_or_default();
        let mut loaded = Vec::new();
        for other in &plugin.depends {
            if !self.is_loaded(other) {
                let (code, json) = self.load(other);
                if code != 0 {
                    return (code, json);
                }
                loaded.push(format!("\"{other}\""));
            }
        }
        match load(name, &self.dirs, PATIENCE) {
            Ok(host) => {
                self.hosts.insert(name.to_owned(), host);
                let loaded = loaded.join(",");
                let json = format!(
                    "{{\"status\":\"ok\",\"module\":\"{name}\",\"version\":\"1.0.0\",\"dependencies_loaded\":[{loaded}]}}"
                );
                (0, json)
            }
            Err(why) if why == "timeout" => error("TIMEOUT", &format!("{name} did not register"), 3),
            Err(why) => error("MODULE_LOAD_FAILED", &why, 3),
        }
    }

    fn is_loaded(&mut self, name: &str) -> bool {
        self.hosts.get_mut(name).is_some_and(|host| matches!(host.try_wait(), Ok(None)))
    }

    fn rows(&mut self, loaded_only: bool) -> String {
        let names: Vec<String> = self.hosts.keys().cloned().collect();
        let mut rows = Vec::new();
        for name in names {
            let status = if self.is_loaded(&name) { "loaded" } else { "crashed" };
            if status == "loaded" || !loaded_only {
                rows.push(format!("{{\"name\":\"{name}\",\"version\":\"1.0.0\",\"status\":\"{status}\"}}"));
            }
        }
        format!("[{}]", rows.join(","))
    }
}
