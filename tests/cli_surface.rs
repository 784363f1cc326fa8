//! The command line as scripts and people meet it: exit codes, help, usage errors, JSON errors,
//! pipes, colour, completions and manual pages. No workspace is needed for any of it.
#![expect(clippy::disallowed_methods, reason = "tests run shells and man to compare with")]

mod support;

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory as _;
use lambda_os::cli::Cli;

fn run(args: &[&str]) -> (i32, String, String) {
    let home = support::temp_dir();
    let output = support::lambda_os(home.path()).args(args).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (output.status.code().expect("an exit code"), text(&output.stdout), text(&output.stderr))
}

/// Every verb with the verbs below it, as argument lists.
fn verbs() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, before: &[String], all: &mut Vec<Vec<String>>) {
        for sub in command.get_subcommands() {
            let name: Vec<String> = before.iter().cloned().chain([sub.get_name().to_owned()]).collect();
            all.push(name.clone());
            below(sub, &name, all);
        }
    }
    let mut all = Vec::new();
    below(&Cli::command(), &[], &mut all);
    all
}

#[test]
fn every_verb_has_help_that_says_what_it_is_for() {
    let all = verbs();
    assert!(all.len() >= 16, "{all:?}");
    for verb in all {
        let args: Vec<&str> = verb.iter().map(String::as_str).chain(["--help"]).collect();
        let (exit, stdout, stderr) = run(&args);
        assert_eq!((exit, stderr.as_str()), (0, ""), "{args:?}");
        assert!(stdout.contains("Usage: lambda-os"), "{args:?}: {stdout}");
        assert!(!stdout.starts_with("Usage"), "{args:?} has no description");
    }
}

#[test]
fn every_option_says_what_it_does() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{} {} has no help",
                command.get_name(),
                argument.get_id()
            );
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
    Cli::command().debug_assert();
}

#[test]
fn the_help_of_the_program_is_this() {
    let (exit, stdout, _) = run(&["--help"]);
    assert_eq!(exit, 0);
    insta::assert_snapshot!("help", stdout);
}

#[test]
fn wrong_usage_is_exit_2_and_says_nothing_on_stdout() {
    for args in [
        &["statsu"][..],
        &["--no-such-option", "status"],
        &["config"],
        &["config", "chekc"],
        &["completions", "tcsh"],
        &["man", "statsu"],
        &["--color", "maybe", "status"],
        &["--config", "/nonexistent/x.toml", "config", "show"],
        &["config", "check", "/nonexistent/x.toml"],
        &[],
    ] {
        let (exit, stdout, stderr) = run(args);
        assert_eq!((exit, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
        assert!(!stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_slip_in_a_verb_is_answered_with_the_right_one() {
    assert!(run(&["statsu"]).2.contains("'status'"));
    assert!(run(&["man", "statsu"]).2.contains("did you mean status?"));
}

#[test]
fn with_json_a_failure_is_one_object_on_stderr() {
    for args in [
        &["--json", "config", "check", "/nonexistent/x.toml"][..],
        &["man", "statsu", "--json"],
        &["-C", "/nonexistent", "--json", "snapshot"],
    ] {
        let (exit, stdout, stderr) = run(args);
        let object: serde_json::Value =
            serde_json::from_str(&stderr).unwrap_or_else(|_| panic!("{args:?}: {stderr}"));
        assert_eq!(object["schema"], "lambda-os/error/v1", "{args:?}");
        assert_eq!(object["exit"], exit, "{args:?}");
        assert_eq!(stdout, "", "{args:?}");
    }
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let home = support::temp_dir();
    for args in [&["config", "schema"][..], &["completions", "bash"], &["man"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lambda-os"))
            .args(args)
            .env_clear()
            .envs(support::environment(home.path()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("UTF-8");
        let status = child.wait().expect("it ends");
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn a_full_stderr_changes_no_exit_code() {
    let home = support::temp_dir();
    for args in [&["-C", "/nonexistent", "snapshot"][..], &["--json", "-C", "/nonexistent", "snapshot"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
        let status = Command::new(env!("CARGO_BIN_EXE_lambda-os"))
            .args(args)
            .env_clear()
            .envs(support::environment(home.path()))
            .stderr(full)
            .status()
            .expect("it starts");
        assert_eq!(status.code(), Some(1), "{args:?}");
    }
}

#[test]
fn hostile_arguments_are_shown_inert() {
    let name = "x\u{1b}[31m\u{202e}y\u{7}";
    for args in [
        &["man", name][..],
        &["-C", name, "snapshot"],
        &["config", "check", name],
        &["--config", name, "status"],
    ] {
        let (exit, stdout, stderr) = run(args);
        assert_ne!(exit, 0, "{args:?}");
        let active = |shown: &str| shown.chars().any(|c| c != '\n' && lambda_os::domain::text::is_active(c));
        assert!(!active(&stdout) && !active(&stderr), "{args:?}: {stderr:?}");
    }
}

#[test]
fn nothing_waits_for_an_answer() {
    // With a stdin that never says anything, every verb still ends.
    let home = support::temp_dir();
    for verb in ["init", "doctor", "status", "snapshot", "graph", "outdated", "plan"] {
        let mut command = support::lambda_os(home.path());
        let output = command
            .args(["-C", "/nonexistent", verb])
            .timeout(std::time::Duration::from_mins(1))
            .output()
            .expect("it ends by itself");
        assert!(output.status.code().is_some_and(|code| code != 0), "{verb}");
    }
}

/// What a program prints on a terminal, through util-linux's `script`.
fn on_a_terminal(args: &str, environment: &[(&str, &str)]) -> Option<String> {
    let home = support::temp_dir();
    let mut command = Command::new("script");
    command.args(["-qec", &format!("{} {args}", env!("CARGO_BIN_EXE_lambda-os")), "/dev/null"]);
    command
        .env_clear()
        .envs(support::environment(home.path()))
        .env("TERM", "xterm")
        .envs(environment.iter().copied());
    command.current_dir(home.path()).stdin(Stdio::null());
    match command.output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            eprintln!("skipped: no `script` program ({error})");
            None
        }
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let args = "doctor -C /nonexistent";
    let has_colour = |shown: &str| shown.contains("\u{1b}[3");
    let Some(shown) = on_a_terminal(args, &[]) else { return };
    assert!(has_colour(&shown), "{shown:?}");
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let shown = on_a_terminal(args, &[environment]).expect("it ran before");
        assert!(!has_colour(&shown), "{environment:?}: {shown:?}");
    }
    let shown = on_a_terminal(args, &[("NO_COLOR", "")]).expect("it ran before");
    assert!(has_colour(&shown), "an empty NO_COLOR does not count");
    assert!(!has_colour(&run(&["doctor", "-C", "/nonexistent"]).1), "a pipe is no terminal");
    assert!(has_colour(&run(&["doctor", "-C", "/nonexistent", "--color=always"]).1));
}

/// Run a real program on a text; `None` where it is not installed.
fn judged_by(program: &str, args: &[&str], input: &[u8]) -> Option<(bool, String)> {
    let home = support::temp_dir();
    let spawned = Command::new(program)
        .args(args)
        .env_clear()
        .envs(support::environment(home.path()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprintln!("skipped: no `{program}` ({error})");
            return None;
        }
    };
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    Some((output.status.success() && output.stderr.is_empty(), support::said(&output)))
}

#[test]
fn completion_scripts_are_right_in_the_real_shells() {
    for (shell, args) in [("bash", &["-n"][..]), ("zsh", &["-n"]), ("fish", &["--no-execute"])] {
        let (exit, script, _) = run(&["completions", shell]);
        assert_eq!(exit, 0, "{shell}");
        assert!(script.contains("lambda-os") && script.contains("snapshot"), "{shell}");
        if let Some((fine, said)) = judged_by(shell, args, script.as_bytes()) {
            assert!(fine, "{shell}: {said}");
        }
    }
}

#[test]
fn manual_pages_render_without_a_warning() {
    let dir = support::temp_dir();
    let out = dir.path().join("man");
    let (exit, _, stderr) = run(&["man", "--out", out.to_str().expect("UTF-8")]);
    assert_eq!((exit, stderr.as_str()), (0, ""));
    let mut pages: Vec<String> = std::fs::read_dir(&out)
        .expect("the directory was made")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    pages.sort();
    assert_eq!(pages.len(), verbs().len() + 1, "{pages:?}");
    for verb in verbs() {
        assert!(pages.contains(&format!("lambda-os-{}.1", verb.join("-"))), "{verb:?} has no page");
    }
    for page in pages {
        let source = std::fs::read(Path::new(&out).join(&page)).expect("readable");
        if let Some((fine, said)) = judged_by("groff", &["-man", "-Tutf8", "-ww"], &source) {
            assert!(fine, "{page}: {said}");
        }
    }
    let (exit, page, _) = run(&["man", "config", "check"]);
    assert_eq!(exit, 0);
    assert!(page.contains("lambda\\-os\\-config\\-check"), "{page}");
    assert!(run(&["man"]).1.contains(".SH EXIT STATUS"));
}

#[test]
fn wrong_usage_is_json_where_json_was_asked_for() {
    let home = support::temp_dir();
    let output =
        support::lambda_os(home.path()).args(["plan", "--json", "--no-such-flag"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).expect("one JSON object");
    assert_eq!(error["schema"], "lambda-os/error/v1");
    assert_eq!(error["exit"], 2);
    assert!(error["message"].as_str().is_some_and(|message| message.contains("--no-such-flag")), "{error}");
}
