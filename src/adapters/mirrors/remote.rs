//! Asking a remote with the `git` program, in an environment that we compose.
//!
//! What stays the operator's: `HOME` with its git configuration, keys and credential helpers,
//! the ssh agent, proxies and certificates. What cannot be: hooks, file system monitors,
//! remote helpers, prompts, any protocol that the location did not name, and every inherited
//! `GIT_*`. `GIT_ALLOW_PROTOCOL` holds after `url.*.insteadOf` too.

#![expect(clippy::disallowed_methods, reason = "the operator's transports need some of the environment")]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::adapters::process::{Invocation, ProcessError};
use crate::domain::discover::accepted_branch;
use crate::domain::id::ObjectId;
use crate::domain::text;
use crate::domain::url::RemoteUrl;

/// Names of the environment that the operator's transports need.
const KEPT: &[&str] = &[
    "SSH_AUTH_SOCK",
    "USER",
    "LOGNAME",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NIX_SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
];

/// Configuration that no file overrides.
const FIXED: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("credential.interactive", "false"),
    ("fetch.fsckObjects", "true"),
    ("transfer.fsckObjects", "true"),
    // Harmless flaws of old tools that real histories hold.
    ("fetch.fsck.zeroPaddedFilemode", "ignore"),
    ("fetch.fsck.missingSpaceBeforeDate", "ignore"),
    ("fetch.fsck.badTimezone", "ignore"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.writeCommitGraph", "false"),
    ("fetch.bundleURI", ""),
    ("transfer.bundleURI", "false"),
    // Always packs: what is fetched is bounded as it grows, and packs are counted.
    ("fetch.unpackLimit", "1"),
    ("fetch.prune", "false"),
    ("fetch.pruneTags", "false"),
    ("fetch.output", "compact"),
    ("fetch.parallel", "1"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("http.followRedirects", "initial"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "30"),
    ("protocol.version", "2"),
];

/// Why a remote gave nothing usable.
pub(in crate::adapters) enum Refusal {
    /// It did not answer in time, or refused.
    Unreachable(String),
    /// It answered with more than is allowed.
    TooMuch(String),
    /// It answered, and it is of no use.
    Useless(String),
}

/// What a remote advertises.
pub(super) struct Advertised {
    /// The branch that is followed.
    pub(super) branch: String,
    /// Its commit.
    pub(super) tip: ObjectId,
}

/// How the `git` program is let out.
#[derive(Debug, Clone, Default)]
pub(in crate::adapters) struct Access {
    /// Instead of the operator's home, and then without system-wide configuration.
    pub(in crate::adapters) home: Option<PathBuf>,
}

impl Access {
    /// The `git` program for asking this location, within this time.
    pub(in crate::adapters) fn git(&self, url: &RemoteUrl, deadline: Duration) -> Invocation {
        let mut invocation = Invocation::new("git").deadline(deadline).output_cap(1 << 20).cwd("/");
        for key in KEPT {
            if let Some(value) = std::env::var_os(key) {
                invocation = invocation.env(key, value);
            }
        }
        let allowed = match url {
            // `insteadOf` may turn one into the other.
            RemoteUrl::Https(_) | RemoteUrl::Ssh(_) | RemoteUrl::Scp(_) => "https:ssh",
            RemoteUrl::LoopbackHttp(_) => "http",
            RemoteUrl::Path(_) | RemoteUrl::File(_) => "file",
        };
        let mut settings: Vec<(&str, &str)> = FIXED.to_vec();
        if !matches!(url, RemoteUrl::Path(_) | RemoteUrl::File(_)) && !operator_has_ssh_command() {
            settings.push(("core.sshCommand", "ssh -oBatchMode=yes -oConnectTimeout=15"));
        }
        if let Some(home) = &self.home {
            invocation = invocation
                .env("HOME", home)
                .env("XDG_CONFIG_HOME", home.join(".config"))
                .env("GIT_CONFIG_NOSYSTEM", "1");
        }
        for (at, (key, value)) in settings.iter().enumerate() {
            invocation = invocation
                .env(format!("GIT_CONFIG_KEY_{at}"), key)
                .env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        invocation
            .env("GIT_CONFIG_COUNT", settings.len().to_string())
            .env("GIT_ALLOW_PROTOCOL", allowed)
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_CEILING_DIRECTORIES", "/")
            .env("SSH_ASKPASS_REQUIRE", "never")
    }
}

/// True when the operator's own configuration says how ssh is started: then it stays so.
fn operator_has_ssh_command() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        Invocation::new("git")
            .args(["config", "--get", "core.sshCommand"])
            .cwd("/")
            .env("GIT_CEILING_DIRECTORIES", "/")
            .deadline(Duration::from_secs(5))
            .run()
            .is_ok_and(|output| output.status.success() && !output.stdout.trim_ascii().is_empty())
    })
}

impl Access {
    /// One `ls-remote`: the tip of `branch`, or of the branch that HEAD names.
    pub(super) fn advertised(
        &self,
        url: &RemoteUrl,
        branches: &[Option<String>],
        deadline: Duration,
        max_refs: usize,
    ) -> Result<Vec<Result<Advertised, String>>, Refusal> {
        let cap = max_refs.saturating_mul(200).max(1 << 16);
        let too_many = || Refusal::TooMuch(format!("it advertises more than {max_refs} refs"));
        let output = self
            .git(url, deadline)
            .output_cap(cap)
            .args(["ls-remote", "--symref", "--quiet", "--"])
            .arg(url.to_string())
            .run()
            .map_err(|error| match error {
                ProcessError::TooMuchOutput { .. } => too_many(),
                error => Refusal::Unreachable(failure(&error)),
            })?;
        if !output.status.success() {
            return Err(Refusal::Unreachable(said(&output.stderr)));
        }
        let listed = String::from_utf8_lossy(&output.stdout);
        if listed.lines().count() > max_refs {
            return Err(too_many());
        }
        Ok(branches.iter().map(|branch| choose(&listed, branch.as_deref())).collect())
    }
}

/// The wanted branch in the output of `ls-remote --symref`.
fn choose(listed: &str, branch: Option<&str>) -> Result<Advertised, String> {
    let head = || {
        listed
            .lines()
            .find_map(|line| line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD"))
            .map(str::to_owned)
    };
    let Some(branch) = branch.map(str::to_owned).or_else(head) else {
        return Err(if listed.trim().is_empty() {
            "its upstream has no commits".to_owned()
        } else {
            "its upstream's HEAD names no branch; set branch in .gitmodules".to_owned()
        });
    };
    if !accepted_branch(&branch) {
        return Err("its upstream's HEAD names a branch that git does not accept".to_owned());
    }
    let tip = listed.lines().find_map(|line| {
        let (id, name) = line.split_once('\t')?;
        (name.strip_prefix("refs/heads/") == Some(&branch)).then(|| id.parse().ok()).flatten()
    });
    match tip {
        Some(tip) => Ok(Advertised { branch, tip }),
        None => Err(format!("its upstream has no branch {}", text::inert(&branch))),
    }
}

impl Access {
    /// Make all packs of a mirror one. Every tip has a ref, so that nothing is lost.
    pub(super) fn repack(
        &self,
        mirror: &Path,
        url: &RemoteUrl,
        deadline: Duration,
    ) -> Result<(), ProcessError> {
        self.git(url, deadline)
            .arg("--git-dir")
            .arg(mirror)
            .args(["repack", "-a", "-d", "-q", "--keep-unreachable"])
            .run()
            .map(|_| ())
    }

    /// Fetch one branch into a ref of a bare mirror; `watch` may stop it.
    pub(super) fn fetch(
        &self,
        mirror: &Path,
        url: &RemoteUrl,
        branch: &str,
        into: &str,
        deadline: Duration,
        watch: &mut dyn FnMut() -> Option<String>,
    ) -> Result<(), Refusal> {
        let output = self
            .git(url, deadline)
            .arg("--git-dir")
            .arg(mirror)
            .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"])
            .args(["--no-auto-maintenance", "--no-show-forced-updates", "--refmap=", "--force", "--"])
            .arg(url.to_string())
            .arg(format!("+refs/heads/{branch}:{into}"))
            .run_watched(Duration::from_millis(50), watch)
            .map_err(|error| match error {
                ProcessError::Stopped { why, .. } => Refusal::TooMuch(why),
                error => Refusal::Unreachable(failure(&error)),
            })?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let said = said(&output.stderr);
        let is_bad = ["fsck error", "index-pack failed", "unpack-objects", "bad object"];
        Err(if is_bad.iter().any(|sign| complaint.contains(sign)) {
            Refusal::Useless(format!("what it sent was refused: {said}"))
        } else {
            Refusal::Unreachable(said)
        })
    }
}

pub(in crate::adapters) fn failure(error: &ProcessError) -> String {
    match error {
        ProcessError::Deadline { deadline, .. } => {
            format!("it did not finish within {} s", deadline.as_secs_f32())
        }
        ProcessError::Start { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    }
}

/// The line of git's complaint that says most, inert, without what may be a secret.
pub(in crate::adapters) fn said(stderr: &[u8]) -> String {
    let all = text::inert_lines(&String::from_utf8_lossy(stderr));
    let line = all
        .lines()
        .find(|line| line.contains("fsck error") || line.starts_with("error: object"))
        .or_else(|| all.lines().find(|line| line.starts_with("fatal: unable to access")))
        .or_else(|| all.lines().find(|line| !line.trim().is_empty() && !line.starts_with("warning:")))
        .unwrap_or("it said nothing");
    let line = line.trim_start_matches("fatal: ").trim_start_matches("error: ");
    text::clipped(&without_userinfo(line), 300)
}

/// `//user:password@host` becomes `//…@host`: `insteadOf` may have put one in.
fn without_userinfo(line: &str) -> String {
    let mut parts = line.split("//");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("//");
        let end = part.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(part.len());
        match part[..end].rfind('@') {
            Some(at) => {
                shown.push('…');
                shown.push_str(&part[at..]);
            }
            None => shown.push_str(part),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_followed_branch_is_the_one_asked_for_else_the_one_head_names() {
        let a = "a".repeat(40);
        let b = "b".repeat(40);
        let listed =
            format!("ref: refs/heads/main\tHEAD\n{a}\tHEAD\n{a}\trefs/heads/main\n{b}\trefs/heads/x/y\n");
        let found = |branch| choose(&listed, branch).map(|found| (found.branch, found.tip.to_string()));
        assert_eq!(found(None), Ok(("main".to_owned(), a.clone())));
        assert_eq!(found(Some("x/y")), Ok(("x/y".to_owned(), b)));
        assert_eq!(found(Some("y")), Err("its upstream has no branch y".to_owned()));
        assert!(choose("", None).is_err_and(|why| why.contains("no commits")));
        assert!(choose(&format!("{a}\tHEAD\n"), None).is_err_and(|why| why.contains("names no branch")));
        assert!(choose("ref: refs/heads/-x\tHEAD\n", None).is_err_and(|why| why.contains("does not accept")));
    }

    #[test]
    fn complaints_are_inert_and_hold_no_credentials() {
        let shown = said(b"warning: x\nfatal: unable to access 'https://me:hunter2@h/x/': \x1b[31mno\n");
        assert!(shown.contains("'https://…@h/x/'") && !shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains('\u{1b}'));
        assert_eq!(said(b""), "it said nothing");
    }
}
