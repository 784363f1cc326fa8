//! `proposal ballot`: print the text that a signer elsewhere signs with plain `ssh-keygen`.

use std::collections::BTreeSet;

use serde::Serialize;

use super::desk::Desk;
use super::signer;
use crate::cli::show;
use crate::cli::{Exit, Failure, Global};
use crate::domain::governance::ballot::Choice;
use crate::domain::governance::signature::NAMESPACE;
use crate::domain::id::ProposalId;
use crate::domain::text;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The proposal: a part of its id, or its module
    #[arg(value_name = "PROPOSAL")]
    proposal: String,
    /// What it says
    #[arg(long, value_enum, default_value_t = Said::Approve, value_name = "CHOICE")]
    choice: Said,
    /// Who says it [default: who decides alone]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// What a ballot can say.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Said {
    /// It shall be applied
    Approve,
    /// It shall not
    Reject,
    /// Neither: takes back what was said before
    Abstain,
    /// It must not
    Veto,
}

impl From<Said> for Choice {
    fn from(said: Said) -> Self {
        match said {
            Said::Approve => Self::Approve,
            Said::Reject => Self::Reject,
            Said::Abstain => Self::Abstain,
            Said::Veto => Self::Veto,
        }
    }
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    proposal: ProposalId,
    voter: String,
    namespace: &'static str,
    /// The inbox that the signed ballot is dropped into.
    inbox: String,
    /// The text to sign, exactly.
    text: String,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let desk = Desk::new(global, std::slice::from_ref(&args.proposal))?;
    let voter = voter(&desk, args.name.as_deref())?;
    let choice = Choice::from(args.choice);
    if choice == Choice::Approve {
        desk.derive_again()?;
    }
    let drafts = desk.drafts(&voter, choice, args.reason.as_deref().map(str::trim))?;
    let inbox = text::git_quoted(desk.open.state_dir.inbox().as_os_str().as_encoded_bytes());
    let [ballot] = drafts.as_slice() else {
        return Err(Failure::new(Exit::Usage, "a ballot is about one proposal"));
    };
    if global.json {
        return show::json(&Report {
            schema: "lambda-os/proposal-ballot/v1",
            proposal: ballot.proposal,
            voter,
            namespace: NAMESPACE,
            inbox,
            text: ballot.to_string(),
        });
    }
    desk.show(global, choice)?;
    if !global.quiet {
        show::say(&format!(
            "to sign it: save this text as NAME.ballot, ssh-keygen -Y sign -n {NAMESPACE} -f KEY NAME.ballot, \
             and put NAME.ballot and NAME.ballot.sig into {inbox}"
        ));
    }
    show::data(&ballot.to_string())
}

fn voter(desk: &Desk, name: Option<&str>) -> Result<String, Failure> {
    let all = desk.electorates().flat_map(|members| &members.principals);
    let principals: BTreeSet<&str> = all.map(|one| one.name.as_str()).collect();
    let principals: Vec<&str> = principals.into_iter().collect();
    match (name, principals.as_slice()) {
        (Some(name), _) if principals.contains(&name) => Ok(name.to_owned()),
        (None, [alone]) => Ok((*alone).to_owned()),
        (Some(name), _) => Err(Failure::new(
            Exit::Usage,
            format!("{} does not decide over this workspace", text::quoted(name)),
        )
        .hint(format!("those who do: {}", signer::names(desk)))),
        (None, _) => Err(Failure::new(Exit::Usage, "several decide here: say whose ballot it is with --as")
            .hint(format!("one of: {}", signer::names(desk)))),
    }
}
