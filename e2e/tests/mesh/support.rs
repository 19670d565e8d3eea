//! What the tests share.

use heddle_e2e::proxy::Proxy;
use heddle_e2e::wire::{Message, Wire};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Sends one request on a connection of its own.
pub(crate) fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Message {
    let mut wire = Wire::connect(address);
    wire.send(request);
    wire.read_response()
}

/// A GET for `host`, with further header lines (each ending in CRLF).
pub(crate) fn get(host: &str, target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n")
}

/// A POST of two bytes.
pub(crate) fn post(host: &str, target: &str, lines: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 2\r\n{lines}\r\nhi")
}

/// The kind in `heddle-err`.
pub(crate) fn kind(answer: &Message) -> String {
    let header = answer.head.get("heddle-err").unwrap_or_default();
    header.split(';').next().unwrap_or_default().to_owned()
}

/// One endpoint as `/clusters` shows it.
pub(crate) fn endpoint(proxy: &Proxy, address: SocketAddr) -> Value {
    let clusters = proxy.ask_admin("/clusters?format=json").json();
    let text = address.to_string();
    let sets = clusters["replicaSets"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    sets.iter()
        .flat_map(|set| set["endpoints"].as_array().cloned().unwrap_or_default())
        .find(|endpoint| endpoint["address"] == text.as_str())
        .unwrap_or_else(|| panic!("{text} is not in {clusters}"))
}

/// The sum of a metric's samples whose labels contain all of `labels`.
pub(crate) fn metric(proxy: &Proxy, name: &str, labels: &[&str]) -> f64 {
    let text = proxy.ask_admin("/metrics").text();
    text.lines()
        .filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            (rest.starts_with('{') || rest.starts_with(' '))
                && labels.iter().all(|label| rest.contains(label))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// An address at which nothing listens.
pub(crate) fn nobody() -> SocketAddr {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    socket.local_addr().expect("a bound socket has an address")
}
