//! Serving HTTP on one downstream connection.

use super::guard1::{Guarded, Refused};
use super::incoming::Incoming;
use super::serve2::serve_http2;
use super::{BoxError, ResponseBody, refused};
use crate::access::{Told, Unread, tell_on};
use crate::io::{ConnState, Io, Order, Phase};
use crate::metrics::ListenerMetrics;
use crate::router::{Answering, Conn, handle};
use heddle_core::config::ListenerLimits;
use heddle_core::detect::Detected;
use heddle_core::guard::Glimpse;
use heddle_core::guard::http1::Limits;
use http::header::HOST;
use http_body::Body;
use hyper::server::conn::http1;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::fmt::Display;
use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// Everything that happens to a request of one connection, as a `tower::Service`: the seam for
/// whoever wants to put something in front of routing (see the ADR on functions and layers).
#[derive(Debug, Clone)]
pub(super) struct Router {
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

impl hyper::service::Service<Request<hyper::body::Incoming>> for Direct {
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = Answering;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Answering {
        let request = request.map(Incoming::Http1);
        tower_service::Service::call(&mut *self.0.borrow_mut(), request)
    }
}

/// Serves `io` until it closes. Ends early by order of the worker.
pub(crate) async fn serve<S>(conn: Rc<Conn>, io: Io<S>, protocol: Detected)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = Router {
        conn: conn.clone(),
        before: 0,
    };
    let limits = conn.listener.running.borrow().spec.limits;
    if protocol == Detected::Http2 {
        // In a box: connections of HTTP/1 would carry the size of it for as long as they live.
        Box::pin(serve_http2(&conn, io, router, limits)).await;
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
    serve_http1(&conn, guarded, Direct(RefCell::new(router)), limits).await;
}

/// Serves HTTP/1. A connection that rests gives its parser and their buffers back until its next bytes:
/// most connections of a mesh rest most of the time.
async fn serve_http1<S>(
    conn: &Conn,
    mut guarded: Guarded<S>,
    mut service: Direct,
    limits: ListenerLimits,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = &*conn.state;
    loop {
        let mut connection = Box::pin(
            http1::Builder::new()
                .keep_alive(true)
                .max_headers(limits.header_count)
                .max_header_size(limits.header_bytes)
                .max_buf_size((limits.header_bytes + READ_AHEAD).max(4 * READ_AHEAD))
                .serve_connection(TokioIo::new(guarded), service)
                .with_upgrades(),
        );
        let end = drive(state, Order::Finish, connection.as_mut(), |connection| {
            // A head that has begun to arrive is read to its end, and answered.
            if state.phase().0 != Phase::Head {
                connection.graceful_shutdown();
            }
        })
        .await;
        if end == End::Closed {
            return;
        }
        let Some((resting, kept)) = let_go(*Pin::into_inner(connection)) else {
            return;
        };
        service = kept;
        let _counted = Resting::count(&conn.listener.metrics);
        match rest(state, resting).await {
            Some(more) => guarded = more,
            None => return,
        }
    }
}

/// What a connection keeps while it rests, without the parser and its buffers; none after an upgrade.
fn let_go<S>(
    connection: http1::UpgradeableConnection<TokioIo<Guarded<S>>, Direct>,
) -> Option<(Guarded<S>, Direct)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let parts = connection.into_parts()?;
    let mut guarded = parts.io.into_inner();
    guarded.give_back(&parts.read_buf);
    Some((guarded, parts.service))
}

/// Waits for the next bytes of a connection; none when it ends instead.
async fn rest<S>(state: &ConnState, mut resting: Guarded<S>) -> Option<Guarded<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let more = poll_fn(|cx| match state.ordered() {
        Order::Close => Poll::Ready(false),
        Order::Finish if state.phase().0 == Phase::Idle => Poll::Ready(false),
        _ => resting.poll_begun(cx),
    })
    .await;
    if more {
        return Some(resting);
    }
    // It is closing anyway.
    if state.ordered() != Order::Close {
        resting.shutdown().await.ok();
    }
    None
}

/// Counts a connection that rests.
struct Resting<'a>(&'a ListenerMetrics);

impl<'a> Resting<'a> {
    fn count(metrics: &'a ListenerMetrics) -> Self {
        metrics.connections_resting.inc();
        Self(metrics)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.connections_resting.dec();
    }
}

/// Why a connection is not driven any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It is over.
    Closed,
    /// Nothing is under way, and nothing has been for a while.
    Rests,
}

/// Runs a connection to its end, or to the worker's order; `drain` is called once, as soon as the
/// order is at least `from`.
pub(super) async fn drive<C, E>(
    state: &ConnState,
    from: Order,
    mut connection: Pin<&mut C>,
    drain: impl Fn(Pin<&mut C>),
) -> End
where
    C: Future<Output = Result<(), E>>,
    E: Display,
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
                return Poll::Ready(End::Closed);
            }
            if obeyed < from && ordered >= from {
                drain(connection.as_mut());
            }
            obeyed = ordered;
        }
        if let Poll::Ready(done) = connection.as_mut().poll(cx) {
            log(done);
            return Poll::Ready(End::Closed);
        }
        if state.may_rest() {
            return Poll::Ready(End::Rests);
        }
        Poll::Pending
    });
    driven.await
}

/// Bytes that an HTTP/1 connection may read beyond a head of the greatest size. Four times that bound what is held for
/// a caller that does not read, too, where heads may be smaller; hyper's default is 408 KiB.
const READ_AHEAD: usize = 16 * 1024;

fn log<E: Display>(done: Result<(), E>) {
    if let Err(error) = done {
        // Callers that go away are everyday life; whoever looks for one turns debug on.
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    /// The size of what `serve` returns, without a connection to serve.
    fn size<F>(_: impl FnOnce(Rc<Conn>, Io<TcpStream>, Detected) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_resting_connection_does_not_carry_http2_or_the_parser() {
        let bytes = size(serve::<TcpStream>);
        assert!(bytes < 2048, "{bytes}");
    }
}
