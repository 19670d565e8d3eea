//! TLS with real clients and servers, and with those that nobody should trust.

mod certificates;
mod origination;
mod refusals;
mod reload;
mod support;
mod termination;
