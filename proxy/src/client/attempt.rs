//! One attempt: a request to one endpoint, up to the head of its response.
//!
//! Whoever starts an attempt owes the endpoint a report. [`Charge`] makes sure of it: dropped
//! without one, it reports that the caller went away.

use super::connection::{Answer, ConnectError, Http1, SendError};
use super::http2::Http2;
use super::{Client, WorkerEndpoint};
use crate::clock;
use crate::http::{Arrivals, Incoming, OutBody, Replay, ToCaller, for_http1, for_http2};
use crate::router::Conn;
use heddle_core::Nanos;
use heddle_core::guard::answer;
use heddle_core::patience::{Left, Patience};
use heddle_core::retry::Outcome;
use http::HeaderValue;
use http::request::Parts;
use hyper::Request;
use hyper::client::conn::TrySendError;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// A request that got an answer, whose body is still to come.
#[derive(Debug)]
pub(crate) struct Attempted {
    pub(crate) response: Answer,
    pub(crate) lease: Lease,
    pub(crate) charge: Charge,
}

/// A request that got none.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) outcome: Outcome,
    /// The set's caps refused it: nothing was tried.
    pub(crate) full: bool,
    /// This host lacked something for it; another endpoint may need none of that.
    pub(crate) lack: bool,
    /// The upstream did not speak HTTP.
    pub(crate) protocol: bool,
    /// The caller broke off while sending its body.
    pub(crate) caller_gone: bool,
    /// For a person.
    pub(crate) reason: String,
}

impl Failure {
    fn new(outcome: Outcome, reason: String) -> Self {
        Self {
            outcome,
            full: false,
            lack: false,
            protocol: false,
            caller_gone: false,
            reason,
        }
    }
}

/// What an endpoint is told to have done (design section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It did well.
    Success,
    /// It failed.
    Failure,
    /// It was not at fault, and nothing was learnt about it.
    Nothing,
    /// The caller went away while it waited for what was due.
    Cancelled,
    /// The caller went away from an answer that may be quiet for as long as it likes.
    Left,
}

/// A request's debt to its endpoint.
#[derive(Debug)]
pub(crate) struct Charge {
    client: Rc<Client>,
    endpoint: Rc<WorkerEndpoint>,
    started: Nanos,
    /// A caller that waited longer than this before it left was let down.
    patience: Patience,
    /// The caller's connection, which knows when the caller went away.
    caller: Option<Rc<Conn>>,
    /// How long it waited for a new connection; 0: it found one.
    connecting: Cell<Nanos>,
    /// When the head of the answer came; 0: it has not.
    answered: Nanos,
    /// What follows the head, a connection for both sides or a quiet stream, says nothing of latency.
    handed_over: Cell<bool>,
    /// Since when the caller has waited for the next piece of the answer; 0: for its head.
    waiting: Cell<Nanos>,
    reported: bool,
}

impl Charge {
    pub(crate) fn new(
        client: Rc<Client>,
        endpoint: Rc<WorkerEndpoint>,
        patience: Patience,
        caller: Option<Rc<Conn>>,
        now: Nanos,
    ) -> Self {
        endpoint.shared.ewma.start();
        endpoint.shared.requests.fetch_add(1, Relaxed);
        client.shared.metrics.in_flight.inc();
        client.shared.requests.fetch_add(1, Relaxed);
        Self {
            client,
            endpoint,
            started: now,
            patience,
            caller,
            connecting: Cell::new(0),
            answered: 0,
            handed_over: Cell::new(false),
            waiting: Cell::new(0),
            reported: false,
        }
    }

    /// The endpoint.
    pub(crate) fn endpoint(&self) -> &Rc<WorkerEndpoint> {
        &self.endpoint
    }

    /// The client.
    pub(crate) fn client(&self) -> &Rc<Client> {
        &self.client
    }

    /// When the attempt began.
    pub(crate) fn started(&self) -> Nanos {
        self.started
    }

    /// How long it waited for a new connection; 0: it found one.
    pub(crate) fn connecting(&self) -> Nanos {
        self.connecting.get()
    }

    /// It was answered with a connection for both sides: that is what it took, however long they keep it.
    pub(crate) fn hand_over(&self) {
        self.handed_over.set(true);
    }

    /// The caller has waited since then for a piece of the answer.
    pub(crate) fn waits_since(&self, since: Nanos) {
        self.waiting.set(since);
    }

    fn connected(&self, from: Nanos) {
        self.connecting
            .set(clock::now().saturating_sub(from).max(1));
    }

    /// Pays.
    pub(crate) fn report(self, verdict: Verdict) {
        self.report_at(verdict, clock::now());
    }

    /// Pays, at a time that the caller has just read.
    pub(crate) fn report_at(mut self, verdict: Verdict, now: Nanos) {
        self.settle(verdict, now);
    }

    fn settle(&mut self, verdict: Verdict, now: Nanos) {
        self.reported = true;
        let (shared, set) = (&self.endpoint.shared, &self.client.shared);
        let accrual = &self.client.policy.accrual;
        set.metrics.in_flight.dec();
        set.requests.fetch_sub(1, Relaxed);
        let mut ended = if self.handed_over.get() {
            self.answered
        } else {
            now
        };
        let failed = match verdict {
            Verdict::Success => false,
            Verdict::Failure => true,
            Verdict::Cancelled => {
                set.metrics.cancelled.inc();
                // The proxy may have waited for a caller that had finished its half; that was its own patience.
                let finished = self
                    .caller
                    .as_ref()
                    .and_then(|caller| caller.state.finished());
                ended = finished.map_or(now, |at| at.clamp(self.started, now));
                let waited = ended.saturating_sub(self.started.max(self.waiting.get()));
                match self.patience.judge(Duration::from_nanos(waited)) {
                    Left::LetDown => true,
                    Left::Early => false,
                    Left::Watch => {
                        shared.ewma.release();
                        shared.health.ignorable(now);
                        return;
                    }
                }
            }
            Verdict::Left => {
                set.metrics.cancelled.inc();
                ended = self.answered;
                false
            }
            Verdict::Nothing => {
                shared.ewma.release();
                shared.health.ignorable(now);
                return;
            }
        };
        if failed {
            // A quick failure must not look like a fast endpoint.
            shared.ewma.end_failed(self.started, ended);
            shared.failures.fetch_add(1, Relaxed);
            let ejected = shared.health.failure(
                now,
                accrual,
                &set.health,
                &mut *self.client.rng.borrow_mut(),
            );
            if let Some(ejected) = ejected {
                set.metrics.ejections.inc();
                tracing::info!(
                    endpoint = %shared.address, set = %set.id, cause = ejected.cause.label(),
                    seconds = ejected.until.saturating_sub(now) as f64 / 1e9, "endpoint ejected"
                );
            }
            return;
        }
        shared.ewma.end(self.started, ended);
        if matches!(verdict, Verdict::Cancelled | Verdict::Left) {
            shared.health.ignorable(now);
        } else if shared.health.success(now, accrual, &set.health) {
            shared.ewma.forget();
            set.metrics.revivals.inc();
            tracing::info!(endpoint = %shared.address, set = %set.id, "endpoint back in use");
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !self.reported {
            self.settle(Verdict::Cancelled, clock::now());
        }
    }
}

/// The connection that a response comes over.
#[derive(Debug)]
pub(crate) enum Lease {
    /// Goes back to the pool when the response has been read.
    Http1(Http1),
    /// One of its streams.
    Http2 {
        /// Held until the response is over.
        _stream: StreamGuard,
    },
}

/// Counts a stream of a connection.
#[derive(Debug)]
pub(crate) struct StreamGuard(Rc<Http2>);

impl StreamGuard {
    fn new(connection: Rc<Http2>) -> Self {
        connection.streams().set(connection.streams().get() + 1);
        Self(connection)
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let streams = self.0.streams();
        streams.set(streams.get().saturating_sub(1));
    }
}

/// What is sent.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    /// Left in place, ready to be sent once more, unless it went out.
    pub(crate) head: &'a mut Parts,
    pub(crate) body: OutBody,
    /// The protocol that the caller asks to switch to.
    pub(crate) upgrade: Option<HeaderValue>,
    pub(crate) http2: bool,
    /// The caller takes interim answers.
    pub(crate) interim: bool,
    /// When the attempt begins: now, as read a moment ago.
    pub(crate) now: Nanos,
}

/// Sends `request` to `endpoint`, within `limit` up to the response's head.
/// `caller` is the connection of whoever waits for the answer; copies have none.
pub(crate) async fn attempt(
    client: &Rc<Client>,
    endpoint: Rc<WorkerEndpoint>,
    request: Outgoing<'_>,
    limit: Limit,
    caller: Option<Rc<Conn>>,
) -> Result<Attempted, Failure> {
    let patience = limit.patience();
    let mut charge = Charge::new(client.clone(), endpoint, patience, caller, request.now);
    let origin = request.body.origin();
    let asked = request.upgrade.is_some();
    if client.shared.requests.load(Relaxed) > client.policy.pool.max_requests {
        client.shared.metrics.refused.inc("requests");
        charge.report(Verdict::Nothing);
        let reason = format!(
            "{} has its cap of {} requests in flight",
            client.shared.id, client.policy.pool.max_requests
        );
        return Err(Failure {
            full: true,
            ..Failure::new(Outcome::ConnectFailed, reason)
        });
    }
    let sent = {
        let mut exchange = pin!(async {
            if request.http2 {
                send_http2(&charge, request, origin.clone()).await
            } else {
                send_http1(&charge, request, origin.clone()).await
            }
        });
        match limit.shortest() {
            None => Some(exchange.as_mut().await),
            Some(shortest) => within(shortest, exchange.as_mut()).await,
        }
    };
    let Some(sent) = sent else {
        return Err(timed_out(charge, limit));
    };
    match sent {
        Ok((response, lease)) => {
            if let Err(fault) = check(&response, asked) {
                return Err(faulty(charge, fault));
            }
            charge.answered = clock::now();
            let elapsed = charge.answered.saturating_sub(charge.started);
            client.shared.metrics.duration.observe_nanos(elapsed);
            Ok(Attempted {
                response,
                lease,
                charge,
            })
        }
        Err(SendFailure::Send { error, .. })
            if origin.is_some_and(|origin| origin.caller_failed()) =>
        {
            charge.report(Verdict::Nothing);
            let reason = format!(
                "the caller broke off while sending its body: {}",
                error.cause()
            );
            Err(Failure {
                caller_gone: true,
                ..Failure::new(Outcome::Reset { reused: false }, reason)
            })
        }
        Err(error) => Err(failed(charge, error)),
    }
}

/// Waits for `exchange` until `limit` is over. A timer that fires late shows that this process stood still (stopped,
/// throttled, or its host asleep), and that says nothing of the endpoint: its answer may lie in the socket, and is
/// looked at before the time counts as over.
async fn within<T>(limit: Duration, mut exchange: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let deadline = Instant::now() + limit;
    if let Ok(done) = timeout_at(deadline, exchange.as_mut()).await {
        return Some(done);
    }
    if deadline.elapsed() < LATE {
        return None;
    }
    timeout(LOOK_AGAIN, exchange).await.ok()
}

/// A timer that fires so much after its time is late; tokio's wheel turns by the millisecond.
const LATE: Duration = Duration::from_millis(50);
/// Long enough for the connections' tasks to read what is there.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Whether an answer has one meaning.
fn check(response: &Answer, asked: bool) -> Result<(), answer::Fault> {
    let fields = response.headers().iter();
    let fields = fields.map(|(name, value)| (name.as_str(), value.as_bytes()));
    answer::check(response.status().as_u16(), asked, fields)
}

/// An answer that goes to nobody; its connection ends with it.
fn faulty(charge: Charge, fault: answer::Fault) -> Failure {
    let address = charge.endpoint.shared.address;
    let metrics = &charge.client.shared.metrics;
    metrics.malformed.inc(fault.reason);
    metrics.reset.inc();
    charge.report(Verdict::Failure);
    Failure {
        protocol: true,
        ..Failure::new(
            Outcome::Reset { reused: false },
            format!("{address}: {fault}"),
        )
    }
}

/// How long an attempt may take up to its response's head, and by whose will.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limit {
    /// The rule's attempt time-out.
    pub(crate) attempt: Option<Duration>,
    /// What is left of the rule's total time-out.
    pub(crate) total: Option<Duration>,
    /// What is left of the caller's deadline.
    pub(crate) caller: Option<Duration>,
    /// The call may be quiet, being gRPC: it says in its deadline how long it waits.
    pub(crate) quiet: bool,
}

impl Limit {
    fn patience(&self) -> Patience {
        Patience::new(self.attempt, self.quiet, self.caller)
    }

    fn shortest(&self) -> Option<Duration> {
        [self.attempt, self.total, self.caller]
            .into_iter()
            .flatten()
            .min()
    }
}

/// An attempt that was given up is a failure of its endpoint, unless the caller's own deadline was
/// the reason: that is a cancellation, or a caller in a hurry could eject healthy endpoints.
fn timed_out(charge: Charge, limit: Limit) -> Failure {
    let shortest = limit.shortest().unwrap_or_default();
    let address = charge.endpoint.shared.address;
    let by_rule = [limit.attempt, limit.total].contains(&Some(shortest));
    if by_rule {
        charge.client.shared.metrics.timeout.inc();
    }
    charge.report(if by_rule {
        Verdict::Failure
    } else {
        Verdict::Cancelled
    });
    Failure::new(
        Outcome::AttemptTimeout,
        format!("{address} did not answer within {shortest:.0?}"),
    )
}

#[derive(Debug)]
enum SendFailure {
    Connect(ConnectError),
    Send { error: SendError, reused: bool },
}

/// Sorts a failure, and charges the endpoint with it where it is the endpoint's.
fn failed(charge: Charge, failure: SendFailure) -> Failure {
    let address = charge.endpoint.shared.address;
    let metrics = charge.client.shared.metrics.clone();
    match failure {
        SendFailure::Connect(ConnectError::Full(what)) => {
            charge.report(Verdict::Nothing);
            Failure {
                full: true,
                ..Failure::new(Outcome::ConnectFailed, what.to_owned())
            }
        }
        SendFailure::Connect(ConnectError::Lack(lack)) => {
            metrics.refused.inc(lack.label());
            charge.report(Verdict::Nothing);
            let reason = format!("no connection to {address}: {}", lack.reason());
            Failure {
                full: !lack.is_of_address(),
                lack: true,
                ..Failure::new(Outcome::ConnectFailed, reason)
            }
        }
        SendFailure::Connect(error @ ConnectError::Timeout) => {
            metrics.connect.inc();
            charge.report(Verdict::Failure);
            Failure::new(Outcome::ConnectTimeout, format!("{address}: {error}"))
        }
        SendFailure::Connect(error) => {
            metrics.connect.inc();
            if matches!(&error, ConnectError::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused)
            {
                // Evidence for the mass-loss guard, should it hold an answer without this endpoint.
                charge.client.set.refused(address);
            }
            charge.report(Verdict::Failure);
            Failure::new(Outcome::ConnectFailed, format!("{address}: {error}"))
        }
        SendFailure::Send { error, reused } => {
            let (outcome, verdict) = match &error {
                SendError::Unused(_) => (Outcome::Unused, Verdict::Nothing),
                SendError::Refused(cause) if cause.is_go_away() => {
                    (Outcome::RefusedStream, Verdict::Nothing)
                }
                SendError::Refused(_) => (Outcome::RefusedStream, Verdict::Failure),
                // Closed while idle, most likely, and our request crossed it on the way. An endpoint
                // that resets on purpose shows it on the fresh connection that comes next.
                SendError::Reset(_) if reused => (Outcome::Reset { reused }, Verdict::Nothing),
                SendError::Reset(_) | SendError::Protocol(_) => {
                    (Outcome::Reset { reused }, Verdict::Failure)
                }
            };
            metrics.reset.inc();
            charge.report(verdict);
            let protocol = matches!(error, SendError::Protocol(_));
            if let SendError::Protocol(cause) = &error {
                metrics.malformed.inc(cause.malformed().unwrap_or("syntax"));
            }
            let reason = format!("{address}: {}", error.cause());
            Failure {
                protocol,
                ..Failure::new(outcome, reason)
            }
        }
    }
}

/// Where interim answers go, if they go anywhere.
fn to_caller(charge: &Charge, interim: bool, body: Option<Rc<Replay>>) -> Option<ToCaller<'_>> {
    let caller = charge.caller.as_deref().filter(|_| interim)?;
    Some(ToCaller { caller, body })
}

async fn send_http1(
    charge: &Charge,
    outgoing: Outgoing<'_>,
    origin: Option<Rc<Replay>>,
) -> Result<(Answer, Lease), SendFailure> {
    let Outgoing {
        head,
        mut body,
        upgrade,
        interim,
        ..
    } = outgoing;
    // A caller over HTTP/1 has put what takes them to it into the head.
    let to_caller = to_caller(charge, interim, origin).filter(|to| !to.caller.serial);
    for_http1(head, upgrade.as_ref());
    let (endpoint, config) = (&charge.endpoint, &charge.client.policy.pool);
    loop {
        let mut connection = match endpoint.pool.reuse_http1(config, charge.started) {
            Some(connection) => connection,
            None => {
                let from = clock::now();
                let opened = Box::pin(endpoint.pool.open_http1(config)).await;
                charge.connected(from);
                opened.map_err(SendFailure::Connect)?
            }
        };
        let reused = connection.reused;
        let mut request = Request::from_parts(std::mem::replace(head, nothing()), body);
        connection.asked.tell();
        let sent = match &to_caller {
            None => connection.sender.try_send_request(request).await,
            Some(to) => {
                let arrivals = Arrivals::of(&mut request);
                let mut sending = pin!(connection.sender.try_send_request(request));
                poll_fn(|cx| {
                    let sent = sending.as_mut().poll(cx);
                    arrivals.take(cx, to);
                    sent
                })
                .await
            }
        };
        match sent {
            Ok(response) => {
                endpoint.note_stay(response.status(), response.headers());
                return Ok((response.map(Incoming::Http1), Lease::Http1(connection)));
            }
            Err(error) => body = refused(error, head, reused)?,
        }
    }
}

async fn send_http2(
    charge: &Charge,
    outgoing: Outgoing<'_>,
    origin: Option<Rc<Replay>>,
) -> Result<(Answer, Lease), SendFailure> {
    let Outgoing {
        head,
        mut body,
        interim,
        ..
    } = outgoing;
    let to_caller = to_caller(charge, interim, origin);
    for_http2(head, charge.client.shared.is_secure());
    let (endpoint, config) = (&charge.endpoint, &charge.client.policy.pool);
    loop {
        let (connection, reused) = match endpoint.pool.reuse_http2(config, charge.started) {
            Some(connection) => (connection, true),
            None => {
                let from = clock::now();
                let opened = Box::pin(endpoint.pool.open_http2(config)).await;
                charge.connected(from);
                opened.map_err(SendFailure::Connect)?
            }
        };
        let stream = StreamGuard::new(connection.clone());
        match connection.send(head, body, to_caller.as_ref()).await {
            Ok(response) => return Ok((response, Lease::Http2 { _stream: stream })),
            // Closed while idle: the next one of the pool, or a fresh one, gets it. The pool is finite.
            Err((_, Some(unsent))) if reused => body = unsent,
            Err((error, _)) => return Err(SendFailure::Send { error, reused }),
        }
    }
}

/// Sorts hyper's refusal. A request that it gave back, since its connection had been closed while
/// idle, goes to the next one of the pool, or a fresh one: then this is its body, and its head is
/// back in place. The pool is finite, so are the loops.
fn refused(
    mut error: TrySendError<Request<OutBody>>,
    head: &mut Parts,
    reused: bool,
) -> Result<OutBody, SendFailure> {
    let unsent = error.take_message();
    let error = error.into_error();
    let intact = unsent.is_some();
    if let Some(unsent) = unsent {
        let (parts, body) = unsent.into_parts();
        *head = parts;
        if reused {
            return Ok(body);
        }
    }
    let error = SendError::http1(error, intact);
    Err(SendFailure::Send { error, reused })
}

/// What stands for a head that has gone out.
pub(super) fn nothing() -> Parts {
    Request::new(()).into_parts().0
}
