//! Is this machine fit? From facts that the command line gathered to findings, each with its
//! cause and the next step. Pure: what is looked at is in `cli::doctor`.

use serde::Serialize;

use crate::domain::ladder::Ladder;
use crate::domain::policy::Policy;
use crate::domain::proposal::Track;

/// How bad a finding is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Good to know; nothing to do.
    Note,
    /// It works, and somebody should look.
    Attention,
    /// It cannot work like this.
    Broken,
}

impl Level {
    /// The word in front of a finding.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Attention => "look",
            Self::Broken => "broken",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, one word.
    pub check: String,
    /// How it is.
    pub level: Level,
    /// What was found, and its cause.
    pub message: String,
    /// The next command or step; absent when there is nothing to do.
    pub next: Option<String>,
}

impl Finding {
    /// A finding without a next step.
    #[must_use]
    pub fn new(check: &str, level: Level, message: impl Into<String>) -> Self {
        Self { check: check.to_owned(), level, message: message.into(), next: None }
    }

    /// The same with the next step.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

/// The worst level of all findings.
#[must_use]
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

/// How much is done without a person: of the tracks that move pins, where that is said.
#[must_use]
pub fn ladder(ladder: &Ladder, policy: &Policy, stopped: Option<&str>) -> Finding {
    if let Some(reason) = stopped {
        return Finding::new("ladder", Level::Attention, format!("everything is held: {reason}"))
            .next("lambda-os unhold --all");
    }
    let tracks = [Track::Leaf, Track::Core];
    let is_lowered = |track| ladder.rung(policy, track, false) < ladder.configured(track);
    let said = tracks.map(|track| {
        let (is, asked) = (ladder.rung(policy, track, false), ladder.configured(track));
        let lowered =
            if is_lowered(track) { format!(" (asked for {})", asked.as_str()) } else { String::new() };
        format!("{} {}{lowered}", track.as_str(), is.as_str())
    });
    let said = said.join(", ");
    if tracks.into_iter().any(is_lowered) {
        return Finding::new("ladder", Level::Note, said)
            .next("the policy says how much may be: lambda-os policy show");
    }
    Finding::new("ladder", Level::Ok, said)
}

/// What confines the programs of modules here: `held` says how, or why nothing does; `missing` is what
/// the machine could not provide.
#[must_use]
pub fn sandbox(held: &Result<String, String>, missing: &[String]) -> Finding {
    let namespaces = "install bubblewrap, and let this process make namespaces";
    match held {
        Err(why) => Finding::new(
            "sandbox",
            Level::Attention,
            format!("{why}: steps that run a module's code are unknown"),
        )
        .next(format!("{namespaces}, or use a kernel with Landlock 6 (Linux 6.12)")),
        Ok(how) if missing.is_empty() => Finding::new("sandbox", Level::Ok, how.as_str()),
        Ok(how) => {
            let message = format!("{how}; not to be had here: {}", missing.join("; "));
            Finding::new("sandbox", Level::Note, message).next(namespaces)
        }
    }
}

/// A version of git, as far as it decides anything: 2.47.3 is (2, 47, 3).
pub type GitVersion = (u32, u32, u32);

/// The version in the answer of `git --version`; also of vendors' versions such as
/// `2.39.5 (Apple Git-154)` and `2.47.1.windows.1`.
#[must_use]
pub fn git_version(answer: &str) -> Option<GitVersion> {
    let version = answer.trim().strip_prefix("git version ")?.split_whitespace().next()?;
    let mut parts = version.split('.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
        digits.parse::<u32>().ok()
    });
    Some((parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)))
}

/// The oldest version with what fetching needs: `GIT_CONFIG_GLOBAL` appeared in 2.32.
const OLDEST: GitVersion = (2, 32, 0);

/// First version of each release branch in which CVE-2025-48384 is mended (a submodule path
/// that ends in a carriage return runs a hook on checkout). Source: the git 2.50.1 release notes.
const MENDED: [GitVersion; 8] =
    [(2, 43, 7), (2, 44, 4), (2, 45, 4), (2, 46, 4), (2, 47, 3), (2, 48, 2), (2, 49, 1), (2, 50, 1)];

/// True when CVE-2025-48384 is mended in this version as git released it.
#[must_use]
pub fn is_mended(version: GitVersion) -> bool {
    let (major, minor, _) = version;
    match MENDED.iter().find(|mended| (mended.0, mended.1) == (major, minor)) {
        Some(mended) => version >= *mended,
        None => version > MENDED[MENDED.len() - 1],
    }
}

/// What is to be said of the git program; `answer` is what `git --version` wrote.
#[must_use]
pub fn git(answer: &str) -> Finding {
    let Some(version) = git_version(answer) else {
        return Finding::new("git", Level::Attention, "its version could not be read")
            .next("run: git --version");
    };
    let shown = format!("{}.{}.{}", version.0, version.1, version.2);
    if version < OLDEST {
        return Finding::new(
            "git",
            Level::Broken,
            format!("{shown} is older than 2.32, which fetching needs"),
        )
        .next("install a newer git");
    }
    if !is_mended(version) {
        return Finding::new(
            "git",
            Level::Attention,
            format!("{shown} has CVE-2025-48384 (a submodule path runs code on checkout), unless your distribution mended it under this number"),
        )
        .next("install 2.43.7, 2.44.4, 2.45.4, 2.46.4, 2.47.3, 2.48.2, 2.49.1, 2.50.1 or newer");
    }
    Finding::new("git", Level::Ok, shown)
}

/// What a file system has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Files that may still be made; `None` where the file system does not count them.
    pub free_inodes: Option<u64>,
    /// True when nothing may be written.
    pub read_only: bool,
}

/// Below this the journal and its objects might not fit for long.
const LOW_BYTES: u64 = 512 << 20;

/// Below this a cycle cannot be expected to finish.
const NO_BYTES: u64 = 16 << 20;

const LOW_INODES: u64 = 10_000;

const NO_INODES: u64 = 100;

/// What is to be said of the room for the state directory.
#[must_use]
pub fn space(space: Space) -> Finding {
    let free = size(space.free_bytes);
    if space.read_only {
        return Finding::new("disk", Level::Broken, "the file system of the state directory is read-only")
            .next("mount it writable, or name another state directory with --state-dir");
    }
    let inodes = space.free_inodes.unwrap_or(u64::MAX);
    let said = match space.free_inodes {
        Some(inodes) => format!("{free} and {inodes} inodes are free"),
        None => format!("{free} are free"),
    };
    let level = if space.free_bytes < NO_BYTES || inodes < NO_INODES {
        Level::Broken
    } else if space.free_bytes < LOW_BYTES || inodes < LOW_INODES {
        Level::Attention
    } else {
        return Finding::new("disk", Level::Ok, said);
    };
    Finding::new("disk", level, format!("only {said} for the state directory"))
        .next("make room, or name another state directory with --state-dir")
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

/// 2025-01-01 and 2100-01-01, Unix milliseconds.
const SANE_MS: std::ops::Range<i64> = 1_735_689_600_000..4_102_444_800_000;

/// The clock may be this much behind what the journal holds before it is said.
const BEHIND_MS: i64 = 60_000;

/// What is to be said of the wall clock, beside the newest time in the journal.
#[must_use]
pub fn clock(now_ms: i64, newest_ms: Option<i64>) -> Finding {
    let next = "set the clock; order in the journal does not depend on it, expiry does";
    if !SANE_MS.contains(&now_ms) {
        return Finding::new("clock", Level::Attention, "the year is not between 2025 and 2100").next(next);
    }
    match newest_ms {
        Some(newest) if newest > now_ms + BEHIND_MS => {
            let behind = (newest - now_ms) / 1000;
            Finding::new(
                "clock",
                Level::Attention,
                format!("it is {behind} s behind the journal's newest cycle"),
            )
            .next(next)
        }
        _ => Finding::new("clock", Level::Ok, "plausible"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cve_is_judged_by_release_branch() {
        for (version, mended) in [
            ((2, 39, 5), false),
            ((2, 43, 6), false),
            ((2, 43, 7), true),
            ((2, 44, 3), false),
            ((2, 44, 4), true),
            ((2, 47, 2), false),
            ((2, 47, 3), true),
            ((2, 48, 1), false),
            ((2, 49, 0), false),
            ((2, 49, 1), true),
            ((2, 50, 0), false),
            ((2, 50, 1), true),
            ((2, 51, 0), true),
            ((3, 0, 0), true),
        ] {
            assert_eq!(is_mended(version), mended, "{version:?}");
        }
    }

    #[test]
    fn versions_of_all_vendors_are_read() {
        assert_eq!(git_version("git version 2.47.3\n"), Some((2, 47, 3)));
        assert_eq!(git_version("git version 2.39.5 (Apple Git-154)"), Some((2, 39, 5)));
        assert_eq!(git_version("git version 2.47.1.windows.1"), Some((2, 47, 1)));
        assert_eq!(git_version("git version 2.50.0-rc1"), Some((2, 50, 0)));
        assert_eq!(git_version("git version 2.51"), Some((2, 51, 0)));
        assert_eq!(git_version("gitt 2"), None);
        assert_eq!(git_version("git version x.y"), None);
    }

    #[test]
    fn the_finding_names_the_cve_and_what_to_install() {
        let finding = git("git version 2.39.5");
        assert_eq!(finding.level, Level::Attention);
        assert!(finding.message.contains("CVE-2025-48384"));
        assert!(finding.next.is_some_and(|next| next.contains("2.47.3")));
        assert_eq!(git("git version 2.31.9").level, Level::Broken);
        assert_eq!(git("git version 2.51.0").level, Level::Ok);
    }

    #[test]
    fn little_room_is_said_and_none_is_broken() {
        let at =
            |free_bytes, free_inodes, read_only| space(Space { free_bytes, free_inodes, read_only }).level;
        assert_eq!(at(1 << 40, Some(1 << 20), false), Level::Ok);
        assert_eq!(at(1 << 40, None, false), Level::Ok);
        assert_eq!(at(100 << 20, None, false), Level::Attention);
        assert_eq!(at(1 << 20, None, false), Level::Broken);
        assert_eq!(at(1 << 40, Some(5000), false), Level::Attention);
        assert_eq!(at(1 << 40, Some(0), false), Level::Broken);
        assert_eq!(at(1 << 40, None, true), Level::Broken);
    }

    #[test]
    fn a_sandbox_that_lacks_something_says_what() {
        let whole = sandbox(&Ok("all walls".to_owned()), &[]);
        assert_eq!((whole.level, whole.message.as_str(), whole.next), (Level::Ok, "all walls", None));
        let less = sandbox(&Ok("some walls".to_owned()), &["namespaces: none".to_owned()]);
        assert_eq!(less.level, Level::Note);
        assert_eq!(less.message, "some walls; not to be had here: namespaces: none");
        let none = sandbox(&Err("no sandbox: nothing works".to_owned()), &[]);
        assert_eq!(none.level, Level::Attention);
        assert!(none.message.contains("are unknown") && none.next.is_some());
    }

    #[test]
    fn a_rung_that_the_policy_does_not_allow_is_said() {
        use crate::domain::heal::Rung;
        let asked = |rung| Ladder { rung, tracks: std::collections::BTreeMap::new() };
        let policy = Policy { rungs: [(Track::Leaf, Rung::Gated)].into(), ..Policy::default() };
        let said = |rung, stopped| {
            let finding = ladder(&asked(rung), &policy, stopped);
            (finding.level, finding.message)
        };
        assert_eq!(said(Rung::Assisted, None), (Level::Ok, "leaf assisted, core assisted".to_owned()));
        let both = "leaf gated, core assisted (asked for gated)".to_owned();
        assert_eq!(said(Rung::Gated, None), (Level::Note, both));
        assert_eq!(said(Rung::Gated, Some("why")).0, Level::Attention);
    }

    #[test]
    fn a_clock_that_is_wrong_is_said() {
        let now = 1_800_000_000_000;
        assert_eq!(clock(now, None).level, Level::Ok);
        assert_eq!(clock(now, Some(now + 1000)).level, Level::Ok);
        assert_eq!(clock(now, Some(now + 3_600_000)).level, Level::Attention);
        assert_eq!(clock(0, None).level, Level::Attention);
    }
}
