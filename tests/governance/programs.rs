//! Programs that decide: kept, asked by cycles, decided again; narrowing, and as a track's authority.

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::journal::JournalWriter;
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::adapters::wasm::Interpreter;
use lambda_os::domain::event::Event;
use lambda_os::domain::governance::program::{self, Verdict};
use lambda_os::domain::id::Cid;
use lambda_os::ports::Journal as _;
use serde_json::{Value, json};

use crate::built;
use crate::world::{Ran, World, ran};

/// A program with this body of `decide`, that says what stands at 0 for as many bytes.
fn wasm(said: &str, body: &str) -> Vec<u8> {
    let shown = said.replace('\n', "\\n");
    let text = format!(
        r#"(module
          (import "lambda_os_decision_v1" "input_len" (func $len (result i32)))
          (import "lambda_os_decision_v1" "input_read" (func $read (param i32 i32 i32)))
          (import "lambda_os_decision_v1" "output_write" (func $write (param i32 i32)))
          (memory (export "memory") 64)
          (data (i32.const 0) "{shown}")
          (func (export "decide") {body} (call $write (i32.const 0) (i32.const {}))))"#,
        said.len()
    );
    wat::parse_str(&text).expect("it is WebAssembly")
}

fn says(verdict: &str) -> Vec<u8> {
    wasm(&format!("verdict: {verdict}\nreason: so it is\n"), "")
}

impl World {
    /// `init`, then rules in which these programs have a say on every pin.
    fn ruled(narrows: Option<&[u8]>, decides: Option<&[u8]>) -> Self {
        let world = Self::new();
        world.ok(&["init"]);
        let (narrows, decides) = (narrows.map(|it| world.keep(it)), decides.map(|it| world.keep(it)));
        world.rule(narrows, decides);
        world
    }

    /// `program add`.
    fn keep(&self, module: &[u8]) -> Cid {
        let file = self.home().join("program.wasm");
        std::fs::write(&file, module).expect("it is written");
        let added = self.ok(&["program", "add", file.to_str().expect("UTF-8"), "--json"]).json();
        assert_eq!(added["schema"], "lambda-os/program-add/v1");
        let program: Cid = added["program"].as_str().expect("a name").parse().expect("an identity");
        assert_eq!(program, Cid::of(module));
        program
    }

    /// Put rules in force that name programs: proposed, approved and enacted.
    fn rule(&self, narrows: Option<Cid>, decides: Option<Cid>) {
        let tracks = ["leaf", "core"];
        let mut policy: Value = self.shown("policy");
        policy["programs"] = json!({});
        for track in tracks {
            if let Some(program) = narrows {
                policy["programs"][track] = program.to_string().into();
            }
        }
        let mut members: Value = self.shown("members");
        for track in tracks {
            let rule = members["tracks"][track].as_object_mut().expect("a rule");
            rule.remove("program");
            if let Some(program) = decides {
                rule.insert("program".to_owned(), program.to_string().into());
            }
        }
        self.amend("policy", &policy);
        self.amend("members", &members);
    }

    /// A document in force, as it is stored.
    fn shown(&self, kind: &str) -> Value {
        let name = if kind == "policy" { "policy.adopted" } else { "members.trusted" };
        let newest = self.entries(name).pop().expect("one is in force");
        let cid = newest["body"][kind].as_str().expect("an identity").to_owned();
        let stored = std::fs::read(self.object(&cid)).expect("it is stored");
        serde_json::from_slice(&stored).expect("JSON")
    }

    /// Another document in the place of the one in force, where it is another.
    fn amend(&self, kind: &str, document: &Value) {
        let mut now = self.shown(kind);
        if kind == "policy" && now.get("programs").is_none() {
            now["programs"] = json!({});
        }
        if now == *document {
            return;
        }
        let file = self.home().join(format!("{kind}.json"));
        std::fs::write(&file, document.to_string()).expect("it is written");
        let made = self.ok(&[kind, "propose", &file.to_string_lossy(), "--json"]).json();
        let id = made["proposal"].as_str().expect("an identity").to_owned();
        self.ok(&["proposal", "approve", &id]);
        self.ok(&["proposal", "apply", &id]);
    }

    /// The program with this backend configured.
    fn with(&self, backend: &str, args: &[&str]) -> Ran {
        let config = self.home().join(format!("{backend}.toml"));
        let text = format!("[workspace]\nallow_local_urls = true\n[governance]\nbackend = \"{backend}\"\n");
        std::fs::write(&config, text).expect("a configuration is written");
        let mut command = crate::support::lambda_os(self.home());
        command.arg("-C").arg(self.workspace.path()).arg("--state-dir").arg(self.state());
        ran(&command.arg("--config").arg(&config).args(args).output().expect("lambda-os runs"))
    }

    fn tally(&self, backend: &str, id: &str) -> Value {
        self.with(backend, &["proposal", "show", id, "--json"]).json()["tally"].clone()
    }
}

#[test]
fn the_policys_program_narrows_and_never_approves() {
    for (verdict, state, exit) in
        [("approve", "approved", 0), ("wait", "pending", 6), ("reject", "rejected", 5)]
    {
        let world = World::ruled(Some(&says(verdict)), None);
        world.ok(&["run", "--once"]);
        let id = world.proposals().remove(0);
        // By itself it approves nothing.
        if verdict == "approve" {
            assert_eq!(world.tally("human", &id)["state"], "pending");
            world.run(&["proposal", "apply", &id]).failed(6, "0 of 1 approvals");
        }
        let said = world.ok(&["proposal", "approve", &id, "--json"]).json();
        world.ok(&["run", "--once"]);
        let tally = world.tally("human", &id);
        assert_eq!(tally["state"], state, "{verdict}: {tally} {said}");
        let applied = world.run(&["proposal", "apply", &id]);
        assert_eq!(applied.exit, exit, "{verdict}: {}{}", applied.stdout, applied.stderr);
        if verdict != "approve" {
            assert!(applied.stderr.contains("so it is"), "{}", applied.stderr);
            assert_eq!(world.entries("apply.started").len(), 0);
        }
        let again = world.ok(&["proposal", "verify-decision", &id, "--json"]).json();
        let rows = again["decisions"].as_array().expect("a list");
        assert_eq!(rows.len(), 1);
        assert_eq!((&rows[0]["same"], &rows[0]["verdict"]), (&true.into(), &verdict.into()));
        world.audited();
    }
}

#[test]
fn where_the_members_document_says_so_a_program_decides_alone() {
    let world = World::ruled(None, Some(&says("approve")));
    // Configured for people it decides nothing, however many people do.
    world.ok(&["run", "--once"]);
    let id = world.proposals().remove(0);
    world.ok(&["proposal", "approve", &id]);
    let tally = world.tally("human", &id);
    assert_eq!(tally["state"], "pending");
    assert!(tally["unanswered"].as_str().is_some_and(|why| why.contains("configured for people")), "{tally}");
    world.run(&["proposal", "apply", &id]).failed(6, "configured for people");

    world.with("program", &["run", "--once"]);
    assert_eq!(world.tally("program", &id)["state"], "approved");
    assert!(!world.entries("proposal.certified").is_empty(), "it is final");
    let applied = world.with("program", &["proposal", "apply", &id]);
    assert_eq!(applied.exit, 0, "{}{}", applied.stdout, applied.stderr);
    world.ok(&["proposal", "verify-decision", &id]);
    world.audited();
}

#[test]
fn a_program_without_an_answer_leaves_it_pending() {
    let floats = wat::parse_str(
        "(module (memory (export \"memory\") 1) (func (export \"decide\") (drop (f32.const 1))))",
    );
    for (module, why) in [
        (wasm("", "unreachable"), "trapped"),
        (wasm("", "(loop (br 0))"), "out of fuel"),
        (wasm("verdict: approve\nreason: x", ""), "two lines"),
        (wasm("", "(drop (memory.grow (i32.const 60000))) unreachable"), "trapped"),
        (floats.expect("it is WebAssembly"), "floating"),
    ] {
        let world = World::ruled(None, None);
        // Kept as it is: what `program add` refuses may come from elsewhere.
        let state = StateDir::resolve_with(Some(&world.state()), None, None, world.home()).expect("there");
        let mut journal = JournalWriter::open(&state, &SystemClock).expect("a journal");
        let program = journal.store(&module).expect("it is stored");
        drop(journal);
        world.rule(Some(program), Some(program));
        world.with("program", &["run", "--once"]);
        let id = world.proposals().remove(0);
        world.with("program", &["proposal", "approve", &id]);
        let tally = world.tally("program", &id);
        assert_eq!(tally["state"], "pending", "{tally}");
        assert!(tally["program"]["reason"].as_str().is_some_and(|said| said.contains(why)), "{why}: {tally}");
        assert_eq!(world.with("program", &["proposal", "apply", &id]).exit, 6);
        world.with("program", &["proposal", "verify-decision", &id]);
    }
    // One that is not here.
    let world = World::ruled(None, None);
    world.rule(Some(Cid::of(b"nowhere")), Some(Cid::of(b"nowhere")));
    world.with("program", &["run", "--once"]);
    let id = world.proposals().remove(0);
    let tally = world.tally("program", &id);
    assert_eq!(tally["state"], "pending");
    assert!(tally["narrowed"].to_string().contains("is not in objects/"), "{tally}");
    world.run(&["proposal", "verify-decision", &id]).failed(1, "no program decided");
}

#[test]
fn a_decision_is_journalled_when_it_is_new_and_counts_for_what_it_was_made_on() {
    let world = World::ruled(Some(&says("approve")), None);
    // Proposed by the first cycle, asked by the second.
    world.ok(&["run", "--once"]);
    world.ok(&["run", "--once"]);
    let (id, decided) = (world.proposals().remove(0), world.entries("proposal.decided").len());
    assert!(decided > 0);
    world.ok(&["run", "--once"]);
    assert_eq!(world.entries("proposal.decided").len(), decided, "nothing is new but the time");
    // A ballot is: until the program was asked again, what it said is about something else.
    let id = id.as_str();
    world.ok(&["proposal", "approve", id]);
    let entries = world.entries("proposal.decided");
    assert_eq!(entries.len(), decided + 1);
    let newest = &entries[decided]["body"];
    for key in ["program", "engine", "input", "output", "fuel", "verdict", "reason"] {
        assert!(!newest[key].is_null(), "{key}: {newest}");
    }
    let input = std::fs::read(world.object(newest["input"].as_str().expect("a name"))).expect("it is kept");
    let input: Value = serde_json::from_slice(&input).expect("JSON");
    assert_eq!(input["proposal_id"], id);
    assert_eq!(input["ballots"][0]["voter"], "operator");
}

#[test]
fn a_decision_that_was_forged_is_found() {
    let world = World::ruled(Some(&says("wait")), None);
    world.ok(&["run", "--once"]);
    world.ok(&["run", "--once"]);
    let id = world.proposals().remove(0);
    let entry =
        world.entries("proposal.decided").into_iter().find(|entry| entry["body"]["proposal"] == id.as_str());
    let body = entry.expect("it was asked")["body"].clone();
    let state = StateDir::resolve_with(Some(&world.state()), None, None, world.home()).expect("it is there");
    for (key, value, said) in [
        ("verdict", json!("approve"), "verdict"),
        ("fuel", json!(1), "fuel"),
        ("output", json!(Cid::of(b"").to_string()), "output"),
        ("input", body["program"].clone(), "its input is none"),
    ] {
        let mut forged = body.clone();
        forged[key] = value;
        let event: Event =
            serde_json::from_value(json!({"type": "proposal.decided", "body": forged})).expect("one");
        let mut journal = JournalWriter::open(&state, &SystemClock).expect("a journal");
        journal.store(b"").expect("it is stored");
        journal.append("x", &event).expect("appended");
        drop(journal);
        world.run(&["proposal", "verify-decision", &id]).failed(7, said);
    }
}

#[test]
fn a_program_is_tried_before_it_has_a_say() {
    let world = World::proposing(&[]);
    let id = world.proposals().remove(0);
    let file = world.home().join("x.wasm");
    std::fs::write(&file, says("wait")).expect("it is written");
    let file = file.to_str().expect("UTF-8");
    let tried = world.ok(&["program", "try", file, &id]);
    assert!(tried.stdout.starts_with("wait: so it is (fuel "), "{}", tried.stdout);
    let input: Value = world.ok(&["program", "try", file, &id, "--input"]).json();
    assert_eq!((&input["v"], &input["purpose"]), (&1.into(), &"upgrade".into()));
    assert_eq!(world.entries("proposal.decided").len(), 0);
    std::fs::write(file, b"\0asm\x01\0\0\0").expect("it is written");
    world.run(&["program", "add", file]).failed(2, "exports no function decide");
    world.run(&["program", "add", "/nonexistent"]).failed(2, "cannot read the program");
}

/// What a program says of this input.
fn decided(module: &[u8], input: &Value) -> (Verdict, String) {
    let (decision, _) = program::decide(&Interpreter, module, input.to_string().as_bytes());
    (decision.verdict, decision.reason)
}

#[test]
fn the_example_soak_approves_what_nothing_speaks_against() {
    let Some(module) = built::program("soak") else { return };
    let fine = json!({
        "ballots": [], "claims": {"claims": [{"module": "waku", "verdict": "healthy"}], "unverified": []},
        "delta": {"pins": [{}]}, "findings": [{"rule": "r", "severity": "warn"}],
        "time": {"now_ms": 1, "open_ms": 86_400_000}, "v": 1, "verified": true,
    });
    assert_eq!(decided(&module, &fine).0, Verdict::Approve);
    for (at, value, verdict, said) in [
        ("/v", json!(2), Verdict::Wait, "version"),
        ("/ballots", json!([{"choice": "veto", "voter": "ana"}]), Verdict::Reject, "ana is against it"),
        ("/delta/pins", json!([]), Verdict::Wait, "more than to move pins"),
        ("/delta", json!({"pins": [{}], "files": [{}]}), Verdict::Wait, "more than to move pins"),
        ("/findings", json!(null), Verdict::Wait, "not looked at it"),
        ("/findings", json!([{"rule": "licence", "severity": "review"}]), Verdict::Wait, "licence"),
        ("/verified", json!(false), Verdict::Wait, "not verified"),
        ("/claims/unverified", json!(["waku"]), Verdict::Wait, "not verified"),
        ("/claims/claims/0/verdict", json!("failed"), Verdict::Wait, "waku is not healthy"),
        ("/time/open_ms", json!(86_399_999), Verdict::Wait, "a day"),
    ] {
        let mut input = fine.clone();
        *input.pointer_mut(at).expect("it is there") = value;
        let (found, reason) = decided(&module, &input);
        assert!(found == verdict && reason.contains(said), "{at}: {found:?} {reason}");
    }
    let (decision, _) = program::decide(&Interpreter, &module, b"{");
    assert_eq!(decision.verdict, Verdict::Wait);
}

#[test]
fn the_example_two_teams_wants_approvals_without_a_role_in_common() {
    let Some(module) = built::program("two_teams") else { return };
    let input = |voters: &[&str], pins: usize| {
        let ballots: Vec<Value> =
            voters.iter().map(|name| json!({"choice": "approve", "voter": name})).collect();
        json!({
            "ballots": ballots, "delta": {"pins": vec![json!({}); pins]}, "v": 1,
            "members": {"principals": [
                {"name": "ana", "roles": ["runtime"]}, {"name": "bo", "roles": ["runtime", "security"]},
                {"name": "cy", "roles": ["security"]}, {"name": "du"}]},
        })
    };
    for (voters, pins, verdict) in [
        (&[][..], 1, Verdict::Wait),
        (&["ana"], 1, Verdict::Wait),
        (&["ana", "bo"], 1, Verdict::Wait),
        (&["ana", "du"], 1, Verdict::Wait),
        (&["bo", "cy"], 1, Verdict::Wait),
        (&["ana", "bo", "cy"], 20, Verdict::Approve),
        (&["ana", "cy"], 21, Verdict::Reject),
    ] {
        assert_eq!(decided(&module, &input(voters, pins)).0, verdict, "{voters:?}");
    }
}
