//! Where each module stands to its upstream: one status and one reason each.
//!
//! [`classify`] is a table: facts in, one [`Upgrade`] out. Only [`Status::Behind`] is an
//! upgrade, and it means that the pin is an ancestor of the tip; everything that would lose a
//! commit of the pin, or rests on a history that changed, is another status.

use serde::{Deserialize, Serialize};

use super::id::{ModuleName, ObjectId, RepoPath};
use super::module::{Module, RefusedModule};
use super::state::SeenTip;
use super::text;

/// How a module stands to its upstream. The first that applies, in this order:
/// not-allowed, held, uninitialised, unreachable, rewritten, then the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The pin is the tip of the branch.
    UpToDate,
    /// The tip has commits that the pin has not: an upgrade exists.
    Behind,
    /// The pin has commits that upstream has not.
    Ahead,
    /// Both have commits that the other has not.
    Diverged,
    /// Upstream's branch no longer holds a tip that was seen on it before.
    Rewritten,
    /// The remote did not answer, or refused.
    Unreachable,
    /// Nothing is checked out at the module's path.
    Uninitialised,
    /// A person froze it.
    Held,
    /// Policy or safety forbids asking this location.
    NotAllowed,
    /// It could not be determined.
    Unknown,
}

impl Status {
    /// True for what waits for a person or could not be found out.
    #[must_use]
    pub fn needs_attention(self) -> bool {
        matches!(
            self,
            Self::Diverged | Self::Rewritten | Self::Unreachable | Self::NotAllowed | Self::Unknown
        )
    }

    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "up-to-date",
            Self::Behind => "behind",
            Self::Ahead => "ahead",
            Self::Diverged => "diverged",
            Self::Rewritten => "rewritten",
            Self::Unreachable => "unreachable",
            Self::Uninitialised => "uninitialised",
            Self::Held => "held",
            Self::NotAllowed => "not-allowed",
            Self::Unknown => "unknown",
        }
    }
}

/// One row of `outdated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The module (or, for a refused one, its inert subject).
    pub name: ModuleName,
    /// Where it is.
    pub path: RepoPath,
    /// The one status.
    pub status: Status,
    /// Commits of the tip that the pin has not, counted as `git rev-list --count from..to`.
    pub behind: Option<u32>,
    /// Commits of the pin that the tip has not, `git rev-list --count to..from`.
    pub ahead: Option<u32>,
    /// The pin: the commit that the superproject's HEAD records.
    pub from: Option<ObjectId>,
    /// The newest commit of the followed branch, as far as it is known.
    pub to: Option<ObjectId>,
    /// The branch that was followed.
    pub branch: Option<String>,
    /// One sentence without a final stop: why this status.
    pub reason: String,
}

/// How two commits of one module stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Commits each side has that the other has not: (from..to, to..from).
    Counted {
        /// `git rev-list --count from..to`.
        behind: u32,
        /// `git rev-list --count to..from`.
        ahead: u32,
    },
    /// One of them, or history between, is not at hand.
    Missing(ObjectId),
}

/// What asking an upstream gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamAnswer {
    /// The branch's tip, mirrored.
    Tip {
        /// The branch.
        branch: String,
        /// Its newest commit, present in the mirror.
        tip: ObjectId,
        /// True when the remote was asked now, false when it is the mirror's memory.
        fresh: bool,
    },
    /// The location may not be asked: why.
    NotAllowed(String),
    /// It did not answer, or refused: why.
    Unreachable(String),
    /// It answered, and still nothing can be said: why (no such branch, quarantined mirror, …).
    Unknown(String),
}

/// A relation between two commits, or why it could not be found.
pub type Known = Result<Relation, String>;

/// Everything that one row is decided from.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The module.
    pub module: &'a Module,
    /// Why a person froze it.
    pub held: Option<&'a str>,
    /// A repository is checked out at its path; otherwise why not, where that is known.
    pub checkout: Result<(), Option<&'a str>>,
    /// The pin: what the superproject's HEAD records.
    pub pin: Option<ObjectId>,
    /// The superproject's own commit, which can be no module's.
    pub superproject: Option<ObjectId>,
    /// What the upstream said.
    pub answer: &'a UpstreamAnswer,
    /// The tip that was accepted before.
    pub seen: Option<&'a SeenTip>,
    /// From the pin to the tip; `None` when there are no two commits to compare.
    pub pin_to_tip: Option<Known>,
    /// From the tip accepted before, on the same branch, to the tip; `None` likewise.
    pub seen_to_tip: Option<Known>,
}

/// The row of a submodule that discovery refused.
#[must_use]
pub fn refused(refused: &RefusedModule) -> Upgrade {
    Upgrade {
        name: ModuleName::new(&refused.subject),
        path: refused.subject.parse().unwrap_or_else(|_| RepoPath::new(refused.subject.as_bytes())),
        status: Status::NotAllowed,
        behind: None,
        ahead: None,
        from: None,
        to: None,
        branch: None,
        reason: refused.reason.clone(),
    }
}

/// The one status of a module, and why.
#[must_use]
pub fn classify(facts: &Facts<'_>) -> Upgrade {
    let (branch, tip) = match facts.answer {
        UpstreamAnswer::Tip { branch, tip, .. } => (Some(branch.clone()), Some(*tip)),
        _ => (facts.module.branch.clone(), None),
    };
    let counts = match (facts.pin, tip, &facts.pin_to_tip) {
        (Some(pin), Some(tip), _) if pin == tip => Some((0, 0)),
        (_, _, Some(Ok(Relation::Counted { behind, ahead }))) => Some((*behind, *ahead)),
        _ => None,
    };
    let (status, reason) = decide(facts, counts);
    Upgrade {
        name: facts.module.name.clone(),
        path: facts.module.path.clone(),
        status,
        behind: counts.map(|(behind, _)| behind),
        ahead: counts.map(|(_, ahead)| ahead),
        from: facts.pin,
        to: tip,
        branch,
        reason,
    }
}

/// True when upstream's branch no longer holds the tip that was accepted before.
///
/// The mirror holds the tip's whole history, so an accepted tip that is nowhere is not in it.
/// `None` when that cannot be told.
#[must_use]
pub fn is_rewritten(seen: &SeenTip, seen_to_tip: Option<&Known>) -> Option<bool> {
    match seen_to_tip {
        None => Some(false),
        Some(Ok(Relation::Counted { ahead, .. })) => Some(*ahead > 0),
        Some(Ok(Relation::Missing(commit))) if *commit == seen.tip => Some(true),
        Some(Ok(Relation::Missing(_)) | Err(_)) => None,
    }
}

/// The precedence: not-allowed, held, uninitialised, unreachable, rewritten, then the rest.
fn decide(facts: &Facts<'_>, counts: Option<(u32, u32)>) -> (Status, String) {
    if let UpstreamAnswer::NotAllowed(why) = facts.answer {
        return (Status::NotAllowed, why.clone());
    }
    if let Some(why) = facts.held {
        return (Status::Held, format!("held: {}", text::inert(why)));
    }
    if let Err(why) = facts.checkout {
        let why = why.map_or_else(
            || format!("nothing is checked out; run git submodule update --init -- {}", facts.module.path),
            text::inert,
        );
        return (Status::Uninitialised, why);
    }
    match facts.answer {
        UpstreamAnswer::Tip { branch, tip, fresh } => against_tip(facts, branch, *tip, *fresh, counts),
        UpstreamAnswer::Unreachable(why) => (Status::Unreachable, why.clone()),
        UpstreamAnswer::Unknown(why) | UpstreamAnswer::NotAllowed(why) => (Status::Unknown, why.clone()),
    }
}

fn against_tip(
    facts: &Facts<'_>,
    branch: &str,
    tip: ObjectId,
    fresh: bool,
    counts: Option<(u32, u32)>,
) -> (Status, String) {
    let branch = text::inert(branch);
    let memory = if fresh { "" } else { ", as it was last seen" };
    if let Some(seen) = facts.seen {
        match is_rewritten(seen, facts.seen_to_tip.as_ref()) {
            Some(false) => {}
            Some(true) => {
                let why = format!(
                    "history rewritten: {branch} no longer holds {}, which was seen on it; look, then lambda-os unhold {} accepts it",
                    seen.tip.short(),
                    facts.module.name
                );
                return (Status::Rewritten, why);
            }
            None => {
                let why = format!(
                    "whether {branch} still holds {}, which was seen on it, cannot be told",
                    seen.tip.short()
                );
                return (Status::Unknown, why);
            }
        }
    }
    let Some(pin) = facts.pin else {
        return (Status::Unknown, "the superproject's HEAD records no commit for it".to_owned());
    };
    if facts.superproject == Some(tip) && pin != tip {
        return (Status::Unknown, format!("the tip of {branch} is the superproject's own commit"));
    }
    match counts {
        Some((0, 0)) => (Status::UpToDate, format!("the pin is the tip of {branch}{memory}")),
        Some((behind, 0)) => {
            (Status::Behind, format!("{branch} has {} that the pin has not{memory}", commits(behind)))
        }
        Some((0, ahead)) => {
            (Status::Ahead, format!("the pin has {} that {branch} has not{memory}", commits(ahead)))
        }
        Some((behind, ahead)) => (
            Status::Diverged,
            format!("the pin has {} that {branch} has not, and lacks {behind} of it{memory}", commits(ahead)),
        ),
        None => (Status::Unknown, not_counted(facts, &branch, pin, tip)),
    }
}

fn not_counted(facts: &Facts<'_>, branch: &str, pin: ObjectId, tip: ObjectId) -> String {
    match &facts.pin_to_tip {
        Some(Ok(Relation::Missing(commit))) if *commit == pin => {
            format!("the pin {} is neither on {branch} nor in the checkout", pin.short())
        }
        Some(Ok(Relation::Missing(commit))) => {
            format!("history between the pin and {branch} is incomplete: {} is not at hand", commit.short())
        }
        Some(Err(why)) => why.clone(),
        _ => format!("the pin {} and the tip {} were not compared", pin.short(), tip.short()),
    }
}

fn commits(count: u32) -> String {
    if count == 1 { "1 commit".to_owned() } else { format!("{count} commits") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::module::{FetchFrom, FetchSource};
    use crate::domain::url::{RemoteUrl, UrlRules};

    fn id(digit: u8) -> ObjectId {
        ObjectId::from_bytes(&[digit; 20]).expect("20 bytes")
    }

    fn module() -> Module {
        let url = RemoteUrl::parse("https://h/o/m", UrlRules::REMOTE).expect("a valid URL");
        Module {
            name: ModuleName::new("m"),
            submodule: "m".to_owned(),
            path: RepoPath::from("repos/m"),
            identity: url.identity(),
            declared: url.clone(),
            fetch: FetchFrom { url, source: FetchSource::Gitmodules },
            branch: None,
            input: None,
        }
    }

    const PIN: u8 = 1;
    const TIP: u8 = 2;
    const OLD: u8 = 3;

    #[expect(clippy::unnecessary_wraps, reason = "the shape of the field that it fills")]
    fn counted(behind: u32, ahead: u32) -> Option<Known> {
        Some(Ok(Relation::Counted { behind, ahead }))
    }

    fn tip(tip: u8) -> UpstreamAnswer {
        UpstreamAnswer::Tip { branch: "main".to_owned(), tip: id(tip), fresh: true }
    }

    fn seen() -> SeenTip {
        SeenTip { branch: "main".to_owned(), tip: id(OLD), rewritten_to: None }
    }

    fn facts<'a>(module: &'a Module, answer: &'a UpstreamAnswer) -> Facts<'a> {
        Facts {
            module,
            held: None,
            checkout: Ok(()),
            pin: Some(id(PIN)),
            superproject: Some(id(9)),
            answer,
            seen: None,
            pin_to_tip: counted(2, 0),
            seen_to_tip: None,
        }
    }

    fn check(facts: &Facts<'_>, status: Status, reason: &str) {
        let row = classify(facts);
        assert_eq!(row.status, status, "{row:?}");
        assert!(row.reason.contains(reason), "{:?} for {reason:?}", row.reason);
        assert!(!row.reason.ends_with('.'));
    }

    #[test]
    fn each_relation_has_its_status() {
        let (module, answer) = (module(), tip(TIP));
        let base = facts(&module, &answer);
        check(&base, Status::Behind, "main has 2 commits that the pin has not");
        check(&Facts { pin_to_tip: counted(1, 0), ..base.clone() }, Status::Behind, "1 commit that");
        check(&Facts { pin_to_tip: counted(0, 3), ..base.clone() }, Status::Ahead, "the pin has 3 commits");
        check(&Facts { pin_to_tip: counted(4, 1), ..base.clone() }, Status::Diverged, "lacks 4");
        check(
            &Facts { pin: Some(id(TIP)), pin_to_tip: None, ..base.clone() },
            Status::UpToDate,
            "the tip of main",
        );
        check(&Facts { pin: None, pin_to_tip: None, ..base.clone() }, Status::Unknown, "records no commit");
        let missing = |digit| Some(Ok(Relation::Missing(id(digit))));
        check(&Facts { pin_to_tip: missing(PIN), ..base.clone() }, Status::Unknown, "neither on main");
        check(&Facts { pin_to_tip: missing(7), ..base.clone() }, Status::Unknown, "incomplete");
        check(
            &Facts { pin_to_tip: Some(Err("cannot x".to_owned())), ..base.clone() },
            Status::Unknown,
            "cannot x",
        );
    }

    #[test]
    fn the_superprojects_own_commit_is_never_proposed() {
        let (module, answer) = (module(), tip(TIP));
        let facts = Facts { superproject: Some(id(TIP)), ..facts(&module, &answer) };
        check(&facts, Status::Unknown, "superproject's own commit");
    }

    #[test]
    fn a_changed_history_blocks_whatever_the_pin_says() {
        let (module, answer, seen) = (module(), tip(TIP), seen());
        let base = Facts { seen: Some(&seen), ..facts(&module, &answer) };
        check(&Facts { seen_to_tip: counted(5, 0), ..base.clone() }, Status::Behind, "main has");
        check(&Facts { seen_to_tip: counted(5, 1), ..base.clone() }, Status::Rewritten, "unhold m");
        check(&Facts { seen_to_tip: counted(0, 1), ..base.clone() }, Status::Rewritten, "no longer holds");
        let missing = |digit| Some(Ok(Relation::Missing(id(digit))));
        check(&Facts { seen_to_tip: missing(OLD), ..base.clone() }, Status::Rewritten, "no longer holds");
        check(&Facts { seen_to_tip: missing(7), ..base.clone() }, Status::Unknown, "cannot be told");
        let rewound = Facts { pin: Some(id(TIP)), pin_to_tip: None, seen_to_tip: counted(0, 1), ..base };
        check(&rewound, Status::Rewritten, "no longer holds");
    }

    #[test]
    fn the_first_that_applies_wins() {
        let (module, seen) = (module(), seen());
        let not_allowed = UpstreamAnswer::NotAllowed("no".to_owned());
        let unreachable = UpstreamAnswer::Unreachable("away".to_owned());
        let all = |answer| Facts {
            held: Some("frozen\u{1b}"),
            checkout: Err(None),
            seen: Some(&seen),
            seen_to_tip: counted(0, 1),
            ..facts(&module, answer)
        };
        check(&all(&not_allowed), Status::NotAllowed, "no");
        check(&all(&unreachable), Status::Held, "held: frozen\\u{1b}");
        let answer = tip(TIP);
        check(&Facts { held: None, ..all(&unreachable) }, Status::Uninitialised, "--init -- repos/m");
        check(
            &Facts { held: None, checkout: Err(Some("a link")), ..all(&answer) },
            Status::Uninitialised,
            "a link",
        );
        check(&Facts { held: None, checkout: Ok(()), ..all(&unreachable) }, Status::Unreachable, "away");
        check(&Facts { held: None, checkout: Ok(()), ..all(&answer) }, Status::Rewritten, "rewritten");
        let unknown = UpstreamAnswer::Unknown("no branch".to_owned());
        check(&facts(&module, &unknown), Status::Unknown, "no branch");
    }

    proptest! {
        #[test]
        fn only_a_pin_that_loses_nothing_is_behind(
            behind in 0u32..4, ahead in 0u32..4, seen_ahead in 0u32..3, held: bool, checkout: bool,
            same: bool, own: bool,
        ) {
            let (module, answer, seen) = (module(), tip(TIP), seen());
            let facts = Facts {
                held: held.then_some("x"),
                checkout: if checkout { Ok(()) } else { Err(None) },
                pin: Some(id(if same { TIP } else { PIN })),
                superproject: own.then(|| id(TIP)),
                seen: Some(&seen),
                pin_to_tip: counted(behind, ahead),
                seen_to_tip: counted(1, seen_ahead),
                ..facts(&module, &answer)
            };
            let row = classify(&facts);
            if row.status == Status::Behind {
                prop_assert!(!held && checkout && !same && !own && behind > 0 && ahead == 0 && seen_ahead == 0);
                prop_assert_ne!(row.from, row.to);
            }
        }
    }
}
