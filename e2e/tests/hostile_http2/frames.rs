//! HTTP/2 as bytes, without a library that would refuse to send what is wrong.

use heddle_e2e::echo::Echo;
pub(crate) use heddle_e2e::frames::*;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::wire::Wire;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long an attack may go on before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The pseudo fields of an ordinary GET.
pub(crate) fn get() -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "echo"),
        (":path", "/"),
    ])
}

/// What came back on a connection until it was closed, or until what was waited for.
#[derive(Default)]
pub(crate) struct Seen {
    /// Kind, stream and payload of each frame.
    pub(crate) frames: Vec<(u8, u32, Vec<u8>)>,
    /// Streams that were answered to their end.
    ended: Vec<u32>,
    /// The connection was closed.
    pub(crate) closed: bool,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = self.frames.iter();
        let kinds: Vec<_> = kinds
            .map(|(kind, stream, payload)| (kind, stream, payload.len()))
            .collect();
        f.debug_struct("Seen")
            .field("frames", &kinds)
            .field("goaway", &self.goaway())
            .field("closed", &self.closed)
            .finish()
    }
}

impl Seen {
    /// The error code of a GOAWAY.
    pub(crate) fn goaway(&self) -> Option<u32> {
        let frame = self.frames.iter().rev().find(|frame| frame.0 == GOAWAY)?;
        let code = frame.2.get(4..8)?.try_into().ok()?;
        Some(u32::from_be_bytes(code))
    }

    /// How many streams were reset.
    pub(crate) fn resets(&self) -> usize {
        self.frames
            .iter()
            .filter(|frame| frame.0 == RST_STREAM)
            .count()
    }

    /// Whether a stream is answered.
    pub(crate) fn has_headers(&self, stream: u32) -> bool {
        self.frames
            .iter()
            .any(|frame| frame.0 == HEADERS && frame.1 == stream)
    }

    /// Whether a stream is answered to its end.
    pub(crate) fn has_ended(&self, stream: u32) -> bool {
        self.ended.contains(&stream)
    }

    /// The body of a stream's answer.
    pub(crate) fn body(&self, stream: u32) -> String {
        let data = self
            .frames
            .iter()
            .filter(|frame| frame.0 == DATA && frame.1 == stream);
        let bytes: Vec<u8> = data.flat_map(|frame| frame.2.clone()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn is_over(&self, stream: u32) -> bool {
        self.frames.iter().any(|frame| {
            (matches!(frame.0, HEADERS | RST_STREAM) && frame.1 == stream) || frame.0 == GOAWAY
        })
    }

    /// Whether a stream was reset.
    pub(crate) fn is_reset(&self, stream: u32) -> bool {
        self.frames
            .iter()
            .any(|frame| frame.0 == RST_STREAM && frame.1 == stream)
    }

    /// The status of the first answer of a connection, if this stream has it: one of HPACK's static table, or a
    /// literal of three digits.
    pub(crate) fn status(&self, stream: u32) -> Option<u16> {
        let frame = self
            .frames
            .iter()
            .find(|frame| frame.0 == HEADERS && frame.1 == stream)?;
        // An encoder may begin by saying how large its table is (RFC 7541 section 4.2).
        let update = frame
            .2
            .iter()
            .take_while(|byte| **byte & 0xe0 == 0x20)
            .count();
        match frame.2[update..] {
            [0x88, ..] => Some(200),
            [0x89, ..] => Some(204),
            [0x8c, ..] => Some(400),
            [0x8d, ..] => Some(404),
            [0x8e, ..] => Some(500),
            [0x08 | 0x48, 3, a, b, c, ..] => std::str::from_utf8(&[a, b, c]).ok()?.parse().ok(),
            [0x08 | 0x48, 0x82 | 0x83, ref coded @ ..] => digits(coded),
            _ => Some(0),
        }
    }
}

/// Three digits in Huffman's code.
fn digits(coded: &[u8]) -> Option<u16> {
    let mut bits = coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
    let mut number = 0;
    for _ in 0..3 {
        let mut code = 0;
        for _ in 0..5 {
            code = code << 1 | bits.next()?;
        }
        // 0 to 2 have five bits, 3 to 9 have six and begin with 011001.
        if code > 2 {
            code = (code << 1 | bits.next()?) - 0b01_1001 + 3;
        }
        number = number * 10 + code;
    }
    Some(number)
}

/// A client's end of a connection.
pub(crate) struct Attacker {
    stream: TcpStream,
    unread: Vec<u8>,
    pub(crate) seen: Seen,
}

impl Attacker {
    /// Connects, and says the preface and its settings.
    pub(crate) fn connect(proxy: &Proxy) -> Self {
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        hello.extend(frame(SETTINGS, 0, 0, &[]));
        Self::after(proxy, &hello)
    }

    /// Connects, and says this.
    pub(crate) fn after(proxy: &Proxy, hello: &[u8]) -> Self {
        let stream = TcpStream::connect(proxy.outbound()).expect("the proxy listens");
        stream
            .set_nodelay(true)
            .expect("a socket takes its options");
        let mut attacker = Self {
            stream,
            unread: Vec::new(),
            seen: Seen::default(),
        };
        assert!(attacker.send(hello), "a new connection takes a preface");
        attacker
    }

    /// Sends, reading what comes meanwhile; false when the proxy takes no more.
    pub(crate) fn send(&mut self, mut bytes: &[u8]) -> bool {
        self.stream
            .set_nonblocking(true)
            .expect("a socket takes its options");
        let deadline = Instant::now() + PATIENCE;
        while !bytes.is_empty() && !self.seen.closed {
            self.read_some();
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    assert!(
                        Instant::now() < deadline,
                        "the proxy neither reads nor closes"
                    );
                    std::thread::yield_now();
                }
                Err(_) => return false,
            }
        }
        !self.seen.closed && self.seen.goaway().is_none()
    }

    /// Lets the proxy read what was sent, so that what comes next is another read; nothing tells when it has.
    pub(crate) fn pause(&self) {
        std::thread::sleep(Duration::from_millis(20));
    }

    /// Sends a flood of so many pieces until it is cut off, and returns how many went out.
    pub(crate) fn flood(&mut self, most: usize, mut piece: impl FnMut(usize) -> Vec<u8>) -> usize {
        let mut sent = 0;
        while sent < most {
            // Small batches, so that it is known how much the proxy let through.
            let batch = 50.min(most - sent);
            let bytes: Vec<u8> = (sent..sent + batch).flat_map(&mut piece).collect();
            if !self.send(&bytes) {
                break;
            }
            sent += batch;
        }
        sent
    }

    fn read_some(&mut self) {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.seen.closed = true,
            Ok(count) => self.unread.extend(&bytes[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => self.seen.closed = true,
        }
        while self.unread.len() >= 9 {
            let head = &self.unread[..9];
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if self.unread.len() < 9 + length {
                break;
            }
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let kind = head[3];
            if matches!(kind, HEADERS | DATA) && head[4] & END_STREAM != 0 {
                self.seen.ended.push(stream);
            }
            let payload = self.unread[9..9 + length].to_vec();
            self.unread.drain(..9 + length);
            self.seen.frames.push((kind, stream, payload));
        }
    }

    /// Reads until `done`, or the connection is closed.
    pub(crate) fn read_until(&mut self, done: impl Fn(&Seen) -> bool) -> &Seen {
        self.stream
            .set_nonblocking(false)
            .expect("a socket takes its options");
        self.stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a socket takes its options");
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.seen) && !self.seen.closed {
            assert!(Instant::now() < deadline, "nothing came: {:?}", self.seen);
            self.read_some();
        }
        &self.seen
    }

    /// Reads what comes within a time.
    pub(crate) fn read_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        self.stream
            .set_nonblocking(false)
            .expect("a socket takes its options");
        while !self.seen.closed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.stream
                .set_read_timeout(Some(left))
                .expect("the time is not zero");
            self.read_some();
        }
    }

    /// Reads until a stream is answered or reset, or the connection is ended.
    pub(crate) fn answer(&mut self, stream: u32) -> &Seen {
        self.read_until(|seen| seen.is_over(stream))
    }

    /// Reads until the proxy closes.
    pub(crate) fn end(&mut self) -> &Seen {
        self.read_until(|_| false)
    }
}

/// An echo server with a proxy in front.
pub(crate) struct Place {
    pub(crate) echo: Echo,
    pub(crate) proxy: Proxy,
    before: usize,
}

/// What the process may grow by in one test: threads, buffers and the allocator's own reserve come with it.
const GROWTH: usize = 24 * 1024 * 1024;

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(Setup::new())
    }

    /// With a proxy set up so.
    pub(crate) fn with(setup: Setup) -> Self {
        let echo = Echo::start("echo");
        let proxy = Proxy::start(&setup.replicas("echo", &[echo.address()]));
        let place = Self {
            before: 0,
            echo,
            proxy,
        };
        place.serves();
        Self {
            before: place.proxy.resident(),
            ..place
        }
    }

    /// Another connection is served as ever, and memory has not grown much.
    pub(crate) fn is_well(&self) {
        self.serves();
        let grown = self.proxy.resident().saturating_sub(self.before);
        assert!(grown < GROWTH, "grew by {grown} bytes");
    }

    fn serves(&self) {
        let mut wire = Wire::connect(self.proxy.outbound());
        wire.send("GET / HTTP/1.1\r\nhost: echo\r\n\r\n");
        assert_eq!(wire.read_response().head.status(), 200);
    }

    /// Whether anything was refused for this reason, as the metrics count it.
    pub(crate) fn refused(&self, reason: &str) -> bool {
        self.refusals(&format!("reason=\"{reason}\"")) > 0
    }

    /// How much was refused for whatever reason.
    pub(crate) fn all_refusals(&self) -> u64 {
        self.refusals("")
    }

    fn refusals(&self, containing: &str) -> u64 {
        let metrics = self.proxy.ask_admin("/metrics");
        String::from_utf8_lossy(&metrics.body)
            .lines()
            .filter(|line| line.starts_with("heddle_refused_total{") && line.contains(containing))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}
