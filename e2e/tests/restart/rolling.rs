//! The proxy and all replicas restart again and again under load, and no request is lost.

use crate::handover::Line;
use crate::load::Clients;
use crate::replica::{Ledger, Replica};
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::scale;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Requests at scale 1; ten times as many at least where figures are proved.
const REQUESTS: u64 = 20_000;
/// Requests where figures are proved.
const PROVED: u64 = 500_000;
/// Requests a second, unless `HEDDLE_RATE` says so.
const RATE: f64 = 2_000.0;
/// How long a replica drains.
const REPLICA_DRAIN: Duration = Duration::from_secs(2);

fn requests() -> u64 {
    match scale() as u64 {
        0..10 => REQUESTS * scale() as u64,
        _ => PROVED * scale() as u64 / 10,
    }
}

#[test]
fn no_request_is_lost_in_a_rolling_restart_of_everything() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let ledger = Ledger::default();
    let mut replicas: Vec<_> = runtime.block_on(async {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        (0..3).map(|_| Replica::start(any, &ledger)).collect()
    });
    let addresses: Vec<_> = replicas.iter().map(Replica::address).collect();
    let setup = Setup::new().top("drain: 5s").replicas("ledger", &addresses);
    let mut proxy = Proxy::start(&setup);
    let first = proxy.process().id();
    let rate = std::env::var("HEDDLE_RATE")
        .ok()
        .and_then(|rate| rate.parse().ok());
    let count = requests();
    let clients = Clients::new(proxy.outbound());
    let load = runtime.spawn(Arc::clone(&clients).run(count, rate.unwrap_or(RATE)));
    let line = Line(&proxy);
    let mut restarts = 0;
    while clients.done.load(Ordering::Relaxed) < count * 9 / 10 {
        line.restart(first);
        let replica = restarts % replicas.len();
        runtime.block_on(replicas[replica].restart(REPLICA_DRAIN));
        restarts += 1;
    }
    let (acknowledged, failures) = runtime.block_on(load).expect("the load does not panic");
    let shown = &failures[..failures.len().min(10)];
    println!(
        "{count} requests, {} failed; {restarts} restarts of the proxy and as many of replicas",
        failures.len()
    );
    assert!(
        failures.is_empty(),
        "{} of {count}: {shown:#?}",
        failures.len()
    );
    assert!(restarts > 0, "the load ended before anything restarted");
    let ledger = ledger.lock().expect("nobody panics with it");
    assert_eq!(acknowledged.len() as u64, count / 2);
    for id in acknowledged {
        assert_eq!(ledger.get(&id), Some(&1), "POST #{id}");
    }
}
