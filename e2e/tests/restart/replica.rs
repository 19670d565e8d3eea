//! A replica that restarts the way a well-kept service does: it takes what is queued, says with its
//! answers that connections end, and closes idle ones afterwards.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How often each id of a POST arrived, over all replicas.
pub(crate) type Ledger = Arc<Mutex<HashMap<u64, u32>>>;

/// How long a new connection may take to send its first request while the replica closes.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// Where a replica is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Life {
    Serving,
    Draining,
    Closing,
}

/// A running replica.
pub(crate) struct Replica {
    address: SocketAddr,
    ledger: Ledger,
    life: watch::Sender<Life>,
    task: JoinHandle<()>,
}

impl Replica {
    pub(crate) fn start(address: SocketAddr, ledger: &Ledger) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(address).expect("the address is free");
        let listener = socket.listen(1024).expect("a bound socket listens");
        let address = listener.local_addr().expect("it is bound");
        let (life, lives) = watch::channel(Life::Serving);
        Self {
            address,
            ledger: Arc::clone(ledger),
            life,
            task: tokio::spawn(serve(listener, Arc::clone(ledger), lives)),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drains for `window`, ends, and starts again at the same address.
    pub(crate) async fn restart(&mut self, window: Duration) {
        self.life.send_replace(Life::Draining);
        tokio::time::sleep(window).await;
        self.life.send_replace(Life::Closing);
        (&mut self.task).await.expect("a replica does not panic");
        *self = Self::start(self.address, &self.ledger);
    }
}

async fn serve(listener: TcpListener, ledger: Ledger, lives: watch::Receiver<Life>) {
    let mut connections = JoinSet::new();
    let mut stopped = lives.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("descriptors suffice");
                connections.spawn(connection(stream, Arc::clone(&ledger), lives.clone()));
            }
            _ = stopped.wait_for(|life| *life == Life::Closing) => break,
        }
    }
    // What is queued, the runtime may not have seen yet.
    let listener = listener.into_std().expect("it is ours");
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true).expect("an option");
        let stream = TcpStream::from_std(stream).expect("within a runtime");
        connections.spawn(connection(stream, Arc::clone(&ledger), lives.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, ledger: Ledger, mut lives: watch::Receiver<Life>) {
    stream.set_nodelay(true).expect("an option");
    let mut first = [0; 3];
    let http2 = stream.peek(&mut first).await.is_ok() && &first == b"PRI";
    let seen = lives.clone();
    let (asked, was_asked) = watch::channel(false);
    let service = service_fn(move |request| {
        asked.send_replace(true);
        let (ledger, draining) = (Arc::clone(&ledger), *seen.borrow() > Life::Serving);
        answer(request, ledger, draining)
    });
    let io = TokioIo::new(stream);
    // What a peer does with its connections shows at its own end.
    if http2 {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = lives.wait_for(|life| *life > Life::Serving) => connection.as_mut().graceful_shutdown(),
        }
        connection.await.ok();
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = close_time(&mut lives, was_asked) => connection.as_mut().graceful_shutdown(),
        }
        connection.await.ok();
    }
}

/// When an HTTP/1 connection that is idle closes: not before its first request has come, for which
/// it was opened, unless that takes too long.
async fn close_time(lives: &mut watch::Receiver<Life>, mut asked: watch::Receiver<bool>) {
    lives.wait_for(|life| *life == Life::Closing).await.ok();
    let first = asked.wait_for(|asked| *asked);
    tokio::time::timeout(FIRST_REQUEST, first).await.ok();
}

async fn answer(
    request: Request<Incoming>,
    ledger: Ledger,
    draining: bool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(Full::default());
    match body.collect().await {
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
        Ok(body) => {
            let body = body.to_bytes();
            if head.method == Method::POST {
                let id = body
                    .get(..8)
                    .map(|id| u64::from_be_bytes(id.try_into().expect("eight")));
                let mut ledger = ledger.lock().expect("nobody panics with it");
                *ledger
                    .entry(id.expect("a POST begins with its id"))
                    .or_default() += 1;
            }
            *response.body_mut() = Full::new(body);
        }
    }
    if draining && head.version == Version::HTTP_11 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}
