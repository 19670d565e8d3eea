//! What the ledger tells the world about an account, in the topic `ledger.postings`, keyed by account.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The topic of the ledger's events.
pub const POSTINGS: &str = "ledger.postings";

/// What happened to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// The balance changed.
    Posting,
    /// An amount was set aside; the balance is as before.
    Hold,
    /// What was set aside is available again.
    Release,
}

/// One event of one account. Whoever consumes it twice knows it by `id`; `sequence` has no gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// `txn-…:acc-…`, `hold-…:acc-…` or `hold-…:acc-…:release`.
    pub id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind_of_event: Type,
    /// The account.
    pub account: String,
    /// Whose account it is, as far as the ledger was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// 1, 2, 3, … per account.
    pub sequence: i64,
    /// Signed, in minor units. Of a hold: what is available changes by it, below zero. Of a release: above zero.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// After the event.
    pub balance: i64,
    /// After the event: the balance less what is held.
    pub available: i64,
    /// Of what kind the transaction is: `transfer`, `card`, `opening`, …
    pub kind: String,
    /// The transaction, of a posting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// The hold, of a hold, its release, or the posting that captures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// What the parties wrote; empty for card payments.
    pub reference: String,
    /// Of a card payment: the merchant's id. `merchants` puts an object here in `feed.items`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<Value>,
    /// Of a card payment: what the terminal sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<String>,
    /// Of a card payment: the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// The other account, of a posting between two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counterparty: Option<String>,
    /// RFC 3339, UTC, milliseconds.
    pub time: String,
    /// `traceparent` of the request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}
