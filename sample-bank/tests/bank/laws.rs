//! What holds under concurrency, on two replicas that share their tables.

use crate::book::{Book, hold, transfer};
use crate::engine::{Engine, Engines};
use crate::http::{Answer, block_on};
use crate::process::Bank;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

fn two(engines: &Engines, engine: Engine) -> (Bank, [Book; 2]) {
    let bank = Bank::new(engines, engine);
    let books = [
        Book::of(bank.start("ledger")),
        Book::of(bank.start("ledger")),
    ];
    (bank, books)
}

pub(crate) fn same_key_at_once_is_done_once(engines: &Engines, engine: Engine) {
    let (_bank, books) = two(engines, engine);
    block_on(async {
        books[0].account("acc-a", 100_000).await;
        books[0].account("acc-b", 0).await;
        for round in 0..10 {
            let key = format!("key-{round}");
            let tries = (0..16)
                .map(|n| books[n % 2].post("/transactions", &key, transfer("acc-a", "acc-b", 7)));
            let answers = join_all(tries).await;
            let ids: HashSet<String> = answers
                .iter()
                .map(|a| a.body["id"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(ids.len(), 1, "one transaction: {answers:?}");
            assert_eq!(
                answers
                    .iter()
                    .filter(|a| a.status == 201 && !a.replayed)
                    .count(),
                1
            );
            assert_eq!(
                answers
                    .iter()
                    .filter(|a| a.status == 200 && a.replayed)
                    .count(),
                15
            );
        }
        assert_eq!(books[1].available("acc-b").await, 70);
        // The same key with different requests: one of them wins, the others are told.
        let tries = (1..=16).map(|n| {
            books[n % 2].post(
                "/transactions",
                "mixed",
                transfer("acc-a", "acc-b", n as i64),
            )
        });
        let answers = join_all(tries).await;
        assert_eq!(
            answers.iter().filter(|a| a.status == 201).count(),
            1,
            "{answers:?}"
        );
        assert_eq!(
            answers
                .iter()
                .filter(|a| a.code() == "idempotency-key-reused")
                .count(),
            15
        );
        books[0].check().await;
        books[0].events("acc-b").await;
    });
}

pub(crate) fn no_account_falls_below_its_floor(engines: &Engines, engine: Engine) {
    let (_bank, books) = two(engines, engine);
    block_on(async {
        books[0].account("acc-a", 100).await;
        books[0].account("acc-b", 0).await;
        let tries = (0..40).map(|n| {
            let book = &books[n % 2];
            async move {
                let key = format!("k{n}");
                if n % 4 < 2 {
                    book.post("/transactions", &key, transfer("acc-a", "acc-b", 30))
                        .await
                } else {
                    book.post("/holds", &key, hold("acc-a", 30)).await
                }
            }
        });
        let answers: Vec<Answer> = join_all(tries).await;
        assert_eq!(
            answers.iter().filter(|a| a.status == 201).count(),
            3,
            "{answers:?}"
        );
        assert_eq!(
            answers
                .iter()
                .filter(|a| a.code() == "insufficient-funds")
                .count(),
            37
        );
        assert_eq!(books[0].available("acc-a").await, 10);
        for event in books[0].events("acc-a").await {
            assert!(event["available"].as_i64().unwrap() >= 0, "{event}");
        }
        books[0].check().await;
    });
}

/// SplitMix64, from a printed seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Four customers at once do what comes to their mind, while somebody adds everything up again and again.
pub(crate) fn debits_equal_credits(engines: &Engines, engine: Engine) {
    let seed = std::env::var("HEDDLE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("debits_equal_credits: HEDDLE_SEED={seed}");
    let (_bank, books) = two(engines, engine);
    block_on(async {
        for account in 0..4 {
            books[0].account(&format!("acc-{account}"), 1000).await;
        }
        let customers = (0..4_u64).map(|n| wander(&books[n as usize % 2], seed + n, n));
        let watching = async {
            for _ in 0..20 {
                books[1].check().await;
            }
        };
        let (acknowledged, ()) = tokio::join!(join_all(customers), watching);
        let acknowledged: usize = acknowledged.into_iter().sum();
        books[0].check().await;
        let mut ids = HashSet::new();
        for account in ["0", "1", "2", "3"] {
            for event in books[1].events(&format!("acc-{account}")).await {
                assert!(
                    event["available"].as_i64().unwrap() >= 0,
                    "seed {seed}: {event}"
                );
                assert!(
                    ids.insert(event["id"].as_str().unwrap().to_owned()),
                    "seed {seed}: twice {event}"
                );
            }
        }
        let transactions = books[0].get("/totals").await["transactions"]
            .as_u64()
            .unwrap();
        assert_eq!(
            transactions,
            acknowledged as u64 + 4,
            "seed {seed}: with the four openings"
        );
    });
}

/// How many transactions were acknowledged.
async fn wander(book: &Book, seed: u64, who: u64) -> usize {
    let mut random = Random(seed);
    let mut open: Vec<String> = Vec::new();
    let mut acknowledged = 0;
    for step in 0..60 {
        let key = format!("{who}-{step}");
        let (from, to) = (random.below(4), random.below(3));
        let to = if to >= from { to + 1 } else { to };
        let (from, to) = (format!("acc-{from}"), format!("acc-{to}"));
        let amount = 1 + random.below(400) as i64;
        let answer = match random.below(4) {
            0 => book.post("/holds", &key, hold(&from, amount)).await,
            1 if !open.is_empty() => {
                let hold = open.swap_remove(random.below(open.len() as u64) as usize);
                book.post(&format!("/holds/{hold}/capture"), &key, json!({}))
                    .await
            }
            2 if !open.is_empty() => {
                let hold = open.swap_remove(random.below(open.len() as u64) as usize);
                book.post(&format!("/holds/{hold}/release"), &key, json!({}))
                    .await
            }
            _ => {
                book.post("/transactions", &key, transfer(&from, &to, amount))
                    .await
            }
        };
        match (answer.status, answer.code(), &answer.body["id"]) {
            (201, _, Value::String(id)) if id.starts_with("hold-") => open.push(id.clone()),
            (201, _, _) => acknowledged += 1,
            (200, _, _) | (422, "insufficient-funds", _) => {}
            _ => panic!("seed {seed}: {answer:?}"),
        }
    }
    acknowledged
}

/// Connections to the database are cut, or somebody else holds its file, in the middle of transactions.
pub(crate) fn a_disturbed_database_loses_nothing(engines: &Engines, engine: Engine) {
    let bank = Bank::new(engines, engine);
    let book = Book::of(bank.start("ledger"));
    block_on(async {
        book.account("acc-a", 100_000).await;
        book.account("acc-b", 100_000).await;
        let done = std::sync::atomic::AtomicBool::new(false);
        let customers = (0..4).map(|who| insist(&book, who));
        let working = async {
            let acknowledged = join_all(customers).await;
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            acknowledged
        };
        let (acknowledged, disturbed) = tokio::join!(working, disturb(&bank, engine, &done));
        assert!(disturbed > 0, "nothing was disturbed");
        let ids: HashSet<String> = acknowledged.into_iter().flatten().collect();
        assert_eq!(ids.len(), 160, "each key has a transaction of its own");
        book.check().await;
        let transactions = book.get("/totals").await["transactions"].as_u64();
        assert_eq!(transactions, Some(160 + 2), "with the two openings");
        for account in ["acc-a", "acc-b"] {
            assert_eq!(book.events(account).await.len(), 161);
        }
        eprintln!(
            "160 transfers, {disturbed} disturbances on {}",
            engine.name()
        );
    });
}

/// Forty transfers, each asked for until it is acknowledged.
async fn insist(book: &Book, who: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for step in 0..40 {
        let key = format!("{who}-{step}");
        let (from, to) = if who.is_multiple_of(2) {
            ("acc-a", "acc-b")
        } else {
            ("acc-b", "acc-a")
        };
        let mut tries = 0;
        let answer = loop {
            let answer = book
                .post("/transactions", &key, transfer(from, to, 1))
                .await;
            if answer.status != 503 {
                break answer;
            }
            tries += 1;
            assert!(tries < 500, "{key} is never answered: {answer:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(answer.status == 201 || answer.replayed, "{answer:?}");
        acknowledged.push(answer.body["id"].as_str().unwrap().to_owned());
    }
    acknowledged
}

async fn disturb(bank: &Bank, engine: Engine, done: &std::sync::atomic::AtomicBool) -> usize {
    let mut disturbed = 0;
    while !done.load(std::sync::atomic::Ordering::SeqCst) {
        if engine == Engine::Postgres {
            let (client, connection) =
                tokio_postgres::connect(bank.database(), tokio_postgres::NoTls)
                    .await
                    .expect("the server answers");
            tokio::spawn(connection);
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
            disturbed += client
                .query(cut, &[])
                .await
                .expect("connections are cut")
                .len();
        } else {
            let path = bank.database().trim_start_matches("sqlite:");
            let other = rusqlite::Connection::open(path).expect("the file is there");
            other
                .execute_batch("BEGIN IMMEDIATE")
                .expect("the lock is had within seconds");
            tokio::time::sleep(Duration::from_millis(30)).await;
            other.execute_batch("ROLLBACK").expect("it can be undone");
            disturbed += 1;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    disturbed
}
