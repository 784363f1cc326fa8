//! A stand-in for the programs that load modules: `logos_host`, `logoscore`, `logosctl` and `lm`, of
//! two generations, by the name it is called with. It speaks as they do (arguments, exit codes, JSON,
//! sockets, log lines, sessions) and "loads" text files that say how the module behaves:
//!
//! ```text
//! fake plugin
//! name = waku
//! depends = store, chat
//! protocol = 2.1
//! behaviour = crash-later 200
//! ```
//!
//! It is compiled on demand, with `std` alone, for one generation (`FAKE_GENERATION`, `old` or `new`).

mod daemon;
mod host;
mod machine;
mod plugin;

use std::process::exit;

/// Which generation this is.
const NEW: bool = matches!(env!("FAKE_GENERATION").as_bytes(), b"new");

fn main() {
    let mut args = std::env::args();
    let called = args.next().unwrap_or_default();
    let name = called.rsplit('/').next().unwrap_or_default().to_owned();
    let args: Vec<String> = args.collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let code = match (name.as_str(), NEW) {
        ("logos_host", _) => host::logos_host(&words),
        ("logoscore", true) => daemon::logoscore(&words),
        ("logoscore", false) => host::one_shot(&words),
        ("logosctl", true) => daemon::logosctl(&words),
        ("lm", _) => lm(&words),
        _ => {
            eprintln!("{name}: there is no such program of this generation");
            127
        }
    };
    exit(code)
}

fn lm(words: &[&str]) -> i32 {
    match words {
        ["--help"] => println!("Usage: lm [metadata|methods|events] <plugin> [--json]"),
        ["--version"] => println!("lm 0.1.0"),
        ["metadata", path, "--json"] => match plugin::Plugin::read(path.as_ref()) {
            Some(plugin) => println!("{}", plugin.to_json()),
            None => {
                eprintln!("Error: not a plugin: {path}");
                return 1;
            }
        },
        _ => return 1,
    }
    0
}
