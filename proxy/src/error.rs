//! Why a request could not be answered by an upstream.

use heddle_core::answer::Kind;
use std::borrow::Cow;

/// An answer of the proxy's own in the making: its kind and the reason told to the caller.
#[derive(Debug)]
pub(crate) struct Error {
    /// The row of design section 5.
    pub(crate) kind: Kind,
    /// What happened, for a person.
    pub(crate) reason: Cow<'static, str>,
}

impl Error {
    pub(crate) fn new(kind: Kind, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.label(), self.reason)
    }
}

impl std::error::Error for Error {}
