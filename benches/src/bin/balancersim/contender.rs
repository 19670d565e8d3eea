//! The balancers that are compared, and what each keeps of an endpoint.

use heddle_core::accrual::{EndpointHealth, SetHealth};
use heddle_core::balance::Node;
use heddle_core::config::{Accrual, Balancer, BalancerKind, Key};
use heddle_core::endpoint::Locality;
use heddle_core::ewma::PeakEwma;
use heddle_core::random::{Xoshiro, mix64};
use heddle_core::{Nanos, classify, status::Status};
use std::time::Duration;

const DECAY: Duration = Duration::from_secs(10);

/// One balancer.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) balancer: Balancer,
    /// `None`: endpoints are never ejected.
    pub(crate) accrual: Option<Accrual>,
    /// What an endpoint without history is taken to need.
    default_rtt: Option<Duration>,
    /// Whether a failure costs more than its time.
    failure_cost: bool,
}

impl Contender {
    pub(crate) fn all() -> Vec<Self> {
        let heddle = |name, kind| Self {
            name,
            balancer: Balancer {
                kind,
                ..Balancer::default()
            },
            accrual: Some(Accrual::default()),
            default_rtt: None,
            failure_cost: true,
        };
        let aperture = BalancerKind::Aperture {
            low_load: 0.5,
            high_load: 2.0,
            min: 1,
            smooth: Duration::from_secs(5),
        };
        vec![
            heddle("p2c-peak-ewma", BalancerKind::P2cPeakEwma { decay: DECAY }),
            heddle("p2c-least-loaded", BalancerKind::P2cLeastLoaded),
            heddle("round-robin", BalancerKind::RoundRobin),
            heddle("aperture", aperture),
            heddle("ring-hash", BalancerKind::RingHash { by: Key::Address }),
            Self {
                accrual: None,
                ..heddle(
                    "ewma, no accrual",
                    BalancerKind::P2cPeakEwma { decay: DECAY },
                )
            },
            Self {
                failure_cost: false,
                ..heddle(
                    "ewma as Finagle's",
                    BalancerKind::P2cPeakEwma { decay: DECAY },
                )
            },
            Self {
                // tower::load::PeakEwma with linkerd2's parameters: a default latency in place of a
                // penalty, no ejection, no slow start.
                balancer: Balancer {
                    slow_start: Duration::ZERO,
                    ..Balancer::default()
                },
                accrual: None,
                default_rtt: Some(Duration::from_millis(30)),
                failure_cost: false,
                ..heddle(
                    "tower's peak-ewma",
                    BalancerKind::P2cPeakEwma { decay: DECAY },
                )
            },
        ]
    }
}

/// A replica as one proxy sees it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    cost: PeakEwma,
    health: EndpointHealth,
    accrual: Option<Accrual>,
    failure_cost: bool,
    slow_start: Duration,
    identity: u64,
    locality: Locality,
}

impl Endpoint {
    pub(crate) fn new(contender: &Contender, id: u64) -> Self {
        let cost = PeakEwma::new(0, DECAY);
        if let Some(rtt) = contender.default_rtt {
            cost.observe(0, rtt.as_nanos() as u64);
        }
        Self {
            cost,
            health: EndpointHealth::new(0),
            accrual: contender.accrual.clone(),
            failure_cost: contender.failure_cost,
            slow_start: contender.balancer.slow_start,
            identity: mix64(id),
            locality: Locality::default(),
        }
    }

    /// Begins a request; `false` when somebody else is probing.
    pub(crate) fn start(&self, now: Nanos) -> bool {
        let free = self
            .accrual
            .as_ref()
            .is_none_or(|rules| self.health.try_probe(now, rules));
        if free {
            self.cost.start();
        }
        free
    }

    /// Ends a request.
    pub(crate) fn end(
        &self,
        started: Nanos,
        now: Nanos,
        ending: classify::Ending,
        set: &SetHealth,
        rng: &mut Xoshiro,
    ) {
        let verdict = classify::charge(ending, None);
        if let Some(rules) = &self.accrual {
            match verdict {
                classify::Verdict::Success => {
                    if self.health.success(now, rules, set) {
                        self.cost.forget();
                    }
                }
                classify::Verdict::Failure => drop(self.health.failure(now, rules, set, rng)),
                classify::Verdict::Ignorable => self.health.ignorable(now),
            }
        }
        if self.failure_cost && verdict == classify::Verdict::Failure {
            self.cost.end_failed(started, now);
        } else {
            self.cost.end(started, now);
        }
    }
}

impl Node for Endpoint {
    fn status(&self, now: Nanos) -> Status {
        self.health.status(now)
    }
    fn load(&self, now: Nanos) -> f64 {
        self.cost.load(now)
    }
    fn in_flight(&self) -> u32 {
        self.cost.pending()
    }
    fn weight(&self) -> f64 {
        1.0
    }
    fn locality(&self) -> &Locality {
        &self.locality
    }
    fn identity(&self) -> u64 {
        self.identity
    }
    fn ramp(&self, now: Nanos) -> f64 {
        self.health.ramp(now, self.slow_start)
    }
    fn probe_due(&self, now: Nanos) -> bool {
        self.health.probe_due(now)
    }
}
