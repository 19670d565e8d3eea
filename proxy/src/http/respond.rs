//! The one place where an error becomes a response.

use super::ResponseBody;
use crate::error::Error;
use heddle_core::answer::{Kind, error_header};
use heddle_core::guard::Refusal;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// Tells who made an answer and why.
pub(crate) const HEDDLE_ERR: HeaderName = HeaderName::from_static("heddle-err");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The proxy's own answer: problem+json (RFC 9457) or, for gRPC, trailers only.
pub(crate) fn respond(error: &Error, grpc: bool) -> Response<ResponseBody> {
    let mut response;
    if grpc {
        response = Response::new(ResponseBody::own(""));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, HeaderValue::from(error.kind.grpc()));
        headers.insert(GRPC_MESSAGE, value(&percent_encode(&error.reason)));
    } else {
        response = Response::new(ResponseBody::own(error.kind.problem_json(&error.reason)));
        *response.status_mut() =
            StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::BAD_GATEWAY);
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
    }
    response
        .headers_mut()
        .insert(HEDDLE_ERR, value(&error.kind.error_header(&error.reason)));
    if matches!(error.kind, Kind::Draining) {
        response
            .headers_mut()
            .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer to a message that the guard refuses.
pub(crate) fn refused(refusal: Refusal) -> Response<ResponseBody> {
    let mut response = respond(&Error::refused(refusal), false);
    close(&mut response);
    response
}

/// Says that an answer is the connection's last: nothing is understood of what follows the message.
pub(crate) fn close(response: &mut Response<ResponseBody>) {
    response
        .headers_mut()
        .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
}

/// The same as bytes, where no HTTP is spoken; and how many of them are the body.
pub(crate) fn refused_bytes(refusal: Refusal) -> (Vec<u8>, u64) {
    let kind = Kind::Refused(refusal.status);
    let body = kind.problem_json(refusal.text);
    let bytes = format!(
        "HTTP/1.1 {}\r\nconnection: close\r\ncontent-type: application/problem+json\r\nheddle-err: {}\r\ncontent-length: {}\r\n\r\n{body}",
        StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST),
        kind.error_header(refusal.text),
        body.len()
    );
    (bytes.into_bytes(), body.len() as u64)
}

/// Says of an answer whose it is, and why.
pub(crate) fn says(headers: &mut HeaderMap, word: &str, reason: &str) {
    headers.insert(HEDDLE_ERR, value(&error_header(word, reason)));
}

/// The answer of a `Fault`: its status, or a gRPC code with its message.
pub(crate) fn injected(status: u16, grpc: Option<(u32, &str)>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::own(""));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    if let Some((code, reason)) = grpc {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, HeaderValue::from(code));
        headers.insert(GRPC_MESSAGE, value(&percent_encode(reason)));
    }
    response
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unprintable"))
}

/// gRPC's percent-encoding of `grpc-message`: everything outside 0x20..=0x7e, and `%`.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Whether a head belongs to a gRPC call.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| rest.is_empty() || matches!(rest[0], b'+' | b';' | b' '))
    })
}

/// The gRPC status in trailers, or in the headers of a trailers-only response.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_content_types() {
        for (value, expect) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=x", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_grpc(&headers), expect, "{value}");
        }
    }

    #[test]
    fn a_grpc_message_is_encoded() {
        assert_eq!(percent_encode("50 % of ä\r\n"), "50 %25 of %C3%A4%0D%0A");
    }
}
