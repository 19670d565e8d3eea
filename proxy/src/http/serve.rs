//! Serving HTTP on one downstream connection.

use super::{BoxError, ResponseBody};
use crate::client::{CONNECTION_WINDOW, MAX_HEADER_LIST, STREAM_WINDOW};
use crate::exec::LocalExec;
use crate::io::{Io, Order};
use crate::router::{Conn, handle};
use heddle_core::detect::Detected;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

type Answering = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, BoxError>>>>;

/// Everything that happens to a request of one connection, as a `tower::Service`: the seam for
/// whoever wants to put something in front of routing (see the ADR on functions and layers).
#[derive(Debug, Clone)]
struct Router {
    conn: Rc<Conn>,
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
        Box::pin(handle(self.conn.clone(), request))
    }
}

/// Serves `io` until it closes. Ends early by order of the worker.
pub(crate) async fn serve<S>(conn: Rc<Conn>, io: Io<S>, protocol: Detected)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(Router { conn: conn.clone() });
    let limits = conn.listener.running.borrow().spec.limits;
    if protocol == Detected::Http2 {
        let connection = http2::Builder::new(LocalExec)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(MAX_HEADER_LIST))
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = pin!(connection);
        let mut drained = false;
        loop {
            tokio::select! {
                done = connection.as_mut() => return log(done),
                () = conn.state.wake.notified() => match conn.state.ordered() {
                    Order::Close => return,
                    Order::Drain if !drained => {
                        drained = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    _ => {}
                },
            }
        }
    }
    let connection = http1::Builder::new()
        .keep_alive(true)
        .max_headers(limits.header_count)
        .max_header_size(limits.header_bytes)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut drained = false;
    loop {
        tokio::select! {
            done = connection.as_mut() => return log(done),
            () = conn.state.wake.notified() => match conn.state.ordered() {
                Order::Close => return,
                Order::Drain if !drained => {
                    drained = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ => {}
            },
        }
    }
}

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
