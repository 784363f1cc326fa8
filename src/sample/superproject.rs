//! The superproject: its commits, its flake and lock over all modules, and its repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::cast::Role;
use super::checkout;
use super::content;
use super::files::{Files, Mode};
use super::flake::{self, Input};
use super::history::{Histories, Pin};
use super::hostile;
use super::objects::{self, Kind, Objects};
use super::repository::{self, Layout, config_quoted};
use super::{DepGraphSchema, SampleSpec, UrlStyle};
use crate::domain::id::ObjectId;
use crate::ports::PortResult;

/// Where the superproject says it comes from.
const ORIGIN: &str = "https://github.com/sample-co/sample-workspace.git";

/// What the superproject's commit differs in from what is true, by index in the cast.
#[derive(Debug, Default)]
pub(super) struct Lies {
    /// Other gitlinks.
    pub(super) gitlinks: BTreeMap<usize, ObjectId>,
    /// Other revisions in `flake.nix` than in `flake.lock`.
    pub(super) url_revisions: BTreeMap<usize, ObjectId>,
    /// Modules whose first dependency the dependency map lacks.
    pub(super) stale: BTreeSet<usize>,
    /// Other branches in `.gitmodules`.
    pub(super) branches: BTreeMap<usize, &'static str>,
    /// A module with a command in `.gitmodules`.
    pub(super) update_command: Option<usize>,
    /// Sections and gitlinks that attack.
    pub(super) hostile_modules: bool,
}

/// The files of a superproject commit with these pins.
pub(super) fn files(
    spec: &SampleSpec,
    cast: &[Role],
    histories: &Histories,
    pins: &[&Pin],
    lies: &Lies,
) -> Files {
    let others = BTreeMap::from([("toolchain".to_owned(), histories.toolchain_input())]);
    let inputs = root_inputs(spec, cast, pins);
    let mut written = inputs.clone();
    for (at, rev) in &lies.url_revisions {
        if let Some(Input::Github { rev: in_url, .. }) =
            cast[*at].input.as_ref().and_then(|name| written.get_mut(name))
        {
            *in_url = Some(*rev);
        }
    }
    let packages: Vec<String> =
        cast.iter().filter(|role| role.flake).filter_map(|role| role.input.clone()).collect();
    let mut all = Files::default();
    all.put("README.md", "# A sample workspace\n\nMade by `lambda-os demo`. Everything in it is made up.\n");
    all.put(".gitignore", "/result\n/build/\n*.log\n");
    all.put("scaffold.toml", "[mix]\nrln_enabled = false\n");
    all.put_as("scripts/ws", Mode::Executable, "#!/bin/sh\necho \"ws: $*\"\n");
    all.put(".gitmodules", gitmodules(cast, lies));
    all.put(
        "flake.nix",
        content::workspace_flake(&others, &written, &packages, spec.style == UrlStyle::AutoInputs),
    );
    let locked: BTreeMap<String, Input> = others.into_iter().chain(inputs).collect();
    all.put("flake.lock", flake::lock_json(&flake::lock(&locked)));
    all.put("nix/dep-graph.nix", dep_graph(spec.dep_graph, cast, lies));
    for (at, (role, pin)) in cast.iter().zip(pins).enumerate() {
        let commit = lies.gitlinks.get(&at).copied().unwrap_or(pin.locked.rev);
        all.put_gitlink(format!("repos/{}", role.directory), commit);
    }
    if lies.hostile_modules {
        hostile::modules(&mut all, pins[0].locked.rev);
    }
    all
}

/// Every module that is an input. Most of what they share is followed; some are left with their
/// own copies (which is how "X as seen by Y" comes about), and back edges of cycles always are,
/// since following both ways would never end.
fn root_inputs(spec: &SampleSpec, cast: &[Role], pins: &[&Pin]) -> BTreeMap<String, Input> {
    let mut inputs = BTreeMap::new();
    for (at, (role, pin)) in cast.iter().zip(pins).enumerate() {
        let Some(name) = &role.input else { continue };
        let mut follows = BTreeMap::new();
        if at % 7 != 3 {
            for need in role.needs.iter().filter(|need| **need < at) {
                let dependency = &cast[*need];
                let sub = dependency.called_by_modules();
                if let Some(target) = dependency.input.as_ref().filter(|_| pin.inputs.contains_key(sub)) {
                    follows.insert(sub.to_owned(), vec![target.clone()]);
                }
            }
        }
        // Older Nix refuses a path that leads through an input that follows another.
        if follows.contains_key("sample-nix") && pin.inputs.contains_key("toolchain") {
            follows.insert("toolchain".to_owned(), vec!["toolchain".to_owned()]);
        }
        inputs.insert(
            name.clone(),
            Input::Github {
                owner: role.owner.to_owned(),
                repo: role.repo.clone(),
                rev: (spec.style == UrlStyle::AutoInputs).then_some(pin.locked.rev),
                flake: role.flake,
                follows,
                locked: pin.locked.clone(),
            },
        );
    }
    inputs
}

fn gitmodules(cast: &[Role], lies: &Lies) -> String {
    let mut roles: Vec<(usize, &Role)> = cast.iter().enumerate().collect();
    roles.sort_by_key(|(_, role)| &role.directory);
    let mut text = String::new();
    for (at, role) in roles {
        let path = format!("repos/{}", role.directory);
        let _ = writeln!(
            text,
            "[submodule \"{path}\"]\n\tpath = {path}\n\turl = https://github.com/{}/{}.git",
            role.owner, role.repo
        );
        if let Some(branch) = lies.branches.get(&at) {
            let _ = writeln!(text, "\tbranch = {branch}");
        } else if at % 4 == 1 {
            let _ = writeln!(text, "\tbranch = {}", role.branch);
        }
        if lies.update_command == Some(at) {
            text.push_str(&hostile::update_command());
        }
    }
    text
}

fn dep_graph(schema: DepGraphSchema, cast: &[Role], lies: &Lies) -> String {
    let mut rows = BTreeMap::new();
    for (at, role) in cast.iter().enumerate() {
        let Some(name) = &role.input else { continue };
        let skipped = usize::from(lies.stale.contains(&at));
        let needs: Vec<&Role> = role.needs.iter().skip(skipped).map(|need| &cast[*need]).collect();
        let mut deps: Vec<&str> = needs.iter().filter_map(|need| need.input.as_deref()).collect();
        deps.sort_unstable();
        let deps: String = deps.iter().flat_map(|dep| ["\"", dep, "\" "]).collect();
        let mut row = format!("  {name} = {{\n    deps = [ {deps}];\n    hasTests = {};\n", at % 2 == 0);
        if schema == DepGraphSchema::New {
            let mut follows: Vec<(&str, &str)> = needs
                .iter()
                .filter_map(|need| Some((need.called_by_modules(), need.input.as_deref()?)))
                .collect();
            follows.sort_unstable();
            row.push_str("    follows = {\n");
            for (sub, target) in follows {
                let _ = writeln!(row, "      \"{sub}\" = \"{target}\";");
            }
            row.push_str("    };\n");
        }
        rows.insert(name, row + "  };\n");
    }
    let rows: String = rows.into_values().collect();
    format!("# Generated by `ws sync-graph`; do not edit.\n{{\n{rows}}}\n")
}

/// Write the superproject's repository and check it out; gives HEAD.
/// `urls` are (submodule, location) of what is initialised.
pub(super) fn write(
    work_tree: &Path,
    history: &[(Files, &str, i64)],
    urls: &[(String, String)],
) -> PortResult<ObjectId> {
    let git_dir = work_tree.join(".git");
    let mut objects = Objects::default();
    let mut commits: Vec<ObjectId> = Vec::new();
    for (files, message, time) in history {
        let tree = files.tree(&mut objects).id;
        let parents: Vec<ObjectId> = commits.last().copied().into_iter().collect();
        commits.push(objects.add(Kind::Commit, objects::commit(tree, &parents, *time, message)));
    }
    let (files, ..) = history.last().expect("because a superproject has a commit");
    let head = *commits.last().expect("because a superproject has a commit");
    let mut config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n\
         [remote \"origin\"]\n\turl = {ORIGIN}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n\
         [branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n"
    );
    for (submodule, url) in urls {
        let _ = writeln!(
            config,
            "[submodule {}]\n\tactive = true\n\turl = {}",
            config_quoted(submodule),
            config_quoted(url)
        );
    }
    let layout = Layout {
        head: "ref: refs/heads/main".to_owned(),
        config,
        loose: vec![("refs/heads/main".to_owned(), head)],
        packed: vec![("refs/remotes/origin/main".to_owned(), head)],
        symbolic: Vec::new(),
    };
    repository::create(&git_dir, &layout)?;
    let tree = files.tree(&mut objects);
    checkout::check_out(work_tree, &git_dir, files, &tree)?;
    objects.take_pack().map_or(Ok(()), |pack| pack.write(&git_dir))?;
    Ok(head)
}
