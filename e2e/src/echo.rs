//! A server that reports what arrived, as JSON, and obeys the query of each request.
//!
//! It speaks HTTP/1.1 and HTTP/2 with prior knowledge on one port. The report holds `server`,
//! `method`, `target`, `version`, `headers` (pairs, in order), `bodyBytes`, `bodySum`
//! (see [`checksum`]), `trailers` and `connection` (its number on this server).
//! What a query may ask for stands at [`Controls`].

mod controls;
mod service;

pub use controls::{Controls, checksum, pattern};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A running echo server; it stops when dropped.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a server has seen.
#[derive(Debug, Default)]
struct Seen {
    name: String,
    connections: AtomicUsize,
    requests: AtomicUsize,
    open: AtomicUsize,
    cancelled: AtomicUsize,
}

impl Echo {
    /// Starts one on a free port of loopback, with a thread of its own.
    ///
    /// # Panics
    ///
    /// When loopback has no free port.
    pub fn start(name: &str) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        listener
            .set_nonblocking(true)
            .expect("a listening socket takes options");
        let seen = Arc::new(Seen {
            name: name.to_owned(),
            ..Seen::default()
        });
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("the system gives a runtime what it needs");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("the socket is not blocking");
                tokio::select! {
                    () = accept(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            seen,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Requests whose head arrived so far.
    pub fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Requests that are being answered.
    pub fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Requests that ended before their answer was written.
    pub fn cancelled(&self) -> usize {
        self.seen.cancelled.load(Ordering::SeqCst)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Accepts until it is dropped; connections end with the runtime.
async fn accept(listener: TcpListener, seen: Arc<Seen>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let number = seen.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(serve(stream, number, Arc::clone(&seen)));
    }
}

async fn serve(stream: TcpStream, number: usize, seen: Arc<Seen>) {
    drop(stream.set_nodelay(true));
    let http2 = speaks_http2(&stream).await;
    let service = service_fn(move |request| service::answer(request, number, Arc::clone(&seen)));
    let io = TokioIo::new(stream);
    // Broken connections are the peer's business; the test looks at its own end.
    if http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_concurrent_streams(250);
        drop(builder.serve_connection(io, service).await);
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        drop(builder.serve_connection(io, service).await);
    }
}

/// Whether the first bytes are those of HTTP/2 with prior knowledge.
async fn speaks_http2(stream: &TcpStream) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";
    let mut first = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut first).await {
            Ok(count @ 1..) if PREFACE.starts_with(&first[..count]) => {
                if count == PREFACE.len() {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            _ => return false,
        }
    }
}
