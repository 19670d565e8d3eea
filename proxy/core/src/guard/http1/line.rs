//! The request line.

use super::names::{CLASS, TOKEN};
use super::target::{self, Form};
use crate::guard::Refusal;
use memchr::{memchr, memrchr};

/// Longest method; the longest registered one, `UPDATEREDIRECTREF`, has 17 bytes.
pub(in crate::guard) const METHOD_MAX: usize = 32;

/// No method, but the beginning of HTTP/2 (RFC 9113 section 11.6).
pub(in crate::guard) const PRI: &[u8] = b"PRI";
pub(in crate::guard) const PRI_TEXT: &str =
    "PRI is no method, but reserved for the beginning of HTTP/2";

pub(super) const TARGET_TOO_LONG: Refusal =
    Refusal::with(414, "size", "the request's target is longer than 16 KiB");

/// What has to be remembered of a request line.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestLine {
    /// Where its target has its authority, if it has one: offsets from the head's beginning.
    pub(super) form: Form,
    /// HTTP/1.1, not 1.0.
    pub(super) one_one: bool,
    /// `CONNECT`.
    pub(super) connect: bool,
    /// `TRACE`.
    pub(super) trace: bool,
}

impl RequestLine {
    /// Reads a line, which begins `start` bytes after the head does.
    pub(super) fn read(line: &[u8], start: usize) -> Result<Self, Refusal> {
        let first = memchr(b' ', line).ok_or(NO_PARTS)?;
        let last = memrchr(b' ', line).unwrap_or(first);
        let (method, version) = (&line[..first], &line[last + 1..]);
        if method.is_empty()
            || method.len() > METHOD_MAX
            || method
                .iter()
                .any(|&byte| CLASS[usize::from(byte)] & TOKEN == 0)
        {
            return Err(bad("the method is not a token of at most 32 characters"));
        }
        if method == PRI {
            return Err(bad(PRI_TEXT));
        }
        if first == last {
            return Err(NO_PARTS);
        }
        let one_one = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            _ => return Err(version_refused(version)),
        };
        let target = &line[first + 1..last];
        if target.len() > target::MAX {
            return Err(TARGET_TOO_LONG);
        }
        let form = target::check(method, target, start + first + 1)?;
        Ok(Self {
            form,
            one_one,
            connect: method == b"CONNECT",
            trace: method == b"TRACE",
        })
    }
}

fn version_refused(version: &[u8]) -> Refusal {
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Refusal::with(
                505,
                "version",
                "only HTTP/1.0 and HTTP/1.1 are spoken in this form",
            )
        }
        _ => bad("the request line does not end with HTTP/1.0 or HTTP/1.1"),
    }
}

const NO_PARTS: Refusal =
    bad("the request line is not a method, a target and a version with one space between each");

const fn bad(text: &'static str) -> Refusal {
    Refusal::bad("request-line", text)
}
