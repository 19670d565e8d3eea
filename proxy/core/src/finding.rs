//! Findings: what is wrong with what someone wrote, told so that they can mend it.
//!
//! Pure. A finding has a stable code (`docs/findings.md` explains each), the place of the
//! offending value, and three sentences: what is wrong, why that matters, what to write instead.

use serde_json::{Value, json};
use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration is refused as a whole.
    Error,
    /// It applies, but probably does not do what its writer wanted.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One mistake in one place.
///
/// ```
/// use heddle_core::finding::{Finding, Severity};
/// let finding = Finding {
///     code: "HED203",
///     severity: Severity::Error,
///     file: "rules.yaml".to_owned(),
///     line: 4,
///     column: 3,
///     what: "`service` is missing".to_owned(),
///     why: "a Route applies to one service".to_owned(),
///     fix: "add `service: <name>`".to_owned(),
/// };
/// assert_eq!(
///     finding.to_string(),
///     "rules.yaml:4:3: error[HED203]: `service` is missing. a Route applies to one service. add `service: <name>`"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable code, `HED` and three digits.
    pub code: &'static str,
    /// Whether it refuses the configuration.
    pub severity: Severity,
    /// The file as it was named by the person, or `<defaults>`.
    pub file: String,
    /// Line of the offending value, from 1.
    pub line: usize,
    /// Column of the offending value in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// Why that matters.
    pub why: String,
    /// What to write instead.
    pub fix: String,
}

impl Finding {
    /// Whether it refuses the configuration.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The finding as a JSON object with the fields of this type.
    pub fn to_json(&self) -> Value {
        json!({
            "code": self.code,
            "severity": self.severity.label(),
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            severity,
            file,
            line,
            column,
            what,
            why,
            fix,
        } = self;
        let severity = severity.label();
        write!(
            f,
            "{file}:{line}:{column}: {severity}[{code}]: {what}. {why}. {fix}"
        )
    }
}
