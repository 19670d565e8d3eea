//! Every subscription there is: the compacted topic `queue.subscriptions`, read by every replica, so that each of them knows
//! all and has a member in the group of each.

use super::delivery::Delivery;
use super::kafka::{Kafka, away};
use super::letters::{self, Letters};
use super::member::Member;
use super::owned::Owned;
use super::publish::{Publisher, Record};
use super::subscription::Subscription;
use crate::call::Peers;
use crate::problem::{Code, Problem};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedHeaders};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

const TOPIC: &str = "queue.subscriptions";
/// Subscriptions at most: each costs every replica a thread and two clients.
const LIMIT: usize = 50;
/// How long a change may take until this replica has read it.
const SEEN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// Wait before the topic is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

type All = BTreeMap<String, Subscription>;

/// See the module.
#[derive(Debug)]
pub(super) struct Registry {
    kafka: Arc<Kafka>,
    publisher: Arc<Publisher>,
    peers: Peers,
    service: Handle,
    /// None until the topic was read once.
    all: watch::Sender<Option<All>>,
    members: Mutex<BTreeMap<String, Member>>,
    /// Tells this process from others.
    own: Arc<str>,
    stop: AtomicBool,
}

impl Registry {
    pub(super) fn new(
        kafka: Arc<Kafka>,
        publisher: Arc<Publisher>,
        peers: Peers,
        own: Arc<str>,
    ) -> Arc<Self> {
        Arc::new(Self {
            kafka,
            publisher,
            peers,
            service: Handle::current(),
            all: watch::Sender::new(None),
            members: Mutex::default(),
            own,
            stop: AtomicBool::new(false),
        })
    }

    /// Reads the topic for as long as the process lives, on a thread of its own.
    pub(super) fn follow(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let registry = self.clone();
        std::thread::Builder::new()
            .name("subscriptions".to_owned())
            .spawn(move || {
                while !registry.stop.load(Relaxed) {
                    if let Err(error) = registry.read() {
                        tracing::warn!(%error, "subscriptions cannot be read; trying again");
                        std::thread::sleep(AGAIN);
                    }
                }
            })
    }

    fn read(&self) -> Result<(), Problem> {
        self.service
            .block_on(self.kafka.ensure(TOPIC, Some(1), true))?;
        let reader = self.reader().map_err(|e| away(&e))?;
        let mut all = All::new();
        while !self.stop.load(Relaxed) {
            if step(&reader, &mut all).map_err(|e| away(&e))? {
                self.all.send_if_modified(|known| {
                    let changed = known.as_ref() != Some(&all);
                    *known = Some(all.clone());
                    changed
                });
                self.adjust(&all);
            }
        }
        Ok(())
    }

    fn reader(&self) -> Result<BaseConsumer, KafkaError> {
        let reader = self.kafka.reader()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(TOPIC, 0, Offset::Beginning)?;
        reader.assign(&list)?;
        Ok(reader)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a member for each subscription that is not paused, and no other.
    fn adjust(&self, all: &All) {
        let wanted = |name: &str| all.get(name).filter(|subscription| !subscription.paused);
        let outdated = |member: &Member| {
            let running = &member.owned.delivery.subscription;
            wanted(&running.name) != Some(running)
        };
        let leaving: Vec<Member> = self
            .lock()
            .extract_if(.., |_, member| outdated(member))
            .map(|(_, m)| m)
            .collect();
        for member in &leaving {
            member.stop();
        }
        for member in leaving {
            member.join();
        }
        for (name, subscription) in all {
            if subscription.paused || self.lock().contains_key(name) {
                continue;
            }
            let letters = Letters::new(name, self.publisher.clone(), self.own.clone());
            let delivery = Delivery::new(subscription.clone(), self.peers.clone());
            let owned = Arc::new(Owned::new(delivery, letters, self.service.clone()));
            match Member::start(self.kafka.clone(), owned) {
                Ok(member) => {
                    self.lock().insert(name.clone(), member);
                }
                Err(error) => tracing::error!(%error, subscription = name, "no thread for it"),
            }
        }
    }

    /// Every subscription.
    ///
    /// # Errors
    ///
    /// They were not read yet.
    pub(super) fn all(&self) -> Result<All, Problem> {
        self.all.borrow().clone().ok_or_else(|| {
            Problem::unavailable(
                "the subscriptions are not read yet: is the broker there? Ask again",
            )
        })
    }

    /// One subscription.
    pub(super) fn get(&self, name: &str) -> Result<Subscription, Problem> {
        self.all()?.remove(name).ok_or_else(|| {
            let name: String = name.chars().take(100).collect();
            Problem::new(Code::NotFound, format!("there is no subscription `{name}`"))
        })
    }

    /// Makes or changes a subscription, on all replicas; returns when this one knows it.
    pub(super) async fn put(&self, subscription: Subscription) -> Result<(), Problem> {
        subscription.check()?;
        let all = self.all()?;
        let name = &subscription.name;
        match all.get(name) {
            Some(known) if *known == subscription => return Ok(()),
            Some(known) if known.topic != subscription.topic => {
                return Err(Problem::new(
                    Code::Conflict,
                    format!(
                        "{name} is a subscription to {}: delete it first, or take another name",
                        known.topic
                    ),
                ));
            }
            None if all.len() >= LIMIT => {
                return Err(Problem::new(
                    Code::Conflict,
                    format!("there are {LIMIT} subscriptions already: delete one first"),
                ));
            }
            _ => {}
        }
        self.kafka.ensure(&subscription.topic, None, false).await?;
        let partitions = self.kafka.count(&subscription.topic).await?;
        self.kafka
            .ensure(&letters::topic(name), Some(partitions), true)
            .await?;
        let text = serde_json::to_string(&subscription).expect("it is plain data");
        self.write(name, Some(&text)).await?;
        self.seen(|all| all.get(name) == Some(&subscription)).await
    }

    /// Ends a subscription. Its group's offsets and its dead letters stay with the broker.
    pub(super) async fn delete(&self, name: &str) -> Result<(), Problem> {
        self.get(name)?;
        self.write(name, None).await?;
        self.seen(|all| !all.contains_key(name)).await
    }

    async fn write(&self, name: &str, text: Option<&str>) -> Result<(), Problem> {
        let record = Record {
            topic: TOPIC,
            partition: Some(0),
            key: name,
            payload: text.map(str::as_bytes),
            headers: OwnedHeaders::new(),
        };
        self.publisher.write(record).await.map(|_| ())
    }

    async fn seen(&self, enough: impl Fn(&All) -> bool) -> Result<(), Problem> {
        let mut all = self.all.subscribe();
        let seen = all.wait_for(|all| all.as_ref().is_some_and(&enough));
        match tokio::time::timeout(SEEN, seen).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Problem::unavailable(
                "the change is made, but not seen here yet; ask again",
            )),
        }
    }

    /// What this process has of a subscription: requests in flight, and its partitions with their dead letters.
    pub(super) fn here(&self, name: &str) -> (usize, Vec<(i32, usize)>) {
        let members = self.lock();
        members.get(name).map_or((0, Vec::new()), |member| {
            (member.owned.delivery.in_flight(), member.owned.partitions())
        })
    }

    /// Stops every member, in order. Blocks.
    pub(super) fn stop(&self) {
        self.stop.store(true, Relaxed);
        let members = std::mem::take(&mut *self.lock());
        for member in members.values() {
            member.stop();
        }
        for member in members.into_values() {
            member.join();
        }
    }
}

/// Reads the next record; true at the end of the topic.
fn step(reader: &BaseConsumer, all: &mut All) -> Result<bool, KafkaError> {
    match reader.poll(POLL) {
        Some(Ok(message)) => {
            let name = message
                .key()
                .map(String::from_utf8_lossy)
                .unwrap_or_default()
                .into_owned();
            match message.payload().map(serde_json::from_slice) {
                None => {
                    all.remove(&name);
                }
                Some(Ok(subscription)) => {
                    all.insert(name, subscription);
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, name, "a subscription that cannot be read is left out")
                }
            }
            Ok(false)
        }
        Some(Err(KafkaError::PartitionEOF(_))) => Ok(true),
        Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => Err(error),
        Some(Err(error)) => {
            tracing::debug!(%error, "no subscriptions");
            Ok(false)
        }
        None => Ok(false),
    }
}
