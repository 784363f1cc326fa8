//! From the outcomes of a module's steps to one verdict.

use super::evidence::{Lasting, Outcome, StepRun};
use super::{Strength, Verdict};

/// The verdict on the runs of one try, in order. The first step that did not pass decides; what
/// ran nothing is unknown.
#[must_use]
pub fn verdict(runs: &[StepRun]) -> Verdict {
    let mut weak: Option<String> = None;
    for run in runs {
        let step = run.step;
        match &run.outcome {
            Outcome::Passed { weak: None } => {}
            Outcome::Passed { weak: Some(why) } => {
                weak.get_or_insert_with(|| format!("{}: {why}", step.as_str()));
            }
            Outcome::Failed { reason, .. } => return Verdict::Failed { step, reason: reason.clone() },
            Outcome::TimedOut { reason } => return Verdict::TimedOut { step, reason: reason.clone() },
            Outcome::Unknown { reason } => {
                return Verdict::Unknown { reason: format!("{}: {reason}", step.as_str()) };
            }
        }
    }
    if runs.is_empty() {
        return Verdict::Unknown { reason: "no step was run".to_owned() };
    }
    match weak {
        None => Verdict::STRONG,
        Some(reason) => Verdict::Healthy { strength: Strength::Weak, reason: Some(reason) },
    }
}

/// The verdict on a module that was tried twice, and whether it is flaky. A failure that a second
/// try in a fresh sandbox does not show is no failure, and what passed then is weak.
#[must_use]
pub fn confirmed(first: &[StepRun], second: &[StepRun]) -> (Verdict, bool) {
    let (before, after) = (verdict(first), verdict(second));
    match (&before, &after) {
        (Verdict::Failed { .. } | Verdict::TimedOut { .. }, Verdict::Healthy { .. }) => {
            let what = before.reason().unwrap_or("it failed").to_owned();
            let reason = format!("flaky: passed at the second try; at the first, {what}");
            (Verdict::Healthy { strength: Strength::Weak, reason: Some(reason) }, true)
        }
        // Bad at both tries, however it showed; the first says how.
        (Verdict::Failed { .. } | Verdict::TimedOut { .. }, after) if after.is_bad() => (before, false),
        _ => (after, false),
    }
}

/// Whether a bad verdict that rests on these runs can pass by itself: any of them says so.
#[must_use]
pub fn lasting(runs: &[StepRun]) -> Lasting {
    let transient = runs.iter().any(|run| match &run.outcome {
        Outcome::Passed { .. } => false,
        Outcome::Failed { lasting, .. } => *lasting == Lasting::Transient,
        Outcome::TimedOut { .. } | Outcome::Unknown { .. } => true,
    });
    if transient { Lasting::Transient } else { Lasting::Permanent }
}
