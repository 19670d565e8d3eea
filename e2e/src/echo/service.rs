//! Answers one request of an echo server.

use super::{Controls, Seen, checksum, pattern};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Counts a request as open, and as cancelled when it is dropped before [`Open::done`].
struct Open {
    seen: Arc<Seen>,
    done: bool,
}

impl Open {
    fn new(seen: Arc<Seen>) -> Self {
        seen.requests.fetch_add(1, Ordering::SeqCst);
        seen.open.fetch_add(1, Ordering::SeqCst);
        Self { seen, done: false }
    }

    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.seen.open.fetch_sub(1, Ordering::SeqCst);
        if !self.done {
            self.seen.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Answers as the request asks.
///
/// # Errors
///
/// When the body of the request breaks off.
pub(super) async fn answer(
    request: Request<Incoming>,
    connection: usize,
    seen: Arc<Seen>,
) -> Result<Response<Body>, hyper::Error> {
    let open = Open::new(Arc::clone(&seen));
    let controls = Controls::parse(request.uri().query());
    let (head, body) = request.into_parts();
    let mut report = json!({
        "server": seen.name,
        "connection": connection,
        "method": head.method.as_str(),
        "target": head.uri.path_and_query().map(|target| target.as_str()),
        "authority": head.uri.authority().map(|authority| authority.as_str()),
        "version": format!("{:?}", head.version),
        "headers": fields(&head.headers),
    });
    let response = response(&controls);
    if controls.mirror {
        return Ok(response
            .body(mirror(body, open))
            .expect("the parts are valid"));
    }
    if !controls.early {
        let (bytes, sum, trailers) = read(body).await?;
        report["bodyBytes"] = json!(bytes);
        report["bodySum"] = json!(sum);
        report["trailers"] = json!(trailers);
    }
    tokio::time::sleep(controls.delay).await;
    let whole = match controls.bytes {
        Some(count) => Content::Pattern(count),
        None => Content::Report(report.to_string().into()),
    };
    let length = whole.length();
    let mut response = response;
    if controls.bytes.is_none() {
        response = response.header(CONTENT_TYPE, "application/json");
    }
    if (controls.length || controls.bytes.is_none()) && !controls.trailers {
        response = response.header(CONTENT_LENGTH, length);
    }
    let body = if matches!(controls.status, 204 | 304) || head.method == "HEAD" {
        open.done();
        Empty::new().map_err(|never| match never {}).boxed_unsync()
    } else {
        pieces(whole, controls, open)
    };
    Ok(response.body(body).expect("the parts are valid"))
}

fn response(controls: &Controls) -> http::response::Builder {
    let status = StatusCode::from_u16(controls.status).unwrap_or(StatusCode::OK);
    let mut response = Response::builder().status(status);
    for (name, value) in &controls.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response = response.header(name, value);
        }
    }
    if controls.trailers {
        response = response.header("trailer", "x-trailer, x-bytes");
    }
    response
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}

async fn read(mut body: Incoming) -> Result<(usize, u32, Vec<(String, String)>), hyper::Error> {
    let (mut bytes, mut sum, mut trailers) = (0, 0, Vec::new());
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                bytes += data.len();
                sum = checksum(sum, &data);
            }
            Err(frame) => trailers.extend(frame.trailers_ref().map(fields).unwrap_or_default()),
        }
    }
    Ok((bytes, sum, trailers))
}

/// What a response consists of.
enum Content {
    Report(Bytes),
    Pattern(usize),
}

impl Content {
    fn length(&self) -> usize {
        match self {
            Self::Report(text) => text.len(),
            Self::Pattern(count) => *count,
        }
    }

    fn piece(&self, start: usize, size: usize) -> Bytes {
        let end = (start + size).min(self.length());
        match self {
            Self::Report(text) => text.slice(start..end),
            Self::Pattern(_) => pattern(start, end - start),
        }
    }
}

/// Sends the content piece by piece, from a task that ends when nobody takes the pieces.
fn pieces(content: Content, controls: Controls, open: Open) -> Body {
    let (sender, body) = channel();
    tokio::spawn(async move {
        let (mut start, mut count) = (0, 0);
        while start < content.length() {
            if controls.fail == Some(count) {
                drop(
                    sender
                        .send(Err(io::Error::other("broken off on request")))
                        .await,
                );
                return;
            }
            let piece = content.piece(start, controls.chunk);
            start += piece.len();
            count += 1;
            if sender.send(Ok(Frame::data(piece))).await.is_err()
                || !pause(&sender, controls.gap).await
            {
                return;
            }
        }
        if controls.trailers {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-trailer", HeaderValue::from_static("end"));
            trailers.insert("x-bytes", HeaderValue::from(start));
            if sender.send(Ok(Frame::trailers(trailers))).await.is_err() {
                return;
            }
        }
        open.done();
    });
    body
}

/// Waits; `false` as soon as nobody listens any more.
async fn pause(sender: &mpsc::Sender<io::Result<Frame<Bytes>>>, time: Duration) -> bool {
    if time.is_zero() {
        return true;
    }
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        () = sender.closed() => false,
    }
}

/// Sends back what comes, frame by frame, trailers included.
fn mirror(mut incoming: Incoming, open: Open) -> Body {
    let (sender, body) = channel();
    tokio::spawn(async move {
        while let Some(frame) = incoming.frame().await {
            let broken = frame.is_err();
            if sender.send(frame.map_err(io::Error::other)).await.is_err() || broken {
                return;
            }
        }
        open.done();
    });
    body
}

fn channel() -> (mpsc::Sender<io::Result<Frame<Bytes>>>, Body) {
    let (sender, mut receiver) = mpsc::channel(1);
    let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    (sender, StreamBody::new(stream).boxed_unsync())
}
