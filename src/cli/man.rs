//! `man [VERB]`: the manual pages, made from the same definitions as `--help`.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::{Cli, Exit, Failure, show};
use crate::domain::text;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the page of this verb instead of the program's
    #[arg(value_name = "VERB", conflicts_with = "out")]
    verb: Vec<String>,
    /// Write the pages of the program and of every verb into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What stands on the program's page besides its options.
const EXTRA: &str = r".SH EXIT STATUS
.TP
0
The question was answered, or the work was done.
.TP
1
It failed.
.TP
2
The arguments or the configuration are wrong.
.TP
3
Degraded: a module failed, timed out or is stuck (only run, verify, status, doctor).
.TP
4
Changes exist (with \-\-exit\-code).
.TP
5
Refused by policy.
.TP
6
Approvals are missing.
.TP
7
Something that must be intact is not.
.TP
8
A running daemon is needed.
.TP
9
Somebody else holds a lock.
.TP
75
It may work later.
.TP
130
Interrupted.
.SH ENVIRONMENT
.TP
LAMBDA_OS_CONFIG
The configuration file, unless \-\-config names one.
.TP
STATE_DIRECTORY
The state directory, unless \-\-state\-dir or the configuration names one.
.TP
NO_COLOR
When set and not empty: no colour.
.SH FILES
.TP
/etc/lambda-os/config.toml
The system's configuration.
.TP
GIT_COMMON_DIR/lambda-os/config.toml
The workspace's configuration, where the system has none.
.TP
GIT_COMMON_DIR/lambda-os/
The state directory, unless another is named: the journal audit.jsonl, objects/, mirrors/, cache/.
";

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let root = built(Cli::command(), "lambda-os");
    if let Some(dir) = &args.out {
        return write_all(&root, dir);
    }
    let mut command = &root;
    for verb in &args.verb {
        command = command.find_subcommand(verb).ok_or_else(|| {
            let names = command.get_subcommands().map(Command::get_name).collect::<Vec<_>>();
            let failure = Failure::new(
                Exit::Usage,
                format!("there is no verb {} to show the page of", text::quoted(verb)),
            );
            match text::nearest(verb, names.iter().copied()) {
                Some(near) => failure.hint(format!("did you mean {near}?")),
                None => failure.hint("see: lambda-os --help"),
            }
        })?;
    }
    show::data(&page(command, args.verb.is_empty())?)
}

/// Every command with the name of its page: the verb after the names before it.
fn built(command: Command, name: &str) -> Command {
    let mut command = command.display_name(name.to_owned()).disable_help_subcommand(true);
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for sub in names {
        let page = format!("{name}-{sub}");
        command = command.mut_subcommand(&sub, |sub| built(sub, &page));
    }
    command
}

fn page(command: &Command, is_root: bool) -> Result<String, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(Exit::Failed, format!("cannot render the page: {error}"));
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).map_err(failed)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    if is_root {
        page.push_str(EXTRA);
    }
    Ok(page)
}

fn write_all(root: &Command, dir: &Path) -> Result<Exit, Failure> {
    let shown = |path: &Path| text::inert_bytes(path.as_os_str().as_encoded_bytes());
    std::fs::create_dir_all(dir).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot make the directory {}: {error}", shown(dir)))
    })?;
    let mut waiting = vec![(root, true)];
    while let Some((command, is_root)) = waiting.pop() {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let path = dir.join(format!("{name}.1"));
        std::fs::write(&path, page(command, is_root)?)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot write {}: {error}", shown(&path))))?;
        waiting.extend(command.get_subcommands().map(|sub| (sub, false)));
    }
    Ok(Exit::Ok)
}
