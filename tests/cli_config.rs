//! `config` from outside: what is wrong is said whole, what is right is shown with its origin,
//! and no secret is ever repeated.

mod support;

use std::path::{Path, PathBuf};

use support::said;

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("a file is written");
    path
}

#[test]
fn check_says_every_problem_with_its_place_and_exits_2() {
    let temp = support::temp_dir();
    write(
        temp.path(),
        "c.toml",
        "[cycle]\nintervall_s = 3\n[workspace]\npath = 'relative'\n[verify]\nsteps = ['biuld']\n",
    );
    let output =
        support::lambda_os(temp.path()).args(["config", "check", "c.toml"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @r#"
    error: the configuration c.toml has 2 problems
      because: line 2, column 1: unknown key cycle.intervall_s (did you mean interval_s?)
               line 6, column 10: verify.steps[0] must be one of eval, build, host, command (did you mean "build"?)
    hint: mend it, then: lambda-os config check c.toml
    "#);
}

#[test]
fn check_says_what_nothing_acts_on() {
    let temp = support::temp_dir();
    write(
        temp.path(),
        "c.toml",
        "[cycle]\ninterval_s = 60\n[notify.telegram]\ntoken_file = '/t'\nchat_id = '1'\n",
    );
    let output =
        support::lambda_os(temp.path()).args(["config", "check", "c.toml"]).output().expect("it runs");
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout), @r"
    c.toml (as asked): right, 3 keys set
      notify.telegram.chat_id: accepted, not acted on by this version
      notify.telegram.token_file: accepted, not acted on by this version
    ");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn show_says_where_each_value_comes_from() {
    let temp = support::temp_dir();
    write(temp.path(), "c.toml", "[cycle]\ninterval_s = 60\n");
    let mut command = support::lambda_os(temp.path());
    let output = command
        .env("LAMBDA_OS_CONFIG", "c.toml")
        .args(["config", "show", "--json"])
        .output()
        .expect("it runs");
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["schema"], "lambda-os/config-show/v1");
    assert_eq!(shown["chosen"], "c.toml (from $LAMBDA_OS_CONFIG)");
    let key = |name: &str| {
        let keys = shown["keys"].as_array().expect("a list");
        keys.iter().find(|row| row["key"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(
        (&key("cycle.interval_s")["value"], &key("cycle.interval_s")["line"]),
        (&"60".into(), &2.into())
    );
    assert_eq!(
        (&key("cycle.jitter_s")["value"], &key("cycle.jitter_s")["line"]),
        (&"15".into(), &serde_json::Value::Null)
    );
}

#[test]
fn a_flag_is_stronger_than_the_environment() {
    let temp = support::temp_dir();
    let (a, b) =
        (write(temp.path(), "a.toml", "[cycle]\ninterval_s = 1\n"), write(temp.path(), "b.toml", "nonsense"));
    let mut command = support::lambda_os(temp.path());
    let output = command
        .env("LAMBDA_OS_CONFIG", b)
        .arg("--config")
        .arg(a)
        .args(["config", "show"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_secret_in_the_wrong_place_is_never_repeated() {
    let temp = support::temp_dir();
    for (number, text) in [
        "[notify.telegram]\nchat_id = '1'\ntoken = \"hunter2-hunter2\"\n",
        "[notify.telegram]\nchat_id = '1'\ntoken_file = \"hunter2-hunter2\"\n",
        "[notify]\ntelegram = \"hunter2-hunter2\"\n",
        "[modules.m]\nurl = \"https://me:hunter2-hunter2@example.org/m\"\n",
        "[modules.m]\nsteps = [\"hunter2-hunter2\"]\n",
        "token = \"hunter2-hunter2\n",
        "token = hunter2-hunter2\n",
    ]
    .iter()
    .enumerate()
    {
        let path = write(temp.path(), &format!("{number}.toml"), text);
        for verb in [&["config", "check"][..], &["config", "show"], &["doctor"], &["status"]] {
            for json in [&[][..], &["--json"]] {
                let mut command = support::lambda_os(temp.path());
                let output = command
                    .arg("--config")
                    .arg(&path)
                    .args(verb)
                    .args(json)
                    .arg("-vv")
                    .output()
                    .expect("it runs");
                assert_ne!(output.status.code(), Some(0), "{text}");
                assert!(!said(&output).contains("hunter2"), "{verb:?} {text}: {}", said(&output));
            }
        }
    }
}

#[test]
fn the_template_and_the_schema_are_themselves_right() {
    let temp = support::temp_dir();
    let template = support::lambda_os(temp.path()).args(["config", "template"]).output().expect("it runs");
    std::fs::write(temp.path().join("t.toml"), template.stdout).expect("written");
    let output =
        support::lambda_os(temp.path()).args(["config", "check", "t.toml"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let schema = support::lambda_os(temp.path()).args(["config", "schema"]).output().expect("it runs");
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).expect("JSON");
    assert_eq!(schema["properties"]["cycle"]["properties"]["interval_s"]["default"], 300);
    assert_eq!(schema["additionalProperties"], false);
}
