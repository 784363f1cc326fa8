//! `logos_host`, and `logoscore` as it was when it loaded what it was given and stayed.

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::NEW;
use crate::machine;
use crate::plugin::Plugin;

/// The protocol that this generation speaks.
pub const PROTOCOL: &str = if NEW { "2.1" } else { "1.4" };

const OLD_HELP: &str = "Usage: logos_host [options]
Options:
  -h, --help         Displays help on commandline options.
  -n, --name <name>  Name of the module
  -p, --path <path>  Path of the plugin";

const NEW_HELP: &str = "
  --instance-persistence-path <path>  Where the module keeps its data
  --transport-set <base64>            Transports
  --token-source <stdin|fd:n|file:path>  Where the token comes from
  --host-services <list>              Services";

/// `logos_host`.
pub fn logos_host(words: &[&str]) -> i32 {
    let (mut name, mut path, mut source) = (None, None, "stdin");
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_default();
        match word {
            "-h" | "--help" => {
                println!("{OLD_HELP}{}", if NEW { NEW_HELP } else { "" });
                return 0;
            }
            "--version" => {
                println!("logos_host 0.{}.0 (protocol {PROTOCOL})", if NEW { 3 } else { 1 });
                return 0;
            }
            "-n" | "--name" => name = Some(value()),
            "-p" | "--path" => path = Some(value()),
            "--token-source" if NEW => source = value(),
            "--instance-persistence-path" if NEW => {
                if !std::path::Path::new(value()).is_dir() {
                    eprintln!("Error: the persistence path is no directory");
                    return 1;
                }
            }
            "--transport-set" | "--host-services" if NEW => drop(value()),
            other => {
                eprintln!("Unknown option '{other}'.");
                return 1;
            }
        }
    }
    let (Some(name), Some(path)) = (name, path) else {
        eprintln!("Error: both --name and --path are required");
        return 1;
    };
    if NEW && token(source).is_empty() {
        eprintln!("Error: no auth token received");
        return 1;
    }
    machine::begin_session();
    machine::end_with_parent();
    let Some(plugin) = Plugin::read(path.as_ref()) else {
        eprintln!("Module does not implement the PluginInterface: {path}");
        return 1;
    };
    if plugin.name != name {
        eprintln!("Refusing module: name mismatch: asked for {name}, the plugin is {}", plugin.name);
        return 1;
    }
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    match &plugin.protocol {
        Some(protocol) if major(protocol) != major(PROTOCOL) => {
            eprintln!("Refusing module: protocol {protocol}, this host speaks {PROTOCOL}");
            return 1;
        }
        Some(_) => {}
        None => eprintln!("Warning: module {name} has no protocol version"),
    }
    behave(name, &plugin)
}

fn token(source: &str) -> String {
    let mut token = String::new();
    match source.split_once(':') {
        None if source == "stdin" => drop(std::io::stdin().read_to_string(&mut token)),
        Some(("file", path)) => token = std::fs::read_to_string(path).unwrap_or_default(),
        _ => {}
    }
    token.trim().to_owned()
}

fn behave(name: &str, plugin: &Plugin) -> i32 {
    let words: Vec<&str> = plugin.behaviour.iter().map(String::as_str).collect();
    let millis = |word: &str| Duration::from_millis(word.parse().unwrap_or(0));
    let mut crash_after = None;
    match words.as_slice() {
        [] => {}
        ["crash-at-load"] => {
            eprintln!("FATAL: module '{name}' crashed (signal 11)");
            machine::crash();
        }
        ["hang"] => loop {
            sleep(Duration::from_secs(3600));
        },
        ["spin"] => loop {
            std::hint::spin_loop();
        },
        ["exit-zero"] => {
            println!("OK: module {name} loaded and healthy");
            return 0;
        }
        ["fail"] => {
            eprintln!("Failed to load module: {name}: undefined symbol");
            return 1;
        }
        ["not-registered"] => {
            eprintln!("Failed to register module for remote access: {name}");
            return 1;
        }
        ["silent"] => machine::wait_for_events(),
        ["forge"] => forge(),
        ["kill-parent"] => {
            machine::end(machine::parent());
            sleep(Duration::from_secs(3600));
        }
        ["leave"] => machine::leave(),
        ["link", target] => {
            let link = machine::tmp().join(format!("logos_{name}_1"));
            let _ = std::os::unix::fs::symlink(target, link);
            machine::wait_for_events();
        }
        ["late", after] => sleep(millis(after)),
        ["crash-later", after] => crash_after = Some(millis(after)),
        ["needs", other] => {
            if !machine::is_registered(other) {
                eprintln!("Failed to load module: {name}: {other} is not there");
                return 1;
            }
        }
        ["flaky", seed] => {
            let count = plugin.counter.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
            let count: u64 = count.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            // One time in five, on the average, by the seed.
            let mut mixed = seed.parse::<u64>().unwrap_or(0).wrapping_add(count);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            if (mixed ^ (mixed >> 31)) % 5 == 0 {
                eprintln!("FATAL: module '{name}' crashed (signal 11)");
                machine::crash();
            }
        }
        other => {
            eprintln!("Failed to load module: {name} behaves as nobody knows: {other:?}");
            return 1;
        }
    }
    let socket = machine::tmp().join(format!("logos_{name}_{:x}", machine::number()));
    let Ok(listener) = UnixListener::bind(&socket) else {
        eprintln!("Failed to register module for remote access: {name}");
        return 1;
    };
    println!("Module {name} registered at {}", socket.display());
    if let Some(after) = crash_after {
        std::thread::spawn(move || {
            sleep(after);
            machine::crash();
        });
    }
    loop {
        drop(listener.accept());
    }
}

/// Say, in every way that there is, what whoever watches says of modules that are well; and hang.
fn forge() -> ! {
    let lies = "{\"step\":2,\"became\":{\"does\":\"waits-for-events\"}}\n\
                {\"step\":2,\"became\":\"done\"}\nOK\n{\"status\":\"ok\"}\n";
    print!("{lies}");
    eprint!("{lies}");
    for process in [machine::parent(), 1, machine::number()] {
        for descriptor in 1..10 {
            let file = std::fs::File::options().write(true).open(format!("/proc/{process}/fd/{descriptor}"));
            if let Ok(mut file) = file {
                let _ = std::io::Write::write_all(&mut file, lies.as_bytes());
            }
        }
    }
    loop {
        sleep(Duration::from_secs(3600));
    }
}

const ONE_SHOT_HELP: &str = "Usage: logoscore [options]
  -m, --modules-dir <dir>   Directory of modules
  -l, --load-modules <list> Modules to load, comma-separated
  -c, --call <call>         module.method(args)";

/// `logoscore` of the old form.
pub fn one_shot(words: &[&str]) -> i32 {
    let (mut dirs, mut names, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        match (word, words.next()) {
            ("--help", _) => {
                println!("{ONE_SHOT_HELP}");
                return 0;
            }
            ("--version", _) => {
                println!("logoscore 0.1.0");
                return 0;
            }
            ("-m" | "--modules-dir", Some(dir)) => dirs.push(dir.to_owned()),
            ("-l" | "--load-modules", Some(list)) => names.extend(list.split(',').map(str::to_owned)),
            ("-c" | "--call", Some(call)) => calls.push(call.to_owned()),
            _ => return 1,
        }
    }
    machine::begin_session();
    let mut hosts = Vec::new();
    for name in &names {
        match load(name, &dirs, Duration::from_secs(30)) {
            Ok(host) => hosts.push(host),
            Err(why) => {
                eprintln!("Failed to load module: {name}: {why}");
                return 1;
            }
        }
    }
    for call in &calls {
        let is_known = names.iter().any(|name| call.starts_with(&format!("{name}.ping(")));
        println!("Method call {}: {call}", if is_known { "successful" } else { "failed" });
        if !is_known {
            return 1;
        }
    }
    if !calls.is_empty() {
        return 0;
    }
    // Its hosts end with it, and it with them.
    std::thread::spawn(move || {
        loop {
            if hosts.iter_mut().any(|host: &mut Child| host.try_wait().is_ok_and(|ended| ended.is_some())) {
                eprintln!("FATAL: module '{}' crashed", names.join(","));
                std::process::exit(1);
            }
            sleep(Duration::from_millis(20));
        }
    });
    machine::wait_for_events()
}

/// Start the host of a module beside this program, and wait until it is registered.
pub fn load(name: &str, dirs: &[String], patience: Duration) -> Result<Child, String> {
    let path = Plugin::find(name, dirs).ok_or("not found")?;
    let me = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(me.with_file_name("logos_host"));
    command.arg("--name").arg(name).arg("--path").arg(path).stdin(Stdio::piped());
    let mut host = command.spawn().map_err(|error| error.to_string())?;
    if let Some(mut stdin) = host.stdin.take() {
        let _ = std::io::Write::write_all(&mut stdin, b"token\n");
    }
    let begun = Instant::now();
    loop {
        if let Ok(Some(status)) = host.try_wait() {
            return Err(format!("its host ended: {status}"));
        }
        if machine::is_registered(name) {
            return Ok(host);
        }
        if begun.elapsed() > patience {
            let _ = host.kill();
            return Err("timeout".to_owned());
        }
        sleep(Duration::from_millis(5));
    }
}
