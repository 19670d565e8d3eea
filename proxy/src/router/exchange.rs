//! One request and its answer.

use super::entry::PathEntry;
use super::hop::{self, Context};
use super::plan::Plan;
use super::retry::send;
use super::{Conn, fault, mirror, own};
use crate::clock;
use crate::error::Error;
use crate::http::{
    BodySource, BoxError, Gate, HeadView, ResponseBody, is_grpc, outgoing_head, respond,
};
use crate::io::Phase;
use crate::shared::{Running, RunningListener, ServiceShared};
use heddle_core::Nanos;
use heddle_core::answer::Kind;
use heddle_core::config::{Identifier, Mode, Rule};
use heddle_core::identify::{Identified, RequestView, consume_path, identify_first};
use heddle_core::name::Path;
use heddle_core::route::{self, Caller};
use http::request::Parts;
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

/// What every step of a request needs.
pub(super) struct Exchange {
    pub(super) conn: Rc<Conn>,
    pub(super) listener: Arc<RunningListener>,
    pub(super) running: Arc<Running>,
    pub(super) started: Nanos,
    pub(super) grpc: bool,
    pub(super) http2: bool,
    pub(super) context: Context,
}

/// Answers a request; an error means that the connection or the stream is to be reset.
pub(crate) async fn handle(
    conn: Rc<Conn>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, BoxError> {
    if conn.serial {
        conn.state.enter(Phase::Busy);
    }
    conn.worker.refresh();
    let started = clock::now();
    let listener = conn.listener.running.borrow().clone();
    listener.metrics.requests_in_flight.inc();
    let flight = InFlight {
        conn: conn.clone(),
        listener: listener.clone(),
        service: None,
    };
    let grpc = is_grpc(request.headers());
    if listener.metrics.requests_in_flight.get() > listener.spec.limits.requests as i64 {
        let reason = format!(
            "listener {} has its cap of {} requests in flight",
            listener.spec.name, listener.spec.limits.requests
        );
        return Ok(refuse(
            &listener,
            &Error::new(Kind::Overloaded, reason),
            grpc,
        ));
    }
    let (parts, body) = request.into_parts();
    let running = conn.worker.running.borrow().clone();
    let exchange = Exchange {
        running,
        http2: parts.version == http::Version::HTTP_2,
        conn,
        listener,
        started,
        grpc,
        context: Context::default(),
    };
    exchange.run(parts, body, flight).await
}

/// An answer to what no name could be found for.
fn refuse(listener: &RunningListener, error: &Error, grpc: bool) -> Response<ResponseBody> {
    listener.metrics.refused.inc(error.kind.label());
    respond(error, grpc)
}

/// Counts a request in flight on its listener and, once it has one, its name; its drop ends the
/// connection's busy phase. A request whose caller went away is dropped wherever it stands.
pub(super) struct InFlight {
    conn: Rc<Conn>,
    listener: Arc<RunningListener>,
    service: Option<Arc<ServiceShared>>,
}

impl InFlight {
    fn enter(&mut self, service: &Arc<ServiceShared>) {
        service.metrics.in_flight.inc();
        self.service = Some(service.clone());
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(service) = &self.service {
            service.metrics.in_flight.dec();
        }
        self.listener.metrics.requests_in_flight.dec();
        if self.conn.serial {
            self.conn.state.enter(Phase::Idle);
        }
    }
}

impl Exchange {
    async fn run(
        mut self,
        mut parts: Parts,
        body: Incoming,
        mut flight: InFlight,
    ) -> Result<Response<ResponseBody>, BoxError> {
        if let Err(error) = own::check(&parts) {
            return Ok(refuse(&self.listener, &error, self.grpc));
        }
        match hop::take(&self.conn, &self.listener, &mut parts, self.started) {
            Ok(context) => self.context = context,
            Err(error) => return Ok(refuse(&self.listener, &error, self.grpc)),
        }
        let entry = match self.identify(&mut parts) {
            Ok(entry) => entry,
            Err(error) => return Ok(refuse(&self.listener, &error, self.grpc)),
        };
        entry.touch(self.started);
        flight.enter(&entry.service);
        if self.context.stripped {
            entry.service.metrics.overrides_stripped.inc();
        }
        if parts.method == Method::CONNECT {
            let answer = Box::pin(own::connect(&self, &entry, &mut parts)).await;
            return Ok(answer.unwrap_or_else(|error| self.own_answer(&entry, &error)));
        }
        match self.serve(&entry, parts, body, flight).await {
            Ok(answer) => Ok(answer),
            Err(Ended::Answer(error)) => Ok(self.own_answer(&entry, &error)),
            Err(Ended::Injected(answer)) => {
                let elapsed = clock::now().saturating_sub(self.started);
                entry
                    .service
                    .metrics
                    .answered(answer.status().as_u16(), elapsed);
                Ok(answer)
            }
            Err(Ended::Reset(error)) => Err(error),
        }
    }

    fn own_answer(&self, entry: &PathEntry, error: &Error) -> Response<ResponseBody> {
        let metrics = &entry.service.metrics;
        let mut response = respond(error, self.grpc);
        metrics.answers.inc(error.kind.label());
        metrics.answered(
            response.status().as_u16(),
            clock::now().saturating_sub(self.started),
        );
        if self.grpc {
            metrics.grpc_status(error.kind.grpc());
        }
        hop::tell(response.headers_mut(), &self.context);
        tracing::debug!(name = %entry.path, %error, "answered by the proxy");
        response
    }

    /// The cache's entry for the request's logical name.
    fn identify(&self, parts: &mut Parts) -> Result<Rc<PathEntry>, Error> {
        let state = &self.conn.listener;
        let spec = &self.listener.spec;
        let view = HeadView(parts);
        // What alone decides the name, where something does: met before, it needs no parsing.
        let decides = match spec.identify[..] {
            _ if !self.context.dtab.is_empty() => None,
            [Identifier::Host] => view.authority(),
            [Identifier::Static(_)] => Some(""),
            _ => None,
        };
        if !matches!(spec.mode, Mode::Inbound { .. })
            && let Some(entry) = decides.and_then(|text| state.by_host(text))
        {
            self.conn.worker.shared.metrics.caches().path.hits.inc();
            return Ok(entry);
        }
        let shared = &self.conn.worker.shared;
        if matches!(spec.mode, Mode::Inbound { .. }) {
            let path = Path::from_elements([b"svc".as_slice(), spec.name.as_bytes()])
                .unwrap_or_else(Path::empty);
            return Ok(state.entry(
                shared,
                &self.running,
                path,
                heddle_core::name::Dtab::empty(),
            ));
        }
        match identify_first(&spec.identify, &view) {
            Identified::Name {
                path,
                consumed_segments,
            } => {
                let entry = state.entry(shared, &self.running, path, self.context.dtab.clone());
                if let Some(text) = decides {
                    state.remember_host(text, &entry, self.running.config.limits.cache_entries);
                }
                if consumed_segments > 0 {
                    let target = parts
                        .uri
                        .path_and_query()
                        .map_or("/", |target| target.as_str());
                    replace_target(parts, &consume_path(target, consumed_segments))?;
                }
                Ok(entry)
            }
            Identified::Unidentified => {
                let reason = "nothing in the request says which service it is for: no identifier of this listener found a name";
                Err(Error::new(Kind::Unidentified, reason))
            }
            Identified::Bad(why) => Err(Error::new(Kind::Refused(400), why)),
        }
    }

    async fn serve(
        &mut self,
        entry: &Rc<PathEntry>,
        mut parts: Parts,
        body: Incoming,
        flight: InFlight,
    ) -> Result<Response<ResponseBody>, Ended> {
        let route = entry.route.clone();
        let caller = Caller {
            namespace: &self.listener.spec.namespace,
            service: None,
        };
        let rule = match &route {
            None => None,
            Some(route) => {
                let index = route
                    .rules
                    .iter()
                    .position(|rule| route::matches(&rule.matches, &HeadView(&parts), &caller));
                let Some(index) = index else {
                    let reason = format!(
                        "no rule of Route {}/{} matches this request",
                        route.namespace, route.name
                    );
                    return Err(Error::new(Kind::NoSuchName, reason).into());
                };
                Some((&route.rules[index], &entry.rules[index]))
            }
        };
        if !entry.faults.is_empty() {
            Box::pin(fault::inject(self, entry, &parts, &caller)).await?;
        }
        if let Some(answer) = rule.and_then(|(rule, _)| own::fixed(rule)) {
            entry.service.metrics.answered(
                answer.status().as_u16(),
                clock::now().saturating_sub(self.started),
            );
            return Ok(answer);
        }
        let key = self.ring_key(entry, &parts);
        let slot = match rule {
            None => &entry.own,
            Some((rule, slots)) => &slots.to[self.arm(entry, rule, &parts)],
        };
        let on_upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        let gate = expects_continue(&parts).then(Gate::new);
        let mut plan = Plan::new(self, entry, rule.map(|(rule, _)| rule), &parts);
        let upgrade = outgoing_head(&mut parts, &self.conn.hop);
        if let Some((rule, _)) = rule {
            rewrite_request(rule, &mut parts)?;
        }
        let mut source = BodySource::new(body, entry.policy.pool.replay_bytes, gate.clone());
        if let Some((mirror, slot)) =
            rule.and_then(|(rule, slots)| rule.mirror.as_ref().zip(slots.mirror.as_ref()))
        {
            source = Box::pin(mirror::copy(self, entry, mirror, slot, &parts, source)).await;
        }
        plan.watch_interim(&self.conn, gate, &mut parts);
        plan.upgrade = upgrade.zip(on_upgrade);
        plan.key = key;
        send(
            self,
            entry,
            slot,
            rule.map(|(rule, _)| rule),
            parts,
            source,
            plan,
            flight,
        )
        .await
    }

    fn ring_key(&self, entry: &PathEntry, parts: &Parts) -> Option<u64> {
        let heddle_core::config::BalancerKind::RingHash { by } = &entry.policy.balancer.kind else {
            return None;
        };
        let key = route::key_of(by, &HeadView(parts), self.conn.hop.peer())?;
        Some(heddle_core::sticky::hash(&[&key]))
    }

    /// Which destination of a rule this request goes to.
    fn arm(&self, entry: &PathEntry, rule: &Rule, parts: &Parts) -> usize {
        if rule.to.len() == 1 {
            return 0;
        }
        let key = rule
            .sticky_by
            .as_ref()
            .and_then(|by| route::key_of(by, &HeadView(parts), self.conn.hop.peer()));
        let arms: Vec<(&str, f64)> = rule
            .to
            .iter()
            .map(|to| (to.name.as_str(), to.weight))
            .collect();
        let chosen = match (key, &entry.route) {
            (Some(key), Some(route)) => heddle_core::sticky::pick(
                &format!("{}/{}", route.namespace, route.service),
                &arms,
                &key,
            ),
            _ => None,
        };
        chosen.unwrap_or_else(|| weighted(&arms, &mut *self.conn.worker.rng.borrow_mut()))
    }
}

fn weighted(arms: &[(&str, f64)], rng: &mut impl heddle_core::random::Rng) -> usize {
    let total: f64 = arms.iter().map(|(_, weight)| weight).sum();
    let mut point = rng.unit() * total;
    for (index, (_, weight)) in arms.iter().enumerate() {
        if point < *weight {
            return index;
        }
        point -= weight;
    }
    arms.iter()
        .rposition(|(_, weight)| *weight > 0.0)
        .unwrap_or(0)
}

fn expects_continue(parts: &Parts) -> bool {
    parts
        .headers
        .get(http::header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn replace_target(parts: &mut Parts, target: &str) -> Result<(), Error> {
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    let bad = |_| {
        Error::new(
            Kind::Refused(400),
            format!("the rewritten target {target:?} is not a path"),
        )
    };
    uri.path_and_query = Some(target.try_into().map_err(bad)?);
    parts.uri = http::Uri::from_parts(uri).map_err(|_| {
        Error::new(
            Kind::Refused(400),
            format!("the rewritten target {target:?} does not fit the request"),
        )
    })?;
    Ok(())
}

/// What a rule sets on a request.
fn rewrite_request(rule: &Rule, parts: &mut Parts) -> Result<(), Error> {
    let set = &rule.set;
    for name in &set.remove_request_headers {
        parts.headers.remove(name.as_str());
    }
    for (name, value) in &set.request_headers {
        put(&mut parts.headers, name, value);
    }
    if let Some(host) = &set.host {
        put(&mut parts.headers, "host", host);
    }
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    if let Cow::Owned(new) = route::rewrite_path(rule, &target) {
        replace_target(parts, &new)?;
    }
    Ok(())
}

/// Sets a header that the checker has seen; a value that is not one after all is left out.
pub(super) fn put(headers: &mut http::HeaderMap, name: &str, value: &str) {
    let pair = http::HeaderName::from_bytes(name.as_bytes())
        .ok()
        .zip(http::HeaderValue::from_str(value).ok());
    if let Some((name, value)) = pair {
        headers.insert(name, value);
    }
}

/// Why a request ended without an upstream's answer.
pub(super) enum Ended {
    /// The proxy answers.
    Answer(Error),
    /// A `Fault` answers.
    Injected(Response<ResponseBody>),
    /// The connection or stream is reset.
    Reset(BoxError),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}
