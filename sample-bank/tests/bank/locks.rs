//! Locks: one holder, a wait with an end, a lease with an end, and numbers that grow.

use crate::book::{Book, transfer};
use crate::engine::{Engine, Engines};
use crate::http::{Answer, ask, block_on, client, get, send};
use crate::process::{Bank, Replica};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

struct Locks {
    bank: Bank,
    replicas: [Replica; 2],
    client: reqwest::Client,
    /// etcd outlives a test: each has names of its own.
    name: String,
}

impl Locks {
    fn start(engines: &Engines, engine: Engine) -> Self {
        let bank = Bank::new(engines, engine);
        let replicas = [bank.start("lock"), bank.start("lock")];
        let name = format!("lock-{}", replicas[0].port);
        Self {
            bank,
            replicas,
            client: client(),
            name,
        }
    }

    async fn take(&self, replica: usize, owner: &str, ttl: u64, wait: u64) -> Answer {
        let url = self.replicas[replica].url(&format!("/locks/{}", self.name));
        let body = json!({"owner": owner, "ttl_ms": ttl, "wait_ms": wait});
        ask(&self.client, "POST", &url, None, Some(&body)).await
    }

    async fn with_lease(&self, method: &str, replica: usize, held: &Value) -> Answer {
        let lease = held["lease"].as_str().unwrap();
        let url = self.replicas[replica].url(&format!("/locks/{}/{lease}", self.name));
        ask(&self.client, method, &url, None, None).await
    }
}

pub(crate) fn have_one_holder(engines: &Engines, engine: Engine) {
    let locks = Locks::start(engines, engine);
    block_on(async {
        let first = locks.take(0, "ada", 10_000, 0).await.expect(200);
        let refused = locks.take(1, "bob", 10_000, 0).await;
        refused.refused(409, "lock-held");
        assert_eq!(refused.body["owner"], "ada");
        let all = get(&locks.client, &locks.replicas[1].url("/locks")).await;
        let ours = all["locks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|held| held["name"] == locks.name.as_str());
        assert_eq!(ours.unwrap()["token"], first["token"]);
        assert!(
            ours.unwrap().get("lease").is_none(),
            "a lease is its holder's secret"
        );
        locks
            .with_lease("PUT", 1, &json!({"lease": "abc"}))
            .await
            .refused(404, "not-found");
        let kept = locks.with_lease("PUT", 1, &first).await.expect(200);
        assert_eq!(kept["token"], first["token"]);
        locks.with_lease("DELETE", 1, &first).await.expect(200);
        locks
            .with_lease("DELETE", 0, &first)
            .await
            .refused(404, "not-found");
        locks
            .with_lease("PUT", 0, &first)
            .await
            .refused(404, "not-found");
        let second = locks.take(1, "bob", 10_000, 0).await.expect(200);
        assert!(
            second["token"].as_i64() > first["token"].as_i64(),
            "{first} {second}"
        );
        // Many at once: one gets it.
        locks.with_lease("DELETE", 0, &second).await.expect(200);
        let tries = (0..12).map(|n| locks.take(n % 2, "many", 10_000, 0));
        let answers = futures_util::future::join_all(tries).await;
        assert_eq!(
            answers.iter().filter(|answer| answer.status == 200).count(),
            1,
            "{answers:?}"
        );
        assert_eq!(
            answers
                .iter()
                .filter(|answer| answer.code() == "lock-held")
                .count(),
            11
        );
    });
}

pub(crate) fn are_waited_for(engines: &Engines, engine: Engine) {
    let locks = Locks::start(engines, engine);
    block_on(async {
        let first = locks.take(0, "ada", 30_000, 0).await.expect(200);
        let began = Instant::now();
        locks
            .take(1, "bob", 10_000, 300)
            .await
            .refused(409, "lock-held");
        assert!(began.elapsed() >= Duration::from_millis(300), "it waited");
        let waiting = locks.take(1, "bob", 10_000, 20_000);
        let releasing = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            locks.with_lease("DELETE", 0, &first).await.expect(200)
        };
        let (second, _) = tokio::join!(waiting, releasing);
        let second = second.expect(200);
        assert!(second["token"].as_i64() > first["token"].as_i64());
    });
}

pub(crate) fn end_with_their_lease(engines: &Engines, engine: Engine) {
    let locks = Locks::start(engines, engine);
    block_on(async {
        let first = locks.take(0, "ada", 2000, 0).await.expect(200);
        // Kept alive, it lives longer than its lease.
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(4) {
            locks.with_lease("PUT", 0, &first).await.expect(200);
            locks
                .take(1, "bob", 2000, 0)
                .await
                .refused(409, "lock-held");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        // Left alone, it ends, and whoever waits gets it.
        let second = locks.take(1, "bob", 2000, 20_000).await.expect(200);
        assert!(second["token"].as_i64() > first["token"].as_i64());
        locks
            .with_lease("PUT", 0, &first)
            .await
            .refused(404, "not-found");
    });
}

/// The reason for the numbers: a holder is paused beyond its lease, somebody else takes the lock and writes, the first one
/// wakes up and knows nothing of it.
pub(crate) fn a_paused_holder_is_refused(engines: &Engines, engine: Engine) {
    let locks = Locks::start(engines, engine);
    let book = Book::of(locks.bank.start("ledger"));
    block_on(async {
        book.account("acc-a", 1000).await;
        book.account("acc-b", 0).await;
        let write = async |key: &str, held: &Value| {
            let token = format!("{}:{}", locks.name, held["token"]);
            let request = book.client.post(book.ledger.url("/transactions"));
            let request = request
                .header("idempotency-key", key)
                .header("fencing-token", token);
            send(request.json(&transfer("acc-a", "acc-b", 1)))
                .await
                .unwrap()
        };
        let first = locks.take(0, "ada", 2000, 0).await.expect(200);
        write("k1", &first).await.expect(201);
        let second = locks.take(1, "bob", 10_000, 20_000).await.expect(200);
        write("k2", &second).await.expect(201);
        write("k3", &first)
            .await
            .refused(412, "stale-fencing-token");
        assert_eq!(book.available("acc-b").await, 2);
    });
}
