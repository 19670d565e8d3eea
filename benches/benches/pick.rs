//! What it costs to choose an endpoint, by balancer and size of the set.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use heddle_core::accrual::EndpointHealth;
use heddle_core::balance::{Node, Picker};
use heddle_core::config::{Balancer, BalancerKind, Key};
use heddle_core::endpoint::Locality;
use heddle_core::ewma::PeakEwma;
use heddle_core::random::{Rng, Xoshiro, mix64};
use heddle_core::{Nanos, status::Status};
use std::hint::black_box;
use std::time::Duration;

struct Endpoint {
    cost: PeakEwma,
    health: EndpointHealth,
    locality: Locality,
    identity: u64,
}

impl Endpoint {
    fn new(id: u64) -> Self {
        let cost = PeakEwma::new(0, Duration::from_secs(10));
        cost.observe(0, 1_000_000 + id * 1_000);
        Self {
            cost,
            health: EndpointHealth::new(0),
            locality: Locality::default(),
            identity: mix64(id),
        }
    }
}

impl Node for Endpoint {
    fn status(&self, now: Nanos) -> Status {
        self.health.status(now)
    }
    fn load(&self, now: Nanos) -> f64 {
        self.cost.load(now)
    }
    fn in_flight(&self) -> u32 {
        self.cost.pending()
    }
    fn weight(&self) -> f64 {
        1.0
    }
    fn locality(&self) -> &Locality {
        &self.locality
    }
    fn identity(&self) -> u64 {
        self.identity
    }
    fn ramp(&self, now: Nanos) -> f64 {
        self.health.ramp(now, Duration::from_secs(10))
    }
    fn probe_due(&self, now: Nanos) -> bool {
        self.health.probe_due(now)
    }
}

/// A pick, and the accounting of the request that follows it, every 20 µs of virtual time.
fn pick(criterion: &mut Criterion) {
    let aperture = BalancerKind::Aperture {
        low_load: 0.5,
        high_load: 2.0,
        min: 1,
        smooth: Duration::from_secs(5),
    };
    let kinds = [
        ("p2c-peak-ewma", BalancerKind::default()),
        ("p2c-least-loaded", BalancerKind::P2cLeastLoaded),
        ("round-robin", BalancerKind::RoundRobin),
        ("ring-hash", BalancerKind::RingHash { by: Key::Address }),
        ("aperture", aperture),
    ];
    for (name, kind) in kinds {
        let mut group = criterion.benchmark_group(name);
        for size in [3, 30, 1000] {
            let nodes: Vec<Endpoint> = (0..size).map(Endpoint::new).collect();
            let balancer = Balancer {
                kind: kind.clone(),
                ..Balancer::default()
            };
            let mut picker = Picker::new(&balancer, &nodes, &Locality::default(), 1);
            let (mut rng, mut now) = (Xoshiro::seeded(1), 20_000_000_000);
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| {
                    now += 20_000;
                    let key = rng.next_u64();
                    let picked = picker
                        .pick(&nodes, now, &mut rng, Some(key), &[])
                        .expect("there are nodes");
                    nodes[picked].cost.start();
                    nodes[picked].cost.end(now - 1_000_000, now);
                    black_box(picked)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, pick);
criterion_main!(benches);
