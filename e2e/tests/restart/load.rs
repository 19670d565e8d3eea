//! An open loop of clients that keep to the RFCs: they never send a POST twice once bytes of it may
//! have left, repeat a GET once when a kept connection turns out to be closed, and leave
//! connections that say that they end. An HTTP/2 stream that the peer says it did not process is
//! sent again whatever the method (RFC 9113 section 8.7).

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Requests under way at most; further ones wait, as a slow machine demands.
const IN_FLIGHT: usize = 512;
/// How long a request may take, restarts included.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a POST, the first eight of which are its id.
const BODY: usize = 600;
/// HTTP/2 connections.
const HTTP2_CONNECTIONS: usize = 4;

type Outgoing = Request<Full<Bytes>>;
type Http2Sender = http2::SendRequest<Full<Bytes>>;

/// The clients of one proxy.
pub(crate) struct Clients {
    target: SocketAddr,
    http1: Mutex<Vec<http1::SendRequest<Full<Bytes>>>>,
    /// With how many came before, so that each is left once.
    http2: [tokio::sync::Mutex<(u64, Option<Http2Sender>)>; HTTP2_CONNECTIONS],
    pub(crate) done: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Clients {
    pub(crate) fn new(target: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            target,
            http1: Mutex::default(),
            http2: Default::default(),
            done: AtomicU64::new(0),
            failures: Mutex::default(),
        })
    }

    /// Sends `count` requests at `rate` a second: GET and POST in turn, over HTTP/1.1 and h2c in
    /// turn. Returns the ids of the acknowledged POSTs, and what failed.
    pub(crate) async fn run(self: Arc<Self>, count: u64, rate: f64) -> (Vec<u64>, Vec<String>) {
        let began = Instant::now();
        let mut under_way = JoinSet::new();
        let mut acknowledged = Vec::new();
        for number in 0..count {
            tokio::time::sleep_until(began + Duration::from_secs_f64(number as f64 / rate)).await;
            while under_way.len() >= IN_FLIGHT {
                acknowledged.extend(
                    under_way
                        .join_next()
                        .await
                        .and_then(|ended| ended.expect("no request panics")),
                );
            }
            while let Some(ended) = under_way.try_join_next() {
                acknowledged.extend(ended.expect("no request panics"));
            }
            under_way.spawn(Arc::clone(&self).one(number));
        }
        while let Some(ended) = under_way.join_next().await {
            acknowledged.extend(ended.expect("no request panics"));
        }
        let failures = std::mem::take(&mut *self.failures.lock().expect("nobody panics with it"));
        (acknowledged, failures)
    }

    /// One request; its number, if it was a POST that was acknowledged.
    async fn one(self: Arc<Self>, number: u64) -> Option<u64> {
        let post = number % 2 == 1;
        let http2 = number % 4 >= 2;
        let sent = tokio::time::timeout(PATIENCE, self.exchange(number, post, http2)).await;
        let outcome = sent.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        self.done.fetch_add(1, Ordering::Relaxed);
        match outcome {
            Ok(()) => post.then_some(number),
            Err(why) => {
                let what = format!("#{number} post={post} http2={http2}: {why}");
                self.failures
                    .lock()
                    .expect("nobody panics with it")
                    .push(what);
                None
            }
        }
    }

    async fn exchange(&self, number: u64, post: bool, http2: bool) -> Result<(), String> {
        let mut body = vec![0_u8; if post { BODY } else { 0 }];
        if post {
            body[..8].copy_from_slice(&number.to_be_bytes());
        }
        let body = Bytes::from(body);
        let request = || {
            let target = if http2 { "http://ledger/" } else { "/" };
            Request::builder()
                .method(if post { Method::POST } else { Method::GET })
                .uri(target)
                .header("host", "ledger")
                .body(Full::new(body.clone()))
                .expect("the parts are valid")
        };
        let response = if http2 {
            self.over_http2(number, request).await?
        } else {
            self.over_http1(post, request).await?
        };
        let (head, received) = response;
        if head != 200 || received != body {
            return Err(format!("{head}: {}", String::from_utf8_lossy(&received)));
        }
        Ok(())
    }

    async fn over_http1(
        &self,
        post: bool,
        request: impl Fn() -> Outgoing,
    ) -> Result<(u16, Bytes), String> {
        let mut repeated = false;
        loop {
            let kept = self.http1.lock().expect("nobody panics with it").pop();
            let reused = kept.is_some();
            let mut sender = match kept {
                Some(sender) if sender.is_closed() => continue,
                Some(sender) => sender,
                None => connect_http1(self.target).await?,
            };
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request()).await {
                Ok(response) => {
                    let ends = says_close(&response);
                    let read = read(response).await?;
                    if !ends {
                        self.http1
                            .lock()
                            .expect("nobody panics with it")
                            .push(sender);
                    }
                    return Ok(read);
                }
                Err(mut error) => {
                    // Given back: not a byte of it was sent.
                    if error.take_message().is_some() {
                        continue;
                    }
                    if !reused || post || repeated {
                        return Err(format!("reused={reused}: {:?}", error.error()));
                    }
                    repeated = true;
                }
            }
        }
    }

    async fn over_http2(
        &self,
        number: u64,
        request: impl Fn() -> Outgoing,
    ) -> Result<(u16, Bytes), String> {
        let slot = &self.http2[(number / 4) as usize % HTTP2_CONNECTIONS];
        loop {
            let (generation, mut sender) = {
                let mut slot = slot.lock().await;
                let (generation, current) = &mut *slot;
                let sender = match current {
                    Some(sender) if !sender.is_closed() => sender.clone(),
                    _ => current.insert(connect_http2(self.target).await?).clone(),
                };
                (*generation, sender)
            };
            if sender.ready().await.is_ok() {
                match sender.try_send_request(request()).await {
                    Ok(response) => return read(response).await,
                    Err(mut error) => {
                        if error.take_message().is_none() && !is_unprocessed(error.error()) {
                            return Err(format!("{:?}", error.error()));
                        }
                    }
                }
            }
            let mut slot = slot.lock().await;
            if slot.0 == generation {
                *slot = (generation + 1, None);
            }
        }
    }
}

/// Whether the peer said that it did not process the stream: its id is above the last one of a
/// `GOAWAY` (RFC 9113 section 6.8; h2 ends only those with it), or it was refused (section 8.7).
fn is_unprocessed(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            let going = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            return error.is_remote() && (refused || going);
        }
        cause = inner.source();
    }
    false
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<(u16, Bytes), String> {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await;
    body.map(|body| (status, body.to_bytes()))
        .map_err(|error| format!("the answer broke off: {error:?}"))
}

fn says_close<B>(response: &Response<B>) -> bool {
    let field = response.headers().get(hyper::header::CONNECTION);
    field.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

async fn connect(target: SocketAddr) -> Result<TokioIo<TcpStream>, String> {
    let stream = TcpStream::connect(target).await;
    let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
    stream.set_nodelay(true).expect("an option");
    Ok(TokioIo::new(stream))
}

async fn connect_http1(target: SocketAddr) -> Result<http1::SendRequest<Full<Bytes>>, String> {
    let shaken = http1::handshake(connect(target).await?).await;
    let (sender, connection) = shaken.map_err(|error| format!("handshake: {error:?}"))?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn connect_http2(target: SocketAddr) -> Result<Http2Sender, String> {
    let io = connect(target).await?;
    let shaken = http2::handshake(TokioExecutor::new(), io).await;
    let (sender, connection) = shaken.map_err(|error| format!("handshake: {error:?}"))?;
    tokio::spawn(connection);
    Ok(sender)
}
