//! `proposal verify-certificate`: what a certificate proves, with nothing but the members document that
//! is trusted. No workspace, no state directory and no journal is needed, and none is looked at.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::adapters::wasm::Interpreter;
use crate::cli::{Exit, Failure, Global, show};
use crate::domain::governance::certificate::{self, Certificate, MAX_CERTIFICATE, Proven};
use crate::domain::governance::members::Members;
use crate::domain::governance::program::input::Input;
use crate::domain::governance::program::{Decision, decide_again};
use crate::domain::id::{ChangeId, Cid, ProposalId};
use crate::domain::moment::Moment;
use crate::domain::plan::PinMove;
use crate::domain::proposal::Track;
use crate::domain::text;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The certificate: `lambda-os audit export` has it among its objects
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The members document that is trusted, as it is stored
    #[arg(long, value_name = "FILE")]
    members: PathBuf,
    /// Where a program decided: the program, which is run again
    #[arg(long, value_name = "FILE", requires = "input")]
    program: Option<PathBuf>,
    /// Where a program decided: what it was given
    #[arg(long, value_name = "FILE", requires = "program")]
    input: Option<PathBuf>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    /// The certificate's identity.
    certificate: Cid,
    proposal: ProposalId,
    change: ChangeId,
    track: Track,
    members: Cid,
    epoch: u64,
    policy: Cid,
    pins: Vec<PinMove>,
    /// Who approved it, by name.
    approved_by: Vec<&'a str>,
    approving: u32,
    threshold: Option<u32>,
    /// The program that decided, where no ballots did, run again here.
    decision: Option<&'a Decision>,
    /// When it was counted, as whoever made it says, Unix milliseconds.
    at_ms: i64,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let members = read(&args.members)?;
    let unended = members.strip_suffix(b"\n").unwrap_or(&members);
    Members::from_canonical(unended).map_err(|error| {
        Failure::new(Exit::Usage, format!("{} is no members document: {error}", shown(&args.members)))
            .hint("the document as it is stored in objects/, byte for byte")
    })?;
    let trusted = Cid::of(unended);
    let bytes = read(&args.file)?;
    let unended = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let wrong = |why: String| {
        Failure::new(Exit::Integrity, format!("the certificate {} proves nothing: {why}", shown(&args.file)))
    };
    let held = Certificate::from_canonical(unended).map_err(|error| wrong(error.to_string()))?;
    let proven = certificate::verify(&held, &trusted).map_err(|error| wrong(error.to_string()))?;
    if let Some(decision) = &proven.decision {
        decided_again(args, decision, &proven, &wrong)?;
    }
    let report = Report {
        schema: "lambda-os/proposal-verify-certificate/v1",
        certificate: Cid::of(unended),
        proposal: proven.proposal,
        change: proven.change,
        track: held.proposal.track,
        members: trusted,
        epoch: held.members.epoch,
        policy: held.policy,
        pins: crate::domain::governance::ballot::pins_of(&held.delta),
        approved_by: proven.tally.approvals().map(|ballot| ballot.voter.as_str()).collect(),
        approving: proven.tally.approving,
        threshold: proven.tally.threshold,
        decision: proven.decision.as_ref(),
        at_ms: held.at_ms,
    };
    if global.json { show::json(&report) } else { show::data(&page(&report)) }
}

/// Nobody signs what a program decides: it is run again, on what it says it was given.
fn decided_again(
    args: &Args,
    decision: &Decision,
    proven: &Proven,
    wrong: &dyn Fn(String) -> Failure,
) -> Result<(), Failure> {
    let (Some(program), Some(input)) = (&args.program, &args.input) else {
        return Err(Failure::new(
            Exit::Usage,
            format!("a program decided, and nobody signs that: it must be run again, {}", decision.program),
        )
        .hint("give it with --program, and what it was given with --input: both stand in objects/"));
    };
    let (module, given) = (read(program)?, read(input)?);
    decide_again(decision, &Interpreter, &module, &given).map_err(|error| wrong(error.to_string()))?;
    let about = Input::from_canonical(&given).map_err(|why| wrong(format!("its program's input: {why}")))?;
    if about.proposal_id == proven.proposal {
        Ok(())
    } else {
        Err(wrong("its program decided over another proposal".to_owned()))
    }
}

fn page(report: &Report<'_>) -> String {
    let mut said = format!("it proves that the proposal {} was approved\n", report.proposal);
    let mut row = |name: &str, value: String| {
        let _ = writeln!(said, "  {name:<10} {value}");
    };
    row("change", report.change.to_string());
    row("track", report.track.as_str().to_owned());
    for pin in &report.pins {
        row("pin", format!("{} {} -> {} at {}", pin.module, pin.from, pin.to, pin.path));
    }
    row("members", format!("{} (epoch {})", report.members, report.epoch));
    row("policy", report.policy.to_string());
    if let Some(decision) = report.decision {
        row("decided by", format!("the program {}: {}", decision.program, text::inert(&decision.reason)));
    } else {
        let threshold = report.threshold.map_or_else(String::new, |asked| asked.to_string());
        let voters = report.approved_by.join(", ");
        row("approved", format!("by {voters} ({} of {threshold})", report.approving));
    }
    row("counted", format!("{}, as whoever made it says", Moment::from_ms(report.at_ms)));
    said
}

/// A file, bounded.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| Failure::new(Exit::Failed, format!("cannot read {}: {why}", shown(path)));
    let most = MAX_CERTIFICATE + 1;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes))
        .map_err(|error| failed(error.to_string()))?;
    if bytes.len() > MAX_CERTIFICATE { Err(failed("it is too large".to_owned())) } else { Ok(bytes) }
}

fn shown(path: &Path) -> String {
    text::inert_bytes(path.as_os_str().as_encoded_bytes())
}
