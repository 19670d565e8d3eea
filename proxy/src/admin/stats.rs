//! `/stats.json`: what the dashboard and `heddle top` are drawn from. `docs/dashboard.md` describes each field.
//!
//! Counters and not rates: whoever reads twice has the rate over the time between, and several
//! readers do not disturb each other.

use super::{AdminState, text};
use crate::metrics::{BUCKETS, Latency, ListenerMetrics, Reasons, ServiceMetrics};
use crate::view::SetView;
use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Version of the document. Fields may be added under the same version; a field that goes or changes its meaning raises it.
pub(super) const VERSION: u64 = 1;

/// gRPC statuses that say that the service failed, and not that the caller asked for what cannot be. As the proxy's
/// classification has them.
const GRPC_FAILURES: [&str; 5] = [
    "UNKNOWN",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
];

pub(super) fn stats(state: &AdminState) -> Value {
    state.proxy.refresh_gauges();
    let config = state.proxy.config();
    let written = &config.config;
    let listeners = state.metrics.listeners();
    let listeners = written.listeners.iter().map(|spec| {
        let metrics = listeners.iter().find(|(name, _)| *name == spec.name);
        let mut shown = metrics.map_or_else(|| json!({}), |(_, metrics)| listener(metrics));
        shown["name"] = spec.name.clone().into();
        shown["listen"] = spec.listen.to_string().into();
        shown["mode"] = crate::explain::mode_word(&spec.mode).into();
        shown
    });
    let services = state.metrics.services();
    let services = services
        .iter()
        .map(|(listener, name, metrics)| service(listener, name, metrics));
    let sets = state.proxy.clusters();
    let mut load = text::config_json(&config);
    // It may be large, and has a page of its own.
    load.as_object_mut().map(|load| load.remove("config"));
    json!({
        "version": VERSION,
        "unixSeconds": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64()),
        "monotonicSeconds": crate::clock::now() as f64 / 1e9,
        "heddle": env!("CARGO_PKG_VERSION"),
        "process": std::process::id(),
        "notReady": state.proxy.ready().err(),
        "namespace": written.namespace,
        "config": load,
        "latencyBounds": BUCKETS,
        "listeners": listeners.collect::<Vec<_>>(),
        "services": services.collect::<Vec<_>>(),
        "replicaSets": sets.iter().map(|set| replica_set(state, set)).collect::<Vec<_>>(),
    })
}

fn listener(metrics: &ListenerMetrics) -> Value {
    json!({
        "connections": metrics.connections.get(),
        "connectionsOpen": metrics.connections_open.get(),
        "requestsInFlight": metrics.requests_in_flight.get(),
        "refused": reasons(&metrics.refused),
    })
}

fn service(listener: &str, name: &str, metrics: &ServiceMetrics) -> Value {
    let classes: [u64; 5] = std::array::from_fn(|class| metrics.requests[class].get());
    let grpc: Map<_, _> = metrics
        .grpc_codes()
        .map(|(code, count)| (code.to_owned(), count.into()))
        .collect();
    let grpc_failures: u64 = metrics
        .grpc_codes()
        .filter(|(code, _)| GRPC_FAILURES.contains(code))
        .map(|(_, count)| count)
        .sum();
    // A gRPC call that failed is counted under its HTTP status, nearly always 200, too.
    let requests: u64 = classes.iter().sum();
    json!({
        "listener": listener,
        "name": name,
        "requests": requests,
        "failures": (classes[4] + grpc_failures).min(requests),
        "classes": {"1xx": classes[0], "2xx": classes[1], "3xx": classes[2], "4xx": classes[3], "5xx": classes[4]},
        "grpc": grpc,
        "inFlight": metrics.in_flight.get(),
        "latency": latency(&metrics.duration),
        "retries": reasons(&metrics.retries),
        "retryBudget": {
            "balance": metrics.retry_budget_balance.get(),
            "exhausted": metrics.retry_budget_exhausted.get(),
        },
        "hedges": {"sent": metrics.hedges_sent.get(), "won": metrics.hedges_won.get()},
        "mirrors": {"sent": metrics.mirrors_sent.get(), "dropped": metrics.mirrors_dropped.get()},
        "faults": metrics.faults.get(),
        "overridesStripped": metrics.overrides_stripped.get(),
        "answers": reasons(&metrics.answers),
    })
}

fn replica_set(state: &AdminState, set: &SetView) -> Value {
    let mut shown = json!(set);
    if let Some(metrics) = state.metrics.known_set(&set.id) {
        shown["ejections"] = metrics.ejections.get().into();
        shown["revivals"] = metrics.revivals.get().into();
        shown["probes"] = metrics.probes.get().into();
        shown["attemptLatency"] = latency(&metrics.duration);
        shown["refused"] = reasons(&metrics.refused);
    }
    shown
}

fn latency(latency: &Latency) -> Value {
    json!({"counts": latency.counts(), "sumSeconds": latency.sum()})
}

fn reasons(reasons: &Reasons) -> Value {
    let counts = reasons.counts();
    Value::Object(
        counts
            .map(|(reason, count)| (reason.to_owned(), count.into()))
            .collect(),
    )
}
