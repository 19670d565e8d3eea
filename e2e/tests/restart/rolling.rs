//! The proxy and all replicas restart again and again under load, and no request is lost.

use crate::Case;
use crate::handover::Line;
use crate::load::Clients;
use crate::replica::{Ledger, Replica};
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::scale;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) const CASES: &[Case] = &[
    Case(
        "rolling::no_request_is_lost_when_replicas_announce_their_end_with_answers",
        &[],
        no_request_is_lost_when_replicas_announce_their_end_with_answers,
    ),
    Case(
        "rolling::no_request_is_lost_when_replicas_leave_discovery_first",
        &[],
        no_request_is_lost_when_replicas_leave_discovery_first,
    ),
];

/// Requests at scale 1; ten times as many at least where figures are proved.
const REQUESTS: u64 = 20_000;
/// Requests where figures are proved.
const PROVED: u64 = 500_000;
/// Requests a second, unless `HEDDLE_RATE` says so.
const RATE: f64 = 2_000.0;
/// How long a replica drains.
const REPLICA_DRAIN: Duration = Duration::from_secs(2);
/// How long a replica that has left discovery goes on as before: a change of a file is applied
/// within a second.
const LEAVING: Duration = Duration::from_millis(1500);
/// Replicas.
const REPLICAS: usize = 3;

/// Both tests have the machine for themselves, or neither would hold the rate.
static TURN: Mutex<()> = Mutex::new(());

fn requests() -> u64 {
    match scale() as u64 {
        0..10 => REQUESTS * scale() as u64,
        _ => PROVED * scale() as u64 / 10,
    }
}

/// Replicas that say only with their answers that they drain.
fn no_request_is_lost_when_replicas_announce_their_end_with_answers() {
    let (runtime, ledger) = (runtime(), Ledger::default());
    let replicas = replicas(&runtime, &ledger);
    let addresses: Vec<_> = replicas.iter().map(Replica::address).collect();
    let setup = Setup::new().replicas("ledger", &addresses);
    let restart = |replica: &mut Replica| runtime.block_on(replica.restart(REPLICA_DRAIN));
    roll(&runtime, setup, replicas, &ledger, restart);
}

/// Replicas that leave discovery first.
fn no_request_is_lost_when_replicas_leave_discovery_first() {
    let (runtime, ledger) = (runtime(), Ledger::default());
    let replicas = replicas(&runtime, &ledger);
    let addresses: Vec<_> = replicas.iter().map(Replica::address).collect();
    let folder = TempDir::with_prefix("heddle-e2e-").expect("a folder");
    announce(folder.path(), &addresses);
    let files = folder.path().display();
    let setup = Setup::new().top(&format!("discovery: {{files: {{dir: {files}}}}}"));
    let restart = |replica: &mut Replica| {
        let left = addresses.iter().filter(|one| **one != replica.address());
        announce(folder.path(), &left.copied().collect::<Vec<_>>());
        std::thread::sleep(LEAVING);
        runtime.block_on(replica.restart(REPLICA_DRAIN - LEAVING));
        announce(folder.path(), &addresses);
    };
    roll(&runtime, setup, replicas, &ledger, restart);
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn replicas(runtime: &Runtime, ledger: &Ledger) -> Vec<Replica> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    runtime.block_on(async { (0..REPLICAS).map(|_| Replica::start(any, ledger)).collect() })
}

/// Writes who there is for the `files` namer, by a rename.
fn announce(folder: &Path, addresses: &[SocketAddr]) {
    let lines = addresses
        .iter()
        .map(|address| format!("{} {}\n", address.ip(), address.port()));
    let draft = folder.join(".ledger");
    std::fs::write(&draft, lines.collect::<String>()).expect("ours");
    std::fs::rename(draft, folder.join("ledger")).expect("ours");
}

fn roll(
    runtime: &Runtime,
    setup: Setup,
    mut replicas: Vec<Replica>,
    ledger: &Ledger,
    restart: impl Fn(&mut Replica),
) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut proxy = Proxy::start(&setup.top("drain: 5s"));
    let first = proxy.process().id();
    let rate = std::env::var("HEDDLE_RATE")
        .ok()
        .and_then(|rate| rate.parse().ok());
    let count = requests();
    let clients = Clients::new(proxy.outbound());
    let began = Instant::now();
    let load = runtime.spawn(Arc::clone(&clients).run(count, rate.unwrap_or(RATE)));
    let line = Line(&proxy);
    let mut restarts = 0;
    while clients.done.load(Ordering::Relaxed) < count * 9 / 10 {
        line.restart(first);
        restart(&mut replicas[restarts % REPLICAS]);
        restarts += 1;
    }
    let (acknowledged, failures) = runtime.block_on(load).expect("the load does not panic");
    let shown = &failures[..failures.len().min(10)];
    println!(
        "{count} requests at {:.0} a second, {} failed; {restarts} restarts of the proxy and as many of replicas",
        count as f64 / began.elapsed().as_secs_f64(),
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
