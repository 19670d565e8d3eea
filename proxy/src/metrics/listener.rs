//! What is counted for each listener.

use super::family::{Counter, Families, Family, Gauge, Reasons};

/// Handles of one listener.
#[derive(Debug)]
pub struct ListenerMetrics {
    /// Connections accepted.
    pub connections: Counter,
    /// Connections open now.
    pub connections_open: Gauge,
    pub connections_resting: Gauge,
    /// Requests in flight now.
    pub requests_in_flight: Gauge,
    /// Bytes read from clients; counted on opaque connections.
    pub bytes_received: Counter,
    /// Bytes written to clients; counted on opaque connections.
    pub bytes_sent: Counter,
    /// Connections found to speak HTTP/1.
    pub detected_http1: Counter,
    /// Connections found to speak HTTP/2.
    pub detected_http2: Counter,
    /// Connections found to speak neither.
    pub detected_opaque: Counter,
    /// Connections on which detection ran out of time.
    pub detected_timeout: Counter,
    /// Requests that wait for their turn at the service behind.
    pub requests_waiting: Gauge,
    /// What was refused before routing, by reason.
    pub refused: Reasons,
    /// What was kept from the service behind, by reason.
    pub shed: Reasons,
    /// Exchanges ended since their caller did not go on: with the `request`, or reading the `response`.
    pub stalled: Reasons,
    /// TLS handshakes that succeeded.
    pub tls_handshakes: Counter,
    /// TLS handshakes that did not, by reason.
    pub tls_failures: Reasons,
}

#[derive(Debug)]
pub(super) struct ListenerFamilies {
    connections: Family<Counter>,
    connections_open: Family<Gauge>,
    connections_resting: Family<Gauge>,
    requests_in_flight: Family<Gauge>,
    bytes: Family<Counter>,
    detected: Family<Counter>,
    refused: Family<Counter>,
    requests_waiting: Family<Gauge>,
    shed: Family<Counter>,
    stalled: Family<Counter>,
    tls_handshakes: Family<Counter>,
    tls_failures: Family<Counter>,
    certificate_end: Family<Gauge>,
}

impl ListenerFamilies {
    pub(super) fn new(families: &mut Families) -> Self {
        let mut of = |name, help, labels| families.family(name, help, labels, 1);
        Self {
            connections: of(
                "heddle_connections_total",
                "Connections accepted.",
                &["listener"],
            ),
            bytes: of(
                "heddle_bytes_total",
                "Bytes of opaque connections.",
                &["listener", "direction"],
            ),
            detected: of(
                "heddle_protocols_detected_total",
                "Connections by protocol.",
                &["listener", "protocol"],
            ),
            tls_handshakes: of(
                "heddle_tls_handshakes_total",
                "TLS handshakes with clients that succeeded.",
                &["listener"],
            ),
            tls_failures: of(
                "heddle_tls_handshake_failures_total",
                "TLS handshakes with clients that failed.",
                &["listener", "reason"],
            ),
            refused: of(
                "heddle_refused_total",
                "Messages refused before routing.",
                &["listener", "reason"],
            ),
            shed: of(
                "heddle_shed_total",
                "Requests kept from the service behind: its queue was full, the wait too long, the deadline over.",
                &["listener", "reason"],
            ),
            stalled: of(
                "heddle_stalled_total",
                "Exchanges ended because the caller did not go on, by side.",
                &["listener", "side"],
            ),
            requests_waiting: families.family(
                "heddle_listener_requests_waiting",
                "Requests that wait for their turn at the service behind.",
                &["listener"],
                1,
            ),
            connections_open: families.family(
                "heddle_connections_open",
                "Connections open now.",
                &["listener"],
                1,
            ),
            connections_resting: families.family(
                "heddle_connections_resting",
                "HTTP/1 connections that hold neither a parser nor buffers, since nothing has come for a while.",
                &["listener"],
                1,
            ),
            certificate_end: families.family(
                "heddle_tls_certificate_expiry_timestamp_seconds",
                "When a listener's certificate ends.",
                &["listener", "file"],
                1,
            ),
            requests_in_flight: families.family(
                "heddle_listener_requests_in_flight",
                "Requests in flight now.",
                &["listener"],
                1,
            ),
        }
    }

    pub(super) fn handle(&self, listener: &str) -> ListenerMetrics {
        let detected = |protocol| self.detected.get(&[listener, protocol]);
        ListenerMetrics {
            connections: self.connections.get(&[listener]),
            connections_open: self.connections_open.get(&[listener]),
            connections_resting: self.connections_resting.get(&[listener]),
            requests_in_flight: self.requests_in_flight.get(&[listener]),
            requests_waiting: self.requests_waiting.get(&[listener]),
            shed: Reasons::new(&self.shed, &[listener]),
            stalled: Reasons::new(&self.stalled, &[listener]),
            bytes_received: self.bytes.get(&[listener, "received"]),
            bytes_sent: self.bytes.get(&[listener, "sent"]),
            detected_http1: detected("http1"),
            detected_http2: detected("http2"),
            detected_opaque: detected("opaque"),
            detected_timeout: detected("timeout"),
            refused: Reasons::new(&self.refused, &[listener]),
            tls_handshakes: self.tls_handshakes.get(&[listener]),
            tls_failures: Reasons::new(&self.tls_failures, &[listener]),
        }
    }

    /// Drops the series of a listener.
    pub(super) fn forget(&self, listener: &str) {
        let identity = &[listener];
        self.connections.forget(identity);
        self.connections_open.forget(identity);
        self.connections_resting.forget(identity);
        self.requests_in_flight.forget(identity);
        self.bytes.forget(identity);
        self.detected.forget(identity);
        self.refused.forget(identity);
        self.stalled.forget(identity);
        self.requests_waiting.forget(identity);
        self.shed.forget(identity);
        self.tls_handshakes.forget(identity);
        self.tls_failures.forget(identity);
        self.certificate_end.forget(identity);
    }

    /// Drops the series of all certificates.
    pub(super) fn forget_certificates(&self) {
        self.certificate_end.forget(&[]);
    }

    /// When the certificate in `file` ends.
    pub(super) fn certificate_end(&self, listener: &str, file: &str) -> Gauge {
        self.certificate_end.get(&[listener, file])
    }
}
