//! A simulated replica: a few servers behind one queue.

use heddle_core::Nanos;
use heddle_core::random::{Rng, Xoshiro};
use std::collections::VecDeque;

pub(crate) const REPLICAS: usize = 4;

/// Requests that one replica works on at once.
const SERVERS: usize = 4;

/// The median time of a request.
const MEDIAN: f64 = 4.4e6;

/// Spread of the logarithm of service times; the mean is 5 ms.
const SIGMA: f64 = 0.5;

/// One replica; requests are numbers.
#[derive(Debug, Default)]
pub(crate) struct Replica {
    busy: usize,
    queue: VecDeque<(usize, Nanos)>,
}

impl Replica {
    /// A request that needs `time` arrives; when it will be done, unless it has to wait.
    pub(crate) fn arrive(&mut self, request: usize, time: Nanos, now: Nanos) -> Option<Nanos> {
        if self.busy < SERVERS {
            self.busy += 1;
            return Some(now + time);
        }
        self.queue.push_back((request, time));
        None
    }

    /// A request is done; the next one of the queue, and when it will be done.
    pub(crate) fn leave(&mut self, now: Nanos) -> Option<(usize, Nanos)> {
        let next = self.queue.pop_front();
        if next.is_none() {
            self.busy -= 1;
        }
        next.map(|(request, time)| (request, now + time))
    }
}

/// A service time of a replica that is `slower` times slower than a good one: log-normal.
pub(crate) fn service_time(slower: f64, rng: &mut Xoshiro) -> Nanos {
    let radius = (-2.0 * (1.0 - rng.unit()).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * rng.unit()).cos();
    (MEDIAN * slower * (SIGMA * normal).exp()) as Nanos
}
