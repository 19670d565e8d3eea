//! The ledger's statements, each once, under names that say what they are for.

use super::book::{Account, Kind};
use crate::database::{Fault, Row, Transaction, Value};
use crate::event::{Event, Type};
use crate::money::Currency;
use std::future::Future;

/// A hold as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) amount: i64,
    pub(super) currency: Currency,
    pub(super) card: String,
    pub(super) merchant: String,
    pub(super) descriptor: String,
    pub(super) state: String,
    pub(super) created: i64,
    pub(super) expires: i64,
    pub(super) transaction: Option<String>,
}

const ACCOUNT: &str = "SELECT id, currency, kind, customer, floor, balance, held, sequence \
     FROM ledger_accounts WHERE id = $1";
const ACCOUNT_LOCKED: &str = "SELECT id, currency, kind, customer, floor, balance, held, sequence \
     FROM ledger_accounts WHERE id = $1 FOR UPDATE";
const HOLD: &str = "SELECT id, account, amount, currency, card, merchant, descriptor, state, created, expires, txn \
     FROM ledger_holds WHERE id = $1";
const HOLD_LOCKED: &str = "SELECT id, account, amount, currency, card, merchant, descriptor, state, created, expires, txn \
     FROM ledger_holds WHERE id = $1 FOR UPDATE";

/// What the ledger does with its tables.
pub(super) trait Rows {
    /// Takes a key; false if somebody has it.
    fn take_key(
        &mut self,
        key: &str,
        digest: &str,
        now: i64,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;
    /// Digest, status and answer of a key.
    fn key(
        &mut self,
        key: &str,
    ) -> impl Future<Output = Result<Option<(String, i64, String)>, Fault>> + Send;
    /// Gives a key its answer.
    fn keep_answer(
        &mut self,
        key: &str,
        status: u16,
        body: &str,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
    /// The highest token of a lock so far, locked until the end; 0 for a lock never met.
    fn fence(&mut self, lock: &str) -> impl Future<Output = Result<i64, Fault>> + Send;
    /// Remembers a higher token.
    fn raise_fence(
        &mut self,
        lock: &str,
        token: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
    /// An account as it stands.
    fn account(&mut self, id: &str) -> impl Future<Output = Result<Option<Account>, Fault>> + Send;
    /// An account, locked until the end. Of several, lock those with lesser ids first.
    fn locked_account(
        &mut self,
        id: &str,
    ) -> impl Future<Output = Result<Option<Account>, Fault>> + Send;
    /// Opens an account; false if it is there.
    fn open_account(
        &mut self,
        account: &Account,
        now: i64,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;
    /// Stores an account after an event, the event, and the event's place in the outbox if the world is to hear of it.
    fn record(
        &mut self,
        account: &Account,
        event: &Event,
        now: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
    /// A hold as it stands.
    fn read_hold(&mut self, id: &str) -> impl Future<Output = Result<Option<Hold>, Fault>> + Send;
    /// A hold, locked until the end. Holds are locked before accounts.
    fn locked_hold(&mut self, id: &str)
    -> impl Future<Output = Result<Option<Hold>, Fault>> + Send;
    /// Stores a new hold.
    fn add_hold(&mut self, hold: &Hold) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Ends a hold.
    fn close_hold(&mut self, hold: &Hold) -> impl Future<Output = Result<(), Fault>> + Send;
}

impl Rows for Transaction<'_> {
    async fn take_key(&mut self, key: &str, digest: &str, now: i64) -> Result<bool, Fault> {
        let sql = "INSERT INTO ledger_keys (key, digest, status, answer, time) VALUES ($1, $2, 0, '', $3) \
                   ON CONFLICT (key) DO NOTHING";
        let values = [key.into(), digest.into(), now.into()];
        Ok(self.execute(sql, &values).await? == 1)
    }

    async fn key(&mut self, key: &str) -> Result<Option<(String, i64, String)>, Fault> {
        let sql = "SELECT digest, status, answer FROM ledger_keys WHERE key = $1";
        let row = self.first(sql, &[key.into()]).await?;
        row.map(|row| Ok((row.text(0)?, row.int(1)?, row.text(2)?)))
            .transpose()
    }

    async fn keep_answer(&mut self, key: &str, status: u16, body: &str) -> Result<(), Fault> {
        let sql = "UPDATE ledger_keys SET status = $1, answer = $2 WHERE key = $3";
        let values = [i64::from(status).into(), body.into(), key.into()];
        one(self.execute(sql, &values).await?)
    }

    async fn fence(&mut self, lock: &str) -> Result<i64, Fault> {
        let sql =
            "INSERT INTO ledger_fences (lock, token) VALUES ($1, 0) ON CONFLICT (lock) DO NOTHING";
        self.execute(sql, &[lock.into()]).await?;
        let sql = "SELECT token FROM ledger_fences WHERE lock = $1 FOR UPDATE";
        let row = self.first(sql, &[lock.into()]).await?;
        row.map_or(Ok(0), |row| row.int(0))
    }

    async fn raise_fence(&mut self, lock: &str, token: i64) -> Result<(), Fault> {
        let sql = "UPDATE ledger_fences SET token = $1 WHERE lock = $2";
        one(self.execute(sql, &[token.into(), lock.into()]).await?)
    }

    async fn account(&mut self, id: &str) -> Result<Option<Account>, Fault> {
        let row = self.first(ACCOUNT, &[id.into()]).await?;
        row.as_ref().map(read_account).transpose()
    }

    async fn locked_account(&mut self, id: &str) -> Result<Option<Account>, Fault> {
        let row = self.first(ACCOUNT_LOCKED, &[id.into()]).await?;
        row.as_ref().map(read_account).transpose()
    }

    async fn open_account(&mut self, account: &Account, now: i64) -> Result<bool, Fault> {
        let sql = "INSERT INTO ledger_accounts \
                   (id, currency, kind, customer, floor, balance, held, sequence, opened) \
                   VALUES ($1, $2, $3, $4, $5, 0, 0, 0, $6) ON CONFLICT (id) DO NOTHING";
        let values = [
            (&account.id).into(),
            account.currency.code().into(),
            account.kind.name().into(),
            account.customer.clone().into(),
            account.floor.into(),
            now.into(),
        ];
        Ok(self.execute(sql, &values).await? == 1)
    }

    async fn record(&mut self, account: &Account, event: &Event, now: i64) -> Result<(), Fault> {
        let sql = "UPDATE ledger_accounts SET balance = $1, held = $2, sequence = $3 WHERE id = $4";
        let values = [
            account.balance.into(),
            account.held.into(),
            account.sequence.into(),
            (&account.id).into(),
        ];
        one(self.execute(sql, &values).await?)?;
        let sql = "INSERT INTO ledger_entries \
                   (account, sequence, type, amount, currency, balance, available, txn, event) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let text = serde_json::to_string(event);
        let text = text.map_err(|e| Fault::row(format!("an event cannot be written: {e}")))?;
        // A hold changes what is available, not the balance; only postings belong to a transaction.
        let (kind, transaction) = match event.kind_of_event {
            Type::Posting => ("posting", event.transaction.clone()),
            Type::Hold => ("hold", None),
            Type::Release => ("release", None),
        };
        let values = [
            (&account.id).into(),
            account.sequence.into(),
            kind.into(),
            event.amount.into(),
            account.currency.code().into(),
            event.balance.into(),
            event.available.into(),
            transaction.into(),
            text.into(),
        ];
        one(self.execute(sql, &values).await?)?;
        if account.kind != Kind::Customer {
            return Ok(());
        }
        let sql = "INSERT INTO ledger_outbox (account, sequence, time) VALUES ($1, $2, $3)";
        let values = [(&account.id).into(), account.sequence.into(), now.into()];
        one(self.execute(sql, &values).await?)
    }

    async fn read_hold(&mut self, id: &str) -> Result<Option<Hold>, Fault> {
        let row = self.first(HOLD, &[id.into()]).await?;
        row.as_ref().map(read_hold).transpose()
    }

    async fn locked_hold(&mut self, id: &str) -> Result<Option<Hold>, Fault> {
        let row = self.first(HOLD_LOCKED, &[id.into()]).await?;
        row.as_ref().map(read_hold).transpose()
    }

    async fn add_hold(&mut self, hold: &Hold) -> Result<(), Fault> {
        let sql = "INSERT INTO ledger_holds \
                   (id, account, amount, currency, card, merchant, descriptor, state, created, expires, txn) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL)";
        let values = [
            (&hold.id).into(),
            (&hold.account).into(),
            hold.amount.into(),
            hold.currency.code().into(),
            (&hold.card).into(),
            (&hold.merchant).into(),
            (&hold.descriptor).into(),
            (&hold.state).into(),
            hold.created.into(),
            hold.expires.into(),
        ];
        one(self.execute(sql, &values).await?)
    }

    async fn close_hold(&mut self, hold: &Hold) -> Result<(), Fault> {
        let sql = "UPDATE ledger_holds SET state = $1, txn = $2 WHERE id = $3";
        let values: [Value; 3] = [
            (&hold.state).into(),
            hold.transaction.clone().into(),
            (&hold.id).into(),
        ];
        one(self.execute(sql, &values).await?)
    }
}

/// A statement that must change exactly one row.
fn one(changed: u64) -> Result<(), Fault> {
    if changed == 1 {
        return Ok(());
    }
    Err(Fault::row(format!("{changed} rows changed instead of one")))
}

fn read_account(row: &Row) -> Result<Account, Fault> {
    let kind = row.text(2)?;
    Ok(Account {
        id: row.text(0)?,
        currency: currency(&row.text(1)?)?,
        kind: Kind::parse(&kind)
            .ok_or_else(|| Fault::row(format!("`{kind}` is no kind of account")))?,
        customer: row.text_or_null(3)?,
        floor: row.int_or_null(4)?,
        balance: row.int(5)?,
        held: row.int(6)?,
        sequence: row.int(7)?,
    })
}

pub(super) fn read_hold(row: &Row) -> Result<Hold, Fault> {
    Ok(Hold {
        id: row.text(0)?,
        account: row.text(1)?,
        amount: row.int(2)?,
        currency: currency(&row.text(3)?)?,
        card: row.text(4)?,
        merchant: row.text(5)?,
        descriptor: row.text(6)?,
        state: row.text(7)?,
        created: row.int(8)?,
        expires: row.int(9)?,
        transaction: row.text_or_null(10)?,
    })
}

fn currency(text: &str) -> Result<Currency, Fault> {
    Currency::parse(text).map_err(|problem| Fault::row(problem.to_string()))
}
