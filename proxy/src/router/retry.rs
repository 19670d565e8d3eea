//! The attempts of a request.

use super::entry::PathEntry;
use super::exchange::{Ended, Exchange, InFlight};
use super::finish::{finish, outcome_of, verdict_of};
use super::hop;
use super::names::{Slot, bound};
use super::plan::Plan;
use crate::client::{
    Attempted, Client, Failure, Limit, Outgoing, Unavailable, WorkerEndpoint, attempt,
};
use crate::clock;
use crate::error::Error;
use crate::http::{BodySource, ResponseBody};
use crate::io::ConnState;
use heddle_core::answer::Kind;
use heddle_core::backoff::Backoff;
use heddle_core::config::Rule;
use heddle_core::retry::{self, Outcome, Stop};
use http::header::{HeaderMap, HeaderName, RETRY_AFTER};
use http::request::Parts;
use hyper::Response;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{sleep, timeout, timeout_at};

const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

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
                    return Ok(finish(exchange, entry, attempts.plan, rule, answer, flight));
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
        let (client, endpoint) = match self.pick_at_once(exchange) {
            Some(picked) => picked,
            None => Box::pin(self.pick(exchange)).await?,
        };
        self.made += 1;
        self.tried.push(endpoint.shared.address);
        if self.plan.hedge_after.is_some() && self.made == 1 && self.body.is_empty() {
            return Ok(Box::pin(self.hedged(exchange, client, endpoint)).await);
        }
        let (outgoing, http2, limit) = self.prepare(exchange, &client);
        Ok(attempt(&client, endpoint, outgoing, http2, limit, caller(exchange)).await)
    }

    /// A first attempt, and a second one beside it when the first is slower than most; the first answer wins.
    async fn hedged(
        &mut self,
        exchange: &Exchange,
        client: Rc<Client>,
        endpoint: Rc<WorkerEndpoint>,
    ) -> Result<Attempted, Failure> {
        let after = self.plan.hedge_after.unwrap_or_default();
        let (outgoing, http2, limit) = self.prepare(exchange, &client);
        let mut first = pin!(attempt(
            &client,
            endpoint,
            outgoing,
            http2,
            limit,
            caller(exchange)
        ));
        if let Ok(done) = timeout(after, first.as_mut()).await {
            return done;
        }
        let spent = exchange.context.tokens() == Some(0);
        let budget = self.entry.service.budget.as_ref();
        let Some((other, endpoint)) = (!spent).then(|| self.pick_at_once(exchange)).flatten()
        else {
            return first.await;
        };
        if !budget.is_some_and(|budget| budget.try_withdraw(clock::now())) {
            self.entry.service.metrics.retry_budget_exhausted.inc();
            return first.await;
        }
        exchange.context.spend();
        self.entry.service.metrics.hedges_sent.inc();
        self.made += 1;
        let (outgoing, http2, limit) = self.prepare(exchange, &other);
        let mut second = pin!(attempt(
            &other,
            endpoint,
            outgoing,
            http2,
            limit,
            caller(exchange)
        ));
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
    fn pick_at_once(&self, exchange: &Exchange) -> Option<(Rc<Client>, Rc<WorkerEndpoint>)> {
        let worker = &exchange.conn.worker;
        let tree = self.slot.current(worker.shared.discovery.generation())?;
        worker.shared.metrics.caches().tree.hits.inc();
        let client = tree
            .choose(&mut worker.rng.borrow_mut(), &self.slot.path)
            .ok()?
            .clone();
        let endpoint = client.pick(clock::now(), self.plan.key, &self.tried).ok()?;
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

    /// What an attempt sends, how, and for how long.
    fn prepare(&mut self, exchange: &Exchange, client: &Client) -> (Outgoing, bool, Limit) {
        let now = clock::now();
        let http2 = client.speaks_http2(exchange.http2) && self.plan.upgrade.is_none();
        let mut head = if self.may_need_again() {
            self.parts.clone()
        } else {
            std::mem::replace(&mut self.parts, empty())
        };
        let (deadline, _) = self.plan.deadline(exchange);
        let left = self.left(exchange);
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
        (outgoing, http2, self.plan.limit(exchange, now))
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

/// The connection that an attempt is made for.
fn caller(exchange: &Exchange) -> Option<Arc<ConnState>> {
    Some(exchange.conn.state.clone())
}

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
