//! Upgrades and tunnels: bytes both ways until both sides are done.

use http::Version;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};

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
/// Returns the bytes from `a` to `b` and back.
pub(crate) async fn splice<A, B>(a: &mut A, b: &mut B) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    tokio::io::copy_bidirectional_with_sizes(a, b, COPY_BUFFER, COPY_BUFFER).await
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
