//! The guard of HTTP/2: counts what frames of one connection cost the proxy against what they ask of it.
//!
//! A parser checks each frame by itself; it has no idea of how many are enough. PING, SETTINGS, PRIORITY and
//! WINDOW_UPDATE cost their sender nine bytes and ask for no answer that anybody waits for (CVE-2019-9511 to
//! 9518), HEADERS with RST_STREAM starts work and abandons it (CVE-2023-44487), a wrong frame makes the server do
//! the abandoning (CVE-2025-8671). Each kind has an allowance, which grows again with time, with requests and
//! with the data that is sent, so that no connection that does something useful ever uses it up.
//!
//! The nine bytes of each frame's head are looked at (RFC 9113 section 4.1), what RST_STREAM, SETTINGS and WINDOW_UPDATE
//! say, and header blocks, as far as the parser says nothing of what it drops; other payloads are skipped.

mod allowance;
mod block;
mod frames;
mod huffman;
mod request;
#[cfg(test)]
mod tests;
mod windows;

use crate::Nanos;
use allowance::{Allowances, Of};
use block::{Block, Frame};
use frames::{Frames, SETTINGS_OF_FRAME};
use windows::Windows;

pub use block::Scheme;
pub use request::{Head, check_request, check_trailers};
pub use windows::Stalled;

/// Error code PROTOCOL_ERROR (RFC 9113 section 7).
pub const PROTOCOL_ERROR: u32 = 0x1;
/// Error code ENHANCE_YOUR_CALM (RFC 9113 section 7).
pub const ENHANCE_YOUR_CALM: u32 = 0xb;
/// Bytes of the connection preface, which come before the first frame (RFC 9113 section 3.4).
pub const PREFACE: usize = 24;
/// CONTINUATION frames of one header block. Clients cut blocks at 16 KiB, so a block of 64 KiB has three; h2's own
/// least bound is five.
pub const MAX_CONTINUATIONS: u32 = 16;
/// Age from which on a reset is no rapid one; Envoy's `premature_reset_min_stream_lifetime_seconds`.
pub const GROWN: Nanos = 1_000_000_000;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breach {
    /// The error code of the GOAWAY (RFC 9113 section 7).
    pub code: u32,
    /// The class, a metric label.
    pub reason: &'static str,
    /// The GOAWAY's debug data, for the person who looks at what the client says.
    pub text: &'static str,
}

/// Keeps the accounts of one connection: frames received against frames sent.
///
/// ```
/// use heddle_core::guard::http2::Accountant;
/// let mut accountant = Accountant::new(65_536);
/// let mut ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
/// accountant.received(&mut b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 0).unwrap();
/// let flood = (0..10_000).find_map(|_| accountant.received(&mut ping, 0).err());
/// assert_eq!(flood.unwrap().reason, "h2-ping");
/// ```
#[derive(Debug)]
pub struct Accountant {
    allowances: Allowances,
    incoming: Frames,
    outgoing: Frames,
    windows: Windows,
    /// Bytes of a header block on the wire.
    block_limit: usize,
    /// The header block that has begun and not ended: frames and bytes of it.
    block: Option<(u32, usize)>,
    fields: Block,
    /// The HEADERS or CONTINUATION frame whose payload is coming.
    frame: Option<(frames::Head, Frame)>,
    hidden_scheme: Scheme,
    /// Highest stream opened by the caller.
    highest: u32,
    /// Streams up to this one were opened [`GROWN`] ago or earlier.
    grown: u32,
    /// The highest stream at a moment, to become `grown` later.
    mark: (u32, Nanos),
}

impl Accountant {
    /// At the beginning of a connection, before the preface. `header_bytes` bounds a header block on the wire.
    pub fn new(header_bytes: usize) -> Self {
        Self {
            allowances: Allowances::new(),
            incoming: Frames::after(PREFACE),
            outgoing: Frames::after(0),
            windows: Windows::new(),
            block_limit: header_bytes,
            block: None,
            fields: Block::new(),
            frame: None,
            hidden_scheme: Scheme::Http,
            highest: 0,
            grown: 0,
            mark: (0, 0),
        }
    }

    /// Whether a header block has begun and not ended.
    pub fn in_block(&self) -> bool {
        self.block.is_some()
    }

    /// Whether what was sent so far ends with a frame, so that a frame of one's own may follow.
    pub fn at_boundary(&self) -> bool {
        self.outgoing.at_boundary()
    }

    /// Bytes until the caller's frame that has begun is complete, as far as it is known; 0: none has, so that a
    /// frame of one's own may stand in front of what comes next.
    pub fn left_of_frame(&self) -> usize {
        self.incoming.left()
    }

    /// A time not later than the first of the caller's windows was shut; 0: none is. [`stalled`](Self::stalled)
    /// brings it up to date.
    pub fn first_shut(&self) -> Nanos {
        self.windows.first_shut()
    }

    /// What the caller has had no room for since `before` or longer. Streams are told of once.
    pub fn stalled(&mut self, before: Nanos) -> Option<Stalled> {
        self.windows.stalled(before)
    }

    /// The worst `:scheme` of those requests that had no `:authority`: the parser drops it.
    pub fn hidden_scheme(&self) -> Scheme {
        self.hidden_scheme
    }

    /// Takes note of bytes from the caller, cut anywhere. A `#` in a `:path`, which the parser would drop with all
    /// that follows, is changed to what is refused.
    ///
    /// # Errors
    ///
    /// When an allowance is used up, or a header block has what only this guard sees: the connection is to be ended,
    /// and what is in `bytes` not looked at.
    pub fn received(&mut self, mut bytes: &mut [u8], now: Nanos) -> Result<(), Breach> {
        self.allowances.refill(now);
        if now.saturating_sub(self.mark.1) >= GROWN {
            self.grown = self.mark.0;
            self.mark = (self.highest, now);
        }
        loop {
            if let Some((head, mut frame)) = self.frame.take() {
                let here = self.incoming.payload().min(bytes.len());
                let (payload, rest) = bytes.split_at_mut(here);
                self.fields.read(frame.part(payload));
                self.incoming.pass(here);
                bytes = rest;
                if self.incoming.payload() > 0 {
                    self.frame = Some((head, frame));
                    return Ok(());
                }
                self.end_of(head, frame)?;
            }
            let mut rest = &*bytes;
            let Some(head) = self.incoming.next(&mut rest) else {
                return Ok(());
            };
            let taken = bytes.len() - rest.len();
            bytes = &mut bytes[taken..];
            self.frame(head, now)?;
        }
    }

    /// Takes note of bytes sent to the caller, cut anywhere. `refusal` is told why, in the word of a metric, whenever
    /// they say that the parser has refused something; `was_given` says whether it has given a stream's request on.
    ///
    /// # Errors
    ///
    /// When the caller has provoked too many resets.
    pub fn sent(
        &mut self,
        mut bytes: &[u8],
        now: Nanos,
        mut refusal: impl FnMut(&'static str),
        was_given: impl Fn(u32) -> bool,
    ) -> Result<(), Breach> {
        while let Some(head) = self.outgoing.next(&mut bytes) {
            match head.kind {
                DATA => {
                    self.allowances.on_data();
                    self.windows.take(head.stream, head.length, now);
                    if head.flags & END_STREAM != 0 {
                        self.allowances.on_completed();
                        self.windows.close(head.stream);
                    }
                }
                HEADERS if head.flags & END_STREAM != 0 => {
                    self.allowances.on_completed();
                    self.windows.close(head.stream);
                    // The parser's only answer of its own.
                    if !was_given(head.stream) {
                        refusal(LIST_TOO_LONG.reason);
                    }
                }
                RST_STREAM => {
                    self.windows.close(head.stream);
                    if head.is_callers_fault() {
                        refusal("h2-malformed");
                        self.allowances.spend(Of::Provoked)?;
                    } else if head.code() == REFUSED_STREAM {
                        refusal("h2-refused-stream");
                    }
                }
                GOAWAY if head.code() != 0 => refusal("h2-connection-error"),
                _ => {}
            }
        }
        Ok(())
    }

    fn frame(&mut self, head: frames::Head, now: Nanos) -> Result<(), Breach> {
        match head.kind {
            DATA if head.length == 0 && head.flags & END_STREAM == 0 => {
                self.allowances.spend(Of::EmptyData)
            }
            DATA => Ok(()),
            HEADERS => self.headers(head, now),
            CONTINUATION => self.continuation(head),
            PRIORITY => self.allowances.spend(Of::Priority),
            RST_STREAM => {
                self.windows.close(head.stream);
                if head.stream <= self.grown {
                    return Ok(());
                }
                self.allowances.spend(Of::Reset)
            }
            SETTINGS => self.settings(head, now),
            PING => self.allowances.spend(Of::Ping),
            WINDOW_UPDATE => {
                self.windows.give(head.stream, head.increment());
                self.allowances.spend(Of::WindowUpdate)
            }
            _ => self.allowances.spend(Of::Other),
        }
    }

    fn settings(&mut self, head: frames::Head, now: Nanos) -> Result<(), Breach> {
        if head.length > 6 * SETTINGS_OF_FRAME {
            return Err(Breach {
                code: ENHANCE_YOUR_CALM,
                reason: "h2-settings",
                text: "a SETTINGS frame of more settings than there are",
            });
        }
        if let Some(initial) = head.initial_window {
            self.windows.begin_with(initial, now);
        }
        self.allowances.spend(Of::Settings)
    }

    fn headers(&mut self, head: frames::Head, now: Nanos) -> Result<(), Breach> {
        let trailers = head.stream <= self.highest;
        if !trailers {
            self.highest = head.stream;
            self.allowances.on_opened();
            self.windows.open(head.stream, now);
        }
        self.fields.begin(trailers);
        self.frame = Some((head, Frame::headers(head)));
        self.grow(0, head)
    }

    /// A frame with a piece of a header block has come to its end.
    fn end_of(&mut self, head: frames::Head, frame: Frame) -> Result<(), Breach> {
        if frame.is_parent_of_itself(head.stream) {
            return Err(PARENT_OF_ITSELF);
        }
        if head.flags & END_HEADERS == 0 {
            return Ok(());
        }
        let faults = self.fields.faults();
        if faults.pseudo_trailer {
            return Err(PSEUDO_TRAILER);
        }
        // In a block of one frame the parser sees it, and resets the stream alone.
        if faults.misplaced && head.kind == CONTINUATION {
            return Err(MISPLACED);
        }
        self.hidden_scheme = self.hidden_scheme.max(self.fields.hidden_scheme());
        Ok(())
    }

    fn continuation(&mut self, head: frames::Head) -> Result<(), Breach> {
        // One that continues nothing is the parser's to refuse.
        let (frames, bytes) = self.block.unwrap_or_default();
        if frames >= MAX_CONTINUATIONS || head.length == 0 && head.flags & END_HEADERS == 0 {
            return Err(Breach {
                code: ENHANCE_YOUR_CALM,
                reason: "h2-continuation",
                text: "a header block in too many CONTINUATION frames, or in empty ones",
            });
        }
        self.block = Some((frames + 1, bytes));
        self.frame = Some((head, Frame::continuation(head)));
        self.grow(bytes, head)
    }

    fn grow(&mut self, before: usize, head: frames::Head) -> Result<(), Breach> {
        let bytes = before + head.length;
        if bytes > self.block_limit {
            return Err(Breach {
                code: ENHANCE_YOUR_CALM,
                reason: "h2-header-block",
                text: "a header block of more bytes than this listener takes",
            });
        }
        let frames = self.block.map_or(0, |(frames, _)| frames);
        self.block = (head.flags & END_HEADERS == 0).then_some((frames, bytes));
        Ok(())
    }
}

/// What the parser refuses by an answer of its own, as a field list that is longer than it said it takes (RFC 9113
/// section 6.5.2).
pub const LIST_TOO_LONG: super::Refusal = super::Refusal {
    status: 431,
    reason: "h2-header-list",
    text: "the fields of the head, 32 bytes added to each, are longer than this listener's headerBytes",
};

/// The connection as a whole is [`Stalled`]: why it ends.
pub const STALLED: Breach = Breach {
    code: ENHANCE_YOUR_CALM,
    reason: "write-timeout",
    text: "the window of the connection has been shut for longer than this listener's writeTimeout",
};

/// An RST_STREAM frame with this error code (RFC 9113 section 6.4).
pub fn reset(stream: u32, code: u32) -> [u8; 13] {
    let mut frame = [0, 0, 4, RST_STREAM, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    frame[5..9].copy_from_slice(&stream.to_be_bytes());
    frame[9..].copy_from_slice(&code.to_be_bytes());
    frame
}

const PARENT_OF_ITSELF: Breach = Breach {
    code: PROTOCOL_ERROR,
    reason: "h2-malformed",
    text: "a stream depends on itself",
};

const PSEUDO_TRAILER: Breach = Breach {
    code: PROTOCOL_ERROR,
    reason: "trailers",
    text: "a trailer section has a pseudo field",
};

const MISPLACED: Breach = Breach {
    code: PROTOCOL_ERROR,
    reason: "h2-malformed",
    text: "a pseudo field is repeated or stands behind another field",
};

/// A GOAWAY frame that ends a connection for a breach (RFC 9113 section 6.8). The last stream is the highest that
/// there can be: what was asked for may have been worked on.
pub fn goaway(breach: Breach) -> Vec<u8> {
    let debug = breach.text.as_bytes();
    let length = u32::try_from(8 + debug.len()).unwrap_or(8);
    let mut frame = Vec::with_capacity(17 + debug.len());
    frame.extend_from_slice(&length.to_be_bytes()[1..]);
    frame.extend_from_slice(&[GOAWAY, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    frame.extend_from_slice(&breach.code.to_be_bytes());
    frame.extend_from_slice(debug);
    frame
}
