//! Protocols through the real binary, over real sockets.

mod fixtures;
