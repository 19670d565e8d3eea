//! What is refused, how, and that nothing is written then.

use crate::book::{Book, hold, transfer};
use crate::engine::{Engine, Engines};
use crate::http::{block_on, send};
use crate::process::Bank;
use crate::street::Street;
use reqwest::Method;
use serde_json::{Value, json};

/// One bad request: what it is, method, path, key, body, and the refusal.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
    String,
    u16,
    &'static str,
);

async fn refuse(base: &str, rows: &[Row]) {
    let client = crate::http::client();
    for (what, method, path, key, body, status, code) in rows {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = client
            .request(method, format!("{base}{path}"))
            .body(body.clone());
        if let Some(key) = key {
            request = request.header("idempotency-key", *key);
        }
        let answer = send(request)
            .await
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(
            (answer.status, answer.code()),
            (*status, *code),
            "{what}: {}",
            answer.body
        );
        answer.refused(*status, code);
    }
}

/// A body with one member changed.
fn with(mut body: Value, pointer: &str, value: Value) -> String {
    *body.pointer_mut(pointer).expect("the member is there") = value;
    body.to_string()
}

fn raw(body: &Value, from: &str, to: &str) -> String {
    body.to_string().replace(from, to)
}

pub(crate) fn of_the_ledger(engines: &Engines, engine: Engine) {
    let bank = Bank::new(engines, engine);
    let book = Book::of(bank.start("ledger"));
    block_on(async {
        book.account("acc-a", 1000).await;
        book.account("acc-b", 0).await;
        let usd =
            json!({"id": "acc-usd", "currency": "USD", "kind": "customer", "customer": "cus-1"});
        book.post("/accounts", "", usd).await.expect(201);
        let held = book
            .post("/holds", "held", hold("acc-a", 10))
            .await
            .expect(201);
        let capture = format!("/holds/{}/capture", held["id"].as_str().unwrap());
        let before = (book.get("/totals").await, book.get("/accounts/acc-a").await);
        let base = book.ledger.url("");
        refuse(&base, &transactions()).await;
        refuse(&base, &holds()).await;
        refuse(&base, &accounts_and_paths()).await;
        let capture: &'static str = Box::leak(capture.into_boxed_str());
        refuse(
            &base,
            &[
                (
                    "capture of nothing",
                    "POST",
                    capture,
                    Some("c"),
                    r#"{"amount":0}"#.to_owned(),
                    422,
                    "bad-amount",
                ),
                (
                    "capture without key",
                    "POST",
                    capture,
                    None,
                    "{}".to_owned(),
                    400,
                    "idempotency-key-missing",
                ),
                (
                    "capture of too much",
                    "POST",
                    capture,
                    Some("c"),
                    r#"{"amount":11}"#.to_owned(),
                    422,
                    "bad-amount",
                ),
            ],
        )
        .await;
        let after = (book.get("/totals").await, book.get("/accounts/acc-a").await);
        assert_eq!(before, after, "something was written");
        // None of the keys was used up.
        book.post("/transactions", "k", transfer("acc-a", "acc-b", 1))
            .await
            .expect(201);
        let metrics = book
            .client
            .get(book.ledger.url("/metrics"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(
            metrics.contains(r#"bank_refused_total{code="bad-amount"}"#),
            "refusals are counted: {metrics}"
        );
    });
}

#[rustfmt::skip]
fn transactions() -> Vec<Row> {
    let t = || transfer("acc-a", "acc-b", 77);
    let k = Some("k");
    let path = "/transactions";
    let other = |what, body, status, code| (what, "POST", path, k, body, status, code);
    vec![
        ("no key",          "POST", path, None,                     t().to_string(), 400, "idempotency-key-missing"),
        ("an empty key",    "POST", path, Some(""),                 t().to_string(), 400, "idempotency-key-missing"),
        ("a key of blanks", "POST", path, Some("a b"),              t().to_string(), 400, "idempotency-key-missing"),
        ("a long key",      "POST", path, Some(LONG),               t().to_string(), 400, "idempotency-key-missing"),
        other("no body", String::new(), 400, "malformed"),
        other("no JSON", "{".to_owned(), 400, "malformed"),
        other("a list", "[]".to_owned(), 400, "malformed"),
        other("no UTF-8 in the text", raw(&t(), "rent", r"\ud800"), 400, "malformed"),
        other("an unknown field", raw(&t(), "\"kind\"", "\"x\":1,\"kind\""), 400, "malformed"),
        other("a field twice", raw(&t(), "\"kind\"", "\"kind\":\"a\",\"kind\""), 400, "malformed"),
        other("text for an amount", with(t(), "/postings/0/amount", json!("77")), 400, "malformed"),
        other("a bad kind", with(t(), "/kind", json!("Über")), 400, "malformed"),
        other("a bad id", with(t(), "/postings/0/account", json!("acc-A")), 400, "malformed"),
        other("no id", with(t(), "/postings/0/account", json!("")), 400, "malformed"),
        other("one posting", with(t(), "/postings", json!([{"account": "acc-a", "amount": -1}])), 400, "malformed"),
        other("no posting", with(t(), "/postings", json!([])), 400, "malformed"),
        other("an account twice", raw(&t(), "acc-b", "acc-a"), 400, "malformed"),
        other("a control character", with(t(), "/reference", json!("a\u{0}b")), 400, "malformed"),
        other("a long reference", with(t(), "/reference", json!("x".repeat(141))), 400, "malformed"),
        other("zero", with(t(), "/postings/0/amount", json!(0)), 422, "bad-amount"),
        other("a fraction", with(t(), "/postings/0/amount", json!(0.5)), 422, "bad-amount"),
        other("above 10^15", with(t(), "/postings/1/amount", json!(1_000_000_000_000_001_i64)), 422, "bad-amount"),
        other("the least number", with(t(), "/postings/0/amount", json!(i64::MIN)), 422, "bad-amount"),
        other("beyond 64 bits", raw(&t(), "-77", "-9223372036854775809"), 422, "bad-amount"),
        other("far beyond", raw(&t(), "-77", "-1e300"), 422, "bad-amount"),
        other("not balanced", with(t(), "/postings/0/amount", json!(-76)), 422, "unbalanced"),
        other("an unknown account", raw(&t(), "acc-b", "acc-nobody"), 404, "unknown-account"),
        other("an unknown currency", with(t(), "/postings/1/currency", json!("XYZ")), 422, "unknown-currency"),
        other("another currency", with(t(), "/postings/1/currency", json!("USD")), 422, "currency-mismatch"),
        other("two currencies", raw(&transfer("acc-a", "acc-usd", 77), ",\"currency\":\"EUR\"", ""), 422, "unbalanced"),
        other("too much", raw(&t(), "77", "991"), 422, "insufficient-funds"),
        other("a large body", with(t(), "/reference", json!("x".repeat(70_000))), 413, "too-large"),
    ]
}

const LONG: &str = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

#[rustfmt::skip]
fn holds() -> Vec<Row> {
    let h = || hold("acc-a", 77);
    let other = |what, body, status, code| (what, "POST", "/holds", Some("k"), body, status, code);
    vec![
        ("no key", "POST", "/holds", None, h().to_string(), 400, "idempotency-key-missing"),
        other("zero", with(h(), "/amount", json!(0)), 422, "bad-amount"),
        other("negative", with(h(), "/amount", json!(-5)), 422, "bad-amount"),
        other("overflow", raw(&h(), "77", "18446744073709551616"), 422, "bad-amount"),
        other("too much", with(h(), "/amount", json!(5000)), 422, "insufficient-funds"),
        other("another currency", with(h(), "/currency", json!("USD")), 422, "currency-mismatch"),
        other("an unknown currency", with(h(), "/currency", json!("eur")), 422, "unknown-currency"),
        other("an unknown account", with(h(), "/account", json!("acc-nobody")), 404, "unknown-account"),
        other("a bad merchant", with(h(), "/merchant", json!("Mer")), 400, "malformed"),
        other("no descriptor", with(h(), "/descriptor", json!("")), 400, "malformed"),
        ("a hold that is not there", "POST", "/holds/hold-nobody/capture", Some("k"), "{}".to_owned(), 404, "not-found"),
        ("a hold of a bad name", "POST", "/holds/HOLD/capture", Some("k"), "{}".to_owned(), 400, "malformed"),
        ("a release of nothing", "POST", "/holds/hold-nobody/release", Some("k"), String::new(), 404, "not-found"),
    ]
}

#[rustfmt::skip]
fn accounts_and_paths() -> Vec<Row> {
    let a = || json!({"id": "acc-new", "currency": "EUR", "kind": "customer", "floor": 0});
    let new = |what, body, status, code| (what, "POST", "/accounts", None, body, status, code);
    let get = |what, path, status, code| (what, "GET", path, None, String::new(), status, code);
    vec![
        new("a bad id", with(a(), "/id", json!("acc new")), 400, "malformed"),
        new("a long id", with(a(), "/id", json!(format!("acc-{}", "x".repeat(61)))), 400, "malformed"),
        new("a bad kind", with(a(), "/kind", json!("pirate")), 400, "malformed"),
        new("a floor above zero", with(a(), "/floor", json!(1)), 400, "malformed"),
        new("an unknown currency", with(a(), "/currency", json!("BTC")), 422, "unknown-currency"),
        get("an unknown account", "/accounts/acc-nobody", 404, "unknown-account"),
        get("entries of nobody", "/accounts/acc-nobody/entries", 404, "unknown-account"),
        get("a path that is no UTF-8", "/accounts/%FF", 400, "malformed"),
        get("an unknown transaction", "/transactions/txn-nobody", 404, "not-found"),
        get("a limit of zero", "/transactions?limit=0", 400, "malformed"),
        get("a large limit", "/transactions?limit=1001", 400, "malformed"),
        get("a query that is none", "/transactions?after=x", 400, "malformed"),
        get("holds of another state", "/holds?state=captured", 400, "malformed"),
        get("an unknown path", "/nowhere", 404, "not-found"),
        ("a method that is not there", "DELETE", "/accounts/acc-a", None, String::new(), 405, "method-not-allowed"),
    ]
}

pub(crate) fn of_the_other_services(engines: &Engines, engine: Engine) {
    block_on(async {
        let mut bank = Bank::new(engines, engine);
        let street = Street::open().await;
        bank.set("http_proxy", street.proxy());
        let ledger = bank.start("ledger");
        let (accounts, cards) = (bank.start("accounts"), bank.start("cards"));
        let (lock, gateway) = (bank.start("lock"), bank.start("gateway"));
        for service in [&ledger, &accounts, &cards, &lock, &gateway] {
            street.name(service.service, &[service.port]);
        }
        let k = Some("k");
        let no = String::new;
        let transfer = r#"{"from":"acc-a","to":"acc-b","amount":1,"currency":"EUR"}"#;
        refuse(
            &accounts.url(""),
            &[
                (
                    "no name",
                    "POST",
                    "/customers",
                    None,
                    "{}".to_owned(),
                    400,
                    "malformed",
                ),
                (
                    "an empty name",
                    "POST",
                    "/customers",
                    None,
                    r#"{"name":""}"#.to_owned(),
                    400,
                    "malformed",
                ),
                (
                    "an unknown customer",
                    "GET",
                    "/customers/cus-nobody",
                    None,
                    no(),
                    404,
                    "not-found",
                ),
                (
                    "an account for nobody",
                    "POST",
                    "/customers/cus-nobody/accounts",
                    k,
                    r#"{"currency":"EUR"}"#.to_owned(),
                    404,
                    "not-found",
                ),
                (
                    "an account without key",
                    "POST",
                    "/customers/cus-nobody/accounts",
                    None,
                    r#"{"currency":"EUR"}"#.to_owned(),
                    400,
                    "idempotency-key-missing",
                ),
                (
                    "an account in beads",
                    "POST",
                    "/customers/cus-nobody/accounts",
                    k,
                    r#"{"currency":"BDS"}"#.to_owned(),
                    422,
                    "unknown-currency",
                ),
                (
                    "a negative opening",
                    "POST",
                    "/customers/cus-nobody/accounts",
                    k,
                    r#"{"currency":"EUR","opening":-1}"#.to_owned(),
                    422,
                    "bad-amount",
                ),
                (
                    "an unknown account",
                    "GET",
                    "/accounts/acc-nobody",
                    None,
                    no(),
                    404,
                    "unknown-account",
                ),
                (
                    "an unknown card",
                    "GET",
                    "/cards/card-nobody",
                    None,
                    no(),
                    404,
                    "unknown-card",
                ),
                (
                    "a card for nobody",
                    "POST",
                    "/accounts/acc-nobody/cards",
                    None,
                    r#"{"limit":1}"#.to_owned(),
                    404,
                    "unknown-account",
                ),
                (
                    "a transfer from nobody",
                    "POST",
                    "/transfers",
                    k,
                    transfer.to_owned(),
                    404,
                    "unknown-account",
                ),
                (
                    "a transfer without key",
                    "POST",
                    "/transfers",
                    None,
                    transfer.to_owned(),
                    400,
                    "idempotency-key-missing",
                ),
                (
                    "a transfer to itself",
                    "POST",
                    "/transfers",
                    k,
                    transfer.replace("acc-b", "acc-a"),
                    400,
                    "malformed",
                ),
                (
                    "a transfer of nothing",
                    "POST",
                    "/transfers",
                    k,
                    transfer.replace(":1,", ":0,"),
                    422,
                    "bad-amount",
                ),
            ],
        )
        .await;
        let payment = r#"{"card":"card-nobody","merchant":"mer-1","descriptor":"D","amount":1,"currency":"EUR"}"#;
        refuse(
            &cards.url(""),
            &[
                (
                    "an unknown card",
                    "POST",
                    "/authorisations",
                    k,
                    payment.to_owned(),
                    404,
                    "unknown-card",
                ),
                (
                    "no key",
                    "POST",
                    "/authorisations",
                    None,
                    payment.to_owned(),
                    400,
                    "idempotency-key-missing",
                ),
                (
                    "nothing",
                    "POST",
                    "/authorisations",
                    k,
                    payment.replace(":1,", ":0,"),
                    422,
                    "bad-amount",
                ),
                (
                    "beads",
                    "POST",
                    "/authorisations",
                    k,
                    payment.replace("EUR", "BDS"),
                    422,
                    "unknown-currency",
                ),
                (
                    "no JSON",
                    "POST",
                    "/authorisations",
                    k,
                    "card".to_owned(),
                    400,
                    "malformed",
                ),
            ],
        )
        .await;
        let wanted = r#"{"owner":"me","ttl_ms":5000}"#;
        refuse(
            &lock.url(""),
            &[
                (
                    "a bad name",
                    "POST",
                    "/locks/A%20B",
                    None,
                    wanted.to_owned(),
                    400,
                    "malformed",
                ),
                (
                    "no owner",
                    "POST",
                    "/locks/a",
                    None,
                    wanted.replace("me", ""),
                    400,
                    "malformed",
                ),
                (
                    "a short lease",
                    "POST",
                    "/locks/a",
                    None,
                    wanted.replace("5000", "1"),
                    400,
                    "malformed",
                ),
                (
                    "a long wait",
                    "POST",
                    "/locks/a",
                    None,
                    wanted.replace('}', r#","wait_ms":999999}"#),
                    400,
                    "malformed",
                ),
                (
                    "a lease that is none",
                    "PUT",
                    "/locks/a/nothing",
                    None,
                    no(),
                    404,
                    "not-found",
                ),
                (
                    "a release of nothing",
                    "DELETE",
                    "/locks/a/nothing",
                    None,
                    no(),
                    404,
                    "not-found",
                ),
            ],
        )
        .await;
        refuse(
            &gateway.url(""),
            &[
                (
                    "no token",
                    "GET",
                    "/v1/accounts",
                    None,
                    no(),
                    401,
                    "unauthenticated",
                ),
                (
                    "no token for a transfer",
                    "POST",
                    "/v1/transfers",
                    k,
                    transfer.to_owned(),
                    401,
                    "unauthenticated",
                ),
                (
                    "nobody's session",
                    "POST",
                    "/v1/sessions",
                    None,
                    r#"{"customer":"cus-nobody","secret":"x"}"#.to_owned(),
                    401,
                    "unauthenticated",
                ),
                (
                    "a session without secret",
                    "POST",
                    "/v1/sessions",
                    None,
                    r#"{"customer":"cus-nobody"}"#.to_owned(),
                    400,
                    "malformed",
                ),
                (
                    "a large body",
                    "POST",
                    "/v1/sessions",
                    None,
                    "x".repeat(70_000),
                    413,
                    "too-large",
                ),
                (
                    "an unknown path",
                    "GET",
                    "/v2",
                    None,
                    no(),
                    404,
                    "not-found",
                ),
            ],
        )
        .await;
        let totals = crate::http::get(&crate::http::client(), &ledger.url("/totals")).await;
        assert_eq!(
            (&totals["entries"], &totals["transactions"]),
            (&json!(0), &json!(0)),
            "{totals}"
        );
    });
}
