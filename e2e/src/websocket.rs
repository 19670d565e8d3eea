//! A WebSocket echo server.

use futures_util::{SinkExt, StreamExt};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, WebSocketConfig};

/// Messages up to this size are echoed.
const MESSAGE: usize = 64 * 1024 * 1024;

/// Sends every text and binary message back. The text `close <code> <reason>` makes it close,
/// `drop` makes it vanish without a close frame. It stops when dropped.
#[derive(Debug)]
pub struct WebSocketEcho {
    address: SocketAddr,
    counts: Arc<Counts>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    echoes: AtomicUsize,
    closed: AtomicUsize,
}

impl WebSocketEcho {
    /// Starts one on a free port of loopback, with a thread of its own.
    ///
    /// # Panics
    ///
    /// When loopback has no free port.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        listener
            .set_nonblocking(true)
            .expect("a listening socket takes options");
        let counts = Arc::new(Counts::default());
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&counts);
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
            counts,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Handshakes done so far.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Messages echoed so far.
    pub fn echoes(&self) -> usize {
        self.counts.echoes.load(Ordering::SeqCst)
    }

    /// Connections that have ended, however.
    pub fn closed(&self) -> usize {
        self.counts.closed.load(Ordering::SeqCst)
    }
}

impl Drop for WebSocketEcho {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(listener: TcpListener, counts: Arc<Counts>) {
    while let Ok((stream, _)) = listener.accept().await {
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            // A broken connection is the peer's business; the test looks at its own end.
            let done = Box::pin(echo(stream, &counts)).await;
            drop(done);
            counts.closed.fetch_add(1, Ordering::SeqCst);
        });
    }
}

async fn echo(
    stream: TcpStream,
    counts: &Counts,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    let mut socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    counts.connections.fetch_add(1, Ordering::SeqCst);
    while let Some(message) = socket.next().await {
        match message? {
            Message::Text(text) if text.as_str() == "drop" => return Ok(()),
            Message::Text(text) if text.starts_with("close ") => {
                socket.close(Some(close_frame(text.as_str()))).await?;
            }
            message @ (Message::Text(_) | Message::Binary(_)) => {
                counts.echoes.fetch_add(1, Ordering::SeqCst);
                socket.send(message).await?;
            }
            // Pings are answered and close frames are returned by the library.
            _ => {}
        }
    }
    Ok(())
}

fn close_frame(order: &str) -> CloseFrame {
    let mut words = order.splitn(3, ' ').skip(1);
    let code: u16 = words
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(1000);
    CloseFrame {
        code: code.into(),
        reason: words.next().unwrap_or_default().into(),
    }
}
