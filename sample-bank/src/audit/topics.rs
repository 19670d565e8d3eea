//! The topics from their beginning to their end, read with a client of our own, apart from every subscription.

use super::effects::Effect;
use crate::Failure;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// How long the broker may take for an answer.
const ASK: Duration = Duration::from_secs(10);
/// How long reading a topic may stand still.
const STILL: Duration = Duration::from_secs(20);

/// Events by topic and account, in the order of the topic.
///
/// # Errors
///
/// The brokers cannot be reached, or a record is no event.
pub(super) async fn read(
    kafka: String,
    subscribers: &[String],
) -> Result<BTreeMap<String, BTreeMap<String, Vec<Effect>>>, Failure> {
    let mut topics = vec![crate::event::POSTINGS.to_owned()];
    // What merchants pass on is only there when somebody plays it.
    if subscribers.iter().any(|name| name == "merchants") {
        topics.push("feed.items".to_owned());
    }
    let reading = tokio::task::spawn_blocking(move || {
        let read = |topic: String| {
            let events = topic_events(&kafka, &topic).map_err(|e| {
                Failure::new(format!("cannot read the topic {topic} at {kafka}: {e}"))
            })??;
            Ok((topic, events))
        };
        topics.into_iter().map(read).collect()
    });
    match reading.await {
        Ok(read) => read,
        Err(died) => Err(Failure::new(format!(
            "reading the topics ended early: {died}"
        ))),
    }
}

type Events = BTreeMap<String, Vec<Effect>>;

fn topic_events(kafka: &str, topic: &str) -> Result<Result<Events, Failure>, KafkaError> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "heddle-bank-audit")
        .set("enable.auto.commit", "false")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), ASK)?;
    let mut assignment = TopicPartitionList::new();
    let mut ends: HashMap<i32, i64> = HashMap::new();
    let partitions = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions());
    for partition in partitions.map(|partition| partition.id()) {
        let (low, end) = consumer.fetch_watermarks(topic, partition, ASK)?;
        if end > low {
            assignment.add_partition_offset(topic, partition, Offset::Offset(low))?;
            ends.insert(partition, end);
        }
    }
    consumer.assign(&assignment)?;
    let mut events = Events::new();
    let mut moved = Instant::now();
    while !ends.is_empty() {
        let Some(message) = consumer.poll(Duration::from_millis(200)) else {
            if moved.elapsed() > STILL {
                return Ok(Err(Failure::new(format!(
                    "the topic {topic} was not read to its end: {} partitions are left",
                    ends.len()
                ))));
            }
            continue;
        };
        let message = message?;
        moved = Instant::now();
        let (partition, offset) = (message.partition(), message.offset());
        match serde_json::from_slice::<Effect>(message.payload().unwrap_or_default()) {
            Ok(event) => events.entry(event.account.clone()).or_default().push(event),
            Err(error) => {
                return Ok(Err(Failure::new(format!(
                    "{topic}, partition {partition}, offset {offset} is no event: {error}"
                ))));
            }
        }
        if ends.get(&partition).is_some_and(|end| offset + 1 >= *end) {
            ends.remove(&partition);
        }
    }
    Ok(Ok(events))
}
