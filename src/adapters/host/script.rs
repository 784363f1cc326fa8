//! What is run in one sandbox: a host, or a daemon and calls to it, and before that what the module
//! needs, each a program of its own.
//!
//! A [`Script`] goes in as JSON on standard input, [`Said`] comes out line by line. It is a list, not
//! a language: the supervisor outside makes it beforehand and judges what it gave afterwards.

use serde::{Deserialize, Serialize};

use super::idle::Doing;

/// What is to be done, in order, until something does not go as it should.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    /// The steps.
    pub(super) steps: Vec<Step>,
}

/// One step. The private temporary directory is written
/// [`TMP`](crate::adapters::sandbox::TMP) in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Step {
    /// Make directories.
    Dirs {
        /// Absolute paths.
        paths: Vec<String>,
    },
    /// Start a program that stays, and go on.
    Start {
        /// The program and its arguments.
        argv: Vec<String>,
        /// What it reads.
        stdin: String,
    },
    /// Wait until a socket of this module is there.
    Socket {
        /// The module.
        module: String,
        /// The names of all modules that sockets may be of.
        among: Vec<String>,
        /// For so long at most, milliseconds.
        within_ms: u64,
    },
    /// Run a program to its end.
    Run {
        /// The program and its arguments.
        argv: Vec<String>,
        /// For so long at most, milliseconds, all tries together.
        within_ms: u64,
        /// Run it again until it exits with 0: to wait for a daemon.
        again: bool,
    },
    /// Wait.
    Pause {
        /// So long, milliseconds.
        ms: u64,
    },
    /// Wait for the program that was started last to end: it should not. Says what it does meanwhile.
    Stay,
}

/// What became of a step. One line of JSON each; the last one is of the step that did not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    /// The number of the step, from 0.
    pub(super) step: usize,
    /// What became of it.
    pub(super) became: Became,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Became {
    /// It was begun, found or waited for.
    Done,
    /// A program ran to its end.
    Ran {
        /// Its exit code; absent when a signal ended it.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// What it wrote to its standard output, bounded.
        stdout: String,
        /// What it wrote to its standard error, bounded.
        stderr: String,
    },
    /// A program that was to stay has ended.
    Ended {
        /// The number of the step that started it.
        started: usize,
        /// Its exit code; absent when a signal ended it.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    /// A program that is to stay does this now.
    Does(Doing),
    /// It did not happen within its time.
    TooLate,
    /// It could not be done: why, without a final stop.
    Cannot(String),
}

impl Script {
    /// The form that goes in.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("because a script is text and numbers")
    }
}

/// Read what a script said. A line that is cut, or that is none of its own, ends it.
pub(super) fn said(stdout: &[u8]) -> Vec<Said> {
    stdout.split(|byte| *byte == b'\n').map_while(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_read_up_to_a_line_that_is_cut() {
        let one = Said { step: 0, became: Became::Done };
        let two = Said { step: 1, became: Became::Ended { started: 0, code: None, signal: Some(11) } };
        let mut bytes = Vec::new();
        for said in [&one, &two] {
            bytes.extend(serde_json::to_vec(said).expect("text"));
            bytes.push(b'\n');
        }
        assert_eq!(said(&bytes), [one.clone(), two]);
        bytes.truncate(bytes.len() - 5);
        assert_eq!(said(&bytes), [one]);
        assert_eq!(said(b"OK\n"), []);
    }
}
