//! Pure. Choosing one endpoint of a replica set.
//!
//! A [`Picker`] belongs to one worker and keeps what need not be shared (a position, a window, a
//! ring); what is shared, the load and health of the endpoints, it reads through [`Node`]. Every
//! algorithm looks at the status first and at the load second.

use crate::config::{Balancer, BalancerKind};
use crate::endpoint::Locality;
use crate::random::Rng;
use crate::{Nanos, status::Status};

/// One endpoint as a balancer sees it.
pub trait Node {
    /// Whether it may be used.
    fn status(&self, now: Nanos) -> Status;
    /// Its cost for `p2c-peak-ewma`, usually [`PeakEwma::load`](crate::ewma::PeakEwma::load).
    fn load(&self, now: Nanos) -> f64;
    /// Its requests in flight, over all workers.
    fn in_flight(&self) -> u32;
    /// Its share relative to its siblings; finite and not negative.
    fn weight(&self) -> f64;
    /// Where it runs.
    fn locality(&self) -> &Locality;
    /// A number that stays with the endpoint whatever set it is in, such as
    /// [`address_identity`]; it places the endpoint on rings and in windows.
    fn identity(&self) -> u64;
    /// The share of its traffic that slow start grants, 0..=1.
    fn ramp(&self, now: Nanos) -> f64;
    /// Whether the next request to it would be a probe: such an endpoint is picked, when it is
    /// looked at, whatever its load, so that its return does not wait for its load to decay.
    fn probe_due(&self, now: Nanos) -> bool {
        let _ = now;
        false
    }
}

/// Chooses endpoints of one replica set for one worker.
#[derive(Debug)]
pub struct Picker {
    kind: BalancerKind,
}

impl Picker {
    /// A picker over `nodes` by the rules of `balancer`, for a proxy that runs at `local`.
    pub fn new<N: Node>(balancer: &Balancer, _nodes: &[N], _local: &Locality, _seed: u64) -> Self {
        Self {
            kind: balancer.kind.clone(),
        }
    }

    /// The set has changed.
    pub fn update<N: Node>(&mut self, _nodes: &[N]) {}

    /// The index of the endpoint to use.
    pub fn pick<N: Node>(
        &mut self,
        nodes: &[N],
        now: Nanos,
        rng: &mut impl Rng,
        _key: Option<u64>,
        _avoid: &[usize],
    ) -> Option<usize> {
        let load = |node: &N| match self.kind {
            BalancerKind::P2cPeakEwma { .. } => node.load(now),
            _ => f64::from(node.in_flight()),
        };
        let (a, b) = match nodes.len() {
            0 => return None,
            1 => return Some(0),
            n => two(n, rng),
        };
        let (left, right) = (
            (nodes[a].status(now), load(&nodes[a])),
            (nodes[b].status(now), load(&nodes[b])),
        );
        Some(if prefers_first(left, right) { a } else { b })
    }
}

/// Two different indices below `n`, which is at least 2 (Finagle's `P2CPick`).
pub fn two(n: usize, rng: &mut impl Rng) -> (usize, usize) {
    let a = rng.below(n);
    let b = rng.below(n - 1);
    (a, if b >= a { b + 1 } else { b })
}

/// Whether the first of two (status, load) is the better one: status first, then load; equal is first.
pub fn prefers_first(a: (Status, f64), b: (Status, f64)) -> bool {
    if a.0 != b.0 { a.0 > b.0 } else { a.1 <= b.1 }
}
