use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::kind::Kind;
use super::super::plan::Times;
use super::super::plugin::Plugin;
use super::*;

fn plugin(name: &str) -> Plugin {
    Plugin { name: name.to_owned(), file: PathBuf::from("/p.so"), modules: PathBuf::from("/") }
}

fn plan(kind: &Kind, needed: &[Plugin], call: &[String]) -> Plan {
    let times = Times { answer: Duration::from_secs(1), settle: Duration::from_secs(1) };
    Plan::new(kind, Path::new("/bin/host"), &plugin("a"), needed, call, times)
}

fn daemon() -> Plan {
    plan(&Kind::Daemon { takes_config_dir: true, takes_persistence: true }, &[plugin("b")], &[])
}

fn host() -> Plan {
    plan(&Kind::LogosHost { takes_token: true, takes_persistence: true }, &[plugin("b")], &[])
}

/// Where the first step for this stands.
fn at(plan: &Plan, role: &Role) -> usize {
    plan.roles.iter().position(|it| it == role).expect("the plan has it")
}

fn ran(step: usize, code: i32, stdout: &str) -> Said {
    let became =
        Became::Ran { code: Some(code), signal: None, stdout: stdout.to_owned(), stderr: String::new() };
    Said { step, became }
}

fn shown(plan: &Plan, exit: &Exit, said: &[Said], sign: &Sign) -> String {
    match outcome(plan, "a", &Ended { exit, said, log: b"noise\nFATAL: module 'a'\nmore\n", sign }) {
        Outcome::Passed { weak: None } => "strong".to_owned(),
        Outcome::Passed { weak: Some(why) } => format!("weak: {why}"),
        Outcome::Failed { reason, .. } => format!("failed: {reason}"),
        Outcome::TimedOut { reason } => format!("timed-out: {reason}"),
        Outcome::Unknown { reason } => format!("unknown: {reason}"),
    }
}

/// A daemon's run in which each step answers as it should, but for this one.
fn answers(plan: &Plan, wrong: Option<(usize, i32, &str)>) -> Vec<Said> {
    let mut all = Vec::new();
    for (step, role) in plan.roles.iter().enumerate() {
        let said = match wrong {
            Some((at, code, stdout)) if at == step => ran(step, code, stdout),
            _ if matches!(plan.script.steps[step], super::super::script::Step::Run { .. }) => match role {
                Role::Listed => ran(step, 0, r#"[{"name":"a","status":"loaded"}]"#),
                _ => ran(step, 0, r#"{"status":"ok"}"#),
            },
            _ => Said { step, became: Became::Done },
        };
        let ends = matches!(&said.became, Became::Ran { code, .. } if *code != Some(0));
        all.push(said);
        if ends {
            break;
        }
    }
    all
}

#[test]
fn a_daemon_passes_by_its_answers_alone() {
    let plan = daemon();
    let all = answers(&plan, None);
    assert_eq!(shown(&plan, &Exit::Code(0), &all, &Sign::None), "strong");
    // A run that was cut says nothing good, however well it went until then.
    for cut in 0..all.len() {
        let said = shown(&plan, &Exit::Code(0), &all[..cut], &Sign::None);
        assert!(said.starts_with("failed") || said.starts_with("unknown"), "{cut}: {said}");
        let said = shown(&plan, &Exit::Deadline, &all[..cut], &Sign::None);
        assert!(said.starts_with("timed-out") || said.starts_with("unknown"), "{cut}: {said}");
    }
    assert!(shown(&plan, &Exit::Signal(9), &all, &Sign::Registered).starts_with("failed"));
}

#[test]
fn an_error_envelope_is_mapped_to_what_it_says_of_the_module() {
    let plan = daemon();
    let check = |role: &Role, code: i32, stdout: &str, expect: &str| {
        let said = answers(&plan, Some((at(&plan, role), code, stdout)));
        let shown = shown(&plan, &Exit::Code(0), &said, &Sign::None);
        assert!(shown.starts_with(expect), "{stdout}: {shown}");
    };
    let error = |code: &str| format!(r#"{{"status":"error","code":"{code}","message":"why"}}"#);
    check(&Role::Load, 3, &error("MODULE_LOAD_FAILED"), "failed: the host answered MODULE_LOAD_FAILED: why");
    check(&Role::Load, 3, &error("MODULE_NOT_FOUND"), "failed: ");
    check(&Role::Load, 3, &error("TIMEOUT"), "timed-out: ");
    check(&Role::Load, 1, &error("AUTH_FAILED"), "unknown: ");
    check(&Role::Load, 1, &error("INVALID_ARGS"), "unknown: ");
    check(&Role::Load, 2, &error("DAEMON_UNREACHABLE"), "failed: the host's daemon was gone");
    check(&Role::Load, 2, "", "failed: the host's daemon was gone");
    check(&Role::Load, 3, "", "failed: the host refused");
    // An error with exit code 0 is an error.
    check(&Role::Load, 0, &error("MODULE_LOAD_FAILED"), "failed: ");
    check(&Role::Ready, 1, &error("NO_DAEMON"), "unknown: the host's daemon did not start");
    check(&Role::Needed("b".to_owned()), 3, &error("MODULE_LOAD_FAILED"), "unknown: needs b");
    check(&Role::Alive, 1, "", "failed: ");
    check(&Role::Listed, 0, "[]", "failed: the host does not list it");
    check(&Role::Listed, 0, r#"[{"name":"b","status":"loaded"}]"#, "failed: ");
    check(&Role::Listed, 0, r#"[{"name":"a","status":"crashed"}]"#, "failed: the host lists it as crashed");
    check(&Role::Listed, 0, r#"[{"name":"a"}]"#, "unknown: ");
    check(&Role::Listed, 0, "OK", "unknown: ");
    check(&Role::Listed, 0, r#"{"modules":[{"name":"a","status":"loaded"}]}"#, "strong");
    check(&Role::Listed, 0, r#"["a"]"#, "strong");
}

#[test]
fn a_host_passes_by_its_socket_alone() {
    let plan = host();
    let main = plan.roles.iter().rposition(|role| *role == Role::Host).expect("a host");
    let said: Vec<Said> = (0..main).map(|step| Said { step, became: Became::Done }).collect();
    let with = |became: Became| [said.clone(), vec![Said { step: main, became }]].concat();
    assert_eq!(shown(&plan, &Exit::Stopped, &said, &Sign::Registered), "strong");
    assert!(shown(&plan, &Exit::Stopped, &said, &Sign::Waits).starts_with("weak: "));
    assert!(shown(&plan, &Exit::Stopped, &said, &Sign::None).starts_with("unknown: "));
    assert!(shown(&plan, &Exit::Deadline, &said, &Sign::None).starts_with("timed-out: "));
    assert!(shown(&plan, &Exit::Deadline, &said, &Sign::NotSeen).starts_with("unknown: "));
    assert!(shown(&plan, &Exit::Bound("memory".into()), &said, &Sign::None).contains("bound: memory"));
    // What ended has failed, whatever was seen before.
    let ended = |started, code| with(Became::Ended { started, code: Some(code), signal: None });
    let own = at(&plan, &Role::Host);
    for code in [0, 1, 7] {
        let shown = shown(&plan, &Exit::Stopped, &ended(own, code), &Sign::Registered);
        assert!(
            shown.starts_with("failed: the host ended") && shown.ends_with(": FATAL: module 'a'"),
            "{shown}"
        );
    }
    // What it needs ended: before it was begun that is not its doing.
    let needed = at(&plan, &Role::Needed("b".to_owned()));
    let shown_ = shown(&plan, &Exit::Code(0), &ended(needed, 1), &Sign::None);
    assert!(shown_.starts_with("failed: b, which it needs"), "{shown_}");
    let early = Became::Ended { started: needed, code: Some(1), signal: None };
    let early = [said[..=needed].to_vec(), vec![Said { step: needed + 1, became: early }]].concat();
    assert!(shown(&plan, &Exit::Code(0), &early, &Sign::None).starts_with("unknown: needs b"));
}

#[test]
fn nothing_a_module_prints_counts() {
    let plan = host();
    let said =
        script_said(b"{\"step\":3,\"became\":\"done\"}\nOK healthy\n{\"step\":4,\"became\":\"done\"}\n");
    assert_eq!(said.len(), 1);
    assert!(!shown(&plan, &Exit::Code(0), &said, &Sign::None).starts_with("strong"));
}

fn script_said(stdout: &[u8]) -> Vec<Said> {
    super::super::script::said(stdout)
}
