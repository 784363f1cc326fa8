//! Every other byte stays.

use std::collections::BTreeSet;

use super::*;

const OLD: &str = "0123456789abcdef0123456789abcdef01234567";
const NEW: &str = "fedcba9876543210fedcba9876543210fedcba98";

fn shown(result: Result<Vec<u8>, EditError>) -> String {
    match result {
        Ok(bytes) => String::from_utf8(bytes).expect("UTF-8"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_revision_is_changed_wherever_it_is_written() {
    for inputs in [
        "inputs.a.url = \"github:o/a/OLD\";",
        "inputs = { # a/OLD\n  a = { url = \"github:o/a/OLD?dir=x\"; inputs.b.follows = \"b\"; };\n b.url = \"github:o/b/OLD\"; };",
        "inputs.\"a\" = { flake = false; }; inputs.a.url=github:o/a/OLD;",
        "inputs . ${\"a\"} . url = ( ''git+https://x.org/a?rev=OLD&ref=main'' );",
        "inputs.a = { type = \"github\"; owner = \"o\"; /* OLD */ repo = \"a\"; rev = \"OLD\"; };",
        "# BEGIN AUTO-INPUTS\n\tinputs.a.url = \"path:/x?rev=OLD\";\r\n# END AUTO-INPUTS\n",
    ] {
        let flake = format!("{{ {} outputs = _: {{ }}; }}\n", inputs.replace("OLD", OLD));
        let edited = shown(set_revision(flake.as_bytes(), "a", NEW));
        let places: Vec<usize> = flake.match_indices(OLD).map(|(at, _)| at).collect();
        let changed: Vec<usize> =
            places.iter().copied().filter(|at| edited.get(*at..at + 40) == Some(NEW)).collect();
        assert_eq!(changed.len(), 1, "{edited}");
        assert_eq!(format!("{}{OLD}{}", &edited[..changed[0]], &edited[changed[0] + 40..]), flake);
        let read = nix_reader::read(edited.as_bytes()).expect("it is a flake");
        assert_eq!(read.inputs["a"].reference.as_ref().and_then(|reference| reference.rev()), Some(NEW));
        assert_eq!(shown(set_revision(edited.as_bytes(), "a", OLD)), flake, "and back");
    }
}

#[test]
fn what_cannot_be_changed_is_said() {
    for (inputs, input, expected) in [
        ("inputs.a.url = \"github:o/a\";", "a", "the input \"a\" names no revision"),
        ("inputs.a.url = \"github:o/a\";", "b", "the flake has no input \"b\""),
        ("inputs.a.follows = \"b\";", "a", "the input \"a\" names no revision"),
        (
            "inputs = rec { b = { url = \"github:o/a/OLD\"; }; a = b; };",
            "a",
            "the revision of the input \"a\" is not written in its own url or rev",
        ),
        (
            "inputs.a.url = \"git+https://x.org/OLD?rev=OLD\";",
            "a",
            "the revision of the input \"a\" is not written in its own url or rev",
        ),
        (
            "inputs.a.url = \"github:o/a/\\OLD\";",
            "a",
            "the revision of the input \"a\" is not written in its own url or rev",
        ),
    ] {
        let inputs = inputs.replace("\\OLD", &format!("\\{OLD}")).replace("OLD", OLD);
        let flake = format!("{{ {inputs} outputs = _: {{ }}; }}");
        let result = shown(set_revision(flake.as_bytes(), input, NEW));
        // A backslash before a digit is that digit: the text still holds the revision once.
        if inputs.contains('\\') {
            assert_eq!(result, flake.replace(OLD, NEW));
        } else {
            assert_eq!(result, expected);
        }
    }
    assert!(shown(set_revision(b"{ outputs = _: { }; }", "a", "abc")).contains("not a full commit hash"));
}

fn entry(deps: &[&str], follows: Option<&[(&str, &str)]>) -> DepEntry {
    DepEntry {
        deps: deps.iter().map(|dep| (*dep).to_owned()).collect(),
        has_tests: Some(true),
        follows: follows.map(|pairs| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()),
    }
}

#[test]
fn a_map_is_printed_and_read_again_in_every_schema() {
    let mut map = DepGraph::default();
    map.entries.insert("a".to_owned(), entry(&[], None));
    map.entries.insert("in".to_owned(), entry(&["a", "b\"${x}"], Some(&[("x", "a")])));
    map.entries.insert("old".to_owned(), DepEntry { deps: vec!["a".to_owned()], ..DepEntry::default() });
    let text = print_dep_graph(&map);
    assert_eq!(
        text,
        "{\n  a = { deps = [ ]; hasTests = true; };\n  \"in\" = { deps = [ \"a\" \"b\\\"\\${x}\" ]; hasTests = true; \
         follows = { \"x\" = \"a\"; }; };\n  old = [ \"a\" ];\n}\n"
    );
    assert_eq!(DepGraph::parse(text.as_bytes()), Ok(map));
}

#[test]
fn entries_that_stay_keep_their_bytes() {
    let file = "# generated\n{\n  a = { deps = [\n    \"b\" # why\n  ]; hasTests = false; };\n\n  \"b\"   =   { deps = []; extra = 1; };\n  c = { deps = [ ]; };\n} # end\n";
    let mut map = DepGraph::parse(file.as_bytes()).expect("a map");
    assert_eq!(shown(update_dep_graph(file.as_bytes(), &map)), file);
    map.entries.remove("c");
    map.entries.insert("d".to_owned(), entry(&["a"], Some(&[])));
    map.entries.get_mut("b").expect("there").deps = vec!["a".to_owned()];
    map.entries.get_mut("b").expect("there").has_tests = Some(true);
    let edited = shown(update_dep_graph(file.as_bytes(), &map));
    assert_eq!(
        edited,
        "# generated\n{\n  a = { deps = [\n    \"b\" # why\n  ]; hasTests = false; };\n\n  \"b\"   =   { deps = [ \"a\" ]; hasTests = true; };\n  d = { deps = [ \"a\" ]; hasTests = true; follows = { }; };\n} # end\n"
    );
    let one_line = b"{ a = [ ]; }";
    let mut map = DepGraph::parse(one_line).expect("a map");
    map.entries.insert("b".to_owned(), entry(&[], None));
    assert_eq!(
        shown(update_dep_graph(one_line, &map)),
        "{ a = [ ]; \n  b = { deps = [ ]; hasTests = true; };\n}"
    );
}

/// Random maps and random changes: what is read again is what was wanted, and every line of an
/// entry that stayed is still there.
#[test]
fn any_change_of_a_map_is_exactly_that_change() {
    let mut state = 0x5eed_u64;
    let mut below = move |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    for _ in 0..500 {
        let mut map = DepGraph::default();
        for name in ["a", "b", "c d", "e", "f", "with"] {
            if below(2) == 0 {
                map.entries.insert(
                    name.to_owned(),
                    entry(&["a", "e"][..usize::try_from(below(3)).expect("small")], None),
                );
            }
        }
        let file = print_dep_graph(&map)
            .replace("; ", ["; ", ";\n    ", " ; # x\n "][usize::try_from(below(3)).expect("small")]);
        let mut wanted = map.clone();
        for name in ["a", "c d", "e", "g", "in"] {
            match below(4) {
                0 => drop(wanted.entries.remove(name)),
                1 => drop(wanted.entries.insert(name.to_owned(), entry(&["b"], Some(&[("x", "y")])))),
                _ => {}
            }
        }
        let edited = shown(update_dep_graph(file.as_bytes(), &wanted));
        assert_eq!(DepGraph::parse(edited.as_bytes()), Ok(wanted.clone()), "{file}\n{edited}");
        let changed: BTreeSet<&String> = map
            .entries
            .iter()
            .filter(|(name, entry)| wanted.entries.get(*name) != Some(entry))
            .map(|(name, _)| name)
            .collect();
        if changed.is_empty() {
            let kept = file.trim_end().trim_end_matches('}');
            assert!(edited.starts_with(kept), "{file}\n{edited}");
        }
    }
}
