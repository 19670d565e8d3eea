//! `GET /metrics`: requests, refusals and times of this process, and whatever its service registers by itself in
//! [`prometheus::default_registry`].

use crate::problem::Code;
use axum::extract::{MatchedPath, Request};
use http::StatusCode;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, TextEncoder};
use std::sync::LazyLock;
use std::time::Duration;

/// From a memory access to the time that nobody waits for any longer, in seconds.
const BUCKETS: [f64; 12] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new("bank_requests_total", "Requests answered");
    registered(IntCounterVec::new(opts, &["route", "status"]))
});

static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new(
        "bank_refused_total",
        "Requests refused, by the problem's code",
    );
    registered(IntCounterVec::new(opts, &["code"]))
});

static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let opts = HistogramOpts::new("bank_request_seconds", "Time until the head of the answer");
    registered(HistogramVec::new(
        opts.buckets(BUCKETS.to_vec()),
        &["route"],
    ))
});

fn registered<C: prometheus::core::Collector + Clone + 'static>(made: prometheus::Result<C>) -> C {
    let metric = made.expect("names and labels of a metric are constants, and valid");
    prometheus::register(Box::new(metric.clone())).expect("each metric has a name of its own");
    metric
}

/// The pattern of the route, so that the number of series has a bound.
pub(super) fn route(request: &Request) -> String {
    let matched = request.extensions().get::<MatchedPath>();
    let path = matched.map_or("none", MatchedPath::as_str);
    // Methods that no standard knows would be a series each.
    let method = match request.method().as_str() {
        known @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS") => known,
        _ => "other",
    };
    format!("{method} {path}")
}

pub(super) fn count(route: &str, status: StatusCode, refused: Option<Code>, took: Duration) {
    REQUESTS.with_label_values(&[route, status.as_str()]).inc();
    SECONDS
        .with_label_values(&[route])
        .observe(took.as_secs_f64());
    if let Some(code) = refused {
        REFUSED.with_label_values(&[code.name()]).inc();
    }
}

pub(super) async fn page() -> String {
    let families = prometheus::gather();
    TextEncoder::new()
        .encode_to_string(&families)
        .expect("what was registered can be written")
}
