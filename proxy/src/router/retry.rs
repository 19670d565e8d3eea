//! The attempts of a request.

use super::entry::PathEntry;
use super::exchange::{Ended, Exchange, InFlight, put};
use super::hop;
use super::names::{Slot, bound};
use crate::client::{
    Attempted, Client, Failure, Lease, Limit, Outgoing, Unavailable, Verdict, WorkerEndpoint,
    attempt,
};
use crate::clock;
use crate::error::Error;
use crate::http::{BodySource, Finished, Gate, ResponseBody, grpc_status, response_head, splice};
use crate::router::Conn;
use heddle_core::Nanos;
use heddle_core::answer::Kind;
use heddle_core::backoff::Backoff;
use heddle_core::classify::{self, Class};
use heddle_core::config::Rule;
use heddle_core::retry::{self, Outcome, Stop};
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::time::{sleep, timeout, timeout_at};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// What is settled about a request before its first attempt.
pub(super) struct Plan {
    method: http::Method,
    idempotent: bool,
    attempt_timeout: Option<Duration>,
    /// The rule's total time-out as a point in time.
    total: Option<Nanos>,
    patience: Duration,
    hedge_after: Option<Duration>,
    pub(super) key: Option<u64>,
    pub(super) upgrade: Option<(HeaderValue, OnUpgrade)>,
}

impl Plan {
    pub(super) fn new(
        exchange: &Exchange,
        entry: &PathEntry,
        rule: Option<&Rule>,
        parts: &Parts,
    ) -> Self {
        let route = entry.route.as_deref();
        let timeout = route.and_then(|route| route.timeout);
        let idempotent =
            rule.is_some_and(|rule| rule.idempotent) || parts.headers.contains_key(IDEMPOTENCY_KEY);
        let may_hedge = retry::is_idempotent(parts.method.as_str()) || idempotent;
        let hedge_after = route
            .and_then(|route| route.hedge)
            .filter(|_| may_hedge)
            .and_then(|percentile| {
                entry
                    .service
                    .latency
                    .percentile(percentile, exchange.started)
            });
        Self {
            method: parts.method.clone(),
            idempotent,
            attempt_timeout: route.and_then(|route| route.attempt_timeout),
            total: timeout.map(|timeout| exchange.started.saturating_add(clock::nanos(timeout))),
            patience: timeout.unwrap_or(Duration::from_secs(1)),
            hedge_after,
            key: None,
            upgrade: None,
        }
    }

    /// Lets interim responses through to an HTTP/1.1 caller, and opens the gate of a body that waits for one.
    pub(super) fn watch_interim(&self, conn: &Rc<Conn>, gate: Option<Rc<Gate>>, parts: &mut Parts) {
        if !conn.serial || parts.version != Version::HTTP_11 {
            return;
        }
        let signal = gate.map(|gate| gate.signal());
        let state = conn.state.clone();
        let mut request = hyper::Request::new(());
        hyper::ext::on_informational(&mut request, move |interim| {
            if interim.status() == StatusCode::CONTINUE {
                // hyper's server writes the 100 itself when the body is first asked for.
                if let Some(signal) = &signal {
                    signal.open();
                }
                return;
            }
            state.push_interim(interim_head(interim.status(), interim.headers()));
        });
        parts
            .extensions
            .extend(std::mem::take(request.extensions_mut()));
    }

    /// The end of it all, and whether the caller set it.
    fn deadline(&self, exchange: &Exchange) -> (Option<Nanos>, bool) {
        match (self.total, exchange.context.deadline) {
            (total, None) => (total, false),
            (None, caller) => (caller, true),
            (Some(total), Some(caller)) => (Some(total.min(caller)), caller < total),
        }
    }

    fn limit(&self, exchange: &Exchange, now: Nanos) -> Limit {
        let left = |deadline: Nanos| Duration::from_nanos(deadline.saturating_sub(now));
        Limit {
            attempt: self.attempt_timeout,
            total: self.total.map(left),
            caller: exchange.context.deadline.map(left),
        }
    }
}

fn interim_head(status: StatusCode, headers: &HeaderMap) -> bytes::Bytes {
    let mut head = format!(
        "HTTP/1.1 {} {}\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Interim")
    )
    .into_bytes();
    for (name, value) in headers {
        if heddle_core::headers::is_hop_by_hop(name.as_str()) {
            continue;
        }
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// Sends a request until an answer stands, and returns it.
#[expect(
    clippy::too_many_arguments,
    reason = "the request in its parts, each of which has another owner"
)]
pub(super) async fn send(
    exchange: &mut Exchange,
    entry: &Rc<PathEntry>,
    slot: &Slot,
    rule: Option<&Rule>,
    parts: Parts,
    body: BodySource,
    plan: Plan,
    flight: InFlight,
) -> Result<Response<ResponseBody>, Ended> {
    if let Some(budget) = &entry.service.budget {
        budget.deposit(exchange.started);
    }
    let mut attempts = Attempts {
        entry,
        slot,
        made: 0,
        tried: Vec::new(),
        backoff: Backoff::decorrelated(entry.retries.backoff.base, entry.retries.backoff.max),
        below: None,
        parts,
        body,
        plan,
    };
    loop {
        let verdict = match attempts.next(exchange).await? {
            Ok(mut answer) => {
                attempts.below =
                    hop::told(answer.response.headers_mut(), &exchange.context).or(attempts.below);
                let outcome = outcome_of(&answer);
                let Some(after) =
                    attempts.again(exchange, outcome, Some(answer.response.headers()))
                else {
                    return Ok(finish(exchange, attempts, rule, answer, flight));
                };
                answer.charge.report(verdict_of(outcome));
                after
            }
            Err(failure) if failure.caller_gone => return Err(Ended::Reset(failure.reason.into())),
            Err(failure) => match attempts
                .again(exchange, failure.outcome, None)
                .filter(|_| !failure.full)
            {
                Some(after) => after,
                None => return Err(attempts.error(exchange, &failure).into()),
            },
        };
        if !verdict.is_zero() {
            sleep(verdict).await;
        }
    }
}

struct Attempts<'a> {
    entry: &'a Rc<PathEntry>,
    slot: &'a Slot,
    made: u32,
    tried: Vec<SocketAddr>,
    backoff: Backoff,
    /// Tokens that the hops below say are left.
    below: Option<u32>,
    parts: Parts,
    body: BodySource,
    plan: Plan,
}

impl Attempts<'_> {
    /// Makes one attempt, or two if the first is slow and the rule hedges.
    async fn next(&mut self, exchange: &Exchange) -> Result<Result<Attempted, Failure>, Error> {
        let (client, endpoint) = self.pick(exchange).await?;
        self.made += 1;
        self.tried.push(endpoint.shared.address);
        let first = self.start(exchange, &client, endpoint);
        let hedge = self
            .plan
            .hedge_after
            .filter(|_| self.made == 1 && self.body.is_empty());
        let Some(after) = hedge else {
            return Ok(first.await);
        };
        let mut first = std::pin::pin!(first);
        if let Ok(done) = timeout(after, first.as_mut()).await {
            return Ok(done);
        }
        let budget = self.entry.service.budget.as_ref();
        if exchange.context.tokens() == Some(0)
            || !budget.is_some_and(|budget| budget.try_withdraw(clock::now()))
        {
            return Ok(first.await);
        }
        let Ok((client, endpoint)) = self.pick(exchange).await else {
            return Ok(first.await);
        };
        exchange.context.spend();
        self.entry.service.metrics.hedges_sent.inc();
        self.made += 1;
        let second = self.start(exchange, &client, endpoint);
        let mut second = std::pin::pin!(second);
        tokio::select! {
            done = first.as_mut() => match done {
                Ok(answer) => Ok(Ok(answer)),
                Err(_) => Ok(second.await),
            },
            done = second.as_mut() => match done {
                Ok(answer) => {
                    self.entry.service.metrics.hedges_won.inc();
                    Ok(Ok(answer))
                }
                Err(_) => Ok(first.await),
            },
        }
    }

    /// A client and an endpoint, within the time that is left.
    async fn pick(&self, exchange: &Exchange) -> Result<(Rc<Client>, Rc<WorkerEndpoint>), Error> {
        let (deadline, by_caller) = self.plan.deadline(exchange);
        let Some(deadline) = deadline else {
            return self.pick_now(exchange).await;
        };
        timeout_at(clock::instant(deadline), self.pick_now(exchange))
            .await
            .unwrap_or_else(|_| {
                Err(timed_out(
                    by_caller,
                    format!("{} was not bound in time", self.slot.path),
                ))
            })
    }

    async fn pick_now(
        &self,
        exchange: &Exchange,
    ) -> Result<(Rc<Client>, Rc<WorkerEndpoint>), Error> {
        let worker = &exchange.conn.worker;
        let limit = exchange.running.config.limits.bind_timeout;
        let started = clock::now();
        loop {
            let generation = worker.shared.discovery.generation();
            let tree = bound(worker, &exchange.listener, self.entry, self.slot).await?;
            let client = tree
                .choose(&mut *worker.rng.borrow_mut(), &self.slot.path)?
                .clone();
            match client.pick(clock::now(), self.plan.key, &self.tried) {
                Ok(endpoint) => return Ok((client, endpoint)),
                Err(Unavailable::Pending) if clock::now() - started < clock::nanos(limit) => {
                    timeout(PENDING_LOOK, worker.shared.discovery.changed(generation))
                        .await
                        .ok();
                }
                Err(Unavailable::Pending) => {
                    let reason = Unavailable::Pending.reason(client.set.id());
                    return Err(Error::new(Kind::Timeout, reason));
                }
                Err(unavailable) => {
                    return Err(Error::new(
                        Kind::NoEndpoints,
                        unavailable.reason(client.set.id()),
                    ));
                }
            }
        }
    }

    fn start(
        &mut self,
        exchange: &Exchange,
        client: &Rc<Client>,
        endpoint: Rc<WorkerEndpoint>,
    ) -> impl Future<Output = Result<Attempted, Failure>> + use<> {
        let now = clock::now();
        let http2 = client.speaks_http2(exchange.http2) && self.plan.upgrade.is_none();
        let mut head = if self.may_need_again() {
            self.parts.clone()
        } else {
            std::mem::replace(&mut self.parts, empty())
        };
        let left = self.left(exchange);
        let (deadline, _) = self.plan.deadline(exchange);
        hop::give(
            &mut head.headers,
            &exchange.context.dtab,
            deadline,
            left,
            exchange.grpc,
            now,
        );
        let outgoing = Outgoing {
            head,
            body: self.body.attempt(),
            upgrade: self.plan.upgrade.as_ref().map(|(token, _)| token.clone()),
        };
        let (client, limit) = (client.clone(), self.plan.limit(exchange, now));
        async move { attempt(&client, endpoint, outgoing, http2, limit).await }
    }

    /// Whether the head may have to be sent once more, so that this attempt gets a copy.
    fn may_need_again(&self) -> bool {
        self.made <= self.entry.retries.max || self.plan.hedge_after.is_some()
    }

    /// Retry tokens left for the hops below.
    fn left(&self, exchange: &Exchange) -> u32 {
        let own = self
            .entry
            .retries
            .max
            .saturating_sub(self.made.saturating_sub(1));
        [exchange.context.tokens(), self.below]
            .into_iter()
            .flatten()
            .fold(own, u32::min)
    }

    /// Whether there is another attempt, and after which wait.
    fn again(
        &mut self,
        exchange: &Exchange,
        outcome: Outcome,
        headers: Option<&HeaderMap>,
    ) -> Option<Duration> {
        if !retry::is_listed(&self.entry.retries, outcome) {
            return None;
        }
        let now = clock::now();
        let (deadline, _) = self.plan.deadline(exchange);
        let tokens = [exchange.context.tokens(), self.below]
            .into_iter()
            .flatten()
            .min();
        let attempt = retry::Attempt {
            method: self.plan.method.as_str(),
            idempotent: self.plan.idempotent,
            outcome,
            retry_after: headers.and_then(retry_after),
            pushback_ms: headers.and_then(pushback),
            replayable: self.body.is_replayable(),
            attempts: self.made,
            tokens,
            left: deadline.map(|deadline| Duration::from_nanos(deadline.saturating_sub(now))),
        };
        let service = &self.entry.service;
        let rng = &mut *exchange.conn.worker.rng.borrow_mut();
        let budget = || {
            service
                .budget
                .as_ref()
                .is_some_and(|budget| budget.try_withdraw(now))
        };
        match retry::decide(
            &self.entry.retries,
            &attempt,
            &mut self.backoff,
            rng,
            budget,
        ) {
            retry::Verdict::Retry { after } => {
                exchange.context.spend();
                self.below = self.below.map(|tokens| tokens.saturating_sub(1));
                service.metrics.retries.inc(outcome_word(outcome));
                Some(after)
            }
            retry::Verdict::Stop(Stop::Budget) => {
                service.metrics.retry_budget_exhausted.inc();
                None
            }
            retry::Verdict::Stop(_) => None,
        }
    }

    /// The answer to the caller when no attempt got one.
    fn error(&self, exchange: &Exchange, failure: &Failure) -> Error {
        let reason = match self.made {
            0 | 1 => failure.reason.clone(),
            made => format!("{} (after {made} attempts)", failure.reason),
        };
        if failure.full {
            return Error::new(Kind::Overloaded, reason);
        }
        let kind = match failure.outcome {
            Outcome::ConnectFailed => Kind::Connect,
            Outcome::ConnectTimeout => Kind::Timeout,
            Outcome::AttemptTimeout => {
                let (deadline, by_caller) = self.plan.deadline(exchange);
                let over = deadline.is_some_and(|deadline| clock::now() >= deadline);
                return timed_out(over && by_caller, reason);
            }
            _ if failure.protocol => Kind::Protocol,
            _ => Kind::UpstreamReset,
        };
        Error::new(kind, reason)
    }
}

/// How often a set whose addresses are not known yet is looked at again, should no change be announced.
const PENDING_LOOK: Duration = Duration::from_millis(100);

fn empty() -> Parts {
    hyper::Request::new(()).into_parts().0
}

fn timed_out(by_caller: bool, reason: String) -> Error {
    if by_caller {
        Error::new(
            Kind::Deadline,
            format!("the caller's deadline passed: {reason}"),
        )
    } else {
        Error::new(Kind::Timeout, reason)
    }
}

fn outcome_of(answer: &Attempted) -> Outcome {
    match grpc_status(answer.response.headers()) {
        Some(code) if answer.response.status() == StatusCode::OK => Outcome::Grpc(code),
        _ => Outcome::Status(answer.response.status().as_u16()),
    }
}

/// Whether an answer counts as a failure of its endpoint.
fn verdict_of(outcome: Outcome) -> Verdict {
    let failed = match outcome {
        Outcome::Status(status) => classify::http_class(status) == Class::Failure,
        Outcome::Grpc(code) => classify::grpc_class(code) == Class::Failure,
        _ => true,
    };
    if failed {
        Verdict::Failure
    } else {
        Verdict::Success
    }
}

/// The metric label of a reason to retry.
fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::ConnectFailed | Outcome::ConnectTimeout => "connect",
        Outcome::Unused => "unused-connection",
        Outcome::RefusedStream => "refused-stream",
        Outcome::Reset { .. } => "reset",
        Outcome::AttemptTimeout => "attempt-timeout",
        Outcome::Status(_) => "status",
        Outcome::Grpc(_) => "grpc",
    }
}

/// `retry-after` as a time from now: seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// `grpc-retry-pushback-ms` (gRFC A6); what is not a number means: do not retry.
fn pushback(headers: &HeaderMap) -> Option<i64> {
    let value = headers.get(GRPC_PUSHBACK)?;
    Some(
        value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(-1),
    )
}

/// Sends an upstream's answer back, and settles the accounts when its body is over.
fn finish(
    exchange: &mut Exchange,
    attempts: Attempts<'_>,
    rule: Option<&Rule>,
    answer: Attempted,
    flight: InFlight,
) -> Response<ResponseBody> {
    let outcome = outcome_of(&answer);
    let Attempted {
        mut response,
        lease,
        charge,
    } = answer;
    let service = attempts.entry.service.clone();
    let to = if exchange.http2 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        if let Some((token, downstream)) = attempts.plan.upgrade {
            let upstream = hyper::upgrade::on(&mut response);
            let (mut head, _) = response.into_parts();
            response_head(&mut head.headers, head.version, to);
            head.headers.insert(
                http::header::CONNECTION,
                HeaderValue::from_static("upgrade"),
            );
            head.headers.entry(http::header::UPGRADE).or_insert(token);
            let started = exchange.started;
            tokio::task::spawn_local(async move {
                let verdict = tunnel(upstream, downstream).await;
                charge.report(verdict);
                service.metrics.in_flight.dec();
                service
                    .metrics
                    .answered(101, clock::now().saturating_sub(started));
                drop((flight, lease));
            });
            return Response::from_parts(head, ResponseBody::own(""));
        }
    }
    let (mut head, body) = response.into_parts();
    response_head(&mut head.headers, head.version, to);
    // Our own version, not the upstream's (RFC 9110 section 2.5).
    head.version = to;
    if let Some(rule) = rule {
        for name in &rule.set.remove_response_headers {
            head.headers.remove(name.as_str());
        }
        for (name, value) in &rule.set.response_headers {
            put(&mut head.headers, name, value);
        }
    }
    hop::tell(&mut head.headers, &exchange.context);
    let left = exchange.context.take_left();
    let (started, grpc, hedges) = (
        exchange.started,
        exchange.grpc,
        attempts.plan.hedge_after.is_some()
            || attempts
                .entry
                .route
                .as_ref()
                .is_some_and(|route| route.hedge.is_some()),
    );
    let (deadline, _) = attempts.plan.deadline(exchange);
    let patience = attempts.plan.patience;
    let on_finish = Box::new(move |how: Finished| {
        drop((left, flight));
        let now = clock::now();
        let metrics = charge.client().shared.metrics.clone();
        let outcome = match how {
            Finished::Complete(Some(code)) if grpc => Outcome::Grpc(code),
            _ => outcome,
        };
        if grpc {
            if let Outcome::Grpc(code) = outcome {
                service.metrics.grpc_status(code);
            }
        }
        if hedges {
            service.latency.record(
                now,
                Duration::from_nanos(now.saturating_sub(charge.started())),
            );
        }
        let verdict = match how {
            Finished::Complete(_) => verdict_of(outcome),
            Finished::Broken => Verdict::Failure,
            Finished::TimedOut => Verdict::Failure,
            Finished::Cancelled => Verdict::Cancelled,
        };
        match (how, verdict) {
            (Finished::Broken, _) => metrics.reset.inc(),
            (Finished::TimedOut, _) => metrics.timeout.inc(),
            (_, Verdict::Success) => metrics.success.inc(),
            (_, Verdict::Failure) => metrics.failure.inc(),
            _ => {}
        }
        if let (Finished::Complete(_), Lease::Http1(connection)) = (how, lease) {
            charge
                .endpoint()
                .pool
                .put_http1(connection, &charge.client().policy.pool);
        }
        charge.report(verdict);
        service.metrics.in_flight.dec();
        service
            .metrics
            .answered(status.as_u16(), now.saturating_sub(started));
    });
    let mut body = ResponseBody::upstream(body, on_finish);
    if let Some(deadline) = deadline {
        body = body.with_deadline(clock::instant(deadline), patience);
    }
    Response::from_parts(head, body)
}

/// Bytes both ways after an upgrade.
async fn tunnel(upstream: OnUpgrade, downstream: OnUpgrade) -> Verdict {
    let (Ok(upstream), Ok(downstream)) = (upstream.await, downstream.await) else {
        return Verdict::Failure;
    };
    match splice(&mut TokioIo::new(downstream), &mut TokioIo::new(upstream)).await {
        Ok(_) => Verdict::Success,
        // Which side broke cannot be told apart here, and a long-lived tunnel says little of latency.
        Err(_) => Verdict::Nothing,
    }
}
