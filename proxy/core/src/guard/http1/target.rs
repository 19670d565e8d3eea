//! The request's target (RFC 9112 section 3.2), and what its path may hold.

use super::authority::Authority;
use crate::guard::Refusal;
use memchr::memchr;
use std::ops::Range;

/// Longest target. RFC 9112 section 3 wants 8000 bytes at least, and browsers send twice that.
pub(in crate::guard) const MAX: usize = 16 * 1024;

/// Which form a target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::guard) enum Form {
    /// A path, or `*`.
    Origin,
    /// With an authority from one offset to another; its scheme's port.
    Absolute(usize, usize, u16),
    /// An authority only, as `CONNECT` has it.
    Authority(usize, usize),
}

impl Form {
    /// Where the authority is.
    pub(super) fn authority(self) -> Option<Range<usize>> {
        match self {
            Self::Origin => None,
            Self::Absolute(from, to, _) | Self::Authority(from, to) => Some(from..to),
        }
    }
}

/// Checks a target that begins `start` bytes after the head does.
pub(in crate::guard) fn check(method: &[u8], target: &[u8], start: usize) -> Result<Form, Refusal> {
    if method == b"CONNECT" {
        return match Authority::read(target) {
            Some(authority) if authority.has_port() => {
                Ok(Form::Authority(start, start + target.len()))
            }
            _ => Err(bad("the target of CONNECT is not host:port")),
        };
    }
    if target == b"*" {
        return if method == b"OPTIONS" {
            Ok(Form::Origin)
        } else {
            Err(bad("only OPTIONS has the target *"))
        };
    }
    if target.first() == Some(&b'/') {
        return path_and_query(target).map(|()| Form::Origin);
    }
    let (scheme, port) = match target {
        _ if starts_with(target, b"http://") => (7, 80),
        _ if starts_with(target, b"https://") => (8, 443),
        _ => {
            return Err(bad("the target is neither a path nor an http or https URL"));
        }
    };
    let rest = &target[scheme..];
    let length = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    if Authority::read(&rest[..length]).is_none() {
        return Err(Refusal::bad(
            "host",
            "the target's authority is not a host with or without a port",
        ));
    }
    path_and_query(&rest[length..])?;
    Ok(Form::Absolute(
        start + scheme,
        start + scheme + length,
        port,
    ))
}

fn starts_with(target: &[u8], scheme: &[u8]) -> bool {
    target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme)
}

const PATH: u8 = 1;
const QUERY: u8 = 2;
/// May be part of a dot segment or an escape: worth a second look.
const LOOK: u8 = 4;

static CLASS: [u8; 256] = classes();

/// Printable ASCII, but for what no URI may have and servers disagree about. Braces, brackets, quotation marks
/// and `|` are no URI's either, but clients do send them and servers agree.
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = match byte as u8 {
            b'#' | b'\\' | b'<' | b'>' => 0,
            b'`' => QUERY,
            b'"' => PATH,
            b'%' | b'.' => PATH | QUERY | LOOK,
            _ => PATH | QUERY,
        };
        byte += 1;
    }
    table
}

fn path_and_query(target: &[u8]) -> Result<(), Refusal> {
    let end = memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let (mut good, mut look) = (PATH, 0);
    for &byte in path {
        good &= CLASS[usize::from(byte)];
        look |= CLASS[usize::from(byte)];
    }
    let mut good_query = QUERY;
    for &byte in query {
        good_query &= CLASS[usize::from(byte)];
    }
    if good == 0 || good_query == 0 {
        return Err(bad(
            "the target has characters that no URI has unescaped: controls, #, \\, <, > or beyond ASCII",
        ));
    }
    if memchr(b'%', query).is_some() {
        escapes(query, false)?;
    }
    if look & LOOK != 0 {
        escapes(path, true)?;
        segments(path)?;
    }
    Ok(())
}

/// Checks percent-encoding: two hexadecimal digits, no NUL; in paths no other control character and no
/// UTF-8 that is longer than it has to be, by which dots and slashes hide.
fn escapes(text: &[u8], path: bool) -> Result<(), Refusal> {
    let mut rest = text;
    let mut before = 0;
    while let Some(at) = memchr(b'%', rest) {
        if at > 0 {
            before = 0;
        }
        let Some(value) = escape(&rest[at..]) else {
            return Err(bad(
                "a % in the target is not followed by two hexadecimal digits; a # in :path counts as one",
            ));
        };
        if value == 0 {
            return Err(bad("the target has an escaped NUL"));
        }
        if path && (value < 0x20 || value == 0x7f) {
            return Err(bad("the target's path has an escaped control character"));
        }
        let overlong = matches!(
            (before, value),
            (0xc0 | 0xc1, 0x80..=0xbf) | (0xe0, 0x80..=0x9f) | (0xf0, 0x80..=0x8f)
        );
        if path && overlong {
            return Err(bad(
                "the target's path has UTF-8 in more bytes than it needs",
            ));
        }
        before = value;
        rest = &rest[at + 3..];
    }
    Ok(())
}

/// The byte that `%XX` stands for.
fn escape(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match text {
        [b'%', high, low, ..] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    }
}

/// Refuses paths whose segments `.` and `..` servers resolve differently: those that climb above the root and
/// those that hide by escapes, by parameters, or between escaped slashes.
fn segments(path: &[u8]) -> Result<(), Refusal> {
    // How many segments the path is below its root; empty ones do not count, since servers may merge slashes.
    let mut depth = 0_usize;
    let mut last_plain = true;
    let mut at = 0;
    let mut segment = Segment::default();
    while at <= path.len() {
        let (byte, length, plain) = match path.get(at) {
            None => (b'/', 1, true),
            Some(b'%') => {
                let (byte, length) = unescaped(&path[at..]);
                (byte, length, false)
            }
            Some(&byte) => (byte, 1, true),
        };
        at += length;
        if byte == b'/' || byte == b'\\' {
            let dots = segment.dots();
            let hidden = segment.hidden || !plain || !last_plain;
            if dots > 0 && hidden || dots == 2 && depth == 0 {
                return Err(bad(
                    "the target's path has dot segments that hide or lead above its root",
                ));
            }
            match dots {
                0 => depth += usize::from(segment.other || segment.leading > 0),
                1 => {}
                _ => depth -= 1,
            }
            last_plain = plain;
            segment = Segment::default();
        } else {
            segment.add(byte, plain);
        }
    }
    Ok(())
}

/// One byte of a path as a server might read it: escapes undone, and those that are escaped themselves.
fn unescaped(text: &[u8]) -> (u8, usize) {
    match escape(text) {
        Some(b'%') => {
            // `%252e`: a server that undoes escapes twice finds a dot.
            let twice = match text.get(3..5) {
                Some(&[high, low]) => escape(&[b'%', high, low]),
                _ => None,
            };
            match twice {
                Some(byte @ (b'.' | b'/' | b'\\')) => (byte, 5),
                _ => (b'%', 3),
            }
        }
        Some(byte) => (byte, 3),
        None => (b'%', 1),
    }
}

/// What is between two slashes.
#[derive(Debug, Default)]
struct Segment {
    /// Dots at the beginning, as long as nothing else was there.
    leading: u8,
    other: bool,
    /// A parameter has begun: `..;x` is `..` to some servers.
    parameter: bool,
    /// Part of the dots is escaped or has a parameter.
    hidden: bool,
}

impl Segment {
    fn add(&mut self, byte: u8, plain: bool) {
        match byte {
            _ if self.parameter => {}
            b'.' if !self.other && self.leading < 3 => {
                self.leading += 1;
                self.hidden |= !plain;
            }
            b';' => {
                self.parameter = true;
                self.hidden = true;
            }
            _ => self.other = true,
        }
    }

    /// 1 or 2 for a dot segment, else 0.
    fn dots(&self) -> u8 {
        match self.leading {
            1 | 2 if !self.other => self.leading,
            _ => 0,
        }
    }
}

const fn bad(text: &'static str) -> Refusal {
    Refusal::bad("target", text)
}
