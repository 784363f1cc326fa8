//! From `.gitmodules` and what surrounds it to the modules of a workspace.
//!
//! Bytes and maps in, accepted [`Module`]s and [`RefusedModule`]s out; nothing is read here.
//! Every submodule is checked for itself (name, path, `update`, URL, branch) and against the
//! others (same path, letter case, one inside the other, links in the way); what fails is
//! refused with the first reason, and the others go on. `update = !command` refuses the
//! module rather than being ignored: a repository that holds it expects it to run.

use std::collections::{BTreeMap, BTreeSet};

use super::id::{ModuleName, ObjectId, RepoPath};
use super::module::{Discovery, FetchFrom, FetchSource, Module, RefusedModule};
use super::url::{RemoteUrl, RepoIdentity, UrlRefused, UrlRules, relative};

mod gitmodules;
mod names;
mod safety;

use gitmodules::Section;

/// Everything that discovery looks at, read by an adapter.
#[derive(Debug, Clone, Default)]
pub struct DiscoverInput {
    /// The `.gitmodules` file of the index: unstaged edits are a change in the snapshot, not obeyed.
    pub gitmodules: Option<Vec<u8>>,
    /// Every gitlink of the index with its commit.
    pub gitlinks: BTreeMap<RepoPath, ObjectId>,
    /// Every symbolic link of the index: one may not stand in a module's way under another
    /// spelling (CVE-2024-32002).
    pub symlinks: BTreeSet<RepoPath>,
    /// `submodule.<name>.url` of the operator's git configuration, by submodule name.
    pub git_config_urls: BTreeMap<String, String>,
    /// `remote.origin.url` of the superproject, which relative URLs are resolved against.
    pub superproject_url: Option<String>,
    /// The branch that the superproject's HEAD names, which `branch = .` means.
    pub superproject_branch: Option<String>,
    /// `[modules.X] url` of our configuration, by module name.
    pub config_urls: BTreeMap<String, String>,
    /// Root flake inputs and the repository each one is, where that is known.
    pub flake_inputs: BTreeMap<String, Option<RepoIdentity>>,
    /// Paths and `file:` locations are allowed.
    pub allow_local_urls: bool,
}

/// True for a branch name that git accepts and no program takes for an option.
#[must_use]
pub fn accepted_branch(name: &str) -> bool {
    safety::check_branch(name.as_bytes()).is_some()
}

/// A section that passed its own checks, not yet those against the others.
struct Candidate {
    submodule: String,
    path: RepoPath,
    declared: RemoteUrl,
    branch: Option<String>,
}

/// The modules, and what was refused. One refusal never touches another module.
#[must_use]
pub fn discover(input: &DiscoverInput) -> Discovery {
    let mut refused = Vec::new();
    let sections = match input.gitmodules.as_deref().map(gitmodules::parse) {
        None => BTreeMap::new(),
        Some(Ok(sections)) => sections,
        Some(Err(reason)) => {
            let all = input.gitlinks.keys().map(|path| refusal(path, &reason)).collect();
            return Discovery { modules: Vec::new(), refused: all };
        }
    };
    let rivals = Rivals::of(&sections, input);
    let mut candidates: BTreeMap<RepoPath, Candidate> = BTreeMap::new();
    for (name, section) in &sections {
        match candidate(name, section, input, &rivals) {
            Ok(candidate) => {
                candidates.insert(candidate.path.clone(), candidate);
            }
            Err(reason) => refused.push(RefusedModule { subject: subject(name, section), reason }),
        }
    }
    for path in input.gitlinks.keys().filter(|path| !rivals.sections.contains_key(path.as_bytes())) {
        let reason = if input.gitmodules.is_some() {
            "it has no section in .gitmodules, so its upstream is not known"
        } else {
            "there is no .gitmodules, so its upstream is not known"
        };
        refused.push(refusal(path, reason));
    }
    let modules = named(candidates.into_values().collect(), input, &mut refused);
    refused.sort();
    refused.dedup();
    Discovery { modules, refused }
}

/// Give names, then choose where each is fetched from; sorted by name.
fn named(candidates: Vec<Candidate>, input: &DiscoverInput, refused: &mut Vec<RefusedModule>) -> Vec<Module> {
    let identities: Vec<RepoIdentity> =
        candidates.iter().map(|candidate| candidate.declared.identity()).collect();
    let unnamed: Vec<names::Unnamed<'_>> = candidates
        .iter()
        .zip(&identities)
        .map(|(candidate, identity)| names::Unnamed { path: &candidate.path, identity })
        .collect();
    let named = names::assign(&unnamed, &input.flake_inputs);
    let mut modules: BTreeMap<ModuleName, Module> = BTreeMap::new();
    for ((candidate, identity), names::Named { name, input: flake_input }) in
        candidates.into_iter().zip(identities).zip(named)
    {
        if modules.contains_key(&name) {
            refused.push(refusal(&candidate.path, "another module has the same name"));
            continue;
        }
        match fetch_from(&name, &candidate, input) {
            Ok(fetch) => {
                let module = Module {
                    name: name.clone(),
                    submodule: candidate.submodule,
                    path: candidate.path,
                    identity,
                    declared: candidate.declared,
                    fetch,
                    branch: candidate.branch,
                    input: flake_input,
                };
                modules.insert(name, module);
            }
            Err(reason) => refused.push(refusal(&candidate.path, &reason)),
        }
    }
    modules.into_values().collect()
}

/// The checks of one section, the first failure as its reason.
fn candidate(
    name: &[u8],
    section: &Section,
    input: &DiscoverInput,
    rivals: &Rivals<'_>,
) -> Result<Candidate, String> {
    let submodule = safety::check_name(name).map_err(|reason| format!("its name {reason}"))?;
    if let Some(key) = section.ambiguous {
        return Err(format!("its section gives two different values for {key}"));
    }
    let path = section.path.as_deref().ok_or("its section gives no path")?;
    safety::check_path(path).map_err(|reason| format!("its path {reason}"))?;
    let path = RepoPath::new(path);
    if !input.gitlinks.contains_key(&path) {
        return Err("its section names a path where the index has no submodule".to_owned());
    }
    rivals.check(name, &path)?;
    if section.update.as_deref().is_some_and(|update| update.trim_ascii_start().starts_with(b"!")) {
        return Err("its section has update = !command, which would run a program".to_owned());
    }
    let declared = section
        .url
        .as_deref()
        .ok_or_else(|| "its section gives no url".to_owned())
        .and_then(|url| located(url, input))?;
    let branch = match section.branch.as_deref() {
        None => None,
        Some(b".") => Some(input.superproject_branch.clone().ok_or(
            "its section has branch = \".\" (the superproject's), and the superproject is on no branch",
        )?),
        Some(branch) => Some(
            safety::check_branch(branch)
                .ok_or("its section gives a branch that git does not accept")?
                .to_owned(),
        ),
    };
    Ok(Candidate { submodule: submodule.to_owned(), path, declared, branch })
}

/// The declared URL, relative ones resolved.
fn located(url: &[u8], input: &DiscoverInput) -> Result<RemoteUrl, String> {
    let refused = |why: UrlRefused| format!("its URL {why}");
    let url = std::str::from_utf8(url).map_err(|_| "its URL is not UTF-8")?;
    let rules = UrlRules::with_local(input.allow_local_urls);
    if !relative::is_relative(url) {
        return RemoteUrl::parse(url, rules).map_err(refused);
    }
    let base = input.superproject_url.as_deref().ok_or(refused(UrlRefused::NoBase))?;
    relative::resolve(base, url, rules).map_err(refused)
}

/// The strongest setting that names a location. A refused one is not passed over in silence.
fn fetch_from(name: &ModuleName, candidate: &Candidate, input: &DiscoverInput) -> Result<FetchFrom, String> {
    let rules = UrlRules::with_local(input.allow_local_urls);
    let settings = [
        (FetchSource::Config, "our configuration", input.config_urls.get(name.as_str())),
        (FetchSource::GitConfig, "git's configuration", input.git_config_urls.get(&candidate.submodule)),
    ];
    for (source, whose, url) in settings {
        if let Some(url) = url {
            let url = RemoteUrl::parse(url, rules).map_err(|why| format!("its URL in {whose} {why}"))?;
            return Ok(FetchFrom { url, source });
        }
    }
    Ok(FetchFrom { url: candidate.declared.clone(), source: FetchSource::Gitmodules })
}

/// What could get in a module's way. Only sections of real submodules count, so that a made-up
/// section cannot have the others refused.
struct Rivals<'a> {
    /// How many sections claim a path.
    sections: BTreeMap<&'a [u8], usize>,
    /// How many submodules have a path, or name, when letter case does not count.
    paths: BTreeMap<Vec<u8>, usize>,
    names: BTreeMap<Vec<u8>, usize>,
    /// Symbolic links, when letter case does not count.
    links: BTreeMap<Vec<u8>, &'a RepoPath>,
}

impl<'a> Rivals<'a> {
    fn of(sections: &'a BTreeMap<Vec<u8>, Section>, input: &'a DiscoverInput) -> Self {
        let mut found = Self {
            sections: BTreeMap::new(),
            paths: BTreeMap::new(),
            names: BTreeMap::new(),
            links: input.symlinks.iter().map(|link| (safety::fold(link.as_bytes()), link)).collect(),
        };
        for path in input.gitlinks.keys() {
            *found.paths.entry(safety::fold(path.as_bytes())).or_default() += 1;
        }
        for (name, section) in sections {
            let Some(path) = section.path.as_deref() else { continue };
            if input.gitlinks.contains_key(&RepoPath::new(path)) {
                *found.sections.entry(path).or_default() += 1;
                *found.names.entry(safety::fold(name)).or_default() += 1;
            }
        }
        found
    }

    fn check(&self, name: &[u8], path: &RepoPath) -> Result<(), String> {
        if self.sections.get(path.as_bytes()).is_some_and(|count| *count > 1) {
            return Err("its path is claimed by two sections".to_owned());
        }
        let folded = safety::fold(path.as_bytes());
        clash("path", &folded, &self.paths)?;
        clash("name", &safety::fold(name), &self.names)?;
        let link = std::iter::once(folded.as_slice())
            .chain(safety::directories_above(&folded))
            .find_map(|place| self.links.get(place));
        match link {
            None => Ok(()),
            Some(link) => {
                Err(format!("the symbolic link {link} stands in its path where letter case does not count"))
            }
        }
    }
}

fn clash(what: &str, folded: &[u8], all: &BTreeMap<Vec<u8>, usize>) -> Result<(), String> {
    if all.get(folded).is_some_and(|count| *count > 1) {
        return Err(format!("its {what} differs from another's only in letter case"));
    }
    if safety::directories_above(folded).any(|above| all.contains_key(above)) {
        return Err(format!("its {what} lies inside another module's"));
    }
    Ok(())
}

fn subject(name: &[u8], section: &Section) -> String {
    match &section.path {
        Some(path) if !path.is_empty() => RepoPath::new(path.clone()).to_string(),
        _ => RepoPath::new(name).to_string(),
    }
}

fn refusal(path: &RepoPath, reason: &str) -> RefusedModule {
    RefusedModule { subject: path.to_string(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: &str = "1234567890123456789012345678901234567890";

    fn input(gitmodules: &str, gitlinks: &[&str]) -> DiscoverInput {
        DiscoverInput {
            gitmodules: Some(gitmodules.as_bytes().to_vec()),
            gitlinks: gitlinks
                .iter()
                .map(|path| (RepoPath::from(*path), OID.parse().expect("a valid id")))
                .collect(),
            superproject_url: Some("git@github.com:o/super.git".to_owned()),
            ..DiscoverInput::default()
        }
    }

    fn section(name: &str, path: &str, url: &str) -> String {
        format!("[submodule \"{name}\"]\n\tpath = {path}\n\turl = {url}\n")
    }

    fn shown(found: &Discovery) -> Vec<String> {
        found
            .modules
            .iter()
            .map(|module| format!("{} {} {}", module.name, module.path, module.fetch.url))
            .chain(found.refused.iter().map(|refused| format!("! {}: {}", refused.subject, refused.reason)))
            .collect()
    }

    /// A good module beside the one under test: it must always survive.
    fn check_refused(bad: &str, gitlinks: &[&str], expect: &[&str]) {
        let gitmodules = section("good", "repos/good", "https://github.com/o/good") + bad;
        let mut all = vec!["repos/good"];
        all.extend(gitlinks);
        let found = shown(&discover(&input(&gitmodules, &all)));
        assert_eq!(found[0], "good repos/good https://github.com/o/good", "{found:?}");
        assert_eq!(found.len(), expect.len() + 1, "{found:?}");
        for (found, expect) in found[1..].iter().zip(expect) {
            assert!(found.starts_with("! ") && found.contains(expect), "{found} for {expect}");
        }
    }

    #[test]
    fn each_hostile_section_is_refused_alone() {
        let url = "https://github.com/o/x";
        check_refused(&section("../x", "x", url), &["x"], &["its name has a"]);
        check_refused(&section("x", "../x", url), &[], &["../x: its path has a"]);
        check_refused(&section("x", ".git/hooks", url), &[".git/hooks"], &["its path has a component"]);
        check_refused(&section("-u./x", "x", url), &["x"], &["its name begins with"]);
        check_refused(&section("x", "\"x\\n\"", url), &[], &["\"x\\n\": its path holds control"]);
        check_refused(&section("x", "x", "ext::sh -c touch% /tmp/canary"), &["x"], &["remote helper"]);
        check_refused(&section("x", "x", "file:///etc"), &["x"], &["allow_local_urls"]);
        check_refused(&section("x", "x", "ssh://-oProxyCommand=x/y"), &["x"], &["host that begins with"]);
        check_refused(&section("x", "x", "--upload-pack=x"), &["x"], &["begins with"]);
        check_refused(&section("x", "x", "https://u:hunter2@h/x"), &["x"], &["holds a password"]);
        check_refused(&section("x", "x", "../../../evil"), &["x"], &["climbs above"]);
        check_refused(
            &format!("{}update = !touch x\n", section("x", "x", url)),
            &["x"],
            &["update = !command"],
        );
        check_refused(&format!("{}branch = -x\n", section("x", "x", url)), &["x"], &["a branch that git"]);
        check_refused(&format!("{}branch = .\n", section("x", "x", url)), &["x"], &["is on no branch"]);
        check_refused(
            &format!("{}path = y\n", section("x", "x", url)),
            &["x"],
            &["x: it has no section", "two different values"],
        );
        check_refused("[submodule \"x\"]\npath = x\n", &["x"], &["gives no url"]);
        check_refused("[submodule \"x\"]\nurl = ./x\n", &[], &["gives no path"]);
        check_refused(&section("x", "x", url), &[], &["the index has no submodule"]);
        check_refused("", &["x"], &["it has no section"]);
    }

    #[test]
    fn those_in_each_others_way_are_refused_together() {
        let url = "https://github.com/o/x";
        let two = section("a", "x", url) + &section("b", "x", url);
        check_refused(&two, &["x"], &["claimed by two"]);
        check_refused(
            &(section("a", "x/Y", url) + &section("b", "X/y", url)),
            &["x/Y", "X/y"],
            &["letter case", "letter case"],
        );
        let names = section("a", "x", url) + &section("A", "y", url) + &section("a/b", "z", url);
        check_refused(&names, &["x", "y", "z"], &["letter case", "letter case", "lies inside"]);
    }

    #[test]
    fn a_link_under_another_spelling_stands_in_the_way() {
        let mut input = input(&section("x", "A/modules/x", "https://h/o/x"), &["A/modules/x"]);
        assert_eq!(discover(&input).modules.len(), 1);
        input.symlinks.insert(RepoPath::from("a"));
        let found = discover(&input);
        assert!(found.modules.is_empty() && found.refused[0].reason.contains("symbolic link a"), "{found:?}");
    }

    #[test]
    fn a_made_up_section_does_not_harm_others() {
        check_refused(&section("repos", "repos", "https://h/o/x"), &[], &["the index has no submodule"]);
    }

    #[test]
    fn relative_urls_and_the_superprojects_branch_are_resolved() {
        let mut input = input(&(section("x", "x", "../x.git") + "branch = .\n"), &["x"]);
        input.superproject_branch = Some("trunk".to_owned());
        let found = discover(&input);
        assert_eq!(shown(&found), ["x x git@github.com:o/x.git"]);
        assert_eq!(found.modules[0].branch.as_deref(), Some("trunk"));
        assert_eq!(found.modules[0].identity, RepoIdentity::github("O", "X"));
    }

    #[test]
    fn the_strongest_setting_names_the_location_and_a_bad_one_is_not_passed_over() {
        let mut input = input(&section("s", "repos/x", "https://github.com/o/x"), &["repos/x"]);
        input.allow_local_urls = true;
        input.git_config_urls.insert("s".to_owned(), "/srv/x".to_owned());
        assert_eq!(shown(&discover(&input)), ["x repos/x /srv/x"]);
        input.config_urls.insert("x".to_owned(), "https://mirror/x".to_owned());
        assert_eq!(shown(&discover(&input)), ["x repos/x https://mirror/x"]);
        input.config_urls.insert("x".to_owned(), "ext::x".to_owned());
        assert!(shown(&discover(&input))[0].starts_with("! repos/x: its URL in our configuration names"));
    }

    #[test]
    fn paths_that_are_not_utf8_are_accepted_and_shown_quoted() {
        let gitmodules = b"[submodule \"x\"]\npath = a\xff\nurl = https://h/o/x\n".to_vec();
        let mut input = input("", &[]);
        input.gitmodules = Some(gitmodules);
        input.gitlinks.insert(RepoPath::new(&b"a\xff"[..]), OID.parse().expect("a valid id"));
        assert_eq!(shown(&discover(&input)), ["a\\xff \"a\\377\" https://h/o/x"]);
    }

    #[test]
    fn a_broken_file_refuses_every_submodule_and_says_why() {
        let found = discover(&input("[submodule", &["a", "b"]));
        assert_eq!(found.modules.len(), 0);
        assert_eq!(found.refused.len(), 2);
        assert!(found.refused[0].reason.contains("syntax"));
    }
}
