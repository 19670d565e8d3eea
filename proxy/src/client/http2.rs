//! Upstream HTTP/2, straight on the library that speaks it.

use super::connection::{Answer, Cause, ConnectError, OpenGuard, SendError, Wire, connect};
use crate::clock;
use crate::http::{Incoming, OutBody, Pings, ToCaller, pump};
use crate::io::Io;
use crate::shared::{EndpointShared, SetShared};
use crate::tls::Upstream;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use heddle_core::Nanos;
use heddle_core::config::Pool;
use http::Request;
use http::request::Parts;
use http_body::Body;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

/// A multiplexed HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Http2 {
    sender: SendRequest<Bytes>,
    pub(crate) born: Nanos,
    peer: Rc<Peer>,
    /// The version of the set's TLS settings that it was made under.
    pub(crate) tls: u64,
}

/// What is known of the other end.
#[derive(Debug)]
struct Peer {
    /// Streams that we have open on the connection.
    streams: Cell<usize>,
    /// Streams that it allows, as it said last.
    allowed: Cell<usize>,
    /// The connection is closed, or takes no further streams.
    gone: Cell<bool>,
}

impl Http2 {
    /// Whether it takes no further streams.
    pub(crate) fn is_closed(&self) -> bool {
        self.peer.gone.get()
    }

    /// Streams that we have open on it.
    pub(crate) fn streams(&self) -> &Cell<usize> {
        &self.peer.streams
    }

    /// Whether a further stream fits.
    pub(crate) fn has_room(&self, max_streams: usize) -> bool {
        !self.is_closed() && self.streams().get() < max_streams.min(self.peer.allowed.get().max(1))
    }

    /// Sends a request, up to the head of its answer. Dropped before, it resets the stream.
    ///
    /// # Errors
    /// With the body where nothing went out; the head is in its place then.
    pub(crate) async fn send(
        &self,
        head: &mut Parts,
        body: OutBody,
        to_caller: Option<&ToCaller<'_>>,
    ) -> Result<Answer, (SendError, Option<OutBody>)> {
        let mut sender = self.sender.clone();
        if let Err(error) = poll_fn(|cx| sender.poll_ready(cx)).await {
            self.peer.gone.set(true);
            return Err((SendError::Unused(Cause::Http2(error)), Some(body)));
        }
        let over = body.is_end_stream();
        let parts = std::mem::replace(head, super::attempt::nothing());
        let failed = |error| (SendError::http2(error), None);
        let (mut response, stream) = sender
            .send_request(Request::from_parts(parts, ()), over)
            .map_err(failed)?;
        let pumping = (!over).then(|| Pumping::start(body, stream));
        let mut asked = false;
        let answered = poll_fn(|cx| {
            // There is none before the request has gone out.
            if let Some(to_caller) = to_caller.filter(|_| asked) {
                while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
                    to_caller.pass(interim);
                }
            }
            asked = true;
            Pin::new(&mut response).poll(cx)
        });
        let (head, receive) = answered.await.map_err(failed)?.into_parts();
        if let Some(pumping) = pumping {
            pumping.go_on();
        }
        let body = Incoming::http2(receive, &head.headers);
        Ok(Answer::from_parts(head, body))
    }
}

/// A request's body on its way; it is given up with the wait for the answer.
struct Pumping(Option<AbortHandle>);

impl Pumping {
    fn start(body: OutBody, stream: h2::SendStream<Bytes>) -> Self {
        let task = tokio::task::spawn_local(async move {
            if let Err(error) = pump(body, stream).await {
                tracing::debug!(%error, "a request's body was not taken to its end");
            }
        });
        Self(Some(task.abort_handle()))
    }

    /// The answer has begun, and the body goes on beside it.
    fn go_on(mut self) {
        self.0 = None;
    }
}

impl Drop for Pumping {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

/// Polls of a new HTTP/2 connection after each of which its settings are looked at: they come first.
const SETTLING: u32 = 8;
/// And how often afterwards; peers that change them in mid-flight are rare.
const SETTINGS_EVERY: u32 = 32;
/// Streams that a peer is taken to allow until it says so; RFC 9113 section 6.5.2 recommends no less.
const UNTOLD_STREAMS: usize = 100;

/// Bytes of one stream that may be under way towards a slow reader: bounds memory per stream.
pub(crate) const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection.
pub(crate) const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Size of a header list that we accept, as the peer counts it (RFC 9113 section 6.5.2).
pub(crate) const MAX_HEADER_LIST: u32 = 64 * 1024;

/// Opens an HTTP/2 connection, by ALPN or with prior knowledge. It stands when the server's `SETTINGS`
/// have come, its first frame (RFC 9113 section 3.4). Before, nobody may have accepted it but the
/// kernel, and what the kernel resets would look like a request that may have been done.
pub(crate) async fn connect_http2(
    set: &Arc<SetShared>,
    endpoint: &Arc<EndpointShared>,
    pool: &Pool,
) -> Result<Rc<Http2>, ConnectError> {
    let mut open = OpenGuard::take(set, endpoint, pool.max_connections)?;
    let started = Instant::now();
    let (wire, tls) = connect(set, endpoint.address, pool, Upstream::Http2).await?;
    open.opened();
    set.metrics.connect_duration.observe(started.elapsed());
    let (sender, peer) = match wire {
        Wire::Plain(stream) => start(stream, open, pool).await?,
        Wire::Secured(stream) => Box::pin(start(stream, open, pool)).await?,
    };
    Ok(Rc::new(Http2 {
        sender,
        born: clock::now(),
        peer,
        tls,
    }))
}

/// Says hello and has a task run the connection.
async fn start<S>(
    stream: S,
    open: OpenGuard,
    pool: &Pool,
) -> Result<(SendRequest<Bytes>, Rc<Peer>), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let heard = Arc::new(AtomicBool::new(false));
    let (sender, mut connection) = Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buffer_size(STREAM_WINDOW as usize)
        .initial_max_send_streams(UNTOLD_STREAMS)
        .handshake(Io::upstream(stream).heard_by(heard.clone()))
        .await
        .map_err(|error| ConnectError::Handshake(Cause::Http2(error)))?;
    let spoken = heard.clone();
    let (stands, stood) = oneshot::channel();
    let mut stands = Some(stands);
    let mut pings = connection
        .ping_pong()
        .map(|pings| Pings::new(pings, heard, pool.ping, pool.ping_timeout));
    let peer = Rc::new(Peer {
        streams: Cell::new(0),
        allowed: Cell::new(connection.max_concurrent_send_streams()),
        gone: Cell::new(false),
    });
    let told = peer.clone();
    tokio::task::spawn_local(async move {
        // A poll may have read new settings, which the pool wants to know; asking takes a lock.
        let mut polls = 0_u32;
        let driven = poll_fn(|cx| {
            let done = Pin::new(&mut connection).poll(cx);
            polls = polls.wrapping_add(1);
            if polls < SETTLING || polls.is_multiple_of(SETTINGS_EVERY) {
                told.allowed.set(connection.max_concurrent_send_streams());
            }
            if done.is_ready() {
                return done;
            }
            if stands.is_some() && spoken.load(Relaxed) {
                // Whoever waited may have given up.
                stands.take().map(|stands| stands.send(()));
            }
            if let Some(pings) = &mut pings
                && pings.poll(cx, told.streams.get() > 0).is_ready()
            {
                tracing::debug!("an endpoint gave no sign of life");
                return Poll::Ready(Ok(()));
            }
            Poll::Pending
        });
        driven.await.ok();
        told.gone.set(true);
        drop(open);
    });
    match timeout(pool.connect_timeout, stood).await {
        Ok(Ok(())) => Ok((sender, peer)),
        Ok(Err(_)) => Err(ConnectError::Unheard),
        Err(_) => Err(ConnectError::Timeout),
    }
}
