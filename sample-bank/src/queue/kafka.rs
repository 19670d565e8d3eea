//! Clients of the broker, and the topics.
//!
//! Whatever blocks here is called from threads of its own ([`blocking`]), never from the service's.

use super::partition::Event;
use crate::problem::Problem;
use bytes::Bytes;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::producer::FutureProducer;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Partitions of a topic, unless it was made by somebody else: as many replicas of a service can share it.
const PARTITIONS: i32 = 6;
/// Copies of each partition where there are enough brokers. Two of them must have a record before it is acknowledged, so
/// that one broker may be lost.
const COPIES: usize = 3;
/// How long one question to the broker may take.
pub(super) const ASK: Duration = Duration::from_secs(5);
/// A publication is given up after this time, and answered 503.
const PUBLISH: Duration = Duration::from_secs(10);
/// A member is heard so often within its session.
const HEARTBEATS: u32 = 10;
/// The group of those that read without sharing; nothing is ever committed in it.
const READERS: &str = "heddle-bank-readers";

/// Header of a record: the event's id.
pub(super) const ID: &str = "event-id";
/// Header of a record: `traceparent` of the request that published it.
pub(super) const TRACE: &str = "traceparent";

/// How a client of the broker is made, and which topics are known to exist.
#[derive(Debug)]
pub(super) struct Kafka {
    bootstrap: String,
    /// After how long without a heartbeat a member of a group is taken for dead.
    session: Duration,
    known: Mutex<BTreeSet<String>>,
}

impl Kafka {
    pub(super) fn new(bootstrap: String, session: Duration) -> Self {
        Self {
            bootstrap,
            session,
            known: Mutex::default(),
        }
    }

    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "heddle-bank-queue")
            .set("broker.address.family", "v4")
            // A broker that comes back is found within a second.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("allow.auto.create.topics", "false");
        config
    }

    /// A producer whose acknowledgement means that every copy in sync has the record, once, in the order of sending.
    pub(super) fn producer(&self) -> Result<FutureProducer, KafkaError> {
        self.config()
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .set("partitioner", "murmur2_random") // as Java's clients do
            .set("message.timeout.ms", PUBLISH.as_millis().to_string())
            // What waits for the broker is bounded in memory; more is refused.
            .set("queue.buffering.max.messages", "10000")
            .set("queue.buffering.max.kbytes", "16384")
            .create()
    }

    /// A member of a group, which commits when it is told to.
    pub(super) fn member<C: ConsumerContext>(
        &self,
        group: &str,
        context: C,
    ) -> Result<BaseConsumer<C>, KafkaError> {
        self.consumer(group)
            .set("auto.offset.reset", "earliest")
            // The embedded broker waits for half of this and more whatever it has, so it is most of an event's way.
            .set("fetch.wait.max.ms", "40")
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", self.session.as_millis().to_string())
            .set(
                "heartbeat.interval.ms",
                (self.session / HEARTBEATS).as_millis().to_string(),
            )
            .set("max.poll.interval.ms", "60000")
            .create_with_context(context)
    }

    /// A reader of partitions that it is given, which tells where they end.
    pub(super) fn reader(&self) -> Result<BaseConsumer, KafkaError> {
        self.consumer(READERS)
            .set("enable.partition.eof", "true")
            .create()
    }

    /// Asks about a group without joining it.
    pub(super) fn observer(&self, group: &str) -> Result<BaseConsumer, KafkaError> {
        self.consumer(group)
            .set("enable.partition.eof", "true")
            .create()
    }

    fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.config();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A few events ahead are enough; memory is the scarcer good.
            .set("queued.min.messages", "500")
            .set("queued.max.messages.kbytes", "2048")
            .set("fetch.wait.max.ms", "500");
        config
    }

    /// Makes a topic unless it is there, with as many partitions as asked for. A compacted topic keeps the last record of
    /// each key; another one keeps everything, so that it can be replayed.
    pub(super) async fn ensure(
        self: &Arc<Self>,
        topic: &str,
        partitions: Option<i32>,
        compacted: bool,
    ) -> Result<(), Problem> {
        if self.lock().contains(topic) {
            return Ok(());
        }
        let admin: AdminClient<DefaultClientContext> =
            self.config().create().map_err(|e| away(&e))?;
        let admin = Arc::new(admin);
        let asked = admin.clone();
        let metadata = blocking(move || asked.inner().fetch_metadata(None, ASK)).await?;
        if !metadata.topics().iter().any(|known| known.name() == topic) {
            let copies = metadata.brokers().len().clamp(1, COPIES);
            create(
                &admin,
                topic,
                partitions.unwrap_or(PARTITIONS),
                copies,
                compacted,
            )
            .await?;
        }
        self.lock().insert(topic.to_owned());
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions of a topic, as a list to be filled with offsets.
    pub(super) fn partitions(
        consumer: &BaseConsumer,
        topic: &str,
    ) -> Result<TopicPartitionList, KafkaError> {
        let metadata = consumer.fetch_metadata(Some(topic), ASK)?;
        let mut list = TopicPartitionList::new();
        for known in metadata.topics().iter().filter(|t| t.name() == topic) {
            for partition in known.partitions() {
                list.add_partition(topic, partition.id());
            }
        }
        if list.count() == 0 {
            return Err(KafkaError::MetadataFetch(
                RDKafkaErrorCode::UnknownTopicOrPartition,
            ));
        }
        Ok(list)
    }

    /// How many partitions a topic has.
    pub(super) async fn count(self: &Arc<Self>, topic: &str) -> Result<i32, Problem> {
        let (kafka, topic) = (self.clone(), topic.to_owned());
        let list = blocking(move || Self::partitions(&kafka.reader()?, &topic)).await?;
        Ok(i32::try_from(list.count()).unwrap_or(i32::MAX))
    }
}

async fn create(
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
    partitions: i32,
    copies: usize,
    compacted: bool,
) -> Result<(), Problem> {
    let fixed = TopicReplication::Fixed(i32::try_from(copies).unwrap_or(1));
    let mut new = NewTopic::new(topic, partitions, fixed);
    if compacted {
        new = new.set("cleanup.policy", "compact");
    } else {
        new = new.set("retention.ms", "-1");
    }
    if copies >= COPIES {
        new = new.set("min.insync.replicas", "2");
    }
    let options = AdminOptions::new().operation_timeout(Some(ASK));
    let made = admin.create_topics([&new], &options).await;
    for outcome in made.map_err(|e| away(&e))? {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(Problem::unavailable(format!(
                    "the broker does not make the topic {topic}: {code}; send the same request again"
                )));
            }
        }
    }
    Ok(())
}

/// Runs what blocks on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|e| away(&e)),
        Err(died) => Err(Problem::unavailable(format!("a thread died: {died}"))),
    }
}

/// The broker did not do what it was asked for.
pub(super) fn away(error: &KafkaError) -> Problem {
    Problem::unavailable(format!(
        "the broker does not answer ({error}); send the same request again, events are known by their ids"
    ))
}

/// An event as it lies in its topic. Records of other publishers need no header: their place is their id.
pub(super) fn event(message: &BorrowedMessage<'_>) -> Event {
    let key = message
        .key()
        .map(String::from_utf8_lossy)
        .unwrap_or_default();
    let id = header(message, ID).unwrap_or_else(|| {
        format!(
            "{}-{}-{}",
            message.topic(),
            message.partition(),
            message.offset()
        )
    });
    Event {
        offset: message.offset(),
        key: Arc::from(&*key),
        id: id.into(),
        body: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
        trace: header(message, TRACE).map(Arc::from),
        time: message.timestamp().to_millis().unwrap_or(0),
    }
}

/// A header of a record, when it is text.
pub(super) fn header(message: &BorrowedMessage<'_>, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    Some(std::str::from_utf8(found.value?).ok()?.to_owned())
}

/// The number of an offset that is one.
pub(super) fn number(offset: Offset) -> Option<i64> {
    match offset {
        Offset::Offset(number) => Some(number),
        _ => None,
    }
}
