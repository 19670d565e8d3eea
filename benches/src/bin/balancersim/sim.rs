//! The simulation: events in the order of virtual time.

use crate::contender::{Contender, Endpoint};
use crate::replica::{REPLICAS, Replica, service_time};
use crate::scenario::{Conduct, Scenario};
use hdrhistogram::Histogram;
use heddle_core::Nanos;
use heddle_core::accrual::SetHealth;
use heddle_core::balance::{Node, Picker};
use heddle_core::classify::Ending;
use heddle_core::endpoint::Locality;
use heddle_core::random::{Rng, Xoshiro};
use heddle_core::status::Status;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub(crate) const PROXIES: usize = 4;

/// Callers give up after this.
const TIMEOUT: Nanos = 1_000_000_000;
/// A refusal takes this long.
const REFUSAL: Nanos = 300_000;

/// What happens next. Ordered so that events of one instant have an order, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Served(usize),
    Refused(usize),
    TimedOut(usize),
}

/// One request.
#[derive(Debug)]
struct Request {
    proxy: usize,
    replica: usize,
    started: Nanos,
    over: bool,
}

/// A proxy with its own view of the replicas.
#[derive(Debug)]
struct Proxy {
    picker: Picker,
    endpoints: Vec<Endpoint>,
    set: SetHealth,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Share of requests that were answered well.
    pub(crate) success: f64,
    /// Share of requests that went to the troubled replica during the trouble.
    pub(crate) troubled_share: f64,
    latencies: Histogram<u64>,
}

impl Summary {
    /// Of all requests, failed ones included, in milliseconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        self.latencies.value_at_percentile(percent) as f64 / 1e6
    }
}

struct Sim {
    scenario: Scenario,
    end: Nanos,
    gap: f64,
    /// Arrivals and service times; the same for every contender.
    world: Xoshiro,
    /// The proxies' own.
    dice: Xoshiro,
    events: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    scheduled: u64,
    replicas: Vec<Replica>,
    proxies: Vec<Proxy>,
    requests: Vec<Request>,
    good: usize,
    in_trouble: [usize; 2],
    latencies: Histogram<u64>,
}

/// Runs one balancer through one scenario.
pub(crate) fn run(
    scenario: Scenario,
    contender: &Contender,
    seed: u64,
    rate: f64,
    seconds: f64,
) -> Summary {
    let proxy = |index: usize| {
        let endpoints: Vec<Endpoint> = (0..REPLICAS as u64)
            .map(|id| Endpoint::new(contender, id))
            .collect();
        let picker = Picker::new(
            &contender.balancer,
            &endpoints,
            &Locality::default(),
            index as u64,
        );
        Proxy {
            picker,
            endpoints,
            set: SetHealth::new(REPLICAS),
        }
    };
    let mut sim = Sim {
        scenario,
        end: (seconds * 1e9) as Nanos,
        gap: 1e9 / rate,
        world: Xoshiro::seeded(seed),
        dice: Xoshiro::seeded(seed ^ 0x5eed),
        events: BinaryHeap::new(),
        scheduled: 0,
        replicas: (0..REPLICAS).map(|_| Replica::default()).collect(),
        proxies: (0..PROXIES).map(proxy).collect(),
        requests: Vec::new(),
        good: 0,
        in_trouble: [0; 2],
        latencies: Histogram::new_with_bounds(1, 120_000_000_000, 3)
            .expect("one nanosecond to two minutes in three digits"),
    };
    sim.schedule(0, Event::Arrival);
    while let Some(Reverse((now, _, event))) = sim.events.pop() {
        sim.happen(now, event);
    }
    Summary {
        success: sim.good as f64 / sim.requests.len() as f64,
        troubled_share: sim.in_trouble[1] as f64
            / (sim.in_trouble[0] + sim.in_trouble[1]).max(1) as f64,
        latencies: sim.latencies,
    }
}

impl Sim {
    fn schedule(&mut self, at: Nanos, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    fn happen(&mut self, now: Nanos, event: Event) {
        match event {
            Event::Arrival => {
                let next = now + (-(1.0 - self.world.unit()).ln() * self.gap) as Nanos;
                if next < self.end {
                    self.schedule(next, Event::Arrival);
                }
                self.arrive(now);
            }
            Event::Served(request) => {
                let replica = self.requests[request].replica;
                if let Some((next, done)) = self.replicas[replica].leave(now) {
                    self.schedule(done, Event::Served(next));
                }
                self.finish(request, now, Ending::Http(200));
            }
            Event::Refused(request) => self.finish(request, now, Ending::Http(503)),
            Event::TimedOut(request) => self.finish(request, now, Ending::GivenUp),
        }
    }

    fn arrive(&mut self, now: Nanos) {
        let (index, chance) = (self.world.below(PROXIES), self.world.unit());
        let time = service_time(1.0, &mut self.world);
        let proxy = &mut self.proxies[index];
        let key = Some(self.dice.next_u64());
        let picked = proxy
            .picker
            .pick(&proxy.endpoints, now, &mut self.dice, key, &[]);
        let replica = picked.expect("there are replicas");
        let request = self.requests.len();
        let endpoint = &proxy.endpoints[replica];
        let refused = endpoint.status(now) != Status::Open || !endpoint.start(now);
        self.requests.push(Request {
            proxy: index,
            replica,
            started: now,
            over: refused,
        });
        if refused {
            // Nothing is open: the proxy answers 503 by itself.
            self.latencies.saturating_record(1);
            return;
        }
        let part = now as f64 / self.end as f64;
        if (0.25..0.75).contains(&part) {
            self.in_trouble[usize::from(replica == REPLICAS - 1)] += 1;
        }
        match self.scenario.conduct(replica, part, chance) {
            Conduct::Fail => self.schedule(now + REFUSAL, Event::Refused(request)),
            Conduct::Swallow => self.schedule(now + TIMEOUT, Event::TimedOut(request)),
            Conduct::Serve(slower) => {
                let time = (time as f64 * slower) as Nanos;
                self.schedule(now + TIMEOUT, Event::TimedOut(request));
                if let Some(done) = self.replicas[replica].arrive(request, time, now) {
                    self.schedule(done, Event::Served(request));
                }
            }
        }
    }

    /// The proxy hears of the end of a request; what comes after it gave up, it does not hear.
    fn finish(&mut self, request: usize, now: Nanos, ending: Ending) {
        let Request {
            proxy,
            replica,
            started,
            over,
        } = &mut self.requests[request];
        if std::mem::replace(over, true) {
            return;
        }
        let proxy = &self.proxies[*proxy];
        proxy.endpoints[*replica].end(*started, now, ending, &proxy.set, &mut self.dice);
        self.latencies.saturating_record(now - *started);
        self.good += usize::from(ending == Ending::Http(200));
    }
}
