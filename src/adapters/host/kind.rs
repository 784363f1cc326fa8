//! Which host a program is, by what its own help says: never by its name.
//!
//! In: the words of `--help`. Out: a [`Kind`], or nothing where they describe no host that is
//! known here. A file called `logos_host` may be either generation, a wrapper, or something else.

use std::collections::BTreeSet;

/// A host and the generation of its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// `logos_host`: loads one module and stays.
    LogosHost {
        /// It takes a token and a directory for what the module keeps; the older one takes the
        /// module's name and file alone.
        takes_token: bool,
        /// It takes `--instance-persistence-path`.
        takes_persistence: bool,
    },
    /// `logoscore` that loads modules given with `-l` and stays.
    OneShot {
        /// It takes calls with `-c`.
        takes_calls: bool,
    },
    /// `logoscore` as a daemon with client verbs.
    Daemon {
        /// It takes `--config-dir`.
        takes_config_dir: bool,
        /// It takes `--persistence-path`.
        takes_persistence: bool,
    },
    /// `logosctl`: a daemon that starts itself, with verbs in groups.
    Logosctl {
        /// How its `daemon start` is told where modules are, where it can be.
        modules_option: Option<String>,
    },
}

impl Kind {
    /// The kind that this help describes.
    pub(super) fn of_help(help: &str) -> Option<Self> {
        let words = words(help);
        let has = |word: &str| words.contains(word);
        if has("--name") && has("--path") {
            return Some(Self::LogosHost {
                takes_token: has("--token-source"),
                takes_persistence: has("--instance-persistence-path"),
            });
        }
        let modules = has("-m") || has("--modules-dir");
        if modules && (has("-D") || has("--daemon")) && has("load-module") && has("list-modules") {
            return Some(Self::Daemon {
                takes_config_dir: has("--config-dir"),
                takes_persistence: has("--persistence-path"),
            });
        }
        if modules && (has("-l") || has("--load-modules")) {
            return Some(Self::OneShot { takes_calls: has("-c") || has("--call") });
        }
        if has("daemon") && has("module") && (has("package") || has("catalog") || has("call")) {
            return Some(Self::Logosctl { modules_option: None });
        }
        None
    }

    /// The name of the kind and its generation, for people and for the evidence.
    pub(super) fn shown(&self) -> &'static str {
        match self {
            Self::LogosHost { takes_token: true, .. } => "logos_host that takes a token",
            Self::LogosHost { takes_token: false, .. } => "logos_host that takes a name and a path alone",
            Self::OneShot { .. } => "logoscore, one-shot",
            Self::Daemon { .. } => "logoscore, daemon",
            Self::Logosctl { .. } => "logosctl",
        }
    }
}

/// How `daemon start` is told where modules are, by its own help.
pub(super) fn modules_option(help: &str) -> Option<String> {
    let words = words(help);
    ["--modules-dir", "--module-dir", "--modules", "-m"]
        .into_iter()
        .find(|option| words.contains(*option))
        .map(str::to_owned)
}

/// The major number of the protocol that a program says it speaks, in its help or its version.
pub(super) fn protocol_major(said: &str) -> Option<u64> {
    let lower = said.to_ascii_lowercase();
    let mut rest = lower.as_str();
    while let Some(at) = rest.find("protocol") {
        rest = &rest[at + "protocol".len()..];
        let between = |c: char| c.is_whitespace() || "_-:=".contains(c);
        let number = rest.trim_start_matches(between);
        let number = number.strip_prefix("version").unwrap_or(number).trim_start_matches(between);
        let number = number.strip_prefix('v').unwrap_or(number);
        if let Some(major) = major(number) {
            return Some(major);
        }
    }
    None
}

/// The number before the first dot of a version.
pub(super) fn major(version: &str) -> Option<u64> {
    let digits = version.trim_start().split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The words of a help text: what stands between spaces and the marks around options.
fn words(help: &str) -> BTreeSet<&str> {
    help.split(|c: char| c.is_whitespace() || ",|=<>[](){}:;…'\"".contains(c))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_by_its_options_not_by_its_name() {
        let check = |help: &str, expect: Option<&str>| {
            assert_eq!(Kind::of_help(help).as_ref().map(Kind::shown), expect, "{help}");
        };
        check(
            "Usage: logos_host [options]\n  -n, --name <name>  Module\n  -p, --path <path>  Plugin\n  --token-source <stdin|fd:n>",
            Some("logos_host that takes a token"),
        );
        check(
            "Usage: anything\n  -n,--name TEXT\n  -p,--path TEXT\n",
            Some("logos_host that takes a name and a path alone"),
        );
        check(
            "logoscore [-D] -m DIR\n  -m,--modules-dir DIR ...\nSubcommands:\n  status\n  load-module\n  list-modules",
            Some("logoscore, daemon"),
        );
        check("logoscore\n -m DIR\n -l mod1,mod2\n -c \"module.method(args)\"", Some("logoscore, one-shot"));
        check("logosctl\n daemon  start, stop\n module  ls, load\n package …", Some("logosctl"));
        check("Usage: ls [OPTION]... [FILE]...\n -l  use a long listing format", None);
        check("", None);
    }

    #[test]
    fn the_protocol_is_read_where_a_program_says_it() {
        let check = |said: &str, expect: Option<u64>| assert_eq!(protocol_major(said), expect, "{said}");
        check("logos_host 0.3.0 (protocol 2.1)", Some(2));
        check("Protocol version: 1.0.4", Some(1));
        check("logos_protocol_version=3", Some(3));
        check("protocols are many", None);
        check("logos_host 1.0", None);
    }

    #[test]
    fn the_option_for_modules_is_the_one_that_the_help_names() {
        assert_eq!(modules_option("  -m, --modules-dir DIR").as_deref(), Some("--modules-dir"));
        assert_eq!(modules_option("  -m DIR").as_deref(), Some("-m"));
        assert_eq!(modules_option("  --detach"), None);
    }
}
