//! With which key a ballot is signed: the one that was named, else a members' key in the agent,
//! else the configured one, else the one that `init` made. And whose ballot that is.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use super::desk::Desk;
use crate::adapters::signing::{Agent, AnySigner, Presence, open_key};
use crate::cli::{Exit, Failure};
use crate::domain::governance::members::Members;
use crate::domain::text;

/// Whoever signs, and as whom.
pub(super) struct Voter {
    pub(super) name: String,
    pub(super) signer: AnySigner,
}

/// Choose the key.
pub(super) fn choose(desk: &Desk, key: Option<&Path>, name: Option<&str>) -> Result<Voter, Failure> {
    if let Some(name) = name
        && desk.electorates().all(|members| members.principal(name).is_none())
    {
        return Err(Failure::new(
            Exit::Usage,
            format!("{} does not decide over this workspace", text::quoted(name)),
        )
        .hint(format!("those who do: {}", names(desk))));
    }
    let presence = if is_terminal() { Presence::Terminal } else { Presence::Nobody };
    let agent = agent_socket();
    if let Some(path) = key {
        return owned(open_key(path, presence, agent.as_deref())?, desk, name);
    }
    if let Some(socket) = &agent
        && let Some(signer) = in_agent(socket, desk, name)?
    {
        return owned(signer, desk, name);
    }
    let made = desk.open.state_dir.operator_key();
    match desk.open.settings.effective.governance.key_file.as_deref() {
        Some(path) => owned(open_key(path, presence, agent.as_deref())?, desk, name),
        None if made.exists() => owned(open_key(&made, presence, None)?, desk, name),
        None => Err(Failure::new(Exit::Usage, "there is no key to sign the ballot with")
            .hint("give one with --key, add one to ssh-agent, or set governance.key_file")),
    }
}

/// The first key of the agent that is one of the members', or of the one who was named.
fn in_agent(socket: &Path, desk: &Desk, name: Option<&str>) -> Result<Option<AnySigner>, Failure> {
    let agent = Agent::new(socket);
    let keys = match agent.keys() {
        Ok(keys) => keys,
        Err(error) => {
            // A stale socket must not keep the configured key from being used.
            tracing::warn!("{error}");
            return Ok(None);
        }
    };
    let wanted = |owner: &str| name.is_none_or(|name| name == owner);
    let theirs = |members: &Members| {
        keys.iter().find(|key| members.owner(key).is_some_and(|owner| wanted(&owner.name)))
    };
    let found = desk.electorates().find_map(theirs);
    match found {
        Some(key) => Ok(Some(Box::new(agent.signer(key)?))),
        None => Ok(None),
    }
}

/// Whose ballot it is: of the principal whose key signs.
fn owned(signer: AnySigner, desk: &Desk, name: Option<&str>) -> Result<Voter, Failure> {
    let fingerprint = signer.key().fingerprint();
    match (desk.electorates().find_map(|members| members.owner(signer.key())), name) {
        (None, _) => Err(Failure::new(
            Exit::Usage,
            format!("the key {fingerprint} is nobody's who decides over this workspace"),
        )
        .hint(format!("those who do: {}", names(desk)))),
        (Some(owner), Some(name)) if owner.name != name => {
            Err(Failure::new(Exit::Usage, format!("the key {fingerprint} is {}'s, not {name}'s", owner.name)))
        }
        (Some(owner), _) => Ok(Voter { name: owner.name.clone(), signer }),
    }
}

/// The names of those who may decide over what is on the desk.
pub(super) fn names(desk: &Desk) -> String {
    let all = desk.electorates().flat_map(|members| &members.principals);
    let names: BTreeSet<&str> = all.map(|one| one.name.as_str()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// Somebody can be asked, and sees the question.
pub(super) fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

#[expect(clippy::disallowed_methods, reason = "an agent says where it is in the environment")]
fn agent_socket() -> Option<PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from)
}
