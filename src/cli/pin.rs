//! `pin`: the places that record each module's revision, and whether they agree.

use std::fmt::Write as _;

use clap::Subcommand;
use serde::Serialize;

use super::open::Open;
use super::outdated::unknown_module;
use super::show::{self, Paint};
use super::{Exit, Failure, Global};
use crate::domain::pin::{Coherence, PinCheck};
use crate::domain::text;
use crate::ops::{order, pins};
use crate::ports::SnapshotOptions;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List every place of every pin
    List {
        /// Only these modules
        #[arg(value_name = "MODULE")]
        modules: Vec<String>,
    },
    /// Show the pins whose places disagree
    Check {
        /// Only these modules
        #[arg(value_name = "MODULE")]
        modules: Vec<String>,
        /// Exit with 4 when a pin is incoherent
        #[arg(long)]
        exit_code: bool,
    },
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    modules: &'a [PinCheck],
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let options = SnapshotOptions { hash_untracked_bytes: None, ..open.cycle_options().snapshot };
    let seen = order::see(&open.repository, &open.sources, &options)?;
    let mut checks = pins::pins(&seen.discovery, &seen.snapshot, &seen.wiring);
    let (Verb::List { modules } | Verb::Check { modules, .. }) = &args.verb;
    let known: Vec<&str> = checks.iter().map(|check| check.module.as_str()).collect();
    if let Some(wanted) = modules.iter().find(|wanted| !known.contains(&wanted.as_str())) {
        return Err(unknown_module(wanted, &known));
    }
    if !modules.is_empty() {
        checks.retain(|check| modules.iter().any(|name| name == check.module.as_str()));
    }
    if global.json {
        show::json(&Report { schema: "lambda-os/pin/v1", modules: &checks })?;
    } else {
        let paint = Paint::stdout(global);
        show::data(&match &args.verb {
            Verb::List { .. } => list(&checks, paint),
            Verb::Check { .. } => disagreeing(&checks, paint),
        })?;
    }
    match &args.verb {
        Verb::Check { exit_code: true, .. } if checks.iter().any(PinCheck::is_incoherent) => {
            Ok(Exit::Changes)
        }
        _ => Ok(Exit::Ok),
    }
}

/// Every place of every pin.
fn list(checks: &[PinCheck], paint: Paint) -> String {
    let mut shown = String::new();
    for check in checks {
        let verdict = match check.verdict {
            Coherence::Coherent => paint.good("coherent"),
            Coherence::Incoherent => paint.bad("incoherent"),
            Coherence::Unknown => paint.warn("unknown"),
        };
        let _ = writeln!(
            shown,
            "{}  {}  {verdict}: {}",
            paint.bold(check.module.as_str()),
            check.path,
            check.sentence
        );
        let rows: Vec<Vec<String>> = check
            .places
            .iter()
            .map(|place| {
                let revision = place.revision.as_deref().unwrap_or("-");
                let short = text::clipped(revision, 13).trim_end_matches('…').to_owned();
                vec![place.place.as_str().to_owned(), short, place.detail.clone()]
            })
            .collect();
        for line in show::table(&rows).lines() {
            let _ = writeln!(shown, "  {line}");
        }
    }
    shown
}

/// One line that sums up, then each pin that is not coherent.
fn disagreeing(checks: &[PinCheck], paint: Paint) -> String {
    let of = |verdict| checks.iter().filter(move |check| check.verdict == verdict);
    let mut shown = format!(
        "{} pins: {} coherent, {} incoherent, {} unknown\n",
        checks.len(),
        of(Coherence::Coherent).count(),
        of(Coherence::Incoherent).count(),
        of(Coherence::Unknown).count()
    );
    let rows: Vec<Vec<String>> = checks
        .iter()
        .filter(|check| check.verdict != Coherence::Coherent)
        .map(|check| {
            let sentence = match check.verdict {
                Coherence::Incoherent => paint.bad(&check.sentence),
                _ => paint.warn(&format!("unknown: {}", check.sentence)),
            };
            vec![check.module.to_string(), sentence]
        })
        .collect();
    shown.push_str(&show::table(&rows));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ModuleName, RepoPath};
    use crate::domain::pin::{PinPlace, Place};

    fn check(name: &str, verdict: Coherence, sentence: &str) -> PinCheck {
        let place = |place, revision: &str, detail: &str| PinPlace {
            place,
            revision: Some(revision.to_owned()),
            detail: detail.to_owned(),
        };
        PinCheck {
            module: ModuleName::new(name),
            path: RepoPath::from("repos/a"),
            places: vec![
                place(Place::Gitlink, "0123456789abcdef0123456789abcdef01234567", "in HEAD"),
                place(Place::FlakeLock, "1123456789abcdef0123456789abcdef01234567", "locked.rev of node a_2"),
            ],
            verdict,
            sentence: sentence.to_owned(),
        }
    }

    #[test]
    fn pins_are_listed_and_summed_up() {
        let checks = [
            check(
                "a",
                Coherence::Incoherent,
                "the gitlink is at 0123456789ab, flake.lock is at 1123456789ab",
            ),
            check("b", Coherence::Coherent, "2 places record 0123456789ab"),
        ];
        insta::assert_snapshot!(disagreeing(&checks, Paint::plain()), @r"
        2 pins: 1 coherent, 1 incoherent, 0 unknown
        a  the gitlink is at 0123456789ab, flake.lock is at 1123456789ab
        ");
        insta::assert_snapshot!(list(&checks[..1], Paint::plain()), @r"
        a  repos/a  incoherent: the gitlink is at 0123456789ab, flake.lock is at 1123456789ab
          the gitlink  0123456789ab  in HEAD
          flake.lock   1123456789ab  locked.rev of node a_2
        ");
    }
}
