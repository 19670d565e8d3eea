//! What the tests share.

use heddle_e2e::proxy::Proxy;
use heddle_e2e::wire::{Ending, Message, Wire};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A request that the echo server answers at once.
pub(crate) const GET: &str = "GET / HTTP/1.1\r\nhost: echo\r\n\r\n";

/// Sends one request on a connection that stays open.
pub(crate) fn ask(wire: &mut Wire, request: impl AsRef<[u8]>) -> Message {
    wire.send(request);
    wire.read_response()
}

/// A connection on which a request has been answered.
pub(crate) fn served(address: SocketAddr) -> Wire {
    let mut wire = Wire::connect(address);
    assert_eq!(ask(&mut wire, GET).status(), 200);
    wire
}

/// Whether a new connection is served.
pub(crate) fn is_served(address: SocketAddr) -> bool {
    let mut wire = Wire::connect(address);
    wire.set_patience(Duration::from_secs(2));
    wire.try_send(GET) && wire.try_read_head().is_ok_and(|head| head.status() == 200)
}

/// How a new connection ends on which a request is sent, if it is not answered.
pub(crate) fn turned_away(address: SocketAddr) -> Option<Ending> {
    let mut wire = Wire::connect(address);
    wire.try_send(GET);
    wire.try_read_head().err()
}

/// So many connections on which nothing is said.
pub(crate) fn crowd(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count)
        .map(|_| TcpStream::connect(address).expect("the kernel queues connections"))
        .collect()
}

/// The share of one core that the proxy uses for so long.
pub(crate) fn load_of(proxy: &Proxy, time: Duration) -> f64 {
    let (before, started) = (proxy.processor_time(), Instant::now());
    std::thread::sleep(time);
    let used = proxy.processor_time().saturating_sub(before);
    used.as_secs_f64() / started.elapsed().as_secs_f64()
}

/// How many lines of its log contain `text`.
pub(crate) fn lines(proxy: &Proxy, text: &str) -> usize {
    proxy
        .log()
        .lines()
        .filter(|line| line.contains(text))
        .count()
}
