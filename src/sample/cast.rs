//! Who is in a sample workspace: names, owners, kinds and who needs whom.
//!
//! The shapes are those of a real workspace: several owners, `master` and `main`, directories
//! that are named otherwise than inputs and plugins, repositories without a flake, an input
//! that is no flake, and two groups of modules that need each other. Names are made up.

use super::random::Random;

/// One module, before it has any history.
#[derive(Debug, Clone)]
pub(super) struct Role {
    pub(super) directory: String,
    pub(super) owner: &'static str,
    pub(super) repo: String,
    /// The root input's name; `None` for a submodule that is no input.
    pub(super) input: Option<String>,
    /// What other modules call it, where that differs from `input`.
    pub(super) alias: Option<String>,
    pub(super) plugin: Option<String>,
    pub(super) kind: &'static str,
    pub(super) capabilities: &'static [&'static str],
    /// It has a `flake.nix`.
    pub(super) flake: bool,
    /// What its flake uses, by index; a higher index is a dependency that came later in
    /// history, which is how cycles come about.
    pub(super) needs: Vec<usize>,
    pub(super) branch: &'static str,
    /// Its `.gitattributes` keeps `ci/` out of archives, and so out of its `narHash`.
    pub(super) export_ignore: bool,
    /// It has files whose names are hard to handle.
    pub(super) hostile_names: bool,
}

impl Role {
    /// What a module's own flake calls this dependency.
    pub(super) fn called_by_modules(&self) -> &str {
        self.alias.as_deref().or(self.input.as_deref()).unwrap_or(&self.repo)
    }
}

/// The parts with names: (directory, owner, repo, input, plugin, kind, flake, needs).
/// An input `=` is named as the repository, `-` is none.
type Part = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
    &'static [usize],
);

#[rustfmt::skip]
const PARTS: [Part; 21] = [
    ("sample-nix", "sample-co", "sample-nix", "=", "", "core", true, &[]),
    ("sample-cpp-sdk", "sample-co", "sample-cpp-sdk", "=", "", "core", true, &[0]),
    ("sample-libcore", "sample-co", "sample-libcore", "=", "", "core", true, &[0, 1, 3]),
    ("sample-capability-module", "sample-co", "sample-capability-module", "=", "capability_module", "core", true, &[0, 1, 2]),
    ("sample-package-manager-module", "sample-co", "sample-package-manager-module", "package_manager", "package_manager", "core", true, &[0, 1, 2]),
    ("sample-module-builder", "sample-co", "sample-module-builder", "=", "", "core", true, &[0, 1, 8]),
    ("sample-standalone-app", "sample-apps", "sample-standalone-app", "=", "", "core", true, &[0, 2, 5]),
    ("sample-runner-cli", "sample-apps", "sample-runner-cli", "=", "", "core", true, &[2, 6]),
    ("sample-test-modules", "sample-apps", "sample-test-modules", "=", "test_basic", "core", true, &[0, 7]),
    ("zone", "sample-zone", "sample-execution-zone-module", "zone_core", "execution_zone", "core", true, &[0, 1]),
    ("protocol-spec", "sample-labs", "protocol-spec", "protocol_spec", "", "core", false, &[]),
    ("sample-waku-module", "sample-messaging", "sample-waku-module", "=", "waku_module", "core", true, &[0, 1, 10]),
    ("sample-chat-module", "sample-messaging", "sample-chat-module", "=", "chat", "core", true, &[0, 1, 11]),
    ("sample-chat-ui", "sample-apps", "sample-chat-ui", "=", "chat_ui", "ui_qml", true, &[0, 4, 12]),
    ("docs", "sample-labs", "sample-docs", "-", "", "core", false, &[]),
    ("sample-storage-module", "sample-storage", "sample-storage-module", "storage_module", "storage_module", "core", true, &[0, 1]),
    ("sample-storage-ui", "sample-apps", "sample-storage-ui", "=", "storage_ui", "ui_qml", true, &[0, 15]),
    ("sample-wallet-module", "sample-zone", "sample-wallet-module", "=", "wallet", "core", true, &[0, 9]),
    ("sample-wallet-ui", "sample-apps", "sample-wallet-ui", "=", "wallet_ui", "ui", true, &[4, 17]),
    ("sample-design-system", "sample-apps", "sample-design-system", "=", "", "core", true, &[0]),
    ("templates", "sample-labs", "sample-templates", "-", "", "core", false, &[]),
];

const NOUNS: [&str; 24] = [
    "beacon", "ledger", "relay", "vault", "mirror", "harbour", "lantern", "compass", "anchor", "bridge",
    "garden", "library", "market", "museum", "orchard", "quarry", "signal", "theatre", "tower", "village",
    "weather", "window", "workshop", "archive",
];

const OWNERS: [&str; 6] =
    ["sample-co", "sample-messaging", "sample-apps", "sample-storage", "sample-labs", "sample-zone"];

/// No chain of dependencies is longer, so that locks stay of a size.
const MOST_LEVELS: usize = 5;

/// The first `modules` roles.
pub(super) fn cast(modules: usize, seed: u64) -> Vec<Role> {
    let mut roles: Vec<Role> =
        PARTS.iter().take(modules).enumerate().map(|(at, part)| named(at, part)).collect();
    let mut random = Random::new(seed, "cast");
    let mut levels: Vec<usize> = Vec::new();
    for role in &roles {
        let level = role.needs.iter().filter_map(|need| levels.get(*need)).max().map_or(0, |level| level + 1);
        levels.push(level);
    }
    while roles.len() < modules {
        let role = ordinary(roles.len(), &mut random, &roles, &levels);
        let level = role.needs.iter().map(|need| levels[*need] + 1).max().unwrap_or(0);
        levels.push(level);
        roles.push(role);
    }
    for role in &mut roles {
        role.needs.retain(|need| *need < modules);
    }
    roles
}

fn named(at: usize, part: &Part) -> Role {
    let &(directory, owner, repo, input, plugin, kind, flake, needs) = part;
    Role {
        directory: directory.to_owned(),
        owner,
        repo: repo.to_owned(),
        input: match input {
            "-" => None,
            "=" => Some(repo.to_owned()),
            other => Some(other.to_owned()),
        },
        alias: (input == "package_manager").then(|| "package-manager".to_owned()),
        plugin: (!plugin.is_empty()).then(|| plugin.to_owned()),
        kind,
        capabilities: match plugin {
            "waku_module" => &["messaging", "delivery"],
            "chat" => &["chat"],
            _ => &[],
        },
        flake,
        needs: needs.to_vec(),
        branch: if at % 3 == 1 { "main" } else { "master" },
        export_ignore: at % 5 == 1,
        hostile_names: false,
    }
}

fn ordinary(at: usize, random: &mut Random, before: &[Role], levels: &[usize]) -> Role {
    let number = at - PARTS.len();
    let noun = NOUNS[number % NOUNS.len()];
    let round = number / NOUNS.len();
    let suffix = if round == 0 { String::new() } else { format!("-{}", round + 1) };
    let ui = number % 5 == 4;
    let repo = format!("sample-{noun}{suffix}-{}", if ui { "ui" } else { "module" });
    let mut needs = vec![0];
    for _ in 0..=random.below(2) {
        let candidate = random.below(before.len());
        if before[candidate].flake && levels[candidate] + 1 < MOST_LEVELS {
            needs.push(candidate);
        }
    }
    needs.sort_unstable();
    needs.dedup();
    Role {
        directory: if number % 7 == 2 { format!("{noun}{suffix}") } else { repo.clone() },
        owner: OWNERS[number % OWNERS.len()],
        input: Some(if number % 7 == 3 { repo.replace('-', "_") } else { repo.clone() }),
        alias: None,
        plugin: Some(format!("{noun}{}", suffix.replace('-', "_"))),
        kind: if ui { "ui_qml" } else { "core" },
        capabilities: &[],
        flake: true,
        needs,
        branch: if number.is_multiple_of(2) { "main" } else { "master" },
        export_ignore: at % 5 == 1,
        hostile_names: false,
        repo,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_needs_exist() {
        for modules in [1, 2, 9, 21, 55, 1000] {
            let roles = cast(modules, 0);
            assert_eq!(roles.len(), modules);
            let directories: BTreeSet<_> = roles.iter().map(|role| &role.directory).collect();
            let repos: BTreeSet<_> = roles.iter().map(|role| (role.owner, &role.repo)).collect();
            let inputs: BTreeSet<_> = roles.iter().filter_map(|role| role.input.as_ref()).collect();
            assert_eq!((directories.len(), repos.len()), (modules, modules));
            assert_eq!(inputs.len(), roles.iter().filter(|role| role.input.is_some()).count());
            assert!(roles.iter().flat_map(|role| &role.needs).all(|need| *need < modules));
        }
    }

    #[test]
    fn two_groups_need_each_other() {
        let roles = cast(55, 0);
        for cycle in [&[2, 3][..], &[5, 8, 7, 6]] {
            for (at, module) in cycle.iter().enumerate() {
                assert!(roles[*module].needs.contains(&cycle[(at + 1) % cycle.len()]), "{module}");
            }
        }
    }
}
