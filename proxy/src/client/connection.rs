//! One upstream connection: how it is made, and how a request over it can fail.

use super::watched::{Asked, Watched};
use crate::clock;
use crate::http::{Incoming, OutBody};
use crate::resources::{Lack, Lent, lack_of};
use crate::shared::{EndpointShared, SetShared};
use crate::tls::Upstream;
use heddle_core::Nanos;
use heddle_core::config::Pool;
use heddle_core::guard::answer::{Fault, HEAD_MAX};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
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
    /// This host lacks something, which says nothing of the endpoint.
    Lack(Lack),
    /// The system said no.
    Io(io::Error),
    /// TLS could not be agreed on: why, for people.
    Tls(String),
    /// The protocol could not be started.
    Handshake(Cause),
    /// It was closed before the peer said anything.
    Unheard,
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout => f.write_str("connect timed out"),
            Self::Full(what) => f.write_str(what),
            Self::Lack(lack) => f.write_str(lack.reason()),
            Self::Io(error) => write!(f, "{error}"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
            Self::Handshake(error) => write!(f, "handshake: {error}"),
            Self::Unheard => f.write_str("closed before the server said anything"),
        }
    }
}

/// Counts an open connection for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenGuard {
    set: Arc<SetShared>,
    endpoint: Arc<EndpointShared>,
    open: bool,
    _descriptor: Lent,
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
        let Some(descriptor) = set.descriptors.lend_upstream() else {
            set.connections.fetch_sub(1, Relaxed);
            return Err(ConnectError::Lack(Lack::Descriptors));
        };
        Ok(Self {
            set: set.clone(),
            endpoint: endpoint.clone(),
            open: false,
            _descriptor: descriptor,
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
        let stream = TcpStream::connect(address).await.map_err(|error| {
            lack_of(&error, address).map_or(ConnectError::Io(error), ConnectError::Lack)
        })?;
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
    /// To be told of each request.
    pub(crate) asked: Asked,
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
    let asked = Asked::default();
    let sender = match wire {
        Wire::Plain(stream) => start_http1(Watched::new(stream, asked.clone()), open).await,
        Wire::Secured(stream) => {
            Box::pin(start_http1(Watched::new(stream, asked.clone()), open)).await
        }
    };
    Ok(Http1 {
        sender: sender?,
        asked,
        born: clock::now(),
        reused: false,
        tls,
    })
}

async fn start_http1<S>(
    stream: Watched<S>,
    open: OpenGuard,
) -> Result<http1::SendRequest<OutBody>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(MAX_RESPONSE_HEADERS)
        .max_header_size(HEAD_MAX)
        .max_buf_size(READ_AHEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ConnectError::Handshake(Cause::Http1(error)))?;
    tokio::task::spawn_local(async move {
        // The error reaches the request that was on it, if there was one. Without one, bytes came that nobody had
        // asked for: the beginning of an answer, as it may be, to whoever comes next.
        if let Err(error) = connection.with_upgrades().await
            && error.to_string() == UNEXPECTED
        {
            open.set.metrics.malformed.inc("unasked");
            let endpoint = open.endpoint.address;
            tracing::debug!(%endpoint, "connection ended: bytes behind the end of an answer");
        }
        drop(open);
    });
    Ok(sender)
}

/// Bytes of a response's body read ahead of a caller that is slow; twice what a head may have.
const READ_AHEAD: usize = 128 * 1024;
/// What hyper calls bytes that come while no request is under way; it has no other way to tell.
const UNEXPECTED: &str = "received unexpected message from connection";

/// Header fields of a response; as many as a request may have twice over, since servers add their own.
const MAX_RESPONSE_HEADERS: usize = 256;

/// How an attempt ended without a response.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The connection was dead before anything was written: the request is intact.
    Unused(Cause),
    /// The upstream refused the stream unseen (`REFUSED_STREAM`, or above `GOAWAY`'s last stream).
    Refused(Cause),
    /// It closed or reset before a response.
    Reset(Cause),
    /// It spoke something that is not HTTP, or has two meanings.
    Protocol(Cause),
}

/// What is wrong with what an upstream sent, as a metric label; `None`: it broke off, or went away.
pub(crate) fn malformed(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if let Some(h2) = cause::<h2::Error>(error) {
        let ours = h2.is_library() && h2.reason() != Some(h2::Reason::NO_ERROR);
        return ours.then_some("h2");
    }
    let http1 = cause::<hyper::Error>(error)?;
    if http1.is_parse_too_large() {
        return Some("size");
    }
    if http1.is_parse_status() || http1.is_parse_version_h2() {
        return Some("status-line");
    }
    if http1.is_parse() {
        return Some("syntax");
    }
    let io = cause::<io::Error>(http1)?;
    if let Some(fault) = io.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
        return Some(fault.reason);
    }
    // So hyper calls chunks that are broken.
    matches!(
        io.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
    )
    .then_some("chunk")
}

/// The first of an error and its causes that is an `E`.
fn cause<'e, E: std::error::Error + 'static>(
    error: &'e (dyn std::error::Error + 'static),
) -> Option<&'e E> {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

impl SendError {
    /// Sorts an error of HTTP/1.
    pub(crate) fn http1(error: hyper::Error, unsent: bool) -> Self {
        if unsent {
            Self::Unused(Cause::Http1(error))
        } else if malformed(&error).is_some() {
            Self::Protocol(Cause::Http1(error))
        } else {
            Self::Reset(Cause::Http1(error))
        }
    }

    /// Sorts an error of HTTP/2 that came after the request had gone out.
    pub(crate) fn http2(error: h2::Error) -> Self {
        let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM) || error.is_go_away();
        if refused && error.is_remote() {
            return Self::Refused(Cause::Http2(error));
        }
        if malformed(&error).is_some() {
            return Self::Protocol(Cause::Http2(error));
        }
        Self::Reset(Cause::Http2(error))
    }

    /// What the library says.
    pub(crate) fn cause(&self) -> &Cause {
        match self {
            Self::Unused(cause)
            | Self::Refused(cause)
            | Self::Reset(cause)
            | Self::Protocol(cause) => cause,
        }
    }
}

/// An error of one of the protocols' libraries.
#[derive(Debug)]
pub(crate) enum Cause {
    Http1(hyper::Error),
    Http2(h2::Error),
}

impl Cause {
    /// Whether the peer is about to close the connection.
    pub(crate) fn is_go_away(&self) -> bool {
        matches!(self, Self::Http2(error) if error.is_go_away())
    }

    /// What is wrong with what the peer sent, if anything is.
    pub(crate) fn malformed(&self) -> Option<&'static str> {
        match self {
            Self::Http1(error) => malformed(error),
            Self::Http2(error) => malformed(error),
        }
    }
}

impl std::fmt::Display for Cause {
    /// The error with its own causes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let error: &dyn std::error::Error = match self {
            Self::Http1(error) => error,
            Self::Http2(error) => error,
        };
        write!(f, "{error}")?;
        let mut source = error.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

/// A response whose body is still to come.
pub(crate) type Answer = hyper::Response<Incoming>;
