//! The outbox: what was acknowledged is published, in order for each account, whatever happens in between.

use crate::book::{Book, transfer};
use crate::engine::{Engine, Engines};
use crate::http::{block_on, until};
use crate::process::Bank;
use crate::street::Street;
use serde_json::Value;
use std::collections::HashMap;

/// The first appearance of each event, which must be in order for each account; repetitions are the same.
pub(crate) fn check_order(published: &[Value]) -> HashMap<String, Vec<Value>> {
    let mut accounts = HashMap::<String, Vec<Value>>::new();
    for message in published {
        let event = &message["value"];
        assert_eq!(message["id"], event["id"]);
        assert_eq!(message["key"], event["account"]);
        let seen = accounts
            .entry(event["account"].as_str().unwrap().to_owned())
            .or_default();
        let sequence = usize::try_from(event["sequence"].as_u64().unwrap()).unwrap();
        if sequence <= seen.len() {
            assert_eq!(&seen[sequence - 1], event, "a repetition differs");
        } else {
            assert_eq!(sequence, seen.len() + 1, "out of order: {event}");
            seen.push(event.clone());
        }
    }
    accounts
}

/// Everything that the ledger has of these accounts is published, and nothing else.
pub(crate) async fn check_all_published(book: &Book, street: &Street, accounts: &[&str]) {
    until("the outbox is empty", || async {
        book.get("/outbox").await["unpublished"] == 0
    })
    .await;
    let published = check_order(&street.events());
    for account in accounts {
        let kept = book.events(account).await;
        assert_eq!(published.get(*account), Some(&kept), "{account}");
    }
    assert_eq!(
        published.len(),
        accounts.len(),
        "only accounts of customers are told of"
    );
}

pub(crate) fn is_published_in_order(engines: &Engines, engine: Engine) {
    block_on(async {
        let mut bank = Bank::new(engines, engine);
        let street = Street::open().await;
        bank.set("http_proxy", street.proxy());
        let lock = bank.start("lock");
        street.name("lock", &[lock.port]);
        let books = [
            Book::of(bank.start("ledger")),
            Book::of(bank.start("ledger")),
        ];
        books[0].account("acc-a", 1000).await;
        books[0].account("acc-b", 1000).await;
        let writes = (0..60).map(|n| {
            let (from, to) = if n % 3 == 0 {
                ("acc-b", "acc-a")
            } else {
                ("acc-a", "acc-b")
            };
            let book = &books[n % 2];
            async move {
                book.post("/transactions", &format!("k{n}"), transfer(from, to, 1))
                    .await
                    .expect(201)
            }
        });
        futures_util::future::join_all(writes).await;
        check_all_published(&books[1], &street, &["acc-a", "acc-b"]).await;
        // With nobody in between, each is published once.
        assert_eq!(street.events().len(), 122);
        let [first, second] = books;
        // The relay that stops gives its lock up: the other goes on at once.
        assert!(first.ledger.stop().success());
        second
            .post("/transactions", "last", transfer("acc-a", "acc-b", 1))
            .await
            .expect(201);
        check_all_published(&second, &street, &["acc-a", "acc-b"]).await;
    });
}

pub(crate) fn waits_for_the_queue(engines: &Engines, engine: Engine) {
    block_on(async {
        let mut bank = Bank::new(engines, engine);
        let street = Street::open().await;
        bank.set("http_proxy", street.proxy());
        let lock = bank.start("lock");
        street.name("lock", &[lock.port]);
        street.queue_is_away(true);
        let book = Book::of(bank.start("ledger"));
        book.account("acc-a", 1000).await;
        book.account("acc-b", 0).await;
        for n in 0..20 {
            let body = transfer("acc-a", "acc-b", 1);
            book.post("/transactions", &format!("k{n}"), body)
                .await
                .expect(201);
        }
        until("the relay has asked the queue", || async {
            !street.passed("queue").is_empty()
        })
        .await;
        assert_eq!(street.events().len(), 0);
        let outbox = book.get("/outbox").await;
        assert_eq!(
            outbox["unpublished"], 41,
            "the opening and both sides of each transfer: {outbox}"
        );
        street.queue_is_away(false);
        check_all_published(&book, &street, &["acc-a", "acc-b"]).await;
    });
}
