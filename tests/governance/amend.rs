//! Changing who decides and by which rules: proposed, decided by both sides, enacted by one entry.

use std::path::PathBuf;

use lambda_os::domain::id::Cid;
use serde_json::Value;

use crate::world::{NAMESPACE, Ran, World, public};

impl World {
    /// A document in force, as the file that people edit.
    fn document(&self, kind: &str) -> String {
        self.ok(&[kind, "show"]).stdout
    }

    /// Propose an edited document.
    fn edited(&self, kind: &str, edits: &[(&str, &str)]) -> Ran {
        let mut text = self.document(kind);
        for (from, to) in edits {
            assert!(text.contains(from), "{from}: {text}");
            text = text.replacen(from, to, 1);
        }
        let file = self.home().join(format!("{kind}.toml"));
        std::fs::write(&file, text).expect("a file");
        self.run(&[kind, "propose", &file.to_string_lossy(), "--json"])
    }

    #[track_caller]
    fn amended(&self, kind: &str, edits: &[(&str, &str)]) -> String {
        let ran = self.edited(kind, edits);
        assert_eq!(ran.exit, 0, "{}", ran.stderr);
        ran.json()["proposal"].as_str().expect("an id").to_owned()
    }

    fn approve(&self, id: &str, key: &str) -> Ran {
        self.run(&["proposal", "approve", id, "--key", key, "--json"])
    }

    fn states(&self) -> Vec<(String, String)> {
        let listed = self.ok(&["proposal", "list", "--all", "--json"]).json();
        let rows = listed["proposals"].as_array().expect("a list").iter();
        let word = |row: &Value, key: &str| row[key].as_str().expect("a word").to_owned();
        rows.map(|row| (word(row, "id"), word(row, "state"))).collect()
    }

    fn state_of(&self, id: &str) -> String {
        self.states().into_iter().find(|(found, _)| found == id).expect("it is listed").1
    }

    /// One principal for each name, by a key of ssh-keygen; the paths of the private halves.
    fn founded(names: &[&str]) -> (Self, Vec<String>) {
        let world = Self::new();
        let keys: Vec<String> = names.iter().map(|name| world.ed25519(name)).collect();
        let publics: Vec<String> = keys.iter().map(|key| public(key)).collect();
        let args: Vec<&str> = publics.iter().flat_map(|key| ["--trust", key.as_str()]).collect();
        world.init(&args);
        (world, keys)
    }
}

fn public_line(key: &str) -> String {
    std::fs::read_to_string(public(key)).expect("a key").trim().to_owned()
}

#[test]
fn a_policy_is_changed_by_a_proposal_that_the_old_one_judges() {
    let world = World::proposing(&[]);
    let before = world.proposals();
    let shown = world.ok(&["policy", "show", "--json"]).json();
    let old = shown["document"].as_str().expect("an identity").to_owned();
    assert_eq!(shown["in_force"], true);
    let id = world.amended("policy", &[("proposal_days = 30", "proposal_days = 7")]);
    let again = world.edited("policy", &[("proposal_days = 30", "proposal_days = 7")]).json();
    assert_eq!((again["proposal"].as_str(), &again["is_new"]), (Some(id.as_str()), &false.into()));

    let page = world.ok(&["proposal", "show", &id]).stdout;
    assert!(page.contains("proposal_days: 30 -> 7") && page.contains(&old), "{page}");
    let diff = world.ok(&["proposal", "diff", &id]).stdout;
    assert!(diff.contains("-proposal_days = 30\n+proposal_days = 7\n"), "{diff}");
    let listed = world.ok(&["proposal", "list"]).stdout;
    assert!(listed.contains("proposal_days: 30 -> 7"), "{listed}");
    let text = world.ballot(&id, &[]);
    assert!(text.contains(&format!("\ndocument: policy {old} -> baf")), "{text}");

    world.run(&["proposal", "apply", &id]).failed(6, "0 of 1 approvals");
    let approved = world.ok(&["proposal", "approve", &id, "--json"]).json();
    assert_eq!(approved["ballots"][0]["tally"]["state"], "approved");
    let tried = world.ok(&["proposal", "apply", &id, "--dry-run"]).stdout;
    assert!(tried.contains("would put the policy"), "{tried}");
    assert_eq!(world.entries("policy.adopted").len(), 1);
    // A cycle in between changes nothing of it.
    world.ok(&["run", "--once"]);
    assert_eq!(world.state_of(&id), "approved");
    let head = crate::support::git(world.workspace.path(), ["rev-parse", "HEAD"]);
    let said = world.ok(&["proposal", "apply", &id]).stdout;
    assert!(said.starts_with("enacted ") && said.contains("the policy bafkrei"), "{said}");
    assert_eq!(crate::support::git(world.workspace.path(), ["rev-parse", "HEAD"]), head, "no commit");

    let adopted = world.entries("policy.adopted").remove(1);
    assert_eq!(adopted["body"]["enacts"].as_str(), Some(id.as_str()));
    assert!(adopted["body"]["certificate"].is_string());
    assert_eq!(adopted["policy"].as_str(), Some(old.as_str()), "the old one judged it: {adopted}");
    assert_eq!(world.state_of(&id), "enacted");
    for one in &before {
        assert_eq!(world.state_of(one), "obsolete", "what was proposed by the old one is void");
    }
    assert!(world.document("policy").contains("proposal_days = 7"));
    world.ok(&["run", "--once"]);
    let after = world.proposals();
    assert_eq!(after.len(), before.len());
    assert!(after.iter().all(|one| !before.contains(one)), "they are proposed anew");
    world.run(&["proposal", "apply", &id]).failed(1, "it is in force already");
    let shown = world.ok(&["policy", "show", "--document", &old, "--json"]).json();
    assert_eq!((&shown["in_force"], &shown["policy"]["proposal_days"]), (&false.into(), &30.into()));
    world.audited();
}

#[test]
fn those_who_decide_and_those_who_shall_must_both_agree() {
    let (world, keys) = World::founded(&["ann"]);
    let ben = world.ed25519("ben");
    let line = public_line(&ben);
    let id = world.amended(
        "members",
        &[
            (
                "[[principals]]",
                &format!("[[principals]]\nname = \"ben\"\nkeys = [\"{line}\"]\n\n[[principals]]"),
            ),
            ("[tracks.membership]", "[tracks.membership]\nthreshold = 2 # both\n#"),
            ("threshold = 1\n\n[tracks.policy]", "\n[tracks.policy]"),
        ],
    );
    let page = world.ok(&["proposal", "show", &id]).stdout;
    assert!(
        page.contains("principals ben: new") && page.contains("tracks membership threshold: 1 -> 2"),
        "{page}"
    );
    // The one who decides now said yes; the one who shall did not.
    let approved = world.approve(&id, &keys[0]).json();
    assert_eq!(approved["ballots"][0]["tally"]["state"], "pending", "{approved}");
    world.run(&["proposal", "apply", &id]).failed(6, "ben");
    assert_eq!(world.entries("members.trusted").len(), 1);
    // By plain ssh-keygen: his ballot counts before he decides over anything else.
    let other = world.proposals().into_iter().find(|one| *one != id).expect("another");
    world.run(&["proposal", "ballot", &other, "--as", "ben"]).failed(2, "does not decide");
    let text = world.ballot(&id, &["--as", "ben"]);
    let message = [text.as_bytes(), &world.keygen_sign(&ben, NAMESPACE, text.as_bytes())].concat();
    std::fs::write(world.inbox().join("ben.ballot"), message).expect("a file");
    world.ok(&["run", "--once"]);
    assert_eq!(world.entries("ballot.refused").len(), 0);
    world.ok(&["proposal", "apply", &id]);
    let trusted = world.entries("members.trusted").remove(1);
    assert_eq!(
        (&trusted["body"]["epoch"], trusted["body"]["enacts"].as_str()),
        (&2.into(), Some(id.as_str()))
    );
    assert_eq!(world.state_of(&other), "obsolete");
    // From now on both count, in the new epoch.
    world.ok(&["run", "--once"]);
    let leaf = world.proposals().remove(0);
    let text = world.ballot(&leaf, &["--as", "ben"]);
    assert!(text.contains("\nmembers-epoch: 2\n"), "{text}");
    assert_eq!(world.approve(&leaf, &ben).exit, 0);
    world.audited();
}

#[test]
fn a_document_that_cannot_follow_is_refused_with_the_reason() {
    let (world, _) = World::founded(&["ann", "ben"]);
    for (kind, edits, says) in [
        ("members", &[][..], "it changes nothing but its epoch"),
        ("policy", &[], "it is the one in force"),
        ("members", &[("epoch = 1", "epoch = 5")], "its epoch is 5, and the next one is 2"),
        ("members", &[("heal = true", "heal = true\nheel = true")], "unknown field `heel`"),
        (
            "members",
            &[("heal = true", "heal = false"), ("workspace = \"", "workspace = \"x")],
            "another workspace",
        ),
        ("members", &[("name = \"ann\"", "name = \"ben\"")], "stands twice"),
        ("members", &[("threshold = 2", "threshold = 3")], "the threshold 3, and there are 2"),
        ("policy", &[("proposal_days = 30", "proposal_days = 0")], "proposal_days must be 1 to"),
        ("policy", &[("proposal_days", "proposal_dais")], "proposal_d"),
        ("policy", &[("proposal_days = 30", "proposal_days = 30\n[")], ""),
    ] {
        world.edited(kind, edits).failed(2, says);
    }
    world.run(&["members", "propose", "/nonexistent"]).failed(2, "cannot read /nonexistent");
    assert!(world.states().iter().all(|(_, state)| state == "open"));
    assert_eq!(world.entries("proposal.contents").len(), 0, "nothing was proposed");
}

#[test]
fn whoever_dies_between_two_entries_enacts_it_once_when_asked_again() {
    let world = World::proposing(&[]);
    let id = world.amended("policy", &[("proposal_days = 30", "proposal_days = 7")]);
    world.ok(&["proposal", "approve", &id]);
    let journal = world.state().join("audit.jsonl");
    let before = std::fs::read_to_string(&journal).expect("the journal").lines().count();
    world.ok(&["proposal", "apply", &id]);
    let whole = std::fs::read_to_string(&journal).expect("the journal");
    let lines: Vec<&str> = whole.lines().collect();
    assert!(lines.len() > before, "enacting says something");
    for kept in before..=lines.len() {
        // As a crash leaves it: some entries are durable, the objects before them too.
        std::fs::write(&journal, lines[..kept].join("\n") + "\n").expect("a journal");
        let head = format!("{{\"cid\":\"{}\",\"seq\":{}}}\n", Cid::of(lines[kept - 1].as_bytes()), kept - 1);
        std::fs::write(world.state().join("head"), head).expect("a head");
        let _ = std::fs::remove_dir_all(world.state().join("cache"));
        let enacted = kept == lines.len();
        assert_eq!(world.state_of(&id), if enacted { "enacted" } else { "approved" }, "{kept}");
        let again = world.run(&["proposal", "apply", &id]);
        assert_eq!(again.exit, i32::from(enacted), "{kept}: {}", again.stderr);
        assert_eq!(world.entries("policy.adopted").len(), 2, "{kept}");
        world.ok(&["run", "--once"]);
        world.audited();
    }
}

#[test]
fn a_document_that_somebody_wrote_into_the_journal_is_not_believed() {
    use lambda_os::adapters::clock::SystemClock;
    use lambda_os::adapters::journal::JournalWriter;
    use lambda_os::adapters::state_dir::StateDir;
    use lambda_os::domain::event::Event;
    use lambda_os::domain::governance::members::Members;
    let (world, keys) = World::founded(&["ann"]);
    let eve = world.ed25519("eve");
    let id = world.proposals().remove(0);
    let forged = {
        let directory = StateDir::resolve_with(Some(&world.state()), None, None, world.workspace.path());
        let directory = directory.expect("a state directory");
        let mut journal = JournalWriter::open(&directory, &SystemClock).expect("a journal");
        let now = journal.state().members.expect("members").document;
        let bytes = lambda_os::ports::Journal::load(&journal, &now).expect("read").expect("there");
        let ours = Members::from_canonical(&bytes).expect("a document");
        let mut theirs = Members { v: 2, epoch: 2, previous: Some(now), ..ours };
        theirs.principals[0].keys = vec![public_line(&eve).parse().expect("a key")];
        let bytes = theirs.to_canonical().expect("canonical");
        let members = lambda_os::ports::Journal::store(&mut journal, &bytes).expect("stored");
        let event = Event::MembersTrusted { members, epoch: 2, enacts: None, certificate: None };
        lambda_os::ports::Journal::append(&mut journal, "members", &event).expect("appended");
        members
    };
    for args in
        [&["run", "--once"][..], &["proposal", "apply", &id], &["proposal", "approve", &id, "--key", &eve]]
    {
        let ran = world.run(args);
        ran.failed(7, &forged.to_string());
        assert!(ran.stderr.contains("it names no certificate"), "{}", ran.stderr);
    }
    assert_eq!(world.entries("ballot.cast").len(), 0);
    drop(keys);
}

#[test]
fn a_document_travels_as_a_file_with_its_ballots() {
    let (world, keys) = World::founded(&["ann", "ben"]);
    // Another operator's state directory over the same workspace.
    let other: PathBuf = world.home().join("other-state");
    let elsewhere = |args: &[&str]| {
        let mut command = crate::support::lambda_os(world.home());
        command.arg("-C").arg(world.workspace.path()).arg("--state-dir").arg(&other).arg("--config");
        command.arg(world.home().join("config.toml")).args(args);
        crate::world::ran(&command.output().expect("lambda-os runs"))
    };
    let publics = [public(&keys[0]), public(&keys[1])];
    let joined = elsewhere(&["init", "--json", "--trust", &publics[0], "--trust", &publics[1]]);
    assert_eq!(joined.exit, 0, "{}", joined.stderr);
    let id = world.amended("members", &[("heal = true", "heal = false")]);
    assert_eq!(world.approve(&id, &keys[0]).exit, 0);
    let packet = world.home().join("packet.json").to_string_lossy().into_owned();
    world.ok(&["proposal", "export", &id, "--out", &packet]);
    let imported = elsewhere(&["proposal", "import", &packet, "--json"]);
    assert_eq!((imported.exit, &imported.json()["ballots_taken"]), (0, &1.into()), "{}", imported.stderr);
    let approved = elsewhere(&["proposal", "approve", &id, "--key", &keys[1], "--json"]);
    assert_eq!(approved.json()["ballots"][0]["tally"]["state"], "approved", "{}", approved.stderr);
    let enacted = elsewhere(&["proposal", "apply", &id]);
    assert!(enacted.stdout.contains("heal: true -> false"), "{}{}", enacted.stdout, enacted.stderr);
    // Its ballots come back, and the first one enacts the same.
    let back = world.home().join("back.json").to_string_lossy().into_owned();
    assert_eq!(elsewhere(&["proposal", "export", &id, "--out", &back]).exit, 0);
    world.ok(&["proposal", "import", &back]);
    world.ok(&["proposal", "apply", &id]);
    let here = world.ok(&["members", "show", "--json"]).json();
    assert_eq!(here["document"], elsewhere(&["members", "show", "--json"]).json()["document"]);
    assert_eq!(here["members"]["epoch"], 2);
    // A packet with another document in it is none.
    let text = std::fs::read_to_string(&packet).expect("a packet");
    let content =
        text.split("\"contents\":[\"").nth(1).expect("contents").chars().take(40).collect::<String>();
    std::fs::write(&packet, text.replace(&content, &"A".repeat(40))).expect("a packet");
    elsewhere(&["proposal", "import", &packet]).failed(2, "its contents are not those");
}

#[test]
fn on_gated_the_daemon_puts_a_certified_document_in_force() {
    let (world, keys) = World::founded(&["ann"]);
    let cycle = || {
        let config = world.home().join("gated.toml");
        let text = "[workspace]\nallow_local_urls = true\n[autonomy]\nrung = 'gated'\n";
        std::fs::write(&config, text).expect("a configuration");
        let mut command = crate::support::lambda_os(world.home());
        command.arg("-C").arg(world.workspace.path()).arg("--state-dir").arg(world.state());
        let output = command.arg("--config").arg(&config).args(["run", "--once", "--json"]).output();
        crate::world::ran(&output.expect("it runs")).json()
    };
    // As long as the policy in force does not allow it, a person does it.
    let first = world.amended("policy", &[("max_open_proposals = 100", "max_open_proposals = 99")]);
    let raised = "[rungs]\npolicy = \"gated\"\n";
    assert_eq!(world.approve(&first, &keys[0]).exit, 0);
    assert_eq!(cycle()["enactments"], Value::Null);
    world.ok(&["proposal", "apply", &first]);
    let text = world.document("policy") + "\n" + raised;
    let file = world.home().join("raised.toml");
    std::fs::write(&file, text).expect("a file");
    let second = world.ok(&["policy", "propose", &file.to_string_lossy(), "--json"]).json();
    let second = second["proposal"].as_str().expect("an id").to_owned();
    assert_eq!(world.approve(&second, &keys[0]).exit, 0);
    // The policy that is in force judges its own successor.
    assert_eq!(cycle()["enactments"], Value::Null);
    world.ok(&["proposal", "apply", &second]);
    let third = world.amended("policy", &[("max_open_proposals = 99", "max_open_proposals = 98")]);
    cycle();
    assert_eq!(world.state_of(&third), "open", "nobody approved it");
    assert_eq!(world.approve(&third, &keys[0]).exit, 0);
    let report = cycle();
    assert_eq!(report["enactments"][0]["id"], third.as_str(), "{}", report["enactments"]);
    assert_eq!(report["enactments"][0]["waits"], Value::Null);
    assert_eq!(world.state_of(&third), "enacted");
    assert!(world.document("policy").contains("max_open_proposals = 98"));
    world.audited();
}
