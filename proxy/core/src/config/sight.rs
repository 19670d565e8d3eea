//! What is told about single requests: the access log and traces.

use std::path::PathBuf;

/// The access log: one JSON object a line for each request.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    /// Where lines go.
    pub to: LogTarget,
    /// Share of the requests that went well which are written, from 0 to 1. Default 1.
    pub sample: f64,
    /// Whether only requests that did not go well are written. Default false.
    pub errors_only: bool,
    /// Whether the query of a target is written; it may hold what nobody should read. Default false.
    pub query: bool,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// A file, appended to; opened again when it was renamed or removed, and on `SIGHUP`.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error, which also carries the proxy's own log.
    Stderr,
}

/// Traces, exported over OTLP.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// The collector's gRPC address, `http://host:port`.
    pub otlp: String,
    /// Share of the traces that begin here which are sampled, from 0 to 1. A caller's decision stands. Default 0.01.
    pub sample: f64,
    /// `service.name` of the spans. Default `heddle`.
    pub service: String,
}
