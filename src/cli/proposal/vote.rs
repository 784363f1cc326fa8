//! `proposal approve` and `proposal reject`: derive again, show, sign, take in.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;

use serde::Serialize;

use super::desk::Desk;
use super::signer;
use crate::adapters::journal::JournalWriter;
use crate::cli::show;
use crate::cli::{Exit, Failure, Global};
use crate::domain::governance::ballot::{Choice, SignedBallot};
use crate::domain::governance::signature;
use crate::domain::governance::tally::{Tally, TallyState};
use crate::domain::id::{Cid, ProposalId};
use crate::domain::moment::Moment;
use crate::domain::text;
use crate::ops::combine;
use crate::ops::govern::{self, Taken};
use crate::ports::{Clock as _, PortError};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The proposals: of each a part of its id, or its module
    #[arg(value_name = "PROPOSAL", required = true)]
    proposals: Vec<String>,
    /// The key to sign with: a private key, or a public key whose private half ssh-agent has
    /// [default: a members' key in ssh-agent, else the configured key, else the key that init made]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// As whom [default: whose key it is]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// Why, for people: it stands in the signed ballot
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask before signing (without a terminal nothing is asked)
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize)]
struct Report {
    schema: String,
    ballots: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    proposal: ProposalId,
    /// The proposals that it takes the place of: several that were approved at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    combines: Vec<ProposalId>,
    choice: Choice,
    voter: String,
    seq: u64,
    /// The signed message, in the state directory's objects.
    ballot: Cid,
    tally: Tally,
}

pub(super) fn approve(global: &Global, args: &Args) -> Result<Exit, Failure> {
    vote(global, args, Choice::Approve)
}

pub(super) fn reject(global: &Global, args: &Args) -> Result<Exit, Failure> {
    vote(global, args, Choice::Reject)
}

pub(super) fn veto(global: &Global, args: &Args) -> Result<Exit, Failure> {
    vote(global, args, Choice::Veto)
}

pub(super) fn abstain(global: &Global, args: &Args) -> Result<Exit, Failure> {
    vote(global, args, Choice::Abstain)
}

/// Say yes to one proposal with the operator's key, without asking and without a report.
pub(in crate::cli) fn approve_one(
    global: &Global,
    id: ProposalId,
    key: Option<PathBuf>,
    reason: Option<String>,
) -> Result<(), Failure> {
    let args = Args { proposals: vec![id.to_string()], key, name: None, reason, yes: true };
    cast(global, &args, Choice::Approve).map(|_| ())
}

fn vote(global: &Global, args: &Args, choice: Choice) -> Result<Exit, Failure> {
    let shown = cast(global, args, choice)?;
    if global.json {
        let schema = format!("lambda-os/proposal-{}/v1", choice.as_str());
        return show::json(&Report { schema, ballots: shown });
    }
    show::data(&shown.iter().map(said).collect::<String>())
}

fn cast(global: &Global, args: &Args, choice: Choice) -> Result<Vec<Shown>, Failure> {
    let mut desk = Desk::new(global, &args.proposals)?;
    let voter = signer::choose(&desk, args.key.as_deref(), args.name.as_deref())?;
    // Saying no needs no proof of what it would do.
    if choice == Choice::Approve {
        desk.derive_again()?;
    }
    let joined = match choice {
        Choice::Approve if desk.cases.len() > 1 => Some(desk.join()?),
        _ => None,
    };
    let drafts = desk.drafts(&voter.name, choice, args.reason.as_deref().map(str::trim))?;
    desk.show(global, choice)?;
    if !args.yes && signer::is_terminal() && !confirmed(&voter.name, choice)? {
        return Err(Failure::new(Exit::Failed, "nothing was signed"));
    }
    let mut signed = Vec::with_capacity(drafts.len());
    for ballot in drafts {
        let armor = voter.signer.sign(&ballot.to_string())?;
        signed.push((ballot, armor));
    }
    if let Some(joined) = &joined {
        // Signed first: a key that does not sign leaves the parts as they are.
        let mut journal = JournalWriter::open(&desk.open.state_dir, &desk.open.clock)?;
        let state = journal.state().clone();
        combine::make(&mut journal, &state, joined)?;
    }
    let mut shown = Vec::new();
    for (ballot, armor) in signed {
        let text = ballot.to_string();
        let message = SignedBallot {
            text,
            signature: signature::from_armor(&armor)
                .map_err(|error| PortError::failed("cannot read our own signature").because(error))?,
        }
        .to_message();
        let mut journal = JournalWriter::open(&desk.open.state_dir, &desk.open.clock)?;
        let state = journal.state().clone();
        let taken = govern::take_in(&mut journal, &state, &message, desk.open.clock.wall_ms())?;
        let cid = match taken {
            Taken::Cast { message, .. } | Taken::Known { message } | Taken::Waits { message, .. } => message,
            Taken::Refused { reason, .. } => {
                return Err(Failure::new(
                    Exit::Refused,
                    format!("the ballot on {} does not count: {reason}", ballot.proposal.short()),
                )
                .hint(format!("lambda-os proposal show {}", ballot.proposal.short())));
            }
        };
        shown.push(Shown {
            proposal: ballot.proposal,
            combines: joined.as_ref().map_or_else(Vec::new, |joined| joined.parts.clone()),
            choice,
            voter: ballot.voter,
            seq: ballot.seq,
            ballot: cid,
            tally: desk.tally(ballot.proposal)?,
        });
    }
    desk.settle()?;
    Ok(shown)
}

fn said(shown: &Shown) -> String {
    let (id, tally) = (shown.proposal.short(), &shown.tally);
    let verb = match shown.choice {
        Choice::Approve => "approves",
        Choice::Reject => "rejects",
        Choice::Abstain => "abstains from",
        Choice::Veto => "vetoes",
    };
    let mut said = format!("{} {verb} {id}: {}", shown.voter, tally.state.as_str());
    if let Some(why) = &tally.unanswered {
        let _ = write!(said, " ({why})");
    } else if let (TallyState::Pending, Some(threshold)) = (tally.state, tally.threshold) {
        let _ = write!(said, " ({} of {threshold} approvals)", tally.approving);
    }
    said.push('\n');
    for one in &tally.narrowed {
        let _ = writeln!(said, "held up: {}", text::inert(&one.reason));
    }
    if let Some(until) = tally.suspended_until_ms {
        let _ = writeln!(said, "held up: a quorum of vetoes stands until {}", Moment::from_ms(until));
    }
    if tally.state == TallyState::Approved && !matches!(shown.choice, Choice::Approve | Choice::Veto) {
        said.push_str("it was certified before: this is kept, and repeals nothing\n");
        let _ = writeln!(said, "next: lambda-os proposal withdraw {id}");
    } else if tally.state == TallyState::Approved {
        let _ = writeln!(said, "next: lambda-os proposal apply {id}");
    }
    said
}

fn confirmed(voter: &str, choice: Choice) -> Result<bool, Failure> {
    let failed =
        |error: io::Error| Failure::new(Exit::Failed, format!("cannot ask at the terminal: {error}"));
    let mut stderr = io::stderr().lock();
    write!(stderr, "sign as {voter}: {}? [y/N] ", choice.as_str()).map_err(failed)?;
    stderr.flush().map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
