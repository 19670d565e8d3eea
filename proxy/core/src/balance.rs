//! Pure. Choosing one endpoint of a replica set.
//!
//! A [`Picker`] belongs to one worker and keeps what need not be shared (a position, a window, a
//! ring); what is shared, the load and health of the endpoints, it reads through [`Node`]. Every
//! algorithm looks at the status first and at the load second, and finds an open endpoint whenever
//! there is one.
//!
//! | concern | rule |
//! |---|---|
//! | status | open before busy before closed; when nothing is open the pick is still made, and the caller decides by its status whether to use it |
//! | weights | Finagle's weight classes ([`classes`]); ring and window weigh by themselves; 0 is never picked unless all are 0 |
//! | slow start | an endpoint that would be picked is passed over with probability `1 − ramp`, unless all are equally new |
//! | near ones first | same node, then same zone, then the rest, spilling over by health and by load ([`near`]) |
//! | retries | an endpoint that was tried already is picked only when no other is open |
//!
//! Sources: Finagle `P2CPick`, `Balancer` (max effort), `TrafficDistributor` (weights), `Aperture`;
//! Mitzenmacher 2001 for the power of two choices; Envoy for overprovisioning and slow start.

use crate::config::{Balancer, BalancerKind};
use crate::endpoint::Locality;
use crate::random::Rng;
use crate::{Nanos, status::Status};
use std::net::SocketAddr;
use std::sync::Arc;

mod aperture;
pub mod classes;
pub mod near;
mod ring;

use aperture::Aperture;
use near::Tiers;
use ring::Ring;

/// Draws before a pick settles for what it has (linkerd's `maxEffort`).
pub const EFFORT: usize = 5;

/// How often a picker looks over all its endpoints, for health shares and slow start. What happens
/// between two looks is still noticed by each pick for the endpoints it draws.
pub const REFRESH: Nanos = 100_000_000;

/// One endpoint as a balancer sees it.
pub trait Node {
    /// Whether it may be used.
    fn status(&self, now: Nanos) -> Status;
    /// Its cost for `p2c-peak-ewma`, usually [`PeakEwma::load`](crate::ewma::PeakEwma::load).
    fn load(&self, now: Nanos) -> f64;
    /// Its requests in flight, over all workers.
    fn in_flight(&self) -> u32;
    /// Its share relative to its siblings. What is negative or not finite counts as 0.
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

impl<N: Node + ?Sized> Node for Arc<N> {
    fn status(&self, now: Nanos) -> Status {
        (**self).status(now)
    }
    fn load(&self, now: Nanos) -> f64 {
        (**self).load(now)
    }
    fn in_flight(&self) -> u32 {
        (**self).in_flight()
    }
    fn weight(&self) -> f64 {
        (**self).weight()
    }
    fn locality(&self) -> &Locality {
        (**self).locality()
    }
    fn identity(&self) -> u64 {
        (**self).identity()
    }
    fn ramp(&self, now: Nanos) -> f64 {
        (**self).ramp(now)
    }
    fn probe_due(&self, now: Nanos) -> bool {
        (**self).probe_due(now)
    }
}

/// An identity made of an address: the same on every proxy.
pub fn address_identity(address: &SocketAddr) -> u64 {
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(v4) => crate::sticky::hash(&[&v4.ip().octets(), &port]),
        SocketAddr::V6(v6) => crate::sticky::hash(&[&v6.ip().octets(), &port]),
    }
}

/// How much a pick wants an endpoint, before load; the larger the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Closed,
    Busy,
    /// Open, but this request was there already.
    Tried,
    /// Open.
    Fresh,
}

/// An endpoint that a pick may settle for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Choice {
    index: usize,
    grade: Grade,
}

impl Choice {
    /// The better by grade; the first when equal.
    fn or(self, other: Self) -> Self {
        if other.grade > self.grade {
            other
        } else {
            self
        }
    }
}

/// The endpoints as one pick sees them.
#[derive(Debug)]
struct View<'a, N> {
    nodes: &'a [N],
    now: Nanos,
    avoid: &'a [usize],
    /// Whether latency counts, or requests in flight only.
    latency: bool,
}

impl<N: Node> View<'_, N> {
    fn choice(&self, index: usize) -> Choice {
        let grade = match self.nodes[index].status(self.now) {
            Status::Open if self.avoid.contains(&index) => Grade::Tried,
            Status::Open => Grade::Fresh,
            Status::Busy => Grade::Busy,
            Status::Closed => Grade::Closed,
        };
        Choice { index, grade }
    }

    fn cost(&self, index: usize) -> f64 {
        let node = &self.nodes[index];
        if self.latency {
            node.load(self.now)
        } else {
            f64::from(node.in_flight())
        }
    }

    /// The better of two, and the other: grade first, then a due probe, then cost; equal is first.
    fn better(&self, a: Choice, b: Choice) -> (Choice, Choice) {
        let first = if a.grade != b.grade {
            a.grade > b.grade
        } else {
            let due = |choice: Choice| self.nodes[choice.index].probe_due(self.now);
            match (due(a), due(b)) {
                (true, false) => true,
                (false, true) => false,
                _ => self.cost(a.index) <= self.cost(b.index),
            }
        };
        if first { (a, b) } else { (b, a) }
    }

    /// The first of `indices` with the best grade, if it beats `least`.
    fn scan(&self, indices: impl Iterator<Item = usize>, least: Choice) -> Choice {
        let mut best = least;
        for index in indices {
            if best.grade == Grade::Fresh {
                break;
            }
            best = best.or(self.choice(index));
        }
        best
    }

    /// The share of its picks that slow start leaves an endpoint, against the oldest, whose ramp
    /// is `most`.
    fn granted(&self, index: usize, most: f64) -> f64 {
        let node = &self.nodes[index];
        if node.probe_due(self.now) {
            1.0
        } else {
            (node.ramp(self.now) / most).min(1.0)
        }
    }
}

/// Chooses endpoints of one replica set for one worker.
///
/// ```
/// use heddle_core::balance::{Node, Picker, address_identity};
/// use heddle_core::{Nanos, config::Balancer, endpoint::{Endpoint, Locality}, random::Xoshiro, status::Status};
///
/// struct Replica(Endpoint, f64);
/// impl Node for Replica {
///     fn status(&self, _: Nanos) -> Status { Status::Open }
///     fn load(&self, _: Nanos) -> f64 { self.1 }
///     fn in_flight(&self) -> u32 { 0 }
///     fn weight(&self) -> f64 { self.0.weight }
///     fn locality(&self) -> &Locality { &self.0.locality }
///     fn identity(&self) -> u64 { address_identity(&self.0.address) }
///     fn ramp(&self, _: Nanos) -> f64 { 1.0 }
/// }
/// let replica = |port, load| Replica(Endpoint::new(([127, 0, 0, 1], port).into()), load);
/// let nodes = [replica(1, 9.0), replica(2, 3.0)];
/// let mut picker = Picker::new(&Balancer::default(), &nodes, &Locality::default(), 7);
/// let picked = picker.pick(&nodes, 0, &mut Xoshiro::seeded(1), None, &[]);
/// assert_eq!(picked, Some(1)); // the less loaded of two
/// ```
#[derive(Debug)]
pub struct Picker {
    kind: BalancerKind,
    prefer_near: bool,
    local: Locality,
    seed: u64,
    count: usize,
    shape: Shape,
    /// When all endpoints were last looked over; `None` after a change of the set.
    refreshed: Option<Nanos>,
}

/// What the algorithm keeps of the set.
#[derive(Debug)]
enum Shape {
    Tiers(Tiers),
    Ring(Ring),
    Aperture(Aperture),
}

impl Picker {
    /// A picker over `nodes` by the rules of `balancer`, for a proxy that runs at `local`.
    ///
    /// `seed` places the window of `aperture` and the start of `round-robin`: the same for all
    /// workers of a proxy, so that they share a window, and different between proxies, so that
    /// theirs differ.
    pub fn new<N: Node>(balancer: &Balancer, nodes: &[N], local: &Locality, seed: u64) -> Self {
        let shape = match &balancer.kind {
            BalancerKind::RingHash { .. } => Shape::Ring(Ring::default()),
            BalancerKind::Aperture {
                low_load,
                high_load,
                min,
                smooth,
            } => Shape::Aperture(Aperture::new(*low_load, *high_load, *min, *smooth)),
            _ => Shape::Tiers(Tiers::default()),
        };
        let mut picker = Self {
            kind: balancer.kind.clone(),
            prefer_near: balancer.prefer_near,
            local: local.clone(),
            seed,
            count: 0,
            shape,
            refreshed: None,
        };
        picker.update(nodes);
        picker
    }

    /// The set has changed. Positions and the width of a window are kept, a ring moves only the
    /// keys of what came or went.
    pub fn update<N: Node>(&mut self, nodes: &[N]) {
        self.count = nodes.len();
        self.refreshed = None;
        let tier = |node: &N| {
            if self.prefer_near {
                near::tier(&self.local, node.locality())
            } else {
                0
            }
        };
        let weights = weights(nodes);
        match &mut self.shape {
            Shape::Tiers(tiers) => tiers.build(&weights, |index| tier(&nodes[index]), self.seed),
            Shape::Ring(ring) => ring.build(nodes, &weights),
            Shape::Aperture(aperture) => aperture.build(nodes, &weights, tier, self.seed),
        }
    }

    /// The index in `nodes` of the endpoint to use; `None` only when there are none.
    ///
    /// `nodes` are those of the last [`new`](Self::new) or [`update`](Self::update), in the same
    /// order. `key` is the hash of the request's key, which only `ring-hash` looks at. `avoid` are the
    /// indices that this request has tried already. When the picked endpoint is not open, nothing
    /// was: whether it is used all the same is the caller's choice.
    pub fn pick<N: Node>(
        &mut self,
        nodes: &[N],
        now: Nanos,
        rng: &mut impl Rng,
        key: Option<u64>,
        avoid: &[usize],
    ) -> Option<usize> {
        if self.count != nodes.len() {
            self.update(nodes);
        }
        if nodes.is_empty() {
            return None;
        }
        let latency = matches!(self.kind, BalancerKind::P2cPeakEwma { .. });
        let view = View {
            nodes,
            now,
            avoid,
            latency,
        };
        if self
            .refreshed
            .is_none_or(|last| now.saturating_sub(last) >= REFRESH)
        {
            self.refreshed = Some(now);
            match &mut self.shape {
                Shape::Tiers(tiers) => tiers.refresh(&view),
                Shape::Ring(ring) => ring.refresh(&view),
                Shape::Aperture(aperture) => aperture.refresh(&view),
            }
        }
        let choice = match &mut self.shape {
            Shape::Tiers(tiers) => match self.kind {
                BalancerKind::RoundRobin => tiers.pick(&view, rng, true),
                _ => tiers.pick(&view, rng, false),
            },
            Shape::Ring(ring) => ring.pick(&view, key.unwrap_or_else(|| rng.next_u64())),
            Shape::Aperture(aperture) => aperture.pick(&view, rng),
        };
        Some(choice.index)
    }
}

/// The weights of nodes, those that are no weights as 0, and all as 1 when none is positive.
fn weights<N: Node>(nodes: &[N]) -> Vec<f64> {
    let sane = |weight: f64| {
        if weight.is_finite() && weight > 0.0 {
            weight
        } else {
            0.0
        }
    };
    let weights: Vec<f64> = nodes.iter().map(|node| sane(node.weight())).collect();
    if weights.iter().all(|weight| *weight == 0.0) {
        vec![1.0; nodes.len()]
    } else {
        weights
    }
}

/// Slow start at a glance: the largest ramp of some nodes, and whether others have a smaller one.
#[derive(Debug, Clone, Copy)]
struct Ramps {
    most: f64,
    least: f64,
}

impl Default for Ramps {
    fn default() -> Self {
        Self {
            most: 0.0,
            least: 1.0,
        }
    }
}

impl Ramps {
    fn add(&mut self, ramp: f64) {
        self.most = self.most.max(ramp);
        self.least = self.least.min(ramp);
    }

    fn uneven(&self) -> bool {
        self.least < self.most
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
