//! How the ledger shows what it has.

use super::book::{Account, Occasion};
use super::rows::Hold;
use crate::clock::rfc3339;
use crate::event::Event;
use serde_json::{Value, json};

pub(super) fn account(account: &Account) -> Value {
    json!({
        "id": account.id,
        "currency": account.currency,
        "kind": account.kind.name(),
        "customer": account.customer,
        "floor": account.floor,
        "balance": account.balance,
        "held": account.held,
        "available": account.available(),
        "sequence": account.sequence,
    })
}

pub(super) fn hold(hold: &Hold) -> Value {
    json!({
        "id": hold.id,
        "account": hold.account,
        "amount": hold.amount,
        "currency": hold.currency,
        "card": hold.card,
        "merchant": hold.merchant,
        "descriptor": hold.descriptor,
        "state": hold.state,
        "time": rfc3339(hold.created),
        "expires": rfc3339(hold.expires),
        "transaction": hold.transaction,
    })
}

pub(super) fn transaction(occasion: &Occasion, details: Option<&str>, events: &[Event]) -> Value {
    json!({
        "id": occasion.transaction,
        "kind": occasion.kind,
        "reference": occasion.reference,
        "hold": occasion.hold,
        "time": occasion.time,
        "details": details.map(parsed),
        "postings": events.iter().map(posting).collect::<Vec<_>>(),
    })
}

/// One leg of a transaction. What it left behind is not the other party's business.
pub(super) fn posting(event: &Event) -> Value {
    json!({
        "account": event.account,
        "amount": event.amount,
        "currency": event.currency,
        "sequence": event.sequence,
    })
}

/// Details are kept as the JSON that they came as.
pub(super) fn parsed(details: &str) -> Value {
    serde_json::from_str(details).unwrap_or(Value::Null)
}
