//! How many frames of a kind a caller may send, and how that grows again.

use super::{Breach, ENHANCE_YOUR_CALM};
use crate::Nanos;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Ping,
    Settings,
    Priority,
    WindowUpdate,
    EmptyData,
    Reset,
    Provoked,
    Other,
}

/// The rule for one kind.
#[derive(Debug)]
struct Rule {
    /// How many at once, and at most.
    burst: u32,
    /// How many more each second.
    per_second: u32,
    /// How many more with each stream that is opened.
    per_stream: u32,
    /// How many more with each DATA frame that is sent to the caller.
    per_data: u32,
    /// How many more with each stream that is answered to its end.
    per_answer: u32,
    breach: Breach,
}

const fn rule(reason: &'static str, text: &'static str, burst: u32, per_second: u32) -> Rule {
    Rule {
        burst,
        per_second,
        per_stream: 0,
        per_data: 0,
        per_answer: 0,
        breach: Breach {
            code: ENHANCE_YOUR_CALM,
            reason,
            text,
        },
    }
}

const KINDS: usize = 8;

/// In the order of [`Of`].
static RULES: [Rule; KINDS] = [
    // gRPC measures the bandwidth with a PING for each round trip in which data came, and keeps connections alive
    // with one each 10 s at most. nghttp2 stops at 1000 unsent answers.
    Rule {
        per_stream: 2,
        per_data: 2,
        ..rule("h2-ping", "too many PING frames", 1000, 10)
    },
    // A client sends one, gRPC one more each time its estimate doubles. HAProxy and sozu stop at a few dozen.
    Rule {
        per_data: 1,
        ..rule("h2-settings", "too many SETTINGS frames", 200, 5)
    },
    // Envoy: 100 for each stream. Firefox used to send five at the beginning.
    Rule {
        per_stream: 10,
        ..rule("h2-priority", "too many PRIORITY frames", 1000, 10)
    },
    // Envoy: 10 for each DATA frame sent. Two are usual, for the stream and for the connection; a caller that read
    // slowly sends them afterwards.
    Rule {
        per_stream: 10,
        per_data: 10,
        ..rule(
            "h2-window-update",
            "too many WINDOW_UPDATE frames for the data that was sent",
            5000,
            100,
        )
    },
    // Envoy allows one after the other. Some clients flush one in front of each message of a stream.
    Rule {
        per_stream: 2,
        ..rule("h2-empty-data", "too many empty DATA frames", 200, 20)
    },
    // nghttp2: 33 a second. Resets of streams that are a second old, or as many as were answered, are free.
    Rule {
        per_answer: 1,
        ..rule(
            "h2-rapid-reset",
            "too many streams were opened and reset at once",
            200,
            33,
        )
    },
    // h2: 1024 in a connection's life.
    rule(
        "h2-provoked-resets",
        "too many frames made the proxy reset a stream",
        100,
        1,
    ),
    // Unknown kinds are to be ignored (RFC 9113 section 5.5); browsers send some to keep it so.
    Rule {
        per_stream: 2,
        ..rule(
            "h2-other-frames",
            "too many frames of unknown kinds",
            200,
            10,
        )
    },
];

const SECOND: Nanos = 1_000_000_000;

/// What is left of each allowance.
#[derive(Debug)]
pub(super) struct Allowances {
    left: [u32; KINDS],
    /// When time was last taken into account.
    refilled: Nanos,
}

impl Allowances {
    pub(super) fn new() -> Self {
        let mut left = [0; KINDS];
        for (left, rule) in left.iter_mut().zip(&RULES) {
            *left = rule.burst;
        }
        Self { left, refilled: 0 }
    }

    pub(super) fn refill(&mut self, now: Nanos) {
        let seconds = now.saturating_sub(self.refilled) / SECOND;
        if seconds > 0 {
            self.refilled = now;
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            self.grow(|rule| rule.per_second.saturating_mul(seconds));
        }
    }

    pub(super) fn on_opened(&mut self) {
        self.grow(|rule| rule.per_stream);
    }

    pub(super) fn on_data(&mut self) {
        self.grow(|rule| rule.per_data);
    }

    pub(super) fn on_completed(&mut self) {
        self.grow(|rule| rule.per_answer);
    }

    fn grow(&mut self, by: impl Fn(&Rule) -> u32) {
        for (left, rule) in self.left.iter_mut().zip(&RULES) {
            *left = left.saturating_add(by(rule)).min(rule.burst);
        }
    }

    pub(super) fn spend(&mut self, of: Of) -> Result<(), Breach> {
        let left = &mut self.left[of as usize];
        *left = left.checked_sub(1).ok_or(RULES[of as usize].breach)?;
        Ok(())
    }
}
