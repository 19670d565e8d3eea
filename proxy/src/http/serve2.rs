//! Serving HTTP/2 on one downstream connection, straight on the library that speaks it: a stream is one
//! task, and nothing is between its frames and the router.

use super::ResponseBody;
use super::guard2::Guarded;
use super::incoming::Incoming;
use super::interim::Allowance;
use super::serve::{Router, drive};
use super::stream::{Pings, pump, reason_of};
use crate::access::{Told, tell_on};
use crate::client::{CONNECTION_WINDOW, MAX_HEADER_LIST, STREAM_WINDOW};
use crate::io::{ConnState, Io, Order};
use crate::router::Conn;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use heddle_core::config::ListenerLimits;
use heddle_core::guard::http2::LIST_TOO_LONG;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, Entry, HeaderMap, HeaderValue};
use http_body::Body;
use hyper::{Method, Request, Response, Version};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};

/// Streams that a caller has reset before they were looked at; the library's default, said here because it is
/// a bound.
const PENDING_RESETS: usize = 20;
/// Resets that a caller has provoked in a connection's life. The guard's allowance is used up before; this one holds
/// should it ever be wrong.
const ERROR_RESETS: usize = 256;
/// Bytes of a response held for a caller that does not read, for each stream; a connection has hundreds of
/// streams.
const SEND_BUFFER: usize = 64 * 1024;
/// A caller whose connection says nothing for this long while it has streams open is asked for a sign of life.
const PING: Duration = Duration::from_secs(30);
/// And this is how long it has for it.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `io` until it closes, or the worker's order ends it.
pub(super) async fn serve_http2<S>(
    conn: &Rc<Conn>,
    io: Io<S>,
    router: Router,
    limits: ListenerLimits,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let heard = Arc::new(AtomicBool::new(false));
    let guarded = Guarded::new(
        io.heard_by(heard.clone()),
        limits.header_bytes,
        conn.state.clone(),
        conn.listener.metrics.clone(),
    );
    let Some(mut connection) = begin(&conn.state, guarded, limits).await else {
        return;
    };
    let pings = connection
        .ping_pong()
        .map(|pings| Pings::new(pings, heard, PING, PING_TIMEOUT));
    let mut served = Served {
        connection,
        pings,
        router,
        conn: conn.clone(),
    };
    // `GOAWAY` with the highest id first and the final one a round trip later, so that no stream on its way
    // is lost (RFC 9113 section 6.8).
    drive(&conn.state, Order::Drain, Pin::new(&mut served), |served| {
        served.get_mut().connection.graceful_shutdown();
    })
    .await;
}

/// The caller's preface and settings; none when they do not come.
async fn begin<S>(
    state: &ConnState,
    guarded: Guarded<S>,
    limits: ListenerLimits,
) -> Option<Connection<Guarded<S>, Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(MAX_HEADER_LIST))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(ERROR_RESETS))
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(guarded);
    let begun = poll_fn(|cx| {
        state.wake_with(cx.waker());
        if state.ordered() >= Order::Finish {
            return Poll::Ready(None);
        }
        Pin::new(&mut handshake).poll(cx).map(Some)
    });
    match begun.await? {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::debug!(%error, "no HTTP/2 connection");
            None
        }
    }
}

/// A connection and who answers its requests.
struct Served<S> {
    connection: Connection<Guarded<S>, Bytes>,
    pings: Option<Pings>,
    router: Router,
    conn: Rc<Conn>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Served<S> {
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match this.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, reply)))) => this.begin(request, reply),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        for _ in 0..this.conn.state.streams.oversize() {
            let mut told = Told::answered(LIST_TOO_LONG, 0);
            told.unread.protocol = Some(Version::HTTP_2);
            tell_on(&this.conn, told);
        }
        let busy = this.connection.has_streams();
        if let Some(pings) = &mut this.pings
            && pings.poll(cx, busy).is_ready()
        {
            tracing::debug!("a caller gave no sign of life");
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

impl<S> Served<S> {
    /// Begins to answer a request; what is left of it is a task of its own.
    fn begin(&mut self, request: Request<RecvStream>, mut reply: SendResponse<Bytes>) {
        self.conn.state.streams.given(reply.stream_id().as_u32());
        let (parts, receive) = request.into_parts();
        let head_only = parts.method == Method::HEAD;
        let body = Incoming::http2(receive, &parts.headers);
        let mut answering =
            tower_service::Service::call(&mut self.router, Request::from_parts(parts, body));
        let conn = self.conn.clone();
        tokio::task::spawn_local(async move {
            let mut allowance = Allowance::default();
            let answered = poll_fn(|cx| {
                let answered = answering.as_mut().poll(cx);
                let passed = conn.passed.take();
                if !passed.is_empty() {
                    allowance.send(cx, passed, &mut reply);
                }
                if let Poll::Ready(answered) = answered {
                    return Poll::Ready(Some(answered));
                }
                // A caller that resets the stream does not wait any more.
                reply.poll_reset(cx).map(|_| None)
            })
            .await;
            drop(answering);
            match answered {
                None => {}
                Some(Ok(response)) => send(&mut reply, response, head_only).await,
                Some(Err(error)) => reply.send_reset(reason_of(&*error)),
            }
        });
    }
}

/// Sends an answer to its end.
async fn send(reply: &mut SendResponse<Bytes>, response: Response<ResponseBody>, head_only: bool) {
    let (mut head, body) = response.into_parts();
    head.headers.remove(CONNECTION);
    date(&mut head.headers);
    let over = body.is_end_stream();
    if !over
        && let Some(length) = body.size_hint().exact()
        && let Entry::Vacant(vacant) = head.headers.entry(CONTENT_LENGTH)
    {
        vacant.insert(HeaderValue::from(length));
    }
    let over = over || head_only;
    let sent = match reply.send_response(Response::from_parts(head, ()), over) {
        Ok(stream) if !over => pump(body, stream).await,
        Ok(_) => Ok(()),
        Err(error) => {
            reply.send_reset(h2::Reason::INTERNAL_ERROR);
            Err(error)
        }
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "an answer did not reach its caller");
    }
}

/// Says when an answer was made, if its maker did not (RFC 9110 section 6.6.1).
fn date(headers: &mut HeaderMap) {
    if let Entry::Vacant(vacant) = headers.entry(DATE) {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        vacant.insert(SHOWN.with_borrow_mut(|shown| {
            if shown.0 != second {
                let text = httpdate::fmt_http_date(now);
                *shown = (
                    second,
                    HeaderValue::from_str(&text).unwrap_or(shown.1.clone()),
                );
            }
            shown.1.clone()
        }));
    }
}

thread_local! {
    /// A second since the epoch, and how it is written.
    static SHOWN: RefCell<(u64, HeaderValue)> =
        const { RefCell::new((0, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))) };
}
