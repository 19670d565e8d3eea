//! A member of a subscription's consumer group: the thread that reads its partitions and their dead letters, commits what is
//! finished, and hands partitions over.
//!
//! A partition is let go in order: nothing more is started, what is in flight ends, what is finished is committed, and only
//! then the next owner gets it. So the order of each key holds across owners, and little is delivered twice.

use super::kafka::{self, ASK, Kafka};
use super::letters;
use super::owned::Owned;
use super::subscription::Subscription;
use crate::failpoint;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest wait for an event of the topic, and so the longest that a command or a finished event waits to be noticed.
const POLL: Duration = Duration::from_millis(100);
/// Events taken before anything else is looked at.
const BURST: usize = 100;
/// Least time between two commits: each is a write of the broker's.
const COMMIT: Duration = Duration::from_millis(200);
/// Wait before a member that failed joins again.
const AGAIN: Duration = Duration::from_secs(1);

/// A running member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) owned: Arc<Owned>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Joins, on a thread of its own, until it is stopped.
    pub(super) fn start(kafka: Arc<Kafka>, owned: Arc<Owned>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, told) = (owned.clone(), stop.clone());
        let name = format!("sub-{}", owned.delivery.subscription.name);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            while !told.load(Relaxed) {
                if let Err(error) = attend(&kafka, &theirs, &told) {
                    let name = &theirs.delivery.subscription.name;
                    tracing::warn!(subscription = name, %error, "joining again");
                    std::thread::sleep(AGAIN);
                }
            }
        })?;
        Ok(Self {
            owned,
            stop,
            thread: Some(thread),
        })
    }

    /// Tells it to stop; it then leaves its group.
    pub(super) fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Waits until it has left. Blocks.
    pub(super) fn join(mut self) {
        self.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a member's thread died");
        }
    }
}

/// What the client tells its member.
struct Handover {
    owned: Arc<Owned>,
    /// Reads the dead letters of the partitions that are ours.
    letters: Arc<BaseConsumer>,
    /// An assignment could not be taken up.
    failed: AtomicBool,
}

impl ClientContext for Handover {}

impl ConsumerContext for Handover {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let outcome = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            _ => self.revoke(consumer),
        };
        if let Err(error) = outcome {
            let name = &self.owned.delivery.subscription.name;
            tracing::warn!(subscription = name, %error, "partitions not taken over");
            self.failed.store(true, Relaxed);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "not committed; the next commit says it again");
            self.owned.untell();
        }
    }
}

impl Handover {
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        let subscription = &self.owned.delivery.subscription;
        let numbers: Vec<i32> = list.elements().iter().map(|e| e.partition()).collect();
        tracing::info!(subscription = subscription.name, partitions = ?numbers, "assigned");
        let mut list = list.clone();
        if subscription.from.is_some() {
            list = begin(consumer, list, subscription)?;
        }
        let mut dead = TopicPartitionList::new();
        let topic = letters::topic(&subscription.name);
        for number in numbers {
            self.owned.assign(number);
            dead.add_partition_offset(&topic, number, Offset::Beginning)?;
        }
        self.letters.assign(&dead)?;
        consumer.assign(&list)?;
        consumer.resume(&list) // an earlier ownership may have held one
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>) -> KafkaResult<()> {
        let finished = self.owned.release();
        if !finished.is_empty() && !consumer.assignment_lost() {
            let topic = &self.owned.delivery.subscription.topic;
            // Should it fail, the next owner delivers again what it does not know to be finished.
            if let Err(error) = consumer.commit(&positions(topic, &finished)?, CommitMode::Sync) {
                tracing::warn!(%error, "partitions let go uncommitted");
            }
        }
        self.letters.unassign()?;
        consumer.unassign()
    }
}

/// A replay begins where it was told to, as long as nothing was committed.
fn begin(
    consumer: &BaseConsumer<Handover>,
    list: TopicPartitionList,
    subscription: &Subscription,
) -> KafkaResult<TopicPartitionList> {
    let committed = consumer.committed_offsets(list, ASK)?;
    let mut list = TopicPartitionList::new();
    for element in committed.elements() {
        let number = element.partition();
        let told = subscription
            .from
            .as_ref()
            .and_then(|from| from.get(&number));
        let begin = match (kafka::number(element.offset()), told) {
            (Some(committed), _) => Offset::Offset(committed),
            (None, Some(told)) => Offset::Offset(*told),
            (None, None) => Offset::Beginning,
        };
        list.add_partition_offset(element.topic(), number, begin)?;
    }
    Ok(list)
}

fn positions(topic: &str, finished: &[(i32, i64)]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (number, next) in finished {
        list.add_partition_offset(topic, *number, Offset::Offset(*next))?;
    }
    Ok(list)
}

/// Is a member until it is told to stop, or something breaks.
fn attend(kafka: &Kafka, owned: &Arc<Owned>, stop: &AtomicBool) -> KafkaResult<()> {
    let subscription = &owned.delivery.subscription;
    let letters = Arc::new(kafka.reader()?);
    let handover = Handover {
        owned: owned.clone(),
        letters: letters.clone(),
        failed: AtomicBool::new(false),
    };
    let consumer = kafka.member(&subscription.name, handover)?;
    consumer.subscribe(&[&subscription.topic])?;
    let mut full = BTreeSet::new();
    let mut committed = Instant::now();
    while !stop.load(Relaxed) {
        take(&consumer, owned)?;
        recall(&letters, owned)?;
        if consumer.context().failed.load(Relaxed) {
            return Err(KafkaError::Subscription("an assignment failed".to_owned()));
        }
        hold(&consumer, owned, &mut full)?;
        if committed.elapsed() >= COMMIT {
            committed = Instant::now();
            let finished = owned.progress();
            if !finished.is_empty() {
                commit(&consumer, owned, &finished)?;
            }
        }
    }
    consumer.context().revoke(&consumer)
    // Dropping the consumer leaves the group, so that others take over at once.
}

fn commit(
    consumer: &BaseConsumer<Handover>,
    owned: &Owned,
    finished: &[(i32, i64)],
) -> KafkaResult<()> {
    let list = positions(&owned.delivery.subscription.topic, finished)?;
    if let Err(error) = consumer.commit(&list, CommitMode::Async) {
        tracing::debug!(%error, "not committed; the next commit says it again");
        owned.untell();
    }
    failpoint::reach("queue.committed");
    Ok(())
}

fn take(consumer: &BaseConsumer<Handover>, owned: &Arc<Owned>) -> KafkaResult<()> {
    let mut wait = POLL;
    for _ in 0..BURST {
        match consumer.poll(wait) {
            None => break,
            Some(Ok(message)) => owned.take(message.partition(), kafka::event(&message)),
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
            // The client looks for its brokers by itself.
            Some(Err(error)) => tracing::debug!(%error, "no events"),
        }
        wait = Duration::ZERO;
    }
    Ok(())
}

fn recall(letters: &BaseConsumer, owned: &Arc<Owned>) -> KafkaResult<()> {
    for _ in 0..BURST {
        match letters.poll(Duration::ZERO) {
            None => break,
            Some(Ok(message)) => owned.recall(message.partition(), letters::line(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => owned.loaded(partition),
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
            Some(Err(error)) => tracing::debug!(%error, "no dead letters"),
        }
    }
    Ok(())
}

/// Reads on where there is room, and holds where there is none.
fn hold(
    consumer: &BaseConsumer<Handover>,
    owned: &Owned,
    full: &mut BTreeSet<(i32, u64)>,
) -> KafkaResult<()> {
    let topic = &owned.delivery.subscription.topic;
    let room = owned.room();
    full.retain(|held| room.iter().any(|(slot, _)| slot == held));
    for (slot, free) in room {
        let mut one = TopicPartitionList::new();
        one.add_partition(topic, slot.0);
        if !free && full.insert(slot) {
            consumer.pause(&one)?;
        } else if free && full.remove(&slot) {
            consumer.resume(&one)?;
        }
    }
    Ok(())
}
