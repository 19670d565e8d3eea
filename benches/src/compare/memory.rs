//! What a proxy holds: when idle, and with many idle connections.

use super::contender::{Addresses, Contender};
use super::{Missing, Settings};
use crate::load::Protocol;
use crate::process;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Resident memory of a proxy that was started for this alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// After its start, in bytes.
    pub idle: u64,
    /// With the connections, in bytes.
    pub loaded: u64,
    /// Connections that were answered once and are kept.
    pub connections: usize,
}

impl Held {
    /// Bytes per idle connection; none without connections.
    pub fn per_connection(&self) -> Option<u64> {
        self.loaded
            .saturating_sub(self.idle)
            .checked_div(self.connections as u64)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        write!(
            f,
            "idle {:.1} MiB, with {} connections {:.1} MiB",
            mib(self.idle),
            self.connections,
            mib(self.loaded)
        )?;
        match self.per_connection() {
            Some(bytes) => write!(f, ", {:.1} KiB each", bytes as f64 / 1024.0),
            None => Ok(()),
        }
    }
}

/// Lets this process, and the proxies that it starts, open as many files as the system allows.
///
/// # Errors
/// When the system refuses.
pub fn raise_descriptors() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).map_err(io::Error::from)
}

/// Starts a contender of its own, and looks at it before and after.
pub(super) fn hold(contender: &Contender, backend: &Addresses, settings: &Settings) -> Held {
    let dir = settings.dir.join("memory");
    let started = std::fs::create_dir_all(&dir)
        .map_err(|error| Missing(error.to_string()))
        .and_then(|()| contender.start(backend, &dir));
    let Ok(started) = started else {
        return Held::default();
    };
    let Some(id) = started.id() else {
        return Held::default();
    };
    // One request, so that what is made at the first use is not counted as a connection's.
    let target = started.target(Protocol::Http1);
    let first = ask(target);
    std::thread::sleep(SETTLE);
    let idle = process::resident_bytes(id);
    let mut held = Vec::new();
    if first.is_ok() {
        for _ in 0..settings.connections {
            match ask(target) {
                Ok(stream) => held.push(stream),
                Err(_) => break,
            }
        }
    }
    std::thread::sleep(SETTLE);
    Held {
        idle,
        loaded: process::resident_bytes(id),
        connections: held.len(),
    }
}

/// Time for a proxy to come to rest; with 10,000 connections Heddle takes five seconds to let go of what it has no use for.
const SETTLE: Duration = Duration::from_secs(8);

/// A connection that has had one answer.
pub(super) fn ask(target: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(target)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: backend\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    // The backend's body is the only one with so many bytes after the empty line.
    loop {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&piece[..read]);
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|head| answer.len() >= head + 4 + SMALL) {
            return Ok(stream);
        }
    }
}

/// Bytes of the backend's ordinary body.
const SMALL: usize = 128;
