//! Pure. The book: what postings, holds, captures and releases do to accounts, and when they are refused.

use crate::event::{Event, Type};
use crate::money::Currency;
use crate::problem::{Code, Problem};
use serde_json::Value;
use std::collections::BTreeMap;

/// Largest size of a balance, in minor units. A posting of [`crate::money::MOST`] on top of it still fits in 64 bits.
const LARGEST_BALANCE: i64 = 9_000_000_000_000_000_000;

/// Whose an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A customer's: it has a floor, and the world hears of what happens to it.
    Customer,
    /// A merchant's, where captured card payments go.
    Merchant,
    /// The bank's own, where money comes from and goes to.
    Bank,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Customer, Self::Merchant, Self::Bank];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Merchant => "merchant",
            Self::Bank => "bank",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text)
    }
}

/// An account as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) currency: Currency,
    pub(super) kind: Kind,
    pub(super) customer: Option<String>,
    /// What is available never falls below it. None: no bound.
    pub(super) floor: Option<i64>,
    pub(super) balance: i64,
    /// The sum of its open holds.
    pub(super) held: i64,
    /// Of its newest event; 0 before the first.
    pub(super) sequence: i64,
}

impl Account {
    pub(super) fn available(&self) -> i64 {
        self.balance - self.held
    }

    /// Adds a signed amount to the balance.
    pub(super) fn post(&mut self, amount: i64) -> Result<(), Problem> {
        if amount < 0 {
            self.afford(-amount)?;
        }
        let size = -LARGEST_BALANCE..=LARGEST_BALANCE;
        let balance = self
            .balance
            .checked_add(amount)
            .filter(|balance| size.contains(balance));
        self.balance = balance.ok_or_else(|| {
            Problem::new(
                Code::BadAmount,
                format!("{} cannot hold that much", self.id),
            )
        })?;
        self.sequence += 1;
        Ok(())
    }

    /// Sets an amount aside.
    pub(super) fn hold(&mut self, amount: i64) -> Result<(), Problem> {
        self.afford(amount)?;
        self.held += amount;
        self.sequence += 1;
        Ok(())
    }

    /// Makes what was set aside available again.
    pub(super) fn release(&mut self, held: i64) {
        self.held -= held;
        self.sequence += 1;
    }

    /// Takes an amount out of what was set aside for it; the rest is available again.
    pub(super) fn capture(&mut self, held: i64, amount: i64) -> Result<(), Problem> {
        if amount > held {
            return Err(Problem::new(
                Code::BadAmount,
                format!("{amount} is more than the {held} that were held: capture at most that"),
            ));
        }
        self.held -= held;
        self.post(-amount)
    }

    fn afford(&self, amount: i64) -> Result<(), Problem> {
        let Some(floor) = self.floor else {
            return Ok(());
        };
        let available = self.available();
        if available - amount >= floor {
            return Ok(());
        }
        Err(Problem::new(
            Code::InsufficientFunds,
            format!(
                "{} has {available} {} available and may not fall below {floor}: {amount} is too much",
                self.id, self.currency
            ),
        )
        .with("account", self.id.as_str())
        .with("available", available)
        .with("floor", floor))
    }

    /// Refuses an amount in another currency.
    pub(super) fn expect(&self, currency: Currency) -> Result<(), Problem> {
        if self.currency == currency {
            return Ok(());
        }
        Err(Problem::new(
            Code::CurrencyMismatch,
            format!("{} holds {}, not {currency}", self.id, self.currency),
        )
        .with("account", self.id.as_str()))
    }
}

/// Refuses postings that do not add up to zero in each currency.
pub(super) fn balanced(postings: impl IntoIterator<Item = (Currency, i64)>) -> Result<(), Problem> {
    let mut sums = BTreeMap::<Currency, i128>::new();
    for (currency, amount) in postings {
        *sums.entry(currency).or_default() += i128::from(amount);
    }
    match sums.into_iter().find(|(_, sum)| *sum != 0) {
        None => Ok(()),
        Some((currency, sum)) => Err(Problem::new(
            Code::Unbalanced,
            format!(
                "the postings in {currency} add up to {sum}: what is taken from one account must go to others"
            ),
        )),
    }
}

/// What one or two events have in common: why they happen.
#[derive(Debug, Clone, Default)]
pub(super) struct Occasion {
    pub(super) kind: String,
    pub(super) reference: String,
    pub(super) transaction: Option<String>,
    pub(super) hold: Option<String>,
    pub(super) merchant: Option<String>,
    pub(super) descriptor: Option<String>,
    pub(super) card: Option<String>,
    pub(super) time: String,
    pub(super) trace: Option<String>,
}

/// The event that tells what just happened to an account.
pub(super) fn event(
    account: &Account,
    what: Type,
    amount: i64,
    occasion: &Occasion,
    counterparty: Option<String>,
) -> Event {
    let cause = match what {
        Type::Posting => &occasion.transaction,
        Type::Hold | Type::Release => &occasion.hold,
    };
    let cause = cause.as_deref().unwrap_or_default();
    let end = if what == Type::Release {
        ":release"
    } else {
        ""
    };
    Event {
        id: format!("{cause}:{}{end}", account.id),
        kind_of_event: what,
        account: account.id.clone(),
        customer: account.customer.clone(),
        sequence: account.sequence,
        amount,
        currency: account.currency.code().to_owned(),
        balance: account.balance,
        available: account.available(),
        kind: occasion.kind.clone(),
        transaction: occasion.transaction.clone(),
        hold: occasion.hold.clone(),
        reference: occasion.reference.clone(),
        merchant: occasion.merchant.clone().map(Value::from),
        descriptor: occasion.descriptor.clone(),
        card: occasion.card.clone(),
        counterparty,
        time: occasion.time.clone(),
        trace: occasion.trace.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(balance: i64, held: i64, floor: Option<i64>) -> Account {
        Account {
            id: "acc-1".to_owned(),
            currency: Currency::EUR,
            kind: Kind::Customer,
            customer: None,
            floor,
            balance,
            held,
            sequence: 7,
        }
    }

    #[test]
    fn floors_bound_what_is_available() {
        #[rustfmt::skip]
        let rows = [
            // balance, held, floor, taken, allowed
            (100,   0, Some(0),    100, true),
            (100,   0, Some(0),    101, false),
            (100,  40, Some(0),     60, true),
            (100,  40, Some(0),     61, false),
            (0,     0, Some(-50),   50, true),
            (0,     0, Some(-50),   51, false),
            (0,     0, None,     1_000, true),
        ];
        for (balance, held, floor, taken, allowed) in rows {
            let before = account(balance, held, floor);
            let mut posted = before.clone();
            let mut set_aside = before.clone();
            let row = format!("{balance} {held} {floor:?} {taken}");
            assert_eq!(posted.post(-taken).is_ok(), allowed, "{row}");
            assert_eq!(set_aside.hold(taken).is_ok(), allowed, "{row}");
            if allowed {
                assert_eq!(posted.available(), set_aside.available(), "{row}");
                assert_eq!((posted.sequence, set_aside.sequence), (8, 8));
            } else {
                assert_eq!((&posted, &set_aside), (&before, &before), "{row}");
            }
        }
    }

    #[test]
    fn credits_are_never_refused_for_the_floor() {
        let mut below = account(-500, 0, Some(0));
        below.post(10).unwrap();
        assert_eq!(below.balance, -490);
    }

    #[test]
    fn balances_have_an_end() {
        let mut rich = account(LARGEST_BALANCE, 0, None);
        assert_eq!(rich.post(1).unwrap_err().code, Code::BadAmount);
        let mut poor = account(-LARGEST_BALANCE, 0, None);
        assert_eq!(poor.post(-1).unwrap_err().code, Code::BadAmount);
    }

    #[test]
    fn a_capture_frees_what_it_does_not_take() {
        let mut part = account(100, 60, Some(0));
        part.capture(60, 25).unwrap();
        assert_eq!((part.balance, part.held, part.sequence), (75, 0, 8));
        let mut more = account(100, 60, Some(0));
        assert_eq!(more.capture(60, 61).unwrap_err().code, Code::BadAmount);
    }

    #[test]
    fn each_currency_balances_by_itself() {
        use Currency::{EUR, USD};
        for (postings, good) in [
            (vec![(EUR, -5), (EUR, 5)], true),
            (vec![(EUR, -5), (EUR, 2), (EUR, 3)], true),
            (vec![(EUR, -5), (EUR, 5), (USD, 1), (USD, -1)], true),
            (vec![(EUR, -5), (USD, 5)], false),
            (vec![(EUR, -5), (EUR, 4)], false),
            (vec![(EUR, i64::MAX), (EUR, i64::MAX)], false),
        ] {
            assert_eq!(balanced(postings.clone()).is_ok(), good, "{postings:?}");
        }
    }

    #[test]
    fn ids_of_events_differ_by_what_happened() {
        let occasion = Occasion {
            transaction: Some("txn-1".to_owned()),
            hold: Some("hold-1".to_owned()),
            ..Occasion::default()
        };
        let id = |what| event(&account(0, 0, None), what, 1, &occasion, None).id;
        assert_eq!(id(Type::Posting), "txn-1:acc-1");
        assert_eq!(id(Type::Hold), "hold-1:acc-1");
        assert_eq!(id(Type::Release), "hold-1:acc-1:release");
    }
}
