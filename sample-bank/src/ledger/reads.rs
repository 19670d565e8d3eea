//! What the ledger is asked: each answer comes from one snapshot.

use super::book::Account;
use super::post::unknown;
use super::rows::{Hold, Rows, read_hold};
use super::view;
use crate::clock;
use crate::database::{Fault, Row, Transaction, Work};
use crate::event::Event;
use crate::problem::{Code, Problem};
use serde_json::{Map, Value, json};

/// One account.
pub(super) struct OneAccount(pub(super) String);

impl Work for OneAccount {
    type Output = Account;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Account, Fault> {
        Ok(tx.account(&self.0).await?.ok_or_else(|| unknown(&self.0))?)
    }
}

/// The events of an account after a sequence, in order.
pub(super) struct Entries {
    pub(super) account: String,
    pub(super) after: i64,
    pub(super) limit: i64,
}

impl Work for Entries {
    type Output = Value;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Value, Fault> {
        tx.account(&self.account)
            .await?
            .ok_or_else(|| unknown(&self.account))?;
        let sql = "SELECT event FROM ledger_entries WHERE account = $1 AND sequence > $2 \
                   ORDER BY sequence LIMIT $3";
        let values = [(&self.account).into(), self.after.into(), self.limit.into()];
        let rows = tx.query(sql, &values).await?;
        let events = rows.iter().map(read_event).collect::<Result<Vec<_>, _>>()?;
        let next = full(rows.len(), self.limit).then(|| events.last().map(|event| event.sequence));
        Ok(json!({"entries": events, "next": next.flatten()}))
    }
}

/// One transaction.
pub(super) struct OneTransaction(pub(super) String);

impl Work for OneTransaction {
    type Output = Value;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Value, Fault> {
        let sql = "SELECT position, id, kind, reference, details, hold, time \
                   FROM ledger_transactions WHERE id = $1";
        let row = tx.first(sql, &[(&self.0).into()]).await?;
        let unknown = || {
            Problem::new(
                Code::NotFound,
                format!("the ledger has no transaction {}", self.0),
            )
        };
        show(tx, &row.ok_or_else(unknown)?).await
    }
}

/// All transactions after a position, in the order in which they were written.
pub(super) struct Transactions {
    pub(super) after: i64,
    pub(super) limit: i64,
}

impl Work for Transactions {
    type Output = Value;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Value, Fault> {
        let sql = "SELECT position, id, kind, reference, details, hold, time \
                   FROM ledger_transactions WHERE position > $1 ORDER BY position LIMIT $2";
        let rows = tx
            .query(sql, &[self.after.into(), self.limit.into()])
            .await?;
        let mut shown = Vec::with_capacity(rows.len());
        for row in &rows {
            shown.push(show(tx, row).await?);
        }
        let last = rows.last().map(|row| row.int(0)).transpose()?;
        let next = last.filter(|_| full(rows.len(), self.limit));
        Ok(json!({"transactions": shown, "next": next}))
    }
}

async fn show(tx: &mut Transaction<'_>, row: &Row) -> Result<Value, Fault> {
    let id = row.text(1)?;
    let sql = "SELECT event FROM ledger_entries WHERE txn = $1 ORDER BY amount, account";
    let legs = tx.query(sql, &[(&id).into()]).await?;
    let legs = legs.iter().map(|row| Ok(view::posting(&read_event(row)?)));
    let legs = legs.collect::<Result<Vec<_>, Fault>>()?;
    Ok(json!({
        "position": row.int(0)?,
        "id": id,
        "kind": row.text(2)?,
        "reference": row.text(3)?,
        "details": row.text_or_null(4)?.as_deref().map(view::parsed),
        "hold": row.text_or_null(5)?,
        "time": clock::rfc3339(row.int(6)?),
        "postings": legs,
    }))
}

/// One hold.
pub(super) struct OneHold(pub(super) String);

impl Work for OneHold {
    type Output = Hold;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Hold, Fault> {
        let unknown = || Problem::new(Code::NotFound, format!("the ledger has no hold {}", self.0));
        Ok(tx.read_hold(&self.0).await?.ok_or_else(unknown)?)
    }
}

/// Open holds that are at least so many milliseconds old, oldest first.
pub(super) struct OpenHolds {
    pub(super) older_than: i64,
    pub(super) limit: i64,
}

impl Work for OpenHolds {
    type Output = Vec<Value>;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Vec<Value>, Fault> {
        let sql = "SELECT id, account, amount, currency, card, merchant, descriptor, state, created, expires, txn \
                   FROM ledger_holds WHERE state = 'open' AND created <= $1 ORDER BY created LIMIT $2";
        let before = clock::now() - self.older_than;
        let rows = tx.query(sql, &[before.into(), self.limit.into()]).await?;
        rows.iter()
            .map(|row| Ok(view::hold(&read_hold(row)?)))
            .collect()
    }
}

/// What a key was answered.
pub(super) struct OneKey(pub(super) String);

impl Work for OneKey {
    type Output = Value;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Value, Fault> {
        let unknown = || Problem::new(Code::NotFound, "the ledger has not seen this key");
        let (_, status, answer) = tx.key(&self.0).await?.ok_or_else(unknown)?;
        Ok(json!({"status": status, "answer": view::parsed(&answer)}))
    }
}

/// The sums that must be zero, and how much there is of everything.
pub(super) struct Totals;

impl Work for Totals {
    type Output = Value;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Value, Fault> {
        let sql = "SELECT currency, COUNT(*), CAST(SUM(balance) AS BIGINT), CAST(SUM(held) AS BIGINT), \
                   COUNT(CASE WHEN floor IS NOT NULL AND balance - held < floor THEN 1 END) \
                   FROM ledger_accounts GROUP BY currency ORDER BY currency";
        let accounts = tx.query(sql, &[]).await?;
        let sql = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT), COUNT(*) FROM ledger_entries \
                   WHERE currency = $1 AND type = 'posting'";
        let mut currencies = Map::new();
        for row in &accounts {
            let currency = row.text(0)?;
            let postings = tx.first(sql, &[(&currency).into()]).await?;
            let postings = postings.ok_or_else(|| Fault::row("a sum has no row"))?;
            let sums = json!({
                "accounts": row.int(1)?,
                "balances": row.int(2)?,
                "held": row.int(3)?,
                "below_floor": row.int(4)?,
                "postings": postings.int(1)?,
                "sum": postings.int(0)?,
            });
            currencies.insert(currency, sums);
        }
        let mut counts = Map::new();
        for (name, sql) in [
            ("transactions", "SELECT COUNT(*) FROM ledger_transactions"),
            ("entries", "SELECT COUNT(*) FROM ledger_entries"),
            (
                "open_holds",
                "SELECT COUNT(*) FROM ledger_holds WHERE state = 'open'",
            ),
        ] {
            let row = tx.first(sql, &[]).await?;
            counts.insert(name.to_owned(), row.map_or(Ok(0), |row| row.int(0))?.into());
        }
        counts.insert("currencies".to_owned(), currencies.into());
        Ok(counts.into())
    }
}

/// How many events wait for the relay, and the age of the oldest in milliseconds.
pub(super) struct Waiting;

impl Work for Waiting {
    type Output = (i64, i64);

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(i64, i64), Fault> {
        let row = tx
            .first("SELECT COUNT(*), MIN(time) FROM ledger_outbox", &[])
            .await?;
        let row = row.ok_or_else(|| Fault::row("a count has no row"))?;
        let oldest = row.int_or_null(1)?;
        Ok((
            row.int(0)?,
            oldest.map_or(0, |time| (clock::now() - time).max(0)),
        ))
    }
}

/// The accounts after an id, in the order of their ids.
pub(super) struct Accounts {
    pub(super) after: String,
    pub(super) limit: i64,
}

impl Work for Accounts {
    type Output = Value;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Value, Fault> {
        let sql = "SELECT id FROM ledger_accounts WHERE id > $1 ORDER BY id LIMIT $2";
        let rows = tx
            .query(sql, &[(&self.after).into(), self.limit.into()])
            .await?;
        let mut shown = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = row.text(0)?;
            let account = tx.account(&id).await?.ok_or_else(|| unknown(&id))?;
            shown.push(view::account(&account));
        }
        let last = rows.last().map(|row| row.text(0)).transpose()?;
        let next = last.filter(|_| full(rows.len(), self.limit));
        Ok(json!({"accounts": shown, "next": next}))
    }
}

fn full(found: usize, limit: i64) -> bool {
    i64::try_from(found) == Ok(limit)
}

fn read_event(row: &Row) -> Result<Event, Fault> {
    serde_json::from_str(&row.text(0)?)
        .map_err(|e| Fault::row(format!("an event cannot be read: {e}")))
}
