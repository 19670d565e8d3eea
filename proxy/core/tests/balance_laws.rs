//! Laws of the balancers, over random sets. A failure prints its seed; `HEDDLE_SEED` replays it and
//! `HEDDLE_CASES` sets how many are tried.

use heddle_core::balance::{Node, Picker, REFRESH};
use heddle_core::config::{Balancer, BalancerKind, Key};
use heddle_core::endpoint::Locality;
use heddle_core::random::{Rng, Xoshiro, mix64};
use heddle_core::{Nanos, status::Status};
use std::cell::Cell;
use std::time::Duration;

#[path = "balance_laws/near.rs"]
mod near;
#[path = "balance_laws/ring.rs"]
mod ring;
#[path = "balance_laws/window.rs"]
mod window;

#[derive(Debug, Clone)]
struct Replica {
    status: Status,
    load: f64,
    in_flight: u32,
    weight: f64,
    locality: Locality,
    identity: u64,
    ramp: f64,
    probe_due: bool,
    looks: Cell<u64>,
}

impl Replica {
    fn new(identity: u64) -> Self {
        Self {
            status: Status::Open,
            load: 1.0,
            in_flight: 0,
            weight: 1.0,
            locality: Locality::default(),
            identity: mix64(identity + 1),
            ramp: 1.0,
            probe_due: false,
            looks: Cell::new(0),
        }
    }

    fn at(self, zone: &str, node: &str) -> Self {
        Self {
            locality: locality(zone, node),
            ..self
        }
    }
}

impl Node for Replica {
    fn status(&self, _: Nanos) -> Status {
        self.looks.set(self.looks.get() + 1);
        self.status
    }
    fn load(&self, _: Nanos) -> f64 {
        self.load
    }
    fn in_flight(&self) -> u32 {
        self.in_flight
    }
    fn weight(&self) -> f64 {
        self.weight
    }
    fn locality(&self) -> &Locality {
        &self.locality
    }
    fn identity(&self) -> u64 {
        self.identity
    }
    fn ramp(&self, _: Nanos) -> f64 {
        self.ramp
    }
    fn probe_due(&self, _: Nanos) -> bool {
        self.probe_due
    }
}

fn locality(zone: &str, node: &str) -> Locality {
    let known = |text: &str| (!text.is_empty()).then(|| text.into());
    Locality {
        zone: known(zone),
        node: known(node),
    }
}

fn kinds() -> [BalancerKind; 5] {
    [
        BalancerKind::default(),
        BalancerKind::P2cLeastLoaded,
        BalancerKind::RoundRobin,
        BalancerKind::RingHash { by: Key::Address },
        aperture(1),
    ]
}

fn aperture(min: usize) -> BalancerKind {
    BalancerKind::Aperture {
        low_load: 0.5,
        high_load: 2.0,
        min,
        smooth: Duration::from_secs(5),
    }
}

fn balancer(kind: &BalancerKind) -> Balancer {
    Balancer {
        kind: kind.clone(),
        ..Balancer::default()
    }
}

fn picker(kind: &BalancerKind, nodes: &[Replica]) -> Picker {
    Picker::new(&balancer(kind), nodes, &locality("a", "n1"), 7)
}

fn replicas(n: u64) -> Vec<Replica> {
    (0..n).map(Replica::new).collect()
}

/// How often each is picked in `n` picks at time 0.
fn counts(picker: &mut Picker, nodes: &[Replica], n: usize, seed: u64) -> Vec<usize> {
    let rng = &mut Xoshiro::seeded(seed);
    let mut counts = vec![0; nodes.len()];
    (0..n).for_each(|_| {
        counts[picker
            .pick(nodes, 0, rng, None, &[])
            .expect("there are nodes")] += 1
    });
    counts
}

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Runs a law over random sets; the seed of a failing one is printed.
fn law(check: impl Fn(&mut Xoshiro)) {
    struct Note(u64);
    impl Drop for Note {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("replay with HEDDLE_SEED={} HEDDLE_CASES=1", self.0);
            }
        }
    }
    let first = env("HEDDLE_SEED", 1);
    for seed in first..first + env("HEDDLE_CASES", 300) {
        let note = Note(seed);
        check(&mut Xoshiro::seeded(seed));
        drop(note);
    }
}

/// A set of up to twelve endpoints with random everything.
fn random_set(rng: &mut Xoshiro) -> Vec<Replica> {
    let n = 1 + rng.below(12) as u64;
    let mut one = |id| {
        let mut replica =
            Replica::new(id).at(["a", "b", ""][rng.below(3)], ["n1", "n2", ""][rng.below(3)]);
        replica.status = [Status::Open, Status::Busy, Status::Closed][rng.below(3)];
        replica.load = rng.unit() * 1e9;
        replica.in_flight = rng.below(20) as u32;
        replica.weight = [1.0, 1.0, 2.0, 0.5, 0.0][rng.below(5)];
        replica.ramp = [1.0, 0.1, 0.5][rng.below(3)];
        replica
    };
    (0..n).map(&mut one).collect()
}

#[test]
fn an_open_endpoint_is_found_whenever_there_is_one() {
    law(|rng| {
        let nodes = random_set(rng);
        let weighty =
            |node: &&Replica| node.weight > 0.0 || nodes.iter().all(|node| node.weight == 0.0);
        let best = nodes
            .iter()
            .filter(weighty)
            .map(|node| node.status)
            .max()
            .unwrap();
        for kind in kinds() {
            let mut picker = picker(&kind, &nodes);
            for step in 0..20 {
                let picked = picker
                    .pick(&nodes, step * REFRESH / 3, rng, None, &[])
                    .unwrap();
                if best == Status::Open {
                    assert_eq!(
                        nodes[picked].status, best,
                        "{kind:?} picked {picked} of {nodes:?}"
                    );
                }
                assert!(
                    weighty(&&nodes[picked]),
                    "{kind:?} picked {picked} of weight 0: {nodes:?}"
                );
            }
        }
    });
}

#[test]
fn what_was_tried_is_avoided_while_another_is_open() {
    law(|rng| {
        let mut nodes = random_set(rng);
        nodes
            .iter_mut()
            .for_each(|node| node.weight = node.weight.max(0.5));
        let avoid: Vec<usize> = (0..nodes.len()).filter(|_| rng.below(2) == 0).collect();
        let fresh =
            (0..nodes.len()).any(|at| nodes[at].status == Status::Open && !avoid.contains(&at));
        let open = nodes.iter().any(|node| node.status == Status::Open);
        for kind in kinds() {
            let picked = picker(&kind, &nodes)
                .pick(&nodes, 0, rng, Some(3), &avoid)
                .unwrap();
            assert_eq!(
                !avoid.contains(&picked) && nodes[picked].status == Status::Open,
                fresh,
                "{kind:?}: {nodes:?}"
            );
            assert_eq!(
                nodes[picked].status == Status::Open,
                open,
                "{kind:?}: {nodes:?}"
            );
        }
    });
}

#[test]
fn no_endpoint_no_pick_and_a_set_that_changed_unannounced_is_no_panic() {
    for kind in kinds() {
        let (mut nodes, rng) = (replicas(3), &mut Xoshiro::seeded(1));
        let mut picker = picker(&kind, &[]);
        assert_eq!(picker.pick::<Replica>(&[], 0, rng, None, &[]), None);
        assert!(picker.pick(&nodes, 0, rng, None, &[]).is_some());
        nodes.truncate(1);
        assert_eq!(picker.pick(&nodes, 0, rng, None, &[0, 7]), Some(0));
    }
}

#[test]
fn equals_get_equal_shares() {
    for kind in kinds()
        .into_iter()
        .filter(|kind| !matches!(kind, BalancerKind::Aperture { .. }))
    {
        let nodes = replicas(5);
        let counts = counts(&mut picker(&kind, &nodes), &nodes, 50_000, 3);
        let tolerance = if matches!(kind, BalancerKind::RingHash { .. }) {
            2_500
        } else {
            500
        };
        assert!(
            counts
                .iter()
                .all(|count| count.abs_diff(10_000) < tolerance),
            "{kind:?}: {counts:?}"
        );
    }
}

#[test]
fn weights_are_shares() {
    for kind in [
        BalancerKind::default(),
        BalancerKind::RoundRobin,
        BalancerKind::P2cLeastLoaded,
        kinds()[3].clone(),
        aperture(6),
    ] {
        let mut nodes = replicas(6);
        let weights = [1.0, 1.0, 1.0, 3.0, 3.0, 0.0];
        nodes
            .iter_mut()
            .zip(weights)
            .for_each(|(node, weight)| node.weight = weight);
        let counts = counts(&mut picker(&kind, &nodes), &nodes, 90_000, 5);
        let tolerance = if matches!(
            kind,
            BalancerKind::RingHash { .. } | BalancerKind::Aperture { .. }
        ) {
            0.25
        } else {
            0.05
        };
        for (count, weight) in counts.iter().zip(weights) {
            let mean = 10_000.0 * weight;
            assert!(
                (*count as f64 - mean).abs() <= mean * tolerance,
                "{kind:?}: {counts:?}"
            );
        }
    }
}

#[test]
fn all_weights_zero_are_equal() {
    for kind in [BalancerKind::default(), BalancerKind::RoundRobin] {
        let mut nodes = replicas(4);
        nodes.iter_mut().for_each(|node| node.weight = 0.0);
        let counts = counts(&mut picker(&kind, &nodes), &nodes, 4_000, 5);
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{kind:?}: {counts:?}"
        );
    }
}

#[test]
fn the_less_loaded_of_two_is_picked_and_the_worst_never() {
    for kind in [BalancerKind::default(), BalancerKind::P2cLeastLoaded] {
        let mut nodes = replicas(5);
        for (at, node) in nodes.iter_mut().enumerate() {
            (node.load, node.in_flight) = (at as f64, at as u32);
        }
        let counts = counts(&mut picker(&kind, &nodes), &nodes, 10_000, 3);
        assert!(
            counts.is_sorted_by(|a, b| a > b) && counts[4] == 0,
            "{kind:?}: {counts:?}"
        );
        assert!(
            (3_700..4_300).contains(&counts[0]),
            "the best is one of two in 40 %: {counts:?}"
        );
    }
}

#[test]
fn ejected_endpoints_do_not_hand_their_pairs_to_the_worst() {
    let mut nodes = replicas(4);
    nodes[1].load = 100.0;
    nodes[2..]
        .iter_mut()
        .for_each(|node| node.status = Status::Busy);
    let counts = counts(
        &mut picker(&BalancerKind::default(), &nodes),
        &nodes,
        10_000,
        3,
    );
    assert!(
        counts[1] < 1_000,
        "two of four are open, and the worse of them is picked: {counts:?}"
    );
}

#[test]
fn an_endpoint_due_for_its_probe_is_picked_whatever_its_load() {
    let mut nodes = replicas(2);
    (
        nodes[1].load,
        nodes[1].in_flight,
        nodes[1].probe_due,
        nodes[1].ramp,
    ) = (1e12, 9, true, 0.1);
    for kind in [BalancerKind::default(), BalancerKind::P2cLeastLoaded] {
        let counts = counts(&mut picker(&kind, &nodes), &nodes, 100, 1);
        assert_eq!(counts, [0, 100], "{kind:?}");
    }
}

#[test]
fn slow_start_grants_a_share_and_equals_start_as_equals() {
    for kind in [
        BalancerKind::default(),
        BalancerKind::RoundRobin,
        BalancerKind::P2cLeastLoaded,
        kinds()[3].clone(),
        aperture(4),
    ] {
        let mut nodes = replicas(4);
        (nodes[0].ramp, nodes[0].load) = (0.1, 0.0); // new, and so without load
        nodes[1..].iter_mut().for_each(|node| node.in_flight = 1);
        let few = counts(&mut picker(&kind, &nodes), &nodes, 10_000, 3)[0];
        assert!(
            (50..800).contains(&few),
            "{kind:?}: {few} of 10000 at a ramp of 0.1"
        );
        nodes
            .iter_mut()
            .for_each(|node| (node.ramp, node.load, node.in_flight) = (0.1, 1.0, 0));
        let equal = counts(&mut picker(&kind, &nodes), &nodes, 10_000, 3);
        assert!(
            equal.iter().all(|count| count.abs_diff(2_500) < 800),
            "{kind:?}: {equal:?}"
        );
    }
}

#[test]
fn of_two_the_new_one_takes_no_more_than_its_share() {
    let mut nodes = replicas(2);
    (nodes[0].ramp, nodes[0].load) = (0.2, 0.0);
    let counts = counts(
        &mut picker(&BalancerKind::default(), &nodes),
        &nodes,
        10_000,
        3,
    );
    assert!((1_700..2_300).contains(&counts[0]), "{counts:?}");
}

#[test]
fn round_robin_goes_round() {
    let (mut nodes, rng) = (replicas(4), &mut Xoshiro::seeded(1));
    nodes[2].status = Status::Busy;
    let mut picker = picker(&BalancerKind::RoundRobin, &nodes);
    let picks: Vec<usize> = (0..9)
        .map(|_| picker.pick(&nodes, 0, rng, None, &[]).unwrap())
        .collect();
    let from = [0, 1, 3]
        .iter()
        .position(|first| *first == picks[0])
        .unwrap();
    let expected: Vec<usize> = [0, 1, 3].into_iter().cycle().skip(from).take(9).collect();
    assert_eq!(picks, expected);
}

#[test]
fn a_pick_looks_at_few_endpoints() {
    for kind in kinds() {
        let nodes = replicas(1_000);
        let mut picker = picker(&kind, &nodes);
        counts(&mut picker, &nodes, 1, 1); // the look over all
        nodes.iter().for_each(|node| node.looks.set(0));
        counts(&mut picker, &nodes, 1_000, 1);
        let looks: u64 = nodes.iter().map(|node| node.looks.get()).sum();
        assert!(
            looks <= 3_000,
            "{kind:?} asked {looks} times for 1000 picks"
        );
    }
}
