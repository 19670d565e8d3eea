//! Asking a running proxy's admin server.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// Where a proxy's admin server listens unless it is told otherwise.
pub(crate) const DEFAULT: &str = "127.0.0.1:9990";
/// A running proxy must answer within this.
const TIMEOUT: Duration = Duration::from_secs(10);
/// An answer is at most so large.
const BYTES: usize = 16 * 1024 * 1024;

/// The body of `GET target`, on a runtime of its own.
pub(crate) fn get(admin: &str, target: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(ask(admin, target))
}

/// The body of `GET target`. `admin` is `host:port`, with or without `http://`.
///
/// # Errors
/// When nobody is there, or something else than a proxy's admin server, or it refuses; a sentence for people.
pub(crate) async fn ask(admin: &str, target: &str) -> Result<String, String> {
    let admin = admin
        .strip_prefix("http://")
        .unwrap_or(admin)
        .trim_end_matches('/');
    tokio::time::timeout(TIMEOUT, exchange(admin, target))
        .await
        .unwrap_or_else(|_| {
            Err(format!(
                "the proxy at {admin} has not answered within {TIMEOUT:?}"
            ))
        })
}

async fn exchange(admin: &str, target: &str) -> Result<String, String> {
    let hint = "is this the admin address of a running proxy?";
    let stream = TcpStream::connect(admin)
        .await
        .map_err(|error| format!("cannot connect to {admin}: {error}; {hint}"))?;
    let broken =
        |error: hyper::Error| format!("the answer of {admin} is not HTTP: {error}; {hint}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let driving = tokio::spawn(connection);
    let request = Request::get(target)
        .header("host", admin)
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("cannot ask {admin}: {error}"))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BYTES).collect().await;
    driving.abort();
    let body = body
        .map_err(|error| format!("the answer of {admin} breaks off: {error}"))?
        .to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    let page = target.split('?').next().unwrap_or(target);
    match status.as_u16() {
        200 => Ok(text),
        404 => Err(format!("{admin} has no {page}; {hint}")),
        status => Err(format!("{admin} answers {status}: {}", text.trim_end())),
    }
}
