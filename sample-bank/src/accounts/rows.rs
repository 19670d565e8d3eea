//! The statements of the service `accounts`.

use crate::clock;
use crate::database::{Fault, Row, Transaction, Work};
use crate::problem::{Code, Problem};

/// Accounts of one customer, and cards of one account, at most: as many as one stream of notifications follows.
const MOST: i64 = 32;

/// A customer.
#[derive(Debug, Clone)]
pub(super) struct Customer {
    pub(super) id: String,
    pub(super) name: String,
    /// SHA-256 of a secret of 130 bits of chance: nothing to guess, so nothing to slow down.
    pub(super) secret: String,
}

/// A customer's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) id: String,
    pub(super) customer: String,
    pub(super) currency: String,
    /// What it began with, in minor units.
    pub(super) opening: i64,
}

/// A card.
#[derive(Debug, Clone)]
pub(super) struct Card {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) customer: String,
    pub(super) currency: String,
    /// Of one payment, in minor units.
    pub(super) limit: i64,
    pub(super) frozen: bool,
}

pub(super) fn unknown_customer(id: &str) -> Problem {
    Problem::new(Code::NotFound, format!("the bank has no customer {id}"))
}

pub(super) fn unknown_account(id: &str) -> Problem {
    Problem::new(
        Code::UnknownAccount,
        format!("no customer has an account {id}"),
    )
    .with("account", id)
}

pub(super) fn unknown_card(id: &str) -> Problem {
    Problem::new(Code::UnknownCard, format!("the bank has no card {id}")).with("card", id)
}

/// Stores a customer.
pub(super) struct AddCustomer(pub(super) Customer);

impl Work for AddCustomer {
    type Output = ();

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Fault> {
        let sql =
            "INSERT INTO accounts_customers (id, name, secret, created) VALUES ($1, $2, $3, $4)";
        let Customer { id, name, secret } = &self.0;
        let values = [id.into(), name.into(), secret.into(), clock::now().into()];
        tx.execute(sql, &values).await.map(|_| ())
    }
}

/// One customer.
pub(super) struct OneCustomer(pub(super) String);

impl Work for OneCustomer {
    type Output = Customer;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Customer, Fault> {
        let sql = "SELECT id, name, secret FROM accounts_customers WHERE id = $1";
        let row = tx.first(sql, &[(&self.0).into()]).await?;
        let row = row.ok_or_else(|| unknown_customer(&self.0))?;
        Ok(Customer {
            id: row.text(0)?,
            name: row.text(1)?,
            secret: row.text(2)?,
        })
    }
}

/// Stores an account, or finds the same one.
pub(super) struct AddAccount(pub(super) Owned);

impl Work for AddAccount {
    /// Whether it is new.
    type Output = bool;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<bool, Fault> {
        let new = &self.0;
        if let Some(found) = account(tx, &new.id).await? {
            if found == *new {
                return Ok(false);
            }
            return Err(Problem::new(
                Code::IdempotencyKeyReused,
                "this idempotency-key opened another account: use a new key for a new account",
            )
            .into());
        }
        OneCustomer(new.customer.clone()).run(tx).await?;
        let sql = "SELECT COUNT(*) FROM accounts_accounts WHERE customer = $1";
        room(
            tx.first(sql, &[(&new.customer).into()]).await?,
            "a customer",
            "accounts",
        )?;
        let sql = "INSERT INTO accounts_accounts (id, customer, currency, opening, created) \
                   VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";
        let values = [
            (&new.id).into(),
            (&new.customer).into(),
            (&new.currency).into(),
            new.opening.into(),
            clock::now().into(),
        ];
        Ok(tx.execute(sql, &values).await? == 1)
    }
}

fn room(row: Option<Row>, whose: &str, what: &str) -> Result<(), Fault> {
    let count = row.map_or(Ok(0), |row| row.int(0))?;
    if count < MOST {
        return Ok(());
    }
    let detail = format!("{whose} has {count} {what} already, which is the most");
    Err(Problem::new(Code::Conflict, detail).into())
}

async fn account(tx: &mut Transaction<'_>, id: &str) -> Result<Option<Owned>, Fault> {
    let sql = "SELECT id, customer, currency, opening FROM accounts_accounts WHERE id = $1";
    let row = tx.first(sql, &[id.into()]).await?;
    row.as_ref().map(read_account).transpose()
}

fn read_account(row: &Row) -> Result<Owned, Fault> {
    Ok(Owned {
        id: row.text(0)?,
        customer: row.text(1)?,
        currency: row.text(2)?,
        opening: row.int(3)?,
    })
}

/// One account.
pub(super) struct OneAccount(pub(super) String);

impl Work for OneAccount {
    type Output = Owned;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Owned, Fault> {
        Ok(account(tx, &self.0)
            .await?
            .ok_or_else(|| unknown_account(&self.0))?)
    }
}

/// All accounts of a customer, oldest first.
pub(super) struct AccountsOf(pub(super) String);

impl Work for AccountsOf {
    type Output = Vec<Owned>;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Vec<Owned>, Fault> {
        OneCustomer(self.0.clone()).run(tx).await?;
        let sql = "SELECT id, customer, currency, opening FROM accounts_accounts \
                   WHERE customer = $1 ORDER BY created, id";
        let rows = tx.query(sql, &[(&self.0).into()]).await?;
        rows.iter().map(read_account).collect()
    }
}

/// Stores a card.
pub(super) struct AddCard {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) limit: i64,
}

impl Work for AddCard {
    type Output = Card;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Card, Fault> {
        account(tx, &self.account)
            .await?
            .ok_or_else(|| unknown_account(&self.account))?;
        let sql = "SELECT COUNT(*) FROM accounts_cards WHERE account = $1";
        room(
            tx.first(sql, &[(&self.account).into()]).await?,
            "an account",
            "cards",
        )?;
        let sql = "INSERT INTO accounts_cards (id, account, most, frozen, created) VALUES ($1, $2, $3, 0, $4)";
        let values = [
            (&self.id).into(),
            (&self.account).into(),
            self.limit.into(),
            clock::now().into(),
        ];
        tx.execute(sql, &values).await?;
        OneCard(self.id.clone()).run(tx).await
    }
}

/// One card, with its account's owner and currency.
pub(super) struct OneCard(pub(super) String);

impl Work for OneCard {
    type Output = Card;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Card, Fault> {
        let sql = "SELECT c.id, c.account, a.customer, a.currency, c.most, c.frozen \
                   FROM accounts_cards c JOIN accounts_accounts a ON a.id = c.account WHERE c.id = $1";
        let row = tx.first(sql, &[(&self.0).into()]).await?;
        read_card(&row.ok_or_else(|| unknown_card(&self.0))?)
    }
}

/// All cards of an account, oldest first.
pub(super) struct CardsOf(pub(super) String);

impl Work for CardsOf {
    type Output = Vec<Card>;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Vec<Card>, Fault> {
        let sql = "SELECT c.id, c.account, a.customer, a.currency, c.most, c.frozen \
                   FROM accounts_cards c JOIN accounts_accounts a ON a.id = c.account \
                   WHERE c.account = $1 ORDER BY c.created, c.id";
        let rows = tx.query(sql, &[(&self.0).into()]).await?;
        rows.iter().map(read_card).collect()
    }
}

fn read_card(row: &Row) -> Result<Card, Fault> {
    Ok(Card {
        id: row.text(0)?,
        account: row.text(1)?,
        customer: row.text(2)?,
        currency: row.text(3)?,
        limit: row.int(4)?,
        frozen: row.int(5)? != 0,
    })
}

/// Changes a card. None: as it is.
pub(super) struct ChangeCard {
    pub(super) id: String,
    pub(super) limit: Option<i64>,
    pub(super) frozen: Option<bool>,
}

impl Work for ChangeCard {
    type Output = Card;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Card, Fault> {
        let sql = "UPDATE accounts_cards SET most = COALESCE($1, most), frozen = COALESCE($2, frozen) WHERE id = $3";
        let values = [
            self.limit.into(),
            self.frozen.map(i64::from).into(),
            (&self.id).into(),
        ];
        tx.execute(sql, &values).await?;
        OneCard(self.id.clone()).run(tx).await
    }
}
