//! A queue that dies, as by `kill -9`, at every boundary between an effect and what is remembered of it.

use super::subscriber::Subscriber;
use super::world::{Load, Queue, client, eventually, get, scale, seed};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The boundaries, and at how many times there a queue dies at the latest: each is passed more often than that.
const POINTS: [(&str, u32); 6] = [
    ("received", 16),
    ("published", 16),
    ("delivered", 16),
    ("kept", 5),
    ("redelivered", 5),
    ("committed", 4),
];
/// Events of each of four keys; at least twelve of them are kept, behind two that are parked.
const EACH: u64 = 10;

/// A queue that dies at a fail point, and is started again each time.
struct Mortal {
    address: Arc<Mutex<String>>,
    deaths: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Mortal {
    async fn start(brokers: &str, folder: &Path, points: String) -> Self {
        let mut queue = Queue::brief(brokers, folder, &points).await;
        let address = Arc::new(Mutex::new(queue.address.clone()));
        let deaths = Arc::new(AtomicUsize::new(0));
        let (current, count) = (address.clone(), deaths.clone());
        let (brokers, folder) = (brokers.to_owned(), folder.to_owned());
        let task = tokio::spawn(async move {
            loop {
                if queue.is_dead() {
                    count.fetch_add(1, Ordering::Relaxed);
                    queue = Queue::brief(&brokers, &folder, &points).await;
                    *current.lock().unwrap() = queue.address.clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self {
            address,
            deaths,
            task,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address.lock().unwrap())
    }

    /// Asks for a retry of whatever is parked; it may die of it.
    async fn retry_all(&self, subscription: &str) {
        let place = format!("/subscriptions/{subscription}/dead-letters");
        let Ok(Value::Array(letters)) = get(&self.url(&place)).await else {
            return;
        };
        for letter in letters.iter().filter(|letter| letter["state"] == "parked") {
            let id = letter["id"].as_str().unwrap();
            let _ = client()
                .post(self.url(&format!("{place}/{id}/retry")))
                .send()
                .await;
        }
    }
}

/// Runs a load through a queue that dies at one boundary after another: at all of them if the scale is above 1, else at one,
/// another each day. `turn` tells brokers apart, so that they have different ones on the same day.
pub(crate) async fn die_at_boundaries(brokers: &str, folder: &Path, turn: usize) {
    let (count, seed) = (if scale() > 1 { POINTS.len() } else { 1 }, seed());
    eprintln!("HEDDLE_SEED={seed}: {count} of {} boundaries", POINTS.len());
    let points = (0..count).map(|n| POINTS[(seed + turn + n) % POINTS.len()]);
    for (point, one_in) in points {
        let topic = format!("items-{point}");
        let subscriber = Subscriber::start().await;
        // So long that some offsets are committed between two deaths: otherwise each life repeats the one before.
        subscriber.delay(Duration::from_millis(150));
        let load = Load::new(&topic, 4, EACH * scale());
        let calm = Queue::brief(brokers, folder, "").await;
        calm.subscribe(point, &topic, &subscriber).await;
        drop(calm);
        // Two keys are parked, so that their later events are kept.
        for id in ["k0-4", "k1-6"] {
            subscriber.refuse(id, 422);
        }
        let mortal = Mortal::start(brokers, folder, format!("queue.{point}=1/{one_in}")).await;
        let current = mortal.address.clone();
        load.publish(move || vec![current.lock().unwrap().clone()])
            .await;
        eventually("k0-4 and k1-6 are refused", async || {
            subscriber.refusals("k0-4") > 0 && subscriber.refusals("k1-6") > 0
        })
        .await;
        for id in ["k0-4", "k1-6"] {
            subscriber.accept(id);
        }
        eventually("all have their effect", async || {
            mortal.retry_all(point).await;
            subscriber.count() == load.total()
        })
        .await;
        load.judge(&subscriber).await;
        mortal.task.abort();
        let deaths = mortal.deaths.load(Ordering::Relaxed);
        eprintln!("queue.{point}: {deaths} deaths");
        assert!(deaths > 0, "the queue never died at {point}");
        let calm = Queue::brief(brokers, folder, "").await;
        calm.caught_up(point).await;
        eventually("none is kept", async || {
            calm.letters(point).await.is_empty()
        })
        .await;
        let url = calm.url(&format!("/subscriptions/{point}"));
        assert_eq!(client().delete(url).send().await.unwrap().status(), 204);
    }
}
