//! Serving HTTP on one downstream connection.

use super::guard1::{Guarded, Refused};
use super::guard2;
use super::{BoxError, ResponseBody, refused};
use crate::access::{Told, Unread, tell_on};
use crate::client::{CONNECTION_WINDOW, MAX_HEADER_LIST, STREAM_WINDOW};
use crate::exec::LocalExec;
use crate::io::{ConnState, Io, Order, Phase};
use crate::router::{Answering, Conn, handle};
use heddle_core::detect::Detected;
use heddle_core::guard::Glimpse;
use heddle_core::guard::http1::Limits;
use http::header::HOST;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Everything that happens to a request of one connection, as a `tower::Service`: the seam for
/// whoever wants to put something in front of routing (see the ADR on functions and layers).
#[derive(Debug, Clone)]
struct Router {
    conn: Rc<Conn>,
    /// Requests that came before.
    before: u64,
}

impl tower_service::Service<Request<Incoming>> for Router {
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = Answering;

    /// Always: a request that finds no room is answered so.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Answering {
        let index = self.before;
        self.before += 1;
        let watch = &self.conn.state.watch;
        if let Some(told) = watch.refusal_of(index) {
            let answer = answer_refused(&self.conn, *told, &request);
            return Box::pin(ready(Ok(answer)));
        }
        if watch.is_asked(index) {
            return decided(self.conn.clone(), request);
        }
        handle(self.conn.clone(), request)
    }
}

/// Answers a message that the guard refused, and tells of it.
fn answer_refused(
    conn: &Conn,
    message: Refused,
    request: &Request<Incoming>,
) -> Response<ResponseBody> {
    let answer = refused(message.refusal);
    let bytes = Body::size_hint(answer.body()).lower();
    let mut told = Told::answered(message.refusal, bytes);
    told.started = message.since;
    told.unread = Unread {
        protocol: Some(Version::HTTP_11),
        // Without one, the head was good and the body came with it; otherwise the request is a stand-in.
        glimpse: message.glimpse.unwrap_or_else(|| seen(request)),
    };
    tell_on(conn, told);
    answer
}

/// What there is to be told of a request that was read.
fn seen(request: &Request<Incoming>) -> Glimpse {
    let host = request.headers().get(HOST);
    Glimpse {
        method: Some(request.method().to_string()),
        target: Some(request.uri().path().to_owned()),
        host: host.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()),
    }
}

/// A request whose answer says whether the bytes behind it are HTTP.
fn decided(conn: Rc<Conn>, request: Request<Incoming>) -> Answering {
    let connect = request.method() == Method::CONNECT;
    let answering = handle(conn.clone(), request);
    Box::pin(async move {
        let answered = answering.await;
        let open = answered.as_ref().is_ok_and(|answer| {
            answer.status() == StatusCode::SWITCHING_PROTOCOLS
                || connect && answer.status().is_success()
        });
        conn.state.watch.decide(open);
        conn.state.wake();
        answered
    })
}

/// hyper's face of the router, which is always ready.
struct Direct(RefCell<Router>);

impl hyper::service::Service<Request<Incoming>> for Direct {
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        tower_service::Service::call(&mut *self.0.borrow_mut(), request)
    }
}

/// Serves `io` until it closes. Ends early by order of the worker.
pub(crate) async fn serve<S>(conn: Rc<Conn>, io: Io<S>, protocol: Detected)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = Direct(RefCell::new(Router {
        conn: conn.clone(),
        before: 0,
    }));
    let limits = conn.listener.running.borrow().spec.limits;
    if protocol == Detected::Http2 {
        let guarded = guard2::Guarded::new(
            io,
            limits.header_bytes,
            conn.state.clone(),
            conn.listener.metrics.clone(),
        );
        let connection = http2::Builder::new(LocalExec)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(MAX_HEADER_LIST))
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(ERROR_RESETS)
            .max_send_buf_size(SEND_BUFFER)
            .serve_connection(TokioIo::new(guarded), service);
        // `GOAWAY` with the highest id first and the final one a round trip later, so that no
        // stream on its way is lost (RFC 9113 section 6.8).
        drive(&conn.state, Order::Drain, pin!(connection), |connection| {
            connection.graceful_shutdown();
        })
        .await;
        if let Some(refusal) = conn.state.watch.refused_body() {
            tell_on(&conn, Told::ended(refusal));
        }
        return;
    }
    let guarded = Guarded::new(
        io,
        Limits {
            header_bytes: limits.header_bytes,
            header_count: limits.header_count,
        },
        conn.state.clone(),
        conn.listener.metrics.clone(),
    );
    let connection = http1::Builder::new()
        .keep_alive(true)
        .max_headers(limits.header_count)
        .max_header_size(limits.header_bytes)
        .serve_connection(TokioIo::new(guarded), service)
        .with_upgrades();
    // In the drain window the answers tell (`router::exchange`). Shutting down closes an idle
    // connection at once, so it comes after the window.
    drive(&conn.state, Order::Finish, pin!(connection), |connection| {
        // A head that has begun to arrive is read to its end, and answered.
        if conn.state.phase().0 != Phase::Head {
            connection.graceful_shutdown();
        }
    })
    .await;
}

/// Runs a connection to its end, or to the worker's order; `drain` is called once, as soon as the
/// order is at least `from`.
async fn drive<C>(
    state: &ConnState,
    from: Order,
    mut connection: Pin<&mut C>,
    drain: impl Fn(Pin<&mut C>),
) where
    C: Future<Output = hyper::Result<()>>,
{
    let mut obeyed = Order::Go;
    let mut waker: Option<Waker> = None;
    let driven = poll_fn(|cx| {
        // The task stays the same, so this is a comparison and no lock.
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            state.wake_with(cx.waker());
            waker = Some(cx.waker().clone());
        }
        let ordered = state.ordered();
        if ordered != obeyed {
            if ordered == Order::Close {
                return Poll::Ready(None);
            }
            if obeyed < from && ordered >= from {
                drain(connection.as_mut());
            }
            obeyed = ordered;
        }
        connection.as_mut().poll(cx).map(Some)
    });
    if let Some(done) = driven.await {
        log(done);
    }
}

/// Streams that a caller has reset before they were looked at; h2's default, said here because it is a bound.
const PENDING_RESETS: usize = 20;
/// Resets that a caller has provoked in a connection's life. The guard's allowance is used up before; this one holds
/// should it ever be wrong.
const ERROR_RESETS: usize = 256;
/// Bytes of a response held for a caller that does not read, for each stream; hyper's default is 400 KiB, and a
/// connection has hundreds of streams.
const SEND_BUFFER: usize = 64 * 1024;

/// A caller whose connection says nothing for this long while it has streams open is asked for a sign of life.
const PING: Duration = Duration::from_secs(30);
/// And this is how long it has for it.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

fn log(done: hyper::Result<()>) {
    if let Err(error) = done {
        // Callers that go away are everyday life; whoever looks for one turns debug on.
        tracing::debug!(%error, "connection ended");
    }
}
