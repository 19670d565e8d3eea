//! HTTP/2 with prior knowledge, stream by stream: what a library that tidies up would hide.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server does with its connection after a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Keeps it.
    Stay,
    /// Sends GOAWAY, finishes what is open, and closes.
    Leave,
    /// Sends GOAWAY with this reason and closes at once.
    Abort(Reason),
}

/// One stream that arrived at a [`StreamServer`].
#[derive(Debug)]
pub struct Call {
    /// The request; its body is still on the way.
    pub request: Request<RecvStream>,
    /// Where the answer goes.
    pub respond: SendResponse<Bytes>,
    /// Which stream of the server this is, over all connections, from 0.
    pub number: usize,
}

type Handler = dyn Fn(Call) -> Pin<Box<dyn Future<Output = Then> + Send>> + Send + Sync;

/// An HTTP/2 server on a free port of loopback; it belongs to the runtime that started it.
#[derive(Debug)]
pub struct StreamServer {
    address: SocketAddr,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    streams: AtomicUsize,
}

impl StreamServer {
    /// Starts one that gives each stream to `handler`.
    ///
    /// # Panics
    ///
    /// When loopback has no free port.
    pub async fn start<F>(handler: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Then> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let handler: Arc<Handler> = Arc::new(move |call| Box::pin(handler(call)));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&handler), Arc::clone(&shared)));
            }
        });
        Self {
            address,
            counts,
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Streams opened so far.
    pub fn streams(&self) -> usize {
        self.counts.streams.load(Ordering::SeqCst)
    }
}

impl Drop for StreamServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, handler: Arc<Handler>, counts: Arc<Counts>) {
    drop(stream.set_nodelay(true));
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let (then, mut orders) = mpsc::channel(16);
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                let number = counts.streams.fetch_add(1, Ordering::SeqCst);
                let (handler, then) = (Arc::clone(&handler), then.clone());
                tokio::spawn(async move {
                    let order = handler(Call { request, respond, number }).await;
                    // When nobody takes the order, the connection has ended.
                    then.send(order).await.ok();
                });
            }
            Some(order) = orders.recv() => match order {
                Then::Stay => {}
                Then::Leave => connection.graceful_shutdown(),
                Then::Abort(reason) => connection.abrupt_shutdown(reason),
            },
        }
    }
}

/// A whole body with what came after it.
#[derive(Debug, Clone)]
pub struct Whole {
    /// Head of the response.
    pub head: http::response::Parts,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: HeaderMap,
}

impl Whole {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// The body as the JSON that [`crate::echo`] reports.
    ///
    /// # Panics
    ///
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }
}

/// A client connection.
#[derive(Debug, Clone)]
pub struct StreamClient {
    sender: SendRequest<Bytes>,
}

impl StreamClient {
    /// Connects with prior knowledge. The task tells how the connection ended.
    ///
    /// # Panics
    ///
    /// When nothing listens there, or it does not speak HTTP/2.
    pub async fn connect(address: SocketAddr) -> (Self, JoinHandle<Result<(), h2::Error>>) {
        Self::connect_by(&h2::client::Builder::new(), address).await
    }

    /// Connects with settings of one's own.
    ///
    /// # Panics
    ///
    /// As [`StreamClient::connect`].
    pub async fn connect_by(
        builder: &h2::client::Builder,
        address: SocketAddr,
    ) -> (Self, JoinHandle<Result<(), h2::Error>>) {
        let stream = TcpStream::connect(address)
            .await
            .expect("something listens there");
        stream
            .set_nodelay(true)
            .expect("a connected socket takes options");
        let (sender, connection) = builder.handshake(stream).await.expect("it speaks HTTP/2");
        (Self { sender }, tokio::spawn(connection))
    }

    /// Opens a stream; without `end` its body is sent through what comes back.
    ///
    /// # Errors
    ///
    /// When the connection takes no more streams.
    ///
    /// # Panics
    ///
    /// When it takes none within ten seconds.
    pub async fn open(
        &self,
        request: Request<()>,
        end: bool,
    ) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        let ready = tokio::time::timeout(PATIENCE, self.sender.clone().ready());
        ready
            .await
            .expect("the connection takes streams")?
            .send_request(request, end)
    }

    /// Sends a request with a whole body, and reads the whole answer.
    ///
    /// # Errors
    ///
    /// What ended the stream or the connection instead.
    ///
    /// # Panics
    ///
    /// When it takes longer than ten seconds.
    pub async fn ask(
        &self,
        request: Request<()>,
        body: &[u8],
        trailers: Option<HeaderMap>,
    ) -> Result<Whole, h2::Error> {
        let (response, mut stream) = self
            .open(request, body.is_empty() && trailers.is_none())
            .await?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), trailers.is_none())?;
        }
        if let Some(trailers) = trailers {
            stream.send_trailers(trailers)?;
        }
        whole(response).await
    }

    /// Asks by GET.
    ///
    /// # Errors
    ///
    /// As [`StreamClient::ask`].
    ///
    /// # Panics
    ///
    /// As [`StreamClient::ask`].
    pub async fn get(&self, uri: &str) -> Result<Whole, h2::Error> {
        self.ask(get(uri), b"", None).await
    }
}

/// A GET of an absolute URI.
///
/// # Panics
///
/// When the URI is not one.
pub fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).expect("the URI is valid")
}

/// Reads a whole answer.
///
/// # Errors
///
/// What ended it before.
///
/// # Panics
///
/// When it takes longer than ten seconds.
pub async fn whole(response: h2::client::ResponseFuture) -> Result<Whole, h2::Error> {
    let reading = async {
        let (head, body) = response.await?.into_parts();
        let (body, trailers) = read(body).await?;
        Ok(Whole {
            head,
            body,
            trailers,
        })
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the answer comes in time")
}

/// Reads a body and its trailers, and gives the peer room for more all the while.
///
/// # Errors
///
/// What ended it before.
pub async fn read(mut body: RecvStream) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((bytes, body.trailers().await?.unwrap_or_default()))
}

/// Answers a call with this status and text.
///
/// # Panics
///
/// When the stream is gone already.
pub fn answer(call: &mut Call, status: u16, text: &'static str) {
    let response = Response::builder()
        .status(status)
        .body(())
        .expect("the status is valid");
    let mut body = call
        .respond
        .send_response(response, text.is_empty())
        .expect("the stream is open");
    if !text.is_empty() {
        body.send_data(Bytes::from_static(text.as_bytes()), true)
            .expect("the stream is open");
    }
}
