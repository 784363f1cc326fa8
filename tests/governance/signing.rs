//! Which key signs, and how: files, an agent, `ssh-keygen`.

use std::process::{Child, Command, Stdio};

use crate::support::{environment, have};
use crate::world::{World, finished, public};

/// A real agent, which ends with the test.
struct Agent {
    child: Child,
    socket: String,
}

impl Agent {
    fn with(world: &World, keys: &[&str]) -> Self {
        let socket = world.home().join("agent").to_string_lossy().into_owned();
        let mut command = Command::new("ssh-agent");
        command.env_clear().envs(environment(world.home())).args(["-D", "-a", &socket]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ssh-agent starts");
        let agent = Self { child, socket };
        while !std::path::Path::new(&agent.socket).exists() {
            std::thread::yield_now();
        }
        for key in keys {
            let mut add = Command::new("ssh-add");
            add.env_clear()
                .envs(environment(world.home()))
                .env("SSH_AUTH_SOCK", &agent.socket)
                .args(["-q", key]);
            finished(&mut add, b"");
        }
        agent
    }

    fn approve(&self, world: &World, args: &[&str]) -> crate::world::Ran {
        let mut command = world.command();
        command.env("SSH_AUTH_SOCK", &self.socket).args(["proposal", "approve", "--json"]).args(args);
        crate::world::ran(&command.output().expect("lambda-os runs"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_agents_keys_sign() {
    let world = World::new();
    let (ann, ben, eve) =
        (world.ed25519("ann"), world.key("ben", &["-t", "rsa", "-b", "3072"]), world.ed25519("eve"));
    world.init(&["--trust", &public(&ann), "--trust", &public(&ben)]);
    let id = world.proposals().remove(0);
    let agent = Agent::with(&world, &[&eve, &ben, &ann]);
    let voter = |ran: crate::world::Ran| ran.json()["ballots"][0]["voter"].clone();
    assert_eq!(voter(agent.approve(&world, &[&id])), "ben", "the first that is a member's");
    assert_eq!(voter(agent.approve(&world, &[&id, "--as", "ann"])), "ann");
    // A public key names a key of the agent.
    std::fs::remove_file(&ann).expect("the private half is gone");
    assert_eq!(voter(agent.approve(&world, &[&id, "--key", &public(&ann)])), "ann");
    assert_eq!(world.entries("ballot.cast").len(), 3);
    agent.approve(&world, &[&id, "--key", &public(&eve)]).failed(2, "is nobody's");
    world.audited();
}

#[test]
fn an_agent_that_is_not_there_is_said_and_the_configured_key_signs() {
    let world = World::new();
    let ann = world.ed25519("ann");
    world.init(&["--trust", &public(&ann)]);
    let id = world.proposals().remove(0);
    let config = world.home().join("keyed.toml");
    let text = format!("[workspace]\nallow_local_urls = true\n[governance]\nkey_file = \"{ann}\"\n");
    std::fs::write(&config, text).expect("a configuration is written");
    let mut command = crate::support::lambda_os(world.home());
    command.arg("-C").arg(world.workspace.path()).arg("--state-dir").arg(world.state());
    command.arg("--config").arg(&config).env("SSH_AUTH_SOCK", "/nonexistent/agent");
    let ran =
        crate::world::ran(&command.args(["proposal", "approve", &id]).output().expect("lambda-os runs"));
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot use the ssh-agent"), "{}", ran.stderr);
}

#[test]
fn a_key_that_others_may_read_does_not_sign() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let ann = world.ed25519("ann");
    world.init(&["--trust", &public(&ann)]);
    let id = world.proposals().remove(0);
    std::fs::set_permissions(&ann, std::fs::Permissions::from_mode(0o640)).expect("its rights");
    world.run(&["proposal", "approve", &id, "--key", &ann]).failed(2, "others may read or write it");
}

#[test]
fn an_encrypted_key_asks_at_a_terminal_and_only_there() {
    let world = World::new();
    let ann = world.key("ann", &["-t", "ed25519", "-N", "the passphrase"]);
    world.init(&["--trust", &public(&ann)]);
    let id = world.proposals().remove(0);
    world.run(&["proposal", "approve", &id, "--key", &ann]).failed(2, "there is no terminal");
    assert_eq!(world.entries("ballot.cast").len(), 0);
    if !have("script", "a passphrase typed at a terminal") {
        return;
    }
    let shown = at_terminal(
        &world,
        &format!("proposal approve {id} --key {ann}"),
        &[("sign as ann: approve? [y/N]", "y\n"), ("Enter passphrase", "the passphrase\n")],
    );
    assert!(shown.contains("ann approves") && shown.contains(": approved"), "{shown}");
    assert_eq!(world.entries("ballot.cast").len(), 1);
}

#[test]
fn at_a_terminal_nothing_is_signed_without_a_yes() {
    if !have("script", "an answer typed at a terminal") {
        return;
    }
    let world = World::proposing(&[]);
    let id = world.proposals().remove(0);
    let shown = at_terminal(&world, &format!("proposal approve {id}"), &[("approve? [y/N]", "n\n")]);
    assert!(shown.contains("nothing was signed"), "{shown}");
    assert_eq!(world.entries("ballot.cast").len(), 0);
}

/// Run the program at a terminal that `script` makes, answering each question when it is asked;
/// everything that was shown.
fn at_terminal(world: &World, arguments: &str, answers: &[(&str, &str)]) -> String {
    use std::io::{Read as _, Write as _};
    let line = format!(
        "{} -C {} --state-dir {} --config {} {arguments}",
        env!("CARGO_BIN_EXE_lambda-os"),
        world.workspace.path().display(),
        world.state().display(),
        world.home().join("config.toml").display(),
    );
    let mut script = Command::new("script");
    script.env_clear().envs(environment(world.home())).args(["-qfc", &line, "/dev/null"]);
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("script starts");
    let (mut keyboard, mut screen) =
        (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let (mut shown, mut byte) = (Vec::new(), [0]);
    for (question, answer) in answers {
        while !String::from_utf8_lossy(&shown).contains(question) {
            assert_eq!(screen.read(&mut byte).expect("the screen"), 1, "{}", String::from_utf8_lossy(&shown));
            shown.push(byte[0]);
        }
        // Only now: whoever asks for a passphrase throws away what was typed before.
        keyboard.write_all(answer.as_bytes()).expect("the keyboard");
    }
    screen.read_to_end(&mut shown).expect("the screen");
    drop(keyboard);
    child.wait().expect("it ends");
    String::from_utf8_lossy(&shown).into_owned()
}
