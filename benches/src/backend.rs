//! A server that costs as little as one on hyper can: a fixed body, no routing, one thread.

use crate::LocalExecutor;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use tokio::net::TcpListener;

use crate::load::Protocol;

/// Response header that tells which listener of the backend answered.
pub const ANSWERED_BY: HeaderName = HeaderName::from_static("x-backend");

/// The path that is answered with [`LARGE`] bytes instead.
pub const LARGE_PATH: &str = "/large";
/// Bytes of the answer to it.
pub const LARGE: usize = 64 * 1024;

static LARGE_BODY: [u8; LARGE] = [b'x'; LARGE];

/// Answers every request that arrives at `listener` with `body`, until it fails. Requests are read
/// to their end. Runs in a [`tokio::task::LocalSet`].
///
/// # Errors
/// When the listener does.
pub async fn serve(listener: TcpListener, protocol: Protocol, body: Bytes) -> io::Result<()> {
    let name = HeaderValue::from_str(&listener.local_addr()?.port().to_string())
        .map_err(io::Error::other)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (name, body) = (name.clone(), body.clone());
        let service = service_fn(move |request| answer(request, name.clone(), body.clone()));
        // A client that breaks off is no event for a benchmark's backend.
        tokio::task::spawn_local(async move {
            let io = TokioIo::new(stream);
            match protocol {
                Protocol::Http1 => {
                    hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(io, service)
                        .await
                }
                Protocol::Http2 => {
                    hyper::server::conn::http2::Builder::new(LocalExecutor)
                        .serve_connection(io, service)
                        .await
                }
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    name: HeaderValue,
    body: Bytes,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = if request.uri().path() == LARGE_PATH {
        Bytes::from_static(&LARGE_BODY)
    } else {
        body
    };
    let mut incoming = request.into_body();
    while let Some(Ok(_)) = incoming.frame().await {}
    let mut response = Response::new(Full::new(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(ANSWERED_BY, name);
    Ok(response)
}
