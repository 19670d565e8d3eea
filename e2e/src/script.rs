//! Servers that follow a script: each connection is a function over its [`Wire`].

use crate::wire::{Head, Wire};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a silent server holds a connection at most.
const SILENCE: Duration = Duration::from_secs(30);

/// A scripted TCP server on a free port of loopback. It stops accepting when dropped.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    record: Arc<Record>,
}

#[derive(Debug, Default)]
struct Record {
    stopped: AtomicBool,
    connections: AtomicUsize,
    requests: Mutex<Vec<Head>>,
    texts: Mutex<Vec<String>>,
}

/// A connection of a scripted server.
#[derive(Debug)]
pub struct Guest {
    /// The connection.
    pub wire: Wire,
    /// Which connection this is, from 0.
    pub number: usize,
    record: Arc<Record>,
}

impl Guest {
    /// Reads a request with its body and notes its head for [`Scripted::requests`].
    ///
    /// # Panics
    ///
    /// When no whole request comes in time.
    pub fn request(&mut self) -> crate::wire::Message {
        let head = self.wire.read_head();
        self.note(&head);
        self.wire.read_rest(head, "")
    }

    /// Reads a head only and notes it; `None` when the connection ends instead.
    pub fn request_head(&mut self) -> Option<Head> {
        let head = self.wire.try_read_head().ok()?;
        self.note(&head);
        Some(head)
    }

    fn note(&self, head: &Head) {
        self.record
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(head.clone());
    }

    /// Notes something for [`Scripted::texts`].
    pub fn record_text(&self, text: &str) {
        self.record
            .texts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text.to_owned());
    }

    /// Waits until the server is dropped, or half a minute.
    pub fn hold(&self) {
        let deadline = Instant::now() + SILENCE;
        while !self.record.stopped.load(Ordering::Relaxed) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Scripted {
    /// Starts a server that gives each connection to `script`, on a thread of its own.
    ///
    /// # Panics
    ///
    /// When loopback has no free port.
    pub fn start(script: impl Fn(Guest) + Send + Sync + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// Starts a server at an address that another one has left.
    ///
    /// # Panics
    ///
    /// When the address is taken.
    pub fn start_at(address: SocketAddr, script: impl Fn(Guest) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let record = Arc::new(Record::default());
        let script = Arc::new(script);
        let shared = Arc::clone(&record);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let number = shared.connections.fetch_add(1, Ordering::Relaxed);
                let guest = Guest {
                    wire: Wire::over(stream),
                    number,
                    record: Arc::clone(&shared),
                };
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(guest));
            }
        });
        Self { address, record }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.record.connections.load(Ordering::Relaxed)
    }

    /// Heads of the requests read so far.
    pub fn requests(&self) -> Vec<Head> {
        self.record
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What scripts noted so far.
    pub fn texts(&self) -> Vec<String> {
        self.record
            .texts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Answers every request with the same bytes and keeps the connection open.
    pub fn answering(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::start(move |mut guest| {
            while let Some(head) = guest.request_head() {
                guest.wire.read_rest(head, "");
                if !guest.wire.try_send(&response) {
                    return;
                }
            }
        })
    }

    /// Accepts and never answers.
    pub fn silent() -> Self {
        Self::start(|guest| guest.hold())
    }

    /// Resets each connection as soon as it is accepted.
    pub fn resetting() -> Self {
        Self::start(|guest| guest.wire.reset())
    }

    /// Reads a request and resets the connection instead of answering.
    pub fn resetting_after_request() -> Self {
        Self::start(|mut guest| {
            if guest.request_head().is_some() {
                guest.wire.reset();
            }
        })
    }

    /// Sends a head that promises 100 bytes, 10 of them, and then resets (`true`) or closes.
    pub fn half_answering(reset: bool) -> Self {
        Self::start(move |mut guest| {
            if guest.request_head().is_some() {
                guest
                    .wire
                    .send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789");
                std::thread::sleep(Duration::from_millis(50));
                if reset {
                    guest.wire.reset();
                }
            }
        })
    }

    /// Answers in pieces of one byte with a pause after each.
    pub fn dribbling(response: impl Into<Vec<u8>>, pause: Duration) -> Self {
        let response = response.into();
        Self::start(move |mut guest| {
            while guest.request_head().is_some() {
                guest.wire.dribble(&response, 1, pause);
            }
        })
    }

    /// Answers one request of each connection as if it were kept alive, and closes it after a pause.
    pub fn closing_idle(pause: Duration) -> Self {
        Self::start(move |mut guest| {
            if guest.request_head().is_some() {
                guest
                    .wire
                    .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                std::thread::sleep(pause);
            }
        })
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.record.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread; when that fails it has ended already.
        drop(TcpStream::connect_timeout(
            &self.address,
            Duration::from_secs(1),
        ));
    }
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// When it does not within ten seconds; `what` says what was waited for.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(Duration::from_secs(10), what, condition);
}

/// Waits until `condition` holds, at most so long.
///
/// # Panics
///
/// When it does not.
pub fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits like [`eventually`] without blocking the runtime, which may be what runs the servers.
///
/// # Panics
///
/// When it does not within ten seconds; `what` says what was waited for.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
