//! The dead letters of a subscription: the compacted topic `dead.<subscription>`, with as many partitions as the topic that
//! it belongs to.
//!
//! A record's key is an offset of that topic and its partition is the same, so whoever owns a partition owns its dead
//! letters. Its value is the event's, its headers say why it is kept, and no value means that it no longer is. Commands of
//! people have keys of their own, `command:OFFSET`, and are struck off together with their event. Any tool that reads Kafka
//! can read it.

use super::kafka::{self, ASK, Kafka};
use super::partition::{Cause, Command, Event, Kept};
use super::publish::{Publisher, Record, headers};
use crate::problem::Problem;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

const PREFIX: &str = "dead.";
const COMMAND: &str = "command:";

const KEY: &str = "event-key";
const TIME: &str = "event-time";
const STATE: &str = "state";
const SINCE: &str = "since";
const REASON: &str = "reason";
const TRIES: &str = "tries";
const WRITER: &str = "writer";

/// The topic of a subscription's dead letters.
pub(super) fn topic(subscription: &str) -> String {
    format!("{PREFIX}{subscription}")
}

/// What a record of the dead letters says.
#[derive(Debug)]
pub(super) enum Line {
    /// An event is kept, or no longer. The process that wrote it says who it is.
    Event(i64, Option<Kept>, Option<String>),
    /// Somebody asks for something.
    Command(i64, Command),
    /// What was asked was carried out.
    Settled(i64),
    /// Not ours.
    Other,
}

/// Reads a record.
pub(super) fn line(message: &BorrowedMessage<'_>) -> Line {
    let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
    let Some(key) = key else {
        return Line::Other;
    };
    if let Some(Ok(offset)) = key.strip_prefix(COMMAND).map(str::parse) {
        return match message.payload() {
            Some(b"retry") => Line::Command(offset, Command::Retry),
            Some(b"drop") => Line::Command(offset, Command::Drop),
            Some(_) => Line::Other,
            None => Line::Settled(offset),
        };
    }
    let Ok(offset) = key.parse() else {
        return Line::Other;
    };
    let kept = message.payload().map(|_| kept(message, offset));
    Line::Event(offset, kept, kafka::header(message, WRITER))
}

fn kept(message: &BorrowedMessage<'_>, offset: i64) -> Kept {
    let number = |name| kafka::header(message, name).and_then(|text| text.parse().ok());
    let mut event = kafka::event(message);
    event.offset = offset;
    event.key = kafka::header(message, KEY).unwrap_or_default().into();
    event.time = number(TIME).unwrap_or(0);
    let cause = match kafka::header(message, STATE).as_deref() {
        Some("waiting") => Cause::Waiting,
        _ => Cause::Parked {
            reason: kafka::header(message, REASON).unwrap_or_default().into(),
            tries: number(TRIES)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(0),
        },
    };
    Kept {
        event,
        cause,
        since: number(SINCE).unwrap_or(0),
    }
}

/// Writes to the dead letters of one subscription.
#[derive(Debug, Clone)]
pub(super) struct Letters {
    topic: Arc<str>,
    publisher: Arc<Publisher>,
    /// Tells this process's records from those of others.
    writer: Arc<str>,
}

impl Letters {
    pub(super) fn new(subscription: &str, publisher: Arc<Publisher>, writer: Arc<str>) -> Self {
        Self {
            topic: topic(subscription).into(),
            publisher,
            writer,
        }
    }

    /// Whether a record was written by this process.
    pub(super) fn is_own(&self, writer: Option<&str>) -> bool {
        writer == Some(&*self.writer)
    }

    /// Keeps an event.
    pub(super) async fn keep(&self, partition: i32, kept: &Kept) -> Result<(), Problem> {
        let event = &kept.event;
        let (state, reason, tries) = match &kept.cause {
            Cause::Parked { reason, tries } => ("parked", &**reason, *tries),
            Cause::Waiting => ("waiting", "", 0),
        };
        let mut headers = headers(&event.id, event.trace.as_deref());
        for (key, value) in [
            (KEY, &*event.key),
            (TIME, &event.time.to_string()),
            (STATE, state),
            (SINCE, &kept.since.to_string()),
            (REASON, reason),
            (TRIES, &tries.to_string()),
            (WRITER, &self.writer),
        ] {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        let key = event.offset.to_string();
        self.write(partition, &key, Some(&event.body), headers)
            .await
    }

    /// Strikes an event off, and what was asked about it.
    pub(super) async fn forget(&self, partition: i32, offset: i64) -> Result<(), Problem> {
        let headers = OwnedHeaders::new().insert(Header {
            key: WRITER,
            value: Some(&*self.writer),
        });
        // The command goes last: as long as the event is there, it stands.
        self.write(partition, &offset.to_string(), None, headers.clone())
            .await?;
        self.settle(partition, offset).await
    }

    /// Strikes off what was asked about an event.
    pub(super) async fn settle(&self, partition: i32, offset: i64) -> Result<(), Problem> {
        self.write(
            partition,
            &format!("{COMMAND}{offset}"),
            None,
            OwnedHeaders::new(),
        )
        .await
    }

    /// Asks the owner of a partition for something.
    pub(super) async fn ask(
        &self,
        partition: i32,
        offset: i64,
        command: Command,
    ) -> Result<(), Problem> {
        let word: &[u8] = match command {
            Command::Retry => b"retry",
            Command::Drop => b"drop",
        };
        self.write(
            partition,
            &format!("{COMMAND}{offset}"),
            Some(word),
            OwnedHeaders::new(),
        )
        .await
    }

    async fn write(
        &self,
        partition: i32,
        key: &str,
        payload: Option<&[u8]>,
        headers: OwnedHeaders,
    ) -> Result<(), Problem> {
        let record = Record {
            topic: &self.topic,
            partition: Some(partition),
            key,
            payload,
            headers,
        };
        self.publisher.write(record).await.map(|_| ())
    }
}

/// A kept event as people see it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Letter {
    /// `PARTITION-OFFSET`: its place in the topic, and its name here.
    pub(super) id: String,
    event: String,
    key: String,
    /// `parked`, `waiting` behind a parked event of its key, or `retrying`.
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: String,
    tries: u32,
    /// Milliseconds since 1970.
    published: i64,
    pub(super) since: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Box<RawValue>>,
}

/// `PARTITION-OFFSET`.
pub(super) fn place(id: &str) -> Option<(i32, i64)> {
    let (partition, offset) = id.split_once('-')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

/// Reads all dead letters of a subscription, in the order of partition and offset. Blocks.
pub(super) fn read(kafka: &Kafka, subscription: &str) -> Result<Vec<Letter>, KafkaError> {
    let topic = topic(subscription);
    let mut events: BTreeMap<(i32, i64), Kept> = BTreeMap::new();
    let mut asked: BTreeMap<(i32, i64), Command> = BTreeMap::new();
    let consumer = kafka.reader()?;
    let list = Kafka::partitions(&consumer, &topic)?;
    each(&consumer, list, |message| {
        let partition = message.partition();
        match line(message) {
            Line::Event(offset, Some(kept), _) => {
                events.insert((partition, offset), kept);
            }
            Line::Event(offset, None, _) => {
                events.remove(&(partition, offset));
            }
            Line::Command(offset, command) => {
                asked.insert((partition, offset), command);
            }
            Line::Settled(offset) => {
                asked.remove(&(partition, offset));
            }
            Line::Other => {}
        }
    })?;
    let letters = events.into_iter();
    Ok(letters
        .map(|(place, kept)| letter(place, kept, asked.get(&place)))
        .collect())
}

/// Reads partitions from their beginnings to where they end now. Blocks.
pub(super) fn each(
    consumer: &BaseConsumer,
    mut list: TopicPartitionList,
    mut take: impl FnMut(&BorrowedMessage<'_>),
) -> Result<(), KafkaError> {
    list.set_all_offsets(Offset::Beginning)?;
    consumer.assign(&list)?;
    let mut open: Vec<i32> = list.elements().iter().map(|e| e.partition()).collect();
    let mut heard = Instant::now();
    while !open.is_empty() {
        match consumer.poll(ASK) {
            Some(Ok(message)) => take(&message),
            Some(Err(KafkaError::PartitionEOF(ended))) => open.retain(|p| *p != ended),
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
            // A broker that is lost meanwhile: the client looks for another.
            Some(Err(_)) | None if heard.elapsed() < 2 * ASK => continue,
            Some(Err(error)) => return Err(error),
            None => {
                return Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::OperationTimedOut,
                ));
            }
        }
        heard = Instant::now();
    }
    Ok(())
}

fn letter((partition, offset): (i32, i64), kept: Kept, asked: Option<&Command>) -> Letter {
    let Event {
        id,
        key,
        body,
        time,
        ..
    } = kept.event;
    let (state, reason, tries) = match (kept.cause, asked) {
        (Cause::Parked { reason, tries }, None) => ("parked", reason.to_string(), tries),
        (Cause::Parked { reason, tries }, Some(_)) => ("retrying", reason.to_string(), tries),
        (Cause::Waiting, _) => ("waiting", String::new(), 0),
    };
    // A value that is not JSON is shown as text.
    let text = String::from_utf8_lossy(&body);
    let value = serde_json::from_str(&text).or_else(|_| serde_json::value::to_raw_value(&text));
    Letter {
        id: format!("{partition}-{offset}"),
        event: id.to_string(),
        key: key.to_string(),
        state,
        reason,
        tries,
        published: time,
        since: kept.since,
        value: value.ok(),
    }
}
