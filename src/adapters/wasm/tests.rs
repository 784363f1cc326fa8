use super::*;
use crate::domain::governance::program::{self, Answer, Verdict};

/// What every program of these tests imports and exports.
const FRAME: &str = r#"
  (import "lambda_os_decision_v1" "input_len" (func $len (result i32)))
  (import "lambda_os_decision_v1" "input_read" (func $read (param i32 i32 i32)))
  (import "lambda_os_decision_v1" "output_write" (func $write (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "verdict: approve\nreason: yes\n")
"#;

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A program of this frame with this body of `decide`, and what else there is.
fn with(rest: &str, body: &str) -> Vec<u8> {
    wasm(&format!("(module {FRAME} {rest} (func (export \"decide\") {body}))"))
}

fn run_of(module: &[u8], input: &[u8]) -> Result<Execution, Fault> {
    Interpreter.execute(module, input)
}

/// It is no program, for this reason.
#[track_caller]
fn refused(module: &[u8], said: &str) {
    match run_of(module, b"") {
        Err(Fault::NotAProgram(why)) => assert!(why.contains(said), "{why}"),
        other => panic!("it ran: {other:?}"),
    }
}

/// It traps, for this reason.
#[track_caller]
fn traps(module: &[u8], said: &str) {
    match run_of(module, b"input") {
        Err(Fault::Trapped { why, fuel }) => {
            assert!(why.contains(said), "{why}");
            assert!(fuel < FUEL);
        }
        other => panic!("it did not trap: {other:?}"),
    }
}

#[test]
fn a_program_reads_its_input_and_writes_its_output() {
    let echo = with(
        "",
        "(call $read (i32.const 100) (i32.const 2) (i32.sub (call $len) (i32.const 2)))
         (call $write (i32.const 100) (i32.const 3))
         (call $write (i32.const 103) (i32.sub (call $len) (i32.const 5)))",
    );
    assert_eq!(run_of(&echo, b"abcdefgh").unwrap().output, b"cdefgh");
    let constant = with("", "(call $write (i32.const 0) (i32.const 29))");
    let answer = Answer::from_output(&run_of(&constant, b"").unwrap().output);
    assert_eq!(answer, Ok(Answer { verdict: Verdict::Approve, reason: "yes".to_owned() }));
}

#[test]
fn the_same_run_costs_the_same_and_gives_the_same() {
    let counting = with(
        "",
        "(local i32) (local.set 0 (i32.const 1000))
         (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0)))
         (memory.fill (i32.const 0) (i32.const 65) (i32.const 640))
         (call $write (i32.const 0) (i32.const 64))",
    );
    let first = run_of(&counting, b"x").unwrap();
    assert_eq!(run_of(&counting, b"x").unwrap(), first);
    // What it costs is part of every decision entry: a change of this number is a change of the engine.
    assert_eq!((first.fuel, first.output.len()), (7021, 64));
}

#[test]
fn a_run_without_end_ends() {
    let ends = |body: &str| run_of(&with("(func $deep (call $deep))", body), b"").unwrap_err();
    assert_eq!(ends("(loop (br 0))"), Fault::OutOfFuel);
    let filling = "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0))";
    assert_eq!(ends(filling), Fault::OutOfFuel);
    assert_eq!(ends("(loop (drop (call $len)) (br 0))"), Fault::OutOfFuel);
    assert!(matches!(ends("(call $deep)"), Fault::Trapped { .. }));
    let reading = "(loop (call $read (i32.const 0) (i32.const 0) (i32.const 5)) (br 0))";
    assert_eq!(run_of(&with("", reading), b"input").unwrap_err(), Fault::OutOfFuel);
}

#[test]
fn memory_has_an_end() {
    // Grows as long as it may; then says how many pages it got.
    let bomb = with(
        "",
        "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
         (i32.store (i32.const 0) (memory.size)) (call $write (i32.const 0) (i32.const 4))",
    );
    let pages = u32::try_from(MAX_MEMORY / 65536).unwrap();
    assert_eq!(run_of(&bomb, b"").unwrap().output, pages.to_le_bytes());
    let large = "(module (memory (export \"memory\") 60000) (func (export \"decide\")))";
    assert!(matches!(run_of(&wasm(large), b""), Err(Fault::Trapped { .. })));
    let table = "(table 4000000 funcref)";
    assert!(matches!(run_of(&with(table, ""), b""), Err(Fault::Trapped { .. })));
    let second = "(module (memory (export \"memory\") 1) (memory 1) (func (export \"decide\")))";
    refused(&wasm(second), "memories");
}

#[test]
fn what_it_must_not_do_traps() {
    traps(&with("", "unreachable"), "unreachable");
    traps(&with("", "(drop (i32.load (i32.const 65536)))"), "out of bounds");
    traps(&with("", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"), "zero");
    traps(&with("", "(call $read (i32.const 0) (i32.const 0) (i32.const 6))"), "beyond the input");
    traps(&with("", "(call $read (i32.const 0) (i32.const -1) (i32.const 2))"), "beyond the input");
    traps(&with("", "(call $read (i32.const 65534) (i32.const 0) (i32.const 3))"), "beyond its memory");
    traps(&with("", "(call $write (i32.const 65535) (i32.const 2))"), "beyond its memory");
    traps(&with("", "(call $write (i32.const 0) (i32.const 1048576))"), "beyond its memory");
    let flood = "(loop (call $write (i32.const 0) (i32.const 1000)) (br 0))";
    traps(&with("", flood), "more than 4096 bytes");
}

#[test]
fn what_differs_between_machines_is_no_program() {
    refused(&with("", "(drop (f64.add (f64.const 1) (f64.const 2)))"), "floating");
    refused(&with("(global f32 (f32.const 0))", ""), "floating");
    refused(&with("", "(drop (i32.trunc_sat_f32_s (f32.const 0)))"), "");
    refused(&with("", "(drop (v128.const i64x2 0 0))"), "");
    refused(&with("(start $main) (func $main)", ""), "start");
    let shared = "(module (memory (export \"memory\") 1 1 shared) (func (export \"decide\")))";
    refused(&wasm(shared), "threads");
    let wide = "(module (memory (export \"memory\") i64 1) (func (export \"decide\")))";
    refused(&wasm(wide), "memory64");
}

#[test]
fn only_the_interface_is_there() {
    let imports = |module: &str, name: &str, kind: &str| {
        wasm(&format!(
            "(module (import \"{module}\" \"{name}\" {kind}) (memory (export \"memory\") 1) (func (export \"decide\")))"
        ))
    };
    refused(&imports("wasi_snapshot_preview1", "clock_time_get", "(func)"), "clock_time_get");
    refused(&imports("lambda_os_decision_v1", "random", "(func)"), "random");
    refused(&imports("lambda_os_decision_v2", "input_len", "(func (result i32))"), "lambda_os_decision_v2");
    let odd = imports("lambda_os_decision_v1", "input_len", "(func (result i64))");
    assert!(run_of(&odd, b"").is_err(), "of another type");
    let odd = imports("lambda_os_decision_v1", "input_len", "(global i32)");
    assert!(run_of(&odd, b"").is_err(), "no function");
    refused(&wasm("(module (memory (export \"memory\") 1))"), "no function decide");
    let odd = "(module (memory (export \"memory\") 1) (func (export \"decide\") (param i32)))";
    refused(&wasm(odd), "no function decide");
    refused(&wasm("(module (func (export \"decide\")))"), "no memory");
    refused(b"", "");
    refused(b"\0asm\x01\0\0\0", "no function decide");
    refused(b"\x7fELF", "");
    refused(&vec![0; MAX_MODULE + 1], "may have");
    assert_eq!(run_of(b"", &vec![0; MAX_INPUT + 1]), Err(Fault::InputTooLarge(MAX_INPUT + 1)));
}

#[test]
fn bytes_that_are_no_module_end_in_a_decision_all_the_same() {
    use proptest::prelude::*;
    let whole = with("", "(call $write (i32.const 0) (i32.const 29))");
    let index = any::<proptest::sample::Index>;
    proptest!(|(at in index(), byte in any::<u8>(), cut in index())| {
        let mut module = whole.clone();
        let at = at.index(module.len());
        module[at] = byte;
        for module in [module.as_slice(), &whole[..cut.index(whole.len())]] {
            let (decision, output) = program::decide(&Interpreter, module, b"input");
            prop_assert!(decision.fuel <= FUEL && output.len() <= MAX_OUTPUT);
            prop_assert!(decision.verdict == Verdict::Wait || output.starts_with(b"verdict: "));
        }
    });
}

#[test]
fn the_engine_is_the_one_that_is_linked() {
    let lock = include_str!("../../../Cargo.lock");
    let package =
        lock.split("\n[[package]]\n").find(|package| package.starts_with("name = \"wasmi\"\n")).unwrap();
    let (name, version) = ENGINE.split_once(' ').unwrap();
    assert_eq!(name, "wasmi");
    assert!(package.contains(&format!("\nversion = \"{version}.")), "{package}");
}
