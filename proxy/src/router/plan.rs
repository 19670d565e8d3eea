//! What is settled about a request before its first attempt.

use super::Conn;
use super::entry::PathEntry;
use super::exchange::Exchange;
use crate::client::Limit;
use crate::clock;
use crate::http::{Gate, GateSignal, interim_head};
use crate::io::ConnState;
use heddle_core::Nanos;
use heddle_core::config::Rule;
use heddle_core::retry;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{StatusCode, Version};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What is settled about a request before its first attempt.
pub(super) struct Plan {
    pub(super) method: http::Method,
    pub(super) idempotent: bool,
    attempt_timeout: Option<Duration>,
    /// The rule's total time-out as a point in time.
    total: Option<Nanos>,
    pub(super) patience: Duration,
    pub(super) hedge_after: Option<Duration>,
    pub(super) key: Option<u64>,
    pub(super) upgrade: Option<(HeaderValue, OnUpgrade)>,
    /// The caller takes interim answers: all do but those of HTTP/1.0.
    pub(super) interim: bool,
}

impl Plan {
    pub(super) fn new(
        exchange: &Exchange,
        entry: &PathEntry,
        rule: Option<&Rule>,
        parts: &Parts,
    ) -> Self {
        let route = entry.route.as_deref();
        let timeout = route.and_then(|route| route.timeout);
        let by_method = retry::is_idempotent(parts.method.as_str());
        let idempotent = rule.is_some_and(|rule| rule.idempotent)
            || !by_method && parts.headers.contains_key(IDEMPOTENCY_KEY);
        let may_hedge = by_method || idempotent;
        let hedge_after = route
            .and_then(|route| route.hedge)
            .filter(|_| may_hedge)
            .and_then(|percentile| {
                entry
                    .service
                    .latency
                    .percentile(percentile, exchange.started)
            });
        Self {
            method: parts.method.clone(),
            idempotent,
            attempt_timeout: route.and_then(|route| route.attempt_timeout),
            total: timeout.map(|timeout| exchange.started.saturating_add(clock::nanos(timeout))),
            patience: timeout.unwrap_or(Duration::from_secs(1)),
            hedge_after,
            key: None,
            upgrade: None,
            interim: false,
        }
    }

    /// Lets interim responses through to the caller, and opens the gate of a body that waits for one.
    pub(super) fn watch_interim(
        &mut self,
        conn: &Rc<Conn>,
        gate: Option<Rc<Gate>>,
        parts: &mut Parts,
    ) {
        if !conn.serial {
            self.interim = true;
            return;
        }
        if parts.version != Version::HTTP_11 {
            return;
        }
        self.interim = true;
        let watching = match gate {
            None => conn
                .interim
                .get_or_init(|| watching(conn.state.clone(), None))
                .clone(),
            Some(gate) => watching(conn.state.clone(), Some(gate.signal())),
        };
        if parts.extensions.is_empty() {
            parts.extensions = watching;
        } else {
            parts.extensions.extend(watching);
        }
    }

    /// The end of it all, and whether the caller set it.
    pub(super) fn deadline(&self, exchange: &Exchange) -> (Option<Nanos>, bool) {
        match (self.total, exchange.context.deadline) {
            (total, None) => (total, false),
            (None, caller) => (caller, true),
            (Some(total), Some(caller)) => (Some(total.min(caller)), caller < total),
        }
    }

    pub(super) fn limit(&self, exchange: &Exchange, now: Nanos) -> Limit {
        let left = |deadline: Nanos| Duration::from_nanos(deadline.saturating_sub(now));
        Limit {
            attempt: self.attempt_timeout,
            total: self.total.map(left),
            caller: exchange.context.deadline.map(left),
            quiet: exchange.grpc,
        }
    }
}

/// What makes hyper's client hand over interim responses.
fn watching(state: Arc<ConnState>, signal: Option<Arc<GateSignal>>) -> http::Extensions {
    let mut request = hyper::Request::new(());
    hyper::ext::on_informational(&mut request, move |interim| {
        if interim.status() == StatusCode::CONTINUE {
            // hyper's server writes the 100 itself when the body is first asked for.
            if let Some(signal) = &signal {
                signal.open();
            }
            return;
        }
        state.push_interim(interim_head(interim.status(), interim.headers()));
    });
    std::mem::take(request.extensions_mut())
}
