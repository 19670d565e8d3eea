//! Laws of the hash ring.

use super::{Replica, Rng, Status, Xoshiro, kinds, law, picker, random_set, replicas};

fn owners(nodes: &[Replica]) -> Vec<u64> {
    let mut picker = picker(&kinds()[3], nodes);
    let rng = &mut Xoshiro::seeded(1);
    (0..5_000)
        .map(|key| {
            nodes[picker
                .pick(nodes, 0, rng, Some(key), &[])
                .expect("there are nodes")]
            .identity
        })
        .collect()
}

#[test]
fn a_key_keeps_its_endpoint() {
    law(|rng| {
        let mut nodes = random_set(rng);
        let (mut picker, key) = (picker(&kinds()[3], &nodes), rng.next_u64());
        let first = picker.pick(&nodes, 0, rng, Some(key), &[]).unwrap();
        let identity = nodes[first].identity;
        assert_eq!(picker.pick(&nodes, 0, rng, Some(key), &[]), Some(first));
        nodes.reverse(); // the order of a set means nothing
        picker.update(&nodes);
        let again = picker.pick(&nodes, 0, rng, Some(key), &[]).unwrap();
        if nodes[again].status == Status::Open {
            assert_eq!(nodes[again].identity, identity);
        }
    });
}

#[test]
fn what_comes_takes_its_part_and_moves_nothing_else() {
    let nodes = replicas(10);
    let (before, after) = (owners(&nodes[..9]), owners(&nodes));
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after)
        .count();
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| before == after || *after == nodes[9].identity)
    );
    assert!(
        (350..650).contains(&moved),
        "{moved} of 5000 keys moved for a tenth of the set"
    );
}

#[test]
fn keys_of_an_endpoint_that_is_out_are_spread_and_come_back() {
    let mut nodes = replicas(10);
    let before = owners(&nodes);
    nodes[4].status = Status::Busy;
    let during = owners(&nodes);
    let mut heirs = std::collections::HashSet::new();
    for (before, during) in before.iter().zip(&during) {
        if *before == nodes[4].identity {
            heirs.insert(*during);
        } else {
            assert_eq!(before, during, "keys of others stay");
        }
    }
    assert!(heirs.len() >= 7, "its keys went to {} others", heirs.len());
    nodes[4].status = Status::Open;
    assert_eq!(before, owners(&nodes));
}

#[test]
fn a_thousand_endpoints_have_a_ring() {
    let nodes = replicas(1_000);
    let owners = owners(&nodes);
    let distinct: std::collections::HashSet<u64> = owners.into_iter().collect();
    assert!(distinct.len() > 900, "{}", distinct.len());
}
