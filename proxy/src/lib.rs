//! The data plane of Heddle: from a name to a connection.
//!
//! One request, in the order of the modules: [`app`] starts one worker per core; a
//! worker accepts a connection, detects its protocol and serves it; each request is
//! identified, its name bound, a replica picked, a connection taken from the pool;
//! the answer streams back and its outcome is charged to the replica.
//!
//! Decisions live in `heddle-core`; what is here does them.

pub mod admin;
pub mod app;
pub mod discovery;
pub mod explain;
pub mod metrics;
pub mod process;
pub mod reload;
pub mod resources;
pub mod routes;
pub mod view;

mod accept;
mod access;
mod client;
mod clock;
mod control;
mod error;
mod handover;
mod hold;
mod http;
mod io;
mod joined;
mod notify;
mod router;
mod shared;
mod tcp;
mod tls;
mod worker;
