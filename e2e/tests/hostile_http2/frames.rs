//! HTTP/2 as bytes, without a library that would refuse to send what is wrong.

use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::wire::Wire;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// How long an attack may go on before the test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small payload");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literals without Huffman coding and without indexing (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        text(&mut bytes, name.as_bytes());
        text(&mut bytes, value.as_bytes());
    }
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &[u8]) {
    if text.len() < 127 {
        bytes.push(u8::try_from(text.len()).expect("less than 127"));
    } else {
        bytes.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128 + 128).expect("less than 256"));
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).expect("less than 128"));
    }
    bytes.extend(text);
}

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
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Kind, stream and payload of each frame.
    pub(crate) frames: Vec<(u8, u32, Vec<u8>)>,
    /// The connection was closed.
    pub(crate) closed: bool,
}

impl Seen {
    /// The error code of a GOAWAY.
    pub(crate) fn goaway(&self) -> Option<u32> {
        let frame = self.frames.iter().rev().find(|frame| frame.0 == GOAWAY)?;
        let code = frame.2.get(4..8)?.try_into().ok()?;
        Some(u32::from_be_bytes(code))
    }

    fn ended(&self, stream: u32) -> bool {
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

    /// The status of a stream's answer, of those that HPACK's static table has, and 400 and more as literals.
    pub(crate) fn status(&self, stream: u32) -> Option<u16> {
        let frame = self
            .frames
            .iter()
            .find(|frame| frame.0 == HEADERS && frame.1 == stream)?;
        match *frame.2.first()? {
            0x88 => Some(200),
            0x89 => Some(204),
            0x8c => Some(400),
            0x8d => Some(404),
            0x8e => Some(500),
            _ => Some(0),
        }
    }
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
        let stream = TcpStream::connect(proxy.outbound()).expect("the proxy listens");
        stream
            .set_nodelay(true)
            .expect("a socket takes its options");
        let mut attacker = Self {
            stream,
            unread: Vec::new(),
            seen: Seen::default(),
        };
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        hello.extend(frame(SETTINGS, 0, 0, &[]));
        assert!(attacker.send(&hello), "a new connection takes a preface");
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

    /// Reads until a stream is answered or reset, or the connection is ended.
    pub(crate) fn answer(&mut self, stream: u32) -> &Seen {
        self.read_until(|seen| seen.ended(stream))
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
        let echo = Echo::start("echo");
        let proxy = Proxy::start(&Setup::new().replicas("echo", &[echo.address()]));
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

    /// What was refused, as the metrics count it.
    pub(crate) fn refused(&self, reason: &str) -> bool {
        let metrics = self.proxy.ask_admin("/metrics");
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        text.lines().any(|line| {
            line.starts_with("heddle_refused_total")
                && line.contains(&format!("reason=\"{reason}\""))
                && !line.ends_with(" 0")
        })
    }
}
