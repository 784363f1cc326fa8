//! How a verb ends: exit codes that scripts can trust, and errors that say what to do next.

use std::fmt::Write as _;

use super::show;
use crate::domain::text;
use crate::ports::{FailureKind, PortError};

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The question was answered, or the work was done.
    Ok,
    /// It failed.
    Failed,
    /// The arguments or the configuration are wrong.
    Usage,
    /// A module failed, timed out or is stuck (`run`, `verify`, `status`, `doctor`).
    Degraded,
    /// Changes exist (with `--exit-code`).
    Changes,
    /// Policy refused.
    Refused,
    /// Approvals are missing.
    ApprovalsMissing,
    /// Something that must be intact is not.
    Integrity,
    /// A running daemon is needed.
    NeedsDaemon,
    /// Somebody else holds a lock.
    Busy,
    /// It may work later.
    TryAgain,
    /// Interrupted.
    Interrupted,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Degraded => 3,
            Exit::Changes => 4,
            Exit::Refused => 5,
            Exit::ApprovalsMissing => 6,
            Exit::Integrity => 7,
            Exit::NeedsDaemon => 8,
            Exit::Busy => 9,
            Exit::TryAgain => 75,
            Exit::Interrupted => 130,
        }
    }
}

impl From<FailureKind> for Exit {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Failed => Self::Failed,
            FailureKind::Usage => Self::Usage,
            FailureKind::Refused => Self::Refused,
            FailureKind::ApprovalsMissing => Self::ApprovalsMissing,
            FailureKind::Integrity => Self::Integrity,
            FailureKind::Busy => Self::Busy,
            FailureKind::Temporary => Self::TryAgain,
            FailureKind::Interrupted => Self::Interrupted,
        }
    }
}

/// A verb that did not get to its end.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What was attempted on what.
    pub message: String,
    /// The chain of causes, outermost first.
    pub causes: Vec<String>,
    /// The next command or step.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with a message.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// The same with the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Say it on stderr: `error:`, `because:`, `hint:`, each line inert. With `--json` the
    /// error object also goes to stderr, so that stdout stays either complete or empty.
    pub fn report(&self, json: bool) {
        if json {
            let object = serde_json::json!({
                "schema": "lambda-os/error/v1",
                "exit": u8::from(self.exit),
                "message": self.message,
                "causes": self.causes,
                "hint": self.hint,
            });
            show::say(&show::without_active(&object.to_string()));
            return;
        }
        let mut said = format!("error: {}\n", text::inert_lines(&self.message));
        for cause in &self.causes {
            // Each line of a cause that has several stands under the one before it.
            let cause = text::inert_lines(cause).replace('\n', "\n           ");
            let _ = writeln!(said, "  because: {cause}");
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(said, "hint: {}", text::inert_lines(hint));
        }
        show::say(said.trim_end_matches('\n'));
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::from(&error)
    }
}

impl From<&PortError> for Failure {
    fn from(error: &PortError) -> Self {
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self { exit: error.kind.into(), message: error.attempted.clone(), causes, hint: error.hint.clone() }
    }
}
