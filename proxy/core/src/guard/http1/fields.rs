//! The fields of a head: each line by itself, and what they say together about length, host and connection.

use super::authority::Authority;
use super::line::RequestLine;
use super::names;
use super::target::Form;
use super::{Limits, State};
use crate::guard::Refusal;
use memchr::memchr;
use std::ops::Range;

/// Longest value of one field; servers take 8 KiB (Apache, nginx) to 16 KiB (Node) for it.
pub(in crate::guard) const VALUE_MAX: usize = 16 * 1024;

/// What the fields of a head have said so far. Values are offsets from the head's beginning.
#[derive(Debug, Default)]
pub(super) struct Fields {
    count: usize,
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
    upgrade: Option<Range<usize>>,
    /// `Connection` names `upgrade`.
    asks_upgrade: bool,
    /// `Connection` names `te`.
    names_te: bool,
    te: bool,
    authorization: bool,
    content_type: bool,
    expect: bool,
}

impl Fields {
    /// Before the next head.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Reads a field line, which begins `start` bytes after the head does.
    pub(super) fn read(
        &mut self,
        line: &[u8],
        start: usize,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        self.count += 1;
        if self.count > limits.header_count {
            return Err(Refusal::with(
                431,
                "size",
                "the head has more fields than this listener's headerCount",
            ));
        }
        let (name, value) = split(line)?;
        let begin = start + line.len() - value.len();
        let value = trim(value);
        // Where the trimmed value lies: only blanks are before it.
        let begin = begin + leading(&line[begin - start..]);
        self.meaning(name, value, begin)
    }

    /// Notes what matters of a field. Its length tells most of them apart.
    fn meaning(&mut self, name: &[u8], value: &[u8], begin: usize) -> Result<(), Refusal> {
        let is = |expected: &str| name.eq_ignore_ascii_case(expected.as_bytes());
        match name.len() {
            2 if is("te") => self.te = true,
            4 if is("host") => {
                if self.host.is_some() {
                    return Err(host("the request has more than one Host"));
                }
                self.host = Some(begin..begin + value.len());
            }
            5 if is("proxy") => {
                return Err(Refusal::bad(
                    "name",
                    "a field named Proxy becomes the server's own http_proxy where CGI is spoken",
                ));
            }
            6 if is("expect") => expectation(&mut self.expect, value)?,
            7 if is("upgrade") => {
                if self.upgrade.is_some() {
                    return Err(connection("the request has more than one Upgrade"));
                }
                self.upgrade = Some(begin..begin + value.len());
            }
            7 if is("trailer") => announced(value)?,
            10 if is("connection") => self.connection(value)?,
            12 if is("content-type") => once(&mut self.content_type)?,
            13 if is("authorization") => once(&mut self.authorization)?,
            14 if is("content-length") => {
                if self.length.is_some() {
                    return Err(framing("the request has more than one Content-Length"));
                }
                self.length = Some(length(value)?);
            }
            17 if is("transfer-encoding") => {
                if self.chunked {
                    return Err(framing("the request has more than one Transfer-Encoding"));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::with(
                        501,
                        "framing",
                        "the only transfer coding understood is chunked, once",
                    ));
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close") {
            return Ok(());
        }
        for option in value.split(|&byte| byte == b',').map(trim) {
            if option.is_empty() {
                continue;
            }
            if !is_token(option) {
                return Err(connection("Connection is not a list of names"));
            }
            if option.eq_ignore_ascii_case(b"te") {
                self.names_te = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.asks_upgrade = true;
            } else if names::forbidden_in_connection(option) {
                return Err(connection(
                    "Connection names a field that must not get lost: framing, host, identity or routing",
                ));
            }
        }
        Ok(())
    }

    /// The head is complete: what follows it.
    pub(super) fn finish(&self, request: &RequestLine, head: &[u8]) -> Result<State, Refusal> {
        self.check_host(request, head)?;
        if self.names_te && !self.te {
            return Err(connection("Connection names TE, which is not there"));
        }
        if self.chunked {
            if self.length.is_some() {
                return Err(framing(
                    "the request has both Content-Length and Transfer-Encoding",
                ));
            }
            if !request.one_one {
                return Err(framing("HTTP/1.0 knows no Transfer-Encoding"));
            }
        }
        let body = self.chunked || self.length.is_some_and(|length| length > 0);
        let upgrade = request.one_one && self.asks_upgrade && self.changes_protocol(head)?;
        if body && (request.connect || request.trace) {
            return Err(framing("CONNECT and TRACE have no body"));
        }
        if body && upgrade {
            return Err(framing("a request that changes the protocol has no body"));
        }
        Ok(match self.length {
            _ if request.connect || upgrade => State::Asked,
            _ if self.chunked => State::ChunkSize,
            Some(length) if length > 0 => State::Sized(length),
            _ => State::Head,
        })
    }

    /// Whether `Upgrade` asks for what the proxy passes on: anything but another version of HTTP, which it
    /// leaves out, so that the request is an ordinary one.
    fn changes_protocol(&self, head: &[u8]) -> Result<bool, Refusal> {
        let Some(value) = &self.upgrade else {
            return Ok(false);
        };
        let mut some = false;
        for protocol in head[value.clone()].split(|&byte| byte == b',').map(trim) {
            let (name, version) = match memchr(b'/', protocol) {
                None => (protocol, &b"0"[..]),
                Some(at) => (&protocol[..at], &protocol[at + 1..]),
            };
            if name.eq_ignore_ascii_case(b"h2c") || name.eq_ignore_ascii_case(b"http") {
                return Ok(false);
            }
            if !is_token(name) || !is_token(version) {
                return Err(connection("Upgrade is not a list of protocols"));
            }
            some = true;
        }
        Ok(some)
    }

    fn check_host(&self, request: &RequestLine, head: &[u8]) -> Result<(), Refusal> {
        let host = match &self.host {
            Some(range) => match Authority::read(&head[range.clone()]) {
                Some(authority) => Some(authority),
                None => {
                    return Err(host("the Host is not a host with or without a port"));
                }
            },
            None if request.one_one => {
                return Err(host("an HTTP/1.1 request must have a Host"));
            }
            None => None,
        };
        let target = request
            .form
            .authority()
            .and_then(|range| Authority::read(&head[range]));
        let (Some(host_field), Some(target)) = (host, target) else {
            return Ok(());
        };
        let same = match request.form {
            Form::Absolute(_, _, default) => host_field.equals(&target, default),
            // Clients leave the port out here or repeat it.
            _ if !host_field.has_port() => host_field.same_host(&target),
            _ => host_field.equals(&target, 0),
        };
        if same {
            Ok(())
        } else {
            Err(self::host("Host and the target's authority differ"))
        }
    }
}

/// A field line's name and value, blanks around the value included.
pub(super) fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::bad(
            "line-end",
            "a header line is folded, or there are blanks before its name",
        ));
    }
    let Some(colon) = memchr(b':', line) else {
        return Err(Refusal::bad("name", "a header line has no colon"));
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    names::check(name)?;
    if value.len() > VALUE_MAX {
        return Err(VALUE_TOO_LONG);
    }
    // Without an early end, so that many bytes are looked at together.
    let bad = value.iter().fold(false, |bad, &byte| {
        bad | (byte < b' ') & (byte != b'\t') | (byte == 0x7f)
    });
    if bad {
        return Err(Refusal::bad(
            "value",
            "the value of a header field has control characters, a NUL or a CR among them",
        ));
    }
    Ok((name, value))
}

fn leading(value: &[u8]) -> usize {
    value
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count()
}

/// Without blanks around it (OWS: spaces and tabs, nothing else).
fn trim(value: &[u8]) -> &[u8] {
    let value = &value[leading(value)..];
    let end = value
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | b'\t'))
        .map_or(0, |last| last + 1);
    &value[..end]
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|&byte| names::CLASS[usize::from(byte)] & names::TOKEN != 0)
}

/// `Content-Length`: digits and nothing else. Leading zeros are refused, since some read them as octal, and so
/// is what does not fit 63 bits.
pub(in crate::guard) fn length(value: &[u8]) -> Result<u64, Refusal> {
    let digits = value.iter().all(u8::is_ascii_digit);
    let zeros = value.len() > 1 && value[0] == b'0';
    if value.is_empty() || !digits || zeros {
        return Err(framing("Content-Length is not one plain decimal number"));
    }
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
        .filter(|length| i64::try_from(*length).is_ok())
        .ok_or(framing("Content-Length is too large"))
}

/// `Expect`.
pub(in crate::guard) fn expectation(seen: &mut bool, value: &[u8]) -> Result<(), Refusal> {
    if std::mem::replace(seen, true) || !value.eq_ignore_ascii_case(b"100-continue") {
        return Err(Refusal::with(
            417,
            "expectation",
            "the only expectation understood is 100-continue, once",
        ));
    }
    Ok(())
}

/// `Trailer` announces which fields follow the body.
pub(in crate::guard) fn announced(value: &[u8]) -> Result<(), Refusal> {
    for name in value.split(|&byte| byte == b',').map(trim) {
        if names::forbidden_in_trailers(name) {
            return Err(Refusal::bad(
                "trailers",
                "Trailer announces a field that must not be a trailer",
            ));
        }
    }
    Ok(())
}

/// `Authorization` and `Content-Type`.
pub(in crate::guard) fn once(seen: &mut bool) -> Result<(), Refusal> {
    if std::mem::replace(seen, true) {
        return Err(Refusal::bad(
            "duplicate",
            "Authorization or Content-Type is there twice",
        ));
    }
    Ok(())
}

pub(in crate::guard) const VALUE_TOO_LONG: Refusal = Refusal::with(
    431,
    "size",
    "the value of a header field is longer than 16 KiB",
);

const fn framing(text: &'static str) -> Refusal {
    Refusal::bad("framing", text)
}

const fn host(text: &'static str) -> Refusal {
    Refusal::bad("host", text)
}

const fn connection(text: &'static str) -> Refusal {
    Refusal::bad("connection", text)
}
