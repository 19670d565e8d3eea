//! The data plane of Heddle: from a name to a connection.

pub mod metrics;
pub mod view;
