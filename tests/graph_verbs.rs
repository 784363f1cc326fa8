//! `graph`, `pin` and `plan` through the program, on real workspaces.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use lambda_os::sample::{SampleSpec, Trouble, UrlStyle};
use serde_json::Value;
use support::{Workspace, git, said};

/// Standard output and the exit code.
fn output(workspace: &Workspace, args: &[&str]) -> (String, i32) {
    let output = workspace.lambda_os().args(args).output().expect("lambda-os runs");
    let code = output.status.code().unwrap_or_else(|| panic!("{args:?}: {}", said(&output)));
    (String::from_utf8(output.stdout).expect("text"), code)
}

fn json(workspace: &Workspace, args: &[&str]) -> (Value, i32) {
    let (said, code) = output(workspace, &[args, &["--json"]].concat());
    (serde_json::from_str(&said).unwrap_or_else(|error| panic!("{args:?}: {error}: {said}")), code)
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("text")).collect()
}

fn commit(workspace: &Workspace, subject: &str) {
    let person = ["-c", "user.name=T", "-c", "user.email=t@example.org"];
    git(workspace.path(), person.into_iter().chain(["commit", "-q", "-m", subject]));
}

/// The two groups of the sample that need each other.
fn cycles() -> BTreeSet<Vec<&'static str>> {
    BTreeSet::from([
        vec!["sample-capability-module", "sample-libcore"],
        vec!["sample-module-builder", "sample-runner-cli", "sample-standalone-app", "sample-test-modules"],
    ])
}

fn check_graph(workspace: &Workspace, graph: &Value) {
    assert_eq!(graph["schema"], "lambda-os/graph/v1");
    let components: Vec<Vec<&str>> =
        graph["components"].as_array().expect("components").iter().map(texts).collect();
    let cyclic: BTreeSet<Vec<&str>> =
        components.iter().filter(|members| members.len() > 1).cloned().collect();
    assert_eq!(cyclic, cycles());
    let component: BTreeMap<&str, usize> = components
        .iter()
        .enumerate()
        .flat_map(|(at, members)| members.iter().map(move |name| (*name, at)))
        .collect();
    assert_eq!(component.len(), workspace.sample.modules.len(), "every module is in one component");
    let level: BTreeMap<&str, usize> = graph["levels"]
        .as_array()
        .expect("levels")
        .iter()
        .enumerate()
        .flat_map(|(at, names)| texts(names).into_iter().map(move |name| (name, at)))
        .collect();
    let mut edges: BTreeSet<(&str, &str)> = BTreeSet::new();
    for edge in graph["edges"].as_array().expect("edges") {
        let (from, to) = (edge["from"].as_str().expect("a name"), edge["to"].as_str().expect("a name"));
        let together = component[from] == component[to];
        assert!(
            if together { level[from] == level[to] } else { level[to] < level[from] },
            "{from} needs {to}"
        );
        edges.insert((from, to));
    }
    for module in workspace.sample.modules.iter().filter(|module| module.input.is_some()) {
        for needed in &module.dependencies {
            assert!(
                edges.contains(&(module.name.as_str(), needed.as_str())),
                "{} needs {needed}",
                module.name
            );
        }
    }
}

#[test]
fn the_graph_has_the_samples_components_and_levels_respect_every_edge() {
    let workspace = Workspace::new(&SampleSpec::sized(30, 5));
    let (graph, code) = json(&workspace, &["graph"]);
    assert_eq!(code, 0);
    check_graph(&workspace, &graph);

    let (one, _) = json(&workspace, &["graph", "sample-libcore"]);
    assert_eq!(texts(&one["component"]), ["sample-capability-module", "sample-libcore"]);
    assert!(texts(&one["blast_radius"]).contains(&"sample-runner-cli"));
    let unknown = output(&workspace, &["graph", "sample-libcor"]);
    assert_eq!(unknown.1, 2);
}

#[test]
fn without_a_lock_each_modules_own_flake_says_what_it_needs() {
    let workspace = Workspace::new(&SampleSpec::sized(24, 5));
    git(workspace.path(), ["rm", "-q", "--cached", "flake.lock", "nix/dep-graph.nix"]);
    commit(&workspace, "no lock, no map");
    let (graph, _) = json(&workspace, &["graph"]);
    check_graph(&workspace, &graph);
    for edge in graph["edges"].as_array().expect("edges") {
        assert!(texts(&edge["sources"]).contains(&"module-flake"), "{edge}");
    }
}

#[test]
fn pin_check_finds_what_is_incoherent_and_nothing_else() {
    let incoherent = |workspace: &Workspace| -> (BTreeSet<String>, i32) {
        let (report, code) = json(workspace, &["pin", "check", "--exit-code"]);
        assert_eq!(report["schema"], "lambda-os/pin/v1");
        let modules = report["modules"].as_array().expect("modules");
        let found = modules
            .iter()
            .filter(|module| module["verdict"] == "incoherent")
            .map(|module| module["module"].as_str().expect("a name").to_owned())
            .collect();
        (found, code)
    };
    for trouble in [Trouble::IncoherentGitlink, Trouble::IncoherentUrl, Trouble::StaleDepGraph] {
        let style = if trouble == Trouble::IncoherentUrl { UrlStyle::AutoInputs } else { UrlStyle::Unpinned };
        let plain = SampleSpec { style, ..SampleSpec::sized(28, 5) };
        let (before, code) = incoherent(&Workspace::new(&plain));
        assert_eq!(code, if before.is_empty() { 0 } else { 4 }, "{before:?}");
        let workspace = Workspace::new(&plain.with([trouble]));
        let (after, code) = incoherent(&workspace);
        assert_eq!(code, 4);
        let victim = workspace.sample.victim(trouble).name.clone();
        let new: Vec<&String> = after.difference(&before).collect();
        assert_eq!(new, [&victim], "{trouble:?}");
        let (one, code) = output(&workspace, &["pin", "check", "--exit-code", &victim]);
        assert_eq!(code, 4);
        assert!(one.contains(&victim), "{one}");
        // Without being asked for, it is no failure.
        assert_eq!(output(&workspace, &["pin", "check"]).1, 0);
    }
}

#[test]
fn a_plan_names_what_moves_and_one_module_names_what_it_affects() {
    let workspace = Workspace::new(&SampleSpec::sized(30, 5));
    let (plan, code) = json(&workspace, &["plan", "--exit-code"]);
    let steps = plan["steps"].as_array().expect("steps");
    let behind = workspace.sample.modules.iter().filter(|module| module.behind > 0).count();
    let moved: usize = steps.iter().map(|step| step["pins"].as_array().expect("pins").len()).sum();
    assert!(behind > 0);
    assert_eq!((moved, code), (behind, 4));
    let step = steps.iter().find(|step| step["affects"].as_u64() > Some(0)).expect("one affects others");
    let module = step["pins"][0]["module"].as_str().expect("a name");
    let (one, _) = json(&workspace, &["plan", module]);
    assert_eq!(Some(texts(&one["affected"]).len() as u64), step["affects"].as_u64());
    let (shown, _) = output(&workspace, &["plan", module]);
    assert!(texts(&one["affected"]).iter().all(|name| shown.contains(name)), "{shown}");
}

#[test]
fn names_that_are_code_elsewhere_stay_names_in_dot_and_mermaid() {
    let workspace = Workspace::new(&SampleSpec::sized(4, 3));
    let name = "x\"];end<script>#quot;\\N";
    let modules = workspace.path().join(".gitmodules");
    let mut text = fs::read_to_string(&modules).expect("it is there");
    text.push_str("[submodule \"odd\"]\n\tpath = \"repos/x\\\"];end<script>#quot;\\\\N\"\n\turl = https://github.com/o/odd.git\n");
    fs::write(&modules, text).expect("it is written");
    let gitlink = format!("160000,{},repos/{name}", workspace.sample.modules[0].pinned);
    git(workspace.path(), ["update-index", "--add", "--cacheinfo", &gitlink]);
    git(workspace.path(), ["add", ".gitmodules"]);
    commit(&workspace, "an odd name");

    let (graph, _) = json(&workspace, &["graph"]);
    assert!(graph["components"].to_string().contains("<script>"), "it is a module: {graph:#}");
    let (dot, _) = output(&workspace, &["graph", "--format", "dot"]);
    assert!(dot.contains("  \"x\\\"];end<script>#quot;\\\\N\";\n"), "{dot}");
    let (mermaid, _) = output(&workspace, &["graph", "--format", "mermaid"]);
    assert!(mermaid.contains("[\"x#34;#93;#59;end#60;script#62;#35;quot#59;#92;N\"]"), "{mermaid}");
    assert!(!mermaid.contains('<') && !mermaid.contains("\"];end"), "{mermaid}");
}

#[test]
fn what_cannot_be_read_whole_is_not_planned() {
    let workspace = Workspace::new(&SampleSpec::sized(12, 4));
    let (before, _) = json(&workspace, &["plan"]);
    assert!(before["steps"].as_array().is_some_and(|steps| !steps.is_empty()), "{before}");
    fs::write(workspace.path().join("flake.lock"), "{").expect("written");
    git(workspace.path(), ["add", "flake.lock"]);
    commit(&workspace, "a broken lock");
    let (after, _) = json(&workspace, &["plan"]);
    assert_eq!(after["steps"].as_array().map(Vec::len), Some(0), "{after}");
    assert!(after["waiting"].to_string().contains("cannot read flake.lock"), "{after}");
}
