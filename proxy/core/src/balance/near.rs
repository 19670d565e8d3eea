//! Pure. Near endpoints first: same node, then same zone, then the rest.
//!
//! Tiers exist only where attributes are known: an endpoint whose node and zone are unknown, or a
//! proxy that does not know its own, belongs to the rest. Traffic leaves a tier for two reasons.
//!
//! **Health** (Envoy's priorities with an overprovisioning factor of 1.4): a tier is offered
//! `min(1, 1.4 × healthy share)` of what the nearer ones left over; if all tiers together are
//! offered less than everything, each gets its part of the whole. The healthy share goes by weight,
//! and endpoints in slow start count in part. So a tier may lose 28 % before anything leaves it.
//!
//! **Load**, per pick: the endpoint picked in a tier is compared with one picked in each farther
//! tier, nearest first, and the farther one is taken when all of this holds:
//!
//! 1. the near one has at least [`SPILL_IN_FLIGHT`] requests in flight (from this proxy);
//! 2. its load is more than [`SPILL_LOAD`] times the far one's, where load is latency × (in flight + 1)
//!    under peak EWMA, else in flight + 1;
//! 3. under peak EWMA, its latency alone is more than [`SPILL_LATENCY`] times the far one's: a busy
//!    endpoint that is as fast as the others is not overloaded, only near.
//!
//! A near endpoint without any history that is busy with its first request ([`PENALTY`]) spills over
//! at once: it is not flooded before it has shown what it can do.

use super::classes::{Classes, Vigour};
use super::{Choice, Grade, Node, Ramps, View};
use crate::endpoint::Locality;
use crate::ewma::PENALTY;
use crate::random::Rng;

/// Healthy capacity counts this much (Envoy's default): 72 % healthy is enough for all.
pub const OVERPROVISIONING: f64 = 1.4;
/// Fewer requests in flight than this never leave a healthy near endpoint.
pub const SPILL_IN_FLIGHT: u32 = 4;
/// A far endpoint must be better by this factor in load.
pub const SPILL_LOAD: f64 = 4.0;
/// A far endpoint must be better by this factor in latency as well, where latency is known.
pub const SPILL_LATENCY: f64 = 2.0;

/// How far away: 0 the same node, 1 the same zone, 2 anything else or unknown.
pub fn tier(local: &Locality, remote: &Locality) -> usize {
    let same = |a: &Option<_>, b: &Option<_>| a.is_some() && a == b;
    if same(&local.node, &remote.node) {
        0
    } else if same(&local.zone, &remote.zone) {
        1
    } else {
        2
    }
}

/// The tiers of a set that have endpoints, the nearest first.
#[derive(Debug, Default)]
pub(super) struct Tiers {
    tiers: Vec<Classes>,
    /// The share of traffic that begins at each tier.
    shares: Vec<f64>,
}

impl Tiers {
    pub(super) fn build(&mut self, weights: &[f64], tier: impl Fn(usize) -> usize, seed: u64) {
        let mut members = [const { Vec::new() }; 3];
        for index in 0..weights.len() {
            members[tier(index)].push(index);
        }
        let mut tiers: Vec<Classes> = members
            .iter()
            .map(|members| Classes::new(members, weights, seed))
            .collect();
        tiers.retain(|classes| !classes.is_empty());
        for (new, old) in tiers.iter_mut().zip(&self.tiers) {
            new.resume(old);
        }
        self.shares = vec![0.0; tiers.len()];
        self.tiers = tiers;
    }

    pub(super) fn refresh<N: Node>(&mut self, view: &View<'_, N>) {
        let mut ramps = Ramps::default();
        view.nodes
            .iter()
            .for_each(|node| ramps.add(node.ramp(view.now)));
        let most = ramps.most.max(f64::MIN_POSITIVE);
        let look = |classes: &mut Classes| classes.refresh(view, most);
        let vigours: Vec<Vigour> = self.tiers.iter_mut().map(look).collect();
        self.shares = shares(&vigours);
    }

    pub(super) fn pick<N: Node>(
        &mut self,
        view: &View<'_, N>,
        rng: &mut impl Rng,
        in_turn: bool,
    ) -> Choice {
        let first = self.draw(rng);
        let mut best = self.tiers[first].pick(view, rng, in_turn);
        if best.grade == Grade::Fresh {
            return self.spill(first, best, view, rng, in_turn);
        }
        for tier in (0..self.tiers.len()).filter(|tier| *tier != first) {
            best = best.or(self.tiers[tier].pick(view, rng, in_turn));
            if best.grade == Grade::Fresh {
                break;
            }
        }
        best
    }

    fn draw(&self, rng: &mut impl Rng) -> usize {
        if self.shares[0] >= 1.0 {
            return 0;
        }
        let mut left = rng.unit();
        let drawn = self.shares.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        drawn.unwrap_or(0)
    }

    /// The endpoint of a farther tier that relieves `near`, or `near`.
    fn spill<N: Node>(
        &mut self,
        from: usize,
        near: Choice,
        view: &View<'_, N>,
        rng: &mut impl Rng,
        in_turn: bool,
    ) -> Choice {
        if from + 1 == self.tiers.len() || view.nodes[near.index].probe_due(view.now) {
            return near;
        }
        let near_load = Load::of(view, near.index);
        if near_load.in_flight < SPILL_IN_FLIGHT && !near_load.is_unknown() {
            return near;
        }
        for tier in &mut self.tiers[from + 1..] {
            let far = tier.pick(view, rng, in_turn);
            if far.grade == Grade::Fresh && near_load.exceeds(Load::of(view, far.index)) {
                return far;
            }
        }
        near
    }
}

/// What the spill-over compares.
#[derive(Debug, Clone, Copy)]
struct Load {
    in_flight: u32,
    load: f64,
    latency: Option<f64>,
}

impl Load {
    fn of<N: Node>(view: &View<'_, N>, index: usize) -> Self {
        let node = &view.nodes[index];
        let in_flight = node.in_flight();
        let factor = f64::from(in_flight) + 1.0;
        if view.latency {
            let load = node.load(view.now);
            Self {
                in_flight,
                load,
                latency: Some(load / factor),
            }
        } else {
            Self {
                in_flight,
                load: factor,
                latency: None,
            }
        }
    }

    /// Busy, and never heard of.
    fn is_unknown(self) -> bool {
        self.latency.is_some() && self.load >= PENALTY
    }

    fn exceeds(self, far: Self) -> bool {
        let slower = match (self.latency, far.latency) {
            (Some(near), Some(far)) => near > SPILL_LATENCY * far,
            _ => true,
        };
        self.load > SPILL_LOAD * far.load && slower
    }
}

/// Shares of traffic by health.
fn shares(vigours: &[Vigour]) -> Vec<f64> {
    let mut left = 1.0_f64;
    let mut shares: Vec<f64> = Vec::with_capacity(vigours.len());
    for vigour in vigours {
        let healthy = if vigour.all > 0.0 {
            vigour.open / vigour.all
        } else {
            0.0
        };
        let share = left.min(OVERPROVISIONING * healthy);
        left -= share;
        shares.push(share);
    }
    let sum = 1.0 - left;
    if sum > 0.0 {
        shares.iter_mut().for_each(|share| *share /= sum);
    } else if let Some(nearest) = shares.first_mut() {
        *nearest = 1.0;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_health_with_overprovisioning() {
        let of = |healthy: &[f64]| {
            let vigours: Vec<Vigour> = healthy
                .iter()
                .map(|open| Vigour {
                    open: *open,
                    all: 1.0,
                })
                .collect();
            shares(&vigours)
                .iter()
                .map(|share| (share * 1000.0).round() / 1000.0)
                .collect::<Vec<f64>>()
        };
        let table: &[(&[f64], &[f64])] = &[
            (&[1.0], &[1.0]),
            (&[1.0, 1.0], &[1.0, 0.0]),
            (&[0.72, 1.0], &[1.0, 0.0]),
            (&[0.5, 1.0], &[0.7, 0.3]),
            (&[0.5, 0.1, 1.0], &[0.7, 0.14, 0.16]),
            (&[0.0, 1.0], &[0.0, 1.0]),
            (&[0.25, 0.25], &[0.5, 0.5]), // offered 70 %, scaled to the whole
            (&[0.0, 0.0], &[1.0, 0.0]),
        ];
        for (healthy, expected) in table {
            assert_eq!(of(healthy), *expected, "healthy: {healthy:?}");
        }
    }

    #[test]
    fn tiers_need_known_attributes() {
        let at = |zone: Option<&str>, node: Option<&str>| Locality {
            zone: zone.map(Into::into),
            node: node.map(Into::into),
        };
        let here = at(Some("a"), Some("n1"));
        for (local, remote, expected) in [
            (&here, at(Some("a"), Some("n1")), 0),
            (&here, at(Some("a"), Some("n2")), 1),
            (&here, at(Some("b"), Some("n3")), 2),
            (&here, at(Some("a"), None), 1),
            (&here, at(None, None), 2),
            (&at(None, None), at(None, None), 2),
        ] {
            assert_eq!(tier(local, &remote), expected, "{local:?} to {remote:?}");
        }
    }
}
