//! The guard of HTTP/1: follows the messages of one connection and lets through only what is unambiguous.
//!
//! Stricter than a parser has to be, and than those of servers are: a line ends with CRLF and nothing else, a
//! message has one length, a request has one host. What curl, browsers, and the libraries of the common
//! languages send passes.
//!
//! The scanner is incremental. A head, a line of chunked framing and a trailer section are held until they are
//! complete and found good; bytes of a body pass as they come.

pub(super) mod authority;
mod chunks;
pub(super) mod fields;
pub(super) mod line;
pub(super) mod names;
pub(super) mod target;
#[cfg(test)]
mod tests;

use super::Refusal;
use fields::Fields;
use line::RequestLine;
use memchr::memchr;

/// Bounds of a message; what is beyond is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, with its line ends.
    pub header_bytes: usize,
    /// Fields of a head.
    pub header_count: usize,
}

/// What became of the bytes that a scanner was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many of them, from the front, may be handed on. The others are to be shown again, with more behind them.
    Pass(usize),
    /// So many may be handed on, and nothing after them: the connection says nothing more that is understood.
    Refuse(usize, Refusal),
}

/// Where in a connection the scanner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before or in a head.
    Head,
    /// In a body of known length, so many bytes before its end.
    Sized(u64),
    /// Before or in the line with a chunk's size.
    ChunkSize,
    /// In a chunk's data.
    ChunkData(u64),
    /// Before the line end after a chunk's data.
    ChunkEnd,
    /// In the trailer section.
    Trailers,
    /// After a request to change the protocol, whose answer is not known yet.
    Asked,
    /// Bytes are no HTTP any more.
    Open,
    /// After a refusal.
    Closed,
}

/// Follows one connection's messages.
///
/// ```
/// use heddle_core::guard::http1::{Limits, Scanner, Step};
/// let mut scanner = Scanner::new(Limits { header_bytes: 65_536, header_count: 100 });
/// assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\nhost: a\r\n"), Step::Pass(0));
/// assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"), Step::Pass(27));
/// let two_lengths = b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
/// assert!(matches!(scanner.scan(two_lengths), Step::Refuse(0, why) if why.reason == "framing"));
/// ```
#[derive(Debug)]
pub struct Scanner {
    limits: Limits,
    state: State,
    /// Heads that were handed on.
    heads: u64,
    /// Bytes of the unit being held in which no further line end is.
    searched: usize,
    /// Where its current line begins.
    line_start: usize,
    /// The first line of the head being read.
    request: Option<RequestLine>,
    fields: Fields,
    /// Fields of the trailer section.
    trailers: usize,
    /// Bytes of chunk extensions in this message.
    extensions: usize,
    /// A body was refused, and not a head.
    broken: bool,
}

impl Scanner {
    /// At the beginning of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Head,
            heads: 0,
            searched: 0,
            line_start: 0,
            request: None,
            fields: Fields::default(),
            trailers: 0,
            extensions: 0,
            broken: false,
        }
    }

    /// Heads that have passed, which is the index of the message now coming.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a body has begun and not ended.
    pub fn in_body(&self) -> bool {
        matches!(
            self.state,
            State::Sized(_)
                | State::ChunkSize
                | State::ChunkData(_)
                | State::ChunkEnd
                | State::Trailers
        )
    }

    /// Whether what was refused is the body of the last message that passed.
    pub fn has_broken_body(&self) -> bool {
        self.broken
    }

    /// Whether a head has begun and not ended.
    pub fn in_head(&self) -> bool {
        self.state == State::Head && (self.request.is_some() || self.searched > self.line_start)
    }

    /// Whether it is not known yet if the bytes to come are HTTP.
    pub fn is_asked(&self) -> bool {
        self.state == State::Asked
    }

    /// Answers [`Scanner::is_asked`]: with `open`, the protocol has changed and everything passes from here
    /// on; without, the next message follows.
    pub fn decide(&mut self, open: bool) {
        if self.state == State::Asked {
            self.state = if open { State::Open } else { State::Head };
        }
    }

    /// Ends the connection for a reason of the caller's own: nothing passes any more.
    pub fn close(&mut self) {
        self.state = State::Closed;
    }

    /// Looks at all bytes that were received and not yet handed on.
    pub fn scan(&mut self, bytes: &[u8]) -> Step {
        let mut passed = 0;
        while passed < bytes.len() {
            match self.unit(&bytes[passed..]) {
                Ok(0) => break,
                Ok(more) => passed += more,
                Err(refusal) => {
                    self.broken = self.in_body();
                    self.state = State::Closed;
                    return Step::Refuse(passed, refusal);
                }
            }
        }
        Step::Pass(passed)
    }

    /// The next unit: how long it is, or 0 if it is incomplete.
    fn unit(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match self.state {
            State::Head => self.head(bytes),
            State::Sized(left) => {
                let (passed, left) = taken(left, bytes);
                self.state = if left == 0 {
                    State::Head
                } else {
                    State::Sized(left)
                };
                Ok(passed)
            }
            State::ChunkSize => self.chunk_size(bytes),
            State::ChunkData(left) => {
                let (passed, left) = taken(left, bytes);
                self.state = if left == 0 {
                    State::ChunkEnd
                } else {
                    State::ChunkData(left)
                };
                Ok(passed)
            }
            State::ChunkEnd => self.chunk_end(bytes),
            State::Trailers => self.trailer_section(bytes),
            State::Asked | State::Closed => Ok(0),
            State::Open => Ok(bytes.len()),
        }
    }

    /// The end of the line that begins at `line_start`, with its line end; `None`: not there yet.
    fn line(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let Some(found) = memchr(b'\n', &bytes[self.searched..]) else {
            self.searched = bytes.len();
            return Ok(None);
        };
        let end = self.searched + found + 1;
        if end < self.line_start + CRLF.len() || bytes[end - 2] != b'\r' {
            return Err(BARE_LF);
        }
        self.searched = end;
        Ok(Some(end))
    }

    fn head(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        loop {
            let end = self.line(bytes)?;
            if end.unwrap_or(bytes.len()) > self.limits.header_bytes {
                return Err(self.too_long());
            }
            let Some(end) = end else {
                return self.early(&bytes[self.line_start..]).map(|()| 0);
            };
            let line = &bytes[self.line_start..end - CRLF.len()];
            let start = std::mem::replace(&mut self.line_start, end);
            match &self.request {
                // RFC 9112 section 2.2: at least one empty line before a request is to be ignored.
                None if line.is_empty() && start == 0 => {}
                None => self.request = Some(RequestLine::read(line, start)?),
                Some(request) if line.is_empty() => {
                    let request = *request;
                    self.state = self.fields.finish(&request, bytes)?;
                    self.next_unit();
                    self.heads += 1;
                    return Ok(end);
                }
                Some(_) => self.fields.read(line, start, &self.limits)?,
            }
        }
    }

    /// Refuses what can never become a good line, before its end has come.
    fn early(&self, line: &[u8]) -> Result<(), Refusal> {
        if self.request.is_none() && line.len() > target::MAX + line::METHOD_MAX + " HTTP/1.1".len()
        {
            return Err(line::TARGET_TOO_LONG);
        }
        Ok(())
    }

    fn too_long(&self) -> Refusal {
        if self.request.is_none() {
            line::TARGET_TOO_LONG
        } else {
            Refusal::with(
                431,
                "size",
                "the head is longer than this listener's headerBytes",
            )
        }
    }

    /// Ready for what follows a unit that was held.
    fn next_unit(&mut self) {
        self.searched = 0;
        self.line_start = 0;
        self.request = None;
        self.fields.clear();
        self.trailers = 0;
        if !self.in_body() {
            self.extensions = 0;
        }
    }
}

/// How many of `left` bytes are there, and how many stay to come.
fn taken(left: u64, bytes: &[u8]) -> (usize, u64) {
    let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (here, left - here as u64)
}

const CRLF: &[u8] = b"\r\n";

const BARE_LF: Refusal = Refusal::bad(
    "line-end",
    "a line ends with LF alone; lines end with CR LF",
);
