//! What is counted for each logical name on each listener.

use super::family::{Counter, Families, Family, Gauge, OVERFLOW, Reasons};
use super::latency::Latency;
use std::sync::OnceLock;

/// Classes of HTTP status, by the hundred.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Names of the gRPC status codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Handles of one logical name on one listener. Everything here counts requests, whatever their attempts.
#[derive(Debug)]
pub struct ServiceMetrics {
    /// Answered requests by the hundred of their status, 1xx first; see [`ServiceMetrics::answered`].
    pub requests: [Counter; 5],
    /// Time from the request's head to the end of the response.
    pub duration: Latency,
    /// Requests in flight now.
    pub in_flight: Gauge,
    /// Further attempts, by what made them necessary.
    pub retries: Reasons,
    /// Whole tokens in the retry budget.
    pub retry_budget_balance: Gauge,
    /// Retries that the budget refused.
    pub retry_budget_exhausted: Counter,
    /// Backup requests sent.
    pub hedges_sent: Counter,
    /// Backup requests that answered first.
    pub hedges_won: Counter,
    /// Copies sent.
    pub mirrors_sent: Counter,
    /// Copies not sent, because they could not be without hurting the request.
    pub mirrors_dropped: Counter,
    /// Requests that met a `Fault`.
    pub faults: Counter,
    /// Answers of the proxy's own, by kind (`heddle_core::answer::Kind::label`).
    pub answers: Reasons,
    /// Requests from which an override was removed.
    pub overrides_stripped: Counter,
    grpc: Grpc,
}

impl ServiceMetrics {
    /// Counts an answered request: its HTTP status (100..=599; anything else counts as 5xx) and how long it took.
    #[inline]
    pub fn answered(&self, status: u16, nanos: u64) {
        let class = usize::from(status / 100)
            .wrapping_sub(1)
            .min(CLASSES.len() - 1);
        self.requests[class].inc();
        self.duration.observe_nanos(nanos);
    }

    /// gRPC calls by the name of their status, as far as any were counted.
    pub fn grpc_codes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counted = CODES.into_iter().zip(&self.grpc.codes);
        counted.filter_map(|(name, code)| Some((name, code.get()?.get())))
    }

    /// Counts the `grpc-status` of an answered request; an unknown code counts as `UNKNOWN`.
    #[inline]
    pub fn grpc_status(&self, code: u32) {
        self.grpc.counter(code).inc();
    }
}

#[derive(Debug)]
struct Grpc {
    family: Family<Counter>,
    listener: Box<str>,
    service: Box<str>,
    codes: [OnceLock<Counter>; CODES.len()],
}

impl Grpc {
    fn counter(&self, code: u32) -> &Counter {
        let code = usize::try_from(code)
            .ok()
            .filter(|&code| code < CODES.len())
            .unwrap_or(2);
        self.codes[code].get_or_init(|| {
            self.family
                .get(&[&self.listener, &self.service, CODES[code]])
        })
    }
}

#[derive(Debug)]
pub(super) struct ServiceFamilies {
    requests: Family<Counter>,
    grpc: Family<Counter>,
    duration: Family<Latency>,
    in_flight: Family<Gauge>,
    retries: Family<Counter>,
    budget_balance: Family<Gauge>,
    budget_exhausted: Family<Counter>,
    hedges: Family<Counter>,
    mirrors: Family<Counter>,
    faults: Family<Counter>,
    answers: Family<Counter>,
    overrides_stripped: Family<Counter>,
}

const LABELS: &[&str] = &["listener", "service"];

impl ServiceFamilies {
    pub(super) fn new(families: &mut Families) -> Self {
        let mut of = |name, help, labels| families.family(name, help, labels, 2);
        Self {
            requests: of(
                "heddle_requests_total",
                "Requests answered, by class of HTTP status.",
                &["listener", "service", "class"],
            ),
            grpc: of(
                "heddle_grpc_responses_total",
                "gRPC calls by status.",
                &["listener", "service", "code"],
            ),
            retries: of(
                "heddle_retries_total",
                "Further attempts, by cause.",
                &["listener", "service", "reason"],
            ),
            budget_exhausted: of(
                "heddle_retry_budget_exhausted_total",
                "Retries refused by the budget.",
                LABELS,
            ),
            hedges: of(
                "heddle_hedges_total",
                "Backup requests.",
                &["listener", "service", "event"],
            ),
            mirrors: of(
                "heddle_mirrors_total",
                "Copied requests.",
                &["listener", "service", "event"],
            ),
            faults: of(
                "heddle_faults_injected_total",
                "Requests that met a Fault.",
                LABELS,
            ),
            answers: of(
                "heddle_answers_total",
                "Answers of the proxy's own.",
                &["listener", "service", "kind"],
            ),
            overrides_stripped: of(
                "heddle_overrides_stripped_total",
                "Requests stripped of an override.",
                LABELS,
            ),
            duration: families.family(
                "heddle_request_duration_seconds",
                "Time from a request's head to the end of its response.",
                LABELS,
                2,
            ),
            in_flight: families.family(
                "heddle_requests_in_flight",
                "Requests in flight now.",
                LABELS,
                2,
            ),
            budget_balance: families.family(
                "heddle_retry_budget_balance",
                "Whole tokens in the retry budget.",
                LABELS,
                2,
            ),
        }
    }

    /// Whether one more name fits; `requests` is the widest family of those that a handle fills at once.
    pub(super) fn has_room(&self) -> bool {
        self.requests.room() >= CLASSES.len()
    }

    /// The handle of a name for which there is room.
    pub(super) fn handle(&self, listener: &str, service: &str) -> ServiceMetrics {
        let labels = [listener, service];
        ServiceMetrics {
            requests: CLASSES.map(|class| self.requests.get(&[listener, service, class])),
            duration: self.duration.get(&labels),
            in_flight: self.in_flight.get(&labels),
            retries: Reasons::new(&self.retries, &labels),
            retry_budget_balance: self.budget_balance.get(&labels),
            retry_budget_exhausted: self.budget_exhausted.get(&labels),
            hedges_sent: self.hedges.get(&[listener, service, "sent"]),
            hedges_won: self.hedges.get(&[listener, service, "won"]),
            mirrors_sent: self.mirrors.get(&[listener, service, "sent"]),
            mirrors_dropped: self.mirrors.get(&[listener, service, "dropped"]),
            faults: self.faults.get(&labels),
            answers: Reasons::new(&self.answers, &labels),
            overrides_stripped: self.overrides_stripped.get(&labels),
            grpc: Grpc {
                family: self.grpc.clone(),
                listener: listener.into(),
                service: service.into(),
                codes: [const { OnceLock::new() }; CODES.len()],
            },
        }
    }

    /// Counts a name for which there was no room, and gives the one to use instead.
    pub(super) fn overflow(&self) -> &'static str {
        self.requests.refuse();
        OVERFLOW
    }

    pub(super) fn forget(&self, listener: &str, service: &str) {
        let labels = [listener, service];
        let counters = [
            &self.requests,
            &self.grpc,
            &self.retries,
            &self.budget_exhausted,
            &self.hedges,
            &self.mirrors,
            &self.faults,
            &self.answers,
            &self.overrides_stripped,
        ];
        counters.iter().for_each(|family| family.forget(&labels));
        self.duration.forget(&labels);
        self.in_flight.forget(&labels);
        self.budget_balance.forget(&labels);
    }
}
