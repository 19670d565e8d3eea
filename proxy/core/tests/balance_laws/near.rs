//! Laws of nearness and spill-over.

use super::{
    Balancer, BalancerKind, Duration, Locality, Picker, Replica, Status, Xoshiro, counts, locality,
    picker, replicas,
};

/// Two on this node, two in this zone, four elsewhere.
fn spread() -> Vec<Replica> {
    let places = [
        ("a", "n1"),
        ("a", "n1"),
        ("a", "n2"),
        ("a", "n3"),
        ("b", "n4"),
        ("b", "n5"),
        ("c", ""),
        ("", ""),
    ];
    replicas(8)
        .into_iter()
        .zip(places)
        .map(|(replica, (zone, node))| replica.at(zone, node))
        .collect()
}

/// Picks in each tier out of 10 000.
fn tiers(kind: &BalancerKind, nodes: &[Replica]) -> [usize; 3] {
    let counts = counts(&mut picker(kind, nodes), nodes, 10_000, 11);
    [
        counts[..2].iter().sum(),
        counts[2..4].iter().sum(),
        counts[4..].iter().sum(),
    ]
}

const KINDS: [BalancerKind; 3] = [
    BalancerKind::P2cPeakEwma {
        decay: Duration::from_secs(10),
    },
    BalancerKind::P2cLeastLoaded,
    BalancerKind::RoundRobin,
];

#[test]
fn the_nearest_get_everything_when_well() {
    for kind in KINDS {
        assert_eq!(tiers(&kind, &spread()), [10_000, 0, 0], "{kind:?}");
    }
}

#[test]
fn nearness_counts_only_when_known_and_wanted() {
    let nodes = spread();
    for (prefer_near, local) in [(true, Locality::default()), (false, locality("a", "n1"))] {
        let balancer = Balancer {
            prefer_near,
            ..Balancer::default()
        };
        let mut picker = Picker::new(&balancer, &nodes, &local, 1);
        let counts = counts(&mut picker, &nodes, 8_000, 1);
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
    }
}

#[test]
fn health_spills_over_with_overprovisioning() {
    let mut nodes = spread();
    nodes[0].status = Status::Busy; // half of the node tier is left: 70 % of the traffic
    for kind in KINDS {
        let [node, zone, rest] = tiers(&kind, &nodes);
        assert!(
            (6_800..7_200).contains(&node) && rest == 0,
            "{kind:?}: {node} {zone} {rest}"
        );
    }
    nodes[1].status = Status::Busy;
    nodes[2].status = Status::Busy;
    for kind in KINDS {
        let [node, zone, rest] = tiers(&kind, &nodes);
        assert!(
            node == 0 && (6_800..7_200).contains(&zone),
            "{kind:?}: {node} {zone} {rest}"
        );
    }
}

#[test]
fn what_breaks_between_two_looks_is_noticed_at_once() {
    let (mut nodes, rng) = (spread(), &mut Xoshiro::seeded(1));
    let mut picker = picker(&KINDS[0], &nodes);
    assert!(picker.pick(&nodes, 0, rng, None, &[]).unwrap() < 2);
    nodes[..2]
        .iter_mut()
        .for_each(|node| node.status = Status::Busy);
    let picked = picker.pick(&nodes, 1, rng, None, &[]).unwrap();
    assert!((2..4).contains(&picked), "{picked}");
}

#[test]
fn an_overloaded_near_tier_spills_over() {
    let ms = 1e6;
    let of = |latency: f64, in_flight: u32, far_latency: f64, far_in_flight: u32| {
        let mut nodes = spread();
        for (at, node) in nodes.iter_mut().enumerate() {
            let (latency, in_flight) = if at < 2 {
                (latency, in_flight)
            } else {
                (far_latency, far_in_flight)
            };
            (node.load, node.in_flight) = (latency * (f64::from(in_flight) + 1.0), in_flight);
        }
        tiers(&KINDS[0], &nodes)[0]
    };
    assert_eq!(
        of(5.0 * ms, 3, 0.0, 0),
        10_000,
        "few in flight stay, whatever the others do"
    );
    assert_eq!(
        of(5.0 * ms, 40, 5.0 * ms, 0),
        10_000,
        "busy and as fast as the others is not overloaded"
    );
    assert_eq!(of(50.0 * ms, 10, 5.0 * ms, 0), 0, "slow and busy is");
    assert_eq!(
        of(50.0 * ms, 10, 5.0 * ms, 40),
        10_000,
        "but not where the others are busier"
    );
    let penalty = heddle_core::ewma::PENALTY;
    assert_eq!(
        of((penalty + 1.0) / 2.0, 1, 5.0 * ms, 0),
        0,
        "unknown and busy with its first request"
    );
}

#[test]
fn without_latencies_requests_in_flight_decide() {
    let mut nodes = spread();
    nodes[..2].iter_mut().for_each(|node| node.in_flight = 3);
    assert_eq!(tiers(&KINDS[1], &nodes)[0], 10_000);
    nodes[..2].iter_mut().for_each(|node| node.in_flight = 8);
    assert_eq!(tiers(&KINDS[1], &nodes)[0], 0);
    nodes[2..].iter_mut().for_each(|node| node.in_flight = 2);
    assert_eq!(tiers(&KINDS[1], &nodes)[0], 10_000);
}
