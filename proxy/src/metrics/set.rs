//! What is counted for each replica set. Numbers of single endpoints are at `/clusters` only: as series there would be
//! too many.

use super::family::{Counter, Families, Family, Gauge, OVERFLOW, Reasons};
use super::latency::Latency;
use std::time::{SystemTime, UNIX_EPOCH};

/// Handles of one replica set. Everything here counts attempts, of which a request may make several.
#[derive(Debug)]
pub struct SetMetrics {
    /// Attempts that were answered and not classified as failures.
    pub success: Counter,
    /// Attempts that were answered with what is classified as a failure.
    pub failure: Counter,
    /// Attempts for which no connection could be made.
    pub connect: Counter,
    /// Attempts given up after a timeout.
    pub timeout: Counter,
    /// Attempts that the endpoint closed or reset, or in which it broke the protocol.
    pub reset: Counter,
    /// Attempts that the caller cancelled.
    pub cancelled: Counter,
    /// Time from an attempt's start to its response's head.
    pub duration: Latency,
    /// Attempts in flight now.
    pub in_flight: Gauge,
    /// Endpoints taken out.
    pub ejections: Counter,
    /// Endpoints taken back.
    pub revivals: Counter,
    /// Endpoints that announced with their answers that they leave.
    pub leaving: Counter,
    /// Attempts sent to see whether an ejected endpoint is back.
    pub probes: Counter,
    /// Endpoints that are out now.
    pub endpoints_ejected: Gauge,
    /// Endpoints now.
    pub endpoints: Gauge,
    /// Connections made.
    pub connections_opened: Counter,
    /// Connections ended.
    pub connections_closed: Counter,
    /// Connections open now.
    pub connections_open: Gauge,
    /// Attempts that found an open connection.
    pub connections_reused: Counter,
    /// Attempts that wait for a connection now.
    pub pending: Gauge,
    /// Attempts refused by a cap, by its name (`connections`, `requests`, `pending`).
    pub refused: Reasons,
    /// Answers that were refused, and bytes that no request had asked for, by what was wrong.
    pub malformed: Reasons,
    /// Time to make a connection, TLS included.
    pub connect_duration: Latency,
    /// TLS handshakes with endpoints that failed, by reason.
    pub tls_failures: Reasons,
    updated: Gauge,
}

impl SetMetrics {
    /// Records that the set's endpoints were confirmed or changed at `now`.
    pub fn updated(&self, now: SystemTime) {
        let seconds = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        self.updated.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
}

#[derive(Debug)]
pub(super) struct SetFamilies {
    attempts: Family<Counter>,
    duration: Family<Latency>,
    in_flight: Family<Gauge>,
    ejections: Family<Counter>,
    revivals: Family<Counter>,
    leaving: Family<Counter>,
    probes: Family<Counter>,
    ejected: Family<Gauge>,
    endpoints: Family<Gauge>,
    opened: Family<Counter>,
    closed: Family<Counter>,
    open: Family<Gauge>,
    reused: Family<Counter>,
    pending: Family<Gauge>,
    refused: Family<Counter>,
    connect_duration: Family<Latency>,
    tls_failures: Family<Counter>,
    malformed: Family<Counter>,
    updated: Family<Gauge>,
}

const LABELS: &[&str] = &["replica_set"];
const OUTCOMES: usize = 6;

impl SetFamilies {
    pub(super) fn new(families: &mut Families) -> Self {
        let mut counter = |name, help, labels| families.family(name, help, labels, 1);
        let attempts = counter(
            "heddle_attempts_total",
            "Attempts by outcome.",
            &["replica_set", "outcome"],
        );
        let ejections = counter("heddle_ejections_total", "Endpoints taken out.", LABELS);
        let revivals = counter("heddle_revivals_total", "Endpoints taken back.", LABELS);
        let leaving = counter(
            "heddle_endpoints_leaving_total",
            "Endpoints whose answers said that they leave.",
            LABELS,
        );
        let probes = counter(
            "heddle_probes_total",
            "Attempts that probe an ejected endpoint.",
            LABELS,
        );
        let opened = counter(
            "heddle_upstream_connections_opened_total",
            "Connections made.",
            LABELS,
        );
        let closed = counter(
            "heddle_upstream_connections_closed_total",
            "Connections ended.",
            LABELS,
        );
        let reused = counter(
            "heddle_upstream_connections_reused_total",
            "Attempts on an open connection.",
            LABELS,
        );
        let refused = counter(
            "heddle_upstream_refused_total",
            "Attempts refused by a cap.",
            &["replica_set", "cap"],
        );
        let tls_failures = counter(
            "heddle_upstream_tls_handshake_failures_total",
            "TLS handshakes with endpoints that failed.",
            &["replica_set", "reason"],
        );
        let malformed = counter(
            "heddle_upstream_malformed_total",
            "Answers of endpoints that were refused.",
            &["replica_set", "reason"],
        );
        let mut latency = |name, help| families.family(name, help, LABELS, 1);
        let duration = latency(
            "heddle_attempt_duration_seconds",
            "Time from an attempt to its response's head.",
        );
        let connect_duration = latency(
            "heddle_connect_duration_seconds",
            "Time to make a connection.",
        );
        let mut gauge = |name, help| families.family(name, help, LABELS, 1);
        Self {
            attempts,
            duration,
            ejections,
            revivals,
            leaving,
            probes,
            opened,
            closed,
            reused,
            refused,
            connect_duration,
            tls_failures,
            malformed,
            in_flight: gauge("heddle_attempts_in_flight", "Attempts in flight now."),
            ejected: gauge("heddle_endpoints_ejected", "Endpoints that are out now."),
            endpoints: gauge("heddle_endpoints", "Endpoints now."),
            open: gauge("heddle_upstream_connections_open", "Connections open now."),
            pending: gauge(
                "heddle_upstream_pending",
                "Attempts that wait for a connection now.",
            ),
            updated: gauge(
                "heddle_replica_set_updated_timestamp_seconds",
                "When the endpoints were last confirmed or changed.",
            ),
        }
    }

    /// Whether one more set fits; `attempts` is the widest family of those that a handle fills at once.
    pub(super) fn has_room(&self) -> bool {
        self.attempts.room() >= OUTCOMES
    }

    pub(super) fn handle(&self, id: &str) -> SetMetrics {
        let outcome = |outcome| self.attempts.get(&[id, outcome]);
        SetMetrics {
            success: outcome("success"),
            failure: outcome("failure"),
            connect: outcome("connect"),
            timeout: outcome("timeout"),
            reset: outcome("reset"),
            cancelled: outcome("cancelled"),
            duration: self.duration.get(&[id]),
            in_flight: self.in_flight.get(&[id]),
            ejections: self.ejections.get(&[id]),
            revivals: self.revivals.get(&[id]),
            leaving: self.leaving.get(&[id]),
            probes: self.probes.get(&[id]),
            endpoints_ejected: self.ejected.get(&[id]),
            endpoints: self.endpoints.get(&[id]),
            connections_opened: self.opened.get(&[id]),
            connections_closed: self.closed.get(&[id]),
            connections_open: self.open.get(&[id]),
            connections_reused: self.reused.get(&[id]),
            pending: self.pending.get(&[id]),
            refused: Reasons::new(&self.refused, &[id]),
            connect_duration: self.connect_duration.get(&[id]),
            tls_failures: Reasons::new(&self.tls_failures, &[id]),
            malformed: Reasons::new(&self.malformed, &[id]),
            updated: self.updated.get(&[id]),
        }
    }

    /// Counts a set for which there was no room, and gives the id to use instead.
    pub(super) fn overflow(&self) -> &'static str {
        self.attempts.refuse();
        OVERFLOW
    }

    pub(super) fn forget(&self, id: &str) {
        let counters = [
            &self.attempts,
            &self.ejections,
            &self.revivals,
            &self.leaving,
            &self.probes,
            &self.opened,
            &self.closed,
            &self.reused,
            &self.refused,
            &self.tls_failures,
            &self.malformed,
        ];
        counters.iter().for_each(|family| family.forget(&[id]));
        let gauges = [
            &self.in_flight,
            &self.ejected,
            &self.endpoints,
            &self.open,
            &self.pending,
            &self.updated,
        ];
        gauges.iter().for_each(|family| family.forget(&[id]));
        self.duration.forget(&[id]);
        self.connect_duration.forget(&[id]);
    }
}
