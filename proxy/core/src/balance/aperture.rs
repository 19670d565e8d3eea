//! Pure. Aperture: balance over a window of the set that follows the load, so that a proxy with
//! little traffic keeps few connections warm instead of many cold.
//!
//! The endpoints are ordered once per proxy, near tiers first and by a hash with the proxy's seed
//! within a tier; the window is the first open ones of that order. The smoothed number of requests in
//! flight, divided by the width, makes the window one wider at or above `high` and one narrower at
//! or below `low`, at most once per [`STEP`]. Within the window two choices by requests in flight
//! decide; endpoints are drawn in proportion to their weights.
//!
//! Source: Finagle `com.twitter.finagle.loadbalancer.aperture` (`LoadBand`, `Expiration` left out).

use super::{Choice, EFFORT, Grade, Node, Ramps, View};
use crate::Nanos;
use crate::ewma::Ema;
use crate::random::{Rng, mix64};
use std::time::Duration;

/// The shortest time between two changes of the width.
const STEP: Nanos = 10_000_000;
/// Draws by weight before a light endpoint is taken all the same.
const DRAWS: usize = 8;

/// A window over the set.
#[derive(Debug)]
pub(super) struct Aperture {
    low: f64,
    high: f64,
    min: usize,
    load: Ema,
    width: usize,
    stepped: Option<Nanos>,
    /// All endpoints of positive weight, in this proxy's order.
    order: Vec<usize>,
    /// Weights by index, relative to the heaviest.
    shares: Vec<f64>,
    /// The first `width` open ones of the order.
    window: Vec<usize>,
    ramps: Ramps,
}

impl Aperture {
    pub(super) fn new(low: f64, high: f64, min: usize, smooth: Duration) -> Self {
        Self {
            low,
            high,
            min: min.max(1),
            load: Ema::new(smooth.as_nanos() as f64),
            width: min.max(1),
            stepped: None,
            order: Vec::new(),
            shares: Vec::new(),
            window: Vec::new(),
            ramps: Ramps::default(),
        }
    }

    pub(super) fn build<N: Node>(
        &mut self,
        nodes: &[N],
        weights: &[f64],
        tier: impl Fn(&N) -> usize,
        seed: u64,
    ) {
        let heaviest = weights.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        self.shares = weights.iter().map(|weight| weight / heaviest).collect();
        self.order = (0..nodes.len())
            .filter(|index| weights[*index] > 0.0)
            .collect();
        let place = |node: &N| mix64(node.identity() ^ mix64(seed));
        self.order
            .sort_by_key(|index| (tier(&nodes[*index]), place(&nodes[*index])));
        self.clamp();
    }

    pub(super) fn refresh<N: Node>(&mut self, view: &View<'_, N>) {
        self.ramps = Ramps::default();
        view.nodes
            .iter()
            .for_each(|node| self.ramps.add(node.ramp(view.now)));
        self.frame(view);
    }

    pub(super) fn pick<N: Node>(&mut self, view: &View<'_, N>, rng: &mut impl Rng) -> Choice {
        self.step(view);
        let mut best = view.choice(self.window[0]);
        for effort in 0..EFFORT {
            let a = self.draw(None, rng);
            let b = self.draw(Some(a), rng);
            let (chosen, other) = view.better(view.choice(a), view.choice(b));
            best = if effort == 0 { chosen } else { best.or(chosen) };
            if chosen.grade < Grade::Fresh {
                continue;
            }
            if !self.ramps.uneven() || rng.unit() < view.granted(chosen.index, self.ramps.most) {
                return chosen;
            }
            let older =
                view.nodes[other.index].ramp(view.now) > view.nodes[chosen.index].ramp(view.now);
            if older && other.grade == Grade::Fresh {
                return other;
            }
        }
        view.scan(self.order.iter().copied(), best)
    }

    /// Follows the load.
    fn step<N: Node>(&mut self, view: &View<'_, N>) {
        if self
            .stepped
            .is_some_and(|last| view.now.saturating_sub(last) < STEP)
        {
            return;
        }
        self.stepped = Some(view.now);
        let total: f64 = view
            .nodes
            .iter()
            .map(|node| f64::from(node.in_flight()))
            .sum();
        let each = self.load.update(view.now, total) / self.width as f64;
        let before = self.width;
        if each >= self.high {
            self.width += 1;
        } else if each <= self.low {
            self.width -= 1;
        }
        self.clamp();
        if self.width != before {
            self.frame(view);
        }
    }

    fn clamp(&mut self) {
        let most = self.order.len().max(1);
        self.width = self.width.clamp(self.min.min(most), most);
    }

    /// Fills the window; with closed ones when nothing is open.
    fn frame<N: Node>(&mut self, view: &View<'_, N>) {
        let open = |index: &usize| view.choice(*index).grade >= Grade::Tried;
        self.window.clear();
        self.window
            .extend(self.order.iter().copied().filter(open).take(self.width));
        if self.window.is_empty() {
            self.window
                .extend(self.order.iter().copied().take(self.width));
        }
    }

    /// One of the window in proportion to weight, other than `not` if there is another.
    fn draw(&self, not: Option<usize>, rng: &mut impl Rng) -> usize {
        let n = self.window.len();
        let mut drawn = self.window[rng.below(n)];
        for _ in 0..DRAWS {
            if not != Some(drawn) && (self.shares[drawn] >= 1.0 || rng.unit() < self.shares[drawn])
            {
                break;
            }
            drawn = self.window[rng.below(n)];
        }
        drawn
    }
}
