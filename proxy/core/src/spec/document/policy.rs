//! Retries, balancing, accrual and pools of a `Route`.
//!
//! Pure.

use super::super::codes;
use super::super::fields::{Fields, set};
use super::super::format;
use super::super::report::Report;
use super::super::table::policy as table;
use crate::config::{Accrual, Backoff, Balancer, BalancerKind, Budget, Pool, Retries, SuccessRate};
use std::time::Duration;

/// Without `backoff.max` the wait grows up to so many times `backoff.base`.
const BACKOFF_GROWTH: u32 = 10;

/// Reports a lower bound above an upper one.
fn ordered<T: PartialOrd>(
    fields: Fields<'_>,
    low: (&'static str, T),
    high: (&'static str, T),
    report: &mut Report,
) {
    if low.1 > high.1 {
        let place = fields
            .get(low.0)
            .or(fields.get(high.0))
            .map_or(fields.node.place, |node| node.place);
        report.add(
            &codes::BOUNDS_CROSS,
            place,
            format!("`{}` is above `{}`", low.0, high.0),
            "the one is the lower bound of the other",
            format!("lower `{}`, or raise `{}`", low.0, high.0),
        );
    }
}

pub(super) fn retries(fields: Option<Fields<'_>>, report: &mut Report) -> Retries {
    let mut retries = Retries::default();
    let Some(fields) = fields else { return retries };
    if fields.get("on").is_some() {
        let items = fields.items("on").iter();
        retries.on = items
            .filter_map(|node| format::retry_on(node.text()?).ok())
            .collect();
    }
    set(&mut retries.max, fields.count("max"));
    if let Some(budget) = fields.child("budget", &table::BUDGET) {
        let Budget {
            ratio,
            min_per_second,
            window,
        } = &mut retries.budget;
        set(ratio, budget.number("ratio"));
        set(min_per_second, budget.count("minPerSecond"));
        set(window, budget.time("window"));
    }
    if let Some(backoff) = fields.child("backoff", &table::BACKOFF) {
        let base = backoff.time("base").unwrap_or(Duration::ZERO);
        let max = backoff.time("max").unwrap_or(base * BACKOFF_GROWTH);
        ordered(backoff, ("base", base), ("max", max), report);
        retries.backoff = Backoff { base, max };
    }
    retries
}

/// The keys that only one kind of balancer has.
const KEYS_OF_KINDS: [(&str, &str); 6] = [
    ("decay", "p2c-peak-ewma"),
    ("by", "ring-hash"),
    ("lowLoad", "aperture"),
    ("highLoad", "aperture"),
    ("min", "aperture"),
    ("smooth", "aperture"),
];

pub(super) fn balancer(fields: Option<Fields<'_>>, report: &mut Report) -> Balancer {
    let mut balancer = Balancer::default();
    let Some(fields) = fields else {
        return balancer;
    };
    let kind = fields.text("kind").unwrap_or("p2c-peak-ewma");
    for (key, of) in KEYS_OF_KINDS {
        if let Some(node) = fields.get(key).filter(|_| of != kind) {
            report.add(
                &codes::KEYS_EXCLUDE,
                node.place,
                format!("`{key}` stands beside `kind: {kind}`"),
                format!("only `{of}` has it, so it would do nothing"),
                format!("remove it, or write `kind: {of}`"),
            );
        }
    }
    balancer.kind = match kind {
        "p2c-least-loaded" => BalancerKind::P2cLeastLoaded,
        "round-robin" => BalancerKind::RoundRobin,
        "ring-hash" => match fields.parse("by", format::key) {
            Some(by) => BalancerKind::RingHash { by },
            None => {
                if fields.get("by").is_none() {
                    report.add(
                        &codes::MISSING_KEY,
                        fields.node.place,
                        "`by` is missing from the balancer",
                        "`ring-hash` must know what it hashes",
                        "add `by: header:<name>`, `by: cookie:<name>` or `by: address`",
                    );
                }
                BalancerKind::default()
            }
        },
        "aperture" => aperture(fields, report),
        _ => match fields.time("decay") {
            Some(decay) => BalancerKind::P2cPeakEwma { decay },
            None => BalancerKind::default(),
        },
    };
    set(&mut balancer.slow_start, fields.time("slowStart"));
    set(&mut balancer.prefer_near, fields.flag("preferNear"));
    balancer
}

/// The defaults are linkerd's.
fn aperture(fields: Fields<'_>, report: &mut Report) -> BalancerKind {
    let low_load = fields.number("lowLoad").unwrap_or(0.5);
    let high_load = fields.number("highLoad").unwrap_or(2.0);
    ordered(
        fields,
        ("lowLoad", low_load),
        ("highLoad", high_load),
        report,
    );
    BalancerKind::Aperture {
        low_load,
        high_load,
        min: fields.count("min").unwrap_or(1),
        smooth: fields.time("smooth").unwrap_or(Duration::from_secs(5)),
    }
}

pub(super) fn accrual(fields: Option<Fields<'_>>, report: &mut Report) -> Accrual {
    let mut accrual = Accrual::default();
    let Some(fields) = fields else { return accrual };
    if let Some(node) = fields.get("consecutiveFailures") {
        accrual.consecutive_failures = match node.text() {
            Some("off") => None,
            _ => fields
                .count("consecutiveFailures")
                .or(accrual.consecutive_failures),
        };
    }
    if let Some(rate) = fields.child("successRate", &table::SUCCESS_RATE) {
        accrual.success_rate = match rate.node.text() {
            Some("off") => None,
            _ => accrual.success_rate.map(|default| SuccessRate {
                below: rate.number("below").unwrap_or(default.below),
                window: rate.time("window").unwrap_or(default.window),
                min_requests: rate.count("minRequests").unwrap_or(default.min_requests),
            }),
        };
    }
    set(&mut accrual.min_probe, fields.time("minProbe"));
    set(&mut accrual.max_probe, fields.time("maxProbe"));
    ordered(
        fields,
        ("minProbe", accrual.min_probe),
        ("maxProbe", accrual.max_probe),
        report,
    );
    set(
        &mut accrual.max_ejected_percent,
        fields.number("maxEjectedPercent"),
    );
    set(&mut accrual.fail_open, fields.flag("failOpen"));
    accrual
}

pub(super) fn pool(fields: Option<Fields<'_>>) -> Pool {
    let mut pool = Pool::default();
    let Some(fields) = fields else { return pool };
    set(&mut pool.connect_timeout, fields.time("connectTimeout"));
    set(&mut pool.idle, fields.time("idle"));
    pool.lifetime = fields.time("lifetime");
    set(&mut pool.max_connections, fields.count("maxConnections"));
    set(&mut pool.max_requests, fields.count("maxRequests"));
    set(&mut pool.max_pending, fields.count("maxPending"));
    set(&mut pool.max_streams, fields.count("maxStreams"));
    set(&mut pool.ping, fields.time("ping"));
    set(&mut pool.ping_timeout, fields.time("pingTimeout"));
    set(&mut pool.replay_bytes, fields.count("replayBytes"));
    pool
}
