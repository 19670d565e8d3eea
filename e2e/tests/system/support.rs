//! What the tests share.

use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::wire::{Message, Wire};
use std::net::SocketAddr;

/// The name every test calls.
pub(crate) const NAME: &str = "echo";

/// A request without a body.
pub(crate) const GET: &str = "GET / HTTP/1.1\r\nhost: echo\r\n\r\n";

/// A proxy whose listener `outbound` knows one name.
pub(crate) fn in_front_of(backend: SocketAddr) -> Proxy {
    Proxy::start(&Setup::new().replicas(NAME, &[backend]))
}

/// Sends one request on a connection of its own.
pub(crate) fn ask(proxy: &Proxy, request: impl AsRef<[u8]>) -> Message {
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(request);
    wire.read_response()
}

/// Asks for a target by GET.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {NAME}\r\n\r\n")
}
