//! Bodies as they arrive, from a caller or from an endpoint.

use super::BoxError;
use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, HeaderMap};
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A body that arrives over one of the protocols.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// HTTP/1.
    Http1(hyper::body::Incoming),
    /// A stream of HTTP/2.
    Http2(Stream),
}

/// What comes over a stream of HTTP/2.
#[derive(Debug)]
pub(crate) struct Stream {
    receive: RecvStream,
    /// Bytes that were announced and have not come.
    length: Option<u64>,
    /// Only trailers are left.
    data_over: bool,
}

impl Incoming {
    /// The body of a message of HTTP/2 with these fields.
    pub(crate) fn http2(receive: RecvStream, headers: &HeaderMap) -> Self {
        let length = if receive.is_end_stream() {
            Some(0)
        } else {
            // The library has compared lines that differ, and counts what comes.
            headers
                .get(CONTENT_LENGTH)
                .and_then(|value| value.to_str().ok()?.parse().ok())
        };
        Self::Http2(Stream {
            receive,
            length,
            data_over: false,
        })
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_over {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(data)) => {
                    // It is passed on at once, so the peer may send as much again.
                    self.receive
                        .flow_control()
                        .release_capacity(data.len())
                        .ok();
                    if let Some(left) = &mut self.length {
                        *left = left.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(failed(error)),
                None => self.data_over = true,
            }
        }
        match ready!(self.receive.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(failed(error)),
        }
    }
}

/// A reset with `NO_ERROR` after a complete answer only ends the reading (RFC 9113 section 8.1).
fn failed(error: h2::Error) -> Option<Result<Frame<Bytes>, h2::Error>> {
    (error.reason() != Some(Reason::NO_ERROR)).then_some(Err(error))
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(BoxError::from))),
            Self::Http2(stream) => stream
                .poll(cx)
                .map(|frame| frame.map(|frame| frame.map_err(BoxError::from))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(stream) => stream.receive.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(stream) => stream
                .length
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
