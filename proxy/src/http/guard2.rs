//! The guard of HTTP/2 between a connection's bytes and the parser.
//!
//! The accountant of the core sees every byte in both directions. When a caller has used up an allowance, it gets a
//! GOAWAY that says why, and nothing that it sends is looked at any more.

use crate::clock;
use crate::io::{ConnState, Io};
use crate::metrics::ListenerMetrics;
use heddle_core::Nanos;
use heddle_core::guard::Refusal;
use heddle_core::guard::http2::{
    Accountant, Breach, ENHANCE_YOUR_CALM, LIST_TOO_LONG, STALLED, Scheme, Stalled, goaway, reset,
};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long bytes of a caller are read and dropped after its GOAWAY, so that a reset does not overtake it
/// (RFC 9112 section 9.6 says why).
const LINGER: Duration = Duration::from_millis(500);
/// And how many; beyond, the connection is closed at once.
const LINGER_BYTES: usize = 1024 * 1024;
/// How long a caller may take to close its half after the last answer. What it sends meanwhile, streams that the
/// GOAWAY says were not processed, would be answered by a reset that overtakes that very GOAWAY.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long a caller that was told to go for having been idle may stay.
const FAREWELL: Duration = Duration::from_secs(5);

/// What an HTTP/2 connection, its requests and the worker's sweeper tell each other. Times are those of the
/// worker's coarse clock; 0: it is not so.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// Requests in flight.
    open: AtomicU32,
    idle_since: AtomicU64,
    block_since: AtomicU64,
    told: AtomicBool,
    /// Not later than the first window was shut for what is sent to the caller.
    shut_since: AtomicU64,
    /// Windows that are shut since then or longer are to be looked for; 0: none.
    look_for: AtomicU64,
    /// A request without an authority had the scheme `https`, or another one that is not `http`.
    https: AtomicBool,
    odd_scheme: AtomicBool,
    given: Given,
    /// Requests that the parser has refused by answers of its own, and that nobody has been told of.
    oversize: AtomicU32,
}

/// Which streams the parser has given on. It does so in their order, but for those that it answers itself.
#[derive(Debug, Default)]
struct Given {
    /// The lowest that may come next; 0 stands for the first.
    next: AtomicU32,
    /// Streams below that were left out, by the parser or by the caller: the first and the last of each run.
    left_out: Mutex<VecDeque<(u32, u32)>>,
}

/// Runs of streams left out that are remembered: far more than there are answers on their way.
const LEFT_OUT: usize = 64;

impl Given {
    fn on(&self, stream: u32) {
        let next = self.next.swap(stream.saturating_add(2), Relaxed).max(1);
        if stream > next {
            let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
            left_out.truncate(LEFT_OUT - 1);
            left_out.push_front((next, stream - 1));
        }
    }

    fn has(&self, stream: u32) -> bool {
        let left_out = || self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        stream < self.next.load(Relaxed)
            && !left_out()
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&stream))
    }
}

/// The error code with which the parser is told that a stream is over: CANCEL (RFC 9113 section 7).
const CANCEL: u32 = 8;

/// Why an HTTP/2 connection has stayed too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// A header block does not end.
    Block,
    /// There was no stream for a long time: a GOAWAY is due.
    Idle,
    /// It was told so, and stays.
    Told,
}

impl Streams {
    /// An HTTP/2 connection begins at `now`.
    pub(crate) fn begin(&self, now: u64) {
        self.idle_since.store(now.max(1), Relaxed);
    }

    /// A request begins.
    pub(crate) fn opened(&self) {
        if self.open.fetch_add(1, Relaxed) == 0 {
            self.idle_since.store(0, Relaxed);
        }
    }

    /// The parser has given a request on.
    pub(crate) fn given(&self, stream: u32) {
        self.given.on(stream);
    }

    /// How many requests the parser has refused by itself since this was asked last.
    pub(crate) fn oversize(&self) -> u32 {
        match self.oversize.load(Relaxed) {
            0 => 0,
            _ => self.oversize.swap(0, Relaxed),
        }
    }

    /// A request is over.
    pub(crate) fn closed(&self, now: u64) {
        if self.open.fetch_sub(1, Relaxed) == 1 {
            self.idle_since.store(now.max(1), Relaxed);
        }
    }

    /// Whether a window may be shut for longer than `limit`: then the connection is to look for it when it is
    /// woken next.
    pub(crate) fn stalls(&self, now: u64, limit: Duration) -> bool {
        let since = self.shut_since.load(Relaxed);
        let before = now.saturating_sub(clock::nanos(limit));
        let stalls = since != 0 && since <= before;
        if stalls {
            self.look_for.store(before.max(1), Relaxed);
        }
        stalls
    }

    fn block(&self, unfinished: bool, now: u64) {
        if !unfinished {
            self.block_since.store(0, Relaxed);
        } else if self.block_since.load(Relaxed) == 0 {
            self.block_since.store(now.max(1), Relaxed);
        }
    }

    /// The worst scheme of the requests that had no authority.
    pub(crate) fn hidden_scheme(&self) -> Scheme {
        if self.odd_scheme.load(Relaxed) {
            Scheme::Other
        } else if self.https.load(Relaxed) {
            Scheme::Https
        } else {
            Scheme::Http
        }
    }

    fn hides(&self, scheme: Scheme) {
        match scheme {
            Scheme::Http => {}
            Scheme::Https => self.https.store(true, Relaxed),
            Scheme::Other => self.odd_scheme.store(true, Relaxed),
        }
    }

    /// What is too late at `now`, given the time for a header block and the time without streams.
    pub(crate) fn overdue(&self, now: u64, head: Duration, idle: Duration) -> Option<Overdue> {
        let over = |since: &AtomicU64, limit: Duration| {
            let since = since.load(Relaxed);
            since != 0 && now.saturating_sub(since) > clock::nanos(limit)
        };
        if over(&self.block_since, head) {
            return Some(Overdue::Block);
        }
        if over(&self.idle_since, idle + FAREWELL) {
            return Some(Overdue::Told);
        }
        (over(&self.idle_since, idle) && !self.told.swap(true, Relaxed)).then_some(Overdue::Idle)
    }
}

/// How far the end of a connection has come.
#[derive(Debug)]
enum End {
    /// So much of a GOAWAY is left to be sent.
    Saying(Vec<u8>),
    /// It is sent; bytes are read and dropped.
    Lingering(usize),
}

/// A connection's bytes, as long as they are worth it.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    io: Io<S>,
    accountant: Accountant,
    state: Arc<ConnState>,
    metrics: Arc<ListenerMetrics>,
    end: Option<(End, Pin<Box<Sleep>>)>,
    /// Streams that the parser is to be told are over.
    reset: Vec<u32>,
    /// Frames of our own for the caller, as far as they have not been sent.
    own: Vec<u8>,
    /// Whether the first of them has been sent in part.
    own_begun: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    /// Guards `io`, whose header blocks have so many bytes at most.
    pub(crate) fn new(
        io: Io<S>,
        header_bytes: usize,
        state: Arc<ConnState>,
        metrics: Arc<ListenerMetrics>,
    ) -> Self {
        state.streams.begin(clock::now());
        Self {
            io,
            accountant: Accountant::new(header_bytes),
            state,
            metrics,
            end: None,
            reset: Vec::new(),
            own: Vec::new(),
            own_begun: false,
        }
    }

    fn breach(&mut self, breach: Breach) {
        if self.end.is_some() {
            return;
        }
        self.metrics.refused.inc(breach.reason);
        self.say_goodbye(breach);
    }

    fn say_goodbye(&mut self, breach: Breach) {
        self.state.watch.end_all(Refusal {
            status: 0,
            reason: breach.reason,
            text: breach.text,
        });
        tracing::debug!(reason = breach.reason, "connection ended: {}", breach.text);
        // Within a frame that is half sent, a GOAWAY would be taken for part of it.
        let words = if self.accountant.at_boundary() && !self.own_begun {
            goaway(breach)
        } else {
            Vec::new()
        };
        self.end = Some((End::Saying(words), Box::pin(sleep(LINGER))));
    }

    fn sent(&mut self, bytes: &[u8]) {
        let (refused, streams) = (&self.metrics.refused, &self.state.streams);
        let now = self.state.now();
        let refusal = |reason| {
            refused.inc(reason);
            if reason == LIST_TOO_LONG.reason {
                streams.oversize.fetch_add(1, Relaxed);
            }
        };
        let was_given = |stream| streams.given.has(stream);
        let sent = self.accountant.sent(bytes, now, refusal, was_given);
        if let Err(breach) = sent {
            self.breach(breach);
        }
        self.note_shut();
    }

    fn note_shut(&self) {
        let first = self.accountant.first_shut();
        self.state.streams.shut_since.store(first, Relaxed);
    }

    /// Looks for what the caller does not read, when the worker says so, and begins to end it.
    fn look_for_stalled(&mut self) {
        let before = self.state.streams.look_for.load(Relaxed);
        if before == 0 {
            return;
        }
        self.state.streams.look_for.store(0, Relaxed);
        let stalled = self.accountant.stalled(before);
        self.note_shut();
        match stalled {
            None => {}
            Some(Stalled::Connection) => {
                self.metrics.stalled.inc("response");
                self.say_goodbye(STALLED);
            }
            Some(Stalled::Streams(streams)) => {
                self.metrics.stalled.add("response", streams.len() as u64);
                for stream in streams {
                    self.own.extend(reset(stream, ENHANCE_YOUR_CALM));
                    self.reset.push(stream);
                }
            }
        }
    }

    /// Tells the parser of a stream that is over, if the caller's bytes allow it here: as if the caller had
    /// reset it. That frees what is kept for it, and cancels what is worked on.
    fn put_reset(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let room = buf.remaining() >= reset(0, CANCEL).len();
        if !room || self.accountant.left_of_frame() > 0 {
            return false;
        }
        let stream = self.reset.pop();
        stream
            .inspect(|stream| buf.put_slice(&reset(*stream, CANCEL)))
            .is_some()
    }

    /// Sends frames of our own, between those of the parser.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.own.is_empty() && (self.own_begun || self.accountant.at_boundary()) {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.own))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.own.drain(..count);
            self.own_begun = !self.own.is_empty();
        }
        Poll::Ready(Ok(()))
    }

    /// Brings the connection to its end; what comes out is the error that ends the parser too.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let over = || io::Error::new(io::ErrorKind::ConnectionAborted, "the guard ended it");
        let Some((end, linger)) = &mut self.end else {
            return Poll::Pending;
        };
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(over());
        }
        loop {
            match end {
                End::Saying(words) if words.is_empty() => {
                    if ready!(Pin::new(&mut self.io).poll_shutdown(cx)).is_err() {
                        return Poll::Ready(over());
                    }
                    *end = End::Lingering(0);
                }
                End::Saying(words) => match ready!(Pin::new(&mut self.io).poll_write(cx, words)) {
                    Ok(count) if count > 0 => drop(words.drain(..count)),
                    _ => return Poll::Ready(over()),
                },
                End::Lingering(dropped) => {
                    let mut waste = [0; 4096];
                    let mut waste = ReadBuf::new(&mut waste);
                    let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut waste));
                    *dropped += waste.filled().len();
                    if read.is_err() || waste.filled().is_empty() || *dropped > LINGER_BYTES {
                        return Poll::Ready(over());
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.look_for_stalled();
        if this.end.is_none() {
            if !this.own.is_empty() && this.poll_own(cx)?.is_ready() {
                // Nobody else may have a reason to.
                let _flushed = Pin::new(&mut this.io).poll_flush(cx)?;
            }
            if this.put_reset(buf) {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            if this.reset.is_empty() {
                ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            } else {
                // No further than to the end of this frame.
                let length = this.accountant.left_of_frame().min(buf.remaining());
                let mut part = ReadBuf::new(buf.initialize_unfilled_to(length));
                ready!(Pin::new(&mut this.io).poll_read(cx, &mut part))?;
                let count = part.filled().len();
                buf.advance(count);
            }
            let now: Nanos = clock::now();
            match this
                .accountant
                .received(&mut buf.filled_mut()[before..], now)
            {
                Ok(()) => {
                    this.note_shut();
                    this.state.streams.hides(this.accountant.hidden_scheme());
                    let unfinished = this.accountant.in_block();
                    this.state.streams.block(unfinished, now);
                    return Poll::Ready(Ok(()));
                }
                Err(breach) => {
                    buf.set_filled(before);
                    this.breach(breach);
                }
            }
        }
        this.poll_end(cx).map(Err)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.end.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        if !self.own.is_empty() {
            ready!(self.poll_own(cx))?;
        }
        let count = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.sent(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.end.is_some() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        if !self.own.is_empty() {
            ready!(self.poll_own(cx))?;
        }
        let count = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        let mut left = count;
        for buf in bufs {
            let taken = left.min(buf.len());
            self.sent(&buf[..taken]);
            left -= taken;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end.is_some() {
            return Poll::Ready(Ok(()));
        }
        if !self.own.is_empty() {
            ready!(self.poll_own(cx))?;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Finishes our half, then waits for the caller to finish its own.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.end.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            this.end = Some((End::Lingering(0), Box::pin(sleep(LAST_WORDS))));
        }
        this.poll_end(cx).map(|_| Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    fn guarded() -> (DuplexStream, Guarded<DuplexStream>) {
        let (caller, stream) = duplex(1024);
        let state = ConnState::new(Arc::default());
        let io = Io::downstream(stream, bytes::Bytes::new(), state.clone());
        let metrics = Metrics::new(10).listener("outbound");
        (caller, Guarded::new(io, 1024, state, metrics))
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_caller_sends_after_the_end_is_read_until_it_ends_too() {
        let (mut caller, mut guarded) = guarded();
        let began = Instant::now();
        let ending = async { guarded.shutdown().await };
        let late = async {
            assert_eq!(
                caller.read(&mut [0]).await.unwrap(),
                0,
                "our half ends at once"
            );
            for _ in 0..100 {
                caller.write_all(&[0; 512]).await.unwrap();
            }
            caller.shutdown().await.unwrap();
        };
        tokio::join!(ending, late).0.unwrap();
        assert!(began.elapsed() < LAST_WORDS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_never_ends_is_not_waited_for_long() {
        let (_caller, mut guarded) = guarded();
        let began = Instant::now();
        guarded.shutdown().await.unwrap();
        assert_eq!(began.elapsed().as_secs(), LAST_WORDS.as_secs());
    }
}
