//! On the embedded broker.

use super::boundaries::die_at_boundaries;
use super::subscriber::Subscriber;
use super::world::{Load, Queue, client, eventually, get, run, scale};
use heddle_bank::brokers::Embedded;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// A broker, a queue and a subscriber.
pub(crate) struct Small {
    pub(crate) folder: TempDir,
    pub(crate) broker: Option<Embedded>,
    pub(crate) brokers: String,
    pub(crate) queue: Queue,
    pub(crate) subscriber: Subscriber,
}

impl Small {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let broker = Embedded::start(&folder.path().join("broker"), 0).unwrap();
        let brokers = broker.address().to_string();
        let queue = Queue::start(&brokers, folder.path()).await;
        let subscriber = Subscriber::start().await;
        Self {
            folder,
            broker: Some(broker),
            brokers,
            queue,
            subscriber,
        }
    }

    pub(crate) async fn publish(&self, load: &Load) {
        let address = self.queue.address.clone();
        load.publish(move || vec![address.clone()]).await;
    }
}

pub(crate) fn arrive() {
    run(async {
        let mut small = Small::start().await;
        small
            .queue
            .subscribe("feed", "feed.items", &small.subscriber)
            .await;
        let batch: Vec<Value> = (1..=3)
            .map(|n| json!({"id": format!("b-{n}"), "key": "b", "value": {"n":n}}))
            .collect();
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let answer = client()
            .post(small.queue.url("/topics/feed.items"))
            .header("traceparent", trace)
            .json(&batch)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let places: Vec<Value> = answer.json().await.unwrap();
        assert_eq!(places.len(), 3);
        assert!(
            places
                .iter()
                .all(|place| place["partition"] == places[0]["partition"]),
            "one key, one partition"
        );
        assert!(places[0]["offset"].as_i64() < places[1]["offset"].as_i64());
        eventually("all arrive", async || small.subscriber.count() == 3).await;
        let first = &small.subscriber.accepted()[0];
        assert_eq!((first.id.as_str(), first.key.as_str()), ("b-1", "b"));
        assert_eq!(first.headers["idempotency-key"], "b-1");
        assert_eq!(first.headers["traceparent"], trace);
        assert_eq!(first.headers["content-type"], "application/json");
        assert_eq!(&first.body[..], br#"{"n":1}"#, "the very bytes");

        let load = Load::new("other.topic", 12, 20 * scale());
        let other = Subscriber::start().await;
        small.queue.subscribe("other", "other.topic", &other).await;
        small.publish(&load).await;
        load.judge(&other).await;
        small.queue.caught_up("other").await;
        let status = small.queue.status("other").await;
        assert_eq!(
            (&status["oldest_age_ms"], &status["parked"]),
            (&json!(0), &json!(0))
        );
        assert_eq!(
            small.subscriber.count(),
            3,
            "each subscription gets its own topic"
        );
        let page = get(&small.queue.url("/metrics")).await.unwrap();
        let page = page.as_str().unwrap();
        assert!(
            page.contains(
                r#"bank_queue_deliveries_total{outcome="delivered",subscription="other"}"#
            ),
            "{page}"
        );
        assert_eq!(small.queue.stop(), Some(0));
        // All was committed on leaving: the next one delivers nothing again.
        let queue = Queue::start(&small.brokers, small.folder.path()).await;
        queue.caught_up("other").await;
        assert_eq!(other.accepted().len(), load.total());
    });
}

pub(crate) fn refused() {
    run(async {
        let small = Small::start().await;
        let url = small.queue.url("/topics/feed.items");
        let good = json!({"id": "a", "key": "k", "value": {}}).to_string();
        let long = "x".repeat(129);
        let huge = json!({"id": "a", "key": "k", "value": "x".repeat(65 * 1024)}).to_string();
        for (path, body, status, word) in [
            ("/topics/feed.items", "{".to_owned(), 400, "malformed"),
            ("/topics/feed.items", "[]]".to_owned(), 400, "malformed"),
            (
                "/topics/feed.items",
                r#"{"id":"a","value":1}"#.to_owned(),
                400,
                "key",
            ),
            (
                "/topics/feed.items",
                r#"{"id":"a b","key":"k","value":1}"#.to_owned(),
                400,
                "id",
            ),
            (
                "/topics/feed.items",
                r#"{"id":"a","key":"","value":1}"#.to_owned(),
                400,
                "key",
            ),
            (
                "/topics/feed.items",
                json!({"id": long, "key": "k", "value": 1}).to_string(),
                400,
                "id",
            ),
            (
                "/topics/feed.items",
                r#"{"id":"a","key":"k","value":1,"x":1}"#.to_owned(),
                400,
                "x",
            ),
            ("/topics/feed.items", huge, 413, "too-large"),
            (
                "/topics/feed.items",
                "x".repeat(1024 * 1024 + 1),
                413,
                "too-large",
            ),
            ("/topics/dead.feed", good.clone(), 400, "dead."),
            ("/topics/Feed", good.clone(), 400, "a-z"),
            (
                "/replays",
                r#"{"topic":"feed.items","from":{"time":"today"},"group":"g","to":"http://a/b"}"#
                    .to_owned(),
                400,
                "today",
            ),
            (
                "/replays",
                r#"{"topic":"feed.items","from":{"offset":-1},"group":"g","to":"http://a/b"}"#
                    .to_owned(),
                400,
                "offset",
            ),
            ("/subscriptions/none/pause", String::new(), 404, "none"),
            (
                "/subscriptions/none/dead-letters/0-1/retry",
                String::new(),
                404,
                "none",
            ),
        ] {
            let answer = client()
                .post(small.queue.url(path))
                .body(body)
                .send()
                .await
                .unwrap();
            assert_eq!(
                answer.headers()["content-type"],
                "application/problem+json",
                "{path}"
            );
            assert_eq!(answer.status(), status, "{path}");
            let text = answer.text().await.unwrap();
            assert!(text.contains(word), "{path}: {text}");
        }
        let put = async |body: Value| {
            client()
                .put(small.queue.url("/subscriptions/feed"))
                .json(&body)
                .send()
                .await
                .unwrap()
                .status()
        };
        assert_eq!(
            put(json!({"topic": "feed.items", "to": "nowhere"})).await,
            400
        );
        assert_eq!(
            put(json!({"topic": "feed.items", "to": "http://feed/events"})).await,
            200
        );
        assert_eq!(
            put(json!({"topic": "other", "to": "http://feed/events"})).await,
            409
        );
        let none = small.queue.status("feed").await;
        assert_eq!(none["lag"], 0, "nothing of it was published: {none}");
        assert_eq!(
            client().post(url).body(good).send().await.unwrap().status(),
            200
        );
    });
}

pub(crate) fn broker_away() {
    run(async {
        let mut small = Small::start().await;
        small
            .queue
            .subscribe("feed", "feed.items", &small.subscriber)
            .await;
        let load = Load {
            pause: Duration::from_millis(20),
            ..Load::new("feed.items", 6, 30 * scale())
        };
        let (running, address) = (load.clone(), small.queue.address.clone());
        let publishing =
            tokio::spawn(async move { running.publish(move || vec![address.clone()]).await });
        eventually("it runs", async || small.subscriber.count() > 10).await;
        let broker = small.broker.take().unwrap();
        let port = broker.address().port();
        broker.kill();
        let body = json!({"id": "x-1", "key": "x", "value": {"n": 1}});
        let refused = client()
            .post(small.queue.url("/topics/other"))
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(
            refused.status(),
            503,
            "a publication is refused within its time"
        );
        small.broker = Some(Embedded::start(&small.folder.path().join("broker"), port).unwrap());
        publishing.await.unwrap();
        load.judge(&small.subscriber).await;
        small.queue.caught_up("feed").await;
    });
}

pub(crate) fn replicas() {
    run(async {
        let mut small = Small::start().await;
        small.subscriber.delay(Duration::from_millis(3));
        small
            .queue
            .subscribe("feed", "feed.items", &small.subscriber)
            .await;
        let load = Load {
            pause: Duration::from_millis(10),
            ..Load::new("feed.items", 12, 60 * scale())
        };
        let mut second = Queue::start(&small.brokers, small.folder.path()).await;
        let living = Arc::new(Mutex::new(vec![
            small.queue.address.clone(),
            second.address.clone(),
        ]));
        let (running, targets) = (load.clone(), living.clone());
        let publishing = tokio::spawn(async move {
            running
                .publish(move || targets.lock().unwrap().clone())
                .await
        });
        eventually("both have partitions", async || {
            let count = async |queue: &Queue| {
                queue.status("feed").await["partitions"]
                    .as_array()
                    .map_or(0, Vec::len)
            };
            count(&small.queue).await > 0 && count(&second).await > 0
        })
        .await;
        eventually("it runs", async || small.subscriber.count() > 30).await;
        small.queue.kill();
        let mut third = Queue::start(&small.brokers, small.folder.path()).await;
        *living.lock().unwrap() = vec![second.address.clone(), third.address.clone()];
        publishing.await.unwrap();
        assert_eq!(second.stop(), Some(0), "{}", second.log());
        load.judge(&small.subscriber).await;
        third.caught_up("feed").await;
        assert_eq!(third.stop(), Some(0));
    });
}

pub(crate) fn boundaries() {
    run(async {
        let folder = TempDir::new().unwrap();
        let broker = Embedded::start(&folder.path().join("broker"), 0).unwrap();
        die_at_boundaries(&broker.address().to_string(), folder.path(), 0).await;
    });
}

pub(crate) fn paused() {
    run(async {
        let small = Small::start().await;
        small
            .queue
            .subscribe("feed", "feed.items", &small.subscriber)
            .await;
        let post = async |what: &str| {
            let url = small.queue.url(&format!("/subscriptions/feed/{what}"));
            assert_eq!(client().post(url).send().await.unwrap().status(), 200);
        };
        post("pause").await;
        let load = Load::new("feed.items", 3, 3);
        small.publish(&load).await;
        eventually("they are counted", async || {
            small.queue.status("feed").await["lag"] == load.total()
        })
        .await;
        assert_eq!(small.subscriber.count(), 0);
        post("resume").await;
        load.judge(&small.subscriber).await;
    });
}

pub(crate) fn replayed() {
    run(async {
        let small = Small::start().await;
        small
            .queue
            .subscribe("feed", "feed.items", &small.subscriber)
            .await;
        let early = Load::new("feed.items", 4, 10);
        small.publish(&early).await;
        early.judge(&small.subscriber).await;
        let date = std::process::Command::new("date")
            .args(["-u", "+%Y-%m-%dT%H:%M:%S.%3NZ"])
            .output()
            .unwrap();
        let middle = String::from_utf8(date.stdout).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let body: Vec<Value> = (1..=7)
            .map(|n| json!({"id": format!("late-{n}"), "key": "late", "value": {"n": n}}))
            .collect();
        let url = small.queue.url("/topics/feed.items");
        assert_eq!(
            client()
                .post(&url)
                .json(&body)
                .send()
                .await
                .unwrap()
                .status(),
            200
        );

        let replay = async |group: &str, from: Value, to: &Subscriber| {
            let body = json!({"topic": "feed.items", "from": from, "group": group, "to": to.url()});
            client()
                .post(small.queue.url("/replays"))
                .json(&body)
                .send()
                .await
                .unwrap()
                .status()
        };
        let (all, late) = (Subscriber::start().await, Subscriber::start().await);
        assert_eq!(replay("all", json!({"offset": 0}), &all).await, 201);
        assert_eq!(
            replay("late", json!({"time": middle.trim()}), &late).await,
            201
        );
        assert_eq!(
            replay("all", json!({"offset": 0}), &all).await,
            409,
            "a group is new once"
        );
        small.queue.caught_up("all").await;
        small.queue.caught_up("late").await;
        assert_eq!(all.count(), early.total() + 7);
        assert_eq!(late.count(), 7, "nothing from before that time");
        // Live traffic goes to both, and a replay that is restarted goes on where it was.
        let again = Queue::start(&small.brokers, small.folder.path()).await;
        let live = json!({"id": "late-8", "key": "late", "value": {"n": 8}});
        assert_eq!(
            client()
                .post(&url)
                .json(&live)
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
        eventually("both go on", async || {
            all.count() == early.total() + 8 && late.count() == 8
        })
        .await;
        again.caught_up("late").await;
    });
}
