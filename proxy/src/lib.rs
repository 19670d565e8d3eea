//! The data plane of Heddle: from a name to a connection.

pub mod discovery;
pub mod metrics;
pub mod reload;
pub mod view;
