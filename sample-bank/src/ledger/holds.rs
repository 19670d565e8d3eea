//! Amounts set aside for card payments: placed, captured, released, expired.

use super::book::{self, Account, Kind, Occasion};
use super::intent::{Answer, Intent};
use super::post::{Leg, add_transaction, lock_all, unknown};
use super::rows::{Hold, Rows};
use super::view;
use crate::clock;
use crate::database::{Fault, Transaction, Work};
use crate::event::Type;
use crate::ids;
use crate::money::Currency;
use crate::problem::{Code, Problem};

/// Card payments, in events and transactions.
const KIND: &str = "card";

/// Sets an amount aside.
pub(super) struct Place {
    pub(super) intent: Intent,
    pub(super) account: String,
    pub(super) amount: i64,
    pub(super) currency: Currency,
    pub(super) card: String,
    pub(super) merchant: String,
    pub(super) descriptor: String,
    /// Milliseconds from now.
    pub(super) expires_in: i64,
}

impl Work for Place {
    type Output = Answer;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Answer, Fault> {
        if let Some(answer) = self.intent.begin(tx).await? {
            return Ok(answer);
        }
        let now = self.intent.now;
        let account = tx.locked_account(&self.account).await?;
        let mut account = account.ok_or_else(|| unknown(&self.account))?;
        account.expect(self.currency)?;
        account.hold(self.amount)?;
        let hold = Hold {
            id: ids::fresh("hold-"),
            account: self.account.clone(),
            amount: self.amount,
            currency: self.currency,
            card: self.card.clone(),
            merchant: self.merchant.clone(),
            descriptor: self.descriptor.clone(),
            state: "open".to_owned(),
            created: now,
            expires: now + self.expires_in,
            transaction: None,
        };
        tx.add_hold(&hold).await?;
        let occasion = occasion(&hold, now, self.intent.trace.clone());
        let event = book::event(&account, Type::Hold, -self.amount, &occasion, None);
        tx.record(&account, &event, now).await?;
        self.intent.end(tx, 201, &view::hold(&hold)).await
    }
}

/// Takes an amount out of what was set aside, for the merchant.
pub(super) struct Capture {
    pub(super) intent: Intent,
    pub(super) hold: String,
    /// None: all of it.
    pub(super) amount: Option<i64>,
}

impl Work for Capture {
    type Output = Answer;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Answer, Fault> {
        if let Some(answer) = self.intent.begin(tx).await? {
            return Ok(answer);
        }
        let now = self.intent.now;
        let mut hold = open(tx, &self.hold).await?;
        let amount = self.amount.unwrap_or(hold.amount);
        let merchant = merchant_account(&hold);
        tx.open_account(&merchant, now).await?;
        let leg = |account: &str, amount| Leg {
            account: account.to_owned(),
            amount,
            currency: None,
        };
        let legs = [leg(&hold.account, -amount), leg(&merchant.id, amount)];
        let mut accounts = lock_all(tx, &legs).await?;
        accounts[merchant.id.as_str()].expect(hold.currency)?;
        accounts[hold.account.as_str()].capture(hold.amount, amount)?;
        accounts[merchant.id.as_str()].post(amount)?;
        let mut occasion = occasion(&hold, now, self.intent.trace.clone());
        occasion.transaction = Some(ids::fresh("txn-"));
        add_transaction(tx, &occasion, None, now).await?;
        let other = [&merchant.id, &hold.account].map(|id| Some(id.clone()));
        let mut events = Vec::with_capacity(2);
        for (leg, other) in legs.iter().zip(other) {
            let account = &accounts[leg.account.as_str()];
            let event = book::event(account, Type::Posting, leg.amount, &occasion, other);
            tx.record(account, &event, now).await?;
            events.push(event);
        }
        hold.state = "captured".to_owned();
        hold.transaction.clone_from(&occasion.transaction);
        tx.close_hold(&hold).await?;
        let answer = view::transaction(&occasion, None, &events);
        self.intent.end(tx, 201, &answer).await
    }
}

/// Makes what was set aside available again.
pub(super) struct Release {
    pub(super) intent: Intent,
    pub(super) hold: String,
}

impl Work for Release {
    type Output = Answer;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Answer, Fault> {
        if let Some(answer) = self.intent.begin(tx).await? {
            return Ok(answer);
        }
        let hold = open(tx, &self.hold).await?;
        let hold = free(
            tx,
            hold,
            "released",
            self.intent.now,
            self.intent.trace.clone(),
        )
        .await?;
        self.intent.end(tx, 200, &view::hold(&hold)).await
    }
}

/// Releases one hold that has expired, if there is one.
pub(super) struct Expire;

impl Work for Expire {
    /// Whether there was one.
    type Output = bool;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<bool, Fault> {
        let now = clock::now();
        let sql = "SELECT id FROM ledger_holds WHERE state = 'open' AND expires <= $1 ORDER BY expires LIMIT 1";
        let Some(row) = tx.first(sql, &[now.into()]).await? else {
            return Ok(false);
        };
        let hold = tx.locked_hold(&row.text(0)?).await?;
        // Another replica may have been here in the meantime.
        if let Some(hold) = hold.filter(|hold| hold.state == "open") {
            free(tx, hold, "expired", now, None).await?;
        }
        Ok(true)
    }
}

async fn open(tx: &mut Transaction<'_>, id: &str) -> Result<Hold, Fault> {
    let hold = tx.locked_hold(id).await?;
    let hold =
        hold.ok_or_else(|| Problem::new(Code::NotFound, format!("the ledger has no hold {id}")))?;
    if hold.state != "open" {
        let detail = format!(
            "{id} is {} already: there is nothing left to do with it",
            hold.state
        );
        return Err(Problem::new(Code::HoldClosed, detail)
            .with("state", hold.state)
            .into());
    }
    Ok(hold)
}

async fn free(
    tx: &mut Transaction<'_>,
    mut hold: Hold,
    state: &str,
    now: i64,
    trace: Option<String>,
) -> Result<Hold, Fault> {
    let account = tx.locked_account(&hold.account).await?;
    let mut account = account.ok_or_else(|| unknown(&hold.account))?;
    account.release(hold.amount);
    let event = book::event(
        &account,
        Type::Release,
        hold.amount,
        &occasion(&hold, now, trace),
        None,
    );
    tx.record(&account, &event, now).await?;
    state.clone_into(&mut hold.state);
    tx.close_hold(&hold).await?;
    Ok(hold)
}

/// Where captured payments go. The ledger opens it when the first one comes.
fn merchant_account(hold: &Hold) -> Account {
    Account {
        id: format!(
            "acc-{}-{}",
            hold.merchant,
            hold.currency.code().to_lowercase()
        ),
        currency: hold.currency,
        kind: Kind::Merchant,
        customer: None,
        floor: None,
        balance: 0,
        held: 0,
        sequence: 0,
    }
}

fn occasion(hold: &Hold, now: i64, trace: Option<String>) -> Occasion {
    Occasion {
        kind: KIND.to_owned(),
        reference: String::new(),
        transaction: None,
        hold: Some(hold.id.clone()),
        merchant: Some(hold.merchant.clone()),
        descriptor: Some(hold.descriptor.clone()),
        card: Some(hold.card.clone()),
        time: clock::rfc3339(now),
        trace,
    }
}
