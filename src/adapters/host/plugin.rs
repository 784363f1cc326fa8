//! Where a module's plugin file is in what was built.
//!
//! In: the directories of its outputs, and the name from its metadata. Out: the plugin file, and
//! the directory that a host is given to find it. Hosts look for `<name>_plugin.so`,
//! `<name>_plugin.dylib` and `<name>.so`, within a directory `<name>/` or flat. Links are followed,
//! as hosts do; nothing is searched at random.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::metadata::Metadata;

/// Where outputs keep modules, when the settings do not say, in order.
const USUAL: [&str; 4] = ["modules", "lib", "lib/modules", "."];

/// A plugin that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plugin {
    /// The name of the module that hosts know it by.
    pub(super) name: String,
    /// The file.
    pub(super) file: PathBuf,
    /// The directory of modules that it is in: given to hosts that look for modules by themselves.
    pub(super) modules: PathBuf,
}

/// The plugin of the module with this metadata in one of these places: roots (outputs, a module's own
/// tree), or directories of modules themselves. `modules_dir` is the setting: a path whose first
/// component may be `result`, which is what a build's output is called in a work tree.
pub(super) fn find(metadata: &Metadata, roots: &[PathBuf], modules_dir: Option<&Path>) -> Option<Plugin> {
    let mut below: Vec<PathBuf> = Vec::new();
    if let Some(set) = modules_dir.filter(|set| is_below(set)) {
        below.push(set.to_owned());
        below.extend(set.strip_prefix("result").ok().map(Path::to_owned));
    }
    below.extend(USUAL.iter().map(PathBuf::from));
    roots
        .iter()
        .flat_map(|root| below.iter().map(|inner| root.join(inner)))
        .find_map(|modules| within(metadata, &modules))
}

/// The plugin in one directory of modules.
fn within(metadata: &Metadata, modules: &Path) -> Option<Plugin> {
    let name = &metadata.name;
    let mut files: Vec<String> = Vec::new();
    if let Some(main) = &metadata.main {
        files.push(main.clone());
        files.extend(["so", "dylib"].map(|ending| format!("{main}.{ending}")));
    }
    files.extend([format!("{name}_plugin.so"), format!("{name}_plugin.dylib")]);
    files.extend([format!("{name}.so"), format!("lib{name}_plugin.so"), format!("{name}.dylib")]);
    let nested = modules.join(name);
    for dir in [nested.as_path(), modules] {
        for file in &files {
            let file = dir.join(file);
            if file.is_file() {
                return Some(Plugin { name: name.clone(), file, modules: modules.to_owned() });
            }
        }
    }
    None
}

/// The outputs in the order in which they are looked through: the default package first.
pub(super) fn in_order(outputs: &BTreeMap<String, PathBuf>) -> Vec<PathBuf> {
    let is_default = |name: &str| name.rsplit('.').next() == Some("default");
    let (mut first, rest): (Vec<_>, Vec<_>) = outputs.iter().partition(|(name, _)| is_default(name));
    first.extend(rest);
    let mut all: Vec<PathBuf> = Vec::new();
    for (name, path) in first {
        // What checks build is for the checks.
        if !name.starts_with("checks.") && !all.contains(path) {
            all.push(path.clone());
        }
    }
    all
}

/// True for a relative path that stays below where it begins.
fn is_below(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(name: &str, main: Option<&str>) -> Metadata {
        Metadata { name: name.to_owned(), main: main.map(str::to_owned), ..Metadata::default() }
    }

    #[test]
    fn each_place_that_hosts_look_in_is_looked_in() {
        for (file, main, set) in [
            ("modules/a/a_plugin.so", None, None),
            ("modules/a_plugin.so", None, None),
            ("lib/a_plugin.so", None, None),
            ("lib/a.so", None, None),
            ("lib/a_plugin.dylib", None, None),
            ("lib/other.so", Some("other"), None),
            ("lib/other_plugin.so", Some("other_plugin.so"), None),
            ("a_plugin.so", None, None),
            ("mods/a/a_plugin.so", None, Some("result/mods")),
            ("result/mods/a_plugin.so", None, Some("result/mods")),
        ] {
            let temp = tempfile::tempdir().expect("a directory");
            let file = temp.path().join(file);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            std::fs::write(&file, b"").expect("a file");
            let roots = [temp.path().to_owned()];
            let found = find(&metadata("a", main), &roots, set.map(Path::new));
            let found = found.unwrap_or_else(|| panic!("{} is found", file.display()));
            assert_eq!(found.file.canonicalize().ok(), file.canonicalize().ok());
            assert!(found.file.starts_with(&found.modules));
            assert_eq!(find(&metadata("b", None), &roots, None), None);
        }
    }

    #[test]
    fn a_setting_cannot_lead_out_of_the_output() {
        let temp = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(temp.path().join("out")).expect("a directory");
        std::fs::write(temp.path().join("a.so"), b"").expect("a file");
        let roots = [temp.path().join("out")];
        assert_eq!(find(&metadata("a", None), &roots, Some(Path::new(".."))), None);
        assert_eq!(find(&metadata("a", None), &roots, Some(temp.path())), None);
    }

    #[test]
    fn the_default_package_comes_first_and_checks_do_not_count() {
        let outputs = [("packages.x.a", "/a"), ("packages.x.default", "/d"), ("checks.x.t", "/t")];
        let outputs = outputs.map(|(name, path)| (name.to_owned(), PathBuf::from(path)));
        assert_eq!(in_order(&outputs.into()), [PathBuf::from("/d"), PathBuf::from("/a")]);
    }
}
