//! Laws of the aperture.

use super::{
    Locality, Nanos, Picker, REFRESH, Replica, Status, Xoshiro, aperture, balancer, picker,
    replicas,
};

fn used(picker: &mut Picker, nodes: &[Replica], now: Nanos) -> Vec<usize> {
    let rng = &mut Xoshiro::seeded(1);
    let mut used: Vec<usize> = (0..500)
        .map(|_| {
            picker
                .pick(nodes, now, rng, None, &[])
                .expect("there are nodes")
        })
        .collect();
    used.sort_unstable();
    used.dedup();
    used
}

#[test]
fn it_follows_the_load_and_stays_within_bounds() {
    let mut nodes = replicas(10);
    let mut picker = picker(&aperture(2), &nodes);
    assert_eq!(used(&mut picker, &nodes, 0).len(), 2);
    let second = 1_000_000_000;
    let mut width_after = |nodes: &[Replica], seconds: std::ops::Range<u64>| {
        let rng = &mut Xoshiro::seeded(2);
        for step in seconds.start * 50..seconds.end * 50 {
            picker.pick(nodes, step * second / 50, rng, None, &[]);
        }
        used(&mut picker, nodes, seconds.end * second).len()
    };
    nodes.iter_mut().for_each(|node| node.in_flight = 1); // ten in flight: five at 2.0 each
    let width = width_after(&nodes, 1..60);
    assert!((5..=6).contains(&width), "{width}");
    nodes.iter_mut().for_each(|node| node.in_flight = 100);
    assert_eq!(width_after(&nodes, 60..120), 10);
    nodes.iter_mut().for_each(|node| node.in_flight = 0);
    assert_eq!(width_after(&nodes, 120..240), 2);
}

#[test]
fn proxies_have_different_windows_and_a_window_loses_only_what_left() {
    let nodes = replicas(20);
    let window = |seed, nodes: &[Replica]| {
        let mut picker = Picker::new(&balancer(&aperture(5)), nodes, &Locality::default(), seed);
        used(&mut picker, nodes, 0)
            .into_iter()
            .map(|at| nodes[at].identity)
            .collect::<Vec<u64>>()
    };
    let all: std::collections::HashSet<u64> =
        (0..40).flat_map(|seed| window(seed, &nodes)).collect();
    assert_eq!(all.len(), 20, "together the proxies use every endpoint");
    let before = window(1, &nodes);
    let fewer: Vec<Replica> = nodes
        .iter()
        .filter(|node| node.identity != before[0])
        .cloned()
        .collect();
    let after = window(1, &fewer);
    assert_eq!(
        after
            .iter()
            .filter(|identity| before.contains(identity))
            .count(),
        4
    );
}

#[test]
fn an_ejected_endpoint_is_replaced() {
    let mut nodes = replicas(6);
    let mut picker = picker(&aperture(2), &nodes);
    let before = used(&mut picker, &nodes, 0);
    nodes[before[0]].status = Status::Busy;
    let after = used(&mut picker, &nodes, REFRESH);
    assert!(
        after.len() == 2 && !after.contains(&before[0]),
        "{before:?} then {after:?}"
    );
}
