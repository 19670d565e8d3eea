//! Transfers: the owner is checked here, the ledger does the rest.

use super::Accounts;
use super::rows::OneAccount;
use crate::call::Trace;
use crate::failpoint;
use crate::ids;
use crate::ledger::api::REFERENCE_LIMIT;
use crate::money::{Currency, Written, check_id, check_text};
use crate::problem::{Code, Problem};
use crate::web::{Actor, Input, Key};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use serde::Deserialize;
use serde_json::json;

pub(super) fn routes() -> Router<Accounts> {
    Router::new().route("/transfers", post(transfer))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTransfer {
    from: String,
    to: String,
    amount: Written,
    currency: String,
    #[serde(default)]
    reference: String,
}

async fn transfer(
    State(bank): State<Accounts>,
    Key(key): Key,
    actor: Actor,
    trace: Trace,
    Input(new): Input<NewTransfer>,
) -> Result<Response, Problem> {
    check_id("from", &new.from, "acc-")?;
    check_id("to", &new.to, "acc-")?;
    if new.from == new.to {
        return Err(Problem::malformed("`from` and `to` are the same account"));
    }
    if !new.reference.is_empty() {
        check_text("reference", &new.reference, REFERENCE_LIMIT)?;
    }
    let (amount, currency) = (new.amount.positive()?, Currency::parse(&new.currency)?);
    let from = bank.owned(new.from, &actor).await?;
    let to = bank.database.read(OneAccount(new.to)).await?;
    if to.currency != from.currency {
        return Err(Problem::new(
            Code::CurrencyMismatch,
            format!(
                "{} holds {}, {} holds {}: a transfer has one currency",
                from.id, from.currency, to.id, to.currency
            ),
        ));
    }
    let body = json!({"kind": "transfer", "reference": new.reference, "postings": [
        {"account": from.id, "amount": -amount, "currency": currency},
        {"account": to.id, "amount": amount, "currency": currency},
    ]});
    // Keys of different customers are different, whatever they chose.
    let key = ids::fingerprint(&["transfer", &from.customer, &key]);
    let headers = [("idempotency-key", key.as_str())];
    let url = "http://ledger/transactions";
    let reply = bank
        .peers
        .send(&trace, Method::POST, url, &headers, Some(&body))
        .await?;
    reply.success::<serde::de::IgnoredAny>("ledger")?;
    failpoint::reach("accounts.posted");
    // The ledger's own words, so that a repetition is answered as the first time.
    let mut response = (reply.status, reply.body).into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    if let Some(replayed) = reply.headers.get("idempotency-replayed") {
        response
            .headers_mut()
            .insert("idempotency-replayed", replayed.clone());
    }
    Ok(response)
}
