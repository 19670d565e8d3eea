//! Services die as by `kill -9` at their fail points, over and over, and are started again. Clients repeat with the same
//! key until they are answered. Then the book is held against what was acknowledged.

use crate::book::{Book, transfer};
use crate::customers::{Customers, open};
use crate::engine::{Engine, Engines};
use crate::http::{Answer, block_on, client, send, until};
use crate::outbox::check_all_published;
use crate::process::Bank;
use crate::street::Street;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How many kills a test wants.
fn wanted() -> usize {
    let wanted = std::env::var("HEDDLE_KILLS")
        .ok()
        .and_then(|count| count.parse().ok());
    wanted.unwrap_or(15)
}

/// A service that is started again whenever it dies.
struct Supervised {
    port: Arc<AtomicU16>,
    deaths: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Supervised {
    fn start(
        bank: &Arc<Bank>,
        service: &'static str,
        points: &'static str,
        street: &Street,
    ) -> Self {
        let (port, deaths, done) = (Arc::default(), Arc::default(), Arc::default());
        let supervised = Self {
            port: Arc::clone(&port),
            deaths: Arc::clone(&deaths),
            done: Arc::clone(&done),
            thread: None,
        };
        let (bank, street) = (Arc::clone(bank), street.clone());
        let thread = thread::spawn(move || {
            while !done.load(Ordering::SeqCst) {
                let mut replica = bank.start_with(service, &[("BANK_FAIL_POINTS", points)]);
                port.store(replica.port, Ordering::SeqCst);
                street.name(service, &[replica.port]);
                let ended = loop {
                    if done.load(Ordering::SeqCst) {
                        return;
                    }
                    if let Some(ended) = replica.ended() {
                        break ended;
                    }
                    thread::sleep(Duration::from_millis(3));
                };
                assert_eq!(
                    ended.signal(),
                    Some(9),
                    "{service} ended by itself: {ended:?}"
                );
                deaths.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            thread: Some(thread),
            ..supervised
        }
    }

    fn url(&self, path: &str) -> String {
        format!(
            "http://127.0.0.1:{}{path}",
            self.port.load(Ordering::SeqCst)
        )
    }

    fn deaths(&self) -> usize {
        self.deaths.load(Ordering::SeqCst)
    }

    fn stop(mut self) {
        self.done.store(true, Ordering::SeqCst);
        let ended = self.thread.take().expect("it was started").join();
        assert!(ended.is_ok(), "the supervisor panicked");
    }
}

/// Repeats a request with the same key until it is answered by a success or a refusal.
async fn insist(
    supervised: &Supervised,
    path: &str,
    token: &str,
    key: &str,
    body: &Value,
) -> Answer {
    let client = client();
    for _ in 0..500 {
        let request = client.post(supervised.url(path)).json(body);
        let request = request.header("idempotency-key", key).bearer_auth(token);
        match send(request).await {
            Ok(answer) if answer.status < 500 => return answer,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("{path} with {key} is never answered");
}

pub(crate) fn of_the_ledger_lose_nothing(engines: &Engines, engine: Engine) {
    block_on(async {
        let mut bank = Bank::new(engines, engine);
        let street = Street::open().await;
        bank.set("http_proxy", street.proxy());
        let bank = Arc::new(bank);
        let lock = bank.start("lock");
        street.name("lock", &[lock.port]);
        let setup = Book::of(bank.start("ledger"));
        setup.account("acc-a", 100_000).await;
        setup.account("acc-b", 100_000).await;
        assert!(setup.ledger.stop().success());
        let points = "ledger.received=1/60,ledger.written=1/60,ledger.committed=1/60,relay.read=1/40,relay.published=1/40";
        let ledger = Supervised::start(&bank, "ledger", points, &street);
        let mut acknowledged = HashMap::new();
        let mut round = 0;
        while ledger.deaths() < wanted() && round < wanted() * 20 {
            let tries = (0..8).map(|n| {
                let (key, ledger) = (format!("{round}-{n}"), &ledger);
                let (from, to) = if n % 2 == 0 {
                    ("acc-a", "acc-b")
                } else {
                    ("acc-b", "acc-a")
                };
                async move {
                    let body = transfer(from, to, 1 + n);
                    let answer = insist(ledger, "/transactions", "", &key, &body).await;
                    (key, answer)
                }
            });
            for (key, answer) in futures_util::future::join_all(tries).await {
                assert!(answer.status == 201 || answer.replayed, "{key}: {answer:?}");
                acknowledged.insert(answer.body["id"].as_str().unwrap().to_owned(), key);
            }
            round += 1;
        }
        let deaths = ledger.deaths();
        ledger.stop();
        assert!(deaths >= wanted(), "only {deaths} deaths in {round} rounds");
        assert_eq!(
            acknowledged.len(),
            round * 8,
            "each key has a transaction of its own"
        );
        // Now one that lives: everything acknowledged is there once, and nothing else.
        let book = Book::of(bank.start("ledger"));
        check_acknowledged(&book, &acknowledged, 2).await;
        check_all_published(&book, &street, &["acc-a", "acc-b"]).await;
        eprintln!(
            "{} transfers, {deaths} deaths of the ledger",
            acknowledged.len()
        );
    });
}

/// The ledger has what was acknowledged, once, and so many transactions besides.
async fn check_acknowledged(book: &Book, acknowledged: &HashMap<String, String>, besides: usize) {
    book.check().await;
    let mut found = HashSet::new();
    let mut after = 0;
    loop {
        let page = book.get(&format!("/transactions?after={after}")).await;
        for transaction in page["transactions"].as_array().unwrap() {
            assert!(
                found.insert(transaction["id"].as_str().unwrap().to_owned()),
                "twice: {transaction}"
            );
        }
        let Some(next) = page["next"].as_i64() else {
            break;
        };
        after = next;
    }
    let lost: Vec<&String> = acknowledged
        .keys()
        .filter(|id| !found.contains(*id))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert_eq!(
        found.len(),
        acknowledged.len() + besides,
        "something was done twice, or for nobody"
    );
}

pub(crate) fn of_accounts_and_cards_lose_nothing(engines: &Engines, engine: Engine) {
    block_on(async {
        let mut bank = Bank::new(engines, engine);
        let street = Street::open().await;
        bank.set("http_proxy", street.proxy());
        bank.set("BANK_SETTLE_AFTER", "0.2");
        let bank = Arc::new(bank);
        let ledger = bank.start("ledger");
        street.name("ledger", &[ledger.port]);
        let dying = [
            Supervised::start(&bank, "lock", "lock.granted=1/4", &street),
            Supervised::start(
                &bank,
                "accounts",
                "accounts.stored=1/3,accounts.posted=1/30",
                &street,
            ),
            Supervised::start(
                &bank,
                "cards",
                "cards.held=1/30,cards.captured=1/50",
                &street,
            ),
            Supervised::start(&bank, "gateway", "gateway.answered=1/50", &street),
        ];
        let [_, accounts, _, gateway] = &dying;
        until("all services listen", || async {
            dying
                .iter()
                .all(|service| service.port.load(Ordering::SeqCst) != 0)
        })
        .await;
        let customers: Customers = open(accounts, |path, key, body| async move {
            insist(accounts, &path, "", &key, &body).await
        })
        .await;
        let deaths = || dying.iter().map(Supervised::deaths).sum::<usize>();
        let (mut acknowledged, mut holds, mut round) = (HashMap::new(), HashSet::new(), 0);
        while deaths() < wanted() && round < wanted() * 20 {
            let key = format!("key-{round}");
            let amount = i64::try_from(1 + round % 100).unwrap();
            let body = customers.transfer(amount);
            let answer = insist(gateway, "/v1/transfers", &customers.token, &key, &body).await;
            assert!(answer.status == 201 || answer.replayed, "{answer:?}");
            acknowledged.insert(answer.body["id"].as_str().unwrap().to_owned(), key.clone());
            let body = customers.payment(amount);
            let answer = insist(gateway, "/v1/card-payments", &customers.token, &key, &body).await;
            assert_eq!(answer.body["decision"], "approved", "{answer:?}");
            holds.insert(answer.body["hold"].as_str().unwrap().to_owned());
            round += 1;
        }
        let died = deaths();
        for service in dying {
            service.stop();
        }
        // Those that live work off what is left; each death left its locks until their leases ended.
        let living = ["lock", "cards"].map(|name| bank.start(name));
        for service in &living {
            street.name(service.service, &[service.port]);
        }
        let book = Book::of(ledger);
        until("all payments are settled", || async {
            book.get("/holds?state=open").await["holds"] == json!([])
        })
        .await;
        assert!(died >= wanted(), "only {died} deaths in {round} rounds");
        assert_eq!(acknowledged.len(), round);
        // Two openings; one capture for each payment.
        assert_eq!(holds.len(), acknowledged.len());
        check_acknowledged(&book, &acknowledged, 2 + holds.len()).await;
        eprintln!(
            "{} transfers, {} payments, {died} deaths",
            acknowledged.len(),
            holds.len()
        );
    });
}
