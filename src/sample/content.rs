//! What the files of a sample module say.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use super::cast::Role;
use super::files::{Files, Mode};
use super::flake::{self, Input};
use super::hostile;
use super::random::Random;

/// What a module's first commit holds, `files` of them when its flake and lock come in later.
pub(super) fn base(role: &Role, files: usize, seed: u64) -> Files {
    let mut all = Files::default();
    let title = role.repo.replace('-', " ");
    all.put("README.md", format!("# {title}\n\nA part of a sample workspace.\n"));
    all.put(".gitignore", "/build/\n*.o\nresult\n");
    all.put(
        ".gitattributes",
        if role.export_ignore { "*.bin binary\n/ci export-ignore\n" } else { "*.bin binary\n" },
    );
    all.put("src/state.txt", "1\n");
    all.put("ci/check.yml", "steps: [build]\n");
    all.put_as("scripts/build.sh", Mode::Executable, "#!/bin/sh\nexec nix build \"$@\"\n");
    all.put_as("docs/readme-link.md", Mode::Symlink, "../README.md");
    if role.flake {
        all.put("metadata.json", metadata(role, &[], "1.0.0"));
    }
    let mut random = Random::new(seed, &role.repo);
    if role.hostile_names {
        hostile::tracked_names(&mut all);
    }
    // A flake adds flake.nix, flake.lock and nix/build.sh.
    let fixed = all.0.len() + if role.flake { 3 } else { 0 };
    for number in 0..files.saturating_sub(fixed) {
        // Directories of about 40 files, some two levels deep.
        let group = number / 40;
        let path = if group.is_multiple_of(3) {
            format!("src/part_{group}/unit_{number:05}.cpp")
        } else {
            format!("src/area_{}/part_{group}/unit_{number:05}.cpp", group % 5)
        };
        all.put(path, source(&mut random, number));
    }
    all
}

fn source(random: &mut Random, number: usize) -> String {
    let mut text = format!("// Unit {number} of a sample module.\n");
    let lines = if number % 50 == 49 { 60 } else { 2 + random.below(4) };
    for line in 0..lines {
        let _ = writeln!(text, "int value_{number}_{line} = 0x{:08x};", random.next() & 0xffff_ffff);
    }
    text
}

/// `metadata.json` of a module. A library without a plugin has one too, without `main`.
pub(super) fn metadata(role: &Role, dependencies: &[String], version: &str) -> String {
    let name = role.plugin.clone().unwrap_or_else(|| role.repo.replace('-', "_"));
    let mut value = json!({
        "name": name,
        "display_name": role.repo.replace('-', " "),
        "version": version,
        "type": role.kind,
        "interface": "universal",
        "description": "A module of a sample workspace",
        "category": "sample",
        "dependencies": dependencies,
        "capabilities": role.capabilities,
        "nix": { "packages": ["default"] },
    });
    if let Some(plugin) = &role.plugin {
        value["main"] = json!(format!("{plugin}_plugin"));
    }
    if role.capabilities.contains(&"messaging") {
        value["rln"] = json!(false);
    }
    serde_json::to_string_pretty(&value).expect("because it is a value already") + "\n"
}

/// A module's `flake.nix`. `packages` are the inputs whose default package it uses, `sources`
/// those that it uses as files.
pub(super) fn module_flake(
    role: &Role,
    inputs: &BTreeMap<String, Input>,
    packages: &[String],
    sources: &[String],
) -> String {
    let mut text = format!("{{\n  description = \"{}\";\n\n", role.repo.replace('-', " "));
    if !inputs.is_empty() {
        text.push_str("  inputs = {\n");
        for (name, input) in inputs {
            text.push_str(&flake::nested(name, input));
        }
        text.push_str("  };\n\n");
    }
    let product = role.plugin.clone().unwrap_or_else(|| format!("lib{}", role.repo.replace('-', "_")));
    let listed = |names: &[String], each: &dyn Fn(&String) -> String| {
        names.iter().map(each).collect::<Vec<_>>().join(" ")
    };
    let _ = write!(
        text,
        r#"  outputs =
    {{ self, ... }}@inputs:
    let
      systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
      each = f: builtins.listToAttrs (map (system: {{ name = system; value = f system; }}) systems);
    in
    {{
      packages = each (system: {{
        default = derivation {{
          name = "{repo}";
          inherit system;
          builder = "/bin/sh";
          args = [ "${{self}}/nix/build.sh" ];
          product = "{product}";
          source = "${{self}}";
          needs = [ {packages} ];
          files = [ {sources} ];
        }};
      }});
    }};
}}
"#,
        repo = role.repo,
        packages = listed(packages, &|name| format!("inputs.{name}.packages.${{system}}.default")),
        sources = listed(sources, &|name| format!("\"${{inputs.{name}}}\"")),
    );
    text
}

/// The builder: it needs a shell and `mkdir`, and reads what it depends on. It fails for a module whose
/// state says that it is broken ([`super::Sample::push_broken`]).
pub(super) const BUILD: &str = r#"# Runs as: /bin/sh nix/build.sh, in the build sandbox.
PATH=/bin:/usr/bin
mkdir -p "$out/lib" || exit 1
{
  echo "product $product"
  read -r state < "$source/src/state.txt"
  case $state in broken*) echo "$product: $state" >&2; exit 1 ;; esac
  echo "state $state"
  for need in $needs; do
    for file in "$need"/lib/*.so; do
      read -r first < "$file" || exit 1
      echo "needs $first"
    done
  done
  for file in $files; do echo "uses $file"; done
} > "$out/lib/${product}_plugin.so"
"#;

/// The superproject's `flake.nix`.
pub(super) fn workspace_flake(
    others: &BTreeMap<String, Input>,
    modules: &BTreeMap<String, Input>,
    packages: &[String],
    generated: bool,
) -> String {
    let mut text = String::from("{\n  description = \"A sample workspace\";\n\n  inputs = {\n");
    for (name, input) in others {
        text.push_str(&flake::nested(name, input));
    }
    if generated {
        text.push_str("\n    # BEGIN AUTO-INPUTS\n");
        for (name, input) in modules {
            text.push_str(&flake::url_line(name, input));
        }
        text.push_str("    # END AUTO-INPUTS\n\n    # One of each, where that is possible.\n");
        for (name, input) in modules {
            text.push_str(&flake::other_lines(name, input));
        }
    } else {
        text.push('\n');
        for (name, input) in modules {
            text.push_str(&flake::nested(name, input));
        }
    }
    text.push_str(
        r#"  };

  outputs =
    inputs:
    let
      systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
      each = f: builtins.listToAttrs (map (system: { name = system; value = f system; }) systems);
    in
    {
      packages = each (system: {
"#,
    );
    for name in packages {
        let _ = writeln!(text, "        {name} = inputs.{name}.packages.${{system}}.default;");
    }
    text.push_str("      });\n    };\n}\n");
    text
}
