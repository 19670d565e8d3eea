//! Queues as processes, publications that insist, and the judge.

use super::subscriber::Subscriber;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes longer, also on a machine that is busy with a build.
const PATIENCE: Duration = Duration::from_secs(240);

/// `BANK_QUEUE_SESSION` of queues that die often and have no peers: what each death costs. With peers the embedded broker
/// needs longer than this to have all of them join.
const BRIEF: &str = "2";

/// The program under test.
pub(crate) const BANK: &str = env!("CARGO_BIN_EXE_heddle-bank");

/// `HEDDLE_SCALE`: factor on how much is published; `make prove` sets it.
pub(crate) fn scale() -> u64 {
    std::env::var("HEDDLE_SCALE")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1)
}

/// `HEDDLE_SEED`: chooses what of the whole is done at scale 1. By default it is another each day.
pub(crate) fn seed() -> usize {
    let told = std::env::var("HEDDLE_SEED").ok();
    told.and_then(|n| n.parse().ok()).unwrap_or_else(|| {
        let days = nanos() / Duration::from_secs(86_400).as_nanos();
        usize::try_from(days).expect("days since 1970 are few")
    })
}

/// A runtime for one test.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(test);
}

/// A replica of the queue, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Queue {
    child: Child,
    pub(crate) address: String,
    log: PathBuf,
}

impl Queue {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start(brokers: &str, folder: &Path) -> Self {
        Self::start_with(brokers, folder, &[]).await
    }

    /// Starts one that is soon taken for dead when it is. `points` arms fail points.
    pub(crate) async fn brief(brokers: &str, folder: &Path, points: &str) -> Self {
        let more = [("BANK_QUEUE_SESSION", BRIEF), ("BANK_FAIL_POINTS", points)];
        Self::start_with(brokers, folder, &more).await
    }

    async fn start_with(brokers: &str, folder: &Path, more: &[(&str, &str)]) -> Self {
        let log = folder.join(format!("queue-{}.log", nanos()));
        let mut child = Command::new(BANK)
            .args(["serve", "queue"])
            .env_remove("http_proxy")
            .env("PORT", "0")
            .env("BANK_KAFKA", brokers)
            .env("BANK_STATE", folder)
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("queue listening on ")
            .unwrap_or_else(|| {
                panic!(
                    "`{line}`: {}",
                    std::fs::read_to_string(&log).unwrap_or_default()
                )
            });
        let queue = Self {
            child,
            address: address.to_owned(),
            log,
        };
        let until = Instant::now() + PATIENCE;
        while get(&queue.url("/ready")).await.is_err() {
            assert!(Instant::now() < until, "the queue is not ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        queue
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it has died by itself.
    pub(crate) fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Asks it to stop; its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `PUT /subscriptions/{name}`, with the defaults of the tests.
    pub(crate) async fn subscribe(&self, name: &str, topic: &str, subscriber: &Subscriber) {
        let body = json!({"topic": topic, "to": subscriber.url(), "attempts": 4, "backoff_ms": 20, "timeout_ms": 2000});
        let url = self.url(&format!("/subscriptions/{name}"));
        let answer = client().put(url).json(&body).send().await.unwrap();
        let status = answer.status();
        assert!(
            status.is_success(),
            "{status}: {}",
            answer.text().await.unwrap()
        );
    }

    /// `GET /subscriptions/{name}`.
    pub(crate) async fn status(&self, name: &str) -> Value {
        get(&self.url(&format!("/subscriptions/{name}")))
            .await
            .unwrap_or(Value::Null)
    }

    /// `GET …/dead-letters`.
    pub(crate) async fn letters(&self, name: &str) -> Vec<Value> {
        let letters = get(&self.url(&format!("/subscriptions/{name}/dead-letters")))
            .await
            .unwrap();
        letters.as_array().unwrap().clone()
    }

    /// Waits until a subscription has nothing left to do.
    pub(crate) async fn caught_up(&self, name: &str) {
        eventually("nothing is left", async || {
            self.status(name).await["lag"] == 0
        })
        .await;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

fn nanos() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

/// The JSON of a success, or what else was said.
pub(crate) async fn get(url: &str) -> Result<Value, String> {
    let answer = client().get(url).send().await.map_err(|e| e.to_string())?;
    let (status, text) = (
        answer.status(),
        answer.text().await.map_err(|e| e.to_string())?,
    );
    if !status.is_success() {
        return Err(format!("{status}: {text}"));
    }
    Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Waits for something that has to come.
pub(crate) async fn eventually(what: &str, check: impl AsyncFn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Events `key-n` for n from 1, as the relay publishes them: one key after another waits for nobody, and what was not
/// acknowledged is sent again, to any of the queues.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) topic: String,
    pub(crate) keys: usize,
    pub(crate) each: u64,
    /// Between two events of a key.
    pub(crate) pause: Duration,
}

impl Load {
    pub(crate) fn new(topic: &str, keys: usize, each: u64) -> Self {
        Self {
            topic: topic.to_owned(),
            keys,
            each,
            pause: Duration::ZERO,
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.keys * usize::try_from(self.each).unwrap()
    }

    /// Publishes all of it; `targets` tells the addresses that live now.
    pub(crate) async fn publish(
        &self,
        targets: impl Fn() -> Vec<String> + Clone + Send + Sync + 'static,
    ) {
        let client = client();
        let mut keys = Vec::new();
        for key in 0..self.keys {
            let (load, targets, client) = (self.clone(), targets.clone(), client.clone());
            keys.push(tokio::spawn(async move {
                for n in 1..=load.each {
                    load.insist(&client, &targets, key, n).await;
                    tokio::time::sleep(load.pause).await;
                }
            }));
        }
        for key in keys {
            key.await.unwrap();
        }
    }

    async fn insist(
        &self,
        client: &reqwest::Client,
        targets: &(impl Fn() -> Vec<String> + Sync),
        key: usize,
        n: u64,
    ) {
        let body =
            json!({"id": format!("k{key}-{n}"), "key": format!("k{key}"), "value": {"n": n}});
        let until = Instant::now() + PATIENCE;
        for turn in 0.. {
            let addresses = targets();
            if let Some(address) = addresses.get(turn % addresses.len().max(1)) {
                let url = format!("http://{address}/topics/{}", self.topic);
                if let Ok(answer) = client.post(url).json(&body).send().await
                    && answer.status().is_success()
                {
                    return;
                }
            }
            assert!(Instant::now() < until, "k{key}-{n} was not published");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The judge: every event had its effect, in the order of its key.
    pub(crate) async fn judge(&self, subscriber: &Subscriber) {
        let total = self.total();
        let until = Instant::now() + PATIENCE;
        while subscriber.count() < total {
            assert!(
                Instant::now() < until,
                "{} of {total} had their effect",
                subscriber.count()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let effects = subscriber.effects();
        assert_eq!(effects.len(), self.keys);
        for (key, numbers) in effects {
            assert_eq!(
                numbers,
                (1..=self.each).collect::<Vec<_>>(),
                "the order of {key}"
            );
        }
    }
}
