//! Whole-system tests of Heddle: the real binary between real clients and real servers.
//!
//! This library is what those tests are written with:
//!
//! * [`proxy`] starts the `heddle` binary on a configuration and stops it again,
//! * [`control_plane`] starts `heddle control-plane` on a folder,
//! * [`echo`] is a server that reports what arrived and obeys what the query asks for,
//! * [`script`] plays servers that misbehave, byte by byte,
//! * [`wire`] reads and writes HTTP/1 without a library in between,
//! * [`frames`] writes HTTP/2 without one,
//! * [`streams`] is an HTTP/2 server and client stream by stream,
//! * [`websocket`] is a WebSocket echo server,
//! * [`conformance`] runs the vectors of the naming language and its neighbours,
//! * [`process`] and [`needs`] run foreign programs, or name what is missing; [`mod@trials`] skips tests by name.
//!
//! Everything binds loopback only, waits a bounded time, and panics with what it saw:
//! a failed expectation here is a failed test.

pub mod binary;
pub mod conformance;
pub mod control_plane;
pub mod echo;
pub mod frames;
pub mod needs;
pub mod process;
pub mod proxy;
pub mod script;
pub mod streams;
pub mod trials;
pub mod websocket;
pub mod wire;

/// How much of everything: 1 for everyday runs, more where figures are proved.
///
/// Read from `HEDDLE_SCALE`; what is not a positive whole number counts as 1.
pub fn scale() -> usize {
    std::env::var("HEDDLE_SCALE")
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|scale| *scale > 0)
        .unwrap_or(1)
}
