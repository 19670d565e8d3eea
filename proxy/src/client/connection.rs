//! One upstream connection: how it is made and how a request goes over it.

use crate::clock;
use crate::exec::LocalExec;
use crate::http::OutBody;
use crate::io::Io;
use crate::shared::{EndpointShared, SetShared};
use crate::tls::Upstream;
use heddle_core::Nanos;
use heddle_core::config::Pool;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The connect time-out fired.
    Timeout,
    /// The set's cap on connections or on waiting requests is reached.
    Full(&'static str),
    /// The system said no.
    Io(io::Error),
    /// TLS could not be agreed on: why, for people.
    Tls(String),
    /// The protocol could not be started.
    Handshake(hyper::Error),
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout => f.write_str("connect timed out"),
            Self::Full(what) => f.write_str(what),
            Self::Io(error) => write!(f, "{error}"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
            Self::Handshake(error) => write!(f, "handshake: {error}"),
        }
    }
}

/// Counts an open connection for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenGuard {
    set: Arc<SetShared>,
    endpoint: Arc<EndpointShared>,
    open: bool,
}

impl OpenGuard {
    /// Takes one of the set's connection permits.
    pub(crate) fn take(
        set: &Arc<SetShared>,
        endpoint: &Arc<EndpointShared>,
        max: usize,
    ) -> Result<Self, ConnectError> {
        if set.connections.fetch_add(1, Relaxed) >= max {
            set.connections.fetch_sub(1, Relaxed);
            set.metrics.refused.inc("connections");
            return Err(ConnectError::Full(
                "the replica set's cap on connections is reached",
            ));
        }
        Ok(Self {
            set: set.clone(),
            endpoint: endpoint.clone(),
            open: false,
        })
    }

    /// The connection stands.
    pub(crate) fn opened(&mut self) {
        self.open = true;
        self.endpoint.connections.fetch_add(1, Relaxed);
        self.set.metrics.connections_opened.inc();
        self.set.metrics.connections_open.inc();
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.set.connections.fetch_sub(1, Relaxed);
        if !self.open {
            return;
        }
        self.endpoint.connections.fetch_sub(1, Relaxed);
        self.set.metrics.connections_closed.inc();
        self.set.metrics.connections_open.dec();
    }
}

/// A connection to an endpoint, plain or secured. Whoever uses it does so for each kind apart, so that
/// plaintext pays nothing for the other.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

/// Connects within the pool's time-out, which bounds the TLS handshake as well. Returns the version of the
/// TLS settings that it was made under.
pub(crate) async fn connect(
    set: &SetShared,
    address: SocketAddr,
    pool: &Pool,
    inside: Upstream,
) -> Result<(Wire, u64), ConnectError> {
    let (version, tls) = set.tls();
    let connected = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(ConnectError::Io)?;
        // Small messages must not wait for each other; failing to say so is harmless.
        stream.set_nodelay(true).ok();
        let Some(tls) = tls else {
            return Ok(Wire::Plain(stream));
        };
        match Box::pin(tls.shake(stream, address.ip(), inside)).await {
            Ok(stream) => Ok(Wire::Secured(Box::new(stream))),
            Err(failed) => {
                set.metrics.tls_failures.inc(failed.word);
                Err(ConnectError::Tls(failed.sentence))
            }
        }
    };
    match timeout(pool.connect_timeout, connected).await {
        Err(_) => Err(ConnectError::Timeout),
        Ok(done) => done.map(|wire| (wire, version)),
    }
}

/// An HTTP/1 connection that is not in use.
#[derive(Debug)]
pub(crate) struct Http1 {
    pub(crate) sender: http1::SendRequest<OutBody>,
    pub(crate) born: Nanos,
    /// Whether it has carried a request before.
    pub(crate) reused: bool,
    /// The version of the set's TLS settings that it was made under.
    pub(crate) tls: u64,
}

/// Opens an HTTP/1 connection; its task runs until it closes.
pub(crate) async fn connect_http1(
    set: &Arc<SetShared>,
    endpoint: &Arc<EndpointShared>,
    pool: &Pool,
) -> Result<Http1, ConnectError> {
    let mut open = OpenGuard::take(set, endpoint, pool.max_connections)?;
    let started = Instant::now();
    let (wire, tls) = connect(set, endpoint.address, pool, Upstream::Http1).await?;
    open.opened();
    set.metrics.connect_duration.observe(started.elapsed());
    let sender = match wire {
        Wire::Plain(stream) => start_http1(stream, open).await,
        Wire::Secured(stream) => Box::pin(start_http1(stream, open)).await,
    };
    Ok(Http1 {
        sender: sender?,
        born: clock::now(),
        reused: false,
        tls,
    })
}

async fn start_http1<S>(
    stream: S,
    open: OpenGuard,
) -> Result<http1::SendRequest<OutBody>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(MAX_RESPONSE_HEADERS)
        .handshake(TokioIo::new(Io::upstream(stream)))
        .await
        .map_err(ConnectError::Handshake)?;
    tokio::task::spawn_local(async move {
        // The error reaches the request that was on it, if there was one.
        connection.with_upgrades().await.ok();
        drop(open);
    });
    Ok(sender)
}

/// Header fields of a response; as many as a request may have twice over, since servers add their own.
const MAX_RESPONSE_HEADERS: usize = 256;

/// A multiplexed HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Http2 {
    pub(crate) sender: http2::SendRequest<OutBody>,
    pub(crate) born: Nanos,
    /// Streams that we have open on it.
    pub(crate) streams: Cell<usize>,
    /// Streams that the peer allows, as it said last.
    allowed: Rc<Cell<usize>>,
    /// The version of the set's TLS settings that it was made under.
    pub(crate) tls: u64,
}

impl Http2 {
    /// Whether a further stream fits.
    pub(crate) fn has_room(&self, max_streams: usize) -> bool {
        !self.sender.is_closed() && self.streams.get() < max_streams.min(self.allowed.get().max(1))
    }
}

/// Opens an HTTP/2 connection, by ALPN or with prior knowledge.
pub(crate) async fn connect_http2(
    set: &Arc<SetShared>,
    endpoint: &Arc<EndpointShared>,
    pool: &Pool,
) -> Result<Rc<Http2>, ConnectError> {
    let mut open = OpenGuard::take(set, endpoint, pool.max_connections)?;
    let started = Instant::now();
    let (wire, tls) = connect(set, endpoint.address, pool, Upstream::Http2).await?;
    open.opened();
    set.metrics.connect_duration.observe(started.elapsed());
    let (sender, allowed) = match wire {
        Wire::Plain(stream) => start_http2(stream, open, pool).await?,
        Wire::Secured(stream) => Box::pin(start_http2(stream, open, pool)).await?,
    };
    Ok(Rc::new(Http2 {
        sender,
        born: clock::now(),
        streams: Cell::new(0),
        allowed,
        tls,
    }))
}

async fn start_http2<S>(
    stream: S,
    open: OpenGuard,
    pool: &Pool,
) -> Result<(http2::SendRequest<OutBody>, Rc<Cell<usize>>), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut connection) = http2::Builder::new(LocalExec)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .keep_alive_interval(pool.ping)
        .keep_alive_timeout(pool.ping_timeout)
        .handshake(TokioIo::new(Io::upstream(stream)))
        .await
        .map_err(ConnectError::Handshake)?;
    let allowed = Rc::new(Cell::new(connection.current_max_send_streams()));
    let told = allowed.clone();
    tokio::task::spawn_local(async move {
        // A poll may have read new settings, which the pool wants to know; asking takes a lock.
        let mut polls = 0_u32;
        let driven = std::future::poll_fn(|cx| {
            let done = Pin::new(&mut connection).poll(cx);
            polls = polls.wrapping_add(1);
            if polls < SETTLING || polls.is_multiple_of(SETTINGS_EVERY) {
                told.set(connection.current_max_send_streams());
            }
            done
        });
        driven.await.ok();
        drop(open);
    });
    Ok((sender, allowed))
}

/// Polls of a new HTTP/2 connection after each of which its settings are looked at: they come first.
const SETTLING: u32 = 8;
/// And how often afterwards; peers that change them in mid-flight are rare.
const SETTINGS_EVERY: u32 = 32;

/// Bytes of one stream that may be under way towards a slow reader: bounds memory per stream.
pub(crate) const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection.
pub(crate) const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Size of a header list that we accept, as the peer counts it (RFC 9113 section 6.5.2).
pub(crate) const MAX_HEADER_LIST: u32 = 64 * 1024;

/// How an attempt ended without a response.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The connection was dead before anything was written: the request is intact.
    Unused(hyper::Error),
    /// The upstream refused the stream unseen (`REFUSED_STREAM`, or above `GOAWAY`'s last stream).
    Refused(hyper::Error),
    /// It closed or reset before a response.
    Reset(hyper::Error),
    /// It spoke something that is not HTTP.
    Protocol(hyper::Error),
}

impl SendError {
    /// Sorts hyper's error.
    pub(crate) fn from_hyper(error: hyper::Error, unsent: bool) -> Self {
        if unsent {
            return Self::Unused(error);
        }
        if let Some(h2) = h2_error(&error) {
            let refused = h2.reason() == Some(h2::Reason::REFUSED_STREAM)
                || (h2.is_go_away() && h2.is_remote());
            if refused && h2.is_remote() {
                return Self::Refused(error);
            }
            return Self::Reset(error);
        }
        if error.is_parse() {
            return Self::Protocol(error);
        }
        Self::Reset(error)
    }

    /// hyper's error.
    pub(crate) fn inner(&self) -> &hyper::Error {
        match self {
            Self::Unused(e) | Self::Refused(e) | Self::Reset(e) | Self::Protocol(e) => e,
        }
    }
}

/// The HTTP/2 error inside `error`, if that is what it is.
pub(crate) fn h2_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e h2::Error> {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            return Some(h2);
        }
        source = error.source();
    }
    None
}

/// A response whose body is still to come.
pub(crate) type Answer = hyper::Response<Incoming>;
