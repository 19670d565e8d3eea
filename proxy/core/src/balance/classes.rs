//! Pure. Weight classes: endpoints of the same weight, balanced among each other.
//!
//! Finagle's `TrafficDistributor`: a class is chosen with a chance in proportion to the sum of its
//! weights, and within a class all endpoints are equals, so that load can decide. When nothing of
//! the class is open, the others follow in the order of their weights, the heaviest first.
//! Finagle counts all members of a class; here only the open ones count, and those in slow start
//! by their share, so that what an ejected endpoint leaves is spread over all and not only over
//! those of its weight.

use super::{Choice, EFFORT, Grade, Node, Ramps, View, two};
use crate::random::{Rng, mix64};

/// All endpoints of one weight.
#[derive(Debug)]
struct Class {
    weight: f64,
    members: Vec<usize>,
    /// Where round robin goes on.
    next: usize,
    /// Weight times open members, those in slow start in part.
    chance: f64,
    ramps: Ramps,
}

/// The classes of a group of endpoints, the heaviest first.
#[derive(Debug, Default)]
pub(super) struct Classes {
    classes: Vec<Class>,
    /// The largest ramp of the group.
    chances: f64,
}

/// What a look over a group found: weights that are open (in slow start in part), and all weights.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Vigour {
    pub(super) open: f64,
    pub(super) all: f64,
}

impl Classes {
    /// Classes of `members`; those of weight 0 are left out.
    pub(super) fn new(members: &[usize], weights: &[f64], seed: u64) -> Self {
        let mut sorted: Vec<usize> = members
            .iter()
            .copied()
            .filter(|index| weights[*index] > 0.0)
            .collect();
        sorted.sort_by(|a, b| weights[*b].total_cmp(&weights[*a])); // stable: the order within a class is kept
        let classes = sorted
            .chunk_by(|a, b| weights[*a] == weights[*b])
            .map(|members| Class {
                weight: weights[members[0]],
                members: members.to_vec(),
                next: (mix64(seed) % members.len() as u64) as usize,
                chance: 0.0,
                ramps: Ramps::default(),
            });
        Self {
            classes: classes.collect(),
            chances: 0.0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Takes over the positions of round robin.
    pub(super) fn resume(&mut self, before: &Self) {
        for class in &mut self.classes {
            if let Some(same) = before.classes.iter().find(|old| old.weight == class.weight) {
                class.next = same.next % class.members.len();
            }
        }
    }

    /// Looks over all endpoints; `most` is the largest ramp of the whole set.
    pub(super) fn refresh<N: Node>(&mut self, view: &View<'_, N>, most: f64) -> Vigour {
        let mut vigour = Vigour::default();
        self.chances = 0.0;
        for class in &mut self.classes {
            class.ramps = Ramps::default();
            let mut open = 0.0;
            for index in &class.members {
                class.ramps.add(view.nodes[*index].ramp(view.now));
                if view.choice(*index).grade >= Grade::Tried {
                    open += view.granted(*index, most);
                }
            }
            class.chance = class.weight * open;
            self.chances += class.chance;
            vigour.open += class.chance;
            vigour.all += class.weight * class.members.len() as f64;
        }
        vigour
    }

    /// An endpoint of the group, open if there is one.
    pub(super) fn pick<N: Node>(
        &mut self,
        view: &View<'_, N>,
        rng: &mut impl Rng,
        in_turn: bool,
    ) -> Choice {
        let first = self.draw(rng);
        let pick = |class: &mut Class, rng: &mut _| {
            if in_turn {
                class.in_turn(view, rng)
            } else {
                class.of_two(view, rng)
            }
        };
        let mut best = pick(&mut self.classes[first], rng);
        for (index, class) in self.classes.iter_mut().enumerate() {
            if best.grade == Grade::Fresh {
                break;
            }
            if index != first {
                best = best.or(pick(class, rng));
            }
        }
        best
    }

    /// A class by chance.
    fn draw(&self, rng: &mut impl Rng) -> usize {
        let last = self.classes.len() - 1;
        if last == 0 || self.chances <= 0.0 {
            return 0;
        }
        let mut left = rng.unit() * self.chances;
        let drawn = self.classes.iter().position(|class| {
            left -= class.chance;
            left < 0.0
        });
        drawn.unwrap_or(last)
    }
}

impl Class {
    /// The power of two choices, among open endpoints: where one of a pair is not open, the other
    /// waits for a second open one to be compared with. Finagle takes it at once, which hands a bad
    /// endpoint the traffic of all pairs that it forms with ejected ones.
    fn of_two<N: Node>(&self, view: &View<'_, N>, rng: &mut impl Rng) -> Choice {
        let n = self.members.len();
        let mut best = view.choice(self.members[0]);
        let mut waiting: Option<Choice> = None;
        for _ in 0..if n == 1 { 0 } else { EFFORT } {
            let (a, b) = two(n, rng);
            let (a, b) = (view.choice(self.members[a]), view.choice(self.members[b]));
            let (better, worse) = view.better(a, b);
            let (chosen, other) = match waiting {
                _ if better.grade < Grade::Fresh => {
                    best = if best.grade <= better.grade {
                        better
                    } else {
                        best
                    };
                    continue;
                }
                _ if worse.grade == Grade::Fresh => (better, worse),
                Some(before) if before.index != better.index => view.better(before, better),
                _ if n == 2 => return better,
                _ => {
                    waiting = Some(better);
                    continue;
                }
            };
            if !self.passes_over(chosen, view, rng) {
                return chosen;
            }
            if view.nodes[other.index].ramp(view.now) > view.nodes[chosen.index].ramp(view.now) {
                return other;
            }
            waiting = waiting.or(Some(chosen));
        }
        if let Some(open) = waiting {
            return open;
        }
        let start = rng.below(n);
        view.scan((start..start + n).map(|at| self.members[at % n]), best)
    }

    /// The next in turn that is open.
    fn in_turn<N: Node>(&mut self, view: &View<'_, N>, rng: &mut impl Rng) -> Choice {
        let n = self.members.len();
        let mut best: Option<(usize, Choice)> = None;
        for at in (self.next..self.next + n).map(|at| at % n) {
            let choice = view.choice(self.members[at]);
            if best.is_none_or(|(_, best)| choice.grade > best.grade) {
                best = Some((at, choice));
            }
            if choice.grade == Grade::Fresh && !self.passes_over(choice, view, rng) {
                best = Some((at, choice));
                break;
            }
        }
        let (at, choice) = best.expect("a class has a member");
        self.next = (at + 1) % n;
        choice
    }

    /// Whether slow start wants somebody else this time.
    fn passes_over<N: Node>(&self, choice: Choice, view: &View<'_, N>, rng: &mut impl Rng) -> bool {
        self.ramps.uneven() && {
            let granted = view.granted(choice.index, self.ramps.most);
            granted < 1.0 && rng.unit() >= granted
        }
    }
}
