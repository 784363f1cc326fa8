//! Cases that must not be left to chance, each beside the real Nix.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Ask, Nix, Outcome, compare};
use crate::support::{git, temp_dir};

/// A directory with a root flake and git sources beside it; removed when dropped.
pub(super) struct Case {
    _temp: tempfile::TempDir,
    pub(super) dir: PathBuf,
    pub(super) nix: Nix,
}

impl Case {
    pub(super) fn new() -> Option<Self> {
        let temp = temp_dir();
        let dir = fs::canonicalize(temp.path()).expect("it is there");
        let nix = Nix::new(&dir.join("home"))?;
        fs::create_dir_all(dir.join("root")).expect("a directory is made");
        Some(Self { _temp: temp, dir, nix })
    }

    /// A file, in directories that are made; `@` stands for the directory of the case.
    pub(super) fn write(&self, path: &str, text: &str) -> &Self {
        let file = self.dir.join(path);
        fs::create_dir_all(file.parent().unwrap_or(Path::new("/"))).expect("a directory is made");
        fs::write(file, text.replace('@', &self.dir.display().to_string())).expect("it is written");
        self
    }

    /// A `flake.nix` with these inputs.
    pub(super) fn flake(&self, path: &str, inputs: &str) -> &Self {
        self.write(&format!("{path}/flake.nix"), &format!("{{ {inputs} outputs = _: {{ }}; }}"))
    }

    /// Everything in it committed.
    pub(super) fn commit(&self, path: &str) -> &Self {
        let dir = self.dir.join(path);
        if !dir.join(".git").exists() {
            git(&dir, ["init", "-q", "-b", "main"]);
        }
        git(&dir, ["add", "-A"]);
        git(&dir, ["commit", "-q", "-m", "x", "--allow-empty"]);
        self
    }

    #[track_caller]
    pub(super) fn equal(&self, ask: &Ask) -> String {
        match compare(&self.nix, &self.dir.join("root"), ask) {
            Outcome::Equal => fs::read_to_string(self.dir.join("root/flake.lock")).unwrap_or_default(),
            Outcome::BothRefuse(why) => panic!("both refuse: {why}"),
            Outcome::Different(how) => panic!("{how}"),
        }
    }

    #[track_caller]
    pub(super) fn refused(&self, ask: &Ask) -> String {
        match compare(&self.nix, &self.dir.join("root"), ask) {
            Outcome::BothRefuse(why) => why,
            Outcome::Equal => panic!("both accept it"),
            Outcome::Different(how) => panic!("{how}"),
        }
    }
}

#[test]
fn a_bare_repository_is_read_like_a_remote_one() {
    let Some(case) = Case::new() else { return };
    case.flake("a", "").commit("a");
    git(&case.dir, ["clone", "-q", "--bare", "a", "bare.git"]);
    case.flake(
        "root",
        "inputs.a.url = \"git+file://@/bare.git\"; inputs.b.url = \"git+file://@/bare.git?ref=main\";",
    );
    assert!(case.equal(&Ask::Lock).contains("\"ref\": \"refs/heads/main\""));
}

#[test]
fn a_detached_head_records_no_branch_and_tags_are_followed_to_their_commit() {
    let Some(case) = Case::new() else { return };
    case.flake("a", "").commit("a").flake("b", "").commit("b");
    git(&case.dir.join("a"), ["checkout", "-q", "--detach"]);
    git(&case.dir.join("b"), ["tag", "-a", "v1", "-m", "x"]);
    case.flake("root", "inputs.a.url = \"git+file://@/a\"; inputs.b.url = \"git+file://@/b?ref=refs/tags/v1\"; inputs.c.url = \"git+file://@/b?ref=v1\";");
    case.equal(&Ask::Lock);
}

#[test]
fn a_dirty_source_is_refused() {
    let Some(case) = Case::new() else { return };
    case.flake("a", "").commit("a").flake("a", "description = \"dirty\";");
    case.flake("root", "inputs.a.url = \"git+file://@/a\";");
    case.refused(&Ask::Lock);
    case.flake("root", "inputs.a.url = \"git+file://@/a?ref=main\";");
    case.equal(&Ask::Lock);
}

#[test]
fn relative_inputs_of_inputs_are_found_where_nix_looks() {
    let Some(case) = Case::new() else { return };
    case.flake("leaf", "").commit("leaf");
    case.flake("a", "inputs.s.url = \"path:./s\";")
        .flake("a/s", "inputs.t.url = \"path:../t\"; inputs.leaf.url = \"git+file://@/leaf\";")
        .flake("a/t", "inputs.leaf.url = \"git+file://@/leaf\";")
        .commit("a");
    case.flake("root", "inputs.a.url = \"git+file://@/a\"; inputs.d.url = \"git+file://@/a?dir=s\"; inputs.own.url = \"./own\";")
        .flake("root/own", "inputs.deep.url = \"path:./deep\"; inputs.raw = { url = \"path:./nowhere\"; flake = false; };")
        .flake("root/own/deep", "");
    let first = case.equal(&Ask::Lock);
    assert!(first.contains("\"parent\": [\n        \"a\",\n        \"s\"\n      ]"), "{first}");
    // With a lock of its own, in which the same inputs have other parents.
    let own = format!("path:{}/a", case.dir.display());
    case.nix.flake(&["lock".to_owned(), own]).expect("Nix locks it");
    case.commit("a");
    let first_of_lock = case.equal(&Ask::UpdateAll);
    assert!(first_of_lock.contains("\"parent\": [\n        \"a\",\n        \"s\"\n      ]"));
    assert_ne!(first_of_lock, first);
    let first = first_of_lock;
    // Kept, then moved.
    assert_eq!(case.equal(&Ask::Lock), first);
    case.flake("leaf", "description = \"2\";").commit("leaf");
    case.equal(&Ask::Update(vec!["a".to_owned()]));
    case.flake("root", "inputs.own.url = \"./own\"; inputs.own.inputs.deep.url = \"path:./other\";")
        .flake("root/other", "");
    case.equal(&Ask::Lock);
    case.flake("root", "inputs.own.url = \"./../a\";");
    case.refused(&Ask::Lock);
}

#[test]
fn a_flake_file_may_be_a_link_inside_its_source() {
    let Some(case) = Case::new() else { return };
    case.flake("a/real", "");
    std::os::unix::fs::symlink("real/flake.nix", case.dir.join("a/flake.nix")).expect("a link is made");
    case.commit("a").flake("root", "inputs.a.url = \"git+file://@/a\";");
    case.equal(&Ask::Lock);
}

#[test]
fn a_source_that_asks_for_its_submodules_and_has_none_is_locked_so() {
    let Some(case) = Case::new() else { return };
    case.flake("a", "inputs.self.submodules = true;").commit("a");
    case.flake("root", "inputs.a.url = \"git+file://@/a\"; inputs.b.url = \"git+file://@/a?submodules=1\";");
    assert!(case.equal(&Ask::Lock).contains("\"submodules\": true"));
}

#[test]
fn older_forms_of_a_lock_are_read_and_left_alone_when_they_say_the_same() {
    let Some(case) = Case::new() else { return };
    case.flake("a", "").commit("a").flake("b", "inputs.a.url = \"git+file://@/a\";").commit("b");
    case.flake("root", "inputs.a.url = \"git+file://@/a\"; inputs.b.url = \"git+file://@/b\";");
    let lock = case.equal(&Ask::Lock);
    let renamed =
        lock.replace("\"a_2\"", "\"other\"").replace("  ", " ").replace("\"version\": 7", "\"version\": 6");
    case.write("root/flake.lock", &renamed);
    assert_eq!(case.equal(&Ask::Lock), renamed);
    // Nodes shared by two inputs are two nodes when the lock is made anew.
    case.write("root/flake.lock", &renamed.replace("\"a\": \"other\"", "\"a\": \"a\""));
    assert_eq!(case.equal(&Ask::Lock).matches("\"original\"").count(), 3);
}

#[test]
fn a_circle_is_broken_by_a_follows_and_refused_without() {
    let Some(case) = Case::new() else { return };
    case.flake("a", "inputs.b.url = \"git+file://@/b\";").flake("b", "inputs.a.url = \"git+file://@/a\";");
    case.commit("a").commit("b");
    case.flake("root", "inputs.a.url = \"git+file://@/a\";");
    assert!(case.refused(&Ask::Lock).contains("circular import"));
    case.flake("root", "inputs.a.url = \"git+file://@/a\"; inputs.a.inputs.b.inputs.a.follows = \"a\";");
    let lock = case.equal(&Ask::Lock);
    case.flake("a", "inputs.b.url = \"git+file://@/b\"; description = \"2\";").commit("a");
    assert_ne!(case.equal(&Ask::Update(vec!["a".to_owned()])), lock);
}

#[test]
fn a_follows_of_the_source_itself_stands_and_a_removed_override_lets_the_input_come_back() {
    let Some(case) = Case::new() else { return };
    case.flake("p", "").commit("p");
    case.flake("s", "inputs.p.url = \"git+file://@/p\";").commit("s");
    case.flake("a", "inputs.p.url = \"git+file://@/p\"; inputs.s.url = \"git+file://@/s\"; inputs.s.inputs.p.follows = \"p\"; inputs.q.follows = \"s/p\";")
        .commit("a");
    let with = "inputs.p.url = \"git+file://@/p\"; inputs.a.url = \"git+file://@/a\"; inputs.a.inputs.p.follows = \"p\";";
    case.flake("root", with);
    let first = case.equal(&Ask::Lock);
    assert_eq!(case.equal(&Ask::Lock), first);
    case.flake("root", "inputs.p.url = \"git+file://@/p\"; inputs.a.url = \"git+file://@/a\";");
    assert_ne!(case.equal(&Ask::Lock), first);
    case.flake("root", &with.replace("\"p\";", "\"\";"));
    case.equal(&Ask::Lock);
}

#[test]
fn a_directory_that_changed_is_locked_anew_only_when_asked() {
    let Some(case) = Case::new() else { return };
    case.flake("p", "").flake("root", "inputs.p.url = \"path:@/p\";");
    let first = case.equal(&Ask::Lock);
    case.flake("p", "description = \"2\";");
    assert_eq!(case.equal(&Ask::Lock), first);
    assert_ne!(case.equal(&Ask::Update(vec!["p".to_owned()])), first);
}

#[test]
fn a_lock_that_spells_a_url_in_another_way_is_kept_or_not_as_nix_does() {
    let Some(case) = Case::new() else { return };
    case.flake("a", "")
        .flake("a/sub", "")
        .commit("a")
        .flake("b", "")
        .commit("b")
        .flake("a+b", "")
        .commit("a+b");
    let root = "inputs.a.url = \"git+file://@/a\"; inputs.s.url = \"git+file://@/a?dir=sub\"; \
        inputs.p.url = \"git+file://@/a%2Bb\"; inputs.b.url = \"git+file://@/b\";";
    case.flake("root", root);
    let lock = case.equal(&Ask::Lock);
    let here = case.dir.display().to_string();
    let url = |path: &str| format!("\"url\": \"file://{here}/{path}\"");
    let mut odd = Vec::new();
    for (from, to) in [
        (url("a"), url("%61")),
        (url("a"), url("a?dir=sub")),
        (url("a"), url("a?dir=other")),
        (url("a"), url("a?")),
        (url("a"), url("a?x=1&dir=sub&a=2")),
        (url("a"), url("a#")),
        (url("a"), url("a/")),
        (url("a"), format!("\"url\": \"{here}/a\"")),
        (url("a"), format!("\"url\": \"file:{here}/a\"")),
        (url("a"), format!("\"url\": \"git+file://{here}/a\"")),
        (url("a%2Bb"), url("a+b")),
        (url("a%2Bb"), url("a%2bb")),
        (url("a"), format!("\"shallow\": false, {}", url("a"))),
    ] {
        for (originals, locked) in [(true, false), (false, true), (true, true)] {
            // Of the original references, of the locked ones, or of all.
            let mut text = String::with_capacity(lock.len());
            for (at, part) in lock.split_inclusive("\"original\": {").enumerate() {
                let spelt = |part: &str, other: bool| {
                    if other { part.replace(&from, &to) } else { part.to_owned() }
                };
                if let Some((original, rest)) = part.split_once('}').filter(|_| at > 0) {
                    text.push_str(&spelt(original, originals));
                    text.push('}');
                    text.push_str(&spelt(rest, locked));
                } else {
                    text.push_str(&spelt(part, locked));
                }
            }
            for ask in [Ask::Lock, Ask::Update(vec!["b".to_owned()])] {
                case.write("root/flake.lock", &text);
                // So that there is something to write.
                case.flake("b", "description = \"1\";").commit("b");
                match compare(&case.nix, &case.dir.join("root"), &ask) {
                    Outcome::Equal | Outcome::BothRefuse(_) => {}
                    Outcome::Different(how) => {
                        odd.push(format!(
                            "{from} → {to} originals {originals} locked {locked} {ask:?}\n{how}"
                        ));
                    }
                }
            }
        }
    }
    assert!(odd.is_empty(), "{} differences\n{}", odd.len(), odd.join("\n\n"));
}
