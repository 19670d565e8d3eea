//! The partitions of a subscription that this process owns, and the work on them.
//!
//! Three kinds of threads meet here: the member's, which takes events in and lets partitions go ([`super::member`]); the
//! service's, where deliveries run; and those that ask for figures. What they share is behind one lock, held for moments and
//! never across a wait.

use super::delivery::{Delivery, Outcome};
use super::letters::{Letters, Line};
use super::partition::{Cause, Event, Job, Kept, Partition};
use crate::failpoint;
use crate::problem::Problem;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Wait between two tries to write to the dead letters while the broker is away.
const AGAIN: Duration = Duration::from_millis(500);
/// How much longer than a request may take a partition that is let go waits for those in flight: their events need not be
/// delivered twice then.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Slot {
    partition: Partition,
    /// Tells work of an earlier ownership from that of this one.
    era: u64,
    running: usize,
    cancel: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    slots: BTreeMap<i32, Slot>,
    eras: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) delivery: Delivery,
    letters: Letters,
    service: Handle,
    state: Mutex<State>,
    /// Something has ended.
    ended: Condvar,
}

impl Owned {
    pub(super) fn new(delivery: Delivery, letters: Letters, service: Handle) -> Self {
        Self {
            delivery,
            letters,
            service,
            state: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition is ours from now on.
    pub(super) fn assign(&self, partition: i32) {
        let mut state = self.lock();
        state.eras += 1;
        let slot = Slot {
            partition: Partition::default(),
            era: state.eras,
            running: 0,
            cancel: watch::Sender::new(false),
        };
        state.slots.insert(partition, slot);
    }

    /// Lets all partitions go: starts nothing more, waits for what is in flight, and returns what can be committed.
    pub(super) fn release(&self) -> Vec<(i32, i64)> {
        let patience = self.delivery.subscription.timeout() + GRACE;
        let until = Instant::now() + patience;
        let mut state = self.lock();
        for slot in state.slots.values() {
            slot.cancel.send_replace(true);
        }
        while state.slots.values().any(|slot| slot.running > 0) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let name = &self.delivery.subscription.name;
                tracing::warn!(
                    subscription = name,
                    "partitions let go with requests in flight"
                );
                break;
            }
            let waited = self.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let slots = std::mem::take(&mut state.slots);
        let progress = slots.into_iter();
        progress
            .filter_map(|(number, mut slot)| {
                slot.partition.untell();
                Some((number, slot.partition.progress()?))
            })
            .collect()
    }

    /// An event of the topic has come.
    pub(super) fn take(self: &Arc<Self>, partition: i32, event: Event) {
        let mut state = self.lock();
        if let Some(slot) = state.slots.get_mut(&partition) {
            slot.partition.take(event);
            self.start(partition, slot);
        }
    }

    /// A record of the dead letters has come.
    pub(super) fn recall(self: &Arc<Self>, partition: i32, line: Line) {
        let mut state = self.lock();
        let Some(slot) = state.slots.get_mut(&partition) else {
            return;
        };
        match line {
            Line::Event(offset, kept, writer) => {
                if !slot.partition.is_loaded() {
                    slot.partition.recall(offset, kept);
                } else if kept.is_some()
                    && !slot.partition.keeps(offset)
                    && !self.letters.is_own(writer.as_deref())
                {
                    // From an owner that does not know yet that it is none: the event comes, or came, to us.
                    self.strike(partition, offset, true);
                }
            }
            Line::Command(offset, command) => {
                if !slot.partition.command(offset, command) {
                    self.strike(partition, offset, false);
                }
                self.start(partition, slot);
            }
            Line::Settled(offset) => slot.partition.settled(offset),
            Line::Other => {}
        }
    }

    /// The dead letters of a partition have been read to their end.
    pub(super) fn loaded(self: &Arc<Self>, partition: i32) {
        let mut state = self.lock();
        if let Some(slot) = state.slots.get_mut(&partition)
            && !slot.partition.is_loaded()
        {
            slot.partition.loaded();
            self.start(partition, slot);
        }
    }

    /// What can be committed and was not yet.
    pub(super) fn progress(&self) -> Vec<(i32, i64)> {
        let mut state = self.lock();
        let slots = state.slots.iter_mut();
        slots
            .filter_map(|(number, slot)| Some((*number, slot.partition.progress()?)))
            .collect()
    }

    /// A commit failed: the next one says it all again.
    pub(super) fn untell(&self) {
        for slot in self.lock().slots.values_mut() {
            slot.partition.untell();
        }
    }

    /// Each partition with the era of its ownership, and whether it has room for more events.
    pub(super) fn room(&self) -> Vec<((i32, u64), bool)> {
        let state = self.lock();
        let slots = state.slots.iter();
        slots
            .map(|(number, slot)| ((*number, slot.era), slot.partition.has_room()))
            .collect()
    }

    /// The partitions, and how many dead letters each has.
    pub(super) fn partitions(&self) -> Vec<(i32, usize)> {
        let state = self.lock();
        let slots = state.slots.iter();
        slots
            .map(|(number, slot)| (*number, slot.partition.backlog()))
            .collect()
    }

    /// Starts whatever may run.
    fn start(self: &Arc<Self>, partition: i32, slot: &mut Slot) {
        if *slot.cancel.borrow() {
            return;
        }
        while let Some(job) = slot.partition.next() {
            slot.running += 1;
            let work = self
                .clone()
                .run(partition, slot.era, job, slot.cancel.subscribe());
            self.service.spawn(work);
        }
    }

    async fn run(
        self: Arc<Self>,
        partition: i32,
        era: u64,
        job: Job,
        mut cancel: watch::Receiver<bool>,
    ) {
        let done = self.carry_out(partition, &job, &mut cancel).await;
        let mut state = self.lock();
        if let Some(slot) = state.slots.get_mut(&partition)
            && slot.era == era
        {
            slot.running -= 1;
            match done {
                Done::Delivered => slot.partition.delivered(job.event()),
                Done::Forgotten => slot.partition.forgotten(job.event()),
                Done::Kept(kept) => slot.partition.kept(kept),
                Done::Cancelled => {}
            }
            self.start(partition, slot);
        }
        drop(state);
        self.ended.notify_all();
    }

    async fn carry_out(
        &self,
        partition: i32,
        job: &Job,
        cancel: &mut watch::Receiver<bool>,
    ) -> Done {
        let again = matches!(job, Job::Redeliver(_));
        let (event, outcome) = match job {
            Job::Deliver(event) | Job::Redeliver(event) => {
                (event, self.delivery.deliver(event, cancel).await)
            }
            Job::Keep(event) => {
                let kept = kept(event, Cause::Waiting);
                return self.keep(partition, kept, false, cancel).await;
            }
            Job::Forget(event) => (event, Outcome::Done),
        };
        match outcome {
            Outcome::Cancelled => Done::Cancelled,
            Outcome::Refused(reason, tries) => {
                let name = &self.delivery.subscription.name;
                tracing::warn!(
                    subscription = name,
                    event = &*event.id,
                    tries,
                    reason,
                    "parked"
                );
                let cause = Cause::Parked {
                    reason: reason.into(),
                    tries,
                };
                self.keep(partition, kept(event, cause), again, cancel)
                    .await
            }
            Outcome::Done if matches!(job, Job::Deliver(_)) => {
                failpoint::reach("queue.delivered");
                Done::Delivered
            }
            Outcome::Done => {
                failpoint::reach("queue.redelivered");
                let letters = &self.letters;
                let write = || letters.forget(partition, event.offset);
                if insist(write, cancel).await {
                    Done::Forgotten
                } else {
                    Done::Cancelled
                }
            }
        }
    }

    async fn keep(
        &self,
        partition: i32,
        kept: Kept,
        again: bool,
        cancel: &mut watch::Receiver<bool>,
    ) -> Done {
        let letters = &self.letters;
        if !insist(|| letters.keep(partition, &kept), cancel).await {
            return Done::Cancelled;
        }
        failpoint::reach("queue.kept");
        let offset = kept.event.offset;
        if again && !insist(|| letters.settle(partition, offset), cancel).await {
            return Done::Cancelled;
        }
        self.delivery.count("kept");
        Done::Kept(kept)
    }

    /// Strikes off what nobody waits for.
    fn strike(&self, partition: i32, offset: i64, event: bool) {
        let letters = self.letters.clone();
        self.service.spawn(async move {
            let struck = if event {
                letters.forget(partition, offset).await
            } else {
                letters.settle(partition, offset).await
            };
            if let Err(problem) = struck {
                tracing::warn!(partition, offset, %problem, "not struck off the dead letters");
            }
        });
    }
}

/// What came of a job.
enum Done {
    Delivered,
    Forgotten,
    Kept(Kept),
    Cancelled,
}

fn kept(event: &Event, cause: Cause) -> Kept {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = now.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
    Kept {
        event: event.clone(),
        cause,
        since,
    }
}

/// Writes until it is written: the broker comes back, and nothing of this key can go on without it. False: cancelled.
async fn insist<F>(mut write: impl FnMut() -> F, cancel: &mut watch::Receiver<bool>) -> bool
where
    F: Future<Output = Result<(), Problem>>,
{
    loop {
        match write().await {
            Ok(()) => return true,
            Err(problem) => tracing::warn!(%problem, "not written to the dead letters"),
        }
        if *cancel.borrow() || tokio::time::timeout(AGAIN, cancel.changed()).await.is_ok() {
            return false;
        }
    }
}
