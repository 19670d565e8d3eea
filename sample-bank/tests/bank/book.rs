//! The ledger: what it keeps, and what it refuses.

use crate::engine::{Engine, Engines};
use crate::http::{Answer, ask, block_on, client, get, until};
use crate::process::{Bank, Replica};
use reqwest::Client;
use serde_json::{Value, json};

/// A ledger with a few accounts, and how to talk to it.
pub(crate) struct Book {
    pub(crate) client: Client,
    pub(crate) ledger: Replica,
}

impl Book {
    pub(crate) fn of(ledger: Replica) -> Self {
        Self {
            client: client(),
            ledger,
        }
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: Value) -> Answer {
        ask(
            &self.client,
            "POST",
            &self.ledger.url(path),
            Some(key),
            Some(&body),
        )
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        get(&self.client, &self.ledger.url(path)).await
    }

    /// Opens an account of a customer and puts an amount on it.
    pub(crate) async fn account(&self, id: &str, amount: i64) {
        let bank = json!({"id": "acc-bank-eur", "currency": "EUR", "kind": "bank"});
        self.post("/accounts", "", bank).await;
        let new = json!({"id": id, "currency": "EUR", "kind": "customer", "customer": "cus-1", "floor": 0});
        self.post("/accounts", "", new).await.expect(201);
        if amount > 0 {
            let body = transfer("acc-bank-eur", id, amount);
            self.post("/transactions", &format!("open-{id}"), body)
                .await
                .expect(201);
        }
    }

    pub(crate) async fn available(&self, id: &str) -> i64 {
        self.get(&format!("/accounts/{id}")).await["available"]
            .as_i64()
            .unwrap()
    }

    /// How many requests the ledger has refused with this code.
    pub(crate) async fn refused(&self, code: &str) -> u64 {
        let page = self.client.get(self.ledger.url("/metrics"));
        let page = page.send().await.unwrap().text().await.unwrap();
        let series = format!("bank_refused_total{{code=\"{code}\"}} ");
        let count = page.lines().find_map(|line| line.strip_prefix(&series));
        count.map_or(0, |count| count.parse().unwrap())
    }

    /// Everything that the ledger can add up, and the places that may not differ.
    pub(crate) async fn check(&self) {
        let totals = self.get("/totals").await;
        for (currency, sums) in totals["currencies"].as_object().unwrap() {
            assert_eq!(
                sums["sum"], 0,
                "{currency}: debits are not credits: {totals}"
            );
            assert_eq!(
                sums["balances"], 0,
                "{currency}: balances do not cancel: {totals}"
            );
            assert_eq!(
                sums["below_floor"], 0,
                "{currency}: an account is below its floor: {totals}"
            );
        }
    }

    /// All events of an account, which must be without gaps, each following from the one before it.
    pub(crate) async fn events(&self, account: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let after = events.len();
            let page = self
                .get(&format!(
                    "/accounts/{account}/entries?after={after}&limit=7"
                ))
                .await;
            events.extend(page["entries"].as_array().unwrap().iter().cloned());
            if page["next"].is_null() {
                break;
            }
        }
        let (mut balance, mut sequence) = (0, 0);
        for event in &events {
            sequence += 1;
            assert_eq!(event["sequence"], sequence, "a gap: {event}");
            if event["type"] == "posting" {
                balance += event["amount"].as_i64().unwrap();
            }
            assert_eq!(
                event["balance"], balance,
                "a balance that does not follow: {event}"
            );
        }
        let shown = self.get(&format!("/accounts/{account}")).await;
        assert_eq!(
            (&shown["balance"], &shown["sequence"]),
            (&json!(balance), &json!(sequence))
        );
        events
    }
}

pub(crate) fn transfer(from: &str, to: &str, amount: i64) -> Value {
    json!({"kind": "transfer", "reference": "rent", "postings": [
        {"account": from, "amount": -amount}, {"account": to, "amount": amount, "currency": "EUR"},
    ]})
}

pub(crate) fn hold(account: &str, amount: i64) -> Value {
    json!({"account": account, "amount": amount, "currency": "EUR", "card": "card-1",
        "merchant": "mer-bean", "descriptor": "BEAN THERE 0042"})
}

fn start(engines: &Engines, engine: Engine) -> (Bank, Book) {
    let bank = Bank::new(engines, engine);
    let book = Book::of(bank.start("ledger"));
    (bank, book)
}

pub(crate) fn keeps_both_sides(engines: &Engines, engine: Engine) {
    let (_bank, book) = start(engines, engine);
    block_on(async {
        book.account("acc-a", 1000).await;
        book.account("acc-b", 0).await;
        let made = book
            .post("/transactions", "k1", transfer("acc-a", "acc-b", 300))
            .await
            .expect(201);
        let id = made["id"].as_str().unwrap();
        assert_eq!(book.available("acc-a").await, 700);
        assert_eq!(book.available("acc-b").await, 300);
        let shown = book.get(&format!("/transactions/{id}")).await;
        assert_eq!(shown["postings"], made["postings"]);
        assert_eq!(shown["reference"], "rent");
        let all = book.get("/transactions").await;
        assert_eq!(all["transactions"].as_array().unwrap().len(), 2);
        let events = book.events("acc-b").await;
        assert_eq!(events[0]["id"], format!("{id}:acc-b"));
        assert_eq!(events[0]["counterparty"], "acc-a");
        assert_eq!(events[0]["customer"], "cus-1");
        book.check().await;
        // Opening again is no change; opening otherwise is refused.
        let again = json!({"id": "acc-a", "currency": "EUR", "kind": "customer", "customer": "cus-1", "floor": 0});
        assert_eq!(
            book.post("/accounts", "", again).await.expect(200)["balance"],
            700
        );
        let other = json!({"id": "acc-a", "currency": "USD", "kind": "customer", "customer": "cus-1", "floor": 0});
        book.post("/accounts", "", other)
            .await
            .refused(409, "conflict");
    });
    assert!(book.ledger.stop().success(), "SIGTERM ends it well");
}

pub(crate) fn holds_captures_releases(engines: &Engines, engine: Engine) {
    let (_bank, book) = start(engines, engine);
    block_on(async {
        book.account("acc-a", 1000).await;
        let first = book
            .post("/holds", "h1", hold("acc-a", 600))
            .await
            .expect(201);
        assert_eq!(book.available("acc-a").await, 400);
        book.post("/holds", "h2", hold("acc-a", 401))
            .await
            .refused(422, "insufficient-funds");
        let second = book
            .post("/holds", "h3", hold("acc-a", 400))
            .await
            .expect(201);
        let at =
            |hold: &Value, what: &str| format!("/holds/{}/{what}", hold["id"].as_str().unwrap());
        book.post(&at(&first, "capture"), "c0", json!({"amount": 601}))
            .await
            .refused(422, "bad-amount");
        let captured = book
            .post(&at(&first, "capture"), "c1", json!({"amount": 250}))
            .await
            .expect(201);
        assert_eq!(captured["hold"], first["id"]);
        assert_eq!(
            book.available("acc-a").await,
            350,
            "what was not captured is available again"
        );
        let released = book
            .post(&at(&second, "release"), "r1", json!({}))
            .await
            .expect(200);
        assert_eq!(released["state"], "released");
        assert_eq!(book.available("acc-a").await, 750);
        for (hold, what, key) in [
            (&first, "capture", "x1"),
            (&first, "release", "x2"),
            (&second, "capture", "x3"),
        ] {
            book.post(&at(hold, what), key, json!({}))
                .await
                .refused(409, "hold-closed");
        }
        assert_eq!(book.get("/accounts/acc-mer-bean-eur").await["balance"], 250);
        let kinds: Vec<Value> = book
            .events("acc-a")
            .await
            .iter()
            .map(|event| event["type"].clone())
            .collect();
        assert_eq!(kinds, ["posting", "hold", "hold", "posting", "release"]);
        assert_eq!(book.get("/holds?state=open").await["holds"], json!([]));
        book.check().await;
    });
}

pub(crate) fn holds_expire(engines: &Engines, engine: Engine) {
    let (_bank, book) = start(engines, engine);
    block_on(async {
        book.account("acc-a", 1000).await;
        let mut short = hold("acc-a", 600);
        short["expires_in"] = json!(1);
        let made = book.post("/holds", "h1", short).await.expect(201);
        let path = format!("/holds/{}", made["id"].as_str().unwrap());
        until("the hold expires", || async {
            book.get(&path).await["state"] == "expired"
        })
        .await;
        assert_eq!(book.available("acc-a").await, 1000);
        let events = book.events("acc-a").await;
        assert_eq!(events[2]["type"], "release");
        assert_eq!(
            events[2]["id"],
            format!("{}:acc-a:release", made["id"].as_str().unwrap())
        );
    });
}

/// Not even the owner of the tables changes an entry.
pub(crate) fn entries_are_never_changed(engines: &Engines, engine: Engine) {
    let (bank, book) = start(engines, engine);
    block_on(async {
        book.account("acc-a", 1000).await;
        for sql in [
            "UPDATE ledger_entries SET amount = 1",
            "DELETE FROM ledger_entries",
            "UPDATE ledger_transactions SET reference = 'x'",
            "DELETE FROM ledger_transactions",
        ] {
            let refused = if engine == Engine::Postgres {
                let (client, connection) =
                    tokio_postgres::connect(bank.database(), tokio_postgres::NoTls)
                        .await
                        .expect("the server answers");
                tokio::spawn(connection);
                client.batch_execute(sql).await.is_err()
            } else {
                let path = bank.database().trim_start_matches("sqlite:");
                let connection = rusqlite::Connection::open(path).expect("the file is there");
                connection.execute_batch(sql).is_err()
            };
            assert!(refused, "{sql}");
        }
        assert_eq!(book.events("acc-a").await.len(), 1);
        book.check().await;
    });
}

pub(crate) fn refuses_stale_fencing_tokens(engines: &Engines, engine: Engine) {
    let (_bank, book) = start(engines, engine);
    block_on(async {
        book.account("acc-a", 1000).await;
        book.account("acc-b", 0).await;
        let post = async |key: &str, token: &str| {
            let request = book.client.post(book.ledger.url("/transactions"));
            let request = request
                .header("idempotency-key", key)
                .header("fencing-token", token);
            crate::http::send(request.json(&transfer("acc-a", "acc-b", 1)))
                .await
                .unwrap()
        };
        post("k1", "settlement:7").await.expect(201);
        post("k2", "settlement:7").await.expect(201);
        post("k3", "settlement:6")
            .await
            .refused(412, "stale-fencing-token");
        post("k4", "another:1").await.expect(201);
        post("k5", "settlement:9").await.expect(201);
        post("k6", "settlement:8")
            .await
            .refused(412, "stale-fencing-token");
        post("k7", "settlement").await.refused(400, "malformed");
        assert_eq!(
            book.available("acc-b").await,
            4,
            "what was refused wrote nothing"
        );
        // What was done is answered, whoever holds the lock by now.
        assert!(post("k1", "settlement:7").await.replayed);
    });
}

pub(crate) fn answers_a_key_once(engines: &Engines, engine: Engine) {
    let (bank, mut book) = start(engines, engine);
    block_on(async {
        book.account("acc-a", 1000).await;
        book.account("acc-b", 0).await;
        let first = book
            .post("/transactions", "k1", transfer("acc-a", "acc-b", 10))
            .await;
        assert!(!first.replayed);
        let again = book
            .post("/transactions", "k1", transfer("acc-a", "acc-b", 10))
            .await;
        assert!(again.replayed && again.status == 200);
        assert_eq!(first.body, again.body);
        book.post("/transactions", "k1", transfer("acc-a", "acc-b", 11))
            .await
            .refused(409, "idempotency-key-reused");
        book.post("/holds", "k1", hold("acc-a", 10))
            .await
            .refused(409, "idempotency-key-reused");
        // A refusal keeps no key: the same request may succeed later.
        book.post("/transactions", "k2", transfer("acc-b", "acc-a", 500))
            .await
            .refused(422, "insufficient-funds");
        book.post("/transactions", "k3", transfer("acc-a", "acc-b", 490))
            .await
            .expect(201);
        book.post("/transactions", "k2", transfer("acc-b", "acc-a", 500))
            .await
            .expect(201);
        assert_eq!(book.get("/keys/k1").await["answer"], first.body);
    });
    // And after a restart.

    book.ledger.kill();
    let book = Book::of(bank.start("ledger"));
    block_on(async {
        let again = book
            .post("/transactions", "k1", transfer("acc-a", "acc-b", 10))
            .await;
        assert!(again.replayed);
        assert_eq!(book.available("acc-b").await, 0);
        book.check().await;
    });
}
