//! Programs that mean harm, or do not know better: nothing of the operator's changes, nothing is proposed.

use std::fs;

use crate::world::World;

#[test]
fn what_belongs_to_a_module_is_refused_with_its_name() {
    let world = World::new();
    let (module, name) = (world.module().path.clone(), world.module().name.clone());
    let why = format!("{module}/flake.nix is in the module {name}");
    world.refused(&[], &format!("echo '# x' >> '{module}/flake.nix'; echo x >> docs/a.md"), &why);
    world.refused(&[], &format!("echo x > '{module}/new'"), &format!("is in the module {name}"));
    world.refused(&[], &format!("rm -r '{module}'"), &format!("is in the module {name}"));
    world.refused(&[], &format!("rm -r '{module}'; ln -s / '{module}'"), &format!("is in the module {name}"));
    world.refused(
        &[],
        &format!("mkdir '{module}/.git'; echo x > '{module}/.git/config'"),
        "is in the module",
    );
}

#[test]
fn what_no_change_can_hold_is_refused() {
    let world = World::new();
    for (script, why) in [
        ("echo x >> .gitmodules", "which modules there are"),
        ("rm docs/a.md", "docs/a.md was removed"),
        ("mv docs elsewhere", "docs/a.md was removed"),
        ("rm docs/a.md; mkdir docs/a.md", "docs/a.md was removed"),
        ("rm docs/a.md; ln -s /etc/passwd docs/a.md", "docs/a.md is a new or changed symlink"),
        ("ln -s /etc evil", "evil is a new or changed symlink"),
        ("ln -sfn docs/b.md link.md", "link.md is a new or changed symlink"),
        ("rm -r docs; ln -s / docs", "docs is a new or changed symlink"),
        ("mkfifo pipe", "pipe is neither a file nor a directory"),
        ("mkdir sub; mkdir sub/.git; echo x > sub/.git/config", "git directory on some machine"),
        ("echo x > DOCS.md; echo x > docs.md", "are one file where case does not count"),
        ("dd if=/dev/zero of=large bs=1M count=9 2>log; rm log", "more than 8388608 bytes"),
        ("for n in $(seq 400); do echo $n > f$n; done", "400 files changed"),
        ("echo '{' > flake.nix", "flake.nix would not be readable"),
    ] {
        world.refused(&[], script, why);
    }
    world.refused(
        &["--allow", "docs"],
        "echo x >> docs/a.md; echo y >> run.sh",
        "run.sh is outside the allowed paths",
    );
    assert_eq!(world.propose(&["--allow", "./docs/"], "echo x >> docs/a.md")["outcome"], "proposed");
    world.fails(&["propose", "--allow", "../x", "--", "true"], 2, "no path within the superproject");
    world.fails(&["propose"], 2, "COMMAND");
}

#[test]
fn a_program_that_fails_makes_no_proposal_and_its_log_is_kept() {
    let world = World::new();
    let script = "echo x >> docs/a.md; printf 'no\\033[31m such thing\\n' >&2; exit 3";
    let report = world.refused(&[], script, "\"value\":3");
    let evidence = report["evidence"].as_str().expect("evidence");
    assert!(world.object(evidence).exists());
    let log = world.json(&["audit", "show", evidence]).to_string();
    assert!(log.contains("\"log\"") || log.contains("log"), "{log}");
    let (exit, said) = world.run(&["propose", "--", "sh", "-c", script]);
    assert_eq!(exit, 1, "{said}");
    assert!(said.contains("ended with exit code 3") && said.contains("no\\u{1b}[31m such thing"), "{said}");
    world.refused(&["--timeout", "1"], "sleep 60", "deadline");
    world.fails(&["propose", "--", "/does/not/exist"], 1, "");
}

#[test]
fn the_operators_files_are_out_of_reach() {
    let world = World::new();
    let top = world.path().display().to_string();
    let outside = world.workspace.temp.path().join("outside");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("file"), "mine").expect("written");
    let state = world.workspace.state().display().to_string();
    let script = format!(
        "set +e
         echo bad > '{top}/.env'; echo bad >> '{top}/.git/config'; rm -rf '{top}'; rm -rf '{state}/objects'
         echo bad > '{out}/new'; rm -rf '{out}'; ln -s '{top}' here; echo bad > here/.env; rm here
         cat '{top}/.env' > docs/stolen; cat '{top}/key.secret' >> docs/stolen
         test -s docs/stolen && exit 5; rm -f docs/stolen
         (cd .git && rm -rf ./*) 
         setsid sh -c 'sleep 30; echo bad > {out}/late' < /dev/null > /dev/null 2>&1 &
         rm -rf ./* ; exit 0",
        out = outside.display(),
    );
    world.refused(&[], &script, "was removed");
    assert_eq!(fs::read_to_string(outside.join("file")).expect("there"), "mine");
    assert_eq!(fs::read_dir(&outside).expect("there").count(), 1);
    // What it started is dead.
    let late = format!("{}/late", outside.display());
    let alive = fs::read_dir("/proc").expect("processes").flatten().any(|process| {
        fs::read(process.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&late))
    });
    assert!(!alive, "a process of the program lives on");
    world.ok(&["audit", "verify"]);
}

#[test]
fn what_a_program_writes_without_end_is_bounded() {
    let world = World::new();
    world.refused(&["--timeout", "60"], "exec yes", "bound");
    world.refused(&["--timeout", "60"], "exec cat /dev/zero > big", "");
}

#[test]
fn depth_and_rights_hide_nothing_and_nothing_stays() {
    let world = World::new();
    let deep = "for n in $(seq 300); do mkdir d; cd d; done; echo x > deep";
    let report = world.propose(&[], deep);
    assert_eq!(report["outcome"], "refused", "{report:#}");
    world.proposed("echo x >> docs/a.md; chmod 500 docs; mkdir locked; echo y > locked/y; chmod 000 locked");
}
