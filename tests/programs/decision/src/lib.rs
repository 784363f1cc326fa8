//! What a program that decides needs: its input as a value, and its answer.
//!
//! ```ignore
//! decision::program!(decide);
//!
//! fn decide(input: &Value<'_>) -> Answer {
//!     if input["verified"] == Value::True { approve("it was verified") } else { wait("not verified yet") }
//! }
//! ```
//!
//! A program that panics traps, and then nothing is decided. There are no floating-point numbers here,
//! and none may be used: a module with them is refused.

mod json;
#[cfg(target_arch = "wasm32")]
mod memory;

pub use json::Value;

/// What the program decides, and why.
pub struct Answer {
    verdict: &'static str,
    reason: String,
}

/// It has nothing against it; where it is the authority, it is for it.
pub fn approve(reason: impl Into<String>) -> Answer {
    Answer { verdict: "approve", reason: reason.into() }
}

/// It shall not be applied.
pub fn reject(reason: impl Into<String>) -> Answer {
    Answer { verdict: "reject", reason: reason.into() }
}

/// Not now.
pub fn wait(reason: impl Into<String>) -> Answer {
    Answer { verdict: "wait", reason: reason.into() }
}

/// Makes a function from the input to an answer the program.
#[macro_export]
macro_rules! program {
    ($decide:path) => {
        const _: () = {
            #[unsafe(export_name = "decide")]
            extern "C" fn exported() {
                $crate::run($decide);
            }
        };
    };
}

#[link(wasm_import_module = "lambda_os_decision_v1")]
unsafe extern "C" {
    safe fn input_len() -> usize;
    fn input_read(to: *mut u8, from: usize, len: usize);
    fn output_write(at: *const u8, len: usize);
}

#[doc(hidden)]
pub fn run(decide: fn(&Value<'_>) -> Answer) {
    let mut bytes = vec![0; input_len()];
    // SAFETY: the buffer is as long as what is read.
    unsafe { input_read(bytes.as_mut_ptr(), 0, bytes.len()) };
    let answer = match std::str::from_utf8(&bytes).ok().and_then(Value::parse) {
        Some(input) if input["v"] == 1 => decide(&input),
        _ => wait("the input is of a version that this program does not know"),
    };
    let output = ["verdict: ", answer.verdict, "\nreason: ", &answer.reason, "\n"].concat();
    // SAFETY: the text lives until it was read.
    unsafe { output_write(output.as_ptr(), output.len()) };
}
