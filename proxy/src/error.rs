//! Why a request could not be answered by an upstream.

use heddle_core::answer::Kind;
use heddle_core::guard::Refusal;
use std::borrow::Cow;

/// An answer of the proxy's own in the making: its kind and the reason told to the caller.
#[derive(Debug)]
pub(crate) struct Error {
    /// The row of design section 5.
    pub(crate) kind: Kind,
    /// What happened, for a person.
    pub(crate) reason: Cow<'static, str>,
    /// What was wrong with a message that is refused, or why it was shed, as a metric label.
    class: Option<&'static str>,
}

impl Error {
    pub(crate) fn new(kind: Kind, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            class: None,
        }
    }

    /// A message that the guard refuses.
    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self::new(Kind::Refused(refusal.status), refusal.text).of_class(refusal.reason)
    }

    /// With a reason that is finer than the kind.
    pub(crate) fn of_class(self, class: &'static str) -> Self {
        Self {
            class: Some(class),
            ..self
        }
    }

    /// What is counted: the class of what was refused, or else the kind.
    pub(crate) fn class(&self) -> &'static str {
        self.class.unwrap_or(self.kind.label())
    }

    /// The class, if it has one that is finer than the kind.
    pub(crate) fn finer(&self) -> Option<&'static str> {
        self.class
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.label(), self.reason)
    }
}

impl std::error::Error for Error {}
