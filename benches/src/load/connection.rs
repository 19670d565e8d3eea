//! Requests, connections, and one exchange over them.

use crate::LocalExecutor;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri, body::Incoming};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;

/// What a load generator speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 with kept-alive connections.
    Http1,
    /// HTTP/2 with prior knowledge, without TLS.
    Http2,
}

/// A request that can be sent many times.
#[derive(Debug, Clone)]
pub struct Template {
    /// Its method.
    pub method: Method,
    authority: HeaderValue,
    origin_form: Uri,
    absolute_form: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Template {
    /// A request for `path` (with its query) at the host `authority`.
    ///
    /// # Panics
    /// When the two do not make a URI: they are written by who writes the benchmark.
    pub fn new(method: Method, authority: &str, path: &str, body: impl Into<Bytes>) -> Self {
        let absolute = format!("http://{authority}{path}");
        Self {
            method,
            authority: HeaderValue::from_str(authority).expect("the authority is a header value"),
            origin_form: path.parse().expect("the path is a URI"),
            absolute_form: absolute.parse().expect("authority and path make a URI"),
            headers: HeaderMap::new(),
            body: body.into(),
        }
    }

    /// `GET` without a body.
    pub fn get(authority: &str, path: &str) -> Self {
        Self::new(Method::GET, authority, path, Bytes::new())
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    fn request(&self, protocol: Protocol) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        request.headers_mut().clone_from(&self.headers);
        match protocol {
            Protocol::Http1 => {
                *request.uri_mut() = self.origin_form.clone();
                request.headers_mut().insert(HOST, self.authority.clone());
            }
            Protocol::Http2 => *request.uri_mut() = self.absolute_form.clone(),
        }
        request
    }
}

/// Why a request has no status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made.
    Connect(String),
    /// The connection or the stream broke after the request was written.
    Broken(String),
    /// No whole response within [`super::Load::timeout`].
    TimedOut,
}

impl Failure {
    /// One word for tables.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Broken(_) => "broken",
            Self::TimedOut => "timed out",
        }
    }
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) answered_by: Option<HeaderValue>,
}

/// A connection as one lane holds it; a lane of HTTP/2 holds a share of its group's.
pub(super) enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// One connection and the lanes that use it.
pub(super) struct Group {
    target: SocketAddr,
    protocol: Protocol,
    shared: RefCell<Option<http2::SendRequest<Full<Bytes>>>>,
    connecting: tokio::sync::Mutex<()>,
    connects: Rc<Cell<u64>>,
}

impl Group {
    pub(super) fn new(target: SocketAddr, protocol: Protocol, connects: Rc<Cell<u64>>) -> Self {
        Self {
            target,
            protocol,
            shared: RefCell::default(),
            connecting: tokio::sync::Mutex::default(),
            connects,
        }
    }

    async fn stream(&self) -> Result<TokioIo<TcpStream>, Failure> {
        let stream = TcpStream::connect(self.target)
            .await
            .map_err(|error| Failure::Connect(error.to_string()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| Failure::Connect(error.to_string()))?;
        self.connects.set(self.connects.get() + 1);
        Ok(TokioIo::new(stream))
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        match self.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(self.stream().await?)
                    .await
                    .map_err(|error| Failure::Connect(error.to_string()))?;
                tokio::task::spawn_local(connection);
                Ok(Sender::Http1(sender))
            }
            Protocol::Http2 => self.share().await.map(Sender::Http2),
        }
    }

    /// The group's HTTP/2 connection, opened by the first lane that finds none.
    async fn share(&self) -> Result<http2::SendRequest<Full<Bytes>>, Failure> {
        let _turn = self.connecting.lock().await;
        if let Some(sender) = self
            .shared
            .borrow()
            .as_ref()
            .filter(|sender| !sender.is_closed())
        {
            return Ok(sender.clone());
        }
        let (sender, connection) = http2::Builder::new(LocalExecutor)
            .handshake(self.stream().await?)
            .await
            .map_err(|error| Failure::Connect(error.to_string()))?;
        tokio::task::spawn_local(connection);
        *self.shared.borrow_mut() = Some(sender.clone());
        Ok(sender)
    }
}

impl Sender {
    async fn ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// `Err(None)`: the request was never written, so that another connection may carry it.
    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Option<Failure>> {
        let sent = match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut error| match error.take_message() {
            Some(_) => None,
            None => Some(Failure::Broken(error.into_error().to_string())),
        })
    }
}

/// Sends one request over the lane's `own` connection and reads the whole response. A kept-alive
/// connection that the server had closed before the request was written is replaced, as HTTP
/// clients do; nothing else is repeated.
pub(super) async fn exchange(
    group: &Group,
    own: &mut Option<Sender>,
    template: &Template,
    answered_by: Option<&HeaderName>,
) -> Result<Answer, Failure> {
    let response = loop {
        let (mut sender, fresh) = match own.take() {
            Some(sender) => (sender, false),
            None => (group.connect().await?, true),
        };
        let sent = if sender.ready().await {
            sender.send(template.request(group.protocol)).await
        } else {
            Err(None)
        };
        match sent {
            Ok(response) => {
                *own = Some(sender);
                break response;
            }
            Err(None) if !fresh => {}
            Err(None) => {
                return Err(Failure::Connect(
                    "closed before the request was written".into(),
                ));
            }
            Err(Some(failure)) => return Err(failure),
        }
    };
    let status = response.status().as_u16();
    let answered_by = answered_by
        .and_then(|name| response.headers().get(name))
        .cloned();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| Failure::Broken(error.to_string()))?;
    }
    Ok(Answer {
        status,
        answered_by,
    })
}
