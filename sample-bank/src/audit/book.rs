//! Pure. The book by itself: debits equal credits, balances are the sums of their postings, nobody is below the limit.

use super::Verdict;
use serde::Deserialize;
use std::collections::BTreeMap;

/// An account, as the ledger tells it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) currency: String,
    pub(super) kind: String,
    pub(super) floor: Option<i64>,
    pub(super) balance: i64,
    pub(super) held: i64,
    pub(super) sequence: i64,
}

impl Account {
    /// Whether events tell of it.
    pub(super) fn is_customers(&self) -> bool {
        self.kind == "customer"
    }
}

/// A transaction, as the ledger tells it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Transaction {
    pub(super) id: String,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) reference: String,
    pub(super) hold: Option<String>,
    pub(super) postings: Vec<Posting>,
}

/// One leg of it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Posting {
    pub(super) account: String,
    pub(super) amount: i64,
    pub(super) currency: String,
}

pub(super) fn judge(accounts: &[Account], transactions: &[Transaction], verdict: &mut Verdict) {
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for transaction in transactions {
        let mut currencies: BTreeMap<&str, i128> = BTreeMap::new();
        for posting in &transaction.postings {
            *currencies.entry(&posting.currency).or_default() += i128::from(posting.amount);
            *sums.entry(&posting.account).or_default() += i128::from(posting.amount);
        }
        for (currency, sum) in currencies.iter().filter(|(_, sum)| **sum != 0) {
            let id = &transaction.id;
            verdict
                .violations
                .push(format!("{id} does not balance: {sum} {currency} too much"));
        }
    }
    for account in accounts {
        let sum = sums.remove(account.id.as_str()).unwrap_or(0);
        if sum != i128::from(account.balance) {
            verdict.violations.push(format!(
                "{} has {} {}, but its postings add up to {sum}",
                account.id, account.balance, account.currency
            ));
        }
        let available = account.balance - account.held;
        if let Some(floor) = account.floor.filter(|floor| available < *floor) {
            verdict.violations.push(format!(
                "{} has {available} available, below its limit of {floor}",
                account.id
            ));
        }
        if account.held != 0 {
            verdict
                .violations
                .push(format!("{} still has {} held", account.id, account.held));
        }
    }
    for account in sums.keys() {
        verdict
            .violations
            .push(format!("{account} has postings and is no account"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: &str, balance: i64, floor: Option<i64>) -> Account {
        Account {
            id: id.to_owned(),
            currency: "EUR".to_owned(),
            kind: "customer".to_owned(),
            floor,
            balance,
            held: 0,
            sequence: 1,
        }
    }

    fn transaction(legs: &[(&str, i64)]) -> Transaction {
        let posting = |&(account, amount): &(&str, i64)| Posting {
            account: account.to_owned(),
            amount,
            currency: "EUR".to_owned(),
        };
        Transaction {
            id: "txn-1".to_owned(),
            kind: "transfer".to_owned(),
            reference: String::new(),
            hold: None,
            postings: legs.iter().map(posting).collect(),
        }
    }

    #[test]
    fn each_slip_of_the_book_is_found() {
        let two = |a, b| vec![account("a", a, Some(0)), account("b", b, None)];
        #[rustfmt::skip]
        let rows = [
            (two(5, -5), vec![("a", 5), ("b", -5)], None),
            (two(5, -4), vec![("a", 5), ("b", -4)], Some("does not balance")),
            (two(6, -5), vec![("a", 5), ("b", -5)], Some("add up to 5")),
            (two(-5, 5), vec![("a", -5), ("b", 5)], Some("below its limit")),
            (vec![account("a", 5, None)], vec![("a", 5), ("b", -5)], Some("no account")),
        ];
        for (accounts, legs, wanted) in rows {
            let mut verdict = Verdict::default();
            judge(&accounts, &[transaction(&legs)], &mut verdict);
            match wanted {
                None => assert_eq!(verdict.violations, Vec::<String>::new()),
                Some(text) => assert!(
                    verdict.violations.iter().any(|v| v.contains(text)),
                    "{text}: {verdict:?}"
                ),
            }
        }
    }
}
