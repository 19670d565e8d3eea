//! The client of one replica set on one worker: which endpoint, which connection.

mod attempt;
mod connection;
mod http2;
mod pool;
mod watched;

pub(crate) use attempt::{Attempted, Charge, Failure, Lease, Limit, Outgoing, Verdict, attempt};
pub(crate) use connection::{ConnectError, OpenGuard, Wire, connect, malformed};
pub(crate) use http2::{CONNECTION_WINDOW, MAX_HEADER_LIST, STREAM_WINDOW};

use crate::clock;
use crate::discovery::{Addr, ReplicaSet};
use crate::shared::{EndpointShared, SetShared};
use heddle_core::Nanos;
use heddle_core::balance::{Node, Picker, address_identity};
use heddle_core::config::{Accrual, Balancer, BalancerKind, Pool, Route, UpstreamProtocol};
use heddle_core::endpoint::Locality;
use heddle_core::headers::connection_tokens;
use heddle_core::random::{Rng, Xoshiro};
use heddle_core::status::Status;
use http::StatusCode;
use http::header::{CONNECTION, HeaderMap};
use pool::EndpointPool;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How a replica set is used; a client belongs to one policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Policy {
    pub(crate) balancer: Balancer,
    pub(crate) accrual: Accrual,
    pub(crate) pool: Pool,
}

impl Policy {
    /// The policy of a route, or the default one.
    pub(crate) fn of(route: Option<&Route>) -> Self {
        route.map_or_else(Self::default, |route| Self {
            balancer: route.balancer.clone(),
            accrual: route.accrual.clone(),
            pool: route.pool.clone(),
        })
    }

    /// For the one endpoint of an inbound listener: nothing to choose, so nothing to eject
    /// (Finagle turns fail-fast off for single endpoints as well).
    pub(crate) fn single() -> Self {
        let accrual = Accrual {
            consecutive_failures: None,
            success_rate: None,
            ..Accrual::default()
        };
        Self {
            accrual,
            ..Self::default()
        }
    }

    fn decay(&self) -> Duration {
        match self.balancer.kind {
            BalancerKind::P2cPeakEwma { decay } => decay,
            _ => Duration::from_secs(10),
        }
    }

    fn kind_word(&self) -> &'static str {
        match self.balancer.kind {
            BalancerKind::P2cPeakEwma { .. } => "p2c-peak-ewma",
            BalancerKind::P2cLeastLoaded => "p2c-least-loaded",
            BalancerKind::RoundRobin => "round-robin",
            BalancerKind::RingHash { .. } => "ring-hash",
            BalancerKind::Aperture { .. } => "aperture",
        }
    }
}

/// One endpoint as this worker uses it.
#[derive(Debug)]
pub(crate) struct WorkerEndpoint {
    pub(crate) shared: Arc<EndpointShared>,
    pub(crate) pool: Rc<EndpointPool>,
    weight: f64,
    locality: Locality,
    slow_start: Duration,
}

impl WorkerEndpoint {
    /// Notes what an answer over HTTP/1 says of the endpoint's staying: one that drains ends each
    /// connection. Errors are left out, after which many servers end a connection for themselves.
    fn note_stay(&self, status: StatusCode, headers: &HeaderMap) {
        if (status.is_client_error() || status.is_server_error())
            && status != StatusCode::SERVICE_UNAVAILABLE
        {
            return;
        }
        let ends = headers.get(CONNECTION).is_some_and(|value| {
            connection_tokens(value.as_bytes()).any(|token| token.eq_ignore_ascii_case("close"))
        });
        if !ends {
            self.shared.leaving.answered(0, true);
        } else if self.shared.leaving.answered(clock::now(), false) {
            let set = &self.pool.set;
            set.metrics.leaving.inc();
            tracing::info!(
                endpoint = %self.shared.address, set = %set.id,
                "the endpoint ends its connections; used only when no other is open"
            );
            self.pool.clear_idle();
        }
    }
}

/// A member of the set, as the picker sees it.
#[derive(Debug, Clone)]
struct Member(Rc<WorkerEndpoint>);

impl std::ops::Deref for Member {
    type Target = WorkerEndpoint;
    fn deref(&self) -> &WorkerEndpoint {
        &self.0
    }
}

impl Node for Member {
    fn status(&self, now: Nanos) -> Status {
        self.shared.status(now)
    }

    fn load(&self, now: Nanos) -> f64 {
        self.shared.ewma.load(now)
    }

    fn in_flight(&self) -> u32 {
        self.shared.ewma.pending()
    }

    fn weight(&self) -> f64 {
        self.weight
    }

    fn locality(&self) -> &Locality {
        &self.locality
    }

    fn identity(&self) -> u64 {
        address_identity(&self.shared.address)
    }

    fn ramp(&self, now: Nanos) -> f64 {
        self.shared.health.ramp(now, self.slow_start)
    }

    fn probe_due(&self, now: Nanos) -> bool {
        self.shared.health.probe_due(now)
    }
}

/// Why no endpoint could be picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// Its addresses are not known yet.
    Pending,
    /// It has none.
    Empty,
    /// Its addresses could not be found.
    Failed(String),
    /// All of so many are ejected.
    Ejected(usize),
}

impl Unavailable {
    /// For the caller.
    pub(crate) fn reason(&self, id: &heddle_core::name::Path) -> String {
        match self {
            Self::Pending => format!("the addresses of {id} are not known yet"),
            Self::Empty => format!("{id} has no endpoint"),
            Self::Failed(why) => format!("the addresses of {id} could not be found: {why}"),
            Self::Ejected(1) => format!("the only endpoint of {id} is ejected after failures"),
            Self::Ejected(n) => format!("all {n} endpoints of {id} are ejected after failures"),
        }
    }
}

/// The client of one replica set on one worker.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) set: Arc<ReplicaSet>,
    pub(crate) shared: Arc<SetShared>,
    pub(crate) policy: Policy,
    /// The worker's.
    pub(crate) rng: Rc<RefCell<Xoshiro>>,
    local: Locality,
    seed: u64,
    version: Cell<Option<u64>>,
    endpoints: RefCell<Rc<[Member]>>,
    picker: RefCell<Option<Picker>>,
    state: RefCell<Option<Unavailable>>,
    used: Cell<Nanos>,
}

impl Client {
    pub(crate) fn new(
        set: Arc<ReplicaSet>,
        shared: Arc<SetShared>,
        policy: Policy,
        local: Locality,
        rng: Rc<RefCell<Xoshiro>>,
    ) -> Self {
        let seed = rng.borrow_mut().next_u64();
        shared.show(&set, policy.kind_word());
        Self {
            set,
            shared,
            policy,
            rng,
            local,
            seed,
            version: Cell::new(None),
            endpoints: RefCell::new(Rc::from([])),
            picker: RefCell::new(None),
            state: RefCell::new(Some(Unavailable::Pending)),
            used: Cell::new(0),
        }
    }

    /// What its endpoints speak to a caller that spoke HTTP/2 or not.
    pub(crate) fn speaks_http2(&self, caller_http2: bool) -> bool {
        match self.set.protocol() {
            UpstreamProtocol::Same => caller_http2,
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
        }
    }

    /// An endpoint to send to, claimed if the request is its probe. `avoid`: addresses that this
    /// request has tried; taken again only when nothing else is open.
    pub(crate) fn pick(
        &self,
        now: Nanos,
        key: Option<u64>,
        avoid: &[SocketAddr],
    ) -> Result<Rc<WorkerEndpoint>, Unavailable> {
        self.used.set(now);
        if self.version.get() != Some(self.set.version()) {
            self.refresh();
        }
        if let Some(unavailable) = &*self.state.borrow() {
            return Err(unavailable.clone());
        }
        let endpoints = self.endpoints.borrow().clone();
        let mut tried: Vec<usize> = Vec::new();
        if !avoid.is_empty() {
            tried.extend(
                (0..endpoints.len()).filter(|&i| avoid.contains(&endpoints[i].shared.address)),
            );
        }
        let rng = &mut *self.rng.borrow_mut();
        let mut picker = self.picker.borrow_mut();
        let picker = picker.as_mut().ok_or(Unavailable::Empty)?;
        // A probe that another worker claims in between costs one more look.
        for _ in 0..MAX_PICKS {
            let Some(index) = picker.pick(&endpoints, now, rng, key, &tried) else {
                break;
            };
            let endpoint = &endpoints[index];
            if endpoint.shared.health.status(now) != Status::Open {
                break;
            }
            let probe = endpoint.shared.health.probe_due(now);
            if endpoint.shared.health.try_probe(now, &self.policy.accrual) {
                if probe {
                    self.shared.metrics.probes.inc();
                }
                return Ok(endpoint.0.clone());
            }
            tried.push(index);
        }
        if self.policy.accrual.fail_open
            && let Some(index) = picker.pick(&endpoints, now, rng, key, &tried)
        {
            return Ok(endpoints[index].0.clone());
        }
        // The picker looks at a few; before giving up, look at all.
        let open = endpoints.iter().find(|endpoint| {
            endpoint.weight > 0.0
                && endpoint.shared.health.status(now) == Status::Open
                && endpoint.shared.health.try_probe(now, &self.policy.accrual)
        });
        open.map(|open| open.0.clone())
            .ok_or(Unavailable::Ejected(endpoints.len()))
    }

    /// Takes over a new version of the set. Endpoints that stay keep their connections.
    fn refresh(&self) {
        let version = self.set.version();
        let addr = self.set.addr();
        self.version.set(Some(version));
        let found = match &*addr {
            Addr::Bound(endpoints) if endpoints.is_empty() => Err(Unavailable::Empty),
            Addr::Bound(endpoints) => Ok(endpoints),
            Addr::Neg => Err(Unavailable::Empty),
            Addr::Pending => Err(Unavailable::Pending),
            Addr::Failed(why) => Err(Unavailable::Failed(why.clone())),
        };
        let empty = Vec::new();
        let found = match &found {
            Ok(endpoints) => {
                *self.state.borrow_mut() = None;
                *endpoints
            }
            Err(unavailable) => {
                *self.state.borrow_mut() = Some(unavailable.clone());
                &empty
            }
        };
        let addresses: Vec<SocketAddr> = found.iter().map(|endpoint| endpoint.address).collect();
        let members = self
            .shared
            .members(version, &addresses, self.policy.decay());
        let old = self.endpoints.borrow().clone();
        let before: HashMap<SocketAddr, &Member> =
            old.iter().map(|e| (e.shared.address, e)).collect();
        let endpoints: Rc<[Member]> = found
            .iter()
            .zip(members)
            .map(|(endpoint, shared)| {
                let pool = match before.get(&endpoint.address) {
                    Some(known) if Arc::ptr_eq(&known.shared, &shared) => known.pool.clone(),
                    _ => Rc::new(EndpointPool::new(self.shared.clone(), shared.clone())),
                };
                Member(Rc::new(WorkerEndpoint {
                    shared,
                    pool,
                    weight: endpoint.weight,
                    locality: endpoint.locality.clone(),
                    slow_start: self.policy.balancer.slow_start,
                }))
            })
            .collect();
        for gone in old
            .iter()
            .filter(|e| !addresses.contains(&e.shared.address))
        {
            gone.pool.clear();
        }
        let mut picker = self.picker.borrow_mut();
        match picker.as_mut() {
            Some(picker) => picker.update(&endpoints),
            None => {
                *picker = Some(Picker::new(
                    &self.policy.balancer,
                    &endpoints,
                    &self.local,
                    self.seed,
                ))
            }
        }
        drop(picker);
        *self.endpoints.borrow_mut() = endpoints;
    }

    /// Drops idle connections, and takes over a change that no request has met.
    pub(crate) fn sweep(&self) {
        if self.version.get() != Some(self.set.version()) {
            self.refresh();
        }
        for endpoint in self.endpoints.borrow().iter() {
            endpoint.pool.sweep(&self.policy.pool);
        }
    }

    /// When it was last asked.
    pub(crate) fn used(&self) -> Nanos {
        self.used.get()
    }
}

/// How often a pick that lost a probe to another worker is repeated.
const MAX_PICKS: usize = 4;
