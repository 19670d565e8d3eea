//! What both ends of an HTTP/2 stream have in common: a body on its way out, and signs of life.

use super::BoxError;
use bytes::Bytes;
use h2::{Ping, PingPong, Reason, SendStream};
use http_body::Body;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Sends `body` as the peer makes room for it. When the body breaks off, the stream is reset.
///
/// # Errors
/// When the stream ends before the body.
pub(crate) async fn pump<B>(mut body: B, mut stream: SendStream<Bytes>) -> Result<(), h2::Error>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(reset) = stream.poll_reset(cx) {
                return Poll::Ready(Err(reset.map_or_else(|error| error, h2::Error::from)));
            }
            Pin::new(&mut body).poll_frame(cx).map(Ok)
        });
        let frame = match next.await? {
            None => return stream.send_data(Bytes::new(), true),
            Some(Err(error)) => {
                stream.send_reset(reason_of(&*error));
                return Ok(());
            }
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) => {
                let over = body.is_end_stream();
                if !data.is_empty() {
                    room(&mut stream).await?;
                }
                stream.send_data(data, over)?;
                if over {
                    return Ok(());
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    stream.reserve_capacity(0);
                    return stream.send_trailers(trailers);
                }
            }
        }
    }
}

/// Waits until the peer takes at least a byte. No more is reserved: claims of many streams on a small
/// window would only get in each other's way.
async fn room(stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    stream.reserve_capacity(1);
    poll_fn(|cx| {
        while stream.capacity() == 0 {
            if let Poll::Ready(reset) = stream.poll_reset(cx) {
                return Poll::Ready(Err(reset.map_or_else(|error| error, h2::Error::from)));
            }
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Err(Reason::CANCEL.into())),
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}

/// What a peer is told when its stream ends for this reason: what the other side's peer said, if it did, but for what
/// would blame this one for what the other has done.
pub(crate) fn reason_of(error: &(dyn std::error::Error + 'static)) -> Reason {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(reason) = error
            .downcast_ref::<h2::Error>()
            .and_then(h2::Error::reason)
        {
            return match reason {
                Reason::PROTOCOL_ERROR
                | Reason::FLOW_CONTROL_ERROR
                | Reason::STREAM_CLOSED
                | Reason::FRAME_SIZE_ERROR
                | Reason::COMPRESSION_ERROR => Reason::INTERNAL_ERROR,
                other => other,
            };
        }
        source = error.source();
    }
    Reason::INTERNAL_ERROR
}

/// Asks a silent peer for a sign of life while there are streams; peers that talk are not asked, since
/// some take pings amiss.
pub(crate) struct Pings {
    pings: PingPong,
    /// Set by whatever the peer sends.
    heard: Arc<AtomicBool>,
    every: Duration,
    patience: Duration,
    next: Pin<Box<Sleep>>,
    asked: bool,
}

impl Pings {
    /// Asks after `every` of silence; `patience` is the time for the answer.
    pub(crate) fn new(
        pings: PingPong,
        heard: Arc<AtomicBool>,
        every: Duration,
        patience: Duration,
    ) -> Self {
        Self {
            pings,
            heard,
            every,
            patience,
            next: Box::pin(sleep(every)),
            asked: false,
        }
    }

    /// Ready when the peer must be taken for gone. `busy`: it has streams.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, busy: bool) -> Poll<()> {
        loop {
            ready!(self.next.as_mut().poll(cx));
            let heard = self.heard.swap(false, Relaxed);
            if self.asked && !heard {
                return Poll::Ready(());
            }
            let mut wait = self.every;
            if self.asked {
                // Whatever it was that came: the peer lives. Its answer is taken, so that it can be asked again.
                self.asked = self.pings.poll_pong(cx).is_pending();
            } else if busy && !heard && self.pings.send_ping(Ping::opaque()).is_ok() {
                self.asked = true;
                wait = self.patience;
            }
            self.next.as_mut().reset(Instant::now() + wait);
        }
    }
}
