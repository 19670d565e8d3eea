//! Chunked framing (RFC 9112 section 7.1).

use super::{CRLF, Scanner, State, fields, names};
use crate::guard::Refusal;
use memchr::memchr;

/// Digits of a chunk's size: those of 64 bits.
const DIGITS_MAX: usize = 16;
/// Bytes of chunk extensions in one message. Nobody uses them but attackers (Go's CVE-2023-39326).
const EXTENSIONS_MAX: usize = 16 * 1024;
/// Bytes of a trailer section, its last line included.
const TRAILERS_MAX: usize = 16 * 1024;

impl Scanner {
    /// `size [;extension] CRLF`.
    pub(super) fn chunk_size(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let line = self.line(bytes)?;
        let text = match line {
            Some(end) => &bytes[..end - CRLF.len()],
            // The last byte may be half of a line end.
            None => bytes.strip_suffix(b"\r").unwrap_or(bytes),
        };
        let end = memchr(b';', text).unwrap_or(text.len());
        let (digits, extension) = text.split_at(end);
        let complete = line.is_some() || !extension.is_empty();
        let size = size(digits, complete)?;
        if self.extensions + extension.len() > EXTENSIONS_MAX {
            return Err(chunk("the chunk extensions of a message exceed 16 KiB"));
        }
        if extension
            .iter()
            .any(|&byte| byte != b'\t' && !(b' '..=b'~').contains(&byte))
        {
            return Err(chunk(
                "a chunk extension has characters other than printable ASCII",
            ));
        }
        let Some(end) = line else {
            return Ok(0);
        };
        let extensions = self.extensions + extension.len();
        self.state = if size == 0 {
            State::Trailers
        } else {
            State::ChunkData(size)
        };
        self.next_unit();
        self.extensions = extensions;
        Ok(end)
    }

    /// The line end after a chunk's data.
    pub(super) fn chunk_end(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        if bytes.starts_with(CRLF) {
            self.state = State::ChunkSize;
            return Ok(CRLF.len());
        }
        if CRLF.starts_with(bytes) {
            return Ok(0);
        }
        Err(chunk("a chunk is longer or shorter than its size says"))
    }

    /// Field lines and an empty one; all of it is held until its end.
    pub(super) fn trailer_section(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        loop {
            let end = self.line(bytes)?;
            if end.unwrap_or(bytes.len()) > TRAILERS_MAX {
                return Err(Refusal::with(
                    431,
                    "trailers",
                    "the trailer section exceeds 16 KiB",
                ));
            }
            let Some(end) = end else {
                return Ok(0);
            };
            let line = &bytes[self.line_start..end - CRLF.len()];
            self.line_start = end;
            if line.is_empty() {
                self.state = State::Head;
                self.next_unit();
                return Ok(end);
            }
            let (name, _) = fields::split(line)?;
            self.trailers += 1;
            if self.trailers > self.limits.header_count {
                return Err(Refusal::with(
                    431,
                    "trailers",
                    "there are more trailers than this listener's headerCount",
                ));
            }
            if names::forbidden_in_trailers(name) {
                return Err(Refusal::bad(
                    "trailers",
                    "a trailer has the name of a field that frames, routes or authorises",
                ));
            }
        }
    }
}

/// A chunk's size; digits that are not all there yet give what they are worth so far.
fn size(digits: &[u8], complete: bool) -> Result<u64, Refusal> {
    if digits.len() > DIGITS_MAX || complete && digits.is_empty() {
        return Err(SIZE);
    }
    let mut size = 0_u64;
    for &byte in digits {
        let digit = char::from(byte).to_digit(16).ok_or(SIZE)?;
        size = size << 4 | u64::from(digit);
    }
    // What does not fit 63 bits is negative to some.
    i64::try_from(size).map(|_| size).map_err(|_| SIZE)
}

const SIZE: Refusal = chunk("a chunk's size is not a hexadecimal number of at most 63 bits");

const fn chunk(text: &'static str) -> Refusal {
    Refusal::bad("chunk", text)
}
