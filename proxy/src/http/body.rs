//! Bodies: what is sent upstream, kept for a repetition within a bound; what is sent back, watched to its end.

use super::{BoxError, Incoming};
use crate::clock;
use bytes::Bytes;
use heddle_core::Nanos;
use heddle_core::guard::Refusal;
use heddle_core::guard::http2::check_trailers;
use http_body::{Body, Frame, SizeHint};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// The body of a caller's request, from which each attempt takes its own [`OutBody`].
#[derive(Debug)]
pub(crate) enum BodySource {
    /// There is none.
    Empty,
    /// Kept as it streams, so that an attempt can begin again.
    Replay(Rc<Replay>),
}

impl BodySource {
    /// Takes over `incoming`, keeping at most `limit` bytes of it. `gate`: the caller expects
    /// `100 Continue`, nothing is read from it until the upstream has said so.
    /// `received`: counts the bytes that come, if anybody wants to know.
    /// `patience`: how long the next piece may take to come; over HTTP/1 the guard watches that.
    pub(crate) fn new(
        incoming: Incoming,
        limit: usize,
        gate: Option<Rc<Gate>>,
        received: Option<Rc<Cell<u64>>>,
        patience: Option<Duration>,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty;
        }
        Self::Replay(Rc::new(Replay {
            inner: RefCell::new(incoming),
            kept: RefCell::new(Vec::new()),
            kept_bytes: Cell::new(0),
            limit,
            overflowed: Cell::new(false),
            ended: Cell::new(false),
            failed: Cell::new(false),
            refused: Cell::new(None),
            patience,
            waiting: RefCell::new(None),
            gate,
            received,
        }))
    }

    /// A body for one attempt, from the beginning.
    pub(crate) fn attempt(&self) -> OutBody {
        match self {
            Self::Empty => OutBody::Empty,
            Self::Replay(replay) => OutBody::Replay {
                replay: replay.clone(),
                next: 0,
            },
        }
    }

    /// Whether a further attempt would send the whole body.
    pub(crate) fn is_replayable(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Replay(replay) => !replay.overflowed.get() && !replay.failed.get(),
        }
    }

    /// Whether the caller stopped sending it half-way.
    pub(crate) fn has_stalled(&self) -> bool {
        match self {
            Self::Empty => false,
            Self::Replay(replay) => replay.has_stalled(),
        }
    }

    /// Why its trailers were refused, if they were.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Empty => None,
            Self::Replay(replay) => replay.refused.get(),
        }
    }

    /// Whether there is no body at all.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

/// A body that is kept as it passes.
#[derive(Debug)]
pub(crate) struct Replay {
    inner: RefCell<Incoming>,
    kept: RefCell<Vec<Kept>>,
    kept_bytes: Cell<usize>,
    limit: usize,
    overflowed: Cell<bool>,
    ended: Cell<bool>,
    failed: Cell<bool>,
    /// Why its trailers do not go on.
    refused: Cell<Option<Refusal>>,
    patience: Option<Duration>,
    /// While a piece is waited for: until when.
    waiting: RefCell<Option<Pin<Box<Sleep>>>>,
    gate: Option<Rc<Gate>>,
    received: Option<Rc<Cell<u64>>>,
}

#[derive(Debug, Clone)]
enum Kept {
    Data(Bytes),
    Trailers(http::HeaderMap),
}

impl Replay {
    /// Whether the caller broke off while sending.
    pub(crate) fn caller_failed(&self) -> bool {
        self.failed.get()
    }

    /// The endpoint says that it takes the body. Returns whether the caller asked for that.
    pub(crate) fn go_ahead(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| {
            gate.opened.open();
            true
        })
    }

    /// Whether the caller's time for the next piece was over.
    pub(crate) fn has_stalled(&self) -> bool {
        self.failed.get() && self.waiting.borrow().is_some()
    }

    fn poll_patience(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(patience) = self.patience else {
            return Poll::Pending;
        };
        let mut waiting = self.waiting.borrow_mut();
        let sleep = waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        sleep.as_mut().poll(cx)
    }

    fn keep(&self, frame: &Frame<Bytes>) {
        if let (Some(received), Some(data)) = (&self.received, frame.data_ref()) {
            received.set(received.get() + data.len() as u64);
        }
        if self.overflowed.get() {
            return;
        }
        let kept = if let Some(data) = frame.data_ref() {
            self.kept_bytes.set(self.kept_bytes.get() + data.len());
            Kept::Data(data.clone())
        } else if let Some(trailers) = frame.trailers_ref() {
            Kept::Trailers(trailers.clone())
        } else {
            return;
        };
        if self.kept_bytes.get() > self.limit {
            self.overflowed.set(true);
            *self.kept.borrow_mut() = Vec::new();
            return;
        }
        self.kept.borrow_mut().push(kept);
    }

    fn poll(
        &self,
        next: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(kept) = self.kept.borrow().get(*next) {
            *next += 1;
            return Poll::Ready(Some(Ok(match kept {
                Kept::Data(data) => Frame::data(data.clone()),
                Kept::Trailers(trailers) => Frame::trailers(trailers.clone()),
            })));
        }
        if self.ended.get() {
            return Poll::Ready(None);
        }
        if let Some(gate) = &self.gate {
            ready!(gate.poll(cx));
        }
        let Poll::Ready(frame) = Pin::new(&mut *self.inner.borrow_mut()).poll_frame(cx) else {
            ready!(self.poll_patience(cx));
            self.failed.set(true);
            return Poll::Ready(Some(Err("the body stalled".into())));
        };
        if self.patience.is_some() {
            *self.waiting.borrow_mut() = None;
        }
        match frame {
            None => {
                self.ended.set(true);
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.failed.set(true);
                Poll::Ready(Some(Err(error)))
            }
            Some(Ok(frame)) => {
                if let Some(refusal) = frame.trailers_ref().and_then(refusal_of_trailers) {
                    self.failed.set(true);
                    self.refused.set(Some(refusal));
                    return Poll::Ready(Some(Err(refusal.text.into())));
                }
                self.keep(&frame);
                *next += 1;
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }
}

/// Why trailers of a request must not go upstream, if so.
fn refusal_of_trailers(trailers: &http::HeaderMap) -> Option<Refusal> {
    let fields = trailers.iter();
    check_trailers(fields.map(|(name, value)| (name.as_str(), value.as_bytes()))).err()
}

/// Holds a body back until the upstream says `100 Continue`, answers, or a second has passed
/// (RFC 9110 section 10.1.1: a client must not wait for ever).
#[derive(Debug)]
pub(crate) struct Gate {
    opened: Arc<GateSignal>,
    wait: RefCell<Option<Pin<Box<Waiting>>>>,
}

/// The part of a [`Gate`] that may be opened from hyper's callback.
#[derive(Debug, Default)]
pub(crate) struct GateSignal {
    open: std::sync::atomic::AtomicBool,
    notify: Notify,
}

impl GateSignal {
    pub(crate) fn open(&self) {
        self.open.store(true, std::sync::atomic::Ordering::Relaxed);
        self.notify.notify_waiters();
        self.notify.notify_one();
    }
}

/// How long a body waits for `100 Continue`; curl's own patience.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

impl Gate {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            opened: Arc::new(GateSignal::default()),
            wait: RefCell::new(None),
        })
    }

    pub(crate) fn signal(&self) -> Arc<GateSignal> {
        self.opened.clone()
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.opened.open.load(std::sync::atomic::Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let mut wait = self.wait.borrow_mut();
        let waiting = wait.get_or_insert_with(|| {
            let signal = self.opened.clone();
            Box::pin(Waiting::new(signal))
        });
        ready!(waiting.as_mut().poll(cx));
        self.opened
            .open
            .store(true, std::sync::atomic::Ordering::Relaxed);
        *wait = None;
        Poll::Ready(())
    }
}

struct Waiting(Pin<Box<dyn Future<Output = ()>>>);

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

impl Waiting {
    fn new(signal: Arc<GateSignal>) -> Self {
        Self(Box::pin(async move {
            tokio::time::timeout(CONTINUE_WAIT, signal.notify.notified())
                .await
                .ok();
        }))
    }
}

impl Future for Waiting {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// The body of one attempt.
#[derive(Debug)]
pub(crate) enum OutBody {
    /// None.
    Empty,
    /// The caller's, from the beginning.
    Replay {
        /// Where it comes from and is kept.
        replay: Rc<Replay>,
        /// The next kept frame to send.
        next: usize,
    },
}

impl OutBody {
    /// Where the body comes from, to ask later whose fault a failure was.
    pub(crate) fn origin(&self) -> Option<Rc<Replay>> {
        match self {
            Self::Empty => None,
            Self::Replay { replay, .. } => Some(replay.clone()),
        }
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Replay { replay, next } => replay.poll(next, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Replay { replay, next } => {
                *next == replay.kept.borrow().len()
                    && (replay.ended.get() || replay.inner.borrow().is_end_stream())
                    && !replay.overflowed.get()
                    || replay.overflowed.get() && replay.inner.borrow().is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Replay { replay, next } => {
                let mut hint = replay.inner.borrow().size_hint();
                let ahead: usize = replay.kept.borrow()[(*next).min(replay.kept.borrow().len())..]
                    .iter()
                    .map(|kept| {
                        if let Kept::Data(data) = kept {
                            data.len()
                        } else {
                            0
                        }
                    })
                    .sum();
                if let Some(exact) = hint.exact() {
                    hint.set_exact(exact + ahead as u64);
                }
                hint
            }
        }
    }
}

/// How a response's body came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finished {
    /// Read to its end; the gRPC status of its trailers, if it had one.
    Complete(Option<u32>),
    /// The upstream broke off, or what it sent is not HTTP: what is wrong, as a metric label.
    Broken(Option<&'static str>),
    /// The time for it was over.
    TimedOut,
    /// The caller went away while the upstream's next piece was waited for.
    Cancelled {
        /// The answer had announced a length, and more of it was to come.
        owed: bool,
        /// Since when the piece was waited for.
        since: Nanos,
    },
    /// The caller went away, or was ended, before it had taken the last piece.
    Unread,
}

/// Told how the body ended, and after how many bytes.
type OnFinish = Box<dyn FnOnce(Finished, u64)>;

/// The body of a response: streams an upstream's, or carries the proxy's own.
pub(crate) struct ResponseBody {
    kind: Kind,
    on_finish: Option<OnFinish>,
    sent: u64,
    /// Whether it is the caller's turn: what was handed on last has not been taken.
    handed: bool,
    /// Since when the next piece is waited for; 0: it is not.
    waiting: Nanos,
    stall: Option<Box<Stall>>,
}

enum Kind {
    Own(Bytes),
    Upstream(Incoming),
}

/// Ends a body that stalls after the request's deadline; one that flows is left alone.
struct Stall {
    sleep: Pin<Box<Sleep>>,
    deadline: Instant,
    patience: Duration,
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

impl ResponseBody {
    /// The proxy's own body.
    pub(crate) fn own(body: impl Into<Bytes>) -> Self {
        Self {
            kind: Kind::Own(body.into()),
            on_finish: None,
            sent: 0,
            handed: false,
            waiting: 0,
            stall: None,
        }
    }

    /// An upstream's body; `on_finish` is called once, when it is over in whatever way.
    pub(crate) fn upstream(body: Incoming, on_finish: OnFinish) -> Self {
        Self {
            kind: Kind::Upstream(body),
            on_finish: Some(on_finish),
            sent: 0,
            handed: false,
            waiting: 0,
            stall: None,
        }
    }

    /// Bounds how long the body may stand still once `deadline` has passed.
    pub(crate) fn with_deadline(mut self, deadline: Instant, patience: Duration) -> Self {
        self.stall = Some(Box::new(Stall {
            sleep: Box::pin(tokio::time::sleep_until(deadline)),
            deadline,
            patience,
        }));
        self
    }

    fn finish(&mut self, how: Finished) {
        if let Some(on_finish) = self.on_finish.take() {
            on_finish(how, self.sent);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let incoming = match &mut this.kind {
            Kind::Own(body) if body.is_empty() => return Poll::Ready(None),
            Kind::Own(body) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            Kind::Upstream(incoming) => incoming,
        };
        let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) else {
            this.handed = false;
            if this.waiting == 0 {
                this.waiting = clock::now();
            }
            if let Some(stall) = &mut this.stall {
                ready!(stall.sleep.as_mut().poll(cx));
                this.finish(Finished::TimedOut);
                return Poll::Ready(Some(Err("the response stalled beyond its deadline".into())));
            }
            return Poll::Pending;
        };
        this.waiting = 0;
        if let Some(stall) = &mut this.stall {
            let next = stall.deadline.max(Instant::now() + stall.patience);
            stall.sleep.as_mut().reset(next);
        }
        match frame {
            None => {
                this.finish(Finished::Complete(None));
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                this.finish(Finished::Broken(crate::client::malformed(&*error)));
                Poll::Ready(Some(Err(error)))
            }
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    super::forward::clean_trailers(&mut trailers);
                    let grpc = super::respond::grpc_status(&trailers);
                    this.finish(Finished::Complete(grpc));
                    Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                }
                Err(frame) => {
                    this.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
                    this.handed = true;
                    Poll::Ready(Some(Ok(frame)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(body) => body.is_empty(),
            Kind::Upstream(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(body) => SizeHint::with_exact(body.len() as u64),
            Kind::Upstream(incoming) => incoming.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.on_finish.is_some() {
            // hyper drops a body whose last byte it has seen without asking for the end.
            let how = if self.is_end_stream() {
                Finished::Complete(None)
            } else if self.handed {
                Finished::Unread
            } else {
                Finished::Cancelled {
                    owed: self.size_hint().exact().is_some(),
                    since: self.waiting,
                }
            };
            self.finish(how);
        }
    }
}
