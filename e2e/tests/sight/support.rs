//! What the tests share.

use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::within;
use heddle_e2e::wire::{Message, Wire};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a line may take to be written.
const SOON: Duration = Duration::from_secs(10);

/// A setup whose access log is `access.log` beside the proxy's file.
pub(crate) fn logging() -> Setup {
    Setup::new().top("accessLog: {file: ./access.log}")
}

/// Where it is.
pub(crate) fn log_of(proxy: &Proxy) -> PathBuf {
    proxy.folder().join("access.log")
}

/// Its lines, each of which must be JSON.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// Waits for a line whose path is `path`.
pub(crate) fn line_for(proxy: &Proxy, path: &str) -> Value {
    let mut found = None;
    within(SOON, &format!("a line for {path}"), || {
        found = lines(&log_of(proxy))
            .into_iter()
            .find(|line| line["path"] == path);
        found.is_some()
    });
    found.expect("it was waited for")
}

/// Asks on a connection of its own.
pub(crate) fn ask(proxy: &Proxy, request: impl AsRef<[u8]>) -> Message {
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(request);
    wire.read_response()
}

/// An address at which nothing listens.
pub(crate) fn nobody() -> SocketAddr {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    socket.local_addr().expect("a bound socket has an address")
}

/// The value of a metric's sample; 0 when it is not there.
pub(crate) fn metric(proxy: &Proxy, sample: &str) -> f64 {
    let text = proxy.ask_admin("/metrics").text();
    text.lines()
        .find_map(|line| line.strip_prefix(sample)?.trim().parse().ok())
        .unwrap_or(0.0)
}
