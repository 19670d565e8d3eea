//! The service `cards`: a payment is approved or declined at once, from the card and from what the ledger can set aside.
//! The money moves later (`cards/settle.rs`).

mod settle;

use crate::Failure;
use crate::call::{Peers, Trace};
use crate::failpoint;
use crate::ids;
use crate::ledger::api::{DESCRIPTOR_LIMIT, check_merchant};
use crate::money::{Currency, Written, check_id, check_text};
use crate::problem::{Code, Problem};
use crate::settings::Settings;
use crate::web::{Actor, Input, Key, Service, Stop};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

/// Runs the service until it is told to stop.
///
/// # Errors
///
/// It cannot start.
pub async fn serve(settings: Settings) -> Result<(), Failure> {
    let peers = Peers::new();
    let stop = Stop::on_signal()?;
    let settling = tokio::spawn(settle::run(
        peers.clone(),
        settings.settle_after,
        stop.clone(),
    ));
    let routes = Router::new()
        .route("/authorisations", post(authorise))
        .with_state(peers);
    Service::new("cards", routes).serve(&settings, stop).await?;
    // It ends by the same signal, and gives its lock up.
    let _ = settling.await;
    Ok(())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payment {
    card: String,
    merchant: String,
    descriptor: String,
    amount: Written,
    currency: String,
}

/// A card, as `accounts` tells it.
#[derive(Debug, Deserialize)]
struct Card {
    account: String,
    customer: String,
    currency: String,
    limit: i64,
    frozen: bool,
}

/// What the ledger set aside.
#[derive(Debug, Deserialize)]
struct Hold {
    id: String,
}

async fn authorise(
    State(peers): State<Peers>,
    Key(key): Key,
    actor: Actor,
    trace: Trace,
    Input(payment): Input<Payment>,
) -> Result<Json<Value>, Problem> {
    check_id("card", &payment.card, "card-")?;
    check_merchant(&payment.merchant)?;
    check_text("descriptor", &payment.descriptor, DESCRIPTOR_LIMIT)?;
    let (amount, currency) = (
        payment.amount.positive()?,
        Currency::parse(&payment.currency)?,
    );
    let card: Card = peers
        .get(&trace, &format!("http://accounts/cards/{}", payment.card))
        .await?;
    if actor
        .0
        .as_ref()
        .is_some_and(|customer| *customer != card.customer)
    {
        return Err(Problem::new(
            Code::Forbidden,
            format!("{} is not your card", payment.card),
        ));
    }
    let key = ids::fingerprint(&["card", &payment.card, &key]);
    let id = ids::derived("auth-", &[&key]);
    if let Some(problem) = reason(&card, amount, currency) {
        // It may have been approved before the card was frozen: then that stays true.
        return match earlier(&peers, &trace, &key).await? {
            Some(hold) => Ok(Json(approved(&id, &hold))),
            None => Ok(Json(declined(&id, &problem))),
        };
    }
    let body = json!({
        "account": card.account, "amount": amount, "currency": currency, "card": payment.card,
        "merchant": payment.merchant, "descriptor": payment.descriptor,
    });
    let headers = [("idempotency-key", key.as_str())];
    let url = "http://ledger/holds";
    let reply = peers
        .send(&trace, Method::POST, url, &headers, Some(&body))
        .await?;
    match reply.success::<Hold>("ledger") {
        Ok(hold) => {
            failpoint::reach("cards.held");
            Ok(Json(approved(&id, &hold)))
        }
        Err(problem) if problem.code == Code::InsufficientFunds => {
            Ok(Json(declined(&id, &problem)))
        }
        Err(problem) => Err(problem),
    }
}

/// Why the card itself stands against a payment.
fn reason(card: &Card, amount: i64, currency: Currency) -> Option<Problem> {
    if card.frozen {
        Some(Problem::new(
            Code::CardFrozen,
            "the card is frozen: its owner can thaw it",
        ))
    } else if card.currency != currency.code() {
        let detail = format!("the card pays in {}, not in {currency}", card.currency);
        Some(Problem::new(Code::CurrencyMismatch, detail))
    } else if amount > card.limit {
        let detail = format!(
            "{amount} is above the card's limit of {} for one payment",
            card.limit
        );
        Some(Problem::new(Code::OverLimit, detail))
    } else {
        None
    }
}

/// The hold that this key got before.
async fn earlier(peers: &Peers, trace: &Trace, key: &str) -> Result<Option<Hold>, Problem> {
    #[derive(Deserialize)]
    struct Kept {
        answer: Hold,
    }
    match peers
        .get::<Kept>(trace, &format!("http://ledger/keys/{key}"))
        .await
    {
        Ok(kept) => Ok(Some(kept.answer)),
        Err(problem) if problem.code == Code::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn approved(id: &str, hold: &Hold) -> Value {
    json!({"id": id, "decision": "approved", "hold": hold.id})
}

fn declined(id: &str, problem: &Problem) -> Value {
    json!({"id": id, "decision": "declined", "reason": problem.code.name(), "detail": problem.detail})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_stand_against_payments() {
        #[rustfmt::skip]
        let rows = [
            // frozen, limit, amount, currency, reason
            (false, 100, 100, Currency::EUR, None),
            (false, 100, 101, Currency::EUR, Some(Code::OverLimit)),
            (false, 100,   1, Currency::USD, Some(Code::CurrencyMismatch)),
            (true,  100,   1, Currency::EUR, Some(Code::CardFrozen)),
            (true,  100, 101, Currency::USD, Some(Code::CardFrozen)),
        ];
        for (frozen, limit, amount, currency, wanted) in rows {
            let card = Card {
                account: "acc-1".to_owned(),
                customer: "cus-1".to_owned(),
                currency: "EUR".to_owned(),
                limit,
                frozen,
            };
            assert_eq!(
                reason(&card, amount, currency).map(|problem| problem.code),
                wanted
            );
        }
    }
}
