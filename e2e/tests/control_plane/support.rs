//! What the tests share.

use heddle_e2e::wire::{Message, Wire};
use std::net::SocketAddr;

/// One document, its `spec` in YAML's flow style.
pub(crate) fn document(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: heddle.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"
    )
}

/// A replica set of one.
pub(crate) fn cluster(name: &str, address: SocketAddr) -> String {
    document("Cluster", name, &format!("{{endpoints: ['{address}']}}"))
}

/// Asks for a service by its name, with further header lines (each ending in CRLF).
pub(crate) fn get(address: SocketAddr, host: &str, target: &str, lines: &str) -> Message {
    let mut wire = Wire::connect(address);
    wire.send(format!(
        "GET {target} HTTP/1.1\r\nhost: {host}\r\n{lines}connection: close\r\n\r\n"
    ));
    wire.read_response()
}

/// Which echo server answered, or the status if none did.
pub(crate) fn server(answer: &Message) -> String {
    match answer.status() {
        200 => answer.json()["server"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        status => status.to_string(),
    }
}
