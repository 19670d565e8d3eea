//! The configuration as values: checked, complete, and ready to run.
//!
//! Nothing here is parsed: [`crate::spec`] reads YAML, reports every mistake as a
//! [`crate::finding::Finding`] and builds these. A value that exists is valid.
//! Every default stands in one place, with its source.

use crate::endpoint::{Endpoint, Locality};
use crate::name::Dtab;
use regex::Regex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

mod admission;

pub use admission::Admission;
mod mesh;
pub use mesh::{ControlPlane, ControlPlaneConfig};
mod sight;
pub use sight::{AccessLog, LogTarget, Tracing};
mod tls;

pub use tls::{ClientAuth, KeyPair, ListenerTls, TlsFile, TlsScope, TlsVersion, UpstreamTls};

/// Everything one proxy runs by.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    /// Address of the admin HTTP server; port 0 takes a free one.
    pub admin: SocketAddr,
    /// Names, beside `localhost`, under which the admin server may be asked, lower case and without a port. Addresses
    /// always may: a page that re-points its own name at this host (DNS rebinding) cannot send one as `Host`.
    pub admin_hosts: Vec<String>,
    /// Namespace of callers on this host; listeners inherit it.
    pub namespace: String,
    /// Where this proxy runs, for preferring near endpoints.
    pub locality: Locality,
    /// Data-plane threads; `None`: one per core.
    pub workers: Option<usize>,
    /// Where it listens; at least one, names and addresses unique.
    pub listeners: Vec<Arc<Listener>>,
    /// Replica sets written in configuration (the file's `discovery.static` and `Cluster` documents), by name.
    pub clusters: BTreeMap<String, Arc<Cluster>>,
    /// TLS towards replica sets; the longest prefix of a set's name counts.
    pub tls: Vec<TlsScope>,
    /// Folder of the `files` namer.
    pub files: Option<PathBuf>,
    /// Settings of the `dns` and `dns-srv` namers.
    pub dns: Dns,
    /// The control plane, if there is one.
    pub control_plane: Option<ControlPlane>,
    /// `Route` documents by (namespace, service).
    pub routes: BTreeMap<(String, String), Arc<Route>>,
    /// All `Dtab` documents in (namespace, name) order, to be appended to a listener's base.
    pub dtab: Dtab,
    /// `Fault` documents.
    pub faults: Vec<Arc<Fault>>,
    /// How long a drain waits for what is in flight. Default 30 s.
    pub drain: Duration,
    /// The access log; off by default.
    pub access_log: Option<AccessLog>,
    /// Traces; off by default.
    pub tracing: Option<Tracing>,
    /// Bounds of the proxy as a whole.
    pub limits: Limits,
    /// Every file that took part, to be watched.
    pub files_read: Vec<PathBuf>,
    /// Folders whose listing took part (globs in `rules`), to be watched.
    pub folders_read: Vec<PathBuf>,
}

/// DNS settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Servers to ask; empty: those of the system.
    pub servers: Vec<SocketAddr>,
    /// A TTL below this is raised to it. Default 1 s, so that TTL 0 does not become a query per request.
    pub min_ttl: Duration,
    /// A TTL above this is lowered to it. Default 5 min.
    pub max_ttl: Duration,
    /// Time for one question. Default 2 s.
    pub timeout: Duration,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
            timeout: Duration::from_secs(2),
        }
    }
}

/// Bounds of the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of each of the path, tree, bound-name and client caches. Default 1000 (linkerd's `bindingCache`).
    pub cache_entries: usize,
    /// Entries unused for this long are dropped. Default 10 min (linkerd's `idleTtlSecs`).
    pub cache_idle: Duration,
    /// Label sets of any one metric; what is beyond falls into `overflow`. Default 2000.
    pub metric_series: usize,
    /// How long a request may wait for its name to bind. Default 10 s (linkerd's `bindingTimeoutMs`).
    pub bind_timeout: Duration,
    /// Bytes of memory that the process may use; `None`: what its control group allows. Near it, work is refused.
    pub memory: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cache_entries: 1000,
            cache_idle: Duration::from_secs(600),
            metric_series: 2000,
            bind_timeout: Duration::from_secs(10),
            memory: None,
        }
    }
}

/// One listening socket and how its connections are treated.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Unique name, a metric label.
    pub name: String,
    /// Address to bind; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What kind of traffic arrives.
    pub mode: Mode,
    /// Which protocols are spoken.
    pub protocol: ListenProtocol,
    /// Namespace of the callers.
    pub namespace: String,
    /// Identifiers, in order; the first that identifies wins.
    pub identify: Vec<Identifier>,
    /// What callers may override.
    pub overrides: Overrides,
    /// Base dtab, before `Dtab` documents are appended: the listener's own `dtab:`, or the default base.
    pub base_dtab: Dtab,
    /// Callers whose `x-forwarded-*` and `forwarded` headers are kept: networks as (address, prefix length).
    pub trust: Vec<(std::net::IpAddr, u8)>,
    /// Bounds of this listener.
    pub limits: ListenerLimits,
    /// TLS; `None`: plaintext.
    pub tls: Option<ListenerTls>,
}

/// What a listener is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// This host's services call others: route by name.
    Outbound,
    /// In front of one service of this host.
    Inbound {
        /// The service's address.
        forward_to: SocketAddr,
    },
    /// Opaque TCP to one name.
    Tcp {
        /// The logical name's last part, or an absolute path: `accounts` or `/svc/accounts`.
        to: String,
    },
}

/// Which protocols a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenProtocol {
    /// Detect HTTP/1, HTTP/2 or opaque by the first bytes.
    Auto,
    /// HTTP/1 or HTTP/2; anything else is refused.
    Http,
    /// Opaque bytes; the escape for protocols where the server speaks first.
    Tcp,
}

/// Whether callers may send `heddle-dtab`, `l5d-dtab` and the context's overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overrides {
    /// Whatever is sent is removed; deadlines are kept, since they may only shorten.
    Strip,
    /// Honoured.
    Accept,
}

/// From a request to a logical name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identifier {
    /// Host, lower-cased, without a trailing dot and without ports 80 and 443: `/svc/<host>`.
    Host,
    /// The value of a header, parsed as a path and appended to `/svc` (linkerd's `io.l5d.header`).
    Header(String),
    /// The value of a header as one element, verbatim (linkerd's `io.l5d.header.token`).
    HeaderToken(String),
    /// The first segments of the path.
    Path {
        /// How many; at least 1.
        segments: usize,
        /// Whether they are removed from the forwarded path.
        consume: bool,
    },
    /// `/svc/1.1/METHOD/host` (linkerd's `io.l5d.methodAndHost`).
    MethodHost {
        /// Whether the path's segments are appended.
        uri: bool,
    },
    /// Always the same name below `/svc`; may have several elements (`a/b`).
    Static(String),
}

/// Bounds of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Connections open at once. Default 10 000.
    pub connections: usize,
    /// Requests in flight at once. Default 100 000 (linkerd2-proxy's).
    pub requests: usize,
    /// How long the first bytes may take before `auto` decides for opaque, or `http` closes. Default 1 s
    /// (linkerd2's 10 s is what its users complain about).
    pub detect_timeout: Duration,
    /// How long a request's head may take. Default 10 s.
    pub header_timeout: Duration,
    /// How long the body of a request that is no gRPC call may stand still while more of it is waited for. Default 60 s
    /// (nginx's `client_body_timeout`).
    pub body_timeout: Duration,
    /// How long a caller may take nothing of an answer that is there for it. Default 60 s (nginx's `send_timeout`).
    pub write_timeout: Duration,
    /// Size of a request's head, in bytes. Default 64 KiB.
    pub header_bytes: usize,
    /// Header fields of a request. Default 100.
    pub header_count: usize,
    /// Concurrent HTTP/2 streams per connection. Default 256.
    pub streams: u32,
    /// A kept-alive connection without a request is closed after this. Default 5 min.
    pub idle: Duration,
    /// In front of a service: how much reaches it at once, and what waits.
    pub admission: Admission,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            requests: 100_000,
            detect_timeout: Duration::from_secs(1),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            header_bytes: 64 * 1024,
            header_count: 100,
            streams: 256,
            idle: Duration::from_secs(300),
            admission: Admission::default(),
        }
    }
}

/// A replica set that configuration names.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Its name: `/#/static/<name>`.
    pub name: String,
    /// Where its endpoints come from.
    pub source: ClusterSource,
    /// What its endpoints speak.
    pub protocol: UpstreamProtocol,
    /// TLS towards them; `None`: that of `discovery.tls`, else plaintext.
    pub tls: Option<Arc<UpstreamTls>>,
}

/// Where the endpoints of a written replica set come from.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterSource {
    /// Written out. Addresses may be host names, which DNS resolves.
    Endpoints(Vec<WrittenEndpoint>),
    /// All addresses of a DNS name.
    Dns {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
}

/// One written endpoint: an address or a host name.
#[derive(Debug, Clone, PartialEq)]
pub enum WrittenEndpoint {
    /// A literal address.
    Address(Endpoint),
    /// A name for DNS; each of its addresses gets the weight and the attributes.
    Host {
        /// The name.
        host: String,
        /// The port.
        port: u16,
        /// Weight of each address.
        weight: f64,
        /// Attributes of each address.
        locality: Locality,
    },
}

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// What the caller spoke.
    #[default]
    Same,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// A `Route` document.
#[derive(Debug, Clone)]
pub struct Route {
    /// Namespace of the document.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The service it applies to.
    pub service: String,
    /// Rules in order; the first match wins. Never empty.
    pub rules: Vec<Rule>,
    /// Bound on the whole request, retries included; `None`: none.
    pub timeout: Option<Duration>,
    /// Bound on each attempt, up to the response's head; `None`: none.
    pub attempt_timeout: Option<Duration>,
    /// Retrying.
    pub retries: Retries,
    /// Hedging: a second attempt when the first exceeds this percentile (0..100) of observed latency.
    pub hedge: Option<f64>,
    /// Balancing.
    pub balancer: Balancer,
    /// Failure accrual.
    pub accrual: Accrual,
    /// Pools and caps.
    pub pool: Pool,
}

/// One rule of a `Route`.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// What a request must look like; the default matches all.
    pub matches: Match,
    /// Destinations with their shares; empty for a redirect or a fixed status.
    pub to: Vec<Destination>,
    /// Key of the sticky choice between destinations; `None`: random.
    pub sticky_by: Option<Key>,
    /// Copies.
    pub mirror: Option<Mirror>,
    /// Rewriting.
    pub set: Rewrite,
    /// Whether the requests of this rule may be repeated whatever their method.
    pub idempotent: bool,
}

/// One destination of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    /// As written: a service name, or an absolute path.
    pub name: String,
    /// The path to bind: `/svc/<name>` or the absolute path.
    pub path: crate::name::Path,
    /// Its share, of any sum; 0 is legal beside a positive one.
    pub weight: f64,
}

/// Conditions, all of which must hold.
#[derive(Debug, Clone, Default)]
pub struct Match {
    /// Any of these methods; empty: all.
    pub methods: Vec<String>,
    /// On the path, without the query.
    pub path: Option<StringMatch>,
    /// On headers; names in lower case.
    pub headers: Vec<(String, StringMatch)>,
    /// On query parameters.
    pub query: Vec<(String, StringMatch)>,
    /// On the caller's namespace or service (`from`).
    pub from: Option<StringMatch>,
}

/// A condition on one string.
#[derive(Debug, Clone)]
pub enum StringMatch {
    /// Equal.
    Exact(String),
    /// Begins with; on paths by whole segments.
    Prefix(String),
    /// The whole string matches (the pattern is anchored at both ends).
    Regex(Regex),
    /// There at all, or not at all.
    Present(bool),
}

/// What a sticky choice or a ring hash is keyed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A header's value; the name in lower case.
    Header(String),
    /// A cookie's value.
    Cookie(String),
    /// The caller's address without the port.
    Address,
}

/// Mirroring.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// Where copies go; their answers are dropped.
    pub to: Destination,
    /// How many, 0..=100.
    pub percent: f64,
}

/// Rewriting of a request and its response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Request headers to set (names in lower case).
    pub request_headers: Vec<(String, String)>,
    /// Request headers to remove.
    pub remove_request_headers: Vec<String>,
    /// Response headers to set.
    pub response_headers: Vec<(String, String)>,
    /// Response headers to remove.
    pub remove_response_headers: Vec<String>,
    /// Replaces the prefix that `match.path.prefix` matched, or the whole path.
    pub path: Option<PathRewrite>,
    /// Replaces the authority.
    pub host: Option<String>,
    /// Answers with a redirect to this location.
    pub redirect: Option<Redirect>,
    /// Answers with this status and no body.
    pub status: Option<u16>,
}

/// How a path is rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// The matched prefix becomes this.
    Prefix(String),
    /// The whole path becomes this; the query stays.
    Full(String),
}

/// A redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The value of `location`.
    pub location: String,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Retrying.
#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    /// Failures worth another try. Default: connect, refused-stream, unused-connection, reset
    /// (RFC 9110 section 9.2.2 lets an idempotent request be repeated after a broken connection).
    pub on: Vec<RetryOn>,
    /// Extra attempts of one request. Default 2.
    pub max: u32,
    /// Share of retries over the traffic of this name.
    pub budget: Budget,
    /// Wait before an extra attempt: decorrelated jitter between these.
    pub backoff: Backoff,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            on: vec![
                RetryOn::Connect,
                RetryOn::RefusedStream,
                RetryOn::UnusedConnection,
                RetryOn::Reset,
            ],
            max: 2,
            budget: Budget::default(),
            backoff: Backoff {
                base: Duration::ZERO,
                max: Duration::ZERO,
            },
        }
    }
}

/// A reason to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryOn {
    /// No connection could be made.
    Connect,
    /// The upstream refused the stream without looking at it (HTTP/2 `REFUSED_STREAM`, `GOAWAY`).
    RefusedStream,
    /// A pooled connection was dead before the request was written.
    UnusedConnection,
    /// The upstream closed or reset before a response.
    Reset,
    /// The attempt timed out.
    AttemptTimeout,
    /// This HTTP status.
    Status(u16),
    /// Any status from 500 to 599 (`5xx`).
    ServerError,
    /// This gRPC status code.
    Grpc(u32),
}

/// Finagle's retry budget; also a rate floor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Retries per request, 0..=1000. Default 0.2.
    pub ratio: f64,
    /// Retries per second that are always allowed. Default 10.
    pub min_per_second: u32,
    /// Over which both are counted, 1 s..=60 s. Default 10 s.
    pub window: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            ratio: 0.2,
            min_per_second: 10,
            window: Duration::from_secs(10),
        }
    }
}

/// Backoff between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
}

/// Balancing.
#[derive(Debug, Clone, PartialEq)]
pub struct Balancer {
    /// The algorithm. Default peak EWMA.
    pub kind: BalancerKind,
    /// A new or returning endpoint reaches its full share over this; zero: at once. Default 10 s.
    pub slow_start: Duration,
    /// Prefer endpoints of the same node, then zone. Default true.
    pub prefer_near: bool,
}

impl Default for Balancer {
    fn default() -> Self {
        Self {
            kind: BalancerKind::default(),
            slow_start: Duration::from_secs(10),
            prefer_near: true,
        }
    }
}

/// Balancing algorithms.
#[derive(Debug, Clone, PartialEq)]
pub enum BalancerKind {
    /// Power of two choices by peak EWMA of latency times requests in flight.
    P2cPeakEwma {
        /// Finagle's decay time. Default 10 s.
        decay: Duration,
    },
    /// Power of two choices by requests in flight.
    P2cLeastLoaded,
    /// In turn.
    RoundRobin,
    /// Consistent hashing by a key of the request; without the key at random.
    RingHash {
        /// The key.
        by: Key,
    },
    /// P2C within a window over the endpoints that follows the load (Finagle's aperture).
    Aperture {
        /// Load per endpoint below which the window shrinks. Default 0.5 (linkerd's).
        low_load: f64,
        /// Load per endpoint above which it grows. Default 2.0.
        high_load: f64,
        /// Smallest window. Default 1.
        min: usize,
        /// Smoothing of the load. Default 5 s.
        smooth: Duration,
    },
}

impl Default for BalancerKind {
    fn default() -> Self {
        Self::P2cPeakEwma {
            decay: Duration::from_secs(10),
        }
    }
}

/// Failure accrual of each endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Accrual {
    /// Ejected after so many failures in a row; `None`: never by this. Default 5.
    pub consecutive_failures: Option<u32>,
    /// Ejected when the success rate falls; `None`: never by this.
    pub success_rate: Option<SuccessRate>,
    /// First time out. Default 1 s.
    pub min_probe: Duration,
    /// Longest time out. Default 60 s.
    pub max_probe: Duration,
    /// Of a set, at most this percentage is ejected at once, but always at least one. Default 50.
    pub max_ejected_percent: f64,
    /// When no endpoint is left: `true` sends to ejected ones all the same, `false` answers 503. Default false.
    pub fail_open: bool,
}

/// Success-rate ejection.
#[derive(Debug, Clone, PartialEq)]
pub struct SuccessRate {
    /// The least acceptable rate, 0..=1. Default 0.8.
    pub below: f64,
    /// Window. Default 10 s.
    pub window: Duration,
    /// Fewer requests in the window decide nothing. Default 5.
    pub min_requests: u32,
}

impl Default for Accrual {
    fn default() -> Self {
        Self {
            consecutive_failures: Some(5),
            success_rate: Some(SuccessRate {
                below: 0.8,
                window: Duration::from_secs(10),
                min_requests: 5,
            }),
            min_probe: Duration::from_secs(1),
            max_probe: Duration::from_secs(60),
            max_ejected_percent: 50.0,
            fail_open: false,
        }
    }
}

/// Connections to the endpoints of one replica set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Time to connect. Default 1 s (linkerd2's).
    pub connect_timeout: Duration,
    /// An idle HTTP/1 connection is dropped after this. Default 3 s: below common servers' keep-alive (Node's is 5 s).
    pub idle: Duration,
    /// A connection older than this takes no further request. Default none.
    pub lifetime: Option<Duration>,
    /// Connections per replica set over all workers. Default 10 000.
    pub max_connections: usize,
    /// Requests in flight per replica set. Default 100 000.
    pub max_requests: usize,
    /// Requests waiting for a connection per replica set; beyond is refused. Default 10 000.
    pub max_pending: usize,
    /// HTTP/2: streams per connection before a further one is opened, even if the peer allows more. Default 100.
    pub max_streams: usize,
    /// HTTP/2: ping interval that finds dead peers. Default 10 s.
    pub ping: Duration,
    /// HTTP/2: a ping unanswered for this long closes the connection. Default 5 s.
    pub ping_timeout: Duration,
    /// Body bytes kept for a repetition. Default 64 KiB (linkerd2's).
    pub replay_bytes: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            idle: Duration::from_secs(3),
            lifetime: None,
            max_connections: 10_000,
            max_requests: 100_000,
            max_pending: 10_000,
            max_streams: 100,
            ping: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(5),
            replay_bytes: 64 * 1024,
        }
    }
}

/// A `Fault` document: a failure on purpose, always with an end.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Namespace of the document.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The service whose requests it meets.
    pub service: String,
    /// Which of them.
    pub matches: Match,
    /// How many, 0..=100.
    pub percent: f64,
    /// Wait before anything else.
    pub delay: Option<Duration>,
    /// What happens then.
    pub kind: FaultKind,
    /// It ends this long after the configuration was applied.
    pub until: Duration,
}

/// What a fault does after its delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Nothing more.
    None,
    /// Answer with this HTTP status.
    Status(u16),
    /// Answer with this gRPC code.
    Grpc(u32),
    /// Reset the connection or the stream.
    Reset,
}
