use super::*;
use crate::domain::governance::ballot::Choice;
use crate::domain::governance::fixture::World;
use crate::domain::governance::tally::{NarrowedBy, Narrower, Narrowing, Question, Tally, TallyState, tally};
use crate::domain::proposal::Track;

/// Runs nothing: every program ends as it was told.
struct Fixed(Result<Execution, Fault>);

impl Executor for Fixed {
    fn engine(&self) -> &'static str {
        "fixed"
    }

    fn execute(&self, _: &[u8], _: &[u8]) -> Result<Execution, Fault> {
        self.0.clone()
    }
}

fn wrote(output: &[u8]) -> Fixed {
    Fixed(Ok(Execution { output: output.to_vec(), fuel: 7 }))
}

#[test]
fn an_answer_is_two_lines_in_their_one_form() {
    let answer = Answer::from_output("verdict: reject\nreason: über alles\n".as_bytes());
    assert_eq!(answer, Ok(Answer { verdict: Verdict::Reject, reason: "über alles".to_owned() }));
    let long = format!("verdict: approve\nreason: {}\n", "x".repeat(MAX_REASON + 1));
    for (output, said) in [
        ("", "said nothing"),
        ("verdict: approve\nreason: x", "two lines"),
        ("verdict: approve\n", "two lines"),
        ("verdict: approve\nreason: \n", "0 bytes"),
        ("verdict: approve\nreason:  x\n", "no line can show"),
        ("verdict: approve\nreason: x\n\n", "no line can show"),
        ("verdict: approve\nreason: x\nverdict: reject\n", "no line can show"),
        ("verdict: approve\nreason: \u{1b}[2J\n", "no line can show"),
        ("verdict: Approve\nreason: x\n", "its verdict is \"Approve\""),
        ("verdict: approve \nreason: x\n", "its verdict is"),
        ("\nverdict: approve\nreason: x\n", "two lines"),
        ("approve\nx\n", "two lines"),
        (&long, "1001 bytes"),
    ] {
        let error = Answer::from_output(output.as_bytes()).unwrap_err();
        assert!(error.contains(said), "{output:?}: {error}");
    }
    assert!(Answer::from_output(b"verdict: approve\nreason: \xff\n").is_err());
}

#[test]
fn only_an_answer_decides() {
    let (decision, output) = decide(&wrote(b"verdict: approve\nreason: fine\n"), b"module", b"input");
    assert_eq!((decision.output, output.len()), (Cid::of(&output), 30));
    assert_eq!((decision.verdict, decision.reason.as_str(), decision.fuel), (Verdict::Approve, "fine", 7));
    let trapped = Fault::Trapped { why: "unreachable".to_owned(), fuel: 3 };
    for (run, said, output, fuel) in [
        (wrote(b""), "said nothing", &b""[..], 7),
        (wrote(b"approve"), "two lines", b"approve", 7),
        (wrote(b"\xff"), "not UTF-8", b"\xff", 7),
        (Fixed(Err(trapped)), "it trapped: unreachable", b"", 3),
        (Fixed(Err(Fault::OutOfFuel)), "ran out of fuel", b"", FUEL),
        (Fixed(Err(Fault::NotAProgram("x".to_owned()))), "no program: x", b"", 0),
        (Fixed(Err(Fault::InputTooLarge(1))), "at most", b"", 0),
    ] {
        let (decision, wrote) = decide(&run, b"module", b"input");
        assert_eq!(decision.verdict, Verdict::Wait);
        assert!(decision.reason.contains(said), "{decision:?}");
        assert_eq!((wrote.as_slice(), decision.fuel), (output, fuel));
    }
}

#[test]
fn deciding_again_gives_the_same_or_says_what_differs() {
    let run = wrote(b"verdict: approve\nreason: fine\n");
    let (decision, _) = decide(&run, b"module", b"input");
    let again = |decision: &Decision, run: &Fixed| decide_again(decision, run, b"module", b"input");
    assert_eq!(again(&decision, &run).as_ref(), Ok(&decision));
    assert_eq!(decide_again(&decision, &run, b"other", b"input"), Err(Differs::Other("the program")));
    assert_eq!(decide_again(&decision, &run, b"module", b"other"), Err(Differs::Other("the input")));
    assert_eq!(again(&decision, &wrote(b"verdict: wait\nreason: x\n")), Err(Differs::Result("output")));
    let claimed = Decision { verdict: Verdict::Reject, ..decision.clone() };
    assert_eq!(again(&claimed, &run), Err(Differs::Result("verdict")));
    let claimed = Decision { reason: "better".to_owned(), ..decision.clone() };
    assert_eq!(again(&claimed, &run), Err(Differs::Result("verdict")));
    let claimed = Decision { fuel: 8, ..decision.clone() };
    assert_eq!(again(&claimed, &run), Err(Differs::Result("amount of fuel")));
    // Another engine may count otherwise.
    let elsewhere = Decision { engine: "other".to_owned(), ..claimed };
    assert_eq!(again(&elsewhere, &run).as_ref(), Ok(&decision));
}

/// What all ballots and this decision add up to on a track that a program alone decides.
fn alone(decision: Option<&Decision>, ballots: &[(u8, Choice)], narrowed: &[Narrowing]) -> Tally {
    let mut world = World::new(3);
    world.members.tracks.entry(Track::Leaf).and_modify(|rule| rule.program = Some(Cid::of(b"module")));
    let ballots: Vec<_> = ballots.iter().map(|(voter, choice)| world.cast(*voter, *choice, 1)).collect();
    tally(&Question { decided: decision, narrowed, ..world.question() }, &ballots, &[])
}

#[test]
fn where_a_program_decides_ballots_only_advise() {
    let decided = |verdict: &str| {
        decide(&wrote(format!("verdict: {verdict}\nreason: x\n").as_bytes()), b"module", b"input").0
    };
    let all = [(0, Choice::Approve), (1, Choice::Approve), (2, Choice::Approve)];
    let none = [(0, Choice::Reject), (1, Choice::Veto), (2, Choice::Reject)];
    for (verdict, state) in
        [("approve", TallyState::Approved), ("reject", TallyState::Rejected), ("wait", TallyState::Pending)]
    {
        let decision = decided(verdict);
        for ballots in [&all[..], &none, &[]] {
            assert_eq!(alone(Some(&decision), ballots, &[]).state, state, "{verdict}");
        }
    }
    // No program, or another one's word: pending, however many approve.
    let of_another = decide(&wrote(b"verdict: approve\nreason: x\n"), b"another", b"input").0;
    for decision in [None, Some(&of_another), Some(&decided("Approve!"))] {
        let tally = alone(decision, &all, &[]);
        assert_eq!(tally.state, TallyState::Pending);
        assert_eq!(tally.program.map(|program| program.program), Some(Cid::of(b"module")));
    }
    // And what narrows, narrows a program too.
    let narrowing =
        Narrowing { by: NarrowedBy::Freeze, verdict: Narrower::Wait, reason: "a freeze".to_owned() };
    assert_eq!(alone(Some(&decided("approve")), &all, &[narrowing]).state, TallyState::Pending);
}

#[test]
fn where_people_decide_a_program_approves_nothing() {
    let world = World::new(3);
    let decision = decide(&wrote(b"verdict: approve\nreason: x\n"), b"module", b"input").0;
    let question = Question { decided: Some(&decision), ..world.question() };
    assert_eq!(tally(&question, &[], &[]).state, TallyState::Pending);
    assert_eq!(tally(&question, &[world.cast(0, Choice::Approve, 1)], &[]).state, TallyState::Pending);
}
