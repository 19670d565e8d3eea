//! Accounts are opened, transactions are posted.

use super::book::{self, Account, Occasion};
use super::intent::{Answer, Intent};
use super::rows::Rows;
use super::view;
use crate::clock;
use crate::database::{Fault, Transaction, Work};
use crate::event::Type;
use crate::ids;
use crate::money::Currency;
use crate::problem::{Code, Problem};
use std::collections::BTreeMap;

/// Opens an account, or finds the same one.
pub(super) struct Open(pub(super) Account);

impl Work for Open {
    /// The account as it stands, and whether it is new.
    type Output = (Account, bool);

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(Account, bool), Fault> {
        let wanted = &self.0;
        let new = tx.open_account(wanted, clock::now()).await?;
        let found = tx.account(&wanted.id).await?;
        let found =
            found.ok_or_else(|| Fault::row("an account vanished that was there a moment ago"))?;
        let same = found.currency == wanted.currency
            && found.kind == wanted.kind
            && found.customer == wanted.customer
            && found.floor == wanted.floor;
        if !same {
            let detail = format!(
                "{} is open already, with another currency, kind, customer or floor",
                wanted.id
            );
            return Err(Problem::new(Code::Conflict, detail).into());
        }
        Ok((found, new))
    }
}

/// One leg of a transaction: a signed amount for an account, in the currency that the caller expects it to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) account: String,
    pub(super) amount: i64,
    pub(super) currency: Option<Currency>,
}

/// Posts a transaction.
pub(super) struct Post {
    pub(super) intent: Intent,
    pub(super) kind: String,
    pub(super) reference: String,
    /// JSON that the ledger keeps and does not read.
    pub(super) details: Option<String>,
    /// At most one for an account.
    pub(super) legs: Vec<Leg>,
}

impl Work for Post {
    type Output = Answer;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Answer, Fault> {
        if let Some(answer) = self.intent.begin(tx).await? {
            return Ok(answer);
        }
        let now = self.intent.now;
        let occasion = Occasion {
            kind: self.kind.clone(),
            reference: self.reference.clone(),
            transaction: Some(ids::fresh("txn-")),
            time: clock::rfc3339(now),
            trace: self.intent.trace.clone(),
            ..Occasion::default()
        };
        let mut accounts = lock_all(tx, &self.legs).await?;
        for leg in &self.legs {
            let account = &mut accounts[leg.account.as_str()];
            if let Some(currency) = leg.currency {
                account.expect(currency)?;
            }
        }
        let postings = self
            .legs
            .iter()
            .map(|leg| (accounts[leg.account.as_str()].currency, leg.amount));
        book::balanced(postings)?;
        let mut events = Vec::with_capacity(self.legs.len());
        for leg in &self.legs {
            let account = &mut accounts[leg.account.as_str()];
            account.post(leg.amount)?;
            let other = counterparty(&self.legs, leg);
            events.push(book::event(
                account,
                Type::Posting,
                leg.amount,
                &occasion,
                other,
            ));
        }
        add_transaction(tx, &occasion, self.details.as_deref(), now).await?;
        for event in &events {
            tx.record(&accounts[event.account.as_str()], event, now)
                .await?;
        }
        let answer = view::transaction(&occasion, self.details.as_deref(), &events);
        self.intent.end(tx, 201, &answer).await
    }
}

/// Locked accounts by id. Indexing finds those that were locked.
pub(super) struct Accounts(BTreeMap<String, Account>);

impl std::ops::Index<&str> for Accounts {
    type Output = Account;

    fn index(&self, id: &str) -> &Account {
        &self.0[id]
    }
}

impl std::ops::IndexMut<&str> for Accounts {
    fn index_mut(&mut self, id: &str) -> &mut Account {
        self.0.get_mut(id).expect("every leg's account was locked")
    }
}

/// Locks the accounts of all legs, lesser ids first, so that no two transactions wait for each other.
pub(super) async fn lock_all(tx: &mut Transaction<'_>, legs: &[Leg]) -> Result<Accounts, Fault> {
    let mut ids: Vec<&str> = legs.iter().map(|leg| leg.account.as_str()).collect();
    ids.sort_unstable();
    let mut accounts = BTreeMap::new();
    for id in ids {
        let account = tx.locked_account(id).await?.ok_or_else(|| unknown(id))?;
        accounts.insert(id.to_owned(), account);
    }
    Ok(Accounts(accounts))
}

pub(super) fn unknown(account: &str) -> Problem {
    Problem::new(
        Code::UnknownAccount,
        format!("the ledger has no account {account}"),
    )
    .with("account", account)
}

pub(super) async fn add_transaction(
    tx: &mut Transaction<'_>,
    occasion: &Occasion,
    details: Option<&str>,
    now: i64,
) -> Result<(), Fault> {
    let sql = "INSERT INTO ledger_transactions (id, kind, reference, details, hold, time) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    let values = [
        occasion.transaction.clone().into(),
        (&occasion.kind).into(),
        (&occasion.reference).into(),
        details.into(),
        occasion.hold.clone().into(),
        now.into(),
    ];
    tx.execute(sql, &values).await.map(|_| ())
}

/// The other account, where there are two.
fn counterparty(legs: &[Leg], own: &Leg) -> Option<String> {
    let other = legs.iter().find(|leg| leg.account != own.account)?;
    (legs.len() == 2).then(|| other.account.clone())
}
