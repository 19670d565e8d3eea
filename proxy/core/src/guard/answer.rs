//! What comes back: answers that every client would understand in the same way.
//!
//! A service behind the proxy may be broken, or be made by an attacker to say what it should not (response splitting).
//! An answer that has two meanings goes to nobody: the caller gets 502, and the connection that it came over is not
//! used again, since nobody can tell where the next answer begins on it.
//!
//! Pure, on bytes. The parser refuses folded lines, blanks before colons, control characters and broken chunks; here is
//! what it lets pass.

use super::http1::fields;
use memchr::{memchr, memchr_iter};

/// Bytes of an answer's head, its status line included: as many as a request's may have by default.
pub const HEAD_MAX: usize = 64 * 1024;

/// Why an answer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The class, a metric label.
    pub reason: &'static str,
    /// What is wrong, for the person who looks after the service.
    pub text: &'static str,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

impl std::error::Error for Fault {}

const fn fault(reason: &'static str, text: &'static str) -> Fault {
    Fault { reason, text }
}

const CODING: Fault = fault(
    "framing",
    "the answer has a transfer coding other than chunked, once",
);

/// Checks the fields that say where an answer ends. `asked`: the request asked to change the protocol.
///
/// ```
/// use heddle_core::guard::answer::check;
/// assert!(check(200, false, [("content-length", &b"5"[..])]).is_ok());
/// let both = [("content-length", &b"5"[..]), ("transfer-encoding", b"chunked")];
/// assert_eq!(check(200, false, both).unwrap_err().reason, "framing");
/// ```
///
/// # Errors
///
/// Why the answer is refused.
pub fn check<'a>(
    status: u16,
    asked: bool,
    fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<(), Fault> {
    if status == 101 && !asked {
        return Err(fault(
            "upgrade",
            "the answer changes the protocol, which the request did not ask for",
        ));
    }
    let (mut length, mut coding) = (false, false);
    for (name, value) in fields {
        // Their lengths tell these two from most others.
        match name.len() {
            14 if name == "content-length" => {
                if std::mem::replace(&mut length, true) {
                    return Err(fault(
                        "framing",
                        "the answer has more than one Content-Length",
                    ));
                }
                fields::length(value).map_err(|refusal| fault("framing", refusal.text))?;
            }
            17 if name == "transfer-encoding" => {
                let twice = std::mem::replace(&mut coding, true);
                if twice || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(CODING);
                }
            }
            _ => {}
        }
    }
    if length && coding {
        return Err(fault(
            "framing",
            "the answer has both Content-Length and Transfer-Encoding",
        ));
    }
    Ok(())
}

/// Follows the lines of an HTTP/1 head in pieces.
///
/// ```
/// use heddle_core::guard::answer::Lines;
/// let mut lines = Lines::default();
/// assert_eq!(lines.read(b"HTTP/1.1 200 OK\r\nserver: a\r\n"), Ok(false));
/// assert_eq!(lines.read(b"\r\nbody\n"), Ok(true));
/// assert!(Lines::default().read(b"HTTP/1.1 200 OK\n").is_err());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// Bytes of the head so far.
    head: usize,
    /// Bytes of the line so far.
    line: usize,
    /// The last byte was a CR.
    cr: bool,
    /// Not in the first line any more.
    behind_first: bool,
    /// What the status line begins with.
    status: [u8; STATUS],
}

/// Bytes of `HTTP/1.1 200`.
const STATUS: usize = 12;

impl Lines {
    /// Reads on. `true`: the final head is complete; what follows it is not looked at.
    ///
    /// # Errors
    ///
    /// When a line ends with LF alone, an empty line comes first, or the head has more than [`HEAD_MAX`] bytes.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<bool, Fault> {
        if self.head == 0 && is_plain(bytes) {
            return Ok(true);
        }
        loop {
            let end = memchr(b'\n', bytes);
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            if self.line < STATUS && !self.behind_first {
                for (to, from) in self.status[self.line..].iter_mut().zip(piece) {
                    *to = *from;
                }
            }
            self.line += piece.len();
            self.head += piece.len() + 1;
            if self.head > HEAD_MAX {
                return Err(fault("size", "the head of the answer exceeds 64 KiB"));
            }
            self.cr = piece.last().map_or(self.cr, |last| *last == b'\r');
            let Some(end) = end else {
                self.head -= 1;
                return Ok(false);
            };
            bytes = &bytes[end + 1..];
            if !std::mem::take(&mut self.cr) {
                return Err(fault("line-end", "a line of the answer ends with LF alone"));
            }
            let empty = std::mem::take(&mut self.line) == 1;
            if !empty {
                self.behind_first = true;
            } else if !self.behind_first {
                return Err(fault("status-line", "the answer begins with an empty line"));
            } else if self.is_interim() {
                *self = Self::default();
            } else {
                return Ok(true);
            }
        }
    }

    /// Whether another head follows (RFC 9110 section 15.2).
    fn is_interim(&self) -> bool {
        self.status[9] == b'1' && !self.status.ends_with(b"101")
    }
}

/// Whether `bytes` begin with a whole head, a final one and without a fault: nearly always they do, and it is quickly seen.
fn is_plain(bytes: &[u8]) -> bool {
    if bytes.get(9).is_none_or(|class| *class == b'1') {
        return false;
    }
    let mut line = 0;
    for end in memchr_iter(b'\n', &bytes[..bytes.len().min(HEAD_MAX)]) {
        if end == line || bytes[end - 1] != b'\r' {
            return false;
        }
        if end == line + 1 {
            return line > 0;
        }
        line = end + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_frame() {
        type Row<'a> = (u16, bool, &'a [(&'a str, &'a [u8])], Option<&'a str>);
        let length = "content-length";
        let coding = "transfer-encoding";
        let rows: [Row<'_>; 18] = [
            (200, false, &[], None),
            (200, false, &[(length, b"0")], None),
            (200, false, &[("server", b"a"), (length, b"12")], None),
            (200, false, &[(coding, b"chunked")], None),
            (200, false, &[(coding, b"Chunked")], None),
            (101, true, &[], None),
            (101, false, &[], Some("upgrade")),
            (
                200,
                false,
                &[(length, b"1"), (length, b"2")],
                Some("framing"),
            ),
            (
                200,
                false,
                &[(length, b"1"), (length, b"1")],
                Some("framing"),
            ),
            (200, false, &[(length, b"1, 1")], Some("framing")),
            (200, false, &[(length, b"+1")], Some("framing")),
            (304, false, &[(length, b"-1")], Some("framing")),
            (204, false, &[(length, b"0x1")], Some("framing")),
            (200, false, &[(length, b"")], Some("framing")),
            (200, false, &[(coding, b"gzip, chunked")], Some("framing")),
            (200, false, &[(coding, b"identity")], Some("framing")),
            (
                200,
                false,
                &[(coding, b"chunked"), (coding, b"chunked")],
                Some("framing"),
            ),
            (
                200,
                false,
                &[(coding, b"chunked"), (length, b"1")],
                Some("framing"),
            ),
        ];
        for (status, asked, fields, expected) in rows {
            let found = check(status, asked, fields.iter().copied());
            assert_eq!(
                found.err().map(|fault| fault.reason),
                expected,
                "{fields:?}"
            );
        }
    }

    #[test]
    fn lines_end_with_both() {
        let good: [&[u8]; 5] = [
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nserver: a\r\nx: b\r\n\r\nbody\nwith\nlines\n\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\na: b\r\n\r\nHTTP/1.1 204 No\r\n\r\n\n",
            b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n\n\n",
            b"HTTP/1.0 404\r\n\r\n\n",
        ];
        let bad: [(&[u8], &str); 9] = [
            (b"HTTP/1.1 200 OK\n\r\n", "line-end"),
            (b"HTTP/1.1 200 OK\r\n\n", "line-end"),
            (b"HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n", "line-end"),
            (b"HTTP/1.1 200 OK\r\na: b\r\n\n", "line-end"),
            (b"\n", "line-end"),
            (b"\r\nHTTP/1.1 200 OK\r\n\r\n", "status-line"),
            (b"\r\n\r\n", "status-line"),
            (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\n\n",
                "line-end",
            ),
            (b"HTTP/1.1 100 Continue\r\n\r\n\r\n", "status-line"),
        ];
        let ends = |bytes: &[u8], piece: usize| {
            let mut lines = Lines::default();
            for piece in bytes.chunks(piece) {
                match lines.read(piece) {
                    Ok(false) => {}
                    other => return other,
                }
            }
            Ok(false)
        };
        for piece in 1..40 {
            for bytes in good {
                let found = ends(bytes, piece);
                assert_eq!(found, Ok(true), "{} by {piece}", bytes.escape_ascii());
            }
            for (bytes, reason) in bad {
                let found = ends(bytes, piece).expect_err("it is refused");
                assert_eq!(found.reason, reason, "{} by {piece}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn heads_are_bounded() {
        for (field, passes) in [(HEAD_MAX - 30, true), (HEAD_MAX, false)] {
            for piece in [1000, 5000, HEAD_MAX * 2] {
                let mut head = b"HTTP/1.1 200 OK\r\na: ".to_vec();
                head.resize(head.len() + field, b'b');
                head.extend(b"\r\n\r\n");
                let mut lines = Lines::default();
                let refused = head.chunks(piece).any(|piece| lines.read(piece).is_err());
                assert_eq!(refused, !passes, "{field} by {piece}");
            }
        }
    }
}
