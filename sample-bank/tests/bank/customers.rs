//! What customers do, through the gateway and the services behind it.

use crate::engine::{Engine, Engines};
use crate::http::{Answer, ask, block_on, client, get, send, until};
use crate::process::{Bank, Replica, TOKEN_KEY};
use crate::street::Street;
use heddle_bank::gateway::token::Signer;
use reqwest::Client;
use serde_json::{Value, json};
use std::future::Future;

/// A customer with two accounts and a card, and a token.
#[derive(Debug)]
pub(crate) struct Customers {
    pub(crate) customer: String,
    pub(crate) secret: String,
    pub(crate) token: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) card: String,
}

impl Customers {
    pub(crate) fn transfer(&self, amount: i64) -> Value {
        json!({"from": self.from, "to": self.to, "amount": amount, "currency": "EUR", "reference": "rent"})
    }

    pub(crate) fn payment(&self, amount: i64) -> Value {
        json!({"card": self.card, "merchant": "mer-bean", "descriptor": "BEAN THERE 0042", "amount": amount, "currency": "EUR"})
    }
}

/// Opens a customer's accounts at the service `accounts`; `post` sends a path, a key and a body until it is answered.
pub(crate) async fn open<S, F: Future<Output = Answer>>(
    _at: &S,
    post: impl Fn(String, String, Value) -> F,
) -> Customers {
    let made = |answer: Answer| {
        assert!(answer.status < 300, "{answer:?}");
        answer.body
    };
    let text = |value: &Value| value.as_str().expect("it is told").to_owned();
    let customer = made(
        post(
            "/customers".to_owned(),
            "c".to_owned(),
            json!({"name": "Ada"}),
        )
        .await,
    );
    let id = text(&customer["id"]);
    let path = format!("/customers/{id}/accounts");
    let opening = json!({"currency": "EUR", "opening": 1_000_000});
    let from = made(post(path.clone(), "from".to_owned(), opening.clone()).await);
    assert_eq!(from["balance"], 1_000_000);
    let to = made(post(path, "to".to_owned(), opening).await);
    let path = format!("/accounts/{}/cards", text(&from["id"]));
    let card = made(post(path, "card".to_owned(), json!({"limit": 5000})).await);
    let signer = Signer::from_hex(TOKEN_KEY).unwrap();
    Customers {
        token: signer.issue(&id, i64::MAX),
        secret: text(&customer["secret"]),
        customer: id,
        from: text(&from["id"]),
        to: text(&to["id"]),
        card: text(&card["id"]),
    }
}

/// A bank of one replica each.
struct Whole {
    bank: Bank,
    street: Street,
    client: Client,
    services: Vec<Replica>,
}

impl Whole {
    async fn start(engines: &Engines, engine: Engine) -> Self {
        let mut bank = Bank::new(engines, engine);
        let street = Street::open().await;
        bank.set("http_proxy", street.proxy());
        bank.set("BANK_SETTLE_AFTER", "0.2");
        let services =
            ["lock", "ledger", "accounts", "cards", "gateway"].map(|name| bank.start(name));
        for service in &services {
            street.name(service.service, &[service.port]);
        }
        Self {
            bank,
            street,
            client: client(),
            services: services.into(),
        }
    }

    fn url(&self, service: &str, path: &str) -> String {
        let found = self
            .services
            .iter()
            .find(|replica| replica.service == service);
        found.expect("it was started").url(path)
    }

    async fn open(&self) -> Customers {
        open(self, |path, key, body| async move {
            ask(
                &self.client,
                "POST",
                &self.url("accounts", &path),
                Some(&key),
                Some(&body),
            )
            .await
        })
        .await
    }

    /// As a customer, at the gateway.
    async fn ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
        key: &str,
        body: Option<&Value>,
    ) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .client
            .request(method, self.url("gateway", path))
            .bearer_auth(token);
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        send(request).await.unwrap()
    }
}

pub(crate) fn bank(engines: &Engines, engine: Engine) {
    block_on(async {
        let whole = Whole::start(engines, engine).await;
        let ada = whole.open().await;
        let credentials = json!({"customer": ada.customer, "secret": ada.secret});
        let session = whole
            .ask("POST", "/v1/sessions", "", "", Some(&credentials))
            .await
            .expect(201);
        let token = session["token"].as_str().unwrap();
        assert_eq!(
            whole
                .ask("GET", "/v1/me", token, "", None)
                .await
                .expect(200)["name"],
            "Ada"
        );
        let wrong = json!({"customer": ada.customer, "secret": "guessed"});
        whole
            .ask("POST", "/v1/sessions", "", "", Some(&wrong))
            .await
            .refused(401, "unauthenticated");

        let made = whole
            .ask(
                "POST",
                "/v1/transfers",
                token,
                "t1",
                Some(&ada.transfer(250)),
            )
            .await
            .expect(201);
        let again = whole
            .ask(
                "POST",
                "/v1/transfers",
                token,
                "t1",
                Some(&ada.transfer(250)),
            )
            .await;
        assert!(again.replayed && again.body == made);
        whole
            .ask(
                "POST",
                "/v1/transfers",
                token,
                "t1",
                Some(&ada.transfer(251)),
            )
            .await
            .refused(409, "idempotency-key-reused");
        whole
            .ask(
                "POST",
                "/v1/transfers",
                token,
                "t2",
                Some(&ada.transfer(2_000_000)),
            )
            .await
            .refused(422, "insufficient-funds");

        let pay = async |key: &str, amount: i64| {
            whole
                .ask(
                    "POST",
                    "/v1/card-payments",
                    token,
                    key,
                    Some(&ada.payment(amount)),
                )
                .await
                .expect(200)
        };
        let approved = pay("p1", 350).await;
        assert_eq!(approved["decision"], "approved");
        assert_eq!(pay("p2", 5001).await["reason"], "over-limit");
        let card = format!("/v1/cards/{}", ada.card);
        let frozen = whole
            .ask("PATCH", &card, token, "", Some(&json!({"frozen": true})))
            .await
            .expect(200);
        assert_eq!(frozen["frozen"], true);
        assert_eq!(pay("p3", 1).await["reason"], "card-frozen");
        assert_eq!(
            pay("p1", 350).await,
            approved,
            "what was approved stays approved"
        );
        let thawed = json!({"frozen": false, "limit": 2_000_000});
        whole
            .ask("PATCH", &card, token, "", Some(&thawed))
            .await
            .expect(200);
        assert_eq!(pay("p4", 1_500_000).await["reason"], "insufficient-funds");

        let accounts = whole
            .ask("GET", "/v1/accounts", token, "", None)
            .await
            .expect(200);
        let from = accounts["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .find(|a| a["id"] == ada.from)
            .unwrap();
        assert_eq!(from["available"], 1_000_000 - 250 - 350);
        assert_eq!(from["cards"][0]["id"], ada.card);
    });
}

pub(crate) fn see_only_their_own(engines: &Engines, engine: Engine) {
    block_on(async {
        let whole = Whole::start(engines, engine).await;
        let (ada, bob) = (whole.open().await, whole.open().await);
        let get = async |path: String| whole.ask("GET", &path, &bob.token, "", None).await;
        get(format!("/v1/accounts/{}", ada.from))
            .await
            .refused(403, "forbidden");
        get(format!("/v1/accounts/{}/feed", ada.from))
            .await
            .refused(403, "forbidden");
        get(format!("/v1/cards/{}", ada.card))
            .await
            .refused(403, "forbidden");
        whole
            .ask(
                "POST",
                "/v1/transfers",
                &bob.token,
                "k",
                Some(&ada.transfer(1)),
            )
            .await
            .refused(403, "forbidden");
        whole
            .ask(
                "POST",
                "/v1/card-payments",
                &bob.token,
                "k",
                Some(&ada.payment(1)),
            )
            .await
            .refused(403, "forbidden");
        let thaw = json!({"frozen": true});
        let card = format!("/v1/cards/{}", ada.card);
        whole
            .ask("PATCH", &card, &bob.token, "", Some(&thaw))
            .await
            .refused(403, "forbidden");
        // To pay to somebody else is what a bank is for.
        let mut gift = bob.transfer(5);
        gift["to"] = json!(ada.from);
        whole
            .ask("POST", "/v1/transfers", &bob.token, "gift", Some(&gift))
            .await
            .expect(201);
        let signer = Signer::from_hex(TOKEN_KEY).unwrap();
        let old = signer.issue(&ada.customer, 1);
        whole
            .ask("GET", "/v1/accounts", &old, "", None)
            .await
            .refused(401, "token-expired");
        let forged = Signer::from_hex(&TOKEN_KEY.replace('0', "1"))
            .unwrap()
            .issue(&ada.customer, i64::MAX);
        whole
            .ask("GET", "/v1/accounts", &forged, "", None)
            .await
            .refused(401, "unauthenticated");
        // Nobody says by a header who he is.
        let request = whole
            .client
            .get(whole.url("gateway", &card))
            .bearer_auth(&bob.token);
        let request = request.header("bank-user", &ada.customer);
        send(request).await.unwrap().refused(403, "forbidden");
    });
}

pub(crate) fn are_staged_by_the_gateway_only(engines: &Engines, engine: Engine) {
    block_on(async {
        let whole = Whole::start(engines, engine).await;
        let (ada, bob) = (whole.open().await, whole.open().await);
        let staging = json!({ada.customer.as_str(): "/svc/accounts => /svc/accounts-v2"});
        std::fs::write(whole.bank.file("staging.json"), staging.to_string()).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(600)).await; // the gateway looks twice a second
        for customer in [&ada, &bob] {
            let mut request = whole
                .client
                .get(whole.url("gateway", "/v1/me"))
                .bearer_auth(&customer.token);
            for name in [
                "heddle-dtab",
                "l5d-dtab",
                "l5d-ctx-dtab",
                "heddle-context",
                "dtab-local",
                "bank-user",
            ] {
                request = request.header(name, "/svc/accounts => /svc/mine");
            }
            let trace = "00-11111111111111111111111111111111-2222222222222222-01";
            send(request.header("traceparent", trace))
                .await
                .unwrap()
                .expect(200);
            let passed = whole.street.passed("accounts").pop().unwrap();
            let value = |name: &str| {
                passed
                    .headers
                    .get(name)
                    .map(|value| value.to_str().unwrap().to_owned())
            };
            let staged = (customer.customer == ada.customer)
                .then(|| "/svc/accounts => /svc/accounts-v2".to_owned());
            assert_eq!(value("heddle-dtab"), staged);
            for name in ["l5d-dtab", "l5d-ctx-dtab", "heddle-context", "dtab-local"] {
                assert_eq!(value(name), None, "{name} came through");
            }
            assert_eq!(
                value("bank-user").as_deref(),
                Some(customer.customer.as_str())
            );
            let traceparent = value("traceparent").unwrap();
            assert!(
                traceparent.starts_with("00-") && !traceparent.contains("1111111111111111"),
                "{traceparent}"
            );
        }
        // The trace goes on to whoever is called on the customer's behalf.
        whole
            .ask(
                "POST",
                "/v1/transfers",
                &bob.token,
                "k",
                Some(&bob.transfer(1)),
            )
            .await
            .expect(201);
        let last =
            |name: &str| whole.street.passed(name).pop().unwrap().headers["traceparent"].clone();
        let of_transfers = whole
            .street
            .passed("ledger")
            .into_iter()
            .rfind(|passed| passed.path == "/transactions");
        assert_eq!(
            of_transfers.unwrap().headers["traceparent"],
            last("accounts")
        );
    });
}

pub(crate) fn payments_are_settled_once(engines: &Engines, engine: Engine) {
    block_on(async {
        let whole = Whole::start(engines, engine).await;
        // Another replica: two settle, one at a time.
        let second = whole.bank.start("cards");
        let ports = [second.port, whole.services[3].port];
        whole.street.name("cards", &ports);
        let ada = whole.open().await;
        for n in 0..30 {
            let key = format!("p{n}");
            let answer = whole
                .ask(
                    "POST",
                    "/v1/card-payments",
                    &ada.token,
                    &key,
                    Some(&ada.payment(10)),
                )
                .await;
            assert_eq!(answer.expect(200)["decision"], "approved");
        }
        let open = whole.url("ledger", "/holds?state=open");
        until("all payments are settled", || async {
            get(&whole.client, &open).await["holds"] == json!([])
        })
        .await;
        let merchant = get(
            &whole.client,
            &whole.url("ledger", "/accounts/acc-mer-bean-eur"),
        )
        .await;
        assert_eq!(merchant["balance"], 300);
        let account = get(
            &whole.client,
            &whole.url("ledger", &format!("/accounts/{}", ada.from)),
        )
        .await;
        assert_eq!(
            (&account["balance"], &account["held"]),
            (&json!(999_700), &json!(0))
        );
    });
}
