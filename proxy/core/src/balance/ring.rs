//! Pure. Consistent hashing: a key keeps its endpoint while the set changes around it.
//!
//! Each endpoint has points on a ring in proportion to its weight; a key belongs to the next point.
//! The points of an endpoint come from its identity alone, so an endpoint that comes or goes moves
//! only the keys it gains or leaves, and every proxy has the same ring. Where an endpoint is not open,
//! its keys go to the next on the ring. Nearness is ignored: it would give each proxy another ring.
//!
//! Source: Karger et al. 1997; Ketama for the number of points.

use super::{Choice, Grade, Node, Ramps, View};
use crate::random::mix64;
use crate::sticky::unit;

/// Points of an endpoint of the largest weight: shares differ by about 1/√points = 6 %.
const POINTS: usize = 256;
/// Fewest points of that endpoint in large sets.
const MIN_POINTS: usize = 16;
/// Points of the ring from which sets get fewer points each: memory is bounded by 1 MiB, or 16 points
/// each beyond 4096 endpoints.
const MAX_RING: usize = 65_536;
/// The increment of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// How far a pick follows the ring before it looks at the endpoints in order.
const WALK: usize = 64;

/// The ring of one set.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Position and endpoint, sorted.
    points: Vec<(u64, u32)>,
    ramps: Ramps,
}

impl Ring {
    pub(super) fn build<N: Node>(&mut self, nodes: &[N], weights: &[f64]) {
        // By halves, so that the ring of a set that grows keeps most of its points.
        let mut most = POINTS;
        while most > MIN_POINTS && most * nodes.len() > MAX_RING {
            most /= 2;
        }
        let heaviest = weights.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        self.points.clear();
        for (index, node) in nodes.iter().enumerate() {
            if weights[index] > 0.0 {
                let points = ((weights[index] / heaviest * most as f64).round() as u64).max(1);
                // SplitMix64 seeded by the identity: its outputs are the points.
                let place = |point: u64| {
                    mix64(
                        node.identity()
                            .wrapping_add((point + 1).wrapping_mul(GOLDEN)),
                    )
                };
                self.points
                    .extend((0..points).map(|point| (place(point), index as u32)));
            }
        }
        self.points.sort_unstable();
    }

    pub(super) fn refresh<N: Node>(&mut self, view: &View<'_, N>) {
        self.ramps = Ramps::default();
        view.nodes
            .iter()
            .for_each(|node| self.ramps.add(node.ramp(view.now)));
    }

    pub(super) fn pick<N: Node>(&self, view: &View<'_, N>, key: u64) -> Choice {
        let place = mix64(key);
        let n = self.points.len();
        let start = self.points.partition_point(|(point, _)| *point < place);
        let at = |step: usize| self.points[(start + step) % n].1 as usize;
        let mut best = view.choice(at(0));
        for step in 0..WALK.min(n) {
            let choice = view.choice(at(step));
            if choice.grade == Grade::Fresh && !self.passes_over(choice, view, place) {
                return choice;
            }
            best = best.or(choice);
        }
        view.scan((0..n).map(at), best)
    }

    /// Slow start by key: the keys that an endpoint already has, it keeps as its share grows.
    fn passes_over<N: Node>(&self, choice: Choice, view: &View<'_, N>, place: u64) -> bool {
        self.ramps.uneven()
            && unit(mix64(place ^ view.nodes[choice.index].identity()))
                >= view.granted(choice.index, self.ramps.most)
    }
}
