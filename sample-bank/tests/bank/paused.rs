//! A holder of a lock is paused by `SIGSTOP` beyond its lease, with writes on their way. Another one takes over. What the
//! first one believes when it goes on, the ledger does not.

use crate::book::{Book, hold};
use crate::engine::{Engine, Engines};
use crate::http::{block_on, until};
use crate::process::Bank;
use crate::street::{Slow, Street};
use rustix::process::Signal;
use std::sync::Arc;
use tokio::sync::watch;

/// More than one replica of `cards` captures at the same time, so that it writes after it goes on as well.
const HOLDS: i64 = 20;

/// The settlement's replicas are real ones: what is delayed is the network between them and the ledger.
pub(crate) fn beyond_its_lease(engines: &Engines, engine: Engine) {
    block_on(async {
        let mut bank = Bank::new(engines, engine);
        let street = Street::open().await;
        bank.set("http_proxy", street.proxy());
        bank.set("BANK_SETTLE_AFTER", "0");
        let lock = bank.start("lock");
        street.name("lock", &[lock.port]);
        let book = Book::of(bank.start("ledger"));
        street.name("ledger", &[book.ledger.port]);
        book.account("acc-a", 1000).await;
        let mut holds = Vec::new();
        for n in 0..HOLDS {
            let made = book
                .post("/holds", &format!("h{n}"), hold("acc-a", 10))
                .await
                .expect(201);
            holds.push(made["id"].as_str().unwrap().to_owned());
        }
        let last = holds.last().unwrap();

        let (arrive, arriving) = watch::channel(false);
        let slow = Slow {
            first: Arc::default(),
            arrive: arriving,
            lost: last.clone(),
        };
        street.is_slow(Some(slow.clone()));
        let captures = || {
            let passed = street.passed("ledger");
            passed
                .iter()
                .filter(|request| request.path.ends_with("/capture"))
                .count()
        };
        let paused = bank.start("cards");
        until("captures are on their way", || async { captures() >= 8 }).await;
        paused.signal(Signal::STOP);
        let _second = bank.start("cards");
        let open = || async {
            let open = book.get("/holds?state=open").await;
            let open = open["holds"].as_array().unwrap().iter();
            open.map(|hold| hold["id"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        until("the second has captured all but one", || async {
            open().await == [last.as_str()]
        })
        .await;
        assert_eq!(book.refused("stale-fencing-token").await, 0);

        // What was on its way arrives, and the paused one goes on with what it had begun.
        arrive.send_replace(true);
        paused.signal(Signal::CONT);
        until("the paused one is refused", || async {
            book.refused("stale-fencing-token").await > 0
        })
        .await;
        assert_eq!(
            open().await,
            [last.as_str()],
            "what was refused wrote nothing"
        );
        street.is_slow(None);
        until("the last one is captured", || async {
            open().await.is_empty()
        })
        .await;
        let merchant = book.get("/accounts/acc-mer-bean-eur").await;
        assert_eq!(merchant["balance"], 10 * HOLDS, "each of them once");
        assert_eq!(book.available("acc-a").await, 1000 - 10 * HOLDS);
        book.check().await;
        assert!(paused.stop().success());
    });
}
