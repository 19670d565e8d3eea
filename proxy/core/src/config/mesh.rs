//! The control plane: what it runs by, and what a proxy knows of it.

use std::net::SocketAddr;
use std::path::PathBuf;

/// What a proxy knows of its control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// `http://host:port` of its replicas; never empty.
    pub addresses: Vec<String>,
    /// The folder in which the last good state is kept.
    pub snapshot: PathBuf,
}

/// Everything one control plane runs by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlaneConfig {
    /// Where the HTTP API listens; port 0 takes a free one.
    pub api: SocketAddr,
    /// Where xDS listens; port 0 takes a free one.
    pub xds: SocketAddr,
    /// Where proxies that are told to listen from here do so.
    pub outbound: SocketAddr,
    /// The folder of documents.
    pub folder: PathBuf,
}
