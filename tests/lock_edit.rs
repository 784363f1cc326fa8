//! Edited files, read by the real Nix: a changed revision is that revision and nothing else is
//! another, a changed dependency map is the map that was wanted. `LAMBDA_OS_CASES` for more.
#![expect(clippy::disallowed_methods, reason = "the environment says how many cases to try")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use lambda_os::domain::flake::dep_graph::{DepEntry, DepGraph};
use lambda_os::domain::flake::edit::{print_dep_graph, set_revision, update_dep_graph};
use serde_json::{Value, json};
use support::nix::{self, Nix};
use support::{git, temp_dir};

/// Choices that a seed decides.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("it is below")
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn rev(&mut self) -> String {
        (0..40).map(|_| char::from(b"0123456789abcdef"[self.below(16)])).collect()
    }
}

fn cases(usual: usize) -> usize {
    std::env::var("LAMBDA_OS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

const NAMES: [&str; 5] = ["a", "b", "logos-c", "d_e", "f'"];

/// What stands for the value of one input; `REV` is its revision.
const VALUES: [&str; 11] = [
    "url = \"github:o/NAME/REV\";",
    "url = \"github:o/NAME/REV?dir=x\"; flake = false;",
    "\"url\" = ''git+https://x.org/NAME?rev=REV&ref=main'';",
    "url = ( \"git+ssh://git@x.org/NAME?ref=main&rev=REV\" ); inputs.b.follows = \"b\";",
    "type = \"github\"; owner = \"o\"; repo = \"NAME\"; rev = \"REV\";",
    "type = \"git\"; /* rev = \"x\"; */ url = \"https://x.org/NAME\"; ref = \"main\"; ${\"rev\"} = ''REV'';",
    "# github:o/NAME/0000\n url = \"gitlab:g%2Fs/NAME/REV\"; # after\n",
    "url = github:o/NAME/REV;",
    "inputs = { \"b\".follows = \"a\"; c.url = \"github:o/c/KEPT\"; }; url = \"github:o/NAME/REV\";",
    "url = \"sourcehut:~o/NAME/REV\"; inputs.q.inputs.r.follows = \"\";",
    "url = \"path:/x?rev=REV\";",
];

/// A flake with every input at a revision, in many styles; the revisions by name.
fn flake(pick: &mut Choices) -> (String, BTreeMap<String, String>) {
    let mut revisions = BTreeMap::new();
    let mut split = String::new();
    let mut block = String::new();
    let line = pick.of(&["\n", "\n", "\r\n", " "]);
    for name in NAMES {
        if pick.below(3) == 0 && !revisions.is_empty() {
            continue;
        }
        let rev = pick.rev();
        let style = pick.of(&VALUES);
        // A line comment needs its line's end.
        let value = style.replace("NAME", "r").replace("REV", &rev).replace("KEPT", &pick.rev());
        let shown = pick.of(&["NAME", "\"NAME\"", "${\"NAME\"}"]).replace("NAME", name);
        match pick.below(3) {
            0 => {
                let _ = write!(split, "  inputs.{shown} = {{ {value} }};{line}");
            }
            1 if !value.contains("inputs") && value.matches(';').count() == 1 && value.starts_with("url") => {
                let _ = write!(block, "    {shown} . {value}{line}");
            }
            _ => {
                let _ = write!(block, "    {shown} = {{ {value} }};{line}");
            }
        }
        revisions.insert(name.to_owned(), rev);
    }
    let (begin, end) = ("\n# BEGIN AUTO-INPUTS\n", "\n# END AUTO-INPUTS\n");
    let (begin, end) = if pick.below(2) == 0 { (begin, end) } else { ("", "") };
    let block = if block.is_empty() && !split.is_empty() {
        String::new()
    } else {
        format!("  inputs = {{{line}{begin}{block}{end}  }};{line}")
    };
    // Nix merges the set with what is defined beside it.
    let split = if split.is_empty() { split } else { format!("{begin}{split}{end}") };
    (format!("{{{line}  description = \"é\";{line}{split}{block}  outputs = _: {{ }};{line}}}\n"), revisions)
}

/// What Nix sees in each file.
fn evaluated(nix: &Nix, dir: &Path, files: &[Vec<u8>], of: &str) -> Vec<Value> {
    let mut list = String::new();
    for (at, file) in files.iter().enumerate() {
        let path = dir.join(format!("file-{at}.nix"));
        fs::write(&path, file).expect("written");
        let _ = write!(list, "(import {}){of} ", path.display());
    }
    let all = nix.must(&["eval", "--impure", "--json", "--expr", &format!("[ {list}]")]);
    serde_json::from_str(&all).expect("JSON")
}

#[test]
fn an_edited_flake_is_the_same_with_the_new_revision_for_nix() {
    let Some(program) = nix::current("that edited flakes are what Nix reads") else { return };
    let temp = temp_dir();
    let nix = Nix::at(&program, temp.path());
    let mut pick = Choices(0x5eed_0003);
    let (mut before, mut after, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..cases(300) {
        let (text, revisions) = flake(&mut pick);
        let names: Vec<&String> = revisions.keys().collect();
        let name = names[pick.below(names.len())];
        let new = pick.rev();
        let edited = set_revision(text.as_bytes(), name, &new)
            .unwrap_or_else(|error| panic!("{name} cannot be edited: {error}\n{text}"));
        before.push(text.clone().into_bytes());
        after.push(edited);
        changes.push((name.clone(), revisions[name].clone(), new));
    }
    let was = evaluated(&nix, temp.path(), &before, ".inputs");
    let is = evaluated(&nix, temp.path(), &after, ".inputs");
    for (at, (name, old, new)) in changes.iter().enumerate() {
        let mut expected = was[at].clone();
        let input = &mut expected[name];
        *input = serde_json::from_str(&input.to_string().replace(old, new)).expect("JSON");
        assert_ne!(expected, was[at], "the revision is in what Nix reads");
        assert_eq!(is[at], expected, "{name}: {old} → {new}\n{}", String::from_utf8_lossy(&after[at]));
    }
    eprintln!("{} edited flakes, all as wanted", changes.len());
}

#[test]
fn an_edited_flake_is_locked_by_nix_at_the_new_revision() {
    let Some(program) = nix::current("that edited flakes are locked by Nix") else { return };
    let temp = temp_dir();
    let dir = fs::canonicalize(temp.path()).expect("there");
    let nix = Nix::at(&program, &dir);
    let source = dir.join("source");
    fs::create_dir(&source).expect("made");
    git(&source, ["init", "-q", "-b", "main"]);
    fs::write(source.join("flake.nix"), "{ outputs = _: { }; }").expect("written");
    let mut revisions = Vec::new();
    for _ in 0..2 {
        git(&source, ["add", "-A"]);
        git(&source, ["commit", "-q", "--allow-empty", "-m", "x"]);
        revisions.push(git(&source, ["rev-parse", "HEAD"]).trim().to_owned());
        fs::write(source.join("more"), "x").expect("written");
    }
    let at = source.display();
    for (case, inputs) in [
        format!("inputs.a.url = \"git+file://{at}?rev=OLD\";"),
        format!(
            "\n# BEGIN AUTO-INPUTS\ninputs.a.url = \"git+file://{at}?ref=main&rev=OLD\";\n# END AUTO-INPUTS\n"
        ),
        format!("inputs = {{ a = {{ type = \"git\"; url = \"file://{at}\"; rev = \"OLD\"; }}; }};"),
        format!("inputs . ${{\"a\"}} . url = ( ''git+file://{at}?rev=OLD'' ); inputs.a.flake = false;"),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("{{ {} outputs = _: {{ }}; }}", inputs.replace("OLD", &revisions[0]));
        let edited = set_revision(text.as_bytes(), "a", &revisions[1]).expect("edited");
        for (flake, revision) in [(text.as_bytes(), &revisions[0]), (&edited, &revisions[1])] {
            let root = dir.join(format!("root-{case}-{revision}"));
            fs::create_dir(&root).expect("made");
            fs::write(root.join("flake.nix"), flake).expect("written");
            let said = nix.must(&["flake", "metadata", "--json", &format!("path:{}", root.display())]);
            let metadata: Value = serde_json::from_str(&said).expect("JSON");
            let node = &metadata["locks"]["nodes"]["a"];
            assert_eq!(node["locked"]["rev"], json!(revision), "{said}");
            assert_eq!(node["original"]["rev"], json!(revision), "{said}");
        }
    }
}

fn entry(pick: &mut Choices, newer: bool) -> DepEntry {
    let deps: Vec<&str> = ["a", "logos-b", "c \"q\" ${x}", "d\\e", "'' $$ {"].into_iter().collect();
    let count = pick.below(deps.len() + 1);
    let follows: BTreeMap<String, String> = (0..pick.below(3))
        .map(|_| (pick.of(&deps).to_owned(), pick.of(&["logos-b", "x/y", ""]).to_owned()))
        .collect();
    DepEntry {
        deps: deps[..count].iter().map(|dep| (*dep).to_owned()).collect(),
        has_tests: Some(pick.below(2) == 0),
        follows: newer.then_some(follows),
    }
}

fn as_json(map: &DepGraph) -> Value {
    let entries = map.entries.iter().map(|(name, entry)| {
        let mut value = json!({ "deps": entry.deps });
        if let Some(has_tests) = entry.has_tests {
            value["hasTests"] = json!(has_tests);
        }
        if let Some(follows) = &entry.follows {
            value["follows"] = json!(follows);
        }
        (name.clone(), value)
    });
    Value::Object(entries.collect())
}

#[test]
fn an_edited_dependency_map_is_the_wanted_one_for_nix() {
    let Some(program) = nix::current("that edited dependency maps are what Nix reads") else { return };
    let temp = temp_dir();
    let nix = Nix::at(&program, temp.path());
    let mut pick = Choices(0x5eed_0004);
    let (mut files, mut wanted) = (Vec::new(), Vec::new());
    let names = ["a", "b-c", "d e", "with", "if", "x'", "é", "0", "or", "__toString'", "a.b"];
    for case in 0..cases(300) {
        // Either schema, and a file of the older that becomes one of the newer.
        let (newer_before, newer_after) = (case % 3 == 1, case % 3 != 0);
        let mut map = DepGraph::default();
        for name in names {
            if pick.below(2) == 0 {
                map.entries.insert(name.to_owned(), entry(&mut pick, newer_before));
            }
        }
        let style = pick.of(&["; ", ";\n    ", " ; # x\n ", ";\r\n\t"]);
        let mut file = print_dep_graph(&map).replace("; hasTests", &format!("{style}hasTests"));
        if pick.below(3) == 0 {
            file = format!("# generated\n/* {{ */ {}", file.replace("{\n  ", "{ "));
        }
        for name in names {
            match pick.below(4) {
                0 => drop(map.entries.remove(name)),
                1 => drop(map.entries.insert(name.to_owned(), entry(&mut pick, newer_after))),
                _ => {}
            }
        }
        let edited = update_dep_graph(file.as_bytes(), &map)
            .unwrap_or_else(|error| panic!("it cannot be edited: {error}\n{file}"));
        files.push(edited);
        wanted.push(as_json(&map));
        // And written as a whole.
        files.push(print_dep_graph(&map).into_bytes());
        wanted.push(as_json(&map));
    }
    let seen = evaluated(&nix, temp.path(), &files, "");
    for (at, (seen, wanted)) in seen.iter().zip(&wanted).enumerate() {
        assert_eq!(seen, wanted, "{}", String::from_utf8_lossy(&files[at]));
    }
    eprintln!("{} maps, all as wanted", files.len());
}
