//! The data plane of Heddle: from a name to a connection.

pub mod admin;
pub mod discovery;
pub mod explain;
pub mod metrics;
pub mod reload;
pub mod view;
