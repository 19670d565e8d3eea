//! One request and its answer.

use super::admission::Turn;
use super::entry::PathEntry;
use super::finish::finish;
use super::hop::{self, Context};
use super::plan::Plan;
use super::retry::Attempts;
use super::{Conn, fault, mirror, own};
use crate::access::{Own, Trail};
use crate::clock;
use crate::error::Error;
use crate::http::{
    BodySource, BoxError, Gate, HeadView, Incoming, ResponseBody, close, grpc_status, is_grpc,
    outgoing_head, respond, says,
};
use crate::io::{Order, Phase};
use crate::shared::{Running, RunningListener};
use heddle_core::Nanos;
use heddle_core::answer::{FAULT, Kind, RULE};
use heddle_core::config::{Identifier, Mode, Route, Rule};
use heddle_core::identify::{Identified, RequestView, consume_path, identify_first};
use heddle_core::name::Path;
use heddle_core::route::{self, Caller};
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http_body::Body;
use hyper::{Method, Request, Response, StatusCode};
use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

/// What every step of a request needs.
pub(super) struct Exchange {
    pub(super) conn: Rc<Conn>,
    pub(super) listener: Rc<RunningListener>,
    pub(super) running: Rc<Running>,
    pub(super) started: Nanos,
    pub(super) grpc: bool,
    pub(super) http2: bool,
    pub(super) context: Context,
    /// What is told about this request, if anything is.
    pub(super) trail: Option<Rc<Trail>>,
}

/// Answers a request; an error means that the connection or the stream is to be reset.
///
/// What can be decided without waiting is decided here and now; the future holds what is left, by
/// reference, since every byte of it is moved for each request.
pub(crate) fn handle(conn: Rc<Conn>, request: Request<Incoming>) -> Answering {
    match Call::begin(conn.clone(), request) {
        Ok(mut call) => Box::pin(async move {
            let mut answered = call.answer().await;
            if let Ok(answer) = &mut answered {
                say_the_end(&conn, answer);
            }
            answered
        }),
        Err(mut answer) => {
            say_the_end(&conn, &mut answer);
            Box::pin(std::future::ready(Ok(*answer)))
        }
    }
}

/// While an HTTP/1 connection drains, each answer says that it is the last one. HTTP/2 has
/// `GOAWAY`, and a switched protocol goes on.
fn say_the_end(conn: &Conn, answer: &mut Response<ResponseBody>) {
    if conn.serial
        && conn.state.ordered() != Order::Go
        && answer.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        answer
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// An answer under way.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Answered>>>;
type Answered = Result<Response<ResponseBody>, BoxError>;

/// A request whose name is known.
struct Call {
    exchange: Exchange,
    entry: Rc<PathEntry>,
    parts: Parts,
    body: Option<Incoming>,
    flight: Option<InFlight>,
}

impl Call {
    fn begin(
        conn: Rc<Conn>,
        mut request: Request<Incoming>,
    ) -> Result<Box<Self>, Box<Response<ResponseBody>>> {
        if conn.serial {
            conn.state.enter(Phase::Busy);
        } else {
            conn.state.streams.opened();
        }
        conn.worker.refresh();
        let listener = conn.listener.running.borrow().clone();
        listener.metrics.requests_in_flight.inc();
        let mut flight = InFlight {
            conn: conn.clone(),
            entry: None,
            turn: Turn::default(),
        };
        let grpc = is_grpc(request.headers());
        let started = clock::now();
        let trail = Trail::begin(&conn, &mut request, grpc, started);
        if listener.metrics.requests_in_flight.get() > listener.spec.limits.requests as i64 {
            let reason = format!(
                "listener {} has its cap of {} requests in flight",
                listener.spec.name, listener.spec.limits.requests
            );
            let error = Error::new(Kind::Overloaded, reason);
            return Err(Box::new(refuse(&listener, &error, grpc, trail.as_deref())));
        }
        if conn.worker.shared.memory.is_full() {
            let reason = "this proxy has nearly used up its memory (limits.memoryBytes)";
            let error = Error::new(Kind::Overloaded, reason);
            return Err(Box::new(refuse(&listener, &error, grpc, trail.as_deref())));
        }
        if conn.serial && conn.state.ordered() >= Order::Finish {
            let error = Error::new(
                Kind::Draining,
                "this proxy is shutting down and takes no new requests",
            );
            return Err(Box::new(refuse(&listener, &error, grpc, trail.as_deref())));
        }
        let (mut parts, body) = request.into_parts();
        let running = conn.worker.running.borrow().clone();
        let mut exchange = Exchange {
            running,
            http2: parts.version == http::Version::HTTP_2,
            conn,
            listener,
            started,
            grpc,
            context: Context::default(),
            trail,
        };
        let entry = exchange.name(&mut parts).map_err(|error| {
            let trail = exchange.trail.as_deref();
            Box::new(refuse(&exchange.listener, &error, grpc, trail))
        })?;
        if let Some(trail) = &exchange.trail {
            trail.named(&entry.path, &exchange.context.dtab, entry.route.as_ref());
        }
        entry.touch(exchange.started);
        flight.enter(&entry);
        if exchange.context.stripped {
            entry.service.metrics.overrides_stripped.inc();
        }
        Ok(Box::new(Self {
            exchange,
            entry,
            parts,
            body: Some(body),
            flight: Some(flight),
        }))
    }

    async fn answer(&mut self) -> Answered {
        if let Err(error) = self.admit().await {
            return Ok(self.exchange.own_answer(&self.entry, &error));
        }
        if self.parts.method == Method::CONNECT {
            let tunnel = own::connect(&self.exchange, &self.entry, &mut self.parts);
            let answer = Box::pin(tunnel).await;
            return Ok(answer.unwrap_or_else(|error| self.exchange.own_answer(&self.entry, &error)));
        }
        match self.serve().await {
            Ok(answer) => Ok(answer),
            Err(Ended::Answer(error)) => Ok(self.exchange.own_answer(&self.entry, &error)),
            Err(Ended::Injected(answer, reason)) => {
                Ok(self.exchange.by_rule(&self.entry, FAULT, reason, answer))
            }
            Err(Ended::Reset(error)) => {
                let conn = &self.exchange.conn;
                let broken = conn.state.watch.refused_body().filter(|_| conn.serial);
                let Some(refusal) = broken else {
                    return Err(error);
                };
                let mut answer = self
                    .exchange
                    .own_answer(&self.entry, &Error::refused(refusal));
                close(&mut answer);
                if let Some(trail) = &self.exchange.trail {
                    trail.last();
                }
                Ok(answer)
            }
        }
    }

    /// Takes the service's turn; most have it at once.
    async fn admit(&mut self) -> Result<(), Error> {
        let Some(admission) = &self.exchange.listener.admission else {
            return Ok(());
        };
        let (deadline, now) = (self.exchange.context.deadline, self.exchange.started);
        let turn = match admission.at_once(deadline, now) {
            Some(turn) => turn,
            None => {
                let metrics = &self.exchange.listener.metrics;
                let turn = Box::pin(admission.turn(deadline, metrics)).await?;
                self.look_again()?;
                turn
            }
        };
        if let Some(flight) = &mut self.flight {
            flight.turn = turn;
        }
        Ok(())
    }

    /// After a wait, which a new configuration may have ended: goes on by the one that is running now.
    fn look_again(&mut self) -> Result<(), Error> {
        let exchange = &mut self.exchange;
        exchange.conn.worker.refresh();
        let running = exchange.conn.worker.running.borrow().clone();
        if running.generation == exchange.running.generation {
            return Ok(());
        }
        exchange.running = running;
        exchange.listener = exchange.conn.listener.running.borrow().clone();
        self.entry = exchange.identify(&mut self.parts)?;
        Ok(())
    }

    async fn serve(&mut self) -> Result<Response<ResponseBody>, Ended> {
        let entry = self.entry.clone();
        let route = entry.route.as_deref();
        let index = self.exchange.rule(route, &self.parts)?;
        if let Some(trail) = &self.exchange.trail {
            trail.met(index);
        }
        let rule = route.zip(index).map(|(route, index)| &route.rules[index]);
        if !entry.faults.is_empty() {
            Box::pin(fault::inject(&self.exchange, &entry, &self.parts)).await?;
        }
        if let Some(answer) = rule.and_then(own::fixed) {
            let reason = own::which(route, index);
            return Ok(self.exchange.by_rule(&entry, RULE, reason, answer));
        }
        let slots = index.map(|index| &entry.rules[index]);
        let slot = match (rule, slots) {
            (Some(rule), Some(slots)) => &slots.to[self.exchange.arm(&entry, rule, &self.parts)],
            _ => &entry.own,
        };
        let (plan, mut body) = self.plan(&entry, rule)?;
        if let Some((mirror, slot)) = rule
            .and_then(|rule| rule.mirror.as_ref())
            .zip(slots.and_then(|slots| slots.mirror.as_ref()))
        {
            let copied = mirror::copy(&self.exchange, &entry, mirror, slot, &self.parts, body);
            body = Box::pin(copied).await;
        }
        let mut attempts = Attempts::new(&entry, slot, &mut self.parts, body, plan);
        let answer = attempts.until_answered(&mut self.exchange).await?;
        let plan = attempts.into_plan(&self.exchange.conn.worker);
        let flight = self.flight.take();
        Ok(finish(
            &mut self.exchange,
            &entry,
            plan,
            rule,
            answer,
            flight,
        ))
    }

    /// Settles what does not change between attempts, and makes the head ready for the next hop.
    fn plan(
        &mut self,
        entry: &Rc<PathEntry>,
        rule: Option<&Rule>,
    ) -> Result<(Plan, BodySource), Error> {
        let (exchange, parts) = (&self.exchange, &mut self.parts);
        let key = exchange.ring_key(entry, parts);
        let on_upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        let has_body = self.body.as_ref().is_some_and(|body| !body.is_end_stream());
        let gate = (has_body && expects_continue(parts)).then(Gate::new);
        let mut plan = Plan::new(exchange, entry, rule, parts);
        let upgrade = outgoing_head(parts, &exchange.conn.hop);
        if let Some(rule) = rule {
            rewrite_request(rule, parts)?;
        }
        let body = match self.body.take() {
            Some(body) => {
                let count = exchange.trail.as_ref().map(|trail| trail.received());
                // A gRPC call may be quiet for as long as it likes.
                let patience = (exchange.http2 && !exchange.grpc)
                    .then_some(exchange.listener.spec.limits.body_timeout);
                let kept = entry.policy.pool.replay_bytes;
                BodySource::new(body, kept, gate.clone(), count, patience)
            }
            None => BodySource::Empty,
        };
        plan.watch_interim(&exchange.conn, gate, parts);
        plan.upgrade = upgrade.zip(on_upgrade);
        plan.key = key;
        Ok((plan, body))
    }
}

/// An answer to what no name could be found for.
fn refuse(
    listener: &RunningListener,
    error: &Error,
    grpc: bool,
    trail: Option<&Trail>,
) -> Response<ResponseBody> {
    listener.metrics.refused.inc(error.class());
    let response = respond(error, grpc);
    note_own(trail, error, &response, grpc);
    response
}

/// Tells of an answer of the proxy's own.
fn note_own(trail: Option<&Trail>, error: &Error, response: &Response<ResponseBody>, grpc: bool) {
    let Some(trail) = trail else {
        return;
    };
    trail.own(Own {
        word: error.kind.label(),
        class: error.finer(),
        reason: error.reason.clone(),
        status: response.status().as_u16(),
        grpc: grpc.then(|| error.kind.grpc()),
        bytes: Body::size_hint(response.body()).lower(),
    });
}

/// Counts a request in flight on its listener and, once it has one, its name; its drop ends the
/// connection's busy phase. A request whose caller went away is dropped wherever it stands.
pub(super) struct InFlight {
    conn: Rc<Conn>,
    entry: Option<Rc<PathEntry>>,
    /// The service's turn, in front of one.
    turn: Turn,
}

impl InFlight {
    fn enter(&mut self, entry: &Rc<PathEntry>) {
        entry.service.metrics.in_flight.inc();
        self.entry = Some(entry.clone());
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(entry) = &self.entry {
            entry.service.metrics.in_flight.dec();
        }
        self.conn.listener.metrics.requests_in_flight.dec();
        if self.conn.serial {
            self.conn.state.enter(Phase::Idle);
        } else {
            let tick = &self.conn.worker.tick;
            self.conn.state.streams.closed(tick.load(Relaxed));
        }
    }
}

impl Exchange {
    /// Checks the head, takes its context out of it, and finds its logical name.
    fn name(&mut self, parts: &mut Parts) -> Result<Rc<PathEntry>, Error> {
        own::check(&self.conn, parts, self.listener.spec.limits.header_count)?;
        own::misdirected(&self.conn, parts)?;
        self.context = hop::take(&self.conn, &self.listener, parts, self.started)?;
        self.identify(parts)
    }

    /// The index of the rule that a request meets; `None` without a `Route`.
    fn rule(&self, route: Option<&Route>, parts: &Parts) -> Result<Option<usize>, Error> {
        let Some(route) = route else {
            return Ok(None);
        };
        let caller = Caller {
            namespace: &self.listener.spec.namespace,
            service: None,
        };
        let index = route
            .rules
            .iter()
            .position(|rule| route::matches(&rule.matches, &HeadView(parts), &caller));
        index.map(Some).ok_or_else(|| {
            let reason = format!(
                "no rule of Route {}/{} matches this request",
                route.namespace, route.name
            );
            Error::new(Kind::NoSuchName, reason)
        })
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
        note_own(self.trail.as_deref(), error, &response, self.grpc);
        tracing::debug!(name = %entry.path, %error, "answered by the proxy");
        response
    }

    /// An answer that configuration asked for: a `Fault`'s, or one that a rule gives itself.
    fn by_rule(
        &self,
        entry: &PathEntry,
        word: &'static str,
        reason: String,
        mut answer: Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        let (metrics, status) = (&entry.service.metrics, answer.status().as_u16());
        metrics.answers.inc(word);
        metrics.answered(status, clock::now().saturating_sub(self.started));
        let grpc = grpc_status(answer.headers());
        if let Some(code) = grpc {
            metrics.grpc_status(code);
        }
        says(answer.headers_mut(), word, &reason);
        if let Some(trail) = &self.trail {
            trail.own(Own {
                word,
                class: None,
                reason: reason.into(),
                status,
                grpc,
                bytes: 0,
            });
        }
        answer
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
        .zip(HeaderValue::from_str(value).ok());
    if let Some((name, value)) = pair {
        headers.insert(name, value);
    }
}

/// Why a request ended without an upstream's answer.
pub(super) enum Ended {
    /// The proxy answers.
    Answer(Error),
    /// A `Fault` answers, and which one.
    Injected(Response<ResponseBody>, String),
    /// The connection or stream is reset.
    Reset(BoxError),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}
