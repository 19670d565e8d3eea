//! How far a subscription is: what the broker says of its group, so that every replica tells the same.

use super::kafka::{self, ASK, Kafka};
use super::letters;
use super::subscription::Subscription;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How long the ages of unread events are looked for; those not found by then are left out.
const LOOK: std::time::Duration = std::time::Duration::from_secs(2);

/// The figures of a subscription over all replicas.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Status {
    /// Events that are neither finished nor in the dead letters.
    pub(super) lag: i64,
    /// How long ago the oldest of them was published, in milliseconds; 0 without any.
    pub(super) oldest_age_ms: i64,
    /// Events in the dead letters that were refused, and those that wait behind them.
    pub(super) parked: usize,
    pub(super) waiting: usize,
    /// How long the oldest event has been in the dead letters, in milliseconds; 0 without any.
    pub(super) oldest_parked_ms: i64,
}

/// One partition: the next offset to read, and the end.
#[derive(Debug, Clone, Copy)]
struct Reach {
    partition: i32,
    next: i64,
    end: i64,
}

/// Asks the broker. Blocks.
pub(super) fn ask(kafka: &Kafka, subscription: &Subscription) -> Result<Status, KafkaError> {
    let observer = kafka.observer(&subscription.name)?;
    let reaches = reach(&observer, subscription)?;
    let now = now();
    let behind = reaches.iter().filter(|reach| reach.next < reach.end);
    let unread: Vec<_> = behind.map(|reach| (reach.partition, reach.next)).collect();
    let times = times(&observer, &subscription.topic, &unread)?;
    let oldest = times.into_iter().map(|(_, time)| time).min();
    let letters = letters::read(kafka, &subscription.name)?;
    let (waiting, parked): (Vec<_>, Vec<_>) = letters.iter().partition(|l| l.state == "waiting");
    let kept_since = letters.iter().map(|letter| letter.since).min();
    Ok(Status {
        lag: reaches.iter().map(|r| r.end - r.next).sum(),
        oldest_age_ms: oldest.map_or(0, |time| (now - time).max(0)),
        parked: parked.len(),
        waiting: waiting.len(),
        oldest_parked_ms: kept_since.map_or(0, |time| (now - time).max(0)),
    })
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// How far each partition is.
fn reach(observer: &BaseConsumer, subscription: &Subscription) -> Result<Vec<Reach>, KafkaError> {
    let topic = &subscription.topic;
    let committed = observer.committed_offsets(Kafka::partitions(observer, topic)?, ASK)?;
    let mut reaches = Vec::new();
    for element in committed.elements() {
        let partition = element.partition();
        let (low, end) = observer.fetch_watermarks(topic, partition, ASK)?;
        let told = subscription
            .from
            .as_ref()
            .and_then(|from| from.get(&partition).copied());
        let next = kafka::number(element.offset()).or(told).unwrap_or(low);
        let next = next.clamp(low.min(end), end);
        reaches.push(Reach {
            partition,
            next,
            end,
        });
    }
    Ok(reaches)
}

/// When the events at these places were published, each once it is found; what cannot be read in time is left out.
fn times(
    reader: &BaseConsumer,
    topic: &str,
    places: &[(i32, i64)],
) -> Result<Vec<(i32, i64)>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in places {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    let mut missing: Vec<i32> = places.iter().map(|(partition, _)| *partition).collect();
    let mut times = Vec::new();
    if missing.is_empty() {
        return Ok(times);
    }
    reader.assign(&list)?;
    let until = Instant::now() + LOOK;
    while !missing.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match reader.poll(left) {
            Some(Ok(message)) if missing.contains(&message.partition()) => {
                missing.retain(|partition| *partition != message.partition());
                let time = message.timestamp().to_millis().unwrap_or(0);
                times.push((message.partition(), time));
            }
            Some(Err(KafkaError::PartitionEOF(ended))) => missing.retain(|p| *p != ended),
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
            _ => {}
        }
    }
    Ok(times)
}

/// Where each partition begins for a replay. Blocks.
pub(super) fn beginnings(
    kafka: &Kafka,
    topic: &str,
    from: From,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let reader = kafka.reader()?;
    let mut list = Kafka::partitions(&reader, topic)?;
    if let From::Time(time) = from {
        list.set_all_offsets(Offset::Offset(time))?;
        list = reader.offsets_for_times(list, ASK)?;
    }
    let (mut beginnings, mut ends) = (BTreeMap::new(), BTreeMap::new());
    for element in list.elements() {
        let partition = element.partition();
        let (low, end) = reader.fetch_watermarks(topic, partition, ASK)?;
        let begin = match from {
            From::Offset(offset) => offset.clamp(low, end),
            // None is as young as that: what comes next is.
            From::Time(_) => kafka::number(element.offset()).unwrap_or(end),
        };
        ends.insert(partition, end);
        beginnings.insert(partition, begin);
    }
    if let From::Time(time) = from {
        // The embedded broker says 0 where it should say none: what is found there is too old.
        let told = beginnings
            .iter()
            .map(|(partition, begin)| (*partition, *begin));
        let told: Vec<_> = told
            .filter(|(partition, begin)| *begin < ends[partition])
            .collect();
        for (partition, found) in times(&reader, topic, &told)? {
            if found < time {
                beginnings.insert(partition, ends[&partition]);
            }
        }
    }
    Ok(beginnings)
}

/// Where a replay begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    /// At this offset of every partition, or the nearest there is.
    Offset(i64),
    /// At the first event published at or after this time, in milliseconds since 1970.
    Time(i64),
}

/// Whether a group has ever committed anything in a topic. Blocks.
pub(super) fn is_used(kafka: &Kafka, group: &str, topic: &str) -> Result<bool, KafkaError> {
    let observer = kafka.observer(group)?;
    let committed = observer.committed_offsets(Kafka::partitions(&observer, topic)?, ASK)?;
    let elements = committed.elements();
    Ok(elements
        .iter()
        .any(|element| kafka::number(element.offset()).is_some()))
}
