//! The control plane: what people write in, xDS out.
//!
//! A source is read (`folder`), judged document by document ([`model`]), and drawn in the words of xDS ([`render`]) as an
//! immutable [`snapshot`]. What each client wants and has is a [`session`]; `server` gives it a socket.
//! Everything that decides is pure: no clock, no socket, no file; the shell is `folder`, `server`, `api` and [`process`].
#![deny(missing_docs)]

mod api;
mod clients;
pub mod debounce;
mod folder;
mod metrics;
pub mod model;
pub mod process;
pub mod render;
mod server;
pub mod session;
pub mod snapshot;
