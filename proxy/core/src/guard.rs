//! What is let in: messages that every server behind the proxy would understand in the same way.
//!
//! Pure, on bytes. A guard sees what a caller sends before any parser does, and knows where a message begins
//! and ends; what could be understood in two ways is refused as a whole (RFC 9112 section 11.2 on smuggling).

pub mod answer;
mod glimpse;
pub mod http1;
pub mod http2;

pub use glimpse::{Glimpse, glimpse};

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// The class, a metric label.
    pub reason: &'static str,
    /// What is wrong, for the person who sent it.
    pub text: &'static str,
}

impl Refusal {
    /// A refusal with 400.
    pub(crate) const fn bad(reason: &'static str, text: &'static str) -> Self {
        Self::with(400, reason, text)
    }

    /// A refusal with another status.
    pub(crate) const fn with(status: u16, reason: &'static str, text: &'static str) -> Self {
        Self {
            status,
            reason,
            text,
        }
    }
}
