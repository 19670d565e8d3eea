//! The attempts of a request.

use super::Conn;
use super::entry::PathEntry;
use super::exchange::{Ended, Exchange};
use super::finish::{outcome_of, verdict_of};
use super::hop;
use super::names::{Slot, bound};
use super::plan::Plan;
use crate::access::Trail;
use crate::client::{Attempted, Client, Failure, Outgoing, Unavailable, WorkerEndpoint, attempt};
use crate::clock;
use crate::error::Error;
use crate::http::{BodySource, Spare};
use crate::worker::Worker;
use heddle_core::Nanos;
use heddle_core::answer::Kind;
use heddle_core::backoff::Backoff;
use heddle_core::retry::{self, Outcome, Stop};
use http::header::{HeaderMap, HeaderName, RETRY_AFTER};
use http::request::Parts;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::time::{sleep, timeout, timeout_at};

const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// A request's attempts, one after the other.
pub(super) struct Attempts<'a> {
    entry: &'a Rc<PathEntry>,
    slot: &'a Slot,
    made: u32,
    last: Option<SocketAddr>,
    /// Endpoints of the attempts that failed.
    tried: Vec<SocketAddr>,
    backoff: Backoff,
    /// Tokens that the hops below say are left.
    below: Option<u32>,
    parts: &'a mut Parts,
    /// A copy of what went out, where it may have to go out again.
    spare: Option<Spare>,
    body: BodySource,
    plan: Plan,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(
        entry: &'a Rc<PathEntry>,
        slot: &'a Slot,
        parts: &'a mut Parts,
        body: BodySource,
        plan: Plan,
    ) -> Self {
        Self {
            entry,
            slot,
            made: 0,
            last: None,
            tried: Vec::new(),
            backoff: Backoff::decorrelated(entry.retries.backoff.base, entry.retries.backoff.max),
            below: None,
            parts,
            spare: None,
            body,
            plan,
        }
    }

    /// What was settled before the first attempt; the attempts are over.
    pub(super) fn into_plan(self, worker: &Worker) -> Plan {
        if let Some(spare) = self.spare {
            worker.give_back(spare);
        }
        self.plan
    }

    /// Sends the request until an answer stands.
    pub(super) async fn until_answered(
        &mut self,
        exchange: &mut Exchange,
    ) -> Result<(Attempted, Outcome), Ended> {
        if let Some(budget) = &self.entry.service.budget {
            budget.deposit(exchange.started);
        }
        loop {
            let wait = match self.next(exchange).await? {
                Ok(mut answer) => {
                    self.below =
                        hop::told(answer.response.headers_mut(), &exchange.context).or(self.below);
                    let outcome = outcome_of(&answer);
                    match self.again(exchange, outcome, Some(answer.response.headers())) {
                        None => return Ok((answer, outcome)),
                        Some(wait) => {
                            answer.charge.report(verdict_of(outcome));
                            wait
                        }
                    }
                }
                Err(failure) if failure.caller_gone => {
                    if self.body.has_stalled() {
                        exchange.listener.metrics.stalled.inc("request");
                    }
                    if let Some(refusal) = self.body.refusal() {
                        exchange.listener.metrics.refused.inc(refusal.reason);
                        return Err(Error::refused(refusal).into());
                    }
                    return Err(Ended::Reset(failure.reason.into()));
                }
                Err(failure) => match self
                    .again(exchange, failure.outcome, None)
                    .filter(|_| !failure.full)
                {
                    Some(wait) => wait,
                    None => return Err(self.error(exchange, &failure).into()),
                },
            };
            if !wait.is_zero() {
                sleep(wait).await;
            }
        }
    }

    /// Makes one attempt, or two if the first is slow and the rule hedges.
    async fn next(&mut self, exchange: &Exchange) -> Result<Result<Attempted, Failure>, Error> {
        let mut now = if self.made == 0 {
            exchange.started
        } else {
            clock::now()
        };
        let (client, endpoint) = match self.pick_at_once(exchange, now) {
            Some(picked) => picked,
            None => {
                let picked = Box::pin(self.pick(exchange)).await?;
                now = clock::now();
                picked
            }
        };
        self.made += 1;
        self.last = Some(endpoint.shared.address);
        if self.plan.hedge_after.is_some() && self.made == 1 && self.body.is_empty() {
            return Ok(Box::pin(self.hedged(exchange, client, endpoint)).await);
        }
        if self.made > 1 {
            self.restore(exchange);
        }
        let http2 = self.prepare(exchange, &client, &endpoint, now);
        self.keep(exchange, http2);
        let limit = self.plan.limit(exchange, now);
        let outgoing = self.outgoing(http2, now);
        let done = attempt(&client, endpoint, outgoing, limit, caller(exchange)).await;
        if let Some(trail) = &exchange.trail {
            note(trail, self.made, &done);
        }
        Ok(done)
    }

    /// A first attempt, and a second one beside it when the first is slower than most; the first answer wins.
    async fn hedged(
        &mut self,
        exchange: &Exchange,
        client: Rc<Client>,
        endpoint: Rc<WorkerEndpoint>,
    ) -> Result<Attempted, Failure> {
        let after = self.plan.hedge_after.unwrap_or_default();
        let now = clock::now();
        let http2 = self.prepare(exchange, &client, &endpoint, now);
        let mut head = self.parts.clone();
        let limit = self.plan.limit(exchange, now);
        let outgoing = Outgoing {
            head: &mut head,
            ..self.outgoing(http2, now)
        };
        let (trail, number) = (exchange.trail.as_deref(), self.made);
        let mut first = pin!(async {
            let done = attempt(&client, endpoint, outgoing, limit, caller(exchange)).await;
            trail.inspect(|trail| note(trail, number, &done));
            done
        });
        if let Ok(done) = timeout(after, first.as_mut()).await {
            return done;
        }
        let spent = exchange.context.tokens() == Some(0);
        let budget = self.entry.service.budget.as_ref();
        let now = clock::now();
        self.tried.extend(self.last);
        let Some((other, endpoint)) = (!spent).then(|| self.pick_at_once(exchange, now)).flatten()
        else {
            return first.await;
        };
        if !budget.is_some_and(|budget| budget.try_withdraw(now)) {
            self.entry.service.metrics.retry_budget_exhausted.inc();
            return first.await;
        }
        exchange.context.spend();
        self.entry.service.metrics.hedges_sent.inc();
        self.made += 1;
        let http2 = self.prepare(exchange, &other, &endpoint, now);
        let mut head = self.parts.clone();
        let limit = self.plan.limit(exchange, now);
        let outgoing = Outgoing {
            head: &mut head,
            ..self.outgoing(http2, now)
        };
        let mut second = pin!(async {
            let done = attempt(&other, endpoint, outgoing, limit, caller(exchange)).await;
            trail.inspect(|trail| note(trail, number + 1, &done));
            done
        });
        tokio::select! {
            done = first.as_mut() => match done {
                Ok(answer) => Ok(answer),
                Err(_) => second.await,
            },
            done = second.as_mut() => match done {
                Ok(answer) => {
                    self.entry.service.metrics.hedges_won.inc();
                    Ok(answer)
                }
                Err(_) => first.await,
            },
        }
    }

    /// The way of most requests: the name is bound, an endpoint is open.
    fn pick_at_once(
        &self,
        exchange: &Exchange,
        now: Nanos,
    ) -> Option<(Rc<Client>, Rc<WorkerEndpoint>)> {
        let worker = &exchange.conn.worker;
        let tree = self.slot.current(worker.shared.discovery.generation())?;
        worker.shared.metrics.caches().tree.hits.inc();
        let client = tree
            .choose(&mut worker.rng.borrow_mut(), &self.slot.path)
            .ok()?
            .clone();
        let endpoint = client.pick(now, self.plan.key, &self.tried).ok()?;
        Some((client, endpoint))
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
                note_timer(exchange, if by_caller { "deadline" } else { "total" });
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
                .choose(&mut worker.rng.borrow_mut(), &self.slot.path)?
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

    /// Puts what this attempt tells the hops below into the head; whether it goes over HTTP/2.
    fn prepare(
        &mut self,
        exchange: &Exchange,
        client: &Client,
        endpoint: &WorkerEndpoint,
        now: Nanos,
    ) -> bool {
        let (deadline, _) = self.plan.deadline(exchange);
        let left = self.left(exchange);
        hop::give(
            &mut self.parts.headers,
            &exchange.context.dtab,
            deadline,
            left,
            exchange.grpc,
            now,
        );
        if let Some(trail) = &exchange.trail {
            let address = endpoint.shared.address;
            trail.attempt(&client.shared.id, address, now, &mut self.parts.headers);
        }
        client.speaks_http2(exchange.http2) && self.plan.upgrade.is_none()
    }

    /// Copies the head, where a further attempt may need what this one sends: a request that may be
    /// done twice, or one that an HTTP/2 endpoint may refuse unseen. What does not go out stays in place.
    fn keep(&mut self, exchange: &Exchange, http2: bool) {
        let repeatable =
            http2 || self.plan.idempotent || retry::is_idempotent(self.plan.method.as_str());
        if repeatable && self.made <= self.entry.retries.max {
            let mut spare = exchange.conn.worker.spare();
            spare.copy(self.parts);
            self.spare = Some(spare);
        }
    }

    /// Puts back a head that went out. One that did not still has the fields of this hop.
    fn restore(&mut self, exchange: &Exchange) {
        let Some(spare) = self.spare.take() else {
            return;
        };
        if self.parts.headers.is_empty() {
            spare.put_back(self.parts);
            self.plan.watch_interim(&exchange.conn, None, self.parts);
        }
        exchange.conn.worker.give_back(spare);
    }

    fn outgoing(&mut self, http2: bool, now: Nanos) -> Outgoing<'_> {
        Outgoing {
            body: self.body.attempt(),
            upgrade: self.plan.upgrade.as_ref().map(|(token, _)| token.clone()),
            head: self.parts,
            http2,
            interim: self.plan.interim,
            now,
        }
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
                self.tried.extend(self.last);
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
        if failure.full || failure.lack {
            return Error::new(Kind::Overloaded, reason);
        }
        let kind = match failure.outcome {
            Outcome::ConnectFailed => Kind::Connect,
            Outcome::ConnectTimeout => {
                note_timer(exchange, "connect");
                Kind::Timeout
            }
            Outcome::AttemptTimeout => {
                let (deadline, by_caller) = self.plan.deadline(exchange);
                let over = deadline.is_some_and(|deadline| clock::now() >= deadline);
                note_timer(
                    exchange,
                    match (over, by_caller) {
                        (true, true) => "deadline",
                        (true, false) => "total",
                        (false, _) => "attempt",
                    },
                );
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

/// The connection that an attempt is made for.
fn caller(exchange: &Exchange) -> Option<Rc<Conn>> {
    Some(exchange.conn.clone())
}

/// Tells how the attempt of this number, counted from 1, ended.
fn note(trail: &Trail, number: u32, done: &Result<Attempted, Failure>) {
    let index = number.saturating_sub(1) as usize;
    match done {
        Ok(answer) => {
            let status = answer.response.status().as_u16();
            trail.attempted(index, "status", status, answer.charge.connecting());
        }
        Err(failure) => {
            let word = match failure.outcome {
                _ if failure.full || failure.lack => "full",
                _ if failure.caller_gone => "caller-gone",
                Outcome::ConnectTimeout => "connect-timeout",
                outcome => outcome_word(outcome),
            };
            trail.attempted(index, word, 0, 0);
        }
    }
}

/// Tells which timer ended the request.
fn note_timer(exchange: &Exchange, which: &'static str) {
    if let Some(trail) = &exchange.trail {
        trail.timer(which);
    }
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
