//! Customers, accounts and cards over HTTP.

use super::Accounts;
use super::rows::{
    AccountsOf, AddAccount, AddCard, AddCustomer, Card, CardsOf, ChangeCard, Customer, OneAccount,
    OneCard, OneCustomer, Owned,
};
use crate::call::Trace;
use crate::failpoint;
use crate::ids;
use crate::money::{Currency, Written, check_id, check_text};
use crate::problem::{Code, Problem};
use crate::web::{Actor, At, Input, Key};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

/// Longest name of a customer, in characters.
const NAME_LIMIT: usize = 100;

pub(super) fn routes() -> Router<Accounts> {
    Router::new()
        .route("/customers", post(add_customer))
        .route("/customers/{id}", get(customer))
        .route("/customers/{id}/secret", post(check_secret))
        .route("/customers/{id}/accounts", post(open_account).get(accounts))
        .route("/accounts/{id}", get(account))
        .route("/accounts/{id}/owner", get(owner))
        .route("/accounts/{id}/cards", post(add_card).get(cards))
        .route("/cards/{id}", get(card).patch(change_card))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCustomer {
    name: String,
}

/// The secret is told here once, and kept as a hash.
async fn add_customer(
    State(bank): State<Accounts>,
    Input(new): Input<NewCustomer>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    check_text("name", &new.name, NAME_LIMIT)?;
    let secret = ids::fresh("");
    let customer = Customer {
        id: ids::fresh("cus-"),
        name: new.name,
        secret: ids::fingerprint(&[&secret]),
    };
    bank.database.write(AddCustomer(customer.clone())).await?;
    let told = json!({"id": customer.id, "name": customer.name, "secret": secret});
    Ok((StatusCode::CREATED, Json(told)))
}

async fn customer(
    State(bank): State<Accounts>,
    At(id): At<String>,
) -> Result<Json<Value>, Problem> {
    let customer = bank.database.read(OneCustomer(id)).await?;
    Ok(Json(json!({"id": customer.id, "name": customer.name})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    secret: String,
}

/// For the gateway: whether a customer may have a session. Says nothing about which of the two was wrong.
async fn check_secret(
    State(bank): State<Accounts>,
    At(id): At<String>,
    Input(given): Input<Secret>,
) -> Result<Json<Value>, Problem> {
    let wrong = || {
        Problem::new(
            Code::Unauthenticated,
            "no customer has that id and that secret",
        )
    };
    let found = bank.database.read(OneCustomer(id)).await;
    let customer = found.map_err(|problem| match problem.code {
        Code::NotFound => wrong(),
        _ => problem,
    })?;
    // Hashes are compared, so the time that it takes tells nothing about the secret.
    if ids::fingerprint(&[&given.secret]) != customer.secret {
        return Err(wrong());
    }
    Ok(Json(json!({"id": customer.id, "name": customer.name})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    currency: String,
    /// What the bank puts on it at the start, in minor units.
    #[serde(default)]
    opening: Option<Written>,
}

/// Each step can be repeated and finds what it did before, so a repetition after a crash completes what was begun.
async fn open_account(
    State(bank): State<Accounts>,
    At(customer): At<String>,
    Key(key): Key,
    trace: Trace,
    Input(new): Input<NewAccount>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let currency = Currency::parse(&new.currency)?;
    let opening = new.opening.map_or(Ok(0), |amount| amount.not_negative())?;
    let owned = Owned {
        id: ids::derived("acc-", &[&customer, &key]),
        customer,
        currency: currency.code().to_owned(),
        opening,
    };
    let first = bank.database.write(AddAccount(owned.clone())).await?;
    failpoint::reach("accounts.stored");
    let body = json!({
        "id": owned.id, "currency": currency, "kind": "customer", "customer": owned.customer, "floor": 0,
    });
    let account: Value = bank.ledger(&trace, "accounts", &[], &body).await?;
    let account = if opening > 0 {
        bank.open_with(&trace, &owned, currency).await?
    } else {
        account
    };
    failpoint::reach("accounts.posted");
    let status = if first {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(shown(&owned, &[], &account))))
}

impl Accounts {
    /// Puts the opening amount on an account: it comes from the bank's own.
    async fn open_with(
        &self,
        trace: &Trace,
        owned: &Owned,
        currency: Currency,
    ) -> Result<Value, Problem> {
        let own = format!("acc-bank-{}", currency.code().to_lowercase());
        let body = json!({"id": own, "currency": currency, "kind": "bank"});
        self.ledger::<Value>(trace, "accounts", &[], &body).await?;
        let body = json!({"kind": "opening", "reference": "Opening balance", "postings": [
            {"account": own, "amount": -owned.opening, "currency": currency},
            {"account": owned.id, "amount": owned.opening, "currency": currency},
        ]});
        let key = ids::fingerprint(&["opening", &owned.id]);
        let key = [("idempotency-key", key.as_str())];
        self.ledger::<Value>(trace, "transactions", &key, &body)
            .await?;
        self.peers
            .get(trace, &format!("http://ledger/accounts/{}", owned.id))
            .await
    }

    pub(super) async fn ledger<T: serde::de::DeserializeOwned>(
        &self,
        trace: &Trace,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<T, Problem> {
        let url = format!("http://ledger/{path}");
        let reply = self
            .peers
            .send(trace, Method::POST, &url, headers, Some(body))
            .await?;
        reply.success("ledger")
    }
}

/// An account with its owner, its cards, and what the ledger says of it.
fn shown(owned: &Owned, cards: &[Card], ledger: &Value) -> Value {
    json!({
        "id": owned.id,
        "customer": owned.customer,
        "currency": owned.currency,
        "balance": ledger["balance"],
        "held": ledger["held"],
        "available": ledger["available"],
        "sequence": ledger["sequence"],
        "cards": cards.iter().map(shown_card).collect::<Vec<_>>(),
    })
}

async fn accounts(
    State(bank): State<Accounts>,
    At(customer): At<String>,
    trace: Trace,
) -> Result<Json<Value>, Problem> {
    let owned = bank.database.read(AccountsOf(customer)).await?;
    let mut list = Vec::with_capacity(owned.len());
    for account in &owned {
        list.push(bank.with_balance(&trace, account).await?);
    }
    Ok(Json(json!({"accounts": list})))
}

impl Accounts {
    async fn with_balance(&self, trace: &Trace, owned: &Owned) -> Result<Value, Problem> {
        let url = format!("http://ledger/accounts/{}", owned.id);
        let ledger: Value = self.peers.get(trace, &url).await?;
        let cards = self.database.read(CardsOf(owned.id.clone())).await?;
        Ok(shown(owned, &cards, &ledger))
    }

    /// The account, if it is the customer's; the bank itself may see all.
    pub(super) async fn owned(&self, id: String, actor: &Actor) -> Result<Owned, Problem> {
        let owned = self.database.read(OneAccount(id)).await?;
        allow(actor, &owned.customer, &owned.id)?;
        Ok(owned)
    }
}

fn allow(actor: &Actor, owner: &str, what: &str) -> Result<(), Problem> {
    match &actor.0 {
        Some(customer) if customer != owner => Err(Problem::new(
            Code::Forbidden,
            format!("{what} is not yours: only its owner may do that"),
        )),
        _ => Ok(()),
    }
}

async fn account(
    State(bank): State<Accounts>,
    At(id): At<String>,
    actor: Actor,
    trace: Trace,
) -> Result<Json<Value>, Problem> {
    let owned = bank.owned(id, &actor).await?;
    bank.with_balance(&trace, &owned).await.map(Json)
}

/// Whose an account is, without asking the ledger.
async fn owner(
    State(bank): State<Accounts>,
    At(id): At<String>,
    actor: Actor,
) -> Result<Json<Value>, Problem> {
    let owned = bank.owned(id, &actor).await?;
    Ok(Json(json!({"id": owned.id, "customer": owned.customer})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCard {
    /// Of one payment, in minor units.
    limit: Written,
}

async fn add_card(
    State(bank): State<Accounts>,
    At(account): At<String>,
    actor: Actor,
    Input(new): Input<NewCard>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let limit = new.limit.positive()?;
    let owned = bank.owned(account, &actor).await?;
    let new = AddCard {
        id: ids::fresh("card-"),
        account: owned.id,
        limit,
    };
    let card = bank.database.write(new).await?;
    Ok((StatusCode::CREATED, Json(shown_card(&card))))
}

async fn cards(
    State(bank): State<Accounts>,
    At(account): At<String>,
    actor: Actor,
) -> Result<Json<Value>, Problem> {
    let owned = bank.owned(account, &actor).await?;
    let cards = bank.database.read(CardsOf(owned.id)).await?;
    let cards: Vec<Value> = cards.iter().map(shown_card).collect();
    Ok(Json(json!({"cards": cards})))
}

fn shown_card(card: &Card) -> Value {
    json!({
        "id": card.id,
        "account": card.account,
        "customer": card.customer,
        "currency": card.currency,
        "limit": card.limit,
        "frozen": card.frozen,
    })
}

async fn card(
    State(bank): State<Accounts>,
    At(id): At<String>,
    actor: Actor,
) -> Result<Json<Value>, Problem> {
    check_id("card", &id, "card-")?;
    let card = bank.database.read(OneCard(id)).await?;
    allow(&actor, &card.customer, &card.id)?;
    Ok(Json(shown_card(&card)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CardChange {
    #[serde(default)]
    limit: Option<Written>,
    #[serde(default)]
    frozen: Option<bool>,
}

async fn change_card(
    State(bank): State<Accounts>,
    At(id): At<String>,
    actor: Actor,
    Input(change): Input<CardChange>,
) -> Result<Json<Value>, Problem> {
    let limit = change.limit.map(|limit| limit.positive()).transpose()?;
    let card = bank.database.read(OneCard(id)).await?;
    allow(&actor, &card.customer, &card.id)?;
    let change = ChangeCard {
        id: card.id,
        limit,
        frozen: change.frozen,
    };
    let card = bank.database.write(change).await?;
    Ok(Json(shown_card(&card)))
}
