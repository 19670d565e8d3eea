//! A connection's bytes, with what detection already read and what the sweeper needs to know.

use crate::clock;
use crate::http::Streams;
use crate::http::Watch;
use crate::shared::lock;
use bytes::{Buf, Bytes};
use heddle_core::Nanos;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// What a downstream connection is doing, as far as time-outs care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Between requests, nothing read.
    Idle = 0,
    /// Bytes of a head have arrived, the head is not complete.
    Head = 1,
    /// A request is in flight.
    Busy = 2,
    /// Bytes both ways: an upgrade, a `CONNECT`, or an opaque protocol.
    Tunnel = 3,
}

/// Shared by a connection's bytes, its requests and the worker's sweeper. Atomics only because
/// an upgraded connection must be `Send`; all of it stays on one thread.
#[derive(Debug)]
pub(crate) struct ConnState {
    phase: AtomicU8,
    since: AtomicU64,
    tick: Arc<AtomicU64>,
    flushed: AtomicBool,
    /// Since when, by the coarse clock, the caller's socket takes nothing of what is to be written; 0: it does.
    blocked: AtomicU64,
    interim: Mutex<VecDeque<Bytes>>,
    has_interim: AtomicBool,
    /// When the caller finished its half; 0: it has not.
    finished: AtomicU64,
    order: AtomicU8,
    /// Nothing has happened for so long that the connection is to hold as little as it can.
    restful: AtomicBool,
    /// Wakes the connection's task: an interim response is queued, or there is an order.
    wake: Mutex<Option<Waker>>,
    /// What the guard of HTTP/2 has found.
    pub(crate) streams: Streams,
    /// What the guard of HTTP/1 has found.
    pub(crate) watch: Watch,
}

/// What the worker asks of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Order {
    /// Nothing.
    Go = 0,
    /// Say with the next answer that this connection ends (`connection: close`, `GOAWAY`). Until
    /// then it stays: a request may be on its way already (RFC 9112 section 9.6).
    Drain = 1,
    /// Finish what is in flight, then close; what is idle closes now.
    Finish = 2,
    /// Close now.
    Close = 3,
}

impl ConnState {
    /// A connection that was accepted just now; `tick` is the worker's coarse clock.
    pub(crate) fn new(tick: Arc<AtomicU64>) -> Arc<Self> {
        let since = tick.load(Relaxed);
        Arc::new(Self {
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU64::new(since),
            tick,
            flushed: AtomicBool::new(true),
            blocked: AtomicU64::new(0),
            interim: Mutex::new(VecDeque::new()),
            has_interim: AtomicBool::new(false),
            finished: AtomicU64::new(0),
            order: AtomicU8::new(Order::Go as u8),
            restful: AtomicBool::new(false),
            wake: Mutex::default(),
            streams: Streams::default(),
            watch: Watch::default(),
        })
    }

    /// Asks the connection's task for `order`; a stronger one that was given before stays.
    pub(crate) fn order(&self, order: Order) {
        self.order.fetch_max(order as u8, Relaxed);
        self.wake();
    }

    /// Has the connection's task let go of what it does not need while nothing happens; false if it had been asked before.
    pub(crate) fn let_rest(&self) -> bool {
        let is_new = !self.restful.swap(true, Relaxed);
        if is_new {
            self.wake();
        }
        is_new
    }

    /// Whether it is asked to, and nothing is under way or unwritten.
    pub(crate) fn may_rest(&self) -> bool {
        self.restful.load(Relaxed)
            && self.phase.load(Relaxed) == Phase::Idle as u8
            && self.flushed.load(Relaxed)
            && !self.has_interim.load(Relaxed)
    }

    /// The task to be woken.
    pub(crate) fn wake_with(&self, waker: &Waker) {
        *lock(&self.wake) = Some(waker.clone());
    }

    /// The worker's coarse clock.
    pub(crate) fn now(&self) -> u64 {
        self.tick.load(Relaxed)
    }

    /// Whether a task takes orders: not while the protocol is still being told.
    pub(crate) fn is_served(&self) -> bool {
        lock(&self.wake).is_some()
    }

    /// Has the connection's task look at what was asked of it.
    pub(crate) fn wake(&self) {
        let waker = lock(&self.wake).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What has been asked last.
    pub(crate) fn ordered(&self) -> Order {
        match self.order.load(Relaxed) {
            0 => Order::Go,
            1 => Order::Drain,
            2 => Order::Finish,
            _ => Order::Close,
        }
    }

    /// Resolves when the connection is to be closed; for what is left of it when nobody serves it.
    pub(crate) async fn until_closed(&self) {
        let mut waker: Option<Waker> = None;
        std::future::poll_fn(|cx| {
            if !waker
                .as_ref()
                .is_some_and(|known| known.will_wake(cx.waker()))
            {
                self.wake_with(cx.waker());
                waker = Some(cx.waker().clone());
            }
            if self.ordered() == Order::Close {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Whether the caller's socket has taken nothing for longer than `limit`.
    pub(crate) fn is_blocked(&self, now: u64, limit: Duration) -> bool {
        let since = self.blocked.load(Relaxed);
        since != 0 && now.saturating_sub(since) > clock::nanos(limit)
    }

    /// Whether the caller's socket takes nothing at present.
    pub(crate) fn is_unread(&self) -> bool {
        self.blocked.load(Relaxed) != 0
    }

    /// When the caller finished its half of the connection, if it has.
    pub(crate) fn finished(&self) -> Option<Nanos> {
        Some(self.finished.load(Relaxed)).filter(|&at| at != 0)
    }

    /// Enters `phase` now.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.restful.store(false, Relaxed);
        self.since.store(self.tick.load(Relaxed), Relaxed);
    }

    /// The phase and since when, in nanoseconds of the worker's coarse clock.
    pub(crate) fn phase(&self) -> (Phase, u64) {
        let phase = match self.phase.load(Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Busy,
            _ => Phase::Tunnel,
        };
        (phase, self.since.load(Relaxed))
    }

    /// Queues an interim (1xx) response to be written before the final one. Refused (false) while
    /// bytes of an earlier response are still unwritten, since it would land in their middle.
    pub(crate) fn push_interim(&self, head: Bytes) -> bool {
        if !self.flushed.load(Relaxed) {
            return false;
        }
        if let Ok(mut queue) = self.interim.lock() {
            if queue.len() >= MAX_INTERIM {
                return false;
            }
            queue.push_back(head);
            self.has_interim.store(true, Relaxed);
            drop(queue);
            self.wake();
            return true;
        }
        false
    }

    fn pop_interim(&self) -> Option<Bytes> {
        let mut queue = self.interim.lock().ok()?;
        let head = queue.pop_front();
        self.has_interim.store(!queue.is_empty(), Relaxed);
        head
    }
}

/// Interim responses waiting to be written; more are dropped.
const MAX_INTERIM: usize = 64;

/// How long a caller that has finished its half is still taken for one that waits for its answer.
/// HTTP/1 cannot tell it from one that is gone; afterwards its request is cancelled.
const HALF_CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// A connection whose first bytes may have been read already.
#[derive(Debug)]
pub(crate) struct Io<S = TcpStream> {
    stream: S,
    prefix: Bytes,
    state: Option<Arc<ConnState>>,
    interim: Bytes,
    /// Set by whatever is read, if anybody wants to know.
    heard: Option<Arc<AtomicBool>>,
    /// Running since the caller finished its half while a request was in flight.
    half_closed: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Io<S> {
    /// A downstream connection.
    pub(crate) fn downstream(stream: S, prefix: Bytes, state: Arc<ConnState>) -> Self {
        Self {
            stream,
            prefix,
            state: Some(state),
            interim: Bytes::new(),
            heard: None,
            half_closed: None,
        }
    }

    /// An upstream connection.
    pub(crate) fn upstream(stream: S) -> Self {
        Self {
            stream,
            prefix: Bytes::new(),
            state: None,
            interim: Bytes::new(),
            heard: None,
            half_closed: None,
        }
    }

    /// Tells `heard` whenever something is read.
    pub(crate) fn heard_by(mut self, heard: Arc<AtomicBool>) -> Self {
        self.heard = Some(heard);
        self
    }

    /// Writes queued interim responses; ready when none is left.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(state) = &self.state else {
            return Poll::Ready(Ok(()));
        };
        loop {
            if self.interim.is_empty() {
                if !state.has_interim.load(Relaxed) {
                    return Poll::Ready(Ok(()));
                }
                match state.pop_interim() {
                    Some(head) => self.interim = head,
                    None => return Poll::Ready(Ok(())),
                }
            }
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.interim))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.advance(n);
        }
    }

    /// Notes what came of writing `all` bytes. An HTTP/2 server may have closed with a `GOAWAY` that is still to
    /// be read, and says which streams it did not process: a failed write must not keep that from being
    /// heard. Reading tells that it is gone.
    fn wrote(&self, written: Poll<io::Result<usize>>, all: usize) -> Poll<io::Result<usize>> {
        let is_upstream_http2 = self.state.is_none() && self.heard.is_some();
        if is_upstream_http2 && matches!(written, Poll::Ready(Err(_))) {
            return Poll::Ready(Ok(all));
        }
        if let Some(state) = &self.state {
            state.flushed.store(false, Relaxed);
            let blocked = state.blocked.load(Relaxed);
            if written.is_pending() {
                if blocked == 0 {
                    state.blocked.store(state.now().max(1), Relaxed);
                }
            } else if blocked != 0 {
                state.blocked.store(0, Relaxed);
            }
        }
        written
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let n = self.prefix.len().min(buf.remaining());
            let first = self.prefix.split_to(n);
            buf.put_slice(&first);
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Some(heard) = &this.heard {
            heard.store(true, Relaxed);
        }
        let Some(state) = &this.state else {
            return Poll::Ready(Ok(()));
        };
        let phase = state.phase.load(Relaxed);
        if buf.filled().len() > before {
            if phase == Phase::Idle as u8 {
                state.enter(Phase::Head);
            }
        } else if (phase == Phase::Busy as u8 || phase == Phase::Head as u8) && buf.remaining() > 0
        {
            let patience = this.half_closed.get_or_insert_with(|| {
                state.finished.store(clock::now(), Relaxed);
                Box::pin(sleep(HALF_CLOSE_PATIENCE))
            });
            ready!(patience.as_mut().poll(cx));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written, bufs.iter().map(|buf| buf.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if let Some(state) = &self.state {
            state.flushed.store(true, Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
