//! In front of a service: how many requests it works on at once, and who waits for it.
//!
//! The common case is a load and a compare; only who has to wait pays for a queue. Workers share
//! the slots, because the service behind is one.

use crate::clock;
use crate::error::Error;
use crate::hold::Hold;
use crate::metrics::ListenerMetrics;
use heddle_core::Nanos;
use heddle_core::admission::{Decision, Queue, decide, is_expired};
use heddle_core::answer::Kind;
use heddle_core::config::{self, Listener, Mode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Admission to the service behind one listener.
#[derive(Debug)]
pub(crate) struct Admission {
    rules: config::Admission,
    hold: Arc<Hold>,
    /// Turns of the service; `None`: as many as come.
    slots: Option<Arc<Semaphore>>,
    waiting: AtomicUsize,
    /// Since when somebody has always been waiting; 0: nobody is.
    since: AtomicU64,
}

/// A turn; its drop gives it to the next in the queue.
#[derive(Debug, Default)]
pub(crate) struct Turn(
    #[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>,
);

impl Admission {
    /// Admission for a listener, if it stands in front of a service. What a configuration does not
    /// change keeps its queue; when it changes, requests in flight count by the old rules.
    pub(crate) fn of(
        spec: &Listener,
        hold: &Arc<Hold>,
        before: Option<&Arc<Self>>,
    ) -> Option<Arc<Self>> {
        if !matches!(spec.mode, Mode::Inbound { .. }) {
            return None;
        }
        let rules = spec.limits.admission;
        if let Some(before) = before.filter(|before| before.rules == rules) {
            return Some(before.clone());
        }
        let slots = rules.concurrency.map(|most| Arc::new(Semaphore::new(most)));
        Some(Arc::new(Self {
            rules,
            hold: hold.clone(),
            slots,
            waiting: AtomicUsize::new(0),
            since: AtomicU64::new(0),
        }))
    }

    /// A turn without waiting, when nothing is in the way.
    pub(super) fn at_once(&self, deadline: Option<Nanos>, now: Nanos) -> Option<Turn> {
        if self.hold.is_held() || is_expired(deadline, now) {
            return None;
        }
        match &self.slots {
            None => Some(Turn::default()),
            // Slots go to whoever waits first, so nobody is overtaken here.
            Some(slots) => slots
                .clone()
                .try_acquire_owned()
                .ok()
                .map(|slot| Turn(Some(slot))),
        }
    }

    /// A turn, waited for within the bounds; or why there is none.
    pub(super) async fn turn(
        &self,
        deadline: Option<Nanos>,
        metrics: &ListenerMetrics,
    ) -> Result<Turn, Error> {
        let held = self.hold.is_held();
        let now = clock::now();
        let queue = Queue {
            waiting: self.waiting.load(Relaxed),
            since: Some(self.since.load(Relaxed)).filter(|since| *since != 0),
            held,
        };
        let (reason, error) = match decide(&self.rules, &queue, deadline, now) {
            Decision::Expired => ("deadline", expired()),
            Decision::Full => ("queue-full", self.full(held)),
            Decision::Wait(limit) => {
                let waited = {
                    let _waiting = self.wait(now, metrics);
                    timeout(limit, self.next()).await
                };
                // The turn may come in the very moment in which the caller gives up.
                let late = is_expired(deadline, clock::now());
                match waited {
                    Ok(turn) if !late => return Ok(turn),
                    _ if late => ("deadline", expired()),
                    _ if held => ("held", self.full(true)),
                    _ => ("queue-wait", self.overdue(limit)),
                }
            }
        };
        metrics.shed.inc(reason);
        Err(error.of_class(reason))
    }

    /// Waits for the service to answer at all, as one that has no requests to queue.
    pub(crate) async fn opened(&self) -> bool {
        if !self.hold.is_held() {
            return true;
        }
        timeout(heddle_core::admission::HELD_WAIT, self.hold.released())
            .await
            .is_ok()
    }

    async fn next(&self) -> Turn {
        self.hold.released().await;
        match &self.slots {
            None => Turn::default(),
            // Never closed, so this fails never.
            Some(slots) => Turn(slots.clone().acquire_owned().await.ok()),
        }
    }

    fn wait<'a>(&'a self, now: Nanos, metrics: &'a ListenerMetrics) -> Waiting<'a> {
        metrics.requests_waiting.inc();
        if self.waiting.fetch_add(1, Relaxed) == 0 {
            self.since.store(now.max(1), Relaxed);
        }
        Waiting {
            admission: self,
            metrics,
        }
    }

    fn full(&self, held: bool) -> Error {
        if held {
            let why = self.hold.why().unwrap_or_default();
            return Error::new(Kind::NoEndpoints, format!("the service is not up: {why}"));
        }
        let reason = format!(
            "the service works on {} requests and {} wait; both are its caps",
            self.rules.concurrency.unwrap_or_default(),
            self.rules.queue
        );
        Error::new(Kind::Overloaded, reason)
    }

    fn overdue(&self, limit: Duration) -> Error {
        let reason = format!(
            "waited {} ms for one of the {} requests that the service works on to end",
            limit.as_millis(),
            self.rules.concurrency.unwrap_or_default()
        );
        Error::new(Kind::Overloaded, reason)
    }
}

fn expired() -> Error {
    let reason = "the caller's deadline passed before the service could begin";
    Error::new(Kind::Deadline, reason)
}

/// Counts a request that waits; one whose caller goes away is dropped where it stands.
struct Waiting<'a> {
    admission: &'a Admission,
    metrics: &'a ListenerMetrics,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.metrics.requests_waiting.dec();
        // Two that race here make the queue look younger than it is, which only is more patient.
        if self.admission.waiting.fetch_sub(1, Relaxed) == 1 {
            self.admission.since.store(0, Relaxed);
        }
    }
}
