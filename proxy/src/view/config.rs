//! The effective configuration as JSON: what runs, defaults filled in, under the names that the YAML uses.

use heddle_core::config::{
    Balancer, BalancerKind, Cluster, ClusterSource, Destination, Fault, FaultKind, Identifier, Key,
    ListenProtocol, Listener, Match, Mode, Overrides, ProxyConfig, RetryOn, Route, Rule,
    StringMatch, UpstreamProtocol, WrittenEndpoint,
};
use serde_json::{Value, json};
use std::time::Duration;

/// The whole configuration.
pub fn config_json(config: &ProxyConfig) -> Value {
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| listener_json(listener))
        .collect();
    let clusters: serde_json::Map<_, _> = config
        .clusters
        .iter()
        .map(|(name, cluster)| (name.clone(), cluster_json(cluster)))
        .collect();
    let routes: Vec<_> = config
        .routes
        .values()
        .map(|route| route_json(route))
        .collect();
    let faults: Vec<_> = config
        .faults
        .iter()
        .map(|fault| fault_json(fault))
        .collect();
    json!({
        "admin": {"listen": config.admin},
        "namespace": config.namespace,
        "zone": config.locality.zone.as_deref(),
        "node": config.locality.node.as_deref(),
        "workers": config.workers,
        "listeners": listeners,
        "discovery": {
            "static": clusters,
            "files": config.files,
            "dns": {
                "servers": config.dns.servers,
                "minTtl": duration(config.dns.min_ttl),
                "maxTtl": duration(config.dns.max_ttl),
                "timeout": duration(config.dns.timeout),
            },
        },
        "routes": routes,
        "dtab": config.dtab.to_string(),
        "faults": faults,
        "drain": duration(config.drain),
        "limits": {
            "cacheEntries": config.limits.cache_entries,
            "cacheIdle": duration(config.limits.cache_idle),
            "metricSeries": config.limits.metric_series,
            "memoryBytes": config.limits.memory,
            "bindTimeout": duration(config.limits.bind_timeout),
        },
    })
}

/// A duration as people write it: `1.5s`, `250ms`.
pub(crate) fn duration(duration: Duration) -> String {
    format!("{duration:?}")
}

fn listener_json(listener: &Listener) -> Value {
    let (mode, to) = match &listener.mode {
        Mode::Outbound => ("outbound", None),
        Mode::Inbound { forward_to } => ("inbound", Some(forward_to.to_string())),
        Mode::Tcp { to } => ("tcp", Some(to.clone())),
    };
    let trust: Vec<_> = listener
        .trust
        .iter()
        .map(|(address, bits)| format!("{address}/{bits}"))
        .collect();
    let limits = &listener.limits;
    json!({
        "name": listener.name,
        "listen": listener.listen,
        "mode": mode,
        "to": to,
        "protocol": match listener.protocol {
            ListenProtocol::Auto => "auto",
            ListenProtocol::Http => "http",
            ListenProtocol::Tcp => "tcp",
        },
        "namespace": listener.namespace,
        "identify": listener.identify.iter().map(identifier).collect::<Vec<_>>(),
        "overrides": match listener.overrides {
            Overrides::Strip => "strip",
            Overrides::Accept => "accept",
        },
        "dtab": listener.base_dtab.to_string(),
        "trust": trust,
        "limits": {
            "connections": limits.connections,
            "requests": limits.requests,
            "detectTimeout": duration(limits.detect_timeout),
            "headerTimeout": duration(limits.header_timeout),
            "bodyTimeout": duration(limits.body_timeout),
            "writeTimeout": duration(limits.write_timeout),
            "headerBytes": limits.header_bytes,
            "headerCount": limits.header_count,
            "concurrency": limits.admission.concurrency,
            "queue": limits.admission.queue,
            "queueWait": duration(limits.admission.queue_wait),
        },
    })
}

/// An identifier in words, near to how it is written.
pub(crate) fn identifier(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Host => "host".to_owned(),
        Identifier::Header(name) => format!("header {name}"),
        Identifier::HeaderToken(name) => format!("header.token {name}"),
        Identifier::Path {
            segments,
            consume: true,
        } => format!("the first {segments} of the path, consumed"),
        Identifier::Path {
            segments,
            consume: false,
        } => format!("the first {segments} of the path"),
        Identifier::MethodHost { uri: true } => "method-host with the path".to_owned(),
        Identifier::MethodHost { uri: false } => "method-host".to_owned(),
        Identifier::Static(name) => format!("static {name}"),
    }
}

fn cluster_json(cluster: &Cluster) -> Value {
    let protocol = protocol_word(cluster.protocol);
    match &cluster.source {
        ClusterSource::Endpoints(endpoints) => {
            let endpoints: Vec<_> = endpoints.iter().map(endpoint_json).collect();
            json!({"protocol": protocol, "endpoints": endpoints})
        }
        ClusterSource::Dns { host, port } => {
            json!({"protocol": protocol, "dns": format!("{host}:{port}")})
        }
    }
}

/// The word for what is spoken upstream.
pub fn protocol_word(protocol: UpstreamProtocol) -> &'static str {
    match protocol {
        UpstreamProtocol::Same => "same",
        UpstreamProtocol::Http1 => "http1",
        UpstreamProtocol::Http2 => "http2",
    }
}

fn endpoint_json(endpoint: &WrittenEndpoint) -> Value {
    let (address, weight, locality) = match endpoint {
        WrittenEndpoint::Address(endpoint) => (
            endpoint.address.to_string(),
            endpoint.weight,
            &endpoint.locality,
        ),
        WrittenEndpoint::Host {
            host,
            port,
            weight,
            locality,
        } => (format!("{host}:{port}"), *weight, locality),
    };
    json!({"address": address, "weight": weight, "zone": locality.zone.as_deref(), "node": locality.node.as_deref()})
}

fn route_json(route: &Route) -> Value {
    let Route {
        retries,
        accrual,
        pool,
        ..
    } = route;
    json!({
        "namespace": route.namespace,
        "name": route.name,
        "service": route.service,
        "rules": route.rules.iter().map(rule_json).collect::<Vec<_>>(),
        "timeout": route.timeout.map(duration),
        "attemptTimeout": route.attempt_timeout.map(duration),
        "retries": {
            "on": retries.on.iter().map(retry_on).collect::<Vec<_>>(),
            "max": retries.max,
            "budget": {
                "ratio": retries.budget.ratio,
                "minPerSecond": retries.budget.min_per_second,
                "window": duration(retries.budget.window),
            },
            "backoff": {"base": duration(retries.backoff.base), "max": duration(retries.backoff.max)},
        },
        "hedge": route.hedge.map(|percentile| json!({"percentile": percentile})),
        "balancer": balancer_word(&route.balancer),
        "slowStart": duration(route.balancer.slow_start),
        "accrual": {
            "consecutiveFailures": accrual.consecutive_failures,
            "successRate": accrual.success_rate.as_ref().map(|rate| json!({
                "below": rate.below,
                "window": duration(rate.window),
                "minRequests": rate.min_requests,
            })),
            "minProbe": duration(accrual.min_probe),
            "maxProbe": duration(accrual.max_probe),
            "maxEjectedPercent": accrual.max_ejected_percent,
            "failOpen": accrual.fail_open,
        },
        "pool": {
            "connectTimeout": duration(pool.connect_timeout),
            "idle": duration(pool.idle),
            "lifetime": pool.lifetime.map(duration),
            "maxConnections": pool.max_connections,
            "maxRequests": pool.max_requests,
            "maxPending": pool.max_pending,
            "maxStreams": pool.max_streams,
            "replayBytes": pool.replay_bytes,
        },
    })
}

/// The balancer's kind, as in configuration.
pub fn balancer_word(balancer: &Balancer) -> &'static str {
    match balancer.kind {
        BalancerKind::P2cPeakEwma { .. } => "p2c-peak-ewma",
        BalancerKind::P2cLeastLoaded => "p2c-least-loaded",
        BalancerKind::RoundRobin => "round-robin",
        BalancerKind::RingHash { .. } => "ring-hash",
        BalancerKind::Aperture { .. } => "aperture",
    }
}

fn retry_on(reason: &RetryOn) -> String {
    match reason {
        RetryOn::Connect => "connect".to_owned(),
        RetryOn::RefusedStream => "refused-stream".to_owned(),
        RetryOn::UnusedConnection => "unused-connection".to_owned(),
        RetryOn::Reset => "reset".to_owned(),
        RetryOn::AttemptTimeout => "attempt-timeout".to_owned(),
        RetryOn::Status(status) => status.to_string(),
        RetryOn::ServerError => "5xx".to_owned(),
        RetryOn::Grpc(code) => format!("grpc {code}"),
    }
}

fn rule_json(rule: &Rule) -> Value {
    let to = |to: &Destination| json!({"service": to.name, "path": to.path.to_string(), "weight": to.weight});
    let set = &rule.set;
    json!({
        "match": match_words(&rule.matches),
        "to": rule.to.iter().map(to).collect::<Vec<_>>(),
        "stickyBy": rule.sticky_by.as_ref().map(key_word),
        "mirror": rule.mirror.as_ref().map(|mirror| json!({"to": to(&mirror.to), "percent": mirror.percent})),
        "set": {
            "requestHeaders": set.request_headers,
            "removeRequestHeaders": set.remove_request_headers,
            "responseHeaders": set.response_headers,
            "removeResponseHeaders": set.remove_response_headers,
            "path": set.path.as_ref().map(|path| format!("{path:?}")),
            "host": set.host,
            "redirect": set.redirect.as_ref().map(|to| json!({"location": to.location, "status": to.status})),
            "status": set.status,
        },
        "idempotent": rule.idempotent,
    })
}

/// Each condition of a match in words, in the order in which they are shown.
pub(crate) fn match_words(conditions: &Match) -> Vec<String> {
    let mut words = Vec::new();
    if !conditions.methods.is_empty() {
        words.push(format!("method is {}", conditions.methods.join(" or ")));
    }
    let value =
        |subject: String, condition: &StringMatch| format!("{subject} {}", string_match(condition));
    words.extend(
        conditions
            .path
            .iter()
            .map(|condition| value("path".to_owned(), condition)),
    );
    words.extend(
        conditions
            .headers
            .iter()
            .map(|(name, condition)| value(format!("header {name}"), condition)),
    );
    words.extend(
        conditions
            .query
            .iter()
            .map(|(name, condition)| value(format!("query {name}"), condition)),
    );
    words.extend(
        conditions
            .from
            .iter()
            .map(|condition| value("caller".to_owned(), condition)),
    );
    words
}

fn string_match(condition: &StringMatch) -> String {
    match condition {
        StringMatch::Exact(text) => format!("is {text:?}"),
        StringMatch::Prefix(text) => format!("begins with {text:?}"),
        StringMatch::Regex(regex) => format!("matches {:?}", regex.as_str()),
        StringMatch::Present(true) => "is there".to_owned(),
        StringMatch::Present(false) => "is not there".to_owned(),
    }
}

/// A key as it is written: `header:x-user-id`.
pub(crate) fn key_word(key: &Key) -> String {
    match key {
        Key::Header(name) => format!("header:{name}"),
        Key::Cookie(name) => format!("cookie:{name}"),
        Key::Address => "address".to_owned(),
    }
}

fn fault_json(fault: &Fault) -> Value {
    json!({
        "namespace": fault.namespace,
        "name": fault.name,
        "service": fault.service,
        "match": match_words(&fault.matches),
        "percent": fault.percent,
        "effect": fault_words(fault),
        "until": duration(fault.until),
    })
}

/// What a fault does, in words.
pub(crate) fn fault_words(fault: &Fault) -> String {
    let end = match fault.kind {
        FaultKind::None => None,
        FaultKind::Status(status) => Some(format!("answers {status}")),
        FaultKind::Grpc(code) => Some(format!("answers gRPC status {code}")),
        FaultKind::Reset => Some("resets".to_owned()),
    };
    match (fault.delay, end) {
        (Some(delay), Some(end)) => format!("waits {}, then {end}", duration(delay)),
        (Some(delay), None) => format!("waits {}", duration(delay)),
        (None, Some(end)) => end,
        (None, None) => "does nothing".to_owned(),
    }
}
