//! One file with every key: what is read, that all of it is read, and what is never read.

use super::{Disk, Memory, READ, repository};
use crate::config::*;
use crate::random::{Rng, Xoshiro};
use crate::spec::shape::{Object, Shape};
use crate::spec::table::{PROXY, rules};
use crate::spec::{Source, load};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const WHOLE: &str = include_str!("whole.yaml");

fn whole() -> ProxyConfig {
    let loaded = load(
        Some(Path::new("etc/p.yaml")),
        &Memory::default()
            .with("etc/p.yaml", WHOLE)
            .with("etc/tls/cert.pem", "certificate")
            .with("etc/tls/key.pem", "key")
            .with("etc/tls/ca.pem", "certificate"),
    );
    let told: Vec<_> = loaded.findings.iter().map(ToString::to_string).collect();
    assert_eq!(told, [""; 0]);
    loaded.config.unwrap()
}

/// Every (map, key) below a shape.
fn keys(shape: &Shape, into: &mut BTreeSet<(&'static str, &'static str)>) {
    match shape {
        Shape::Object(object) => keys_of(object, into),
        Shape::Map { value, .. } => keys(value, into),
        Shape::List { of, .. } => keys(of, into),
        Shape::Choice(shapes) => shapes.iter().for_each(|shape| keys(shape, into)),
        _ => {}
    }
}

fn keys_of(object: &'static Object, into: &mut BTreeSet<(&'static str, &'static str)>) {
    for field in object.fields {
        if into.insert((object.name, field.key)) {
            keys(&field.shape, into);
        }
    }
}

#[test]
fn decoders_read_every_key_of_the_tables() {
    whole();
    let mut all = BTreeSet::new();
    keys_of(&PROXY, &mut all);
    rules::KINDS
        .iter()
        .for_each(|(_, object)| keys_of(object, &mut all));
    keys_of(&rules::DOCUMENT, &mut all);
    keys_of(&super::super::table::mesh::CONTROL_PLANE_FILE, &mut all);
    let mesh = "api: {listen: '127.0.0.1:1'}\nxds: {listen: '127.0.0.1:2', outbound: '127.0.0.1:3'}\nsources: {folder: {dir: m}}\n";
    let source = Memory::default().with("m.yaml", mesh);
    assert!(
        super::super::mesh::load(Path::new("m.yaml"), &source)
            .0
            .is_some()
    );
    // The checker reads the version, and nothing interprets remarks.
    for (object, key) in [
        ("document", "apiVersion"),
        ("metadata", "labels"),
        ("metadata", "annotations"),
    ] {
        all.remove(&(object, key));
    }
    READ.with_borrow(|read| {
        let unread: Vec<_> = all.difference(read).collect();
        assert!(
            unread.is_empty(),
            "keys that the checker allows and no decoder reads: {unread:?}"
        );
    });
}

#[test]
fn values_of_the_proxy_arrive() {
    let config = whole();
    let seconds = Duration::from_secs;
    assert_eq!(config.admin.port(), 9991);
    assert_eq!(config.admin_hosts, ["proxy.bank"]);
    assert_eq!(
        (config.namespace.as_str(), config.workers, config.drain),
        ("bank", Some(3), seconds(5))
    );
    let log = config.access_log.as_ref().unwrap();
    assert_eq!(
        log.to,
        LogTarget::File(Path::new("etc/log/access.log").into())
    );
    assert_eq!((log.sample, log.errors_only, log.query), (0.5, true, true));
    let tracing = config.tracing.as_ref().unwrap();
    assert_eq!(
        (
            tracing.otlp.as_str(),
            tracing.sample,
            tracing.service.as_str()
        ),
        ("http://127.0.0.1:4317", 0.25, "edge")
    );
    assert_eq!(config.locality.zone.as_deref(), Some("a"));
    let limits = Limits {
        cache_entries: 11,
        cache_idle: seconds(12),
        metric_series: 13,
        memory: Some(16_000_000),
        bind_timeout: seconds(14),
    };
    assert_eq!(config.limits, limits);
    let [outbound, inbound, secured, opaque] = &config.listeners[..] else {
        panic!("four listeners")
    };
    assert_eq!(outbound.namespace, "shop");
    let tls = secured.tls.as_ref().unwrap();
    assert_eq!(
        (tls.min_version, &tls.alpn[..]),
        (TlsVersion::V13, &["http/1.1"][..])
    );
    assert!(!tls.client_auth.as_ref().unwrap().required);
    // The set's own and that of a prefix; both have three elements.
    assert_eq!(config.tls.len(), 2);
    let named = config.tls.iter().find_map(|s| s.tls.server_name.as_deref());
    assert_eq!(named, Some("a.example"));
    assert_eq!(inbound.namespace, "bank");
    assert_eq!(
        (outbound.protocol, outbound.overrides),
        (ListenProtocol::Http, Overrides::Accept)
    );
    assert_eq!(
        outbound.identify,
        [
            Identifier::Host,
            Identifier::MethodHost { uri: false },
            Identifier::Header("x-name".into()),
            Identifier::HeaderToken("x-token".into()),
            Identifier::Path {
                segments: 2,
                consume: true
            },
            Identifier::MethodHost { uri: true },
            Identifier::Static("a/b".into()),
        ]
    );
    assert_eq!(
        outbound.trust,
        [
            ("10.0.0.0".parse().unwrap(), 8),
            ("::1".parse().unwrap(), 128)
        ]
    );
    let limits = ListenerLimits {
        connections: 1,
        requests: 2,
        detect_timeout: seconds(3),
        header_timeout: seconds(4),
        body_timeout: seconds(9),
        write_timeout: seconds(10),
        header_bytes: 5000,
        header_count: 6,
        streams: 7,
        idle: seconds(8),
        admission: Admission::default(),
    };
    assert_eq!(outbound.limits, limits);
    let admission = Admission {
        concurrency: Some(9),
        queue: 10,
        queue_wait: seconds(11),
    };
    assert_eq!(inbound.limits.admission, admission);
    assert_eq!(
        inbound.mode,
        Mode::Inbound {
            forward_to: "127.0.0.1:9001".parse().unwrap()
        }
    );
    assert_eq!(
        opaque.mode,
        Mode::Tcp {
            to: "/svc/plain".into()
        }
    );
    assert_eq!(opaque.protocol, ListenProtocol::Tcp);
    assert_eq!(config.files.as_deref(), Some(Path::new("etc/sets")));
    let dns = Dns {
        servers: vec!["10.0.0.53:53".parse().unwrap()],
        min_ttl: seconds(2),
        max_ttl: seconds(3),
        timeout: seconds(4),
    };
    assert_eq!(config.dns, dns);
    assert_eq!(
        inbound.base_dtab.to_string(),
        "/svc=>/#/files;/svc=>/#/static"
    );
    assert_eq!(config.dtab.to_string(), "/svc/extra=>/#/static/plain");
}

#[test]
fn replica_sets_arrive() {
    let config = whole();
    let ClusterSource::Endpoints(plain) = &config.clusters["plain"].source else {
        panic!("endpoints")
    };
    let [
        _,
        WrittenEndpoint::Address(second),
        WrittenEndpoint::Host { host, port, .. },
        WrittenEndpoint::Address(last),
    ] = &plain[..]
    else {
        panic!("{plain:?}")
    };
    assert_eq!((second.address.port(), second.weight), (9002, 2.5));
    assert_eq!((host.as_str(), *port), ("accounts.example", 80));
    assert_eq!(
        (last.weight, last.locality.node.as_deref()),
        (0.0, Some("n2"))
    );
    assert!(last.address.is_ipv6());
    let dns = ClusterSource::Dns {
        host: "accounts.example".into(),
        port: 80,
    };
    assert_eq!(
        (
            &config.clusters["named"].source,
            config.clusters["named"].protocol
        ),
        (&dns, UpstreamProtocol::Http2)
    );
    assert_eq!(config.clusters["whole"].protocol, UpstreamProtocol::Http1);
    assert_eq!(config.clusters.len(), 5);
}

#[test]
fn rules_arrive() {
    let config = whole();
    let route = &config.routes[&("shop".to_owned(), "plain".to_owned())];
    let [first, second, third, fourth, last] = &route.rules[..] else {
        panic!("five rules")
    };
    assert_eq!(first.matches.headers.len(), 5);
    assert!(
        matches!(&first.matches.headers[0], (name, StringMatch::Exact(value)) if name == "x-a" && value == "b")
    );
    assert!(matches!(
        &first.matches.headers[4].1,
        StringMatch::Present(false)
    ));
    assert_eq!((first.to[0].weight, first.to[1].weight), (1.0, 3.0));
    assert_eq!(first.to[1].path.to_string(), "/#/static/named");
    assert_eq!(first.sticky_by, Some(Key::Cookie("sid".into())));
    assert_eq!(
        first
            .mirror
            .as_ref()
            .map(|m| (m.to.name.as_str(), m.percent)),
        Some(("whole", 12.5))
    );
    assert_eq!(
        first.set.request_headers,
        [("x-f".to_owned(), "g".to_owned())]
    );
    assert_eq!(first.set.remove_request_headers, ["x-j"]);
    assert_eq!(first.set.remove_response_headers, ["x-k"]);
    assert_eq!(first.set.path, Some(PathRewrite::Prefix("/v2".into())));
    assert!(first.idempotent && !second.idempotent);
    assert_eq!(second.set.path, Some(PathRewrite::Full("/full".into())));
    assert_eq!(
        third.set.redirect,
        Some(Redirect {
            location: "/b".into(),
            status: 308
        })
    );
    assert_eq!(
        fourth.set.redirect,
        Some(Redirect {
            location: "/d".into(),
            status: 302
        })
    );
    assert_eq!((last.set.status, last.to.len()), (Some(404), 0));
}

#[test]
fn policies_arrive() {
    let config = whole();
    let route = &config.routes[&("shop".to_owned(), "plain".to_owned())];
    let seconds = Duration::from_secs;
    assert_eq!(
        (route.timeout, route.attempt_timeout),
        (Some(seconds(10)), Some(seconds(1)))
    );
    let on = [
        RetryOn::Connect,
        RetryOn::RefusedStream,
        RetryOn::UnusedConnection,
        RetryOn::Reset,
        RetryOn::AttemptTimeout,
        RetryOn::ServerError,
        RetryOn::Status(429),
        RetryOn::Grpc(14),
        RetryOn::Grpc(4),
    ];
    assert_eq!((&route.retries.on[..], route.retries.max), (&on[..], 3));
    assert_eq!(
        route.retries.budget,
        Budget {
            ratio: 0.5,
            min_per_second: 1,
            window: seconds(20)
        }
    );
    assert_eq!(
        route.retries.backoff,
        Backoff {
            base: Duration::from_millis(10),
            max: seconds(1)
        }
    );
    assert_eq!(route.hedge, Some(99.9));
    let kind = BalancerKind::Aperture {
        low_load: 1.0,
        high_load: 3.0,
        min: 4,
        smooth: seconds(5),
    };
    assert_eq!(
        route.balancer,
        Balancer {
            kind,
            slow_start: Duration::ZERO,
            prefer_near: false
        }
    );
    let accrual = Accrual {
        consecutive_failures: None,
        success_rate: Some(SuccessRate {
            below: 0.5,
            window: seconds(30),
            min_requests: 9,
        }),
        min_probe: seconds(2),
        max_probe: seconds(20),
        max_ejected_percent: 10.0,
        fail_open: true,
    };
    assert_eq!(route.accrual, accrual);
    let pool = Pool {
        connect_timeout: Duration::from_millis(1),
        idle: seconds(2),
        lifetime: Some(seconds(5400)),
        max_connections: 1,
        max_requests: 2,
        max_pending: 0,
        max_streams: 4,
        ping: seconds(5),
        ping_timeout: seconds(6),
        replay_bytes: 0,
    };
    assert_eq!(route.pool, pool);
    let other = &config.routes[&("default".to_owned(), "named".to_owned())];
    assert_eq!(
        other.balancer.kind,
        BalancerKind::RingHash { by: Key::Address }
    );
    assert_eq!(
        (
            other.accrual.consecutive_failures,
            &other.accrual.success_rate
        ),
        (Some(3), &None)
    );
    let third = &config.routes[&("default".to_owned(), "third".to_owned())];
    assert_eq!(
        third.balancer.kind,
        BalancerKind::P2cPeakEwma { decay: seconds(60) }
    );
    let kinds: Vec<_> = config.faults.iter().map(|fault| fault.kind).collect();
    assert_eq!(
        kinds,
        [
            FaultKind::Status(503),
            FaultKind::Grpc(14),
            FaultKind::Reset
        ]
    );
    assert_eq!(
        (config.faults[0].percent, config.faults[1].percent),
        (50.0, 100.0)
    );
}

const MARKS: &[u8] = b":-[]{}&*!|>'\"%@`\t\n#,?\xff0~";

/// Half-written and damaged files give findings, never a panic, and never an error without a finding.
#[test]
fn damaged_files_are_told() {
    let seed = 20_261_124;
    let mut rng = Xoshiro::seeded(seed);
    let mut texts = vec![WHOLE.as_bytes().to_vec()];
    for name in ["canary.yaml", "dtab.yaml", "matching.yaml", "faults.yaml"] {
        texts.push(Disk.read(&repository("examples").join(name)).unwrap());
    }
    for round in 0..1500 {
        let mut text = texts[rng.below(texts.len())].clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(text.len().max(1)).min(text.len());
            match rng.below(5) {
                0 => text.truncate(at),
                1 => drop(text.drain(at..(at + rng.below(40)).min(text.len()))),
                2 => text.insert(at, MARKS[rng.below(MARKS.len())]),
                3 if at < text.len() => text[at] = rng.below(256) as u8,
                _ => {
                    let end = (at + rng.below(200)).min(text.len());
                    text.extend_from_within(at..end);
                }
            }
        }
        let loaded = load(
            Some(Path::new("p")),
            &Memory::default().with("p", text.clone()),
        );
        let errors = loaded
            .findings
            .iter()
            .filter(|finding| finding.is_error())
            .count();
        let shown = String::from_utf8_lossy(&text);
        assert_eq!(
            loaded.config.is_none(),
            errors > 0,
            "seed {seed}, round {round}: {shown}"
        );
    }
}
