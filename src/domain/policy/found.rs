//! Where a rule puts what it found.

use super::{Finding, Severity};
use crate::domain::id::{ModuleName, RepoPath};
use crate::domain::text;

/// Most findings that one rule keeps: what is over it is counted in one more.
const MOST: usize = 200;

/// Longest message and hint.
const LONGEST: usize = 1_000;

/// What one rule found.
#[derive(Debug)]
pub struct Found {
    rule: &'static str,
    severity: Severity,
    findings: Vec<Finding>,
    over: usize,
}

impl Found {
    /// Nothing yet, by this rule, at this severity.
    #[must_use]
    pub fn by(rule: &'static str, severity: Severity) -> Self {
        Self { rule, severity, findings: Vec::new(), over: 0 }
    }

    /// About the change or the workspace as a whole. `message` is a sentence without a final stop;
    /// outside text in it is made inert here.
    pub fn whole(&mut self, message: impl AsRef<str>, hint: Option<&str>) {
        self.add(self.severity, None, None, message.as_ref(), hint);
    }

    /// About one module.
    pub fn module(&mut self, module: &ModuleName, message: impl AsRef<str>, hint: Option<&str>) {
        self.add(self.severity, Some(module), None, message.as_ref(), hint);
    }

    /// About a path: of a module's tree when one is named, else of the superproject's.
    pub fn path(
        &mut self,
        module: Option<&ModuleName>,
        path: &RepoPath,
        message: impl AsRef<str>,
        hint: Option<&str>,
    ) {
        self.add(self.severity, module, Some(path), message.as_ref(), hint);
    }

    /// At another severity than the rule's own.
    pub fn at(
        &mut self,
        severity: Severity,
        module: Option<&ModuleName>,
        path: Option<&RepoPath>,
        message: impl AsRef<str>,
        hint: Option<&str>,
    ) {
        self.add(severity, module, path, message.as_ref(), hint);
    }

    fn add(
        &mut self,
        severity: Severity,
        module: Option<&ModuleName>,
        path: Option<&RepoPath>,
        message: &str,
        hint: Option<&str>,
    ) {
        if self.findings.len() >= MOST {
            self.over += 1;
            return;
        }
        let shown = |said: &str| text::clipped(&text::inert(said), LONGEST);
        self.findings.push(Finding {
            rule: self.rule.to_owned(),
            severity,
            module: module.cloned(),
            path: path.cloned(),
            message: shown(message),
            hint: hint.map(shown),
        });
    }

    /// What was found, and how much more of it there is.
    #[must_use]
    pub fn done(mut self) -> Vec<Finding> {
        if self.over > 0 {
            let message = format!("{} more findings of this rule are not listed", self.over);
            self.findings.push(Finding {
                rule: self.rule.to_owned(),
                severity: self.severity,
                module: None,
                path: None,
                message,
                hint: None,
            });
        }
        self.findings
    }
}
