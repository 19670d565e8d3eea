//! A proxy with nothing in it: the floor for what Heddle adds.
//!
//! The same shape as Heddle's data plane (hyper's connection API, one current-thread runtime with
//! local tasks, a pool of the thread's own), without routing, balancing, checks, headers, retries
//! or metrics. Upstreams are taken in turn. Not a proxy to use.

use crate::LocalExecutor;
use crate::load::Protocol;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};

type Idle = Rc<RefCell<Vec<http1::SendRequest<Incoming>>>>;

/// One address and its connections.
struct Upstream {
    address: SocketAddr,
    idle: Idle,
    shared: RefCell<Option<http2::SendRequest<Incoming>>>,
}

struct Upstreams {
    list: Vec<Upstream>,
    next: Cell<usize>,
}

impl Upstreams {
    fn pick(&self) -> &Upstream {
        let next = self.next.get();
        self.next.set((next + 1) % self.list.len());
        &self.list[next]
    }
}

/// Forwards what arrives at `listener` to `upstreams` in turn, in the same protocol, until the
/// listener fails. `upstreams` must not be empty. Runs in a [`tokio::task::LocalSet`].
///
/// # Errors
/// When the listener does.
pub async fn serve(
    listener: TcpListener,
    protocol: Protocol,
    upstreams: &[SocketAddr],
) -> io::Result<()> {
    let list = upstreams
        .iter()
        .map(|&address| Upstream {
            address,
            idle: Idle::default(),
            shared: RefCell::default(),
        })
        .collect();
    let upstreams = Rc::new(Upstreams {
        list,
        next: Cell::new(0),
    });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        let upstreams = Rc::clone(&upstreams);
        tokio::task::spawn_local(async move {
            let service =
                service_fn(move |request| forward(Rc::clone(&upstreams), protocol, request));
            match protocol {
                Protocol::Http1 => {
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(io, service)
                        .await
                }
                Protocol::Http2 => {
                    hyper::server::conn::http2::Builder::new(LocalExecutor)
                        .max_concurrent_streams(256)
                        .serve_connection(io, service)
                        .await
                }
            }
        });
    }
}

async fn forward(
    upstreams: Rc<Upstreams>,
    protocol: Protocol,
    request: Request<Incoming>,
) -> Result<Response<Forwarded>, hyper::Error> {
    let upstream = upstreams.pick();
    let answered = match protocol {
        Protocol::Http1 => over_http1(upstream, request).await,
        Protocol::Http2 => over_http2(upstream, request).await,
    };
    answered.or_else(|error| match error {
        Failed::Connect => {
            let mut response = Response::new(Forwarded {
                body: None,
                pooled: None,
            });
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            Ok(response)
        }
        Failed::Http(error) => Err(error),
    })
}

enum Failed {
    Connect,
    Http(hyper::Error),
}

impl From<io::Error> for Failed {
    fn from(_: io::Error) -> Self {
        Self::Connect
    }
}

impl From<hyper::Error> for Failed {
    fn from(error: hyper::Error) -> Self {
        Self::Http(error)
    }
}

async fn over_http1(
    upstream: &Upstream,
    request: Request<Incoming>,
) -> Result<Response<Forwarded>, Failed> {
    let mut sender = loop {
        let pooled = upstream.idle.borrow_mut().pop();
        match pooled {
            Some(mut sender) => {
                if sender.is_ready() || sender.ready().await.is_ok() {
                    break sender;
                }
            }
            None => {
                let stream = TcpStream::connect(upstream.address).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::task::spawn_local(connection);
                break sender;
            }
        }
    };
    let response = sender.send_request(request).await?;
    let pooled = Some((sender, Rc::clone(&upstream.idle)));
    Ok(response.map(|body| Forwarded {
        body: Some(body),
        pooled,
    }))
}

async fn over_http2(
    upstream: &Upstream,
    request: Request<Incoming>,
) -> Result<Response<Forwarded>, Failed> {
    let shared = upstream
        .shared
        .borrow()
        .as_ref()
        .filter(|sender| !sender.is_closed())
        .cloned();
    let mut sender = match shared {
        Some(sender) => sender,
        None => {
            let stream = TcpStream::connect(upstream.address).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) =
                http2::handshake(LocalExecutor, TokioIo::new(stream)).await?;
            tokio::task::spawn_local(connection);
            upstream.shared.borrow_mut().insert(sender).clone()
        }
    };
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| Forwarded {
        body: Some(body),
        pooled: None,
    }))
}

/// A response's body that gives its connection back when it has ended.
struct Forwarded {
    body: Option<Incoming>,
    pooled: Option<(http1::SendRequest<Incoming>, Idle)>,
}

impl Body for Forwarded {
    type Data = bytes::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        if let Some((sender, idle)) = self.pooled.take()
            && self.is_end_stream()
        {
            idle.borrow_mut().push(sender);
        }
    }
}
