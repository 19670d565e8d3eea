//! Protocols through the real binary, over real sockets.
//!
//! Each test starts its own proxy on free ports of loopback and ends it. `support` holds what they share.

mod answers;
mod bodies;
mod fields;
mod fixtures;
mod http1;
mod http2;
mod interim;
mod opaque;
mod resting;
mod support;
mod translation;
mod tunnels;
mod websocket;
