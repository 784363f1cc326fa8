//! What a run of `nix-store --realise` says, read from Nix's structured log: what was built and where,
//! the builders' own words, and Nix's complaints. What a builder prints is never taken for Nix's words.
//!
//! The form is `--log-format internal-json`: one JSON object a line after `@nix `
//! (`libutil/logging.cc: JSONLogger`; numbers of activities and results from `logging.hh`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::said;
use crate::domain::text;

/// `actBuild`, `actSubstitute`.
const BUILD: u64 = 105;
const SUBSTITUTE: u64 = 108;
/// `resBuildLogLine`, `resPostBuildLogLine`.
const LINE: u64 = 101;
const HOOK_LINE: u64 = 107;

/// What was said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// All of it for people, in order.
    pub(super) log: Vec<u8>,
    /// Nix's errors, plain, in order.
    pub(super) errors: Vec<String>,
    /// Derivations whose building began, and the machine; empty for this one.
    pub(super) built: Vec<(String, String)>,
    /// Paths that were taken from elsewhere.
    pub(super) substituted: usize,
    /// The last line that the builder of each derivation wrote.
    pub(super) last_lines: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Entry {
    action: String,
    #[serde(default)]
    id: u64,
    #[serde(default, rename = "type")]
    kind: u64,
    #[serde(default)]
    level: u64,
    #[serde(default)]
    fields: Vec<serde_json::Value>,
    #[serde(default)]
    msg: Option<String>,
    #[serde(default)]
    raw_msg: Option<String>,
}

/// Read a standard error.
pub(super) fn read(stderr: &[u8]) -> Told {
    let mut told = Told::default();
    let mut building: BTreeMap<u64, String> = BTreeMap::new();
    for line in stderr.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let entry = line.strip_prefix(b"@nix ").and_then(|json| serde_json::from_slice::<Entry>(json).ok());
        let Some(entry) = entry else {
            told.log.extend_from_slice(line);
            told.log.push(b'\n');
            continue;
        };
        let field = |at: usize| entry.fields.get(at).and_then(serde_json::Value::as_str).unwrap_or("");
        match (entry.action.as_str(), entry.kind) {
            ("start", BUILD) => {
                building.insert(entry.id, field(0).to_owned());
                told.built.push((field(0).to_owned(), field(1).to_owned()));
            }
            ("start", SUBSTITUTE) => told.substituted += 1,
            ("result", LINE | HOOK_LINE) => {
                let derivation = building.get(&entry.id).map_or("", String::as_str);
                let said = said::without_colours(field(0));
                told.log.extend_from_slice(format!("{}> {said}\n", name(derivation)).as_bytes());
                told.last_lines.insert(derivation.to_owned(), said);
            }
            ("msg", _) => {
                let said = said::without_colours(entry.msg.as_deref().unwrap_or(""));
                told.log.extend_from_slice(said.as_bytes());
                told.log.push(b'\n');
                if entry.level == 0 && said.starts_with("error:") {
                    let raw = entry.raw_msg.as_deref().map(said::without_colours);
                    told.errors.push(raw.unwrap_or(said));
                }
            }
            _ => {}
        }
    }
    told
}

/// A derivation that did not build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// Its path.
    pub(super) derivation: String,
    /// What its builder did, as a clause.
    pub(super) why: String,
}

impl Told {
    /// The first derivation whose own builder failed: what all others that failed wait for.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.errors.iter().find_map(|error| broken(error))
    }

    /// Nix's complaints without what builders wrote, one after the other.
    pub(super) fn complaints(&self) -> String {
        let heads: Vec<String> = self.errors.iter().map(|error| head(error).replace('\n', " ")).collect();
        text::clipped(&text::inert(&heads.join("; ")), 500)
    }

    /// What the builder of a derivation wrote last, inert and short.
    pub(super) fn last_line(&self, derivation: &str) -> Option<String> {
        let line = self.last_lines.get(derivation)?;
        Some(text::clipped(&text::inert(line.trim()), 200)).filter(|line| !line.is_empty())
    }
}

/// Nix repeats the end of a builder's log in its own message: not this.
fn head(error: &str) -> &str {
    let ends = ["last ", "Last ", "For full logs", "Output paths:"];
    let lines = error.split_inclusive('\n');
    let mut end = 0;
    for line in lines {
        if end > 0 && ends.iter().any(|words| line.trim_start().starts_with(words)) {
            break;
        }
        end += line.len();
    }
    error[..end].trim_end()
}

/// Both wordings: `builder for 'X.drv' failed with exit code 1;` of 2.8, and of 2.34
/// `Cannot build 'X.drv'.` with `Reason: builder failed with exit code 1.` on the next line.
fn broken(error: &str) -> Option<Broken> {
    let error = head(error);
    let derivation = |rest: &str| {
        let (derivation, rest) = rest.split_once('\'')?;
        derivation.strip_suffix(".drv").is_some().then(|| (derivation.to_owned(), rest.to_owned()))
    };
    if let Some(rest) = error.strip_prefix("builder for '") {
        let (derivation, rest) = derivation(rest)?;
        return Some(Broken { derivation, why: format!("its builder {}", clause(&rest)) });
    }
    if let Some(rest) = error.strip_prefix("Cannot build '") {
        let (derivation, rest) = derivation(rest)?;
        let why = rest.split_once("Reason:").map_or("it failed", |(_, why)| why);
        if why.contains("dependency failed") || why.contains("dependencies failed") {
            return None;
        }
        return Some(Broken { derivation, why: clause(why) });
    }
    if let Some(rest) = error.strip_prefix("hash mismatch in fixed-output derivation '") {
        let (derivation, _) = derivation(rest)?;
        return Some(Broken { derivation, why: "what it fetched has another hash than it says".to_owned() });
    }
    None
}

/// The first sentence, inert.
fn clause(said: &str) -> String {
    let said = said.trim().lines().next().unwrap_or("");
    let said = said.split(';').next().unwrap_or(said).trim_end_matches(['.', ':', ',']);
    text::clipped(&text::inert(said), 200)
}

/// A derivation's name: its path without directory, hash and ending.
pub(super) fn name(derivation: &str) -> String {
    let last = derivation.rsplit('/').next().unwrap_or(derivation);
    let name = last.split_once('-').map_or(last, |(_, name)| name);
    text::inert(name.strip_suffix(".drv").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "/nix/store/saflpdk6lm22aambbvqa41x7217vn9f4-dep.drv";

    #[test]
    fn builders_words_are_kept_apart_from_nixs() {
        let stderr = format!(
            r#"@nix {{"action":"start","fields":["{DEP}","",1,1],"id":7,"level":3,"text":"building","type":105}}
@nix {{"action":"result","fields":["error: \u001b[31mpretended"],"id":7,"type":101}}
@nix {{"action":"msg","level":0,"msg":"\u001b[31;1merror:\u001b[0m builder for '{DEP}' failed with exit code 3;\n       last 1 log lines:\n       > error: no space left on device\n","raw_msg":"builder for '{DEP}' failed with exit code 3;\nlast 1 log lines:\n> error: no space left on device"}}
not structured
"#
        );
        let told = read(stderr.as_bytes());
        assert_eq!(told.built, [(DEP.to_owned(), String::new())]);
        assert_eq!(told.errors.len(), 1);
        assert_eq!(told.complaints(), format!("builder for '{DEP}' failed with exit code 3;"));
        let broken = told.broken().expect("one is broken");
        assert_eq!(
            (broken.derivation.as_str(), broken.why.as_str()),
            (DEP, "its builder failed with exit code 3")
        );
        assert_eq!(told.last_line(DEP).as_deref(), Some("error: pretended"));
        let log = String::from_utf8(told.log).expect("text");
        assert!(log.starts_with("dep> error: pretended\n") && log.ends_with("not structured\n"), "{log}");
    }

    #[test]
    fn the_first_broken_derivation_is_named_in_either_wording() {
        let of = |errors: &[&str]| Told {
            errors: errors.iter().map(|error| (*error).to_owned()).collect(),
            ..Told::default()
        };
        let top = "/nix/store/84ja4mh6qij4f9pwpfzf6rf6ycj9rrmi-a.drv";
        let new = of(&[
            &format!("Cannot build '{top}'.\nReason: 1 dependency failed.\nOutput paths:\n  /nix/store/x"),
            &format!(
                "Cannot build '{DEP}'.\nReason: builder failed with exit code 3.\nOutput paths:\n  /nix/store/x"
            ),
        ]);
        let broken = new.broken().expect("one is broken");
        assert_eq!(
            (broken.derivation.as_str(), broken.why.as_str()),
            (DEP, "builder failed with exit code 3")
        );
        let old = of(&[
            &format!("builder for '{DEP}' failed to produce output path for output 'out' at '/nix/store/x'"),
            &format!("1 dependencies of derivation '{top}' failed to build"),
        ]);
        assert_eq!(old.broken().expect("one is broken").derivation, DEP);
        assert_eq!(of(&["cannot connect to socket"]).broken(), None);
    }

    #[test]
    fn names_are_those_that_people_know() {
        assert_eq!(name(DEP), "dep");
        assert_eq!(name("odd"), "odd");
    }
}
