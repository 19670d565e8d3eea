//! One request on a connection of its own.

use heddle_e2e::wire::{Message, Wire};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Asks for `host: bank`, unless `headers` name another; panics when there is no answer.
pub(crate) fn ask(
    to: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Message {
    let mut wire = Wire::connect(to);
    wire.set_patience(Duration::from_secs(20));
    let default = [("host", "bank")];
    let own = headers.iter().any(|(name, _)| *name == "host");
    let headers: String = default[usize::from(own)..]
        .iter()
        .chain(headers)
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    wire.send(format!(
        "{method} {target} HTTP/1.1\r\nconnection: close\r\ncontent-type: application/json\r\n\
         {headers}content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    wire.read_response()
}

/// Looks until `found` gives something; panics with `what` after a minute.
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
