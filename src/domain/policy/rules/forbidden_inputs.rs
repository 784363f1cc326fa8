//! `forbidden-inputs`: flake inputs and overrides that may not be, wherever they are written.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::flake::nix_reader::InputSpec;
use crate::domain::flake::reference::{Attr, FlakeRef};
use crate::domain::id::{ModuleName, RepoPath};
use crate::domain::policy::Severity;
use crate::domain::policy::facts::{Command, Facts};
use crate::domain::policy::found::Found;
use crate::domain::policy::pattern::Pattern;
use crate::domain::text;

/// The settings of `forbidden-inputs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForbiddenInputs {
    /// How grave it is.
    pub severity: Severity,
    /// References that may not be, in flake.nix and in the lock: `path:/*`, `git+file:*`, `indirect:*`.
    pub references: BTreeSet<Pattern>,
    /// Names that no input of the workspace's flake may have.
    pub names: BTreeSet<Pattern>,
    /// What flake.nix may do to the inputs of its inputs.
    pub overrides: Overrides,
    /// Whether the input of a module may name a branch.
    pub branches: bool,
    /// Words that no command may have that runs on the workspace.
    pub words: BTreeSet<Pattern>,
    /// Files of the superproject with such commands, or with the settings of such programs.
    pub run: BTreeSet<RepoPath>,
}

/// What `flake.nix` may do to the inputs of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overrides {
    /// Anything.
    Allow,
    /// Let them follow other inputs.
    #[default]
    Follow,
    /// Nothing.
    Deny,
}

impl Default for ForbiddenInputs {
    fn default() -> Self {
        let patterns = |all: &[&str]| all.iter().map(|one| Pattern::new(one)).collect();
        Self {
            severity: Severity::Deny,
            references: patterns(&["path:/*", "git+file:*"]),
            names: BTreeSet::new(),
            overrides: Overrides::default(),
            branches: true,
            words: patterns(&[
                "--accept-flake-config",
                "--impure",
                "--inputs-from",
                "--override-flake",
                "--override-input",
            ]),
            run: BTreeSet::new(),
        }
    }
}

impl Rule for ForbiddenInputs {
    const ID: &'static str = "forbidden-inputs";
    const ASKS: Asks = Asks::Tree;
    const ABOUT: &'static str = "\
Inputs and overrides that may not be in the result: references by their text (`github:owner/repo/branch`, \
`path:/somewhere`, `git+file:///somewhere`), in flake.nix and in every node of flake.lock; names of inputs; \
and what flake.nix does to the inputs of its inputs (`allow`, `follow` or `deny`). With `branches = false` \
the input of a module names no branch: an override that was for a day stays no year.

What runs Nix can override inputs as well. So `words` may stand neither in a command that this machine's \
configuration runs on the workspace nor in the files of the superproject that `run` lists; nor may such a \
file name a forbidden reference. A file of that list that cannot be read is said.";
    const EXAMPLE: &'static str = "\
[rules.forbidden-inputs]
severity = \"deny\"
references = [\"path:/*\", \"git+file:*\", \"indirect:*\"]
names = [\"*-fork\"]
overrides = \"follow\"
branches = false
words = [\"--override-input\", \"--override-flake\", \"--impure\"]
run = [\"scaffold.toml\", \".envrc\"]
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn files(&self) -> BTreeSet<RepoPath> {
        self.run.clone()
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        self.flake(facts, found);
        self.lock(facts, found);
        for Command { what, words } in &facts.commands {
            for word in words.iter().filter(|word| self.words.iter().any(|it| it.matches(word))) {
                let said = format!("{what} runs with {}, which is forbidden", text::quoted(word));
                found.whole(said, Some("this machine's configuration says so: change it there"));
            }
        }
        for path in &self.run {
            match facts.files.get(path) {
                None | Some(Ok(None)) => {}
                Some(Ok(Some(bytes))) => self.run_file(path, bytes, found),
                Some(Err(why)) => found.path(None, path, format!("it cannot be read: {why}"), None),
            }
        }
    }
}

impl ForbiddenInputs {
    fn forbidden(&self, reference: &FlakeRef) -> Option<(String, &Pattern)> {
        let shown = shown(reference);
        // With and without what pins it: a pattern for a repository is one for all its revisions.
        let bare = shown.split('?').next().unwrap_or_default();
        let pattern = self.references.iter().find(|it| it.matches(&shown) || it.matches(bare))?;
        Some((shown, pattern))
    }

    fn flake(&self, facts: &Facts, found: &mut Found) {
        let path = RepoPath::from("flake.nix");
        let Some(flake) = &facts.wiring.flake else {
            if let Some(why) = facts.wiring.unreadable.get("flake.nix") {
                found.path(None, &path, format!("its inputs cannot be read: {why}"), None);
            }
            return;
        };
        let modules: BTreeMap<_, &ModuleName> =
            facts.modules.iter().map(|module| (&module.identity, &module.name)).collect();
        for (name, spec) in &flake.inputs {
            let at = format!("the input {} (line {})", text::word(name), spec.line);
            if let Some(pattern) = self.names.iter().find(|it| it.matches(name)) {
                found.path(None, &path, format!("{at} has a forbidden name ({pattern})"), None);
            }
            let Some(reference) = &spec.reference else { continue };
            if let Some((shown, pattern)) = self.forbidden(reference) {
                let said =
                    format!("{at} comes from {}, which is forbidden ({pattern})", text::quoted(&shown));
                found.path(None, &path, said, None);
            }
            let module = reference.identity().and_then(|identity| modules.get(&identity).copied());
            if let (Some(module), Some(branch), false) = (module, reference.git_ref(), self.branches) {
                let said = format!("{at} is the module {module} at the branch {}", text::quoted(branch));
                found.path(None, &path, said, Some("take the branch out of its URL"));
            }
            self.overrides(&at, spec, &mut vec![name.clone()], &path, found);
        }
    }

    fn overrides(
        &self,
        at: &str,
        spec: &InputSpec,
        of: &mut Vec<String>,
        path: &RepoPath,
        found: &mut Found,
    ) {
        for (name, inner) in &spec.inputs {
            of.push(name.clone());
            let shown = of.iter().map(|part| text::word(part)).collect::<Vec<_>>().join("/");
            let to = inner.reference.as_ref().filter(|_| inner.follows.is_none());
            match (self.overrides, to) {
                (Overrides::Deny, _) if to.is_some() || inner.follows.is_some() => {
                    found.path(None, path, format!("{at} overrides {shown}, which is forbidden"), None);
                }
                (Overrides::Follow, Some(reference)) => {
                    let to = text::quoted(&self::shown(reference));
                    let said = format!("{at} overrides {shown} with {to}; only following is allowed");
                    found.path(None, path, said, None);
                }
                _ => {}
            }
            if let (Overrides::Allow, Some(reference)) = (self.overrides, to)
                && let Some((to, pattern)) = self.forbidden(reference)
            {
                let to = text::quoted(&to);
                found.path(
                    None,
                    path,
                    format!("{at} overrides {shown} with {to}, which is forbidden ({pattern})"),
                    None,
                );
            }
            self.overrides(at, inner, of, path, found);
            of.pop();
        }
    }

    fn lock(&self, facts: &Facts, found: &mut Found) {
        let path = RepoPath::from("flake.lock");
        let Some(lock) = &facts.wiring.lock else {
            if let Some(why) = facts.wiring.unreadable.get("flake.lock") {
                found.path(None, &path, format!("its nodes cannot be read: {why}"), None);
            }
            return;
        };
        if self.references.is_empty() {
            return;
        }
        // Many nodes have few sources.
        let mut said: BTreeMap<String, String> = BTreeMap::new();
        for (_, node) in lock.nodes() {
            for reference in [&node.original, &node.locked].into_iter().flatten() {
                if let Some((shown, pattern)) = self.forbidden(reference) {
                    said.entry(shown).or_insert_with(|| {
                        format!("{} comes from it, which is forbidden ({pattern})", text::word(&node.key))
                    });
                }
            }
        }
        for (reference, why) in said {
            found.path(None, &path, format!("{}: {why}", text::quoted(&reference)), None);
        }
    }

    fn run_file(&self, path: &RepoPath, bytes: &[u8], found: &mut Found) {
        for (number, line) in String::from_utf8_lossy(bytes).lines().enumerate() {
            let ends = |c: char| c.is_whitespace() || "\"'`=,;()[]{}".contains(c);
            for word in line.split(ends).filter(|word| !word.is_empty()) {
                let is_word = self.words.iter().any(|it| it.matches(word));
                let reference = || self.references.iter().any(|it| it.matches(word));
                if is_word || (word.contains(':') && reference()) {
                    let said = format!("line {} has {}, which is forbidden", number + 1, text::quoted(word));
                    found.path(None, path, said, None);
                }
            }
        }
    }
}

/// A reference as patterns see it: `github:owner/repo/ref?rev=…`, `git+https://host/path?ref=…`,
/// `path:/somewhere`, `indirect:name`, `tarball:https://…`.
fn shown(reference: &FlakeRef) -> String {
    let text = |name| reference.text(name).unwrap_or_default();
    let kind = reference.kind();
    let (place, in_path): (String, &[&str]) = match kind {
        "github" | "gitlab" | "sourcehut" => {
            let branch = reference.git_ref().map_or_else(String::new, |branch| format!("/{branch}"));
            (format!("{kind}:{}/{}{branch}", text("owner"), text("repo")), &["owner", "repo", "ref"])
        }
        "git" => (format!("git+{}", text("url")), &["url"]),
        "path" => (format!("path:{}", text("path")), &["path"]),
        "indirect" => (format!("indirect:{}", text("id")), &["id"]),
        _ => (format!("{kind}:{}", text("url")), &["url"]),
    };
    let others = reference.attrs().iter().filter(|(name, _)| {
        let name: &str = name;
        !in_path.contains(&name) && !["type", "narHash", "lastModified", "revCount", "rev"].contains(&name)
    });
    let others: Vec<String> = others
        .map(|(name, value)| match value {
            Attr::Str(value) => format!("{name}={value}"),
            Attr::Int(value) => format!("{name}={value}"),
            Attr::Bool(value) => format!("{name}={value}"),
        })
        .collect();
    if others.is_empty() { place } else { format!("{place}?{}", others.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, module, rule, said, upgrade};
    use super::*;
    use crate::domain::flake::lock::Lock;
    use crate::domain::flake::nix_reader;

    fn flake(inputs: &str) -> Facts {
        let mut facts = upgrade(vec![module("waku")]);
        let text = format!("{{ inputs = {{ {inputs} }}; outputs = {{ ... }}: {{ }}; }}");
        facts.wiring.flake = Some(nix_reader::read(text.as_bytes()).unwrap());
        facts
    }

    const RULE: &str = "references = ['path:/*', 'git+file:*', 'indirect:*', 'github:evil/*', '*?*dir=x*']
        names = ['*-fork']
        branches = false
        run = ['run.toml']";

    #[test]
    fn inputs_of_flake_nix_are_looked_at_however_they_are_written() {
        let it: ForbiddenInputs = rule(RULE);
        for (inputs, says) in [
            (r#"a.url = "github:org/a";"#, ""),
            (r#"a.url = "path:/home/me/a";"#, "the input a (line 1) comes from \"path:/home/me/a\""),
            (r#"a.url = "/home/me/a";"#, "path:/home/me/a"),
            (r#"a.url = "git+file:///home/me/a?ref=x";"#, "git+file:///home/me/a"),
            (r#"a = { type = "path"; path = "/home/me/a"; };"#, "path:/home/me/a"),
            (r#"a = { type = "github"; owner = "evil"; repo = "a"; };"#, "github:evil/a"),
            (r#"a.url = "github:org/a?dir=x";"#, "dir=x"),
            (r#"a.url = "nixpkgs";"#, "indirect:nixpkgs"),
            (r#"a-fork.url = "github:org/a";"#, "a forbidden name (*-fork)"),
            (r#"waku.url = "github:org/waku";"#, ""),
            (r#"waku.url = "github:org/waku/topic";"#, "is the module waku at the branch \"topic\""),
            (r#"other.url = "github:org/other/topic";"#, ""),
        ] {
            check(&it, &flake(inputs), says);
        }
    }

    #[test]
    fn overrides_follow_or_are_said() {
        let with = |overrides: &str| -> ForbiddenInputs {
            rule(&format!("references = ['github:evil/*']\noverrides = '{overrides}'"))
        };
        let follows = flake(r#"b.url = "github:org/b"; a.url = "github:org/a"; a.inputs.b.follows = "b";"#);
        let replaces = flake(r#"a.url = "github:org/a"; a.inputs.b.inputs.c.url = "github:org/c";"#);
        let evil = flake(r#"a.url = "github:org/a"; a.inputs.b.url = "github:evil/b";"#);
        for (overrides, facts, says) in [
            ("allow", &follows, ""),
            ("allow", &replaces, ""),
            ("allow", &evil, "overrides a/b with \"github:evil/b\", which is forbidden"),
            ("follow", &follows, ""),
            ("follow", &replaces, "overrides a/b/c with \"github:org/c\"; only following"),
            ("follow", &evil, "only following"),
            ("deny", &follows, "overrides a/b, which is forbidden"),
            ("deny", &replaces, "overrides a/b/c, which is forbidden"),
        ] {
            check(&with(overrides), facts, says);
        }
    }

    #[test]
    fn every_node_of_the_lock_is_looked_at_and_what_cannot_be_read_is_said() {
        let it: ForbiddenInputs = rule(RULE);
        let mut facts = upgrade(Vec::new());
        let deep = r#"{"nodes":{
            "a":{"inputs":{"b":"b"},"locked":{"type":"github","owner":"org","repo":"a"},
                "original":{"type":"github","owner":"org","repo":"a"}},
            "b":{"locked":{"type":"path","path":"/etc"},"original":{"type":"indirect","id":"b"}},
            "root":{"inputs":{"a":"a"}}},"root":"root","version":7}"#;
        facts.wiring.lock = Some(Lock::parse(deep.as_bytes()).unwrap());
        let all = said(&it, &facts);
        assert!(all.len() == 2 && all[0].contains("indirect:b") && all[1].contains("path:/etc"), "{all:?}");
        facts.wiring.lock = None;
        facts.wiring.unreadable.insert("flake.lock".to_owned(), "no JSON".to_owned());
        check(&it, &facts, "its nodes cannot be read: no JSON");
        facts.wiring.unreadable = [("flake.nix".to_owned(), "no set".to_owned())].into();
        check(&it, &facts, "its inputs cannot be read: no set");
    }

    #[test]
    fn what_runs_on_the_workspace_overrides_nothing() {
        let it: ForbiddenInputs = rule(RULE);
        let path = RepoPath::from("run.toml");
        for (content, says) in [
            (Ok(None), ""),
            (Ok(Some(b"args = [\"build\"]\n".to_vec())), ""),
            (
                Ok(Some(b"\nargs = [\"--override-input\",\"a\"]\n".to_vec())),
                "line 2 has \"--override-input\"",
            ),
            (Ok(Some(b"x --override-input=a\n".to_vec())), "--override-input"),
            (Ok(Some(b"url = \"git+file:///home/a\"\n".to_vec())), "git+file:///home/a"),
            (Err("it is a symlink".to_owned()), "run.toml: it cannot be read: it is a symlink"),
        ] {
            let mut facts = upgrade(Vec::new());
            facts.files.insert(path.clone(), content);
            check(&it, &facts, says);
        }
        let mut facts = upgrade(Vec::new());
        let words = ["/bin/check", "--impure"].map(str::to_owned).to_vec();
        facts.commands.push(Command { what: "verify.command.program".to_owned(), words });
        check(&it, &facts, "verify.command.program runs with \"--impure\"");
        assert_eq!(it.files(), [path].into());
    }
}
