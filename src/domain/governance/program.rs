//! Programs that decide: a WebAssembly module, named by its content, that looks at a proposal and
//! says approve, reject or wait. What such a program is given, may do and must answer is here; what
//! runs it is behind [`Executor`].
//!
//! ```text
//! Input (canonical JSON) ──► module, named by the policy or the members document ──► Answer (text)
//! ```
//!
//! # The interface, version 1
//!
//! A program is a core WebAssembly module of at most [`MAX_MODULE`] bytes. It may import, from the
//! module [`IMPORTS`], these functions and nothing else:
//!
//! | import | type | what it does |
//! |---|---|---|
//! | `input_len` | `() -> i32` | how many bytes the input has |
//! | `input_read` | `(to: i32, from: i32, len: i32)` | copies `len` bytes of the input, from its byte `from` on, to `to` in the memory |
//! | `output_write` | `(at: i32, len: i32)` | appends `len` bytes of the memory at `at` to the output |
//!
//! It exports its one `memory` and a function `decide` without parameters and results, which is
//! called once. Reading or writing what is not there traps.
//!
//! The input is the canonical JSON of an [`Input`](input::Input): integers only, keys sorted. The
//! output is two lines, and nothing else:
//!
//! ```text
//! verdict: approve
//! reason: verified, and a week old
//! ```
//!
//! with one of `approve`, `reject`, `wait`, and a reason of at most [`MAX_REASON`] bytes that is
//! inert (see [`text::inert`]).
//!
//! # What makes it the same everywhere
//!
//! There are no floating-point numbers, vectors, threads, exceptions, tables that grow without bound,
//! start functions or other imports: no clock, no randomness, no file. Time is in the input. Each
//! operator costs one unit of fuel, each byte that is copied or grown over costs a sixty-fourth; a
//! run has [`FUEL`], a memory of at most [`MAX_MEMORY`] bytes (growing beyond that gives −1, as
//! WebAssembly has it) and a bounded stack. The same module and input give the same output and the same
//! fuel; a run that ends badly ends so everywhere, and then the answer is [`Verdict::Wait`]. The
//! engine is part of a [`Decision`]: another one must give the same output, and may count fuel otherwise.
//!
//! # What it may decide
//!
//! The policy's program narrows: it can reject or make wait what ballots approve, and its approval
//! approves nothing. The members document may make a program the authority of a track; then that
//! program alone decides there. A program that is missing, traps or runs out of fuel waits.

use serde::{Deserialize, Serialize};

use crate::domain::id::Cid;
use crate::domain::text;

pub mod input;

/// The module that a program imports from: it names the version of the interface.
pub const IMPORTS: &str = "lambda_os_decision_v1";

/// Largest module, in bytes.
pub const MAX_MODULE: usize = 1 << 20;

/// Largest input, in bytes.
pub const MAX_INPUT: usize = 8 << 20;

/// Largest output, in bytes.
pub const MAX_OUTPUT: usize = 4096;

/// Longest reason, in bytes.
pub const MAX_REASON: usize = 1000;

/// Most memory that a program has, in bytes.
pub const MAX_MEMORY: usize = 32 << 20;

/// What a run may cost.
pub const FUEL: u64 = 50_000_000;

/// What a program says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It has nothing against it; where it is the authority, it is for it.
    Approve,
    /// It shall not be applied.
    Reject,
    /// Not now.
    Wait,
}

impl Verdict {
    /// All, in order.
    pub const ALL: [Self; 3] = [Self::Approve, Self::Reject, Self::Wait];

    /// The word in the output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Wait => "wait",
        }
    }
}

/// What a program's output says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it decides.
    pub verdict: Verdict,
    /// Why, inert.
    pub reason: String,
}

impl Answer {
    /// The answer in these bytes; there is one way to write each.
    ///
    /// # Errors
    /// A sentence without a final stop: why there is none in them.
    pub fn from_output(output: &[u8]) -> Result<Self, String> {
        if output.is_empty() {
            return Err("it said nothing".to_owned());
        }
        let said = std::str::from_utf8(output).map_err(|_| "its answer is not UTF-8".to_owned())?;
        let lines = said.strip_suffix('\n').and_then(|said| said.split_once('\n'));
        let Some((Some(verdict), Some(reason))) =
            lines.map(|(first, second)| (first.strip_prefix("verdict: "), second.strip_prefix("reason: ")))
        else {
            return Err("its answer is not the two lines verdict and reason".to_owned());
        };
        let verdict = Verdict::ALL
            .into_iter()
            .find(|known| known.as_str() == verdict)
            .ok_or_else(|| format!("its verdict is {}", text::quoted(&text::clipped(verdict, 40))))?;
        if reason.is_empty() || reason.len() > MAX_REASON {
            return Err(format!("its reason has {} bytes, not 1 to {MAX_REASON}", reason.len()));
        }
        if text::inert(reason) != reason || reason.trim() != reason {
            return Err("its reason holds what no line can show".to_owned());
        }
        Ok(Self { verdict, reason: reason.to_owned() })
    }
}

/// How a run ended well: what the program wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// What it wrote.
    pub output: Vec<u8>,
    /// What it cost.
    pub fuel: u64,
}

/// How a run ended badly. The same everywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are no program that may run here.
    #[error("it is no program: {0}")]
    NotAProgram(String),
    /// It did what it must not, or gave up.
    #[error("it trapped: {why}")]
    Trapped {
        /// What it did.
        why: String,
        /// What it had cost.
        fuel: u64,
    },
    /// It did not come to an end.
    #[error("it ran out of fuel")]
    OutOfFuel,
    /// The input is larger than a program is given.
    #[error("the input has {0} bytes, and a program is given at most {MAX_INPUT}")]
    InputTooLarge(usize),
}

impl Fault {
    /// What the run had cost.
    #[must_use]
    pub fn fuel(&self) -> u64 {
        match self {
            Self::NotAProgram(_) | Self::InputTooLarge(_) => 0,
            Self::Trapped { fuel, .. } => *fuel,
            Self::OutOfFuel => FUEL,
        }
    }
}

/// Runs programs. A function: the same module and input give the same result, on every machine and
/// at every time.
pub trait Executor: Sync {
    /// What runs them, and its version: runs of one engine cost the same fuel.
    fn engine(&self) -> &'static str;

    /// Run a module on an input.
    ///
    /// # Errors
    /// As [`Fault`]: the run's own end, not a failure of this machine.
    fn execute(&self, module: &[u8], input: &[u8]) -> Result<Execution, Fault>;
}

/// What a program decided, by content: whoever has the module and the input decides it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The module, in `objects/`.
    pub program: Cid,
    /// What ran it.
    pub engine: String,
    /// What it was given, in `objects/`.
    pub input: Cid,
    /// What it wrote, in `objects/`; nothing when the run ended badly.
    pub output: Cid,
    /// What it cost.
    pub fuel: u64,
    /// What follows: the answer's, or wait.
    pub verdict: Verdict,
    /// Why: the answer's, or how the run ended.
    pub reason: String,
}

/// Let a program decide. Beside the decision, what the program wrote.
#[must_use]
pub fn decide(executor: &dyn Executor, module: &[u8], input: &[u8]) -> (Decision, Vec<u8>) {
    let (output, fuel, answer) = match executor.execute(module, input) {
        Ok(Execution { output, fuel }) => {
            let answer = Answer::from_output(&output);
            (output, fuel, answer)
        }
        Err(fault) => (Vec::new(), fault.fuel(), Err(fault.to_string())),
    };
    let (verdict, reason) = match answer {
        Ok(answer) => (answer.verdict, answer.reason),
        Err(why) => (Verdict::Wait, format!("the program gave no decision: {why}")),
    };
    let decision = Decision {
        program: Cid::of(module),
        engine: executor.engine().to_owned(),
        input: Cid::of(input),
        output: Cid::of(&output),
        fuel,
        verdict,
        reason,
    };
    (decision, output)
}

/// How a decision differs from what deciding again gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Differs {
    /// These are other bytes than those that decided.
    #[error("{0} is another than the decision names")]
    Other(&'static str),
    /// The run gives something else.
    #[error("running it again gives another {0}")]
    Result(&'static str),
}

/// Decide again, and compare: everything must be the same, and the fuel too where the engine is.
///
/// # Errors
/// The first thing that differs.
pub fn decide_again(
    decision: &Decision,
    executor: &dyn Executor,
    module: &[u8],
    input: &[u8],
) -> Result<Decision, Differs> {
    if decision.program != Cid::of(module) {
        return Err(Differs::Other("the program"));
    }
    if decision.input != Cid::of(input) {
        return Err(Differs::Other("the input"));
    }
    let (again, _) = decide(executor, module, input);
    if again.output != decision.output {
        return Err(Differs::Result("output"));
    }
    if (again.verdict, &again.reason) != (decision.verdict, &decision.reason) {
        return Err(Differs::Result("verdict"));
    }
    if again.engine == decision.engine && again.fuel != decision.fuel {
        return Err(Differs::Result("amount of fuel"));
    }
    Ok(again)
}

#[cfg(test)]
mod tests;
