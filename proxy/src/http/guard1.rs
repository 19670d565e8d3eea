//! The guard of HTTP/1 between a connection's bytes and the parser.
//!
//! What the scanner of the core lets pass goes on; the parser never sees a byte of a head that is refused. It
//! gets a request of our own instead, in whose place the refusal is answered, after the answers to all requests
//! before it.

use crate::io::{ConnState, Io, Phase};
use crate::metrics::ListenerMetrics;
use bytes::{Buf, BytesMut};
use heddle_core::guard::http1::{Limits, Scanner, Step};
use heddle_core::guard::{Glimpse, Refusal, glimpse};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Bytes read at a time while something is held.
const READ: usize = 4096;
/// Bytes held while it is not known whether the protocol changes; a WebSocket client sends none before.
const AHEAD: usize = 64 * 1024;
/// Bytes of a caller that are read and dropped after its last answer, so that the answer is not lost by a
/// reset (RFC 9112 section 9.6). Beyond, the connection is closed at once.
const LINGER_BYTES: usize = 64 * 1024;
/// And how long; nginx's `lingering_timeout` is longer, but its connections cost less.
const LINGER: Duration = Duration::from_secs(1);

/// What the parser gets in place of a message that is refused.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// A message that is refused, as far as it is known.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    /// `None`: its head has passed, so that more than this is known of it.
    pub(crate) glimpse: Option<Glimpse>,
    /// When it began, by the worker's coarse clock.
    pub(crate) since: u64,
}

/// What a guarded connection, its requests and the worker's sweeper tell each other.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// One more than the index of the message that is refused; 0: none is.
    refused: AtomicU64,
    refusal: Mutex<Option<Box<Refused>>>,
    /// Whether it was refused in its body.
    in_body: AtomicBool,
    /// One more than the index of the message that asks to change the protocol; 0: none does.
    asked: AtomicU64,
    decision: AtomicU8,
    /// Since when, by the worker's coarse clock, the parser waits for bytes of a body; 0: it does not.
    waiting: AtomicU64,
    /// The time for the head or for the next bytes of the body is over.
    expired: AtomicBool,
}

const UNDECIDED: u8 = 0;
const OPEN: u8 = 1;
const DECLINED: u8 = 2;

impl Watch {
    /// As for a new connection; one inside a tunnel begins anew.
    fn reset(&self) {
        self.refused.store(0, Relaxed);
        self.in_body.store(false, Relaxed);
        self.asked.store(0, Relaxed);
        self.decision.store(UNDECIDED, Relaxed);
        self.waiting.store(0, Relaxed);
        self.expired.store(false, Relaxed);
    }

    fn refuse(&self, index: u64, in_body: bool, refused: Refused) {
        *crate::shared::lock(&self.refusal) = Some(Box::new(refused));
        self.in_body.store(in_body, Relaxed);
        self.refused.store(index + 1, Relaxed);
    }

    /// Why the message of this index is answered with a refusal, if it is.
    pub(crate) fn refusal_of(&self, index: u64) -> Option<Box<Refused>> {
        if self.refused.load(Relaxed) != index + 1 {
            return None;
        }
        crate::shared::lock(&self.refusal).clone()
    }

    /// A whole connection of HTTP/2 is ended, with every message on it.
    pub(crate) fn end_all(&self, refusal: Refusal) {
        let refused = Refused {
            refusal,
            glimpse: None,
            since: 0,
        };
        self.refuse(u64::MAX - 1, true, refused);
    }

    /// Why the body of the message in flight was broken off, if it was.
    pub(crate) fn refused_body(&self) -> Option<Refusal> {
        if !self.in_body.load(Relaxed) {
            return None;
        }
        let refused = crate::shared::lock(&self.refusal);
        refused.as_ref().map(|refused| refused.refusal)
    }

    /// Whether the message of this index asks to change the protocol.
    pub(crate) fn is_asked(&self, index: u64) -> bool {
        self.asked.load(Relaxed) == index + 1
    }

    /// Its answer: with `open`, the protocol has changed.
    pub(crate) fn decide(&self, open: bool) {
        self.decision
            .store(if open { OPEN } else { DECLINED }, Relaxed);
    }

    /// Since when the parser waits for bytes of a body.
    pub(crate) fn waiting(&self) -> Option<u64> {
        Some(self.waiting.load(Relaxed)).filter(|&since| since != 0)
    }

    /// Says that time is over; false if it had been said before.
    pub(crate) fn expire(&self) -> bool {
        !self.expired.swap(true, Relaxed)
    }
}

/// How a connection is ended.
#[derive(Debug)]
enum Fate {
    /// With a message that the parser does not see: what is left of its stand-in.
    Head(&'static [u8]),
    /// In a body, which must not be taken for complete.
    Body(&'static str),
}

/// A connection's bytes, as far as they are let in.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    io: Io<S>,
    scanner: Scanner,
    /// Received and not handed on.
    held: BytesMut,
    /// How many of them may be.
    ready: usize,
    fate: Option<Fate>,
    state: Arc<ConnState>,
    metrics: Arc<ListenerMetrics>,
    /// Bytes dropped after the last message.
    dropped: usize,
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    /// Guards `io`.
    pub(crate) fn new(
        io: Io<S>,
        limits: Limits,
        state: Arc<ConnState>,
        metrics: Arc<ListenerMetrics>,
    ) -> Self {
        state.watch.reset();
        Self {
            io,
            scanner: Scanner::new(limits),
            held: BytesMut::new(),
            ready: 0,
            fate: None,
            state,
            metrics,
            dropped: 0,
            linger: None,
        }
    }

    fn scan(&mut self, bytes: &[u8]) -> usize {
        match self.scanner.scan(bytes) {
            Step::Pass(passed) => {
                if self.scanner.is_asked() {
                    let watch = &self.state.watch;
                    if !watch.is_asked(self.scanner.heads() - 1) {
                        watch.decision.store(UNDECIDED, Relaxed);
                        watch.asked.store(self.scanner.heads(), Relaxed);
                    }
                }
                passed
            }
            Step::Refuse(passed, refusal) => {
                self.refuse(refusal, &bytes[passed..]);
                passed
            }
        }
    }

    /// Refuses the message that `bytes` belong to.
    fn refuse(&mut self, refusal: Refusal, bytes: &[u8]) {
        self.metrics.refused.inc(refusal.reason);
        let heads = self.scanner.heads();
        let in_body = self.scanner.in_body() || self.scanner.has_broken_body();
        let (index, fate) = if in_body {
            (heads - 1, Fate::Body(refusal.text))
        } else {
            (heads, Fate::Head(STAND_IN))
        };
        self.fate = Some(fate);
        let refused = Refused {
            refusal,
            glimpse: (!in_body).then(|| glimpse(bytes)),
            since: self.state.phase().1,
        };
        self.state.watch.refuse(index, in_body, refused);
        self.scanner.close();
        // Its answer is under way: neither idle nor a head that is waited for.
        self.state.enter(Phase::Busy);
    }

    /// Looks again at what is held.
    fn rescan(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.ready = self.scan(&held);
        self.held = held;
    }

    /// Reads and drops what comes after the end, within a bound; ready when the caller has finished, too.
    fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; READ];
        while self.dropped < LINGER_BYTES {
            let mut buf = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                return Poll::Ready(());
            }
            self.dropped += buf.filled().len();
        }
        Poll::Pending
    }

    /// Reads more behind what is held. `Ok(false)`: the caller has finished.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut bytes = [0; READ];
        let mut buf = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return self.none_there(),
        }
        if buf.filled().is_empty() {
            return Poll::Ready(Ok(false));
        }
        self.state.watch.waiting.store(0, Relaxed);
        self.held.extend_from_slice(buf.filled());
        self.rescan();
        Poll::Ready(Ok(true))
    }

    /// Takes back what the parser has read and not used; it has passed the scanner before.
    pub(crate) fn give_back(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut held = BytesMut::with_capacity(bytes.len() + self.held.len());
        held.extend_from_slice(bytes);
        held.extend_from_slice(&self.held);
        self.held = held;
        self.ready += bytes.len();
    }

    /// Ready as soon as there is something for the parser; false when the connection has ended.
    pub(crate) fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.ready > 0 || self.fate.is_some() {
            return Poll::Ready(true);
        }
        self.poll_more(cx).map(|read| read.unwrap_or(false))
    }

    /// Nothing can be read now: notes that a body is waited for, and what has taken too long.
    fn none_there(&mut self) -> Poll<io::Result<bool>> {
        let watch = &self.state.watch;
        let in_body = self.scanner.in_body();
        if in_body && watch.waiting.load(Relaxed) == 0 {
            watch.waiting.store(self.state.now().max(1), Relaxed);
        }
        if !watch.expired.load(Relaxed) {
            return Poll::Pending;
        }
        if in_body {
            self.refuse(BODY_TIMEOUT, &[]);
        } else if self.scanner.in_head() {
            let held = std::mem::take(&mut self.held);
            self.refuse(HEADER_TIMEOUT, &held);
        } else {
            return Poll::Ready(Ok(false));
        }
        Poll::Ready(Ok(true))
    }

    /// Whether the protocol changes, once it is known.
    fn poll_decision(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let open = match self.state.watch.decision.load(Relaxed) {
            UNDECIDED => {
                while self.held.len() < AHEAD {
                    if !ready!(self.poll_more(cx))? {
                        return Poll::Ready(Ok(false));
                    }
                }
                // Whoever decides wakes this task.
                return Poll::Pending;
            }
            decision => decision == OPEN,
        };
        self.state.watch.asked.store(0, Relaxed);
        self.scanner.decide(open);
        self.rescan();
        Poll::Ready(Ok(true))
    }

    /// Fills `buf` from what is held; false when none of it may go on.
    fn take_ready(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let length = self.ready.min(buf.remaining());
        buf.put_slice(&self.held[..length]);
        self.held.advance(length);
        self.ready -= length;
        length > 0
    }
}

/// A head did not come in time.
pub(crate) const HEADER_TIMEOUT: Refusal = Refusal {
    status: 408,
    reason: "header-timeout",
    text: "the head of the request did not arrive within this listener's headerTimeout",
};

const BODY_TIMEOUT: Refusal = Refusal {
    status: 408,
    reason: "body-timeout",
    text: "nothing more of the request's body arrived within this listener's bodyTimeout",
};

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.ready > 0 && this.take_ready(buf) {
                return Poll::Ready(Ok(()));
            }
            match &mut this.fate {
                None => {}
                Some(Fate::Head([])) => return this.poll_drop(cx).map(Ok),
                Some(Fate::Head(rest)) => {
                    let (now, later) = rest.split_at(rest.len().min(buf.remaining()));
                    buf.put_slice(now);
                    *rest = later;
                    return Poll::Ready(Ok(()));
                }
                Some(Fate::Body(why)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, *why)));
                }
            }
            if this.scanner.is_asked() {
                if !ready!(this.poll_decision(cx))? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if !this.held.is_empty() {
                if this.state.phase().0 == Phase::Idle {
                    // The beginning of a head that came while the request before it was in flight.
                    this.state.enter(Phase::Head);
                }
                if !ready!(this.poll_more(cx))? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            // Straight into the parser's own buffer; most of the time all of it may stay there.
            let before = buf.filled().len();
            match Pin::new(&mut this.io).poll_read(cx, buf) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    if ready!(this.none_there())? {
                        continue;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
            let read = buf.filled().len() - before;
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            if this.state.watch.waiting.load(Relaxed) != 0 {
                this.state.watch.waiting.store(0, Relaxed);
            }
            let passed = this.scan(&buf.filled()[before..]);
            if passed < read {
                if this.fate.is_none() {
                    this.held
                        .extend_from_slice(&buf.filled()[before + passed..]);
                }
                buf.set_filled(before + passed);
            }
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Where the caller may still be sending, waits a moment for it to notice.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            if this.fate.is_none() && !this.scanner.in_body() {
                return Poll::Ready(Ok(()));
            }
            // Not a connection that rests: the parser is at its end, and nothing may begin anew.
            this.state.enter(Phase::Busy);
            this.linger = Some(Box::pin(sleep(LINGER)));
        }
        let ended = this.poll_drop(cx).is_ready() || this.dropped >= LINGER_BYTES;
        if !ended && let Some(linger) = &mut this.linger {
            ready!(linger.as_mut().poll(cx));
        }
        Poll::Ready(Ok(()))
    }
}
