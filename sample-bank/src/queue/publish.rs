//! Publishing: acknowledged when every copy in sync has the event.

use super::kafka::{self, Kafka};
use crate::call::Trace;
use crate::failpoint;
use crate::problem::{Code, Problem};
use crate::web::BODY_LIMIT;
use futures_util::future::join_all;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer, PurgeConfig};
use rdkafka::util::Timeout;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::{Arc, PoisonError, RwLock};

/// Longest name of a topic or subscription, in bytes; a topic of dead letters has a prefix before it.
pub(super) const NAME_LIMIT: usize = 100;
/// Longest id and key of an event, in bytes: both travel as headers.
const TEXT_LIMIT: usize = 128;
/// Most events of one request: what the relay sends at once, several times over.
const BATCH_LIMIT: usize = 1000;

/// What `POST /topics/T` takes, one or an array of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Publication {
    /// Subscribers know repetitions by it.
    id: String,
    /// Events of one key keep their order.
    key: String,
    /// Any JSON; subscribers get these very bytes.
    value: Box<RawValue>,
}

/// Where an event lies.
#[derive(Debug, Serialize)]
pub(super) struct Published {
    id: String,
    partition: i32,
    offset: i64,
}

/// The producer of this process.
pub(super) struct Publisher {
    kafka: Arc<Kafka>,
    producer: RwLock<FutureProducer>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Publisher({})", self.kafka.bootstrap())
    }
}

/// A record to be written.
pub(super) struct Record<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: Option<i32>,
    pub(super) key: &'a str,
    pub(super) payload: Option<&'a [u8]>,
    pub(super) headers: OwnedHeaders,
}

impl Publisher {
    pub(super) fn new(kafka: Arc<Kafka>) -> Result<Self, KafkaError> {
        let producer = RwLock::new(kafka.producer()?);
        Ok(Self { kafka, producer })
    }

    /// Publishes events, each after the ones before it of the same key. What is acknowledged in part is not acknowledged:
    /// whoever sends the whole again changes nothing, since subscribers know events by their ids.
    pub(super) async fn publish(
        &self,
        topic: &str,
        events: &[Publication],
        trace: &Trace,
    ) -> Result<Vec<Published>, Problem> {
        check_name("topic", topic)?;
        if events.len() > BATCH_LIMIT {
            return Err(Problem::malformed(format!(
                "{} events at once: send at most {BATCH_LIMIT}",
                events.len()
            )));
        }
        for event in events {
            check_text("id", &event.id)?;
            check_text("key", &event.key)?;
            if event.value.get().len() > BODY_LIMIT {
                let detail = format!(
                    "the value of {} is larger than {BODY_LIMIT} bytes",
                    event.id
                );
                return Err(Problem::new(Code::TooLarge, detail));
            }
        }
        failpoint::reach("queue.received");
        self.kafka.ensure(topic, None, false).await?;
        let places = self.in_order(topic, events, trace).await?;
        failpoint::reach("queue.published");
        let published = events.iter().zip(places);
        Ok(published
            .map(|(event, (partition, offset))| Published {
                id: event.id.clone(),
                partition,
                offset,
            })
            .collect())
    }

    /// Keys side by side, the events of each one by one: should one fail, none of its key follows it into the topic.
    async fn in_order(
        &self,
        topic: &str,
        events: &[Publication],
        trace: &Trace,
    ) -> Result<Vec<(i32, i64)>, Problem> {
        let mut keys: Vec<(&str, Vec<usize>)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for (index, event) in events.iter().enumerate() {
            let place = *places.entry(event.key.as_str()).or_insert_with(|| {
                keys.push((&event.key, Vec::new()));
                keys.len() - 1
            });
            keys[place].1.push(index);
        }
        let chains = keys.iter().map(|(key, indexes)| async move {
            let mut done = Vec::with_capacity(indexes.len());
            for index in indexes {
                let event = &events[*index];
                let record = Record {
                    topic,
                    partition: None,
                    key,
                    payload: Some(event.value.get().as_bytes()),
                    headers: headers(&event.id, trace.text()),
                };
                done.push((*index, self.write(record).await?));
            }
            Ok(done)
        });
        let mut placed = vec![(0, 0); events.len()];
        for chain in join_all(chains).await {
            for (index, place) in chain? {
                placed[index] = place;
            }
        }
        Ok(placed)
    }

    /// Writes one record; its partition and offset when every copy in sync has it.
    pub(super) async fn write(&self, record: Record<'_>) -> Result<(i32, i64), Problem> {
        let producer = self
            .producer
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut future: FutureRecord<'_, str, [u8]> = FutureRecord::to(record.topic)
            .key(record.key)
            .headers(record.headers);
        future.payload = record.payload;
        future.partition = record.partition;
        match producer
            .send(future, Timeout::After(std::time::Duration::ZERO))
            .await
        {
            Ok(delivery) => Ok((delivery.partition, delivery.offset)),
            Err((error, _)) => {
                self.recover(&producer, &error);
                Err(match error {
                    KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
                        Problem::new(Code::TooLarge, "the broker takes no event of this size")
                    }
                    error => kafka::away(&error),
                })
            }
        }
    }

    /// A producer that lost its place among the broker's sequence numbers takes nothing more: a new one begins afresh.
    ///
    /// One that timed out would go on with a new epoch of its own, of which the embedded broker knows nothing (tansu 0.6
    /// panics). What it still holds is answered 503 and comes again.
    fn recover(&self, broken: &FutureProducer, error: &KafkaError) {
        let timed_out = matches!(
            error,
            KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)
        );
        let why = match broken.client().fatal_error() {
            Some((code, why)) => format!("{code}: {why}"),
            None if timed_out => "the broker did not answer in time".to_owned(),
            None => return,
        };
        let mut current = self
            .producer
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if current.client().native_ptr() != broken.client().native_ptr() {
            return; // somebody else was here
        }
        tracing::warn!(why, "a new producer");
        match self.kafka.producer() {
            Ok(new) => {
                *current = new;
                broken.purge(PurgeConfig::default().queue().inflight());
            }
            Err(error) => tracing::error!(%error, "no new producer"),
        }
    }
}

/// The headers of an event's record.
pub(super) fn headers(id: &str, trace: Option<&str>) -> OwnedHeaders {
    let headers = OwnedHeaders::new().insert(Header {
        key: kafka::ID,
        value: Some(id),
    });
    match trace {
        None => headers,
        Some(trace) => headers.insert(Header {
            key: kafka::TRACE,
            value: Some(trace),
        }),
    }
}

/// A name of a topic or subscription.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), Problem> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    let fits = (1..=NAME_LIMIT).contains(&name.len()) && name.bytes().all(plain);
    let own = ["dead.", "queue."]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    if fits && !own && name != "." && name != ".." {
        return Ok(());
    }
    Err(Problem::malformed(format!(
        "`{}` is no name for a {what}: take 1 to {NAME_LIMIT} characters of a-z, 0-9, `.` and `-`, not beginning with \
         `dead.` or `queue.`",
        name.chars().take(NAME_LIMIT).collect::<String>()
    )))
}

fn check_text(what: &str, text: &str) -> Result<(), Problem> {
    if (1..=TEXT_LIMIT).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Problem::malformed(format!(
        "an event's {what} is 1 to {TEXT_LIMIT} visible characters of ASCII"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["ledger.postings", "a", "feed-2"] {
            assert!(check_name("topic", good).is_ok(), "{good}");
        }
        let long = "x".repeat(NAME_LIMIT + 1);
        for bad in [
            "",
            "..",
            "dead.feed",
            "queue.subscriptions",
            "A",
            "a/b",
            "a b",
            &long,
        ] {
            assert!(check_name("topic", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_and_keys_are_checked() {
        for good in ["txn-1:acc-2", "x"] {
            assert!(check_text("id", good).is_ok(), "{good}");
        }
        let long = "x".repeat(TEXT_LIMIT + 1);
        for bad in ["", "a b", "a\n", "ä", &long] {
            assert!(check_text("id", bad).is_err(), "{bad}");
        }
    }
}
