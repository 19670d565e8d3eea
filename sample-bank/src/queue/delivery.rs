//! Delivering one event: tries, waits between them, and what came of it.

use super::partition::Event;
use super::subscription::Subscription;
use super::verdict::{Answer, Tries, Verdict, judge};
use crate::call::{Peers, cause};
use crate::problem::Problem;
use http::header::CONTENT_TYPE;
use prometheus::{IntCounterVec, Opts};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::{Semaphore, watch};

/// How much of a refusal is kept as its reason, in characters.
const REASON: usize = 500;

static TRIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new(
        "bank_queue_deliveries_total",
        "Tries to deliver an event, by what came of them",
    );
    let metric = IntCounterVec::new(opts, &["subscription", "outcome"]);
    let metric = metric.expect("names and labels of a metric are constants, and valid");
    prometheus::register(Box::new(metric.clone())).expect("each metric has a name of its own");
    metric
});

/// What came of a delivery.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It had its effect.
    Done,
    /// It is to be parked, for this reason, after so many tries.
    Refused(String, u32),
    /// The partition is not ours any longer.
    Cancelled,
}

/// Everything that the deliveries of one subscription share.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) subscription: Subscription,
    peers: Peers,
    /// Requests in flight are bounded; an event that waits for its next try is not in flight.
    permits: Semaphore,
    served: AtomicU64,
}

impl Delivery {
    pub(super) fn new(subscription: Subscription, peers: Peers) -> Self {
        Self {
            permits: Semaphore::new(subscription.concurrency),
            subscription,
            peers,
            served: AtomicU64::new(0),
        }
    }

    /// How many requests are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.subscription.concurrency - self.permits.available_permits()
    }

    /// Counts an event for the metrics.
    pub(super) fn count(&self, outcome: &str) {
        TRIES
            .with_label_values(&[&self.subscription.name, outcome])
            .inc();
    }

    /// Tries until the event had its effect, is to be parked, or is no longer ours.
    pub(super) async fn deliver(
        &self,
        event: &Event,
        cancel: &mut watch::Receiver<bool>,
    ) -> Outcome {
        let mut tries = Tries::default();
        let before = self.served.load(Relaxed);
        loop {
            // A request that is under way goes to its end: whether it had its effect is worth knowing.
            let permit = tokio::select! {
                biased;
                () = cancelled(cancel) => return Outcome::Cancelled,
                permit = self.permits.acquire() => permit.expect("it is never closed"),
            };
            let (answer, reason) = self.attempt(event).await;
            drop(permit);
            let subscription = &self.subscription;
            let others = self.served.load(Relaxed) != before;
            match judge(
                &answer,
                &mut tries,
                others,
                subscription.attempts,
                subscription.backoff(),
            ) {
                Verdict::Done => {
                    self.served.fetch_add(1, Relaxed);
                    self.count("delivered");
                    return Outcome::Done;
                }
                Verdict::Park => {
                    self.count("refused");
                    return Outcome::Refused(reason, tries.made);
                }
                Verdict::Again(wait) => {
                    self.count("retried");
                    let name = &subscription.name;
                    tracing::debug!(
                        subscription = name,
                        event = &*event.id,
                        reason,
                        ?wait,
                        "again"
                    );
                    tokio::select! {
                        () = cancelled(cancel) => return Outcome::Cancelled,
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }

    async fn attempt(&self, event: &Event) -> (Answer, String) {
        let mut request = self
            .peers
            .http()
            .post(&self.subscription.to)
            .timeout(self.subscription.timeout())
            .header(CONTENT_TYPE, "application/json")
            .header("event-id", &*event.id)
            .header("event-key", &*event.key)
            .header("idempotency-key", &*event.id)
            .body(event.body.clone());
        if let Some(trace) = &event.trace {
            request = request.header("traceparent", &**trace);
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return (Answer::Nothing, format!("no answer: {}", cause(&error))),
        };
        let status = response.status().as_u16();
        let from_proxy = response.headers().get("heddle-err").cloned();
        let mut body = Vec::new();
        while body.len() < REASON
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
        // What a proxy says in the subscriber's place is no word of the subscriber.
        if let Some(said) = from_proxy {
            let said = String::from_utf8_lossy(said.as_bytes()).into_owned();
            return (Answer::Nothing, format!("no answer: {status}, {said}"));
        }
        let text = Problem::parse(&body).map_or_else(
            || String::from_utf8_lossy(&body).into_owned(),
            |problem| problem.to_string(),
        );
        let text: String = text
            .chars()
            .filter(|c| !c.is_control())
            .take(REASON)
            .collect();
        (Answer::Status(status), format!("{status}: {text}"))
    }
}

async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    // A sender that is gone has let the partition go.
    let _ = cancel.wait_for(|cancelled| *cancelled).await;
}
