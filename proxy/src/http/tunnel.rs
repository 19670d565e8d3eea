//! Upgrades and tunnels: bytes both ways until both sides are done.

use crate::io::{ConnState, Order};
use heddle_core::websocket::{Frames, GOING_AWAY, close_from_client, close_from_server};
use http::Version;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Bytes copied at a time, each way; small enough for ten thousand tunnels.
const COPY_BUFFER: usize = 16 * 1024;

/// The protocol that a head asks to switch to. `h2c` is not passed on: it would hide requests from
/// the proxy, and a server may always ignore it (RFC 9110 section 7.8).
pub(crate) fn upgrade_token(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    if version != Version::HTTP_11 || !headers.contains_key(UPGRADE) {
        return None;
    }
    let asked = headers.get_all(CONNECTION).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',')
                .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
        })
    });
    let token = headers.get(UPGRADE)?;
    let text = token.to_str().ok()?;
    let hides = text.split(',').any(|token| {
        let token = token.trim();
        token.eq_ignore_ascii_case("h2c") || token.to_ascii_lowercase().starts_with("http/")
    });
    (asked && !hides && !text.trim().is_empty()).then(|| token.clone())
}

/// Copies both ways until both sides have ended; the end of one direction travels as a half-close.
/// Returns the bytes from `a` to `b` and back. It fails when the connection is to be closed.
pub(crate) async fn splice<A, B>(state: &ConnState, a: &mut A, b: &mut B) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    tokio::select! {
        copied = tokio::io::copy_bidirectional_with_sizes(a, b, COPY_BUFFER, COPY_BUFFER) => copied,
        () = state.until_closed() => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// As [`splice`], for a WebSocket. When it is to be closed, both sides are told by a close frame,
/// where a frame can stand. `key` masks the one for the service.
pub(crate) async fn splice_websocket<C, S>(
    state: &ConnState,
    caller: C,
    service: S,
    key: [u8; 4],
) -> io::Result<(u64, u64)>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut caller, mut service) = (Followed::new(caller), Followed::new(service));
    let copied = splice(state, &mut caller, &mut service).await;
    if state.ordered() == Order::Close {
        let to_caller = close_from_server(GOING_AWAY);
        let to_service = close_from_client(GOING_AWAY, key);
        // Either may be gone, and there is nobody else to tell.
        tokio::join!(
            caller.say_goodbye(&to_caller),
            service.say_goodbye(&to_service)
        );
    }
    copied
}

/// One side of a WebSocket: the frames that are written to it are followed.
struct Followed<S> {
    stream: S,
    frames: Frames,
}

impl<S: AsyncWrite + Unpin> Followed<S> {
    fn new(stream: S) -> Self {
        let frames = Frames::default();
        Self { stream, frames }
    }

    async fn say_goodbye(&mut self, frame: &[u8]) {
        if self.frames.has_gap() && self.stream.write_all(frame).await.is_err() {
            return;
        }
        self.stream.shutdown().await.ok();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Followed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Followed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.frames.pass(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_upgrades_that_hide_no_requests_are_passed_on() {
        for (connection, upgrade, version, expect) in [
            ("upgrade", "websocket", Version::HTTP_11, true),
            ("keep-alive, Upgrade", "WebSocket", Version::HTTP_11, true),
            ("upgrade", "websocket", Version::HTTP_10, false),
            ("keep-alive", "websocket", Version::HTTP_11, false),
            ("Upgrade, HTTP2-Settings", "h2c", Version::HTTP_11, false),
            ("upgrade", "HTTP/2.0", Version::HTTP_11, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static(connection));
            headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
            assert_eq!(
                upgrade_token(&headers, version).is_some(),
                expect,
                "{connection}; {upgrade}"
            );
        }
    }
}
