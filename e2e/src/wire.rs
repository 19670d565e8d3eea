//! HTTP/1 as bytes: what a client or a server puts on the wire, without a library that tidies it up.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a read may wait before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// One side of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// First line and header fields, as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Request or status line.
    pub first: String,
    /// Fields in order, names as written.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field; several are joined by `, `. Names are compared without case.
    pub fn get(&self, name: &str) -> Option<String> {
        let values = self.all(name);
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
            .collect()
    }

    /// The status of a response.
    ///
    /// # Panics
    ///
    /// When this is not the head of a response.
    pub fn status(&self) -> u16 {
        let status = self
            .first
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1));
        status
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {:?}", self.first))
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line
                    .split_once(':')
                    .unwrap_or_else(|| panic!("not a header field: {line:?}"));
                (name.to_owned(), value.trim().to_owned())
            })
            .collect();
        Self { first, fields }
    }
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its head.
    pub head: Head,
    /// Its body, without framing.
    pub body: Vec<u8>,
    /// Trailer fields.
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as the JSON that [`crate::echo`] reports.
    ///
    /// # Panics
    ///
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the answer {self:?}"))
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In order.
    Closed,
    /// By a reset.
    Reset,
    /// Not at all, within the time given.
    Open,
}

impl Wire {
    /// Connects.
    ///
    /// # Panics
    ///
    /// When nothing listens there.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::over(stream)
    }

    /// Takes over a connection.
    pub fn over(stream: TcpStream) -> Self {
        stream
            .set_nodelay(true)
            .expect("a connected socket takes options");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("the time is not zero");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("the time is not zero");
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes all of it.
    ///
    /// # Panics
    ///
    /// When the peer takes no more.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.stream
            .write_all(bytes)
            .unwrap_or_else(|error| panic!("sending {} bytes: {error}", bytes.len()));
    }

    /// Writes as much of it as the peer takes; `false` when the peer is gone.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Writes it piece by piece with a pause after each.
    pub fn dribble(&mut self, bytes: impl AsRef<[u8]>, piece: usize, pause: Duration) {
        for part in bytes.as_ref().chunks(piece) {
            if !self.try_send(part) {
                return;
            }
            std::thread::sleep(pause);
        }
    }

    /// Closes the writing half.
    pub fn finish(&self) {
        // Fails only when the peer is gone, which a read will tell.
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        // Fails only when the peer is gone already.
        drop(socket.set_linger(Some(Duration::ZERO)));
    }

    /// Reads a head: up to and without the empty line.
    ///
    /// # Panics
    ///
    /// When the connection ends before, or nothing comes in time.
    pub fn read_head(&mut self) -> Head {
        self.try_read_head()
            .unwrap_or_else(|ending| panic!("a head was expected; {}", self.describe(ending)))
    }

    /// Reads a head, or tells how the connection ended instead.
    ///
    /// # Errors
    ///
    /// When the connection ended before, or is open without a whole head.
    pub fn try_read_head(&mut self) -> Result<Head, Ending> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..end + 4);
                return Ok(Head::parse(&text));
            }
            self.fill()?;
        }
    }

    /// Reads one request or response, final or not. `method` is that of the request that is answered;
    /// it matters for `HEAD` only. Give `""` when reading a request.
    ///
    /// # Panics
    ///
    /// When the message is not whole, or nothing comes in time.
    pub fn read_message(&mut self, method: &str) -> Message {
        let head = self.read_head();
        self.read_rest(head, method)
    }

    /// Reads one response to a `GET` or the like, skipping interim ones.
    ///
    /// # Panics
    ///
    /// As [`Wire::read_message`].
    pub fn read_response(&mut self) -> Message {
        loop {
            let message = self.read_message("GET");
            if message.status() >= 200 {
                return message;
            }
        }
    }

    /// Reads the body and the trailers that belong to a head.
    ///
    /// # Panics
    ///
    /// As [`Wire::read_message`].
    pub fn read_rest(&mut self, head: Head, method: &str) -> Message {
        let response = head.first.starts_with("HTTP/");
        let bodiless =
            method == "HEAD" || (response && matches!(head.status(), 100..=199 | 204 | 304));
        let mut trailers = Vec::new();
        let body = if bodiless {
            Vec::new()
        } else if head.get("transfer-encoding").is_some() {
            let (body, fields) = self.read_chunked();
            trailers = fields;
            body
        } else if let Some(length) = head.get("content-length") {
            self.read_exactly(
                length
                    .parse()
                    .unwrap_or_else(|_| panic!("content-length is {length:?}")),
            )
        } else if response {
            self.read_to_end().0
        } else {
            Vec::new()
        };
        Message {
            head,
            body,
            trailers,
        }
    }

    fn read_chunked(&mut self) -> (Vec<u8>, Vec<(String, String)>) {
        let mut body = Vec::new();
        loop {
            let line = self.read_line();
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16)
                .unwrap_or_else(|_| panic!("a chunk size is {line:?}"));
            if size == 0 {
                break;
            }
            body.extend(self.read_exactly(size));
            assert_eq!(
                self.read_line(),
                "",
                "a chunk does not end where its size says"
            );
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.read_line();
            if line.is_empty() {
                return (body, trailers);
            }
            trailers.extend(Head::parse(&format!("\r\n{line}")).fields);
        }
    }

    /// Reads one line, without its end.
    ///
    /// # Panics
    ///
    /// When the connection ends before, or nothing comes in time.
    pub fn read_line(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..end + 2);
                return line;
            }
            self.fill()
                .unwrap_or_else(|ending| panic!("a line was expected; {}", self.describe(ending)));
        }
    }

    /// Reads so many bytes.
    ///
    /// # Panics
    ///
    /// When the connection ends before, or nothing comes in time.
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            self.fill().unwrap_or_else(|ending| {
                panic!("{count} bytes were expected; {}", self.describe(ending))
            });
        }
        self.unread.drain(..count).collect()
    }

    /// Reads whatever comes until the connection ends.
    pub fn read_to_end(&mut self) -> (Vec<u8>, Ending) {
        loop {
            if let Err(ending) = self.fill() {
                return (std::mem::take(&mut self.unread), ending);
            }
        }
    }

    /// Waits for the connection to end without another byte.
    ///
    /// # Panics
    ///
    /// When more bytes come.
    pub fn expect_end(&mut self) -> Ending {
        let (bytes, ending) = self.read_to_end();
        assert!(
            bytes.is_empty(),
            "nothing more was expected, but: {:?}",
            String::from_utf8_lossy(&bytes)
        );
        ending
    }

    /// Whether nothing arrives for so long.
    pub fn is_quiet_for(&mut self, time: Duration) -> bool {
        self.set_patience(time);
        let quiet = self.unread.is_empty() && self.fill() == Err(Ending::Open);
        self.set_patience(PATIENCE);
        quiet
    }

    /// Sets how long a read may wait.
    pub fn set_patience(&self, time: Duration) {
        self.stream
            .set_read_timeout(Some(time))
            .expect("the time is not zero");
    }

    fn fill(&mut self) -> Result<(), Ending> {
        let mut buffer = [0; 16 * 1024];
        loop {
            return match self.stream.read(&mut buffer) {
                Ok(0) => Err(Ending::Closed),
                Ok(count) => {
                    self.unread.extend_from_slice(&buffer[..count]);
                    Ok(())
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    Err(Ending::Open)
                }
                Err(_) => Err(Ending::Reset),
            };
        }
    }

    fn describe(&self, ending: Ending) -> String {
        format!(
            "the connection is {ending:?} after {:?}",
            String::from_utf8_lossy(&self.unread)
        )
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
